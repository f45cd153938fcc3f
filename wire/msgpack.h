/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * MessagePack without a tree: the head of one value, a skipper that follows a value however its
 * bytes arrive, and packers that append to a buf. Every declared length is held against the bytes
 * that are there; nothing is allocated for what is only looked at. Any thread, one at a time.
 */

#include <stdint.h>

#include <msgpack/pack.h>

#include "common/buf.h"
#include "wire/wire.h"

enum msgpack_kind {
	MSGPACK_NIL,
	MSGPACK_BOOL,  /* bits: 0 or 1 */
	MSGPACK_UINT,  /* bits */
	MSGPACK_INT,   /* bits, negative in two's complement */
	MSGPACK_FLOAT, /* number */
	MSGPACK_STR,   /* `len` bytes follow, as for the two below */
	MSGPACK_BIN,
	MSGPACK_EXT,   /* the byte of its type is counted in len */
	MSGPACK_ARRAY, /* `len` values follow */
	MSGPACK_MAP,   /* `len` pairs of values follow */
};

struct msgpack_head {
	enum msgpack_kind kind;
	size_t size; /* of the head itself, with the bytes of a number */
	uint64_t len;
	uint64_t bits;
	double number;
};

enum msgpack_outcome {
	MSGPACK_DONE,
	MSGPACK_MORE,     /* right so far, unfinished */
	MSGPACK_BAD,      /* no MessagePack */
	MSGPACK_TOO_DEEP, /* nests deeper than allowed */
};

/* Reads the head that @s begins with: MSGPACK_DONE, MSGPACK_MORE or MSGPACK_BAD. */
enum msgpack_outcome msgpack_head_read(struct slice s, struct msgpack_head *ret);

/* Follows one value. Start with msgpack_skip_start. */
struct msgpack_skipper {
	unsigned depth, depth_max;
	uint64_t payload;                  /* bytes still to pass over */
	uint64_t left[WIRE_DEPTH_MAX + 1]; /* values still to come in each open container */
};

/* @depth_max: how many containers may be open at once; 0 for the default. */
void msgpack_skip_start(struct msgpack_skipper *s, unsigned depth_max);
/* Goes on with @bytes. @ret_used: MSGPACK_DONE up to the end of the value; MSGPACK_MORE what was
 * used up, which may be up to 8 bytes less than all (an incomplete head, to be shown again with
 * what follows); else up to the head at fault. */
enum msgpack_outcome msgpack_skip(struct msgpack_skipper *s, struct slice bytes, size_t *ret_used);
/* Length of the value that @s begins with, all of which must be there: MSGPACK_DONE, MSGPACK_BAD or
 * MSGPACK_TOO_DEEP; in the latter cases the place of the fault is in @ret_len. */
enum msgpack_outcome msgpack_value_len(struct slice s, unsigned depth_max, size_t *ret_len);

/* The library's packer on top of @out. A failed append shows in the result of every pack function
 * as a negative errno. */
void msgpack_to_buf(msgpack_packer *packer, struct buf *out);
int msgpack_put_text(msgpack_packer *packer, struct slice text);
int msgpack_put_bytes(msgpack_packer *packer, struct slice bytes);
/* The text, or nil where it is absent. */
int msgpack_put_optional(msgpack_packer *packer, struct slice text);
int msgpack_put_bool(msgpack_packer *packer, bool value);
