/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl history: tasks that have ended, from the stream that keeps their events. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "taskctl/feeds.h"

#define VERB         "history"
#define SINCE_MS     (24 * 3600 * (uint64_t)1000)
#define LIMIT_MAX    1000000
#define ROWS_AT_ONCE 1000

enum { OPTION_STREAM = OPTION_OF_VERB };

struct history_verb {
	struct common_options options;
	struct feed_filter filter;
	const char *stream;
	uint64_t since_ms;
	bool failed;
	struct taskclient_feed *feed;
	struct table *table;
	bool has_printed;
	/* The last @limit of them, as a ring; 0: no limit. */
	struct taskclient_feed_event **kept;
	size_t limit, n_kept, next;
};

enum {
	TIME,
	ID,
	PROGRAM,
	STATE,
	CAUSE,
	WAITED,
	WALL,
	CPU,
	RUNNER,
	GROUP,
	USER,
	PROJECT,
	QUEUE,
	ATTEMPT,
	PEAK_MEMORY,
	EXIT_CODE,
	SIGNAL,
	N_COLUMNS,
};

static const struct column columns[N_COLUMNS] = {
	[TIME] = { "TIME", "time", COLUMN_TIME },
	[ID] = { "ID", "id", COLUMN_TEXT, .min = 8, .ends = true },
	[PROGRAM] = { "PROGRAM", "program", COLUMN_TEXT, .min = 8 },
	[STATE] = { "OUTCOME", "state", COLUMN_STATE },
	[CAUSE] = { "CAUSE", "cause", COLUMN_TEXT, .drop = 1 },
	[WAITED] = { "WAITED", "waited_ms", COLUMN_DURATION, .drop = 3 },
	[WALL] = { "WALL", "wall_ms", COLUMN_DURATION, .drop = 2 },
	[CPU] = { "CPU", "cpu_ms", COLUMN_DURATION, .drop = 4 },
	[RUNNER] = { "RUNNER", "runner", COLUMN_TEXT, .drop = 5, .min = 8 },
	[GROUP] = { NULL, "group", COLUMN_TEXT },
	[USER] = { NULL, "user", COLUMN_TEXT },
	[PROJECT] = { NULL, "project", COLUMN_TEXT },
	[QUEUE] = { NULL, "queue", COLUMN_TEXT },
	[ATTEMPT] = { NULL, "attempt", COLUMN_COUNT },
	[PEAK_MEMORY] = { NULL, "peak_memory", COLUMN_BYTES },
	[EXIT_CODE] = { NULL, "exit_code", COLUMN_COUNT },
	[SIGNAL] = { NULL, "signal", COLUMN_COUNT },
};

static int64_t known(int64_t number)
{
	return number == TASKCLIENT_UNKNOWN ? TABLE_ABSENT : number;
}

static void put(struct table *t, const struct taskclient_feed_event *f)
{
	table_row(t);
	table_put_number(t, TIME, f->time_ms);
	table_put_text(t, ID, f->id);
	table_put_text(t, PROGRAM, f->program);
	table_put_text(t, STATE, f->event);
	table_put_text(t, CAUSE, f->cause);
	table_put_number(t, WAITED, known(f->waited_ms));
	table_put_number(t, WALL, known(f->wall_ms));
	table_put_number(t, CPU, known(f->cpu_ms));
	table_put_text(t, RUNNER, f->runner);
	table_put_text(t, GROUP, f->group);
	table_put_text(t, USER, f->user);
	table_put_text(t, PROJECT, f->project);
	table_put_text(t, QUEUE, f->queue);
	table_put_number(t, ATTEMPT, f->attempt > 0 ? f->attempt : TABLE_ABSENT);
	table_put_number(t, PEAK_MEMORY, known(f->peak_memory));
	table_put_number(t, EXIT_CODE, known(f->exit_code));
	table_put_number(t, SIGNAL, known(f->signal));
}

/* A stream can be long: what is read is written bit by bit. */
static int show(struct history_verb *v, const struct taskclient_feed_event *f)
{
	int r = GOING_ON;

	put(v->table, f);
	if (table_rows(v->table) >= ROWS_AT_ONCE) {
		r = table_show(v->table, &v->options.output) == 0 ? GOING_ON : EXIT_LOCAL;
		table_clear(v->table);
		v->has_printed = true;
	}
	return r;
}

/* Takes it over. */
static void keep(struct history_verb *v, struct taskclient_feed_event **f)
{
	struct taskclient_feed_event **place = &v->kept[v->next];

	if (v->n_kept == v->limit)
		taskclient_feed_event_free(*place);
	else
		v->n_kept++;
	*place = steal_ptr(*f);
	v->next = (v->next + 1) % v->limit;
}

static int take_event(void *userdata, struct taskclient_feed_event **event)
{
	struct history_verb *v = userdata;
	const struct taskclient_feed_event *f = *event;

	if (!f->is_final || (v->failed && strcmp(f->event, "failed") != 0) ||
		!feed_filter_fits(&v->filter, f))
		return GOING_ON;
	if (v->limit == 0)
		return show(v, f);
	keep(v, event);
	return GOING_ON;
}

static int show_kept(struct history_verb *v)
{
	size_t first = v->n_kept < v->limit ? 0 : v->next;
	int r = GOING_ON;

	for (size_t i = 0; i < v->n_kept && r == GOING_ON; i++)
		r = show(v, v->kept[(first + i) % v->limit]);
	return r;
}

static int list(struct history_verb *v)
{
	int r;

	v->table = table_new(columns, N_COLUMNS);
	if (v->limit > 0)
		v->kept = calloc(v->limit, sizeof(*v->kept));
	if (v->limit > 0 && !v->kept)
		return EXIT_LOCAL;
	r = open_history(&v->options.broker, v->stream, v->since_ms, &v->feed);
	if (r == 0)
		r = read_history(v->feed, take_event, v);
	if (r == EXIT_DONE)
		r = show_kept(v);
	if (r != GOING_ON)
		return r;
	r = table_show(v->table, &v->options.output);
	if (r == EXIT_DONE && !v->has_printed)
		table_show_counts(v->table, STATE, &v->options.output);
	return r;
}

static int take_limit(struct history_verb *v, const char *text)
{
	int64_t limit;

	if (parse_int(text, 1, LIMIT_MAX, &limit) < 0)
		return usage_error(
			VERB, "--limit: '%s' is no number from 1 to %d", text, LIMIT_MAX);
	v->limit = (size_t)limit;
	return GOING_ON;
}

static int take_option(void *userdata, int c)
{
	struct history_verb *v = userdata;
	int r = GOING_ON;

	switch (c) {
	case 's':
		r = read_duration(VERB, "--since", optarg, &v->since_ms);
		return r == 0 ? GOING_ON : r;
	case 'n':
		return take_limit(v, optarg);
	case 'f':
		v->failed = true;
		break;
	case 'p':
		v->filter.program = optarg;
		break;
	case 'g':
		v->filter.group = optarg;
		break;
	case 'u':
		v->filter.user = optarg;
		break;
	case OPTION_STREAM:
		v->stream = optarg;
		break;
	}
	return r;
}

static void forget(struct history_verb *v)
{
	for (size_t i = 0; i < v->n_kept; i++)
		taskclient_feed_event_free(v->kept[i]);
	free(v->kept);
	table_free(v->table);
	taskclient_feed_close(v->feed);
	options_deinit(&v->options);
}

static int run(int argc, char **argv)
{
	struct history_verb v = { .since_ms = SINCE_MS };
	int r = read_options(&verb_history, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much: it takes options alone", argv[optind]);
	if (r == GOING_ON)
		r = list(&v);
	forget(&v);
	return r;
}

static const struct verb_option options[] = {
	{ "since", 's', "TIME", NULL, "from so long ago on, such as 90s, 5m or 1.5h; default 1d" },
	{ "failed", 'f', NULL, NULL, "only those that have failed" },
	{ "program", 'p', "PROGRAM", NULL, "only tasks of this program" },
	{ "group", 'g', "GROUP", NULL, "only tasks of this group" },
	{ "user", 'u', "USER", NULL, "only tasks of this user" },
	{ "limit", 'n', "N", NULL, "only the last N of them" },
	{ "stream", OPTION_STREAM, "NAME", NULL,
		"the stream that keeps events; default " TASKCLIENT_HISTORY },
	{ 0 },
};

const struct verb verb_history = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "list tasks that have ended",
	.arguments = "[OPTIONS]",
	.about =
		"Lists tasks that have ended, one in a line, the newest last: from the events that "
		"runners have told, as far as the broker has kept them.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = "0 done, 2 usage, 3 broker trouble, 4 no such stream, 6 output not writable",
	.run = run,
};
