/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One event, one line: time, level, event word, then key=value; foreign text is quoted and escaped,
 * so that a line is always one line.
 *
 *	log_info("task.started", LOG_S("task", id), LOG_I("pid", pid));
 *	2026-01-02T03:04:05.678Z info task.started task=4711 pid=99
 *
 * Only daemons and main programs log; layers below return errors (docs/architecture.md).
 *
 * A line goes out with one write, on stderr by default, and is at most 4096 bytes long: long values
 * are cut. If whoever reads is slower than we are, the line is dropped and counted rather than
 * waited for; the count is told once there is room again (log.dropped). Any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

struct log_field {
	const char *key;
	enum { LOG_FIELD_TEXT, LOG_FIELD_INT } kind;
	struct slice text;
	int64_t number;
};

#define LOG_S(k, v)     ((struct log_field){ .key = (k), .kind = LOG_FIELD_TEXT, .text = slice_of(v) })
#define LOG_SLICE(k, v) ((struct log_field){ .key = (k), .kind = LOG_FIELD_TEXT, .text = (v) })
#define LOG_I(k, v)     ((struct log_field){ .key = (k), .kind = LOG_FIELD_INT, .number = (v) })
#define LOG_E(err)      LOG_S("error", (err)->text)
#define LOG_ERRNO(code) LOG_S("error", log_errno_text(code))

#define log_at(level, event, ...)                                                                 \
	do {                                                                                      \
		if (log_wants(level)) {                                                           \
			const struct log_field _fields[] = { __VA_ARGS__ __VA_OPT__(, ){ 0 } };   \
			log_write(level, event, _fields, sizeof(_fields) / sizeof(*_fields) - 1); \
		}                                                                                 \
	} while (0)

#define log_error(event, ...)  log_at(LOG_ERROR, event __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(event, ...)   log_at(LOG_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define log_notice(event, ...) log_at(LOG_NOTICE, event __VA_OPT__(, ) __VA_ARGS__)
#define log_info(event, ...)   log_at(LOG_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define log_debug(event, ...)  log_at(LOG_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)

/* Lines go to @fd from now on (default 2; borrowed). */
void log_open(int fd);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
/* "error", "warn", "notice", "info", "debug"; 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret);
const char *log_level_name(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);
/* Text of an errno (sign ignored), e.g. "No such file or directory". Static or the thread's own
 * memory. */
const char *log_errno_text(int code);
