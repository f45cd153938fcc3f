/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

static const char *const op_names[] = {
	[CONTROL_CANCEL] = "cancel",
	[CONTROL_WHO_HAS] = "who-has",
	[CONTROL_HOLDER] = "holder",
	[CONTROL_BACK] = "back",
};

#define N_FIELDS(fields) (sizeof(fields) / sizeof(*(fields)))

/* Members that are short texts: all that control messages and answers consist of. */
struct text_field {
	const char *name;
	char **value;
};

static int read_member(
	const struct text_field *fields, size_t n, const struct member *m, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (member_is(m, fields[i].name) && !member_is_null(m))
			return member_text(m, fields[i].value, err);
	return 0;
}

/* Reads those that are there; others are for later versions. 0, -EINVAL or -ENOMEM. */
static int decode_fields(enum wire_encoding encoding, struct slice body,
	const struct text_field *fields, size_t n, struct error *err)
{
	struct object o;
	struct member m;
	int r;

	object_start(&o, encoding, body, 0);
	while ((r = object_next(&o, &m, err)) == OBJECT_MEMBER) {
		r = read_member(fields, n, &m, err);
		if (r < 0)
			break;
	}
	object_deinit(&o);
	return r == OBJECT_END ? 0 : r < 0 ? r : -EINVAL;
}

static int json_fields(const struct text_field *fields, size_t n, struct buf *out)
{
	const char *before = "{\"";
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (!*fields[i].value)
			continue;
		r = buf_printf(out, "%s%s\":", before, fields[i].name);
		if (r == 0)
			r = json_quote(out, slice_of(*fields[i].value));
		before = ",\"";
	}
	if (r == 0 && *before == '{')
		r = buf_append_text(out, "{");
	return r < 0 ? r : buf_append_text(out, "}");
}

static int msgpack_fields(const struct text_field *fields, size_t n, struct buf *out)
{
	msgpack_packer packer;
	size_t present = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		present += *fields[i].value != NULL;
	msgpack_to_buf(&packer, out);
	r = msgpack_pack_map(&packer, present);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (!*fields[i].value)
			continue;
		r = msgpack_put_text(&packer, slice_of(fields[i].name));
		if (r == 0)
			r = msgpack_put_text(&packer, slice_of(*fields[i].value));
	}
	return r;
}

static int encode_fields(
	enum wire_encoding encoding, const struct text_field *fields, size_t n, struct buf *out)
{
	size_t before = out->len;
	int r = encoding == WIRE_JSON ? json_fields(fields, n, out)
				      : msgpack_fields(fields, n, out);

	if (r < 0)
		out->len = before;
	return r;
}

/* ---- in headers ---- */

#define HEADER_PREFIX "x-tr-"
#define HEADER_SIZE   32

static int get_headers(
	const struct text_field *fields, size_t n, control_get_fn get, void *userdata)
{
	char header[HEADER_SIZE];

	for (size_t i = 0; i < n; i++) {
		snprintf(header, sizeof(header), HEADER_PREFIX "%s", fields[i].name);
		const char *text = get(header, userdata);
		*fields[i].value = text ? strdup(text) : NULL;
		if (text && !*fields[i].value)
			return -ENOMEM;
	}
	return 0;
}

static int put_headers(
	const struct text_field *fields, size_t n, control_put_fn put, void *userdata)
{
	char header[HEADER_SIZE];
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		snprintf(header, sizeof(header), HEADER_PREFIX "%s", fields[i].name);
		if (*fields[i].value)
			r = put(header, *fields[i].value, userdata);
	}
	return r;
}

/* ---- messages ---- */

static int op_parse(const char *name, enum control_op *ret, struct error *err)
{
	for (size_t i = 0; i < sizeof(op_names) / sizeof(*op_names); i++)
		if (slice_equal(slice_of(name), op_names[i])) {
			*ret = (enum control_op)i;
			return 0;
		}
	return error_set(err, -EINVAL, "op %.32s is unknown", name);
}

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
	int r = op ? op_parse(op, &c->op, err) : error_set(err, -EINVAL, "op is missing");

	if (r == 0 && !c->id)
		r = error_set(err, -EINVAL, "id is missing");
	if (r == 0 && !id_is_valid(slice_of(c->id)))
		r = error_set(err, -EINVAL, "id is none that a task can have");
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
	r = decode_fields(ret->encoding, body, fields, N_FIELDS(fields), err);
	if (r == 0)
		r = check(op, ret, err);
	free(op);
	return r;
}

int control_decode_headers(
	control_get_fn get, void *userdata, struct control *ret, struct error *err)
{
	char *op = NULL;
	const struct text_field fields[] = CONTROL_FIELDS(op, ret);
	int r = get_headers(fields, N_FIELDS(fields), get, userdata);

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

	return encode_fields(control->encoding, fields, N_FIELDS(fields), ret);
}

int control_encode_headers(const struct control *control, control_put_fn put, void *userdata)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = CONTROL_FIELDS(op, &c);

	return put_headers(fields, N_FIELDS(fields), put, userdata);
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

	return encode_fields(encoding, fields, N_FIELDS(fields), ret);
}

int control_answer_encode_headers(
	const struct control_answer *answer, control_put_fn put, void *userdata)
{
	struct control_answer a = *answer;
	const struct text_field fields[] = ANSWER_FIELDS(&a);

	return put_headers(fields, N_FIELDS(fields), put, userdata);
}

int control_answer_decode(
	struct slice body, const char *content_type, struct control_answer *ret, struct error *err)
{
	const struct text_field fields[] = ANSWER_FIELDS(ret);
	int r = decode_fields(wire_detect(content_type, body), body, fields, N_FIELDS(fields), err);

	return r < 0 ? r : check_answer(ret, err);
}

int control_answer_decode_headers(
	control_get_fn get, void *userdata, struct control_answer *ret, struct error *err)
{
	const struct text_field fields[] = ANSWER_FIELDS(ret);
	int r = get_headers(fields, N_FIELDS(fields), get, userdata);

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
