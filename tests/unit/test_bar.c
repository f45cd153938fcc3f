/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "taskctl/bar.h"
#include "tests/unit/capture.h"

#define ERASE "\r\033[K"

/* Draws as soon as a frame is due. */
static void draw_now(struct bar *bar)
{
	for (int ms; (ms = bar_draw(bar)) >= 0;)
		clock_sleep_ms((unsigned)ms);
}

static void record(struct bar *bar, const char *text)
{
	bar_record(bar, slice_of(text));
}

/* What one record looks like on a terminal of so many columns. */
static const char *drawn(struct capture *c, unsigned short columns, const char *text)
{
	struct bar bar;

	capture_terminal(c, STDERR_FILENO, columns);
	bar_init(&bar, false);
	record(&bar, text);
	draw_now(&bar);
	capture_end(c);
	bar_deinit(&bar);
	return c->text;
}

static void test_frames(void **state)
{
	struct capture c;

	(void)state;
	assert_string_equal(drawn(&c, 80, "{\"fraction\": 0, \"message\": \"begun\"}"),
		ERASE "[........................]   0% begun");
	assert_string_equal(
		drawn(&c, 80, "{\"fraction\": 0.5}"), ERASE "[############............]  50% ");
	assert_string_equal(drawn(&c, 80, "{\"fraction\": 0.999, \"message\": \"x\"}"),
		ERASE "[#######################.]  99% x");
	assert_string_equal(
		drawn(&c, 80, "{\"fraction\": 1}"), ERASE "[########################] 100% ");
	assert_string_equal(drawn(&c, 80, "{\"message\": \"no number\"}"), ERASE "no number");
	assert_string_equal(drawn(&c, 80, "just text"), ERASE "just text");
	assert_string_equal(drawn(&c, 80, "{\"else\": [1]}"), ERASE "{\"else\": [1]}");
	assert_string_equal(drawn(&c, 80, "{\"message\": \"a\\u001b[31m\\tb\\nc\\u009b\"}"),
		ERASE "a [31m b c  ");
}

/* The last column stays free, or some terminals would begin a new line. */
static void test_width(void **state)
{
	static const char wide[] = "{\"message\": \"進捗状況を表示しています\"}";
	struct capture c;

	(void)state;
	assert_string_equal(drawn(&c, 11, "0123456789"), ERASE "0123456789");
	assert_string_equal(drawn(&c, 10, "0123456789"), ERASE "012345678");
	assert_string_equal(drawn(&c, 1, "0123456789"), ERASE);
	assert_string_equal(drawn(&c, 10, "äöüäöüäöüäöü"), ERASE "äöüäöüäöü");
	assert_string_equal(drawn(&c, 10, wide), ERASE "進捗状況");
	assert_string_equal(drawn(&c, 11, wide), ERASE "進捗状況を");
	/* Accents of their own take no column. */
	assert_string_equal(drawn(&c, 4, "e\xcc\x81xyz"), ERASE "e\xcc\x81xy");
	/* Not even the bar has room. */
	assert_string_equal(drawn(&c, 33, "{\"fraction\": 0.5, \"message\": \"m\"}"),
		ERASE "[############............]  50% ");
	assert_string_equal(drawn(&c, 32, "{\"fraction\": 0.5, \"message\": \"m\"}"), ERASE "m");
}

/* Fewer cells leave more to the text, and how much that is can be asked. */
static void test_short_bar(void **state)
{
	struct capture c;
	struct bar bar;

	(void)state;
	capture_terminal(&c, STDERR_FILENO, 40);
	bar_init(&bar, false);
	assert_int_equal(bar_room(&bar), 39);
	bar.cells = 5;
	record(&bar, "{\"fraction\": 0.5}");
	assert_int_equal(bar_room(&bar), 39 - 13);
	bar_text(&bar, "abcdefghijklmnopqrstuvwxyz0");
	draw_now(&bar);
	capture_end(&c);
	bar_deinit(&bar);
	assert_string_equal(c.text, ERASE "[##...]  50% abcdefghijklmnopqrstuvwxyz");
}

static void test_width_that_is_not_known(void **state)
{
	struct capture c;
	char text[200];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(strlen(drawn(&c, 0, text)), strlen(ERASE) + 79);
}

static void test_record_keeps_what_it_says_nothing_of(void **state)
{
	struct capture c;
	struct bar bar;

	(void)state;
	capture_terminal(&c, STDERR_FILENO, 80);
	bar_init(&bar, false);
	record(&bar, "{\"fraction\": 0.25, \"message\": \"first\"}");
	record(&bar, "{\"fraction\": 0.5}");
	draw_now(&bar);
	captured(&c);
	record(&bar, "{\"message\": \"second\"}");
	draw_now(&bar);
	capture_end(&c);
	bar_deinit(&bar);
	assert_string_equal(c.text, ERASE "[############............]  50% second");
}

/* A machine that slept in between is given another try. */
static void test_frames_are_not_drawn_too_often(void **state)
{
	struct capture c;
	struct bar bar;
	int again, nothing_new;
	uint64_t since;

	(void)state;
	capture_terminal(&c, STDERR_FILENO, 80);
	bar_init(&bar, false);
	record(&bar, "first");
	draw_now(&bar);
	nothing_new = bar_draw(&bar);
	do {
		captured(&c);
		record(&bar, "second");
		bar.drawn_us = since = clock_now_us();
		again = bar_draw(&bar);
	} while (clock_now_us() - since > 10000);
	capture_end(&c);
	bar_deinit(&bar);
	assert_string_equal(c.text, "");
	assert_int_equal(nothing_new, -1);
	assert_in_range(again, 1, 51);
}

static void test_hide_and_draw_again(void **state)
{
	struct capture c;
	struct bar bar;

	(void)state;
	capture_terminal(&c, STDERR_FILENO, 80);
	bar_init(&bar, false);
	bar_hide(&bar); /* nothing is there yet */
	record(&bar, "text");
	draw_now(&bar);
	bar_hide(&bar);
	bar_hide(&bar);
	draw_now(&bar);
	bar_text(&bar, "other\033[1m");
	draw_now(&bar);
	bar_deinit(&bar);
	capture_end(&c);
	assert_string_equal(c.text, ERASE "text" ERASE ERASE "text" ERASE "other [1m" ERASE);
}

static const char *lines(struct capture *c, bool quiet)
{
	struct bar bar;

	capture_start(c, STDERR_FILENO);
	bar_init(&bar, quiet);
	bar_text(&bar, "for terminals alone");
	record(&bar, "{\"fraction\": 0.25, \"message\": \"a quarter\"}");
	record(&bar, "{\"fraction\": 0.5}");
	record(&bar, "{\"message\": \"two\\nlines\"}");
	record(&bar, "text");
	bar_hide(&bar);
	draw_now(&bar);
	bar_deinit(&bar);
	return capture_end(c);
}

static void test_lines_where_no_terminal_is(void **state)
{
	struct capture c;

	(void)state;
	assert_string_equal(lines(&c, false),
		"progress 25% a quarter\nprogress 50%\nprogress two lines\nprogress text\n");
	assert_string_equal(lines(&c, true), "");
}

static void test_quiet_on_a_terminal(void **state)
{
	struct capture c;
	struct bar bar;

	(void)state;
	capture_terminal(&c, STDERR_FILENO, 80);
	bar_init(&bar, true);
	record(&bar, "text");
	bar_text(&bar, "text");
	draw_now(&bar);
	bar_deinit(&bar);
	capture_end(&c);
	assert_string_equal(c.text, "");
}

static void test_terminals_that_can_do_nothing(void **state)
{
	static const char *const dumb[] = { "dumb", "", NULL };
	struct capture c;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		if (dumb[i])
			setenv("TERM", dumb[i], 1);
		else
			unsetenv("TERM");
		assert_string_equal(drawn(&c, 80, "text"), "progress text\r\n");
	}
	setenv("TERM", "xterm", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_short_bar),
		cmocka_unit_test(test_width_that_is_not_known),
		cmocka_unit_test(test_record_keeps_what_it_says_nothing_of),
		cmocka_unit_test(test_frames_are_not_drawn_too_often),
		cmocka_unit_test(test_hide_and_draw_again),
		cmocka_unit_test(test_lines_where_no_terminal_is),
		cmocka_unit_test(test_quiet_on_a_terminal),
		cmocka_unit_test(test_terminals_that_can_do_nothing),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	setenv("TERM", "xterm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
