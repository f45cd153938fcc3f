/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress records.
 *
 * A record waits in `next` while nothing of it was written; there a newer one may take its place. A
 * write(2) of at most PIPE_BUF bytes goes whole or not at all. A longer record may go in part: then
 * it moves to `begun`, and is finished before anything else, so that no record is ever cut short.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { KIND_MAX = 63, MESSAGE_MAX = 4095, BUFFER_KEPT = 65536, NO_READER_PAUSE_MS = 10 };

static void empty(struct ti_buf *b)
{
	b->len = 0;
	if (b->cap > BUFFER_KEPT) {
		free(b->data);
		*b = (struct ti_buf){ 0 };
	}
}

/* Writes what there is room for. When all of @record went, or a part of it, which then is in
 * `begun`, it is empty afterwards. 0, -EAGAIN: no room, or an error. */
static int offer(struct taskiface *t, struct ti_buf *record)
{
	ssize_t n = ti_write_some(&t->progress, record->data, record->len);

	if (n < 0)
		return (int)n;
	if ((size_t)n < record->len) {
		struct ti_buf spare = t->begun;

		t->begun = *record;
		t->begun_sent = (size_t)n;
		*record = spare;
	}
	empty(record);
	return 0;
}

static int finish_begun(struct taskiface *t)
{
	while (t->begun.len > 0) {
		ssize_t n = ti_write_some(
			&t->progress, t->begun.data + t->begun_sent, t->begun.len - t->begun_sent);

		if (n < 0)
			return (int)n;
		t->begun_sent += (size_t)n;
		if (t->begun_sent == t->begun.len)
			empty(&t->begun);
	}
	return 0;
}

/* Sends what waits and then @record, as far as that goes without waiting. 0: all of it went;
 * -EAGAIN; after another error nothing is kept, because nothing can be sent any more. */
static int send_at_once(struct taskiface *t, struct ti_buf *record)
{
	int r = ti_open_for_writing(&t->progress, 0);

	if (r == -ETIMEDOUT)
		return -EAGAIN; /* no reader yet */
	if (r == 0)
		r = finish_begun(t);
	if (r == 0 && t->next.len > 0)
		r = offer(t, &t->next);
	if (r == 0 && t->begun.len == 0 && record->len > 0)
		r = offer(t, record);
	if (r == 0 && t->begun.len > 0)
		r = -EAGAIN;
	if (r < 0 && r != -EAGAIN) {
		empty(&t->begun);
		empty(&t->next);
	}
	return r;
}

/* Nobody waits with the lock held: in TASKIFACE_PROGRESS_LATEST no call may be kept waiting. */
static int wait_unlocked(struct taskiface *t, int64_t deadline)
{
	const int64_t soon = ti_now_ms() + NO_READER_PAUSE_MS;
	int fd = t->progress.fd, r;

	pthread_mutex_unlock(&t->lock);
	if (fd >= 0) {
		r = ti_wait(fd, POLLOUT, deadline, -1);
	} else {
		r = ti_wait(-1, 0, soon < deadline ? soon : deadline, -1);
		if (r == -ETIMEDOUT && soon < deadline)
			r = 0;
	}
	pthread_mutex_lock(&t->lock);
	return r;
}

/* With the lock. @record is not empty afterwards if nothing of it was sent. */
static int send_until(struct taskiface *t, struct ti_buf *record, int64_t deadline)
{
	for (;;) {
		int r = send_at_once(t, record);

		if (r == -EAGAIN)
			r = wait_unlocked(t, deadline);
		else
			return r;
		if (r < 0)
			return r;
	}
}

/* With the lock: @record takes the place of what was not begun. */
static int send_latest(struct taskiface *t, struct ti_buf *record)
{
	struct ti_buf nothing = { 0 }, old = t->next;
	int r;

	t->next = *record;
	*record = old;
	r = send_at_once(t, &nothing);
	return r == -EAGAIN ? 0 : r;
}

/* Takes the record, also on failure. */
static int report(struct taskiface *t, struct ti_buf *record)
{
	int r = -EMSGSIZE;

	if (record->len <= TASKIFACE_RECORD_MAX) {
		pthread_mutex_lock(&t->lock);
		if (t->mode == TASKIFACE_PROGRESS_WAIT)
			r = send_until(t, record, ti_deadline(t->progress_timeout_ms));
		else
			r = send_latest(t, record);
		pthread_mutex_unlock(&t->lock);
	}
	free(record->data);
	return r;
}

/* ["{" or ","] "name": */
static int member(struct ti_buf *out, const char *name)
{
	int r = ti_buf_append_text(out, out->len == 0 ? "{\"" : ",\"");

	if (r == 0)
		r = ti_buf_append_text(out, name);
	return r < 0 ? r : ti_buf_append_text(out, "\":");
}

static int close_record(struct ti_buf *out)
{
	int r = out->len == 0 ? ti_buf_append_text(out, "{") : 0;

	return r < 0 ? r : ti_buf_append_text(out, "}\n");
}

int ti_failure_record(struct ti_buf *out, const char *kind, const char *message)
{
	int r = member(out, "taskiface");

	if (r == 0)
		r = ti_json_text(out, "fail", SIZE_MAX);
	if (r == 0 && kind)
		r = member(out, "kind");
	if (r == 0 && kind)
		r = ti_json_text(out, kind, KIND_MAX);
	if (r == 0 && message)
		r = member(out, "message");
	if (r == 0 && message)
		r = ti_json_text(out, message, MESSAGE_MAX);
	return r < 0 ? r : close_record(out);
}

static int progress_record(
	struct ti_buf *out, double fraction, const char *message, const char *data_json)
{
	const bool known = fraction == fraction; /* else it is not a number */
	int r = 0;

	if (known)
		r = member(out, "fraction");
	if (r == 0 && known)
		r = ti_json_fraction(out, fraction);
	if (r == 0 && message)
		r = member(out, "message");
	if (r == 0 && message)
		r = ti_json_text(out, message, SIZE_MAX);
	if (r == 0 && data_json)
		r = member(out, "data");
	if (r == 0 && data_json)
		r = ti_json_value(out, data_json);
	return r < 0 ? r : close_record(out);
}

int taskiface_progress(
	struct taskiface *t, double fraction, const char *message, const char *data_json)
{
	struct ti_buf record = { 0 };
	int r = progress_record(&record, fraction, message, data_json);

	if (r < 0) {
		free(record.data);
		return r;
	}
	return report(t, &record);
}

int taskiface_progress_raw(struct taskiface *t, const void *bytes, size_t len)
{
	struct ti_buf record = { 0 };

	if (len == 0)
		return -EINVAL;
	if (len > TASKIFACE_RECORD_MAX)
		return -EMSGSIZE;
	if (ti_buf_append(&record, bytes, len) < 0)
		return -ENOMEM;
	return report(t, &record);
}

int taskiface_progress_mode(struct taskiface *t, enum taskiface_progress_mode mode, int timeout_ms)
{
	if (mode != TASKIFACE_PROGRESS_WAIT && mode != TASKIFACE_PROGRESS_LATEST)
		return -EINVAL;
	t->mode = mode;
	t->progress_timeout_ms = timeout_ms;
	return 0;
}

int taskiface_flush(struct taskiface *t, int timeout_ms)
{
	struct ti_buf nothing = { 0 };
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (t->begun.len > 0 || t->next.len > 0)
		r = send_until(t, &nothing, ti_deadline(timeout_ms));
	pthread_mutex_unlock(&t->lock);
	return r;
}

static int send_failure(struct taskiface *t, struct ti_buf *record, int64_t deadline)
{
	int r = -EALREADY;

	pthread_mutex_lock(&t->lock);
	if (!t->failed) {
		t->failed = true; /* before the lock is let go of */
		r = send_until(t, record, deadline);
		t->failed = r == 0 || record->len == 0;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

int taskiface_fail(struct taskiface *t, const char *kind, const char *message, int timeout_ms)
{
	struct ti_buf record = { 0 };
	int r = ti_failure_record(&record, kind, message);

	if (r == 0)
		r = send_failure(t, &record, ti_deadline(timeout_ms));
	free(record.data);
	return r;
}
