/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "mq/publisher_internal.h"

#define NEVER              UINT64_MAX
#define CRASHES_MAX        2

#define BACKOFF_MIN_US     200000ull
#define BACKOFF_MAX_US     5000000ull
#define BACKOFF_REFUSED_US 30000000ull
/* A connection that lasted this long was a good one: the next loss begins with short waits again.
 */
#define GOOD_US 10000000ull

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The next wait: between the least and a limit that doubles, so that many runners do not come at
 * once. */
void backoff_next(struct backoff *b, bool refused)
{
	uint64_t limit = BACKOFF_MIN_US << (b->n < 6 ? b->n + 1 : 6);
	uint32_t random = 0;

	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	limit = min_u64(limit, BACKOFF_MAX_US);
	b->at_us = clock_now_us();
	b->at_us += refused ? BACKOFF_REFUSED_US
			    : BACKOFF_MIN_US + random % (limit - BACKOFF_MIN_US + 1);
	b->n++;
}

void worker_post(struct worker *w, enum mq_publisher_event_kind kind, const struct error *err)
{
	struct mq_publisher_event event = { .kind = kind };

	if (err)
		event.error = *err;
	publisher_post(w->p, &event);
}

/* Repeated failures are told once for each reason. */
static void post_failure(struct worker *w, enum mq_publisher_event_kind kind, char told[512],
	const struct error *err)
{
	if (told[0] && strcmp(told, err->text) == 0)
		return;
	snprintf(told, 512, "%s", err->text);
	worker_post(w, kind, err);
}

/* ---- connection ---- */

void worker_split_urgent(
	struct publisher_list *items, struct publisher_list *urgent, struct publisher_list *others)
{
	struct publisher_item *item;

	while ((item = publisher_list_take(items)))
		publisher_list_append(item->event.message.urgent ? urgent : others, item);
}

void worker_put_back(struct worker *w, struct publisher_list *items)
{
	struct publisher_list urgent = { 0 }, others = { 0 };

	worker_split_urgent(items, &urgent, &others);
	publisher_list_prepend(&w->urgent, &urgent);
	publisher_list_prepend(&w->unsent, &others);
}

void worker_requeue_inflight(struct worker *w)
{
	struct publisher_list again = { 0 };
	struct publisher_item *item;

	while ((item = publisher_list_take(&w->inflight))) {
		item->returned = false;
		if (item->event.message.once)
			publisher_complete(w->p, item, MQ_UNCERTAIN, "its confirm was lost");
		else
			publisher_list_append(&again, item);
	}
	worker_put_back(w, &again);
	w->n_inflight = 0;
	w->next_number = 1;
}

/* The server fell over something that we sent: it says 541, INTERNAL_ERROR. Sent one by one, what
 * it was shows, and is given back before all others have to wait for it for ever. */
static void suspect(struct worker *w, const struct error *err)
{
	struct publisher_item *item = w->inflight.first;

	if (!item || !strstr(err->text, "closed the connection: 541"))
		return;
	if (w->n_alone < w->n_inflight)
		w->n_alone = w->n_inflight;
	if (w->n_inflight > 1 || ++item->crashes < CRASHES_MAX)
		return;
	publisher_list_take(&w->inflight);
	w->n_inflight--;
	w->n_alone--;
	publisher_complete(w->p, item, MQ_UNROUTABLE, err->text);
}

void worker_lost(struct worker *w, const struct error *err)
{
	bool was_good = w->connected_us > 0 && clock_now_us() - w->connected_us >= GOOD_US;

	w->c = mq_close(w->c);
	suspect(w, err);
	worker_requeue_inflight(w);
	w->blocked = false;
	if (was_good)
		w->connect.n = 0;
	w->connected_us = 0;
	backoff_next(&w->connect, err->code == -EACCES);
	if (err->code != -ECANCELED)
		post_failure(w, MQ_PUBLISHER_DOWN, w->told, err);
}

static int open_publishing(struct worker *w, struct error *err)
{
	const struct mq_publisher_options *o = &w->p->options;
	int r = mq_connect_from(o->connection, &w->address, &w->p->interrupt, &w->c, err);

	if (r == 0)
		r = mq_channel_open(w->c, PUBLISHER_PREPARE_CHANNEL, err);
	if (r == 0 && o->prepare)
		r = o->prepare(w->c, o->userdata, err);
	if (r == 0)
		r = mq_channel_open(w->c, PUBLISHER_CHANNEL, err);
	if (r == 0 && !o->loose)
		r = mq_confirm(w->c, PUBLISHER_CHANNEL, err);
	return r;
}

static void try_connect(struct worker *w)
{
	struct error err = { 0 };
	int r = open_publishing(w, &err);

	if (r < 0) {
		err.code = r;
		worker_lost(w, &err);
		return;
	}
	w->connected_us = w->tick_us = clock_now_us();
	w->next_number = 1;
	w->size_limit = 0;
	w->told[0] = '\0';
	worker_post(w, MQ_PUBLISHER_UP, NULL);
}

static void try_consumer(struct worker *w)
{
	const struct mq_publisher_options *o = &w->p->options;
	struct mq_publisher_event event = { .kind = MQ_PUBLISHER_CONSUMER_READY };
	struct mq_connection *c = NULL;
	struct error err = { 0 };
	/* First where we are ourselves: addresses that do not answer take time, in which our own
	 * connection is not served. */
	unsigned address = w->address;
	int r = mq_connect_from(o->connection, &address, &w->p->interrupt, &c, &err);

	if (r == 0)
		r = o->prepare_consumer(c, o->userdata, &err);
	if (r < 0)
		c = mq_close(c);
	else
		c->interrupt = NULL; /* it is another thread's from now on */
	(void)mq_interrupt_watch(&w->p->interrupt, mq_fd(w->c));
	if (r < 0) {
		err.code = r;
		if (r != -ECANCELED)
			post_failure(w, MQ_PUBLISHER_CONSUMER_DOWN, w->consumer_told, &err);
		backoff_next(&w->consumer, r == -EACCES);
	} else {
		event.consumer = c;
		w->consumer_ready_us = clock_now_us();
		w->consumer_told[0] = '\0';
		w->consumer_wanted = !publisher_post(w->p, &event);
		if (w->consumer_wanted)
			mq_close(c);
	}
}

/* Well within the interval in which the server wants to hear us. */
static uint64_t tick_interval_us(const struct worker *w)
{
	return w->c->heartbeat_s > 0 ? w->c->heartbeat_s * 250000ull : NEVER;
}

static void read_events(struct worker *w)
{
	struct error err = { 0 };
	int r = 0;

	if (w->c->heartbeat_s > 0 && clock_now_us() >= w->tick_us) {
		r = mq_tick(w->c, &err);
		w->tick_us = clock_now_us() + tick_interval_us(w);
	}
	while (r == 0 && w->c) {
		struct mq_event event;

		r = mq_next(w->c, &event, &err);
		if (r <= 0)
			break;
		worker_handle(w, &event);
		mq_event_deinit(&event);
		r = 0;
	}
	if (r < 0)
		worker_lost(w, &err);
}

/* ---- the loop ---- */

/* At once if the last one lived for a while, else after a wait: it may die of what we do with it.
 */
static void want_consumer(struct worker *w)
{
	w->consumer_wanted = w->p->options.prepare_consumer != NULL;
	if (w->consumer_ready_us == 0 || clock_now_us() - w->consumer_ready_us >= GOOD_US)
		w->consumer = (struct backoff){ 0 };
	else
		backoff_next(&w->consumer, false);
}

/* False when the thread shall end. */
static bool take_orders(struct worker *w)
{
	struct mq_publisher *p = w->p;
	struct publisher_list inbox;
	bool go_on, wants_consumer, finishing;

	pthread_mutex_lock(&p->lock);
	inbox = p->inbox;
	p->inbox = (struct publisher_list){ 0 };
	wants_consumer = p->wants_consumer;
	p->wants_consumer = false;
	go_on = !p->stopping;
	finishing = p->finishing;
	pthread_mutex_unlock(&p->lock);
	worker_split_urgent(&inbox, &w->urgent, &w->unsent);
	if (finishing && !worker_can_publish(w))
		go_on = false;
	if (wants_consumer)
		want_consumer(w);
	return go_on;
}

static uint64_t next_deadline(const struct worker *w)
{
	uint64_t at = NEVER;

	if (!w->c)
		return w->connect.at_us;
	if (worker_can_publish(w))
		return 0;
	if (w->c->heartbeat_s > 0)
		at = w->tick_us;
	if (w->consumer_wanted)
		at = min_u64(at, w->consumer.at_us);
	if (express_is_wanted(w))
		at = min_u64(at, w->express.at_us);
	for (const struct hold *h = w->holds; h && !w->blocked; h = h->next)
		if (!h->trial)
			at = min_u64(at, h->backoff.at_us);
	return at;
}

static int milliseconds_until(uint64_t at_us)
{
	uint64_t now = clock_now_us();

	if (at_us == NEVER)
		return -1;
	return at_us <= now ? 0 : (int)min_u64((at_us - now + 999) / 1000, 3600 * 1000);
}

static void wait(struct worker *w)
{
	struct pollfd fds[] = {
		{ .fd = w->p->wake_fd, .events = POLLIN },
		{ .fd = w->c ? mq_fd(w->c) : -1, .events = POLLIN },
	};
	uint64_t count;

	(void)poll(fds, 2, milliseconds_until(next_deadline(w)));
	if (fds[0].revents && w->p->options.linger_ms > 0)
		(void)poll(NULL, 0, (int)w->p->options.linger_ms);
	if (fds[0].revents)
		(void)!read(w->p->wake_fd, &count, sizeof(count));
}

static void work(struct worker *w)
{
	while (take_orders(w)) {
		uint64_t now = clock_now_us();

		if (!w->c && now >= w->connect.at_us)
			try_connect(w);
		if (w->c && w->consumer_wanted && now >= w->consumer.at_us)
			try_consumer(w);
		if (w->c)
			hold_release_due(w);
		if (express_is_wanted(w) && now >= w->express.at_us)
			express_send_one(w);
		worker_publish_some(w);
		if (w->c)
			read_events(w);
		wait(w);
	}
}

static void worker_deinit(struct worker *w)
{
	hold_free_all(w);
	publisher_list_free(&w->unsent);
	publisher_list_free(&w->urgent);
	publisher_list_free(&w->inflight);
	w->c = mq_close(w->c);
}

void *publisher_thread(void *userdata)
{
	struct mq_publisher *p = userdata;
	struct worker w = { .p = p, .next_number = 1 };

	work(&w);
	worker_deinit(&w);
	pthread_mutex_lock(&p->lock);
	p->finished = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}
