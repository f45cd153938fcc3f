/* SPDX-License-Identifier: Apache-2.0 */

/* The life of a job: from a delivery until nothing is left to be said to the broker about it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "runner/daemon_private.h"

/* A token is the job's number and, below, a purpose. */
#define PURPOSE_BITS 4
#define PURPOSE_MASK ((1U << PURPOSE_BITS) - 1)

struct job *job_new(struct daemon *daemon, size_t queue)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->daemon = daemon;
	job->queue = queue;
	job->token = ++daemon->last_token;
	job->since_us = clock_now_us();
	mq_message_init(&job->copy);
	mq_message_init(&job->answer);
	HASH_ADD(hh_token, daemon->jobs_by_token, token, sizeof(job->token), job);
	return job;
}

int job_name(struct job *job, const char *id)
{
	job->id = strdup(id);
	if (!job->id)
		return -ENOMEM;
	HASH_ADD_KEYPTR(hh_id, job->daemon->jobs_by_id, job->id, strlen(job->id), job);
	job->is_listed = true;
	return 0;
}

void job_unlist(struct job *job)
{
	if (job->is_listed)
		HASH_DELETE(hh_id, job->daemon->jobs_by_id, job);
	job->is_listed = false;
}

struct job *job_find(struct daemon *daemon, const char *id)
{
	struct job *job;
	HASH_FIND(hh_id, daemon->jobs_by_id, id, strlen(id), job);
	return job;
}

uint64_t job_token(const struct job *job, enum purpose purpose)
{
	return job->token << PURPOSE_BITS | purpose;
}

struct job *job_by_token(struct daemon *daemon, uint64_t token, enum purpose *ret)
{
	struct job *job;
	uint64_t number = token >> PURPOSE_BITS;
	*ret = (enum purpose)(token & PURPOSE_MASK);
	HASH_FIND(hh_token, daemon->jobs_by_token, &number, sizeof(number), job);
	return job;
}

#ifdef TASKRUNNER_CRASH_POINTS
void job_on_sent(uint64_t token)
{
	static const char *const steps[] = {
		[FOR_FINAL] = "S7",
		[FOR_PARKING] = "S4a",
		[FOR_RENEWAL] = "S5a",
	};
	enum purpose purpose = (enum purpose)(token & PURPOSE_MASK);
	if (token && purpose < sizeof(steps) / sizeof(*steps))
		crash_point(steps[purpose]);
}
#endif

/* Out of whatever it waits in. */
void job_stop_waiting(struct job *job)
{
	struct queue *queue = &job->daemon->queues[job->queue];
	suspects_end(job);
	held_end(job);
	if (job->phase == JOB_READY) {
		DL_DELETE2(queue->ready, job, prev_waiting, next_waiting);
		job->phase = JOB_NEW;
	}
	if (job->has_place) {
		job->has_place = false;
		queue->running--;
	}
}

/* A copy that came before its confirm. Needed is one that is all there is: it comes to us again. */
static void settle_arrived(struct job *job, bool is_needed)
{
	struct daemon *daemon = job->daemon;
	struct holding arrived = job->custody.arrived;
	job->custody.arrived = (struct holding){ 0 };
	if (!daemon->consumer || !arrived.connection || arrived.connection != daemon->connection)
		return;
	int r = is_needed ? mq_nack(daemon->consumer, arrived.channel, arrived.tag, true)
			  : mq_ack(daemon->consumer, arrived.channel, arrived.tag, false);
	if (r < 0)
		daemon_consumer_lost(daemon, "a delivery could not be settled");
}

void job_free(struct job *job)
{
	struct daemon *daemon = job->daemon;
	/* Another may wait for its place, or the number of consumers be other because of it. */
	bool is_odd = !job->slot || !job->slot->is_open || job->phase == JOB_SUSPECT ||
		      job->phase == JOB_HELD || daemon->queues[job->queue].ready;
	control_end(job);
	job_stop_waiting(job);
	slots_release(job);
	settle_arrived(job, true);
	HASH_DELETE(hh_token, daemon->jobs_by_token, job);
	job_unlist(job);
	free(job->id);
	free(job->exchange);
	free(job->key);
	free(job->correlation_id);
	free(job->traceparent);
	free(job->tracestate);
	task_events_forget(job);
	mq_message_deinit(&job->copy);
	mq_message_deinit(&job->answer);
	request_deinit(&job->request);
	launch_deinit(&job->launch);
	free(job);
	if (is_odd)
		daemon_balance_soon(daemon);
	daemon_end_if_done(daemon);
}

enum settling {
	ACKNOWLEDGE,
	REQUEUE,
	DISCARD, /* a copy in a hold queue: to the request queue, as when its lease ends */
};

/* True if the broker was told. What a connection brought that is gone has been given back by its
 * end. */
static bool settle(struct job *job, enum settling how)
{
	struct daemon *daemon = job->daemon;
	const struct holding *held = &job->custody.held;
	if (how == ACKNOWLEDGE || custody_is_live(&job->custody))
		settle_arrived(job, false);
	if (!daemon->consumer || !custody_is_live(&job->custody) ||
		held->connection != daemon->connection)
		return false;
	int r = how == ACKNOWLEDGE
			? mq_ack(daemon->consumer, held->channel, held->tag, false)
			: mq_nack(daemon->consumer, held->channel, held->tag, how == REQUEUE);
	if (r < 0) {
		daemon_consumer_lost(daemon, "a delivery could not be settled");
		return false;
	}
	daemon_pump_soon(daemon);
	return true;
}

static void remember(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (memory_add_print(&daemon->finished, job->id, job->print) < 0)
		log_warn("task.not-remembered", LOG_S("task", job->id));
	journal_add(&daemon->journal, job->id, job->print, &daemon->finished);
	/* What no queue took would not be taken again. */
	if (job->answer.exchange && !job->dead_lettered)
		answers_keep(&daemon->answers, job->id, job->print, &job->answer);
}

void job_acknowledge(struct job *job)
{
	/* One that could not be given back was not answered: it is kept for people. */
	bool was_answered = job->id && job->phase != JOB_LEAVING;
	if (was_answered)
		remember(job);
	crash_point("S8b");
	if (settle(job, ACKNOWLEDGE) && was_answered)
		memory_add(&job->daemon->acknowledged, job->id);
	if (was_answered)
		cancels_over(job->daemon, job->id);
	task_events_final(job);
	crash_point("S9");
	job_free(job);
	crash_point("S10");
}

bool job_settle(struct job *job)
{
	const struct custody *c = &job->custody;
	/* The copy that is under way is as little needed as what is held. */
	if (c->sent_number && !c->arrived.connection && job->id)
		memory_add_print(&job->daemon->surplus, job->id, c->sent_number);
	return settle(job, ACKNOWLEDGE);
}

void job_leave(struct job *job)
{
	job_settle(job);
	job_free(job);
}

void job_return(struct job *job)
{
	task_events_tell(job, EVENT_RETURNED, CAUSE_NONE);
	settle(job, REQUEUE);
	job_free(job);
}

void job_return_as_it_is(struct job *job)
{
	bool is_copy = job->custody.held.channel == topology_hold_channel(job->daemon->config);
	/* From the hold queue it would come to us again. */
	settle(job, is_copy ? DISCARD : REQUEUE);
	job_free(job);
}

void job_end_fenced(struct job *job)
{
	if (custody_is_live(&job->custody))
		job_return(job);
	else
		job_free(job);
}

void job_give_back(struct job *job)
{
	struct daemon *daemon = job->daemon;
	/* A cancel that waits in its queue is for whoever takes the request next. */
	if (!job->cancellation_number)
		job->is_left = true;
	if (job->phase == JOB_LEAVING || !custody_is_live(&job->custody)) {
		job_free(job);
		return;
	}
	bool may_run_elsewhere = job->phase == JOB_SUSPECT;
	job_stop_waiting(job);
	if (may_run_elsewhere)
		job->is_begun = false; /* here it was about to, and does not count */
	/* Given back alone it is started at once; with a second copy about, after it was asked for.
	 */
	if (!may_run_elsewhere &&
		custody_is_alone_soon(&job->custody, &daemon->rules, clock_now_us())) {
		job->phase = JOB_RETURNING;
		pings_soon(daemon);
		return;
	}
	log_notice("request.given-back", LOG_S("task", job->id));
	task_events_tell(job, EVENT_RETURNED, CAUSE_NONE);
	/* Our hold queue ends with us; only from the request queue it goes to another as it is. */
	bool may_be_returned = may_run_elsewhere && !custody_is_parked(&job->custody);
	if (may_be_returned || !job->id || !job->copy.body.len ||
		lease_hand_over(job, daemon->config->queues[job->queue].name, !may_run_elsewhere) <
			0)
		job_return(job);
}

void job_give_back_again(struct job *job)
{
	const struct daemon *daemon = job->daemon;
	if (!custody_is_live(&job->custody))
		job_free(job);
	else if (lease_hand_over(job, daemon->config->queues[job->queue].name, false) < 0)
		job_return(job);
}
