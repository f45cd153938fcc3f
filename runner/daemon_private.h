/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the daemon share: daemon.c (connections, signals, life), intake.c (a delivery
 * becomes a task), replies.c (what happens becomes responses), control.c (cancels). Nobody else
 * includes this. Everything here belongs to the main thread.
 */

#include <uthash.h>

#include "mq/publisher.h"
#include "runner/daemon.h"
#include "runner/engine.h"
#include "runner/instance.h"
#include "runner/memory.h"
#include "runner/signals.h"
#include "runner/topology.h"

/* One line of a program's stdout or stderr, as far as it has come. */
struct line {
	char text[1024];
	size_t len;
};

/* One accepted delivery, from its arrival until it is acknowledged or given back. */
struct job {
	struct daemon *daemon;
	char *id; /* of the task; NULL where the request had none that can be used */
	UT_hash_handle hh_id, hh_token;
	uint64_t token; /* names the job to the publisher */

	/* The delivery to settle. It is only good on the connection it came from. */
	uint64_t connection;
	uint16_t channel;
	uint64_t tag;

	/* Where responses go; exchange NULL: nobody asked for any. */
	char *exchange, *key;
	char *correlation_id;
	char *traceparent, *tracestate; /* of the request, handed on */
	int64_t sequence;               /* of the last response */
	unsigned attempt;               /* from 1 */
	bool is_listed;                 /* in daemon.jobs_by_id */
	bool is_over;                   /* the final response is on its way */
	bool is_left;                   /* its cancellation queue is no concern any more */
	bool dead_lettered;
	unsigned shrunk; /* how often its final response was made smaller */

	/* Terarium: the task waits until its cancellation queue was looked into. */
	struct request request;
	struct launch launch;
	struct job *prev, *next; /* in daemon.asked */
	bool asked;
	uint64_t cancellation_number; /* 0: it has no consumer; tag "c<number>" */
	bool is_heard;                /* the consumer is there, as far as we know */
	UT_hash_handle hh_cancellation;

	struct line lines[2];
};

struct daemon {
	struct config *config;
	const char *config_file;
	struct catalogue *catalogue;
	struct instance instance;
	struct signals signals;
	struct topology topology;
	sd_event *loop;
	struct engine *engine;
	struct mq_publisher *publisher;
	struct mq_connection *consumer; /* NULL while there is none */
	uint64_t connection;            /* number of the consuming connection */
	sd_event_source *publisher_source, *consumer_source, *tick_source, *pump_source;
	sd_event_source *reconnect_source, *deadline_source;
	uint64_t consumer_since_us;
	bool was_ready, publisher_up, stopping;
	size_t n_ending; /* tasks that were here when the time for finishing was last looked at */
	int status;      /* exit status */

	struct job *jobs_by_id, *jobs_by_token;
	uint64_t last_token;
	struct memory cancelled;    /* cancels that came before their request */
	struct memory finished;     /* ids whose final response is safe */
	struct memory acknowledged; /* of those, what the broker was told on this connection */

	struct job *asked; /* terarium: in the order in which their queues were asked */
	struct job *by_cancellation;
	uint64_t last_cancellation;
	bool was_refused;  /* the server closed the channel and answered nothing since */
	bool listen_again; /* with the next tick */
};

/* daemon.c */
void daemon_consumer_lost(struct daemon *daemon, const char *why);
/* Looks for what arrived while we were sending. */
void daemon_pump_soon(struct daemon *daemon);
void daemon_end_if_done(struct daemon *daemon);

/* intake.c */
void intake_delivery(struct daemon *daemon, uint16_t channel, struct mq_delivery *delivery);
/* Hands the job's request to the engine (moved out of the job), or gives it back if we are ending.
 */
void intake_submit(struct job *job);
void job_acknowledge(struct job *job); /* settles and frees */
void job_give_back(struct job *job);   /* the same, to the queue */
struct job *job_by_token(struct daemon *daemon, uint64_t token);

/* replies.c */
extern const struct engine_front replies_front; /* userdata: the daemon */
/* The final response for a request that never became a task. The job lives on until it is safe. */
void replies_refuse(
	struct job *job, const struct request *request, enum cause cause, const char *text);
void replies_cancelled(struct job *job, const struct request *request);
/* Keeps a delivery that nobody can be answered for. */
void replies_dead_letter(struct job *job, struct mq_delivery *delivery, const char *why);
/* The publisher is done with a message. */
void replies_on_done(struct daemon *daemon, struct mq_publisher_event *event);
void replies_send(struct daemon *daemon, struct mq_message *message, uint64_t token);

/* control.c */
void control_on_message(struct daemon *daemon, struct mq_delivery *delivery);
/* Terarium: asks the task's own queue whether it was cancelled already; intake_submit follows when
 * it was not. */
void control_ask_cancelled(struct job *job);
void control_on_asked(struct daemon *daemon, bool cancelled);
void control_on_cancellation(struct daemon *daemon, const char *consumer_tag);
/* The connection is gone: what was asked will not be answered, and is delivered again. */
void control_forget(struct daemon *daemon);
/* The server closed the channel for the reason @text. It is opened again; the task whose queue was
 * at fault does without it. */
void control_on_closed(struct daemon *daemon, const char *text);
/* Listens for the tasks that are here and not heard, after a connection or channel was lost. */
void control_listen_again(struct daemon *daemon);
/* The task is over: its queue is not needed any more. Again: nothing. */
void control_end(struct job *job);
