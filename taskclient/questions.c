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
#include "wire/note.h"

#define AGAIN_US     2000000
#define AGAIN_MIN_US 400000

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
			mq_message_deinit(&question->note);
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

/* ---- notes: a cancel that nobody heard is kept for the runners that come ---- */

static bool is_to_be_noted(const struct control *control)
{
	bool is_end = control->op == CONTROL_CANCEL || control->op == CONTROL_KILL;

	return is_end && (control->id || control->queued);
}

static int fill_note(struct taskclient *c, const struct control *control, struct question *q)
{
	struct mq_message *m = &q->note;
	struct note note = { .op = NOTE_CANCEL, .id = control->id, .time_ms = clock_wall_ms() };
	int r;

	if (!is_to_be_noted(control))
		return 0;
	if (!control->id) {
		note.op = NOTE_SWEEP;
		note.of = control->selector;
		note.until_ms = note.time_ms + strtoll(control->queued, NULL, 10) * 1000;
	}
	m->mandatory = true;
	m->properties.persistent = true;
	r = note_encode(&note, &m->body);
	if (r == 0)
		r = mq_properties_set(&m->properties.content_type, wire_content_type(WIRE_JSON));
	if (r == 0)
		r = mq_properties_set(&m->properties.correlation_id, q->token);
	if (r == 0)
		r = mq_properties_set(&m->exchange, "");
	if (r == 0)
		r = mq_properties_set(&m->routing_key, c->cancels);
	return r;
}

/* Once. On a channel of its own: who may not write there loses that alone. */
static int send_note(struct taskclient *c, struct question *q)
{
	int r = 0;

	if (q->was_noted || q->note.body.len == 0)
		return 0;
	if (!c->notes_open)
		r = mq_send_channel_open(c->mq, CHANNEL_NOTES);
	if (r == 0)
		r = mq_publish(c->mq, CHANNEL_NOTES, &q->note);
	c->notes_open = q->was_noted = r == 0;
	return r;
}

void question_on_returned(struct taskclient *c, const struct mq_event *event)
{
	struct question *q = question_by_token(c, event->delivery.properties.correlation_id);

	if (q)
		q->is_not_kept = true;
}

void question_on_notes_closed(struct taskclient *c)
{
	c->notes_open = false;
	for (struct question *at = c->questions; at; at = at->next)
		at->is_not_kept = at->is_not_kept || at->was_noted;
}

/* ---- what is asked ---- */

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
		r = mq_properties_set(&m->exchange, c->control);
	if (r == 0)
		r = mq_properties_set(&m->routing_key, "");
	if (r == 0)
		r = mq_properties_set(&m->properties.correlation_id, q->token);
	if (r == 0)
		r = mq_properties_set(&m->properties.reply_to, c->reply_queue);
	return r < 0 ? r : fill_note(c, control, q);
}

/* ---- asking ---- */

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
	struct taskclient *c, const struct control *control, const struct taskclient_control *given)
{
	unsigned patience_ms = given->patience_ms ? given->patience_ms : TASKCLIENT_PATIENCE_MS;
	unsigned quiet_ms = given->quiet_ms ? given->quiet_ms : TASKCLIENT_QUIET_MS;
	struct question *q = calloc(1, sizeof(*q));
	uint64_t now = clock_now_us();

	if (!q)
		return NULL;
	mq_message_init(&q->message);
	mq_message_init(&q->note);
	q->op = control->op;
	q->number = ++c->last_question;
	q->deadline_us = now + patience_ms * 1000ull;
	q->quiet_us = quiet_ms * 1000ull;
	if (control->id)
		taskclient_copy_id(q->id, control->id);
	q->next = c->questions;
	c->questions = q;
	return q;
}

/* Numbers travel as texts. */
struct control_texts {
	char slots[16], tail[16], queued[16];
};

static int read_control(const struct taskclient_control *from, struct control *ret,
	struct control_texts *texts, struct error *err)
{
	int r;

	snprintf(texts->slots, sizeof(texts->slots), "%u", from->slots);
	snprintf(texts->tail, sizeof(texts->tail), "%u", from->tail);
	snprintf(texts->queued, sizeof(texts->queued), "%u", from->queued_s);
	*ret = (struct control){
		.id = (char *)from->id,
		.selector = {
			.group = (char *)from->group,
			.program = (char *)from->program,
			.user = (char *)from->user,
			.project = (char *)from->project,
			.runner = (char *)from->runner,
			.all = from->all ? (char *)"true" : NULL,
		},
		.signal = (char *)from->signal,
		.queue = (char *)from->queue,
		.tail = from->tail > 0 ? texts->tail : NULL,
		.queued = from->queued_s > 0 ? texts->queued : NULL,
	};
	if (from->op && strcmp(from->op, control_op_name(CONTROL_SET_SLOTS)) == 0)
		ret->slots = texts->slots;
	r = control_check(from->op, ret, err);
	if (r == 0 && control_is_between_runners(ret->op))
		r = error_set(err, -EINVAL, "op %s is what runners say to each other", from->op);
	return r;
}

/* So that there is time to hear what became of a note; where there is little, it is sent at the
 * end. */
static uint64_t first_again_us(const struct question *q)
{
	uint64_t now = clock_now_us();
	uint64_t half = q->deadline_us > now ? (q->deadline_us - now) / 2 : 0;

	return now + (half < AGAIN_MIN_US || half > AGAIN_US ? AGAIN_US : half);
}

static int ask(struct taskclient *c, const struct taskclient_control *given, uint64_t *ret_question,
	struct error *err)
{
	struct control_texts texts;
	struct control control;
	struct question *q;
	int r = read_control(given, &control, &texts, err);

	if (r < 0)
		return r;
	q = question_new(c, &control, given);
	r = q ? make_token(q->token) : -ENOMEM;
	if (r == 0)
		r = fill(c, &control, q);
	if (r == 0)
		r = mq_message_check(&q->message, err);
	if (r < 0) {
		if (q)
			question_remove(c, q);
		return r == -EINVAL ? r : error_set(err, -ENOMEM, "out of memory");
	}
	r = reopen(c);
	if (r == 0)
		r = send_question(c, q, clock_now_us());
	q->again_us = first_again_us(q);
	if (r == -EINVAL) { /* for the frames of this connection */
		question_remove(c, q);
		return error_set(err, r, "it is too long");
	}
	if (r < 0)
		return error_set(err, r == -ENOMEM ? -ECONNRESET : r, LOST);
	if (ret_question)
		*ret_question = q->number;
	return 0;
}

int taskclient_ask(struct taskclient *c, const struct taskclient_control *control,
	uint64_t *ret_question, struct taskclient_error *err)
{
	return ask(c, control, ret_question, error_of(err));
}

int taskclient_cancel(
	struct taskclient *c, const char *id, unsigned patience_ms, struct taskclient_error *err)
{
	const struct taskclient_control control = {
		.op = control_op_name(CONTROL_CANCEL), .id = id, .patience_ms = patience_ms
	};

	for (const struct question *at = c->questions; id && at; at = at->next)
		if (at->op == CONTROL_CANCEL && strcmp(at->id, id) == 0)
			return 0;
	return ask(c, &control, NULL, error_of(err));
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
	struct happening happening = {
		.kind = kind,
		.question = q->number,
		.runners = q->n_runners,
		.is_noted = q->was_noted && !q->is_not_kept,
	};
	int r;

	taskclient_copy_id(happening.id, q->id);
	if (err)
		happening.error = *err;
	r = happening_post(c, &happening);
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
	if (send_note(c, q) < 0)
		return -ECONNRESET;
	error_set(&err, -ETIMEDOUT, "no runner has answered");
	return end(c, q, TASKCLIENT_NO_ANSWER, &err);
}

/* Once somebody has answered, others that are there have heard it, too. */
static uint64_t over_us(const struct question *q)
{
	uint64_t quiet = q->n_runners > 0 ? q->answered_us + q->quiet_us : UINT64_MAX;

	return quiet < q->deadline_us ? quiet : q->deadline_us;
}

static int send_again(struct taskclient *c, struct question *q, uint64_t now_us)
{
	int r = send_note(c, q);

	return r < 0 ? r : send_question(c, q, now_us);
}

int question_tick(struct taskclient *c, uint64_t now_us)
{
	int r = 0;

	for (struct question *at = c->questions, *next; at && r == 0; at = next) {
		next = at->next;
		if (now_us >= over_us(at))
			r = give_up(c, at);
		else if (now_us >= at->again_us && !at->answered_us)
			r = send_again(c, at, now_us);
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
