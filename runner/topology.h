/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What must exist at the broker. Exchanges and queues that are ours (`declare: true`) are declared,
 * those of others only looked for. Runs in the publisher's thread, right after each connect,
 * because declaring waits for answers (mq/publisher.h).
 */

#include "mq/connection.h"
#include "runner/config.h"
#include "runner/journal.h"

/* Room for the name of a queue. */
#define TOPOLOGY_NAME_MAX 256
/* Notes of cancels that may be unacknowledged. */
#define TOPOLOGY_CANCELS_PREFETCH 2000
/* Deliveries from hold queues that may be unacknowledged; "no limit" would mean 2000 to a quorum
 * queue. */
#define TOPOLOGY_HOLD_MAX 65535

/* What both the publisher's thread, which prepares a connection, and the main thread look at while
 * the other may be at work is atomic. */
struct topology {
	const struct config *config;
	const char *instance;
	/* Dead instances x queues: hold queues of theirs that exist. */
	bool has_dead[JOURNAL_DEAD_MAX][QUEUES_MAX];
	/* Of dead instances; NULL: none. What they had parked is in their hold queues. */
	struct journal *journal;
	/* Ours are declared and can be consumed; false: leases are off, or not permitted. */
	_Atomic bool has_hold_queues;
	/* Counted up, between connections, when a hold queue is there and does not answer: others
	 * are made. */
	_Atomic unsigned hold_generation;
	/* The stream of cancels is there; or it may be asked for again on its channel. */
	_Atomic bool has_cancels, has_cancels_channel;
	_Atomic bool cancels_are_away;     /* it is there, but its node is not up */
	_Atomic uint64_t cancels_pause_us; /* not to be asked for before; clock_now_us */
	char cancels_problem[256];         /* why it is off, as it was logged; "": it is on; either
					      thread's, under a lock */
	/* Of the events' own connection, and so of one thread alone. */
	uint64_t history_pause_us;
	char history_problem[256]; /* why they are not kept, as it was logged */
	/* Of this runner, exclusive, named by the server; "" without a control exchange. Written
	 * before the connection is handed to the main thread, which alone reads it. */
	char control_queue[TOPOLOGY_NAME_MAX];
	/* The same goes for this: why the queue is not bound to the exchange; code 0: it is. */
	struct error control_error;
	bool control_was_bound; /* once; of the publisher's thread */
};

/* Channels of the consuming connection: one for each request queue, so that each has its own limit
 * of unacknowledged deliveries, then these. */
uint16_t topology_queue_channel(const struct config *config, size_t queue);
uint16_t topology_control_channel(const struct config *config);
uint16_t topology_cancellation_channel(const struct config *config);
uint16_t topology_hold_channel(const struct config *config);
uint16_t topology_cancels_channel(const struct config *config);
/* What binds the control queue again and again: a server that refuses that closes the channel. */
uint16_t topology_binding_channel(const struct config *config);

/* Our hold queue for requests of the @queue-th queue. */
void topology_hold_queue(const struct topology *topology, size_t queue, char *ret, size_t size);
/* The first one of another instance. */
void topology_hold_queue_of(const char *instance, size_t queue, char *ret, size_t size);
/* Whether it can be the name of one. */
bool topology_is_hold_queue(const char *name);
/* As it is to be declared; texts are borrowed. */
struct mq_exchange topology_exchange(const struct exchange_config *config);

/* The stream of cancels, as it is declared. */
struct mq_queue topology_cancels_queue(const struct config *config);
/* It is not to be had, or not to be asked for during the next minute; said once for each reason
 * until it was on again. By the thread that has the connection. */
void topology_cancels_off(struct topology *topology, const char *why);
void topology_cancels_pause(struct topology *topology, const char *why);
void topology_cancels_on(struct topology *topology);

/* For mq_publisher_options; @userdata is a struct topology. */
int topology_prepare_publisher(struct mq_connection *c, void *userdata, struct error *err);
int topology_prepare_consumer(struct mq_connection *c, void *userdata, struct error *err);
int topology_prepare_events(struct mq_connection *c, void *userdata, struct error *err);
