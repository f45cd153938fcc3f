/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "runner/pipes.h"
#include "tests/unit/apart.h"

enum { SOON_MS = 30000 };

static char place[64];

static int place_make(void **state)
{
	(void)state;
	strcpy(place, "/tmp/test-pipes-XXXXXX");
	return mkdtemp(place) ? 0 : -1;
}

static int place_remove(void **state)
{
	(void)state;
	return rmdir(place); /* every test leaves it empty */
}

static const char *in_place(const char *name)
{
	static char paths[4][300];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, 300, "%s/%s", place, name);
	return path;
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode;
}

static size_t size_of(int fd)
{
	return (size_t)fcntl(fd, F_GETPIPE_SZ);
}

/* ---- making ---- */

static void pipes_are_private(void **state)
{
	struct pipes pipes;
	(void)state;
	umask(0);
	assert_int_equal(pipes_open(&pipes, place, "task", false), 0);
	assert_int_equal(mode_of(in_place("task")), S_IFDIR | 0700);
	assert_int_equal(mode_of(pipes.input_path), S_IFIFO | 0600);
	assert_int_equal(mode_of(pipes.output_path), S_IFIFO | 0600);
	assert_int_equal(mode_of(pipes.progress_path), S_IFIFO | 0600);
	umask(022);
	pipes_close(&pipes);
	assert_int_equal(access(in_place("task"), F_OK), -1);
}

static void every_descriptor_is_closed_on_exec(void **state)
{
	struct pipes p;
	(void)state;
	assert_int_equal(pipes_open(&p, place, "task", false), 0);
	const int fds[] = { p.input_fd, p.read_fd[0], p.read_fd[1], p.read_fd[2], p.read_fd[3],
		p.keeper_fd[0], p.keeper_fd[1], p.child_fd[0], p.child_fd[1] };
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
	for (int i = 0; i < PIPE_ENDS; i++)
		assert_true(fcntl(p.read_fd[i], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(p.input_fd, F_GETFL) & O_NONBLOCK);
	/* A program expects its stdout to wait for the reader. */
	assert_false(fcntl(p.child_fd[0], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(p.child_fd[1], F_GETFL) & O_NONBLOCK);
	pipes_close(&p);
}

static void small_pipes_are_small_but_for_the_output(void **state)
{
	struct pipes p;
	(void)state;
	assert_int_equal(pipes_open(&p, place, "task", true), 0);
	assert_int_equal(size_of(p.input_fd), 8192);
	assert_int_equal(size_of(p.read_fd[PIPE_PROGRESS]), 8192);
	assert_int_equal(size_of(p.read_fd[PIPE_STDOUT]), 8192);
	assert_int_equal(size_of(p.read_fd[PIPE_STDERR]), 8192);
	assert_true(size_of(p.read_fd[PIPE_OUTPUT]) >= 8192);
	pipes_close(&p);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void expect_failure(const char *parent, const char *name, int r)
{
	unsigned before = open_descriptors();
	struct pipes p;
	assert_int_equal(pipes_open(&p, parent, name, false), r);
	assert_int_equal(open_descriptors(), before);
	assert_null(p.directory);
	assert_int_equal(p.input_fd, -1);
	pipes_close(&p); /* harmless */
}

static void a_name_that_is_taken_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_place("task"), 0700), 0);
	assert_int_equal(mkdir(in_place("task/kept"), 0700), 0);
	expect_failure(place, "task", -EEXIST);
	assert_int_equal(rmdir(in_place("task/kept")), 0);
	assert_int_equal(rmdir(in_place("task")), 0);
	assert_int_equal(symlink("/", in_place("task")), 0);
	expect_failure(place, "task", -EEXIST);
	assert_int_equal(unlink(in_place("task")), 0);
}

static void a_parent_that_is_missing_or_no_directory_is_an_error(void **state)
{
	char longest[300];
	(void)state;
	expect_failure("/nonexistent", "task", -ENOENT);
	expect_failure("/dev/null", "task", -ENOTDIR);
	memset(longest, 'x', 256);
	longest[256] = '\0';
	expect_failure(place, longest, -ENAMETOOLONG);
}

static int make_in_unwritable(void *data)
{
	(void)data;
	struct pipes p;
	return pipes_open(&p, place, "task", false) == -EACCES ? 0 : 1;
}

static void a_parent_that_cannot_be_written_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(chmod(place, 0555), 0);
	assert_int_equal(apart_unprivileged(make_in_unwritable, NULL), 0);
	assert_int_equal(chmod(place, 0700), 0);
}

/* Descriptors run out at each place in turn: nothing is left behind. */
static void descriptors_that_run_out_leave_nothing(void **state)
{
	struct rlimit before;
	int taken[64], n = 0;
	struct pipes p;
	unsigned failures = 0;
	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, before.rlim_max }), 0);
	while (n < 64 && (taken[n] = dup(0)) >= 0)
		n++;
	for (int spare = 0; spare < 12; spare++) {
		int r = pipes_open(&p, place, "task", false);
		if (r < 0) {
			assert_int_equal(r, -EMFILE);
			failures++;
		}
		pipes_close(&p);
		assert_int_equal(access(in_place("task"), F_OK), -1);
		close(taken[--n]);
	}
	while (n > 0)
		close(taken[--n]);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(failures, 9); /* they are nine in all */
}

static int run_out_of_room(void *data)
{
	struct pipes p;
	(void)data;
	/* Room for the root, the task's directory, and two of the three pipes. */
	if (mount("none", place, "tmpfs", 0, "size=64k,nr_inodes=4") < 0) {
		perror("mount");
		return 2;
	}
	if (pipes_open(&p, place, "task", false) != -ENOSPC)
		return 1;
	return rmdir(in_place("task")) == -1 && errno == ENOENT ? 0 : 1;
}

static void a_full_file_system_leaves_nothing(void **state)
{
	(void)state;
	assert_int_equal(apart_with_mounts(run_out_of_room, NULL), 0);
}

/* ---- input ---- */

static const struct slice word = { "word", 4 };

static void input_is_closed_when_written_and_opened(void **state)
{
	struct pipes p;
	char back[8];
	(void)state;
	assert_int_equal(pipes_open(&p, place, "task", false), 0);
	assert_int_equal(pipes_write_input(&p, word), 0);
	assert_int_equal(p.input_written, 4);
	assert_true(p.input_fd >= 0); /* else it would be lost */
	int fd = open(p.input_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	pipes_input_opened(&p, word);
	assert_int_equal(p.input_fd, -1);
	assert_int_equal(read(fd, back, sizeof(back)), 4);
	assert_int_equal(read(fd, back, sizeof(back)), 0);
	close(fd);
	assert_int_equal(pipes_write_input(&p, word), 0); /* nothing to do any more */
	pipes_close(&p);
}

static void input_that_does_not_fit_is_written_in_turns(void **state)
{
	struct pipes p;
	char *bytes = calloc(1, 300000), *back = calloc(1, 300000);
	struct slice input = { bytes, 300000 };
	size_t got = 0;
	int turns = 0;
	(void)state;
	memset(bytes, 'b', 300000);
	assert_int_equal(pipes_open(&p, place, "task", true), 0);
	assert_int_equal(pipes_write_input(&p, input), 1);
	int fd = open(p.input_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	pipes_input_opened(&p, input);
	assert_true(p.input_fd >= 0); /* there is more */
	for (;;) {
		ssize_t n = read(fd, back + got, 300000 - got);
		if (n == 0)
			break;
		assert_true(n > 0);
		got += (size_t)n;
		pipes_write_input(&p, input);
		turns++;
	}
	assert_true(turns > 10);
	assert_int_equal(got, 300000);
	assert_memory_equal(back, bytes, got);
	close(fd);
	free(bytes);
	free(back);
	pipes_close(&p);
}

/* A child that opens @path and reads all: its exit status is what it got. */
static pid_t reader(const char *path)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid)
		return pid;
	char bytes[64];
	ssize_t n, got = 0;
	alarm(SOON_MS / 1000);
	syscall(SYS_close_range, 3, ~0U, 0); /* else it holds ends that only the parent should */
	int fd = open(path, O_RDONLY);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		got += n;
	_exit(fd < 0 || n < 0 ? 255 : (int)got);
}

static void poll_until_opened(struct pipes *p, struct slice input)
{
	for (int waited = 0; !pipes_poll_input(p, input); waited += 5) {
		assert_true(waited < SOON_MS);
		clock_sleep_ms(5);
	}
}

static void polling_finds_out_too(void **state)
{
	static const struct slice inputs[] = { { "", 0 }, { "word", 4 } };
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pipes p;
		int status;
		assert_int_equal(pipes_open(&p, place, "task", false), 0);
		assert_int_equal(pipes_write_input(&p, inputs[i]), 0);
		assert_false(pipes_poll_input(&p, inputs[i])); /* nobody is there */
		assert_false(pipes_poll_input(&p, inputs[i]));
		pid_t pid = reader(p.input_path);
		poll_until_opened(&p, inputs[i]);
		assert_int_equal(p.input_fd, -1);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), inputs[i].len);
		pipes_close(&p);
	}
}

/* ---- output and progress ---- */

static void keepers_hold_the_end_back(void **state)
{
	struct pipes p;
	char byte;
	(void)state;
	assert_int_equal(pipes_open(&p, place, "task", false), 0);
	for (int end = PIPE_OUTPUT; end <= PIPE_PROGRESS; end++) {
		int fd = open(
			end == PIPE_OUTPUT ? p.output_path : p.progress_path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(write(fd, "x", 1), 1);
		close(fd);
		assert_int_equal(read(p.read_fd[end], &byte, 1), 1);
		assert_int_equal(read(p.read_fd[end], &byte, 1), -1);
		assert_int_equal(errno, EAGAIN);
	}
	pipes_close_keepers(&p);
	assert_int_equal(read(p.read_fd[PIPE_OUTPUT], &byte, 1), 0);
	assert_int_equal(read(p.read_fd[PIPE_PROGRESS], &byte, 1), 0);
	assert_int_equal(read(p.read_fd[PIPE_STDOUT], &byte, 1), -1);
	pipes_close_childs(&p);
	assert_int_equal(read(p.read_fd[PIPE_STDOUT], &byte, 1), 0);
	pipes_close(&p);
}

/* ---- removing ---- */

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void what_a_program_left_is_removed(void **state)
{
	struct pipes p;
	(void)state;
	assert_int_equal(pipes_open(&p, place, "task", false), 0);
	touch(in_place("outside"));
	touch(in_place("task/file"));
	assert_int_equal(mkdir(in_place("task/d"), 0700), 0);
	assert_int_equal(symlink("../..", in_place("task/d/link")), 0);
	assert_int_equal(symlink(place, in_place("task/link")), 0);
	assert_int_equal(mkfifo(in_place("task/d/fifo"), 0600), 0);
	assert_int_equal(unlink(p.input_path), 0);
	assert_int_equal(rename(p.progress_path, in_place("task/d/progress")), 0);
	pipes_close(&p);
	assert_int_equal(access(in_place("task"), F_OK), -1);
	assert_int_equal(access(in_place("outside"), F_OK), 0);
	unlink(in_place("outside"));
}

/* Nested directories that nobody may read, by an ordinary user. */
static int remove_unreadable(void *data)
{
	struct pipes p;
	(void)data;
	if (pipes_open(&p, place, "task", false) < 0)
		return 2;
	if (system("cd \"$PLACE\"/task && mkdir -p a/b/c/d/e x/y && touch a/f a/b/f a/b/c/d/f "
		   "x/y/f && "
		   "chmod 000 a/b/c/d a/b/c a/b a x/y && chmod 444 x && chmod 100 .") != 0)
		return 3;
	pipes_close(&p);
	return access(in_place("task"), F_OK) == 0;
}

static void unreadable_directories_are_removed(void **state)
{
	(void)state;
	setenv("PLACE", place, 1);
	assert_int_equal(chmod(place, 0777), 0);
	assert_int_equal(apart_unprivileged(remove_unreadable, NULL), 0);
}

/* Deeper than any path is long, and than descriptors could follow. */
static void bottomless_directories_are_removed(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_place("deep"), 0700), 0);
	int fd = open(in_place("deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1100; i++) {
		assert_int_equal(mkdirat(fd, "sub", 0700), 0);
		assert_int_equal(
			mkdirat(fd, ".removed-1", 0700), 0); /* a name that we would choose */
		int next = openat(fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(remove_tree(in_place("deep")), 0);
	assert_int_equal(access(in_place("deep"), F_OK), -1);
}

static void many_files_are_removed(void **state)
{
	char name[64];
	(void)state;
	assert_int_equal(mkdir(in_place("many"), 0700), 0);
	assert_int_equal(mkdir(in_place("many/sub"), 0700), 0);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "many/%sfile-%d", i % 2 ? "sub/" : "", i);
		touch(in_place(name));
	}
	assert_int_equal(remove_tree(in_place("many")), 0);
}

static unsigned count_directories(void)
{
	unsigned n = 0;
	DIR *dir = opendir(in_place("."));
	for (const struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_type == DT_DIR && entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* What has the same name meanwhile is not touched. */
static void what_takes_long_is_removed_beside(void **state)
{
	char name[64];
	(void)state;
	for (int n = 0; n < 3; n++) {
		assert_int_equal(mkdir(in_place("huge"), 0700), 0);
		for (int i = 0; i < 5000; i++) {
			snprintf(name, sizeof(name), "huge/file-%d", i);
			touch(in_place(name));
		}
		remove_tree_beside(in_place("huge"));
		assert_int_equal(access(in_place("huge"), F_OK), -1);
	}
	assert_int_equal(mkdir(in_place("huge"), 0700), 0);
	remove_tree_wait();
	assert_int_equal(count_directories(), 1);
	remove_tree_beside(in_place("huge"));
	assert_int_equal(access(in_place("huge"), F_OK), -1);
	assert_int_equal(count_directories(), 0);
}

static int remove_with_mount(void *data)
{
	(void)data;
	if (mkdir(in_place("task"), 0700) < 0 || mkdir(in_place("task/a"), 0700) < 0 ||
		mkdir(in_place("task/a/mounted"), 0700) < 0 ||
		mkdir(in_place("task/b"), 0700) < 0 ||
		mount("none", in_place("task/a/mounted"), "tmpfs", 0, "size=64k") < 0)
		return 2;
	int fd = open(in_place("task/a/mounted/kept"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	if (remove_tree(in_place("task")) >= 0 || access(in_place("task/a/mounted/kept"), F_OK) < 0)
		return 1;
	return umount(in_place("task/a/mounted")) < 0 || remove_tree(in_place("task")) < 0;
}

static void mounts_are_not_entered(void **state)
{
	(void)state;
	assert_int_equal(apart_with_mounts(remove_with_mount, NULL), 0);
}

static void what_is_not_there_is_removed(void **state)
{
	(void)state;
	assert_int_equal(remove_tree(in_place("nothing")), 0);
	/* Nothing but a directory is touched. */
	mode_t before = mode_of(in_place("."));
	assert_int_equal(symlink(".", in_place("link")), 0);
	touch(in_place("file"));
	assert_int_equal(chmod(in_place("file"), 0444), 0);
	assert_true(remove_tree(in_place("link")) < 0);
	assert_int_equal(remove_tree(in_place("file")), -ENOTDIR);
	assert_int_equal(mode_of(in_place(".")), before);
	assert_int_equal(mode_of(in_place("file")), S_IFREG | 0444);
	unlink(in_place("file"));
	unlink(in_place("link"));
}

/* The last one: cmocka does not count what a teardown says. */
static void nothing_is_left_by_all_these(void **state)
{
	(void)state;
	assert_int_equal(rmdir(place), 0);
	assert_int_equal(mkdir(place, 0700), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipes_are_private),
		cmocka_unit_test(every_descriptor_is_closed_on_exec),
		cmocka_unit_test(small_pipes_are_small_but_for_the_output),
		cmocka_unit_test(a_name_that_is_taken_is_left_alone),
		cmocka_unit_test(a_parent_that_is_missing_or_no_directory_is_an_error),
		cmocka_unit_test(a_parent_that_cannot_be_written_is_an_error),
		cmocka_unit_test(descriptors_that_run_out_leave_nothing),
		cmocka_unit_test(a_full_file_system_leaves_nothing),
		cmocka_unit_test(input_is_closed_when_written_and_opened),
		cmocka_unit_test(input_that_does_not_fit_is_written_in_turns),
		cmocka_unit_test(polling_finds_out_too),
		cmocka_unit_test(keepers_hold_the_end_back),
		cmocka_unit_test(what_a_program_left_is_removed),
		cmocka_unit_test(unreadable_directories_are_removed),
		cmocka_unit_test(bottomless_directories_are_removed),
		cmocka_unit_test(many_files_are_removed),
		cmocka_unit_test(what_takes_long_is_removed_beside),
		cmocka_unit_test(mounts_are_not_entered),
		cmocka_unit_test(what_is_not_there_is_removed),
		cmocka_unit_test(nothing_is_left_by_all_these),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("pipes", tests, place_make, place_remove);
}
