/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/custody.h"

static const struct holding nothing = { 0 };

/* When this one, given up, would be delivered to another: an original at once. */
static uint64_t term_of(unsigned number, uint64_t since_us, const struct custody_rules *rules)
{
	return number == 0 ? 0 : since_us + rules->lease_us - rules->margin_us;
}

static void note_old(struct custody *c, uint64_t term_us)
{
	if (!c->has_old || term_us < c->old_term_us)
		c->old_term_us = term_us;
	c->has_old = true;
	c->old_round = 0;
	c->old_until_us = 0;
}

static void come_home(struct custody *c, const struct custody_rules *rules, uint64_t now)
{
	c->lost_proof_us = 0;
	if (c->has_old && c->old_round == 0)
		c->old_until_us = now + rules->suspect_us;
}

void custody_begin(
	struct custody *c, const struct custody_rules *rules, struct holding held, uint64_t now)
{
	*c = (struct custody){ .held = held, .since_us = now, .due_us = now + rules->park_us };
}

bool custody_is_live(const struct custody *c)
{
	return c->held.connection && !c->lost_proof_us;
}

bool custody_is_parked(const struct custody *c)
{
	return c->number > 0;
}

/* ---- renewing ---- */

bool custody_is_due(const struct custody *c, const struct custody_rules *rules, uint64_t now)
{
	if (!rules->leases || !custody_is_live(c) || c->has_old || now < c->due_us)
		return false;
	/* One that never came, its queue having been deleted, is not waited for for ever. */
	return !c->sent_number || now - c->sent_us > rules->lease_us;
}

unsigned custody_sent(struct custody *c, uint64_t now)
{
	c->sent_number = ++c->last_number;
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

void custody_confirmed(struct custody *c, unsigned number)
{
	if (number == c->sent_number)
		c->confirmed = true;
}

bool custody_turn(
	struct custody *c, const struct custody_rules *rules, uint64_t now, struct holding *ret)
{
	if (!c->sent_number || !c->confirmed || !c->arrived.connection)
		return false;
	*ret = custody_is_live(c) ? c->held : nothing;
	note_old(c, term_of(c->number, c->since_us, rules));
	c->held = c->arrived;
	c->number = c->sent_number;
	c->since_us = c->sent_us;
	c->due_us = c->sent_us + rules->renew_us;
	c->sent_number = 0;
	c->arrived = nothing;
	come_home(c, rules, now);
	return true;
}

/* ---- what comes ---- */

static void take(struct custody *c, const struct custody_rules *rules, struct holding delivery,
	unsigned number, uint64_t since_us, uint64_t due_us, uint64_t now)
{
	c->held = delivery;
	c->number = number;
	c->since_us = since_us;
	c->due_us = due_us;
	if (number > c->last_number)
		c->last_number = number;
	come_home(c, rules, now);
}

/* From the request queue: another runner's lease that ran out, or the broker took it back. */
static struct holding original_again(
	struct custody *c, const struct custody_rules *rules, struct holding delivery, uint64_t now)
{
	if (custody_is_live(c)) {
		note_old(c, 0);
		return delivery;
	}
	if (c->number > 0)
		note_old(c, term_of(c->number, c->since_us, rules));
	/* Out of the queue at once: brokers count how often they deliver, and give up. */
	take(c, rules, delivery, 0, now, now, now);
	return nothing;
}

static struct holding copy_again(struct custody *c, const struct custody_rules *rules,
	struct holding delivery, unsigned number, uint64_t sent_us, uint64_t now)
{
	struct holding older = custody_is_live(c) ? c->held : nothing;
	bool is_handed_back = number == 0;
	bool is_held = number == c->number && !is_handed_back;
	if (is_handed_back ? custody_is_live(c) && c->number > 0
			   : number < c->number || (is_held && custody_is_live(c))) {
		note_old(c, is_held ? term_of(number, c->since_us, rules) : 0);
		return delivery;
	}
	if (!is_held)
		note_old(c, term_of(c->number, c->since_us, rules));
	take(c, rules, delivery, is_handed_back ? ++c->last_number : number,
		is_held ? c->since_us : sent_us, now, now);
	return older;
}

void custody_again(struct custody *c, const struct custody_rules *rules, struct holding delivery,
	bool from_hold_queue, unsigned number, uint64_t sent_us, uint64_t now, struct holding *ret)
{
	if (!from_hold_queue) {
		*ret = original_again(c, rules, delivery, now);
	} else if (number && number == c->sent_number) {
		*ret = nothing;
		if (c->arrived.connection) { /* sent twice: its confirm was lost with a connection
					      */
			note_old(c, term_of(number, c->sent_us, rules));
			*ret = delivery;
		} else {
			c->arrived = delivery;
		}
	} else {
		*ret = copy_again(c, rules, delivery, number, sent_us, now);
	}
}

void custody_acknowledged(struct custody *c, uint64_t round)
{
	if (c->has_old)
		c->old_round = round;
}

void custody_proved(struct custody *c, uint64_t round, uint64_t now)
{
	bool retired =
		c->old_round ? round >= c->old_round : c->old_until_us && now >= c->old_until_us;
	if (c->has_old && retired)
		c->has_old = false;
}

void custody_lost(struct custody *c, uint64_t proof_us)
{
	if (!c->lost_proof_us)
		c->lost_proof_us = proof_us ? proof_us : 1;
	c->arrived = nothing;
	/* Whether it was taken will never be known. */
	c->old_round = 0;
	c->old_until_us = 0;
}

uint64_t custody_deadline(
	const struct custody *c, const struct custody_rules *rules, uint64_t proof_us)
{
	uint64_t proof = custody_is_live(c) ? proof_us : c->lost_proof_us;
	uint64_t term = term_of(c->number, c->since_us, rules);
	if (c->has_old && c->old_term_us < term)
		term = c->old_term_us;
	return term > proof + rules->fence_us ? term : proof + rules->fence_us;
}
