/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How much memory a task's processes hold together. The kernel tells at exit only what each held by
 * itself at most, so the sum over the session is looked at from time to time while tasks run: once
 * a second, or less often, so that the looking never takes more than a hundredth of a processor.
 */

#include "common/clock.h"
#include "runner/engine_private.h"

#define LOOK_US    1000000ULL
#define COST_RATIO 100

static void add(void *userdata, pid_t session, uint64_t bytes)
{
	struct engine *engine = userdata;
	struct task *task;
	HASH_FIND(hh_pid, engine->by_pid, &session, sizeof(session), task);
	if (task)
		task->memory_now += bytes;
}

static void look(struct engine *engine)
{
	struct task *task, *tmp;
	HASH_ITER (hh_pid, engine->by_pid, task, tmp)
		task->memory_now = 0;
	tree_walk_memory(add, engine);
	HASH_ITER (hh_pid, engine->by_pid, task, tmp)
		if (task->memory_now > task->peak_memory)
			task->peak_memory = task->memory_now;
}

static void look_again_in(struct engine *engine, uint64_t us)
{
	sd_event_source_set_time(engine->memory_source, clock_now_us() + us);
	sd_event_source_set_enabled(engine->memory_source, SD_EVENT_ONESHOT);
	engine->looks_at_memory = true;
}

static int on_look(sd_event_source *source, uint64_t now, void *userdata)
{
	struct engine *engine = userdata;
	uint64_t since = clock_now_us();
	(void)source;
	(void)now;
	engine->looks_at_memory = false;
	/* Nothing runs, nothing wakes up. */
	if (!engine->by_pid)
		return 0;
	look(engine);
	uint64_t cost = clock_now_us() - since;
	look_again_in(engine, cost * COST_RATIO > LOOK_US ? cost * COST_RATIO : LOOK_US);
	return 0;
}

int engine_memory_init(struct engine *engine)
{
	int r = sd_event_add_time(engine->loop, &engine->memory_source, CLOCK_BOOTTIME, UINT64_MAX,
		100000, on_look, engine);
	return r < 0 ? r : sd_event_source_set_enabled(engine->memory_source, SD_EVENT_OFF);
}

void engine_memory_watch(struct engine *engine)
{
	if (!engine->looks_at_memory)
		look_again_in(engine, LOOK_US);
}
