/* SPDX-License-Identifier: Apache-2.0 */
/* Every combination of what can be known about the end of a task, and what is made of it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "runner/outcome.h"

#define EXIT(code)     ((code) << 8)
#define SIGNAL(number) (number)

static const struct progress_failure failure_said = { "data", "column 3 is empty" };
static const struct progress_failure failure_bare = { "", "" };
static const struct progress_failure failure_kind = { "data", "" };

static struct outcome judge(const struct evidence *evidence)
{
	struct outcome outcome;
	memset(&outcome, 0x55, sizeof(outcome));
	outcome_judge(evidence, &outcome);
	assert_int_equal(outcome.wall_us, 0x5555555555555555); /* not its business */
	assert_int_equal(outcome.peak_memory, 0x5555555555555555);
	return outcome;
}

static struct evidence with_cause(enum cause cause)
{
	return (struct evidence){
		.program = "prog",
		.cause = cause,
		.ran = true,
		.timeout_us = 90000000,
		.silence_us = 60000000,
		.output_max = 64 << 20,
		.progress_max = 1 << 20,
		.spawn = { ENOENT, SPAWN_EXEC, "/nonexistent" },
	};
}

static const int statuses[] = { EXIT(0), EXIT(1), EXIT(255), SIGNAL(SIGTERM), SIGNAL(SIGKILL),
	SIGNAL(SIGSEGV) | 0x80, SIGNAL(64) };
static const struct progress_failure *const failures[] = { NULL, &failure_said, &failure_bare,
	&failure_kind };

static void check(const struct evidence *e)
{
	struct outcome o = judge(e);
	bool succeeded = e->cause == CAUSE_NONE && !e->failure && e->ran && e->wait_status == 0;
	assert_true(status_is_final(o.status));
	assert_int_equal(o.status == STATUS_SUCCESS, succeeded);
	assert_int_equal(o.status == STATUS_CANCELLED, e->cause == CAUSE_CANCELLED);
	assert_int_equal(o.cause == CAUSE_NONE, succeeded);
	assert_int_equal(o.text[0] == '\0', succeeded);
	assert_non_null(memchr(o.text, '\0', sizeof(o.text)));
	if (e->cause != CAUSE_NONE)
		assert_int_equal(o.cause, e->cause);
	/* Whatever the cause: how the process ended is told too. */
	assert_int_equal(o.exit_code,
		e->ran && WIFEXITED(e->wait_status) ? WEXITSTATUS(e->wait_status) : -1);
	assert_int_equal(
		o.signal, e->ran && WIFSIGNALED(e->wait_status) ? WTERMSIG(e->wait_status) : 0);
	assert_int_equal(o.error, e->cause == CAUSE_EXEC_FAILED ? e->spawn.error : 0);
	/* The program's own word counts unless we ended it. */
	assert_string_equal(o.kind, e->cause == CAUSE_NONE && e->failure ? e->failure->kind : "");
	if (o.cause == CAUSE_OUT_OF_MEMORY && e->cause == CAUSE_NONE)
		assert_true(e->memory_ran_out && o.signal == SIGKILL);
}

static void every_combination(void **state)
{
	unsigned n = 0;
	(void)state;
	for (int cause = 0; cause < CAUSE_COUNT; cause++)
		for (size_t s = 0; s < sizeof(statuses) / sizeof(*statuses); s++)
			for (size_t f = 0; f < sizeof(failures) / sizeof(*failures); f++)
				for (int oom = 0; oom < 2; oom++)
					for (int ran = 0; ran < 2; ran++, n++) {
						struct evidence e = with_cause((enum cause)cause);
						e.wait_status = statuses[s];
						e.failure = failures[f];
						e.memory_ran_out = oom;
						e.ran = ran;
						check(&e);
					}
	assert_int_equal(n, CAUSE_COUNT * 7 * 4 * 2 * 2);
}

static void expect(const struct evidence *e, enum cause cause, const char *text)
{
	struct outcome o = judge(e);
	assert_string_equal(o.text, text);
	assert_int_equal(o.cause, cause);
}

static void texts_name_the_cause(void **state)
{
	static const struct {
		enum cause cause;
		const char *text;
	} by_us[] = {
		{ CAUSE_TIMED_OUT,
			"Program 'prog' timed out: it ran longer than the 1m30s allowed" },
		{ CAUSE_SILENT, "Program 'prog' was silent: it reported no progress for 1m" },
		{ CAUSE_OUTPUT_TOO_LARGE,
			"Program 'prog' wrote an output too large: more than the 64MiB allowed" },
		{ CAUSE_PROTOCOL_ERROR,
			"Program 'prog' broke the protocol: it wrote a progress record "
			"longer than the 1MiB allowed" },
		{ CAUSE_SHUTTING_DOWN,
			"Program 'prog' was ended because the runner is shutting down" },
		{ CAUSE_CANCELLED, "Program 'prog' was cancelled" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(by_us) / sizeof(*by_us); i++) {
		struct evidence e = with_cause(by_us[i].cause);
		expect(&e, by_us[i].cause, by_us[i].text);
	}
	struct evidence e = with_cause(CAUSE_NONE);
	e.wait_status = EXIT(3);
	expect(&e, CAUSE_EXITED, "Program 'prog' exited with code 3");
	e.wait_status = SIGNAL(SIGSEGV) | 0x80; /* and a core was dumped */
	expect(&e, CAUSE_KILLED, "Program 'prog' was killed by signal 11 (SIGSEGV)");
	e.wait_status = SIGNAL(64);
	expect(&e, CAUSE_KILLED, "Program 'prog' was killed by signal 64 (SIG?)");
	e.wait_status = SIGNAL(SIGKILL);
	e.memory_ran_out = true;
	expect(&e, CAUSE_OUT_OF_MEMORY,
		"Program 'prog' was killed, probably because it was out of memory");
}

static void a_detail_is_the_text(void **state)
{
	static const enum cause causes[] = { CAUSE_REFUSED, CAUSE_NOT_FOUND, CAUSE_PROTOCOL_ERROR };
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct evidence e = with_cause(causes[i]);
		e.detail = "100%s of it: %n";
		expect(&e, causes[i], "100%s of it: %n");
	}
}

static void what_the_program_said_is_the_text(void **state)
{
	struct evidence e = with_cause(CAUSE_NONE);
	(void)state;
	e.failure = &failure_said;
	expect(&e, CAUSE_EXITED, "column 3 is empty");
	e.failure = &failure_kind;
	expect(&e, CAUSE_EXITED, "Program 'prog' failed: data");
	e.failure = &failure_bare;
	expect(&e, CAUSE_EXITED, "Program 'prog' failed");
	/* It also died: the cause says how, the text what it said before. */
	e.failure = &failure_said;
	e.wait_status = SIGNAL(SIGABRT);
	expect(&e, CAUSE_KILLED, "column 3 is empty");
	/* We ended it: then that is why. */
	e.cause = CAUSE_CANCELLED;
	expect(&e, CAUSE_CANCELLED, "Program 'prog' was cancelled");
}

static void a_failed_start_says_where_and_why(void **state)
{
	static const struct {
		int error;
		enum spawn_stage stage;
		const char *path, *text;
	} cases[] = {
		{ EEXIST, SPAWN_PIPES, "/bin/sh",
			"Program 'prog' could not be started (exec failed, EEXIST): its pipes "
			"could not be "
			"made: File exists" },
		{ EAGAIN, SPAWN_CLONE, "/bin/sh",
			"Program 'prog' could not be started (exec failed, EAGAIN): a process "
			"could not be "
			"made: Resource temporarily unavailable" },
		{ ENOENT, SPAWN_DIRECTORY, "/nonexistent",
			"Program 'prog' could not be started (exec failed, ENOENT): its working "
			"directory "
			"could not be entered: No such file or directory" },
		{ EMFILE, SPAWN_DESCRIPTORS, "/bin/sh",
			"Program 'prog' could not be started (exec failed, EMFILE): its "
			"descriptors could "
			"not be set up: Too many open files" },
		{ ENOENT, SPAWN_EXEC, "/nonexistent",
			"Program 'prog' could not be started (exec failed, ENOENT): it could not "
			"be "
			"executed: No such file or directory; /nonexistent does not exist" },
		{ ENOENT, SPAWN_EXEC, "/etc/passwd",
			"Program 'prog' could not be started (exec failed, ENOENT): it could not "
			"be "
			"executed: No such file or directory; the interpreter that its first line "
			"names "
			"does not exist" },
		{ ENOENT, SPAWN_EXEC, NULL,
			"Program 'prog' could not be started (exec failed, ENOENT): it could not "
			"be "
			"executed: No such file or directory" },
		{ EACCES, SPAWN_EXEC, "/etc",
			"Program 'prog' could not be started (exec failed, EACCES): it could not "
			"be "
			"executed: Permission denied; it is a directory" },
		{ EACCES, SPAWN_EXEC, "/etc/passwd",
			"Program 'prog' could not be started (exec failed, EACCES): it could not "
			"be "
			"executed: Permission denied; it is not executable" },
		{ EACCES, SPAWN_EXEC, "/bin/sh",
			"Program 'prog' could not be started (exec failed, EACCES): it could not "
			"be "
			"executed: Permission denied" },
		{ ENOEXEC, SPAWN_EXEC, "/etc/passwd",
			"Program 'prog' could not be started (exec failed, ENOEXEC): it could not "
			"be "
			"executed: Exec format error; it is neither a binary for this machine nor "
			"a "
			"script with a #! line" },
		{ E2BIG, SPAWN_EXEC, "/bin/sh",
			"Program 'prog' could not be started (exec failed, E2BIG): it could not be "
			"executed: Argument list too long" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct evidence e = with_cause(CAUSE_EXEC_FAILED);
		e.ran = false;
		e.spawn.error = cases[i].error;
		e.spawn.stage = cases[i].stage;
		e.spawn.path = cases[i].path;
		expect(&e, CAUSE_EXEC_FAILED, cases[i].text);
	}
}

static void long_names_and_words_are_cut(void **state)
{
	static char name[10000];
	static struct progress_failure failure;
	struct evidence e = with_cause(CAUSE_NONE);
	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	memset(failure.kind, 'k', sizeof(failure.kind) - 1);
	memset(failure.message, 'm', sizeof(failure.message) - 1);
	e.program = name;
	e.wait_status = EXIT(1);
	assert_int_equal(strlen(judge(&e).text), sizeof(((struct outcome *)0)->text) - 1);
	e.failure = &failure;
	assert_int_equal(strlen(judge(&e).text), sizeof(failure.message) - 1);
	assert_int_equal(strlen(judge(&e).kind), sizeof(failure.kind) - 1);
}

static void errors_have_names(void **state)
{
	(void)state;
	assert_string_equal(outcome_errno_name(ENOENT), "ENOENT");
	assert_string_equal(outcome_errno_name(99999), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination),
		cmocka_unit_test(texts_name_the_cause),
		cmocka_unit_test(a_detail_is_the_text),
		cmocka_unit_test(what_the_program_said_is_the_text),
		cmocka_unit_test(a_failed_start_says_where_and_why),
		cmocka_unit_test(long_names_and_words_are_cut),
		cmocka_unit_test(errors_have_names),
	};
	return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
