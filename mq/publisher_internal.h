/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the two halves of the publisher share: publisher.c runs in the main thread,
 * publisher_thread.c in the other. `struct mq_publisher` is guarded by its lock but for what is set
 * once at the start.
 */

#include <pthread.h>

#include "mq/internal.h"
#include "mq/publisher.h"

/* A message on its way; it ends as the event that tells of it, so that telling cannot fail. */
struct publisher_item {
	struct publisher_item *next;
	struct mq_publisher_event event; /* message, token */
	size_t bytes;                    /* what it counts for in "full" */
	uint64_t number;                 /* on the wire */
	bool returned;                   /* no queue took it; its confirm is still to come */
	unsigned crashes;                /* of the server, while only this one was in doubt */
};

struct publisher_list {
	struct publisher_item *first, *last;
};

void publisher_list_append(struct publisher_list *list, struct publisher_item *item);
/* NULL if the list is empty. */
struct publisher_item *publisher_list_take(struct publisher_list *list);
/* Puts all of @front before all of @list; @front is empty then. */
void publisher_list_prepend(struct publisher_list *list, struct publisher_list *front);
void publisher_item_free(struct publisher_item *item);
void publisher_list_free(struct publisher_list *list);

struct mq_publisher {
	struct mq_publisher_options options;
	struct mq_interrupt interrupt;
	int event_fd; /* readable: events are there */
	int wake_fd;  /* readable: the thread has something to look at */
	pthread_t thread;
	char id_prefix[24];  /* main thread */
	uint64_t id_counter; /* main thread */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* nothing is pending any more; the thread has finished */
	struct publisher_list inbox;
	struct publisher_list events;
	size_t n_pending, bytes_pending;
	bool told_full;
	bool wants_consumer;
	bool finishing; /* no more will come */
	bool stopping;
	bool finished;
};

/* Both take the lock. An event that cannot be allocated is lost: false. */
bool publisher_post(struct mq_publisher *p, const struct mq_publisher_event *event);
/* The end of a message: takes @item. */
void publisher_complete(struct mq_publisher *p, struct publisher_item *item,
	enum mq_publisher_outcome outcome, const char *why);

/* ---- the thread's side; all below belongs to it alone ---- */

/* One is for `prepare` and for asking whether an exchange is there, the other publishes: what the
 * server says of the one is not mistaken for an answer on the other. */
#define PUBLISHER_PREPARE_CHANNEL 1
#define PUBLISHER_CHANNEL         3

struct backoff {
	unsigned n; /* failures in a row */
	uint64_t at_us;
};

/* Messages for one exchange, or one key of it, that the server does not take for now. */
struct hold {
	struct hold *next;
	char *exchange;
	char *routing_key; /* NULL: all */
	bool probe;        /* wait until the exchange is there */
	bool trial;        /* released, and not known yet whether that was right */
	struct backoff backoff;
	struct publisher_list items;
};

struct worker {
	struct mq_publisher *p;
	struct mq_connection *c; /* NULL while there is none */
	uint64_t connected_us, consumer_ready_us, tick_us;
	unsigned address;
	struct backoff connect, consumer;
	bool consumer_wanted;
	bool blocked;
	char told[512]; /* the last reason told with DOWN */
	char consumer_told[512];
	struct publisher_list unsent, inflight;
	struct publisher_list urgent; /* unsent, and leave first */
	struct backoff express;
	unsigned n_inflight;
	unsigned n_alone; /* so many are sent one by one: the server fell over one of them */
	uint64_t next_number;
	struct hold *holds;
	unsigned n_holds;
	size_t size_limit; /* what the server said; 0: unknown */
};

void *publisher_thread(void *userdata);
/* publisher_thread.c: the next wait. @refused: it is of no use to be back soon. */
void backoff_next(struct backoff *b, bool refused);
void worker_post(struct worker *w, enum mq_publisher_event_kind kind, const struct error *err);
/* The connection is of no further use: what is in doubt goes back to `unsent` and `urgent`. */
void worker_lost(struct worker *w, const struct error *err);
void worker_requeue_inflight(struct worker *w);
/* Takes all of @items, in their order. */
void worker_split_urgent(
	struct publisher_list *items, struct publisher_list *urgent, struct publisher_list *others);
/* All of @items are to be sent (again), before what waits. */
void worker_put_back(struct worker *w, struct publisher_list *items);

/* publisher_holds.c */
struct hold *hold_find(struct worker *w, const struct mq_message *m); /* NULL: it may leave */
/* Messages like @m wait from now on, because of the reply code (0: a nack). False if there are too
 * many such cases. */
bool hold_begin(struct worker *w, const struct mq_message *m, uint16_t code, const char *text);
/* A message like @m was confirmed. */
void hold_confirmed(struct worker *w, const struct mq_message *m);
/* Tries again what has waited long enough. */
void hold_release_due(struct worker *w);
void hold_free_all(struct worker *w);

/* publisher_express.c: urgent messages while the server has an alarm */
bool express_is_wanted(const struct worker *w);
void express_send_one(struct worker *w);
/* What was sent just before the server said so will not be read. */
void express_take_back(struct worker *w);

/* publisher_traffic.c: publishing and what the server says to it */
bool worker_can_publish(const struct worker *w);
void worker_publish_some(struct worker *w);
void worker_handle(struct worker *w, const struct mq_event *event);
