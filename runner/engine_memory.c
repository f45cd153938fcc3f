/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How much memory a task's processes hold together, and how much time they took. The kernel tells
 * at exit only what each held by itself at most, so the sum over the tree is looked at from time to
 * time while tasks run: once a second, or less often, so that the looking never takes more than a
 * hundredth of a processor. A control group knows the time, and with its memory controller the
 * memory too, at any moment.
 */

#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/text.h"
#include "runner/engine_private.h"

#define LOOK_US    1000000ULL
#define COST_RATIO 100

static void add(struct task *task, const struct tree_process *process)
{
	task->memory_now += process->bytes;
	task->cpu_now_us += process->cpu_us;
}

static void take(struct task *task)
{
	if (task->memory_now > task->peak_memory)
		task->peak_memory = task->memory_now;
	/* What was reaped since counts once, and a process that hides does not count backwards. */
	task->memory_seen = task->memory_now;
	if (task->cpu_us + task->cpu_now_us > task->cpu_seen_us)
		task->cpu_seen_us = task->cpu_us + task->cpu_now_us;
}

static void look(struct engine *engine)
{
	cleanup_free struct tree_process *list = NULL;
	struct task *task, *tmp;
	size_t n = 0;
	if (tree_list(&list, &n) < 0)
		return;
	HASH_ITER (hh_pid, engine->by_pid, task, tmp)
		task->memory_now = task->cpu_now_us = 0;
	for (size_t i = 0; i < n; i++)
		if ((task = engine_owner(engine, list, n, &list[i])))
			add(task, &list[i]);
	HASH_ITER (hh_pid, engine->by_pid, task, tmp)
		take(task);
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

/* ---- for who looks ---- */

void task_look_at_group(struct task *task)
{
	struct cgroup_usage usage;
	if (!task->has_group || cgroup_look(&task->engine->groups, task->serial, &usage) < 0)
		return;
	task->group_cpu_us = usage.cpu_us;
	task->group_oom_kills = usage.oom_kills;
	if (usage.peak_memory)
		task->peak_memory = usage.peak_memory;
}

uint64_t task_cpu_us(const struct task *task)
{
	return task->group_cpu_us > task->cpu_us ? task->group_cpu_us : task->cpu_us;
}

static const char *word_of(const struct task *task)
{
	static const char *const words[TASK_STATES] = {
		[TASK_WAITING] = "waiting",
		[TASK_STARTING] = "waiting",
		[TASK_RUNNING] = "running",
		[TASK_PAUSED] = "paused",
		[TASK_STOPPING] = "ending",
		[TASK_KILLING] = "ending",
		[TASK_DRAINING] = "ending",
		[TASK_CLEARING] = "ending",
		[TASK_ENDED] = "ending",
	};
	return words[task->state];
}

static void look_at_use(const struct task *task, struct task_view *ret)
{
	struct cgroup_usage usage = { 0 };
	ret->cpu_us = task->cpu_seen_us > task_cpu_us(task) ? task->cpu_seen_us : task_cpu_us(task);
	ret->memory = task->exited ? 0 : task->memory_seen;
	ret->peak_memory = task->peak_memory;
	if (!task->has_group || cgroup_look(&task->engine->groups, task->serial, &usage) < 0)
		return;
	ret->cpu_us = usage.cpu_us;
	if (usage.memory)
		ret->memory = usage.memory;
	if (usage.peak_memory)
		ret->peak_memory = usage.peak_memory;
}

static void copy_message(const char *text, struct task_view *ret)
{
	struct buf clean = { 0 };
	size_t max = sizeof(ret->message) - sizeof("…");
	if (text_append_clean(&clean, slice_of(text), max) == 0 && clean.len > 0 &&
		clean.len < sizeof(ret->message))
		memcpy(ret->message, clean.data, clean.len);
	buf_deinit(&clean);
}

static void take_report(const struct progress_report *report, struct task_view *ret)
{
	ret->progress = report->has_fraction ? report->fraction : -1;
	if (report->message)
		copy_message(report->message, ret);
}

static void look_at_progress(const struct task *task, struct task_view *ret)
{
	struct progress_report report;
	ret->progress = -1;
	if (task->last_record.len == 0) {
		take_report(&task->last_report, ret);
	} else if (progress_report_decode(buf_slice(&task->last_record), &report) == 0) {
		take_report(&report, ret);
		progress_report_deinit(&report);
	}
}

void task_look(const struct task *task, struct task_view *ret)
{
	*ret = (struct task_view){
		.state = word_of(task),
		.waits_for = task_waits_for(task),
		.pid = task->exited ? 0 : task->pid,
		.started_us = task->started_us,
		.attempt = task->attempt,
	};
	if (task->started_us)
		ret->running_us = task_running_us(task);
	look_at_use(task, ret);
	look_at_progress(task, ret);
}
