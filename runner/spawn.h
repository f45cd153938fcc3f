/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Starting a process, the fast way: clone(CLONE_VM | CLONE_VFORK) shares our memory until exec, so
 * the cost does not grow with our size, and the child can leave the reason of a failure in our
 * memory (docs/architecture.md, "Spawning"). The child gets: a session and process group of its
 * own; SIGKILL when the runner's main thread ends; default signal dispositions and an empty mask;
 * the three standard descriptors named here and no other.
 *
 * Main thread only: the parent-death signal belongs to the thread that spawns.
 */

#include <sys/types.h>

#include "common/error.h"

struct spawn_request {
	const char *path;      /* of the executable; no PATH search */
	char *const *argv;     /* NULL-terminated */
	char *const *environ;  /* NULL-terminated */
	const char *directory; /* working directory */
	int stdin_fd, stdout_fd, stderr_fd;
	int group; /* directory of the control group that it starts in (cgroup.h); 0: ours */
};

/* SPAWN_PIPES comes before all of this: what the program was to be given could not be made. */
enum spawn_stage { SPAWN_PIPES, SPAWN_CLONE, SPAWN_DIRECTORY, SPAWN_DESCRIPTORS, SPAWN_EXEC };

struct spawn_result {
	pid_t pid;              /* valid after 0 */
	enum spawn_stage stage; /* where it failed */
	int group_error;        /* positive errno: it runs, but in our own control group */
};

/* 0 once the program runs (its exec succeeded), else the negative errno of the stage that failed;
 * nothing is left of the child then. Blocks for as long as clone and exec take: some 50 us, or 100
 * with a group. Where clone3 is forbidden (Docker's default seccomp profile) a group costs some 10
 * ms on an idle machine: the kernel then waits until no processor can be looking at the old group.
 */
int spawn(const struct spawn_request *request, struct spawn_result *ret);

/* Is this errno the fault of the machine (no memory, no more processes or descriptors), so that the
 * same request may well succeed later? */
int spawn_error_is_hosts(int code);
