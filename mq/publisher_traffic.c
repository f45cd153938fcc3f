/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mq/publisher_internal.h"

#define BATCH 128 /* published before the answers are looked at */

/* ---- publishing ---- */

/* The last one given to `inflight` never left. */
static struct publisher_item *take_back_last(struct worker *w)
{
	struct publisher_item *item = w->inflight.last, *before = w->inflight.first;

	if (before == item) {
		w->inflight = (struct publisher_list){ 0 };
	} else {
		while (before->next != item)
			before = before->next;
		before->next = NULL;
		w->inflight.last = before;
	}
	w->n_inflight--;
	w->next_number--;
	return item;
}

static void refuse_last(struct worker *w)
{
	struct publisher_item *item = take_back_last(w);
	struct error err;

	error_set(&err, -EINVAL, "the headers are larger than a frame of this connection");
	(void)mq_message_check(&item->event.message, &err);
	publisher_complete(w->p, item, MQ_UNROUTABLE, err.text);
}

static void publish_loose(struct worker *w, struct publisher_item *item)
{
	struct publisher_list again = { 0 };
	struct error err = { 0 };
	int r = mq_publish(w->c, PUBLISHER_CHANNEL, &item->event.message);

	if (r == 0) {
		publisher_complete(w->p, item, MQ_CONFIRMED, NULL);
	} else if (r == -EINVAL) {
		publisher_complete(w->p, item, MQ_UNROUTABLE, "AMQP cannot carry it");
	} else {
		publisher_list_append(&again, item);
		publisher_list_prepend(&w->unsent, &again);
		mq_explain(w->c, r, &err);
		worker_lost(w, &err);
	}
}

static void publish(struct worker *w, struct publisher_item *item)
{
	struct error err = { 0 };
	struct hold *h = hold_find(w, &item->event.message);
	int r;

	if (h && !h->trial) {
		publisher_list_append(&h->items, item);
		return;
	}
	if (w->size_limit > 0 && item->event.message.body.len > w->size_limit) {
		publisher_complete(w->p, item, MQ_TOO_LARGE, "larger than the server takes");
		return;
	}
	item->number = w->next_number++;
	publisher_list_append(&w->inflight, item);
	w->n_inflight++;
	r = mq_publish(w->c, PUBLISHER_CHANNEL, &item->event.message);
	if (r == -EINVAL) {
		refuse_last(w);
	} else if (r < 0) {
		mq_explain(w->c, r, &err);
		worker_lost(w, &err);
	} else if (w->p->options.on_sent) {
		w->p->options.on_sent(item->event.token);
	}
}

bool worker_can_publish(const struct worker *w)
{
	unsigned window = w->n_alone > 0 ? 1 : w->p->options.window;

	return w->c && !w->blocked && (w->urgent.first || w->unsent.first) &&
	       w->n_inflight < window;
}

void worker_publish_some(struct worker *w)
{
	void (*send)(struct worker *, struct publisher_item *) =
		w->p->options.loose ? publish_loose : publish;

	for (unsigned n = 0; n < BATCH && worker_can_publish(w); n++)
		send(w, publisher_list_take(w->urgent.first ? &w->urgent : &w->unsent));
}

/* ---- what the server says ---- */

/* Takes what number @number (or all up to it) stands for out of `inflight`. */
static struct publisher_list take_numbered(struct worker *w, uint64_t number, bool multiple)
{
	struct publisher_list rest = { 0 }, taken = { 0 };
	struct publisher_item *item;

	while ((item = w->inflight.first) && item->number <= number) {
		publisher_list_take(&w->inflight);
		if (multiple || item->number == number) {
			publisher_list_append(&taken, item);
			w->n_inflight--;
		} else {
			publisher_list_append(&rest, item);
		}
	}
	publisher_list_prepend(&w->inflight, &rest);
	return taken;
}

static void on_acked(struct worker *w, const struct mq_event *event)
{
	struct publisher_list done = take_numbered(w, event->number, event->multiple);
	struct publisher_item *item;

	w->connect.n = 0;
	while ((item = publisher_list_take(&done))) {
		if (w->holds)
			hold_confirmed(w, &item->event.message);
		if (w->n_alone > 0)
			w->n_alone--;
		publisher_complete(w->p, item, item->returned ? MQ_UNROUTABLE : MQ_CONFIRMED,
			item->returned ? "no queue takes it" : NULL);
	}
}

static void on_nacked(struct worker *w, const struct mq_event *event)
{
	struct publisher_list again = take_numbered(w, event->number, event->multiple);
	struct error err;

	for (struct publisher_item *item = again.first; item; item = item->next) {
		const struct mq_message *m = &item->event.message;

		error_set(&err, -EAGAIN,
			"the server could not take a message for exchange '%s', key '%s' (nack)",
			m->exchange ? m->exchange : "", m->routing_key ? m->routing_key : "");
		item->returned = false;
		if (!hold_begin(w, m, 0, err.text)) {
			worker_put_back(w, &again);
			worker_lost(w, &err);
			return;
		}
	}
	worker_put_back(w, &again);
}

static void on_returned(struct worker *w, const struct mq_event *event)
{
	const char *id = event->delivery.properties.message_id;

	for (struct publisher_item *item = w->inflight.first; item && id; item = item->next) {
		const char *its_id = item->event.message.properties.message_id;

		if (!item->returned && its_id && strcmp(its_id, id) == 0) {
			item->returned = true;
			return;
		}
	}
}

/* "… message size 31 is larger than configured max size 30" */
static bool parse_sizes(const char *text, unsigned long long *size, unsigned long long *limit)
{
	const char *at = strstr(text, "message size ");

	if (!at || sscanf(at, "message size %llu", size) != 1)
		return false;
	at = strstr(at, "max size ");
	return at && sscanf(at, "max size %llu", limit) == 1;
}

/* Gives back the oldest message in doubt that the server cannot have meant to take. */
static bool drop_too_large(struct worker *w, const char *text)
{
	unsigned long long size, limit;
	struct publisher_list kept = { 0 };
	struct publisher_item *item;
	bool found = false;

	if (!parse_sizes(text, &size, &limit))
		return false;
	while (!found && (item = publisher_list_take(&w->unsent))) {
		found = item->event.message.body.len > limit;
		if (found)
			publisher_complete(w->p, item, MQ_TOO_LARGE, text);
		else
			publisher_list_append(&kept, item);
	}
	publisher_list_prepend(&w->unsent, &kept);
	w->size_limit = (size_t)limit;
	return found;
}

/* The first one for the exchange that @text names, or NULL. */
static const struct mq_message *find_named(const struct publisher_list *items, const char *text)
{
	for (const struct publisher_item *item = items->first; item; item = item->next) {
		const struct mq_message *m = &item->event.message;
		char quoted[MQ_SHORT_MAX + 3];

		/* The default exchange has a name when it is refused. */
		snprintf(quoted, sizeof(quoted), "'%s'",
			m->exchange && *m->exchange ? m->exchange : "amq.default");
		if (strstr(text, quoted))
			return m;
	}
	return NULL;
}

/* Holds the messages for the exchange that @text names. */
static bool hold_named_exchange(struct worker *w, uint16_t code, const char *text)
{
	const struct mq_message *m = find_named(&w->urgent, text);

	if (!m)
		m = find_named(&w->unsent, text);
	return m && hold_begin(w, m, code, text);
}

/* Before the server has said so much has been sent to it in vain: nobody can tell how much. */
static void on_refused(struct worker *w, const struct mq_event *event)
{
	struct error err;
	int code = event->code == AMQP_ACCESS_REFUSED ? -EACCES
		   : event->code == AMQP_NOT_FOUND    ? -ENOENT
						      : -EPROTO;

	error_set(&err, code, "%s", event->text);
	worker_lost(w, &err);
}

static void on_channel_closed(struct worker *w, const struct mq_event *event)
{
	struct error err = { 0 };
	bool understood = false;
	int r;

	if (event->channel != PUBLISHER_CHANNEL)
		return;
	worker_requeue_inflight(w);
	if (event->code == AMQP_PRECONDITION_FAILED)
		understood = drop_too_large(w, event->text);
	else if (event->code == AMQP_NOT_FOUND || event->code == AMQP_ACCESS_REFUSED)
		understood = hold_named_exchange(w, event->code, event->text);
	if (!understood) {
		error_set(&err, -EPROTO, "the server closed the channel: %u %s", event->code,
			event->text);
		worker_lost(w, &err);
		return;
	}
	r = mq_channel_open(w->c, PUBLISHER_CHANNEL, &err);
	if (r == 0)
		r = mq_confirm(w->c, PUBLISHER_CHANNEL, &err);
	if (r < 0)
		worker_lost(w, &err);
}

static void set_blocked(struct worker *w, bool blocked, const char *text)
{
	struct error err = { 0 };

	error_set(&err, blocked ? -EAGAIN : 0, "%s", text);
	w->blocked = blocked;
	if (blocked)
		express_take_back(w);
	worker_post(w, blocked ? MQ_PUBLISHER_BLOCKED : MQ_PUBLISHER_UNBLOCKED, &err);
}

void worker_handle(struct worker *w, const struct mq_event *event)
{
	switch (event->kind) {
	case MQ_ACK:
		on_acked(w, event);
		break;
	case MQ_NACK:
		on_nacked(w, event);
		break;
	case MQ_RETURNED:
		on_returned(w, event);
		break;
	case MQ_CHANNEL_CLOSED:
		if (w->p->options.loose)
			on_refused(w, event);
		else
			on_channel_closed(w, event);
		break;
	case MQ_BLOCKED:
		set_blocked(w, true, event->text);
		break;
	case MQ_UNBLOCKED:
		set_blocked(w, false, event->text);
		break;
	default: /* nothing is consumed here */
		break;
	}
}
