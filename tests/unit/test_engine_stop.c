/* SPDX-License-Identifier: Apache-2.0 */
/* How tasks are ended: cancelled, out of time, silent, flooding; and that their trees die whole. */
#include "tests/unit/engine_fixture.h"

#include "common/clock.h"
#include "common/log.h"
#include "runner/signals.h"
#include "tests/unit/roles.h"

#include <sys/resource.h>

#define IN     "\"$TASKIFACE_INPUT_PIPE\""
#define OUT    "\"$TASKIFACE_OUTPUT_PIPE\""
#define PRO    "\"$TASKIFACE_PROGRESS_PIPE\""

#define SECOND 1000000ULL
/* A limit that a test waits out, and one that it must never wait out. */
#define SHORT_US (SECOND / 10)
#define NEVER_US (3600 * SECOND)

static bool stop(struct world *w, struct seen *seen)
{
	return engine_stop(w->engine, seen->task, CAUSE_CANCELLED);
}

/* What each program under test says when it is ready to be stopped. */
#define READY "printf 'ready\\n' >" PRO "; "

static struct seen *started(struct world *w, const struct job *job)
{
	struct seen *seen = submit(w, job);
	run_until_progress(w, seen, 1);
	return seen;
}

/* ---- cancelling ---- */

static void a_cancel_asks_and_the_program_goes(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(w, &(struct job){ .sh = READY "exec sleep 300" });
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.signal, SIGTERM);
	assert_int_equal(seen->n_cancelling, 1);
	assert_int_equal(seen->n_running, 1);
}

static void an_exit_of_zero_after_a_cancel_is_a_cancel(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(w, &(struct job){ .sh = "trap 'printf result >" OUT "; exit 0' TERM; " READY
					       "while :; do sleep 0.02; done" });
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.exit_code, 0);
}

static void who_does_not_listen_is_killed_after_the_grace(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(
		w, &(struct job){ .sh = "trap '' TERM; " READY "while :; do sleep 0.02; done" });
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.signal, SIGKILL);
	assert_true(seen->outcome.wall_us >= SHORT_US);
}

static bool is_stopped(void *seen)
{
	return process_state(((struct seen *)seen)->pid) == 'T';
}

static void a_stopped_program_hears_the_cancel(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(
		w, &(struct job){ .sh = "trap 'exit 5' TERM; " READY "kill -STOP $$; sleep 300" });
	run_until(w, is_stopped, seen);
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.exit_code, 5);
}

static void ten_cancels_are_one(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(
		w, &(struct job){ .sh = "trap '' TERM; " READY "while :; do sleep 0.02; done" });
	for (int i = 0; i < 10; i++) {
		assert_true(stop(w, seen));
		/* Another reason comes too late. */
		assert_false(engine_stop(w->engine, seen->task, CAUSE_SHUTTING_DOWN));
	}
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->n_cancelling, 1);
}

static void stop_it(struct world *w, struct seen *seen)
{
	stop(w, seen);
}

static void a_cancel_in_the_first_call_counts(void **state)
{
	struct world *w = *state;
	w->on_running = stop_it;
	struct seen *seen = submit(w, &(struct job){ .sh = "exec sleep 300" });
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->n_running, 1);
}

/* Each record asks again; nothing of the task is touched after its end. */
static void a_cancel_from_within_its_progress_counts(void **state)
{
	struct world *w = *state;
	w->on_progress = stop_it;
	struct seen *seen = submit(w, &(struct job){ .role = { "flood", "progress", "lines" } });
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->n_cancelling, 1);
	w->on_progress = NULL;
	w->on_cancelling = w->on_text = stop_it;
	seen = started(w,
		&(struct job){
			.sh = READY "trap 'echo out; exit 1' TERM; while :; do sleep 0.02; done" });
	stop(w, seen);
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
}

static void stop_is_too_late(struct world *w, struct seen *seen)
{
	w->data = (void *)(intptr_t)(seen->task && stop(w, seen) ? 1 : 2);
}

/* The program is gone and its output is being read: what it left counts. */
static void a_cancel_after_the_exit_is_too_late(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	/* A background process holds the output open and says so once the program is gone. */
	seen = submit(
		w, &(struct job){ .sh = "exec 5>" OUT " 6>" PRO
					"; { while kill -0 $$ 2>/dev/null; do sleep 0.01; done; "
					"printf 'gone\\n' >&6; sleep 0.1; printf all >&5; } & "
					"printf 'it is ' >&5; exit 0" });
	w->on_progress = stop_is_too_late;
	expect_success(w, seen, "it is all");
	assert_int_equal((intptr_t)w->data, 2);
	assert_int_equal(seen->n_cancelling, 0);
}

static void a_waiting_task_is_cancelled_without_a_start(void **state)
{
	struct world *w = *state;
	struct seen *first =
		started(w, &(struct job){ .sh = READY "exec sleep 300", .name = "p", .slots = 1 });
	struct seen *second = submit(w, &(struct job){ .sh = "exit 0", .name = "p", .slots = 1 });
	run_for_ms(w, 20);
	assert_int_equal(second->n_running, 0);
	assert_int_equal(task_pid(second->task), 0);
	assert_true(stop(w, second));
	assert_int_equal(second->n_final, 1); /* at once */
	assert_int_equal(second->outcome.status, STATUS_CANCELLED);
	assert_int_equal(second->outcome.wall_us, 0);
	assert_int_equal(second->n_cancelling, 0);
	assert_true(stop(w, first));
	run_until_all_final(w);
}

static void stopping_all_ends_all(void **state)
{
	struct world *w = *state;
	struct seen *seen[5];
	for (int i = 0; i < 5; i++)
		seen[i] =
			submit(w, &(struct job){ .sh = "exec sleep 300", .name = "p", .slots = 3 });
	assert_int_equal(w->n_running, 3);
	engine_stop_waiting(w->engine, CAUSE_SHUTTING_DOWN);
	assert_int_equal(w->n_final, 2);
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	run_until_all_final(w);
	for (int i = 0; i < 5; i++) {
		expect_failure(w, seen[i], CAUSE_SHUTTING_DOWN, "shutting down");
		assert_int_equal(seen[i]->n_cancelling, 0);
	}
}

static void stopping_all_at_once_does_not_ask(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(
		w, &(struct job){ .sh = "trap '' TERM; " READY "while :; do sleep 0.02; done" });
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, true);
	expect_failure(w, seen, CAUSE_SHUTTING_DOWN, "shutting down");
	assert_int_equal(seen->outcome.signal, SIGKILL);
}

/* Also those that are being stopped already: programs were told how long they have. */
static void stopping_all_leaves_each_its_grace(void **state)
{
	struct world *w = *state;
	struct job job = { .sh = "trap 'sleep 0.3; exit 5' TERM; " READY
				 "while :; do sleep 0.02; done" };
	struct seen *asked, *new;
	w->config.limits.grace_us = NEVER_US;
	asked = started(w, &job);
	new = started(w, &job);
	assert_true(stop(w, asked));
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	expect_failure(w, new, CAUSE_SHUTTING_DOWN, "shutting down");
	expect_failure(w, asked, CAUSE_CANCELLED, "cancelled");
	assert_int_equal(new->outcome.exit_code, 5);
	assert_int_equal(asked->outcome.exit_code, 5);
}

static void a_cancel_can_be_followed_by_a_kill(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(
		w, &(struct job){ .sh = "trap '' TERM; " READY "while :; do sleep 0.02; done" });
	assert_true(stop(w, seen));
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, true);
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
}

/* ---- time ---- */

static void a_run_may_not_take_too_long(void **state)
{
	struct world *w = *state;
	struct seen *seen = submit(w, &(struct job){ .sh = "exec sleep 300", .timeout_ms = 100 });
	expect_failure(w, seen, CAUSE_TIMED_OUT, "longer than the 100ms allowed");
	assert_true(seen->outcome.wall_us >= 100000);
	assert_int_equal(seen->n_cancelling, 0);
}

static void the_least_limit_holds(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.timeout_us = SHORT_US;
	/* A request may ask for less than what is configured, not for more. */
	seen = submit(w, &(struct job){ .sh = "exec sleep 300", .timeout_ms = 3600000 });
	expect_failure(w, seen, CAUSE_TIMED_OUT, "longer than the 100ms allowed");
	seen = submit(w, &(struct job){ .sh = "exec sleep 300" });
	expect_failure(w, seen, CAUSE_TIMED_OUT, "longer than the 100ms allowed");
	w->config.limits.timeout_us = NEVER_US;
	seen = submit(w, &(struct job){ .sh = "exec sleep 300", .timeout_ms = 50 });
	expect_failure(w, seen, CAUSE_TIMED_OUT, "longer than the 50ms allowed");
}

static void a_program_out_of_time_may_still_not_succeed(void **state)
{
	struct seen *seen = submit(
		*state, &(struct job){ .sh = "trap 'exit 0' TERM; while :; do sleep 0.02; done",
				.timeout_ms = 50 });
	expect_failure(*state, seen, CAUSE_TIMED_OUT, "timed out");
	assert_int_equal(seen->outcome.exit_code, 0);
}

static void silence_ends_a_run(void **state)
{
	struct seen *seen =
		submit(*state, &(struct job){ .sh = "printf out; printf err >&2; printf x >" OUT
						    "; exec sleep 300",
				       .silence_ms = 100 });
	expect_failure(*state, seen, CAUSE_SILENT, "no progress for 100ms");
}

/* Ten records, each well within the limit, all together well beyond it. */
static void progress_breaks_the_silence(void **state)
{
	struct seen *seen = submit(
		*state, &(struct job){ .sh = "for i in 1 2 3 4 5 6 7 8 9 10; do echo $i >" PRO
					     "; sleep 0.1; done; printf ok >" OUT,
				.silence_ms = 700 });
	expect_success(*state, seen, "ok");
	assert_int_equal(seen->n_progress, 10);
}

/* ---- too much ---- */

static void an_output_over_the_limit_ends_the_run(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.output = 100000;
	seen = submit_sh(w, "head -c 100000 /dev/zero >" OUT);
	expect_success(w, seen, NULL);
	assert_int_equal(seen->output.len, 100000);
	seen = submit_sh(w, "head -c 100001 /dev/zero >" OUT "; exec sleep 300");
	expect_failure(w, seen, CAUSE_OUTPUT_TOO_LARGE, "output too large");
	seen = submit(w, &(struct job){ .role = { "flood", "output" } });
	expect_failure(w, seen, CAUSE_OUTPUT_TOO_LARGE, "output too large");
}

/* It exits at once; the surplus is still in the pipe. */
static void an_output_over_the_limit_is_seen_after_the_exit(void **state)
{
	struct world *w = *state;
	w->config.limits.output = 1000;
	for (int i = 0; i < 20; i++)
		expect_failure(w, submit_sh(w, "head -c 1001 /dev/zero >" OUT),
			CAUSE_OUTPUT_TOO_LARGE, "output too large");
}

static void an_output_over_the_limit_is_seen_while_draining(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.output = 1000;
	w->config.limits.drain_us = NEVER_US;
	seen = submit_sh(w, "exec 5>" OUT "; { while kill -0 $$ 2>/dev/null; do sleep 0.01; done; "
			    "head -c 2000 /dev/zero >&5; sleep 300; } & exit 0");
	expect_failure(w, seen, CAUSE_OUTPUT_TOO_LARGE, "output too large");
	assert_int_equal(seen->outcome.exit_code, 0);
}

/* Nor does what is not kept cost memory: the record that never ends is dropped as it comes. */
static void a_cancelled_program_may_flood_until_it_is_killed(void **state)
{
	static const char *const pipes[] = { "progress", "output", "stdout" };
	struct world *w = *state;
	w->config.limits.progress_record = w->config.limits.output = 1000;
	w->config.limits.grace_us = 5 * SHORT_US;
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < 3; i++) {
		struct seen *seen =
			started(w, &(struct job){ .role = { "flood", pipes[i], "on-term" } });
		assert_true(stop(w, seen));
		expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
		assert_int_equal(seen->outcome.signal, SIGKILL);
	}
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10);
}

/* ---- trees ---- */

static pid_t told_pid(struct seen *seen)
{
	buf_append(&seen->progress, "", 1);
	return atoi(seen->progress.data);
}

static void what_holds_the_pipes_after_the_exit_has_the_drain_time(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.drain_us = SHORT_US;
	seen = submit_sh(w, "exec 5>" OUT "; printf part >&5; sleep 300 & exit 0");
	expect_success(w, seen, "part");
	/* stdout alone is enough to hold. */
	seen = submit_sh(w, "printf part >" OUT "; sleep 300 & exit 0");
	expect_success(w, seen, "part");
}

static void what_does_not_hold_them_is_killed_at_once(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.drain_us = NEVER_US;
	seen = submit_sh(w, "sleep 300 >/dev/null 2>&1 & printf done >" OUT);
	expect_success(w, seen, "done");
}

static void expect_killed(struct world *w, const struct job *job)
{
	struct seen *seen = submit(w, job);
	expect_success(w, seen, "");
	pid_t pid = told_pid(seen);
	assert_true(pid > 1);
	assert_false(process_lives(pid)); /* by the time that the end is told */
}

static void who_left_the_session_is_killed(void **state)
{
	struct world *w = *state;
	w->config.limits.drain_us = SHORT_US;
	expect_killed(w, &(struct job){ .role = { "escape" } });
	expect_killed(w, &(struct job){ .role = { "escape", "deaf" } });
	expect_killed(w, &(struct job){ .role = { "escape", "hold", "deaf" } });
	expect_killed(w, &(struct job){ .role = { "escape", "bare" } });
}

static void who_left_the_session_is_killed_after_a_cancel_too(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(w, &(struct job){ .role = { "escape", "stay", "hold", "deaf" } });
	pid_t pid = told_pid(seen);
	assert_true(process_lives(pid));
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
	assert_false(process_lives(pid));
}

static void other_tasks_keep_theirs(void **state)
{
	struct world *w = *state;
	struct seen *other = started(w, &(struct job){ .role = { "escape", "stay" } });
	pid_t pid = told_pid(other);
	for (int i = 0; i < 10; i++)
		expect_killed(w, &(struct job){ .role = { "escape" } });
	assert_true(process_lives(pid));
	assert_true(process_lives(other->pid));
	assert_true(stop(w, other));
	run_until_final(w, other);
	assert_false(process_lives(pid));
}

/* By its group. Its session is its own, its environment empty, its parent gone. */
static void other_tasks_keep_even_who_hides(void **state)
{
	struct world *w = *state;
	char group[512];
	find_group(w->instance, group, sizeof(group));
	struct seen *other = started(w, &(struct job){ .role = { "escape", "stay", "bare" } });
	pid_t pid = told_pid(other);
	for (int i = 0; i < 10; i++)
		expect_killed(w, &(struct job){ .role = { "escape", "bare" } });
	assert_true(process_lives(pid));
	assert_true(stop(w, other));
	run_until_final(w, other);
	assert_false(process_lives(pid));
}

static bool is_bare(void *data)
{
	char path[64], byte;
	snprintf(path, sizeof(path), "/proc/%d/environ", *(pid_t *)data);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, &byte, 1);
	close(fd);
	return n == 0;
}

/* Without a group nothing tells whose it is. */
static void who_hides_is_nobodys_without_a_group(void **state)
{
	struct world *w = *state;
	struct seen *other = started(w, &(struct job){ .role = { "escape", "stay", "bare" } });
	pid_t pid = told_pid(other);
	run_until(w, is_bare, &pid);
	expect_killed(w, &(struct job){ .role = { "escape" } });
	assert_false(process_lives(pid));
	assert_true(process_lives(other->pid));
	assert_true(stop(w, other));
	run_until_final(w, other);
}

static void a_group_is_there_for_each_task_while_it_runs(void **state)
{
	struct world *w = *state;
	char group[512], path[600];
	find_group(w->instance, group, sizeof(group));
	struct seen *first = started(w, &(struct job){ .sh = READY "exec sleep 300" });
	struct seen *second = started(w, &(struct job){ .sh = READY "exec sleep 300" });
	for (int i = 1; i <= 2; i++) {
		snprintf(path, sizeof(path), "%s/%d", group, i);
		assert_int_equal(access(path, F_OK), 0);
	}
	assert_true(stop(w, second));
	run_until_final(w, second);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(stop(w, first));
	run_until_final(w, first);
	expect_failure(
		w, submit(w, &(struct job){ .path = "/nonexistent" }), CAUSE_EXEC_FAILED, "");
	snprintf(path, sizeof(path), "%s/3", group);
	assert_int_equal(access(path, F_OK), -1);
}

/* Somebody removed what groups are made in: tasks run all the same. */
static void a_group_that_cannot_be_made_is_done_without(void **state)
{
	struct world *w = *state;
	char group[512];
	find_group(w->instance, group, sizeof(group));
	assert_int_equal(rmdir(group), 0);
	expect_success(w, submit_sh(w, "printf x >" OUT), "x");
	expect_killed(w, &(struct job){ .role = { "escape" } });
}

static void a_fork_bomb_is_cleared(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(w, &(struct job){ .role = { "bomb", "60" } });
	assert_true(count_processes_with("TASKRUNNER_TASK=") > 50);
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
}

/* Each generation leaves its session, so only the death of one brings the next to light. */
static void a_chain_of_escapes_is_followed_to_its_end(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(w, &(struct job){ .sh = "setsid sh -c 'setsid sh -c \"setsid sh -c "
					       "\\\"setsid sleep 300 & echo ready "
					       ">$TASKIFACE_PROGRESS_PIPE; sleep 300\\\" & sleep "
					       "300\" & sleep 300' & sleep 300" });
	assert_true(stop(w, seen));
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
}

int main(int argc, char **argv)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
#define WITHOUT_GROUPS(test)                                                         \
	{                                                                            \
#test " (without a group)", test, world_open_bare, world_close, NULL \
	}
#define BOTH_WAYS(test) WITH_WORLD(test), WITHOUT_GROUPS(test)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(a_cancel_asks_and_the_program_goes),
		WITH_WORLD(an_exit_of_zero_after_a_cancel_is_a_cancel),
		WITH_WORLD(who_does_not_listen_is_killed_after_the_grace),
		WITH_WORLD(a_stopped_program_hears_the_cancel),
		WITH_WORLD(ten_cancels_are_one),
		WITH_WORLD(a_cancel_in_the_first_call_counts),
		WITH_WORLD(a_cancel_from_within_its_progress_counts),
		WITH_WORLD(a_cancel_after_the_exit_is_too_late),
		WITH_WORLD(a_waiting_task_is_cancelled_without_a_start),
		WITH_WORLD(stopping_all_ends_all),
		WITH_WORLD(stopping_all_at_once_does_not_ask),
		WITH_WORLD(stopping_all_leaves_each_its_grace),
		WITH_WORLD(a_cancel_can_be_followed_by_a_kill),
		WITH_WORLD(a_run_may_not_take_too_long),
		WITH_WORLD(the_least_limit_holds),
		WITH_WORLD(a_program_out_of_time_may_still_not_succeed),
		WITH_WORLD(silence_ends_a_run),
		WITH_WORLD(progress_breaks_the_silence),
		WITH_WORLD(an_output_over_the_limit_ends_the_run),
		WITH_WORLD(an_output_over_the_limit_is_seen_after_the_exit),
		WITH_WORLD(an_output_over_the_limit_is_seen_while_draining),
		WITH_WORLD(a_cancelled_program_may_flood_until_it_is_killed),
		BOTH_WAYS(what_holds_the_pipes_after_the_exit_has_the_drain_time),
		BOTH_WAYS(what_does_not_hold_them_is_killed_at_once),
		BOTH_WAYS(who_left_the_session_is_killed),
		BOTH_WAYS(who_left_the_session_is_killed_after_a_cancel_too),
		BOTH_WAYS(other_tasks_keep_theirs),
		BOTH_WAYS(a_fork_bomb_is_cleared),
		BOTH_WAYS(a_chain_of_escapes_is_followed_to_its_end),
		WITH_WORLD(other_tasks_keep_even_who_hides),
		WITHOUT_GROUPS(who_hides_is_nobodys_without_a_group),
		WITH_WORLD(a_group_is_there_for_each_task_while_it_runs),
		WITH_WORLD(a_group_that_cannot_be_made_is_done_without),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	signals_prepare();
	return cmocka_run_group_tests_name("engine-stop", tests, NULL, NULL);
}
