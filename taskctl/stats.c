/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl stats: what the programs take, from the events of tasks that have ended. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "taskctl/feeds.h"

#define VERB     "stats"
#define SINCE_MS (24 * 3600 * (uint64_t)1000)
/* So that memory is bounded: 4 bytes for each of two times of a task. */
#define TASKS_MAX    8000000
#define PROGRAMS_MAX 10000

enum { OPTION_STREAM = OPTION_OF_VERB };

/* Milliseconds; what is longer than 49 days counts as that. */
struct times {
	uint32_t *ms;
	size_t n, cap;
};

struct program_stats {
	char *name;
	int64_t count, failed, cancelled, cpu_ms;
	struct times waited, wall;
};

struct stats_verb {
	struct common_options options;
	struct feed_filter filter;
	const char *stream;
	uint64_t since_ms;
	struct taskclient_feed *feed;
	struct program_stats *programs; /* ordered by name */
	size_t n_programs;
	size_t n_tasks;
	bool is_cut;
};

/* ---- gathering ---- */

static int add_time(struct times *t, int64_t ms)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		uint32_t *grown = reallocarray(t->ms, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->ms = grown;
		t->cap = cap;
	}
	t->ms[t->n++] = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
	return 0;
}

/* Where a program of this name stands, or would. */
static size_t place_of(const struct stats_verb *v, const char *name)
{
	size_t low = 0, high = v->n_programs;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(v->programs[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct program_stats *insert(struct stats_verb *v, size_t at, const char *name)
{
	struct program_stats *grown = reallocarray(v->programs, v->n_programs + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		v->programs = grown;
	if (!grown || !copy) {
		free(copy);
		return NULL;
	}
	memmove(&grown[at + 1], &grown[at], (v->n_programs - at) * sizeof(*grown));
	grown[at] = (struct program_stats){ .name = copy };
	v->n_programs++;
	return &grown[at];
}

static struct program_stats *find_program(struct stats_verb *v, const char *name)
{
	size_t at = place_of(v, name);

	if (at < v->n_programs && strcmp(v->programs[at].name, name) == 0)
		return &v->programs[at];
	return insert(v, at, name);
}

static int count(struct program_stats *p, const struct taskclient_feed_event *f)
{
	int r = 0;

	p->count++;
	p->failed += strcmp(f->event, "failed") == 0;
	p->cancelled += strcmp(f->event, "cancelled") == 0;
	p->cpu_ms += f->cpu_ms > 0 ? f->cpu_ms : 0;
	/* What was never started has waited for nothing, and did not run. */
	if (f->waited_ms >= 0)
		r = add_time(&p->waited, f->waited_ms);
	if (r == 0 && f->waited_ms >= 0 && f->wall_ms >= 0)
		r = add_time(&p->wall, f->wall_ms);
	return r;
}

static int take_event(void *userdata, struct taskclient_feed_event **event)
{
	struct stats_verb *v = userdata;
	const struct taskclient_feed_event *f = *event;
	struct program_stats *p;

	if (!f->is_final || !feed_filter_fits(&v->filter, f))
		return GOING_ON;
	if (v->n_tasks == TASKS_MAX || v->n_programs > PROGRAMS_MAX) {
		v->is_cut = true;
		return GOING_ON;
	}
	v->n_tasks++;
	p = find_program(v, f->program ? f->program : "");
	if (p && count(p, f) == 0)
		return GOING_ON;
	say("out of memory");
	return EXIT_LOCAL;
}

/* ---- showing ---- */

enum {
	PROGRAM,
	COUNT,
	FAILED,
	CANCELLED,
	FAILURE_RATE,
	WAITED_P50,
	WAITED_P95,
	WAITED_P99,
	WALL_P50,
	WALL_P95,
	WALL_P99,
	CPU,
	N_COLUMNS,
};

static const struct column columns[N_COLUMNS] = {
	[PROGRAM] = { "PROGRAM", "program", COLUMN_TEXT, .min = 10 },
	[COUNT] = { "COUNT", "count", COLUMN_COUNT },
	[FAILED] = { "FAILED", "failed", COLUMN_COUNT },
	[CANCELLED] = { "CANCELLED", "cancelled", COLUMN_COUNT, .drop = 3 },
	[FAILURE_RATE] = { "FAILURES", "failure_rate", COLUMN_FRACTION, .drop = 6, .min = 4 },
	[WAITED_P50] = { "WAIT P50", "waited_p50_ms", COLUMN_DURATION, .drop = 4 },
	[WAITED_P95] = { "P95", "waited_p95_ms", COLUMN_DURATION, .drop = 5 },
	[WAITED_P99] = { "P99", "waited_p99_ms", COLUMN_DURATION, .drop = 5 },
	[WALL_P50] = { "RUN P50", "wall_p50_ms", COLUMN_DURATION, .drop = 1 },
	[WALL_P95] = { "P95", "wall_p95_ms", COLUMN_DURATION, .drop = 2 },
	[WALL_P99] = { "P99", "wall_p99_ms", COLUMN_DURATION, .drop = 2 },
	[CPU] = { "CPU", "cpu_ms", COLUMN_DURATION, .drop = 4 },
};

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The least time that so many of a hundred did not exceed. */
static int64_t percentile(const struct times *t, size_t percent)
{
	return t->n == 0 ? TABLE_ABSENT : (int64_t)t->ms[(t->n * percent + 99) / 100 - 1];
}

static void put_times(struct table *t, size_t column, struct times *times)
{
	if (times->n > 0)
		qsort(times->ms, times->n, sizeof(*times->ms), compare);
	table_put_number(t, column, percentile(times, 50));
	table_put_number(t, column + 1, percentile(times, 95));
	table_put_number(t, column + 2, percentile(times, 99));
}

static int show(struct stats_verb *v)
{
	struct table *t = table_new(columns, N_COLUMNS);
	int r;

	for (size_t i = 0; i < v->n_programs; i++) {
		struct program_stats *p = &v->programs[i];

		table_row(t);
		table_put_text(t, PROGRAM, p->name);
		table_put_number(t, COUNT, p->count);
		table_put_number(t, FAILED, p->failed);
		table_put_number(t, CANCELLED, p->cancelled);
		table_put_real(t, FAILURE_RATE, (double)p->failed / (double)p->count);
		put_times(t, WAITED_P50, &p->waited);
		put_times(t, WALL_P50, &p->wall);
		table_put_number(t, CPU, p->cpu_ms);
	}
	r = table_show(t, &v->options.output);
	table_free(t);
	return r;
}

static int gather(struct stats_verb *v)
{
	int r = open_history(&v->options.broker, v->stream, v->since_ms, &v->feed);

	if (r == 0)
		r = read_history(v->feed, take_event, v);
	if (r != EXIT_DONE)
		return r;
	if (v->is_cut)
		say("there are more than %d tasks, or %d programs: the later ones are left out; "
		    "try a shorter --since",
			TASKS_MAX, PROGRAMS_MAX);
	return show(v);
}

/* ---- the verb ---- */

static int take_option(void *userdata, int c)
{
	struct stats_verb *v = userdata;
	int r = 0;

	if (c == 's')
		r = read_duration(VERB, "--since", optarg, &v->since_ms);
	else if (c == 'p')
		v->filter.program = optarg;
	else
		v->stream = optarg;
	return r == 0 ? GOING_ON : r;
}

static void forget(struct stats_verb *v)
{
	for (size_t i = 0; i < v->n_programs; i++) {
		free(v->programs[i].name);
		free(v->programs[i].waited.ms);
		free(v->programs[i].wall.ms);
	}
	free(v->programs);
	taskclient_feed_close(v->feed);
	options_deinit(&v->options);
}

static int run(int argc, char **argv)
{
	struct stats_verb v = { .since_ms = SINCE_MS };
	int r = read_options(&verb_stats, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much: it takes options alone", argv[optind]);
	if (r == GOING_ON)
		r = gather(&v);
	forget(&v);
	return r;
}

static const struct verb_option options[] = {
	{ "since", 's', "TIME", NULL, "from so long ago on, such as 90s, 5m or 1.5h; default 1d" },
	{ "program", 'p', "PROGRAM", NULL, "only this program" },
	{ "stream", OPTION_STREAM, "NAME", NULL,
		"the stream that keeps events; default " TASKCLIENT_HISTORY },
	{ 0 },
};

const struct verb verb_stats = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "how often programs fail, and what time they take",
	.arguments = "[OPTIONS]",
	.about = "For each program: how many of its tasks have ended and how many of them failed, "
		 "the "
		 "times that half, 95 and 99 of a hundred did not exceed, waiting and running, and "
		 "processor time in all. From the events that runners have told, as far as the "
		 "broker has kept them.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = "0 done, 2 usage, 3 broker trouble, 4 no such stream, 6 output not writable",
	.run = run,
};
