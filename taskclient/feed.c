/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskclient/internal.h"
#include "wire/task_event.h"

#define CHANNEL_EVENTS 1
#define CHANNEL_END    2 /* where the end of a stream is looked for */
#define TAG            "feed"

/* A stream takes acknowledgements for a prefetch; nothing is removed by them. */
#define PREFETCH     2000
#define PREFETCH_END 65535
#define ACK_EACH     500

/* Streams know when a message came to the server; we ask for when it was written. */
#define MARGIN_MS (120 * (int64_t)1000)

#define MS        1000ULL
#define TICK_US   (1000 * MS)
/* How long history is polled for at most: its end shows by silence, too. */
#define HISTORY_WAIT_MS 50
/* The last messages of a stream come together. */
#define END_KNOWN_US (100 * MS)
/* After the server has worked off what we asked it, so much silence means that there is nothing;
 * or, with something still to come, that it does not come. */
#define SILENCE_US      (400 * MS)
#define LONG_SILENCE_US (5000 * MS)
#define PATIENCE_US     (10000 * MS)

struct told_event {
	struct taskclient_feed_event event;
	struct task_event_facts facts;
};

struct taskclient_feed {
	struct mq_connection *mq;
	bool is_history;
	int64_t since_ms;
	uint64_t tick_us, heard_us;
	unsigned n_asked;     /* answers to come before silence means anything */
	int64_t read_offset;  /* of the last message; -1: none yet */
	int64_t end_offset;   /* the last that was there when we began; -1: not known yet */
	int64_t end_time_ms;  /* when it was written */
	uint64_t end_seen_us; /* when that began to show */
	bool end_is_known;
	uint64_t last_tag;
	unsigned n_unacknowledged;
	uint64_t n_ignored;
};

/* ---- opening ---- */

static void close_feed(struct taskclient_feed **feed)
{
	taskclient_feed_close(*feed);
}

int taskclient_feed_open(const struct taskclient_options *options, struct taskclient_feed **ret,
	struct taskclient_error *err)
{
	cleanup_with(close_feed) struct taskclient_feed *feed = calloc(1, sizeof(*feed));
	int r;

	if (!feed)
		return error_set(error_of(err), -ENOMEM, "out of memory");
	feed->read_offset = feed->end_offset = -1;
	r = options_connect(options, &feed->mq, error_of(err));
	if (r == 0)
		r = mq_channel_open(feed->mq, CHANNEL_EVENTS, error_of(err));
	if (r < 0)
		return r;
	*ret = steal_ptr(feed);
	return 0;
}

static int lost(struct error *err, int r)
{
	return error_set(err, r, LOST);
}

/* Two readers: one tells where the end is, the other comes to it. */
static int read_stream(struct taskclient_feed *feed, const char *stream, struct error *err)
{
	int64_t from =
		feed->since_ms > MARGIN_MS ? (feed->since_ms - MARGIN_MS) / 1000 : MQ_STREAM_FIRST;
	int r = mq_consume_stream_from(feed->mq, CHANNEL_END, stream, TAG, MQ_STREAM_LAST);

	if (r == 0)
		r = mq_consume_stream_from(feed->mq, CHANNEL_EVENTS, stream, TAG, from);
	if (r == 0)
		r = mq_send_qos(feed->mq, CHANNEL_END, PREFETCH_END);
	if (r == 0)
		r = mq_send_qos(feed->mq, CHANNEL_EVENTS, PREFETCH);
	feed->n_asked = 2;
	return r < 0 ? lost(err, r) : 0;
}

static int open_history(
	struct taskclient_feed *feed, const char *name, int64_t since_ms, struct error *err)
{
	uint32_t ready, consumers;
	int r = mq_channel_open(feed->mq, CHANNEL_END, err);

	if (r == 0)
		r = mq_inspect_queue(feed->mq, CHANNEL_END, name, &ready, &consumers, err);
	if (r == 0)
		r = mq_qos(feed->mq, CHANNEL_END, PREFETCH_END, err);
	if (r == 0)
		r = mq_qos(feed->mq, CHANNEL_EVENTS, PREFETCH, err);
	if (r < 0)
		return r;
	feed->is_history = true;
	feed->since_ms = since_ms;
	feed->heard_us = clock_now_us();
	return read_stream(feed, name, err);
}

int taskclient_feed_history(struct taskclient_feed *feed, const char *stream, int64_t since_ms,
	struct taskclient_error *err)
{
	return open_history(feed, stream ? stream : TASKCLIENT_HISTORY, since_ms, error_of(err));
}

static int open_live(
	struct taskclient_feed *feed, const char *exchange, const char *pattern, struct error *err)
{
	const struct mq_queue queue = { .name = "", .exclusive = true, .auto_delete = true };
	char name[256];
	int r = mq_declare_queue(feed->mq, CHANNEL_EVENTS, &queue, name, NULL, err);

	if (r == 0)
		r = mq_bind(feed->mq, CHANNEL_EVENTS, name, exchange, pattern, err);
	if (r < 0)
		return r;
	r = mq_consume(feed->mq, CHANNEL_EVENTS, name, TAG, true, true);
	return r < 0 ? lost(err, r) : 0;
}

int taskclient_feed_live(struct taskclient_feed *feed, const char *exchange, const char *pattern,
	struct taskclient_error *err)
{
	return open_live(feed, exchange ? exchange : TASKCLIENT_EVENTS, pattern ? pattern : "#",
		error_of(err));
}

struct taskclient_feed *taskclient_feed_close(struct taskclient_feed *feed)
{
	if (!feed)
		return NULL;
	mq_close(feed->mq);
	free(feed);
	return NULL;
}

int taskclient_feed_fd(const struct taskclient_feed *feed)
{
	return mq_fd(feed->mq);
}

int taskclient_feed_wait_ms(const struct taskclient_feed *feed)
{
	uint64_t now = clock_now_us();

	if (feed->is_history)
		return HISTORY_WAIT_MS;
	return feed->tick_us <= now ? 1 : (int)((feed->tick_us - now) / 1000) + 1;
}

uint64_t taskclient_feed_ignored(const struct taskclient_feed *feed)
{
	return feed->n_ignored;
}

/* ---- what comes ---- */

/* The place of a message in its stream, or -1. */
static int64_t offset_of(const struct mq_delivery *d)
{
	const struct mq_header *h = mq_properties_header(&d->properties, "x-stream-offset");

	return h && h->kind == MQ_HEADER_INT ? h->number : -1;
}

static int acknowledge(struct taskclient_feed *feed)
{
	feed->n_unacknowledged = 0;
	return mq_ack(feed->mq, CHANNEL_EVENTS, feed->last_tag, true);
}

/* Where it ends. What comes while we read is not waited for. */
static void on_end(struct taskclient_feed *feed, const struct mq_delivery *d)
{
	struct task_event_facts facts;

	if (feed->end_is_known)
		return;
	if (feed->end_seen_us == 0)
		feed->end_seen_us = clock_now_us();
	feed->end_offset = offset_of(d);
	if (task_event_decode(buf_slice(&d->body), &facts, NULL) == 0)
		feed->end_time_ms = facts.time_ms;
	task_event_deinit(&facts);
}

static int on_event(
	struct taskclient_feed *feed, const struct mq_delivery *d, struct task_event_facts *ret)
{
	int r = task_event_decode(buf_slice(&d->body), ret, NULL);

	if (r == 0 && ret->time_ms >= feed->since_ms)
		return TASKCLIENT_FEED_EVENT;
	task_event_deinit(ret);
	feed->n_ignored += r == -EINVAL;
	return r == -EINVAL ? 0 : r;
}

static int on_delivery(struct taskclient_feed *feed, const struct mq_event *event,
	struct task_event_facts *ret, struct error *err)
{
	int64_t offset = offset_of(&event->delivery);
	int r = 0;

	feed->heard_us = clock_now_us();
	if (!feed->is_history)
		return on_event(feed, &event->delivery, ret);
	/* Of another queue, acknowledging would take what is in it. */
	if (offset < 0)
		return error_set(err, -EINVAL, "it is not a stream");
	if (event->channel == CHANNEL_END) {
		on_end(feed, &event->delivery);
		return 0;
	}
	feed->read_offset = offset;
	feed->last_tag = event->delivery.tag;
	if (++feed->n_unacknowledged >= ACK_EACH)
		r = acknowledge(feed);
	return r < 0 ? r : on_event(feed, &event->delivery, ret);
}

static int handle(struct taskclient_feed *feed, const struct mq_event *event,
	struct task_event_facts *ret, struct error *err)
{
	switch (event->kind) {
	case MQ_DELIVERY:
		return on_delivery(feed, event, ret, err);
	case MQ_QOS_SET:
		feed->n_asked -= feed->n_asked > 0;
		feed->heard_us = clock_now_us();
		return 0;
	case MQ_CHANNEL_CLOSED:
		return error_set(err,
			event->code == 404   ? -ENOENT
			: event->code == 403 ? -EACCES
					     : -ECONNRESET,
			"%s", event->text);
	case MQ_CONSUMER_CANCELLED:
		return error_set(err, -ENOENT, "the queue that was read was deleted");
	default:
		return 0;
	}
}

/* ---- the end of history ---- */

/* What came last is known as soon as its company is there. */
static int find_end(struct taskclient_feed *feed, uint64_t now)
{
	if (feed->end_is_known || feed->end_seen_us == 0 || now < feed->end_seen_us + END_KNOWN_US)
		return 0;
	feed->end_is_known = true;
	return mq_cancel(feed->mq, CHANNEL_END, TAG);
}

static int look_for_end(struct taskclient_feed *feed, struct error *err)
{
	uint64_t now = clock_now_us(), silence = now - feed->heard_us;
	bool is_older = feed->end_time_ms < feed->since_ms && feed->read_offset < 0;
	int r = find_end(feed, now);

	if (r < 0)
		return lost(err, r);
	if (feed->end_is_known && feed->read_offset >= feed->end_offset)
		return TASKCLIENT_FEED_END;
	if (feed->n_asked > 0)
		return silence < PATIENCE_US
			       ? 0
			       : error_set(err, -ETIMEDOUT, "the server does not answer");
	if (feed->end_seen_us == 0 || is_older)
		return silence < SILENCE_US ? 0 : TASKCLIENT_FEED_END;
	if (silence < LONG_SILENCE_US)
		return 0;
	/* By the server's clock all of it may be older, whatever runners have written. */
	return feed->read_offset < 0
		       ? TASKCLIENT_FEED_END
		       : error_set(err, -ETIMEDOUT, "the stream could not be read to its end");
}

static int next(struct taskclient_feed *feed, struct task_event_facts *ret, struct error *err)
{
	int r = 0;

	if (clock_now_us() >= feed->tick_us) {
		feed->tick_us = clock_now_us() + TICK_US;
		r = mq_tick(feed->mq, err);
	}
	while (r == 0) {
		struct mq_event event;

		if (feed->end_is_known && feed->read_offset >= feed->end_offset)
			return TASKCLIENT_FEED_END;
		r = mq_next(feed->mq, &event, err);
		if (r < 0)
			return r;
		if (r == 0)
			return feed->is_history ? look_for_end(feed, err) : 0;
		if (err)
			*err = (struct error){ 0 };
		r = handle(feed, &event, ret, err);
		mq_event_deinit(&event);
		if (r < 0 && err && !err->code)
			return lost(err, r);
	}
	return r;
}

/* ---- what callers get ---- */

static int tell_event(struct task_event_facts *facts, struct taskclient_feed_event **ret)
{
	struct told_event *t = calloc(1, sizeof(*t));
	const char *cause = cause_name(facts->cause);

	if (!t) {
		task_event_deinit(facts);
		return -ENOMEM;
	}
	t->facts = *facts;
	t->event = (struct taskclient_feed_event){
		.event = event_kind_name(facts->kind),
		.is_final = event_kind_is_final(facts->kind),
		.is_of_runner = event_kind_is_of_runner(facts->kind),
		.id = facts->id,
		.program = facts->program,
		.group = facts->group,
		.user = facts->user,
		.project = facts->project,
		.queue = facts->queue,
		.runner = facts->runner,
		.instance = facts->instance,
		.cause = *cause ? cause : NULL,
		.attempt = facts->attempt > 0 ? facts->attempt : 0,
		.time_ms = facts->time_ms,
		.waited_ms = facts->waited_ms,
		.wall_ms = facts->wall_ms,
		.cpu_ms = facts->cpu_ms,
		.peak_memory = facts->peak_memory,
		.exit_code = facts->exit_code,
		.signal = facts->signal,
	};
	*ret = &t->event;
	return TASKCLIENT_FEED_EVENT;
}

int taskclient_feed_next(struct taskclient_feed *feed, struct taskclient_feed_event **ret,
	struct taskclient_error *err)
{
	struct task_event_facts facts;
	int r = next(feed, &facts, error_of(err));

	if (r == TASKCLIENT_FEED_EVENT)
		r = tell_event(&facts, ret);
	return r == -ENOMEM ? error_set(error_of(err), r, "out of memory") : r;
}

void taskclient_feed_event_free(struct taskclient_feed_event *event)
{
	struct told_event *t = (struct told_event *)event; /* it stands first */

	if (!t)
		return;
	task_event_deinit(&t->facts);
	free(t);
}
