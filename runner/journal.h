/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an instance of a runner leaves for the next one on the same machine, should it be killed: a
 * file `taskrunner-<instance>.journal` beside its directory, locked (flock) while the instance
 * lives, with the tasks whose final response is safe, a print of the request and the id on a line.
 * So a request that comes back because its acknowledgement was never sent is not answered twice;
 * and what the dead one had parked can be fetched home at once.
 *
 * Also, in the same way, what it gave back with nothing left elsewhere: what it told the others by
 * the word "free" (suspects.c), for the case that none was there. With such lines the file stays
 * when the instance ends in good order, and the next one takes it up and removes it.
 *
 * Written without fsync: it is to outlive the runner, not the machine. Main thread.
 */

#include <stddef.h>

#include "runner/memory.h"

#define JOURNAL_DEAD_MAX 16

struct journal {
	char *path;
	int fd; /* -1: there is none; all functions do nothing then */
	size_t lines;
	size_t freed; /* of them, requests that were given back */
	/* Dead instances that were found, whose journals are locked by us now. */
	struct journal_dead {
		char id[24];
		char *path;
		int fd;
	} dead[JOURNAL_DEAD_MAX];
	size_t n_dead;
};

/* Makes the file for @id in @base. 0 or a negative errno; the runner can work without. @journal
 * begins as { .fd = -1 }. */
int journal_open(struct journal *journal, const char *base, const char *id);
/* It is for the next one, though we end in good order. */
void journal_leave(struct journal *journal);
/* Removes the file, if the next one need not know anything of it; those of the dead only if they
 * were settled. */
void journal_close(struct journal *journal);
/* Notes @task, whose request has @print. Written anew from @finished when it has grown too long. */
void journal_add(
	struct journal *journal, const char *task, uint64_t print, const struct memory *finished);
/* @task was given back, by the act that @giving stands for (suspects_giving), and is nowhere else:
 * the broker has confirmed the one copy that was published, and taken the acknowledgement of all
 * else. */
void journal_add_freed(struct journal *journal, const char *task, uint64_t giving);
/* Finds dead instances in @base and adds what they had finished to @finished, what they gave back
 * to
 * @freed; also of those that ended in good order, which are not listed. Those that are being looked
 * after by another runner, or are more than JOURNAL_DEAD_MAX, are left for later. */
void journal_find_dead(
	struct journal *journal, const char *base, struct memory *finished, struct memory *freed);
/* Nothing of the @i-th dead instance is left at the broker. */
void journal_settle(struct journal *journal, size_t i);
