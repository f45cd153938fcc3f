/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, input and output. */
#include "tests/unit/taskiface_fixture.h"

static void clear_environment(void)
{
	static const char *const names[] = { "ID", "INPUT_PIPE", "OUTPUT_PIPE", "PROGRESS_PIPE",
		"ATTEMPT", "TIMEOUT_MS", "GRACE_MS" };
	char name[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(name, sizeof(name), "TASKIFACE_%s", names[i]);
		unsetenv(name);
	}
}

static int reset(void **state)
{
	(void)state;
	clear_environment();
	return 0;
}

/* --- bad and good arguments --- */

static void refuses_argument_without_value(void **state)
{
	static const char *const names[] = { "--id", "--input-pipe", "--output_pipe",
		"--progress-pipe", "--self-destruct-timeout-seconds" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *argv[] = { "p", "--id", "x", "-v", (char *)names[i], NULL };
		int argc = 5;
		struct taskiface *task = (void *)1;

		assert_int_equal(taskiface_open(&argc, argv, &task), -EINVAL);
		assert_int_equal(argc, 5);
		assert_string_equal(argv[1], "--id");
		assert_ptr_equal(task, (void *)1);
	}
}

static void refuses_bad_numbers(void **state)
{
	static const char *const values[] = { "x", "-1", "1x", " 1", "1.5",
		"99999999999999999999" };
	static const char *const names[] = { "TASKIFACE_ATTEMPT", "TASKIFACE_TIMEOUT_MS",
		"TASKIFACE_GRACE_MS" };
	struct taskiface *task;

	(void)state;
	for (size_t n = 0; n < 3; n++)
		for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
			setenv(names[n], values[i], 1);
			assert_int_equal(taskiface_open(NULL, NULL, &task), -EINVAL);
			unsetenv(names[n]);
		}
	setenv("TASKIFACE_ATTEMPT", "0", 1);
	assert_int_equal(taskiface_open(NULL, NULL, &task), -EINVAL);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		char *argv[] = { "p", "--self-destruct-timeout-seconds", (char *)values[i], NULL };
		int argc = 3;

		unsetenv("TASKIFACE_ATTEMPT");
		assert_int_equal(taskiface_open(&argc, argv, &task), -EINVAL);
	}
}

static void takes_its_own_arguments_only(void **state)
{
	char *argv[] = { "p", "-a", "--id=i=1", "--idle", "--input_pipe", "in", "rest",
		"--output-pipe=out", "--progress_pipe=pro", "--input", "--id-x", "--", "--id",
		"keep", NULL };
	int argc = 14;
	struct taskiface *task;
	static const char *const left[] = { "p", "-a", "--idle", "rest", "--input", "--id-x", "--",
		"--id", "keep" };

	(void)state;
	assert_int_equal(taskiface_open(&argc, argv, &task), 0);
	assert_int_equal(argc, 9);
	for (int i = 0; i < argc; i++)
		assert_string_equal(argv[i], left[i]);
	assert_null(argv[argc]);
	assert_string_equal(taskiface_id(task), "i=1");
	assert_int_equal(taskiface_close(task), 0);
}

static void takes_empty_argument_lists(void **state)
{
	char *argv[] = { NULL };
	int argc = 0;
	struct taskiface *task;

	(void)state;
	assert_int_equal(taskiface_open(&argc, argv, &task), 0);
	assert_string_equal(taskiface_id(task), "by-hand");
	assert_int_equal(taskiface_attempt(task), 1);
	assert_true(taskiface_time_left_ms(task) == TASKIFACE_NO_LIMIT);
	taskiface_close(task);
	assert_int_equal(taskiface_close(NULL), 0);
	assert_string_equal(taskiface_version(), TASKRUNNER_VERSION);
}

static void reads_the_environment_and_prefers_arguments(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char *argv[] = { "p", "--id", "argument", NULL };
	int argc = 3;

	(void)state;
	pipes_open(&p);
	setenv("TASKIFACE_ID", "variable", 1);
	setenv("TASKIFACE_INPUT_PIPE", p.input, 1);
	setenv("TASKIFACE_OUTPUT_PIPE", p.output, 1);
	setenv("TASKIFACE_PROGRESS_PIPE", p.progress, 1);
	setenv("TASKIFACE_ATTEMPT", "3", 1);
	setenv("TASKIFACE_TIMEOUT_MS", "60000", 1);
	assert_int_equal(taskiface_open(&argc, argv, &task), 0);
	assert_string_equal(taskiface_id(task), "argument");
	assert_int_equal(taskiface_attempt(task), 3);
	assert_true(taskiface_time_left_ms(task) > 0 && taskiface_time_left_ms(task) <= 60000);
	assert_int_equal(taskiface_write_all(task, "o", 1, 0), 0);
	pipes_expect(p.output_fd, "o");
	taskiface_close(task);

	assert_int_equal(taskiface_open(NULL, NULL, &task), 0);
	assert_string_equal(taskiface_id(task), "variable");
	taskiface_close(task);
	setenv("TASKIFACE_TIMEOUT_MS", "0", 1);
	setenv("TASKIFACE_ID", "", 1); /* empty counts as absent */
	assert_int_equal(taskiface_open(NULL, NULL, &task), 0);
	assert_true(taskiface_time_left_ms(task) == 0);
	assert_string_equal(taskiface_id(task), "by-hand");
	taskiface_close(task);
	pipes_close(&p);
}

/* --- input --- */

static void names_a_missing_pipe(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char byte;

	(void)state;
	pipes_make(&p);
	unlink(p.input);
	unlink(p.output);
	unlink(p.progress);
	task = pipes_task(&p);
	assert_int_equal(taskiface_read(task, &byte, 1, 0), -ENOENT);
	assert_int_equal(taskiface_write_all(task, "x", 1, 0), -ENOENT);
	assert_int_equal(taskiface_progress(task, 0, NULL, NULL), -ENOENT);
	assert_int_equal(taskiface_close(task), 0);
	pipes_close(&p);
}

static void waits_for_a_writer_that_comes_late(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char bytes[8];
	int writer;

	(void)state;
	pipes_make(&p);
	task = pipes_task(&p);
	/* Nobody has opened the pipe: that is no end of input. */
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), 0), -ETIMEDOUT);
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), 5), -ETIMEDOUT);
	writer = open(p.input, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(writer, "late", 4), 4);
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), SOON_MS), 4);
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), 0), -ETIMEDOUT);
	close(writer);
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), SOON_MS), 0);
	assert_int_equal(taskiface_read(task, bytes, sizeof(bytes), TASKIFACE_FOREVER), 0);
	assert_int_equal(taskiface_read(task, bytes, 0, 0), -EINVAL);
	taskiface_close(task);
	pipes_close(&p);
}

static void read_all_goes_on_after_timeout_and_bound(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char *data = NULL, bytes[2];
	size_t len = 77;

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	pipes_give(&p, "a\0b", 3);
	assert_int_equal(taskiface_read_all(task, 0, 1, &data, &len), -ETIMEDOUT);
	assert_int_equal(taskiface_read_all(task, 2, SOON_MS, &data, &len), -EMSGSIZE);
	assert_null(data);
	assert_int_equal(len, 77);
	/* A plain read takes from what came before; read_all gives the rest. */
	assert_int_equal(taskiface_read(task, bytes, 2, 0), 2);
	assert_memory_equal(bytes, "a\0", 2);
	pipes_give(&p, "cd", 2);
	pipes_shut(&p.input_fd);
	assert_int_equal(taskiface_read_all(task, 3, SOON_MS, &data, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "bcd", 4); /* with the NUL */
	free(data);
	/* Once more: there is nothing left, which is no error. */
	assert_int_equal(taskiface_read_all(task, 0, 0, &data, &len), 0);
	assert_int_equal(len, 0);
	assert_string_equal(data, "");
	free(data);
	taskiface_close(task);
	pipes_close(&p);
}

struct transfer {
	int fd;
	char *data;
	size_t len;
};

/* The other end of a pipe, blocking, as a thread. */
static void *feed(void *arg)
{
	struct transfer *t = arg;

	fcntl(t->fd, F_SETFL, 0);
	for (size_t done = 0; done < t->len;) {
		ssize_t n = write(t->fd, t->data + done, t->len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(t->fd);
	return NULL;
}

static void *collect(void *arg)
{
	struct transfer *t = arg;
	ssize_t n;

	fcntl(t->fd, F_SETFL, 0);
	t->data = malloc(16 << 20);
	for (t->len = 0; (n = read(t->fd, t->data + t->len, (16 << 20) - t->len)) > 0;)
		t->len += (size_t)n;
	return NULL;
}

static void moves_eight_mebibytes_both_ways(void **state)
{
	enum { SIZE = 8 << 20 };
	struct pipes p;
	struct taskiface *task;
	struct transfer in = { .len = SIZE }, out = { 0 };
	pthread_t feeder, collector;
	char *data;
	size_t len;

	(void)state;
	pipes_open(&p);
	in.data = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		in.data[i] = (char)(i * 2654435761u >> 13);
	in.fd = p.input_fd;
	out.fd = p.output_fd;
	p.input_fd = -1;
	pthread_create(&feeder, NULL, feed, &in);
	pthread_create(&collector, NULL, collect, &out);
	task = pipes_task(&p);
	assert_int_equal(taskiface_read_all(task, SIZE, SOON_MS, &data, &len), 0);
	assert_int_equal(len, SIZE);
	assert_memory_equal(data, in.data, SIZE);
	assert_int_equal(taskiface_write_all(task, data, len, SOON_MS), 0);
	pipes_shut(&p.output_keeper);
	pthread_join(feeder, NULL);
	pthread_join(collector, NULL);
	assert_int_equal(out.len, SIZE);
	assert_memory_equal(out.data, in.data, SIZE);
	free(data);
	free(in.data);
	free(out.data);
	taskiface_close(task);
	pipes_close(&p);
}

/* --- output --- */

static void writes_the_output_once(void **state)
{
	struct pipes p;
	struct taskiface *task;

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	assert_int_equal(taskiface_write_all(task, "a\0b", 3, 0), 0);
	assert_int_equal(taskiface_write_all(task, "c", 1, 0), -EALREADY);
	assert_int_equal(taskiface_write(task, "c", 1, 0), -EALREADY);
	assert_int_equal(taskiface_finish(task), 0);
	taskiface_close(task);
	pipes_shut(&p.output_keeper);
	size_t len;
	char *got = pipes_take(p.output_fd, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(got, "a\0b", 3);
	free(got);
	pipes_close(&p);
}

static void writes_the_output_in_pieces(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char byte;

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	assert_int_equal(taskiface_write(task, "one ", 4, 0), 4);
	assert_int_equal(taskiface_write(task, NULL, 0, 0), 0);
	assert_int_equal(taskiface_write_all(task, "x", 1, 0), -EALREADY);
	assert_int_equal(taskiface_write(task, "two", 3, 0), 3);
	pipes_expect(p.output_fd, "one two");
	pipes_shut(&p.output_keeper);
	assert_int_equal(read(p.output_fd, &byte, 1), -1); /* not ended yet */
	assert_int_equal(taskiface_finish(task), 0);
	assert_int_equal(read(p.output_fd, &byte, 1), 0);
	assert_int_equal(taskiface_finish(task), 0);
	assert_int_equal(taskiface_write(task, "x", 1, 0), -EALREADY);
	taskiface_close(task);
	pipes_close(&p);
}

static void output_has_a_deadline(void **state)
{
	struct pipes p;
	struct taskiface *task;
	char *data = calloc(1, 1 << 20);
	ssize_t n;

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	n = taskiface_write(task, data, 1 << 20, 10);
	assert_int_equal(n, fcntl(p.output_fd, F_GETPIPE_SZ));
	assert_int_equal(taskiface_write(task, data, 1, 10), -ETIMEDOUT);
	taskiface_close(task);

	task = pipes_task(&p);
	assert_int_equal(taskiface_write_all(task, data, 1 << 20, 10), -ETIMEDOUT);
	assert_int_equal(taskiface_write_all(task, data, 1, 10), -EALREADY);
	taskiface_close(task);
	free(data);
	pipes_close(&p);
}

static void output_waits_for_a_reader(void **state)
{
	struct pipes p;
	struct taskiface *task;

	(void)state;
	pipes_make(&p);
	task = pipes_task(&p);
	assert_int_equal(taskiface_write(task, "x", 1, 0), -ETIMEDOUT);
	assert_int_equal(taskiface_write(task, "x", 1, 5), -ETIMEDOUT);
	pipes_open_output(&p);
	assert_int_equal(taskiface_write(task, "x", 1, SOON_MS), 1);
	pipes_expect(p.output_fd, "x");
	taskiface_close(task);
	pipes_close(&p);
}

static void survives_a_reader_that_left(void **state)
{
	struct pipes p;
	struct taskiface *task;
	sigset_t pending;

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	assert_int_equal(taskiface_write(task, "x", 1, 0), 1);
	assert_int_equal(taskiface_progress(task, 0, NULL, NULL), 0);
	pipes_shut(&p.output_fd);
	pipes_shut(&p.progress_fd);
	assert_int_equal(taskiface_write(task, "x", 1, 0), -EPIPE);
	assert_int_equal(taskiface_progress(task, 0, NULL, NULL), -EPIPE);
	assert_int_equal(taskiface_fail(task, NULL, "late", 0), -EPIPE);
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	pthread_sigmask(SIG_SETMASK, NULL, &pending);
	assert_false(sigismember(&pending, SIGPIPE));
	assert_int_equal(taskiface_close(task), 0);
	pipes_close(&p);
}

/* A SIGPIPE that the program holds back itself is left to it. */
static void leaves_a_foreign_sigpipe_alone(void **state)
{
	struct pipes p;
	struct taskiface *task;
	sigset_t only, before, pending;
	const struct timespec at_once = { 0 };

	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	assert_int_equal(taskiface_write(task, "x", 1, 0), 1);
	pipes_shut(&p.output_fd);
	sigemptyset(&only);
	sigaddset(&only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &only, &before);
	raise(SIGPIPE);
	assert_int_equal(taskiface_write(task, "x", 1, 0), -EPIPE);
	sigpending(&pending);
	assert_true(sigismember(&pending, SIGPIPE));
	assert_int_equal(sigtimedwait(&only, NULL, &at_once), SIGPIPE);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	taskiface_close(task);
	pipes_close(&p);
}

/* --- by hand --- */

static void falls_back_to_standard_streams(void **state)
{
	int in[2], out[2], err[2], saved[3];
	struct taskiface *task;
	char *data;
	size_t len;

	(void)state;
	setenv("TASKIFACE_OUTPUT_PIPE", "-", 1); /* the same as none */
	assert_int_equal(pipe(in) | pipe(out) | pipe(err), 0);
	for (int i = 0; i < 3; i++)
		saved[i] = dup(i);
	assert_int_equal(write(in[1], "typed", 5), 5);
	close(in[1]);
	dup2(in[0], 0);
	dup2(out[1], 1);
	dup2(err[1], 2);
	int opened = taskiface_open(NULL, NULL, &task);
	int r = taskiface_read_all(task, 0, SOON_MS, &data, &len);
	int progress = taskiface_progress(task, 0.5, "half", NULL);
	int written = taskiface_write_all(task, data, len, 0);
	int flags = fcntl(0, F_GETFL) | fcntl(1, F_GETFL) | fcntl(2, F_GETFL);
	int closed = taskiface_close(task);
	bool open_still =
		fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0;
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	assert_int_equal(opened | r | progress | written | closed, 0);
	assert_true(open_still);
	assert_false(flags & O_NONBLOCK);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	pipes_expect(out[0], "typed");
	pipes_expect(err[0], "{\"fraction\":0.5,\"message\":\"half\"}\n");
	free(data);
	close(in[0]);
	close(out[0]);
	close(err[0]);
}

/* A blocking standard output that nobody empties must not hold a call beyond its deadline. */
static void standard_output_has_a_deadline(void **state)
{
	int out[2], saved = dup(1);
	struct taskiface *task;
	char *data = calloc(1, 1 << 20);

	(void)state;
	assert_int_equal(pipe(out), 0);
	dup2(out[1], 1);
	int opened = taskiface_open(NULL, NULL, &task);
	ssize_t n = taskiface_write(task, data, 1 << 20, 10);
	ssize_t again = taskiface_write(task, data, 1, 10);
	taskiface_close(task);
	dup2(saved, 1);
	assert_int_equal(opened, 0);
	assert_int_equal(n, fcntl(out[0], F_GETPIPE_SZ));
	assert_int_equal(again, -ETIMEDOUT);
	free(data);
	close(saved);
	close(out[0]);
	close(out[1]);
}

static void leaves_no_descriptor_behind(void **state)
{
	struct pipes p;
	int before = count_descriptors();

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct taskiface *task;
		char byte;

		pipes_open(&p);
		task = pipes_task(&p);
		pipes_give(&p, "x", 1);
		assert_int_equal(taskiface_read(task, &byte, 1, SOON_MS), 1);
		assert_int_equal(taskiface_progress(task, 1, NULL, NULL), 0);
		if (i % 2)
			assert_int_equal(taskiface_write(task, "x", 1, 0), 1);
		taskiface_close(task);
		pipes_close(&p);
	}
	assert_int_equal(count_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(refuses_argument_without_value, reset),
		cmocka_unit_test_setup(refuses_bad_numbers, reset),
		cmocka_unit_test_setup(takes_its_own_arguments_only, reset),
		cmocka_unit_test_setup(takes_empty_argument_lists, reset),
		cmocka_unit_test_setup(reads_the_environment_and_prefers_arguments, reset),
		cmocka_unit_test_setup(names_a_missing_pipe, reset),
		cmocka_unit_test_setup(waits_for_a_writer_that_comes_late, reset),
		cmocka_unit_test_setup(read_all_goes_on_after_timeout_and_bound, reset),
		cmocka_unit_test_setup(moves_eight_mebibytes_both_ways, reset),
		cmocka_unit_test_setup(writes_the_output_once, reset),
		cmocka_unit_test_setup(writes_the_output_in_pieces, reset),
		cmocka_unit_test_setup(output_has_a_deadline, reset),
		cmocka_unit_test_setup(output_waits_for_a_reader, reset),
		cmocka_unit_test_setup(survives_a_reader_that_left, reset),
		cmocka_unit_test_setup(leaves_a_foreign_sigpipe_alone, reset),
		cmocka_unit_test_setup(falls_back_to_standard_streams, reset),
		cmocka_unit_test_setup(standard_output_has_a_deadline, reset),
		cmocka_unit_test_setup(leaves_no_descriptor_behind, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
