/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether the broker hears us, and what it has taken: on each channel that brings requests it is
 * asked something (the prefetch, set to what it is), and answers in the order of all else.
 *
 * A quorum queue that has no leader never answers, nor does the channel on which it was consumed
 * (RabbitMQ 3.10, for one whose node was killed just after it was declared). So that of the hold
 * queues counts apart: if it is silent for too long others are made, and meanwhile nothing is
 * parked.
 */

#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"

#define SECOND 1000000ULL
/* Beyond the two heartbeats after which others would believe that we are dead: a quorum queue takes
 * some seconds to choose a leader. */
#define HOLD_PATIENCE_US (10 * SECOND)
/* Who is well answers within this time. */
#define HOLD_QUICK_US (2 * SECOND)
/* A connection that did not live so long says nothing about hold queues. */
#define HOLD_CHANCE_US (5 * SECOND)

static bool may_ask_hold(const struct daemon *daemon)
{
	return daemon->has_hold_queues && daemon->pings.hold_answered == daemon->pings.hold_round;
}

static void ping(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct pings *pings = &daemon->pings;
	int r = 0;
	pings->round++;
	pings->sent_us = clock_now_us();
	for (size_t i = 0; r == 0 && i < config->n_queues; i++, pings->missing++)
		r = mq_send_qos(daemon->consumer, topology_queue_channel(config, i), 1);
	if (r == 0 && may_ask_hold(daemon)) {
		pings->hold_round = pings->round;
		pings->hold_sent_us = pings->sent_us;
		r = mq_send_qos(daemon->consumer, topology_hold_channel(config), TOPOLOGY_HOLD_MAX);
	}
	/* What was acknowledged on the channel of the hold queues wants an answer there. */
	pings->wanted = daemon->has_hold_queues && pings->hold_round != pings->round;
	if (r < 0)
		daemon_consumer_lost(daemon, "the broker could not be asked");
	else
		daemon_pump_soon(daemon);
}

/* Until an acknowledgement is known to be taken, the loss of the connection would leave it in doubt
 * for ever. One round at a time is under way, whatever happens meanwhile. */
void pings_soon(struct daemon *daemon)
{
	daemon->pings.wanted = true;
	if (daemon_hears(daemon) && !daemon->pings.missing)
		ping(daemon);
}

void pings_begin(struct daemon *daemon)
{
	struct pings *pings = &daemon->pings;
	pings->missing = 0;
	pings->hold_answered = pings->hold_round;
	pings->hold_heard = false;
	pings->proof_us = clock_now_us();
	ping(daemon);
}

void pings_tick(struct daemon *daemon)
{
	const struct pings *pings = &daemon->pings;
	uint64_t now = clock_now_us();
	if (daemon->has_hold_queues && !may_ask_hold(daemon) &&
		now - pings->hold_sent_us > daemon->rules.suspect_us + HOLD_PATIENCE_US)
		daemon_consumer_lost(daemon, "the hold queue does not answer");
	else if (!pings->missing && now - pings->sent_us >= daemon->rules.suspect_us / 8)
		ping(daemon);
}

static bool is_answered(struct daemon *daemon, uint16_t channel)
{
	struct pings *pings = &daemon->pings;
	if (channel == topology_hold_channel(daemon->config)) {
		pings->hold_answered = pings->hold_round;
		pings->hold_heard = true;
		return true;
	}
	if (!pings->missing || --pings->missing)
		return false;
	pings->proof_us = pings->sent_us;
	pings->answered = pings->round;
	return true;
}

/* The last round that all channels have answered. */
static uint64_t whole_round(const struct daemon *daemon)
{
	const struct pings *pings = &daemon->pings;
	bool hold_is_behind = daemon->has_hold_queues && pings->hold_answered < pings->answered;
	return hold_is_behind ? pings->hold_answered : pings->answered;
}

void pings_on_answer(struct daemon *daemon, uint16_t channel)
{
	const struct pings *pings = &daemon->pings;
	if (!is_answered(daemon, channel))
		return;
	uint64_t round = whole_round(daemon);
	for (struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next)
		custody_proved(&job->custody, round, pings->proof_us, !job->owed);
	if (pings->wanted && !pings->missing && (may_ask_hold(daemon) || !daemon->has_hold_queues))
		ping(daemon);
	lease_tell_freed(daemon, round);
	lease_give_back(daemon);
	daemon_on_ping(daemon);
}

bool pings_hold_is_well(const struct daemon *daemon)
{
	return may_ask_hold(daemon) || clock_now_us() - daemon->pings.hold_sent_us < HOLD_QUICK_US;
}

void pings_lost(struct daemon *daemon)
{
	if (!daemon->has_hold_queues || daemon->pings.hold_heard ||
		clock_now_us() - daemon->consumer_since_us < HOLD_CHANCE_US)
		return;
	daemon->topology.hold_generation++;
	log_error("lease.queue-hangs", LOG_S("instance", daemon->instance.id),
		LOG_S("proceeding", "another hold queue is made; what was parked comes home when "
				    "its lease is over"));
}
