/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An engine with a loop, a directory and a record of all that it told, for tests that run real
 * programs. world_close checks what must hold after every test: each task was told its end exactly
 * once, and no process, descriptor, pipe or file is left.
 *
 * The executables that include this may be started again in a role (roles.h).
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/engine.h"

/* A deadline for what must happen: long, for slow machines under valgrind, and never waited out. */
enum { SOON_MS = 60000 };

/* What the engine told of one task. */
struct seen {
	struct seen *next;
	char id[ID_MAX + 1];
	struct task *task; /* NULL after its end */
	unsigned n_running, n_progress, n_cancelling, n_paused, n_resumed, n_final;
	struct buf progress; /* each record and a newline */
	struct buf text[2];  /* stdout, stderr */
	struct outcome outcome;
	bool has_output;
	struct buf output;
	pid_t pid;
	struct program program; /* what it was started from */
	char *argv[16];
};

struct world {
	sd_event *loop;
	struct engine *engine;
	struct config config;
	char directory[64];
	char instance[32];
	unsigned n_fds;     /* before there was an engine */
	struct seen *tasks; /* newest first */
	unsigned n_jobs, n_tasks, n_running, n_final;
	unsigned running_now, running_most;
	/* Called after it was noted; may be NULL. */
	void (*on_running)(struct world *w, struct seen *seen);
	void (*on_progress)(struct world *w, struct seen *seen);
	void (*on_text)(struct world *w, struct seen *seen);
	void (*on_cancelling)(struct world *w, struct seen *seen);
	void (*on_paused)(struct world *w, struct seen *seen);
	void (*on_resumed)(struct world *w, struct seen *seen);
	void (*on_final)(struct world *w, struct seen *seen);
	void *data; /* for those */
};

/* What to submit. Zero is the default of everything. */
struct job {
	const char *id;      /* NULL: one is made */
	const char *sh;      /* a script for /bin/sh -c; else: */
	const char *role[8]; /* of this executable, with arguments; else: */
	const char *path;    /* of an executable */
	const char *name;    /* of the program; NULL: the id */
	struct slice input;
	uint64_t timeout_ms, silence_ms;
	unsigned slots;
	const char *labels; /* of the request: "a,b" */
	char **program_labels;
	int rank;
	char **environment;
	const char *directory;
	enum pipe_arguments pipe_arguments;
};

/* For cmocka: *state becomes a struct world. */
int world_open(void **state);
int world_close(void **state);
/* Without control groups. */
int world_open_bare(void **state);
/* An engine of its own settings: between these two w->config may be changed. */
struct world *world_prepare(void);
void world_start(struct world *w);

struct seen *submit(struct world *w, const struct job *job);
/* The same from a script alone. */
struct seen *submit_sh(struct world *w, const char *script);
int try_submit(struct world *w, const struct job *job, struct seen **ret);

/* Runs the loop until @is_so; fails when it does not come about. */
void run_until(struct world *w, bool (*is_so)(void *data), void *data);
void run_until_final(struct world *w, struct seen *seen);
void run_until_progress(struct world *w, struct seen *seen, unsigned n);
void run_until_all_final(struct world *w);
/* Runs the loop for a while in which nothing particular is expected. */
void run_for_ms(struct world *w, unsigned ms);

/* The last of everything: runs to the end and expects it so. */
void expect_success(struct world *w, struct seen *seen, const char *output);
void expect_failure(struct world *w, struct seen *seen, enum cause cause, const char *text);

/* Where the group of an instance of this name is; false where there can be none. */
bool try_find_group(const char *instance, char *ret, size_t size, struct error *err);
/* The same; fails where there can be none: tests of groups need them. */
void find_group(const char *instance, char *ret, size_t size);

unsigned count_fds(void);
unsigned count_entries(const char *directory);
/* How many processes of this machine carry @text in their environment. */
unsigned count_processes_with(const char *text);
char process_state(pid_t pid); /* the letter of proc(5); 0: there is none of that number */
bool process_lives(pid_t pid); /* and is no zombie */
/* Waits until it is gone or a zombie; fails after the deadline. */
void wait_until_dead(pid_t pid);
/* @len bytes that differ from place to place; to be freed. */
char *noise(size_t len);
/* True under a tool that makes vfork a fork, so that the reason of a failed exec cannot come back.
 */
bool exec_errors_are_lost(void);
