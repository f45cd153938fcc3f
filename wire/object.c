/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/object.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/text.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/msgpack.h"

/* No number that means anything here is written with more characters. */
#define NUMBER_TEXT_MAX 64
#define NAME_SHOWN      64

void object_start(
	struct object *o, enum wire_encoding encoding, struct slice body, unsigned depth_max)
{
	*o = (struct object){
		.encoding = encoding,
		.depth_max = depth_max,
		.body = { body.data ? body.data : "", body.len },
	};
}

void object_deinit(struct object *o)
{
	buf_deinit(&o->names);
	buf_deinit(&o->scratch);
}

/* How much of a name a sentence shows: whole characters, and no more than one can read. */
static int shown(struct slice name)
{
	size_t len = name.len;

	if (len > NAME_SHOWN) {
		len = NAME_SHOWN;
		while (len > 0 && ((unsigned char)name.data[len] & 0xC0) == 0x80)
			len--;
	}
	return (int)len;
}

static struct slice rest(const struct object *o)
{
	return (struct slice){ o->body.data + o->at, o->body.len - o->at };
}

static int malformed(const struct object *o, struct error *err)
{
	error_set(err, -EINVAL, "the body is not valid %s at byte %zu",
		o->encoding == WIRE_JSON ? "JSON" : "MessagePack", o->at);
	return OBJECT_MALFORMED;
}

static int no_object(const struct object *o, struct error *err)
{
	error_set(err, -EINVAL, "the body is not a %s",
		o->encoding == WIRE_JSON ? "JSON object" : "MessagePack map");
	return OBJECT_MALFORMED;
}

static int too_deep(const struct object *o, struct slice name, struct error *err)
{
	unsigned max = o->depth_max == 0 ? WIRE_DEPTH_DEFAULT : o->depth_max;

	error_set(err, -EINVAL, "%.*s is nested deeper than %u levels", shown(name), name.data,
		max < WIRE_DEPTH_MAX ? max : WIRE_DEPTH_MAX);
	return OBJECT_OVER_LIMIT;
}

/* Remembers the name of a member, or finds that it stood before. 0 or -ENOMEM. */
static int remember(struct object *o, struct slice name, bool *ret_repeated)
{
	unsigned char len[2] = { (unsigned char)(name.len >> 8), (unsigned char)name.len };
	size_t at = 0;
	int r;

	*ret_repeated = false;
	while (at < o->names.len) {
		const char *known = o->names.data + at;
		size_t n = (size_t)(unsigned char)known[0] << 8 | (unsigned char)known[1];

		if (n == name.len && memcmp(known + 2, name.data, n) == 0) {
			*ret_repeated = true;
			return 0;
		}
		at += 2 + n;
	}
	r = buf_append(&o->names, len, sizeof(len));
	return r < 0 ? r : buf_append(&o->names, name.data, name.len);
}

/* Judges a member that was read whole. */
static int check_member(struct object *o, struct member *m, struct error *err)
{
	bool repeated;
	int r;

	if (m->name.len > OBJECT_NAME_MAX) {
		error_set(
			err, -EINVAL, "a member has a name of more than %d bytes", OBJECT_NAME_MAX);
		return OBJECT_BAD_MEMBER;
	}
	r = remember(o, m->name, &repeated);
	if (r < 0)
		return r;
	if (repeated) {
		error_set(err, -EINVAL, "%.*s stands twice", shown(m->name), m->name.data);
		return OBJECT_BAD_MEMBER;
	}
	return OBJECT_MEMBER;
}

static int too_many(struct error *err)
{
	error_set(err, -EINVAL, "the body has more than %d members", OBJECT_MEMBERS_MAX);
	return OBJECT_OVER_LIMIT;
}

static void skip_space(struct object *o)
{
	o->at += json_space_len(rest(o));
}

/* White space, then @c if it stands there. */
static bool skip_char(struct object *o, char c)
{
	skip_space(o);
	if (o->at >= o->body.len || o->body.data[o->at] != c)
		return false;
	o->at++;
	return true;
}

static int json_end(struct object *o, struct error *err)
{
	skip_space(o);
	return o->at == o->body.len ? OBJECT_END : malformed(o, err);
}

/* The name without its quotes. 0, -EINVAL where an escape in it is no character, or -ENOMEM. */
static int json_name(struct object *o, struct slice quoted, struct slice *ret)
{
	int r;

	*ret = (struct slice){ quoted.data + 1, quoted.len - 2 };
	if (ret->len > OBJECT_NAME_MAX || !memchr(ret->data, '\\', ret->len))
		return 0;
	buf_clear(&o->scratch);
	r = json_unquote(&o->scratch, quoted);
	if (r == 0)
		*ret = buf_slice(&o->scratch);
	return r;
}

static enum json_outcome json_value(struct object *o, struct slice *ret)
{
	size_t len;
	enum json_outcome outcome;

	skip_space(o);
	*ret = rest(o);
	outcome = json_value_len(*ret, o->depth_max, &len);
	ret->len = len;
	o->at += len;
	return outcome;
}

static int json_next(struct object *o, struct member *ret, struct error *err)
{
	enum json_outcome outcome;
	struct slice quoted;
	int r;

	if (!o->started) {
		if (!skip_char(o, '{'))
			return no_object(o, err);
		o->started = true;
		if (skip_char(o, '}'))
			return json_end(o, err);
	} else if (skip_char(o, '}')) {
		return json_end(o, err);
	} else if (!skip_char(o, ',')) {
		return malformed(o, err);
	}
	skip_space(o);
	if (rest(o).len == 0 || *rest(o).data != '"' || json_value(o, &quoted) != JSON_DONE ||
		!skip_char(o, ':'))
		return malformed(o, err);
	r = json_name(o, quoted, &ret->name);
	if (r == -ENOMEM)
		return r;
	outcome = json_value(o, &ret->value);
	if (outcome == JSON_TOO_DEEP)
		return too_deep(o, ret->name, err);
	if (outcome != JSON_DONE)
		return malformed(o, err);
	if (++o->n_members > OBJECT_MEMBERS_MAX)
		return too_many(err);
	if (r < 0) {
		error_set(err, -EINVAL, "the name of a member is no text");
		return OBJECT_BAD_MEMBER;
	}
	return check_member(o, ret, err);
}

static int msgpack_start(struct object *o, struct error *err)
{
	struct msgpack_head head;

	if (msgpack_head_read(o->body, &head) != MSGPACK_DONE || head.kind != MSGPACK_MAP)
		return no_object(o, err);
	o->started = true;
	o->at = head.size;
	o->left = head.len;
	return 0;
}

static enum msgpack_outcome msgpack_value(struct object *o, struct slice *ret)
{
	enum msgpack_outcome outcome;
	size_t len;

	*ret = rest(o);
	outcome = msgpack_value_len(*ret, o->depth_max, &len);
	ret->len = len;
	o->at += len;
	return outcome;
}

/* The bytes of a str; false if @value is none. */
static bool msgpack_text(struct slice value, struct slice *ret)
{
	struct msgpack_head head;

	if (msgpack_head_read(value, &head) != MSGPACK_DONE || head.kind != MSGPACK_STR)
		return false;
	*ret = (struct slice){ value.data + head.size, value.len - head.size };
	return true;
}

static int msgpack_next(struct object *o, struct member *ret, struct error *err)
{
	enum msgpack_outcome outcome;
	bool is_text;

	if (!o->started && msgpack_start(o, err) != 0)
		return OBJECT_MALFORMED;
	if (o->left == 0)
		return o->at == o->body.len ? OBJECT_END : malformed(o, err);
	o->left--;
	if (msgpack_value(o, &ret->name) != MSGPACK_DONE)
		return malformed(o, err);
	is_text = msgpack_text(ret->name, &ret->name) && text_is_utf8(ret->name);
	outcome = msgpack_value(o, &ret->value);
	if (outcome == MSGPACK_TOO_DEEP)
		return too_deep(o, is_text ? ret->name : slice_of("a member"), err);
	if (outcome != MSGPACK_DONE)
		return malformed(o, err);
	if (++o->n_members > OBJECT_MEMBERS_MAX)
		return too_many(err);
	if (!is_text) {
		error_set(err, -EINVAL, "the name of a member is no text");
		return OBJECT_BAD_MEMBER;
	}
	return check_member(o, ret, err);
}

int object_next(struct object *o, struct member *ret, struct error *err)
{
	ret->encoding = o->encoding;
	return o->encoding == WIRE_JSON ? json_next(o, ret, err) : msgpack_next(o, ret, err);
}

bool member_is(const struct member *m, const char *name)
{
	return slice_equal(m->name, name);
}

bool member_is_null(const struct member *m)
{
	return m->encoding == WIRE_JSON
		       ? slice_equal(m->value, "null")
		       : m->value.len == 1 && (unsigned char)*m->value.data == 0xC0;
}

static int wrong(const struct member *m, const char *what, struct error *err)
{
	return error_set(err, -EINVAL, "%.*s is %s", shown(m->name), m->name.data, what);
}

static bool is_json_string(const struct member *m)
{
	return m->encoding == WIRE_JSON && *m->value.data == '"';
}

int member_append_text(const struct member *m, struct buf *ret, struct error *err)
{
	struct slice text;
	int r;

	if (m->encoding == WIRE_JSON) {
		if (!is_json_string(m))
			return wrong(m, "not a string", err);
		r = json_unquote(ret, m->value);
		return r == -EINVAL ? wrong(m, "not a text: half a surrogate pair", err) : r;
	}
	if (!msgpack_text(m->value, &text))
		return wrong(m, "not a string", err);
	if (!text_is_utf8(text))
		return wrong(m, "not UTF-8", err);
	return buf_append(ret, text.data, text.len);
}

int member_text(const struct member *m, char **ret, struct error *err)
{
	struct buf text = { 0 };
	char *unused;
	/* Room for the whole and its end at once: long values are not to be copied about. */
	int r = buf_reserve(&text, m->value.len + 1, &unused);

	if (r == 0)
		r = member_append_text(m, &text, err);
	if (r == 0 && text.len > 0 && memchr(text.data, '\0', text.len))
		r = wrong(m, "a string with a NUL in it", err);
	if (r == 0)
		r = buf_append(&text, "", 1);
	if (r == 0)
		*ret = buf_steal(&text, NULL);
	buf_deinit(&text);
	return r;
}

int member_bool(const struct member *m, bool *ret, struct error *err)
{
	struct msgpack_head head;

	if (m->encoding == WIRE_JSON) {
		if (*m->value.data != 't' && *m->value.data != 'f')
			return wrong(m, "neither true nor false", err);
		*ret = *m->value.data == 't';
		return 0;
	}
	msgpack_head_read(m->value, &head);
	if (head.kind != MSGPACK_BOOL)
		return wrong(m, "neither true nor false", err);
	*ret = head.bits != 0;
	return 0;
}

static bool json_number(struct slice value, double *ret)
{
	json_t *number;

	if (value.len > NUMBER_TEXT_MAX)
		return false;
	number = json_loadb(value.data, value.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	if (!json_is_real(number)) {
		json_decref(number);
		return false;
	}
	*ret = json_real_value(number);
	json_decref(number);
	return true;
}

static bool msgpack_number(struct slice value, double *ret)
{
	struct msgpack_head head;

	msgpack_head_read(value, &head);
	switch (head.kind) {
	case MSGPACK_UINT:
		*ret = (double)head.bits;
		return true;
	case MSGPACK_INT:
		*ret = (double)(int64_t)head.bits;
		return true;
	case MSGPACK_FLOAT:
		*ret = head.number;
		return isfinite(head.number);
	default:
		return false;
	}
}

int member_number(const struct member *m, double *ret, struct error *err)
{
	double number = 0;

	if (m->encoding == WIRE_JSON ? !json_number(m->value, &number)
				     : !msgpack_number(m->value, &number))
		return wrong(m, "not a number that can be used", err);
	*ret = number;
	return 0;
}

static bool is_whole(struct slice json)
{
	for (size_t i = 0; i < json.len; i++)
		if (json.data[i] != '-' && (json.data[i] < '0' || json.data[i] > '9'))
			return false;
	return true;
}

/* Whole numbers keep all their digits. */
static bool whole_number(const struct member *m, char *ret, size_t size)
{
	struct msgpack_head head;

	if (m->encoding == WIRE_JSON) {
		if (m->value.len >= size || !is_whole(m->value))
			return false;
		snprintf(ret, size, "%.*s", (int)m->value.len, m->value.data);
		return true;
	}
	msgpack_head_read(m->value, &head);
	if (head.kind == MSGPACK_UINT)
		snprintf(ret, size, "%" PRIu64, head.bits);
	else if (head.kind == MSGPACK_INT)
		snprintf(ret, size, "%" PRId64, (int64_t)head.bits);
	return head.kind == MSGPACK_UINT || head.kind == MSGPACK_INT;
}

static bool number_text(const struct member *m, char ret[TEXT_NUMBER_SIZE])
{
	double number;

	if (whole_number(m, ret, TEXT_NUMBER_SIZE))
		return true;
	if (member_number(m, &number, NULL) < 0)
		return false;
	text_from_number(number, ret);
	return true;
}

int member_scalar(const struct member *m, char **ret, bool *ret_is_number, struct error *err)
{
	char digits[TEXT_NUMBER_SIZE];
	bool truth = false;
	int r;

	*ret_is_number = number_text(m, digits);
	if (!*ret_is_number) {
		r = member_text(m, ret, err);
		if (r != -EINVAL || member_bool(m, &truth, NULL) < 0)
			return r;
		snprintf(digits, sizeof(digits), "%s", truth ? "true" : "false");
	}
	*ret = strdup(digits);
	return *ret ? 0 : -ENOMEM;
}

/* The base64 text of a JSON string. Some writers escape '/', so escapes are taken out where there
 * are any; otherwise it is decoded from where it stands. */
static int json_bytes(const struct member *m, size_t max, struct buf *ret, struct error *err)
{
	struct buf plain = { 0 };
	struct slice text;
	int r = 0;

	if (!is_json_string(m))
		return wrong(m, "not a string", err);
	text = (struct slice){ m->value.data + 1, m->value.len - 2 };
	if (memchr(text.data, '\\', text.len)) {
		r = json_unquote(&plain, m->value);
		text = buf_slice(&plain);
	}
	if (r == 0 && max > 0 && base64_decoded_len(text) > max)
		r = -EMSGSIZE;
	if (r == 0)
		r = base64_decode(ret, text);
	buf_deinit(&plain);
	return r == -EINVAL ? wrong(m, "not base64", err) : r;
}

static int msgpack_bytes(const struct member *m, size_t max, struct buf *ret, struct error *err)
{
	struct msgpack_head head;

	msgpack_head_read(m->value, &head);
	if (head.kind != MSGPACK_BIN && head.kind != MSGPACK_STR)
		return wrong(m, "not bytes", err);
	if (max > 0 && head.len > max)
		return -EMSGSIZE;
	return buf_append(ret, m->value.data + head.size, (size_t)head.len);
}

int member_bytes(const struct member *m, size_t max, struct buf *ret, struct error *err)
{
	int r = m->encoding == WIRE_JSON ? json_bytes(m, max, ret, err)
					 : msgpack_bytes(m, max, ret, err);

	if (r == -EMSGSIZE)
		error_set(err, r, "%.*s holds more than %zu bytes", shown(m->name), m->name.data,
			max);
	return r;
}

/* All of it was recognized before. */
static int json_element(const struct member *m, size_t *at, struct member *ret)
{
	*at = *at > 0 ? *at : 1; /* behind '[' */
	*at += json_space_len((struct slice){ m->value.data + *at, m->value.len - *at });
	if (m->value.data[*at] == ',')
		++*at;
	*at += json_space_len((struct slice){ m->value.data + *at, m->value.len - *at });
	if (m->value.data[*at] == ']')
		return 0;
	ret->value.data = m->value.data + *at;
	if (json_value_len((struct slice){ ret->value.data, m->value.len - *at }, WIRE_DEPTH_MAX,
		    &ret->value.len) != JSON_DONE)
		return 0;
	*at += ret->value.len;
	return 1;
}

static int msgpack_element(
	const struct member *m, const struct msgpack_head *head, size_t *at, struct member *ret)
{
	*at = *at > 0 ? *at : head->size;
	if (*at >= m->value.len)
		return 0;
	ret->value.data = m->value.data + *at;
	if (msgpack_value_len((struct slice){ ret->value.data, m->value.len - *at }, WIRE_DEPTH_MAX,
		    &ret->value.len) != MSGPACK_DONE)
		return 0;
	*at += ret->value.len;
	return 1;
}

int member_element(const struct member *m, size_t *at, struct member *ret, struct error *err)
{
	struct msgpack_head head = { 0 };

	ret->encoding = m->encoding;
	ret->name = m->name;
	if (m->encoding == WIRE_JSON)
		return *m->value.data == '[' ? json_element(m, at, ret)
					     : wrong(m, "not an array", err);
	msgpack_head_read(m->value, &head);
	return head.kind == MSGPACK_ARRAY ? msgpack_element(m, &head, at, ret)
					  : wrong(m, "not an array", err);
}

int member_raw(const struct member *m, struct buf *ret)
{
	return buf_append(ret, m->value.data, m->value.len);
}
