/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing, signalling and looking at tasks: each with a control group and without. */
#include "tests/unit/engine_fixture.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "runner/signals.h"
#include "tests/unit/roles.h"

#define OUT      "\"$TASKIFACE_OUTPUT_PIPE\""
#define PRO      "\"$TASKIFACE_PROGRESS_PIPE\""
#define READY    "printf 'ready\\n' >" PRO "; "

#define SECOND   1000000ULL
#define SHORT_US (SECOND / 10)
#define NEVER_US (3600 * SECOND)

static struct seen *started(struct world *w, const struct job *job)
{
	struct seen *seen = submit(w, job);
	run_until_progress(w, seen, 1);
	return seen;
}

static bool pause_task(struct world *w, struct seen *seen)
{
	return engine_pause(w->engine, seen->task);
}

static bool resume_task(struct world *w, struct seen *seen)
{
	return engine_resume(w->engine, seen->task);
}

static void end(struct world *w, struct seen *seen)
{
	engine_kill(seen->task, CAUSE_CANCELLED);
	expect_failure(w, seen, CAUSE_CANCELLED, "");
}

static const char *state_of(struct seen *seen)
{
	struct task_view view;
	task_look(seen->task, &view);
	return view.state;
}

/* ---- standing still ---- */

#define SPINNERS 4

struct spinners {
	struct world *w;
	pid_t pids[SPINNERS];
	uint64_t ticks[SPINNERS];
	unsigned pause_ms;
};

static uint64_t ticks_of(pid_t pid)
{
	char path[64], line[512];
	unsigned long long user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	assert_int_equal(
		sscanf(strrchr(line, ')') + 2,
			"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system),
		2);
	return user + system;
}

static void take_ticks(struct spinners *s)
{
	for (int i = 0; i < SPINNERS; i++)
		s->ticks[i] = ticks_of(s->pids[i]);
}

static struct seen *start_spinners(struct world *w, struct spinners *s)
{
	struct seen *seen = started(w, &(struct job){ .role = { "spin" } });
	buf_append(&seen->progress, "", 1);
	char *at = seen->progress.data;
	*s = (struct spinners){ .w = w };
	for (int i = 0; i < SPINNERS; i++)
		s->pids[i] = (pid_t)strtol(at, &at, 10);
	assert_int_equal(s->pids[0], seen->pid);
	return seen;
}

/* Over an interval that would show 30 ticks of each. */
static bool stand_still(void *data)
{
	struct spinners *s = data;
	take_ticks(s);
	run_for_ms(s->w, 300);
	for (int i = 0; i < SPINNERS; i++)
		if (ticks_of(s->pids[i]) != s->ticks[i])
			return false;
	return true;
}

static bool all_go_on(void *data)
{
	struct spinners *s = data;
	for (int i = 0; i < SPINNERS; i++)
		if (ticks_of(s->pids[i]) <= s->ticks[i])
			return false;
	return true;
}

static void a_paused_task_takes_no_time(void **state)
{
	struct world *w = *state;
	struct spinners spinners;
	struct seen *seen = start_spinners(w, &spinners);
	take_ticks(&spinners);
	run_until(w, all_go_on, &spinners);
	for (int round = 1; round <= 2; round++) {
		assert_string_equal(state_of(seen), "running");
		assert_true(pause_task(w, seen));
		assert_int_equal(seen->n_paused, round);
		assert_string_equal(state_of(seen), "paused");
		run_until(w, stand_still, &spinners);
		take_ticks(&spinners);
		assert_true(resume_task(w, seen));
		assert_int_equal(seen->n_resumed, round);
		run_until(w, all_go_on, &spinners);
	}
	end(w, seen);
	for (int i = 0; i < SPINNERS; i++)
		assert_false(process_lives(spinners.pids[i]));
}

struct relay {
	struct world *w;
	struct seen *seen;
	size_t len;
};

static bool relay_stands(void *data)
{
	struct relay *relay = data;
	relay->len = relay->seen->text[0].len;
	run_for_ms(relay->w, 200);
	return relay->seen->text[0].len == relay->len;
}

static bool relay_runs(void *data)
{
	struct relay *relay = data;
	return relay->seen->text[0].len > relay->len + 5;
}

/* Whoever is found has a successor already; that one is found, too. */
static void what_is_born_meanwhile_is_stopped_too(void **state)
{
	struct world *w = *state;
	struct relay relay = { w, submit(w, &(struct job){ .role = { "relay" } }), 0 };
	for (int round = 0; round < 3; round++) {
		run_until(w, relay_runs, &relay);
		assert_true(pause_task(w, relay.seen));
		run_until(w, relay_stands, &relay);
		assert_true(resume_task(w, relay.seen));
	}
	run_until(w, relay_runs, &relay);
	end(w, relay.seen);
}

static void many_are_paused_together(void **state)
{
	struct world *w = *state;
	struct seen *seen[50];
	for (int i = 0; i < 50; i++)
		seen[i] = submit(w, &(struct job){ .sh = "sleep 300 & wait" });
	for (int i = 0; i < 50; i++)
		assert_true(pause_task(w, seen[i]));
	run_for_ms(w, 50);
	for (int i = 0; i < 50; i++)
		assert_true(resume_task(w, seen[i]));
	engine_stop_all(w->engine, CAUSE_CANCELLED, false);
	run_until_all_final(w);
}

/* ---- when it is possible ---- */

static void twice_is_once(void **state)
{
	struct world *w = *state;
	struct seen *seen = started(w, &(struct job){ .sh = READY "exec sleep 300" });
	assert_true(resume_task(w, seen)); /* it does run */
	assert_int_equal(seen->n_resumed, 0);
	for (int i = 0; i < 3; i++)
		assert_true(pause_task(w, seen));
	assert_int_equal(seen->n_paused, 1);
	for (int i = 0; i < 3; i++)
		assert_true(resume_task(w, seen));
	assert_int_equal(seen->n_resumed, 1);
	end(w, seen);
}

static void what_does_not_run_is_not_paused(void **state)
{
	struct world *w = *state;
	struct job job = {
		.sh = "trap '' TERM; " READY "while :; do sleep 0.02; done", .name = "p", .slots = 1
	};
	struct seen *seen = started(w, &job), *waits = submit(w, &job);
	assert_false(pause_task(w, waits));
	assert_false(resume_task(w, waits));
	assert_false(engine_signal(waits->task, SIGUSR1));
	assert_string_equal(state_of(waits), "waiting");
	assert_true(engine_stop(w->engine, seen->task, CAUSE_CANCELLED));
	assert_string_equal(state_of(seen), "ending");
	assert_false(pause_task(w, seen));
	assert_false(resume_task(w, seen));
	assert_false(engine_signal(seen->task, SIGUSR1));
	engine_stop_all(w->engine, CAUSE_CANCELLED, true);
	run_until_all_final(w);
	assert_int_equal(seen->n_paused + waits->n_paused, 0);
}

static void pause_it(struct world *w, struct seen *seen)
{
	seen->task = engine_find(w->engine, seen->id);
	assert_true(pause_task(w, seen));
}

/* The last records are read after its exit. */
static void pause_if_it_runs(struct world *w, struct seen *seen)
{
	pause_task(w, seen);
}

static void resume_it(struct world *w, struct seen *seen)
{
	assert_true(resume_task(w, seen));
}

static void it_may_be_paused_from_within(void **state)
{
	struct world *w = *state;
	w->on_running = pause_it;
	struct seen *seen = submit_sh(w, "while [ ! -e go ]; do sleep 0.01; done; printf x >" OUT);
	char go[512];
	assert_int_equal(seen->n_paused, 1);
	run_for_ms(w, 20); /* until it does stand still; what it does before does not matter */
	snprintf(go, sizeof(go), "%s/%s/go", w->directory, seen->id);
	close(open(go, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	run_for_ms(w, 100);
	assert_int_equal(seen->n_final, 0);
	w->on_progress = pause_if_it_runs;
	w->on_paused = resume_it;
	assert_true(resume_task(w, seen));
	expect_success(w, seen, "x");
	w->on_running = NULL;
	expect_success(
		w, submit_sh(w, "for i in 1 2 3; do echo $i >" PRO "; done; printf y >" OUT), "y");
}

/* ---- time ---- */

static void time_limits_stand_still(void **state)
{
	struct world *w = *state;
	struct task_view view;
	struct seen *seen =
		started(w, &(struct job){ .sh = READY "exec sleep 300", .timeout_ms = 400 });
	struct seen *silent =
		started(w, &(struct job){ .sh = READY "exec sleep 300", .silence_ms = 400 });
	for (int i = 0; i < 3; i++) {
		assert_true(pause_task(w, seen));
		assert_true(pause_task(w, silent));
		run_for_ms(w, 300);
		assert_int_equal(seen->n_final + silent->n_final, 0);
		task_look(seen->task, &view);
		assert_true(view.running_us < 400000);
		assert_true(resume_task(w, seen));
		assert_true(resume_task(w, silent));
	}
	expect_failure(w, seen, CAUSE_TIMED_OUT, "longer than the 400ms allowed");
	expect_failure(w, silent, CAUSE_SILENT, "no progress for 400ms");
	assert_true(seen->outcome.wall_us >= 1300000);
	assert_true(silent->outcome.wall_us >= 1300000);
}

/* ---- what ends it ---- */

static void a_cancel_is_heard_in_a_pause(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = NEVER_US;
	seen = started(w, &(struct job){ .sh = "trap 'printf bye >&2; exit 5' TERM; " READY
					       "while :; do sleep 0.02; done" });
	assert_true(pause_task(w, seen));
	run_for_ms(w, 20);
	assert_true(engine_stop(w->engine, seen->task, CAUSE_CANCELLED));
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.exit_code, 5);
	assert_int_equal(seen->n_cancelling, 1);
	assert_int_equal(seen->n_resumed, 0);
}

static void who_is_deaf_has_its_grace_after_a_pause(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.grace_us = SHORT_US;
	seen = started(
		w, &(struct job){ .sh = "trap '' TERM; " READY "while :; do sleep 0.02; done" });
	assert_true(pause_task(w, seen));
	run_for_ms(w, 20);
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	expect_failure(w, seen, CAUSE_SHUTTING_DOWN, "shutting down");
	assert_int_equal(seen->outcome.signal, SIGKILL);
}

static void a_kill_works_in_a_pause(void **state)
{
	struct world *w = *state;
	struct spinners spinners;
	struct seen *seen = start_spinners(w, &spinners);
	w->config.limits.grace_us = NEVER_US;
	assert_true(pause_task(w, seen));
	run_until(w, stand_still, &spinners);
	engine_kill(seen->task, CAUSE_CANCELLED);
	expect_failure(w, seen, CAUSE_CANCELLED, "was cancelled");
	assert_int_equal(seen->outcome.signal, SIGKILL);
	for (int i = 0; i < SPINNERS; i++)
		assert_false(process_lives(spinners.pids[i]));
}

static void a_death_is_noticed_in_a_pause(void **state)
{
	struct world *w = *state;
	struct spinners spinners;
	struct seen *seen = start_spinners(w, &spinners);
	w->config.limits.drain_us = SHORT_US;
	assert_true(pause_task(w, seen));
	run_until(w, stand_still, &spinners);
	kill(seen->pid, SIGKILL);
	expect_failure(w, seen, CAUSE_KILLED, "was killed");
	for (int i = 0; i < SPINNERS; i++)
		assert_false(process_lives(spinners.pids[i]));
}

static void pause_relay(struct world *w, struct seen *seen)
{
	(void)seen;
	engine_pause_relay(w->engine, true);
}

static bool has_said(void *data)
{
	struct seen *seen = data;
	return seen->text[1].len > 0;
}

/* It was written before the pause. */
static void progress_is_read_in_a_pause(void **state)
{
	struct world *w = *state;
	w->on_running = pause_relay;
	struct seen *seen = submit_sh(w, "echo 1 >" PRO "; echo written >&2; exec sleep 300");
	run_until(w, has_said, seen);
	assert_int_equal(seen->n_progress, 0);
	assert_true(pause_task(w, seen));
	engine_pause_relay(w->engine, false);
	run_until_progress(w, seen, 1);
	assert_string_equal(state_of(seen), "paused");
	end(w, seen);
}

/* ---- signals ---- */

static void a_signal_reaches_the_group(void **state)
{
	struct world *w = *state;
	struct seen *seen = started(w,
		&(struct job){ .sh = "trap 'echo usr1 >" PRO "' USR1; sh -c 'trap \"echo usr1 >" PRO
				     "\" USR1; " READY "while :; do sleep 0.02; done' & "
				     "while :; do sleep 0.02; done" });
	assert_true(engine_signal(seen->task, SIGUSR1));
	run_until_progress(w, seen, 3);
	assert_false(engine_signal(seen->task, 0));
	assert_false(engine_signal(seen->task, -1));
	assert_false(engine_signal(seen->task, 1000));
	end(w, seen);
}

static void a_signal_is_heard_after_a_pause(void **state)
{
	struct world *w = *state;
	struct seen *seen = started(w, &(struct job){ .sh = "trap 'echo usr1 >" PRO "' USR1; " READY
							    "while :; do sleep 0.02; done" });
	assert_true(pause_task(w, seen));
	assert_true(engine_signal(seen->task, SIGUSR1));
	assert_false(engine_signal(seen->task, SIGCONT));
	run_for_ms(w, 100);
	assert_int_equal(seen->n_progress, 1);
	assert_true(resume_task(w, seen));
	run_until_progress(w, seen, 2);
	end(w, seen);
}

static void a_signal_may_end_it(void **state)
{
	struct world *w = *state;
	struct seen *seen = started(w, &(struct job){ .sh = READY "exec sleep 300" });
	assert_true(engine_signal(seen->task, SIGINT));
	expect_failure(w, seen, CAUSE_KILLED, "SIGINT");
}

/* ---- looking ---- */

static void expect_progress(
	struct world *w, const char *record, double fraction, const char *message)
{
	struct task_view view;
	struct seen *seen = started(
		w, &(struct job){ .sh = "cat \"$TASKIFACE_INPUT_PIPE\" >" PRO "; exec sleep 300",
			   .input = slice_of(record) });
	task_look(seen->task, &view);
	assert_true(view.progress > fraction - 1e-9 && view.progress < fraction + 1e-9);
	assert_string_equal(view.message, message);
	end(w, seen);
}

static void the_last_record_is_told(void **state)
{
	struct world *w = *state;
	char long_record[10000], long_message[600];
	expect_progress(w, "{\"fraction\":0.25,\"message\":\"half \\u001b[1m way\"}", 0.25,
		"half  [1m way");
	expect_progress(w, "{\"data\":1}", -1, "");
	expect_progress(w, "{\"fraction\":2}", -1, "");
	expect_progress(w, "only words \xff\n", -1, "only words \xef\xbf\xbd");
	/* Longer than what is kept, and a message longer than what is told, of two-byte characters.
	 */
	memset(long_record, ' ', sizeof(long_record));
	long_record[0] = '{';
	snprintf(long_record + 9000, 1000, "\"fraction\":0.5,\"message\":\"long\"}");
	expect_progress(w, long_record, 0.5, "long");
	strcpy(long_record, "{\"message\":\"x");
	strcpy(long_message, "x");
	for (int i = 0; i < 250; i++)
		strcat(long_record, "\u00e9");
	for (int i = 0; i < (TASK_MESSAGE_SIZE - 1 - 3 - 1) / 2; i++)
		strcat(long_message, "\u00e9");
	strcat(long_record, "\"}");
	strcat(long_message, "\u2026");
	expect_progress(w, long_record, -1, long_message);
}

static bool has_used_time(void *data)
{
	struct seen *seen = data;
	struct task_view view;
	task_look(seen->task, &view);
	return view.cpu_us > SECOND / 2 && view.memory > 1 << 20;
}

/* By children, each of which is gone when the next comes. */
static void what_it_uses_is_told(void **state)
{
	struct world *w = *state;
	struct task_view before, view;
	uint64_t since = clock_now_us();
	struct seen *seen =
		started(w, &(struct job){ .sh = READY "while :; do sh -c 'i=0; while [ $i -lt "
						      "20000 ]; do i=$((i+1)); done'; done" });
	task_look(seen->task, &before);
	assert_int_equal(before.pid, seen->pid);
	assert_int_equal(before.attempt, 1);
	assert_true(before.started_us >= since && before.started_us <= clock_now_us());
	run_until(w, has_used_time, seen);
	assert_true(pause_task(w, seen));
	run_for_ms(w, 20);
	task_look(seen->task, &before);
	run_for_ms(w, 100);
	task_look(seen->task, &view);
	assert_int_equal(view.running_us, before.running_us);
	assert_true(view.running_us > SECOND / 4);
	assert_true(view.peak_memory >= view.memory);
	end(w, seen);
	assert_true(seen->outcome.cpu_us >= SECOND / 2);
}

int main(int argc, char **argv)
{
#define BOTH_WAYS(test)                                                              \
	{ #test, test, world_open, world_close, NULL },                              \
	{                                                                            \
#test " (without a group)", test, world_open_bare, world_close, NULL \
	}
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(a_paused_task_takes_no_time),
		BOTH_WAYS(what_is_born_meanwhile_is_stopped_too),
		BOTH_WAYS(many_are_paused_together),
		BOTH_WAYS(twice_is_once),
		BOTH_WAYS(what_does_not_run_is_not_paused),
		BOTH_WAYS(it_may_be_paused_from_within),
		BOTH_WAYS(time_limits_stand_still),
		BOTH_WAYS(a_cancel_is_heard_in_a_pause),
		BOTH_WAYS(who_is_deaf_has_its_grace_after_a_pause),
		BOTH_WAYS(a_kill_works_in_a_pause),
		BOTH_WAYS(a_death_is_noticed_in_a_pause),
		BOTH_WAYS(progress_is_read_in_a_pause),
		BOTH_WAYS(a_signal_reaches_the_group),
		BOTH_WAYS(a_signal_is_heard_after_a_pause),
		BOTH_WAYS(a_signal_may_end_it),
		BOTH_WAYS(the_last_record_is_told),
		BOTH_WAYS(what_it_uses_is_told),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	signals_prepare();
	return cmocka_run_group_tests_name("engine-pause", tests, NULL, NULL);
}
