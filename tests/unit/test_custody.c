/* SPDX-License-Identifier: Apache-2.0 */

/* What is held of a request, over renewals and lost connections. Times are in seconds, times 10^6.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runner/custody.h"

#define S 1000000ULL

static uint64_t copies;

static const struct custody_rules rules = {
	.copies = &copies,
	.leases = true,
	.park_us = 60 * S,
	.renew_us = 100 * S,
	.lease_us = 300 * S,
	.margin_us = 15 * S,
	.fence_us = 30 * S,
	.suspect_us = 40 * S,
};

static struct holding at(uint64_t connection, uint64_t tag)
{
	return (struct holding){ connection, 1, tag };
}

/* It had been delivered before. */
static struct holding back(uint64_t connection, uint64_t tag)
{
	return (struct holding){ connection, 1, tag, true };
}

static void assert_holding(struct holding a, struct holding b)
{
	assert_int_equal(a.connection, b.connection);
	assert_int_equal(a.tag, b.tag);
}

static void begin(struct custody *c)
{
	copies = 0;
	custody_begin(c, &rules, at(1, 1), true, 1000 * S, 1000 * S);
}

/* Copy @tag comes from the hold queue and is confirmed: the older one is to be acknowledged. */
static struct holding renew(struct custody *c, uint64_t connection, uint64_t tag, uint64_t now)
{
	struct holding older;
	uint64_t number = custody_sent(c, &rules, now);
	custody_again(c, &rules, at(connection, tag), true, number, now, now, &older);
	assert_int_equal(older.connection, 0);
	custody_confirmed(c, number);
	assert_true(custody_turn(c, &rules, &older));
	return older;
}

static void park(struct custody *c)
{
	begin(c);
	assert_holding(renew(c, 1, 2, 1060 * S), at(1, 1));
	custody_acknowledged(c, 7);
}

/* And the original is gone for sure. */
static void park_for_sure(struct custody *c)
{
	park(c);
	custody_proved(c, 7, 1070 * S, true);
}

/* The connection is lost before it is known whether the older copy is gone. */
static void lose_renewed(struct custody *c)
{
	park_for_sure(c);
	renew(c, 1, 3, 1160 * S);
	custody_acknowledged(c, 20);
	custody_lost(c);
}

static void an_original_is_due_after_its_time(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	assert_true(custody_is_live(&c));
	assert_false(custody_is_parked(&c));
	assert_false(custody_is_due(&c, &rules, 1059 * S));
	assert_true(custody_is_due(&c, &rules, 1060 * S));
}

static void nothing_is_due_without_leases(void **state)
{
	struct custody_rules hold = rules;
	struct custody c;
	(void)state;
	hold.leases = false;
	begin(&c);
	assert_false(custody_is_due(&c, &hold, 9999 * S));
}

static void a_copy_needs_confirm_and_delivery(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	uint64_t number = custody_sent(&c, &rules, 1060 * S);
	assert_int_equal(number, 1);
	assert_false(custody_is_due(&c, &rules, 1070 * S));
	custody_confirmed(&c, number);
	assert_false(custody_turn(&c, &rules, &older));
	custody_again(&c, &rules, at(1, 2), true, number, 0, 1061 * S, &older);
	assert_int_equal(older.connection, 0);
	assert_true(custody_turn(&c, &rules, &older));
	assert_holding(older, at(1, 1));
	assert_holding(c.held, at(1, 2));
	assert_true(custody_is_parked(&c));
}

static void the_delivery_may_come_before_the_confirm(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	uint64_t number = custody_sent(&c, &rules, 1060 * S);
	custody_again(&c, &rules, at(1, 2), true, number, 0, 1061 * S, &older);
	assert_false(custody_turn(&c, &rules, &older));
	custody_confirmed(&c, number);
	assert_true(custody_turn(&c, &rules, &older));
	assert_holding(older, at(1, 1));
}

static void no_renewal_before_the_older_one_is_retired(void **state)
{
	struct custody c;
	(void)state;
	park(&c);
	assert_false(custody_is_due(&c, &rules, 1160 * S));
	custody_proved(&c, 6, 1160 * S, true);
	assert_false(custody_is_due(&c, &rules, 1160 * S));
	custody_proved(&c, 7, 1160 * S, true);
	assert_true(custody_is_due(&c, &rules, 1160 * S));
	assert_false(custody_is_due(&c, &rules, 1159 * S));
}

static void what_cannot_be_sent_is_tried_again(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	custody_sent(&c, &rules, 1060 * S);
	custody_not_sent(&c, 1065 * S);
	assert_false(custody_is_due(&c, &rules, 1064 * S));
	assert_true(custody_is_due(&c, &rules, 1065 * S));
}

static void a_copy_that_never_comes_is_made_anew(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	custody_confirmed(&c, custody_sent(&c, &rules, 1060 * S));
	assert_false(custody_is_due(&c, &rules, 1360 * S));
	assert_true(custody_is_due(&c, &rules, 1361 * S));
	assert_int_equal(custody_sent(&c, &rules, 1361 * S), 2);
}

/* ---- the deadline ---- */

static void unparked_counts_from_the_last_proof(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	assert_int_equal(custody_deadline(&c, &rules), 1030 * S);
	custody_proved(&c, 3, 1010 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1040 * S);
	custody_lost(&c);
	assert_false(custody_is_live(&c));
	/* The proof of another connection is none for this one. */
	custody_proved(&c, 4, 1020 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1040 * S);
}

static void no_proof_while_somebody_waits_for_a_word(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	custody_proved(&c, 3, 1010 * S, false);
	assert_int_equal(custody_deadline(&c, &rules), 1030 * S);
	/* But acknowledgements are retired. */
	assert_holding(renew(&c, 1, 2, 1020 * S), at(1, 1));
	custody_acknowledged(&c, 4);
	custody_proved(&c, 4, 1021 * S, false);
	assert_false(c.has_old);
}

static void parked_counts_from_the_sending(void **state)
{
	struct custody c;
	(void)state;
	park_for_sure(&c);
	custody_lost(&c);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
}

static void the_original_counts_until_its_acknowledgement_is_retired(void **state)
{
	struct custody c;
	(void)state;
	park(&c);
	custody_proved(&c, 6, 1062 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1092 * S);
	custody_lost(&c);
	assert_int_equal(custody_deadline(&c, &rules), 1092 * S);
}

static void an_original_that_may_have_got_lost_counts_for_good(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 2), true, 1, 0, 1065 * S, &older);
	assert_true(custody_is_live(&c));
	custody_proved(&c, 8, 1200 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1230 * S);
	/* It is renewed all the same, because of the broker's acknowledgement timeout. */
	assert_true(custody_is_due(&c, &rules, 1200 * S));
}

static void the_oldest_copy_counts_until_it_is_retired(void **state)
{
	struct custody c;
	(void)state;
	park_for_sure(&c);
	assert_holding(renew(&c, 1, 3, 1160 * S), at(1, 2));
	custody_acknowledged(&c, 20);
	custody_lost(&c);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
}

static void an_older_copy_that_has_not_come_is_gone(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	lose_renewed(&c);
	custody_again(&c, &rules, back(2, 3), true, 2, 0, 1165 * S, &older);
	assert_int_equal(custody_deadline(&c, &rules), (1160 + 285) * S);
}

/* It was published twice, or never delivered: the older one may hang on a connection of which the
 * broker does not know yet that it is dead. */
static void what_comes_for_the_first_time_stands_for_no_older_copy(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	lose_renewed(&c);
	custody_again(&c, &rules, at(2, 3), true, 2, 0, 1165 * S, &older);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
	custody_proved(&c, 40, 1170 * S, true);
	assert_false(custody_is_alone(&c));
	/* By then it is in the request queue. */
	custody_proved(&c, 41, 1346 * S, true);
	assert_false(c.knows_all);
}

static void an_older_copy_that_has_come_counts_until_it_is_retired(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	lose_renewed(&c);
	custody_again(&c, &rules, back(2, 1), true, 1, 0, 1165 * S, &older);
	assert_holding(older, at(2, 1));
	custody_acknowledged(&c, 30);
	custody_again(&c, &rules, back(2, 3), true, 2, 0, 1165 * S, &older);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
	custody_lost(&c);
	assert_true(c.knows_all);
	custody_again(&c, &rules, back(3, 3), true, 2, 0, 1166 * S, &older);
	assert_int_equal(custody_deadline(&c, &rules), (1160 + 285) * S);
}

/* On a connection of which the broker does not know yet that it is dead. */
static void an_older_copy_that_was_not_acknowledged_may_come_late(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	uint64_t number = custody_sent(&c, &rules, 1160 * S);
	custody_confirmed(&c, number);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 3), true, number, 0, 1161 * S, &older);
	assert_true(custody_turn(&c, &rules, &older));
	assert_int_equal(older.connection, 0);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
	custody_proved(&c, 8, 1170 * S, true);
	assert_true(c.has_old);
	/* It comes, and is acknowledged. */
	custody_again(&c, &rules, at(2, 4), true, 1, 0, 1171 * S, &older);
	assert_holding(older, at(2, 4));
	custody_acknowledged(&c, 9);
	custody_proved(&c, 9, 1172 * S, true);
	assert_true(custody_is_alone(&c));
	assert_int_equal(custody_deadline(&c, &rules), (1160 + 285) * S);
}

static void an_older_copy_that_never_comes_is_somewhere(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	uint64_t number = custody_sent(&c, &rules, 1160 * S);
	custody_confirmed(&c, number);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 3), true, number, 0, 1161 * S, &older);
	custody_turn(&c, &rules, &older);
	custody_proved(&c, 8, 1340 * S, true);
	assert_true(c.knows_all);
	assert_false(custody_is_due(&c, &rules, 1340 * S));
	custody_proved(&c, 9, 1346 * S, true);
	assert_false(c.knows_all);
	assert_true(custody_is_due(&c, &rules, 1346 * S));
	assert_int_equal(custody_deadline(&c, &rules), 1376 * S);
}

static void the_clock_of_the_broker_may_jump(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	lose_renewed(&c);
	custody_again(&c, &rules, back(2, 3), true, 2, 0, (1345 - 39) * S, &older);
	assert_false(c.knows_all);
}

/* It went to the request queue, and anybody may have it. */
static void an_older_copy_whose_time_was_over_counts_for_good(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	lose_renewed(&c);
	custody_again(&c, &rules, back(2, 3), true, 2, 0, 1346 * S, &older);
	assert_false(c.knows_all);
	custody_proved(&c, 9, 1350 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1380 * S);
}

static void who_does_not_know_all_copies_has_no_lease(void **state)
{
	struct custody c;
	(void)state;
	custody_begin(&c, &rules, at(1, 1), false, 1000 * S, 1000 * S);
	renew(&c, 1, 2, 1060 * S);
	custody_acknowledged(&c, 7);
	custody_proved(&c, 7, 1070 * S, true);
	assert_int_equal(custody_deadline(&c, &rules), 1100 * S);
	park_for_sure(&c);
	custody_answered(&c);
	assert_int_equal(custody_deadline(&c, &rules), 1100 * S);
}

/* ---- coming home ---- */

static void an_unparked_task_takes_its_original_back(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 1), false, 0, 0, 1015 * S, &older);
	assert_int_equal(older.connection, 0);
	assert_true(custody_is_live(&c));
	assert_holding(c.held, at(2, 1));
	assert_int_equal(custody_deadline(&c, &rules), 1030 * S); /* no proof yet */
	assert_true(custody_is_due(&c, &rules, 1015 * S)); /* before it is delivered too often */
	/* We made no copy, but who had it meanwhile may have. */
	assert_false(c.knows_all);
}

static void what_comes_from_the_request_queue_may_not_be_the_only_one(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 1), false, 0, 0, 1375 * S, &older);
	assert_true(custody_is_live(&c));
	assert_false(c.knows_all);
}

static void another_hands_it_back_and_it_is_parked(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 1), true, 0, 1014 * S, 1015 * S, &older);
	assert_int_equal(older.connection, 0);
	assert_true(custody_is_live(&c));
	assert_true(custody_is_parked(&c));
	/* The other may have died before he acknowledged the original. */
	assert_false(c.knows_all);
	assert_true(custody_is_due(&c, &rules, 1015 * S));
}

static void a_parked_task_takes_its_copy_back(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 5), true, 1, 0, 1085 * S, &older);
	assert_int_equal(older.connection, 0);
	assert_true(custody_is_live(&c));
	assert_true(custody_is_due(&c, &rules, 1085 * S)); /* at once: its time has been running */
	custody_lost(&c);
	assert_int_equal(custody_deadline(&c, &rules), (1060 + 285) * S);
}

static void a_renewal_goes_on_over_a_lost_connection(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	uint64_t number = custody_sent(&c, &rules, 1160 * S);
	custody_confirmed(&c, number);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 2), true, number, 0, 1165 * S, &older);
	assert_true(custody_turn(&c, &rules, &older));
	assert_int_equal(older.connection, 0); /* the older one is not here to be acknowledged */
	assert_true(custody_is_live(&c));
	custody_again(&c, &rules, at(2, 1), true, 1, 0, 1165 * S, &older);
	assert_holding(older, at(2, 1));
	assert_holding(c.held, at(2, 2));
}

static void extra_copies_are_acknowledged(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	custody_again(&c, &rules, at(1, 9), true, 1, 0, 1071 * S, &older); /* sent twice */
	assert_holding(older, at(1, 9));
	custody_again(
		&c, &rules, at(1, 10), false, 0, 0, 1071 * S, &older); /* risen from the dead */
	assert_holding(older, at(1, 10));
	custody_again(&c, &rules, at(1, 11), true, 0, 0, 1071 * S, &older); /* handed back late */
	assert_holding(older, at(1, 11));
	assert_holding(c.held, at(1, 2));
	assert_true(c.has_old);
}

static void a_copy_is_better_than_an_original(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	park(&c);
	custody_lost(&c);
	custody_again(&c, &rules, at(2, 1), false, 0, 0, 1065 * S, &older);
	assert_int_equal(older.connection, 0);
	custody_again(&c, &rules, at(2, 2), true, 1, 1060 * S, 1065 * S, &older);
	assert_holding(older, at(2, 1));
	assert_true(custody_is_parked(&c));
	/* New copies have new numbers. */
	assert_int_equal(custody_sent(&c, &rules, 1066 * S), 2);
}

static void what_was_spread_is_not_alone(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	assert_true(custody_is_alone(&c));
	custody_spread(&c);
	assert_false(custody_is_alone(&c));
	assert_true(custody_is_live(&c));
}

static void what_is_under_way_is_waited_for(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	assert_false(custody_is_alone_soon(&c, &rules, 1000 * S)); /* it is alone */
	uint64_t number = custody_sent(&c, &rules, 1060 * S);
	assert_true(custody_is_alone_soon(&c, &rules, 1061 * S));
	/* A copy that does not come is not waited for for ever. */
	assert_false(custody_is_alone_soon(&c, &rules, 1100 * S));
	custody_confirmed(&c, number);
	custody_again(&c, &rules, at(1, 2), true, number, 1062 * S, 1062 * S, &older);
	assert_true(custody_turn(&c, &rules, &older));
	custody_acknowledged(&c, 7);
	assert_true(custody_is_alone_soon(&c, &rules, 1063 * S));
	custody_proved(&c, 7, 1064 * S, true);
	assert_true(custody_is_alone(&c));
	assert_false(custody_is_alone_soon(&c, &rules, 1065 * S));
}

static void what_will_not_be_alone_is_not_waited_for(void **state)
{
	struct custody c;
	(void)state;
	begin(&c);
	park(&c);
	custody_spread(&c);
	custody_sent(&c, &rules, 1200 * S);
	assert_false(custody_is_alone_soon(&c, &rules, 1200 * S));
	/* Whether the acknowledgement of the first was taken is not known. */
	begin(&c);
	park(&c);
	custody_lost(&c);
	assert_false(custody_is_alone_soon(&c, &rules, 1062 * S));
}

static void one_delivery_takes_the_place_of_another(void **state)
{
	struct custody c;
	struct holding older;
	(void)state;
	begin(&c);
	custody_exchange(&c, at(1, 2), &older);
	assert_holding(older, at(1, 1));
	assert_holding(c.held, at(1, 2));
	assert_true(custody_is_live(&c));
	assert_false(custody_is_parked(&c));
	/* The older one may come back until its acknowledgement is proved, and others may be about.
	 */
	custody_acknowledged(&c, 7);
	custody_proved(&c, 7, 1010 * S, true);
	assert_false(custody_is_alone(&c));
	assert_int_equal(custody_deadline(&c, &rules), 1040 * S);
}

/* What is said of a copy must not be true of another: of a task that had the same id. */
static void a_number_is_used_once(void **state)
{
	struct custody c, later;
	struct holding older;
	(void)state;
	park_for_sure(&c);
	custody_begin(&later, &rules, at(1, 5), false, 1100 * S, 1100 * S);
	assert_int_equal(custody_sent(&later, &rules, 1100 * S), 2);
	/* One that another gave us gets a number as well. */
	custody_not_sent(&later, 1200 * S);
	custody_again(&later, &rules, at(1, 6), true, 0, 1101 * S, 1101 * S, &older);
	assert_int_equal(later.number, 3);
	assert_int_equal(custody_sent(&c, &rules, 1160 * S), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_original_is_due_after_its_time),
		cmocka_unit_test(nothing_is_due_without_leases),
		cmocka_unit_test(a_copy_needs_confirm_and_delivery),
		cmocka_unit_test(the_delivery_may_come_before_the_confirm),
		cmocka_unit_test(no_renewal_before_the_older_one_is_retired),
		cmocka_unit_test(what_cannot_be_sent_is_tried_again),
		cmocka_unit_test(a_copy_that_never_comes_is_made_anew),
		cmocka_unit_test(unparked_counts_from_the_last_proof),
		cmocka_unit_test(no_proof_while_somebody_waits_for_a_word),
		cmocka_unit_test(parked_counts_from_the_sending),
		cmocka_unit_test(the_original_counts_until_its_acknowledgement_is_retired),
		cmocka_unit_test(an_original_that_may_have_got_lost_counts_for_good),
		cmocka_unit_test(the_oldest_copy_counts_until_it_is_retired),
		cmocka_unit_test(an_older_copy_that_has_not_come_is_gone),
		cmocka_unit_test(what_comes_for_the_first_time_stands_for_no_older_copy),
		cmocka_unit_test(an_older_copy_that_has_come_counts_until_it_is_retired),
		cmocka_unit_test(an_older_copy_that_was_not_acknowledged_may_come_late),
		cmocka_unit_test(an_older_copy_that_never_comes_is_somewhere),
		cmocka_unit_test(the_clock_of_the_broker_may_jump),
		cmocka_unit_test(an_older_copy_whose_time_was_over_counts_for_good),
		cmocka_unit_test(who_does_not_know_all_copies_has_no_lease),
		cmocka_unit_test(an_unparked_task_takes_its_original_back),
		cmocka_unit_test(what_comes_from_the_request_queue_may_not_be_the_only_one),
		cmocka_unit_test(another_hands_it_back_and_it_is_parked),
		cmocka_unit_test(a_parked_task_takes_its_copy_back),
		cmocka_unit_test(a_renewal_goes_on_over_a_lost_connection),
		cmocka_unit_test(extra_copies_are_acknowledged),
		cmocka_unit_test(a_copy_is_better_than_an_original),
		cmocka_unit_test(what_was_spread_is_not_alone),
		cmocka_unit_test(what_is_under_way_is_waited_for),
		cmocka_unit_test(what_will_not_be_alone_is_not_waited_for),
		cmocka_unit_test(one_delivery_takes_the_place_of_another),
		cmocka_unit_test(a_number_is_used_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
