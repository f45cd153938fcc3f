/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl programs: what runners can run, and which of them. */
#include <stdlib.h>
#include <string.h>

#include "taskctl/asking.h"
#include "taskctl/looking.h"

#define VERB "programs"

enum { PROGRAM, TIMEOUT, SLOTS, LABELS, RUNNERS, COLUMNS };

static const struct column columns[] = {
	[PROGRAM] = { "PROGRAM", "program", COLUMN_TEXT, .min = 8 },
	[TIMEOUT] = { "TIMEOUT", "timeout_ms", COLUMN_DURATION, .drop = 2 },
	[SLOTS] = { "SLOTS", "slots", COLUMN_COUNT, .drop = 1 },
	[LABELS] = { "LABELS", "labels", COLUMN_TEXT, .drop = 3 },
	[RUNNERS] = { "RUNNERS", "runners", COLUMN_LIST, .min = 8 },
};

/* One program of one runner. */
struct offer {
	char *program, *runner;
	char *labels;              /* NULL: none */
	int64_t timeout_ms, slots; /* TABLE_ABSENT: it has no own */
};

struct programs_verb {
	struct common_options options;
	char *runner; /* borrowed */
	uint64_t wait_ms;
	struct offer *offers;
	size_t n;
	bool is_short; /* of memory */
	struct table *table;
	struct taskclient *client;
	struct asking asking;
};

static bool add_offer(struct programs_verb *v, const struct taskclient_answer *answer)
{
	struct offer *more = reallocarray(v->offers, v->n + 1, sizeof(*more)), *o;
	const char *runner = taskclient_answer_text(answer, "runner");
	const char *labels = taskclient_answer_text(answer, "labels");

	if (!more)
		return false;
	v->offers = more;
	o = &more[v->n++];
	*o = (struct offer){
		.program = strdup(taskclient_answer_text(answer, "program")),
		.runner = strdup(runner ? runner : "?"),
		.labels = labels ? strdup(labels) : NULL,
		.timeout_ms = TABLE_ABSENT,
		.slots = TABLE_ABSENT,
	};
	(void)taskclient_answer_int(answer, "timeout_ms", &o->timeout_ms);
	(void)taskclient_answer_int(answer, "slots", &o->slots);
	return o->program && o->runner && (o->labels || !labels);
}

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct programs_verb *v = userdata;

	(void)index;
	if (answer && taskclient_answer_text(answer, "program") && !add_offer(v, answer))
		v->is_short = true;
}

static int compare_offers(const void *a, const void *b)
{
	const struct offer *x = a, *y = b;
	int r = strcmp(x->program, y->program);

	return r != 0 ? r : strcmp(x->runner, y->runner);
}

/* What all of them say alike, else nothing. */
static void put_common(struct programs_verb *v, const struct offer *offers, size_t n)
{
	int64_t timeout_ms = offers[0].timeout_ms, slots = offers[0].slots;
	const char *labels = offers[0].labels;

	for (size_t i = 1; i < n; i++) {
		timeout_ms = offers[i].timeout_ms == timeout_ms ? timeout_ms : TABLE_ABSENT;
		slots = offers[i].slots == slots ? slots : TABLE_ABSENT;
		if (labels && (!offers[i].labels || strcmp(offers[i].labels, labels) != 0))
			labels = NULL;
	}
	table_put_number(v->table, TIMEOUT, timeout_ms);
	table_put_number(v->table, SLOTS, slots);
	table_put_text(v->table, LABELS, labels);
}

/* Gives how many offers are of one program. */
static size_t put_program(struct programs_verb *v, const struct offer *offers, size_t n)
{
	const char **names = reallocarray(NULL, n, sizeof(*names));
	size_t same = 0, n_names = 0;

	for (; same < n && strcmp(offers[same].program, offers[0].program) == 0; same++)
		if (names && (same == 0 || strcmp(offers[same].runner, names[n_names - 1]) != 0))
			names[n_names++] = offers[same].runner;
	table_row(v->table);
	table_put_text(v->table, PROGRAM, offers[0].program);
	table_put_list(v->table, RUNNERS, names, n_names);
	put_common(v, offers, same);
	v->is_short = v->is_short || !names;
	free(names);
	return same;
}

static int show(struct programs_verb *v)
{
	int r, silent;

	if (asking_answered(&v->asking) == 0) {
		asking_tell_nobody(&v->asking);
		return EXIT_TOO_LATE;
	}
	if (!v->is_short && v->n > 0)
		qsort(v->offers, v->n, sizeof(*v->offers), compare_offers);
	for (size_t at = 0; at < v->n && !v->is_short;)
		at += put_program(v, v->offers + at, v->n - at);
	if (v->is_short) {
		say("out of memory");
		return EXIT_LOCAL;
	}
	r = table_show(v->table, &v->options.output);
	silent = asking_tell_silent(&v->asking);
	return r > silent ? r : silent;
}

static int list(struct programs_verb *v)
{
	const struct taskclient_control programs = {
		.op = "programs",
		.runner = v->runner,
	};
	int r = open_client(&v->options.broker, &v->client);

	if (r != 0)
		return r;
	v->table = table_new(columns, COLUMNS);
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.calls_roll = true,
		.on_answer = on_answer,
		.userdata = v,
	};
	r = asking_put(&v->asking, &programs);
	if (r == 0)
		r = asking_call_roll(&v->asking, v->runner);
	if (r == 0)
		r = asking_wait(&v->asking);
	return r != 0 ? r : show(v);
}

static int take_option(void *verb, int c)
{
	struct programs_verb *v = verb;
	int r;

	if (c == 'r') {
		v->runner = optarg;
		return GOING_ON;
	}
	r = read_duration(VERB, "--wait", optarg, &v->wait_ms);
	return r == 0 ? GOING_ON : r;
}

static void clean_up(struct programs_verb *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free(v->offers[i].program);
		free(v->offers[i].labels);
		free(v->offers[i].runner);
	}
	free(v->offers);
	asking_deinit(&v->asking);
	table_free(v->table);
	taskclient_close(v->client);
	options_deinit(&v->options);
}

static int run(int argc, char **argv)
{
	struct programs_verb v = { .wait_ms = LOOK_WAIT_MS };
	int r = read_options(&verb_programs, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON && optind < argc)
		r = usage_error(VERB, "'%s' is too much", argv[optind]);
	if (r == GOING_ON)
		r = list(&v);
	clean_up(&v);
	return r;
}

static const struct verb_option options[] = {
	{ "runner", 'r', "RUNNER", NULL, "what this runner can run: its name or instance" },
	{ "wait", 'w', "TIME", NULL, "how long to wait for answers, default 5s" },
	{ 0 },
};

const struct verb verb_programs = {
	.name = VERB,
	.group = VERBS_RUNNERS,
	.summary = "list what runners can run",
	.arguments = "[OPTIONS]",
	.about = "Lists the programs that requests can name, with the runners that have each, its "
		 "time limit and the tasks of it that a runner runs at a time, where it has such "
		 "limits and all runners have the same.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = LOOK_EXITS,
	.run = run,
};
