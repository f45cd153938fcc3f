/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs about events share: history, stats, events. */

#include "taskctl/taskctl.h"

/* Which of them a person wants to see; NULL: all. */
struct feed_filter {
	const char *program, *group, *user;
};

bool feed_filter_fits(const struct feed_filter *filter, const struct taskclient_feed_event *event);

/* Connects, asks for events, and tells what is wrong. 0, or an exit status. @stream, @exchange and
 * @pattern NULL: the default. */
int open_history(const struct broker_options *options, const char *stream, uint64_t ago_ms,
	struct taskclient_feed **ret);
int open_live(const struct broker_options *options, const char *exchange, const char *pattern,
	struct taskclient_feed **ret);

/* Gives all of history to @take, which gives GOING_ON or an exit status, until its end. @event may
 * be taken over: then it is to become NULL. EXIT_DONE or another exit status. */
int read_history(struct taskclient_feed *feed,
	int (*take)(void *v, struct taskclient_feed_event **event), void *v);
/* The connection is lost: tells it and gives the exit status. */
int feed_lost(const struct taskclient_error *err);
