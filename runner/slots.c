/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One consumer with a prefetch of one for each free slot of a queue. So a runner never holds a
 * request that another could run, also when the requests of long tasks are parked and no longer
 * count as unacknowledged with the queue they came from.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "runner/daemon_private.h"

#define TAG_PREFIX 'r'

/* A suspect takes no slot, nor does what is held: for each of them one more may be open, twice as
 * many in all. */
#define ROOM_FOR_SUSPECTS 2

int slots_init(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	daemon->queues = calloc(config->n_queues, sizeof(*daemon->queues));
	if (!daemon->queues)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_queues; i++) {
		struct queue *queue = &daemon->queues[i];
		queue->n_slots = (size_t)config->queues[i].slots * ROOM_FOR_SUSPECTS;
		queue->slots = calloc(queue->n_slots, sizeof(*queue->slots));
		if (!queue->slots)
			return -ENOMEM;
	}
	return 0;
}

/* Jobs point to theirs. */
static int grow(struct queue *queue, size_t n)
{
	struct slot *more = realloc(queue->slots, n * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + queue->n_slots, 0, (n - queue->n_slots) * sizeof(*more));
	for (size_t i = 0; i < queue->n_slots; i++)
		if (more[i].job)
			more[i].job->slot = &more[i];
	queue->slots = more;
	queue->n_slots = n;
	return 0;
}

void slots_deinit(struct daemon *daemon)
{
	for (size_t i = 0; daemon->queues && i < daemon->config->n_queues; i++)
		free(daemon->queues[i].slots);
	free(daemon->queues);
	daemon->queues = NULL;
}

static int send_consume(struct daemon *daemon, size_t queue, size_t slot, bool open)
{
	char tag[32];
	uint16_t channel = topology_queue_channel(daemon->config, queue);
	snprintf(tag, sizeof(tag), "%c%zu", TAG_PREFIX, slot);
	daemon->queues[queue].slots[slot].is_open = open;
	return open ? mq_consume(daemon->consumer, channel, daemon->config->queues[queue].name, tag,
			      false, false)
		    : mq_cancel(daemon->consumer, channel, tag);
}

static bool takes_no_slot(const struct job *job)
{
	return job->phase == JOB_SUSPECT || (job->phase == JOB_HELD && job->is_kept);
}

/* What runs or will, and was not brought by a slot, takes the place of one; but for what a lost
 * connection took from us: that is to come back through one. */
static bool takes_a_place(const struct job *job)
{
	bool has_open_slot = job->slot && job->slot->is_open;
	return !has_open_slot && !takes_no_slot(job) && job->phase != JOB_LEAVING &&
	       custody_is_live(&job->custody);
}

static size_t wanted(struct daemon *daemon, size_t index)
{
	size_t slots = daemon->config->queues[index].slots, guests = 0, suspects = 0;
	for (struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next) {
		if (job->queue != index)
			continue;
		suspects += job->slot && job->slot->is_open && takes_no_slot(job);
		guests += takes_a_place(job);
	}
	if (suspects > slots)
		suspects = slots;
	return suspects + (guests < slots ? slots - guests : 0);
}

void slots_balance(struct daemon *daemon, size_t index)
{
	struct queue *queue = &daemon->queues[index];
	size_t want, open = 0;
	int r = 0;
	if (!daemon->consumer || daemon->stopping || daemon->draining)
		return;
	want = wanted(daemon, index);
	for (size_t i = 0; i < queue->n_slots; i++)
		open += queue->slots[i].is_open;
	for (size_t i = 0; r == 0 && open < want && i < queue->n_slots; i++)
		if (!queue->slots[i].is_open && !queue->slots[i].job) {
			r = send_consume(daemon, index, i, true);
			open++;
		}
	for (size_t i = queue->n_slots; r == 0 && open > want && i-- > 0;)
		if (queue->slots[i].is_open && !queue->slots[i].job) {
			r = send_consume(daemon, index, i, false);
			open--;
		}
	/* What it brought stays. */
	for (size_t i = queue->n_slots; r == 0 && open > want && i-- > 0;)
		if (queue->slots[i].is_open) {
			r = send_consume(daemon, index, i, false);
			open--;
			daemon_balance_soon(daemon);
		}
	if (r < 0)
		daemon_consumer_lost(daemon, "a queue could not be consumed");
	else
		daemon_pump_soon(daemon);
}

/* Nobody brings them home without consumers of their queue, should the connection be lost. */
void slots_park_running(struct daemon *daemon)
{
	for (struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next)
		if (job->phase == JOB_RUNNING && !custody_is_parked(&job->custody))
			lease_renew_now(job);
}

static void give_back_ready(struct daemon *daemon, size_t index)
{
	struct queue *queue = &daemon->queues[index];
	for (struct job *job = queue->ready, *next; job; job = next) {
		next = job->next_waiting;
		if (custody_is_live(&job->custody))
			job_give_back(job);
	}
}

void slots_close(struct daemon *daemon)
{
	int r = 0;
	for (size_t q = 0; q < daemon->config->n_queues; q++)
		for (size_t i = 0; daemon->consumer && r == 0 && i < daemon->queues[q].n_slots; i++)
			if (daemon->queues[q].slots[i].is_open)
				r = send_consume(daemon, q, i, false);
	if (r < 0)
		daemon_consumer_lost(daemon, "a consumer could not be cancelled");
	daemon_pump_soon(daemon);
}

void slots_forget(struct daemon *daemon)
{
	for (struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next)
		job->slot = NULL;
	for (size_t q = 0; q < daemon->config->n_queues; q++)
		for (size_t i = 0; i < daemon->queues[q].n_slots; i++)
			daemon->queues[q].slots[i] = (struct slot){ 0 };
}

void slots_take(struct job *job, const char *consumer_tag)
{
	struct queue *queue = &job->daemon->queues[job->queue];
	size_t i = strtoul(consumer_tag + (consumer_tag[0] == TAG_PREFIX), NULL, 10);
	if (consumer_tag[0] != TAG_PREFIX || i >= queue->n_slots || !queue->slots[i].is_open ||
		queue->slots[i].job)
		return;
	job->slot = &queue->slots[i];
	job->slot->job = job;
}

void slots_release(struct job *job)
{
	if (job->slot)
		job->slot->job = NULL;
	job->slot = NULL;
}

/* Before its acknowledgement, so that the slot brings nothing new. */
void slots_park(struct job *job)
{
	struct daemon *daemon = job->daemon;
	struct queue *queue = &daemon->queues[job->queue];
	struct slot *slot = job->slot;
	slots_release(job);
	/* What takes no slot leaves one to be opened again. */
	daemon_balance_soon(daemon);
	if (slot && slot->is_open && daemon->consumer &&
		send_consume(daemon, job->queue, (size_t)(slot - queue->slots), false) < 0)
		daemon_consumer_lost(daemon, "a consumer could not be cancelled");
}

int slots_set(struct daemon *daemon, size_t index, unsigned slots)
{
	struct queue *queue = &daemon->queues[index];
	size_t n = (size_t)slots * ROOM_FOR_SUSPECTS;
	if (n > queue->n_slots && grow(queue, n) < 0)
		return -ENOMEM;
	bool is_less = slots < daemon->config->queues[index].slots;
	daemon->config->queues[index].slots = slots;
	/* Others may have room for what waits; and what runs may lose its consumer. */
	if (is_less) {
		slots_balance(daemon, index);
		give_back_ready(daemon, index);
		slots_park_running(daemon);
	}
	daemon_balance_soon(daemon);
	return 0;
}
