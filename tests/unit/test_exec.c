/* SPDX-License-Identifier: Apache-2.0 */
/* `taskrunner exec` without its command line: what goes where, and the exit status. */
#include "tests/unit/engine_fixture.h"

#include <dirent.h>
#include <sys/ioctl.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/exec.h"
#include "runner/signals.h"
#include "tests/unit/apart.h"
#include "tests/unit/roles.h"

#define IN  "\"$TASKIFACE_INPUT_PIPE\""
#define OUT "\"$TASKIFACE_OUTPUT_PIPE\""
#define PRO "\"$TASKIFACE_PROGRESS_PIPE\""

static char place[64];

static int place_make(void **state)
{
	(void)state;
	strcpy(place, "/tmp/test-exec-XXXXXX");
	return mkdtemp(place) ? 0 : -1;
}

static int place_remove(void **state)
{
	(void)state;
	return rmdir(place);
}

static char *in_place(const char *name)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/%s", place, name);
	return path;
}

/* One run: what goes in, what came out. */
struct run {
	struct exec_options options;
	struct config config;
	const char *arguments[8];
	struct slice stdin_text;
	int stop_after_progress;   /* signals to send once the program has said something */
	bool no_stdout, no_stderr; /* full disks instead */
	unsigned n_files;          /* of the test, in its place */
	int status;
	struct buf out, err;
};

static void write_script(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fchmod(fileno(f), 0700), 0);
	fclose(f);
}

static int open_in_place(const char *name)
{
	int fd = open(in_place(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void read_back(int fd, const char *name, struct buf *ret)
{
	char bytes[65536];
	ssize_t n;
	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		assert_int_equal(buf_append(ret, bytes, (size_t)n), 0);
	assert_int_equal(buf_append(ret, "", 1), 0);
	ret->len--;
	close(fd);
	unlink(in_place(name));
}

static int play(void *data)
{
	struct run *run = data;
	run->options.config = &run->config;
	run->options.arguments = (char *const *)run->arguments;
	signals_prepare();
	int status = exec_run(&run->options);
	program_set_deinit(&run->config.catalogue);
	return status;
}

static void signal_when_it_speaks(pid_t pid, int err, int n)
{
	for (unsigned waited = 0; lseek(err, 0, SEEK_END) == 0; waited += 5) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(5);
	}
	for (int i = 0; i < n; i++) {
		kill(pid, SIGINT);
		clock_sleep_ms(20); /* two of a kind at once are one */
	}
}

static void set_limits(struct run *run)
{
	run->config.run_directory = place;
	if (!run->config.limits.grace_us)
		run->config.limits.grace_us = 3600000000;
	run->config.limits.drain_us = 5000000;
	if (!run->config.limits.input)
		run->config.limits.input = 1 << 20;
	run->config.limits.output = run->config.limits.progress_record = 1 << 20;
}

/* Begins it in a process of its own, with these descriptors. */
static pid_t start(struct run *run, int in, int out, int err)
{
	set_limits(run);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	/* Nobody but the reader may hold a pipe's reading end. */
	close_range(3, ~0U, 0);
	int status = play(run);
	fflush(NULL);
	_exit(status);
}

/* Gives its exit status; fails when it does not end. */
static int await(pid_t pid)
{
	int status;
	for (unsigned waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited += 5) {
		if (waited >= SOON_MS) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			fail_msg("it does not end");
		}
		clock_sleep_ms(5);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void run_it(struct run *run)
{
	int in = open_in_place("in"), out = open_in_place("out"), err = open_in_place("err");
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(in, run->stdin_text.data, run->stdin_text.len), run->stdin_text.len);
	lseek(in, 0, SEEK_SET);
	pid_t pid = start(run, in, run->no_stdout ? full : out, run->no_stderr ? full : err);
	if (run->stop_after_progress)
		signal_when_it_speaks(pid, err, run->stop_after_progress);
	run->status = await(pid);
	close(full);
	close(in);
	unlink(in_place("in"));
	read_back(out, "out", &run->out);
	read_back(err, "err", &run->err);
	assert_int_equal(count_entries(place), run->n_files); /* no directory is left */
}

static void forget(struct run *run)
{
	buf_deinit(&run->out);
	buf_deinit(&run->err);
}

static void expect(struct run *run, int status, const char *out, const char *err)
{
	run_it(run);
	if (run->status != status)
		fail_msg("status %d, not %d: %s", run->status, status, run->err.data);
	if (out)
		assert_string_equal(run->out.data, out);
	assert_non_null(run->err.data);
	if (!strstr(run->err.data, err))
		fail_msg("'%s' is not in '%s'", err, run->err.data);
	forget(run);
}

#define SH(script, ...)                                 \
	(&(struct run){ .options = { .program = "sh" }, \
		.arguments = { "-c", script "\n#" },    \
		__VA_ARGS__ })

static void output_goes_to_stdout_and_the_rest_to_stderr(void **state)
{
	(void)state;
	struct run *run =
		SH("printf out >" OUT "; printf '{\"p\":1}' >" PRO "; echo said; echo cried >&2");
	run_it(run);
	assert_int_equal(run->status, 0);
	assert_string_equal(run->out.data, "out");
	assert_non_null(strstr(run->err.data, "progress {\"p\":1}\n"));
	assert_non_null(strstr(run->err.data, "said\n"));
	assert_non_null(strstr(run->err.data, "cried\n"));
	forget(run);
}

static void progress_is_shown_as_taskctl_shows_it(void **state)
{
	(void)state;
	expect(SH("printf '{\"fraction\":0.29,\"message\":\"a\\\\nb\"}' >" PRO), 0, "",
		"progress 29% a b\n");
	expect(SH("printf 'a line' >" PRO), 0, "", "progress a line\n");
	expect(SH("printf '\\201\\250fraction\\001' >" PRO), 0, "", "progress 100%\n");
}

static void what_it_says_begins_a_line_of_its_own(void **state)
{
	(void)state;
	expect(SH("printf said; exit 3"), 3, "", "said\ntaskrunner: the task failed");
	expect(SH("echo said; exit 3"), 3, "", "said\ntaskrunner: the task failed");
}

static void input_comes_from_a_file_or_stdin(void **state)
{
	(void)state;
	expect(SH("cat " IN " >" OUT, .options.input_file = "-", .stdin_text = { "a\0b", 3 }), 0,
		"a", "");
	expect(SH("cat " IN " >" OUT, .options.input_file = "/etc/hostname"), 0, NULL, "");
	/* Without, it is empty, and stdin is not touched. */
	expect(SH("cat " IN " >" OUT, .stdin_text = { "unread", 6 }), 0, "", "");
	expect(SH("exit 0", .options.input_file = "/nonexistent"), EXEC_FAILED, "",
		"cannot read /nonexistent: No such file");
	expect(SH("exit 0", .options.input_file = "/"), EXEC_FAILED, "", "Is a directory");
}

static void input_over_the_limit_is_refused(void **state)
{
	char *bytes = noise(200001);
	(void)state;
	expect(SH("wc -c <" IN " | tr -d ' \\n' >" OUT, .options.input_file = "-",
		       .config.limits.input = 200000, .stdin_text = { bytes, 200000 }),
		0, "200000", "");
	expect(SH("exit 0", .options.input_file = "-", .config.limits.input = 200000,
		       .stdin_text = { bytes, 200001 }),
		EXEC_FAILED, "", "stdin is too large to be an input: limits.input allows 2");
	free(bytes);
	/* To the byte, where the limit is no multiple of what is read at once. */
	expect(SH("cat " IN " >" OUT, .options.input_file = "-", .config.limits.input = 3,
		       .stdin_text = { "abc", 3 }),
		0, "abc", "");
	expect(SH("exit 0", .options.input_file = "-", .config.limits.input = 3,
		       .stdin_text = { "abcd", 4 }),
		EXEC_FAILED, "", "limits.input allows 3B");
}

static void the_status_is_that_of_the_program(void **state)
{
	(void)state;
	expect(SH("exit 0"), 0, "", "");
	expect(SH("exit 7"), 7, "", "exited with code 7");
	expect(SH("exit 255"), 255, "", "exited with code 255");
	expect(SH("kill -SEGV $$"), 128 + SIGSEGV, "", "signal 11");
	expect(SH("exec sleep 300", .options.timeout_us = 50000), EXEC_TIMED_OUT, "", "timed out");
	expect(SH("kill -TERM $$"), 128 + SIGTERM, "", "signal 15");
	expect(SH("printf '{\"taskiface\":\"fail\",\"kind\":\"data\",\"message\":\"no\"}' >" PRO),
		EXEC_FAILED, "", "taskrunner: the task failed (exited): no [data]; wall ");
	expect(SH("printf '{\"taskiface\":\"fail\",\"message\":\"no\"}' >" PRO "; exit 9"), 9, "",
		"the task failed (exited): no; wall ");
}

/* What it was ended by is our signal, and not its status. */
static void a_task_that_we_end_has_failed(void **state)
{
	(void)state;
	expect(SH("head -c 2000000 /dev/zero >" OUT "; exec sleep 300"), EXEC_FAILED, "",
		"the task failed (output-too-large): ");
	expect(SH("trap 'exit 0' TERM; head -c 2000000 /dev/zero >" OUT "; sleep 300 & wait"),
		EXEC_FAILED, "", "the task failed (output-too-large): ");
	expect(SH("head -c 2000000 /dev/zero >" PRO "; exec sleep 300"), EXEC_FAILED, "",
		"the task failed (protocol-error): ");
}

static void what_cannot_be_run_says_so(void **state)
{
	struct run absent = { .options = { .program = "no-such-program" } };
	struct run nowhere = { .options = { .program = "/no/such/program" } };
	struct run directory = { .options = { .program = "/etc" } };
	struct run plain = { .options = { .program = "/etc/passwd" } };
	(void)state;
	expect(&absent, EXEC_NOT_FOUND, "", "program 'no-such-program' was not found");
	expect(&nowhere, EXEC_NOT_FOUND, "", "program '/no/such/program' was not found");
	if (exec_errors_are_lost())
		return;
	expect(&directory, EXEC_NOT_EXECUTABLE, "", "it is a directory");
	expect(&plain, EXEC_NOT_EXECUTABLE, "", "it is not executable");
}

static void the_id_is_exec_or_what_was_asked_for(void **state)
{
	(void)state;
	expect(SH("printf \"$TASKIFACE_ID\" >" OUT), 0, "exec", "");
	expect(SH("printf \"$TASKIFACE_ID\" >" OUT, .options.id = "a b"), 0, "a b", "");
}

/* Programs such as those of a Python environment are what they are by the name they are called by.
 */
static void a_link_is_not_followed(void **state)
{
	char target[512], link[512];
	(void)state;
	snprintf(target, sizeof(target), "%s", in_place("target"));
	snprintf(link, sizeof(link), "%s/../%s/link", place, strrchr(place, '/') + 1);
	write_script(target, "#!/bin/sh\nprintf \"${0##*/}\" >" OUT "\n");
	assert_int_equal(symlink(target, in_place("link")), 0);
	struct run run = { .options = { .program = link }, .n_files = 2 };
	expect(&run, 0, "link", "");
	unlink(target);
	struct run dangling = { .options = { .program = link }, .n_files = 1 };
	expect(&dangling, EXEC_NOT_FOUND, "", "/link' was not found: No such file");
	unlink(in_place("link"));
}

static void arguments_stand_before_those_of_the_pipes(void **state)
{
	static const enum pipe_arguments underscores = PIPE_ARGUMENTS_UNDERSCORES;
	struct run run = { .options = { .program = roles_self(), .pipe_arguments = &underscores },
		.arguments = { "role", "report", "a b", "" } };
	(void)state;
	expect(&run, 0, "", "arg a b\narg \narg --id\narg exec\narg --input_pipe\n");
}

/* A catalogue with one entry, "sh", that runs @script with @shell. */
static struct program_set catalogue_of(const char *shell, const char *script)
{
	struct program_set set = { .programs = calloc(1, sizeof(struct program)), .n_programs = 1 };
	struct program *program = &set.programs[0];
	program->name = strdup("sh");
	program->argv = calloc(4, sizeof(char *));
	program->argv[0] = strdup(shell);
	program->argv[1] = strdup("-c");
	program->argv[2] = strdup(script);
	program->environment = calloc(1, sizeof(char *));
	return set;
}

static void the_catalogue_is_asked_first(void **state)
{
	static const enum pipe_arguments none = PIPE_ARGUMENTS_NONE;
	static const char script[] = "printf \"of the catalogue: $1 $2\" >" OUT;
	struct run run = { .options = { .program = "sh" },
		.arguments = { "zero", "one" },
		.config.catalogue = catalogue_of("/bin/sh", script) };
	(void)state;
	expect(&run, 0, "of the catalogue: one --id", "");
	program_set_deinit(&run.config.catalogue);
	/* What is said on the command line counts more. */
	struct run other = { .options = { .program = "sh", .pipe_arguments = &none },
		.arguments = { "zero", "one" },
		.config.catalogue = catalogue_of("/bin/sh", script) };
	expect(&other, 0, "of the catalogue: one ", "");
	program_set_deinit(&other.config.catalogue);
}

static void an_entry_is_not_replaced_by_a_file_of_its_name(void **state)
{
	struct run run = { .options = { .program = "sh" },
		.config.catalogue = catalogue_of("no-such-shell", "") };
	(void)state;
	expect(&run, EXEC_NOT_FOUND, "", "'no-such-shell' is in no directory of PATH");
	program_set_deinit(&run.config.catalogue);
}

static void a_signal_cancels_and_a_second_kills(void **state)
{
	static const char deaf[] = "trap '' TERM; echo ready >&2; while :; do sleep 0.02; done\n#";
	struct run second = { .options = { .program = "sh" },
		.arguments = { "-c", deaf },
		.stop_after_progress = 2 };
	(void)state;
	expect(SH("echo ready >&2; exec sleep 300", .stop_after_progress = 1), EXEC_CANCELLED, "",
		"\ntaskrunner: cancelling; once more");
	expect(&second, EXEC_CANCELLED, "", "taskrunner: the task was cancelled; wall ");
}

static void an_output_that_cannot_be_written_is_a_failure(void **state)
{
	(void)state;
	expect(SH("printf x >" OUT, .no_stdout = true), EXEC_FAILED, "",
		"taskrunner: the task succeeded, but its output cannot be written: No space left");
}

/* Nothing can be told, but the work is done and the output is there. */
static void a_full_disk_under_stderr_is_no_failure(void **state)
{
	(void)state;
	expect(SH("echo said; printf x >" OUT, .no_stderr = true), 0, "x", "");
	expect(SH("echo said; exit 3", .no_stderr = true), 3, "", "");
}

/* ---- readers of stderr ---- */

/* A run whose stderr is a pipe. Gives its reading end. */
static int start_with_pipe(struct run *run, pid_t *ret)
{
	int fds[2], nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	*ret = start(run, nothing, nothing, fds[1]);
	close(nothing);
	close(fds[1]);
	return fds[0];
}

static void when_nobody_reads_it_ends(void **state)
{
	struct run *const runs[] = { SH("yes"), SH("while :; do echo x >" PRO "; done") };
	(void)state;
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		pid_t pid;
		close(start_with_pipe(runs[i], &pid));
		assert_int_equal(await(pid), EXEC_FAILED);
		assert_int_equal(count_entries(place), 0);
	}
}

/* Waits until the pipe takes no more. */
static void wait_until_full(int fd)
{
	int unread = 0, before = -1;
	for (unsigned waited = 0; unread == 0 || unread != before; waited += 50) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(50);
		before = unread;
		ioctl(fd, FIONREAD, &unread);
	}
}

/* Of the one run that there is: its directory has one for the task. */
static void wait_until_no_task_is_left(void)
{
	char path[512] = "";
	DIR *d = opendir(place);
	for (struct dirent *entry; d && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			snprintf(path, sizeof(path), "%s", in_place(entry->d_name));
	closedir(d);
	assert_true(path[0]);
	for (unsigned waited = 0; count_entries(path) > 0; waited += 5) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(5);
	}
}

static void read_all_of(int fd, struct buf *ret)
{
	char bytes[65536];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		assert_int_equal(buf_append(ret, bytes, (size_t)n), 0);
	assert_int_equal(buf_append(ret, "", 1), 0);
	close(fd);
}

/* A program that floods stderr, which nobody reads, until it is ended; only then it is read. Its
 * own pid is the first thing that it says. */
static void flood_unread(struct run *run, int signal, int status, const char *last_words)
{
	pid_t pid, flooder;
	struct buf said = { 0 };
	char first[16] = "";
	int fd = start_with_pipe(run, &pid);
	for (size_t i = 0; i + 1 < sizeof(first); i++)
		if (read(fd, &first[i], 1) != 1 || first[i] == '\n')
			break;
	flooder = (pid_t)atol(first);
	assert_true(flooder > 0);
	wait_until_full(fd);
	if (signal)
		kill(pid, signal);
	wait_until_dead(flooder);
	wait_until_no_task_is_left();
	read_all_of(fd, &said);
	assert_int_equal(await(pid), status);
	if (!strstr(said.data, last_words))
		fail_msg("'%s' is not in '%s'", last_words, said.data + said.len - 300);
	assert_int_equal(count_entries(place), 0);
	buf_deinit(&said);
}

static void a_slow_reader_keeps_nothing_from_ending(void **state)
{
	(void)state;
	flood_unread(SH("echo $$; exec yes"), SIGINT, EXEC_CANCELLED, "\ntaskrunner: cancelling");
	flood_unread(SH("echo $$; exec yes"), SIGTERM, EXEC_CANCELLED,
		"\ntaskrunner: the task was cancelled");
	flood_unread(SH("echo $$; exec yes", .options.timeout_us = 300000), 0, EXEC_TIMED_OUT,
		"\ntaskrunner: the task failed (timed-out)");
	flood_unread(SH("echo $$; while :; do echo a line >" PRO "; done"), SIGINT, EXEC_CANCELLED,
		"\ntaskrunner: the task was cancelled");
}

/* What the program left holds the pipe for a while: that its end comes is seen though nobody reads.
 */
static void a_slow_reader_hides_no_end_of_file(void **state)
{
	(void)state;
	flood_unread(SH("echo $$; (trap 'sleep 0.3; exit' TERM; while :; do sleep 0.1; done) & "
			"exec yes"),
		SIGINT, EXEC_CANCELLED, "\ntaskrunner: the task was cancelled");
}

/* All of it arrives, in its order, however slowly it is read. */
static void a_slow_reader_loses_nothing(void **state)
{
	struct run *run = SH("seq 200000; echo end");
	struct buf said = { 0 }, expected = { 0 };
	pid_t pid;
	(void)state;
	int fd = start_with_pipe(run, &pid);
	wait_until_full(fd);
	read_all_of(fd, &said);
	assert_int_equal(await(pid), 0);
	for (int i = 1; i <= 200000; i++)
		buf_printf(&expected, "%d\n", i);
	buf_append(&expected, "end\n", 5);
	assert_int_equal(said.len, expected.len);
	assert_memory_equal(said.data, expected.data, said.len);
	buf_deinit(&said);
	buf_deinit(&expected);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_goes_to_stdout_and_the_rest_to_stderr),
		cmocka_unit_test(input_comes_from_a_file_or_stdin),
		cmocka_unit_test(input_over_the_limit_is_refused),
		cmocka_unit_test(progress_is_shown_as_taskctl_shows_it),
		cmocka_unit_test(what_it_says_begins_a_line_of_its_own),
		cmocka_unit_test(the_status_is_that_of_the_program),
		cmocka_unit_test(a_task_that_we_end_has_failed),
		cmocka_unit_test(what_cannot_be_run_says_so),
		cmocka_unit_test(the_id_is_exec_or_what_was_asked_for),
		cmocka_unit_test(a_link_is_not_followed),
		cmocka_unit_test(arguments_stand_before_those_of_the_pipes),
		cmocka_unit_test(the_catalogue_is_asked_first),
		cmocka_unit_test(an_entry_is_not_replaced_by_a_file_of_its_name),
		cmocka_unit_test(a_signal_cancels_and_a_second_kills),
		cmocka_unit_test(an_output_that_cannot_be_written_is_a_failure),
		cmocka_unit_test(a_full_disk_under_stderr_is_no_failure),
		cmocka_unit_test(when_nobody_reads_it_ends),
		cmocka_unit_test(a_slow_reader_keeps_nothing_from_ending),
		cmocka_unit_test(a_slow_reader_hides_no_end_of_file),
		cmocka_unit_test(a_slow_reader_loses_nothing),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("exec", tests, place_make, place_remove);
}
