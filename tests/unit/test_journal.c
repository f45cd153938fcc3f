/* SPDX-License-Identifier: Apache-2.0 */
/* What one life of a runner leaves for the next. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/journal.h"

#define HOUR_US 3600000000ULL

static char place[64];
static struct memory finished, freed;

static int set_up(void **state)
{
	(void)state;
	strcpy(place, "/tmp/test-journal-XXXXXX");
	memory_init(&finished, 10, HOUR_US);
	memory_init(&freed, 10, HOUR_US);
	return mkdtemp(place) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	memory_deinit(&finished);
	memory_deinit(&freed);
	return rmdir(place);
}

static struct journal begin(const char *id)
{
	struct journal journal = { .fd = -1 };
	journal_find_dead(&journal, place, &finished, &freed);
	assert_int_equal(journal_open(&journal, place, id), 0);
	return journal;
}

/* Nothing is said and nothing removed any more. */
static void kill_it(struct journal *journal)
{
	journal_leave(journal);
	journal_close(journal);
}

static unsigned count_files(void)
{
	unsigned n = 0;
	DIR *dir = opendir(place);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void nothing_is_left_where_nothing_was_given_back(void **state)
{
	struct journal journal = begin("1a");
	(void)state;
	journal_add(&journal, "a", 5, &finished);
	assert_int_equal(count_files(), 1);
	journal_close(&journal);
	assert_int_equal(count_files(), 0);
}

static void what_a_killed_one_noted_is_known(void **state)
{
	struct journal journal = begin("1a");
	(void)state;
	journal_add(&journal, "a", 5, &finished);
	journal_add_freed(&journal, "b", 0x1a);
	kill_it(&journal);
	journal = begin("2b");
	assert_int_equal(journal.n_dead, 1);
	assert_string_equal(journal.dead[0].id, "1a");
	assert_true(memory_has_print(&finished, "a", 5));
	assert_false(memory_has(&finished, "b"));
	assert_true(memory_has_print(&freed, "b", 0x1a));
	assert_false(memory_has(&freed, "a"));
	journal_settle(&journal, 0);
	journal_close(&journal);
	assert_int_equal(count_files(), 0);
}

/* It has nothing at the broker that were to be looked for. */
static void what_was_given_back_is_known_after_a_good_end(void **state)
{
	struct journal journal = begin("1a");
	(void)state;
	journal_add_freed(&journal, "a task, with+marks", 0x1a);
	journal_add(&journal, "b", 5, &finished);
	journal_close(&journal);
	assert_int_equal(count_files(), 1);
	journal = begin("2b");
	assert_int_equal(journal.n_dead, 0);
	assert_true(memory_has_print(&freed, "a task, with+marks", 0x1a));
	assert_int_equal(count_files(), 1); /* its own */
	journal_close(&journal);
	assert_int_equal(count_files(), 0);
}

static void one_that_lives_is_left_alone(void **state)
{
	struct journal first = begin("1a"), second;
	(void)state;
	journal_add_freed(&first, "a", 0x1a);
	second = begin("2b");
	assert_int_equal(second.n_dead, 0);
	assert_false(memory_has(&freed, "a"));
	journal_close(&second);
	journal_close(&first);
	second = begin("3c");
	assert_true(memory_has_print(&freed, "a", 0x1a));
	journal_close(&second);
}

static void what_was_cut_off_is_not_read(void **state)
{
	struct journal journal = begin("1a");
	char *path = strdup(journal.path);
	(void)state;
	journal_add_freed(&journal, "whole", 0x1a);
	assert_int_equal(write(journal.fd, "0000000000000005+cu", 19), 19);
	kill_it(&journal);
	journal = begin("2b");
	assert_int_equal(journal.n_dead, 1);
	assert_true(memory_has(&freed, "whole"));
	assert_false(memory_has(&freed, "cu"));
	journal_close(&journal);
	assert_int_equal(unlink(path), 0); /* it was not settled */
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nothing_is_left_where_nothing_was_given_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_killed_one_noted_is_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_was_given_back_is_known_after_a_good_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_lives_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_cut_off_is_not_read, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
