/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is done to the whole process tree of a task: to whom a process belongs, its control group
 * (cgroup.h) where it has one, stopping and letting go on, ending.
 *
 * Without a group the tree is stopped with SIGSTOP: the program's group at once, the rest when
 * /proc has been looked at, which is done once for all tasks that wait for it, and again until some
 * looks in a row find none that still goes on: so what was born meanwhile is found, too.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "runner/engine_private.h"
#include "runner/spawn.h"

/* Looking again for what goes on in a paused tree: 1 ms, doubling to 1 s (a process may hang in the
 * kernel, where it cannot be stopped). */
#define TEND_MIN_US 1000ULL
#define TEND_MAX_US 1000000ULL
/* A look takes some time, in which a process can hand over to another behind our back; hardly so
 * again and again. */
#define CALM_LOOKS 4
/* Parents, from a process up to the program. */
#define GENERATIONS_MAX 100000

/* ---- whose is it? ---- */

static struct task *find_by_pid(const struct engine *engine, pid_t pid)
{
	struct task *task;
	HASH_FIND(hh_pid, engine->by_pid, &pid, sizeof(pid), task);
	return task;
}

static struct task *find_by_serial(const struct engine *engine, uint64_t serial)
{
	for (struct task *task = engine->by_id; serial && task; task = task->hh_id.next)
		if (task->serial == serial)
			return task;
	return NULL;
}

static struct task *find_by_group(const struct engine *engine, pid_t pid)
{
	return engine->groups.fd < 0 ? NULL
				     : find_by_serial(engine, cgroup_owner(&engine->groups, pid));
}

static struct task *find_by_mark(const struct engine *engine, const char *mark)
{
	for (struct task *task = engine->by_id; task; task = task->hh_id.next)
		if (task->pid && strcmp(task->mark, mark) == 0)
			return task;
	return NULL;
}

/* Of what came to us when its parent was gone. */
static struct task *find_owner_of_orphan(const struct engine *engine, pid_t pid)
{
	char mark[128];
	if (pid == engine->options.guardian)
		return NULL;
	struct task *task = find_by_group(engine, pid);
	return !task && tree_read_mark(pid, mark, sizeof(mark)) > 0 ? find_by_mark(engine, mark)
								    : task;
}

struct task *engine_owner(const struct engine *engine, const struct tree_process *list, size_t n,
	const struct tree_process *process)
{
	const struct tree_process *first = process;
	pid_t own = getpid();
	for (int i = 0; i < GENERATIONS_MAX; i++) {
		struct task *task = find_by_pid(engine, process->session);
		if (task || process->parent == 0)
			return task;
		const struct tree_process *parent = tree_find(list, n, process->parent);
		/* Its parent died while we looked: it is an orphan by now. */
		if (process->parent == own || !parent) {
			task = find_owner_of_orphan(engine, process->pid);
			/* So may it have been: then, what it left says the same of itself. */
			return task || process == first ? task
							: find_owner_of_orphan(engine, first->pid);
		}
		process = parent;
	}
	return NULL;
}

/* ---- ending ---- */

static bool is_own(void *userdata, pid_t pid)
{
	const struct engine *engine = ((struct task *)userdata)->engine;
	return find_by_pid(engine, pid) ||
	       (engine->options.guardian && pid == engine->options.guardian);
}

static int is_in_group(void *userdata, pid_t pid)
{
	const struct task *task = userdata, *owner = find_by_group(task->engine, pid);
	return owner ? owner == task : -1;
}

static bool is_live_mark(void *userdata, const char *mark)
{
	return find_by_mark(((struct task *)userdata)->engine, mark) != NULL;
}

/* Removes the group, or kills what is in it. */
static bool end_group(struct task *task)
{
	if (!task->has_group)
		return true;
	/* While it is there: what it has used is gone with it. */
	task_look_at_group(task);
	int r = cgroup_end(&task->engine->groups, task->serial);
	if (r < 0)
		log_warn("task.group-not-removed", LOG_S("task", task->request.id), LOG_ERRNO(r),
			LOG_S("proceeding", "it is left"));
	task->has_group = r > 0;
	return !task->has_group;
}

int task_kill_tree(struct task *task)
{
	const struct tree_view view = {
		.is_own = is_own,
		.is_in_group = task->engine->groups.fd >= 0 ? is_in_group : NULL,
		.is_live_mark = is_live_mark,
		.userdata = task,
	};
	/* Once empty it is never signalled again: its number may come to mean something else. */
	if (!task->pid_is_gone && !tree_signal_group(task->pid, SIGKILL))
		task->pid_is_gone = true;
	int strays = tree_kill_strays(&view, task->pid_is_gone ? 0 : task->pid, task->mark);
	bool group_is_gone = end_group(task);
	if (strays != 0)
		return strays;
	return !task->pid_is_gone || !group_is_gone;
}

/* ---- the group ---- */

void engine_make_groups(struct engine *engine)
{
	struct error err = { 0 };
	if (engine->options.config->no_cgroups)
		return;
	if (cgroup_open(&engine->groups, engine->options.instance, &err) < 0)
		log_notice("engine.no-cgroups", LOG_S("reason", err.text),
			LOG_S("proceeding", "tasks are ended and paused without"));
}

static void give_up_groups(struct task *task, int error)
{
	struct engine *engine = task->engine;
	if (!engine->groups_fail)
		log_warn("engine.cgroups-failed", LOG_S("task", task->request.id), LOG_ERRNO(error),
			LOG_S("proceeding", "it and those that follow run without"));
	engine->groups_fail = true;
}

int task_make_group(struct task *task)
{
	struct engine *engine = task->engine;
	if (engine->groups.fd < 0 || engine->groups_fail)
		return 0;
	int fd = cgroup_make(&engine->groups, task->serial);
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return fd;
	if (fd < 0)
		give_up_groups(task, fd);
	task->has_group = fd >= 0;
	task->group_knows_memory = task->has_group && engine->groups.has_memory;
	return fd < 0 ? 0 : fd;
}

void task_leave_group(struct task *task, int error)
{
	if (error)
		give_up_groups(task, error);
	if (task->has_group)
		cgroup_end(&task->engine->groups, task->serial);
	task->has_group = task->group_knows_memory = false;
}

/* ---- stopping and going on ---- */

static void tend_in(struct engine *engine, uint64_t us)
{
	sd_event_source_set_time(engine->tend_source, clock_now_us() + us);
	sd_event_source_set_enabled(engine->tend_source, SD_EVENT_ONESHOT);
}

static void tend_process(const struct tree_process *process, struct task *task)
{
	if (task->tending == TENDING_TO_STOP && !strchr("TtZX", process->state)) {
		kill(process->pid, SIGSTOP);
		task->tended = true;
	} else if (task->tending == TENDING_TO_CONTINUE) {
		kill(process->pid, SIGCONT);
	}
}

/* An orphan that lived when the list was made, and has died since, cannot be asked any more whose
 * it was; it may have left another. */
static bool has_died_since(const struct tree_process *process)
{
	siginfo_t info = { 0 };
	return process->parent == getpid() && process->state != 'Z' &&
	       waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == process->pid;
}

/* false: it could not be looked, or not well enough. */
static bool tend_all(struct engine *engine)
{
	cleanup_free struct tree_process *list = NULL;
	size_t n = 0;
	bool is_sure = true;
	if (tree_list(&list, &n) < 0)
		return false;
	for (struct task *task = engine->by_id; task; task = task->hh_id.next)
		task->tended = false;
	/* The youngest first: it is the one that goes on to fork, where each leaves its work to the
	 * next. */
	for (size_t i = n; i-- > 0;) {
		struct task *task = engine_owner(engine, list, n, &list[i]);
		if (task)
			tend_process(&list[i], task);
		else if (has_died_since(&list[i]))
			is_sure = false;
	}
	return is_sure;
}

static int on_tend(sd_event_source *source, uint64_t now, void *userdata)
{
	struct engine *engine = userdata;
	bool looked = tend_all(engine), again = !looked;
	(void)source;
	(void)now;
	for (struct task *task = engine->by_id; looked && task; task = task->hh_id.next) {
		task->calm_looks = task->tended ? 0 : task->calm_looks + 1;
		if (task->tending == TENDING_TO_STOP && task->calm_looks < CALM_LOOKS)
			again = true;
		else
			task->tending = TENDING_NOTHING;
	}
	if (again) {
		tend_in(engine, engine->tend_us);
		engine->tend_us *= engine->tend_us < TEND_MAX_US ? 2 : 1;
	}
	return 0;
}

int engine_tend_init(struct engine *engine)
{
	int r = sd_event_add_time(engine->loop, &engine->tend_source, CLOCK_BOOTTIME, UINT64_MAX,
		100, on_tend, engine);
	return r < 0 ? r : sd_event_source_set_enabled(engine->tend_source, SD_EVENT_OFF);
}

static void tend(struct task *task, enum tending tending)
{
	task->tending = tending;
	task->calm_looks = 0;
	task->engine->tend_us = TEND_MIN_US;
	tend_in(task->engine, 0);
}

void task_hold(struct task *task)
{
	if (task->has_group && cgroup_freeze(&task->engine->groups, task->serial, true) == 0) {
		task->is_frozen = true;
		return;
	}
	tree_signal_group(task->pid, SIGSTOP);
	tend(task, TENDING_TO_STOP);
}

void task_let_go(struct task *task)
{
	if (task->is_frozen) {
		int r = cgroup_freeze(&task->engine->groups, task->serial, false);
		if (r < 0)
			log_error("task.not-thawed", LOG_S("task", task->request.id), LOG_ERRNO(r));
		task->is_frozen = false;
		return;
	}
	if (!task->pid_is_gone)
		tree_signal_group(task->pid, SIGCONT);
	tend(task, TENDING_TO_CONTINUE);
}
