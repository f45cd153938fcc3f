/* SPDX-License-Identifier: Apache-2.0 */
#include "common/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64

struct slice slice_of(const char *text)
{
	return (struct slice){ .data = text, .len = text ? strlen(text) : 0 };
}

bool slice_equal(struct slice s, const char *text)
{
	if (!s.data || !text)
		return !s.data && !text;
	return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

char *slice_dup(struct slice s)
{
	char *copy;

	if (s.len == SIZE_MAX)
		return NULL;
	copy = malloc(s.len + 1);
	if (!copy)
		return NULL;
	if (s.len > 0)
		memcpy(copy, s.data, s.len);
	copy[s.len] = '\0';
	return copy;
}

/* Makes the capacity at least @need, without regard to the bound. */
static int grow(struct buf *b, size_t need)
{
	size_t cap = b->cap > PTRDIFF_MAX / 2 ? PTRDIFF_MAX : b->cap * 2;
	char *data;

	if (need <= b->cap)
		return 0;
	/* Doubling keeps appending linear; a bound is not overshot for its sake. */
	if (b->max > 0 && cap > b->max)
		cap = b->max;
	if (cap < SMALLEST && (b->max == 0 || b->max >= SMALLEST))
		cap = SMALLEST;
	if (cap < need)
		cap = need;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

/* @spare bytes more than the bound knows of, for a terminator that is no content. */
static int reserve(struct buf *b, size_t len, size_t spare)
{
	assert(b->len <= b->cap);
	if (b->max > 0 && (b->len > b->max || len > b->max - b->len))
		return -EMSGSIZE;
	/* No object can be larger, and no sum below overflows. */
	if (len > PTRDIFF_MAX - spare || len + spare > PTRDIFF_MAX - b->len)
		return -ENOMEM;
	return grow(b, b->len + len + spare);
}

int buf_reserve(struct buf *b, size_t len, char **ret_at)
{
	/* At least one byte, so that there is a place to point at. */
	int r = reserve(b, len, len == 0 && b->cap == 0);

	if (r < 0)
		return r;
	*ret_at = b->data + b->len;
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int r;

	if (len == 0)
		return 0;
	r = reserve(b, len, 0);
	if (r < 0)
		return r;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buf_append_text(struct buf *b, const char *text)
{
	return buf_append(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len, r;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return -ENOMEM;
	r = reserve(b, (size_t)len, 1);
	if (r < 0)
		return r;
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
	return 0;
}

void buf_consume(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
}

char *buf_steal(struct buf *b, size_t *ret_len)
{
	char *data = b->data;

	if (ret_len)
		*ret_len = b->len;
	*b = (struct buf){ .max = b->max };
	return data;
}

struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ .data = b->data ? b->data : "", .len = b->len };
}

void buf_deinit(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	*b = (struct buf){ .max = b->max };
}
