/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/parse.h"
#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

static const char *const op_names[] = {
	[CONTROL_CANCEL] = "cancel",
	[CONTROL_WHO_HAS] = "who-has",
	[CONTROL_HOLDER] = "holder",
};

static const char *const note_names[] = {
	[NOTE_CANCEL] = "cancel",
	[NOTE_OVER] = "over",
	[NOTE_MARK] = "mark",
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

/* Its number among @names, or -EINVAL. */
static int op_parse(const char *const names[], size_t n, const char *name, struct error *err)
{
	if (!name)
		return error_set(err, -EINVAL, "op is missing");
	for (size_t i = 0; i < n; i++)
		if (slice_equal(slice_of(name), names[i]))
			return (int)i;
	return error_set(err, -EINVAL, "op %.32s is unknown", name);
}

static int check_id(const char *id, struct error *err)
{
	if (!id)
		return error_set(err, -EINVAL, "id is missing");
	if (!id_is_valid(slice_of(id)))
		return error_set(err, -EINVAL, "id is none that a task can have");
	return 0;
}

int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err)
{
	char *op = NULL;
	const struct text_field fields[] = { { "op", &op }, { "id", &ret->id },
		{ "instance", &ret->instance }, { "state", &ret->state }, { "queue", &ret->queue },
		{ "question", &ret->question } };
	int r;

	ret->encoding = wire_detect(content_type, body);
	r = decode_fields(ret->encoding, body, fields, N_FIELDS(fields), err);
	if (r == 0)
		r = op_parse(op_names, N_FIELDS(op_names), op, err);
	if (r >= 0) {
		ret->op = (enum control_op)r;
		r = check_id(ret->id, err);
	}
	if (r == 0 && ret->op != CONTROL_CANCEL && !(ret->instance && ret->question))
		r = error_set(err, -EINVAL, "instance or question is missing");
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
		{ "question", &c.question } };

	return encode_fields(control->encoding, fields, N_FIELDS(fields), ret);
}

void control_deinit(struct control *control)
{
	free(control->id);
	free(control->instance);
	free(control->state);
	free(control->queue);
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

/* ---- notes ---- */

int note_decode(struct slice body, struct note *ret, struct error *err)
{
	char *op = NULL, *time = NULL;
	const struct text_field fields[] = { { "op", &op }, { "id", &ret->id }, { "time", &time },
		{ "instance", &ret->instance } };
	int r = decode_fields(WIRE_JSON, body, fields, N_FIELDS(fields), err);

	if (r == 0)
		r = op_parse(note_names, N_FIELDS(note_names), op, err);
	if (r >= 0) {
		ret->op = (enum note_op)r;
		r = check_id(ret->id, err);
	}
	if (r == 0 && (!time || parse_int(time, 0, INT64_MAX, &ret->time_ms) < 0))
		r = error_set(err, -EINVAL, "time is missing or no number");
	if (r == 0 && ret->op == NOTE_MARK && !ret->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	free(op);
	free(time);
	return r;
}

int note_encode(const struct note *note, struct buf *ret)
{
	struct note n = *note;
	char *op = (char *)note_names[note->op];
	char digits[24], *time = digits;
	const struct text_field fields[] = { { "op", &op }, { "id", &n.id }, { "time", &time },
		{ "instance", &n.instance } };

	snprintf(digits, sizeof(digits), "%lld", (long long)note->time_ms);
	return encode_fields(WIRE_JSON, fields, N_FIELDS(fields), ret);
}

void note_deinit(struct note *note)
{
	free(note->id);
	free(note->instance);
	*note = (struct note){ 0 };
}
