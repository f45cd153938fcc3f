/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a task's life: every cell is visited, and the rules that it must keep are checked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runner/task.h"

#define EACH_CELL(s, e)                                   \
	for (enum task_state s = 0; s < TASK_STATES; s++) \
		for (enum task_event e = 0; e < TASK_EVENTS; e++)

static bool has_process(enum task_state s)
{
	return s == TASK_RUNNING || s == TASK_PAUSED || s == TASK_STOPPING || s == TASK_KILLING;
}

static bool changes(enum task_state s, enum task_event e)
{
	struct task_step step = task_step(s, e);
	return step.next != s || step.action != TASK_DO_NOTHING;
}

static void names_are_there_and_differ(void **state)
{
	(void)state;
	for (enum task_state a = 0; a < TASK_STATES; a++) {
		assert_true(strlen(task_state_name(a)) > 0);
		for (enum task_state b = 0; b < a; b++)
			assert_string_not_equal(task_state_name(a), task_state_name(b));
	}
	for (enum task_event a = 0; a < TASK_EVENTS; a++) {
		assert_true(strlen(task_event_name(a)) > 0);
		for (enum task_event b = 0; b < a; b++)
			assert_string_not_equal(task_event_name(a), task_event_name(b));
	}
	assert_string_equal(task_state_name(TASK_ENDED), "ended");
	assert_string_equal(task_event_name(TASK_ON_EMPTY), "empty");
}

/* What happens is exactly this; all other cells change nothing. */
static void every_cell_is_as_drawn(void **state)
{
	static const struct {
		enum task_state in;
		enum task_event on;
		enum task_state next;
		enum task_action action;
	} drawn[] = {
		{ TASK_WAITING, TASK_ON_START, TASK_STARTING, TASK_DO_START },
		{ TASK_WAITING, TASK_ON_TIMER, TASK_STARTING, TASK_DO_START },
		{ TASK_WAITING, TASK_ON_STOP, TASK_ENDED, TASK_DO_FINISH },
		{ TASK_WAITING, TASK_ON_KILL, TASK_ENDED, TASK_DO_FINISH },
		{ TASK_STARTING, TASK_ON_SPAWNED, TASK_RUNNING, TASK_DO_ANNOUNCE },
		{ TASK_STARTING, TASK_ON_NOT_SPAWNED, TASK_ENDED, TASK_DO_FINISH },
		{ TASK_STARTING, TASK_ON_NO_ROOM, TASK_WAITING, TASK_DO_RETRY },
		{ TASK_RUNNING, TASK_ON_STOP, TASK_STOPPING, TASK_DO_TERMINATE },
		{ TASK_RUNNING, TASK_ON_OVERFLOW, TASK_STOPPING, TASK_DO_TERMINATE },
		{ TASK_RUNNING, TASK_ON_KILL, TASK_KILLING, TASK_DO_KILL },
		{ TASK_RUNNING, TASK_ON_TIMER, TASK_RUNNING, TASK_DO_CHECK },
		{ TASK_RUNNING, TASK_ON_EXITED, TASK_DRAINING, TASK_DO_DRAIN },
		{ TASK_RUNNING, TASK_ON_PAUSE, TASK_PAUSED, TASK_DO_PAUSE },
		{ TASK_PAUSED, TASK_ON_RESUME, TASK_RUNNING, TASK_DO_RESUME },
		{ TASK_PAUSED, TASK_ON_STOP, TASK_STOPPING, TASK_DO_TERMINATE },
		{ TASK_PAUSED, TASK_ON_OVERFLOW, TASK_STOPPING, TASK_DO_TERMINATE },
		{ TASK_PAUSED, TASK_ON_KILL, TASK_KILLING, TASK_DO_KILL },
		{ TASK_PAUSED, TASK_ON_EXITED, TASK_DRAINING, TASK_DO_DRAIN },
		{ TASK_STOPPING, TASK_ON_KILL, TASK_KILLING, TASK_DO_KILL },
		{ TASK_STOPPING, TASK_ON_TIMER, TASK_KILLING, TASK_DO_KILL },
		{ TASK_STOPPING, TASK_ON_EXITED, TASK_DRAINING, TASK_DO_DRAIN },
		{ TASK_KILLING, TASK_ON_EXITED, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_DRAINING, TASK_ON_OVERFLOW, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_DRAINING, TASK_ON_KILL, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_DRAINING, TASK_ON_TIMER, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_DRAINING, TASK_ON_DRAINED, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_CLEARING, TASK_ON_TIMER, TASK_CLEARING, TASK_DO_CLEAR },
		{ TASK_CLEARING, TASK_ON_EMPTY, TASK_ENDED, TASK_DO_FINISH },
	};
	size_t n = sizeof(drawn) / sizeof(*drawn), changed = 0;
	(void)state;
	for (size_t i = 0; i < n; i++) {
		struct task_step step = task_step(drawn[i].in, drawn[i].on);
		assert_int_equal(step.next, drawn[i].next);
		assert_int_equal(step.action, drawn[i].action);
	}
	EACH_CELL(s, e)
	{
		changed += changes(s, e);
		if (!changes(s, e))
			assert_int_equal(task_step(s, e).next, s);
	}
	assert_int_equal(changed, n);
}

static void every_state_can_be_reached_and_left(void **state)
{
	bool reached[TASK_STATES] = { [TASK_WAITING] = true };
	(void)state;
	for (int round = 0; round < TASK_STATES; round++)
		EACH_CELL(s, e)
	if (reached[s])
		reached[task_step(s, e).next] = true;
	for (enum task_state s = 0; s < TASK_STATES; s++)
		assert_true(reached[s]);
	/* And from each there is a way to the end. */
	for (enum task_state from = 0; from < TASK_STATES; from++) {
		bool can[TASK_STATES] = { false };
		can[from] = true;
		for (int round = 0; round < TASK_STATES; round++)
			EACH_CELL(s, e)
		if (can[s])
			can[task_step(s, e).next] = true;
		assert_true(can[TASK_ENDED]);
	}
}

static void the_end_is_the_end(void **state)
{
	(void)state;
	for (enum task_event e = 0; e < TASK_EVENTS; e++)
		assert_false(changes(TASK_ENDED, e));
}

/* Once there is a process, the only way out is through the look that finds its tree empty. */
static void no_process_is_left_without_clearing(void **state)
{
	(void)state;
	EACH_CELL(s, e)
	{
		struct task_step step = task_step(s, e);
		if (has_process(s) || s == TASK_DRAINING)
			assert_int_not_equal(step.next, TASK_ENDED);
		if (step.next == TASK_ENDED && s != TASK_ENDED)
			assert_true(s == TASK_WAITING || s == TASK_STARTING ||
				    (s == TASK_CLEARING && e == TASK_ON_EMPTY));
		/* Nobody goes back, but to wait for room, or after a pause. */
		if (step.next < s)
			assert_true((s == TASK_STARTING && e == TASK_ON_NO_ROOM) ||
				    (s == TASK_PAUSED && e == TASK_ON_RESUME));
	}
}

static void the_end_is_told_on_every_way_into_it_and_nowhere_else(void **state)
{
	(void)state;
	EACH_CELL(s, e)
	{
		struct task_step step = task_step(s, e);
		assert_int_equal(
			step.action == TASK_DO_FINISH, s != TASK_ENDED && step.next == TASK_ENDED);
		assert_int_equal(step.action == TASK_DO_ANNOUNCE,
			s == TASK_STARTING && step.next == TASK_RUNNING);
		/* A program is asked or killed only where there is one. */
		if (step.action == TASK_DO_TERMINATE || step.action == TASK_DO_KILL)
			assert_true(has_process(s));
	}
}

static void a_second_stop_changes_nothing(void **state)
{
	static const enum task_state stopped[] = { TASK_STOPPING, TASK_KILLING, TASK_DRAINING,
		TASK_CLEARING, TASK_ENDED };
	(void)state;
	for (size_t i = 0; i < sizeof(stopped) / sizeof(*stopped); i++)
		assert_false(changes(stopped[i], TASK_ON_STOP));
	assert_int_equal(task_step(TASK_RUNNING, TASK_ON_STOP).next, TASK_STOPPING);
}

/* What ends a running task ends a paused one in the same way, but for its time. */
static void a_paused_task_is_ended_like_a_running_one(void **state)
{
	(void)state;
	for (enum task_event e = 0; e < TASK_EVENTS; e++) {
		struct task_step running = task_step(TASK_RUNNING, e);
		struct task_step paused = task_step(TASK_PAUSED, e);
		if (running.next == TASK_RUNNING || running.next == TASK_PAUSED)
			continue;
		assert_int_equal(paused.next, running.next);
		assert_int_equal(paused.action, running.action);
	}
	assert_false(changes(TASK_PAUSED, TASK_ON_TIMER));
}

static void only_what_runs_is_paused_and_only_that_resumed(void **state)
{
	(void)state;
	EACH_CELL(s, e)
	{
		enum task_action action = task_step(s, e).action;
		assert_int_equal(action == TASK_DO_PAUSE, s == TASK_RUNNING && e == TASK_ON_PAUSE);
		assert_int_equal(action == TASK_DO_RESUME, s == TASK_PAUSED && e == TASK_ON_RESUME);
		assert_int_equal(task_step(s, e).next == TASK_PAUSED && s != TASK_PAUSED,
			action == TASK_DO_PAUSE);
	}
}

static void an_exit_ends_every_state_with_a_process(void **state)
{
	(void)state;
	for (enum task_state s = 0; s < TASK_STATES; s++)
		assert_int_equal(changes(s, TASK_ON_EXITED), has_process(s));
}

static void a_kill_is_obeyed_until_the_tree_is_being_killed(void **state)
{
	(void)state;
	for (enum task_state s = TASK_RUNNING; s <= TASK_DRAINING; s++)
		assert_int_equal(changes(s, TASK_ON_KILL), s != TASK_KILLING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_there_and_differ),
		cmocka_unit_test(every_cell_is_as_drawn),
		cmocka_unit_test(every_state_can_be_reached_and_left),
		cmocka_unit_test(the_end_is_the_end),
		cmocka_unit_test(no_process_is_left_without_clearing),
		cmocka_unit_test(the_end_is_told_on_every_way_into_it_and_nowhere_else),
		cmocka_unit_test(a_second_stop_changes_nothing),
		cmocka_unit_test(a_paused_task_is_ended_like_a_running_one),
		cmocka_unit_test(only_what_runs_is_paused_and_only_that_resumed),
		cmocka_unit_test(an_exit_ends_every_state_with_a_process),
		cmocka_unit_test(a_kill_is_obeyed_until_the_tree_is_being_killed),
	};
	return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
