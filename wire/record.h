/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A flat object of texts and numbers: what runners answer to control messages. In a body (JSON or
 * MessagePack), or as headers of a message without one: "x-tr-" before the name, '-' for '_'.
 *
 * Life: zeroed; record_add_… while it is made, whose failures are kept in `failed` until it is
 * encoded, or record_decode; record_deinit. Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/fields.h"
#include "wire/wire.h"

#define RECORD_MEMBERS_MAX 64

struct record_member {
	char *name; /* both owned */
	char *text; /* of a number: as JSON writes it */
	bool is_number;
};

struct record {
	struct record_member *members; /* in the order in which they were added */
	size_t n;
	bool failed; /* one was not added: no memory, or too many */
};

/* A name that stands already is replaced. NULL is not added. */
void record_add_text(struct record *r, const char *name, const char *text);
void record_add_int(struct record *r, const char *name, int64_t number);
/* Not if it is no finite number. */
void record_add_number(struct record *r, const char *name, double number);
/* Of a header; nothing if its name does not begin with "x-tr-". */
void record_add_header(struct record *r, const char *header, const char *text);

/* NULL where there is no such member. A number is given as text, too. */
const char *record_text(const struct record *r, const char *name);
/* False where there is none, or it is no (whole) number. */
bool record_int(const struct record *r, const char *name, int64_t *ret);
bool record_number(const struct record *r, const char *name, double *ret);

/* On failure (-ENOMEM) @ret is as it was. */
int record_encode(enum wire_encoding encoding, const struct record *r, struct buf *ret);
/* Texts, numbers, true and false (as texts); other members are left out. 0, -EINVAL with a sentence
 * in @err, or -ENOMEM; @ret (zeroed) is valid for record_deinit. */
int record_decode(
	struct slice body, const char *content_type, struct record *ret, struct error *err);
int record_put_headers(const struct record *r, fields_put_fn put, void *userdata);
void record_deinit(struct record *r);
