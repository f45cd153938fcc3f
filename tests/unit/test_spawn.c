/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/clock.h"
#include "runner/signals.h"
#include "runner/spawn.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

enum { SOON_MS = 30000 };

static int null_fd;
static char *const none[] = { NULL };
static char *const name[] = { (char *)"program", NULL };

static struct spawn_request request_of(const char *path)
{
	return (struct spawn_request){ path, name, none, "/", null_fd, null_fd, null_fd };
}

static void expect_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int status_after(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Under valgrind the child has no share in our memory, so what it says of a failure is lost. The
 * whole rest is tested there all the same. */
static int errors_are_lost(void)
{
	struct spawn_request request = request_of("/nonexistent");
	struct spawn_result result;
	int r = spawn(&request, &result);
	if (r == 0)
		status_after(result.pid);
	return r == 0;
}

/* ---- what cannot be started ---- */

static void expect_error(const struct spawn_request *request, int error, enum spawn_stage stage)
{
	struct spawn_result result = { .stage = 99 };
	int r = spawn(request, &result);
	if (errors_are_lost()) {
		if (r == 0)
			assert_int_not_equal(status_after(result.pid), 0);
		return;
	}
	assert_int_equal(r, -error);
	assert_int_equal(result.stage, stage);
	expect_no_child(); /* no zombie either */
}

static char *make_file(const char *content, mode_t mode)
{
	static char path[] = "/tmp/test-spawn-XXXXXX";
	strcpy(path + sizeof(path) - 7, "XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void expect_file_error(const char *content, mode_t mode, int error)
{
	char *path = make_file(content, mode);
	struct spawn_request request = request_of(path);
	expect_error(&request, error, SPAWN_EXEC);
	unlink(path);
}

static void the_reason_of_a_failed_exec_comes_back(void **state)
{
	static const struct {
		const char *path;
		int error;
	} cases[] = {
		{ "/nonexistent", ENOENT },
		{ "", ENOENT },
		{ "/dev/null/x", ENOTDIR },
		{ "/", EACCES },
		{ "/dev/null", EACCES },
		{ "/proc/self/fd/99999", ENOENT },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct spawn_request request = request_of(cases[i].path);
		expect_error(&request, cases[i].error, SPAWN_EXEC);
	}
	expect_file_error("", 0700, ENOEXEC);
	expect_file_error("no header", 0700, ENOEXEC);
	expect_file_error("#!/bin/sh\n", 0600, EACCES);
	expect_file_error("#!/nonexistent\n", 0700, ENOENT);
	expect_file_error("#!/\n", 0700, EACCES);
	expect_file_error("\177ELF", 0700, ENOEXEC);
}

static void a_file_that_is_being_written_is_busy(void **state)
{
	char *path = make_file("#!/bin/sh\n", 0700);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	struct spawn_request request = request_of(path);
	(void)state;
	expect_error(&request, ETXTBSY, SPAWN_EXEC);
	close(fd);
	unlink(path);
}

static void arguments_without_measure_are_refused(void **state)
{
	char *huge = malloc(4 << 20);
	char *const argv[] = { (char *)"x", huge, NULL };
	struct spawn_request request = request_of("/bin/true");
	(void)state;
	memset(huge, 'x', 4 << 20);
	huge[(4 << 20) - 1] = '\0';
	request.argv = argv;
	expect_error(&request, E2BIG, SPAWN_EXEC);
	free(huge);
}

static void other_stages_are_told(void **state)
{
	struct spawn_request request = request_of("/bin/true");
	(void)state;
	request.directory = "/nonexistent";
	expect_error(&request, ENOENT, SPAWN_DIRECTORY);
	request.directory = "/dev/null";
	expect_error(&request, ENOTDIR, SPAWN_DIRECTORY);
	request.directory = "/";
	request.stdout_fd = -1;
	expect_error(&request, EBADF, SPAWN_DESCRIPTORS);
	request.stdout_fd = 9999;
	expect_error(&request, EBADF, SPAWN_DESCRIPTORS);
}

static int spawn_without_processes(void *data)
{
	struct spawn_request request = request_of("/bin/true");
	struct spawn_result result = { .stage = 99 };
	(void)data;
	if (setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, 0 }) < 0)
		return 2;
	if (spawn(&request, &result) != -EAGAIN || result.stage != SPAWN_CLONE)
		return 1;
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 3;
}

static void too_many_processes_are_the_hosts_fault(void **state)
{
	(void)state;
	assert_int_equal(apart_unprivileged(spawn_without_processes, NULL), 0);
}

static void errors_have_somebody_to_blame(void **state)
{
	static const int hosts[] = { EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT, EROFS, EIO };
	static const int requests[] = { ENOENT, EACCES, ENOEXEC, E2BIG, ENOTDIR, ELOOP, EPERM,
		ETXTBSY, EEXIST, ENAMETOOLONG, EINVAL };
	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
		assert_true(spawn_error_is_hosts(-hosts[i]));
		assert_true(spawn_error_is_hosts(hosts[i]));
	}
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		assert_false(spawn_error_is_hosts(-requests[i]));
	assert_false(spawn_error_is_hosts(0));
}

/* ---- what a child is given ---- */

/* Starts the role that tells what it was given, and collects it. */
static void report(char *const *argv, char *const *environment, struct buf *ret)
{
	int ends[2];
	char bytes[4096];
	ssize_t n;
	struct spawn_request request = request_of(roles_self());
	struct spawn_result result;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	request.argv = argv;
	request.environ = environment;
	request.directory = "/usr";
	request.stdout_fd = ends[1];
	assert_int_equal(spawn(&request, &result), 0);
	close(ends[1]);
	while ((n = read(ends[0], bytes, sizeof(bytes))) > 0)
		buf_append(ret, bytes, (size_t)n);
	buf_append(ret, "", 1);
	close(ends[0]);
	assert_int_equal(status_after(result.pid), 0);
}

/* The lines that begin with @word, joined. */
static void expect_lines(const struct buf *told, const char *word, const char *expected)
{
	struct buf lines = { 0 };
	size_t len = strlen(word);
	for (const char *at = told->data; *at;) {
		const char *end = strchr(at, '\n');
		if (strncmp(at, word, len) == 0 && at[len] == ' ')
			buf_append(&lines, at + len + 1, (size_t)(end - at) - len);
		at = end + 1;
	}
	buf_append(&lines, "", 1);
	assert_string_equal(lines.data, expected);
	buf_deinit(&lines);
}

static void a_child_gets_what_it_was_given_and_nothing_else(void **state)
{
	char *const argv[] = { (char *)"odd name", (char *)"role", (char *)"report", (char *)"",
		(char *)"a b", (char *)"*\"'$", NULL };
	char *const environment[] = { (char *)"A=1", (char *)"EMPTY=", (char *)"no-equals",
		(char *)"ASAN_OPTIONS=detect_leaks=0", NULL };
	struct buf told = { 0 };
	char pid[32];
	(void)state;
	/* Whatever we ignore, block or hold open stays with us. */
	const int ignored[] = { SIGPIPE, SIGINT, SIGQUIT, SIGUSR1, SIGXFSZ, SIGRTMAX };
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	int stray = fcntl(2, F_DUPFD, 200), far = fcntl(2, F_DUPFD, 900);
	report(argv, environment, &told);
	close(stray);
	close(far);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		assert_ptr_equal(signal(ignored[i], SIG_DFL), SIG_IGN);

	expect_lines(&told, "arg", "\na b\n*\"'$\n");
	expect_lines(&told, "env", "A=1\nEMPTY=\nno-equals\nASAN_OPTIONS=detect_leaks=0\n");
	expect_lines(&told, "fd", "0 /dev/null\n1 pipe\n2 /dev/null\n");
	expect_lines(&told, "blocked", "");
	expect_lines(&told, "ignored", "");
	expect_lines(&told, "leads", "session group\n");
	expect_lines(&told, "death", "9\n");
	expect_lines(&told, "cwd", "/usr\n");
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	expect_lines(&told, "parent", pid);
	buf_deinit(&told);
}

static void our_own_signals_stay_as_they_were(void **state)
{
	sigset_t before, after, pending;
	struct spawn_request request = request_of("/bin/true");
	struct spawn_result result;
	(void)state;
	sigemptyset(&before);
	sigaddset(&before, SIGCHLD);
	sigaddset(&before, SIGUSR2);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(spawn(&request, &result), 0);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int i = 1; i < NSIG; i++)
		assert_int_equal(sigismember(&before, i), sigismember(&after, i));
	assert_int_equal(WEXITSTATUS(status_after(result.pid)), 0);
	sigpending(&pending);
	assert_true(sigismember(&pending, SIGCHLD));
	sigemptyset(&after);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &after, NULL);
}

static void three_descriptors_may_be_the_same_or_crossed(void **state)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)"echo out; echo err >&2", NULL };
	char bytes[64] = "";
	int ends[2];
	struct spawn_request request = request_of("/bin/sh");
	struct spawn_result result;
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	request.argv = argv;
	request.stdout_fd = request.stderr_fd = ends[1];
	assert_int_equal(spawn(&request, &result), 0);
	close(ends[1]);
	assert_int_equal(status_after(result.pid), 0);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), 8);
	assert_string_equal(bytes, "out\nerr\n");
	close(ends[0]);
}

static void many_starts_leave_nothing_behind(void **state)
{
	struct spawn_request good = request_of("/bin/true"), bad = request_of("/nonexistent");
	struct spawn_result result;
	(void)state;
	int before = dup(0);
	close(before);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(spawn(&good, &result), 0);
		assert_int_equal(status_after(result.pid), 0);
		expect_error(&bad, ENOENT, SPAWN_EXEC);
	}
	int after = dup(0);
	close(after);
	assert_int_equal(before, after);
	expect_no_child();
}

/* ---- fate sharing ---- */

/* Starts a program that lives long, tells its pid, and waits to be killed. */
static int start_and_wait(void *data)
{
	const int *ends = data;
	char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause", NULL };
	struct spawn_request request = request_of(roles_self());
	struct spawn_result result = { 0 };
	request.argv = argv;
	if (spawn(&request, &result) < 0)
		return 1;
	const pid_t told[2] = { getpid(), result.pid };
	if (write(ends[1], told, sizeof(told)) != sizeof(told))
		return 2;
	for (;;)
		pause();
}

static bool lives(pid_t pid)
{
	char path[64], line[512] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	char *state = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return state && state[2] != 'Z';
}

static void a_program_dies_with_its_runner(void **state)
{
	int ends[2];
	pid_t told[2] = { 0 };
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t helper = fork();
	if (helper == 0)
		_exit(apart(start_and_wait, ends));
	assert_int_equal(read(ends[0], told, sizeof(told)), sizeof(told));
	assert_true(lives(told[1]));
	kill(told[0], SIGKILL);
	for (int waited = 0; lives(told[1]); waited += 5) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(5);
	}
	assert_int_equal(WEXITSTATUS(status_after(helper)), 128 + SIGKILL);
	close(ends[0]);
	close(ends[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reason_of_a_failed_exec_comes_back),
		cmocka_unit_test(a_file_that_is_being_written_is_busy),
		cmocka_unit_test(arguments_without_measure_are_refused),
		cmocka_unit_test(other_stages_are_told),
		cmocka_unit_test(too_many_processes_are_the_hosts_fault),
		cmocka_unit_test(errors_have_somebody_to_blame),
		cmocka_unit_test(a_child_gets_what_it_was_given_and_nothing_else),
		cmocka_unit_test(our_own_signals_stay_as_they_were),
		cmocka_unit_test(three_descriptors_may_be_the_same_or_crossed),
		cmocka_unit_test(many_starts_leave_nothing_behind),
		cmocka_unit_test(a_program_dies_with_its_runner),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
