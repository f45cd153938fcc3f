/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The process trees of tasks: a task's program leads a session and process group of its own; what
 * leaves that group (setsid, double fork) becomes a child of the runner, which is a subreaper, as
 * soon as its parent is gone. Whose it is, is told by its session, else by the mark in its
 * environment. What carries neither hides from us and is treated as nobody's: killed whenever a
 * task ends.
 *
 * Main thread. No function here waits.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In the environment of every task: "<instance of the runner>/<serial of the task>". */
#define TREE_MARK "TASKRUNNER_TASK"

/* Makes this process the parent of orphans below it. 0 or a negative errno. */
int tree_become_subreaper(void);

/* What the walker must know about who is who. */
struct tree_view {
	/* A process that the runner itself started and that lives: a task's program, the guardian.
	 */
	bool (*is_own)(void *userdata, pid_t pid);
	/* Is it in the control group of the task, whatever it did to its session and environment?
	 * 1, 0: in that of another, or -1: nothing is known. NULL: there are no groups. */
	int (*is_in_group)(void *userdata, pid_t pid);
	/* A mark of a task that has not ended. */
	bool (*is_live_mark)(void *userdata, const char *mark);
	void *userdata;
};

/* Sends @signal to the group; false when the group has no member (any more). */
bool tree_signal_group(pid_t group, int signal);
/* Kills all children of the runner that belong to the task (or to nobody). @leader: of its session;
 * 0 when nothing has that number any more. Gives how many were found; their own children come to
 * light when they are gone, so call again until it is 0. A negative errno where that cannot be
 * known now. */
int tree_kill_strays(const struct tree_view *view, pid_t leader, const char *mark);

/* Kills every process of this machine that carries a mark of @instance, but not @except. Gives how
 * many were found. For the guardian, and for what a dead runner left. */
unsigned tree_kill_marked(const char *instance, pid_t except);

/* Finds the mark in the environment of @pid. 1; 0 when there is none, or none that we may see; a
 * negative errno when there is no room to look. */
int tree_read_mark(pid_t pid, char *ret, size_t size);

/* A process as proc(5) tells it (stat). */
struct tree_process {
	pid_t pid, parent, session;
	char state;      /* 'T' and 't' are stopped, 'Z' and 'X' dead */
	uint64_t bytes;  /* resident */
	uint64_t cpu_us; /* with that of children which it has waited for */
};

/* Every process that can be seen, ascending by number, in a new list (free). 0 or a negative errno.
 */
int tree_list(struct tree_process **ret, size_t *ret_n);
/* The one of this number in such a list; NULL. */
const struct tree_process *tree_find(const struct tree_process *list, size_t n, pid_t pid);
