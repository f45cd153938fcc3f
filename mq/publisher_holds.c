/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "mq/publisher_internal.h"

#define HOLDS_MAX 64

struct hold *hold_find(struct worker *w, const struct mq_message *m)
{
	for (struct hold *h = w->holds; h; h = h->next)
		if (strcmp(h->exchange, m->exchange ? m->exchange : "") == 0 &&
			(!h->routing_key ||
				strcmp(h->routing_key, m->routing_key ? m->routing_key : "") == 0))
			return h;
	return NULL;
}

static void hold_free(struct hold *h)
{
	publisher_list_free(&h->items);
	free(h->exchange);
	free(h->routing_key);
	free(h);
}

static struct hold *new_hold(struct worker *w, const struct mq_message *m, bool by_key)
{
	struct hold *h;

	if (w->n_holds >= HOLDS_MAX)
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->exchange = strdup(m->exchange ? m->exchange : "");
	h->routing_key = by_key ? strdup(m->routing_key ? m->routing_key : "") : NULL;
	if (!h->exchange || (by_key && !h->routing_key)) {
		hold_free(h);
		return NULL;
	}
	h->next = w->holds;
	w->holds = h;
	w->n_holds++;
	return h;
}

bool hold_begin(struct worker *w, const struct mq_message *m, uint16_t code, const char *text)
{
	struct hold *h = hold_find(w, m);
	struct error err;

	if (h && !h->trial)
		return true;
	if (!h) {
		h = new_hold(w, m, code == 0);
		if (!h)
			return false;
		error_set(&err, -EAGAIN, "%s", text);
		worker_post(w, MQ_PUBLISHER_HELD, &err);
	}
	h->trial = false;
	h->probe = code == AMQP_NOT_FOUND;
	backoff_next(&h->backoff, code == AMQP_ACCESS_REFUSED);
	return true;
}

void hold_confirmed(struct worker *w, const struct mq_message *m)
{
	struct hold *h = hold_find(w, m);
	struct error err;

	if (!h || !h->trial)
		return;
	for (struct hold **at = &w->holds; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			break;
		}
	}
	w->n_holds--;
	error_set(&err, 0, "%s", h->exchange);
	worker_put_back(w, &h->items);
	hold_free(h);
	worker_post(w, MQ_PUBLISHER_RELEASED, &err);
}

/* What is ours and was deleted is declared again; what belongs to others is waited for. */
static int prepare_again(struct worker *w, struct error *err)
{
	const struct mq_publisher_options *o = &w->p->options;
	int r = o->prepare ? o->prepare(w->c, o->userdata, err) : 0;

	if (r == 0)
		return 0;
	err->code = r;
	worker_lost(w, err);
	return -ENOTCONN;
}

/* -ENOENT while the exchange is missing; 0 if it is there or cannot be asked for. -ENOTCONN: the
 * connection was given up. */
static int probe_exchange(struct worker *w, const char *name, struct error *err)
{
	const struct mq_exchange exchange = { .name = name, .passive = true };
	int r = prepare_again(w, err);

	if (r < 0)
		return r;
	r = mq_channel_open(w->c, PUBLISHER_PREPARE_CHANNEL, err);
	if (r == 0)
		r = mq_declare_exchange(w->c, PUBLISHER_PREPARE_CHANNEL, &exchange, err);
	return r == -EACCES || r == -EEXIST ? 0 : r;
}

void hold_release_due(struct worker *w)
{
	for (struct hold *h = w->holds; h && w->c && !w->blocked; h = h->next) {
		struct error err = { 0 };
		int r = 0;

		if (h->trial || h->backoff.at_us > clock_now_us())
			continue;
		if (h->probe)
			r = probe_exchange(w, h->exchange, &err);
		if (r == -ENOENT) {
			backoff_next(&h->backoff, false);
		} else if (r < 0) {
			if (w->c)
				worker_lost(w, &err);
		} else {
			h->trial = true;
			worker_put_back(w, &h->items);
		}
	}
}

void hold_free_all(struct worker *w)
{
	while (w->holds) {
		struct hold *h = w->holds;

		w->holds = h->next;
		hold_free(h);
	}
}
