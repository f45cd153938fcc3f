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
 * tasks may be submitted, the relay paused, and the task itself stopped, paused and resumed; the
 * rest is for the loop alone. Slices are borrowed for the call. */
struct engine_front {
	void (*on_running)(void *userdata, struct task *task);
	void (*on_progress)(
		void *userdata, struct task *task, struct slice record, enum progress_kind kind);
	void (*on_text)(void *userdata, struct task *task, enum pipe_end end, struct slice text);
	void (*on_cancelling)(void *userdata, struct task *task);
	void (*on_paused)(void *userdata, struct task *task);  /* may be NULL */
	void (*on_resumed)(void *userdata, struct task *task); /* may be NULL */
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
 * caller's, see task_front_data. The task starts at once, or as soon as its program has a free slot
 * and each label of its program and its request, as far as they have a cap; of those that wait,
 * those with a higher launch.rank first, then those that came first. -EEXIST: a task of this id is
 * here; -ENOMEM. After a failure both are still the caller's.
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
/* Stops all of its tree until it is resumed; its time limits stand still. True also when it is
 * paused already; false when it does not run, or is being ended. What ends a running task ends a
 * paused one, too: asked to end, it goes on and has its grace. */
bool engine_pause(struct engine *engine, struct task *task);
/* True also when it runs; false when it does not run yet, or is being ended. */
bool engine_resume(struct engine *engine, struct task *task);
/* Sends @signal to the program's group. False when there is none, as it does not run or is being
 * ended, or when that is no signal; SIGCONT is refused while it is paused. */
bool engine_signal(struct task *task, int signal);
/* While paused no progress is read: a fast program is slowed by its own pipe. */
void engine_pause_relay(struct engine *engine, bool paused);

const struct request *task_request(const struct task *task);
const struct program *task_program(const struct task *task);
void *task_front_data(const struct task *task);
pid_t task_pid(const struct task *task); /* 0 before it runs */

#define TASK_MESSAGE_SIZE 208

/* What somebody who looks wants to know. */
struct task_view {
	const char *state;     /* for people: "waiting", "running", "paused", "ending" */
	const char *waits_for; /* to start: "program" (a slot of it) or a label; NULL: nothing */
	pid_t pid;             /* 0: the program does not run (any more) */
	unsigned attempt;
	uint64_t started_us; /* clock_now_us; 0: not yet */
	uint64_t running_us; /* since then, without the pauses */
	/* Of all its tree. With a control group the time is as of now, else, like memory, of a look
	 * at /proc of about a second ago. */
	uint64_t cpu_us;
	uint64_t memory, peak_memory;    /* bytes; 0: not known yet */
	double progress;                 /* 0 to 1, of its last record; -1: it holds none */
	char message[TASK_MESSAGE_SIZE]; /* of its last record, as one clean line; "": none */
};

void task_look(const struct task *task, struct task_view *ret);
/* The last part of what it wrote to stdout or stderr; appended to @out. 0 or -ENOMEM. */
int task_text(const struct task *task, enum pipe_end end, struct buf *out);
