/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a runner holds of one task's request at the broker, and until when it may rely on it.
 *
 * A holding is one unacknowledged delivery. At first it is the original, from the request queue.
 * Because a broker takes back what is held for long, the request is then parked: a copy goes to
 * the runner's own hold queue, and when the broker has confirmed it and delivered it to us, the
 * copy is the holding and the original is acknowledged. Copies are renewed in the same way.
 * A copy expires in the hold queue, and then goes back to the request queue; not while we hold it.
 *
 * What was acknowledged may still come back, until a later answer of the broker on that channel has
 * shown that it took the acknowledgement: it is "old" until then, and the earliest term counts.
 *
 * A task may live by its lease only while it knows every copy of its request that exists. One that
 * was started by somebody else before, or whose request came back in another way than through our
 * hold queue, does not: another copy may be anywhere, and be started by who gets it. Then only the
 * last proof counts (docs/model has the histories that show why).
 *
 * Pure: no I/O, no clock; times are microseconds of clock_now_us. docs/delivery.md has the whole.
 */

#include <stdbool.h>
#include <stdint.h>

struct custody_rules {
	bool leases;         /* false: nothing is ever parked */
	uint64_t park_us;    /* age at which an original is parked */
	uint64_t renew_us;   /* age at which a copy is renewed */
	uint64_t lease_us;   /* the hold queue's x-message-ttl */
	uint64_t margin_us;  /* of the lease, kept for killing */
	uint64_t fence_us;   /* after the last proof that the broker hears us */
	uint64_t suspect_us; /* how long others wait before they start what may run here; and how
				far the broker's clock may jump */
	uint64_t *copies;    /* number of the last copy that this instance made, of whatever task: a
				number stands for one copy, also where an id is used again */
};

/* connection 0: none. Good as long as its connection lives. */
struct holding {
	uint64_t connection;
	uint16_t channel;
	uint64_t tag;
	bool was_delivered; /* before this time, as the broker says */
};

struct custody {
	struct holding held; /* the newest; may be of a connection that is gone */
	bool is_live;        /* it is not, so the held one can be acknowledged */
	bool knows_all;      /* no copy exists but those that are noted here */
	uint64_t proof_us;   /* when the broker was last known to hear us */
	uint64_t number;     /* 0: the original; else which of our copies */
	uint64_t since_us;   /* the original: when it came; a copy: when it was sent */
	uint64_t due_us;     /* when it is to be renewed */

	uint64_t last_number; /* of the copies made of it; 0: none */
	uint64_t sent_number; /* a renewal is under way; 0: none */
	uint64_t sent_us;
	bool confirmed;
	struct holding arrived;

	bool has_old;         /* something acknowledged, or lost, may come back */
	bool old_is_acked;    /* all of it was acknowledged, so that nothing holds it */
	uint64_t old_term_us; /* the earliest that it may be delivered to another; 0: any time */
	uint64_t old_round;   /* retired by the answer to this round of pings; 0: not by that */
};

/* The first delivery. @knows_all: nobody had it before. @proof_us: of the connection. */
void custody_begin(struct custody *c, const struct custody_rules *rules, struct holding held,
	bool knows_all, uint64_t proof_us, uint64_t now);
bool custody_is_live(const struct custody *c);
bool custody_is_parked(const struct custody *c);

/* ---- renewing ---- */

bool custody_is_due(const struct custody *c, const struct custody_rules *rules, uint64_t now);
/* A copy is being sent: gives its number. */
uint64_t custody_sent(struct custody *c, const struct custody_rules *rules, uint64_t now);
/* It could not be sent; to be tried again at @again_us. */
void custody_not_sent(struct custody *c, uint64_t again_us);
/* The broker confirmed copy @number. */
void custody_confirmed(struct custody *c, uint64_t number);
/* Confirmed and here: the copy becomes the holding. @ret is the older holding, to be acknowledged
 * if @ret->connection is not 0. False: not yet. */
bool custody_turn(struct custody *c, const struct custody_rules *rules, struct holding *ret);

/* ---- what comes ---- */

/* No copy exists but the one that is held. */
bool custody_is_alone(const struct custody *c);
/* It will be so within moments: a copy or an acknowledgement is under way. */
bool custody_is_alone_soon(
	const struct custody *c, const struct custody_rules *rules, uint64_t now);
/* The same request once more: copy @number of ours from the hold queue, or, 0, from the request
 * queue or handed back by another. Gives in @ret what is to be acknowledged (connection 0:
 * nothing), which may be the delivery itself. @sent_us: when it was sent at the earliest. */
void custody_again(struct custody *c, const struct custody_rules *rules, struct holding delivery,
	bool from_hold_queue, uint64_t number, uint64_t sent_us, uint64_t now, struct holding *ret);
/* The same request from the request queue, where one is held: it takes its place. @ret is to be
 * acknowledged. */
void custody_exchange(struct custody *c, struct holding delivery, struct holding *ret);
/* @held has been acknowledged; the answer to @round will show that the broker took it. */
void custody_acknowledged(struct custody *c, uint64_t round);
/* A round of pings was answered that was sent at @sent_us. @is_proof: nobody waits for a word about
 * this task, who would start it if it did not come. */
void custody_proved(struct custody *c, uint64_t round, uint64_t sent_us, bool is_proof);
/* Somebody who has a copy was told that we have the task. */
void custody_answered(struct custody *c);
/* A copy was sent to the request queue, where anybody may get it. */
void custody_spread(struct custody *c);
/* The connection is gone. */
void custody_lost(struct custody *c);

/* After this the request may be started by another: the task must be dead by then. */
uint64_t custody_deadline(const struct custody *c, const struct custody_rules *rules);
