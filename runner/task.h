/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The life of a task as a table: state x event -> next state and action. The table is all there is
 * to know about what may follow what; docs/architecture.md draws it, tests/unit/test_task.c visits
 * every cell. No system calls here.
 */

enum task_state {
	TASK_WAITING,  /* accepted; its program has no free slot, or the machine could not start it
			*/
	TASK_STARTING, /* pipes and process are being made */
	TASK_RUNNING,  /* the program runs */
	TASK_PAUSED,   /* all of its tree is stopped; its times stand still */
	TASK_STOPPING, /* it was asked to end (SIGTERM); its grace runs */
	TASK_KILLING,  /* SIGKILL was sent; its exit has not been seen */
	TASK_DRAINING, /* the program is gone; somebody may still hold its pipes */
	TASK_CLEARING, /* what is left of its process tree is being killed */
	TASK_ENDED,
};
#define TASK_STATES (TASK_ENDED + 1)

enum task_event {
	TASK_ON_START,       /* there is a slot for it */
	TASK_ON_SPAWNED,     /* exec succeeded */
	TASK_ON_NOT_SPAWNED, /* and never will */
	TASK_ON_NO_ROOM,  /* the machine has no process, memory or descriptor to spare just now */
	TASK_ON_STOP,     /* cancel, time limit, shutdown: the cause is noted beside */
	TASK_ON_OVERFLOW, /* it wrote more than allowed: as TASK_ON_STOP, but also after its exit */
	TASK_ON_KILL,     /* as TASK_ON_STOP, without grace */
	TASK_ON_PAUSE,    /* somebody wants it to stand still */
	TASK_ON_RESUME,   /* and to go on */
	TASK_ON_TIMER,    /* the time set for the state is over */
	TASK_ON_EXITED,   /* the program itself is gone */
	TASK_ON_DRAINED,  /* all pipes are at their end */
	TASK_ON_EMPTY,    /* no process of its tree is left */
};
#define TASK_EVENTS (TASK_ON_EMPTY + 1)

/* What is done on the way; engine.c has a function for each. */
enum task_action {
	TASK_DO_NOTHING,
	TASK_DO_START,     /* make pipes, spawn */
	TASK_DO_RETRY,     /* wait a little, then start again */
	TASK_DO_ANNOUNCE,  /* say that it runs; arm the time limits */
	TASK_DO_CHECK,     /* a time limit may be over */
	TASK_DO_PAUSE,     /* stop the tree, and the clocks of the time limits */
	TASK_DO_RESUME,    /* the reverse */
	TASK_DO_TERMINATE, /* SIGTERM to the group, let it go on, arm the grace */
	TASK_DO_KILL,      /* SIGKILL to the group */
	TASK_DO_DRAIN,     /* close the keepers, read what is there, arm the drain time */
	TASK_DO_CLEAR,     /* kill what is left, look again soon */
	TASK_DO_FINISH,    /* judge, tell, release */
};

struct task_step {
	enum task_state next;
	enum task_action action;
};

/* What happens to a task in @state on @event. Events that cannot or need not do anything leave the
 * state as it is with TASK_DO_NOTHING. */
struct task_step task_step(enum task_state state, enum task_event event);
const char *task_state_name(enum task_state state);
const char *task_event_name(enum task_event event);
