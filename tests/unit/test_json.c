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

#include "wire/json.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static const struct slice good[] = {
	BYTES("null"),
	BYTES("true"),
	BYTES("false"),
	BYTES("0"),
	BYTES("-0"),
	BYTES("-1"),
	BYTES("10.25"),
	BYTES("1e5"),
	BYTES("1E+5"),
	BYTES("0e-1"),
	BYTES("0.0"),
	BYTES("-0.1e10"),
	BYTES("123456789012345678901234567890"),
	BYTES("1e99999"),
	BYTES("\"\""),
	BYTES("\"a\""),
	BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
	BYTES("\"\\u00e4\\uD83D\\ude00\""),
	BYTES("\"\\ud800\""), /* right by the grammar, though no text */
	BYTES("\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7f\""),
	BYTES("[]"),
	BYTES("[ ]"),
	BYTES("{}"),
	BYTES("{\t}"),
	BYTES("[1,2 , 3]"),
	BYTES("[[],[[]],{}]"),
	BYTES("{\"a\":1}"),
	BYTES("{\"a\" :\n[true , null,-1.5e-3] ,\"\":\"x\"}"),
	BYTES("{\"a\":1,\"a\":2}"),
	BYTES("[0]"),
	BYTES("[\"]\",\"[\",\"{\"]"),
};

static const struct slice bad[] = {
	BYTES(""),
	BYTES("nul"),
	BYTES("nulL"),
	BYTES("True"),
	BYTES("tru e"),
	BYTES("01x"),
	BYTES("-"),
	BYTES("+1"),
	BYTES("."),
	BYTES(".5"),
	BYTES("1."),
	BYTES("1.e1"),
	BYTES("1e"),
	BYTES("1e+"),
	BYTES("--1"),
	BYTES("-a"),
	BYTES("NaN"),
	BYTES("Infinity"),
	BYTES("\""),
	BYTES("\"a"),
	BYTES("\"\n\""),
	BYTES("\"\0\""),
	BYTES("\"\x1f\""),
	BYTES("\"\\x\""),
	BYTES("\"\\\0\""),
	BYTES("\"\\u12\""),
	BYTES("\"\\u12g4\""),
	BYTES("'a'"),
	BYTES("\"\x80\""),
	BYTES("\"\xC3\""),
	BYTES("\"\xC0\xAF\""),
	BYTES("\"\xED\xA0\x80\""),
	BYTES("\"\xF4\x90\x80\x80\""),
	BYTES("\"\xFF\""),
	BYTES("["),
	BYTES("[1"),
	BYTES("[1,"),
	BYTES("[1,]"),
	BYTES("[,1]"),
	BYTES("[1 2]"),
	BYTES("[01]"),
	BYTES("[1}"),
	BYTES("{"),
	BYTES("{]"),
	BYTES("{\"a\""),
	BYTES("{\"a\":"),
	BYTES("{\"a\":}"),
	BYTES("{\"a\":1"),
	BYTES("{\"a\":1,"),
	BYTES("{\"a\":1,}"),
	BYTES("{\"a\" 1}"),
	BYTES("{\"a\",1}"),
	BYTES("{a:1}"),
	BYTES("{1:1}"),
	BYTES("{,}"),
	BYTES("{\"a\":1 \"b\":2}"),
	BYTES("{\"a\"::1}"),
	BYTES("{\"a\":1]"),
	BYTES("[\v]"),
	BYTES("\xEF\xBB\xBF[]"),
	BYTES("[\xC2\xA0]"),
	BYTES("/**/1"),
	BYTES("]"),
	BYTES("}"),
	BYTES("[:]"),
	BYTES("[tru]"),
	BYTES("[-]"),
	BYTES("[1.]"),
};

#define N(table) (sizeof(table) / sizeof(*(table)))

static void test_good_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(good); i++) {
		size_t len;

		assert_int_equal(json_value_len(good[i], 0, &len), JSON_DONE);
		assert_int_equal(len, good[i].len);
	}
}

static void test_bad_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		size_t len;

		/* "01" is the number 0 and something behind it; whoever asks finds that. */
		if (json_value_len(bad[i], 0, &len) == JSON_DONE)
			assert_true(len < bad[i].len && bad[i].data[0] == '0');
		assert_true(len <= bad[i].len);
	}
}

static void test_every_beginning_is_unfinished(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(good); i++)
		for (size_t n = 0; n < good[i].len; n++) {
			bool is_number = strchr("-0123456789", *good[i].data);
			struct json_scanner scanner;
			size_t used;

			json_scan_start(&scanner, 0);
			assert_int_equal(
				json_scan(&scanner, (struct slice){ good[i].data, n }, &used),
				JSON_MORE);
			assert_int_equal(used, n);
			if (!is_number)
				assert_int_equal(
					json_value_len((struct slice){ good[i].data, n }, 0, &used),
					JSON_BAD);
		}
}

static void test_values_end_where_they_end(void **state)
{
	static const char *const after[] = { "x", " ", ",", "\"", "{", "]", "\n" };

	(void)state;
	for (size_t i = 0; i < N(good); i++)
		for (size_t k = 0; k < N(after); k++) {
			struct buf b = { 0 };
			size_t len;

			buf_append(&b, good[i].data, good[i].len);
			buf_append_text(&b, after[k]);
			assert_int_equal(json_value_len(buf_slice(&b), 0, &len), JSON_DONE);
			assert_int_equal(len, good[i].len);
			buf_deinit(&b);
		}
}

/* Cut in three pieces at all places, a value is the same and ends at the same place. */
static void test_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(good) + N(bad); i++) {
		struct slice s = i < N(good) ? good[i] : bad[i - N(good)];
		enum json_outcome whole;
		size_t whole_used;
		struct json_scanner scanner;

		json_scan_start(&scanner, 0);
		whole = json_scan(&scanner, s, &whole_used);
		for (size_t a = 0; a <= s.len; a++)
			for (size_t b = a; b <= s.len; b++) {
				const size_t cuts[] = { 0, a, b, s.len };
				enum json_outcome outcome = JSON_MORE;
				size_t at = 0;

				json_scan_start(&scanner, 0);
				for (int k = 0; k < 3 && outcome == JSON_MORE; k++) {
					size_t used;

					outcome = json_scan(&scanner,
						(struct slice){
							s.data + cuts[k], cuts[k + 1] - cuts[k] },
						&used);
					at = cuts[k] + used;
				}
				assert_int_equal(outcome, whole);
				assert_int_equal(at, whole_used);
			}
	}
}

/* Long strings go through the fast path; a fault must be seen at each place in it. */
static void test_faults_in_long_strings(void **state)
{
	static const unsigned char faults[] = { 0x00, 0x0A, 0x1F, 0x80, 0xFF };
	char text[42];

	(void)state;
	for (size_t i = 1; i < sizeof(text) - 1; i++)
		for (size_t k = 0; k <= sizeof(faults); k++) {
			struct slice s = { text, sizeof(text) };
			size_t len;

			memset(text, ' ', sizeof(text));
			text[0] = text[sizeof(text) - 1] = '"';
			text[i] = k < sizeof(faults) ? (char)faults[k] : '"';
			if (k < sizeof(faults)) {
				assert_int_equal(json_value_len(s, 0, &len), JSON_BAD);
				assert_int_equal(len, i);
			} else {
				assert_int_equal(json_value_len(s, 0, &len), JSON_DONE);
				assert_int_equal(len, i + 1);
			}
			text[i] = '~';
			assert_int_equal(json_value_len(s, 0, &len), JSON_DONE);
		}
}

static void nest(struct buf *b, unsigned depth, const char *open, const char *close)
{
	for (unsigned i = 0; i < depth; i++)
		assert_int_equal(buf_append_text(b, open), 0);
	assert_int_equal(buf_append_text(b, "1"), 0);
	for (unsigned i = 0; i < depth; i++)
		assert_int_equal(buf_append_text(b, close), 0);
}

static void test_depth(void **state)
{
	static const struct {
		unsigned depth, max;
		enum json_outcome outcome;
	} cases[] = {
		{ 1, 1, JSON_DONE },
		{ 2, 1, JSON_TOO_DEEP },
		{ 512, 0, JSON_DONE },
		{ 513, 0, JSON_TOO_DEEP },
		{ WIRE_DEPTH_MAX, WIRE_DEPTH_MAX, JSON_DONE },
		{ WIRE_DEPTH_MAX + 1, WIRE_DEPTH_MAX, JSON_TOO_DEEP },
		{ WIRE_DEPTH_MAX + 1, 1000000, JSON_TOO_DEEP },
		{ 1000000, 0, JSON_TOO_DEEP },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++)
		for (int object = 0; object < 2; object++) {
			struct buf b = { 0 };
			size_t len;

			nest(&b, cases[i].depth, object ? "{\"a\":" : "[", object ? "}" : "]");
			assert_int_equal(json_value_len(buf_slice(&b), cases[i].max, &len),
				cases[i].outcome);
			buf_deinit(&b);
		}
}

/* Which kind of container is open must be known at each depth. */
static void test_mixed_nesting(void **state)
{
	struct buf b = { 0 };
	size_t len;

	(void)state;
	for (int i = 0; i < 100; i++)
		buf_append_text(&b, i % 3 ? "[" : "{\"k\":");
	buf_append_text(&b, "null");
	for (int i = 99; i >= 0; i--)
		buf_append_text(&b, i % 3 ? "]" : "}");
	assert_int_equal(json_value_len(buf_slice(&b), 0, &len), JSON_DONE);
	for (size_t i = b.len - 100; i < b.len; i++) {
		char kept = b.data[i];

		b.data[i] = kept == ']' ? '}' : ']';
		assert_int_equal(json_value_len(buf_slice(&b), 0, &len), JSON_BAD);
		assert_int_equal(len, i);
		b.data[i] = kept;
	}
	buf_deinit(&b);
}

static void assert_unquoted(struct slice quoted, int r, struct slice expected)
{
	struct buf out = { 0 };

	assert_int_equal(json_unquote(&out, quoted), r);
	if (r == 0) {
		assert_int_equal(out.len, expected.len);
		if (expected.len > 0)
			assert_memory_equal(out.data, expected.data, expected.len);
	}
	buf_deinit(&out);
}

static void test_unquote(void **state)
{
	(void)state;
	assert_unquoted(BYTES("\"\""), 0, BYTES(""));
	assert_unquoted(BYTES("\"abc\""), 0, BYTES("abc"));
	assert_unquoted(BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), 0, BYTES("\"\\/\b\f\n\r\t"));
	assert_unquoted(BYTES("\"a\\u0000b\""), 0, BYTES("a\0b"));
	assert_unquoted(BYTES("\"\\u00e4\\u20AC\\uD83D\\uDE00x\""), 0,
		BYTES("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80x"));
	assert_unquoted(BYTES("\"\\ud800\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"\\ud800x\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"\\udc00\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"x\\uDFFFx\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"\\ud7ff\\ue000\""), 0, BYTES("\xED\x9F\xBF\xEE\x80\x80"));
	assert_unquoted(BYTES("\"\\udc00\\ud800\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"\\ud800\\u0041\""), -EINVAL, BYTES(""));
	assert_unquoted(BYTES("\"\\ud800\\n12345\""), -EINVAL, BYTES(""));
}

static void assert_quoted(struct slice text, const char *expected)
{
	struct buf out = { 0 };
	size_t len;

	assert_int_equal(json_quote(&out, text), 0);
	assert_int_equal(out.len, strlen(expected));
	assert_memory_equal(out.data, expected, out.len);
	assert_int_equal(json_quoted_len(text), out.len);
	assert_int_equal(json_value_len(buf_slice(&out), 0, &len), JSON_DONE);
	assert_int_equal(len, out.len);
	buf_deinit(&out);
}

static void test_quote(void **state)
{
	(void)state;
	assert_quoted(BYTES(""), "\"\"");
	assert_quoted(BYTES("plain, long enough for the fast path"),
		"\"plain, long enough for the fast path\"");
	assert_quoted(BYTES("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
	assert_quoted(BYTES("a\0\x1f\x7f"), "\"a\\u0000\\u001f\x7f\"");
	assert_quoted(BYTES("\xC3\xA4\xF0\x9F\x98\x80"), "\"\xC3\xA4\xF0\x9F\x98\x80\"");
	assert_quoted(BYTES("a\xFFz\xC3"), "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
}

/* Any bytes at all come out as a string that is right, of the length that was foretold, and text
 * comes back as it was. */
static void test_quote_anything(void **state)
{
	unsigned seed = 4711;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char bytes[64];
		size_t n = (size_t)rand_r(&seed) % sizeof(bytes), len;
		struct buf out = { 0 }, back = { 0 };

		for (size_t i = 0; i < n; i++)
			bytes[i] = (char)(rand_r(&seed) % (round % 2 ? 256 : 128));
		assert_int_equal(json_quote(&out, (struct slice){ bytes, n }), 0);
		assert_int_equal(json_quoted_len((struct slice){ bytes, n }), out.len);
		assert_int_equal(json_value_len(buf_slice(&out), 0, &len), JSON_DONE);
		assert_int_equal(len, out.len);
		assert_int_equal(json_unquote(&back, buf_slice(&out)), 0);
		if (round % 2 == 0) {
			assert_int_equal(back.len, n);
			assert_true(n == 0 || memcmp(back.data, bytes, n) == 0);
		}
		buf_deinit(&out);
		buf_deinit(&back);
	}
}

static void test_quote_keeps_the_bound(void **state)
{
	struct buf out = { .max = 5 };

	(void)state;
	buf_append_text(&out, "x");
	assert_int_equal(json_quote(&out, BYTES("abc")), -EMSGSIZE);
	assert_int_equal(out.len, 1);
	assert_int_equal(json_quote(&out, BYTES("ab")), 0);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_values),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_every_beginning_is_unfinished),
		cmocka_unit_test(test_values_end_where_they_end),
		cmocka_unit_test(test_any_pieces),
		cmocka_unit_test(test_faults_in_long_strings),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_mixed_nesting),
		cmocka_unit_test(test_unquote),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_quote_anything),
		cmocka_unit_test(test_quote_keeps_the_bound),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
