/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "runner/memory.h"

#define HOUR_US 3600000000ULL

static void what_is_added_is_known_until_taken(void **state)
{
	struct memory m;
	(void)state;
	memory_init(&m, 10, HOUR_US);
	assert_false(memory_has(&m, "a"));
	assert_false(memory_take(&m, "a"));
	assert_int_equal(memory_add(&m, "a"), 0);
	assert_true(memory_has(&m, "a"));
	assert_true(memory_has(&m, "a"));
	assert_false(memory_has(&m, "A"));
	assert_false(memory_has(&m, "aa"));
	assert_false(memory_has(&m, ""));
	assert_true(memory_take(&m, "a"));
	assert_false(memory_take(&m, "a"));
	memory_deinit(&m);
	memory_deinit(&m);
}

static void a_print_tells_one_thing_from_another(void **state)
{
	struct memory m;
	(void)state;
	memory_init(&m, 10, HOUR_US);
	assert_int_equal(memory_add_print(&m, "a", 5), 0);
	assert_true(memory_has(&m, "a"));
	assert_true(memory_has_print(&m, "a", 5));
	assert_false(memory_has_print(&m, "a", 6));
	assert_false(memory_has_print(&m, "b", 5));
	assert_int_equal(memory_add_print(&m, "a", 6), 0);
	assert_false(memory_has_print(&m, "a", 5));
	assert_true(memory_has_print(&m, "a", 6));
	memory_deinit(&m);
}

static void the_oldest_is_forgotten_when_there_are_too_many(void **state)
{
	struct memory m;
	char id[16];
	(void)state;
	memory_init(&m, 3, HOUR_US);
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(memory_add(&m, id), 0);
	}
	assert_false(memory_has(&m, "996"));
	assert_true(memory_has(&m, "997"));
	assert_true(memory_has(&m, "999"));
	/* Adding again makes it the newest. */
	assert_int_equal(memory_add(&m, "997"), 0);
	assert_int_equal(memory_add(&m, "1000"), 0);
	assert_false(memory_has(&m, "998"));
	assert_true(memory_has(&m, "997"));
	memory_deinit(&m);
}

static void the_same_id_takes_one_place(void **state)
{
	struct memory m;
	(void)state;
	memory_init(&m, 2, HOUR_US);
	assert_int_equal(memory_add(&m, "other"), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(memory_add(&m, "same"), 0);
	assert_true(memory_has(&m, "other"));
	assert_true(memory_take(&m, "same"));
	assert_false(memory_has(&m, "same"));
	memory_deinit(&m);
}

static void each_is_forgotten_after_its_time(void **state)
{
	struct memory m;
	(void)state;
	memory_init(&m, 10, 0);
	assert_int_equal(memory_add(&m, "old"), 0);
	for (uint64_t since = clock_now_us(); clock_now_us() <= since;)
		;
	assert_false(memory_has(&m, "old"));
	memory_deinit(&m);
}

static void a_memory_of_nothing_knows_nothing(void **state)
{
	struct memory m;
	(void)state;
	memory_init(&m, 0, HOUR_US);
	assert_int_equal(memory_add(&m, "x"), 0);
	assert_false(memory_has(&m, "x"));
	memory_deinit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_is_known_until_taken),
		cmocka_unit_test(a_print_tells_one_thing_from_another),
		cmocka_unit_test(the_oldest_is_forgotten_when_there_are_too_many),
		cmocka_unit_test(the_same_id_takes_one_place),
		cmocka_unit_test(each_is_forgotten_after_its_time),
		cmocka_unit_test(a_memory_of_nothing_knows_nothing),
	};
	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
