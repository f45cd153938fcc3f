/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * `taskrunner exec`: one program through the engine, without a broker, for people who write tasks.
 * Progress, messages and the program's own stdout and stderr go to stderr, the output to stdout.
 * A reader of stderr that is slow slows the program; one that is gone ends it.
 */

#include "runner/config.h"

struct exec_options {
	struct config *config;  /* limits; its catalogue is consulted first, and taken */
	const char *program;    /* a name from the catalogue or PATH, or a path */
	const char *input_file; /* NULL: no input; "-": stdin */
	char *const *arguments; /* NULL-terminated, put before the pipe arguments */
	const char *id;         /* a valid one; NULL: "exec" */
	uint64_t timeout_us;    /* 0: none */
	const enum pipe_arguments *pipe_arguments; /* NULL: as configured */
};

/* Exit statuses of its own. A program that ended by itself passes its own on, or 128 + the signal
 * that ended it. */
enum {
	EXEC_FAILED = 1,
	EXEC_USAGE = 2,
	EXEC_TIMED_OUT = 124,
	EXEC_NOT_EXECUTABLE = 126,
	EXEC_NOT_FOUND = 127,
	EXEC_CANCELLED = 130
};

/* Gives the exit status of the whole command. */
int exec_run(const struct exec_options *options);
