/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A request: bytes <-> struct, in JSON and in MessagePack.
 *
 * Life: request_decode fills a zeroed struct, which owns copies of all it needs (the body may be
 * freed); request_deinit releases. Decoding never recurses on input and never allocates more than a
 * small multiple of the body. It tells the first thing that is wrong, but reads on where it can:
 * what could be read (id, script, routingKey and the rest) is in the struct, so that the sender can
 * be answered. Of a repeated field the first holds. Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/wire.h"

struct request {
	enum wire_encoding encoding;
	char *id;
	char *script;
	struct buf input; /* decoded bytes, possibly none */
	/* The whole time it may run, in milliseconds; 0 where the request names none (then the
	 * catalogue's, then the configuration's limit holds). timeoutSeconds wins over
	 * timeoutMinutes. */
	uint64_t timeout_ms;
	/* Whatever stood there, still encoded, echoed byte for byte; empty for absent (null). */
	struct buf additional_properties;
	char *user_id; /* NULL for absent or null, as the three below */
	char *project_id;
	char *request_sha256;
	char *routing_key;
	bool use_cache; /* true where absent */
	/* Ours, and not echoed: */
	char *group;    /* tasks that belong together, for who steers them; NULL: none */
	char *labels;   /* what it needs of what a runner has little of: "gpu,matlab"; NULL: nothing
			 */
	unsigned depth; /* of a task that was asked for by a task: before others; 0 to 100 */
	bool hold;      /* not to be started until it is played */
};

struct request_limits {
	size_t input_max; /* bytes of decoded input; 0: no limit */
	/* Nesting of additionalProperties; bounds the work of whoever reads the echo. */
	unsigned depth_max; /* 0: 512 */
};

enum request_outcome {
	REQUEST_OK,
	REQUEST_MALFORMED, /* not JSON or MessagePack, or not one object: protocol error */
	REQUEST_BAD_FIELD, /* missing, repeated, of the wrong type or impossible: protocol error */
	REQUEST_TOO_LARGE, /* input over the limit: refused */
};

/* Reads @body (borrowed for the call) into @ret (zeroed by the caller). Gives a request_outcome, or
 * -ENOMEM. On every outcome @ret is valid for request_deinit, and @err (may be NULL) says in words
 * what is wrong, naming the field.
 *
 * JSON: id and script are required; strings hold no NUL; a name that stands twice is refused (also
 * for fields we do not know); unknown fields are ignored; `null` counts as absent. input is base64
 * (RFC 4648 section 4, padded, no line breaks) and may be absent. timeoutMinutes and timeoutSeconds
 * are numbers > 0 (fractions allowed) up to ten years; routingKey has at most 255 bytes. A body has
 * at most 256 members, with names of at most 256 bytes. MessagePack: the same map with text keys;
 * input is bin (or str, whose bytes are taken). An id that breaks the rule of id_is_valid is a bad
 * field, but stays in @ret for the answer. group has 1 to 255 bytes. labels is an array of at most
 * 16 texts, each 1 to 64 letters, digits, '_', '.', ':' or '-'; depth a whole number from 0 to 100;
 * hold true or false. */
int request_decode(struct slice body, const char *content_type, const struct request_limits *limits,
	struct request *ret, struct error *err);

/* Writes @request in its encoding: for clients. Absent members are left out. 0 or -ENOMEM. */
int request_encode(const struct request *request, struct buf *ret);

/* Releases what it owns and zeroes it. */
void request_deinit(struct request *request);
