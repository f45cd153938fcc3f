/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

/* ---- in a body ---- */

static const struct text_field *find(
	const struct text_field *fields, size_t n, const struct member *m)
{
	for (size_t i = 0; i < n; i++)
		if (member_is(m, fields[i].name))
			return &fields[i];
	return NULL;
}

static int read_member(const struct text_field *field, const struct member *m, struct error *err)
{
	bool is_number;

	if (member_is_null(m))
		return 0;
	return field->or_number ? member_scalar(m, field->value, &is_number, err)
				: member_text(m, field->value, err);
}

/* The first; it may be anything, and is told to people. */
static void note_other(char ret_other[FIELDS_OTHER_SIZE], struct slice name)
{
	size_t n = 0;

	if (!ret_other || ret_other[0])
		return;
	for (; n < name.len && n < FIELDS_OTHER_SIZE - 1; n++)
		ret_other[n] = name.data[n] > ' ' && name.data[n] < 0x7f ? name.data[n] : '?';
	ret_other[n] = '\0';
}

int fields_decode(enum wire_encoding encoding, struct slice body, const struct text_field *fields,
	size_t n, char ret_other[FIELDS_OTHER_SIZE], struct error *err)
{
	struct object o;
	struct member m;
	int r;

	if (ret_other)
		ret_other[0] = '\0';
	object_start(&o, encoding, body, 0);
	while ((r = object_next(&o, &m, err)) == OBJECT_MEMBER) {
		const struct text_field *field = find(fields, n, &m);

		if (!field) {
			note_other(ret_other, m.name);
			continue;
		}
		r = read_member(field, &m, err);
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

int fields_encode(
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

static const struct text_field *find_header(
	const struct text_field *fields, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name + strlen(HEADER_PREFIX), fields[i].name) == 0)
			return &fields[i];
	return NULL;
}

static int take_header(const struct text_field *field, const char *name, const char *text,
	bool is_text, struct error *err)
{
	if (!is_text && !field->or_number)
		return error_set(err, -EINVAL, "%s is not a text", name);
	free(*field->value);
	*field->value = strdup(text);
	return *field->value ? 0 : -ENOMEM;
}

int fields_get(const struct text_field *fields, size_t n, fields_get_fn get, void *userdata,
	char ret_other[FIELDS_OTHER_SIZE], struct error *err)
{
	char number[FIELDS_NUMBER_SIZE];
	const char *text, *name;
	bool is_text;
	int r = 0;

	if (ret_other)
		ret_other[0] = '\0';
	for (size_t i = 0; r == 0 && (text = get(i, &name, &is_text, number, userdata)); i++) {
		const struct text_field *field;

		if (strncmp(name, HEADER_PREFIX, strlen(HEADER_PREFIX)) != 0)
			continue;
		field = find_header(fields, n, name);
		if (field)
			r = take_header(field, name, text, is_text, err);
		else
			note_other(ret_other, slice_of(name));
	}
	return r;
}

int fields_put(const struct text_field *fields, size_t n, fields_put_fn put, void *userdata)
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

/* ---- members that all have ---- */

int fields_parse_op(const char *const names[], size_t n, const char *name, struct error *err)
{
	if (!name)
		return error_set(err, -EINVAL, "op is missing");
	for (size_t i = 0; i < n; i++)
		if (slice_equal(slice_of(name), names[i]))
			return (int)i;
	return error_set(err, -EINVAL, "op %.32s is unknown", name);
}

int fields_check_id(const char *id, struct error *err)
{
	if (!id)
		return error_set(err, -EINVAL, "id is missing");
	if (!id_is_valid(slice_of(id)))
		return error_set(err, -EINVAL, "id is none that a task can have");
	return 0;
}
