/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runner/sweeps.h"

#define MINUTE 60000

static const struct control_selector group_g = { .group = "g" };
static struct request of_g = { .script = "p", .group = "g", .user_id = "u" };
static struct request of_h = { .script = "p", .group = "h", .user_id = "u" };

static struct note note_at(int64_t time_ms, int64_t until_ms)
{
	return (struct note){
		.op = NOTE_SWEEP, .of = group_g, .time_ms = time_ms, .until_ms = until_ms
	};
}

static size_t n_written(struct sweeps *s)
{
	struct note note;
	size_t n = 0;
	while (sweeps_next(s, &note))
		n++;
	return n;
}

static void fits_what_is_selected_and_older(void **state)
{
	struct sweeps s = { 0 };
	(void)state;
	assert_int_equal(sweeps_heard(&s, &group_g, 1000, 1000 + MINUTE), 0);
	assert_true(sweeps_fit(&s, &of_g, 999, 2000));
	assert_true(sweeps_fit(&s, &of_g, 0, 2000)); /* it does not tell */
	assert_false(sweeps_fit(&s, &of_g, 1001, 2000));
	assert_false(sweeps_fit(&s, &of_h, 0, 2000));
	assert_true(sweeps_fit(&s, &of_g, 0, 1000 + MINUTE));
	assert_false(sweeps_fit(&s, &of_g, 0, 1001 + MINUTE));
	sweeps_forget_old(&s, 1001 + MINUTE);
	assert_int_equal(s.n, 0);
	sweeps_deinit(&s);
}

static void all_that_is_given_must_fit(void **state)
{
	static const struct control_selector both = { .group = "g", .user = "u" },
					     other = { .program = "q" }, everything = { 0 };
	struct request without = { .script = "p" };
	(void)state;
	assert_true(sweeps_selects(&both, &of_g));
	assert_false(sweeps_selects(&both, &of_h));
	assert_false(sweeps_selects(&both, &without));
	assert_false(sweeps_selects(&other, &of_g));
	assert_true(sweeps_selects(&everything, &without));
}

static void is_written_once(void **state)
{
	struct sweeps s = { 0 };
	(void)state;
	sweeps_heard(&s, &group_g, 1000, 1000 + MINUTE);
	assert_true(sweeps_have_news(&s));
	assert_int_equal(n_written(&s), 1);
	/* Said again while nobody answers. */
	sweeps_heard(&s, &group_g, 3000, 3000 + MINUTE);
	assert_int_equal(n_written(&s), 0);
	/* Another, later. */
	sweeps_heard(&s, &group_g, 1000 + MINUTE, 1000 + 2 * MINUTE);
	assert_int_equal(n_written(&s), 1);
	assert_int_equal(s.n, 1);
	sweeps_deinit(&s);
}

static void what_another_wrote_is_not_written(void **state)
{
	struct sweeps s = { 0 };
	struct note note = note_at(1500, 1500 + MINUTE);
	(void)state;
	sweeps_heard(&s, &group_g, 1000, 1000 + MINUTE);
	assert_int_equal(sweeps_read(&s, &note), 0);
	assert_int_equal(n_written(&s), 0);
	/* The stream was made anew. */
	sweeps_begin(&s);
	assert_int_equal(n_written(&s), 1);
	sweeps_deinit(&s);
}

static void what_is_read_counts(void **state)
{
	struct sweeps s = { 0 };
	struct note first = note_at(1000, 1000 + MINUTE), later = note_at(9000, 9000 + MINUTE);
	(void)state;
	assert_int_equal(sweeps_read(&s, &later), 1);
	assert_int_equal(sweeps_read(&s, &first), 0);
	assert_true(sweeps_fit(&s, &of_g, 8000, 9500));
	assert_int_equal(n_written(&s), 0);
	sweeps_deinit(&s);
}

static void the_oldest_of_too_many_is_forgotten(void **state)
{
	struct sweeps s = { 0 };
	char name[16];
	(void)state;
	sweeps_heard(&s, &group_g, 1, MINUTE);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		sweeps_heard(&s, &(struct control_selector){ .group = name }, 2, MINUTE);
	}
	assert_int_equal(s.n, 1000);
	assert_false(sweeps_fit(&s, &of_g, 0, 3));
	sweeps_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fits_what_is_selected_and_older),
		cmocka_unit_test(all_that_is_given_must_fit),
		cmocka_unit_test(is_written_once),
		cmocka_unit_test(what_another_wrote_is_not_written),
		cmocka_unit_test(what_is_read_counts),
		cmocka_unit_test(the_oldest_of_too_many_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
