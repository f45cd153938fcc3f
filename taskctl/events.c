/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl events: what happens to tasks and runners, while it happens. */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "taskctl/feeds.h"

#define VERB "events"

enum { OPTION_PATTERN = OPTION_OF_VERB, OPTION_EXCHANGE };

struct events_verb {
	struct common_options options;
	const char *exchange, *pattern;
	int64_t limit; /* 0: none */
	int64_t n_shown;
	struct taskclient_feed *feed;
	struct table *table;
	int signal_fd;
};

enum { TIME, EVENT, ID, PROGRAM, CAUSE, RUNNER, WAITED, WALL, GROUP, USER, ATTEMPT, N_COLUMNS };

static const struct column columns[N_COLUMNS] = {
	[TIME] = { "TIME", "time", COLUMN_TIME },
	[EVENT] = { "EVENT", "event", COLUMN_STATE, .width = LONGEST_STATE },
	[ID] = { "ID", "id", COLUMN_TEXT, .min = 8, .ends = true, .width = LENGTH_OF_UUID },
	[PROGRAM] = { "PROGRAM", "program", COLUMN_TEXT, .min = 8, .width = 12 },
	[CAUSE] = { "CAUSE", "cause", COLUMN_TEXT, .drop = 1, .width = 9 },
	[RUNNER] = { "RUNNER", "runner", COLUMN_TEXT, .drop = 2, .min = 8 },
	[WAITED] = { NULL, "waited_ms", COLUMN_DURATION },
	[WALL] = { NULL, "wall_ms", COLUMN_DURATION },
	[GROUP] = { NULL, "group", COLUMN_TEXT },
	[USER] = { NULL, "user", COLUMN_TEXT },
	[ATTEMPT] = { NULL, "attempt", COLUMN_COUNT },
};

static int64_t known(int64_t number)
{
	return number == TASKCLIENT_UNKNOWN ? TABLE_ABSENT : number;
}

static int show(struct events_verb *v, const struct taskclient_feed_event *f)
{
	struct table *t = v->table;
	int r;

	table_row(t);
	table_put_number(t, TIME, f->time_ms);
	table_put_text(t, EVENT, f->event);
	table_put_text(t, ID, f->id);
	table_put_text(t, PROGRAM, f->program);
	table_put_text(t, CAUSE, f->cause);
	table_put_text(t, RUNNER, f->runner);
	table_put_number(t, WAITED, known(f->waited_ms));
	table_put_number(t, WALL, known(f->wall_ms));
	table_put_text(t, GROUP, f->group);
	table_put_text(t, USER, f->user);
	table_put_number(t, ATTEMPT, f->attempt > 0 ? f->attempt : TABLE_ABSENT);
	r = table_show(t, &v->options.output);
	table_clear(t);
	if (r != EXIT_DONE)
		return r;
	return ++v->n_shown == v->limit ? EXIT_DONE : GOING_ON;
}

/* All that has come. */
static int show_some(struct events_verb *v)
{
	for (;;) {
		struct taskclient_feed_event *event;
		struct taskclient_error err = { 0 };
		int r = taskclient_feed_next(v->feed, &event, &err);

		if (r < 0)
			return feed_lost(&err);
		if (r == 0)
			return GOING_ON;
		r = show(v, event);
		taskclient_feed_event_free(event);
		if (r != GOING_ON)
			return r;
	}
}

/* Until Ctrl-C, or nobody reads any more. */
static int follow(struct events_verb *v)
{
	struct pollfd fds[] = {
		{ .fd = taskclient_feed_fd(v->feed), .events = POLLIN },
		{ .fd = v->signal_fd, .events = POLLIN },
		{ .fd = STDOUT_FILENO }, /* its reader is gone */
	};
	int r;

	while ((r = show_some(v)) == GOING_ON) {
		(void)poll(fds, 3, taskclient_feed_wait_ms(v->feed));
		if (fds[1].revents)
			return EXIT_DONE;
		if (fds[2].revents & (POLLERR | POLLHUP))
			return EXIT_LOCAL;
	}
	return r;
}

static int catch_signals(struct events_verb *v)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	v->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return v->signal_fd < 0 ? EXIT_LOCAL : 0;
}

static int listen_and_follow(struct events_verb *v)
{
	int r = open_live(&v->options.broker, v->exchange, v->pattern, &v->feed);

	if (r == 0)
		r = catch_signals(v);
	if (r != 0)
		return r;
	v->table = table_new(columns, N_COLUMNS);
	say("listening; Ctrl-C ends it");
	return follow(v);
}

static int take_option(void *userdata, int c)
{
	struct events_verb *v = userdata;

	if (c == OPTION_PATTERN)
		v->pattern = optarg;
	else if (c == OPTION_EXCHANGE)
		v->exchange = optarg;
	else if (parse_int(optarg, 1, INT64_MAX, &v->limit) < 0)
		return usage_error(VERB, "--limit: '%s' is no number from 1 on", optarg);
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct events_verb v = { .signal_fd = -1 };
	int r = read_options(&verb_events, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much: it takes options alone", argv[optind]);
	if (r == GOING_ON)
		r = listen_and_follow(&v);
	table_free(v.table);
	close_fd(v.signal_fd);
	taskclient_feed_close(v.feed);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "follow-pattern", OPTION_PATTERN, "KEY", NULL,
		"only events whose key fits: task.EVENT.PROGRAM or runner.EVENT.NAME, where * is "
		"any word and # any number of them; default #" },
	{ "limit", 'n', "N", NULL, "end after N events" },
	{ "exchange", OPTION_EXCHANGE, "NAME", NULL,
		"where runners tell them; default " TASKCLIENT_EVENTS },
	{ 0 },
};

const struct verb verb_events = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "show what happens to tasks and runners, live",
	.arguments = "[OPTIONS]",
	.about = "Shows events of tasks and runners as they happen, one in a line, until Ctrl-C.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = "0 done, 2 usage, 3 broker trouble, 4 no such exchange, 6 output not writable",
	.run = run,
};
