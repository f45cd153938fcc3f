/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A control group (version 2) for each task, where one can be had: nothing that a program starts
 * can leave it unseen, all of it can be stopped, ended and measured at once. An instance of the
 * runner makes one group below its own, "taskrunner-<instance>", and in that one for each task,
 * named by its serial. No controller is needed; where the memory controller is handed on to us,
 * what it counts is used.
 *
 * None can be had where there is no version 2 (a hybrid system has it beside version 1, and that
 * will do), where it is read-only (Docker, unless asked for) or somebody else's (an ordinary user
 * to whom systemd delegates none), or before Linux 5.2. The functions that take a task's serial
 * must not be called then (`fd` is -1).
 *
 * Main thread. No function here waits, but for the disk that there is not.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

struct cgroup {
	int fd;          /* directory of the instance's group; -1: there are no groups */
	char *directory; /* its path */
	char *name;      /* the same as /proc/PID/cgroup says it */
	bool has_memory; /* tasks' groups have the memory controller */
};

#define CGROUP_NONE ((struct cgroup){ .fd = -1 })

/* Makes the group of @instance. 0, or a negative errno with the reason in @err; *ret is CGROUP_NONE
 * then. */
int cgroup_open(struct cgroup *ret, const char *instance, struct error *err);
/* Removes it. Fine with CGROUP_NONE. */
void cgroup_close(struct cgroup *groups);

/* Makes the group of a task and gives its directory, for spawn(); a negative errno. */
int cgroup_make(const struct cgroup *groups, uint64_t serial);
/* Removes it if nothing lives in it, else kills what does: call again until it is 0. 1: not yet; a
 * negative errno: nor will it ever be. */
int cgroup_end(const struct cgroup *groups, uint64_t serial);
/* All that is in it stops, or goes on; what is killed meanwhile dies at once. 0 or a negative
 * errno. */
int cgroup_freeze(const struct cgroup *groups, uint64_t serial, bool frozen);
/* The serial of the task in whose group @pid is; 0: in none of ours, or it cannot be told. */
uint64_t cgroup_owner(const struct cgroup *groups, pid_t pid);

struct cgroup_usage {
	uint64_t cpu_us;
	/* Only where the group has the memory controller: */
	uint64_t memory, peak_memory; /* bytes; 0: not known */
	uint64_t oom_kills;
};

/* What all that is or was in the group has used. 0 or a negative errno. */
int cgroup_look(const struct cgroup *groups, uint64_t serial, struct cgroup_usage *ret);

/* Kills what a dead instance left in its group, wherever that is, and removes it: call again until
 * it is false. */
bool cgroup_clear(const char *instance);

/* Opens the file that counts, as "oom_kill N", how many processes the kernel has ended for want of
 * memory: in our own group, where the memory controller (of version 2 or 1) tells, else on all of
 * the machine. A descriptor or a negative errno. */
int cgroup_open_oom_kills(void);
/* Reads that; 0 where it cannot be told. */
uint64_t cgroup_read_oom_kills(int fd);
