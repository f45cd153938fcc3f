/* SPDX-License-Identifier: Apache-2.0 */
/* `taskrunner exec` without its command line: what goes where, and the exit status. */
#include "tests/unit/engine_fixture.h"

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
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", place, name);
	return path;
}

/* One run: what goes in, what came out. */
struct run {
	struct exec_options options;
	struct config config;
	const char *arguments[8];
	struct slice stdin_text;
	int stop_after_progress; /* signals to send once the program has said something */
	bool no_stdout;
	int status;
	struct buf out, err;
};

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

static void run_it(struct run *run)
{
	int in = open_in_place("in"), out = open_in_place("out"), err = open_in_place("err"),
	    status;
	run->config.run_directory = place;
	if (!run->config.limits.grace_us)
		run->config.limits.grace_us = 3600000000;
	run->config.limits.drain_us = 5000000;
	if (!run->config.limits.input)
		run->config.limits.input = 1 << 20;
	run->config.limits.output = run->config.limits.progress_record = 1 << 20;
	assert_int_equal(write(in, run->stdin_text.data, run->stdin_text.len), run->stdin_text.len);
	lseek(in, 0, SEEK_SET);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in, STDIN_FILENO);
		dup2(run->no_stdout ? open("/dev/full", O_WRONLY) : out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		status = play(run);
		fflush(NULL);
		_exit(status);
	}
	if (run->stop_after_progress)
		signal_when_it_speaks(pid, err, run->stop_after_progress);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	run->status = WEXITSTATUS(status);
	close(in);
	unlink(in_place("in"));
	read_back(out, "out", &run->out);
	read_back(err, "err", &run->err);
	assert_int_equal(count_entries(place), 0); /* no directory is left */
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
	assert_non_null(strstr(run->err.data, "progress: {\"p\":1}\n"));
	assert_non_null(strstr(run->err.data, "said\n"));
	assert_non_null(strstr(run->err.data, "cried\n"));
	forget(run);
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
		"the input /nonexistent could not be read: No such file");
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
		EXEC_FAILED, "", "the input - is larger than limits.input");
	free(bytes);
}

static void the_status_is_that_of_the_program(void **state)
{
	(void)state;
	expect(SH("exit 0"), 0, "", "");
	expect(SH("exit 7"), 7, "", "exited with code 7");
	expect(SH("exit 255"), 255, "", "exited with code 255");
	expect(SH("kill -SEGV $$"), 128 + SIGSEGV, "", "signal 11");
	expect(SH("exec sleep 300", .options.timeout_us = 50000), EXEC_TIMED_OUT, "", "timed out");
	expect(SH("printf '{\"taskiface\":\"fail\",\"kind\":\"data\",\"message\":\"no\"}' >" PRO),
		EXEC_FAILED, "", "FAILED: no [data]");
	expect(SH("head -c 2000000 /dev/zero >" OUT "; exec sleep 300"), 128 + SIGTERM, "",
		"too large");
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

static void an_id_that_cannot_be_one_is_refused(void **state)
{
	static const char *const ids[] = { "a/b", "", ".", ".." };
	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		expect(SH("exit 0", .options.id = ids[i]), EXEC_USAGE, "", "cannot be an id");
	expect(SH("printf \"$TASKIFACE_ID\" >" OUT, .options.id = "a b"), 0, "a b", "");
}

static void arguments_stand_before_those_of_the_pipes(void **state)
{
	struct run run = { .options = { .program = roles_self(),
				   .pipe_arguments = PIPE_ARGUMENTS_UNDERSCORES },
		.arguments = { "role", "report", "a b", "" } };
	(void)state;
	expect(&run, 0, "", "arg a b\narg \narg --id\narg exec\narg --input_pipe\n");
}

static void the_catalogue_is_asked_first(void **state)
{
	struct program_set set = { .programs = calloc(1, sizeof(struct program)), .n_programs = 1 };
	struct program *program = &set.programs[0];
	(void)state;
	program->name = strdup("sh");
	program->argv = calloc(4, sizeof(char *));
	program->argv[0] = strdup("/bin/sh");
	program->argv[1] = strdup("-c");
	program->argv[2] = strdup("printf \"of the catalogue: $1\" >\"$TASKIFACE_OUTPUT_PIPE\"");
	program->environment = calloc(1, sizeof(char *));
	struct run run = { .options = { .program = "sh" },
		.arguments = { "zero", "one" },
		.config.catalogue = set };
	expect(&run, 0, "of the catalogue: one", "");
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
		"taskrunner: cancelling\n");
	expect(&second, EXEC_CANCELLED, "", "CANCELLED");
}

static void an_output_that_cannot_be_written_is_a_failure(void **state)
{
	(void)state;
	expect(SH("printf x >" OUT, .no_stdout = true), EXEC_FAILED, "",
		"the output could not be written: No space left");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_goes_to_stdout_and_the_rest_to_stderr),
		cmocka_unit_test(input_comes_from_a_file_or_stdin),
		cmocka_unit_test(input_over_the_limit_is_refused),
		cmocka_unit_test(the_status_is_that_of_the_program),
		cmocka_unit_test(what_cannot_be_run_says_so),
		cmocka_unit_test(an_id_that_cannot_be_one_is_refused),
		cmocka_unit_test(arguments_stand_before_those_of_the_pipes),
		cmocka_unit_test(the_catalogue_is_asked_first),
		cmocka_unit_test(a_signal_cancels_and_a_second_kills),
		cmocka_unit_test(an_output_that_cannot_be_written_is_a_failure),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("exec", tests, place_make, place_remove);
}
