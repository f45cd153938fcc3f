/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a task through real programs: pipes, input, output, progress, texts, exit. */
#include "tests/unit/engine_fixture.h"

#include "common/log.h"
#include "runner/signals.h"
#include "tests/unit/roles.h"

#define IN  "\"$TASKIFACE_INPUT_PIPE\""
#define OUT "\"$TASKIFACE_OUTPUT_PIPE\""
#define PRO "\"$TASKIFACE_PROGRESS_PIPE\""

/* ---- input ---- */

static void echo_of(struct world *w, struct slice input)
{
	struct seen *seen = submit(w, &(struct job){ .role = { "echo" }, .input = input });
	expect_success(w, seen, NULL);
	assert_int_equal(seen->output.len, input.len);
	if (input.len)
		assert_memory_equal(seen->output.data, input.data, input.len);
	assert_int_equal(seen->n_progress, 0);
}

static void input_of_any_size_comes_back_exactly(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20,
		10 << 20 };
	char *bytes = noise(10 << 20);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		echo_of(*state, (struct slice){ bytes, sizes[i] });
	free(bytes);
}

static void every_byte_value_passes(void **state)
{
	char bytes[256];
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	echo_of(*state, (struct slice){ bytes, 256 });
}

static void input_that_is_never_read_is_no_matter(void **state)
{
	char *bytes = noise(8 << 20);
	struct seen *seen = submit(*state, &(struct job){
						   .sh = "printf done >" OUT,
						   .input = { bytes, 8 << 20 },
					   });
	expect_success(*state, seen, "done");
	free(bytes);
}

static void input_that_is_read_in_part_is_no_matter(void **state)
{
	char *bytes = noise(1 << 20);
	struct seen *seen =
		submit(*state, &(struct job){
				       .sh = "head -c 3 <" IN " | wc -c | tr -d ' \\n' >" OUT,
				       .input = { bytes, 1 << 20 },
			       });
	expect_success(*state, seen, "3");
	free(bytes);
}

static void input_that_is_opened_and_closed_is_no_matter(void **state)
{
	struct seen *seen =
		submit(*state, &(struct job){
				       .sh = "exec 3<" IN "; exec 3<&-; printf fine >" OUT,
				       .input = slice_of("unread"),
			       });
	expect_success(*state, seen, "fine");
}

static void input_may_be_opened_late(void **state)
{
	struct seen *seen = submit(
		*state, &(struct job){
				.sh = "printf 'begun\\n' >" PRO "; sleep 0.1; cat " IN " >" OUT,
				.input = slice_of("patience"),
			});
	expect_success(*state, seen, "patience");
	assert_int_equal(seen->n_progress, 1);
}

static void input_reaches_a_background_process(void **state)
{
	struct seen *seen = submit(
		*state, &(struct job){
				.sh = "exec 5>" OUT "; { sleep 0.1; cat " IN " >&5; } & exit 0",
				.input = slice_of("carried"),
			});
	expect_success(*state, seen, "carried");
}

/* ---- output ---- */

static void no_pipe_needs_to_be_opened(void **state)
{
	expect_success(*state, submit_sh(*state, "exit 0"), "");
	expect_success(*state, submit(*state, &(struct job){ .path = "/bin/true" }), "");
}

static void output_may_be_opened_several_times(void **state)
{
	struct seen *seen =
		submit_sh(*state, "printf one >" OUT "; sleep 0.05; printf ', two' >" OUT
				  "; : >" OUT "; printf ', three' >" OUT);
	expect_success(*state, seen, "one, two, three");
}

/* Many times over: the exit comes right behind the last byte. */
static void output_before_an_exit_at_once_is_kept(void **state)
{
	for (int i = 0; i < 50; i++)
		expect_success(
			*state, submit_sh(*state, "printf result >" OUT "; kill -0 $$"), "result");
}

static void large_output_before_an_exit_at_once_is_kept(void **state)
{
	for (int i = 0; i < 5; i++) {
		struct seen *seen = submit_sh(*state, "head -c 3000000 /dev/zero >" OUT);
		expect_success(*state, seen, NULL);
		assert_int_equal(seen->output.len, 3000000);
	}
}

static void pipes_can_be_used_in_any_order(void **state)
{
	struct seen *seen =
		submit(*state, &(struct job){
				       .sh = "exec 5>" OUT "; printf a >&5; exec 6>" PRO
					     "; printf '{\"p\":1}' >&6; "
					     "printf err >&2; i=$(cat " IN
					     "); printf '{\"p\":2}' >&6; printf \"$i\" >&5; "
					     "printf out; exec 6>&-; printf c >&5",
				       .input = slice_of("b"),
			       });
	expect_success(*state, seen, "abc");
	assert_int_equal(seen->n_progress, 2);
	assert_int_equal(seen->progress.len, 16);
	assert_memory_equal(seen->text[0].data, "out", 3);
	assert_memory_equal(seen->text[1].data, "err", 3);
}

static void output_of_a_failure_is_not_given(void **state)
{
	struct seen *seen = submit_sh(*state, "printf half >" OUT "; exit 3");
	expect_failure(*state, seen, CAUSE_EXITED, "exited with code 3");
	assert_int_equal(seen->outcome.exit_code, 3);
	assert_int_equal(seen->output.len, 0);
}

/* ---- progress ---- */

static void progress_is_one_record_per_write(void **state)
{
	struct seen *seen = submit_sh(*state,
		"for i in 1 2 3 4 5; do printf '{\"step\":%d}' $i >" PRO "; done; printf ok >" OUT);
	expect_success(*state, seen, "ok");
	buf_append(&seen->progress, "", 1);
	assert_string_equal(seen->progress.data,
		"{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n{\"step\":5}\n");
}

static void progress_through_many_opens_is_whole(void **state)
{
	struct seen *seen = submit(*state, &(struct job){ .role = { "reopen", "500" } });
	expect_success(*state, seen, "");
	assert_int_equal(seen->n_progress, 500);
}

static void a_word_without_newline_is_a_record_when_it_is_closed(void **state)
{
	struct seen *seen = submit_sh(*state, "printf compiling >" PRO "; exec sleep 300");
	run_until_progress(*state, seen, 1);
	assert_int_equal(seen->progress.len, 10);
	assert_memory_equal(seen->progress.data, "compiling\n", 10);
	assert_true(engine_stop(((struct world *)*state)->engine, seen->task, CAUSE_CANCELLED));
	expect_failure(*state, seen, CAUSE_CANCELLED, "cancelled");
}

static void progress_and_exit_at_once_is_kept(void **state)
{
	for (int i = 0; i < 30; i++) {
		struct seen *seen = submit_sh(*state, "printf last >" PRO "; kill -0 $$");
		expect_success(*state, seen, "");
		assert_int_equal(seen->n_progress, 1);
	}
}

static void garbage_as_progress_is_lines(void **state)
{
	struct seen *seen = submit_sh(
		*state, "printf '\\377\\376\\001\\n[1/10] x\\n{broken\\n\\202\\377\\377\\n' >" PRO);
	expect_success(*state, seen, "");
	assert_int_equal(seen->n_progress, 4);
}

static void done_ends_the_progress_and_nothing_else(void **state)
{
	struct seen *seen = submit_sh(
		*state, "printf '{\"a\":1}{\"done\":true}{\"b\":2}' >" PRO "; printf late >" OUT);
	expect_success(*state, seen, "late");
	assert_int_equal(seen->n_progress, 1);
}

static void a_declared_failure_counts_whatever_the_exit(void **state)
{
	static const char fail[] =
		"printf '{\"taskiface\":\"fail\",\"kind\":\"data\",\"message\":"
		"\"column 3 is empty\"}' >" PRO "; printf half >" OUT "; exit $CODE";
	char *codes[] = { (char *)"CODE=0", (char *)"CODE=7" };
	for (int i = 0; i < 2; i++) {
		char *environment[] = { codes[i], NULL };
		struct seen *seen =
			submit(*state, &(struct job){ .sh = fail, .environment = environment });
		expect_failure(*state, seen, CAUSE_EXITED, "column 3 is empty");
		assert_string_equal(seen->outcome.kind, "data");
		assert_int_equal(seen->outcome.exit_code, i ? 7 : 0);
		assert_int_equal(seen->n_progress, 0); /* not for the requester */
	}
}

static void a_record_over_the_limit_breaks_the_protocol(void **state)
{
	struct world *w = *state;
	struct seen *seen;
	w->config.limits.progress_record = 1000;
	seen = submit_sh(w, "head -c 1000 /dev/zero | tr '\\0' x >" PRO "; printf ok >" OUT);
	expect_success(w, seen, "ok");
	assert_int_equal(seen->progress.len, 1001);
	seen = submit_sh(w, "head -c 1001 /dev/zero | tr '\\0' x >" PRO "; exec sleep 300");
	expect_failure(w, seen, CAUSE_PROTOCOL_ERROR, "longer than the 1000");
	assert_int_equal(seen->n_progress, 0);
	/* Told by the exit alone: there is no newline and no close before it. */
	seen = submit_sh(w, "exec 5>" PRO "; head -c 1001 /dev/zero | tr '\\0' x >&5");
	expect_failure(w, seen, CAUSE_PROTOCOL_ERROR, "longer than the 1000");
	seen = submit(w, &(struct job){ .role = { "flood", "progress" } });
	expect_failure(w, seen, CAUSE_PROTOCOL_ERROR, "longer than the 1000");
}

/* ---- stdout and stderr ---- */

static void texts_are_told_and_their_ends_kept(void **state)
{
	struct world *w = *state;
	struct buf tail = { 0 };
	struct seen *seen;
	w->config.limits.stderr_tail = 10;
	seen = submit_sh(w, "printf 'to stdout'; printf '0123456789abcdef' >&2; printf r >" PRO
			    "; exec sleep 300");
	run_until_progress(w, seen, 1);
	while (seen->text[0].len < 9 || seen->text[1].len < 16)
		run_for_ms(w, 1);
	assert_memory_equal(seen->text[0].data, "to stdout", 9);
	assert_memory_equal(seen->text[1].data, "0123456789abcdef", 16);
	assert_int_equal(task_text(seen->task, PIPE_STDOUT, &tail), 0);
	assert_int_equal(task_text(seen->task, PIPE_STDERR, &tail), 0);
	assert_int_equal(tail.len, 19);
	assert_memory_equal(tail.data, "to stdout6789abcdef", 19);
	buf_deinit(&tail);
	engine_stop(w->engine, seen->task, CAUSE_CANCELLED);
	run_until_final(w, seen);
}

static void last_words_of_the_killed_are_told(void **state)
{
	struct seen *seen = submit_sh(*state, "printf 'going down' >&2; kill -KILL $$");
	expect_failure(*state, seen, CAUSE_KILLED, "signal 9 (SIGKILL)");
	assert_int_equal(seen->text[1].len, 10);
}

/* ---- how it ends ---- */

static void every_exit_code_is_told(void **state)
{
	static const int codes[] = { 1, 2, 7, 126, 127, 128, 137, 143, 254, 255 };
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		char script[32], text[64];
		snprintf(script, sizeof(script), "exit %d", codes[i]);
		snprintf(text, sizeof(text), "exited with code %d", codes[i]);
		struct seen *seen = submit_sh(*state, script);
		expect_failure(*state, seen, CAUSE_EXITED, text);
		assert_int_equal(seen->outcome.exit_code, codes[i]);
		assert_int_equal(seen->outcome.signal, 0);
	}
}

static bool ends_a_process(int signal)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
		SIGURG, SIGWINCH };
	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		if (signal == harmless[i])
			return false;
	/* Those between belong to the C library. */
	return signal < 32 || signal >= SIGRTMIN;
}

static void every_signal_is_told(void **state)
{
	for (int signal = 1; signal < NSIG; signal++) {
		char number[16], text[32];
		if (!ends_a_process(signal))
			continue;
		snprintf(number, sizeof(number), "%d", signal);
		snprintf(text, sizeof(text), "killed by signal %d", signal);
		struct seen *seen = submit(*state, &(struct job){ .role = { "signal", number } });
		expect_failure(*state, seen, CAUSE_KILLED, text);
		assert_int_equal(seen->outcome.signal, signal);
		assert_int_equal(seen->outcome.exit_code, -1);
	}
}

static void use_of_the_machine_is_told(void **state)
{
	struct seen *seen =
		submit_sh(*state, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.1");
	expect_success(*state, seen, "");
	assert_true(seen->outcome.wall_us >= 100000);
	assert_true(seen->outcome.cpu_us > 0);
	assert_true(seen->outcome.cpu_us < seen->outcome.wall_us * 4);
	assert_true(seen->outcome.peak_memory > 100000);
}

/* ---- what does not even start ---- */

static void expect_not_started(struct world *w, const char *path, const char *text, int error)
{
	struct seen *seen = submit(w, &(struct job){ .path = path });
	expect_failure(w, seen, CAUSE_EXEC_FAILED, text);
	assert_int_equal(seen->outcome.error, error);
	assert_int_equal(seen->outcome.exit_code, -1);
	assert_int_equal(seen->n_running, 0);
}

static char *make_file(struct world *w, const char *content, mode_t mode)
{
	char *path = NULL;
	assert_true(asprintf(&path, "%s/../test-engine-file-%d", w->directory, (int)getpid()) > 0);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void drop_file(char *path)
{
	unlink(path);
	free(path);
}

static void what_cannot_be_executed_says_why(void **state)
{
	struct world *w = *state;
	char *path;
	if (exec_errors_are_lost())
		return; /* under valgrind alone; see test_spawn */
	expect_not_started(
		w, "/nonexistent/program", "/nonexistent/program does not exist", ENOENT);
	expect_not_started(w, "/", "it is a directory", EACCES);
	path = make_file(w, "x", 0600);
	expect_not_started(w, path, "it is not executable", EACCES);
	drop_file(path);
	path = make_file(w, "#!/nonexistent/interpreter\n", 0700);
	expect_not_started(
		w, path, "the interpreter that its first line names does not exist", ENOENT);
	drop_file(path);
	path = make_file(w,
		"\x7f"
		"ELF nonsense",
		0700);
	expect_not_started(w, path, "neither a binary for this machine nor a script", ENOEXEC);
	drop_file(path);
	path = make_file(w, "", 0700);
	expect_not_started(w, path, "ENOEXEC", ENOEXEC);
	drop_file(path);
}

static void a_missing_working_directory_says_so(void **state)
{
	struct seen *seen;
	if (exec_errors_are_lost())
		return;
	seen = submit(*state, &(struct job){ .path = "/bin/true", .directory = "/nonexistent" });
	expect_failure(*state, seen, CAUSE_EXEC_FAILED, "working directory could not be entered");
}

static void pipes_that_cannot_be_made_say_so(void **state)
{
	struct world *w = *state;
	char path[128];
	snprintf(path, sizeof(path), "%s/taken", w->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	struct seen *seen = submit(w, &(struct job){ .id = "taken", .sh = "exit 0" });
	expect_failure(w, seen, CAUSE_EXEC_FAILED, "pipes could not be made");
	assert_int_equal(seen->outcome.error, EEXIST);
	assert_int_equal(rmdir(path), 0); /* it was not ours to remove */
}

static void the_same_id_twice_is_refused(void **state)
{
	struct world *w = *state;
	struct seen *first = submit(w, &(struct job){ .id = "twin", .sh = "cat " IN, .name = "p" });
	struct seen *second = NULL;
	assert_int_equal(
		try_submit(w, &(struct job){ .id = "twin", .sh = "exit 0" }, &second), -EEXIST);
	expect_success(w, first, "");
	/* Free again. */
	expect_success(w, submit(w, &(struct job){ .id = "twin", .sh = "exit 0" }), "");
}

/* ---- what a program is given ---- */

static struct seen *report(struct world *w, const struct job *with)
{
	struct job job = *with;
	job.role[0] = "report";
	struct seen *seen = submit(w, &job);
	expect_success(w, seen, NULL);
	buf_append(&seen->text[0], "", 1);
	return seen;
}

static void assert_told(struct seen *seen, const char *line)
{
	char *with_newline = NULL;
	assert_true(asprintf(&with_newline, "\n%s\n", line) > 0);
	if (!strstr(seen->text[0].data, with_newline))
		fail_msg("'%s' is not in:\n%s", line, seen->text[0].data);
	free(with_newline);
}

static void assert_not_told(struct seen *seen, const char *text)
{
	if (strstr(seen->text[0].data, text))
		fail_msg("'%s' is in:\n%s", text, seen->text[0].data);
}

static void arguments_are_spelled_as_asked(void **state)
{
	struct world *w = *state;
	const char *dir = w->directory;
	char expected[512];
	for (int i = 0; i < 2; i++) {
		char c = i == PIPE_ARGUMENTS_HYPHENS ? '-' : '_';
		struct seen *seen = report(w, &(struct job){ .id = "i d", .pipe_arguments = i });
		snprintf(expected, sizeof(expected),
			"arg --id\narg i d\narg --input%cpipe\narg %s/i d/input\narg "
			"--output%cpipe\n"
			"arg %s/i d/output\narg --progress%cpipe\narg %s/i d/progress\nenv",
			c, dir, c, dir, c, dir);
		if (!strstr(seen->text[0].data, expected))
			fail_msg("no\n%s in\n%s", expected, seen->text[0].data);
	}
	struct seen *seen = report(w, &(struct job){ .pipe_arguments = PIPE_ARGUMENTS_NONE });
	assert_not_told(seen, "arg ");
}

static void the_environment_is_as_promised(void **state)
{
	struct world *w;
	char *own[] = { (char *)"TR_TEST_BOTH=entry", (char *)"TR_TEST_ENTRY=e=1", NULL };
	char line[256];
	(void)state;
	setenv("TR_TEST_BOTH", "runner", 1);
	setenv("TR_TEST_RUNNER", "r", 1);
	setenv("TASKRUNNER_BROKER_PASSWORD", "secret-1", 1);
	setenv("TERARIUM_MQ_PASSWORD", "secret-2", 1);
	setenv("NOTIFY_SOCKET", "/secret-3", 1);
	setenv("TASKIFACE_ID", "of-a-runner-in-a-task", 1);
	setenv("TASKRUNNER_DEBUG", "1", 1);
	w = world_prepare();
	world_start(w);
	struct seen *seen = report(w, &(struct job){ .id = "env",
					      .environment = own,
					      .timeout_ms = 90000,
					      .pipe_arguments = PIPE_ARGUMENTS_NONE });
	assert_told(seen, "env TR_TEST_BOTH=entry");
	assert_told(seen, "env TR_TEST_ENTRY=e=1");
	assert_told(seen, "env TR_TEST_RUNNER=r");
	assert_told(seen, "env TASKRUNNER_DEBUG=1");
	assert_told(seen, "env TASKIFACE_ID=env");
	assert_told(seen, "env TASKIFACE_ENCODING=json");
	assert_told(seen, "env TASKIFACE_ATTEMPT=1");
	assert_told(seen, "env TASKIFACE_GRACE_MS=10000");
	assert_told(seen, "env TASKIFACE_TIMEOUT_MS=90000");
	snprintf(line, sizeof(line), "env TASKIFACE_INPUT_PIPE=%s/env/input", w->directory);
	assert_told(seen, line);
	snprintf(line, sizeof(line), "env TASKRUNNER_TASK=%s/1", w->instance);
	assert_told(seen, line);
	snprintf(line, sizeof(line), "cwd %s/env", w->directory);
	assert_told(seen, line);
	assert_not_told(seen, "secret");
	assert_not_told(seen, "TR_TEST_BOTH=runner");
	assert_not_told(seen, "of-a-runner-in-a-task");
	static const char *const set[] = { "TR_TEST_BOTH", "TR_TEST_RUNNER",
		"TASKRUNNER_BROKER_PASSWORD", "TERARIUM_MQ_PASSWORD", "NOTIFY_SOCKET",
		"TASKIFACE_ID", "TASKRUNNER_DEBUG" };
	for (size_t i = 0; i < sizeof(set) / sizeof(*set); i++)
		unsetenv(set[i]);
	void *done = w;
	world_close(&done);
}

static void descriptors_are_the_three_and_no_other(void **state)
{
	/* Not close-on-exec: what a careless library may leave open. */
	int stray = dup2(STDERR_FILENO, 100);
	struct seen *seen = report(*state, &(struct job){ 0 });
	close(stray);
	assert_told(seen, "fd 0 /dev/null");
	assert_told(seen, "fd 1 pipe");
	assert_told(seen, "fd 2 pipe");
	unsigned n = 0;
	for (const char *at = seen->text[0].data; (at = strstr(at, "\nfd ")); at++)
		n++;
	assert_int_equal(n, 3);
	assert_told(seen, "leads session group");
	assert_told(seen, "death 9");
	assert_not_told(seen, "blocked ");
	assert_not_told(seen, "ignored ");
}

/* What a program leaves in its private directory goes with it. */
static void the_private_directory_is_removed_whole(void **state)
{
	expect_success(*state,
		submit_sh(*state, "mkdir -p a/b/c && echo x >a/b/c/f && ln -s / link && chmod 000 "
				  "a/b/c a/b a && "
				  "rm -f input && mv progress renamed && mkfifo more"),
		"");
	assert_int_equal(count_entries(((struct world *)*state)->directory), 0);
}

int main(int argc, char **argv)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(input_of_any_size_comes_back_exactly),
		WITH_WORLD(every_byte_value_passes),
		WITH_WORLD(input_that_is_never_read_is_no_matter),
		WITH_WORLD(input_that_is_read_in_part_is_no_matter),
		WITH_WORLD(input_that_is_opened_and_closed_is_no_matter),
		WITH_WORLD(input_may_be_opened_late),
		WITH_WORLD(input_reaches_a_background_process),
		WITH_WORLD(no_pipe_needs_to_be_opened),
		WITH_WORLD(output_may_be_opened_several_times),
		WITH_WORLD(output_before_an_exit_at_once_is_kept),
		WITH_WORLD(large_output_before_an_exit_at_once_is_kept),
		WITH_WORLD(pipes_can_be_used_in_any_order),
		WITH_WORLD(output_of_a_failure_is_not_given),
		WITH_WORLD(progress_is_one_record_per_write),
		WITH_WORLD(progress_through_many_opens_is_whole),
		WITH_WORLD(a_word_without_newline_is_a_record_when_it_is_closed),
		WITH_WORLD(progress_and_exit_at_once_is_kept),
		WITH_WORLD(garbage_as_progress_is_lines),
		WITH_WORLD(done_ends_the_progress_and_nothing_else),
		WITH_WORLD(a_declared_failure_counts_whatever_the_exit),
		WITH_WORLD(a_record_over_the_limit_breaks_the_protocol),
		WITH_WORLD(texts_are_told_and_their_ends_kept),
		WITH_WORLD(last_words_of_the_killed_are_told),
		WITH_WORLD(every_exit_code_is_told),
		WITH_WORLD(every_signal_is_told),
		WITH_WORLD(use_of_the_machine_is_told),
		WITH_WORLD(what_cannot_be_executed_says_why),
		WITH_WORLD(a_missing_working_directory_says_so),
		WITH_WORLD(pipes_that_cannot_be_made_say_so),
		WITH_WORLD(the_same_id_twice_is_refused),
		WITH_WORLD(arguments_are_spelled_as_asked),
		cmocka_unit_test(the_environment_is_as_promised),
		WITH_WORLD(descriptors_are_the_three_and_no_other),
		WITH_WORLD(the_private_directory_is_removed_whole),
	};
	int role = roles_play(argc, argv);
	if (role >= 0)
		return role;
	log_set_level(LOG_ERROR);
	signals_prepare();
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
