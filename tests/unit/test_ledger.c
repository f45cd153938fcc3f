/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runner/ledger.h"

#define DAY_MS 86400000

/* Takes what is to be written: "c5" for a cancel at 5, "o7" for an over at 7, joined by blanks. */
static const char *written(struct ledger *l)
{
	static char text[256];
	struct note note;
	size_t n = 0;
	text[0] = '\0';
	while (ledger_next(l, &note) && n < sizeof(text) - 32)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c%lld", n ? " " : "",
			note.op == NOTE_CANCEL ? 'c' : 'o', (long long)note.time_ms);
	return text;
}

static void append(const char *id, void *userdata)
{
	strcat(userdata, id);
}

static const char *new_ones(struct ledger *l)
{
	static char text[64];
	text[0] = '\0';
	ledger_visit_new(l, append, text);
	return text;
}

static void what_was_heard_is_written_once(void **state)
{
	struct ledger l;
	(void)state;
	ledger_init(&l, 10, DAY_MS);
	ledger_heard(&l, "a", 5);
	assert_true(ledger_is_live(&l, "a"));
	assert_string_equal(written(&l), "c5");
	ledger_heard(&l, "a", 6);
	assert_string_equal(written(&l), "");
	/* Another has written it first. */
	ledger_heard(&l, "b", 6);
	assert_false(ledger_read_cancel(&l, "b", 4));
	assert_string_equal(written(&l), "");
	assert_string_equal(new_ones(&l), "");
	ledger_deinit(&l);
	ledger_deinit(&l);
}

static void what_is_over_counts_no_more(void **state)
{
	struct ledger l;
	(void)state;
	ledger_init(&l, 10, DAY_MS);
	/* Nobody knows of the cancel, so nobody needs to be told. */
	ledger_heard(&l, "a", 5);
	ledger_end(&l, "a", 6);
	assert_false(ledger_is_live(&l, "a"));
	assert_string_equal(written(&l), "");
	/* Another heard it, too, and writes it late. */
	assert_false(ledger_read_cancel(&l, "a", 5));
	assert_string_equal(written(&l), "o6");
	assert_false(ledger_read_cancel(&l, "a", 6));
	assert_string_equal(written(&l), "");
	/* A new one, of a request to come. */
	assert_true(ledger_read_cancel(&l, "a", 7));
	assert_string_equal(new_ones(&l), "a");
	assert_string_equal(new_ones(&l), "");
	/* By a runner whose clock is behind. */
	ledger_end(&l, "a", 1);
	assert_string_equal(written(&l), "o7");
	ledger_end(&l, "unknown", 1);
	assert_false(ledger_is_live(&l, "unknown"));
	ledger_deinit(&l);
}

static void one_that_came_too_late(void **state)
{
	struct ledger l;
	(void)state;
	ledger_init(&l, 10, DAY_MS);
	ledger_over(&l, "a", 5);
	assert_string_equal(written(&l), "");
	assert_false(ledger_read_cancel(&l, "a", 5));
	assert_string_equal(written(&l), "o5");
	ledger_deinit(&l);
}

static void the_order_of_notes_does_not_matter(void **state)
{
	static const struct {
		char what;
		int64_t time;
	} notes[] = { { 'c', 1 }, { 'o', 2 }, { 'c', 3 }, { 'c', 2 }, { 'o', 1 } };
	const size_t n = sizeof(notes) / sizeof(*notes);
	(void)state;
	for (size_t first = 0; first < n; first++)
		for (size_t step = 1; step < n; step++) {
			struct ledger l;
			ledger_init(&l, 10, DAY_MS);
			for (size_t i = 0; i < n; i++) {
				size_t at = (first + i * step) % n;
				if (notes[at].what == 'c')
					ledger_read_cancel(&l, "a", notes[at].time);
				else
					ledger_read_over(&l, "a", notes[at].time);
			}
			assert_true(ledger_is_live(&l, "a"));
			assert_true(ledger_read_over(&l, "a", 3));
			assert_false(ledger_is_live(&l, "a"));
			assert_string_equal(new_ones(&l), "");
			ledger_deinit(&l);
		}
}

static void a_new_cancel_is_not_lost_to_an_old_over(void **state)
{
	struct ledger l;
	(void)state;
	ledger_init(&l, 10, DAY_MS);
	assert_true(ledger_read_cancel(&l, "a", 5));
	/* It stands there, so this is not written… */
	ledger_heard(&l, "a", 9);
	assert_string_equal(written(&l), "");
	/* …before it is known that the one there was used up. */
	assert_false(ledger_read_over(&l, "a", 7));
	assert_true(ledger_is_live(&l, "a"));
	assert_string_equal(written(&l), "c9");
	/* The clock of him who writes so is ahead of ours. */
	assert_true(ledger_read_over(&l, "a", 100));
	ledger_heard(&l, "a", 50);
	assert_true(ledger_is_live(&l, "a"));
	assert_string_equal(written(&l), "c101");
	ledger_deinit(&l);
}

static void what_the_stream_lost_is_written_again(void **state)
{
	struct ledger l;
	(void)state;
	ledger_init(&l, 10, DAY_MS);
	ledger_heard(&l, "a", 1);
	ledger_heard(&l, "b", 2);
	ledger_heard(&l, "c", 3);
	assert_string_equal(written(&l), "c1 c2 c3");
	ledger_end(&l, "c", 4);
	assert_string_equal(written(&l), "o4");
	ledger_begin(&l);
	assert_false(ledger_read_cancel(&l, "b", 2));
	ledger_compare(&l);
	assert_string_equal(written(&l), "c1");
	ledger_deinit(&l);
}

static void it_is_bounded(void **state)
{
	struct ledger l;
	char id[16];
	(void)state;
	ledger_init(&l, 3, DAY_MS);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(ledger_heard(&l, id, 1000 + i), 0);
	}
	assert_false(ledger_is_live(&l, "96"));
	assert_true(ledger_is_live(&l, "97"));
	assert_string_equal(written(&l), "c1097 c1098 c1099");
	ledger_forget_old(&l, DAY_MS + 1098);
	assert_false(ledger_is_live(&l, "97"));
	assert_true(ledger_is_live(&l, "98"));
	ledger_forget_old(&l, 2 * DAY_MS);
	assert_null(l.entries);
	assert_null(l.waiting);
	ledger_deinit(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_heard_is_written_once),
		cmocka_unit_test(what_is_over_counts_no_more),
		cmocka_unit_test(one_that_came_too_late),
		cmocka_unit_test(the_order_of_notes_does_not_matter),
		cmocka_unit_test(a_new_cancel_is_not_lost_to_an_old_over),
		cmocka_unit_test(what_the_stream_lost_is_written_again),
		cmocka_unit_test(it_is_bounded),
	};
	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
