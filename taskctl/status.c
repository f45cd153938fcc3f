/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl status: all that is known of single tasks. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/parse.h"
#include "common/text.h"
#include "taskctl/asking.h"
#include "taskctl/looking.h"

#define VERB       "status"
#define NAME_WIDTH 13    /* "peak memory: " */
#define TAIL_BYTES 65536 /* what runners keep of it, as they are configured */
#define TAIL_LINES 100000

struct status_verb {
	struct common_options options;
	uint64_t wait_ms;
	int64_t tail; /* lines */
	char **ids;
	size_t n_ids, n_told;
	struct table *table;
	struct taskclient *client;
	struct asking asking;
	int status;
};

static void settle(struct status_verb *v, int status)
{
	if (status > v->status)
		v->status = status;
}

/* The last lines; whoever writes leaves the last one without its end, or not. */
static struct slice last_lines(const char *text, int64_t n)
{
	size_t len = strlen(text), at;

	if (len > 0 && text[len - 1] == '\n')
		len--;
	for (at = len; at > 0 && n > 0; at--)
		if (text[at - 1] == '\n' && --n == 0)
			break;
	return (struct slice){ text + at, len - at };
}

/* ---- for people ---- */

static void print(struct buf *line)
{
	fwrite(line->data, 1, line->len, stdout);
	buf_clear(line);
}

static int append_value(
	struct buf *out, const struct column *column, const struct taskclient_answer *answer)
{
	const char *text = taskclient_answer_text(answer, column->member);
	int64_t number = 0;
	double real = 0;
	bool is_number = taskclient_answer_int(answer, column->member, &number);

	switch (column->kind) {
	case COLUMN_FRACTION:
		return taskclient_answer_number(answer, column->member, &real)
			       ? buf_printf(out, "%d%%", (int)(real * 100))
			       : 0;
	case COLUMN_AGE:
		return is_number ? human_age(out, number) : 0;
	case COLUMN_DURATION:
		return is_number ? human_duration(out, number) : 0;
	case COLUMN_BYTES:
		return is_number ? human_bytes(out, number) : 0;
	default:
		return display_append(out, slice_of(text), DISPLAY_ANY, NULL);
	}
}

/* "cpu_ms" is said as "cpu", "peak_memory" as "peak memory". */
static int append_name(struct buf *out, const char *member)
{
	size_t len = strlen(member), begin = out->len;
	int r;

	if (len > 3 && strcmp(member + len - 3, "_ms") == 0)
		len -= 3;
	r = display_append(out, (struct slice){ member, len }, DISPLAY_ANY, NULL);
	for (size_t i = begin; i < out->len; i++)
		if (out->data[i] == '_')
			out->data[i] = ' ';
	return r < 0 ? r
		     : buf_printf(out, ":%*s",
			       len < NAME_WIDTH - 1 ? (int)(NAME_WIDTH - 1 - len) : 1, "");
}

static void print_lines(struct buf *line, const char *name, struct slice text)
{
	(void)buf_printf(line, "%s, last lines:\n", name);
	while (text.len > 0) {
		const char *end = memchr(text.data, '\n', text.len);
		size_t len = end ? (size_t)(end - text.data) : text.len;

		(void)buf_append_text(line, "  ");
		(void)display_append(line, (struct slice){ text.data, len }, DISPLAY_ANY, NULL);
		(void)buf_append_text(line, "\n");
		text.data += len + (end != NULL);
		text.len -= len + (end != NULL);
	}
	print(line);
}

/* What later runners tell, too. */
static bool is_extra(const char *name)
{
	if (strcmp(name, "op") == 0 || strcmp(name, "result") == 0)
		return false;
	for (size_t i = 0; i < LOOKING_ALL_COLUMNS; i++)
		if (strcmp(name, looking_all_columns[i].member) == 0)
			return false;
	return true;
}

static void print_extras(const struct taskclient_answer *answer, struct buf *line)
{
	const char *name;

	for (size_t i = 0; (name = taskclient_answer_name(answer, i)); i++) {
		const struct column column = { NULL, name, COLUMN_TEXT };

		if (!is_extra(name))
			continue;
		(void)append_name(line, name);
		(void)append_value(line, &column, answer);
		(void)buf_append_text(line, "\n");
		print(line);
	}
}

static void tell_person(struct status_verb *v, const struct taskclient_answer *answer)
{
	struct buf line = { 0 };

	if (v->n_told++ > 0)
		fputs("\n", stdout);
	for (size_t i = 0; i < LOOKING_COLUMNS; i++) {
		const struct column *column = &looking_all_columns[i];

		if (!looking_has(answer, column->member))
			continue;
		(void)append_name(&line, column->member);
		(void)append_value(&line, column, answer);
		(void)buf_append_text(&line, "\n");
		print(&line);
	}
	print_extras(answer, &line);
	for (size_t i = LOOKING_STDOUT; i < LOOKING_ALL_COLUMNS && v->tail > 0; i++) {
		const char *name = looking_all_columns[i].member;
		const char *text = taskclient_answer_text(answer, name);

		if (text && *text)
			print_lines(&line, name, last_lines(text, v->tail));
	}
	buf_deinit(&line);
}

/* ---- for programs ---- */

static void put_tail(struct status_verb *v, size_t column, const struct taskclient_answer *answer)
{
	const char *text = taskclient_answer_text(answer, looking_all_columns[column].member);

	if (text && v->tail > 0)
		table_put_slice(v->table, column, last_lines(text, v->tail));
}

static void tell_program(struct status_verb *v, const struct taskclient_answer *answer)
{
	looking_put(v->table, looking_all_columns, LOOKING_COLUMNS, answer);
	put_tail(v, LOOKING_STDOUT, answer);
	put_tail(v, LOOKING_STDERR, answer);
	settle(v, table_show(v->table, &v->options.output));
	table_clear(v->table);
}

/* ---- answers ---- */

static void tell_nobody(struct status_verb *v, const char *id)
{
	size_t n = asking_answered(&v->asking);

	settle(v, EXIT_TOO_LATE);
	if (n > 0)
		say("%s: no runner has it (%zu answered): it may wait in a queue, have ended long "
		    "ago, or its runner be cut off",
			id, n);
	else
		say("%s: no runner has answered: is one running, and connected to this broker? "
		    "--wait TIME waits longer",
			id);
}

static void on_answer(void *userdata, size_t index, const struct taskclient_answer *answer)
{
	struct status_verb *v = userdata;
	const char *id = v->ids[index];
	const char *result = taskclient_answer_text(answer, "result");
	const char *error = taskclient_answer_text(answer, "error");
	const char *runner = taskclient_answer_text(answer, "runner");

	if (!answer) {
		tell_nobody(v, id);
	} else if (error || !result) {
		say("%s: %s", id, error ? error : "an answer that says nothing");
		settle(v, EXIT_BROKER);
	} else if (strcmp(result, TASKCLIENT_GONE) == 0) {
		say("%s: has ended already, says %s", id, runner ? runner : "a runner");
		settle(v, EXIT_TASK_FAILED);
	} else if (v->options.output.format == OUTPUT_TABLE) {
		tell_person(v, answer);
	} else {
		tell_program(v, answer);
	}
}

static int ask(struct status_verb *v)
{
	struct taskclient_control control = {
		.op = "status",
		.tail = v->tail > 0 ? TAIL_BYTES : 0,
	};
	int r = open_client(&v->options.broker, &v->client);

	if (r != 0)
		return r;
	v->table = table_new(looking_all_columns, LOOKING_ALL_COLUMNS);
	v->asking = (struct asking){
		.client = v->client,
		.exchange = v->options.broker.control,
		.wait_ms = v->wait_ms,
		.calls_roll = true,
		.on_answer = on_answer,
		.userdata = v,
	};
	for (size_t i = 0; i < v->n_ids && r == 0; i++) {
		control.id = v->ids[i];
		r = asking_put(&v->asking, &control);
	}
	if (r == 0)
		r = asking_call_roll(&v->asking, NULL);
	if (r == 0)
		r = asking_wait(&v->asking);
	return r != 0 ? r : v->status;
}

/* ---- the command line ---- */

static int take_option(void *verb, int c)
{
	struct status_verb *v = verb;
	int r;

	if (c == 't') {
		if (parse_int(optarg, 0, TAIL_LINES, &v->tail) == 0)
			return GOING_ON;
		return usage_error(VERB, "--tail: '%s' is no number of lines", optarg);
	}
	r = read_duration(VERB, "--wait", optarg, &v->wait_ms);
	return r == 0 ? GOING_ON : r;
}

static int read_arguments(struct status_verb *v, int argc, char **argv)
{
	if (argc == 0)
		return usage_error(VERB, "of which task? An id is missing; 'taskctl ps' lists all");
	for (int i = 0; i < argc; i++)
		if (!taskclient_id_is_valid(argv[i]))
			return usage_error(VERB, "'%s' cannot be the id of a task", argv[i]);
	v->ids = argv;
	v->n_ids = (size_t)argc;
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct status_verb v = { .wait_ms = LOOK_WAIT_MS };
	int r = read_options(&verb_status, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = read_arguments(&v, argc - optind, argv + optind);
	if (r == GOING_ON)
		r = ask(&v);
	asking_deinit(&v.asking);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "tail", 't', "N", NULL, "the last N lines of its stdout and stderr, too" },
	{ "wait", 'w', "TIME", NULL, "how long to wait for answers, default 5s" },
	{ 0 },
};

const struct verb verb_status = {
	.name = VERB,
	.group = VERBS_LOOK,
	.summary = "tell all about single tasks",
	.arguments = "[OPTIONS] ID…",
	.about = "Tells all that runners know of tasks that they have, a fact in a line, and with "
		 "--tail what they wrote last to their stdout and stderr.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits =
		"0 told, 1 the task has ended, 2 usage, 3 broker trouble, or a runner refused, "
		"4 no control exchange, 5 no runner has it, 6 stdout not written; of several tasks "
		"the highest",
	.run = run,
};
