/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bytes: a borrowed view (struct slice) and a growing buffer with a bound (struct buf).
 *
 * A buf is usable when zeroed. `max` 0 means no bound; with a bound, an append that would exceed it
 * changes nothing and returns -EMSGSIZE. Content is never NUL-terminated by itself.
 * Any thread, one at a time.
 */

#include <stdbool.h>
#include <stddef.h>

struct slice {
	const char *data; /* NULL means absent, which differs from empty */
	size_t len;
};

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;
};

/* The view of a C string; absent for NULL. */
struct slice slice_of(const char *text);
bool slice_equal(struct slice s, const char *text);
/* A NUL-terminated copy (an empty one of an absent slice), which the caller must free; NULL when
 * memory is short. */
char *slice_dup(struct slice s);

/* 0, -ENOMEM or -EMSGSIZE; after failure the content is as it was. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_text(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for @len more bytes and gives the place to write them; the caller then adds to len. */
int buf_reserve(struct buf *b, size_t len, char **ret_at);
/* Drops the first @len bytes (at most all). */
void buf_consume(struct buf *b, size_t len);
/* Empties, keeps the memory. */
void buf_clear(struct buf *b);
/* Gives the memory to the caller (to be freed with free) and leaves the buf empty. */
char *buf_steal(struct buf *b, size_t *ret_len);
/* The view of the content: never absent, empty where there is none. Valid until the next append. */
struct slice buf_slice(const struct buf *b);
/* Frees; the buf is zeroed but for its bound, and usable again. NULL is fine. */
void buf_deinit(struct buf *b);
