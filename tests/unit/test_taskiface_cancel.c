/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancellation and self-destruction. Both change the process, so each test body runs in a child of
 * its own, which reports through its exit status: 0, or the number of the line that failed.
 */
#include "tests/unit/taskiface_fixture.h"

#include <sys/prctl.h>

#define CHECK(condition)                           \
	do {                                       \
		if (!(condition))                  \
			die(__LINE__, #condition); \
	} while (0)

static struct pipes p;

static int open_all(void **state)
{
	(void)state;
	pipes_open(&p);
	unsetenv("TASKIFACE_TIMEOUT_MS");
	unsetenv("TASKIFACE_GRACE_MS");
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	pipes_close(&p);
	return 0;
}

static void die(int line, const char *condition)
{
	fprintf(stderr, "child, line %d: %s\n", line, condition);
	_exit(99);
}

/* Runs @body in a child that leads its own group. Gives what waitpid tells. */
static int run_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		setpgid(0, 0);
		body();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static struct taskiface *open_task(void)
{
	struct taskiface *task = NULL;
	char *argv[] = { "p", "--input-pipe", p.input, "--output-pipe", p.output, "--progress-pipe",
		p.progress, NULL };
	int argc = 7;

	CHECK(taskiface_open(&argc, argv, &task) == 0);
	return task;
}

/* --- cancellation --- */

static void nothing_is_watched_unasked(void)
{
	struct sigaction before[32] = { 0 }, now;
	struct taskiface *task;

	for (int number = 1; number < 32; number++)
		sigaction(number, NULL, &before[number]);
	task = open_task();
	CHECK(!taskiface_cancelled(task));
	CHECK(taskiface_cancel_fd(task) == -EINVAL);
	CHECK(taskiface_progress(task, 0, NULL, NULL) == 0);
	for (int number = 1; number < 32; number++)
		if (sigaction(number, NULL, &now) == 0)
			CHECK(now.sa_handler == before[number].sa_handler);
	taskiface_close(task);
}

static volatile sig_atomic_t calls;
static void *call_arg;

static void count_call(void *arg)
{
	calls++;
	call_arg = arg;
}

static void sees_flag_descriptor_and_callback(void)
{
	struct taskiface *task = open_task();
	struct pollfd fd;
	char byte;

	CHECK(taskiface_watch_cancellation(task, count_call, &p) == 0);
	fd = (struct pollfd){ .fd = taskiface_cancel_fd(task), .events = POLLIN };
	CHECK(fd.fd >= 0 && (fcntl(fd.fd, F_GETFD) & FD_CLOEXEC));
	CHECK(!taskiface_cancelled(task) && poll(&fd, 1, 0) == 0 && calls == 0);
	for (int i = 0; i < 10; i++)
		raise(i % 2 ? SIGINT : SIGTERM);
	CHECK(taskiface_cancelled(task) && poll(&fd, 1, 0) == 1);
	CHECK(calls == 1 && call_arg == &p);
	/* Reading ends, writing does not: it may be what there is to do. */
	CHECK(taskiface_read(task, &byte, 1, TASKIFACE_FOREVER) == -ECANCELED);
	CHECK(taskiface_progress(task, 1, "cleaning up", NULL) == 0);
	CHECK(taskiface_write_all(task, "partial", 7, 0) == 0);
	taskiface_close(task);

	/* A later handle finds it. */
	task = open_task();
	CHECK(!taskiface_cancelled(task));
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	CHECK(taskiface_cancelled(task));
	taskiface_close(task);
}

static void *send_term(void *arg)
{
	pthread_t *reader = arg;

	pthread_kill(*reader, SIGTERM);
	return NULL;
}

/* Whether the signal comes before or within the wait, the read ends. */
static void ends_a_read_that_waits(void)
{
	struct taskiface *task = open_task();
	pthread_t thread, self = pthread_self();
	char *data;
	size_t len;

	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, send_term, &self) == 0);
	CHECK(taskiface_read_all(task, 0, TASKIFACE_FOREVER, &data, &len) == -ECANCELED);
	pthread_join(thread, NULL);
	taskiface_close(task);
}

static void one_handle_watches_at_a_time(void)
{
	struct taskiface *one = open_task(), *two = open_task();

	CHECK(taskiface_watch_cancellation(one, NULL, NULL) == 0);
	CHECK(taskiface_watch_cancellation(one, NULL, NULL) == -EALREADY);
	CHECK(taskiface_watch_cancellation(two, NULL, NULL) == -EBUSY);
	CHECK(taskiface_cancel_fd(two) == -EINVAL);
	raise(SIGTERM);
	CHECK(taskiface_cancelled(one) && !taskiface_cancelled(two));
	taskiface_close(one);
	CHECK(taskiface_watch_cancellation(two, NULL, NULL) == 0);
	CHECK(taskiface_cancelled(two));
	taskiface_close(two);
}

static void other_handler(int number)
{
	(void)number;
}

static void puts_dispositions_back(void)
{
	struct taskiface *task = open_task();
	struct sigaction now;

	signal(SIGTERM, other_handler);
	signal(SIGINT, SIG_IGN);
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	raise(SIGINT); /* still ignored */
	CHECK(!taskiface_cancelled(task));
	CHECK(sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler != other_handler);
	taskiface_close(task);
	CHECK(sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler == other_handler);
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_IGN);

	signal(SIGINT, other_handler);
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler != other_handler);
	taskiface_close(task);
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == other_handler);
}

static void knows_the_time_that_is_left(void)
{
	struct taskiface *task;
	int64_t left;

	setenv("TASKIFACE_TIMEOUT_MS", "3600000", 1);
	setenv("TASKIFACE_GRACE_MS", "60000", 1);
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	left = taskiface_time_left_ms(task);
	CHECK(left > 60000 && left <= 3600000);
	raise(SIGTERM);
	left = taskiface_time_left_ms(task);
	CHECK(left > 0 && left <= 60000);
	taskiface_close(task);

	unsetenv("TASKIFACE_GRACE_MS"); /* an older runner, or none */
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0 && taskiface_cancelled(task));
	left = taskiface_time_left_ms(task);
	CHECK(left > 60000 && left <= 3600000);
	taskiface_close(task);

	unsetenv("TASKIFACE_TIMEOUT_MS");
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	CHECK(taskiface_time_left_ms(task) == TASKIFACE_NO_LIMIT);
	taskiface_close(task);
}

/* The end of the allowed time brings the signal, and the grace begins: there is time to clean up.
 */
static void has_its_grace_when_the_run_is_over(void)
{
	struct taskiface *task;
	int64_t left;

	setenv("TASKIFACE_TIMEOUT_MS", "1", 1);
	setenv("TASKIFACE_GRACE_MS", "3600000", 1);
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	poll(NULL, 0, 2);
	CHECK(taskiface_time_left_ms(task) == 0); /* the signal is on its way */
	raise(SIGTERM);
	left = taskiface_time_left_ms(task);
	CHECK(left > 60000 && left <= 3600000);
	taskiface_close(task);
}

static void has_no_time_left_when_the_grace_is_over(void)
{
	struct taskiface *task;

	setenv("TASKIFACE_TIMEOUT_MS", "3600000", 1);
	setenv("TASKIFACE_GRACE_MS", "1", 1);
	task = open_task();
	CHECK(taskiface_watch_cancellation(task, NULL, NULL) == 0);
	raise(SIGTERM);
	poll(NULL, 0, 2);
	CHECK(taskiface_time_left_ms(task) == 0);
	taskiface_close(task);
}

/* --- self-destruction --- */

static int grandchild_pipe[2];
static struct taskiface *armed; /* of a child that will not live to release it */

/* Hangs with all signals blocked, and leaves a grandchild that does the same. */
static void hang(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (fork() == 0) {
		close(p.progress_fd);
		for (;;)
			pause();
	}
	close(grandchild_pipe[1]);
	for (;;)
		pause();
}

static void destroys_itself(void)
{
	armed = open_task();
	CHECK(taskiface_self_destruct(armed, 3600000) == 0);
	CHECK(taskiface_self_destruct(armed, 50) == 0); /* takes the place of the first */
	hang();
}

static void destroys_itself_by_argument(void)
{
	char *argv[] = { "p", "--self_destruct_timeout_seconds=1", "--progress-pipe", p.progress,
		NULL };
	int argc = 4;

	CHECK(taskiface_open(&argc, argv, &armed) == 0 && argc == 1);
	hang();
}

static void expect_destruction(void (*body)(void), const char *text)
{
	int status;
	char *got, byte;

	assert_int_equal(pipe(grandchild_pipe), 0);
	status = run_child(body);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	got = pipes_take(p.progress_fd, NULL);
	assert_string_equal(got, text);
	free(got);
	/* The grandchild died too: the end of file says that nobody holds the pipe any more. */
	close(grandchild_pipe[1]);
	assert_int_equal(pipes_wait_readable(grandchild_pipe[0]), 1);
	assert_int_equal(read(grandchild_pipe[0], &byte, 1), 0);
	close(grandchild_pipe[0]);
}

static void destroys_the_group_and_tells_why(void **state)
{
	(void)state;
	expect_destruction(destroys_itself, "{\"taskiface\":\"fail\",\"kind\":\"self-destruct\","
					    "\"message\":\"the program ended "
					    "itself: it was still running after 0.050 s\"}\n");
}

static void destroys_the_group_by_argument(void **state)
{
	(void)state;
	expect_destruction(destroys_itself_by_argument,
		"{\"taskiface\":\"fail\",\"kind\":\"self-destruct\",\"message\":\"the program "
		"ended "
		"itself: it was still running after 1.000 s\"}\n");
}

/* A full progress pipe does not hold it up. */
static void destroys_itself_without_room(void **state)
{
	int status;
	size_t filled = pipes_fill(p.progress_keeper);

	(void)state;
	assert_int_equal(pipe(grandchild_pipe), 0);
	status = run_child(destroys_itself);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	pipes_drop(p.progress_fd, filled);
	pipes_expect(p.progress_fd, "");
	close(grandchild_pipe[0]);
	close(grandchild_pipe[1]);
}

static void outlive_a_member(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) { /* not the leader: it must end alone */
		armed = open_task();
		CHECK(taskiface_self_destruct(armed, 10) == 0);
		for (;;)
			pause();
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(WTERMSIG(status) == SIGKILL);
}

static int count_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A thread that was joined may still be listed for a moment. */
static bool threads_become(int n)
{
	for (int i = 0; i < 5000 && count_threads() != n; i++)
		usleep(1000);
	return count_threads() == n;
}

/* The number after our own thread, which was just joined, is off the list. */
static int settled_threads(void)
{
	int n = count_threads();

	for (int same = 0; same < 50; same++) {
		usleep(1000);
		if (count_threads() != n) {
			n = count_threads();
			same = 0;
		}
	}
	return n;
}

/* Armed, there is one thread more; disarmed, nothing is left that could fire. */
static void disarm(void)
{
	struct taskiface *task = open_task();
	int before;

	CHECK(taskiface_self_destruct(task, 3600000) == 0);
	CHECK(taskiface_self_destruct(task, 0) == 0);
	/* A sanitizer may have made a thread of its own by now. */
	before = settled_threads();
	CHECK(taskiface_self_destruct(task, 3600000) == 0);
	CHECK(threads_become(before + 1));
	CHECK(taskiface_self_destruct(task, 0) == 0);
	CHECK(threads_become(before));
	CHECK(taskiface_self_destruct(task, -1) == 0);
	CHECK(taskiface_self_destruct(task, 3600000) == 0);
	taskiface_close(task);
	CHECK(threads_become(before));
}

/* A signal that the program holds back must not reach it through our thread. */
static void its_thread_takes_no_signals(void)
{
	struct taskiface *task = open_task();
	sigset_t held, pending;

	sigemptyset(&held);
	sigaddset(&held, SIGUSR1);
	sigprocmask(SIG_BLOCK, &held, NULL);
	CHECK(taskiface_self_destruct(task, 3600000) == 0);
	kill(getpid(), SIGUSR1);
	CHECK(taskiface_self_destruct(task, 0) == 0);
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
	taskiface_close(task);
}

#define IN_CHILD(body)                                \
	static void test_##body(void **state)         \
	{                                             \
		(void)state;                          \
		assert_int_equal(run_child(body), 0); \
	}

IN_CHILD(nothing_is_watched_unasked)
IN_CHILD(sees_flag_descriptor_and_callback)
IN_CHILD(ends_a_read_that_waits)
IN_CHILD(one_handle_watches_at_a_time)
IN_CHILD(puts_dispositions_back)
IN_CHILD(knows_the_time_that_is_left)
IN_CHILD(has_its_grace_when_the_run_is_over)
IN_CHILD(has_no_time_left_when_the_grace_is_over)
IN_CHILD(outlive_a_member)
IN_CHILD(disarm)
IN_CHILD(its_thread_takes_no_signals)

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_watched_unasked),
		TEST(test_sees_flag_descriptor_and_callback),
		TEST(test_ends_a_read_that_waits),
		TEST(test_one_handle_watches_at_a_time),
		TEST(test_puts_dispositions_back),
		TEST(test_knows_the_time_that_is_left),
		TEST(test_has_its_grace_when_the_run_is_over),
		TEST(test_has_no_time_left_when_the_grace_is_over),
		TEST(destroys_the_group_and_tells_why),
		TEST(destroys_the_group_by_argument),
		TEST(destroys_itself_without_room),
		TEST(test_outlive_a_member),
		TEST(test_disarm),
		TEST(test_its_thread_takes_no_signals),
	};

	/* A grandchild whose parent was killed comes to us and not to a stranger. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
