/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"

static void test_set_gives_back_the_code(void **state)
{
	struct error err = { 0 };

	(void)state;
	assert_int_equal(error_set(&err, -EINVAL, "line %d is wrong", 7), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, "line 7 is wrong");
	assert_int_equal(error_set(&err, -ENOENT, "gone"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "gone");
}

static void test_null_is_fine(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, -EIO, "%s", "unheard"), -EIO);
	assert_int_equal(error_prefix(NULL, "x"), 0);
}

static void test_prefix(void **state)
{
	struct error err = { 0 };

	(void)state;
	error_set(&err, -ERANGE, "not a number");
	assert_int_equal(error_prefix(&err, "%s:%d", "file", 3), -ERANGE);
	assert_string_equal(err.text, "file:3: not a number");
}

static void test_arguments_may_point_into_the_text(void **state)
{
	struct error err = { 0 };

	(void)state;
	error_set(&err, -EIO, "inner");
	error_set(&err, -EINVAL, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
	error_prefix(&err, "%s", err.text);
	assert_string_equal(err.text, "outer (inner): outer (inner)");
}

static void test_long_sentences_are_cut_between_characters(void **state)
{
	struct error err = { 0 };
	char text[sizeof(err.text) + 100];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(err.text) - 1] = '\0';
	error_set(&err, -EIO, "%s", text); /* fits exactly */
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);

	/* A character of two bytes across the end goes as a whole. */
	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(err.text) - 2, "\xC3\xA4", 2);
	text[sizeof(text) - 1] = '\0';
	error_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 2);

	text[sizeof(err.text) - 2] = '\0';
	error_set(&err, -EIO, "%s", text);
	error_prefix(&err, "%s", "prefix");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "prefix: xxx", 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_gives_back_the_code),
		cmocka_unit_test(test_null_is_fine),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_arguments_may_point_into_the_text),
		cmocka_unit_test(test_long_sentences_are_cut_between_characters),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
