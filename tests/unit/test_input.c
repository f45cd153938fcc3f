/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "taskctl/taskctl.h"
#include "tests/unit/capture.h"

#define LARGE (3 * 1024 * 1024)

static void fill(char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 7 + i / 251);
}

/* A file with @bytes; its name is good until the test has closed it. */
static int make_file(const char *bytes, size_t len, char ret_name[64])
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	assert_int_equal(write(fd, bytes, len), len);
	snprintf(ret_name, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* Reads with the words of complaint captured. */
static int read_quietly(const char *file, size_t max, struct buf *ret, struct capture *err)
{
	int r;

	capture_start(err, STDERR_FILENO);
	r = max > 0 ? read_file("--option", file, max, ret) : read_input(file, ret);
	capture_end(err);
	return r;
}

static void test_files(void **state)
{
	char *bytes = malloc(LARGE), name[64];
	struct buf got = { 0 };
	struct capture err;
	int fd;

	(void)state;
	fill(bytes, LARGE);
	fd = make_file(bytes, LARGE, name);
	assert_int_equal(read_quietly(name, 0, &got, &err), 0);
	assert_int_equal(got.len, LARGE);
	assert_memory_equal(got.data, bytes, LARGE);
	buf_clear(&got);
	assert_int_equal(read_quietly(name, LARGE, &got, &err), 0);
	assert_string_equal(err.text, "");
	assert_int_equal(read_quietly(name, LARGE - 1, &got, &err), EXIT_LOCAL);
	assert_non_null(strstr(err.text, "taskctl: --option: /proc/self/fd/"));
	assert_non_null(strstr(err.text, " is too large: more than 3145727B\n"));
	close(fd);
	buf_deinit(&got);
	free(bytes);
}

static void test_files_that_cannot_be_read(void **state)
{
	struct buf got = { 0 };
	struct capture err;

	(void)state;
	assert_int_equal(read_quietly("/nothing/there", 0, &got, &err), EXIT_LOCAL);
	assert_string_equal(err.text,
		"taskctl: --input: cannot open /nothing/there: No such file or directory\n");
	assert_int_equal(read_quietly("/proc", 10, &got, &err), EXIT_LOCAL);
	assert_string_equal(err.text, "taskctl: --option: cannot read /proc: Is a directory\n");
	buf_deinit(&got);
}

/* ---- pipes whose other end takes its time ---- */

struct other_end {
	int fd;
	const char *bytes;
	struct buf got;
};

static void *write_in_pieces(void *data)
{
	struct other_end *end = data;

	for (size_t at = 0, n; at < LARGE; at += n) {
		n = LARGE - at < 70001 ? LARGE - at : 70001;
		if (write_all(end->fd, (struct slice){ end->bytes + at, n }) < 0)
			abort();
		sched_yield();
	}
	close(end->fd);
	return NULL;
}

static void *read_in_pieces(void *data)
{
	struct other_end *end = data;
	ssize_t n;
	char *at;

	while (buf_reserve(&end->got, 5000, &at) == 0 && (n = read(end->fd, at, 5000)) > 0) {
		end->got.len += (size_t)n;
		sched_yield();
	}
	close(end->fd);
	return NULL;
}

/* stdin may have been left non-blocking by another program. */
static void test_stdin_that_does_not_block(void **state)
{
	char *bytes = malloc(LARGE);
	struct other_end end = { .bytes = bytes };
	struct buf got = { 0 };
	int fds[2], saved = dup(STDIN_FILENO), r;
	pthread_t thread;

	(void)state;
	fill(bytes, LARGE);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	end.fd = fds[1];
	dup2(fds[0], STDIN_FILENO);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	pthread_create(&thread, NULL, write_in_pieces, &end);
	r = read_input("-", &got);
	pthread_join(thread, NULL);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fds[0]);
	assert_int_equal(r, 0);
	assert_int_equal(got.len, LARGE);
	assert_memory_equal(got.data, bytes, LARGE);
	buf_deinit(&got);
	free(bytes);
}

static void write_to_reader(int flags)
{
	char *bytes = malloc(LARGE);
	struct other_end end = { 0 };
	pthread_t thread;
	int fds[2], r;

	fill(bytes, LARGE);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETFL, flags);
	end.fd = fds[0];
	pthread_create(&thread, NULL, read_in_pieces, &end);
	r = write_all(fds[1], (struct slice){ bytes, LARGE });
	close(fds[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r, 0);
	assert_int_equal(end.got.len, LARGE);
	assert_memory_equal(end.got.data, bytes, LARGE);
	buf_deinit(&end.got);
	free(bytes);
}

static void test_slow_readers(void **state)
{
	(void)state;
	write_to_reader(0);
	write_to_reader(O_NONBLOCK);
}

static void test_reader_that_is_gone(void **state)
{
	int fds[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	close(fds[0]);
	assert_int_equal(write_all(fds[1], slice_of("x")), -EPIPE);
	assert_int_equal(write_all(fds[1], slice_of("")), 0);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_files_that_cannot_be_read),
		cmocka_unit_test(test_stdin_that_does_not_block),
		cmocka_unit_test(test_slow_readers),
		cmocka_unit_test(test_reader_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
