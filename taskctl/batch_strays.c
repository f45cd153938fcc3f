/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "taskctl/batch.h"

struct stray {
	struct stray *next;
	struct taskclient_event *event;
};

int strays_add(struct strays *s, struct taskclient_event **event)
{
	struct stray *stray = calloc(1, sizeof(*stray));

	if (!stray)
		return -ENOMEM;
	stray->event = steal_ptr(*event);
	stray->next = s->first;
	s->first = stray;
	s->n++;
	return 0;
}

static struct taskclient_event *unlink_stray(struct strays *s, struct stray **at)
{
	struct stray *stray = *at;
	struct taskclient_event *event = stray->event;

	*at = stray->next;
	s->n--;
	free(stray);
	return event;
}

struct taskclient_event *strays_take(struct strays *s, const char *id)
{
	for (struct stray **at = &s->first; *at; at = &(*at)->next)
		if (strcmp((*at)->event->id, id) == 0)
			return unlink_stray(s, at);
	return NULL;
}

void strays_deinit(struct strays *s)
{
	while (s->first)
		taskclient_event_free(unlink_stray(s, &s->first));
}
