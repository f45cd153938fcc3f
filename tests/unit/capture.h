/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is written to a descriptor while a test looks: to a file, or to a terminal. */

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int fd;    /* which */
	int saved; /* what it was */
	int from;  /* where to read what was written */
	char text[65536];
};

static inline void capture_into(struct capture *c, int fd, int target)
{
	fflush(NULL);
	c->fd = fd;
	c->saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	assert_true(c->saved >= 0 && dup2(target, fd) == fd);
}

static inline void capture_start(struct capture *c, int fd)
{
	c->from = memfd_create("captured", MFD_CLOEXEC);
	assert_true(c->from >= 0);
	capture_into(c, fd, c->from);
}

/* A terminal that many columns wide; 0: it does not know. */
static inline void capture_terminal(struct capture *c, int fd, unsigned short columns)
{
	const struct winsize size = { .ws_row = 24, .ws_col = columns };
	int terminal;

	assert_int_equal(openpty(&c->from, &terminal, NULL, NULL, &size), 0);
	capture_into(c, fd, terminal);
	close(terminal);
}

/* All since the start or the last call, as text. */
static inline const char *captured(struct capture *c)
{
	struct pollfd readable = { .fd = c->from, .events = POLLIN };
	size_t len = 0;
	ssize_t n = 0;

	fflush(NULL);
	if (isatty(c->from)) {
		while (len < sizeof(c->text) - 1 && poll(&readable, 1, 0) > 0 &&
			(n = read(c->from, c->text + len, sizeof(c->text) - 1 - len)) > 0)
			len += (size_t)n;
	} else {
		n = pread(c->from, c->text, sizeof(c->text) - 1, 0);
		assert_true(n >= 0 && ftruncate(c->from, 0) == 0);
		lseek(c->from, 0, SEEK_SET);
		len = (size_t)n;
	}
	c->text[len] = '\0';
	return c->text;
}

/* Before anything is asserted: what fails has to be seen. */
static inline const char *capture_end(struct capture *c)
{
	const char *text = captured(c);

	dup2(c->saved, c->fd);
	close(c->saved);
	close(c->from);
	return text;
}
