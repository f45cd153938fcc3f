/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "taskclient/internal.h"
#include "wire/request.h"

#define PRIORITY_MAX 9
#define DEPTH_MAX    100

struct submission *taskclient_find(struct taskclient *c, const char *id)
{
	struct submission *s;

	HASH_FIND_STR(c->submissions, id, s);
	return s;
}

struct submission *submission_add(struct taskclient *c, const char *id)
{
	struct submission *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	taskclient_copy_id(s->id, id);
	HASH_ADD_STR(c->submissions, id, s);
	return s;
}

static void set_number(struct taskclient *c, struct submission *s, uint64_t number)
{
	s->number = number;
	HASH_ADD(hh_number, c->unconfirmed, number, sizeof(s->number), s);
}

static void forget_number(struct taskclient *c, struct submission *s)
{
	if (s->number == 0)
		return;
	HASH_DELETE(hh_number, c->unconfirmed, s);
	s->number = 0;
}

void submission_remove(struct taskclient *c, struct submission *gone)
{
	forget_number(c, gone);
	HASH_DEL(c->submissions, gone);
	free(gone);
}

static int check(struct taskclient *c, const struct taskclient_request *r, struct error *err)
{
	if (!id_is_valid(slice_of(r->id)))
		return error_set(err, -EINVAL,
			"an id is 1 to %d bytes without '/', and not '.' or '..'", ID_MAX);
	if (!r->program || !r->program[0])
		return error_set(err, -EINVAL, "the program's name is empty");
	if (r->priority > PRIORITY_MAX)
		return error_set(err, -EINVAL, "a priority is 0 to %d", PRIORITY_MAX);
	if (r->depth > DEPTH_MAX)
		return error_set(err, -EINVAL, "a depth is 0 to %d", DEPTH_MAX);
	if (taskclient_find(c, r->id))
		return error_set(err, -EALREADY, "a task of the id %s is under way already", r->id);
	return 0;
}

static enum wire_encoding encoding_of(const struct taskclient_request *r)
{
	return r->is_msgpack ? WIRE_MSGPACK : WIRE_JSON;
}

/* The encoder borrows what `struct request` would own. */
static int encode(const struct taskclient_request *r, struct buf *ret)
{
	const struct request request = {
		.encoding = encoding_of(r),
		.id = (char *)r->id,
		.script = (char *)r->program,
		.input = { .data = (char *)r->input, .len = r->input_len, .cap = r->input_len },
		.timeout_ms = r->timeout_ms,
		.use_cache = true,
		.routing_key = (char *)r->mailbox,
		.group = (char *)r->group,
		.labels = (char *)r->labels,
		.user_id = (char *)r->user,
		.project_id = (char *)r->project,
		.depth = r->depth,
		.hold = r->hold,
	};

	return request_encode(&request, ret);
}

/* What was asked for by a task comes before what others ask for: it is waited for. -1: none. */
static int priority_of(const struct taskclient_request *r)
{
	int priority = (int)(r->priority + r->depth);

	if (priority == 0)
		return -1;
	return priority < PRIORITY_MAX ? priority : PRIORITY_MAX;
}

static int fill(struct taskclient *c, const struct taskclient_request *r, struct mq_message *m)
{
	int result = encode(r, &m->body);

	if (result == 0)
		result = mq_properties_set(&m->exchange, "");
	if (result == 0)
		result = mq_properties_set(&m->routing_key, r->queue ? r->queue : TASKCLIENT_QUEUE);
	if (result == 0)
		result = mq_properties_set(
			&m->properties.content_type, wire_content_type(encoding_of(r)));
	if (result == 0)
		result = mq_properties_set(&m->properties.correlation_id, r->id);
	if (result == 0)
		result = mq_properties_set(&m->properties.message_id, r->id);
	if (result == 0 && !r->mailbox)
		result = mq_properties_set(&m->properties.reply_to, c->reply_queue);
	if (result == 0)
		result = mq_properties_add_int(&m->properties, HEADER_SENT, clock_wall_ms());
	m->properties.priority = priority_of(r);
	m->properties.persistent = true;
	m->mandatory = true;
	return result;
}

/* After the server has closed the channel, for a request too large, say. */
static int reopen(struct taskclient *c, struct error *err)
{
	int r;

	if (!c->requests_closed)
		return 0;
	r = mq_channel_open(c->mq, CHANNEL_REQUESTS, err);
	if (r == 0)
		r = mq_confirm(c->mq, CHANNEL_REQUESTS, err);
	if (r == 0) {
		c->requests_closed = false;
		c->next_number = 1;
	}
	return r;
}

static int submit(struct taskclient *c, const struct taskclient_request *request, struct error *err)
{
	cleanup_with(mq_message_deinit) struct mq_message m;
	struct submission *s;
	int r;

	mq_message_init(&m);
	r = check(c, request, err);
	if (r < 0)
		return r;
	r = fill(c, request, &m);
	if (r < 0)
		return error_set(err, r, "the request cannot be encoded: %s", strerror(-r));
	r = mq_message_check(&m, err);
	if (r == 0)
		r = reopen(c, err);
	if (r < 0)
		return r;
	s = submission_add(c, request->id);
	if (!s)
		return error_set(err, -ENOMEM, "out of memory");
	s->size = m.body.len;
	s->is_detached = request->mailbox;
	set_number(c, s, c->next_number++);
	/* It has a number already: whatever went wrong, the next ones would have another. */
	r = mq_publish(c->mq, CHANNEL_REQUESTS, &m);
	return r < 0 ? error_set(err, r == -EINVAL || r == -ENOMEM ? -ECONNRESET : r, LOST) : 0;
}

int taskclient_submit(struct taskclient *c, const struct taskclient_request *request,
	struct taskclient_error *err)
{
	return submit(c, request, error_of(err));
}

static int fail(struct taskclient *c, struct submission *s, int code, const char *text)
{
	struct error err;
	int r;

	error_set(&err, code, "%s", text);
	r = happening_post_kind(c, TASKCLIENT_NOT_QUEUED, s->id, &err);
	submission_remove(c, s);
	return r;
}

static int confirm_one(struct taskclient *c, struct submission *s, bool acked)
{
	int r;

	forget_number(c, s);
	if (!acked)
		return fail(c, s, -EAGAIN,
			"the server could not take the request: its queue refuses more");
	if (s->returned)
		return fail(c, s, -ENOENT, "no such queue");
	r = happening_post_kind(c, TASKCLIENT_QUEUED, s->id, NULL);
	if (s->is_detached)
		submission_remove(c, s);
	return r;
}

int submission_on_confirm(struct taskclient *c, const struct mq_event *event)
{
	bool acked = event->kind == MQ_ACK;
	struct submission *s;
	int r = 0;

	if (!event->multiple) {
		HASH_FIND(hh_number, c->unconfirmed, &event->number, sizeof(event->number), s);
		return s ? confirm_one(c, s, acked) : 0;
	}
	while (r == 0 && c->unconfirmed && c->unconfirmed->number <= event->number)
		r = confirm_one(c, c->unconfirmed, acked);
	return r;
}

void submission_on_returned(struct taskclient *c, const struct mq_event *event)
{
	const char *id = event->delivery.properties.message_id;
	struct submission *s = id ? taskclient_find(c, id) : NULL;

	if (s)
		s->returned = true;
}

/* "… message size 31 is larger than configured max size 30": which of them was it? */
static bool is_guilty(const struct submission *s, const struct mq_event *event)
{
	const char *at = strstr(event->text, "message size ");
	unsigned long long size;

	return at && sscanf(at, "message size %llu", &size) == 1 && size == s->size;
}

/* What was not confirmed by now never will be. */
int submission_on_closed(struct taskclient *c, const struct mq_event *event)
{
	int r = 0;

	c->requests_closed = true;
	while (r == 0 && c->unconfirmed) {
		struct submission *s = c->unconfirmed;

		r = fail(c, s, is_guilty(s, event) ? -EMSGSIZE : -EAGAIN, event->text);
	}
	return r;
}
