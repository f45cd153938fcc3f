/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reading what is kept without taking it: each message is got and not acknowledged, and given back
 * after the last, which puts it to where it was. Meanwhile others would find the queue empty, so
 * who reads holds a lock, an exclusive queue beside it; it ends with its connection.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "taskclient/internal.h"

#define PREFIX    "taskctl."
#define LOCK      "/reading" /* no id has a slash, so it is nobody's mailbox */
#define TAG       "mailbox"
#define AT_ONCE   64 /* so many are asked for before the first has come */
#define PAUSE_MS  10
#define SILENT_US 30000000

void taskclient_mailbox_name(const char *id, char ret_mailbox[TASKCLIENT_MAILBOX_SIZE])
{
	snprintf(ret_mailbox, TASKCLIENT_MAILBOX_SIZE, PREFIX "%s", id);
}

static int lost(struct error *err, int r)
{
	return error_set(err, r, LOST);
}

static int make(struct taskclient *c, const char *mailbox, uint64_t keep_ms, struct error *err)
{
	const struct mq_queue queue = {
		.name = mailbox,
		.durable = true,
		.type = "classic", /* can be given back to where it was */
		.expires_ms = (int64_t)keep_ms,
	};
	int r = mq_channel_open(c->mq, CHANNEL_PEEK, err);

	if (r == 0)
		r = mq_declare_queue(c->mq, CHANNEL_PEEK, &queue, NULL, NULL, err);
	if (r < 0 && r != -EEXIST) /* it is there, and is kept for another time */
		return r;
	return mq_bind(c->mq, CHANNEL_PEEK, mailbox, c->responses, mailbox, err);
}

int taskclient_mailbox_make(
	struct taskclient *c, const char *mailbox, uint64_t keep_ms, struct taskclient_error *err)
{
	return make(c, mailbox, keep_ms, error_of(err));
}

static int remove_mailbox(struct taskclient *c, const char *mailbox, struct error *err)
{
	uint32_t ready, consumers;
	int r = mq_channel_open(c->mq, CHANNEL_PEEK, err);

	if (r == 0 && mq_send_delete_queue(c->mq, CHANNEL_PEEK, mailbox, false, false) < 0)
		return lost(err, -ECONNRESET);
	if (r == 0) /* it is gone when this is answered */
		r = mq_inspect_queue(c->mq, CHANNEL_PEEK, mailbox, &ready, &consumers, err);
	return r == -ENOENT ? 0 : r;
}

int taskclient_mailbox_remove(
	struct taskclient *c, const char *mailbox, struct taskclient_error *err)
{
	return remove_mailbox(c, mailbox, error_of(err));
}

/* ---- looking ---- */

struct kept {
	struct kept *next;
	struct mq_event event;
};

/* What came from elsewhere, in order. */
struct kept_list {
	struct kept *first, **end;
};

static int keep(struct kept_list *list, struct mq_event *event)
{
	struct kept *k = calloc(1, sizeof(*k));

	if (!k) {
		mq_event_deinit(event);
		return -ENOMEM;
	}
	k->event = *event;
	*list->end = k;
	list->end = &k->next;
	return 0;
}

/* Tells of one event, if it is for anybody. */
static int pass(struct taskclient *c, struct mq_event *event, struct error *err)
{
	struct happening happening;
	int r = taskclient_take(c, event, &happening, err);

	return r > 0 ? happening_post(c, &happening) : r;
}

static int pass_kept(struct taskclient *c, struct kept_list *list, int r, struct error *err)
{
	while (list->first) {
		struct kept *k = list->first;

		list->first = k->next;
		if (r == 0)
			r = pass(c, &k->event, err);
		else
			mq_event_deinit(&k->event);
		free(k);
	}
	return r;
}

/* The next event of the connection, which is waited for. */
static int wait_event(struct taskclient *c, struct mq_event *ret, struct error *err)
{
	uint64_t deadline = clock_now_us() + SILENT_US;
	int r = mq_next(c->mq, ret, err);

	while (r == 0 && clock_now_us() < deadline) {
		(void)poll(&(struct pollfd){ .fd = mq_fd(c->mq), .events = POLLIN }, 1, 1000);
		r = mq_tick(c->mq, err);
		if (r == 0)
			r = mq_next(c->mq, ret, err);
	}
	return r == 0 ? error_set(err, -ETIMEDOUT, "the server does not answer") : r;
}

struct look {
	const char *queue;
	unsigned max;     /* messages that are wanted; 0: all */
	unsigned n_asked; /* gets without an answer */
	unsigned n_sent, n_got;
	uint64_t first_tag, last_tag;
	bool is_empty;
	int (*take)(
		struct taskclient *c, struct mq_event *event, void *userdata, struct error *err);
	void *userdata;
};

static int ask_for_more(struct taskclient *c, struct look *l)
{
	int r = 0;

	while (r == 0 && !l->is_empty && l->n_asked < AT_ONCE && (!l->max || l->n_sent < l->max)) {
		r = mq_get(c->mq, CHANNEL_PEEK, l->queue, false);
		l->n_asked++;
		l->n_sent++;
	}
	return r;
}

static int take_one(struct taskclient *c, struct look *l, struct mq_event *event, struct error *err)
{
	l->n_asked--;
	l->last_tag = event->delivery.tag;
	if (l->n_got++ == 0)
		l->first_tag = event->delivery.tag;
	return l->take(c, event, l->userdata, err);
}

static int closed(const struct mq_event *event, struct error *err)
{
	int code = event->code == 404 ? -ENOENT : event->code == 403 ? -EACCES : -EBUSY;

	return error_set(err, code, "%s", event->text);
}

/* One event while we look. */
static int look_step(
	struct taskclient *c, struct look *l, struct kept_list *others, struct error *err)
{
	struct mq_event event;
	int r = wait_event(c, &event, err);

	if (r < 0)
		return r;
	if (event.channel != CHANNEL_PEEK)
		return keep(others, &event);
	if (event.kind == MQ_DELIVERY)
		return take_one(c, l, &event, err);
	r = event.kind == MQ_CHANNEL_CLOSED ? closed(&event, err) : 0;
	if (event.kind == MQ_GET_EMPTY) {
		l->n_asked--;
		l->is_empty = true;
	}
	mq_event_deinit(&event);
	return r;
}

/* Back to where it was. The answer to the last question comes when the queue has it all. */
static int give_back(struct taskclient *c, const struct look *l, struct error *err)
{
	uint32_t ready, consumers;
	int r = 0;

	for (uint64_t tag = l->first_tag; r == 0 && l->n_got > 0 && tag <= l->last_tag; tag++)
		r = mq_nack(c->mq, CHANNEL_PEEK, tag, true);
	if (r < 0)
		return lost(err, r);
	return mq_inspect_queue(c->mq, CHANNEL_PEEK, l->queue, &ready, &consumers, err);
}

static int look(struct taskclient *c, struct look *l, struct kept_list *others, struct error *err)
{
	int r = 0;

	do {
		r = ask_for_more(c, l);
		if (r < 0)
			return lost(err, r);
		if (l->n_asked > 0)
			r = look_step(c, l, others, err);
	} while (r == 0 && (l->n_asked > 0 || (!l->is_empty && !l->max)));
	if (r == 0)
		return give_back(c, l, err);
	/* A queue that is not there has closed the channel. */
	if (r == -ENOENT || r == -EACCES || r == -EBUSY)
		return mq_channel_open(c->mq, CHANNEL_PEEK, NULL) < 0 ? lost(err, -ECONNRESET) : r;
	return r;
}

/* ---- one task ---- */

static int lock(struct taskclient *c, const char *name, unsigned patience_ms, struct error *err)
{
	const struct mq_queue queue = { .name = name, .exclusive = true };
	uint64_t deadline = clock_now_us() + patience_ms * 1000ull;
	int r = mq_declare_queue(c->mq, CHANNEL_PEEK, &queue, NULL, NULL, err);

	while (r == -EACCES && strstr(err->text, "RESOURCE_LOCKED") && clock_now_us() < deadline) {
		clock_sleep_ms(PAUSE_MS);
		r = mq_declare_queue(c->mq, CHANNEL_PEEK, &queue, NULL, NULL, err);
	}
	if (r == -EACCES && strstr(err->text, "RESOURCE_LOCKED"))
		return error_set(err, -EBUSY, "another client is reading it");
	return r;
}

static int take_mail(
	struct taskclient *c, struct mq_event *event, void *userdata, struct error *err)
{
	(void)userdata;
	return pass(c, event, err);
}

static int read_kept(struct taskclient *c, const char *mailbox, unsigned patience_ms,
	struct kept_list *others, struct error *err)
{
	struct look l = { .queue = mailbox, .take = take_mail };
	char name[TASKCLIENT_MAILBOX_SIZE + sizeof(LOCK)];
	int r;

	snprintf(name, sizeof(name), "%s" LOCK, mailbox);
	r = lock(c, name, patience_ms, err);
	if (r < 0)
		return r;
	r = look(c, &l, others, err);
	if (r < 0 && r != -ENOENT && r != -EACCES)
		return r;
	return mq_send_delete_queue(c->mq, CHANNEL_PEEK, name, false, false) < 0
		       ? lost(err, -ECONNRESET)
		       : r;
}

/* Is it there, and can live ones come from now on? */
static int listen(struct taskclient *c, const char *mailbox, struct error *err)
{
	uint32_t ready, consumers;
	int r = mq_channel_open(c->mq, CHANNEL_PEEK, err);

	if (r == 0)
		r = mq_inspect_queue(c->mq, CHANNEL_PEEK, mailbox, &ready, &consumers, err);
	if (r == -ENOENT)
		return error_set(err, r, "nothing is kept for it");
	if (r == 0)
		r = mq_bind(c->mq, CHANNEL_PEEK, c->reply_queue, c->responses, mailbox, err);
	return r;
}

static int watch(struct taskclient *c, const char *id, unsigned patience_ms, struct error *err)
{
	struct kept_list others = { .end = &others.first };
	char mailbox[TASKCLIENT_MAILBOX_SIZE];
	struct submission *s;
	int r;

	if (!id_is_valid(slice_of(id)))
		return error_set(err, -EINVAL, "this cannot be the id of a task");
	if (taskclient_find(c, id))
		return error_set(err, -EINVAL, "this client knows of it anyway");
	taskclient_mailbox_name(id, mailbox);
	r = listen(c, mailbox, err);
	if (r < 0)
		return r;
	s = submission_add(c, id);
	if (!s)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_kept(c, mailbox, patience_ms, &others, err);
	if (r == 0)
		r = happening_post_kind(c, TASKCLIENT_CAUGHT_UP, id, NULL);
	else if ((s = taskclient_find(c, id)))
		submission_remove(c, s);
	return pass_kept(c, &others, r, err);
}

int taskclient_watch(
	struct taskclient *c, const char *id, unsigned patience_ms, struct taskclient_error *err)
{
	struct error why = { 0 };
	int r = watch(c, id, patience_ms, &why);

	return r < 0 ? error_set(error_of(err), r, "%s", why.text) : 0;
}

/* ---- emptying ---- */

static int empty(struct taskclient *c, const char *mailbox, uint32_t *ret_kept, struct error *err)
{
	uint32_t ready, consumers = 0;
	int r = mq_channel_open(c->mq, CHANNEL_MAILBOX, err);

	if (r == 0)
		r = mq_inspect_queue(c->mq, CHANNEL_MAILBOX, mailbox, ret_kept, &consumers, err);
	if (r == 0 && consumers > 0)
		return error_set(err, -EBUSY, "another client is reading it");
	if (r < 0)
		return r;
	r = mq_consume(c->mq, CHANNEL_MAILBOX, mailbox, TAG, false, true);
	if (r < 0)
		return lost(err, r);
	/* Only its answer tells whether we may. */
	r = mq_inspect_queue(c->mq, CHANNEL_MAILBOX, mailbox, &ready, &consumers, err);
	return r == -EACCES && strstr(err->text, "exclusive") ? -EBUSY : r;
}

int taskclient_mailbox_empty(
	struct taskclient *c, const char *mailbox, uint32_t *ret_kept, struct taskclient_error *err)
{
	struct error why = { 0 };
	int r = empty(c, mailbox, ret_kept, &why);

	return r < 0 ? error_set(error_of(err), r, "%s", why.text) : 0;
}

int taskclient_mailbox_settle(struct taskclient *c, uint64_t mail, struct taskclient_error *err)
{
	int r = mq_ack(c->mq, CHANNEL_MAILBOX, mail, false);

	return r < 0 ? lost(error_of(err), r) : 0;
}
