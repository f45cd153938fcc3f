/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"
#include "wire/progress.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define N(table)       (sizeof(table) / sizeof(*(table)))

static enum progress_kind kind_of(struct slice record)
{
	unsigned char c = (unsigned char)*record.data;

	return strchr("{[\"", c)    ? PROGRESS_JSON
	       : (c & 0xF0) == 0x80 ? PROGRESS_MAP
				    : PROGRESS_LINE;
}

static void test_meanings(void **state)
{
	static const struct {
		struct slice record;
		enum progress_meaning strict, any_done;
	} cases[] = {
		{ BYTES("{\"done\": true}"), PROGRESS_DONE, PROGRESS_DONE },
		{ BYTES("{\"done\":true}"), PROGRESS_DONE, PROGRESS_DONE },
		{ BYTES("{\"done\":false}"), PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("{\"done\":1}"), PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("{\"done\":null}"), PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("{\"done\":true,\"file\":\"x\"}"), PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("{\"a\":{\"done\":true}}"), PROGRESS_FOR_REQUESTER,
			PROGRESS_FOR_REQUESTER },
		{ BYTES("{\"a\":\"done\"}"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("{\"Done\":true}"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("[\"done\",true]"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("\"done\""), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("done"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("{}"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("\x81\xA4"
			"done\xC3"),
			PROGRESS_DONE, PROGRESS_DONE },
		{ BYTES("\x81\xA4"
			"done\xC2"),
			PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("\x82\xA4"
			"done\xC3\xA1"
			"a\x01"),
			PROGRESS_FOR_REQUESTER, PROGRESS_DONE },
		{ BYTES("\x81\xA1"
			"a\xA4"
			"done"),
			PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("{\"taskiface\":\"fail\"}"), PROGRESS_FAIL, PROGRESS_FAIL },
		{ BYTES("{\"done\":true,\"taskiface\":\"fail\"}"), PROGRESS_FAIL, PROGRESS_FAIL },
		{ BYTES("{\"taskiface\":\"other\"}"), PROGRESS_FOR_REQUESTER,
			PROGRESS_FOR_REQUESTER },
		{ BYTES("{\"taskiface\":1}"), PROGRESS_FOR_REQUESTER, PROGRESS_FOR_REQUESTER },
		{ BYTES("{\"taskiface\":\"failure, a long word\"}"), PROGRESS_FOR_REQUESTER,
			PROGRESS_FOR_REQUESTER },
		{ BYTES("\x81\xA9taskiface\xA4"
			"fail"),
			PROGRESS_FAIL, PROGRESS_FAIL },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct slice r = cases[i].record;
		struct progress_failure failure;

		assert_int_equal(progress_meaning(r, kind_of(r), false, NULL), cases[i].strict);
		assert_int_equal(
			progress_meaning(r, kind_of(r), true, &failure), cases[i].any_done);
	}
	/* The same bytes as a line mean nothing. */
	assert_int_equal(progress_meaning(BYTES("{\"done\":true}"), PROGRESS_LINE, true, NULL),
		PROGRESS_FOR_REQUESTER);
}

static void assert_failure(struct slice record, const char *kind, const char *message)
{
	struct progress_failure failure;

	memset(&failure, 'x', sizeof(failure));
	assert_int_equal(progress_meaning(record, kind_of(record), false, &failure), PROGRESS_FAIL);
	assert_string_equal(failure.kind, kind);
	assert_string_equal(failure.message, message);
}

static void test_failures(void **state)
{
	struct buf record = { 0 };
	struct progress_failure failure;

	(void)state;
	assert_failure(BYTES("{\"taskiface\":\"fail\"}"), "", "");
	assert_failure(
		BYTES("{\"taskiface\":\"fail\",\"kind\":\"data\",\"message\":\"a\\nb \\u20ac\"}"),
		"data", "a\nb \xE2\x82\xAC");
	assert_failure(BYTES("{\"message\":\"m\",\"kind\":7,\"taskiface\":\"fail\"}"), "", "m");
	assert_failure(BYTES("{\"message\":\"a\\u0000b\",\"taskiface\":\"fail\"}"), "", "a b");
	assert_failure(BYTES("{\"message\":\"\\ud800\",\"taskiface\":\"fail\"}"), "", "");
	assert_failure(BYTES("\x83\xA9taskiface\xA4"
			     "fail\xA4kind\xA1k\xA7message\xA2hi"),
		"k", "hi");

	/* Long ones are cut at a character. */
	buf_append_text(&record, "{\"taskiface\":\"fail\",\"kind\":\"");
	for (int i = 0; i < 100; i++)
		buf_append_text(&record, "\xE2\x82\xAC");
	buf_append_text(&record, "\",\"message\":\"x");
	for (int i = 0; i < 100000; i++)
		buf_append_text(&record, "\xC3\xA4");
	buf_append_text(&record, "\"}");
	assert_int_equal(progress_meaning(buf_slice(&record), PROGRESS_JSON, false, &failure),
		PROGRESS_FAIL);
	assert_int_equal(strlen(failure.kind), 63);
	assert_int_equal(strlen(failure.message), 4095);
	assert_true(text_is_utf8(slice_of(failure.message)));
	buf_deinit(&record);
}

static void assert_report(
	struct slice record, bool has_fraction, double fraction, const char *message)
{
	struct progress_report report;

	assert_int_equal(progress_report_decode(record, &report), 0);
	assert_int_equal(report.has_fraction, has_fraction);
	if (has_fraction)
		assert_true(report.fraction == fraction);
	assert_true(slice_equal(slice_of(report.message), message));
	progress_report_deinit(&report);
	assert_null(report.message);
}

static void test_reports(void **state)
{
	(void)state;
	assert_report(BYTES("{\"fraction\":0.4,\"message\":\"m\",\"data\":[1]}"), true, 0.4, "m");
	assert_report(BYTES("{\"fraction\":0}"), true, 0, NULL);
	assert_report(BYTES("{\"fraction\":1}"), true, 1, NULL);
	assert_report(BYTES("{\"fraction\":1.01,\"message\":\"m\"}"), false, 0, "m");
	assert_report(BYTES("{\"fraction\":-1}"), false, 0, NULL);
	assert_report(BYTES("{\"fraction\":\"0.4\",\"message\":7}"), false, 0, NULL);
	assert_report(BYTES("{\"message\":\"a\\u0000b\"}"), false, 0, "a b");
	assert_report(
		BYTES("{\"fraction\":0.5,\"message\":\"a\",\"message\":\"b\"}"), true, 0.5, "a");
	assert_report(BYTES("{}"), false, 0, NULL);
	assert_report(BYTES("\x82\xA8"
			    "fraction\xCB\x3F\xE0\0\0\0\0\0\0\xA7message\xA1m"),
		true, 0.5, "m");
	assert_report(BYTES("\x81\xA8"
			    "fraction\xCB\x7F\xF8\0\0\0\0\0\0"),
		false, 0, NULL);
	assert_report(BYTES("a line\xFF"), false, 0, "a line\xEF\xBF\xBD");
	assert_report(BYTES("a\0b"), false, 0, "a b");
	assert_report(BYTES("\"a \\u00e4 string\""), false, 0, "a \xC3\xA4 string");
	assert_report(BYTES("\"half a string"), false, 0, "\"half a string");
	assert_report(BYTES("[1/10] compiling"), false, 0, "[1/10] compiling");
	assert_report(BYTES("[1,2]"), false, 0, "[1,2]");
	assert_report(BYTES("{\"message\":\"m\",\"fraction\":0.5,"), false, 0,
		"{\"message\":\"m\",\"fraction\":0.5,");
	assert_report(BYTES("\xDE\x8B\xDE\xA8"), false, 0, "\xDE\x8B\xDE\xA8");
	assert_report(BYTES(""), false, 0, "");
}

static void assert_line(struct slice record, size_t max, const char *expected)
{
	struct buf out = { 0 };

	assert_int_equal(buf_append_text(&out, ">"), 0);
	assert_int_equal(progress_append_line(&out, record, max), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	assert_string_equal(out.data + 1, expected);
	buf_deinit(&out);
}

static void test_lines_for_people(void **state)
{
	(void)state;
	assert_line(BYTES("{\"fraction\":0.4,\"message\":\"half way\",\"data\":[1]}"), 99,
		"progress 40% half way\n");
	assert_line(BYTES("{\"fraction\":0.4,\"data\":[1]}"), 99, "progress 40%\n");
	assert_line(BYTES("{\"message\":\"m\"}"), 99, "progress m\n");
	assert_line(BYTES("a line"), 99, "progress a line\n");
	assert_line(BYTES("\"a string\""), 99, "progress a string\n");
	/* What says nothing for people is shown as it is. */
	assert_line(BYTES("{\"n\": 1}"), 99, "progress {\"n\": 1}\n");
	assert_line(BYTES("{\"n\":\n1}"), 99, "progress {\"n\": 1}\n");
	assert_line(BYTES("[1, 2]"), 99, "progress [1, 2]\n");
	assert_line(BYTES("\x81\xA1n\x01"), 99, "progress (4 bytes of MessagePack)\n");
	assert_line(BYTES("\x81\xA7message\xA1m"), 99, "progress m\n");
	assert_line(BYTES("\x80"), 99, "progress (1 bytes of MessagePack)\n");
	/* Nothing steers the terminal, nothing begins another line. */
	assert_line(BYTES("{\"message\":\"a\\u001b[31m\\r\\nb\\u0085\"}"), 99,
		"progress a [31m  b  \n");
	assert_line(BYTES("\x1b]0;title\a"), 99, "progress  ]0;title \n");
	assert_line(BYTES("0123456789"), 4, "progress 0123\xE2\x80\xA6\n");
	assert_line(BYTES("{\"n\":\"0123456789\"}"), 6, "progress {\"n\":\"\xE2\x80\xA6\n");
}

static void test_percent(void **state)
{
	(void)state;
	for (int i = 0; i <= 100; i++)
		assert_int_equal(progress_percent(i / 100.0), i); /* 0.29 * 100 < 29 */
	assert_int_equal(progress_percent(0.999), 99);
	assert_int_equal(progress_percent(0.9999999999999), 99);
	assert_int_equal(progress_percent(0.0099), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meanings),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_lines_for_people),
		cmocka_unit_test(test_percent),
	};

	return cmocka_run_group_tests_name("progress_meaning", tests, NULL, NULL);
}
