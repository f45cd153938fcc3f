/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The engine runs tasks: it makes their pipes and processes, serves all pipes at once, keeps time
 * limits, stops, drains, clears and judges. It knows no broker: who uses it (the daemon,
 * `taskrunner exec`) hands in requests and is told what happens through struct engine_front.
 *
 * Life: engine_new; engine_submit for each task; every task ends with exactly one on_final, after
 * which it must not be touched; engine_free when engine_count is 0.
 * Main thread, inside one sd-event loop. Nothing blocks but the start of a process (spawn.h).
 */

#include <systemd/sd-event.h>

#include "runner/catalogue.h"
#include "runner/outcome.h"
#include "runner/pipes.h"
#include "wire/request.h"

struct engine; /* opaque */
struct task;   /* opaque */

/* What the engine tells. The calls come from inside the loop or from the functions below. In them
 * tasks may be submitted, the relay paused, and the task itself stopped (engine_stop); the rest is
 * for the loop alone. Slices are borrowed for the call. */
struct engine_front {
	void (*on_running)(void *userdata, struct task *task);
	void (*on_progress)(
		void *userdata, struct task *task, struct slice record, enum progress_kind kind);
	void (*on_text)(void *userdata, struct task *task, enum pipe_end end, struct slice text);
	void (*on_cancelling)(void *userdata, struct task *task);
	/* @output: NULL data unless it succeeded. */
	void (*on_final)(void *userdata, struct task *task, const struct outcome *outcome,
		struct slice output);
	void *userdata;
	/* It is told to end, for whatever reason; may come again. May be NULL. */
	void (*on_ending)(void *userdata, struct task *task, enum cause cause);
};

struct engine_options {
	const struct config *config; /* limits; kept */
	const char *run_directory;   /* of this instance, exists; kept */
	const char *instance;        /* unique to this run of the runner; kept */
	pid_t guardian;              /* a child that is no task; 0: none */
	bool any_done;               /* terarium: any member "done" ends the progress */
	bool pauses_text; /* stdout and stderr are paused with the relay, until a task is ended */
};

int engine_new(sd_event *loop, const struct engine_options *options,
	const struct engine_front *front, struct engine **ret);
struct engine *engine_free(struct engine *engine); /* gives NULL; no task may be left */

/* Accepts @request (moved) to run @launch (moved) for the @attempt-th time. @front_data is the
 * caller's, see task_front_data. The task starts at once, or as soon as its program has a free
 * slot. -EEXIST: a task of this id is here; -ENOMEM. After a failure both are still the caller's.
 */
int engine_submit(struct engine *engine, struct request *request, struct launch *launch,
	unsigned attempt, void *front_data);

struct task *engine_find(struct engine *engine, const char *id);
size_t engine_count(const struct engine *engine);

/* Ends it for @cause (cancelled, shutting down): false when it is too late for that. */
bool engine_stop(struct engine *engine, struct task *task, enum cause cause);
/* The same without grace, also if it is being ended already. */
void engine_kill(struct task *task, enum cause cause);
/* All of them; @at_once: without grace, also those that are being ended already. */
void engine_stop_all(struct engine *engine, enum cause cause, bool at_once);
/* Ends those that have not started yet. */
void engine_stop_waiting(struct engine *engine, enum cause cause);
/* While paused no progress is read: a fast program is slowed by its own pipe. */
void engine_pause_relay(struct engine *engine, bool paused);

const struct request *task_request(const struct task *task);
const struct program *task_program(const struct task *task);
void *task_front_data(const struct task *task);
pid_t task_pid(const struct task *task); /* 0 before it runs */
/* The last part of what it wrote to stdout or stderr; appended to @out. 0 or -ENOMEM. */
int task_text(const struct task *task, enum pipe_end end, struct buf *out);
