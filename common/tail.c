/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 256

void tail_init(struct tail *t, size_t size)
{
	*t = (struct tail){ .size = size };
}

/* Copies what is kept to @at, oldest first. */
static void unroll(const struct tail *t, char *at)
{
	size_t first = t->cap - t->start;

	if (t->len == 0)
		return;
	if (first > t->len)
		first = t->len;
	memcpy(at, t->data + t->start, first);
	memcpy(at + first, t->data, t->len - first);
}

/* Tries for room for @want bytes in all (at most `size`); what cannot be had is done without. */
static void grow(struct tail *t, size_t want)
{
	size_t cap = t->cap < SMALLEST / 2 ? SMALLEST : t->cap * 2;
	char *data;

	if (want <= t->cap)
		return;
	if (cap < want)
		cap = want;
	if (cap > t->size)
		cap = t->size;
	data = malloc(cap);
	if (!data)
		return;
	unroll(t, data);
	free(t->data);
	t->data = data;
	t->cap = cap;
	t->start = 0;
}

void tail_write(struct tail *t, const void *data, size_t len)
{
	const char *bytes = data;
	size_t want, at, first;

	t->total += len;
	if (t->size == 0 || len == 0)
		return;
	want = len >= t->size || t->len >= t->size - len ? t->size : t->len + len;
	grow(t, want);
	if (t->cap == 0)
		return;

	if (len > t->cap) {
		bytes += len - t->cap;
		len = t->cap;
	}
	if (t->len + len > t->cap) {
		size_t forget = t->len + len - t->cap;

		t->start = (t->start + forget) % t->cap;
		t->len -= forget;
	}
	at = (t->start + t->len) % t->cap;
	first = t->cap - at < len ? t->cap - at : len;
	memcpy(t->data + at, bytes, first);
	memcpy(t->data, bytes + first, len - first);
	t->len += len;
}

int tail_copy(const struct tail *t, struct buf *out)
{
	char *at;
	int r = buf_reserve(out, t->len, &at);

	if (r < 0)
		return r;
	unroll(t, at);
	out->len += t->len;
	return 0;
}

void tail_deinit(struct tail *t)
{
	if (!t)
		return;
	free(t->data);
	tail_init(t, t->size);
}
