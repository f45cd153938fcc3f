/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control.h"

#include <errno.h>
#include <stdlib.h>

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

static int op_parse(const char *name, enum control_op *ret, struct error *err)
{
	for (size_t i = 0; i < sizeof(op_names) / sizeof(*op_names); i++)
		if (slice_equal(slice_of(name), op_names[i])) {
			*ret = (enum control_op)i;
			return 0;
		}
	return error_set(err, -EINVAL, "op %.32s is unknown", name);
}

int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err)
{
	char *op = NULL;
	const struct text_field fields[] = { { "op", &op }, { "id", &ret->id },
		{ "instance", &ret->instance }, { "state", &ret->state }, { "queue", &ret->queue },
		{ "print", &ret->print }, { "question", &ret->question } };
	int r;

	ret->encoding = wire_detect(content_type, body);
	r = decode_fields(ret->encoding, body, fields, N_FIELDS(fields), err);
	if (r == 0 && !op)
		r = error_set(err, -EINVAL, "op is missing");
	if (r == 0)
		r = op_parse(op, &ret->op, err);
	if (r == 0 && !ret->id)
		r = error_set(err, -EINVAL, "id is missing");
	if (r == 0 && !id_is_valid(slice_of(ret->id)))
		r = error_set(err, -EINVAL, "id is none that a task can have");
	if (r == 0 && ret->op != CONTROL_CANCEL && !ret->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	if (r == 0 && (ret->op == CONTROL_WHO_HAS || ret->op == CONTROL_HOLDER) && !ret->question)
		r = error_set(err, -EINVAL, "question is missing");
	if (r == 0 && ret->op == CONTROL_HOLDER && !ret->state)
		r = error_set(err, -EINVAL, "state is missing");
	free(op);
	return r;
}

int control_encode(const struct control *control, struct buf *ret)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = { { "op", &op }, { "id", &c.id },
		{ "instance", &c.instance }, { "state", &c.state }, { "queue", &c.queue },
		{ "print", &c.print }, { "question", &c.question } };

	return encode_fields(control->encoding, fields, N_FIELDS(fields), ret);
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

int control_answer_encode(
	enum wire_encoding encoding, const struct control_answer *answer, struct buf *ret)
{
	struct control_answer a = *answer;
	const struct text_field fields[] = { { "id", &a.id }, { "result", &a.result },
		{ "runner", &a.runner }, { "error", &a.error } };

	return encode_fields(encoding, fields, 4, ret);
}

int control_answer_decode(
	struct slice body, const char *content_type, struct control_answer *ret, struct error *err)
{
	const struct text_field fields[] = { { "id", &ret->id }, { "result", &ret->result },
		{ "runner", &ret->runner }, { "error", &ret->error } };
	int r = decode_fields(wire_detect(content_type, body), body, fields, 4, err);

	if (r == 0 && !ret->result && !ret->error)
		r = error_set(err, -EINVAL, "the answer holds neither result nor error");
	return r;
}

void control_answer_deinit(struct control_answer *answer)
{
	free(answer->id);
	free(answer->result);
	free(answer->runner);
	free(answer->error);
	*answer = (struct control_answer){ 0 };
}
