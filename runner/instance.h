/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One life of a runner: its id, its private directory, and its guardian.
 *
 * The guardian is a small process that outlives a runner that was killed: it kills what the
 * runner's tasks left (the program itself has died by its parent-death signal; its children are in
 * the control group of cgroup.h, or carry the mark of tree.h), removes the directory, and ends.
 * Where the runner ends well it says so, and the guardian just ends. It also kills a runner that
 * hangs or was stopped, because its tasks go on while nobody can say whose they are: once
 * instance_alive was called, it must be called again and again.
 *
 * instance_start must be called before there are threads.
 */

#include <sys/types.h>

#include "common/error.h"

struct instance {
	char id[24];     /* unique, hexadecimal */
	char *base;      /* where the directory was made */
	char *directory; /* mode 0700 */
	pid_t guardian;
	int guardian_fd;
};

/* @base: where the directory is made (made itself, if only its last part is missing); NULL: the
 * first of $RUNTIME_DIRECTORY, $TMPDIR, /run, /dev/shm, /tmp that can be written. 0 or a negative
 * errno. */
int instance_start(struct instance *instance, const char *base, struct error *err);
/* The runner's loop turns. If it is not said again within @patience_ms the runner is killed. */
void instance_alive(struct instance *instance, unsigned patience_ms);
/* What a guardian would have done for the dead instance @id, had it not been killed too. */
void instance_clear_dead(const char *base, const char *id);
/* Ends the guardian, waits for it, removes the directory. */
void instance_stop(struct instance *instance);
