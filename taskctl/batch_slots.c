/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taskctl/batch.h"
#include "wire/fingerprint.h"

int slots_init(struct slots *s, size_t size)
{
	*s = (struct slots){ .size = size, .n_places = 2 * size };
	s->ring = calloc(size, sizeof(*s->ring));
	s->index = calloc(s->n_places, sizeof(*s->index));
	return s->ring && s->index ? 0 : -ENOMEM;
}

static struct slot **place(const struct slots *s, const char *id)
{
	struct slice text = slice_of(id);

	return &s->index[fingerprint(&text, 1) % s->n_places];
}

struct slot *slots_at(const struct slots *s, size_t i)
{
	return &s->ring[(s->first + i) % s->size];
}

struct slot *slots_find(const struct slots *s, const char *id)
{
	struct slot *slot = *place(s, id);

	while (slot && strcmp(slot->id, id) != 0)
		slot = slot->next;
	return slot;
}

struct slot *slots_add(struct slots *s, const char *id, struct batch_task *task)
{
	struct slot *slot = slots_at(s, s->n++), **at = place(s, id);

	*slot = (struct slot){ .next = *at, .task = *task };
	snprintf(slot->id, sizeof(slot->id), "%s", id);
	*task = (struct batch_task){ 0 };
	*at = slot;
	s->counts[SLOT_UNSENT]++;
	return slot;
}

void slots_set(struct slots *s, struct slot *slot, enum slot_state state)
{
	s->counts[slot->state]--;
	s->counts[state]++;
	slot->state = state;
}

void slots_drop(struct slots *s)
{
	struct slot *slot = slots_at(s, 0), **at = place(s, slot->id);

	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	s->counts[slot->state]--;
	batch_task_deinit(&slot->task);
	buf_deinit(&slot->record);
	s->first = (s->first + 1) % s->size;
	s->n--;
}

void slots_deinit(struct slots *s)
{
	while (s->n > 0)
		slots_drop(s);
	free(s->ring);
	free(s->index);
	*s = (struct slots){ 0 };
}
