/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "taskctl/taskctl.h"
#include "tests/unit/capture.h"

static const struct option options[] = {
	BROKER_OPTIONS,
	TAKES_VALUE("wait", 'w'),
	TAKES_VALUE("id", OPTION_OF_VERB),
	TAKES_NONE("quiet", 'q'),
	{ 0 },
};

/* Reads what stands in @line, and gives what is complained of; "" where nothing is. */
static const char *complaint(struct capture *err, struct broker_options *broker, const char *line)
{
	char copy[256], *words[16] = { "verb" }, *rest = copy;
	int n = 1, c = 0, status = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	while (rest && n < 15)
		words[n++] = strsep(&rest, " ");
	words[n] = NULL;
	optind = 0; /* glibc's way to begin again */
	opterr = 0;
	capture_start(err, STDERR_FILENO);
	while (status == 0 &&
		(c = getopt_long(n, words, ":" BROKER_LETTERS "w:q", options, NULL)) != -1)
		if ((c == '?' || c == ':') && !take_broker_option(broker, c))
			status = option_error("verb", c, options, words);
		else
			(void)take_broker_option(broker, c);
	capture_end(err);
	if (status != 0)
		assert_int_equal(status, EXIT_USAGE);
	return err->text;
}

static void test_option_errors(void **state)
{
	static const struct {
		const char *line, *told;
	} cases[] = {
		{ "-w", "--wait needs a value" },
		{ "-qw", "--wait needs a value" },
		{ "--id", "--id needs a value" },
		{ "--broker-file", "--broker-file needs a value" },
		{ "--quiet=secret", "--quiet takes no value" },
		{ "-x", "there is no option -x" },
		{ "-qx", "there is no option -x" },
		{ "--quiet -xq", "there is no option -x" },
		{ "--bogus", "there is no option --bogus" },
		{ "--bogus=secret", "there is no option --bogus" },
		{ "--qui --bogus x", "there is no option --bogus" },
		{ "--broke x", "--broke is short for several options" },
		{ "--broke=secret", "--broke is short for several options" },
		{ "--=x", "there is no option --" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct broker_options broker = { 0 };
		struct capture err;
		char expected[256];

		snprintf(expected, sizeof(expected), "taskctl: %s\nTry 'taskctl verb --help'.\n",
			cases[i].told);
		assert_string_equal(complaint(&err, &broker, cases[i].line), expected);
	}
}

static void test_broker_options(void **state)
{
	struct broker_options broker = { 0 };
	struct capture err;

	(void)state;
	assert_string_equal(complaint(&err, &broker, "-w 5s --id x -q some words"), "");
	assert_null(broker.broker);
	assert_false(take_broker_option(&broker, 'w'));
	assert_false(take_broker_option(&broker, OPTION_OF_VERB));
	optarg = "text";
	assert_true(take_broker_option(&broker, 'b'));
	assert_ptr_equal(broker.broker, optarg);
	assert_true(take_broker_option(&broker, OPTION_BROKER_FILE));
	assert_ptr_equal(broker.broker_file, optarg);
	assert_true(take_broker_option(&broker, OPTION_PASSWORD_FILE));
	assert_ptr_equal(broker.password_file, optarg);
	assert_true(take_broker_option(&broker, OPTION_CONTROL));
	assert_ptr_equal(broker.control, optarg);
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
		cmocka_unit_test(test_broker_options),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_what_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
