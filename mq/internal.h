/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of mq/ share with each other and nobody else sees: the only header with
 * rabbitmq-c.
 *
 * Facts about rabbitmq-c 0.11 that this code leans on:
 *  - Its write side blocks until there is room, and asks its read side for a sign of life only when
 *    twice the heartbeat has passed, then without any limit. mq_writable keeps us from getting
 * there, and TCP_USER_TIMEOUT ends what the peer does not take.
 *  - It sends heartbeats only while it waits for frames, hence mq_tick sends them, too.
 *  - When the last byte came is not told by it, but by the kernel (TCP_INFO).
 *  - Frames live in a pool for each channel until it is released; we copy and release at each
 * frame.
 *  - It aborts on use after an error in some places; `dead` keeps us from calling it then.
 */

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include <pthread.h>

#include "mq/connection.h"

#define MQ_CHANNELS  256                    /* channel numbers are below */
#define MQ_BODY_MAX  (512ull * 1024 * 1024) /* a larger body is taken for an attack */
#define MQ_SHORT_MAX 255                    /* the longest AMQP short string */
#define MQ_FRAME_MAX 131072

/* A URL taken apart; @info points into @text. */
struct mq_address {
	char *text;
	size_t len;
	struct amqp_connection_info info;
};

/* 0, -EINVAL with a sentence that does not quote the URL, or -ENOMEM. */
int mq_address_parse(const char *url, struct mq_address *ret, struct error *err);
void mq_address_deinit(struct mq_address *address);

/*
 * Lets another thread end what a thread is waiting for in a connection: connecting, logging in,
 * a declaration, a write. DNS and the TLS handshake cannot be ended; they have their own limits.
 */
struct mq_interrupt {
	pthread_mutex_t lock;
	/* The socket in use, or -1; shut down by mq_interrupt_now. A duplicate of our own, because
	 * the library closes its one after some errors, and the number may be another file's then.
	 */
	int fd;
	bool wanted;
	int wake_fd; /* readable once it is wanted; for the wait in connect */
};

int mq_interrupt_init(struct mq_interrupt *i);
void mq_interrupt_deinit(struct mq_interrupt *i);
void mq_interrupt_now(struct mq_interrupt *i);
/* Names the socket in use; -1 when it is done with, or it stays open. -ECANCELED if an interruption
 * is wanted, or another negative errno: then nothing is watched. NULL is fine. */
int mq_interrupt_watch(struct mq_interrupt *i, int fd);

/* A message whose frames are still coming in on a channel. */
struct mq_incoming {
	bool active;
	bool has_header;
	uint64_t left; /* bytes of body to come */
	struct mq_event event;
};

struct mq_event_node {
	struct mq_event_node *next;
	struct mq_event event;
};

struct mq_connection {
	amqp_connection_state_t amqp;
	struct mq_server server;
	unsigned heartbeat_s; /* negotiated; 0: none */
	unsigned timeout_s;
	uint64_t heard_us; /* when a byte of the server was last known to have come */
	uint64_t beat_us;  /* when mq_tick last sent a heartbeat */
	bool dead;
	struct error reason; /* why, where known */
	bool open[MQ_CHANNELS];
	struct mq_incoming *incoming[MQ_CHANNELS];
	/* Events that were read while something else was wanted. */
	struct mq_event_node *first, *last;
	size_t kept_bytes;
	struct mq_interrupt *interrupt; /* borrowed, may be NULL */
};

/* dial.c: an open, connected TCP socket, or a negative errno. */
int mq_dial(const char *host, int port, unsigned timeout_s, struct mq_interrupt *interrupt,
	struct error *err);
/* Bounds what the kernel keeps trying to send to a peer that does not take it. */
void mq_set_user_timeout(int fd, unsigned timeout_ms);

/* open.c: mq_connect, beginning with the address *@first (may be NULL), where the one that worked
 * is kept. */
int mq_connect_from(const struct mq_options *options, unsigned *first,
	struct mq_interrupt *interrupt, struct mq_connection **ret, struct error *err);

/* connection.c: marks it dead and tells why; both give back @code. */
int mq_fail(struct mq_connection *c, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int mq_fail_status(struct mq_connection *c, int status, const char *what);
/* The errno that stands for a status of rabbitmq-c. */
int mq_status_errno(int status);

/* connection.c: the arguments of a declaration; gives their number. */
#define MQ_QUEUE_ARGUMENTS_MAX 11
unsigned mq_queue_arguments(
	const struct mq_queue *queue, amqp_table_entry_t entries[MQ_QUEUE_ARGUMENTS_MAX]);

/* events.c: reads frames until one event is complete: 1, 0 (nothing for now) or a negative errno.
 */
int mq_read_event(struct mq_connection *c, struct mq_event *ret);
/* Drops all that has come from a channel: what follows is of another one with its number. 0, or a
 * negative errno when the connection is dead. */
int mq_forget_channel(struct mq_connection *c, uint16_t channel);
/* To be called before each write: 0, or a negative errno if the server is not heard any more. */
int mq_writable(struct mq_connection *c);
/* After a failed write: reads on to find out what the server said, and gives the reason. */
int mq_explain(struct mq_connection *c, int r, struct error *err);

/* fields.c: AMQP's representation <-> ours. */
amqp_bytes_t mq_bytes(const char *text); /* a view; empty for NULL */
bool mq_is_short(const char *text);      /* fits a short string; true for NULL */
/* A copy as C string; NULL when memory is short or the text holds a NUL. */
char *mq_text_dup(amqp_bytes_t bytes);
void mq_copy_text(char *buffer, size_t size, amqp_bytes_t bytes);
/* @entries: room for MQ_HEADERS_MAX; both borrow from @properties. */
void mq_properties_to_amqp(const struct mq_properties *properties, amqp_table_entry_t *entries,
	amqp_basic_properties_t *ret);
/* What cannot be represented is left out. 0 or -ENOMEM. */
int mq_properties_from_amqp(const amqp_basic_properties_t *from, struct mq_properties *ret);
/* Bytes that method and header frame of @message take at most. */
size_t mq_message_overhead(const struct mq_message *message);
