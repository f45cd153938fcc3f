/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Events of tasks and runners: those of the past, from the stream that keeps them, up to its
 * present end; or those to come, from the exchange. Nothing is written for it at the server but the
 * queue that live ones need.
 *
 * Life:
 *  1. taskclient_feed_open connects: a connection of its own; then one of taskclient_feed_history
 *     and taskclient_feed_live, once. These may wait for the server.
 *  2. The caller polls taskclient_feed_fd for reading, for at most taskclient_feed_wait_ms, and
 *     calls taskclient_feed_next until it gives 0.
 *  3. taskclient_feed_close, also after a negative result.
 *
 * Memory does not depend on how much is read. One thread at a time. Does not log.
 */

#include "mq/connection.h"
#include "wire/task_event.h"

#define TASKCLIENT_EVENTS  "task-events"
#define TASKCLIENT_HISTORY "taskrunner.history"

struct taskclient_feed; /* opaque */

/* Connects. @connection is borrowed for the call. 0 or a negative errno. */
int taskclient_feed_open(
	const struct mq_options *connection, struct taskclient_feed **ret, struct error *err);
/* What runners told since @since_ms (by their clocks; in ms since 1970; 0: all that is kept).
 * @stream NULL: the default. 0, -ENOENT (no such stream), -EACCES, or another negative errno. */
int taskclient_feed_history(
	struct taskclient_feed *feed, const char *stream, int64_t since_ms, struct error *err);
/* What they tell from now on, of keys that fit @pattern ("task.failed.*"; NULL: all). @exchange
 * NULL: the default. Likewise. */
int taskclient_feed_live(
	struct taskclient_feed *feed, const char *exchange, const char *pattern, struct error *err);
struct taskclient_feed *taskclient_feed_close(struct taskclient_feed *feed); /* gives NULL */

int taskclient_feed_fd(const struct taskclient_feed *feed);
int taskclient_feed_wait_ms(const struct taskclient_feed *feed);

enum {
	TASKCLIENT_FEED_EVENT = 1,
	TASKCLIENT_FEED_END = 2, /* of history: all has been given that was there when it began */
};
/* One of these two, 0 (nothing for now) or a negative errno: -ETIMEDOUT where a stream stops before
 * its end. An event fills @ret, to be released with task_event_deinit. */
int taskclient_feed_next(
	struct taskclient_feed *feed, struct task_event_facts *ret, struct error *err);
/* Messages that were no events, and were left out. */
uint64_t taskclient_feed_ignored(const struct taskclient_feed *feed);
