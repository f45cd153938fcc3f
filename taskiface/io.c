/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors and deadlines.
 *
 * Pipes that we open are non-blocking, and every wait is a poll(2) with what is left of one
 * absolute deadline. Standard streams are shared with whoever started the program, so their flags
 * are left alone: we poll first and then move no more than one page, for which poll promises room.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

int64_t ti_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now); /* as the runner counts */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ti_deadline(int64_t timeout_ms)
{
	int64_t now = ti_now_ms();

	return timeout_ms < 0 || timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
}

/* For poll(2): rounded up to what it can take; the caller looks at the clock again. */
static int poll_timeout(int64_t deadline)
{
	int64_t left;

	if (deadline == INT64_MAX)
		return -1;
	left = deadline - ti_now_ms();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int ti_wait(int fd, short events, int64_t deadline, int cancel_fd)
{
	struct pollfd fds[] = {
		{ .fd = cancel_fd, .events = POLLIN },
		{ .fd = fd, .events = events },
	};

	for (;;) {
		int timeout = poll_timeout(deadline);
		int n = poll(fds, 2, timeout);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			return fds[0].revents ? -ECANCELED : 0;
		if (n == 0 && timeout == 0)
			return -ETIMEDOUT;
	}
}

static int open_pipe(const char *path, int flags)
{
	int fd;

	do
		fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int ti_open_for_reading(struct ti_pipe *p)
{
	int fd;

	if (p->fd >= 0)
		return 0;
	fd = open_pipe(p->path, O_RDONLY);
	if (fd < 0)
		return fd;
	p->fd = fd;
	return 0;
}

int ti_open_for_writing(struct ti_pipe *p, int64_t deadline)
{
	int pause_ms = 1;

	if (p->fd >= 0)
		return 0;
	for (;;) {
		int fd = open_pipe(p->path, O_WRONLY);
		int left = poll_timeout(deadline);

		if (fd >= 0) {
			p->fd = fd;
			return 0;
		}
		if (fd != -ENXIO) /* a pipe without a reader, which nothing can be waited on for */
			return fd;
		if (left == 0)
			return -ETIMEDOUT;
		poll(NULL, 0, left > 0 && left < pause_ms ? left : pause_ms);
		pause_ms = pause_ms < 25 ? 2 * pause_ms : 50;
	}
}

/* The wait comes first in each round: a pipe that no writer has opened yet reads as ended, but is
 * not reported as such by poll. */
ssize_t ti_read(struct ti_pipe *p, void *buffer, size_t size, int64_t deadline, int cancel_fd)
{
	for (;;) {
		int r = ti_wait(p->fd, POLLIN, deadline, cancel_fd);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(p->fd, buffer, size < SSIZE_MAX ? size : SSIZE_MAX);
		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

/* A write to a pipe without reader raises SIGPIPE in the thread that writes. It is held back, and
 * taken away again, unless one was pending before. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
	const struct timespec at_once = { 0 };
	sigset_t only_pipe, pending, before;
	ssize_t n;
	int code;

	sigemptyset(&only_pipe);
	sigaddset(&only_pipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &only_pipe, &before);
	n = write(fd, data, len);
	code = errno;
	if (n < 0 && code == EPIPE && !sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&only_pipe, NULL, &at_once) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n < 0 ? -code : n;
}

ssize_t ti_write_some(const struct ti_pipe *p, const void *data, size_t len)
{
	ssize_t n;

	if (!p->path) {
		int r = ti_wait(p->fd, POLLOUT, 0, -1);

		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
		if (len > PIPE_BUF)
			len = PIPE_BUF;
	}
	do
		n = write_quietly(p->fd, data, len < SSIZE_MAX ? len : SSIZE_MAX);
	while (n == -EINTR);
	return n;
}

int ti_write_until(
	struct ti_pipe *p, const void *data, size_t len, int64_t deadline, size_t *ret_done)
{
	const char *bytes = data;
	int r;

	*ret_done = 0;
	r = ti_open_for_writing(p, deadline);
	while (r == 0 && *ret_done < len) {
		ssize_t n = ti_write_some(p, bytes + *ret_done, len - *ret_done);

		if (n >= 0)
			*ret_done += (size_t)n;
		else if (n == -EAGAIN)
			r = ti_wait(p->fd, POLLOUT, deadline, -1);
		else
			r = (int)n;
	}
	return r;
}

void ti_pipe_close(struct ti_pipe *p)
{
	if (p->path && p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}
