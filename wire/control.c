/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control.h"

#include <errno.h>
#include <stdlib.h>

static const char *const op_names[] = {
	[CONTROL_CANCEL] = "cancel",
	[CONTROL_WHO_HAS] = "who-has",
	[CONTROL_HOLDER] = "holder",
	[CONTROL_BACK] = "back",
	[CONTROL_FREE] = "free",
};

#define N_FIELDS(fields) (sizeof(fields) / sizeof(*(fields)))

#define CONTROL_FIELDS(op, c)                                                        \
	{                                                                            \
		{ "op", &(op) }, { "id", &(c)->id }, { "instance", &(c)->instance }, \
			{ "state", &(c)->state }, { "queue", &(c)->queue },          \
			{ "print", &(c)->print },                                    \
		{                                                                    \
			"question", &(c)->question                                   \
		}                                                                    \
	}

static int check(const char *op, struct control *c, struct error *err)
{
	int r = fields_parse_op(op_names, N_FIELDS(op_names), op, err);

	if (r >= 0) {
		c->op = (enum control_op)r;
		r = fields_check_id(c->id, err);
	}
	if (r == 0 && c->op != CONTROL_CANCEL && !c->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	if (r == 0 && (c->op == CONTROL_WHO_HAS || c->op == CONTROL_HOLDER) && !c->question)
		r = error_set(err, -EINVAL, "question is missing");
	if (r == 0 && c->op == CONTROL_HOLDER && !c->state)
		r = error_set(err, -EINVAL, "state is missing");
	return r;
}

int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err)
{
	char *op = NULL;
	const struct text_field fields[] = CONTROL_FIELDS(op, ret);
	int r;

	ret->encoding = wire_detect(content_type, body);
	r = fields_decode(ret->encoding, body, fields, N_FIELDS(fields), err);
	if (r == 0)
		r = check(op, ret, err);
	free(op);
	return r;
}

int control_decode_headers(
	fields_get_fn get, void *userdata, struct control *ret, struct error *err)
{
	char *op = NULL;
	const struct text_field fields[] = CONTROL_FIELDS(op, ret);
	int r = fields_get(fields, N_FIELDS(fields), get, userdata);

	if (r == 0)
		r = check(op, ret, err);
	free(op);
	return r;
}

int control_encode(const struct control *control, struct buf *ret)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = CONTROL_FIELDS(op, &c);

	return fields_encode(control->encoding, fields, N_FIELDS(fields), ret);
}

int control_encode_headers(const struct control *control, fields_put_fn put, void *userdata)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = CONTROL_FIELDS(op, &c);

	return fields_put(fields, N_FIELDS(fields), put, userdata);
}

void control_deinit(struct control *control)
{
	free(control->id);
	free(control->instance);
	free(control->state);
	free(control->queue);
	free(control->print);
	free(control->question);
	*control = (struct control){ 0 };
}

/* ---- answers ---- */

#define ANSWER_FIELDS(a)                                                                    \
	{                                                                                   \
		{ "id", &(a)->id }, { "result", &(a)->result }, { "runner", &(a)->runner }, \
		{                                                                           \
			"error", &(a)->error                                                \
		}                                                                           \
	}

static int check_answer(const struct control_answer *answer, struct error *err)
{
	return answer->result || answer->error
		       ? 0
		       : error_set(err, -EINVAL, "the answer holds neither result nor error");
}

int control_answer_encode(
	enum wire_encoding encoding, const struct control_answer *answer, struct buf *ret)
{
	struct control_answer a = *answer;
	const struct text_field fields[] = ANSWER_FIELDS(&a);

	return fields_encode(encoding, fields, N_FIELDS(fields), ret);
}

int control_answer_encode_headers(
	const struct control_answer *answer, fields_put_fn put, void *userdata)
{
	struct control_answer a = *answer;
	const struct text_field fields[] = ANSWER_FIELDS(&a);

	return fields_put(fields, N_FIELDS(fields), put, userdata);
}

int control_answer_decode(
	struct slice body, const char *content_type, struct control_answer *ret, struct error *err)
{
	const struct text_field fields[] = ANSWER_FIELDS(ret);
	int r = fields_decode(wire_detect(content_type, body), body, fields, N_FIELDS(fields), err);

	return r < 0 ? r : check_answer(ret, err);
}

int control_answer_decode_headers(
	fields_get_fn get, void *userdata, struct control_answer *ret, struct error *err)
{
	const struct text_field fields[] = ANSWER_FIELDS(ret);
	int r = fields_get(fields, N_FIELDS(fields), get, userdata);

	return r < 0 ? r : check_answer(ret, err);
}

void control_answer_deinit(struct control_answer *answer)
{
	free(answer->id);
	free(answer->result);
	free(answer->runner);
	free(answer->error);
	*answer = (struct control_answer){ 0 };
}
