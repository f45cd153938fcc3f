/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define R              "\xEF\xBF\xBD"

/* The definition, written down without regard to speed: decode, and ask for the shortest form. */
static bool is_utf8_by_definition(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = p[i] < 0x80             ? 1
			     : (p[i] & 0xE0) == 0xC0 ? 2
			     : (p[i] & 0xF0) == 0xE0 ? 3
			     : (p[i] & 0xF8) == 0xF0 ? 4
						     : 0;
		static const unsigned first[] = { 0, 0, 0x80, 0x800, 0x10000 };
		unsigned code;

		if (len == 0 || i + len > n)
			return false;
		code = len == 1 ? p[i] : p[i] & (0x7Fu >> len);
		for (size_t k = 1; k < len; k++) {
			if ((p[i + k] & 0xC0) != 0x80)
				return false;
			code = code << 6 | (p[i + k] & 0x3F);
		}
		if (code < first[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
			return false;
		i += len;
	}
	return true;
}

static void test_all_short_sequences(void **state)
{
	unsigned char p[4];

	(void)state;
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			p[0] = (unsigned char)a;
			p[1] = (unsigned char)b;
			assert_int_equal(text_is_utf8((struct slice){ (char *)p, 2 }),
				is_utf8_by_definition(p, 2));
		}
	/* Three and four bytes: all second bytes, the borders of the others. */
	for (unsigned a = 0xC0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++)
			for (unsigned c = 0x7F; c <= 0xC0; c += 0x41 - (c == 0x7F) * 0x40) {
				p[0] = (unsigned char)a;
				p[1] = (unsigned char)b;
				p[2] = (unsigned char)c;
				p[3] = 0xBF;
				for (size_t n = 3; n <= 4; n++)
					assert_int_equal(
						text_is_utf8((struct slice){ (char *)p, n }),
						is_utf8_by_definition(p, n));
			}
}

static void test_faults_at_every_place(void **state)
{
	char text[40];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++) {
		memset(text, 'a', sizeof(text));
		assert_true(text_is_utf8((struct slice){ text, sizeof(text) }));
		text[i] = '\xFF';
		assert_false(text_is_utf8((struct slice){ text, sizeof(text) }));
		assert_int_equal(text_ascii_len((struct slice){ text, sizeof(text) }), i);
		assert_int_equal(text_utf8_len((struct slice){ text, sizeof(text) }), i);
	}
	assert_true(text_is_utf8(BYTES("")));
	assert_true(text_is_utf8(slice_of(NULL)));
	assert_true(text_is_utf8(BYTES("a\0b")));
}

static void assert_made(struct slice in, const char *expected)
{
	struct buf out = { 0 };

	buf_append_text(&out, ">");
	assert_int_equal(text_append_utf8(&out, in), 0);
	buf_append(&out, "", 1);
	assert_string_equal(out.data + 1, expected);
	assert_true(text_is_utf8((struct slice){ out.data, out.len - 1 }));
	buf_deinit(&out);
}

static void test_repair(void **state)
{
	(void)state;
	assert_made(BYTES(""), "");
	assert_made(BYTES("plain \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
		"plain \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
	assert_made(BYTES("a\xFFz"), "a" R "z");
	assert_made(BYTES("a\xC3"), "a" R);
	assert_made(BYTES("a\xF0\x9F\x98"), "a" R); /* one cut character, one sign */
	assert_made(BYTES("a\xF0\x9F\x98z"), "a" R "z");
	assert_made(BYTES("a\xC0\xAFz"), "a" R R "z");       /* overlong '/' */
	assert_made(BYTES("a\xED\xA0\x80z"), "a" R R R "z"); /* a surrogate */
	assert_made(BYTES("a\xF4\x90\x80\x80"), "a" R R R R);
	assert_made(BYTES("a\x80\x80"), "a" R R);
	/* A tail begins in the middle of a character. */
	assert_made(BYTES("\x98\x80z"), "z");
	assert_made(BYTES("\x80\x80\x80\x80z"), R "z");
	assert_made(BYTES("\x80"), "");
}

static void test_repair_keeps_the_bound(void **state)
{
	struct buf out = { .max = 6 };

	(void)state;
	buf_append_text(&out, "ab");
	assert_int_equal(text_append_utf8(&out, BYTES("cd\xFF")), -EMSGSIZE);
	assert_int_equal(out.len, 2);
	assert_int_equal(text_append_utf8(&out, BYTES("c\xFF")), 0);
	assert_int_equal(out.len, 6);
	buf_deinit(&out);
}

static void assert_clean(struct slice in, size_t max, const char *expected)
{
	struct buf out = { 0 };

	buf_append_text(&out, "\n"); /* what was there is not touched */
	assert_int_equal(text_append_clean(&out, in, max), 0);
	buf_append(&out, "", 1);
	assert_int_equal(out.data[0], '\n');
	assert_string_equal(out.data + 1, expected);
	buf_deinit(&out);
}

static void test_cleaning(void **state)
{
	(void)state;
	assert_clean(BYTES("plain sch\xC3\xB6n"), 99, "plain sch\xC3\xB6n");
	assert_clean(BYTES(""), 99, "");
	assert_clean(slice_of(NULL), 99, "");
	assert_clean(BYTES("a\nb\rc\td\0e"), 99, "a b c d e");
	assert_clean(BYTES("\x1b[31mred\x7f"), 99, " [31mred ");
	assert_clean(BYTES("\xC2\x9B"
			   "31m\xC2\xA0"),
		99, "  31m\xC2\xA0"); /* C1 steers, a no-break space does not */
	assert_clean(BYTES("a\xFFz"), 99, "a\xEF\xBF\xBDz");
}

static void test_cleaning_is_cut(void **state)
{
	struct buf out = { .max = 5 };

	(void)state;
	assert_clean(BYTES("abcdef"), 6, "abcdef");
	assert_clean(BYTES("abcdefg"), 6, "abcdef\xE2\x80\xA6");
	assert_clean(BYTES("ab\xC3\xB6x"), 3, "ab\xE2\x80\xA6"); /* between characters */
	assert_clean(BYTES("ab\xC2\x9Bx"), 3, "ab\xE2\x80\xA6");
	assert_clean(BYTES("\n\n"), 1, " \xE2\x80\xA6");
	assert_clean(BYTES("x"), 0, "\xE2\x80\xA6");
	buf_append_text(&out, "a");
	assert_int_equal(text_append_clean(&out, BYTES("bcdef"), 9), -EMSGSIZE);
	assert_int_equal(text_append_clean(&out, BYTES("bcde"), 3), -EMSGSIZE);
	assert_int_equal(out.len, 1);
	buf_deinit(&out);
}

static void assert_quoted(struct slice in, size_t max, const char *expected)
{
	struct buf out = { 0 };

	assert_int_equal(text_append_quoted(&out, in, max), 0);
	assert_true(out.len <= 4 * max + 5);
	buf_append(&out, "", 1);
	assert_string_equal(out.data, expected);
	buf_deinit(&out);
}

static void test_quoting(void **state)
{
	(void)state;
	assert_quoted(BYTES("plain-1.0/x:y"), 100, "plain-1.0/x:y");
	assert_quoted(BYTES("sch\xC3\xB6n"), 100, "sch\xC3\xB6n");
	assert_quoted(slice_of(NULL), 100, "-");
	assert_quoted(BYTES(""), 100, "\"\"");
	assert_quoted(BYTES("two words"), 100, "\"two words\"");
	assert_quoted(BYTES("k=v"), 100, "\"k=v\"");
	assert_quoted(BYTES("say \"hi\"\\"), 100, "\"say \\\"hi\\\"\\\\\"");
	assert_quoted(BYTES("a\nb\tc\rd"), 100, "\"a\\nb\\tc\\x0Dd\"");
	assert_quoted(BYTES("a\0b"), 100, "\"a\\x00b\"");
	assert_quoted(BYTES("\x1b[31m\x7f"), 100, "\"\\x1B[31m\\x7F\"");
	assert_quoted(BYTES("\xC2\x85\xC2\xA0"), 100, "\"\\xC2\\x85\xC2\xA0\""); /* C1 steers */
	assert_quoted(BYTES("a\xE2\x80\xA8z"), 100, "\"a\\xE2\\x80\\xA8z\"");
	assert_quoted(BYTES("\xFF\xC3"), 100, "\"\\xFF\\xC3\"");
}

static void test_quoting_is_cut(void **state)
{
	(void)state;
	assert_quoted(BYTES("abcdef"), 6, "abcdef");
	assert_quoted(BYTES("abcdefg"), 6, "\"abcdef\xE2\x80\xA6\"");
	assert_quoted(BYTES("ab\xC3\xB6"
			    "defg"),
		3, "\"ab\xE2\x80\xA6\""); /* between characters */
	assert_quoted(BYTES("\n\n\n"), 2, "\"\\n\\n\xE2\x80\xA6\"");
	assert_quoted(BYTES("x"), 0, "\"\xE2\x80\xA6\"");
}

static void test_quoting_keeps_the_bound(void **state)
{
	struct buf out = { .max = 5 };

	(void)state;
	buf_append_text(&out, "a");
	assert_int_equal(text_append_quoted(&out, BYTES("b\n\n"), 9), -EMSGSIZE);
	assert_int_equal(out.len, 1);
	assert_int_equal(text_append_quoted(&out, BYTES("\n"), 9), 0);
	assert_int_equal(out.len, 5);
	buf_deinit(&out);
}

static void test_labels(void **state)
{
	static const char most[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

	(void)state;
	assert_int_equal(strlen(most), 64);
	assert_true(text_is_label(most));
	assert_true(text_is_label("a:b-c"));
	assert_true(text_is_label("-"));
	assert_false(text_is_label(""));
	assert_false(text_is_label("a b"));
	assert_false(text_is_label("a,b"));
	assert_false(text_is_label("a/b"));
	assert_false(text_is_label("\xC3\xA4"));
	assert_false(
		text_is_label("0abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."));
}

/* With another locale: tests/e2e/test_library.py. */
static void test_numbers(void **state)
{
	static const char *const bad[] = { "", "x", "1x", "nan", "inf", "1e999", "0,5" };
	char text[TEXT_NUMBER_SIZE];
	double number = 9;

	(void)state;
	text_from_number(0.5, text);
	assert_string_equal(text, "0.5");
	text_from_number(-1e300, text);
	assert_string_equal(text, "-1e+300");
	assert_true(text_to_number("-1e+300", &number));
	assert_true(number == -1e300);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(text_to_number(bad[i], &number));
	assert_true(number == -1e300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_short_sequences),
		cmocka_unit_test(test_faults_at_every_place),
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_repair_keeps_the_bound),
		cmocka_unit_test(test_cleaning),
		cmocka_unit_test(test_cleaning_is_cut),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_quoting_is_cut),
		cmocka_unit_test(test_quoting_keeps_the_bound),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
