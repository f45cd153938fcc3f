/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The last bytes of a stream: a ring that forgets what is older than its size.
 * Memory grows with what is written, up to `size`. Usable after tail_init; any thread, one at a
 * time.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

struct tail {
	char *data;
	size_t size;    /* bytes kept at most; 0 keeps nothing */
	size_t cap;     /* bytes allocated */
	size_t start;   /* where the oldest byte is */
	size_t len;     /* bytes kept now */
	uint64_t total; /* bytes ever written */
};

void tail_init(struct tail *t, size_t size);
/* Never fails: when memory is short it keeps less. */
void tail_write(struct tail *t, const void *data, size_t len);
/* Appends what is kept, oldest first, to @out. 0 or -ENOMEM. */
int tail_copy(const struct tail *t, struct buf *out);
void tail_deinit(struct tail *t);
