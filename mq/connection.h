/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One AMQP connection.
 *
 * Life:
 *  1. mq_connect opens it and logs in; it announces consumer_cancel_notify, connection.blocked,
 *     basic.nack and publisher_confirms. mq_channel_open, mq_declare_*, mq_bind, mq_qos, mq_confirm
 *     follow. All of these BLOCK, at most for the connect timeout each (where the socket is full,
 *     first as long as a sender): never call them from an event loop. What else comes meanwhile is
 *     kept for mq_next, though mq_fd will not show it.
 *  2. From then on the owner watches mq_fd for reading and, whenever it is readable and after every
 *     call below, calls mq_next until it gives 0. mq_tick is called at least once a second.
 *  3. The senders (mq_consume, mq_ack, mq_publish, …) write to the socket without waiting for an
 *     answer; answers come as events. They can wait for room in the socket, never longer than twice
 *     the heartbeat; the runner therefore publishes from a thread of its own (publisher.h).
 *  4. After any negative result the connection is dead: mq_close it. Nothing else may be called.
 *
 * One thread at a time; may be handed to another. Not async-signal-safe, not fork-safe: the socket
 * is close-on-exec, but not atomically so, hence children close all descriptors themselves.
 */

#include "mq/mq.h"

struct mq_connection; /* opaque */

/* Tries every address once. 0, or a negative errno with a sentence naming host and reason in @err:
 * -EACCES (refused by the server: user, password, vhost), -ETIMEDOUT, -ECONNREFUSED, -EPROTO, … */
int mq_connect(const struct mq_options *options, struct mq_connection **ret, struct error *err);
/* Closes politely if the connection is alive (bounded: 1 s), else at once; gives NULL. */
struct mq_connection *mq_close(struct mq_connection *c);
int mq_fd(const struct mq_connection *c);

/* What the server said of itself, e.g. version 3 10 8 in three numbers; zeros where unreadable. */
struct mq_server {
	char product[32];
	unsigned version[3];
};
const struct mq_server *mq_server(const struct mq_connection *c);

/* ---- blocking part ---- */

/* Channels are 1 to 31. Nothing happens if it is open. */
int mq_channel_open(struct mq_connection *c, uint16_t channel, struct error *err);

struct mq_exchange {
	const char *name;
	const char *type; /* "direct", "fanout", "topic" */
	bool durable;
	bool auto_delete;
	bool passive; /* only look whether it is there */
};

struct mq_queue {
	const char *name; /* "" lets the server choose */
	bool durable;
	bool exclusive;
	bool auto_delete;
	bool passive;
	const char *type; /* x-queue-type; NULL: the server's default */
	int max_priority; /* x-max-priority; 0: none */
	/* What is in it for longer than ttl_ms (x-message-ttl; 0: no limit) and held by nobody goes
	 * to the queue dead_letter_queue (through the default exchange; NULL: is dropped). */
	int64_t ttl_ms;
	const char *dead_letter_queue;
	/* Quorum: moved there with confirms, so that nothing is lost on the way; what is full
	 * refuses (x-dead-letter-strategy, x-overflow). */
	bool dead_letter_safely;
	int64_t expires_ms; /* deleted when unused for so long (x-expires); 0: never */
	/* Streams: what is older, or more than so many bytes, goes, a segment at a time. */
	const char *max_age;   /* x-max-age, such as "1D"; NULL: no limit */
	int64_t max_bytes;     /* x-max-length-bytes; 0: no limit */
	int64_t segment_bytes; /* x-stream-max-segment-size-bytes; 0: the server's default */
};

/* -EEXIST: it is there with another argument; @err says which, what we wanted and what is.
 * -ENOENT: not there (passive). -EACCES: not permitted, or somebody else's alone. After any of
 * these three the channel has been reopened (without consumers, prefetch and confirm mode; events
 * of the old one are dropped) and the connection lives on; other errors are fatal to the
 * connection. The server closes a channel in the same way for what was sent on it before: who
 * wants to know which it was declares on another channel than he publishes on. */
int mq_declare_exchange(struct mq_connection *c, uint16_t channel,
	const struct mq_exchange *exchange, struct error *err);
/* @ret_name (at least 256 bytes, may be NULL) receives the name, @ret_ready (may be NULL) the
 * number of messages that are ready. */
int mq_declare_queue(struct mq_connection *c, uint16_t channel, const struct mq_queue *queue,
	char *ret_name, uint32_t *ret_ready, struct error *err);
/* Looks at a queue: how many messages are ready, how many consumers it has. -ENOENT, -EACCES as
 * above. */
int mq_inspect_queue(struct mq_connection *c, uint16_t channel, const char *name,
	uint32_t *ret_ready, uint32_t *ret_consumers, struct error *err);
int mq_bind(struct mq_connection *c, uint16_t channel, const char *queue, const char *exchange,
	const char *routing_key, struct error *err);
/* Deliveries that a consumer of this channel may hold unacknowledged, for each consumer. */
int mq_qos(struct mq_connection *c, uint16_t channel, uint16_t prefetch, struct error *err);
/* Puts the channel into confirm mode: publishes are numbered from 1 and confirmed by MQ_ACK. */
int mq_confirm(struct mq_connection *c, uint16_t channel, struct error *err);

/* ---- senders: no answer is waited for ---- */

/* On a channel that the server has closed they do nothing and give 0, because what closed it may
 * not have been seen yet: MQ_CHANNEL_CLOSED tells. */

int mq_consume(struct mq_connection *c, uint16_t channel, const char *queue, const char *tag,
	bool no_ack, bool exclusive);
/* Reads a stream from its beginning, and then what comes. Takes a prefetch, and acknowledgements,
 * which remove nothing. */
int mq_consume_stream(
	struct mq_connection *c, uint16_t channel, const char *stream, const char *tag);
/* The same from another place: MQ_STREAM_LAST (the last messages that it holds), or from what came
 * at the time @since, in seconds since 1970, and mostly some before it. */
#define MQ_STREAM_FIRST 0
#define MQ_STREAM_LAST  (-1)
int mq_consume_stream_from(struct mq_connection *c, uint16_t channel, const char *stream,
	const char *tag, int64_t since);
int mq_cancel(struct mq_connection *c, uint16_t channel, const char *tag);
/* One message, if there is one: answered by MQ_DELIVERY (tag "") or MQ_GET_EMPTY, in the order
 * asked. */
int mq_get(struct mq_connection *c, uint16_t channel, const char *queue, bool no_ack);
int mq_ack(struct mq_connection *c, uint16_t channel, uint64_t delivery_tag, bool multiple);
/* Gives it back (requeue), or drops or dead-letters it as the queue says. */
int mq_nack(struct mq_connection *c, uint16_t channel, uint64_t delivery_tag, bool requeue);
/* -EINVAL, the connection being unharmed, for what mq_message_check refuses or exceeds the frame
 * size of this connection. */
int mq_publish(struct mq_connection *c, uint16_t channel, const struct mq_message *message);
/* The same as the blocking ones, but nothing is waited for; an error arrives as MQ_CHANNEL_CLOSED.
 */
int mq_send_declare_exchange(
	struct mq_connection *c, uint16_t channel, const struct mq_exchange *exchange);
int mq_send_declare_queue(struct mq_connection *c, uint16_t channel, const struct mq_queue *queue);
int mq_send_bind(struct mq_connection *c, uint16_t channel, const char *queue, const char *exchange,
	const char *routing_key);
int mq_send_delete_queue(struct mq_connection *c, uint16_t channel, const char *queue,
	bool if_unused, bool if_empty);
/* As mq_qos; MQ_QOS_SET follows. The server works off a channel in order: the answer tells that it
 * took all that was sent there before, acknowledgements above all. */
int mq_send_qos(struct mq_connection *c, uint16_t channel, uint16_t prefetch);
/* Asks for a channel; MQ_CHANNEL_OPENED follows. For reopening after MQ_CHANNEL_CLOSED. */
int mq_send_channel_open(struct mq_connection *c, uint16_t channel);

/* ---- events ---- */

enum mq_event_kind {
	MQ_NONE,
	MQ_DELIVERY,           /* delivery: to a consumer, or to mq_get */
	MQ_GET_EMPTY,          /* mq_get found nothing */
	MQ_RETURNED,           /* a mandatory message went to no queue; its MQ_ACK follows */
	MQ_ACK,                /* number, multiple: published messages are safe */
	MQ_NACK,               /* number, multiple: the server could not take them */
	MQ_QOS_SET,            /* the answer to mq_send_qos */
	MQ_CONSUMER_CANCELLED, /* tag: by the server (queue deleted, leader gone) */
	MQ_CHANNEL_OPENED,
	MQ_CHANNEL_CLOSED, /* by the server, code and text; close-ok has been sent */
	MQ_BLOCKED,        /* the server has an alarm (text): it will not read what we publish */
	MQ_UNBLOCKED,
};

struct mq_delivery {
	uint64_t tag;
	bool redelivered;
	char *exchange;
	char *routing_key;
	struct mq_properties properties;
	struct buf body;
};

/* Owned by the receiver: mq_event_deinit, or move the delivery out and zero it. */
struct mq_event {
	enum mq_event_kind kind;
	uint16_t channel;
	char consumer_tag[64]; /* MQ_DELIVERY ("" from mq_get), MQ_CONSUMER_CANCELLED */
	uint64_t number;       /* MQ_ACK, MQ_NACK */
	bool multiple;
	uint16_t code; /* MQ_CHANNEL_CLOSED, MQ_RETURNED: the server's reply code */
	char text[256];
	struct mq_delivery
		delivery; /* MQ_DELIVERY; MQ_RETURNED carries exchange, key, properties */
};

/* Gives 1 and fills @ret, 0 when there is nothing for now, or a negative errno when the connection
 * is dead (closed by the server: -ECONNRESET with code and reason in @err). Never blocks. */
int mq_next(struct mq_connection *c, struct mq_event *ret, struct error *err);
void mq_event_deinit(struct mq_event *event);
void mq_delivery_deinit(struct mq_delivery *delivery);

/* Sends the heartbeat that is due and sees whether the server still lives: 0 or a negative errno.
 */
int mq_tick(struct mq_connection *c, struct error *err);
