/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/fingerprint.h"

static uint64_t of(const char *a, const char *b)
{
	const struct slice parts[] = { slice_of(a), slice_of(b) };
	return fingerprint(parts, 2);
}

static void the_same_is_the_same(void **state)
{
	(void)state;
	assert_true(of("a", "b") == of("a", "b"));
	assert_true(of("", "") != 0);
	assert_true(of(NULL, "") == of("", NULL));
}

static void another_is_another(void **state)
{
	(void)state;
	assert_true(of("a", "b") != of("b", "a"));
	assert_true(of("ab", "") != of("a", "b"));
	assert_true(of("ab", "") != of("", "ab"));
	assert_true(of("a", "b") != of("a", "c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_is_the_same),
		cmocka_unit_test(another_is_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
