/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Control messages: read, carried out for whom they are for, and answered. What is done to tasks is
 * in control_tasks.c, what to the runner in control_runner.c.
 */

#include "wire/control.h"

#include <string.h>

#include "common/log.h"
#include "runner/control_private.h"

/* ---- answering ---- */

static int encode(const struct inquiry *q, const struct record *answer, struct mq_message *ret)
{
	/* In the way in which it was asked. */
	if (q->delivery->body.len == 0)
		return record_put_headers(answer, mq_header_put, &ret->properties);
	int r = mq_properties_set(&ret->properties.content_type, wire_content_type(q->encoding));
	return r < 0 ? r : record_encode(q->encoding, answer, &ret->body);
}

static void send_answer(const struct inquiry *q, const struct record *answer, bool is_one_of_many)
{
	struct mq_message message;
	mq_message_init(&message);
	mq_properties_set(&message.exchange, "");
	mq_properties_set(&message.routing_key, q->delivery->properties.reply_to);
	mq_properties_set(
		&message.properties.correlation_id, q->delivery->properties.correlation_id);
	/* Those without a body get through in an alarm, each on a connection of its own. */
	message.urgent = q->delivery->body.len == 0 && !is_one_of_many;
	if (encode(q, answer, &message) < 0)
		mq_message_deinit(&message);
	else
		replies_send(q->daemon, &message, 0);
}

void control_begin_answer(const struct inquiry *q, struct record *ret)
{
	*ret = (struct record){ 0 };
	if (!q->is_malformed)
		record_add_text(ret, "op", control_op_name(q->control->op));
}

void control_answer(struct inquiry *q, struct record *answer, bool is_one_of_many)
{
	/* What is lost of many shows in the count at their end. */
	bool is_too_much = is_one_of_many && mq_publisher_is_full(q->daemon->publisher);
	record_add_text(answer, "runner", q->daemon->config->name);
	record_add_text(answer, "instance", q->daemon->instance.id);
	if (q->delivery->properties.reply_to && !is_too_much)
		send_answer(q, answer, is_one_of_many);
	record_deinit(answer);
}

void control_answer_accepted(struct inquiry *q)
{
	struct record answer;
	control_begin_answer(q, &answer);
	record_add_text(&answer, "result", CONTROL_ACCEPTED);
	control_answer(q, &answer, false);
}

void control_answer_error(struct inquiry *q, const char *id, const char *sentence)
{
	struct record answer;
	control_begin_answer(q, &answer);
	record_add_text(&answer, "id", id);
	record_add_text(&answer, "error", sentence);
	control_answer(q, &answer, false);
}

void control_answer_end(struct inquiry *q, size_t count)
{
	struct record answer;
	control_begin_answer(q, &answer);
	record_add_text(&answer, "result", CONTROL_END);
	record_add_int(&answer, "count", (int64_t)count);
	control_answer(q, &answer, false);
}

/* ---- whom it is for ---- */

static bool is_for_us(const struct inquiry *q)
{
	const char *runner = q->control->selector.runner;
	return !runner || strcmp(runner, q->daemon->config->name) == 0 ||
	       strcmp(runner, q->daemon->instance.id) == 0;
}

static void obey(struct inquiry *q)
{
	struct daemon *daemon = q->daemon;
	const struct control *control = q->control;
	switch (control->op) {
	case CONTROL_WHO_HAS:
		suspects_answer(daemon, control, q->delivery->properties.reply_to);
		break;
	case CONTROL_HOLDER:
		suspects_on_answer(daemon, control);
		break;
	case CONTROL_BACK:
		suspects_on_back(daemon, control);
		break;
	case CONTROL_FREE:
		suspects_on_free(daemon, control);
		break;
	default:
		if (!is_for_us(q))
			return;
		if (control_is_about_tasks(control->op))
			control_tasks(q);
		else
			control_runner(q);
	}
}

void control_on_message(struct daemon *daemon, struct mq_delivery *delivery)
{
	struct control control = { 0 };
	struct error err = { 0 };
	struct inquiry q = { .daemon = daemon, .delivery = delivery, .control = &control };
	int r = delivery->body.len == 0
			? control_decode_headers(
				  mq_header_get, &delivery->properties, &control, &err)
			: control_decode(buf_slice(&delivery->body),
				  delivery->properties.content_type, &control, &err);
	q.encoding = control.encoding;
	if (r < 0) {
		log_warn("control.malformed", LOG_E(&err));
		q.is_malformed = true;
		control_answer_error(&q, NULL, err.text);
	} else {
		obey(&q);
	}
	control_deinit(&control);
}
