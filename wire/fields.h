/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages whose members are short texts: in a body, which is an object in JSON or MessagePack, or
 * as headers of a message without a body, with "x-tr-" before their names. Any thread.
 */

#include "common/error.h"
#include "wire/wire.h"

struct text_field {
	const char *name; /* up to 24 bytes */
	char **value;     /* owned; NULL: not there */
	bool or_number;   /* may be written as a number, too, or as true or false */
};

#define FIELDS_NUMBER_SIZE 24
/* Gives the @index th header as text, which for one that is no text may be put into @number; NULL
 * after the last. */
typedef const char *(*fields_get_fn)(size_t index, const char **ret_name, bool *ret_is_text,
	char number[FIELDS_NUMBER_SIZE], void *userdata);
/* 0 or a negative errno, which is given on. */
typedef int (*fields_put_fn)(const char *header, const char *text, void *userdata);

/* Read what is there. @ret_other (may be NULL) gets the name of a member that is none of the
 * fields, or
 * ""; of headers only those count that begin with "x-tr-". 0, -EINVAL or -ENOMEM. */
#define FIELDS_OTHER_SIZE 64
int fields_decode(enum wire_encoding encoding, struct slice body, const struct text_field *fields,
	size_t n, char ret_other[FIELDS_OTHER_SIZE], struct error *err);
int fields_get(const struct text_field *fields, size_t n, fields_get_fn get, void *userdata,
	char ret_other[FIELDS_OTHER_SIZE], struct error *err);
/* On failure @out is as it was. */
int fields_encode(
	enum wire_encoding encoding, const struct text_field *fields, size_t n, struct buf *out);
int fields_put(const struct text_field *fields, size_t n, fields_put_fn put, void *userdata);

/* The number of @name among @names, or -EINVAL; it is the member "op". */
int fields_parse_op(const char *const names[], size_t n, const char *name, struct error *err);
/* The member "id": 0 or -EINVAL. */
int fields_check_id(const char *id, struct error *err);
