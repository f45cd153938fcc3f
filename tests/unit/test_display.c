/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "taskctl/display.h"
#include "tests/unit/capture.h"

#define N(array) (sizeof(array) / sizeof(*(array)))
#define TEXT(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

static const char *appended(struct buf *out, struct slice text, size_t columns, size_t *ret)
{
	buf_clear(out);
	*ret = 4711;
	assert_int_equal(display_append(out, text, columns, ret), 0);
	assert_int_equal(buf_append(out, "", 1), 0);
	return out->data;
}

static void test_cut(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *shown;
		size_t used;
	} cases[] = {
		{ "", 5, "", 0 },
		{ "text", 5, "text", 4 },
		{ "text", 4, "text", 4 },
		{ "text", 3, "te…", 3 },
		{ "text", 1, "…", 1 },
		{ "text", 0, "", 0 },
		{ "äöü", 3, "äöü", 3 },
		{ "äöü", 2, "ä…", 2 },
		/* Two columns each. */
		{ "漢字", 4, "漢字", 4 },
		{ "漢字", 3, "漢…", 3 },
		{ "漢字", 2, "…", 1 },
		{ "漢字", 1, "…", 1 },
		{ "a漢字", 3, "a…", 2 },
		{ "👍👍", 3, "👍…", 3 },
		/* A mark takes no column, and stays with what it is on. */
		{ "e\xcc\x81"
		  "a",
			2,
			"e\xcc\x81"
			"a",
			2 },
		{ "ae\xcc\x81", 2, "ae\xcc\x81", 2 },
		{ "ae\xcc\x81z", 2, "a…", 2 },
	};
	struct buf out = { 0 };
	size_t used;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_string_equal(
			appended(&out, slice_of(cases[i].text), cases[i].columns, &used),
			cases[i].shown);
		assert_int_equal(used, cases[i].used);
	}
	buf_deinit(&out);
}

/* Whatever it is, it is one line, steers nothing, and is as wide as was said. */
static void test_cut_in_the_middle(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *shown;
		size_t used;
	} cases[] = {
		{ "", 5, "", 0 },
		{ "batch-4711", 10, "batch-4711", 10 },
		{ "batch-4711", DISPLAY_ANY, "batch-4711", 10 },
		{ "batch-4711", 9, "batc…4711", 9 },
		{ "batch-4711", 8, "batc…711", 8 },
		{ "batch-4711", 3, "b…1", 3 },
		{ "batch-4711", 2, "b…", 2 },
		{ "batch-4711", 1, "…", 1 },
		{ "batch-4711", 0, "", 0 },
		/* Half of a wide one is none. */
		{ "漢字漢字", 7, "漢…字", 5 },
		/* No mark goes to another character. */
		{ "abcdea\xcc\x81z", 5, "ab…a\xcc\x81z", 5 },
		{ "abcdea\xcc\x81z", 4, "ab…z", 4 },
		{ "abc\033[2J\xff", 6, "abc…J\xEF\xBF\xBD", 6 },
	};
	struct buf out = { 0 };
	size_t used;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		buf_clear(&out);
		used = 4711;
		assert_int_equal(
			display_append_ends(&out, slice_of(cases[i].text), cases[i].columns, &used),
			0);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_string_equal(out.data, cases[i].shown);
		assert_int_equal(used, cases[i].used);
	}
	buf_deinit(&out);
}

static void test_hostile_text(void **state)
{
	static const struct {
		struct slice text;
		const char *shown;
	} cases[] = {
		{ { "a\033[31mb\033]0;t\007c", 14 }, "a [31mb ]0;t c" },
		{ { "a\r\n\tb\x7f", 6 }, "a   b " },
		{ { "a\0b", 3 }, "a b" },
		{ { "\xc2\x9b"
		    "2J\xc2\x80\xc2\x9f\xc2\xa0",
			  10 },
			" 2J  \xc2\xa0" },
		{ { "\xff\xc3z\xe2\x82", 5 }, "\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd" },
		{ { "\xed\xa0\x80", 3 }, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		/* What would turn the text around. */
		{ TEXT("a\u202e\u2066b\u200fc\u061c"), "a\ufffd\ufffdb\ufffdc\ufffd" },
		{ TEXT("a\u2028b\u2029"), "a b " },
		/* Not assigned, or for private use. */
		{ TEXT("\U0010ffff"), "\ufffd" },
	};
	struct buf out = { 0 };
	size_t used;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_string_equal(
			appended(&out, cases[i].text, DISPLAY_ANY, &used), cases[i].shown);
		assert_int_equal(used, display_width(cases[i].text));
	}
	buf_deinit(&out);
}

/* Marks that would tower over the lines above. */
static void test_marks_without_end(void **state)
{
	struct buf text = { 0 }, out = { 0 };
	size_t used;

	(void)state;
	buf_append_text(&text, "a");
	for (int i = 0; i < 10000; i++)
		buf_append_text(&text, "\xcc\x81");
	buf_append_text(&text, "b");
	assert_string_equal(appended(&out, buf_slice(&text), 5, &used),
		"a\xcc\x81\xcc\x81\xcc\x81\xcc\x81"
		"b");
	assert_int_equal(used, 2);
	assert_int_equal(display_width(buf_slice(&text)), 2);
	buf_deinit(&text);
	buf_deinit(&out);
}

static void test_prefix(void **state)
{
	(void)state;
	assert_int_equal(display_prefix(slice_of("abc"), 2), 2);
	assert_int_equal(display_prefix(slice_of("abc"), 3), 3);
	assert_int_equal(display_prefix(slice_of("a漢"), 2), 1);
	assert_int_equal(display_prefix(slice_of("a漢"), 3), 4);
	assert_int_equal(display_prefix(slice_of(""), 3), 0);
}

static void test_size_of_the_terminal(void **state)
{
	struct capture c;
	size_t columns, unknown, set, wrong, lines, unknown_lines;

	(void)state;
	unsetenv("COLUMNS");
	unsetenv("LINES");
	capture_terminal(&c, STDOUT_FILENO, 50);
	columns = display_columns(STDOUT_FILENO);
	lines = display_lines(STDOUT_FILENO);
	capture_end(&c);
	capture_terminal(&c, STDOUT_FILENO, 0);
	unknown = display_columns(STDOUT_FILENO);
	setenv("COLUMNS", "132", 1);
	set = display_columns(STDOUT_FILENO);
	setenv("COLUMNS", "many", 1);
	wrong = display_columns(STDOUT_FILENO);
	capture_end(&c);
	capture_start(&c, STDOUT_FILENO);
	unknown_lines = display_lines(STDOUT_FILENO);
	capture_end(&c);
	unsetenv("COLUMNS");
	assert_int_equal(columns, 50);
	assert_int_equal(lines, 24);
	assert_int_equal(unknown, 80);
	assert_int_equal(set, 132);
	assert_int_equal(wrong, 80);
	assert_int_equal(unknown_lines, 24);
}

static const char *counted(struct buf *out, const struct state_count *counts, size_t n, bool color)
{
	buf_clear(out);
	assert_int_equal(display_counts(out, counts, n, color), 0);
	assert_int_equal(buf_append(out, "", 1), 0);
	return out->data;
}

static void test_counts(void **state)
{
	static const struct state_count counts[] = {
		{ "queued", 12 },
		{ "running", 8 },
		{ "held", 0 },
		{ "paused", 1 },
		{ "odd\033", UINT64_MAX },
	};
	struct buf out = { 0 };

	(void)state;
	assert_string_equal(counted(&out, counts, 5, false),
		"queued 12 · running 8 · paused 1 · odd  18446744073709551615");
	assert_string_equal(counted(&out, counts + 1, 1, true), "\033[36mrunning 8\033[0m");
	assert_string_equal(counted(&out, counts + 2, 1, true), "none");
	assert_string_equal(counted(&out, counts, 0, false), "none");
	buf_deinit(&out);
}

static void test_states(void **state)
{
	(void)state;
	assert_int_equal(paint_of_state(slice_of("failed")), PAINT_BAD);
	assert_int_equal(paint_of_state(slice_of("ready")), PAINT_GOOD);
	assert_int_equal(paint_of_state(slice_of("\033[31m")), PAINT_NONE);
	assert_true(state_rank(slice_of("waiting")) < state_rank(slice_of("running")));
	assert_true(state_rank(slice_of("running")) < state_rank(slice_of("failed")));
	assert_int_equal(state_rank(slice_of("")), STATE_UNKNOWN);
	assert_string_equal(paint_on(PAINT_NONE), "");
	assert_string_equal(paint_off(PAINT_NONE), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cut_in_the_middle),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_marks_without_end),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_size_of_the_terminal),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_states),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
