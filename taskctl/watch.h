/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Verbs that read of tasks what is kept for them. The connection may be lost and come back: then
 * all that had not ended is watched anew, and said again.
 */

#include "taskctl/taskctl.h"

#define WATCH_LOST (-2) /* the connection; what is to be said of it is known at the next event */

struct watched {
	char *id;                  /* owned */
	bool is_over;              /* ended, or nothing is to be had of it */
	bool is_missing;           /* it has no mailbox */
	int64_t attempt, sequence; /* of the last response that was told */
	void *more;                /* whoever watches may keep something here */
};

struct watch {
	const struct common_options *options;
	const char *verb;
	struct taskclient *client;
	struct watched *tasks;
	size_t n, n_left;
	bool is_open;         /* does not end with the last task: more may come */
	uint64_t deadline_us; /* UINT64_MAX: none */
	int status;           /* the worst of all */
	void *userdata;
	/* Of the tasks that are watched. GOING_ON or an exit status. */
	int (*on_event)(
		struct watch *w, struct watched *task, const struct taskclient_event *event);
	/* Of all else; may be NULL. */
	int (*on_other)(struct watch *w, const struct taskclient_event *event);
	/* Called before each wait, with what the events have brought; sets the milliseconds of the
	 * longest. GOING_ON, an exit status or WATCH_LOST. May be NULL. */
	int (*on_idle)(struct watch *w, int *ret_ms);
	/* There is no mailbox of the task; where this is NULL, it is told, and the task is over. */
	void (*on_missing)(struct watch *w, struct watched *task);
};

/* Reads the ids; repeated ones once. 0 or an exit status, having told what is wrong. */
int watch_take_ids(struct watch *w, int n, char **ids);
/* Connects and follows the tasks until all are over, or one of the functions gives an exit status.
 */
int watch_run(struct watch *w);
/* One more. 0, an exit status, or a negative errno when the connection is lost. */
int watch_add(struct watch *w, const char *id, struct taskclient_error *err);
struct watched *watch_find(struct watch *w, const char *id);
void watch_over(struct watch *w, struct watched *task, int status);
void watch_deinit(struct watch *w);
