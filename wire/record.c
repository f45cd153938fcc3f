/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/record.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "common/text.h"
#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

#define HEADER_PREFIX "x-tr-"
#define NAME_MAX_LEN  64

/* ---- making ---- */

static struct record_member *find(const struct record *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->members[i].name, name) == 0)
			return &r->members[i];
	return NULL;
}

static struct record_member *append(struct record *r, const char *name)
{
	struct record_member *more;

	if (r->n == RECORD_MEMBERS_MAX || strlen(name) > NAME_MAX_LEN)
		return NULL;
	more = realloc(r->members, (r->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->members = more;
	more[r->n] = (struct record_member){ .name = strdup(name) };
	return more[r->n].name ? &more[r->n++] : NULL;
}

/* Takes @text. */
static void add(struct record *r, const char *name, char *text, bool is_number)
{
	struct record_member *member = text ? find(r, name) : NULL;

	if (text && !member)
		member = append(r, name);
	if (!member) {
		r->failed = true;
		free(text);
		return;
	}
	free(member->text);
	member->text = text;
	member->is_number = is_number;
}

void record_add_text(struct record *r, const char *name, const char *text)
{
	if (text)
		add(r, name, strdup(text), false);
}

void record_add_int(struct record *r, const char *name, int64_t number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRId64, number);
	add(r, name, strdup(digits), true);
}

void record_add_number(struct record *r, const char *name, double number)
{
	char digits[TEXT_NUMBER_SIZE];

	if (!isfinite(number))
		return;
	text_from_number(number, digits);
	add(r, name, strdup(digits), true);
}

void record_add_header(struct record *r, const char *header, const char *text)
{
	char name[NAME_MAX_LEN + 1];

	if (strncmp(header, HEADER_PREFIX, strlen(HEADER_PREFIX)) != 0)
		return;
	snprintf(name, sizeof(name), "%s", header + strlen(HEADER_PREFIX));
	for (char *at = name; *at; at++)
		if (*at == '-')
			*at = '_';
	record_add_text(r, name, text);
}

/* ---- looking ---- */

const char *record_text(const struct record *r, const char *name)
{
	const struct record_member *member = find(r, name);

	return member ? member->text : NULL;
}

bool record_int(const struct record *r, const char *name, int64_t *ret)
{
	const char *text = record_text(r, name);

	return text && parse_int(text, INT64_MIN, INT64_MAX, ret) == 0;
}

bool record_number(const struct record *r, const char *name, double *ret)
{
	const char *text = record_text(r, name);

	return text && text_to_number(text, ret);
}

/* ---- encoding ---- */

static int json_encode(const struct record *r, struct buf *out)
{
	int e = buf_append_text(out, "{");

	for (size_t i = 0; i < r->n && e == 0; i++) {
		const struct record_member *m = &r->members[i];

		e = i > 0 ? buf_append_text(out, ",") : 0;
		if (e == 0)
			e = json_quote(out, slice_of(m->name));
		if (e == 0)
			e = buf_append_text(out, ":");
		if (e == 0)
			e = m->is_number ? buf_append_text(out, m->text)
					 : json_quote(out, slice_of(m->text));
	}
	return e < 0 ? e : buf_append_text(out, "}");
}

static int msgpack_value(msgpack_packer *packer, const struct record *r, const char *name)
{
	const struct record_member *m = find(r, name);
	int64_t whole;
	double number;

	if (!m->is_number)
		return msgpack_put_text(packer, slice_of(m->text));
	if (record_int(r, name, &whole))
		return msgpack_pack_int64(packer, whole);
	return record_number(r, name, &number) ? msgpack_pack_double(packer, number)
					       : msgpack_pack_nil(packer);
}

static int msgpack_encode(const struct record *r, struct buf *out)
{
	msgpack_packer packer;
	int e;

	msgpack_to_buf(&packer, out);
	e = msgpack_pack_map(&packer, r->n);
	for (size_t i = 0; i < r->n && e == 0; i++) {
		e = msgpack_put_text(&packer, slice_of(r->members[i].name));
		if (e == 0)
			e = msgpack_value(&packer, r, r->members[i].name);
	}
	return e;
}

int record_encode(enum wire_encoding encoding, const struct record *r, struct buf *ret)
{
	size_t before = ret->len;
	int e = r->failed               ? -ENOMEM
		: encoding == WIRE_JSON ? json_encode(r, ret)
					: msgpack_encode(r, ret);

	if (e < 0)
		ret->len = before;
	return e;
}

int record_put_headers(const struct record *r, fields_put_fn put, void *userdata)
{
	char header[NAME_MAX_LEN + sizeof(HEADER_PREFIX)];
	int e = r->failed ? -ENOMEM : 0;

	for (size_t i = 0; i < r->n && e == 0; i++) {
		snprintf(header, sizeof(header), HEADER_PREFIX "%s", r->members[i].name);
		for (char *at = header; *at; at++)
			if (*at == '_')
				*at = '-';
		e = put(header, r->members[i].text, userdata);
	}
	return e;
}

/* ---- decoding ---- */

static int read_member(struct record *r, const struct member *m)
{
	char name[NAME_MAX_LEN + 1];
	char *text = NULL;
	bool is_number;
	int e;

	/* What is more than we know of is for later versions. */
	if (m->name.len > NAME_MAX_LEN || r->n == RECORD_MEMBERS_MAX)
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)m->name.len, m->name.data);
	e = member_scalar(m, &text, &is_number, NULL);
	if (e == 0)
		add(r, name, text, is_number);
	return e == -ENOMEM || r->failed ? -ENOMEM : 0;
}

int record_decode(
	struct slice body, const char *content_type, struct record *ret, struct error *err)
{
	struct object o;
	struct member m;
	int e;

	object_start(&o, wire_detect(content_type, body), body, 0);
	while ((e = object_next(&o, &m, err)) == OBJECT_MEMBER) {
		e = read_member(ret, &m);
		if (e < 0)
			break;
	}
	object_deinit(&o);
	return e == OBJECT_END ? 0 : e < 0 ? e : -EINVAL;
}

void record_deinit(struct record *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->members[i].name);
		free(r->members[i].text);
	}
	free(r->members);
	*r = (struct record){ 0 };
}
