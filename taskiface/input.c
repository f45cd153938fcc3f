/* SPDX-License-Identifier: Apache-2.0 */
#include "taskiface/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 65536 };

static ssize_t read_pipe(struct taskiface *t, void *buffer, size_t size, int64_t deadline)
{
	ssize_t n;
	int r;

	if (t->input_ended)
		return 0;
	r = ti_open_for_reading(&t->input);
	if (r < 0)
		return r;
	n = ti_read(&t->input, buffer, size, deadline, ti_cancel_fd(t));
	if (n == 0) {
		t->input_ended = true;
		ti_pipe_close(&t->input);
	}
	return n;
}

static size_t take_early(struct ti_buf *early, void *buffer, size_t size)
{
	size_t n = early->len < size ? early->len : size;

	memcpy(buffer, early->data, n);
	memmove(early->data, early->data + n, early->len - n);
	early->len -= n;
	return n;
}

ssize_t taskiface_read(struct taskiface *t, void *buffer, size_t size, int timeout_ms)
{
	if (size == 0)
		return -EINVAL;
	if (t->early.len > 0)
		return (ssize_t)take_early(&t->early, buffer, size);
	return read_pipe(t, buffer, size, ti_deadline(timeout_ms));
}

int taskiface_read_all(
	struct taskiface *t, size_t max, int timeout_ms, char **ret_data, size_t *ret_len)
{
	int64_t deadline = ti_deadline(timeout_ms);
	struct ti_buf *b = &t->early;

	for (;;) {
		ssize_t n;

		if (max > 0 && b->len > max)
			return -EMSGSIZE;
		if (ti_buf_reserve(b, CHUNK) < 0)
			return -ENOMEM;
		n = read_pipe(t, b->data + b->len, b->cap - b->len - 1, deadline);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		b->len += (size_t)n;
	}
	b->data[b->len] = '\0';
	*ret_data = b->data;
	*ret_len = b->len;
	*b = (struct ti_buf){ 0 };
	return 0;
}
