/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl runners: who is there, and how busy. */
#include <string.h>

#include "taskctl/asking.h"
#include "taskctl/looking.h"

#define VERB "runners"

enum {
	RUNNER,
	STATE,
	HOST,
	VERSION,
	SLOTS,
	USED,
	FREE,
	WAITING,
	HELD,
	PAUSED,
	LOAD,
	UPTIME,
	QUEUES,
	PID,
	INSTANCE,
	COLUMNS,
};

static const struct column columns[] = {
	[RUNNER] = { "RUNNER", "runner", COLUMN_TEXT, .min = 8 },
	[STATE] = { "STATE", "state", COLUMN_STATE },
	[HOST] = { "HOST", "host", COLUMN_TEXT, .drop = 5, .min = 8 },
	[VERSION] = { "VERSION", "version", COLUMN_TEXT, .drop = 8 },
	[SLOTS] = { "SLOTS", "slots", COLUMN_COUNT },
	[USED] = { "USED", "used", COLUMN_COUNT },
	[FREE] = { "FREE", "free", COLUMN_COUNT, .drop = 1 },
	[WAITING] = { "WAITING", "waiting", COLUMN_COUNT, .drop = 2 },
	[HELD] = { "HELD", "held", COLUMN_COUNT, .drop = 3 },
	[PAUSED] = { "PAUSED", "paused", COLUMN_COUNT, .drop = 4 },
	[LOAD] = { "LOAD", "load", COLUMN_NUMBER, .drop = 6 },
	[UPTIME] = { "UPTIME", "uptime_ms", COLUMN_AGE, .drop = 7 },
	[QUEUES] = { "QUEUES", "queues", COLUMN_TEXT, .drop = 9, .min = 12 },
	[PID] = { NULL, "pid", COLUMN_COUNT },
	[INSTANCE] = { NULL, "instance", COLUMN_TEXT },
};

struct runners_verb {
	struct common_options options;
	uint64_t wait_ms;
	struct table *table;
	struct taskclient *client;
	struct asking asking;
};

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct runners_verb *v = userdata;

	(void)index;
	if (answer && taskclient_answer_text(answer, "runner") &&
		!taskclient_answer_text(answer, "error"))
		looking_put(v->table, columns, COLUMNS, answer);
}

static int show(struct runners_verb *v)
{
	int r;

	if (table_rows(v->table) == 0) {
		asking_tell_nobody(&v->asking);
		return EXIT_TOO_LATE;
	}
	table_sort(v->table, INSTANCE, false);
	table_sort(v->table, RUNNER, false);
	r = table_show(v->table, &v->options.output);
	table_show_counts(v->table, STATE, &v->options.output);
	return r;
}

static int list(struct runners_verb *v)
{
	const struct taskclient_control ping = { .op = "ping" };
	int r = open_client(&v->options.broker, &v->client);

	if (r != 0)
		return r;
	v->table = table_new(columns, COLUMNS);
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.on_answer = on_answer,
		.userdata = v,
	};
	r = asking_put(&v->asking, &ping);
	if (r == 0)
		r = asking_wait(&v->asking);
	return r != 0 ? r : show(v);
}

static int take_option(void *verb, int c)
{
	struct runners_verb *v = verb;
	int r = read_duration(VERB, "--wait", optarg, &v->wait_ms);

	(void)c;
	return r == 0 ? GOING_ON : r;
}

static int run(int argc, char **argv)
{
	struct runners_verb v = { .wait_ms = LOOK_WAIT_MS };
	int r = read_options(&verb_runners, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much", argv[optind]);
	if (r == GOING_ON)
		r = list(&v);
	asking_deinit(&v.asking);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "wait", 'w', "TIME", NULL, "how long to wait for a first answer, default 5s" },
	{ 0 },
};

const struct verb verb_runners = {
	.name = VERB,
	.group = VERBS_RUNNERS,
	.summary = "list the runners that are there",
	.arguments = "[OPTIONS]",
	.about = "Lists the runners that answer: where they are, their slots and queues, how busy "
		 "they are, and whether they take requests.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = LOOK_EXITS,
	.run = run,
};
