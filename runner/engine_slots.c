/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who may start: caps of programs (their slots) and of labels. A task takes one of each that it
 * needs, all at once, from its start to its end. What has no room waits in one list, in the order
 * in which it should start.
 *
 * Whenever something comes free the list is walked. A task that cannot start claims one of each
 * that it needs, before all those behind it: so they do not take from it what it must have together
 * with something else, however long that takes; who needs none of these goes past it.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "runner/engine_private.h"

/* ---- what a task needs ---- */

static void look_for_starts(struct engine *engine)
{
	/* From the loop, not from here: what starts may end at once and come here again. */
	if (engine->waiting)
		sd_event_source_set_enabled(engine->kick_source, SD_EVENT_ONESHOT);
}

/* Of the entries that a program had, by reloads, the newest counts. */
static void set_max(struct engine *engine, struct cap *cap, unsigned max)
{
	if (cap->max == max)
		return;
	cap->max = max;
	look_for_starts(engine);
}

static struct cap *find_program(struct engine *engine, const struct program *program)
{
	struct cap *cap;
	HASH_FIND_STR(engine->programs, program->name, cap);
	if (!cap) {
		cap = calloc(1, sizeof(*cap));
		if (!cap || !(cap->name = strdup(program->name))) {
			free(cap);
			return NULL;
		}
		HASH_ADD_KEYPTR(hh, engine->programs, cap->name, strlen(cap->name), cap);
	}
	set_max(engine, cap, program->slots);
	return cap;
}

static void forget_unused(struct engine *engine, struct cap *cap)
{
	if (cap->used || cap->waiting)
		return;
	HASH_DELETE(hh, engine->programs, cap);
	free(cap->name);
	free(cap);
}

/* A label without a cap is nothing to wait for. */
static void add_label(struct engine *engine, struct cap **caps, const char *name, size_t len)
{
	struct cap *cap = NULL;
	for (size_t i = 0; i < engine->n_labels && !cap; i++)
		if (strncmp(engine->labels[i].name, name, len) == 0 &&
			engine->labels[i].name[len] == '\0')
			cap = &engine->labels[i];
	while (cap && *caps && *caps != cap)
		caps++;
	if (cap)
		*caps = cap;
}

static void add_labels(struct engine *engine, struct cap **caps, const struct request *request,
	const struct program *program)
{
	for (const char *at = request->labels; at && *at;) {
		size_t len = strcspn(at, ",");
		add_label(engine, caps, at, len);
		at += len + (at[len] == ',');
	}
	for (char **label = program->labels; label && *label; label++)
		add_label(engine, caps, *label, strlen(*label));
}

struct cap **engine_find_caps(
	struct engine *engine, const struct request *request, const struct program *program)
{
	/* Each of them once, and a NULL. */
	struct cap **caps = calloc(1 + engine->n_labels + 1, sizeof(struct cap *));
	if (!caps || !(caps[0] = find_program(engine, program))) {
		free(caps);
		return NULL;
	}
	add_labels(engine, caps, request, program);
	return caps;
}

void engine_drop_caps(struct engine *engine, struct cap **caps)
{
	if (caps)
		forget_unused(engine, caps[0]);
	free(caps);
}

/* ---- waiting ---- */

static bool is_queued(const struct task *task)
{
	return task->prev; /* utlist: every element of a list has a predecessor */
}

/* Mostly it is the last. */
static void enqueue(struct task *task)
{
	struct engine *engine = task->engine;
	struct task *before = engine->waiting ? engine->waiting->prev : NULL;
	while (before && before->launch.rank < task->launch.rank)
		before = before == engine->waiting ? NULL : before->prev;
	DL_APPEND_ELEM(engine->waiting, before, task); /* NULL: as the first */
	for (struct cap **cap = task->caps; *cap; cap++)
		(*cap)->waiting++;
}

static void dequeue(struct task *task)
{
	DL_DELETE(task->engine->waiting, task);
	task->prev = task->next = NULL;
	task->waits_for = NULL;
	for (struct cap **cap = task->caps; *cap; cap++)
		(*cap)->waiting--;
}

static void take_and_start(struct task *task)
{
	for (struct cap **cap = task->caps; *cap; cap++)
		(*cap)->used++;
	task_dispatch(task, TASK_ON_START);
}

static bool has_room(const struct cap *cap, unsigned ahead)
{
	return cap->max == 0 || cap->used + ahead < cap->max;
}

/* ---- who is next ---- */

static void forget_claims(struct engine *engine)
{
	for (struct cap *cap = engine->programs; cap; cap = cap->hh.next)
		cap->claimed = 0;
	for (size_t i = 0; i < engine->n_labels; i++)
		engine->labels[i].claimed = 0;
}

/* As those before it have left it. */
static struct cap *find_full(const struct task *task)
{
	for (struct cap **cap = task->caps; *cap; cap++)
		if (!has_room(*cap, (*cap)->claimed))
			return *cap;
	return NULL;
}

static struct task *find_next(struct engine *engine)
{
	struct task *task;
	forget_claims(engine);
	DL_FOREACH (engine->waiting, task) {
		task->waits_for = find_full(task);
		if (!task->waits_for)
			return task;
		for (struct cap **cap = task->caps; *cap; cap++)
			(*cap)->claimed++;
	}
	return NULL;
}

static int on_kick(sd_event_source *source, void *userdata)
{
	struct engine *engine = userdata;
	struct task *task;
	(void)source;
	/* From the beginning each time: a start may end, and bring others. */
	while ((task = find_next(engine))) {
		dequeue(task);
		take_and_start(task);
	}
	return 0;
}

/* Past those that wait only if there is room for all of them and it: then its rank is nothing to
 * think of. */
static struct cap *find_full_for_newcomer(const struct task *task)
{
	for (struct cap **cap = task->caps; *cap; cap++)
		if (!has_room(*cap, (*cap)->waiting))
			return *cap;
	return NULL;
}

void task_start_in_turn(struct task *task)
{
	task->waits_for = find_full_for_newcomer(task);
	if (!task->waits_for) {
		take_and_start(task);
		return;
	}
	enqueue(task);
	look_for_starts(task->engine);
}

void task_release_slot(struct task *task)
{
	struct engine *engine = task->engine;
	if (is_queued(task))
		dequeue(task);
	else
		for (struct cap **cap = task->caps; *cap; cap++)
			(*cap)->used--;
	engine_drop_caps(engine, task->caps);
	task->caps = NULL;
	look_for_starts(engine);
}

const char *task_waits_for(const struct task *task)
{
	if (!task->waits_for)
		return NULL;
	return task->waits_for == task->caps[0] ? "program" : task->waits_for->name;
}

/* ---- life ---- */

int engine_slots_init(struct engine *engine)
{
	const struct label_caps *labels = &engine->options.config->labels;
	engine->labels = calloc(labels->n + 1, sizeof(*engine->labels));
	if (!engine->labels)
		return -ENOMEM;
	engine->n_labels = labels->n;
	for (size_t i = 0; i < labels->n; i++) {
		engine->labels[i].name = labels->caps[i].name;
		engine->labels[i].max = labels->caps[i].max;
	}
	/* All sources have one priority: some pipe of a program that floods can always be read, and
	 * whatever came after the pipes would never come. */
	int r = sd_event_add_defer(engine->loop, &engine->kick_source, on_kick, engine);
	return r < 0 ? r : sd_event_source_set_enabled(engine->kick_source, SD_EVENT_OFF);
}

void engine_slots_deinit(struct engine *engine)
{
	assert(!engine->programs);
	sd_event_source_unref(engine->kick_source);
	free(engine->labels);
}
