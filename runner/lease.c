/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Parking: the requests of long tasks wait in the runner's own hold queue, as copies that are
 * renewed; and fencing: a task is killed before another runner may start it. custody.h decides,
 * here it is done.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "runner/daemon_private.h"
#include "wire/wire.h"

#define SECOND 1000000ULL
/* Where no heartbeat is wanted, times are reckoned with the usual one. */
#define HEARTBEAT_S 20
/* Of the fence and of the lease, kept for killing. */
#define FENCE_MARGIN_MAX_US (10 * SECOND)
#define LEASE_MARGIN_MAX_US (15 * SECOND)
#define RETRY_US            (5 * SECOND)
/* A quorum queue drops what it delivered more often than its limit, which nobody tells us: 20 where
 * nobody has set it, from RabbitMQ 4.0 on. */
#define DELIVERIES_MANY 4

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t heartbeat_us(const struct daemon *daemon)
{
	unsigned s = daemon->config->broker.heartbeat_s;
	return (s ? s : HEARTBEAT_S) * SECOND;
}

void lease_init(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	uint64_t hb = heartbeat_us(daemon), lease = config->delivery.lease_us;
	daemon->rules = (struct custody_rules){
		.leases = !config->delivery.hold,
		.park_us = config->delivery.park_us,
		.renew_us = lease / 3,
		.lease_us = lease,
		.margin_us = smaller(lease / 4, LEASE_MARGIN_MAX_US),
		/* The broker gives up no sooner than two heartbeats after it heard us last. */
		.fence_us = 2 * hb - smaller(hb / 2, FENCE_MARGIN_MAX_US),
		.suspect_us = 2 * hb,
		.copies = &daemon->copies,
	};
}

/* ---- copies ---- */

/* Texts of ours replace what stands there; what a requester wrote under these names goes. */
static int add_lease_headers(struct job *job, struct mq_properties *p, uint64_t number)
{
	/* One that has not begun must not count again with whoever gets it next. */
	unsigned runs = job->is_begun ? job->attempt : job->attempt - 1;
	unsigned crashes = job->is_begun || !job->crashes ? job->crashes : job->crashes - 1;
	int r = mq_properties_add_text(p, HEADER_TASK, job->id);
	if (r == 0)
		r = mq_properties_add_int(p, HEADER_ATTEMPT, runs);
	if (r == 0)
		r = mq_properties_add_text(
			p, HEADER_QUEUE, job->daemon->config->queues[job->queue].name);
	if (r == 0)
		r = mq_properties_add_int(p, HEADER_CRASHES, crashes);
	if (r == 0)
		r = mq_properties_add_text(p, HEADER_HOLDER, job->daemon->instance.id);
	if (r == 0)
		r = mq_properties_add_int(p, HEADER_LEASE, (int64_t)number);
	if (r == 0)
		r = mq_properties_add_int(p, HEADER_PRINT, (int64_t)job->print);
	if (r == 0)
		r = mq_properties_add_int(p, HEADER_CLEAN, 0);
	if (r == 0 && job->was_held)
		r = mq_properties_add_int(p, HEADER_HOLD, job->is_held);
	return r;
}

/* A copy of the request for @queue. 0 or a negative errno. */
static int send_copy(
	struct job *job, const char *queue, uint64_t number, uint64_t clean, enum purpose purpose)
{
	struct mq_message message;
	int r = mq_message_copy(&job->copy, &message);
	if (r < 0)
		return r;
	r = add_lease_headers(job, &message.properties, number);
	if (r == 0 && clean)
		r = mq_properties_add_int(&message.properties, HEADER_CLEAN, (int64_t)clean);
	if (r == 0)
		r = mq_properties_set(&message.exchange, "");
	if (r == 0)
		r = mq_properties_set(&message.routing_key, queue);
	if (r < 0) {
		mq_message_deinit(&message);
		return r;
	}
	message.properties.persistent = true;
	message.mandatory = true;
	/* Of two that may be started at once, each would be. */
	message.once = clean > 0;
	return replies_send(job->daemon, &message, job_token(job, purpose));
}

/* ---- parking and renewing ---- */

static void acknowledge_older(struct job *job, const struct holding *older)
{
	struct daemon *daemon = job->daemon;
	if (!older->connection || older->connection != daemon->connection || !daemon->consumer)
		return;
	if (job->slot)
		slots_park(job);
	if (!daemon->consumer)
		return;
	if (mq_ack(daemon->consumer, older->channel, older->tag, false) < 0) {
		daemon_consumer_lost(daemon, "a delivery could not be settled");
		return;
	}
	custody_acknowledged(&job->custody, daemon->pings.round + 1);
	pings_soon(daemon);
}

static void turn(struct job *job)
{
	struct daemon *daemon = job->daemon;
	struct holding older;
	bool was_parked = custody_is_parked(&job->custody);
	if (!custody_turn(&job->custody, &daemon->rules, &older))
		return;
	log_at(was_parked ? LOG_DEBUG : LOG_INFO, was_parked ? "request.renewed" : "request.parked",
		LOG_S("task", job->id), LOG_I("copy", (int64_t)job->custody.number));
	acknowledge_older(job, &older);
	crash_point(was_parked ? "S5c" : "S4c");
	/* Something was said while it was under way. */
	if (job->said_held != job->is_held || job->said_begun != job->is_begun)
		lease_renew_now(job);
	suspects_on_turn(job);
}

static void renew(struct job *job, uint64_t now)
{
	char queue[TOPOLOGY_NAME_MAX];
	struct daemon *daemon = job->daemon;
	uint64_t number = custody_sent(&job->custody, &daemon->rules, now);
	if (job->is_begun && !job->begun_number)
		job->begun_number = number;
	job->said_held = job->is_held;
	job->said_begun = job->is_begun;
	topology_hold_queue(&daemon->topology, job->queue, queue, sizeof(queue));
	if (send_copy(job, queue, number, 0,
		    custody_is_parked(&job->custody) ? FOR_RENEWAL : FOR_PARKING) < 0) {
		log_error("request.not-parked", LOG_S("task", job->id),
			LOG_S("reason", "out of memory"));
		custody_not_sent(&job->custody, now + RETRY_US);
	}
}

void lease_on_done(struct job *job, const struct mq_publisher_event *event)
{
	uint64_t now = clock_now_us();
	if (event->outcome == MQ_CONFIRMED) {
		crash_point(custody_is_parked(&job->custody) ? "S5b" : "S4b");
		/* Confirms come in the order of sending for one key: it is the last one sent. */
		custody_confirmed(&job->custody, job->custody.sent_number);
		turn(job);
		return;
	}
	log_error("request.not-parked", LOG_S("task", job->id),
		LOG_S("reason",
			event->error.text[0] ? event->error.text : "the hold queue is gone"));
	custody_not_sent(
		&job->custody, event->outcome == MQ_TOO_LARGE ? UINT64_MAX : now + RETRY_US);
}

/* ---- what is delivered too often ---- */

/* A quorum queue counts deliveries; of a classic one we only know that there was an earlier. */
unsigned lease_deliveries(const struct mq_delivery *delivery)
{
	const struct mq_header *count =
		mq_properties_header(&delivery->properties, "x-delivery-count");
	/* What a requester wrote there counts for nothing. */
	if (!delivery->redelivered)
		return 0;
	if (!count || count->kind != MQ_HEADER_INT || count->number <= 0)
		return 1;
	return count->number < INT32_MAX ? (unsigned)count->number : INT32_MAX;
}

static bool has_leases(const struct daemon *daemon)
{
	return daemon->rules.leases && daemon->has_hold_queues;
}

/* A copy in a hold queue counts anew; where there is none, one in the request queue must do. It is
 * treated as any copy that may have come back: who gets it asks, and it is dropped where the first
 * is; but by us, who keep it instead of the first. */
void lease_spare(struct job *job)
{
	const struct daemon *daemon = job->daemon;
	if (has_leases(daemon) || job->has_spare || job->deliveries < DELIVERIES_MANY ||
		job->phase == JOB_OVER || !job->id || !job->copy.body.len)
		return;
	log_notice("request.spared", LOG_S("task", job->id),
		LOG_I("deliveries", (int64_t)job->deliveries + 1),
		LOG_S("proceeding", "a copy begins anew, before the broker drops it"));
	job->has_spare =
		send_copy(job, daemon->config->queues[job->queue].name, 0, 0, FOR_SPARE) == 0;
	if (job->has_spare)
		custody_spread(&job->custody);
}

/* ---- what comes again ---- */

void lease_begin(struct job *job, uint16_t channel, uint64_t tag, bool knows_all)
{
	struct daemon *daemon = job->daemon;
	custody_begin(&job->custody, &daemon->rules,
		(struct holding){ daemon->connection, channel, tag }, knows_all,
		daemon->pings.proof_us, clock_now_us());
}

/* Which copy of ours it is; 0: the original, or another's, whose numbers say nothing here. */
uint64_t lease_copy_number(const struct daemon *daemon, const struct mq_properties *p)
{
	const struct mq_header *number = mq_properties_header(p, HEADER_LEASE);
	const char *holder = mq_properties_text(p, HEADER_HOLDER);
	if (!holder || !number || number->kind != MQ_HEADER_INT || number->number <= 0 ||
		strcmp(holder, daemon->instance.id) != 0)
		return 0;
	return (uint64_t)number->number;
}

static void drop_extra(struct job *job, const struct holding *extra)
{
	struct daemon *daemon = job->daemon;
	log_notice("request.duplicate", LOG_S("task", job->id),
		LOG_S("proceeding", "the first one is here"));
	if (mq_ack(daemon->consumer, extra->channel, extra->tag, false) < 0) {
		daemon_consumer_lost(daemon, "a delivery could not be settled");
		return;
	}
	custody_acknowledged(&job->custody, daemon->pings.round + 1);
	pings_soon(daemon);
}

static void log_home(const struct job *job, bool from_hold_queue)
{
	log_notice("request.adopted", LOG_S("task", job->id),
		LOG_S("from", from_hold_queue ? "the hold queue" : "the request queue"));
}

/* Of two from the request queue the one is kept that was delivered less often. */
static bool is_spare_of(const struct job *job, const struct mq_event *event, bool from_hold_queue)
{
	return !from_hold_queue && !has_leases(job->daemon) && custody_is_live(&job->custody) &&
	       !custody_is_parked(&job->custody) && job->deliveries >= DELIVERIES_MANY &&
	       lease_deliveries(&event->delivery) < job->deliveries;
}

static void take_spare(struct job *job, const struct mq_event *event)
{
	struct daemon *daemon = job->daemon;
	struct holding older;
	custody_exchange(&job->custody,
		(struct holding){ daemon->connection, event->channel, event->delivery.tag },
		&older);
	job->deliveries = lease_deliveries(&event->delivery);
	slots_release(job);
	slots_take(job, event->consumer_tag);
	if (job->phase == JOB_SUSPECT)
		suspects_wait_anew(job);
	daemon_balance_soon(daemon);
	drop_extra(job, &older);
}

void lease_again(struct job *job, const struct mq_event *event, bool from_hold_queue)
{
	struct daemon *daemon = job->daemon;
	const struct holding this = { daemon->connection, event->channel, event->delivery.tag,
		event->delivery.redelivered };
	struct holding older;
	bool was_live = custody_is_live(&job->custody);
	uint64_t now = clock_now_us();
	if (is_spare_of(job, event, from_hold_queue)) {
		take_spare(job, event);
		return;
	}
	custody_again(&job->custody, &daemon->rules, this, from_hold_queue,
		lease_copy_number(daemon, &event->delivery.properties),
		job->answered_us ? job->answered_us : now, now, &older);
	bool is_ours = from_hold_queue && lease_copy_number(daemon, &event->delivery.properties);
	if (job->phase == JOB_SUSPECT && !is_ours)
		suspects_wait_anew(job);
	if (!was_live && custody_is_live(&job->custody)) {
		job->answered_us = 0;
		log_home(job, from_hold_queue);
		if (job->kept_silent)
			suspects_tell_back(job);
		if (!from_hold_queue) {
			slots_take(job, event->consumer_tag);
			job->deliveries = lease_deliveries(&event->delivery);
			/* Whoever had it meanwhile may have put a copy beside it. */
			if (!has_leases(daemon))
				custody_spread(&job->custody);
			lease_spare(job);
		}
	}
	if (older.connection == this.connection && older.channel == this.channel &&
		older.tag == this.tag)
		drop_extra(job, &older);
	else
		acknowledge_older(job, &older);
	daemon_balance_soon(daemon);
	/* With the connection what only waited is gone. */
	if (!daemon_hears(daemon))
		return;
	turn(job);
	if (daemon_hears(daemon) && !was_live && custody_is_live(&job->custody))
		held_on_home(job);
}

/* ---- the fence ---- */

static void fence(struct job *job)
{
	struct daemon *daemon = job->daemon;
	struct task *task = engine_find(daemon->engine, job->id);
	log_error("task.fenced", LOG_S("task", job->id),
		LOG_S("reason", "the broker was not heard for too long"),
		LOG_S("proceeding", "it is killed; another runner may start it"));
	job->is_fenced = true;
	if (task)
		engine_kill(task, CAUSE_SHUTTING_DOWN);
	else
		job_end_fenced(job);
}

static bool is_past_fence(const struct job *job, uint64_t now)
{
	const struct daemon *daemon = job->daemon;
	bool is_here = job->phase == JOB_RUNNING || job->phase == JOB_SUSPECT ||
		       job->phase == JOB_READY || job->phase == JOB_HELD ||
		       job->phase == JOB_RETURNING;
	return is_here && !job->is_fenced && now > custody_deadline(&job->custody, &daemon->rules);
}

/* False: the broker does not answer on a connection that seems to live. What it delivered there
 * must go back, or it would hang until the acknowledgement timeout. */
static bool fence_late(struct daemon *daemon, uint64_t now)
{
	bool deaf = false;
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		if (!is_past_fence(job, now))
			continue;
		deaf = deaf || (custody_is_live(&job->custody) && !job->owed);
		fence(job);
	}
	return !deaf;
}

bool lease_is_possible(const struct daemon *daemon)
{
	return daemon_hears(daemon) && daemon->rules.leases && daemon->has_hold_queues &&
	       daemon->pings.hold_heard;
}

static void renew_if_due(struct job *job, uint64_t now)
{
	struct daemon *daemon = job->daemon;
	if (daemon->publisher_up && lease_is_possible(daemon) && !daemon->stopping &&
		job->phase != JOB_LEAVING && job->phase != JOB_RETURNING && job->id &&
		job->copy.body.len && custody_is_due(&job->custody, &daemon->rules, now))
		renew(job, now);
}

void lease_renew_now(struct job *job)
{
	job->custody.due_us = 0;
	renew_if_due(job, clock_now_us());
}

static void renew_due(struct daemon *daemon, uint64_t now)
{
	for (struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next)
		renew_if_due(job, now);
}

/* S3: it runs, and is not parked yet. */
static void crash_if_running(const struct daemon *daemon)
{
	for (const struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next)
		if (job->phase == JOB_RUNNING && job->is_begun && !custody_is_parked(&job->custody))
			crash_point("S3");
}

/* What could not be given back. */
static void hand_over_again(struct daemon *daemon, uint64_t now)
{
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		if (!job->give_again_us || now < job->give_again_us)
			continue;
		job->give_again_us = 0;
		job_give_back_again(job);
	}
}

void lease_give_back(struct daemon *daemon)
{
	for (struct job *job = daemon->jobs_by_token, *next; job && !daemon->give_back_round;
		job = next) {
		next = job->hh_token.next;
		if (job->phase == JOB_RETURNING)
			job_give_back(job);
	}
}

void lease_tick(struct daemon *daemon)
{
	uint64_t now = clock_now_us();
	crash_if_running(daemon);
	if (!fence_late(daemon, now) && daemon_hears(daemon))
		daemon_consumer_lost(daemon, "the broker does not answer");
	hand_over_again(daemon, now);
	lease_give_back(daemon);
	if (daemon_hears(daemon))
		renew_due(daemon, now);
	if (daemon_hears(daemon))
		pings_tick(daemon);
}

/* ---- connections come and go ---- */

/* What comes from these belongs to no task that is here, and is sent home. */
static int consume_dead(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char queue[TOPOLOGY_NAME_MAX], tag[48];
	int r = 0;
	for (size_t d = 0; daemon->has_hold_queues && d < daemon->journal.n_dead; d++)
		for (size_t i = 0; r == 0 && i < config->n_queues; i++) {
			if (!daemon->topology.has_dead[d][i])
				continue;
			topology_hold_queue_of(daemon->journal.dead[d].id, i, queue, sizeof(queue));
			snprintf(tag, sizeof(tag), "d%zu.%zu", i, d);
			r = mq_consume(daemon->consumer, topology_hold_channel(config), queue, tag,
				false, false);
		}
	return r;
}

void lease_connected(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	char queue[TOPOLOGY_NAME_MAX], tag[32];
	int r = 0;
	for (size_t i = 0; r == 0 && daemon->has_hold_queues && i < config->n_queues; i++) {
		topology_hold_queue(&daemon->topology, i, queue, sizeof(queue));
		snprintf(tag, sizeof(tag), "h%zu", i);
		r = mq_consume(
			daemon->consumer, topology_hold_channel(config), queue, tag, false, false);
	}
	if (r == 0)
		r = consume_dead(daemon);
	if (r < 0)
		daemon_consumer_lost(daemon, "the hold queue could not be consumed");
	else
		pings_begin(daemon);
}

/* What is still on its way to us. */
static bool has_copy_coming(struct daemon *daemon)
{
	struct mq_event event = { 0 };
	struct error err = { 0 };
	bool found = false;
	while (mq_next(daemon->consumer, &event, &err) > 0) {
		found = found || (event.kind == MQ_DELIVERY &&
					 event.channel == topology_hold_channel(daemon->config));
		mq_event_deinit(&event);
	}
	return found;
}

/* A quorum queue cannot be deleted on the condition that it is empty, so we look. What went back to
 * it of late may be on its way to us again, behind the answer to the first look, but not behind the
 * second. 1: gone. */
static int delete_hold_queue(struct daemon *daemon, const char *queue, const char *tag)
{
	uint16_t channel = topology_hold_channel(daemon->config);
	uint32_t ready = 0, consumers;
	struct error err = { 0 };
	int r = mq_cancel(daemon->consumer, channel, tag);
	for (int look = 0; r == 0 && look < 2; look++)
		r = mq_inspect_queue(daemon->consumer, channel, queue, &ready, &consumers, &err);
	if (r < 0 || ready > 0 || has_copy_coming(daemon))
		return r < 0 ? r : 0;
	r = mq_send_delete_queue(daemon->consumer, channel, queue, false, false);
	return r < 0 ? r : 1;
}

static int delete_dead(struct daemon *daemon, size_t dead)
{
	char queue[TOPOLOGY_NAME_MAX], tag[48];
	int r = 1;
	for (size_t i = 0; r == 1 && i < daemon->config->n_queues; i++) {
		if (!daemon->topology.has_dead[dead][i])
			continue;
		snprintf(tag, sizeof(tag), "d%zu.%zu", i, dead);
		topology_hold_queue_of(daemon->journal.dead[dead].id, i, queue, sizeof(queue));
		r = delete_hold_queue(daemon, queue, tag);
	}
	if (r == 1)
		journal_settle(&daemon->journal, dead);
	return r;
}

/* 1: ours are gone. */
static int delete_own(struct daemon *daemon)
{
	char queue[TOPOLOGY_NAME_MAX], tag[32];
	int r = daemon->consumer && !daemon->jobs_by_token && pings_hold_is_well(daemon);
	for (size_t i = 0; r == 1 && i < daemon->config->n_queues; i++) {
		snprintf(tag, sizeof(tag), "h%zu", i);
		topology_hold_queue(&daemon->topology, i, queue, sizeof(queue));
		r = delete_hold_queue(daemon, queue, tag);
	}
	return r;
}

/* With all tasks gone nothing in the hold queues is needed. Waits for the broker's word, so only
 * for the very end. */
void lease_end(struct daemon *daemon)
{
	if (!daemon->has_hold_queues)
		return;
	int r = delete_own(daemon);
	if (r != 1) {
		log_notice("lease.left", LOG_S("instance", daemon->instance.id),
			LOG_S("proceeding", "the next runner here deletes the hold queue, else the "
					    "broker after a day"));
		journal_leave(&daemon->journal);
	}
	for (size_t d = 0; r == 1 && d < daemon->journal.n_dead; d++)
		if (daemon->journal.dead[d].fd >= 0)
			r = delete_dead(daemon, d) < 0 ? -EIO : 1;
}

void lease_lost(struct daemon *daemon)
{
	pings_lost(daemon);
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		custody_lost(&job->custody);
		job->answered_us = 0;
		job->giving = 0;
		if (job->freed_round) /* whether it is free will never be known */
			job_free(job);
	}
}

/* ---- giving it to others ---- */

int lease_hand_over(struct job *job, const char *queue, bool may_be_freed)
{
	bool is_freed = may_be_freed && custody_is_alone(&job->custody);
	job->freed_number = is_freed ? ++job->daemon->copies : 0;
	int r = send_copy(job, queue, 0, job->freed_number, FOR_LEAVING);
	if (r < 0)
		return r;
	job->phase = JOB_LEAVING;
	/* It may be back before we know that it is safe. */
	job_unlist(job);
	return 0;
}

void lease_hand_over_later(struct job *job)
{
	job->dead_lettered = false;
	job->give_again_us = clock_now_us() + RETRY_US;
}

void lease_handed_over(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (!job->freed_number || !daemon->consumer || !custody_is_live(&job->custody)) {
		job_leave(job);
		return;
	}
	if (!job_settle(job)) {
		job_free(job);
		return;
	}
	job->freed_round = daemon->pings.round + 1;
	pings_soon(daemon);
}

/* The broker took the acknowledgement: only what was given back is left. */
void lease_tell_freed(struct daemon *daemon, uint64_t round)
{
	char number[GIVING_MAX];
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		if (!job->freed_round || round < job->freed_round)
			continue;
		job->freed_round = 0;
		/* For the one after us, if nobody else is there to hear it. */
		suspects_number_giving(job->freed_number, number);
		journal_add_freed(
			&daemon->journal, job->id, suspects_giving(daemon->instance.id, number));
		if (suspects_tell_free(job) < 0)
			job_free(job);
	}
}
