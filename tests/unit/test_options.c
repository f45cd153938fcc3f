/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "taskctl/taskctl.h"
#include "tests/unit/capture.h"

enum { OPTION_ID = OPTION_OF_VERB };

static const struct verb_option own_options[] = {
	{ "wait", 'w', "TIME", NULL, "how long" },
	{ "id", OPTION_ID, "ID", NULL, "which" },
	{ "quiet", 'q', NULL, NULL, "say nothing" },
	{ 0 },
};

static const struct verb verb = {
	.name = "verb",
	.arguments = "[OPTIONS] WORD…",
	.about = "Does nothing.",
	.options = own_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT | SHARES_QUEUE,
	.exits = "0 done",
};

/* What the verb took. */
struct taken {
	const char *wait, *id;
	bool quiet;
	int stop; /* the exit status that -q gives, or 0 */
};

static int take(void *v, int c)
{
	struct taken *taken = v;

	switch (c) {
	case 'w':
		taken->wait = optarg;
		break;
	case OPTION_ID:
		taken->id = optarg;
		break;
	case 'q':
		taken->quiet = true;
		break;
	default:
		fail_msg("the verb was given %d", c);
	}
	return taken->stop ? taken->stop : GOING_ON;
}

struct reading {
	char line[256];
	char *words[32];
	int n, status;
	struct taken taken;
	struct common_options options;
	struct capture out, err;
};

/* Reads what stands in @line, with nothing set elsewhere. */
static void read_line(struct reading *r, const char *line)
{
	char *rest = r->line;

	snprintf(r->line, sizeof(r->line), "%s", line);
	r->words[0] = (char *)"verb";
	r->n = 1;
	while (rest && *rest && r->n < 31)
		r->words[r->n++] = strsep(&rest, " ");
	r->words[r->n] = NULL;
	r->options = (struct common_options){ 0 };
	optind = 0; /* glibc's way to begin again */
	capture_start(&r->out, STDOUT_FILENO);
	capture_start(&r->err, STDERR_FILENO);
	r->status = read_options(&verb, r->n, r->words, take, &r->taken, &r->options);
	capture_end(&r->err);
	capture_end(&r->out);
}

static void test_option_errors(void **state)
{
	static const struct {
		const char *line, *told;
	} cases[] = {
		{ "-w", "--wait needs a value" },
		{ "--quiet=secret", "--quiet takes no value" },
		{ "-x", "there is no option -x" },
		{ "--bogus=secret", "there is no option --bogus" },
		{ "--broke x", "--broke is short for several options" },
		{ "word --output", "--output needs a value" },
		{ "--output xml", "--output: 'xml' is not one of table, json, msgpack" },
		{ "--color red", "--color: 'red' is not one of auto, always, never" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct reading r = { 0 };
		char expected[256];

		snprintf(expected, sizeof(expected), "taskctl: %s\nTry 'taskctl verb --help'.\n",
			cases[i].told);
		read_line(&r, cases[i].line);
		assert_string_equal(r.err.text, expected);
		assert_string_equal(r.out.text, "");
		assert_int_equal(r.status, EXIT_USAGE);
		options_deinit(&r.options);
	}
}

static void test_all_options(void **state)
{
	struct reading r = { 0 };

	(void)state;
	read_line(&r, "one -w 5s --id=x -q -b amqp://h --broker-file f --password-file p "
		      "--control c --queue q -o json two --no-header --color always");
	assert_string_equal(r.err.text, "");
	assert_int_equal(r.status, GOING_ON);
	assert_string_equal(r.taken.wait, "5s");
	assert_string_equal(r.taken.id, "x");
	assert_true(r.taken.quiet);
	assert_string_equal(r.options.broker.from[FROM_OPTION].broker, "amqp://h");
	assert_string_equal(r.options.broker.from[FROM_OPTION].broker_file, "f");
	assert_string_equal(r.options.broker.from[FROM_OPTION].password_file, "p");
	assert_string_equal(r.options.broker.control, "c");
	assert_string_equal(r.options.queue, "q");
	assert_int_equal(r.options.output.format, OUTPUT_JSON);
	assert_true(r.options.output.no_header && r.options.output.color);
	assert_false(r.options.output.is_terminal);
	assert_int_equal(r.n - optind, 2);
	assert_string_equal(r.words[optind], "one");
	assert_string_equal(r.words[optind + 1], "two");
	options_deinit(&r.options);
}

static void test_nothing_given(void **state)
{
	struct reading r = { 0 };

	(void)state;
	read_line(&r, "");
	assert_int_equal(r.status, GOING_ON);
	for (enum origin i = 0; i < ORIGINS; i++)
		assert_null(r.options.broker.from[i].broker);
	assert_null(r.options.broker.control);
	assert_null(r.options.queue);
	assert_int_equal(r.options.output.format, OUTPUT_TABLE);
	assert_false(r.options.output.no_header || r.options.output.color);
	assert_int_equal(r.options.output.width, 0);
	options_deinit(&r.options);
}

/* --help is for whoever does not know what to give: nothing else is looked at. */
static void test_help(void **state)
{
	struct reading r = { 0 };

	(void)state;
	read_line(&r, "--help --bogus");
	assert_int_equal(r.status, EXIT_DONE);
	assert_ptr_equal(strstr(r.out.text, "usage: taskctl verb [OPTIONS] WORD…\n"), r.out.text);
	assert_string_equal(r.err.text, "");
	options_deinit(&r.options);
}

/* What the verb refuses is the end. */
static void test_verb_that_refuses(void **state)
{
	struct reading r = { .taken = { .stop = EXIT_LOCAL } };

	(void)state;
	read_line(&r, "-w 5s -q");
	assert_int_equal(r.status, EXIT_LOCAL);
	assert_false(r.taken.quiet);
	options_deinit(&r.options);
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 0: refused */
	} cases[] = {
		{ "1ms", 1 },
		{ "90s", 90000 },
		{ "1.5h", 5400000 },
		{ "1500us", 1 },
		{ "999us", 0 },
		{ "0", 0 },
		{ "0s", 0 },
		{ "90", 0 },
		{ "", 0 },
		{ "s", 0 },
		{ "-1s", 0 },
		{ " 1s", 0 },
		{ "1s ", 0 },
		{ "1e3s", 0 },
		{ "9999999999999d", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct capture err;
		uint64_t ms = 4711;
		int r;

		capture_start(&err, STDERR_FILENO);
		r = read_duration("verb", "--wait", cases[i].text, &ms);
		capture_end(&err);
		assert_int_equal(r, cases[i].ms ? 0 : EXIT_USAGE);
		assert_int_equal(ms, cases[i].ms ? cases[i].ms : 4711);
		assert_int_equal(!err.text[0], r == 0);
		assert_true(r == 0 || strstr(err.text, "taskctl: --wait: '") == err.text);
	}
}

/* One line, whatever the broker or a runner put into it. */
static void test_what_is_said(void **state)
{
	char *long_text = malloc(10001);
	struct capture err;

	(void)state;
	memset(long_text, 'x', 10000);
	long_text[10000] = '\0';
	capture_start(&err, STDERR_FILENO);
	say("a %s c", "b\033[31m\nd\r\xc2\x9b\xff");
	say("%s", "äö");
	assert_int_equal(usage_error("", "no"), EXIT_USAGE);
	capture_end(&err);
	assert_string_equal(err.text,
		"taskctl: a b [31m d   \xef\xbf\xbd c\ntaskctl: äö\ntaskctl: no\n"
		"Try 'taskctl --help'.\n");
	capture_start(&err, STDERR_FILENO);
	say("%s", long_text);
	capture_end(&err);
	free(long_text);
	assert_true(strlen(err.text) < 2100);
	assert_ptr_equal(strchr(err.text, '\n'), err.text + strlen(err.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_option_errors),
		cmocka_unit_test(test_all_options),
		cmocka_unit_test(test_nothing_given),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_verb_that_refuses),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_what_is_said),
	};

	clearenv();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
