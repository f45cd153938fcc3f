/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The runner's side of the three pipes, for tests of libtaskiface: opened as the runner opens them,
 * or left unopened to see what a program does then.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <taskiface.h>

enum { SOON_MS = 20000 }; /* a deadline for what must happen: long, and never waited out */

struct pipes {
	char directory[64];
	char input[96], output[96], progress[96];
	int input_fd;                 /* read and write; -1 once all was written */
	int output_fd, output_keeper; /* to read; our own writer */
	int progress_fd, progress_keeper;
};

static inline void pipes_make(struct pipes *p)
{
	*p = (struct pipes){ "/tmp/taskiface-test-XXXXXX", .input_fd = -1, .output_fd = -1,
		.output_keeper = -1, .progress_fd = -1, .progress_keeper = -1 };
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->input, sizeof(p->input), "%s/input", p->directory);
	snprintf(p->output, sizeof(p->output), "%s/output", p->directory);
	snprintf(p->progress, sizeof(p->progress), "%s/progress", p->directory);
	assert_int_equal(mkfifo(p->input, 0600), 0);
	assert_int_equal(mkfifo(p->output, 0600), 0);
	assert_int_equal(mkfifo(p->progress, 0600), 0);
}

static inline void pipes_open_output(struct pipes *p)
{
	p->output_fd = open(p->output, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	p->output_keeper = open(p->output, O_WRONLY | O_CLOEXEC);
	assert_true(p->output_fd >= 0 && p->output_keeper >= 0);
}

static inline void pipes_open_progress(struct pipes *p)
{
	p->progress_fd = open(p->progress, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	p->progress_keeper = open(p->progress, O_WRONLY | O_CLOEXEC);
	assert_true(p->progress_fd >= 0 && p->progress_keeper >= 0);
}

static inline void pipes_open(struct pipes *p)
{
	pipes_make(p);
	p->input_fd = open(p->input, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(p->input_fd >= 0);
	pipes_open_output(p);
	pipes_open_progress(p);
}

static inline void pipes_shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void pipes_close(struct pipes *p)
{
	pipes_shut(&p->input_fd);
	pipes_shut(&p->output_fd);
	pipes_shut(&p->output_keeper);
	pipes_shut(&p->progress_fd);
	pipes_shut(&p->progress_keeper);
	unlink(p->input);
	unlink(p->output);
	unlink(p->progress);
	rmdir(p->directory);
}

/* A handle on @p, by arguments. */
static inline struct taskiface *pipes_task(struct pipes *p)
{
	char *argv[] = { "program", "--id", "t1", "--input-pipe", p->input, "--output-pipe",
		p->output, "--progress-pipe", p->progress, NULL };
	int argc = 9;
	struct taskiface *task = NULL;

	assert_int_equal(taskiface_open(&argc, argv, &task), 0);
	assert_int_equal(argc, 1);
	assert_null(argv[1]);
	return task;
}

/* Puts @len bytes into the input pipe; they must fit. */
static inline void pipes_give(struct pipes *p, const void *data, size_t len)
{
	assert_int_equal(write(p->input_fd, data, len), (ssize_t)len);
}

/* What can be read from @fd now, NUL-terminated; the caller frees. */
static inline char *pipes_take(int fd, size_t *ret_len)
{
	size_t len = 0, cap = 4 << 20;
	char *data = malloc(cap);
	ssize_t n;

	assert_non_null(data);
	while ((n = read(fd, data + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	assert_true(n == 0 || errno == EAGAIN);
	data[len] = '\0';
	if (ret_len)
		*ret_len = len;
	return data;
}

static inline void pipes_expect(int fd, const char *text)
{
	char *got = pipes_take(fd, NULL);

	assert_string_equal(got, text);
	free(got);
}

/* Fills a pipe to the last byte through its keeper. Gives how much it took. */
static inline size_t pipes_fill(int fd)
{
	static const char dots[4096] = { 0 };
	int flags = fcntl(fd, F_GETFL);
	size_t total = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while ((n = write(fd, dots, sizeof(dots))) > 0)
		total += (size_t)n;
	while (write(fd, dots, 1) > 0)
		total++;
	fcntl(fd, F_SETFL, flags);
	return total;
}

/* Takes out exactly @len bytes. */
static inline void pipes_drop(int fd, size_t len)
{
	char bytes[4096];

	while (len > 0) {
		ssize_t n = read(fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes));

		assert_true(n > 0);
		len -= (size_t)n;
	}
}

static inline int pipes_wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, SOON_MS);
}

static inline int count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
