/* SPDX-License-Identifier: Apache-2.0 */
/* Many tasks, little room: slots, limits of the machine, a relay that pauses, events that get lost.
 */
#include "tests/unit/engine_fixture.h"

#include <sys/inotify.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/signals.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

#define IN       "\"$TASKIFACE_INPUT_PIPE\""
#define OUT      "\"$TASKIFACE_OUTPUT_PIPE\""
#define PRO      "\"$TASKIFACE_PROGRESS_PIPE\""

#define SECOND   1000000ULL
#define SHORT_US (SECOND / 10)
#define NEVER_US (3600 * SECOND)

/* A program waits until it is told to go on, through a pipe in its private directory. */
#define AWAIT_GO "mkfifo go; read x <go; rm go; "

/* Without running the loop. */
static void await_file(struct world *w, struct seen *seen, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s/%s", w->directory, seen->id, name);
	for (unsigned waited = 0; access(path, F_OK) < 0; waited += 2) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(2);
	}
}

static void stop(struct world *w, struct seen *seen)
{
	assert_true(engine_stop(w->engine, seen->task, CAUSE_CANCELLED));
}

static void go(struct world *w, struct seen *seen)
{
	char path[512];
	await_file(w, seen, "go");
	snprintf(path, sizeof(path), "%s/%s/go", w->directory, seen->id);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\n", 1), 1);
	close(fd);
}

/* ---- slots ---- */

static void one_slot_runs_one_after_another(void **state)
{
	struct world *w = *state;
	struct seen *seen[5];
	for (int i = 0; i < 5; i++)
		seen[i] = submit(
			w, &(struct job){
				   .sh = "sleep 0.02; printf $$ >" OUT, .name = "p", .slots = 1 });
	assert_int_equal(w->n_running, 1);
	assert_int_equal(engine_count(w->engine), 5);
	for (int i = 0; i < 5; i++) {
		expect_success(w, seen[i], NULL);
		assert_int_equal(w->n_final, i + 1); /* in the order in which they came */
	}
	assert_int_equal(w->running_most, 1);
}

static void slots_are_those_of_the_program(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 6; i++) {
		submit(w, &(struct job){ .sh = "exec sleep 300", .name = "two", .slots = 2 });
		submit(w, &(struct job){ .sh = "exec sleep 300", .name = "any" });
	}
	assert_int_equal(w->n_running, 2 + 6);
	engine_stop_all(w->engine, CAUSE_CANCELLED, true);
	run_until_all_final(w);
	assert_int_equal(w->n_final, 12);
}

/* A slot comes free however the task before ended. */
static void every_end_frees_its_slot(void **state)
{
	struct world *w = *state;
	const struct job jobs[] = {
		{ .sh = "exit 3", .name = "p", .slots = 1 },
		{ .path = "/nonexistent", .name = "p", .slots = 1 },
		{ .sh = "kill -KILL $$", .name = "p", .slots = 1 },
		{ .sh = "exec sleep 300", .name = "p", .slots = 1, .timeout_ms = 20 },
		{ .path = "/nonexistent", .name = "p", .slots = 1 },
		{ .sh = "printf last >" OUT, .name = "p", .slots = 1 },
	};
	struct seen *seen = NULL;
	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
		seen = submit(w, &jobs[i]);
	expect_success(w, seen, "last");
	assert_int_equal(w->n_final, 6);
}

static void submit_another(struct world *w, struct seen *seen)
{
	(void)seen;
	if (w->n_jobs < 20)
		submit(w, &(struct job){ .sh = "exit 0", .name = "p", .slots = 1 });
}

static void tasks_may_be_submitted_from_within(void **state)
{
	struct world *w = *state;
	w->on_running = w->on_final = submit_another;
	submit(w, &(struct job){ .sh = "exit 0", .name = "p", .slots = 1 });
	run_until_all_final(w);
	assert_int_equal(w->n_final, 20);
}

/* ---- many ---- */

static void two_hundred_at_once(void **state)
{
	struct world *w = *state;
	struct seen *seen[200];
	char text[32];
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "input of %d", i);
		seen[i] = submit(
			w, &(struct job){ .sh = AWAIT_GO "echo gone on >" PRO "; cat " IN " >" OUT,
				   .input = slice_of(text) });
	}
	assert_int_equal(w->running_now, 200);
	for (int i = 0; i < 200; i++)
		go(w, seen[i]);
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "input of %d", i);
		expect_success(w, seen[i], text);
		assert_int_equal(seen[i]->n_progress, 1);
	}
}

static void many_are_killed_together(void **state)
{
	struct world *w = *state;
	w->config.limits.grace_us = SHORT_US;
	for (int i = 0; i < 100; i++)
		submit(w,
			&(struct job){ .sh = "trap '' TERM; sleep 300 & setsid sleep 300 & wait" });
	run_for_ms(w, 20);
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	run_until_all_final(w);
	assert_int_equal(w->n_final, 100);
}

/* ---- nobody is starved ---- */

static void floods_do_not_hide_an_exit(void **state)
{
	struct world *w = *state;
	/* As many as it takes for one of them to be readable at any time. */
	for (int i = 0; i < 40; i++)
		submit(w, &(struct job){
				  .role = { "flood", i % 2 ? "stdout" : "progress", "lines" } });
	for (int i = 0; i < 3; i++)
		expect_success(w, submit_sh(w, "printf x >" OUT), "x");
	expect_failure(w, submit(w, &(struct job){ .sh = "exec sleep 300", .timeout_ms = 50 }),
		CAUSE_TIMED_OUT, "");
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	run_until_all_final(w);
}

static void opens_without_end_do_not_hide_the_rest(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 4; i++)
		submit(w, &(struct job){ .role = { "open-progress" } });
	expect_success(w,
		submit(w, &(struct job){ .sh = "cat " IN " >" OUT, .input = slice_of("x") }), "x");
	expect_failure(w, submit(w, &(struct job){ .sh = "exec sleep 300", .timeout_ms = 50 }),
		CAUSE_TIMED_OUT, "");
	engine_stop_all(w->engine, CAUSE_SHUTTING_DOWN, false);
	run_until_all_final(w);
}

/* ---- no room ---- */

static rlim_t allow_descriptors(rlim_t n)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

/* As many as there are descriptors, from none to all that a task needs. */
static void want_of_descriptors_is_waited_out(void **state)
{
	struct world *w = *state;
	struct seen *seen[12];
	int first_free = dup(0);
	close(first_free);
	rlim_t before = allow_descriptors((rlim_t)first_free);
	for (int i = 0; i < 12; i++) {
		allow_descriptors((rlim_t)(first_free + i));
		seen[i] = submit(
			w, &(struct job){ .sh = "cat " IN " >" OUT, .input = slice_of("y") });
	}
	allow_descriptors(before);
	assert_int_equal(w->n_final, 0); /* the machine's fault is not the task's */
	assert_int_equal(seen[0]->n_running, 0);
	assert_int_equal(task_pid(seen[0]->task), 0);
	for (int i = 0; i < 12; i++)
		expect_success(w, seen[i], "y");
}

static void a_task_that_waits_for_room_can_be_cancelled(void **state)
{
	struct world *w = *state;
	int first_free = dup(0);
	close(first_free);
	rlim_t before = allow_descriptors((rlim_t)first_free);
	struct seen *seen = submit(w, &(struct job){ .sh = "exit 0", .name = "p", .slots = 1 });
	struct seen *next = submit(w, &(struct job){ .sh = "exit 0", .name = "p", .slots = 1 });
	stop(w, seen);
	allow_descriptors(before);
	assert_int_equal(seen->outcome.status, STATUS_CANCELLED);
	expect_success(w, next, "");
}

/* Strays are looked for in files of /proc. While those cannot be opened, nothing is concluded. */
static void want_of_descriptors_hides_no_stray(void **state)
{
	struct world *w = *state;
	struct seen *seen = submit(w, &(struct job){ .role = { "escape", "stay", "deaf" } });
	run_until_progress(w, seen, 1);
	pid_t stray = atoi(seen->progress.data);
	engine_stop_all(w->engine, CAUSE_CANCELLED, true);
	rlim_t before = allow_descriptors(3);
	run_for_ms(w, 100);
	allow_descriptors(before);
	assert_int_equal(seen->n_final, 0);
	expect_failure(w, seen, CAUSE_CANCELLED, "");
	assert_false(process_lives(stray));
}

static void want_of_processes_is_waited_out(void **state)
{
	struct world *w = *state;
	struct rlimit limit, none;
	getrlimit(RLIMIT_NPROC, &limit);
	none = (struct rlimit){ 0, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NPROC, &none), 0);
	struct seen *seen = submit(w, &(struct job){ .sh = "printf ok >" OUT });
	assert_int_equal(seen->n_running, 0);
	assert_int_equal(seen->n_final, 0);
	run_for_ms(w, 250); /* once more in vain */
	assert_int_equal(seen->n_running, 0);
	assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
	expect_success(w, seen, "ok");
}

/* ---- the relay pauses ---- */

static void pause_relay(struct world *w, struct seen *seen)
{
	(void)seen;
	engine_pause_relay(w->engine, true);
}

static void a_paused_relay_slows_the_program(void **state)
{
	struct world *w = *state;
	struct buf expected = { 0 };
	w->on_progress = pause_relay;
	/* 4 MB: far more than the pipe holds. */
	struct seen *seen = submit_sh(w, "seq -f 'a line that is numbered %08.0f' 1 120000 >" PRO);
	run_until_progress(w, seen, 1);
	run_for_ms(w, 50);
	assert_true(process_lives(seen->pid));
	assert_true(seen->n_progress <= 65536 / 31 + 1); /* what one look at the pipe brought */
	/* Bit by bit. */
	while (!seen->n_final) {
		engine_pause_relay(w->engine, false);
		assert_true(sd_event_run(w->loop, 1000000) >= 0);
	}
	expect_success(w, seen, "");
	for (int i = 1; i <= 120000; i++)
		buf_printf(&expected, "a line that is numbered %08d\n", i);
	assert_int_equal(seen->progress.len, expected.len);
	assert_memory_equal(seen->progress.data, expected.data, expected.len);
	buf_deinit(&expected);
}

static bool has_died(void *seen)
{
	return !process_lives(((struct seen *)seen)->pid);
}

static void what_came_while_paused_arrives_in_the_end(void **state)
{
	struct world *w = *state;
	w->config.limits.drain_us = SHORT_US;
	engine_pause_relay(w->engine, true);
	struct seen *seen = submit_sh(
		w, "echo 1 >" PRO "; echo 2 >" PRO "; echo 3 >" PRO "; printf result >" OUT);
	run_until(w, has_died, seen);
	run_for_ms(w, 3 * SHORT_US / 1000); /* the drain time does not end it */
	assert_int_equal(seen->n_progress, 0);
	assert_int_equal(seen->n_final, 0);
	engine_pause_relay(w->engine, false);
	expect_success(w, seen, "result");
	assert_int_equal(seen->n_progress, 3);
	assert_memory_equal(seen->progress.data, "1\n2\n3\n", 6);
}

static void output_goes_on_while_the_relay_pauses(void **state)
{
	struct world *w = *state;
	char *bytes = noise(1 << 20);
	engine_pause_relay(w->engine, true);
	struct seen *seen =
		submit(w, &(struct job){ .role = { "echo" }, .input = { bytes, 1 << 20 } });
	run_until(w, has_died, seen);
	engine_pause_relay(w->engine, false);
	expect_success(w, seen, NULL);
	assert_int_equal(seen->output.len, 1 << 20);
	assert_memory_equal(seen->output.data, bytes, 1 << 20);
	free(bytes);
}

/* Nobody waits for what a cancelled program still had to say. */
static void a_cancelled_task_ends_while_the_relay_pauses(void **state)
{
	struct world *w = *state;
	w->config.limits.grace_us = SHORT_US;
	struct seen *seen = submit(w, &(struct job){ .role = { "escape", "stay", "hold" } });
	run_until_progress(w, seen, 1);
	engine_pause_relay(w->engine, true);
	stop(w, seen);
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
}

/* What a program reports and we do not read is no silence. */
static void nobody_is_silent_while_the_relay_pauses(void **state)
{
	struct world *w = *state;
	w->config.limits.grace_us = NEVER_US; /* which its end does not wait for, once it is gone */
	engine_pause_relay(w->engine, true);
	struct seen *seen = submit(w, &(struct job){ .sh = "exec sleep 300", .silence_ms = 100 });
	run_for_ms(w, 350);
	assert_int_equal(seen->n_final, 0);
	stop(w, seen);
	expect_failure(w, seen, CAUSE_CANCELLED, "cancelled");
}

/* What was read before the pause and what is written after it are two. */
static void a_close_during_the_pause_is_not_forgotten(void **state)
{
	struct world *w = *state;
	w->on_progress = pause_relay;
	struct seen *seen =
		submit_sh(w, "exec 5>" PRO "; printf '{\"a\":1}hello' >&5; " AWAIT_GO
			     "exec 5>&-; : >closed; " AWAIT_GO "printf 'world\\n' >" PRO);
	run_until_progress(w, seen, 1);
	w->on_progress = NULL;
	go(w, seen);
	await_file(w, seen, "closed");
	for (int i = 0; i < 10; i++)
		assert_true(sd_event_run(w->loop, 0) >= 0); /* the close is told */
	go(w, seen);
	engine_pause_relay(w->engine, false);
	expect_success(w, seen, "");
	assert_int_equal(seen->progress.len, 20);
	assert_memory_equal(seen->progress.data, "{\"a\":1}\nhello\nworld\n", 20);
}

/* ---- opens that nobody tells of ---- */

static void flood_inotify(struct world *w, struct seen *a, struct seen *b)
{
	char paths[2][512];
	snprintf(paths[0], 512, "%s/%s/progress", w->directory, a->id);
	snprintf(paths[1], 512, "%s/%s/progress", w->directory, b->id);
	/* By turns, because two like events in a row are one. */
	for (int i = 0; i < 40000; i++)
		close(open(paths[i % 2], O_WRONLY | O_NONBLOCK | O_CLOEXEC));
}

static void an_overflow_of_events_loses_no_open(void **state)
{
	static const char open_late[] = AWAIT_GO "exec 5<" IN "; : >opened; cat <&5 >" OUT;
	struct world *w = *state;
	struct seen *a = submit_sh(w, "exec sleep 300"), *b = submit_sh(w, "exec sleep 300");
	struct seen *full = submit(w, &(struct job){ .sh = open_late, .input = slice_of("z") });
	struct seen *empty =
		submit(w, &(struct job){ .sh = AWAIT_GO ": >opened; cat " IN " >" OUT });
	run_for_ms(w, 10);
	flood_inotify(w, a, b);
	go(w, full);
	go(w, empty);
	await_file(w, full, "opened");
	await_file(w, empty, "opened");
	clock_sleep_ms(
		50); /* its cat has opened the pipe, most probably, and got no event either */
	expect_success(w, full, "z");
	expect_success(w, empty, "");
	stop(w, a);
	stop(w, b);
	run_until_all_final(w);
}

static void input_without(struct world *w)
{
	char *bytes = noise(1 << 20);
	struct seen *seen = submit(w,
		&(struct job){ .sh = "sleep 0.05; cat " IN " >" OUT, .input = { bytes, 1 << 20 } });
	expect_success(w, seen, NULL);
	assert_int_equal(seen->output.len, 1 << 20);
	assert_memory_equal(seen->output.data, bytes, 1 << 20);
	free(bytes);
	expect_success(w, submit_sh(w, "sleep 0.05; cat " IN " >" OUT), "");
	expect_success(w,
		submit(w, &(struct job){ .sh = "cat " IN " >" OUT, .input = slice_of("w") }), "w");
	/* Some never look. */
	expect_success(w, submit(w, &(struct job){ .sh = "exit 0", .input = slice_of("w") }), "");
	/* Also where the program itself is gone. */
	expect_success(w,
		submit(w, &(struct job){ .sh = "exec 5>" OUT "; { sleep 0.1; cat " IN
					       " >&5; } & exit 0",
				  .input = slice_of("v") }),
		"v");
	for (int i = 0; i < 50; i++)
		submit(w, &(struct job){ .sh = "cat " IN " >" OUT, .input = slice_of("many") });
	run_until_all_final(w);
}

static void without_inotify_opens_are_polled_for(void **state)
{
	static int taken[100000];
	int n = 0;
	(void)state;
	while (n < 100000 && (taken[n] = inotify_init1(IN_CLOEXEC)) >= 0)
		n++;
	assert_int_equal(errno, EMFILE);
	struct world *w = world_prepare();
	world_start(w);
	input_without(w);
	for (struct seen *seen = w->tasks; seen; seen = seen->next)
		assert_int_equal(seen->outcome.status, STATUS_SUCCESS);
	void *done = w;
	world_close(&done);
	while (n > 0)
		close(taken[--n]);
}

/* ---- numbers that come again ---- */

/* The program is gone, and its task drains, when the kernel gives its number to another one. */
static void a_process_number_that_comes_again(void **state)
{
	struct world *w = *state;
	char number[32];
	w->config.limits.drain_us = 5 * SHORT_US;
	struct seen *old =
		submit(w, &(struct job){ .sh = "exec 5>" OUT "; setsid sleep 300 & exit 0" });
	run_until(w, has_died, old);
	run_for_ms(w, 10);
	snprintf(number, sizeof(number), "%d", (int)old->pid - 1);
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, number, strlen(number)), strlen(number));
	close(fd);
	struct seen *new = submit_sh(w, AWAIT_GO "printf mine >" OUT);
	assert_int_equal(new->pid, old->pid);
	expect_success(w, old, "");
	assert_true(process_lives(new->pid));
	go(w, new);
	expect_success(w, new, "mine");
}

/* ---- parts that need a process of their own ---- */

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

static int play_as_nobody(void *data)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(want_of_processes_is_waited_out),
		cmocka_unit_test(without_inotify_opens_are_polled_for),
	};
	(void)data;
	return cmocka_run_group_tests_name("as an ordinary user", tests, NULL, NULL);
}

static int play_as_number_1(void *data)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(a_process_number_that_comes_again),
		WITH_WORLD(many_are_killed_together),
	};
	(void)data;
	return cmocka_run_group_tests_name("as process 1", tests, NULL, NULL);
}

static void as_an_ordinary_user(void **state)
{
	(void)state;
	assert_int_equal(apart_unprivileged(play_as_nobody, NULL), 0);
}

static void as_process_1(void **state)
{
	(void)state;
	assert_int_equal(apart_with_pids(play_as_number_1, NULL), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(one_slot_runs_one_after_another),
		WITH_WORLD(slots_are_those_of_the_program),
		WITH_WORLD(every_end_frees_its_slot),
		WITH_WORLD(tasks_may_be_submitted_from_within),
		WITH_WORLD(two_hundred_at_once),
		WITH_WORLD(many_are_killed_together),
		WITH_WORLD(floods_do_not_hide_an_exit),
		WITH_WORLD(opens_without_end_do_not_hide_the_rest),
		WITH_WORLD(want_of_descriptors_is_waited_out),
		WITH_WORLD(a_task_that_waits_for_room_can_be_cancelled),
		WITH_WORLD(want_of_descriptors_hides_no_stray),
		WITH_WORLD(a_paused_relay_slows_the_program),
		WITH_WORLD(what_came_while_paused_arrives_in_the_end),
		WITH_WORLD(output_goes_on_while_the_relay_pauses),
		WITH_WORLD(a_cancelled_task_ends_while_the_relay_pauses),
		WITH_WORLD(nobody_is_silent_while_the_relay_pauses),
		WITH_WORLD(a_close_during_the_pause_is_not_forgotten),
		WITH_WORLD(an_overflow_of_events_loses_no_open),
		cmocka_unit_test(as_an_ordinary_user),
		cmocka_unit_test(as_process_1),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	log_set_level(LOG_ERROR);
	signals_prepare();
	return cmocka_run_group_tests_name("engine-many", tests, NULL, NULL);
}
