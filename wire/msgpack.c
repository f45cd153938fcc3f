/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/msgpack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* What the first byte says for 0xC0 to 0xDF: the kind, how many bytes of length or number follow,
 * and what is added to the length (the type byte of an ext, its fixed size). */
struct form {
	enum msgpack_kind kind;
	unsigned char n_bytes;
	unsigned char extra;
};

static const struct form forms[0x20] = {
	[0x00] = { MSGPACK_NIL, 0, 0 },
	/* 0x01 is never used: msgpack_head_read */
	[0x02] = { MSGPACK_BOOL, 0, 0 },
	[0x03] = { MSGPACK_BOOL, 0, 1 },
	[0x04] = { MSGPACK_BIN, 1, 0 },
	[0x05] = { MSGPACK_BIN, 2, 0 },
	[0x06] = { MSGPACK_BIN, 4, 0 },
	[0x07] = { MSGPACK_EXT, 1, 1 },
	[0x08] = { MSGPACK_EXT, 2, 1 },
	[0x09] = { MSGPACK_EXT, 4, 1 },
	[0x0A] = { MSGPACK_FLOAT, 4, 0 },
	[0x0B] = { MSGPACK_FLOAT, 8, 0 },
	[0x0C] = { MSGPACK_UINT, 1, 0 },
	[0x0D] = { MSGPACK_UINT, 2, 0 },
	[0x0E] = { MSGPACK_UINT, 4, 0 },
	[0x0F] = { MSGPACK_UINT, 8, 0 },
	[0x10] = { MSGPACK_INT, 1, 0 },
	[0x11] = { MSGPACK_INT, 2, 0 },
	[0x12] = { MSGPACK_INT, 4, 0 },
	[0x13] = { MSGPACK_INT, 8, 0 },
	[0x14] = { MSGPACK_EXT, 0, 2 },
	[0x15] = { MSGPACK_EXT, 0, 3 },
	[0x16] = { MSGPACK_EXT, 0, 5 },
	[0x17] = { MSGPACK_EXT, 0, 9 },
	[0x18] = { MSGPACK_EXT, 0, 17 },
	[0x19] = { MSGPACK_STR, 1, 0 },
	[0x1A] = { MSGPACK_STR, 2, 0 },
	[0x1B] = { MSGPACK_STR, 4, 0 },
	[0x1C] = { MSGPACK_ARRAY, 2, 0 },
	[0x1D] = { MSGPACK_ARRAY, 4, 0 },
	[0x1E] = { MSGPACK_MAP, 2, 0 },
	[0x1F] = { MSGPACK_MAP, 4, 0 },
};

static uint64_t big_endian(const char *p, unsigned n)
{
	uint64_t value = 0;

	while (n-- > 0)
		value = value << 8 | (unsigned char)*p++;
	return value;
}

/* The forms whose first byte holds the value or the length. */
static bool read_fix(unsigned char c, struct msgpack_head *ret)
{
	*ret = (struct msgpack_head){ .size = 1 };
	if (c < 0x80) {
		ret->kind = MSGPACK_UINT;
		ret->bits = c;
	} else if (c < 0xC0) {
		ret->kind = c < 0x90 ? MSGPACK_MAP : c < 0xA0 ? MSGPACK_ARRAY : MSGPACK_STR;
		ret->len = c < 0xA0 ? c & 0x0F : c & 0x1F;
	} else if (c >= 0xE0) {
		ret->kind = MSGPACK_INT;
		ret->bits = (uint64_t)(int64_t)(int8_t)c;
	} else {
		return false;
	}
	return true;
}

static double to_float(uint64_t bits, unsigned n_bytes)
{
	uint32_t half = (uint32_t)bits;
	double wide;
	float narrow;

	if (n_bytes == 4) {
		memcpy(&narrow, &half, sizeof(narrow));
		return (double)narrow;
	}
	memcpy(&wide, &bits, sizeof(wide));
	return wide;
}

static uint64_t sign_extend(uint64_t bits, unsigned n_bytes)
{
	unsigned shift = 64 - 8 * n_bytes;

	return (uint64_t)((int64_t)(bits << shift) >> shift);
}

enum msgpack_outcome msgpack_head_read(struct slice s, struct msgpack_head *ret)
{
	const struct form *form;
	unsigned char c;
	uint64_t value;

	if (s.len == 0)
		return MSGPACK_MORE;
	c = (unsigned char)s.data[0];
	if (read_fix(c, ret))
		return MSGPACK_DONE;
	if (c == 0xC1)
		return MSGPACK_BAD;

	form = &forms[c - 0xC0];
	if (s.len - 1 < form->n_bytes)
		return MSGPACK_MORE;
	value = big_endian(s.data + 1, form->n_bytes);
	ret->kind = form->kind;
	ret->size = 1u + form->n_bytes;
	switch (form->kind) {
	case MSGPACK_NIL:
		break;
	case MSGPACK_BOOL:
		ret->bits = form->extra;
		break;
	case MSGPACK_UINT:
		ret->bits = value;
		break;
	case MSGPACK_INT:
		ret->bits = sign_extend(value, form->n_bytes);
		break;
	case MSGPACK_FLOAT:
		ret->number = to_float(value, form->n_bytes);
		break;
	default:
		ret->len = value + form->extra;
	}
	return MSGPACK_DONE;
}

void msgpack_skip_start(struct msgpack_skipper *s, unsigned depth_max)
{
	s->depth_max = depth_max == 0 ? WIRE_DEPTH_DEFAULT : depth_max;
	if (s->depth_max > WIRE_DEPTH_MAX)
		s->depth_max = WIRE_DEPTH_MAX;
	/* The value itself is the one thing that the outermost level waits for. */
	s->depth = 0;
	s->left[0] = 1;
	s->payload = 0;
}

/* Accounts for the value whose head was read. False if it nests too deep. */
static bool enter(struct msgpack_skipper *s, const struct msgpack_head *head)
{
	s->left[s->depth]--;
	if (head->kind == MSGPACK_ARRAY || head->kind == MSGPACK_MAP) {
		if (s->depth >= s->depth_max)
			return false;
		s->left[++s->depth] = head->kind == MSGPACK_MAP ? head->len * 2 : head->len;
	} else {
		s->payload = head->len;
	}
	return true;
}

/* Leaves the containers that are complete; true if that is all of them. */
static bool leave(struct msgpack_skipper *s)
{
	while (s->left[s->depth] == 0) {
		if (s->depth == 0)
			return true;
		s->depth--;
	}
	return false;
}

enum msgpack_outcome msgpack_skip(struct msgpack_skipper *s, struct slice bytes, size_t *ret_used)
{
	size_t at = 0;

	for (;;) {
		struct msgpack_head head;
		enum msgpack_outcome outcome;
		size_t n = bytes.len - at < s->payload ? bytes.len - at : (size_t)s->payload;

		at += n;
		s->payload -= n;
		*ret_used = at;
		if (s->payload > 0)
			return MSGPACK_MORE;
		if (leave(s))
			return MSGPACK_DONE;
		outcome =
			msgpack_head_read((struct slice){ bytes.data + at, bytes.len - at }, &head);
		if (outcome != MSGPACK_DONE)
			return outcome;
		if (!enter(s, &head))
			return MSGPACK_TOO_DEEP;
		at += head.size;
	}
}

enum msgpack_outcome msgpack_value_len(struct slice s, unsigned depth_max, size_t *ret_len)
{
	struct msgpack_skipper skipper;
	enum msgpack_outcome outcome;

	msgpack_skip_start(&skipper, depth_max);
	outcome = msgpack_skip(&skipper, s, ret_len);
	return outcome == MSGPACK_MORE ? MSGPACK_BAD : outcome;
}

static int write_to_buf(void *out, const char *data, size_t len)
{
	return buf_append(out, data, len);
}

void msgpack_to_buf(msgpack_packer *packer, struct buf *out)
{
	msgpack_packer_init(packer, out, write_to_buf);
}

int msgpack_put_text(msgpack_packer *packer, struct slice text)
{
	int r;

	if (text.len > UINT32_MAX)
		return -EMSGSIZE;
	r = msgpack_pack_str(packer, text.len);
	return r < 0 ? r : msgpack_pack_str_body(packer, text.data, text.len);
}

int msgpack_put_bytes(msgpack_packer *packer, struct slice bytes)
{
	int r;

	if (bytes.len > UINT32_MAX)
		return -EMSGSIZE;
	r = msgpack_pack_bin(packer, bytes.len);
	return r < 0 ? r : msgpack_pack_bin_body(packer, bytes.data, bytes.len);
}

int msgpack_put_optional(msgpack_packer *packer, struct slice text)
{
	return text.data ? msgpack_put_text(packer, text) : msgpack_pack_nil(packer);
}

int msgpack_put_bool(msgpack_packer *packer, bool value)
{
	return value ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
}
