/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/task.h"

#include <assert.h>

#define STAY(state)                           \
	{                                     \
		TASK_##state, TASK_DO_NOTHING \
	}
#define GO(state, action)                      \
	{                                      \
		TASK_##state, TASK_DO_##action \
	}

/*
 * Reading a row: in this state, what does each event lead to?
 *
 *  - A stop before the process exists needs no signal: the task is finished on the spot.
 *  - A second stop while STOPPING changes nothing: ten cancels are one.
 *  - After the exit (DRAINING, CLEARING) a stop is too late; the outcome is what the program left.
 * Only an overflow still counts, because output is still being read.
 *  - What is paused can be stopped, killed or die of something else as what runs; a second pause
 * changes nothing.
 *  - DRAINING after a stop keeps the rest of the grace: a wrapper that dies at once does not take
 * the time from the child that it started.
 */
static const struct task_step table[TASK_STATES][TASK_EVENTS] = {
	/* clang-format off */
	[TASK_WAITING] = {
		[TASK_ON_START]	      = GO(STARTING, START),
		[TASK_ON_SPAWNED]     = STAY(WAITING),
		[TASK_ON_NOT_SPAWNED] = STAY(WAITING),
		[TASK_ON_NO_ROOM]     = STAY(WAITING),
		[TASK_ON_STOP]	      = GO(ENDED, FINISH),
		[TASK_ON_OVERFLOW]    = STAY(WAITING),
		[TASK_ON_KILL]	      = GO(ENDED, FINISH),
		[TASK_ON_PAUSE]	      = STAY(WAITING),
		[TASK_ON_RESUME]      = STAY(WAITING),
		[TASK_ON_TIMER]	      = GO(STARTING, START),
		[TASK_ON_EXITED]      = STAY(WAITING),
		[TASK_ON_DRAINED]     = STAY(WAITING),
		[TASK_ON_EMPTY]	      = STAY(WAITING),
	},
	[TASK_STARTING] = {
		[TASK_ON_START]	      = STAY(STARTING),
		[TASK_ON_SPAWNED]     = GO(RUNNING, ANNOUNCE),
		[TASK_ON_NOT_SPAWNED] = GO(ENDED, FINISH),
		[TASK_ON_NO_ROOM]     = GO(WAITING, RETRY),
		[TASK_ON_STOP]	      = STAY(STARTING), /* starting is one call: nothing comes between */
		[TASK_ON_OVERFLOW]    = STAY(STARTING),
		[TASK_ON_KILL]	      = STAY(STARTING),
		[TASK_ON_PAUSE]	      = STAY(STARTING),
		[TASK_ON_RESUME]      = STAY(STARTING),
		[TASK_ON_TIMER]	      = STAY(STARTING),
		[TASK_ON_EXITED]      = STAY(STARTING),
		[TASK_ON_DRAINED]     = STAY(STARTING),
		[TASK_ON_EMPTY]	      = STAY(STARTING),
	},
	[TASK_RUNNING] = {
		[TASK_ON_START]	      = STAY(RUNNING),
		[TASK_ON_SPAWNED]     = STAY(RUNNING),
		[TASK_ON_NOT_SPAWNED] = STAY(RUNNING),
		[TASK_ON_NO_ROOM]     = STAY(RUNNING),
		[TASK_ON_STOP]	      = GO(STOPPING, TERMINATE),
		[TASK_ON_OVERFLOW]    = GO(STOPPING, TERMINATE),
		[TASK_ON_KILL]	      = GO(KILLING, KILL),
		[TASK_ON_PAUSE]	      = GO(PAUSED, PAUSE),
		[TASK_ON_RESUME]      = STAY(RUNNING),
		[TASK_ON_TIMER]	      = GO(RUNNING, CHECK),
		[TASK_ON_EXITED]      = GO(DRAINING, DRAIN),
		[TASK_ON_DRAINED]     = STAY(RUNNING),
		[TASK_ON_EMPTY]	      = STAY(RUNNING),
	},
	[TASK_PAUSED] = {
		[TASK_ON_START]	      = STAY(PAUSED),
		[TASK_ON_SPAWNED]     = STAY(PAUSED),
		[TASK_ON_NOT_SPAWNED] = STAY(PAUSED),
		[TASK_ON_NO_ROOM]     = STAY(PAUSED),
		[TASK_ON_STOP]	      = GO(STOPPING, TERMINATE),
		[TASK_ON_OVERFLOW]    = GO(STOPPING, TERMINATE),
		[TASK_ON_KILL]	      = GO(KILLING, KILL),
		[TASK_ON_PAUSE]	      = STAY(PAUSED),
		[TASK_ON_RESUME]      = GO(RUNNING, RESUME),
		[TASK_ON_TIMER]	      = STAY(PAUSED),
		[TASK_ON_EXITED]      = GO(DRAINING, DRAIN),
		[TASK_ON_DRAINED]     = STAY(PAUSED),
		[TASK_ON_EMPTY]	      = STAY(PAUSED),
	},
	[TASK_STOPPING] = {
		[TASK_ON_START]	      = STAY(STOPPING),
		[TASK_ON_SPAWNED]     = STAY(STOPPING),
		[TASK_ON_NOT_SPAWNED] = STAY(STOPPING),
		[TASK_ON_NO_ROOM]     = STAY(STOPPING),
		[TASK_ON_STOP]	      = STAY(STOPPING),
		[TASK_ON_OVERFLOW]    = STAY(STOPPING),
		[TASK_ON_KILL]	      = GO(KILLING, KILL),
		[TASK_ON_PAUSE]	      = STAY(STOPPING),
		[TASK_ON_RESUME]      = STAY(STOPPING),
		[TASK_ON_TIMER]	      = GO(KILLING, KILL),
		[TASK_ON_EXITED]      = GO(DRAINING, DRAIN),
		[TASK_ON_DRAINED]     = STAY(STOPPING),
		[TASK_ON_EMPTY]	      = STAY(STOPPING),
	},
	[TASK_KILLING] = {
		[TASK_ON_START]	      = STAY(KILLING),
		[TASK_ON_SPAWNED]     = STAY(KILLING),
		[TASK_ON_NOT_SPAWNED] = STAY(KILLING),
		[TASK_ON_NO_ROOM]     = STAY(KILLING),
		[TASK_ON_STOP]	      = STAY(KILLING),
		[TASK_ON_OVERFLOW]    = STAY(KILLING),
		[TASK_ON_KILL]	      = STAY(KILLING),
		[TASK_ON_PAUSE]	      = STAY(KILLING),
		[TASK_ON_RESUME]      = STAY(KILLING),
		[TASK_ON_TIMER]	      = STAY(KILLING),
		[TASK_ON_EXITED]      = GO(CLEARING, CLEAR),
		[TASK_ON_DRAINED]     = STAY(KILLING),
		[TASK_ON_EMPTY]	      = STAY(KILLING),
	},
	[TASK_DRAINING] = {
		[TASK_ON_START]	      = STAY(DRAINING),
		[TASK_ON_SPAWNED]     = STAY(DRAINING),
		[TASK_ON_NOT_SPAWNED] = STAY(DRAINING),
		[TASK_ON_NO_ROOM]     = STAY(DRAINING),
		[TASK_ON_STOP]	      = STAY(DRAINING),
		[TASK_ON_OVERFLOW]    = GO(CLEARING, CLEAR),
		[TASK_ON_KILL]	      = GO(CLEARING, CLEAR),
		[TASK_ON_PAUSE]	      = STAY(DRAINING),
		[TASK_ON_RESUME]      = STAY(DRAINING),
		[TASK_ON_TIMER]	      = GO(CLEARING, CLEAR),
		[TASK_ON_EXITED]      = STAY(DRAINING),
		[TASK_ON_DRAINED]     = GO(CLEARING, CLEAR),
		[TASK_ON_EMPTY]	      = STAY(DRAINING),
	},
	[TASK_CLEARING] = {
		[TASK_ON_START]	      = STAY(CLEARING),
		[TASK_ON_SPAWNED]     = STAY(CLEARING),
		[TASK_ON_NOT_SPAWNED] = STAY(CLEARING),
		[TASK_ON_NO_ROOM]     = STAY(CLEARING),
		[TASK_ON_STOP]	      = STAY(CLEARING),
		[TASK_ON_OVERFLOW]    = STAY(CLEARING),
		[TASK_ON_KILL]	      = STAY(CLEARING),
		[TASK_ON_PAUSE]	      = STAY(CLEARING),
		[TASK_ON_RESUME]      = STAY(CLEARING),
		[TASK_ON_TIMER]	      = GO(CLEARING, CLEAR),
		[TASK_ON_EXITED]      = STAY(CLEARING),
		[TASK_ON_DRAINED]     = STAY(CLEARING),
		[TASK_ON_EMPTY]	      = GO(ENDED, FINISH),
	},
	[TASK_ENDED] = {
		[TASK_ON_START]	      = STAY(ENDED),
		[TASK_ON_SPAWNED]     = STAY(ENDED),
		[TASK_ON_NOT_SPAWNED] = STAY(ENDED),
		[TASK_ON_NO_ROOM]     = STAY(ENDED),
		[TASK_ON_STOP]	      = STAY(ENDED),
		[TASK_ON_OVERFLOW]    = STAY(ENDED),
		[TASK_ON_KILL]	      = STAY(ENDED),
		[TASK_ON_PAUSE]	      = STAY(ENDED),
		[TASK_ON_RESUME]      = STAY(ENDED),
		[TASK_ON_TIMER]	      = STAY(ENDED),
		[TASK_ON_EXITED]      = STAY(ENDED),
		[TASK_ON_DRAINED]     = STAY(ENDED),
		[TASK_ON_EMPTY]	      = STAY(ENDED),
	},
	/* clang-format on */
};

struct task_step task_step(enum task_state state, enum task_event event)
{
	assert(state < TASK_STATES && event < TASK_EVENTS);
	return table[state][event];
}

const char *task_state_name(enum task_state state)
{
	static const char *const names[TASK_STATES] = {
		"waiting",
		"starting",
		"running",
		"paused",
		"stopping",
		"killing",
		"draining",
		"clearing",
		"ended",
	};
	return names[state];
}

const char *task_event_name(enum task_event event)
{
	static const char *const names[TASK_EVENTS] = {
		"start",
		"spawned",
		"not-spawned",
		"no-room",
		"stop",
		"overflow",
		"kill",
		"pause",
		"resume",
		"timer",
		"exited",
		"drained",
		"empty",
	};
	return names[event];
}
