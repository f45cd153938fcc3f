/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/tail.h"

static void assert_kept(const struct tail *t, const char *expected)
{
	struct buf out = { 0 };

	assert_int_equal(buf_append_text(&out, ">"), 0);
	assert_int_equal(tail_copy(t, &out), 0);
	assert_int_equal(out.len, 1 + strlen(expected));
	assert_memory_equal(out.data + 1, expected, strlen(expected));
	buf_deinit(&out);
}

static void test_keeps_the_last_bytes(void **state)
{
	struct tail t;

	(void)state;
	tail_init(&t, 5);
	assert_kept(&t, "");
	tail_write(&t, "ab", 2);
	assert_kept(&t, "ab");
	tail_write(&t, "cde", 3);
	assert_kept(&t, "abcde");
	tail_write(&t, "f", 1);
	assert_kept(&t, "bcdef");
	tail_write(&t, "", 0);
	tail_write(&t, "ghij", 4);
	assert_kept(&t, "fghij");
	tail_write(&t, "0123456789", 10);
	assert_kept(&t, "56789");
	assert_int_equal(t.total, 20);
	tail_deinit(&t);
	assert_kept(&t, "");
	tail_write(&t, "usable", 6);
	assert_kept(&t, "sable");
	tail_deinit(&t);
}

static void test_size_zero_keeps_nothing(void **state)
{
	struct tail t;

	(void)state;
	tail_init(&t, 0);
	tail_write(&t, "abc", 3);
	assert_kept(&t, "");
	assert_int_equal(t.total, 3);
	assert_null(t.data);
	tail_deinit(&t);
	tail_deinit(NULL);
}

static void test_memory_grows_with_what_is_written(void **state)
{
	struct tail t;
	char block[1000];

	(void)state;
	memset(block, 'x', sizeof(block));
	tail_init(&t, 1 << 30);
	tail_write(&t, block, 10);
	assert_true(t.cap < 4096);
	for (int i = 0; i < 100; i++)
		tail_write(&t, block, sizeof(block));
	assert_true(t.cap < 1 << 20);
	assert_int_equal(t.len, 100010);
	tail_deinit(&t);
}

/* Against the plainest model there is: everything ever written, and its last bytes. */
static void test_like_a_model(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 255, 256, 257, 1000, 4096 };
	unsigned seed = 4711;

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		static char all[200000];
		size_t len = 0;
		struct tail t;

		tail_init(&t, sizes[s]);
		while (len < sizeof(all) - 3000) {
			struct buf out = { 0 };
			size_t n = (size_t)rand_r(&seed) % (len % 3 ? 20 : 3000), kept;

			for (size_t i = 0; i < n; i++)
				all[len + i] = (char)rand_r(&seed);
			tail_write(&t, all + len, n);
			len += n;
			kept = len < sizes[s] ? len : sizes[s];
			assert_int_equal(tail_copy(&t, &out), 0);
			assert_int_equal(out.len, kept);
			if (kept > 0)
				assert_memory_equal(out.data, all + len - kept, kept);
			buf_deinit(&out);
		}
		assert_true(t.cap <= sizes[s]);
		tail_deinit(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_the_last_bytes),
		cmocka_unit_test(test_size_zero_keeps_nothing),
		cmocka_unit_test(test_memory_grows_with_what_is_written),
		cmocka_unit_test(test_like_a_model),
	};

	return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
