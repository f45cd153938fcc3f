/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every part of mq/ shares: addresses and options, properties, messages. mq/ is the only place
 * that includes rabbitmq-c; nothing of that library is seen above it. mq/ does not log.
 *
 *	connection.h  one connection: open and declare (these block), then take events (never
 *blocks) publisher.h   a thread of its own that publishes with confirms, and reconnects
 *
 * librabbitmq has no locks: a connection belongs to one thread at a time and may be handed over.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

#define MQ_ADDRESS_MAX 8

struct mq_options {
	/* amqp://host:port/vhost or amqps://…, user and password allowed inside; tried in order,
	 * beginning with the one that worked last. Owned. */
	char *addresses[MQ_ADDRESS_MAX];
	unsigned n_addresses;
	char *username;             /* wins over the address's; NULL: the address's, else "guest" */
	char *password;             /* the same */
	char *vhost;                /* the same, else "/" */
	char *connection_name;      /* shown in the broker's list of connections; NULL: none */
	unsigned heartbeat_s;       /* 0 turns heartbeats off; default 20 */
	unsigned connect_timeout_s; /* for each address; default 10 */
	struct {
		char *ca_file;   /* NULL: the system's certificates */
		char *cert_file; /* client certificate and key, both or none */
		char *key_file;
		bool insecure; /* neither the peer nor its name is verified */
	} tls;
};

void mq_options_init(struct mq_options *options); /* the defaults */
void mq_options_deinit(struct mq_options *options);
/* Adds what a comma- or space-separated list names, after a check of its form. 0, -EINVAL (with a
 * sentence that never holds the password), -E2BIG or -ENOMEM. */
int mq_options_add_addresses(struct mq_options *options, const char *list, struct error *err);
/* "host:port/vhost" of the @i-th address, for logs. */
const char *mq_options_describe(
	const struct mq_options *options, unsigned i, char *buffer, size_t size);

struct mq_header {
	char *name;
	enum { MQ_HEADER_TEXT, MQ_HEADER_INT, MQ_HEADER_BOOL } kind;
	char *text;
	int64_t number; /* of a bool: 0 or 1 */
};

#define MQ_HEADERS_MAX 32

/* Absent text is NULL. Owned by the struct: fill with mq_properties_set and mq_properties_add_*. */
struct mq_properties {
	char *content_type;
	char *correlation_id;
	char *reply_to;
	char *message_id;
	char *type;
	char *app_id;
	bool persistent;
	int priority;       /* -1: none */
	uint64_t timestamp; /* as whoever sent it says, in seconds since 1970; 0: none */
	struct mq_header
		headers[MQ_HEADERS_MAX]; /* text, whole numbers, bools; others are not kept */
	unsigned n_headers;
};

void mq_properties_init(struct mq_properties *properties);
void mq_properties_deinit(struct mq_properties *properties);
/* Replaces *field (one of the texts above) with a copy of @text (NULL clears). 0 or -ENOMEM. */
int mq_properties_set(char **field, const char *text);
/* 0, -ENOMEM, or -E2BIG when MQ_HEADERS_MAX are there; a name that stands already is replaced. */
int mq_properties_add_text(struct mq_properties *properties, const char *name, const char *text);
int mq_properties_add_int(struct mq_properties *properties, const char *name, int64_t number);
int mq_properties_add_bool(struct mq_properties *properties, const char *name, bool value);
/* The last headers go until there are at most @n. */
void mq_properties_cut(struct mq_properties *properties, unsigned n);
/* Headers whose name begins with @prefix go. */
void mq_properties_remove(struct mq_properties *properties, const char *prefix);
/* NULL where there is no such header. */
const struct mq_header *mq_properties_header(
	const struct mq_properties *properties, const char *name);
/* NULL where there is none, or it is no text. */
const char *mq_properties_text(const struct mq_properties *properties, const char *name);
/* For who has the properties as userdata: the @index th header as text, which for a number or bool
 * is written to @number; NULL after the last. And mq_properties_add_text. */
#define MQ_NUMBER_SIZE 24
const char *mq_header_get(size_t index, const char **ret_name, bool *ret_is_text,
	char number[MQ_NUMBER_SIZE], void *properties);
int mq_header_put(const char *name, const char *text, void *properties);

/* A message to be published. Owned; moved by struct assignment. */
struct mq_message {
	char *exchange; /* "" is the default exchange */
	char *routing_key;
	struct mq_properties properties;
	struct buf body;
	bool mandatory; /* tell if no queue took it */
	bool once;      /* a publisher does not send it again: MQ_UNCERTAIN */
	bool urgent; /* without a body: a publisher sends it also while the server has an alarm */
};

void mq_message_init(struct mq_message *message);
void mq_message_deinit(struct mq_message *message);
/* @ret (not initialised) becomes a copy of its own; of nothing after -ENOMEM. */
int mq_message_copy(const struct mq_message *message, struct mq_message *ret);
/* Whether AMQP can carry it at all: names, keys and the texts of properties are at most 255 bytes,
 * the headers fit into a frame. 0, or -EINVAL with what is too long. */
int mq_message_check(const struct mq_message *message, struct error *err);
