/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"

/* A pipe that polls writable takes this much without blocking (PIPE_BUF): no line is longer. */
#define LINE_BYTES 4096
/* Quotes and ellipsis around a value, and the newline. */
#define VALUE_FRAME 6

static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LOG_INFO;

/* Between poll and write no other thread may take the room. Held only while nothing blocks. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t log_n_dropped;

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void log_open(int fd)
{
	atomic_store(&log_fd, fd);
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

bool log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (int i = LOG_ERROR; text && i <= LOG_DEBUG; i++)
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

const char *log_errno_text(int code)
{
	static _Thread_local char unknown[32];
	unsigned number = code < 0 ? 0u - (unsigned)code : (unsigned)code;
	const char *text = strerrordesc_np((int)number);

	if (text)
		return text;
	snprintf(unknown, sizeof(unknown), "error %u", number);
	return unknown;
}

static void append_start(struct buf *line, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm utc;
	char stamp[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	buf_printf(
		line, "%s.%03ldZ %s %s", stamp, now.tv_nsec / 1000000, level_names[level], event);
}

/* False when the line has no room left for the field. A long value is shortened first: to what
 * fits if nothing in it is escaped, then further. */
static bool append_field(struct buf *line, const struct log_field *field)
{
	size_t before = line->len, room;

	if (buf_printf(line, " %s=", field->key) < 0)
		return false;
	if (field->kind == LOG_FIELD_INT) {
		if (buf_printf(line, "%lld", (long long)field->number) == 0)
			return true;
	} else {
		room = line->max - line->len;
		room = room > VALUE_FRAME ? room - VALUE_FRAME : 0;
		do
			if (text_append_quoted(line, field->text, room) == 0)
				return true;
		while ((room /= 2) > 8);
	}
	line->len = before;
	return false;
}

/* Writes if that will not block. Held: log_mutex. */
static bool write_line(int fd, struct slice line)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	/* POLLERR alone: the reader is gone, and a write would only raise SIGPIPE. */
	if (poll(&room, 1, 0) != 1 || room.revents != POLLOUT)
		return false;
	do
		n = write(fd, line.data, line.len);
	while (n < 0 && errno == EINTR);
	return n >= 0;
}

/* Says how many lines were lost, now that there is room. Held: log_mutex. */
static void tell_dropped(int fd)
{
	char memory[128];
	struct buf line = { .data = memory, .cap = sizeof(memory), .max = sizeof(memory) - 1 };

	append_start(&line, LOG_WARN, "log.dropped");
	buf_printf(&line, " count=%llu\n", (unsigned long long)log_n_dropped);
	if (write_line(fd, buf_slice(&line)))
		log_n_dropped = 0;
}

static void write_or_count(struct slice line)
{
	int fd = atomic_load(&log_fd);

	pthread_mutex_lock(&log_mutex);
	if (log_n_dropped > 0)
		tell_dropped(fd);
	if (log_n_dropped > 0 || !write_line(fd, line))
		log_n_dropped++;
	pthread_mutex_unlock(&log_mutex);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
	char memory[LINE_BYTES];
	/* The bound equals the memory, less what printf's terminator and the ending take, so the
	 * buf never reallocates: a line costs no allocation, and can be written when memory is
	 * short. */
	struct buf line = { .data = memory, .cap = sizeof(memory), .max = sizeof(memory) - 8 };
	int saved = errno;
	size_t i;

	append_start(&line, level, event);
	for (i = 0; i < n && append_field(&line, &fields[i]); i++)
		;
	line.max = sizeof(memory);
	if (i < n)
		buf_append_text(&line, " \xE2\x80\xA6");
	buf_append_text(&line, "\n");
	write_or_count(buf_slice(&line));
	errno = saved;
}
