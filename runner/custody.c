/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/custody.h"

static const struct holding nothing = { 0 };

/* When this one, given up, would be delivered to another: an original at once. */
static uint64_t term_of(uint64_t number, uint64_t since_us, const struct custody_rules *rules)
{
	return number == 0 ? 0 : since_us + rules->lease_us - rules->margin_us;
}

static void know_less(struct custody *c)
{
	c->knows_all = false;
	c->has_old = false;
}

static bool has_lost(const struct custody *c)
{
	return c->has_old && !c->old_round;
}

static void note_old(struct custody *c, uint64_t term_us)
{
	/* Of two it could not be told which one comes back. */
	if (has_lost(c))
		know_less(c);
	if (!c->has_old || term_us < c->old_term_us)
		c->old_term_us = term_us;
	c->has_old = true;
	c->old_is_acked = false;
	c->old_round = 0;
}

/* The one that was lost is here: its term; 0 for one that has risen from the dead. */
static uint64_t take_lost(struct custody *c)
{
	if (!has_lost(c))
		return 0;
	c->has_old = false;
	return c->old_term_us;
}

/* A hold queue keeps its order, also of what comes back to it. So an older copy that was
 * acknowledged and has not come before this one is gone; unless its time may have been over, by the
 * broker's clock, and it went to the request queue. One that was not acknowledged may hang on a
 * connection of which the broker does not know yet that it is dead. So may any, where what comes
 * was not delivered on that connection, too: a newer copy, or the same one that was published
 * twice. */
static void settle_older(struct custody *c, const struct custody_rules *rules,
	const struct holding *delivery, uint64_t now)
{
	if (!delivery->was_delivered)
		return;
	if (!has_lost(c) || !c->old_is_acked)
		return;
	if (now + rules->suspect_us < c->old_term_us)
		c->has_old = false;
	else
		know_less(c);
}

void custody_begin(struct custody *c, const struct custody_rules *rules, struct holding held,
	bool knows_all, uint64_t proof_us, uint64_t now)
{
	*c = (struct custody){
		.held = held,
		.is_live = true,
		.knows_all = knows_all,
		.proof_us = proof_us,
		.since_us = now,
		.due_us = now + rules->park_us,
	};
}

bool custody_is_live(const struct custody *c)
{
	return c->is_live;
}

bool custody_is_parked(const struct custody *c)
{
	return c->number > 0;
}

/* ---- renewing ---- */

bool custody_is_due(const struct custody *c, const struct custody_rules *rules, uint64_t now)
{
	if (!rules->leases || !c->is_live || c->has_old || now < c->due_us)
		return false;
	/* One that never came, its queue having been deleted, is not waited for for ever. */
	return !c->sent_number || now - c->sent_us > rules->lease_us;
}

uint64_t custody_sent(struct custody *c, const struct custody_rules *rules, uint64_t now)
{
	c->sent_number = c->last_number = ++*rules->copies;
	c->sent_us = now;
	c->confirmed = false;
	c->arrived = nothing;
	return c->sent_number;
}

void custody_not_sent(struct custody *c, uint64_t again_us)
{
	c->sent_number = 0;
	c->due_us = again_us;
}

void custody_confirmed(struct custody *c, uint64_t number)
{
	if (number == c->sent_number)
		c->confirmed = true;
}

bool custody_turn(struct custody *c, const struct custody_rules *rules, struct holding *ret)
{
	if (!c->sent_number || !c->confirmed || !c->arrived.connection)
		return false;
	*ret = c->is_live ? c->held : nothing;
	note_old(c, term_of(c->number, c->since_us, rules));
	c->is_live = true;
	c->held = c->arrived;
	c->number = c->sent_number;
	c->since_us = c->sent_us;
	c->due_us = c->sent_us + rules->renew_us;
	c->sent_number = 0;
	c->arrived = nothing;
	return true;
}

/* ---- what comes ---- */

static void take(struct custody *c, struct holding delivery, uint64_t number, uint64_t since_us,
	uint64_t due_us)
{
	c->is_live = true;
	c->held = delivery;
	c->number = number;
	c->since_us = since_us;
	c->due_us = due_us;
	if (number > c->last_number)
		c->last_number = number;
}

/* From the request queue: another runner's lease that ran out, or the broker took it back. */
static struct holding original_again(struct custody *c, struct holding delivery, uint64_t now)
{
	bool was_live = c->is_live;
	/* Also one of which we never made a copy: somebody may have had it meanwhile, and have
	 * parked it before it was asked about. */
	know_less(c);
	if (was_live) {
		note_old(c, 0);
		return delivery;
	}
	/* Out of the queue at once: brokers count how often they deliver, and give up. */
	take(c, delivery, 0, now, now);
	return nothing;
}

/* Another who had it gave it to us. */
static struct holding handed_back(struct custody *c, const struct custody_rules *rules,
	struct holding delivery, uint64_t sent_us, uint64_t now)
{
	struct holding older = c->is_live ? c->held : nothing;
	know_less(c);
	if (c->is_live)
		note_old(c, 0);
	if (c->is_live && c->number > 0)
		return delivery;
	take(c, delivery, ++*rules->copies, sent_us, now);
	return older;
}

static struct holding copy_again(struct custody *c, const struct custody_rules *rules,
	struct holding delivery, uint64_t number, uint64_t sent_us, uint64_t now)
{
	struct holding older = c->is_live ? c->held : nothing;
	bool is_held = number == c->number;
	if (number < c->number || (is_held && c->is_live)) {
		note_old(c, is_held ? term_of(number, c->since_us, rules) : take_lost(c));
		return delivery;
	}
	if (!c->is_live)
		settle_older(c, rules, &delivery, now);
	if (!is_held)
		note_old(c, term_of(c->number, c->since_us, rules));
	take(c, delivery, number, is_held ? c->since_us : sent_us, now);
	return older;
}

void custody_again(struct custody *c, const struct custody_rules *rules, struct holding delivery,
	bool from_hold_queue, uint64_t number, uint64_t sent_us, uint64_t now, struct holding *ret)
{
	if (!from_hold_queue) {
		*ret = original_again(c, delivery, now);
	} else if (number == 0) {
		*ret = handed_back(c, rules, delivery, sent_us, now);
	} else if (number == c->sent_number) {
		*ret = nothing;
		/* Sent twice: its confirm was lost with a connection. */
		if (c->arrived.connection) {
			note_old(c, term_of(number, c->sent_us, rules));
			*ret = delivery;
		} else {
			c->arrived = delivery;
		}
	} else {
		*ret = copy_again(c, rules, delivery, number, sent_us, now);
	}
}

void custody_exchange(struct custody *c, struct holding delivery, struct holding *ret)
{
	*ret = c->held;
	know_less(c);
	note_old(c, 0);
	c->held = delivery;
}

void custody_acknowledged(struct custody *c, uint64_t round)
{
	if (!c->has_old)
		return;
	c->old_round = round;
	c->old_is_acked = true;
}

void custody_proved(struct custody *c, uint64_t round, uint64_t sent_us, bool is_proof)
{
	if (!c->is_live)
		return;
	if (is_proof)
		c->proof_us = sent_us;
	if (c->has_old && c->old_round && round >= c->old_round)
		c->has_old = false;
	/* A lost one that has not come back is in the request queue by now. */
	if (has_lost(c) && sent_us > c->old_term_us)
		know_less(c);
}

bool custody_is_alone(const struct custody *c)
{
	return c->is_live && c->knows_all && !c->has_old && !c->sent_number;
}

bool custody_is_alone_soon(const struct custody *c, const struct custody_rules *rules, uint64_t now)
{
	bool copy_comes = c->sent_number && now < c->sent_us + rules->suspect_us;
	bool has_copy_left = c->sent_number && !copy_comes;
	return c->is_live && c->knows_all && !has_lost(c) && !has_copy_left &&
	       (copy_comes || c->has_old);
}

void custody_answered(struct custody *c)
{
	c->knows_all = false;
}

void custody_spread(struct custody *c)
{
	c->knows_all = false;
}

void custody_lost(struct custody *c)
{
	c->is_live = false;
	c->arrived = nothing;
	c->old_round = 0;
	/* Whether an acknowledgement was taken will never be known; of a copy of ours it shows when
	 * the newer ones come home. */
	if (c->has_old && (c->old_term_us == 0 || !c->knows_all))
		know_less(c);
}

uint64_t custody_deadline(const struct custody *c, const struct custody_rules *rules)
{
	uint64_t fence = c->proof_us + rules->fence_us;
	uint64_t term = c->knows_all ? term_of(c->number, c->since_us, rules) : 0;
	if (c->has_old && c->old_term_us < term)
		term = c->old_term_us;
	return term > fence ? term : fence;
}
