/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runner/answers.h"

#define HOUR_US 3600000000ULL
#define MIB     (1U << 20)

static void keep(struct answers *answers, const char *id, uint64_t print, const char *body)
{
	struct mq_message message;
	mq_message_init(&message);
	assert_int_equal(buf_append_text(&message.body, body), 0);
	answers_keep(answers, id, print, &message);
	assert_int_equal(message.body.len, 0);
}

static void assert_found(struct answers *answers, const char *id, uint64_t print, const char *body)
{
	const struct mq_message *found = answers_find(answers, id, print);
	assert_non_null(found);
	assert_true(slice_equal(buf_slice(&found->body), body));
}

static void what_is_kept_is_found_by_id_and_print(void **state)
{
	struct answers answers;
	(void)state;
	answers_init(&answers, MIB, HOUR_US);
	assert_null(answers_find(&answers, "a", 1));
	keep(&answers, "a", 1, "first");
	assert_found(&answers, "a", 1, "first");
	assert_found(&answers, "a", 1, "first");
	assert_null(answers_find(&answers, "a", 2));
	assert_null(answers_find(&answers, "b", 1));
	answers_deinit(&answers);
	answers_deinit(&answers);
}

static void another_request_of_the_id_takes_its_place(void **state)
{
	struct answers answers;
	(void)state;
	answers_init(&answers, MIB, HOUR_US);
	keep(&answers, "a", 1, "first");
	keep(&answers, "a", 2, "second");
	assert_null(answers_find(&answers, "a", 1));
	assert_found(&answers, "a", 2, "second");
	answers_deinit(&answers);
}

static void the_oldest_go_when_there_is_no_room(void **state)
{
	struct answers answers;
	char id[16];
	(void)state;
	answers_init(&answers, MIB, HOUR_US);
	for (int i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		keep(&answers, id, 7, id);
		assert_true(answers.bytes <= MIB);
	}
	assert_null(answers_find(&answers, "0", 7));
	assert_found(&answers, "4999", 7, "4999");
	assert_found(&answers, "4500", 7, "4500");
	answers_deinit(&answers);
	assert_int_equal(answers.bytes, 0);
}

static void each_goes_after_its_time(void **state)
{
	struct answers answers;
	(void)state;
	answers_init(&answers, MIB, 0);
	keep(&answers, "a", 1, "x");
	while (answers_find(&answers, "a", 1))
		;
	answers_deinit(&answers);
}

static void the_large_are_not_wanted(void **state)
{
	struct answers answers;
	(void)state;
	answers_init(&answers, MIB, HOUR_US);
	assert_true(answers_want(&answers, 0));
	assert_true(answers_want(&answers, 10000));
	assert_false(answers_want(&answers, MIB / 64));
	answers_deinit(&answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_found_by_id_and_print),
		cmocka_unit_test(another_request_of_the_id_takes_its_place),
		cmocka_unit_test(the_oldest_go_when_there_is_no_room),
		cmocka_unit_test(each_goes_after_its_time),
		cmocka_unit_test(the_large_are_not_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
