/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "taskctl/fresh.h"

/* What was seen, one text after the other, and what of each was new. */
struct look {
	const char *text, *news;
};

static void check(const struct look *looks, size_t n)
{
	struct fresh f = { 0 };

	for (size_t i = 0; i < n; i++) {
		struct slice news = fresh_part(&f, slice_of(looks[i].text));

		if (!slice_equal(news, looks[i].news))
			fail_msg("'%s': '%.*s' is not '%s'", looks[i].text, (int)news.len,
				news.data, looks[i].news);
	}
	fresh_deinit(&f);
}

#define CHECK(...)                                            \
	do {                                                  \
		const struct look looks[] = { __VA_ARGS__ };  \
		check(looks, sizeof(looks) / sizeof(*looks)); \
	} while (0)

static void test_all_is_seen(void **state)
{
	(void)state;
	CHECK({ "", "" }, { "a\n", "a\n" }, { "a\n", "" }, { "a\nb\n", "b\n" });
	CHECK({ "tick\n", "tick\n" }, { "tick\ntick\n", "tick\n" },
		{ "tick\ntick\ntick\n", "tick\n" });
}

static void test_last_part_is_seen(void **state)
{
	(void)state;
	CHECK({ "one two", "one two" }, { "two three", " three" }, { "e four", " four" });
	CHECK({ "one", "one" }, { "nothing of it", "nothing of it" });
}

/* An answer that another has overtaken. */
static void test_older_is_nothing(void **state)
{
	(void)state;
	CHECK({ "abc", "abc" }, { "ab", "" }, { "b", "" }, { "", "" }, { "abcd", "d" });
	CHECK({ "cdef", "cdef" }, { "abcd", "" }, { "defg", "g" });
}

static void test_restart(void **state)
{
	struct fresh f = { 0 };

	(void)state;
	assert_true(slice_equal(fresh_part(&f, slice_of("same")), "same"));
	fresh_restart(&f);
	assert_true(slice_equal(fresh_part(&f, slice_of("same")), "same"));
	fresh_deinit(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_seen),
		cmocka_unit_test(test_last_part_is_seen),
		cmocka_unit_test(test_older_is_nothing),
		cmocka_unit_test(test_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
