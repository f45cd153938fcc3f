/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ask runners for work, follow it, cancel it. One connection, any number of tasks.
 *
 * Life:
 *  1. taskclient_open connects and makes a queue for answers, which lives as long as the client.
 *  2. taskclient_submit sends a request: persistent, mandatory, and confirmed, so that it is known
 *     whether a queue has it. TASKCLIENT_QUEUED or TASKCLIENT_NOT_QUEUED tells, then
 *     TASKCLIENT_RESPONSE comes for each response, in order, repeats left out, up to the final one.
 *  3. The caller polls taskclient_fd for reading, for at most taskclient_wait_ms, and calls
 *     taskclient_next until it gives 0; also after each call below.
 *  4. After a negative result of taskclient_next the client is of no further use: taskclient_close.
 *     Tasks that were queued go on without it.
 *
 * taskclient_open, taskclient_submit and taskclient_inspect may wait for the server;
 * taskclient_next does not. One thread at a time. Does not log.
 */

#include <stdint.h>

#include "mq/connection.h"
#include "wire/control.h"
#include "wire/response.h"

#define TASKCLIENT_QUEUE   "taskrunner.requests"
#define TASKCLIENT_CONTROL "taskrunner.control"

struct taskclient; /* opaque */

/* @connection is borrowed for the call; @control_exchange (copied) may be NULL for the default. */
int taskclient_open(const struct mq_options *connection, const char *control_exchange,
	struct taskclient **ret, struct error *err);
struct taskclient *taskclient_close(struct taskclient *c); /* gives NULL */
int taskclient_fd(const struct taskclient *c);
/* How long poll may wait before taskclient_next must be called: milliseconds, at least 1. */
int taskclient_wait_ms(const struct taskclient *c);

/* A fresh id: a random UUID. 0 or a negative errno. */
int taskclient_make_id(char ret_id[ID_MAX + 1]);

struct taskclient_request {
	const char *queue;   /* NULL: TASKCLIENT_QUEUE */
	const char *id;      /* an id_is_valid one, not in use by this client */
	const char *program; /* what the request calls script */
	struct slice input;
	enum wire_encoding encoding;
	uint64_t timeout_ms; /* 0: what the runner allows */
	const char *group;   /* tasks that belong together, for who steers them; NULL: none */
	const char
		*labels; /* what it needs of what a runner has little of: "gpu,matlab"; or NULL */
	const char *user, *project; /* whose it is; or NULL */
	int priority; /* 0 to 9, where the queue has priorities; less than 0: none is named */
	/* How many tasks are above it, each of which has asked for the next: 0 to 100. Added to the
	 * priority, which becomes 9 at most, so that what others wait for comes first. */
	unsigned depth;
	bool hold; /* not to be started until it is played */
	/* Where its responses are to be kept (mailbox.h), this client being told of none; it is
	 * done with the task at TASKCLIENT_QUEUED. NULL: they come to this client. */
	const char *mailbox;
};

/* All is borrowed for the call. 0; -EINVAL for what cannot be sent (@err says what), -EALREADY:
 * this client has a task of this id, the client being unharmed; or another negative errno when the
 * connection is lost. */
int taskclient_submit(
	struct taskclient *c, const struct taskclient_request *request, struct error *err);

/* How long is waited for answers. */
struct taskclient_patience {
	unsigned most_ms;  /* in all */
	unsigned quiet_ms; /* of a question to many: after a runner has said all; others that are
			    * there have been heard by then */
};

/* Puts a control message (borrowed; wire/control.h, docs/protocol.md) to the runners: about one
 * task, to its owner; about many, or about runners, to all of them. Sent again every 2 s while
 * nobody answers. TASKCLIENT_ANSWER comes for each answer. A question about one task is over with
 * the first; any other with TASKCLIENT_ANSWERED. Either with TASKCLIENT_NO_ANSWER if nobody
 * answered. 0, -EINVAL, -ENOMEM (the client being unharmed) or another negative errno when the
 * connection is lost. @ret_number (may be NULL) is `question` of these events. */
int taskclient_ask(struct taskclient *c, const struct control *control,
	const struct taskclient_patience *patience, uint64_t *ret_number, struct error *err);
/* Asks whoever has the task @id to end it, again every 2 s, until it is answered
 * (TASKCLIENT_ANSWER), its final response came, or @patience_ms are over (TASKCLIENT_NO_ANSWER).
 * For tasks of this client and of others. Nothing happens if that is under way. 0 or a negative
 * errno, as above. */
int taskclient_cancel(
	struct taskclient *c, const char *id, unsigned patience_ms, struct error *err);

/* What waits in a queue, and how many runners' consumers take from it. 0, -ENOENT (no such queue),
 * -EACCES, or another negative errno when the connection is lost. */
int taskclient_inspect(struct taskclient *c, const char *queue, uint32_t *ret_ready,
	uint32_t *ret_consumers, struct error *err);

enum taskclient_event_kind {
	TASKCLIENT_QUEUED, /* the request is safe in its queue; may come after responses, and not
			    * at all where the final one was faster */
	TASKCLIENT_NOT_QUEUED, /* it is not, and will not be: error -ENOENT (no such queue),
				* -EMSGSIZE (larger than the server takes), -EAGAIN (the queue
				* refuses) */
	TASKCLIENT_RESPONSE,   /* response, facts */
	TASKCLIENT_MALFORMED,  /* an answer that is no response: error; id where it can be told */
	TASKCLIENT_ANSWER,     /* answer; id of the task, if it is about one */
	TASKCLIENT_ANSWERED,   /* nothing more is to be expected; runners */
	TASKCLIENT_BAD_ANSWER, /* one that is not understood: error; a good one may still come */
	TASKCLIENT_NO_ANSWER,  /* nobody answered; error -ENOENT: no control exchange */
	TASKCLIENT_BLOCKED,    /* the server takes nothing for now; error has its words */
	TASKCLIENT_UNBLOCKED,
	TASKCLIENT_CAUGHT_UP, /* mailbox.h: all that was kept of a task has been told */
};

/* What the headers of a response say; 0 or "" where they do not. */
struct taskclient_facts {
	int64_t attempt, sequence;
	char runner[256];
	enum cause cause;
	bool has_exit_code;
	int64_t exit_code;
	int64_t signal;
	char error_name[32]; /* "ENOENT" */
	char failure_kind[64];
	bool has_usage; /* the three below */
	int64_t wall_ms, cpu_ms, peak_memory;
};

struct taskclient_event {
	enum taskclient_event_kind kind;
	char id[ID_MAX + 1]; /* of the task */
	struct error error;
	struct received_response response;
	struct taskclient_facts facts;
	uint64_t question;    /* number of what was answered, or not */
	unsigned runners;     /* how many have said all */
	struct record answer; /* wire/control.h says what is in it */
	uint64_t mail;        /* of a response from an emptied mailbox (mailbox.h), else 0 */
};

/* Gives 1 and fills @ret (to be released with taskclient_event_deinit), 0, or a negative errno. */
int taskclient_next(struct taskclient *c, struct taskclient_event *ret, struct error *err);
void taskclient_event_deinit(struct taskclient_event *event);
