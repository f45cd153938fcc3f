/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>

#include "common/clock.h"
#include "mq/publisher_internal.h"

/* For the confirm. The connection of the others is not looked after meanwhile. */
#define PATIENCE_US 2000000

bool express_is_wanted(const struct worker *w)
{
	return w->c && w->blocked && w->urgent.first;
}

void express_take_back(struct worker *w)
{
	struct publisher_list kept = { 0 }, urgent = { 0 };

	worker_split_urgent(&w->inflight, &urgent, &kept);
	for (const struct publisher_item *item = urgent.first; item; item = item->next)
		w->n_inflight--;
	w->inflight = kept;
	publisher_list_prepend(&w->urgent, &urgent);
}

/* 1: confirmed; 0: not yet; negative: it will not be. @code: what the server closed the channel
 * with, for the reason in @err. */
static int look(struct mq_connection *c, uint16_t *code, struct error *err)
{
	struct mq_event event = { 0 };
	int r = mq_next(c, &event, err);
	bool confirmed = r > 0 && event.kind == MQ_ACK;
	bool refused = r > 0 && (event.kind == MQ_NACK || event.kind == MQ_CHANNEL_CLOSED);

	if (refused) {
		*code = event.code;
		error_set(err, -EACCES, "%s", event.text);
	}
	if (r > 0)
		mq_event_deinit(&event);
	return refused ? -EACCES : confirmed ? 1 : r < 0 ? r : 0;
}

static int await_confirm(struct mq_connection *c, uint16_t *code, struct error *err)
{
	uint64_t end = clock_now_us() + PATIENCE_US, now;
	int r;

	while ((r = look(c, code, err)) == 0 && (now = clock_now_us()) < end) {
		struct pollfd fd = { .fd = mq_fd(c), .events = POLLIN };

		(void)poll(&fd, 1, (int)((end - now) / 1000) + 1);
	}
	return r > 0 ? 0 : r < 0 ? r : -ETIMEDOUT;
}

static int send_alone(
	struct worker *w, const struct mq_message *message, uint16_t *code, struct error *err)
{
	struct mq_connection *c = NULL;
	unsigned address = w->address;
	int r = mq_connect_from(w->p->options.connection, &address, &w->p->interrupt, &c, err);

	if (r == 0)
		r = mq_channel_open(c, PUBLISHER_CHANNEL, err);
	if (r == 0)
		r = mq_confirm(c, PUBLISHER_CHANNEL, err);
	if (r == 0)
		r = mq_publish(c, PUBLISHER_CHANNEL, message);
	if (r == 0)
		r = await_confirm(c, code, err);
	if (c)
		c->dead = true; /* the server does not read our goodbye */
	mq_close(c);
	(void)mq_interrupt_watch(&w->p->interrupt, mq_fd(w->c));
	return r;
}

void express_send_one(struct worker *w)
{
	struct publisher_item *item = publisher_list_take(&w->urgent);
	const struct mq_message *m = &item->event.message;
	struct publisher_list again = { 0 };
	struct hold *h = hold_find(w, m);
	struct error err = { 0 };
	uint16_t code = 0;

	if (h && !h->trial) {
		publisher_list_append(&h->items, item);
		return;
	}
	if (send_alone(w, m, &code, &err) == 0) {
		w->express = (struct backoff){ 0 };
		hold_confirmed(w, m);
		publisher_complete(w->p, item, MQ_CONFIRMED, NULL);
		return;
	}
	publisher_list_append(&again, item);
	publisher_list_prepend(&w->urgent, &again);
	/* Those for another exchange need not wait for it. */
	if ((code == AMQP_NOT_FOUND || code == AMQP_ACCESS_REFUSED) &&
		hold_begin(w, m, code, err.text))
		return;
	/* It may be another kind of alarm, or server: the alarm will end. */
	backoff_next(&w->express, false);
}
