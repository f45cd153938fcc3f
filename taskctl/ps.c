/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl ps: the tasks that all runners have, whether they run, wait or are held. */
#include <string.h>

#include "taskctl/asking.h"
#include "taskctl/looking.h"
#include "taskctl/steer.h"

#define VERB   "ps"
#define STATES "waiting held running paused ending"

enum { OPTION_STATE = OPTION_OF_VERB, OPTION_REVERSE, OPTION_WIDE };

struct ps_verb {
	struct common_options options;
	struct taskclient_control control; /* texts borrowed from argv */
	const char *state;
	enum looking_column sort;
	bool is_reverse, is_wide;
	uint64_t wait_ms;
	struct column columns[LOOKING_COLUMNS];
	struct table *table;
	struct taskclient *client;
	struct asking asking;
	int status;
};

static void settle(struct ps_verb *v, int status)
{
	if (status > v->status)
		v->status = status;
}

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct ps_verb *v = userdata;
	const char *error = taskclient_answer_text(answer, "error");
	const char *runner = taskclient_answer_text(answer, "runner");

	(void)index;
	if (error) {
		say("%s: %s", runner ? runner : "a runner", error);
		settle(v, EXIT_BROKER);
	} else if (answer && taskclient_answer_text(answer, "id") &&
		   looking_fits_state(v->state, taskclient_answer_text(answer, "state"))) {
		looking_put(v->table, v->columns, LOOKING_COLUMNS, answer);
	}
}

static int show(struct ps_verb *v)
{
	const struct output_options *output = &v->options.output;

	table_sort(v->table, v->sort, v->is_reverse);
	if (table_rows(v->table) > 0 || asking_answered(&v->asking) > 0)
		settle(v, table_show(v->table, output));
	if (asking_answered(&v->asking) == 0) {
		asking_tell_nobody(&v->asking);
		settle(v, EXIT_TOO_LATE);
	} else {
		table_show_counts(v->table, LOOKING_STATE, output);
	}
	settle(v, asking_tell_silent(&v->asking));
	return v->status;
}

static int list(struct ps_verb *v)
{
	int r = open_client(&v->options.broker, &v->client);

	if (r != 0)
		return r;
	looking_columns(v->is_wide, v->columns);
	looking_keep(v->sort, v->columns);
	if (v->is_wide)
		v->columns[LOOKING_ID].min = 0;
	v->table = table_new(v->columns, LOOKING_COLUMNS);
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.calls_roll = true,
		.on_answer = on_answer,
		.userdata = v,
	};
	r = asking_put(&v->asking, &v->control);
	if (r == 0)
		r = asking_call_roll(&v->asking, v->control.runner);
	if (r == 0)
		r = asking_wait(&v->asking);
	return r != 0 ? r : show(v);
}

/* Each of them a word that there is. */
static int check_states(const char *list)
{
	for (const char *at = list;; at++) {
		char word[16] = { 0 };
		size_t len = strcspn(at, ",");

		if (len < sizeof(word))
			memcpy(word, at, len);
		if (!word[0] || !looking_fits_state("waiting,held,running,paused,ending", word))
			return usage_error(VERB,
				"--state: '%s' is none, or several with commas, of " STATES, list);
		at += len;
		if (!*at)
			return GOING_ON;
	}
}

static int take_option(void *verb, int c)
{
	struct ps_verb *v = verb;
	int r;

	if (filter_take(&v->control, c))
		return GOING_ON;
	switch (c) {
	case OPTION_STATE:
		v->state = optarg;
		return check_states(optarg);
	case 's':
		v->sort = looking_by_word(optarg);
		return v->sort < LOOKING_COLUMNS
			       ? GOING_ON
			       : usage_error(
					 VERB, "--sort: '%s' is none of " LOOKING_SORTS, optarg);
	case OPTION_REVERSE:
		v->is_reverse = !v->is_reverse;
		return GOING_ON;
	case OPTION_WIDE:
		v->is_wide = true;
		return GOING_ON;
	default:
		r = read_duration(VERB, "--wait", optarg, &v->wait_ms);
		return r == 0 ? GOING_ON : r;
	}
}

static int run(int argc, char **argv)
{
	struct ps_verb v = {
		.control.op = "list",
		.sort = LOOKING_AGE,
		.wait_ms = LOOK_WAIT_MS,
	};
	int r = read_options(&verb_ps, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much; 'taskctl status' tells of single tasks",
			argv[optind]);
	if (r == GOING_ON)
		r = list(&v);
	asking_deinit(&v.asking);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	FILTER_OPTIONS,
	{ "state", OPTION_STATE, "STATE", STATES, "tasks in this state; several with commas",
		true },
	{ "sort", 's', "COLUMN", LOOKING_SORTS, "the order, from small to large; default: age" },
	{ "reverse", OPTION_REVERSE, NULL, NULL, "from large to small" },
	{ "wide", OPTION_WIDE, NULL, NULL,
		"all columns and whole ids; json and msgpack have them always" },
	{ "wait", 'w', "TIME", NULL, "how long to wait for answers, default 5s" },
	{ 0 },
};

const struct verb verb_ps = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "list the tasks that runners have",
	.arguments = "[OPTIONS]",
	.about =
		"Lists the tasks of all runners: those that run, are paused or end, and those that "
		"wait there for a slot or are held. What still waits in a queue is not among "
		"them.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = LOOK_EXITS,
	.run = run,
};
