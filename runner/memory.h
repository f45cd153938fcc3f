/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A bounded memory of ids: those cancelled before their request came, those finished of late. The
 * oldest is forgotten when there are too many, and each after its time. Main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory {
	struct memory_entry *entries; /* uthash, oldest first */
	size_t max;
	uint64_t age_max_us;
};

void memory_init(struct memory *memory, size_t max, uint64_t age_max_us);
/* 0 or -ENOMEM. An id that is known becomes the newest. */
int memory_add(struct memory *memory, const char *id);
/* The same, with what tells one thing of this id from another. */
int memory_add_print(struct memory *memory, const char *id, uint64_t print);
bool memory_has(struct memory *memory, const char *id);
bool memory_has_print(struct memory *memory, const char *id, uint64_t print);
/* True if it was known; it is forgotten. */
bool memory_take(struct memory *memory, const char *id);
/* Tells all, from the oldest on. */
void memory_visit(const struct memory *memory,
	void (*tell)(const char *id, uint64_t print, void *userdata), void *userdata);
void memory_deinit(struct memory *memory);
