/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/feeds.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"

static bool is_wanted(const char *wanted, const char *given)
{
	return !wanted || (given && strcmp(wanted, given) == 0);
}

bool feed_filter_fits(const struct feed_filter *filter, const struct taskclient_feed_event *event)
{
	return is_wanted(filter->program, event->program) &&
	       is_wanted(filter->group, event->group) && is_wanted(filter->user, event->user);
}

static int connect_feed(
	const struct taskclient_options *connection, void *userdata, struct taskclient_error *err)
{
	return taskclient_feed_open(connection, userdata, err);
}

static void close_feed(struct taskclient_feed **feed)
{
	taskclient_feed_close(*feed);
}

static int refused(const char *what, const char *name, int r, const struct taskclient_error *err)
{
	if (r == -ENOENT)
		say("there is no %s '%s': no runner has told events here, or it is configured with "
		    "another name",
			what, name);
	else if (r == -EACCES)
		say("the %s '%s' is not for us: %s", what, name, err->text);
	else
		say("the %s '%s' cannot be read: %s", what, name, err->text);
	return r == -ENOENT ? EXIT_NO_QUEUE : EXIT_BROKER;
}

int open_history(const struct broker_options *options, const char *stream, uint64_t ago_ms,
	struct taskclient_feed **ret)
{
	cleanup_with(close_feed) struct taskclient_feed *feed = NULL;
	struct taskclient_error err = { 0 };
	struct timespec now;
	int r = open_broker(options, connect_feed, &feed);

	if (r != 0)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	r = taskclient_feed_history(
		feed, stream, (int64_t)now.tv_sec * 1000 - (int64_t)ago_ms, &err);
	if (r < 0)
		return refused("stream", stream ? stream : TASKCLIENT_HISTORY, r, &err);
	*ret = steal_ptr(feed);
	return 0;
}

int open_live(const struct broker_options *options, const char *exchange, const char *pattern,
	struct taskclient_feed **ret)
{
	cleanup_with(close_feed) struct taskclient_feed *feed = NULL;
	struct taskclient_error err = { 0 };
	int r = open_broker(options, connect_feed, &feed);

	if (r != 0)
		return r;
	r = taskclient_feed_live(feed, exchange, pattern, &err);
	if (r < 0)
		return refused("exchange", exchange ? exchange : TASKCLIENT_EVENTS, r, &err);
	*ret = steal_ptr(feed);
	return 0;
}

int feed_lost(const struct taskclient_error *err)
{
	say("no more events can be had: %s", err->text);
	return EXIT_BROKER;
}

int read_history(struct taskclient_feed *feed,
	int (*take)(void *v, struct taskclient_feed_event **event), void *v)
{
	for (;;) {
		struct pollfd p = { .fd = taskclient_feed_fd(feed), .events = POLLIN };
		struct taskclient_feed_event *event = NULL;
		struct taskclient_error err = { 0 };
		int r = taskclient_feed_next(feed, &event, &err);

		if (r < 0)
			return feed_lost(&err);
		if (r == TASKCLIENT_FEED_END)
			return EXIT_DONE;
		if (r == 0) {
			(void)poll(&p, 1, taskclient_feed_wait_ms(feed));
			continue;
		}
		r = take(v, &event);
		taskclient_feed_event_free(event);
		if (r != GOING_ON)
			return r;
	}
}
