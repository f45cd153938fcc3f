/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/steer.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "common/text.h"
#include "taskctl/asking.h"

#define RUNNER_MAX 300
#define ERROR_MAX  1000

#define WAIT_MS    10000
#define DAY_MS     86400000

enum { OPTION_QUEUED = OPTION_OF_VERB };

#define STEER_OPTIONS                                                                  \
	FILTER_OPTIONS, { "all", 'a', NULL, NULL, "all tasks of all runners" },        \
	{                                                                              \
		"wait", 'w', "TIME", NULL, "how long to wait for answers, default 10s" \
	}

const struct verb_option steer_options[] = { STEER_OPTIONS, { 0 } };

const struct verb_option steer_end_options[] = {
	STEER_OPTIONS,
	{ "queued", OPTION_QUEUED, "TIME", NULL,
		"with a filter: also what is still in a queue and was sent before; for so long (to "
		"1d) also what does not tell when it was sent" },
	{ 0 },
};

/* ---- what is told ---- */

enum outcome { ACCEPTED, GONE, NOT_RUNNING, REFUSED, UNANSWERED, OUTCOMES };

static const struct {
	const char *word;    /* for programs, as runners say it */
	const char *counted; /* "12 accepted" */
	int status;
} outcomes[OUTCOMES] = {
	[ACCEPTED] = { TASKCLIENT_ACCEPTED, "accepted", EXIT_DONE },
	[GONE] = { TASKCLIENT_GONE, "had ended", EXIT_TASK_FAILED },
	[NOT_RUNNING] = { TASKCLIENT_NOT_RUNNING, "in no state for it", EXIT_TASK_FAILED },
	[REFUSED] = { "error", "refused", EXIT_BROKER },
	[UNANSWERED] = { "unanswered", "not answered", EXIT_TOO_LATE },
};

enum { ID, RESULT, STATE, ERROR, RUNNER, INSTANCE, COLUMNS };

/* For programs only: people get sentences. */
static const struct column columns[] = {
	[ID] = { NULL, "id", COLUMN_TEXT },
	[RESULT] = { NULL, "result", COLUMN_TEXT },
	[STATE] = { NULL, "state", COLUMN_STATE },
	[ERROR] = { NULL, "error", COLUMN_TEXT },
	[RUNNER] = { NULL, "runner", COLUMN_TEXT },
	[INSTANCE] = { NULL, "instance", COLUMN_TEXT },
};

struct steer_verb {
	const struct steering *steering;
	struct common_options options;
	struct taskclient_control control; /* texts borrowed from argv */
	bool all;
	uint64_t wait_ms;
	char signal[16];
	char **ids;
	size_t n_ids;
	struct taskclient *client;
	struct asking asking;
	struct table *table;
	uint64_t counts[OUTCOMES];
	int status;
};

static void settle(struct steer_verb *v, int status)
{
	if (status > v->status)
		v->status = status;
}

static enum outcome outcome_of(const struct taskclient_answer *answer)
{
	const char *result = taskclient_answer_text(answer, "result");

	if (!answer)
		return UNANSWERED;
	for (enum outcome i = ACCEPTED; i <= NOT_RUNNING; i++)
		if (result && strcmp(result, outcomes[i].word) == 0)
			return i;
	return REFUSED;
}

static void append(struct buf *line, const char *text, size_t max)
{
	(void)text_append_clean(line, slice_of(text), max);
}

#define NOTED     "It is noted for a day: a runner that comes by then does not start it"
#define NOT_NOTED "Nothing is remembered"

/* What a person reads of an answer. */
static void append_sentence(const struct steer_verb *v, enum outcome outcome, const char *id,
	const struct taskclient_answer *answer, struct buf *line)
{
	const char *runner = taskclient_answer_text(answer, "runner"),
		   *state = taskclient_answer_text(answer, "state");
	const char *error = taskclient_answer_text(answer, "error");

	if (id) {
		append(line, id, TASKCLIENT_ID_MAX);
		(void)buf_append_text(line, ": ");
	}
	if (outcome == ACCEPTED)
		(void)buf_append_text(line, "accepted by ");
	else if (outcome == GONE)
		(void)buf_append_text(line, "has ended already, says ");
	else if (outcome == NOT_RUNNING)
		(void)buf_printf(line, "%s: it is ", v->steering->undone);
	else
		append(line, error ? error : "an answer that says nothing", ERROR_MAX);
	if (outcome == NOT_RUNNING)
		append(line, state ? state : "in no state for it", 64);
	if (outcome >= NOT_RUNNING)
		(void)buf_append_text(line, ", says ");
	append(line, runner ? runner : "a runner", RUNNER_MAX);
}

static void tell_person(struct steer_verb *v, enum outcome outcome, const char *id,
	const struct taskclient_answer *answer)
{
	struct buf line = { 0 };

	if (outcome == UNANSWERED) {
		size_t n = asking_answered(&v->asking);

		if (n > 0)
			say("%s: no runner has it (%zu answered); %s", id, n, v->steering->nobody);
		else
			say("%s: no runner has answered: is one running, and connected to this "
			    "broker? %s",
				id, v->asking.was_noted ? NOTED : NOT_NOTED);
		return;
	}
	append_sentence(v, outcome, id, answer, &line);
	if (outcome == REFUSED)
		say("%.*s", (int)line.len, line.len > 0 ? line.data : "");
	else
		printf("%.*s\n", (int)line.len, line.len > 0 ? line.data : "");
	buf_deinit(&line);
}

static void tell_program(struct steer_verb *v, enum outcome outcome, const char *id,
	const struct taskclient_answer *answer)
{
	table_row(v->table);
	table_put_text(v->table, ID, id);
	table_put_text(v->table, RESULT, outcomes[outcome].word);
	if (answer) {
		table_put_text(v->table, STATE, taskclient_answer_text(answer, "state"));
		table_put_text(v->table, ERROR, taskclient_answer_text(answer, "error"));
		table_put_text(v->table, RUNNER, taskclient_answer_text(answer, "runner"));
		table_put_text(v->table, INSTANCE, taskclient_answer_text(answer, "instance"));
	}
	settle(v, table_show(v->table, &v->options.output));
	table_clear(v->table);
}

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct steer_verb *v = userdata;
	enum outcome outcome = outcome_of(answer);
	const char *id = v->n_ids > 0 ? v->ids[index] : taskclient_answer_text(answer, "id");

	if (!answer && !id)
		return; /* nobody at all: told at the end */
	v->counts[outcome]++;
	settle(v, outcomes[outcome].status);
	if (v->options.output.format != OUTPUT_TABLE)
		tell_program(v, outcome, id, answer);
	if (v->options.output.format == OUTPUT_TABLE || outcome == UNANSWERED)
		tell_person(v, outcome, id, answer);
}

/* "12 accepted · 1 had ended · 2 not answered" */
static void tell_summary(const struct steer_verb *v)
{
	struct buf line = { 0 };
	uint64_t n = 0;

	for (enum outcome i = 0; i < OUTCOMES; i++) {
		if (v->counts[i] > 0)
			(void)buf_printf(&line, "%s%llu %s", n > 0 ? " · " : "",
				(unsigned long long)v->counts[i], outcomes[i].counted);
		n += v->counts[i];
	}
	if (n > 1 || (n == 1 && v->n_ids == 0))
		say("%.*s", (int)line.len, line.data);
	buf_deinit(&line);
}

/* What a filter has found: nothing, perhaps because nobody was there. */
static void tell_found(struct steer_verb *v)
{
	size_t n = asking_answered(&v->asking);
	uint64_t n_tasks = 0;

	for (enum outcome i = 0; i < OUTCOMES; i++)
		n_tasks += v->counts[i];
	if (n == 0) {
		asking_tell_nobody(&v->asking);
		if (v->asking.was_noted)
			say("it is noted: runners that come by then start none of these requests");
		settle(v, EXIT_TOO_LATE);
	} else if (n_tasks == 0 && !v->control.queued_s) {
		say("no task that a runner has fits (runners that answered: %zu)", n);
		settle(v, EXIT_TASK_FAILED);
	}
	if (n > 0 && v->control.queued_s)
		say("what is still in queues is cancelled when a runner takes it");
	settle(v, asking_tell_silent(&v->asking));
}

/* ---- asking ---- */

static int compare_places(const void *a, const void *b)
{
	char **x = *(char ***)a, **y = *(char ***)b;
	int r = strcmp(*x, *y);

	return r != 0 ? r : (x > y) - (x < y);
}

/* Each id once, in the order in which they were given. */
static int drop_repeated(struct steer_verb *v)
{
	char ***places = reallocarray(NULL, v->n_ids, sizeof(*places));
	size_t n = 0;

	if (!places) {
		say("out of memory");
		return EXIT_LOCAL;
	}
	for (size_t i = 0; i < v->n_ids; i++)
		places[i] = &v->ids[i];
	qsort(places, v->n_ids, sizeof(*places), compare_places);
	for (size_t i = v->n_ids; i-- > 1;)
		if (strcmp(*places[i], *places[i - 1]) == 0)
			*places[i] = NULL;
	for (size_t i = 0; i < v->n_ids; i++)
		if (v->ids[i])
			v->ids[n++] = v->ids[i];
	v->n_ids = n;
	free(places);
	return 0;
}

/* What is meant goes out first: while the broker has an alarm, it takes one message alone. */
static int put_questions(struct steer_verb *v)
{
	int r = v->n_ids == 0 ? asking_put(&v->asking, &v->control) : 0;

	for (size_t i = 0; i < v->n_ids && r == 0; i++) {
		v->control.id = v->ids[i];
		r = asking_put(&v->asking, &v->control);
	}
	return r != 0 ? r : asking_call_roll(&v->asking, v->control.runner);
}

static int steer_tasks(struct steer_verb *v)
{
	int r = v->n_ids > 0 ? drop_repeated(v) : 0;

	v->table = table_new(columns, COLUMNS);
	if (r == 0)
		r = open_client(&v->options.broker, &v->client);
	if (r != 0)
		return r;
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.calls_roll = true,
		.on_answer = on_answer,
		.userdata = v,
	};
	r = put_questions(v);
	if (r == 0)
		r = asking_wait(&v->asking);
	if (r != 0)
		return r;
	if (v->n_ids == 0)
		tell_found(v);
	tell_summary(v);
	return v->status;
}

/* ---- the command line ---- */

bool filter_take(struct taskclient_control *filter, int c)
{
	switch (c) {
	case 'g':
		filter->group = optarg;
		return true;
	case 'p':
		filter->program = optarg;
		return true;
	case 'u':
		filter->user = optarg;
		return true;
	case OPTION_PROJECT:
		filter->project = optarg;
		return true;
	case 'r':
		filter->runner = optarg;
		return true;
	default:
		return false;
	}
}

static int read_queued(struct steer_verb *v)
{
	const char *verb = v->steering->verb->name;
	uint64_t ms;
	int r = read_duration(verb, "--queued", optarg, &ms);

	if (r != 0)
		return r;
	if (ms < 1000 || ms > DAY_MS)
		return usage_error(verb, "--queued: from 1s to 1d");
	v->control.queued_s = (unsigned)((ms + 999) / 1000);
	return GOING_ON;
}

static int take_option(void *verb, int c)
{
	struct steer_verb *v = verb;
	int r;

	if (filter_take(&v->control, c))
		return GOING_ON;
	if (c == 'a') {
		v->control.all = true;
		return GOING_ON;
	}
	if (c == OPTION_QUEUED)
		return read_queued(v);
	r = read_duration(v->steering->verb->name, "--wait", optarg, &v->wait_ms);
	return r == 0 ? GOING_ON : r;
}

bool signal_read(const char *signal, char ret[16])
{
	const char *name = strncasecmp(signal, "SIG", 3) == 0 ? signal + 3 : signal;
	int64_t number;
	size_t len = strlen(name);

	if (parse_int(signal, 1, SIGRTMAX, &number) == 0) {
		snprintf(ret, 16, "%d", (int)number);
		return true;
	}
	if (len == 0 || len > 15)
		return false;
	for (size_t i = 0; i <= len; i++)
		ret[i] = (char)toupper((unsigned char)name[i]);
	for (int i = 1; i < NSIG; i++)
		if (sigabbrev_np(i) && strcmp(sigabbrev_np(i), ret) == 0)
			return true;
	return false;
}

static int read_signal(struct steer_verb *v, int *argc, char ***argv)
{
	const char *verb = v->steering->verb->name;

	if (*argc == 0)
		return usage_error(verb, "which signal? USR1, for example");
	if (!signal_read(**argv, v->signal))
		return usage_error(verb, "'%s' is no signal; USR1 or 10 would be one", **argv);
	v->control.signal = v->signal;
	++*argv;
	--*argc;
	return GOING_ON;
}

static bool has_filter(const struct taskclient_control *s)
{
	return s->group || s->program || s->user || s->project || s->runner || s->all;
}

static int read_arguments(struct steer_verb *v, int argc, char **argv)
{
	const char *verb = v->steering->verb->name;
	int r = v->steering->takes_a_signal ? read_signal(v, &argc, &argv) : GOING_ON;

	if (r != GOING_ON)
		return r;
	if (argc > 0 && has_filter(&v->control))
		return usage_error(verb, "'%s': either ids or a filter, not both", argv[0]);
	if (v->control.queued_s && (argc > 0 || v->control.runner))
		return usage_error(verb,
			"--queued goes with a filter that is not --runner; requests "
			"are reached in their queues by their ids anyway");
	if (argc == 0 && !has_filter(&v->control))
		return usage_error(
			verb, "which tasks? Give their ids, or a filter such as --group or --all");
	for (int i = 0; i < argc; i++)
		if (!taskclient_id_is_valid(argv[i]))
			return usage_error(verb, "'%s' cannot be the id of a task", argv[i]);
	v->ids = argv;
	v->n_ids = (size_t)argc;
	return GOING_ON;
}

int steer(const struct steering *steering, int argc, char **argv)
{
	struct steer_verb v = {
		.steering = steering,
		.wait_ms = WAIT_MS,
		.control.op = steering->op,
	};
	int r = read_options(steering->verb, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = read_arguments(&v, argc - optind, argv + optind);
	if (r == GOING_ON)
		r = steer_tasks(&v);
	asking_deinit(&v.asking);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}
