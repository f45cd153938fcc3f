/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is asked of the runners, until it is answered. A question about one task is over with the
 * first answer, for only its owner gives one; one to many when they have been quiet for a while.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskclient/internal.h"

#define AGAIN_US 2000000

/* No id of a task holds a slash: an answer that comes late is not taken for a response. */
#define TOKEN_PREFIX "question/"

static int make_token(char ret_token[TOKEN_SIZE])
{
	char unique[ID_MAX + 1];
	int r = taskclient_make_id(unique);

	snprintf(ret_token, TOKEN_SIZE, TOKEN_PREFIX "%s", r < 0 ? "" : unique);
	return r;
}

bool question_is_token(const char *text)
{
	return text && strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0;
}

struct question *question_by_token(struct taskclient *c, const char *token)
{
	for (struct question *at = c->questions; at && token; at = at->next)
		if (strcmp(at->token, token) == 0)
			return at;
	return NULL;
}

void question_remove(struct taskclient *c, struct question *question)
{
	for (struct question **at = &c->questions; *at; at = &(*at)->next) {
		if (*at == question) {
			*at = question->next;
			mq_message_deinit(&question->message);
			free(question);
			return;
		}
	}
}

void question_forget(struct taskclient *c, const char *id)
{
	for (struct question *at = c->questions, *next; at; at = next) {
		next = at->next;
		if (strcmp(at->id, id) == 0)
			question_remove(c, at);
	}
}

/* ---- asking ---- */

/* A server that has an alarm reads no message with a body. But answers are like what they answer,
 * and long ones fit into a body only. */
static bool wants_body(const struct control *control)
{
	return control->op == CONTROL_LIST || control->op == CONTROL_PROGRAMS ||
	       control->op == CONTROL_STATUS;
}

static int fill(struct taskclient *c, const struct control *control, struct question *q)
{
	struct mq_message *m = &q->message;
	int r;

	if (wants_body(control)) {
		r = mq_properties_set(
			&m->properties.content_type, wire_content_type(control->encoding));
		if (r == 0)
			r = control_encode(control, &m->body);
	} else {
		r = control_encode_headers(control, mq_header_put, &m->properties);
	}
	if (r == 0)
		r = mq_properties_set(&m->exchange, c->control_exchange);
	if (r == 0)
		r = mq_properties_set(&m->routing_key, "");
	if (r == 0)
		r = mq_properties_set(&m->properties.correlation_id, q->token);
	if (r == 0)
		r = mq_properties_set(&m->properties.reply_to, c->reply_queue);
	return r;
}

static int send_question(struct taskclient *c, struct question *q, uint64_t now_us)
{
	q->again_us = now_us + AGAIN_US;
	return mq_publish(c->mq, CHANNEL_CONTROL, &q->message);
}

/* The server closed it because of a missing exchange, for example. */
static int reopen(struct taskclient *c)
{
	if (!c->control_closed)
		return 0;
	c->control_closed = false;
	return mq_send_channel_open(c->mq, CHANNEL_CONTROL);
}

static struct question *question_new(
	struct taskclient *c, const struct control *control, const struct taskclient_patience *p)
{
	struct question *q = calloc(1, sizeof(*q));
	uint64_t now = clock_now_us();

	if (!q)
		return NULL;
	mq_message_init(&q->message);
	q->op = control->op;
	q->number = ++c->last_question;
	q->deadline_us = now + p->most_ms * 1000ull;
	q->quiet_us = p->quiet_ms * 1000ull;
	if (control->id)
		taskclient_copy_id(q->id, control->id);
	q->next = c->questions;
	c->questions = q;
	return q;
}

int taskclient_ask(struct taskclient *c, const struct control *control,
	const struct taskclient_patience *patience, uint64_t *ret_number, struct error *err)
{
	struct question *q;
	int r;

	if (control->id && !id_is_valid(slice_of(control->id)))
		return error_set(err, -EINVAL,
			"an id is 1 to %d bytes without '/', and not '.' or '..'", ID_MAX);
	q = question_new(c, control, patience);
	r = q ? make_token(q->token) : -ENOMEM;
	if (r == 0)
		r = fill(c, control, q);
	if (r == -E2BIG || r == -ENOMEM) {
		if (q)
			question_remove(c, q);
		return error_set(err, r, "out of memory");
	}
	if (r == 0)
		r = reopen(c);
	if (r == 0)
		r = send_question(c, q, clock_now_us());
	if (r < 0)
		return error_set(err, r, "the connection to the server was lost");
	if (ret_number)
		*ret_number = q->number;
	return 0;
}

int taskclient_cancel(struct taskclient *c, const char *id, unsigned patience_ms, struct error *err)
{
	const struct control control = { .op = CONTROL_CANCEL, .id = (char *)id };
	const struct taskclient_patience patience = { .most_ms = patience_ms };

	for (const struct question *at = c->questions; at; at = at->next)
		if (at->op == CONTROL_CANCEL && strcmp(at->id, id) == 0)
			return 0;
	return taskclient_ask(c, &control, &patience, NULL, err);
}

/* ---- answers ---- */

/* The last that a runner has to say. */
static bool is_last_word(const struct record *answer)
{
	return record_text(answer, "error") || !record_text(answer, "id");
}

void question_on_answer(struct taskclient *c, struct question *q, const struct record *answer)
{
	if (q->id[0]) {
		question_remove(c, q);
		return;
	}
	q->answered_us = clock_now_us();
	q->n_runners += is_last_word(answer);
}

static int end(struct taskclient *c, struct question *q, enum taskclient_event_kind kind,
	const struct error *err)
{
	struct taskclient_event event = {
		.kind = kind,
		.question = q->number,
		.runners = q->n_runners,
	};
	int r;

	taskclient_copy_id(event.id, q->id);
	if (err)
		event.error = *err;
	r = taskclient_post_event(c, &event);
	question_remove(c, q);
	return r;
}

int question_on_closed(struct taskclient *c, const struct mq_event *event)
{
	struct error err;
	int r = 0;

	c->control_closed = true;
	error_set(&err, event->code == 404 ? -ENOENT : -EACCES, "%s", event->text);
	while (c->questions && r == 0)
		r = end(c, c->questions, TASKCLIENT_NO_ANSWER, &err);
	return r;
}

static int give_up(struct taskclient *c, struct question *q)
{
	struct error err;

	if (q->n_runners > 0)
		return end(c, q, TASKCLIENT_ANSWERED, NULL);
	error_set(&err, -ETIMEDOUT, "no runner has answered");
	return end(c, q, TASKCLIENT_NO_ANSWER, &err);
}

/* Once somebody has answered, others that are there have heard it, too. */
static uint64_t over_us(const struct question *q)
{
	uint64_t quiet = q->n_runners > 0 ? q->answered_us + q->quiet_us : UINT64_MAX;

	return quiet < q->deadline_us ? quiet : q->deadline_us;
}

int question_tick(struct taskclient *c, uint64_t now_us)
{
	int r = 0;

	for (struct question *at = c->questions, *next; at && r == 0; at = next) {
		next = at->next;
		if (now_us >= over_us(at))
			r = give_up(c, at);
		else if (now_us >= at->again_us && !at->answered_us)
			r = send_question(c, at, now_us);
	}
	return r;
}

uint64_t question_next_us(const struct taskclient *c)
{
	uint64_t at_us = UINT64_MAX;

	for (const struct question *at = c->questions; at; at = at->next) {
		uint64_t over = over_us(at);

		if (!at->answered_us)
			at_us = at->again_us < at_us ? at->again_us : at_us;
		at_us = over < at_us ? over : at_us;
	}
	return at_us;
}
