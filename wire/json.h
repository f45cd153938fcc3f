/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON (RFC 8259) without a tree: a recognizer that follows a value byte by byte, and text in and
 * out of its quotes. Never recurses and never allocates for what it only looks at, so input can
 * neither exhaust the stack nor ask for memory. Any thread, one at a time.
 */

#include "common/buf.h"
#include "wire/wire.h"

/* Follows one value, however its bytes are cut into pieces. Start with json_scan_start. */
struct json_scanner {
	int state;
	bool in_name;       /* the string that is read is the name of a member */
	unsigned char left; /* bytes still to come of a literal, an escape or a character */
	unsigned char low, high;
	const char *literal;
	unsigned depth, depth_max;
	unsigned char is_object[WIRE_DEPTH_MAX / 8]; /* a bit for each open container */
};

enum json_outcome {
	JSON_MORE,     /* right so far, unfinished */
	JSON_DONE,     /* the value is complete */
	JSON_BAD,      /* no JSON */
	JSON_TOO_DEEP, /* may be JSON, but nests deeper than allowed */
};

/* @depth_max: how many containers may be open at once; 0 for the default. */
void json_scan_start(struct json_scanner *s, unsigned depth_max);
/* Goes on with @bytes. @ret_used: JSON_MORE all of them; JSON_DONE up to the end of the value (a
 * number outside containers ends before the byte that cannot belong to it); else up to the byte at
 * fault. After anything but JSON_MORE the scanner is of no further use. */
enum json_outcome json_scan(struct json_scanner *s, struct slice bytes, size_t *ret_used);

/* Length of the value that @s begins with (no white space before it), all of which must be there:
 * JSON_DONE, or JSON_BAD or JSON_TOO_DEEP with the place of the fault in @ret_len. */
enum json_outcome json_value_len(struct slice s, unsigned depth_max, size_t *ret_len);

/* How many bytes of white space @s begins with. */
size_t json_space_len(struct slice s);

/* Appends what the string literal @quoted (with its quotes, recognized before) stands for, as
 * UTF-8. 0, -EINVAL where an escape names half a surrogate pair, -ENOMEM or -EMSGSIZE; @out may
 * then hold a part. */
int json_unquote(struct buf *out, struct slice quoted);

/* Appends @text as a string literal with its quotes; what is not UTF-8 becomes U+FFFD. 0, -ENOMEM
 * or -EMSGSIZE. */
int json_quote(struct buf *out, struct slice text);
/* How many bytes json_quote appends. */
size_t json_quoted_len(struct slice text);
