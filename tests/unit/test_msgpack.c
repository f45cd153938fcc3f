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

#include "wire/msgpack.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static struct msgpack_head head_of(struct slice s, size_t size)
{
	struct msgpack_head head;

	assert_int_equal(msgpack_head_read(s, &head), MSGPACK_DONE);
	assert_int_equal(head.size, size);
	/* Shown less than all of it, it waits. */
	for (size_t n = 0; n < size; n++) {
		struct msgpack_head partial;

		assert_int_equal(
			msgpack_head_read((struct slice){ s.data, n }, &partial), MSGPACK_MORE);
	}
	return head;
}

static void assert_len(struct slice s, enum msgpack_kind kind, size_t size, uint64_t len)
{
	struct msgpack_head head = head_of(s, size);

	assert_int_equal(head.kind, kind);
	assert_true(head.len == len);
}

static void assert_bits(struct slice s, enum msgpack_kind kind, uint64_t bits)
{
	struct msgpack_head head = head_of(s, s.len);

	assert_int_equal(head.kind, kind);
	assert_true(head.bits == bits);
	assert_true(head.len == 0);
}

static void test_lengths(void **state)
{
	(void)state;
	assert_len(BYTES("\x80"), MSGPACK_MAP, 1, 0);
	assert_len(BYTES("\x8F"), MSGPACK_MAP, 1, 15);
	assert_len(BYTES("\xDE\x01\x02"), MSGPACK_MAP, 3, 0x0102);
	assert_len(BYTES("\xDF\xFF\xFF\xFF\xFF"), MSGPACK_MAP, 5, UINT32_MAX);
	assert_len(BYTES("\x90"), MSGPACK_ARRAY, 1, 0);
	assert_len(BYTES("\x9F"), MSGPACK_ARRAY, 1, 15);
	assert_len(BYTES("\xDC\x01\x02"), MSGPACK_ARRAY, 3, 0x0102);
	assert_len(BYTES("\xDD\x80\0\0\x01"), MSGPACK_ARRAY, 5, 0x80000001);
	assert_len(BYTES("\xA0"), MSGPACK_STR, 1, 0);
	assert_len(BYTES("\xBF"), MSGPACK_STR, 1, 31);
	assert_len(BYTES("\xD9\xFF"), MSGPACK_STR, 2, 255);
	assert_len(BYTES("\xDA\x01\x02"), MSGPACK_STR, 3, 0x0102);
	assert_len(BYTES("\xDB\x01\x02\x03\x04"), MSGPACK_STR, 5, 0x01020304);
	assert_len(BYTES("\xC4\x05"), MSGPACK_BIN, 2, 5);
	assert_len(BYTES("\xC5\x01\x02"), MSGPACK_BIN, 3, 0x0102);
	assert_len(BYTES("\xC6\xFF\xFF\xFF\xFF"), MSGPACK_BIN, 5, UINT32_MAX);
	assert_len(BYTES("\xC7\x05"), MSGPACK_EXT, 2, 6);
	assert_len(BYTES("\xC8\x01\x02"), MSGPACK_EXT, 3, 0x0103);
	assert_len(BYTES("\xC9\xFF\xFF\xFF\xFF"), MSGPACK_EXT, 5, 0x100000000);
	assert_len(BYTES("\xD4"), MSGPACK_EXT, 1, 2);
	assert_len(BYTES("\xD5"), MSGPACK_EXT, 1, 3);
	assert_len(BYTES("\xD6"), MSGPACK_EXT, 1, 5);
	assert_len(BYTES("\xD7"), MSGPACK_EXT, 1, 9);
	assert_len(BYTES("\xD8"), MSGPACK_EXT, 1, 17);
}

static void test_scalars(void **state)
{
	(void)state;
	assert_bits(BYTES("\xC0"), MSGPACK_NIL, 0);
	assert_bits(BYTES("\xC2"), MSGPACK_BOOL, 0);
	assert_bits(BYTES("\xC3"), MSGPACK_BOOL, 1);
	assert_bits(BYTES("\0"), MSGPACK_UINT, 0);
	assert_bits(BYTES("\x7F"), MSGPACK_UINT, 127);
	assert_bits(BYTES("\xCC\xFF"), MSGPACK_UINT, 255);
	assert_bits(BYTES("\xCD\xFF\xFE"), MSGPACK_UINT, 0xFFFE);
	assert_bits(BYTES("\xCE\xFF\xFF\xFF\xFE"), MSGPACK_UINT, 0xFFFFFFFE);
	assert_bits(BYTES("\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"), MSGPACK_UINT, UINT64_MAX - 1);
	assert_bits(BYTES("\xFF"), MSGPACK_INT, (uint64_t)-1);
	assert_bits(BYTES("\xE0"), MSGPACK_INT, (uint64_t)-32);
	assert_bits(BYTES("\xD0\x80"), MSGPACK_INT, (uint64_t)-128);
	assert_bits(BYTES("\xD1\x80\0"), MSGPACK_INT, (uint64_t)-32768);
	assert_bits(BYTES("\xD2\x7F\xFF\xFF\xFF"), MSGPACK_INT, INT32_MAX);
	assert_bits(BYTES("\xD3\x80\0\0\0\0\0\0\0"), MSGPACK_INT, (uint64_t)INT64_MIN);
	assert_true(head_of(BYTES("\xCA\x3F\xC0\0\0"), 5).number == 1.5);
	assert_true(head_of(BYTES("\xCB\xBF\xF8\0\0\0\0\0\0"), 9).number == -1.5);
	{
		struct msgpack_head head;

		assert_int_equal(msgpack_head_read(BYTES("\xC1"), &head), MSGPACK_BAD);
	}
}

/* What the library packs is what we read, for each kind and each size. */
static void test_against_the_library(void **state)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536, 100000 };
	static char filler[100000];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (int kind = 0; kind < 5; kind++) {
			struct buf b = { 0 };
			msgpack_packer packer;
			size_t n = sizes[i], len;

			msgpack_to_buf(&packer, &b);
			if (kind == 0)
				msgpack_put_text(&packer, (struct slice){ filler, n });
			else if (kind == 1)
				msgpack_put_bytes(&packer, (struct slice){ filler, n });
			else if (kind == 2)
				msgpack_pack_ext_with_body(&packer, filler, n, 7);
			else if (kind == 3)
				msgpack_pack_array(&packer, n);
			else
				msgpack_pack_map(&packer, n);
			for (size_t k = 0; kind > 2 && k < n * (kind == 4 ? 2 : 1); k++)
				msgpack_pack_int(&packer, (int)k);
			buf_append(&b, "\xC1", 1);
			assert_int_equal(msgpack_value_len(buf_slice(&b), 0, &len), MSGPACK_DONE);
			assert_int_equal(len, b.len - 1);
			buf_deinit(&b);
		}
}

static const struct slice sample = BYTES("\x84\xA1"
					 "a\x93\x01\xC0\xC3\xD9\x03"
					 "bcd\x81\xA1"
					 "e\xC4\x02\xC1\xC1\xA1"
					 "f\xCB\xBF\xF8\0\0\0\0\0\0\xA0\xD6\x01\xC1\xC1\xC1\xC1");

static void test_any_pieces(void **state)
{
	(void)state;
	for (size_t a = 0; a <= sample.len; a++)
		for (size_t b = a; b <= sample.len; b++) {
			const size_t ends[] = { a, b, sample.len };
			struct msgpack_skipper skipper;
			enum msgpack_outcome outcome = MSGPACK_MORE;
			size_t at = 0;

			msgpack_skip_start(&skipper, 0);
			for (int k = 0; k < 3 && outcome == MSGPACK_MORE; k++) {
				size_t used;

				outcome = msgpack_skip(&skipper,
					(struct slice){ sample.data + at, ends[k] - at }, &used);
				at += used;
				assert_true(at <= ends[k] && ends[k] - at <= 8);
			}
			assert_int_equal(outcome, MSGPACK_DONE);
			assert_int_equal(at, sample.len);
		}
}

static void test_truncation(void **state)
{
	size_t len;

	(void)state;
	assert_int_equal(msgpack_value_len(sample, 0, &len), MSGPACK_DONE);
	assert_int_equal(len, sample.len);
	for (size_t n = 0; n < sample.len; n++) {
		assert_int_equal(
			msgpack_value_len((struct slice){ sample.data, n }, 0, &len), MSGPACK_BAD);
		assert_true(len <= n);
	}
}

static void test_hostile_lengths(void **state)
{
	static const struct slice hostile[] = {
		BYTES("\xDF\xFF\xFF\xFF\xFF"),
		BYTES("\xDF\xFF\xFF\xFF\xFF\xA1"
		      "a\x01"),
		BYTES("\xDD\xFF\xFF\xFF\xFF\x01"),
		BYTES("\xDB\xFF\xFF\xFF\xFFxyz"),
		BYTES("\xC6\xFF\xFF\xFF\xFFxyz"),
		BYTES("\xC9\xFF\xFF\xFF\xFF\x01xyz"),
		BYTES("\x9F\xDD\xFF\xFF\xFF\xFF\xDF\xFF\xFF\xFF\xFF"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
		size_t len;

		assert_int_equal(msgpack_value_len(hostile[i], 0, &len), MSGPACK_BAD);
		assert_true(len <= hostile[i].len);
	}
}

static void test_depth(void **state)
{
	static char nested[100001];
	size_t len;

	(void)state;
	memset(nested, '\x91', sizeof(nested));
	assert_int_equal(
		msgpack_value_len((struct slice){ nested, 100000 }, 0, &len), MSGPACK_TOO_DEEP);
	assert_int_equal(len, 512);
	nested[512] = 1;
	assert_int_equal(msgpack_value_len((struct slice){ nested, 513 }, 0, &len), MSGPACK_DONE);
	assert_int_equal(
		msgpack_value_len((struct slice){ nested, 513 }, 511, &len), MSGPACK_TOO_DEEP);
	/* An empty container has a depth of its own. */
	nested[512] = '\x90';
	assert_int_equal(
		msgpack_value_len((struct slice){ nested, 513 }, 512, &len), MSGPACK_TOO_DEEP);
	assert_int_equal(msgpack_value_len((struct slice){ nested, 513 }, 513, &len), MSGPACK_DONE);
	memset(nested, '\x91', sizeof(nested));
	nested[WIRE_DEPTH_MAX] = 1;
	assert_int_equal(msgpack_value_len((struct slice){ nested, sizeof(nested) }, 1000000, &len),
		MSGPACK_DONE);
	nested[WIRE_DEPTH_MAX] = '\x91';
	assert_int_equal(msgpack_value_len((struct slice){ nested, sizeof(nested) }, 1000000, &len),
		MSGPACK_TOO_DEEP);
}

static void test_packers(void **state)
{
	static const char expected[] = "\x94\xA2hi\xC4\x02\0\xFF\xC0\xC3";
	struct buf b = { 0 }, bounded = { .max = 3 };
	msgpack_packer packer;

	(void)state;
	msgpack_to_buf(&packer, &b);
	assert_int_equal(msgpack_pack_array(&packer, 4), 0);
	assert_int_equal(msgpack_put_optional(&packer, BYTES("hi")), 0);
	assert_int_equal(msgpack_put_bytes(&packer, BYTES("\0\xFF")), 0);
	assert_int_equal(msgpack_put_optional(&packer, slice_of(NULL)), 0);
	assert_int_equal(msgpack_put_bool(&packer, true), 0);
	assert_int_equal(b.len, sizeof(expected) - 1);
	assert_memory_equal(b.data, expected, b.len);
	buf_deinit(&b);

	msgpack_to_buf(&packer, &bounded);
	assert_int_equal(msgpack_put_text(&packer, BYTES("abc")), -EMSGSIZE);
	buf_deinit(&bounded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_against_the_library),
		cmocka_unit_test(test_any_pieces),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_hostile_lengths),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_packers),
	};

	return cmocka_run_group_tests_name("msgpack", tests, NULL, NULL);
}
