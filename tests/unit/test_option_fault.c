/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/option_fault.h"

static const struct option options[] = {
	{ "broker", required_argument, NULL, 'b' },
	{ "broker-file", required_argument, NULL, 256 },
	{ "wait", required_argument, NULL, 'w' },
	{ "id", required_argument, NULL, 257 },
	{ "quiet", no_argument, NULL, 'q' },
	{ 0 },
};

/* Reads what stands in @line up to the first fault. */
static enum option_fault fault_of(const char *line, char *text, size_t size)
{
	char copy[256], *words[16] = { "verb" }, *rest = copy;
	int n = 1, c;

	snprintf(copy, sizeof(copy), "%s", line);
	while (rest && n < 15)
		words[n++] = strsep(&rest, " ");
	words[n] = NULL;
	optind = 0; /* glibc's way to begin again */
	opterr = 0;
	while ((c = getopt_long(n, words, ":b:w:q", options, NULL)) != -1)
		if (c == '?' || c == ':')
			return option_fault(c, options, words, text, size);
	fail_msg("nothing is wrong with %s", line);
	return OPTION_UNKNOWN;
}

static void test_what_is_said(void **state)
{
	static const struct {
		const char *line;
		enum option_fault fault;
		const char *told;
	} cases[] = {
		{ "-w", OPTION_NEEDS_VALUE, "--wait needs a value" },
		{ "-qw", OPTION_NEEDS_VALUE, "--wait needs a value" },
		{ "--id", OPTION_NEEDS_VALUE, "--id needs a value" },
		{ "--broker-file", OPTION_NEEDS_VALUE, "--broker-file needs a value" },
		{ "--quiet=secret", OPTION_TAKES_NONE, "--quiet takes no value" },
		{ "-x", OPTION_UNKNOWN, "there is no option -x" },
		{ "-qx", OPTION_UNKNOWN, "there is no option -x" },
		{ "--quiet -xq", OPTION_UNKNOWN, "there is no option -x" },
		{ "--bogus", OPTION_UNKNOWN, "there is no option --bogus" },
		{ "--bogus=secret", OPTION_UNKNOWN, "there is no option --bogus" },
		{ "--qui --bogus x", OPTION_UNKNOWN, "there is no option --bogus" },
		{ "--broke x", OPTION_AMBIGUOUS, "--broke is short for several options" },
		{ "--broke=secret", OPTION_AMBIGUOUS, "--broke is short for several options" },
		{ "--=x", OPTION_UNKNOWN, "there is no option --" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];

		assert_int_equal(fault_of(cases[i].line, text, sizeof(text)), cases[i].fault);
		assert_string_equal(text, cases[i].told);
	}
}

static void test_little_room(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(fault_of("--bogus", text, sizeof(text)), OPTION_UNKNOWN);
	assert_string_equal(text, "there is no opt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_said),
		cmocka_unit_test(test_little_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
