/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/clock.h"

struct memory_entry {
	UT_hash_handle hh;
	uint64_t added_us;
	uint64_t print;
	char id[];
};

void memory_init(struct memory *memory, size_t max, uint64_t age_max_us)
{
	*memory = (struct memory){ .max = max, .age_max_us = age_max_us };
}

static void forget(struct memory *memory, struct memory_entry *entry)
{
	HASH_DEL(memory->entries, entry);
	free(entry);
}

/* uthash iterates in the order of insertion: the first is the oldest. */
static void forget_old(struct memory *memory, uint64_t now)
{
	while (memory->entries && (HASH_COUNT(memory->entries) > memory->max ||
					  now - memory->entries->added_us > memory->age_max_us))
		forget(memory, memory->entries);
}

static struct memory_entry *find(struct memory *memory, const char *id)
{
	struct memory_entry *entry;
	forget_old(memory, clock_now_us());
	HASH_FIND_STR(memory->entries, id, entry);
	return entry;
}

int memory_add(struct memory *memory, const char *id)
{
	return memory_add_print(memory, id, 0);
}

int memory_add_print(struct memory *memory, const char *id, uint64_t print)
{
	size_t len = strlen(id);
	memory_take(memory, id);
	struct memory_entry *entry = malloc(sizeof(*entry) + len + 1);
	if (!entry)
		return -ENOMEM;
	memcpy(entry->id, id, len + 1);
	entry->added_us = clock_now_us();
	entry->print = print;
	HASH_ADD_KEYPTR(hh, memory->entries, entry->id, len, entry);
	forget_old(memory, entry->added_us);
	return 0;
}

bool memory_has(struct memory *memory, const char *id)
{
	return find(memory, id);
}

bool memory_has_print(struct memory *memory, const char *id, uint64_t print)
{
	const struct memory_entry *entry = find(memory, id);
	return entry && entry->print == print;
}

bool memory_take(struct memory *memory, const char *id)
{
	struct memory_entry *entry = find(memory, id);
	if (entry)
		forget(memory, entry);
	return entry;
}

void memory_visit(const struct memory *memory,
	void (*tell)(const char *id, uint64_t print, void *userdata), void *userdata)
{
	for (struct memory_entry *entry = memory->entries; entry; entry = entry->hh.next)
		tell(entry->id, entry->print, userdata);
}

void memory_deinit(struct memory *memory)
{
	while (memory->entries)
		forget(memory, memory->entries);
}
