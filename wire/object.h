/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A body that is one object: its members one after another, in JSON and in MessagePack alike, and
 * their values as C wants them. Requests, responses, control messages and the records that
 * libtaskiface writes are all read through this.
 *
 * Members are slices of the body: nothing is copied but names that hold escapes and values that are
 * asked for. Names are remembered, so that one that stands twice is found. Any thread, one at a
 * time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/wire.h"

/* What a body may hold, so that remembering names stays cheap. */
#define OBJECT_MEMBERS_MAX 256
#define OBJECT_NAME_MAX    256

struct object {
	enum wire_encoding encoding;
	unsigned depth_max; /* of a member's value */
	struct slice body;
	size_t at;
	uint64_t left; /* MessagePack: pairs still to come */
	bool started;
	unsigned n_members;
	struct buf names;   /* each as two bytes of length and the name */
	struct buf scratch; /* the last name that had escapes */
};

struct member {
	enum wire_encoding encoding;
	struct slice name;  /* valid until the next object_next */
	struct slice value; /* still encoded; valid as long as the body */
};

enum object_outcome {
	OBJECT_MEMBER,     /* one is in *ret */
	OBJECT_BAD_MEMBER, /* its name is repeated, too long or no text; the walk may go on */
	OBJECT_END,        /* that was all, and nothing stands behind the object */
	OBJECT_MALFORMED,  /* not of the encoding, or no object: the walk is over */
	OBJECT_OVER_LIMIT, /* too many members, or one nests too deep: the walk is over */
};

/* @body is kept until object_deinit. @depth_max: see WIRE_DEPTH_DEFAULT; 0 means that. */
void object_start(
	struct object *o, enum wire_encoding encoding, struct slice body, unsigned depth_max);
/* An object_outcome, or -ENOMEM. But for OBJECT_MEMBER and OBJECT_END, @err (may be NULL) says
 * why. */
int object_next(struct object *o, struct member *ret, struct error *err);
void object_deinit(struct object *o);

bool member_is(const struct member *m, const char *name);
bool member_is_null(const struct member *m);

/* The value as C wants it: 0, -EINVAL with a sentence that names the member, or -ENOMEM. @ret is
 * untouched after failure. */

/* A text without NUL, as an owned string. */
int member_text(const struct member *m, char **ret, struct error *err);
/* A text of any characters, appended to @ret (which after failure may hold a part). */
int member_append_text(const struct member *m, struct buf *ret, struct error *err);
int member_bool(const struct member *m, bool *ret, struct error *err);
/* A finite number. */
int member_number(const struct member *m, double *ret, struct error *err);
/* A text as above, a number as JSON would write it (whole ones up to 2^63 exactly), or "true" and
 * "false"; owned. */
int member_scalar(const struct member *m, char **ret, bool *ret_is_number, struct error *err);
/* Bytes: base64 in JSON, bin or str in MessagePack; into @ret, which is empty. More than @max (0:
 * no limit) are -EMSGSIZE, and never allocated. */
int member_bytes(const struct member *m, size_t max, struct buf *ret, struct error *err);
/* The elements of an array, one after another: 1 and the element (under the member's name), 0 after
 * the last, -EINVAL if it is no array. @at: 0 before the first. */
int member_element(const struct member *m, size_t *at, struct member *ret, struct error *err);
/* Whatever stands there, as it stands there; appended. */
int member_raw(const struct member *m, struct buf *ret);
