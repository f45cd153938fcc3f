/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Publishing with confirms from a thread of its own, because librabbitmq waits when it writes.
 *
 * Life:
 *  1. mq_publisher_start: the thread connects (again and again, 0.2 s to 5 s apart, with jitter;
 *     30 s when the server refuses us), opens a confirm channel and publishes what it is given.
 *  2. mq_publisher_send takes a message from the main thread at any time, connected or not.
 *     Messages leave in the order given. What was sent but not confirmed when a connection was lost
 *     is sent again with the same message id (so it may arrive twice, never not at all).
 *  3. The main thread watches mq_publisher_fd; when it is readable, mq_publisher_next gives what
 *     happened: messages done, connection up, lost, blocked.
 *  4. mq_publisher_stop waits at most the time given for what is queued, then ends the thread.
 *
 * While the server has an alarm (BLOCKED) it reads nothing from who has published, but still the
 * first message of a connection if that has no body (RabbitMQ 3.10). By this, urgent messages leave
 * all the same, each on a connection of its own.
 *
 * The queue is bounded by the callers: they ask mq_publisher_is_full before they produce what can
 * wait (progress), and stop reading pipes until MQ_PUBLISHER_ROOM. Final responses are always
 * taken. All functions are for the main thread.
 */

#include "mq/connection.h"

struct mq_publisher; /* opaque */

struct mq_publisher_options {
	const struct mq_options *connection; /* kept until stop */
	size_t queue_bytes_max;              /* "full" above; 0: 32 MiB */
	unsigned queue_messages_max;         /* "full" above; 0: 10000 */
	unsigned window;                     /* unconfirmed at most; 0: 1000 */
	/* Called in the publisher's thread after each connect, before anything is published:
	 * declares what must exist, on channel 1, which is open, or on 2. A negative result counts
	 * as a failed connect. Called again before messages for a missing exchange are tried again,
	 * so it may run many times, and other messages may be on their way. May be NULL. */
	int (*prepare)(struct mq_connection *c, void *userdata, struct error *err);
	/* If set, the thread also opens a second connection for the main thread to consume from,
	 * prepared by this function (which opens its channels), and hands it over with
	 * MQ_PUBLISHER_CONSUMER_READY. It opens the next one after mq_publisher_reconnect_consumer.
	 */
	int (*prepare_consumer)(struct mq_connection *c, void *userdata, struct error *err);
	/* Called in the publisher's thread when a message with this token has been written; for the
	 * crash points of test builds. May be NULL. */
	void (*on_sent)(uint64_t token);
	void *userdata;
	/* For messages that may be lost: no confirms, what was written is done (MQ_CONFIRMED), and
	 * nothing is sent twice. If the server refuses one (no such exchange, no permission), DOWN
	 * is told, and after a wait all begins anew with a connection and `prepare`. Nothing is
	 * held back, or told mandatory. */
	bool loose;
	/* Messages may gather for so long before the thread is at work: waking it for each costs
	 * more than sending it. */
	unsigned linger_ms;
};

enum mq_publisher_event_kind {
	MQ_PUBLISHER_DONE,    /* a message: token and outcome */
	MQ_PUBLISHER_UP,      /* connected and prepared */
	MQ_PUBLISHER_DOWN,    /* connection lost or not to be had; error; it goes on trying */
	MQ_PUBLISHER_BLOCKED, /* the server has an alarm: error holds its text */
	MQ_PUBLISHER_UNBLOCKED,
	MQ_PUBLISHER_ROOM,           /* was full, is not any more */
	MQ_PUBLISHER_CONSUMER_READY, /* consumer: yours now; call mq_next at once */
	MQ_PUBLISHER_CONSUMER_DOWN,  /* could not be opened; error; it goes on trying */
	/* The connection is well, but the server does not take the messages for one exchange or
	 * key: no such exchange, no permission, its queue is full (nack). They wait and are tried
	 * again, in order; all others go on. Told once, with the server's words in error, then
	 * RELEASED when one of them was confirmed. */
	MQ_PUBLISHER_HELD,
	MQ_PUBLISHER_RELEASED,
};

enum mq_publisher_outcome {
	MQ_CONFIRMED, /* in every queue it was routed to */
	/* Mandatory, and no queue took it; or AMQP cannot carry it (mq_message_check; error says
	 * what is wrong); or the server fails (541) again and again over just this one. The message
	 * is given back in the event. */
	MQ_UNROUTABLE,
	MQ_TOO_LARGE, /* the server refused its size (error); message is given back in the event */
	MQ_UNCERTAIN, /* the connection was lost before the confirm of a message that must not be
			 sent twice; it is given back in the event */
};

struct mq_publisher_event {
	enum mq_publisher_event_kind kind;
	uint64_t token;
	enum mq_publisher_outcome outcome;
	struct mq_message message; /* but for MQ_CONFIRMED: owned by the receiver */
	struct mq_connection *consumer;
	struct error error;
};

int mq_publisher_start(
	const struct mq_publisher_options *options, struct mq_publisher **ret, struct error *err);
int mq_publisher_fd(const struct mq_publisher *p);
/* Gives 1 and fills @ret, or 0. */
int mq_publisher_next(struct mq_publisher *p, struct mq_publisher_event *ret);
void mq_publisher_event_deinit(struct mq_publisher_event *event);

/* Takes @message (moved; on failure too, then freed) and @token, which MQ_PUBLISHER_DONE brings
 * back; token 0: nobody waits for it, no event unless it fails. 0 or -ENOMEM. */
int mq_publisher_send(struct mq_publisher *p, struct mq_message *message, uint64_t token);
bool mq_publisher_is_full(struct mq_publisher *p);
/* Messages not yet confirmed, sent or not. */
size_t mq_publisher_pending(struct mq_publisher *p);
/* Asks for a new consumer connection after the old one died or was closed. */
void mq_publisher_reconnect_consumer(struct mq_publisher *p);
/* Nothing more will be given: the thread sends what is there, if it can without waiting for the
 * server, and begins to end. mq_publisher_stop has to follow. Only for loose ones. */
void mq_publisher_finish(struct mq_publisher *p);
/* Waits up to @wait_ms for pending messages, ends the thread, frees; gives NULL. What the thread
 * waits for is cut short, but for a name server's answer and a TLS handshake. */
struct mq_publisher *mq_publisher_stop(struct mq_publisher *p, unsigned wait_ms);
