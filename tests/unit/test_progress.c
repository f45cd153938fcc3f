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

#include "wire/progress.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define N(table)       (sizeof(table) / sizeof(*(table)))

/* What came out is written down as one text: J, M or L for the kind, the record, and a '|'; '!'
 * where a record was too large. */
static void take(struct progress_reader *reader, struct buf *out)
{
	static const char letters[] = {
		[PROGRESS_JSON] = 'J', [PROGRESS_MAP] = 'M', [PROGRESS_LINE] = 'L'
	};
	enum progress_outcome outcome;
	enum progress_kind kind;
	struct slice record;

	while ((outcome = progress_next(reader, &record, &kind)) == PROGRESS_RECORD) {
		buf_append(out, &letters[kind], 1);
		buf_append(out, record.data, record.len);
		buf_append(out, "|", 1);
	}
	if (outcome == PROGRESS_TOO_LARGE && (out->len == 0 || out->data[out->len - 1] != '!')) {
		buf_append(out, "!", 1);
		assert_int_equal(progress_next(reader, &record, &kind), PROGRESS_TOO_LARGE);
	}
}

/* The stream to read: bytes, with '\021' for "the writer closes" and '\022' for the end. */
static void run(struct progress_reader *reader, struct slice part, struct buf *out)
{
	while (part.len > 0) {
		size_t n = 0;

		while (n < part.len && part.data[n] != '\021' && part.data[n] != '\022')
			n++;
		/* An exact copy, so that a sanitizer sees the first byte too far. */
		assert_int_equal(progress_feed(reader, (struct slice){ part.data, n }), 0);
		if (n < part.len && part.data[n] == '\021')
			progress_writer_closed(reader);
		if (n < part.len && part.data[n] == '\022')
			progress_end(reader);
		n += n < part.len;
		part.data += n;
		part.len -= n;
		take(reader, out);
	}
}

static void run_in_pieces(
	struct slice stream, size_t max, const size_t *cuts, size_t n_cuts, struct buf *out)
{
	struct progress_reader *reader = progress_reader_new(max);
	size_t at = 0;

	assert_non_null(reader);
	for (size_t i = 0; i <= n_cuts; i++) {
		size_t end = i < n_cuts ? cuts[i] : stream.len;

		run(reader, (struct slice){ stream.data + at, end - at }, out);
		at = end;
	}
	assert_null(progress_reader_free(reader));
}

static void assert_same(const struct buf *out, struct slice expected, struct slice stream)
{
	if (out->len != expected.len ||
		memcmp(out->data ? out->data : "", expected.data, out->len) != 0)
		print_error("%.*s\n gave %.*s\n  not %.*s\n", (int)stream.len, stream.data,
			(int)out->len, out->data, (int)expected.len, expected.data);
	assert_int_equal(out->len, expected.len);
	assert_true(out->len == 0 || memcmp(out->data, expected.data, out->len) == 0);
}

/* Whole, byte by byte, and cut at each place. */
static void assert_records_max(struct slice stream, size_t max, struct slice expected)
{
	size_t *all = malloc((stream.len + 1) * sizeof(*all));
	struct buf out = { 0 };

	assert_non_null(all);
	for (size_t i = 0; i < stream.len; i++)
		all[i] = i;
	run_in_pieces(stream, max, all, stream.len, &out);
	assert_same(&out, expected, stream);
	for (size_t cut = 0; cut <= stream.len; cut++) {
		buf_clear(&out);
		run_in_pieces(stream, max, &cut, 1, &out);
		assert_same(&out, expected, stream);
	}
	buf_deinit(&out);
	free(all);
}

#define assert_records(stream, expected) assert_records_max(BYTES(stream), 1000, BYTES(expected))

static void test_json(void **state)
{
	(void)state;
	assert_records("{\"a\":1}", "J{\"a\":1}|");
	assert_records("{\"a\":1}{\"b\":2}", "J{\"a\":1}|J{\"b\":2}|");
	assert_records("{\"a\":1}\n{\"b\":2}\r\n", "J{\"a\":1}|J{\"b\":2}|");
	assert_records(" \t\r\n{\"a\":1} \t\r\n", "J{\"a\":1}|");
	assert_records("[1,[2]]\"s\"[]{}\"\"", "J[1,[2]]|J\"s\"|J[]|J{}|J\"\"|");
	assert_records("{\n  \"a\": [\n    1\n  ]\n}\n", "J{\n  \"a\": [\n    1\n  ]\n}|");
	assert_records("{\"a\":\"}{\\\"\"}[\"]\"]", "J{\"a\":\"}{\\\"\"}|J[\"]\"]|");
	assert_records("{\"a\":\"\xF0\x9F\x98\x80\"}", "J{\"a\":\"\xF0\x9F\x98\x80\"}|");
	assert_records("", "");
	assert_records("\n\n \n\r\n", "");
	assert_records("{\"unfinished\":", "");
}

static void test_lines(void **state)
{
	(void)state;
	assert_records("hello\n", "Lhello|");
	assert_records("hello\r\nworld\n\n\n!\n", "Lhello|Lworld|L!|");
	assert_records("10%\r20%\r30%\n", "L10%\r20%\r30%|");
	assert_records("a\r\r\n", "La\r|");
	assert_records("  indented\n\ttoo \n", "L  indented|L\ttoo |");
	assert_records("no newline", "");
	assert_records("12\n-1.5\ntrue\nnull\n", "L12|L-1.5|Ltrue|Lnull|"); /* scalars are lines */
	assert_records("a\n   \nb\n", "La|Lb|");
	assert_records("}\n]\n:\n", "L}|L]|L:|");
}

/* What begins like JSON and is none. */
static void test_fallback_to_lines(void **state)
{
	(void)state;
	assert_records("[1/10] compiling\n[2/10] linking\n", "L[1/10] compiling|L[2/10] linking|");
	assert_records("[INFO] x\n{\"a\":1}\n", "L[INFO] x|J{\"a\":1}|");
	assert_records("  [INFO] x\n", "L  [INFO] x|");
	assert_records("{curly} text\n", "L{curly} text|");
	assert_records("\"quoted\" and on\n", "J\"quoted\"|Land on|");
	assert_records("\"never closed\nnext\n", "L\"never closed|Lnext|");
	assert_records("[[[[oops\n", "L[[[[oops|");
	/* The fault comes lines later: those before it are lines, JSON or not; then it goes on. */
	assert_records("[\n1,\n{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n",
		"L[|L1,|L{\"a\":1}|J{\"b\":2}|J{\"c\":3}|");
	assert_records("{\"a\":\n\n[1,\r\n  2,\nx\n[3]\n", "L{\"a\":|L[1,|L  2,|Lx|J[3]|");
	assert_records("[01]\n", "L[01]|");
	assert_records("{\"a\":1]\n{}\n", "L{\"a\":1]|J{}|");
	assert_records("\"\xFF\"\n", "L\"\xFF\"|");
	assert_records("{\"a\":1} tail\n", "J{\"a\":1}|Ltail|");
	assert_records("tail {\"a\":1}\n", "Ltail {\"a\":1}|");
}

static void test_maps(void **state)
{
	(void)state;
	assert_records("\x80", "M\x80|");
	assert_records("\x81\xA1"
		       "a\x07",
		"M\x81\xA1"
		"a\x07|");
	assert_records("\x81\xA1"
		       "a\x0A\x81\xA1"
		       "b\xC0\n{}",
		"M\x81\xA1"
		"a\x0A|M\x81\xA1"
		"b\xC0|J{}|");
	assert_records("\x82\xA1"
		       "a\x92\x07\xA3xyz\xA0\x81\xA1"
		       "b\xCB\0\0\0\0\0\0\0\0",
		"M\x82\xA1"
		"a\x92\x07\xA3xyz\xA0\x81\xA1"
		"b\xCB\0\0\0\0\0\0\0\0|");
	assert_records("\xDE\0\x03\xA1"
		       "a\x07\xD9\x01"
		       "b\x07\xDA\0\x01"
		       "c\x07x\n",
		"M\xDE\0\x03\xA1"
		"a\x07\xD9\x01"
		"b\x07\xDA\0\x01"
		"c\x07|Lx|");
	assert_records("\xDF\0\0\0\x03\xA1"
		       "a\xC3\xA1"
		       "b\xC2\xA1"
		       "c\xD4\x07\x07",
		"M\xDF\0\0\0\x03\xA1"
		"a\xC3\xA1"
		"b\xC2\xA1"
		"c\xD4\x07\x07|");
	assert_records(" \n\x81\xA1"
		       "a\x07 \n",
		"M\x81\xA1"
		"a\x07|");
	assert_records("\x81\xA1"
		       "a",
		"");
}

/* What begins like a map and is none. */
static void test_no_maps(void **state)
{
	(void)state;
	assert_records("\x85hello\nx\n", "L\x85hello|Lx|"); /* the key would be a number */
	assert_records("\x81\xC1\n\x80", "L\x81\xC1|M\x80|");
	assert_records("\x82\xA1"
		       "a\xC1\nx\n",
		"L\x82\xA1"
		"a\xC1|Lx|");
	assert_records("\x81\xA1\xFF\x07\n", "L\x81\xA1\xFF\x07|"); /* the key is no text */
	assert_records("\x81\xDA\x05\0k\n", "L\x81\xDA\x05\0k|");   /* nor is a name so long */
	/* Thaana and N'Ko begin with 0xDE and 0xDF. */
	assert_records("\xDE\x8B\xDE\xA8\xDE\x88\xDE\xAC\xDE\x80\xDE\xA8\n",
		"L\xDE\x8B\xDE\xA8\xDE\x88\xDE\xAC\xDE\x80\xDE\xA8|");
	assert_records(
		"\xDF\x92\xDF\x9E\xDF\x8F\n\xDF\x8A.\n", "L\xDF\x92\xDF\x9E\xDF\x8F|L\xDF\x8A.|");
}

static void test_binary_garbage(void **state)
{
	(void)state;
	assert_records("\0\0\n\xFF\xFE\n", "L\0\0|L\xFF\xFE|");
	assert_records("\xC1\xC2\x03\n", "L\xC1\xC2\x03|");
	assert_records("\x93\x07\x07\x07\n", "L\x93\x07\x07\x07|"); /* an array is no record */
}

static void test_writer_closes(void **state)
{
	(void)state;
	assert_records("half\021", "Lhalf|");
	assert_records("half\021line\n", "Lhalf|Lline|");
	assert_records("a\r\021b\021\021c\021", "La|Lb|Lc|");
	assert_records("[1/10]\021[2/10]\021", "L[1/10]|L[2/10]|");
	assert_records("  \021x\021 \021", "Lx|");
	assert_records("\021\021", "");
	/* A value is not finished by that; another write goes on with it. */
	assert_records("{\"a\":\021"
		       "1}\021",
		"J{\"a\":1}|");
	assert_records("\"a\021"
		       "b\"\021{}\021",
		"J\"ab\"|J{}|");
	assert_records("\x81\xA1\021"
		       "a\021\x07\021",
		"M\x81\xA1"
		"a\x07|");
	/* And if it turns out to be none, each writer's text stays apart. */
	assert_records("[12\021hello\n", "L[12|Lhello|");
	assert_records("[12\021[13\021[1x\n", "L[12|L[13|L[1x|");
	assert_records("[12\021,13\021x\n", "L[12|L,13|Lx|");
	assert_records("[1\021\021,\021\0212\021 \021]", "J[1,2 ]|");
	assert_records("{\"a\":1}\021{\"b\":2}\021", "J{\"a\":1}|J{\"b\":2}|");
}

static void test_the_end(void **state)
{
	(void)state;
	assert_records("half\022", "Lhalf|");
	assert_records("half\r\022", "Lhalf|");
	assert_records("{\"a\":\n1, \r\n\022", "L{\"a\":\n1,|");
	assert_records("\x82\xA1"
		       "a\x07\022",
		"L\x82\xA1"
		"a\x07|");
	assert_records("  \022", "");
	assert_records("\022", "");
	assert_records("{}\n\022", "J{}|");
	assert_records("  [\022", "L[|");
	assert_records("[1\021\022", "L[1|");
}

static void test_limits(void **state)
{
	(void)state;
	assert_records_max(BYTES("12345\n12345\r\n123456\n"), 5, BYTES("L12345|L12345|!"));
	assert_records_max(BYTES("123456"), 5, BYTES("!"));
	assert_records_max(BYTES("12345\r"), 5, BYTES(""));
	assert_records_max(BYTES("12345\rx"), 5, BYTES("!"));
	assert_records_max(BYTES("12345\r\021"), 5, BYTES("L12345|"));
	assert_records_max(BYTES("12345\022"), 5, BYTES("L12345|"));
	assert_records_max(BYTES("[123]\n[1,2]"), 5, BYTES("J[123]|J[1,2]|"));
	assert_records_max(BYTES("[1234]"), 5, BYTES("!"));
	assert_records_max(BYTES("[1234x\n"), 5, BYTES("!"));
	assert_records_max(BYTES("[123x\n"), 5, BYTES("L[123x|"));
	assert_records_max(BYTES("[1,2\022"), 5, BYTES("L[1,2|"));
	assert_records_max(BYTES("\x81\xA1"
				 "a\xA1z\x81\xA1"
				 "a\xA2zz"),
		5,
		BYTES("M\x81\xA1"
		      "a\xA1z|!"));
	/* Said as soon as it is sure. */
	assert_records_max(BYTES("\x81\xA1"
				 "a\xDB\xFF\xFF\xFF\xFF"),
		1000, BYTES("!"));
	assert_records_max(BYTES("\x81\xA1"
				 "a\xC9\xFF\xFF\xFF\xFF"),
		1000, BYTES("!"));
	assert_records_max(BYTES("\xDF\x7F\xFF\xFF\xFF\xA1"
				 "a\x07\xA1"
				 "a\x07"),
		9, BYTES("!"));
	/* White space is bounded like everything. */
	assert_records_max(BYTES("      "), 5, BYTES(""));
	assert_records_max(BYTES("       "), 5, BYTES("!"));
	assert_records_max(BYTES("         x\n"), 5, BYTES("!"));
	assert_records_max(BYTES("   x\n"), 5, BYTES("L   x|"));
	assert_records_max(BYTES("    \n    \n{}"), 5, BYTES("J{}|"));
	assert_records_max(BYTES("{}             {}"), 5, BYTES("J{}|J{}|")); /* not kept */
}

/* A long stream of everything, cut at every two places: always the same. */
static void test_any_pieces(void **state)
{
	static const struct slice stream = BYTES(
		"{\"a\":1}{\"b\":[1,\n2]}\n[1/10] compiling\n  plain\r\n\x82\xA1"
		"a\x0A\xA1"
		"b\xA2\n\n"
		"\n[INFO] \xC3\xA4\n\xDE\x8B\xDE\xA8\n\"str\\\"ing\"[\n{\"x\":1},\n[2],\n] done\n"
		"\021"
		"cut\021{\"c\":\021true}\x80 "
		"\x85zz\n{\"n\":\nnope\n\xDE\0\x01\xA1k\x90\n[unfinished\022");
	static const struct slice expected = BYTES(
		"J{\"a\":1}|J{\"b\":[1,\n2]}|L[1/10] compiling|L  plain|M\x82\xA1"
		"a\x0A\xA1"
		"b\xA2\n\n|"
		"L[INFO] \xC3\xA4|L\xDE\x8B\xDE\xA8|J\"str\\\"ing\"|L[|L{\"x\":1},|L[2],|L] done|"
		"Lcut|J{\"c\":true}|M\x80|L\x85zz|L{\"n\":|Lnope|M\xDE\0\x01\xA1k\x90|L["
		"unfinished|");

	(void)state;
	for (size_t a = 0; a <= stream.len; a++)
		for (size_t b = a; b <= stream.len; b++) {
			const size_t cuts[] = { a, b };
			struct buf out = { 0 };

			run_in_pieces(stream, 100, cuts, 2, &out);
			assert_same(&out, expected, stream);
			buf_deinit(&out);
		}
}

/* Random streams of telling bytes: pieces make no difference, nothing is lost but white space, no
 * record is over the limit. */
static void test_random_streams(void **state)
{
	static const char alphabet[] =
		"{}[]\":,\\ \n\r\t1ax\x81\xA1\x90\xDE\xDF\x8B\xC1\021{[\"\n\n";
	unsigned seed = 4711;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char bytes[60];
		size_t n = (size_t)rand_r(&seed) % sizeof(bytes), cuts[2];
		struct buf whole = { 0 }, cut = { 0 };

		for (size_t i = 0; i < n; i++)
			bytes[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		run_in_pieces((struct slice){ bytes, n }, 20, NULL, 0, &whole);
		cuts[0] = n ? (size_t)rand_r(&seed) % n : 0;
		cuts[1] = cuts[0] + (n > cuts[0] ? (size_t)rand_r(&seed) % (n - cuts[0]) : 0);
		run_in_pieces((struct slice){ bytes, n }, 20, cuts, 2, &cut);
		assert_same(&cut, buf_slice(&whole), (struct slice){ bytes, n });
		buf_deinit(&whole);
		buf_deinit(&cut);
	}
}

/* Megabytes that begin a value in every line. Were each line followed to where the first failed,
 * this would not end. */
static void test_hostile_lines(void **state)
{
	static const char *const lines[] = { "[\n", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
		"{\"a\":\n", "[ \t \t \t \t \t \t \t \t \t\n", "\"\n", "\x81\xA1\n",
		"\x8F\xA1"
		"a\x9F\n" };

	(void)state;
	for (size_t i = 0; i < N(lines); i++) {
		struct progress_reader *reader = progress_reader_new(16 << 20);
		struct buf bytes = { 0 };
		struct slice record;
		enum progress_kind kind;
		size_t total = 0;

		while (bytes.len < 4 << 20)
			buf_append_text(&bytes, lines[i]);
		buf_append_text(&bytes, "?\n");
		/* In small pieces and all at once. */
		for (size_t at = 0; at < bytes.len;) {
			size_t n = at < 1 << 20 ? 100 : bytes.len - at;

			assert_int_equal(
				progress_feed(reader, (struct slice){ bytes.data + at, n }), 0);
			at += n;
			while (progress_next(reader, &record, &kind) == PROGRESS_RECORD)
				total += record.len;
		}
		progress_end(reader);
		while (progress_next(reader, &record, &kind) == PROGRESS_RECORD)
			total += record.len;
		/* Everything came out but newlines. */
		assert_in_range(total, bytes.len / 3, bytes.len);
		progress_reader_free(reader);
		buf_deinit(&bytes);
	}
}

static void test_large_records_in_small_pieces(void **state)
{
	const size_t max = 8 << 20;
	struct progress_reader *reader = progress_reader_new(max);
	struct slice record;
	enum progress_kind kind;
	char piece[1000];

	(void)state;
	memset(piece, 'x', sizeof(piece));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(progress_feed(reader, BYTES("{\"a\":\"")), 0);
		for (size_t i = 0; i < (max - 10) / sizeof(piece); i++) {
			assert_int_equal(
				progress_feed(reader, (struct slice){ piece, sizeof(piece) }), 0);
			assert_int_equal(progress_next(reader, &record, &kind), PROGRESS_NONE);
		}
		assert_int_equal(progress_feed(reader, BYTES("\"}")), 0);
		assert_int_equal(progress_next(reader, &record, &kind), PROGRESS_RECORD);
		assert_int_equal(kind, PROGRESS_JSON);
		assert_int_equal(record.len, (max - 10) / sizeof(piece) * sizeof(piece) + 8);
		assert_int_equal(progress_next(reader, &record, &kind), PROGRESS_NONE);
	}
	progress_reader_free(reader);
}

static void test_depth(void **state)
{
	struct buf stream = { 0 }, out = { 0 };

	(void)state;
	for (int i = 0; i < 513; i++)
		buf_append_text(&stream, "[");
	for (int i = 0; i < 513; i++)
		buf_append_text(&stream, "]");
	buf_append_text(&stream, "\n{}");
	run_in_pieces(buf_slice(&stream), 10000, NULL, 0, &out);
	assert_int_equal(out.data[0], 'L');
	assert_int_equal(out.len, 1 + 1026 + 1 + 4);
	buf_deinit(&stream);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_fallback_to_lines),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_no_maps),
		cmocka_unit_test(test_binary_garbage),
		cmocka_unit_test(test_writer_closes),
		cmocka_unit_test(test_the_end),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_any_pieces),
		cmocka_unit_test(test_random_streams),
		cmocka_unit_test(test_hostile_lines),
		cmocka_unit_test(test_large_records_in_small_pieces),
		cmocka_unit_test(test_depth),
	};

	return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
