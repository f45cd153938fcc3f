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

#include "wire/base64.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static void assert_decoded(const char *text, int r, struct slice expected)
{
	struct buf out = { 0 };

	buf_append_text(&out, ">");
	assert_int_equal(base64_decode(&out, slice_of(text)), r);
	assert_int_equal(out.len, 1 + (r == 0 ? expected.len : 0));
	if (r == 0 && expected.len > 0)
		assert_memory_equal(out.data + 1, expected.data, expected.len);
	if (r == 0)
		assert_int_equal(base64_decoded_len(slice_of(text)), expected.len);
	buf_deinit(&out);
}

static void test_vectors(void **state)
{
	(void)state;
	assert_decoded("", 0, BYTES(""));
	assert_decoded("Zg==", 0, BYTES("f"));
	assert_decoded("Zm8=", 0, BYTES("fo"));
	assert_decoded("Zm9v", 0, BYTES("foo"));
	assert_decoded("Zm9vYg==", 0, BYTES("foob"));
	assert_decoded("Zm9vYmE=", 0, BYTES("fooba"));
	assert_decoded("Zm9vYmFy", 0, BYTES("foobar"));
	assert_decoded("AAAA", 0, BYTES("\0\0\0"));
	assert_decoded("+/+/", 0, BYTES("\xFB\xFF\xBF"));
}

static void test_faults(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zm9vY", "=", "==", "===", "====",
		"Z===", "Zg==Zg==", "Zm8=Zm8=", "Z=g=", "=Zg=", "Zm9v====", " Zm9v", "Zm9v ",
		"Zm9v\n", "Zm9\n", "\nm9v", " m9v", "Zm 9", "Zm9v\r\n\r\n", "Zm-v", "Zm_v", "-m9v",
		"Zm9-", "----", "    ", "Zm9*", "Zm9v    ", "    Zm9v", "Zm9\xC3",
		/* Bits that belong to no byte must be zero. */
		"Zh==", "Zn==", "Zm9=", "Zm+=", "Zm9vYh==" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_decoded(bad[i], -EINVAL, BYTES(""));
	{
		struct buf out = { 0 };

		assert_int_equal(base64_decode(&out, BYTES("Zm\0v")), -EINVAL);
		buf_deinit(&out);
	}
}

/* Each byte that is no digit, at each place. */
static void test_a_fault_at_each_place(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[16];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		for (unsigned c = 0; c < 256; c++) {
			struct buf out = { 0 };
			bool is_digit = c != 0 && strchr(digits, (int)c);
			int r;

			memset(text, 'Q', sizeof(text));
			text[i] = (char)c;
			r = base64_decode(&out, (struct slice){ text, sizeof(text) });
			/* One '=' at the end leaves two bits of Q, which are zero. */
			if (c == '=' && i == sizeof(text) - 1)
				is_digit = true;
			assert_int_equal(r, is_digit ? 0 : -EINVAL);
			buf_deinit(&out);
		}
}

static void test_round_trips(void **state)
{
	static char bytes[200000];
	unsigned seed = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)rand_r(&seed);
	/* All remainders, and both sides of the borders between the pieces that are worked in. */
	for (size_t n = 0; n < sizeof(bytes);
		n += n < 100 || n % 49152 < 4 || n % 49152 > 49148 ? 1 : 997) {
		struct buf text = { 0 }, back = { 0 };

		assert_int_equal(base64_encode_quoted(&text, (struct slice){ bytes, n }), 0);
		assert_int_equal(text.len, base64_encoded_len(n) + 2);
		assert_true(text.data[0] == '"' && text.data[text.len - 1] == '"');
		assert_int_equal(
			base64_decode(&back, (struct slice){ text.data + 1, text.len - 2 }), 0);
		assert_int_equal(back.len, n);
		assert_true(n == 0 || memcmp(back.data, bytes, n) == 0);
		buf_deinit(&text);
		buf_deinit(&back);
	}
}

static void test_bounds(void **state)
{
	struct buf out = { .max = 5 };

	(void)state;
	assert_int_equal(base64_encode_quoted(&out, BYTES("foo")), -EMSGSIZE);
	assert_int_equal(out.len, 0);
	assert_int_equal(base64_decode(&out, BYTES("Zm9vYmFy")), -EMSGSIZE);
	out.max = 6;
	assert_int_equal(base64_encode_quoted(&out, BYTES("foo")), 0);
	buf_clear(&out);
	assert_int_equal(base64_decode(&out, BYTES("Zm9vYmFy")), 0);
	assert_int_equal(out.len, 6);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_a_fault_at_each_place),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
