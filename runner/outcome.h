/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a task ended: from what is known about it to one status, one cause and one sentence. A pure
 * function, so that every combination can be tested.
 */

#include <stdint.h>

#include "runner/spawn.h"
#include "wire/progress.h"
#include "wire/wire.h"

/* What is known when a task has ended. */
struct evidence {
	const char *program; /* its name in the request */
	/* Why it never ran, or why it was ended by us; CAUSE_NONE if neither. */
	enum cause cause;
	const char
		*detail; /* for CAUSE_REFUSED, NOT_FOUND, PROTOCOL_ERROR: the sentence; else NULL */
	struct {
		int error; /* CAUSE_EXEC_FAILED: positive errno */
		enum spawn_stage stage;
		const char *path; /* that was to be executed */
	} spawn;
	bool ran;            /* wait_status counts */
	int wait_status;     /* as of waitpid(2) */
	bool memory_ran_out; /* the machine killed something for want of memory since */
	const struct progress_failure *failure; /* what the program said itself; NULL: nothing */
	uint64_t timeout_us, silence_us;        /* the limits that held */
	uint64_t output_max, progress_max;
};

struct outcome {
	enum status status; /* a final one */
	enum cause cause;
	int exit_code;   /* -1: it did not exit */
	int signal;      /* 0: no signal ended it */
	int error;       /* positive errno of CAUSE_EXEC_FAILED, else 0 */
	char kind[64];   /* what the program called its failure */
	char text[4608]; /* for a person; "" on success */
	uint64_t wall_us, cpu_us;
	uint64_t peak_memory; /* bytes, of all its processes together (engine_memory.c) */
};

/* Fills all of @ret but the resource use, which stays as it is. */
void outcome_judge(const struct evidence *evidence, struct outcome *ret);
/* "ENOENT" for 2. Static memory; "" for what has no name. */
const char *outcome_errno_name(int error);
