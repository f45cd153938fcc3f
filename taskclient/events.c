/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskclient/internal.h"

#define TICK_US 1000000
#define NOTHING 0
#define EVENT   1

void happening_deinit(struct happening *happening)
{
	received_response_deinit(&happening->response);
	record_deinit(&happening->answer.record);
	*happening = (struct happening){ 0 };
}

void taskclient_copy_id(char to[ID_MAX + 1], const char *id)
{
	snprintf(to, ID_MAX + 1, "%s", id);
}

int happening_post_kind(struct taskclient *c, enum taskclient_event_kind kind, const char *id,
	const struct error *err)
{
	struct happening happening = { .kind = kind };

	taskclient_copy_id(happening.id, id);
	if (err)
		happening.error = *err;
	return happening_post(c, &happening);
}

int happening_post(struct taskclient *c, struct happening *happening)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p) {
		happening_deinit(happening);
		return -ENOMEM;
	}
	p->happening = *happening;
	if (c->last)
		c->last->next = p;
	else
		c->first = p;
	c->last = p;
	return 0;
}

static bool take_pending(struct taskclient *c, struct happening *ret)
{
	struct pending *p = c->first;

	if (!p)
		return false;
	*ret = p->happening;
	c->first = p->next;
	if (!c->first)
		c->last = NULL;
	free(p);
	return true;
}

/* ---- responses ---- */

static int64_t number_of(const struct mq_properties *p, const char *name)
{
	const struct mq_header *h = mq_properties_header(p, name);

	return h && h->kind == MQ_HEADER_INT ? h->number : 0;
}

/* Counts from 1; what is less says nothing. */
static int64_t count_of(const struct mq_properties *p, const char *name)
{
	int64_t n = number_of(p, name);

	return n > 0 ? n : 0;
}

static bool has_number(const struct mq_properties *p, const char *name)
{
	const struct mq_header *h = mq_properties_header(p, name);

	return h && h->kind == MQ_HEADER_INT;
}

static const char *text_of(const struct mq_properties *p, const char *name)
{
	const char *text = mq_properties_text(p, name);

	return text ? text : "";
}

static void read_facts(const struct mq_properties *p, struct facts *ret)
{
	*ret = (struct facts){
		.attempt = count_of(p, HEADER_ATTEMPT),
		.sequence = count_of(p, HEADER_SEQUENCE),
		.has_exit_code = has_number(p, HEADER_EXIT_CODE),
		.exit_code = number_of(p, HEADER_EXIT_CODE),
		.signal = number_of(p, HEADER_SIGNAL),
		.has_usage = has_number(p, HEADER_WALL_MS),
		.wall_ms = count_of(p, HEADER_WALL_MS),
		.cpu_ms = count_of(p, HEADER_CPU_MS),
		.peak_memory = count_of(p, HEADER_PEAK_MEMORY),
	};
	(void)cause_parse(slice_of(text_of(p, HEADER_CAUSE)), &ret->cause);
	snprintf(ret->runner, sizeof(ret->runner), "%s", text_of(p, HEADER_RUNNER));
	snprintf(ret->error_name, sizeof(ret->error_name), "%s", text_of(p, HEADER_ERRNO));
	snprintf(ret->failure_kind, sizeof(ret->failure_kind), "%s",
		text_of(p, HEADER_FAILURE_KIND));
}

/* A response may arrive twice, and one of an earlier attempt late. */
static bool is_news(struct submission *s, const struct facts *facts)
{
	if (facts->attempt < s->attempt)
		return false;
	if (facts->sequence > 0 && facts->attempt == s->attempt && facts->sequence <= s->sequence)
		return false;
	s->attempt = facts->attempt;
	s->sequence = facts->sequence;
	return true;
}

static int on_malformed(const struct mq_delivery *d, struct happening *ret)
{
	received_response_deinit(&ret->response);
	ret->kind = TASKCLIENT_MALFORMED;
	taskclient_copy_id(
		ret->id, d->properties.correlation_id ? d->properties.correlation_id : "");
	return EVENT;
}

static int on_response(struct taskclient *c, const struct mq_delivery *d, struct happening *ret)
{
	struct submission *s;
	int r = response_decode(
		buf_slice(&d->body), d->properties.content_type, &ret->response, &ret->error);

	if (r == -EINVAL)
		return on_malformed(d, ret);
	if (r < 0)
		return r;
	read_facts(&d->properties, &ret->facts);
	taskclient_copy_id(ret->id, ret->response.id);
	if (ret->mail) {
		ret->kind = TASKCLIENT_RESPONSE;
		return EVENT;
	}
	s = taskclient_find(c, ret->response.id);
	if (!s || !is_news(s, &ret->facts)) {
		happening_deinit(ret);
		return NOTHING;
	}
	ret->kind = TASKCLIENT_RESPONSE;
	if (status_is_final(ret->response.status)) {
		question_forget(c, s->id);
		submission_remove(c, s); /* what else comes for it is nobody's */
	}
	return EVENT;
}

static void add_header(struct record *answer, const struct mq_header *header)
{
	if (header->kind == MQ_HEADER_TEXT)
		record_add_header(answer, header->name, header->text);
}

static int read_answer(const struct mq_delivery *d, struct happening *ret)
{
	if (d->body.len == 0) {
		for (unsigned i = 0; i < d->properties.n_headers; i++)
			add_header(&ret->answer.record, &d->properties.headers[i]);
		return control_answer_check(&ret->answer.record, &ret->error);
	}
	return control_answer_decode(
		buf_slice(&d->body), d->properties.content_type, &ret->answer.record, &ret->error);
}

static int on_answer(struct taskclient *c, struct question *q, const struct mq_delivery *d,
	struct happening *ret)
{
	int r = read_answer(d, ret);

	if (r < 0 && r != -EINVAL)
		return r;
	ret->kind = r == 0 ? TASKCLIENT_ANSWER : TASKCLIENT_BAD_ANSWER;
	ret->question = q->number;
	const char *id = r == 0 ? record_text(&ret->answer.record, "id") : NULL;
	taskclient_copy_id(ret->id, q->id[0] ? q->id : id ? id : "");
	if (r == 0)
		question_on_answer(c, q, &ret->answer.record);
	return EVENT;
}

static int on_delivery(struct taskclient *c, const struct mq_delivery *d, struct happening *ret)
{
	struct question *q = question_by_token(c, d->properties.correlation_id);

	if (q)
		return on_answer(c, q, d, ret);
	/* To a question that is over: nobody's any more. */
	return question_is_token(d->properties.correlation_id) ? NOTHING : on_response(c, d, ret);
}

/* ---- what the server says ---- */

static int on_alarm(const struct mq_event *event, struct happening *ret)
{
	bool blocked = event->kind == MQ_BLOCKED;

	ret->kind = blocked ? TASKCLIENT_BLOCKED : TASKCLIENT_UNBLOCKED;
	error_set(&ret->error, blocked ? -EAGAIN : 0, "%s", event->text);
	return EVENT;
}

static int on_closed(struct taskclient *c, const struct mq_event *event, struct error *err)
{
	switch (event->channel) {
	case CHANNEL_REQUESTS:
		return submission_on_closed(c, event);
	case CHANNEL_CONTROL:
		return question_on_closed(c, event);
	case CHANNEL_NOTES:
		question_on_notes_closed(c);
		return NOTHING;
	default:
		return error_set(err, -ECONNRESET, "the server closed a channel: %u %s",
			event->code, event->text);
	}
}

/* EVENT if @ret holds one, NOTHING, or a negative errno. */
static int handle(struct taskclient *c, const struct mq_event *event, struct happening *ret,
	struct error *err)
{
	*ret = (struct happening){ 0 };
	switch (event->kind) {
	case MQ_DELIVERY:
		ret->mail = event->channel == CHANNEL_MAILBOX ? event->delivery.tag : 0;
		return on_delivery(c, &event->delivery, ret);
	case MQ_RETURNED:
		if (event->channel == CHANNEL_NOTES)
			question_on_returned(c, event);
		else
			submission_on_returned(c, event);
		return NOTHING;
	case MQ_ACK:
	case MQ_NACK:
		return submission_on_confirm(c, event);
	case MQ_CHANNEL_CLOSED:
		return on_closed(c, event, err);
	case MQ_CONSUMER_CANCELLED:
		return error_set(err, -ECONNRESET, "the queue for answers was deleted");
	case MQ_BLOCKED:
	case MQ_UNBLOCKED:
		return on_alarm(event, ret);
	default:
		return NOTHING;
	}
}

static int tick(struct taskclient *c, struct error *err)
{
	uint64_t now = clock_now_us();
	int r;

	if (now >= c->tick_us) {
		c->tick_us = now + TICK_US;
		r = mq_tick(c->mq, err);
		if (r < 0)
			return r;
	}
	r = question_tick(c, now);
	return r < 0 ? error_set(err, r, LOST) : 0;
}

int taskclient_take(
	struct taskclient *c, struct mq_event *event, struct happening *ret, struct error *err)
{
	struct error why = { 0 };
	int r = handle(c, event, ret, &why);

	mq_event_deinit(event);
	return r < 0 ? error_set(err, r, "%s", why.code ? why.text : strerror(-r)) : r;
}

static int next(struct taskclient *c, struct happening *ret, struct error *err)
{
	int r = tick(c, err);

	while (r == 0 && !take_pending(c, ret)) {
		struct mq_event event;

		r = mq_next(c->mq, &event, err);
		if (r <= 0)
			return r;
		r = taskclient_take(c, &event, ret, err);
		if (r != NOTHING)
			return r;
	}
	return r < 0 ? r : EVENT;
}

int taskclient_next(
	struct taskclient *c, struct taskclient_event **ret, struct taskclient_error *err)
{
	struct happening happening;
	int r = next(c, &happening, error_of(err));

	if (r > 0)
		r = tell(&happening, ret);
	return r == -ENOMEM ? error_set(error_of(err), r, "out of memory") : r;
}
