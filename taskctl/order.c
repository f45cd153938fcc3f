/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "common/text.h"
#include "taskctl/asking.h"

#define WAIT_MS      10000
#define QUEUES_MS    2000
#define SLOTS_MAX    10000
#define NAME_MAX_LEN 300

const struct verb_option order_options[] = {
	{ "all", 'a', NULL, NULL, "all runners" },
	{ "wait", 'w', "TIME", NULL, "how long to wait for answers, default 10s" },
	{ 0 },
};

enum { RUNNER, RESULT, ERROR, INSTANCE, COLUMNS };

/* For programs only: people get sentences. */
static const struct column columns[] = {
	[RUNNER] = { NULL, "runner", COLUMN_TEXT },
	[RESULT] = { NULL, "result", COLUMN_TEXT },
	[ERROR] = { NULL, "error", COLUMN_TEXT },
	[INSTANCE] = { NULL, "instance", COLUMN_TEXT },
};

struct order_verb {
	const struct order *order;
	struct common_options options;
	struct taskclient_control control; /* texts borrowed from argv */
	uint64_t wait_ms;
	char **names;
	size_t n_names;
	struct taskclient *client;
	struct asking asking;
	struct table *table;
	char **refused; /* instances or names of runners whose queues are to be told */
	size_t n_refused;
	int status;
};

static void settle(struct order_verb *v, int status)
{
	if (status > v->status)
		v->status = status;
}

static void tell_person(const char *runner, const char *error)
{
	struct buf name = { 0 };

	(void)text_append_clean(&name, slice_of(runner), NAME_MAX_LEN);
	(void)buf_append(&name, "", 1);
	if (error)
		say("%s: %s", name.data, error);
	else
		printf("%s: accepted\n", name.data);
	buf_deinit(&name);
}

static void tell_program(struct order_verb *v, const char *runner, const char *result,
	const char *error, const char *instance)
{
	table_row(v->table);
	table_put_text(v->table, RUNNER, runner);
	table_put_text(v->table, RESULT, result);
	table_put_text(v->table, ERROR, error);
	table_put_text(v->table, INSTANCE, instance);
	settle(v, table_show(v->table, &v->options.output));
	table_clear(v->table);
}

static void on_nobody(struct order_verb *v, size_t index)
{
	const char *name = v->n_names > 0 ? v->names[index] : NULL;

	settle(v, EXIT_TOO_LATE);
	if (name && v->options.output.format != OUTPUT_TABLE)
		tell_program(v, name, "unanswered", NULL, NULL);
	if (name)
		say("%s: no runner of this name has answered; 'taskctl runners' lists those that "
		    "are there",
			name);
	else
		asking_tell_nobody(&v->asking);
}

/* ---- queues of those that found the one that is meant not ---- */

static void refuse(struct order_verb *v, const struct taskclient_answer *answer)
{
	const char *name = taskclient_answer_text(answer, "instance");
	char **more = reallocarray(v->refused, v->n_refused + 1, sizeof(*more));

	name = name ? name : taskclient_answer_text(answer, "runner");
	v->refused = more ? more : v->refused;
	if (more && name && (more[v->n_refused] = strdup(name)))
		v->n_refused++;
}

/* "requests:4,other:2" to "requests, other" */
static int append_queues(struct buf *out, const char *text)
{
	int r = 0;

	for (bool is_first = true; *text && r == 0; is_first = false) {
		size_t len = strcspn(text, ","), name = len;

		while (name > 0 && text[name] != ':')
			name--;
		r = buf_append_text(out, is_first ? "" : ", ");
		if (r == 0)
			r = buf_append(out, text, name > 0 ? name : len);
		text += len + (text[len] == ',');
	}
	return r < 0 ? r : buf_append(out, "", 1);
}

static void on_queues(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	const char *queues = taskclient_answer_text(answer, "queues");
	const char *runner = taskclient_answer_text(answer, "runner");
	struct buf names = { 0 };

	(void)userdata, (void)index;
	if (queues && *queues && runner && append_queues(&names, queues) == 0)
		say("%s has these queues: %s; --queue NAME says which is meant", runner,
			names.data);
	buf_deinit(&names);
}

/* Nothing is told of those that do not answer any more. */
static void tell_queues(struct order_verb *v)
{
	struct asking asking = {
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = QUEUES_MS,
		.keeps_quiet = true,
		.on_answer = on_queues,
	};
	int r = 0;

	for (size_t i = 0; i < v->n_refused && r == 0; i++) {
		const struct taskclient_control ping = { .op = "ping", .runner = v->refused[i] };

		r = asking_put(&asking, &ping);
	}
	if (r == 0 && v->n_refused > 0)
		(void)asking_wait(&asking);
	asking_deinit(&asking);
}

/* ---- answers ---- */

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct order_verb *v = userdata;
	const char *result, *runner, *error;

	if (!answer) {
		on_nobody(v, index);
		return;
	}
	result = taskclient_answer_text(answer, "result");
	runner = taskclient_answer_text(answer, "runner");
	error = taskclient_answer_text(answer, "error");
	if (!error && (!result || strcmp(result, TASKCLIENT_ACCEPTED) != 0))
		error = "an answer that says nothing";
	settle(v, error ? EXIT_BROKER : EXIT_DONE);
	if (error && v->order->takes_slots)
		refuse(v, answer);
	if (v->options.output.format == OUTPUT_TABLE)
		tell_person(runner ? runner : "a runner", error);
	else
		tell_program(v, runner, error ? "error" : result, error,
			taskclient_answer_text(answer, "instance"));
}

static int put_questions(struct order_verb *v)
{
	int r = v->n_names == 0 ? asking_put(&v->asking, &v->control) : 0;

	for (size_t i = 0; i < v->n_names && r == 0; i++) {
		v->control.runner = v->names[i];
		r = asking_put(&v->asking, &v->control);
	}
	return r == 0 && v->asking.calls_roll ? asking_call_roll(&v->asking, NULL) : r;
}

static int give_order(struct order_verb *v)
{
	int r = open_client(&v->options.broker, &v->client);

	if (r != 0)
		return r;
	v->table = table_new(columns, COLUMNS);
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.calls_roll = v->n_names == 0,
		.on_answer = on_answer,
		.userdata = v,
	};
	r = put_questions(v);
	if (r == 0)
		r = asking_wait(&v->asking);
	if (r != 0)
		return r;
	tell_queues(v);
	settle(v, v->n_names == 0 ? asking_tell_silent(&v->asking) : 0);
	return v->status;
}

/* ---- the command line ---- */

static int take_option(void *verb, int c)
{
	struct order_verb *v = verb;
	int r;

	switch (c) {
	case 'a':
		v->control.all = true;
		return GOING_ON;
	case OPTION_SLOTS_QUEUE:
		v->control.queue = optarg;
		return GOING_ON;
	default:
		r = read_duration(v->order->verb->name, "--wait", optarg, &v->wait_ms);
		return r == 0 ? GOING_ON : r;
	}
}

static int read_arguments(struct order_verb *v, int argc, char **argv)
{
	const char *verb = v->order->verb->name;
	int64_t slots;

	if (v->order->takes_slots) {
		if (argc == 0 || parse_int(argv[0], 0, SLOTS_MAX, &slots) < 0)
			return usage_error(
				verb, "how many slots? A whole number from 0 to %d", SLOTS_MAX);
		v->control.slots = (unsigned)slots;
		argv++;
		argc--;
	}
	if (argc > 0 && v->control.all)
		return usage_error(verb, "'%s': either names or --all, not both", argv[0]);
	if (argc == 0 && !v->control.all)
		return usage_error(verb, "which runners? Give their names, or --all");
	for (int i = 0; i < argc; i++)
		if (!argv[i][0])
			return usage_error(verb, "the name of a runner is empty");
	v->names = argv;
	v->n_names = (size_t)argc;
	return GOING_ON;
}

int order(const struct order *order, int argc, char **argv)
{
	struct order_verb v = {
		.order = order,
		.wait_ms = WAIT_MS,
		.control.op = order->op,
	};
	int r = read_options(order->verb, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = read_arguments(&v, argc - optind, argv + optind);
	if (r == GOING_ON)
		r = give_order(&v);
	for (size_t i = 0; i < v.n_refused; i++)
		free(v.refused[i]);
	free(v.refused);
	asking_deinit(&v.asking);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}
