/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

static void test_slices(void **state)
{
	struct slice absent = slice_of(NULL), empty = slice_of("");
	char *copy;

	(void)state;
	assert_null(absent.data);
	assert_non_null(empty.data);
	assert_true(slice_equal(absent, NULL));
	assert_false(slice_equal(absent, ""));
	assert_false(slice_equal(empty, NULL));
	assert_true(slice_equal(empty, ""));
	assert_true(slice_equal((struct slice){ "abc", 2 }, "ab"));
	assert_false(slice_equal((struct slice){ "abc", 2 }, "abc"));
	assert_false(slice_equal((struct slice){ "a\0b", 3 }, "a"));

	copy = slice_dup((struct slice){ "abc", 2 });
	assert_string_equal(copy, "ab");
	free(copy);
	copy = slice_dup(absent);
	assert_string_equal(copy, "");
	free(copy);
	assert_null(slice_dup((struct slice){ "x", SIZE_MAX }));
}

static void test_append_and_printf(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_append(&b, NULL, 0), 0);
	assert_non_null(buf_slice(&b).data);
	assert_int_equal(buf_append(&b, "a\0b", 3), 0);
	assert_int_equal(buf_append_text(&b, "cd"), 0);
	assert_int_equal(buf_printf(&b, "-%05d", 42), 0);
	assert_int_equal(b.len, 11);
	assert_memory_equal(b.data, "a\0bcd-00042", 11);
	buf_deinit(&b);
	assert_null(b.data);
	buf_deinit(NULL);
}

static void test_a_bound_is_kept_to_the_byte(void **state)
{
	struct buf b = { .max = 10 };
	char *at;

	(void)state;
	assert_int_equal(buf_append(&b, "123456789", 9), 0);
	assert_int_equal(buf_append(&b, "ab", 2), -EMSGSIZE);
	assert_int_equal(buf_printf(&b, "%s", "ab"), -EMSGSIZE);
	assert_int_equal(buf_reserve(&b, 2, &at), -EMSGSIZE);
	assert_int_equal(b.len, 9);
	assert_int_equal(buf_printf(&b, "%s", "a"), 0); /* exactly at it */
	assert_int_equal(buf_append(&b, "", 0), 0);
	assert_int_equal(buf_append(&b, "x", 1), -EMSGSIZE);
	assert_memory_equal(b.data, "123456789a", 10);
	/* The bound outlives the content. */
	buf_deinit(&b);
	assert_int_equal(b.max, 10);
	assert_int_equal(buf_append(&b, "12345678901", 11), -EMSGSIZE);
}

static void test_impossible_sizes(void **state)
{
	struct buf b = { 0 };
	char *at = NULL;

	(void)state;
	assert_int_equal(buf_append_text(&b, "keep"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX, &at), -ENOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 4, &at), -ENOMEM);
	assert_int_equal(buf_reserve(&b, PTRDIFF_MAX - 3, &at), -ENOMEM);
	assert_null(at);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "keep", 4);
	buf_deinit(&b);
}

static void test_reserve_gives_the_place(void **state)
{
	struct buf b = { 0 };
	char *at;

	(void)state;
	assert_int_equal(buf_reserve(&b, 0, &at), 0);
	assert_non_null(at);
	assert_int_equal(buf_reserve(&b, 1000, &at), 0);
	memset(at, 'x', 1000);
	assert_int_equal(b.len, 0);
	b.len += 1000;
	assert_int_equal(buf_slice(&b).len, 1000);
	buf_deinit(&b);
}

static void test_consume_clear_steal(void **state)
{
	struct buf b = { .max = 100 };
	size_t len = 99;
	char *data;

	(void)state;
	buf_append_text(&b, "hello world");
	buf_consume(&b, 0);
	assert_int_equal(b.len, 11);
	buf_consume(&b, 6);
	assert_true(slice_equal(buf_slice(&b), "world"));
	buf_consume(&b, 5);
	assert_int_equal(b.len, 0);
	buf_append_text(&b, "world");
	buf_consume(&b, 6);
	assert_int_equal(b.len, 0);
	buf_append_text(&b, "world");
	buf_consume(&b, 99);
	assert_int_equal(b.len, 0);
	buf_append_text(&b, "again");
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_non_null(b.data);

	buf_append_text(&b, "mine");
	data = buf_steal(&b, &len);
	assert_int_equal(len, 4);
	assert_memory_equal(data, "mine", 4);
	assert_null(b.data);
	assert_int_equal(b.max, 100);
	free(data);
	assert_null(buf_steal(&b, NULL));
}

static void test_growth_is_linear_work(void **state)
{
	struct buf b = { 0 };
	size_t moves = 0;
	const char *last = NULL;

	(void)state;
	for (size_t i = 0; i < 1000000; i++) {
		size_t cap = b.cap;

		assert_int_equal(buf_append(&b, "x", 1), 0);
		moves += b.cap != cap;
		last = b.data;
	}
	assert_non_null(last);
	assert_true(moves < 30);
	buf_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_append_and_printf),
		cmocka_unit_test(test_a_bound_is_kept_to_the_byte),
		cmocka_unit_test(test_impossible_sizes),
		cmocka_unit_test(test_reserve_gives_the_place),
		cmocka_unit_test(test_consume_clear_steal),
		cmocka_unit_test(test_growth_is_linear_work),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
