/* SPDX-License-Identifier: Apache-2.0 */
#include "mq/publisher.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mq/publisher_internal.h"

#define QUEUE_BYTES    (32 * 1024 * 1024)
#define QUEUE_MESSAGES 10000
#define WINDOW         1000
#define ITEM_OVERHEAD  sizeof(struct publisher_item)
/* How long the thread may take to say goodbye before it is interrupted. */
#define GOODBYE_MS 1500

/* ---- lists ---- */

void publisher_list_append(struct publisher_list *list, struct publisher_item *item)
{
	item->next = NULL;
	if (list->last)
		list->last->next = item;
	else
		list->first = item;
	list->last = item;
}

struct publisher_item *publisher_list_take(struct publisher_list *list)
{
	struct publisher_item *item = list->first;

	if (item) {
		list->first = item->next;
		if (!list->first)
			list->last = NULL;
		item->next = NULL;
	}
	return item;
}

void publisher_list_prepend(struct publisher_list *list, struct publisher_list *front)
{
	if (!front->last)
		return;
	front->last->next = list->first;
	list->first = front->first;
	if (!list->last)
		list->last = front->last;
	*front = (struct publisher_list){ 0 };
}

void publisher_item_free(struct publisher_item *item)
{
	if (item)
		mq_publisher_event_deinit(&item->event);
	free(item);
}

void publisher_list_free(struct publisher_list *list)
{
	struct publisher_item *item;

	while ((item = publisher_list_take(list)))
		publisher_item_free(item);
}

/* ---- events ---- */

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void clear_fd(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

/* Under the lock. */
static void append_event(struct mq_publisher *p, struct publisher_item *item)
{
	bool was_empty = !p->events.first;

	publisher_list_append(&p->events, item);
	if (was_empty)
		signal_fd(p->event_fd);
}

static struct publisher_item *new_item(void)
{
	struct publisher_item *item = calloc(1, sizeof(*item));

	if (item)
		mq_message_init(&item->event.message);
	return item;
}

bool publisher_post(struct mq_publisher *p, const struct mq_publisher_event *event)
{
	struct publisher_item *item = new_item();

	if (!item)
		return false;
	item->event.kind = event->kind;
	item->event.consumer = event->consumer;
	item->event.error = event->error;
	pthread_mutex_lock(&p->lock);
	append_event(p, item);
	pthread_mutex_unlock(&p->lock);
	return true;
}

static bool is_full(const struct mq_publisher *p)
{
	return p->n_pending >= p->options.queue_messages_max ||
	       p->bytes_pending >= p->options.queue_bytes_max;
}

/* Room is told a little late, so that it is not told for each single message. */
static bool has_room(const struct mq_publisher *p)
{
	return p->n_pending <= p->options.queue_messages_max / 4 * 3 &&
	       p->bytes_pending <= p->options.queue_bytes_max / 4 * 3;
}

/* Under the lock: an item that is not needed any more tells of room. */
static void tell_room(struct mq_publisher *p, struct publisher_item **spare)
{
	if (!p->told_full || !has_room(p))
		return;
	if (!*spare)
		*spare = new_item();
	if (!*spare)
		return; /* the next one that ends tells it */
	p->told_full = false;
	(*spare)->event.kind = MQ_PUBLISHER_ROOM;
	append_event(p, steal_ptr(*spare));
}

void publisher_complete(struct mq_publisher *p, struct publisher_item *item,
	enum mq_publisher_outcome outcome, const char *why)
{
	bool silent = outcome == MQ_CONFIRMED && item->event.token == 0;
	size_t bytes = item->bytes;

	if (outcome == MQ_CONFIRMED)
		mq_message_deinit(&item->event.message);
	if (why)
		error_set(&item->event.error, -EINVAL, "%s", why);
	item->event.kind = MQ_PUBLISHER_DONE;
	item->event.outcome = outcome;
	pthread_mutex_lock(&p->lock);
	p->n_pending--;
	p->bytes_pending -= bytes;
	if (!silent)
		append_event(p, steal_ptr(item));
	tell_room(p, &item);
	if (p->n_pending == 0)
		pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	publisher_item_free(item);
}

/* ---- the main thread's side ---- */

static int make_id_prefix(struct mq_publisher *p)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -errno;
	snprintf(p->id_prefix, sizeof(p->id_prefix), "%016" PRIx64, random);
	return 0;
}

static void init_locks(struct mq_publisher *p)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&p->lock, NULL);
}

static struct mq_publisher *publisher_free(struct mq_publisher *p)
{
	publisher_list_free(&p->inbox);
	publisher_list_free(&p->events);
	close_fd(p->event_fd);
	close_fd(p->wake_fd);
	mq_interrupt_deinit(&p->interrupt);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct mq_publisher *p)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&p->thread, NULL, publisher_thread, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void set_options(struct mq_publisher *p, const struct mq_publisher_options *options)
{
	p->options = *options;
	if (p->options.queue_bytes_max == 0)
		p->options.queue_bytes_max = QUEUE_BYTES;
	if (p->options.queue_messages_max == 0)
		p->options.queue_messages_max = QUEUE_MESSAGES;
	if (p->options.window == 0)
		p->options.window = WINDOW;
	p->wants_consumer = options->prepare_consumer != NULL;
}

int mq_publisher_start(
	const struct mq_publisher_options *options, struct mq_publisher **ret, struct error *err)
{
	struct mq_publisher *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return error_set(err, -ENOMEM, "out of memory");
	r = mq_interrupt_init(&p->interrupt);
	if (r < 0) {
		free(p);
		return error_set(err, r, "cannot make an eventfd: %s", strerror(-r));
	}
	init_locks(p);
	set_options(p, options);
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->event_fd < 0 || p->wake_fd < 0 ? -errno : make_id_prefix(p);
	if (r == 0)
		r = start_thread(p);
	if (r < 0) {
		publisher_free(p);
		return error_set(err, r, "cannot start the publisher: %s", strerror(-r));
	}
	*ret = p;
	return 0;
}

int mq_publisher_fd(const struct mq_publisher *p)
{
	return p->event_fd;
}

int mq_publisher_next(struct mq_publisher *p, struct mq_publisher_event *ret)
{
	struct publisher_item *item;

	pthread_mutex_lock(&p->lock);
	item = publisher_list_take(&p->events);
	if (!p->events.first)
		clear_fd(p->event_fd);
	pthread_mutex_unlock(&p->lock);
	if (!item)
		return 0;
	*ret = item->event;
	free(item);
	return 1;
}

void mq_publisher_event_deinit(struct mq_publisher_event *event)
{
	mq_message_deinit(&event->message);
	event->consumer = mq_close(event->consumer);
}

/* Returned messages are told by their id. */
static int give_id(struct mq_publisher *p, struct mq_message *message)
{
	char id[48];

	if (message->properties.message_id || p->options.loose)
		return 0;
	snprintf(id, sizeof(id), "%s-%" PRIu64, p->id_prefix, ++p->id_counter);
	return mq_properties_set(&message->properties.message_id, id);
}

static void enqueue(struct mq_publisher *p, struct publisher_item *item)
{
	bool was_empty;

	item->bytes = ITEM_OVERHEAD + item->event.message.body.cap;
	pthread_mutex_lock(&p->lock);
	was_empty = !p->inbox.first;
	p->n_pending++;
	p->bytes_pending += item->bytes;
	publisher_list_append(&p->inbox, item);
	pthread_mutex_unlock(&p->lock);
	if (was_empty)
		signal_fd(p->wake_fd);
}

int mq_publisher_send(struct mq_publisher *p, struct mq_message *message, uint64_t token)
{
	struct publisher_item *item = new_item();
	int r = item ? give_id(p, message) : -ENOMEM;

	if (r < 0) {
		mq_message_deinit(message);
		publisher_item_free(item);
		return r;
	}
	item->event.message = *message;
	item->event.token = token;
	mq_message_init(message);
	enqueue(p, item);
	return 0;
}

bool mq_publisher_is_full(struct mq_publisher *p)
{
	bool full;

	pthread_mutex_lock(&p->lock);
	full = is_full(p);
	if (full)
		p->told_full = true;
	pthread_mutex_unlock(&p->lock);
	return full;
}

size_t mq_publisher_pending(struct mq_publisher *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->n_pending;
	pthread_mutex_unlock(&p->lock);
	return n;
}

void mq_publisher_reconnect_consumer(struct mq_publisher *p)
{
	pthread_mutex_lock(&p->lock);
	p->wants_consumer = true;
	pthread_mutex_unlock(&p->lock);
	signal_fd(p->wake_fd);
}

void mq_publisher_finish(struct mq_publisher *p)
{
	pthread_mutex_lock(&p->lock);
	p->finishing = true;
	pthread_mutex_unlock(&p->lock);
	signal_fd(p->wake_fd);
}

static struct timespec deadline_in(unsigned ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

struct mq_publisher *mq_publisher_stop(struct mq_publisher *p, unsigned wait_ms)
{
	struct timespec at = deadline_in(wait_ms);

	if (!p)
		return NULL;
	pthread_mutex_lock(&p->lock);
	while (p->n_pending > 0 && !p->finished &&
		pthread_cond_timedwait(&p->changed, &p->lock, &at) != ETIMEDOUT)
		;
	p->stopping = true;
	signal_fd(p->wake_fd);
	at = deadline_in(GOODBYE_MS);
	while (!p->finished && pthread_cond_timedwait(&p->changed, &p->lock, &at) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&p->lock);
	mq_interrupt_now(&p->interrupt);
	pthread_join(p->thread, NULL);
	return publisher_free(p);
}
