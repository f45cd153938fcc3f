/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of libtaskiface share. Names begin with ti_: in the static library they are seen
 * by the linker, and must not meet a name of the program.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "taskiface/include/taskiface.h"

/* Bytes that grow; usable when zeroed, released with free(data). */
struct ti_buf {
	char *data;
	size_t len;
	size_t cap;
};

/* Our end of a pipe; opened when first used. */
struct ti_pipe {
	char *path; /* owned; NULL: a standard stream, then fd is its number */
	int fd;     /* -1: not open */
};

struct taskiface {
	char *id;
	int attempt;
	int64_t opened_ms;
	int64_t timeout_ms; /* -1: none */
	int64_t grace_ms;   /* -1: not known */

	struct ti_pipe input;
	struct ti_buf early; /* what an unfinished taskiface_read_all had read */
	bool input_ended;

	struct ti_pipe output;
	bool output_begun;
	bool output_ended;

	pthread_mutex_t lock; /* for what follows */
	struct ti_pipe progress;
	enum taskiface_progress_mode mode;
	int progress_timeout_ms;
	struct ti_buf begun; /* a record of which a part was written: must be finished first */
	size_t begun_sent;
	struct ti_buf next; /* a record of which nothing was written */
	bool failed;

	struct ti_destruct *destruct;
};

/* --- buf.c --- */

/* Makes room for @more bytes behind len, and one for a NUL. 0 or -ENOMEM. */
int ti_buf_reserve(struct ti_buf *b, size_t more);
int ti_buf_append(struct ti_buf *b, const void *data, size_t len);
int ti_buf_append_text(struct ti_buf *b, const char *text);

/* --- json.c: appending JSON to a record; 0 or -ENOMEM --- */

/* Length of the well-formed UTF-8 sequence at @s, of which @left bytes are there; 0: it is none. */
size_t ti_utf8_length(const unsigned char *s, size_t left);
/* @text as a JSON string, at most @max bytes of it, cut between characters. */
int ti_json_text(struct ti_buf *out, const char *text, size_t max);
/* Not with printf: a locale may write a comma. */
int ti_json_fraction(struct ti_buf *out, double fraction);
/* One JSON value, on one line. -EINVAL where it is not well-formed. */
int ti_json_value(struct ti_buf *out, const char *json);

/* --- io.c: descriptors and time --- */

int64_t ti_now_ms(void);
/* A point in time for ti_now_ms; INT64_MAX: never. */
int64_t ti_deadline(int64_t timeout_ms);
/* Waits until @fd is ready for @events. 0, -ETIMEDOUT, or -ECANCELED if @cancel_fd (may be -1) is
 * readable, which goes first. */
int ti_wait(int fd, short events, int64_t deadline, int cancel_fd);
int ti_open_for_reading(struct ti_pipe *p);
/* Waits for a reader where there is none yet. 0, -ETIMEDOUT, or another error. */
int ti_open_for_writing(struct ti_pipe *p, int64_t deadline);
/* A number of bytes, 0 at the end, -ETIMEDOUT, -ECANCELED, or another error. */
ssize_t ti_read(struct ti_pipe *p, void *buffer, size_t size, int64_t deadline, int cancel_fd);
/* Writes what there is room for, raising no SIGPIPE. A number of bytes from 1, -EAGAIN, or an
 * error. */
ssize_t ti_write_some(const struct ti_pipe *p, const void *data, size_t len);
/* Writes all, waiting for room. 0 or an error; *@ret_done is how many bytes went in any case. */
int ti_write_until(
	struct ti_pipe *p, const void *data, size_t len, int64_t deadline, size_t *ret_done);
/* Closes what is ours. */
void ti_pipe_close(struct ti_pipe *p);

/* --- progress.c --- */

/* Appends the record that declares a failure. 0 or -ENOMEM. */
int ti_failure_record(struct ti_buf *out, const char *kind, const char *message);

/* --- cancel.c --- */

/* The descriptor to give to ti_wait; -1 where nothing is watched. */
int ti_cancel_fd(const struct taskiface *task);
/* When the cancellation came; 0: it did not. */
int64_t ti_cancelled_at_ms(const struct taskiface *task);
void ti_cancel_unwatch(struct taskiface *task);

/* --- destruct.c --- */

/* Disarms and releases; NULL is fine. Gives NULL. */
struct ti_destruct *ti_destruct_stop(struct ti_destruct *d);
