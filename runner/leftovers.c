/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cancellation queues (the ancestor's way) of tasks that never consumed from theirs. Such a queue
 * does not go by itself, as others do with their last consumer; so it is deleted until an answer of
 * the broker shows that it was, also over lost connections.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "runner/daemon_private.h"

/* The broker can be away for long. */
#define LEFTOVERS_MAX 1000
#define REFUSED_MAX   3

struct leftover {
	struct leftover *prev, *next;
	bool is_sent; /* on this connection, and not answered */
	unsigned refused;
	char id[];
};

static void drop(struct daemon *daemon, struct leftover *leftover)
{
	DL_DELETE(daemon->leftovers, leftover);
	daemon->n_leftovers--;
	free(leftover);
}

/* An id may be the name of some other queue: then the declaration fails, and nothing is deleted.
 * The prefetch means nothing to consumers without acknowledgements; but it is answered after the
 * rest. */
static int send(struct daemon *daemon, struct leftover *leftover)
{
	uint16_t channel = topology_cancellation_channel(daemon->config);
	int r = control_open_queue(daemon, leftover->id);
	if (r == 0)
		r = mq_send_delete_queue(daemon->consumer, channel, leftover->id, true, false);
	if (r == 0)
		r = mq_send_qos(daemon->consumer, channel, 1);
	leftover->is_sent = true;
	if (r < 0)
		daemon_consumer_lost(daemon, "a cancellation queue could not be left");
	else
		daemon_pump_soon(daemon);
	return r;
}

void leftovers_add(struct daemon *daemon, const char *id)
{
	size_t len = strlen(id) + 1;
	struct leftover *leftover = calloc(1, sizeof(*leftover) + len);
	if (daemon->n_leftovers >= LEFTOVERS_MAX)
		drop(daemon, daemon->leftovers);
	if (!leftover) {
		log_warn("task.cancellation-left", LOG_S("task", id), LOG_ERRNO(ENOMEM));
		return;
	}
	memcpy(leftover->id, id, len);
	DL_APPEND(daemon->leftovers, leftover);
	daemon->n_leftovers++;
	if (daemon->consumer)
		send(daemon, leftover);
}

void leftovers_send(struct daemon *daemon)
{
	struct leftover *leftover, *next;
	DL_FOREACH_SAFE (daemon->leftovers, leftover, next) {
		if (leftover->is_sent)
			continue;
		/* A new task of this id has it now, and leaves it in its turn. */
		if (job_find(daemon, leftover->id))
			drop(daemon, leftover);
		else if (send(daemon, leftover) < 0)
			return;
	}
}

void leftovers_on_answer(struct daemon *daemon)
{
	if (daemon->leftovers && daemon->leftovers->is_sent)
		drop(daemon, daemon->leftovers);
}

void leftovers_lost(struct daemon *daemon)
{
	struct leftover *leftover;
	DL_FOREACH (daemon->leftovers, leftover)
		leftover->is_sent = false;
}

/* Answers come in the order of the questions: the first that has none is at fault, if it is one of
 * these. */
void leftovers_on_closed(struct daemon *daemon)
{
	struct leftover *first = daemon->leftovers;
	if (first && first->is_sent && ++first->refused == REFUSED_MAX)
		drop(daemon, first);
	leftovers_lost(daemon);
}

void leftovers_deinit(struct daemon *daemon)
{
	while (daemon->leftovers)
		drop(daemon, daemon->leftovers);
}
