/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the kernel does with named pipes, as far as the design leans on it. Nothing of ours is
 * tested here: where one of these fails, the runner's rules for opening pipes
 * (docs/architecture.md) do not hold on this machine, and that is what a person must be told first.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 10000 /* nothing here takes long; whoever waits this long waits for ever */

struct place {
	char directory[64];
	char fifo[80];
};

static int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	strcpy(p->directory, "/tmp/test-pipes-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->fifo, sizeof(p->fifo), "%s/fifo", p->directory);
	assert_int_equal(mkfifo(p->fifo, 0600), 0);
	*state = p;
	return 0;
}

static int place_remove(void **state)
{
	struct place *p = *state;

	unlink(p->fifo);
	assert_int_equal(rmdir(p->directory), 0);
	free(p);
	return 0;
}

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		fail_msg("open(%s, %#x): %s", path, (unsigned)flags, strerror(errno));
	return fd;
}

/* What epoll says within @ms: a set of EPOLL bits, 0 for nothing. */
static uint32_t wait_events(int fd, int ms)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN };
	int n;

	assert_true(epoll >= 0);
	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	event.events = 0;
	do
		n = epoll_wait(epoll, &event, 1, ms);
	while (n < 0 && errno == EINTR);
	assert_true(n >= 0);
	close(epoll);
	return n ? event.events : 0;
}

/* A child that runs @body and exits 0; it dies with this test. */
static pid_t child_start(void (*body)(const char *path), const char *path)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	syscall(SYS_close_range, 3, ~0U, 0); /* else it holds ends that only the parent should */
	alarm(DEADLINE_MS / 1000);
	body(path);
	_exit(0);
}

/* Waits until the child ended and gives its status as waitpid does. */
static int child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

/* Waits until the child sleeps in a system call whose number is @number. */
static bool child_sleeps_in(pid_t pid, long number)
{
	char path[64], text[64] = "";
	unsigned waited = 0;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	for (; waited < DEADLINE_MS; waited += 5) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

		if (fd >= 0)
			close(fd);
		if (n > 0 && strtol(text, NULL, 10) == number && text[0] != 'r')
			return true;
		usleep(5000);
	}
	return false;
}

/* Reads everything until end of file; exits with the number of bytes, or 255 for an error. */
static void read_all_and_tell(const char *path)
{
	char buffer[4096];
	ssize_t n;
	int total = 0, fd = open(path, O_RDONLY);

	if (fd < 0)
		_exit(255);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		total += (int)n;
	_exit(n < 0 ? 255 : total);
}

static void open_for_reading(const char *path)
{
	_exit(open(path, O_RDONLY) < 0);
}

static void write_five_times(const char *path)
{
	for (int i = 0; i < 5; i++) {
		int fd = open(path, O_WRONLY);

		if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) < 0)
			_exit(1);
	}
}

/* O_RDONLY|O_NONBLOCK without a writer: opens, is silent, but reads 0, which looks like an end. */
static void test_reader_without_writer(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	char byte;

	assert_int_equal(wait_events(fd, 20), 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

/* The last writer's close shows as a hang-up again and again; a new writer clears it. */
static void test_hangup_repeats_until_next_writer(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int writer = open_or_fail(p->fifo, O_WRONLY);

	close(writer);
	for (int i = 0; i < 3; i++)
		assert_true(wait_events(fd, DEADLINE_MS) & EPOLLHUP);
	writer = open_or_fail(p->fifo, O_WRONLY);
	assert_int_equal(wait_events(fd, 20), 0);
	close(writer);
	close(fd);
}

/* With a writing end of our own ("keeper") others come and go without a hang-up: only data shows.
 */
static void test_keeper_prevents_hangup(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int keeper = open_or_fail(p->fifo, O_WRONLY);
	char buffer[16];

	assert_int_equal(child_wait(child_start(write_five_times, p->fifo)), 0);
	assert_int_equal(wait_events(fd, DEADLINE_MS), EPOLLIN);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 5);
	assert_int_equal(wait_events(fd, 20), 0);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), -1);
	assert_int_equal(errno, EAGAIN);

	close(keeper);
	assert_true(wait_events(fd, DEADLINE_MS) & EPOLLHUP);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 0);
	close(fd);
}

/* What was written before the keeper closed is read before the end. */
static void test_data_comes_before_the_end(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int keeper = open_or_fail(p->fifo, O_WRONLY);
	char buffer[16];

	assert_int_equal(child_wait(child_start(write_five_times, p->fifo)), 0);
	close(keeper);
	assert_int_equal(wait_events(fd, DEADLINE_MS), EPOLLIN | EPOLLHUP);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 5);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 0);
	close(fd);
}

/* O_WRONLY|O_NONBLOCK without a reader: ENXIO, so "has it opened?" can be asked. */
static void test_writer_without_reader(void **state)
{
	struct place *p = *state;

	assert_int_equal(open(p->fifo, O_WRONLY | O_NONBLOCK), -1);
	assert_int_equal(errno, ENXIO);
}

/* Bytes in a pipe that nobody has open are gone. */
static void test_data_is_lost_when_all_close(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	char byte;

	assert_int_equal(write(fd, "gone", 4), 4);
	close(fd);
	fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	assert_int_equal(read(fd, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
}

/* With data inside but no writer left, who opens for reading waits: a reader of ours is no help. */
static void test_reader_hangs_without_writer(void **state)
{
	struct place *p = *state;
	int keeper = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int writer = open_or_fail(p->fifo, O_WRONLY);
	pid_t pid;

	assert_int_equal(write(writer, "data", 4), 4);
	close(writer);
	pid = child_start(open_for_reading, p->fifo);
	assert_true(child_sleeps_in(pid, SYS_openat));

	writer = open_or_fail(p->fifo, O_WRONLY); /* now it goes on */
	assert_int_equal(child_wait(pid), 0);
	close(writer);
	close(keeper);
}

/* The rule for the input: hold it O_RDWR, see IN_OPEN when the program opened it, close ours: the
 * program gets all the data and then the end. */
static void test_input_by_rdwr_and_inotify(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	int notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char event[sizeof(struct inotify_event) + NAME_MAX + 1]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	pid_t pid;
	int status;

	assert_true(notify >= 0);
	assert_true(inotify_add_watch(notify, p->fifo, IN_OPEN) >= 0);
	assert_int_equal(write(fd, "1234567", 7), 7);
	assert_int_equal(wait_events(notify, 20), 0); /* our own open came before the watch */

	pid = child_start(read_all_and_tell, p->fifo);
	assert_int_equal(wait_events(notify, DEADLINE_MS), EPOLLIN);
	assert_true(read(notify, event, sizeof(event)) > 0);
	assert_true(((struct inotify_event *)event)->mask & IN_OPEN);
	close(fd);
	status = child_wait(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	close(notify);
}

/* A writer's close is seen by inotify though a keeper is there: so ends a line without newline. */
static void test_close_of_writer_is_seen(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int keeper = open_or_fail(p->fifo, O_WRONLY);
	int notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char event[sizeof(struct inotify_event) + NAME_MAX + 1]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	int writer;

	assert_true(inotify_add_watch(notify, p->fifo, IN_CLOSE_WRITE) >= 0);
	writer = open_or_fail(p->fifo, O_WRONLY);
	assert_int_equal(wait_events(notify, 20), 0);
	close(writer);
	assert_int_equal(wait_events(notify, DEADLINE_MS), EPOLLIN);
	assert_true(read(notify, event, sizeof(event)) > 0);
	assert_true(((struct inotify_event *)event)->mask & IN_CLOSE_WRITE);
	close(notify);
	close(keeper);
	close(fd);
}

/* A writer's bytes can be read by the time its close is told: data first, then "it closed". */
static void test_data_is_there_when_close_is_told(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int keeper = open_or_fail(p->fifo, O_WRONLY);
	int notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char buffer[16];

	assert_true(inotify_add_watch(notify, p->fifo, IN_CLOSE_WRITE) >= 0);
	for (int i = 0; i < 200; i++) {
		char events[4096];
		int writer = open_or_fail(p->fifo, O_WRONLY);

		assert_int_equal(write(writer, "abc", 3), 3);
		close(writer);
		assert_int_equal(wait_events(notify, DEADLINE_MS), EPOLLIN);
		assert_true(read(notify, events, sizeof(events)) > 0);
		assert_int_equal(read(fd, buffer, sizeof(buffer)), 3);
	}
	close(notify);
	close(keeper);
	close(fd);
}

/* A full pipe tells EAGAIN to who does not wait; who waits is slowed, and nothing grows. */
static void test_full_pipe_slows_its_writer(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	int size = fcntl(fd, F_GETPIPE_SZ);
	static char block[PIPE_BUF];
	int written = 0;
	ssize_t n;

	while ((n = write(fd, block, sizeof(block))) > 0)
		written += (int)n;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(written, size);
	close(fd);
}

/* Shrinking is always allowed and reading back tells what there is; both hold for every opener. */
static void test_size_can_be_shrunk(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDONLY | O_NONBLOCK);
	int writer = open_or_fail(p->fifo, O_WRONLY);
	int before = fcntl(fd, F_GETPIPE_SZ);

	assert_true(before >= 8192);
	assert_true(fcntl(fd, F_SETPIPE_SZ, 8192) >= 8192);
	assert_int_equal(fcntl(fd, F_GETPIPE_SZ), 8192);
	assert_int_equal(fcntl(writer, F_GETPIPE_SZ), 8192);
	close(writer);
	close(fd);
}

/* A pipe that holds more than it is to become is not cut: EBUSY, and the data stays. */
static void test_shrinking_loses_nothing(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	static char block[4 * PIPE_BUF];
	int there;

	if (fcntl(fd, F_GETPIPE_SZ) <=
		8192) { /* this user has used up his share: nothing to shrink */
		close(fd);
		return;
	}
	there = (int)write(fd, block, sizeof(block));
	assert_int_equal(there, sizeof(block));
	assert_int_equal(fcntl(fd, F_SETPIPE_SZ, PIPE_BUF), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(read(fd, block, sizeof(block)), there);
	close(fd);
}

/* Two programs that write at once do not mix what they write, up to PIPE_BUF at a time. */
static void test_small_writes_are_whole(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	char block[1000], back[1000];
	pid_t pids[2];
	int seen[2] = { 0 };

	for (int k = 0; k < 2; k++) {
		pids[k] = fork();
		assert_true(pids[k] >= 0);
		if (pids[k])
			continue;
		int writer = open(p->fifo, O_WRONLY);

		alarm(DEADLINE_MS / 1000);
		memset(block, 'a' + k, sizeof(block));
		for (int i = 0; i < 300; i++)
			if (write(writer, block, sizeof(block)) != sizeof(block))
				_exit(1);
		_exit(0);
	}
	while (seen[0] + seen[1] < 600) {
		assert_int_equal(wait_events(fd, DEADLINE_MS) & EPOLLIN, EPOLLIN);
		assert_int_equal(read(fd, back, sizeof(back)), sizeof(back));
		for (size_t i = 1; i < sizeof(back); i++)
			assert_int_equal(back[i], back[0]);
		seen[back[0] - 'a']++;
	}
	assert_int_equal(seen[0], 300);
	for (int k = 0; k < 2; k++)
		assert_int_equal(child_wait(pids[k]), 0);
	close(fd);
}

/* Where no directory can be written: an anonymous pipe opened again through /dev/fd does not wait.
 */
static void test_dev_fd_opens_again(void **state)
{
	int ends[2];
	char path[32], buffer[8];
	int again;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	again = open_or_fail(path, O_WRONLY);
	close(ends[1]);
	assert_int_equal(write(again, "again", 5), 5);
	assert_int_equal(read(ends[0], buffer, sizeof(buffer)), 5);
	close(again);
	assert_int_equal(read(ends[0], buffer, sizeof(buffer)), 0);
	close(ends[0]);
}

/* Removing the name takes nothing from those who have the pipe open. */
static void test_unlinked_pipe_still_works(void **state)
{
	struct place *p = *state;
	int fd = open_or_fail(p->fifo, O_RDWR | O_NONBLOCK);
	char buffer[8];

	assert_int_equal(unlink(p->fifo), 0);
	assert_int_equal(write(fd, "still", 5), 5);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 5);
	assert_int_equal(access(p->fifo, F_OK), -1);
	close(fd);
}

int main(void)
{
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)
	const struct CMUnitTest tests[] = {
		IN_PLACE(test_reader_without_writer),
		IN_PLACE(test_hangup_repeats_until_next_writer),
		IN_PLACE(test_keeper_prevents_hangup),
		IN_PLACE(test_data_comes_before_the_end),
		IN_PLACE(test_writer_without_reader),
		IN_PLACE(test_data_is_lost_when_all_close),
		IN_PLACE(test_reader_hangs_without_writer),
		IN_PLACE(test_input_by_rdwr_and_inotify),
		IN_PLACE(test_close_of_writer_is_seen),
		IN_PLACE(test_data_is_there_when_close_is_told),
		IN_PLACE(test_full_pipe_slows_its_writer),
		IN_PLACE(test_size_can_be_shrunk),
		IN_PLACE(test_shrinking_loses_nothing),
		IN_PLACE(test_small_writes_are_whole),
		cmocka_unit_test(test_dev_fd_opens_again),
		IN_PLACE(test_unlinked_pipe_still_works),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kernel-pipes", tests, NULL, NULL);
}
