/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl wait: until tasks have ended; a line for each. */
#include "common/clock.h"
#include "taskctl/watch.h"

#define VERB "wait"

enum { OPTION_ANY = OPTION_OF_VERB };

struct wait_verb {
	struct common_options options;
	struct watch watch;
	struct table *table;
	bool any;
	uint64_t timeout_ms;
};

enum { ID, STATE, CAUSE, CODE, SIGNAL, RUNNER, ATTEMPT, WALL, CPU, MEMORY, COLUMNS };

static const struct column columns[COLUMNS] = {
	[ID] = { "ID", "id", COLUMN_TEXT },
	[STATE] = { "STATE", "state", COLUMN_STATE },
	[CAUSE] = { "CAUSE", "cause", COLUMN_TEXT },
	[CODE] = { "EXIT", "exit_code", COLUMN_COUNT, .drop = 3 },
	[SIGNAL] = { NULL, "signal", COLUMN_COUNT },
	[RUNNER] = { "RUNNER", "runner", COLUMN_TEXT, .drop = 2, .min = 8 },
	[ATTEMPT] = { NULL, "attempt", COLUMN_COUNT },
	[WALL] = { "TIME", "wall_ms", COLUMN_DURATION, .drop = 1 },
	[CPU] = { "CPU", "cpu_ms", COLUMN_DURATION, .drop = 4 },
	[MEMORY] = { "MEMORY", "peak_memory", COLUMN_BYTES, .drop = 5 },
};

static void put_known(struct table *t, size_t column, int64_t number)
{
	if (number != TASKCLIENT_UNKNOWN)
		table_put_number(t, column, number);
}

static int print(struct wait_verb *v, const struct taskclient_event *event)
{
	struct table *t = v->table;
	int r;

	table_row(t);
	table_put_text(t, ID, event->id);
	table_put_text(t, STATE, final_state(event->status));
	table_put_text(t, CAUSE, event->cause);
	put_known(t, CODE, event->exit_code);
	put_known(t, SIGNAL, event->signal);
	table_put_text(t, RUNNER, event->runner);
	table_put_number(t, ATTEMPT, event->attempt);
	put_known(t, WALL, event->wall_ms);
	put_known(t, CPU, event->cpu_ms);
	put_known(t, MEMORY, event->peak_memory);
	r = table_show(t, &v->options.output);
	table_clear(t);
	return r;
}

static int on_event(struct watch *w, struct watched *task, const struct taskclient_event *event)
{
	struct wait_verb *v = w->userdata;
	int r;

	if (event->kind != TASKCLIENT_RESPONSE || !event->is_final)
		return GOING_ON;
	r = print(v, event);
	if (r != EXIT_DONE)
		return r;
	watch_over(w, task, final_status(event));
	return v->any ? final_status(event) : GOING_ON;
}

static int wait_all(struct wait_verb *v, int n, char **ids)
{
	struct watch *w = &v->watch;
	int r = watch_take_ids(w, n, ids);

	if (v->timeout_ms > 0)
		w->deadline_us = clock_now_us() + v->timeout_ms * 1000;
	v->table = table_new(columns, COLUMNS);
	if (r == 0)
		r = watch_run(w);
	if (r == EXIT_TOO_LATE && w->n_left > 0 && clock_now_us() >= w->deadline_us)
		say("the time is over; not ended: %zu of %zu", w->n_left, w->n);
	table_free(v->table);
	watch_deinit(w);
	return r;
}

static int take_option(void *verb, int c)
{
	struct wait_verb *v = verb;

	if (c == OPTION_ANY)
		v->any = true;
	else if (read_duration(VERB, "--timeout", optarg, &v->timeout_ms) != 0)
		return EXIT_USAGE;
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct wait_verb v = { 0 };
	int r = read_options(&verb_wait, argc, argv, take_option, &v, &v.options);

	v.watch = (struct watch){
		.options = &v.options,
		.verb = VERB,
		.deadline_us = UINT64_MAX,
		.userdata = &v,
		.on_event = on_event,
	};
	if (r == GOING_ON)
		r = wait_all(&v, argc - optind, argv + optind);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "any", OPTION_ANY, NULL, NULL, "until one of them has ended" },
	{ "timeout", 't', "TIME", NULL, "not longer than this; default: as long as it takes" },
	{ 0 },
};

const struct verb verb_wait = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "wait until tasks that were submitted have ended",
	.arguments = "[OPTIONS] ID…",
	.about = "Waits until all tasks have ended, and prints a line for each when it has. Takes "
		 "nothing away: results can be read later, and by others.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_RESPONSES | SHARES_OUTPUT,
	.exits = "0 all succeeded, 1 one failed, 2 usage, 3 broker trouble, 4 nothing is kept for "
		 "an id, 5 one timed out or was silent, or the time was over, 6 stdout cannot be "
		 "written, 130 one was cancelled; of several the highest",
	.run = run,
};
