/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exec_console.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "wire/progress.h"

/* What a slow reader has not taken yet before no more is brought. */
#define FULL        (64 * 1024)
#define TEXT_MAX    (1024 * 1024)
#define SAID_MAX    8192
#define MESSAGE_MAX 500

static void set_full(struct console *c, bool full)
{
	if (c->is_full == full)
		return;
	c->is_full = full;
	if (c->on_full)
		c->on_full(c->userdata, full);
}

/* Nothing of what is kept can be written. */
static void drop(struct console *c, int error)
{
	buf_clear(&c->backlog);
	if (error != EPIPE || c->is_lost)
		return;
	c->is_lost = true;
	if (c->on_lost)
		c->on_lost(c->userdata);
}

/* Writes what is taken without waiting, or, with @timeout_ms -1, all. */
static void flush(struct console *c, int timeout_ms)
{
	while (c->backlog.len > 0) {
		struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
		/* A pipe that polls writable takes this much without blocking. */
		size_t len = c->backlog.len < PIPE_BUF ? c->backlog.len : PIPE_BUF;
		int n_ready = poll(&room, 1, timeout_ms);
		if (n_ready == 0)
			return;
		ssize_t n = n_ready < 0 ? -1 : write(STDERR_FILENO, c->backlog.data, len);
		if (n >= 0)
			buf_consume(&c->backlog, (size_t)n);
		else if (errno == EAGAIN && timeout_ms == 0)
			return;
		else if (errno != EINTR && errno != EAGAIN)
			drop(c, errno);
	}
}

static int on_writable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct console *c = userdata;
	(void)fd, (void)events;
	flush(c, 0);
	if (c->backlog.len > 0)
		return 0;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	set_full(c, false);
	return 0;
}

/* 0 or a negative errno. */
static int listen_for_room(struct console *c)
{
	if (!c->source)
		return sd_event_add_io(
			c->loop, &c->source, STDERR_FILENO, EPOLLOUT, on_writable, c);
	return sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

static void send(struct console *c)
{
	if (c->is_lost)
		buf_clear(&c->backlog);
	/* What the loop cannot watch is a file, and never full. */
	flush(c, c->loop ? 0 : -1);
	if (c->backlog.len > 0 && listen_for_room(c) < 0)
		flush(c, -1);
	if (c->backlog.len > FULL)
		set_full(c, true);
}

void console_attach(struct console *c, sd_event *loop, void (*on_full)(void *userdata, bool full),
	void (*on_lost)(void *userdata), void *userdata)
{
	c->loop = loop;
	c->on_full = on_full;
	c->on_lost = on_lost;
	c->userdata = userdata;
}

void console_finish(struct console *c)
{
	c->source = sd_event_source_unref(c->source);
	c->loop = NULL;
	c->on_full = NULL;
	c->on_lost = NULL;
	flush(c, -1);
}

void console_deinit(struct console *c)
{
	console_finish(c);
	buf_deinit(&c->backlog);
}

static void note(struct console *c, struct slice said)
{
	if (said.len > 0)
		c->in_line = said.data[said.len - 1] != '\n';
}

void console_text(struct console *c, struct slice text)
{
	if (c->backlog.len < TEXT_MAX) {
		(void)buf_append(&c->backlog, text.data, text.len);
		note(c, text);
	}
	send(c);
}

static void begin_line(struct console *c)
{
	if (c->in_line)
		(void)buf_append_text(&c->backlog, "\n");
	c->in_line = false;
}

void console_make_way(struct console *c, struct slice coming)
{
	if (coming.len == 0)
		return;
	begin_line(c);
	send(c);
	note(c, coming);
}

void console_progress(struct console *c, struct slice record)
{
	begin_line(c);
	(void)progress_append_line(&c->backlog, record, MESSAGE_MAX);
	send(c);
}

void console_say(struct console *c, const char *format, ...)
{
	char text[SAID_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	begin_line(c);
	(void)buf_printf(&c->backlog, "taskrunner: %s\n", text);
	send(c);
}
