/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the engine share: engine.c (tasks, the table at work), engine_slots.c (which
 * may start), engine_actions.c (what the table's actions do), engine_io.c (pipes), engine_tree.c
 * (whole process trees), engine_memory.c (what those use). Nobody else includes this.
 */

#include <sys/resource.h>
#include <uthash.h>

#include "common/tail.h"
#include "runner/cgroup.h"
#include "runner/engine.h"
#include "runner/pipes.h"
#include "runner/task.h"
#include "runner/tree.h"

/* Actions and readers say which event follows; this says that none does. */
#define NO_EVENT (-1)

/* How many tasks run of a program, or with a label. */
struct cap {
	char *name;
	unsigned max; /* 0: any number */
	unsigned used;
	unsigned waiting; /* tasks in the list that need it */
	unsigned claimed; /* by those of them that were walked by */
	UT_hash_handle hh;
};

struct engine {
	sd_event *loop;
	struct engine_options options;
	struct engine_front front;
	char **environ; /* what every program gets from ours */
	struct task *by_id, *by_pid, *by_input_watch, *by_progress_watch;
	struct cap *programs; /* uthash: those that have tasks */
	struct cap *labels;   /* of the configuration, in its order */
	size_t n_labels;
	struct task *waiting; /* utlist: by rank, then by age */
	uint64_t last_serial;
	bool relay_paused;
	bool had_large; /* an input or output that shows in our own peak memory */
	int null_fd;
	int inotify_fd; /* -1: none to be had, opens are polled for */
	sd_event_source *child_source, *inotify_source, *poll_source, *kick_source, *memory_source,
		*tend_source;
	bool looks_at_memory;              /* the next look is set */
	int oom_fd;                        /* cgroup_open_oom_kills; -1: none */
	uint64_t oom_kills, oom_looked_us; /* when last looked */
	struct cgroup groups;
	bool groups_fail; /* no more are made */
	uint64_t tend_us; /* until the next look for what still goes on of paused tasks */
};

/* Without a control group: what the next look at /proc is to do to the tree. */
enum tending { TENDING_NOTHING, TENDING_TO_STOP, TENDING_TO_CONTINUE };

struct task {
	struct engine *engine;
	struct request request;
	struct launch launch;
	void *front_data;
	unsigned attempt;
	UT_hash_handle hh_id, hh_pid, hh_input_watch, hh_progress_watch;
	struct task *prev, *next; /* in engine.waiting */
	struct cap **caps;     /* what it needs; first its program's, last NULL. NULL: released */
	struct cap *waits_for; /* that of them which had no room; NULL: it does not wait */

	enum task_state state;
	enum cause cause; /* why it is being ended; CAUSE_NONE: it is not */
	char mark[96];
	uint64_t serial;
	unsigned tries; /* of starting, of clearing */

	pid_t pid;
	bool pid_is_gone; /* no process, group or session has the number of the program any more */
	bool exited;
	int wait_status;
	int spawn_error;
	enum spawn_stage spawn_stage;
	struct progress_failure *failure;

	struct pipes pipes;
	int input_watch, progress_watch; /* -1: none */
	sd_event_source *timer, *input_source, *sources[PIPE_ENDS];
	unsigned ends_open; /* of PIPE_ENDS */
	struct buf output;
	struct progress_reader *progress;
	bool progress_over;   /* the program said that it reported its last */
	bool progress_broken; /* a record was too long: the reader is of no use */
	bool progress_closed; /* a writer closed behind what is in the pipe */
	struct tail text[2];

	uint64_t timeout_us; /* for the whole run; 0: none */
	uint64_t started_us, ended_us, last_progress_us, grace_until_us, clearing_since_us;
	uint64_t paused_since_us; /* 0: it is not */
	uint64_t paused_us;       /* all its pauses that are over */
	uint64_t cpu_us;          /* of what was reaped */
	uint64_t peak_memory;
	uint64_t memory_now, cpu_now_us;   /* of its tree, while engine_memory.c adds up */
	uint64_t memory_seen, cpu_seen_us; /* by the last look; the second with what was reaped */
	uint64_t oom_kills;                /* engine_oom_kills, when it started */
	bool had_large_input;

	bool has_group;          /* a control group, named by the serial */
	bool is_frozen;          /* it is */
	bool group_knows_memory; /* its group has the memory controller */
	uint64_t group_cpu_us, group_oom_kills;
	enum tending tending;
	unsigned calm_looks; /* in a row, that found none that goes on */
	bool tended;         /* something of it was found to go on */

	struct buf last_record; /* of progress, if it is short; to be read by who looks */
	struct progress_report last_report; /* what a long one said */
};

/* engine.c */
void task_dispatch(struct task *task, int event);
void task_set_timer(struct task *task, uint64_t at_us);
/* Takes the task out of all tables and frees it. */
void task_free(struct task *task);
void task_add_usage(struct task *task, const struct rusage *usage);
/* Without the pauses; since it started, or as long as it ran. */
uint64_t task_running_us(const struct task *task);
/* How many processes the kernel has ended for want of memory, in our control group if that can be
 * told, else on all of the machine; as of now (@exactly) or of at most a second ago. */
uint64_t engine_oom_kills(struct engine *engine, bool exactly);

/* engine_slots.c */
int engine_slots_init(struct engine *engine);
void engine_slots_deinit(struct engine *engine);
/* What a task of this request needs to start: for task.caps, or NULL when memory is short. */
struct cap **engine_find_caps(
	struct engine *engine, const struct request *request, const struct program *program);
void engine_drop_caps(struct engine *engine, struct cap **caps);
/* Starts it, now or when there is room for it. */
void task_start_in_turn(struct task *task);
/* It has ended, or will not start. */
void task_release_slot(struct task *task);
/* "program" or the name of a label; NULL: it does not wait. */
const char *task_waits_for(const struct task *task);

/* engine_actions.c: each gives the next event or NO_EVENT. */
int task_act(struct task *task, enum task_action action);

/* engine_tree.c */
/* To whom a process of the list belongs; NULL: to nobody of ours. */
struct task *engine_owner(const struct engine *engine, const struct tree_process *list, size_t n,
	const struct tree_process *process);
void engine_make_groups(struct engine *engine);
int engine_tend_init(struct engine *engine);
/* A directory for spawn(); 0: it has none; a negative errno: the machine has no room just now. */
int task_make_group(struct task *task);
/* It did not start, or not there (@error). */
void task_leave_group(struct task *task, int error);
/* Kills what there is of the tree: 0 when there is nothing, else call again (what hides behind what
 * is killed comes to light when that is gone). A negative errno where it cannot be known now. */
int task_kill_tree(struct task *task);
/* Stops the tree and what is born into it; lets it go on. */
void task_hold(struct task *task);
void task_let_go(struct task *task);

/* engine_memory.c */
/* Notes what the group has used, before it is removed. */
void task_look_at_group(struct task *task);
/* Of all its tree, once that has ended. */
uint64_t task_cpu_us(const struct task *task);
int engine_memory_init(struct engine *engine);
/* A task runs: its session is looked at from now on. */
void engine_memory_watch(struct engine *engine);

/* engine_io.c */
int engine_watch_init(struct engine *engine);
/* Watches for the opening of input and the closing of progress. Before the program starts. */
void task_watch(struct task *task);
void task_unwatch(struct task *task);
/* Adds the event sources of its pipes. 0 or a negative errno. */
int task_listen(struct task *task);
void task_unlisten(struct task *task);
int task_write_input(struct task *task);
/* Reads what is there from one end, until it would block, the end of file or a bound. */
int task_read_end(struct task *task, enum pipe_end end);
/* Nothing more comes from the progress pipe: whatever is left in the reader is a record. */
int task_end_progress(struct task *task);
/* Closes the progress pipe without reading what is in it. */
int task_give_up_progress(struct task *task);
void task_pause_relay(struct task *task, bool paused);
