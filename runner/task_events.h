/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tells the world what becomes of tasks, and of the runner: events, to a topic exchange, from which
 * a stream keeps them (docs/protocol.md). They are a help and no part of the delivery. So they have
 * a connection and a thread of their own, and where it does not get on with its work, or the server
 * has an alarm, they are dropped. The event of a final response leaves when that is safe; each of
 * the others after the response that it belongs to, if there is one.
 *
 * Included by daemon_private.h. Main thread.
 */

#include <systemd/sd-event.h>

#include "mq/publisher.h"
#include "runner/outcome.h"
#include "wire/request.h"
#include "wire/task_event.h"

struct daemon;
struct job;

struct task_events {
	struct mq_publisher *publisher; /* NULL: there are no events */
	sd_event_source *source;
	bool is_blocked;     /* the server has an alarm */
	size_t n_dropped;    /* since that was said to have begun; 0: none */
	char problem[512];   /* the last that was logged … */
	uint64_t problem_us; /* … and when; 0: none */
};

/* What has to be remembered of a job to tell of it; all empty where nothing is told. */
struct job_events {
	bool is_wanted;
	char *program, *group, *user, *project;
	int64_t sent_ms;               /* when the requester sent it, or else when it came */
	int64_t waited_ms;             /* until it was started; EVENT_UNKNOWN */
	unsigned told;                 /* EVENT_BITs */
	bool is_judged;                /* there is a final response, which is not safe yet */
	struct task_event_facts final; /* how it ended; texts NULL */
};

/* Says so and goes on without where that cannot be had. */
void task_events_start(struct daemon *daemon);
/* Nothing more will be told; to be called some time before stop. */
void task_events_finish(struct daemon *daemon);
void task_events_stop(struct daemon *daemon);

/* The job has a request (as far as that could be read), which came with @delivery. */
void task_events_accept(struct job *job, const struct request *request);
/* Something else than its end happened to it. What can happen once only (waiting, ending, returned)
 * is told once. */
void task_events_tell(struct job *job, enum event_kind kind, enum cause cause);
/* Its final response is made; */
void task_events_judged(struct job *job, const struct outcome *outcome);
/* it is another one, FAILED; */
void task_events_spoilt(struct job *job, enum cause cause);
/* it is safe. Again: nothing. */
void task_events_final(struct job *job);
/* Frees what is remembered of it. */
void task_events_forget(struct job *job);

/* Ready, draining, stopped. */
void task_events_of_runner(struct daemon *daemon, enum event_kind kind);
