/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A response: exactly twelve members, in this order: id, script, status, output,
 * additionalProperties, projectId, userId, stdout, stderr, requestSHA256, routingKey, useCache.
 * Whatever else there is to say travels in AMQP headers (wire.h). Any thread, one at a time.
 */

#include "common/error.h"
#include "wire/wire.h"

/* What goes out; everything is borrowed for the call. An absent slice (data NULL) is written null,
 * but for out and err, which are always text ("" where absent). */
struct response {
	enum wire_encoding encoding;
	enum status status;
	struct slice id;
	struct slice script;
	struct slice output;                /* any bytes; JSON: base64 */
	struct slice additional_properties; /* encoded in `encoding`, as it stood in the request */
	struct slice project_id;
	struct slice user_id;
	struct slice out; /* stdout: any bytes, made UTF-8 on the way */
	struct slice err; /* stderr: the same */
	struct slice request_sha256;
	struct slice routing_key;
	bool use_cache;
};

/* Appends the body to @ret. One pass, one allocation for the whole. 0, -ENOMEM or -EMSGSIZE. */
int response_encode(const struct response *response, struct buf *ret);

/* What came in, owned by the struct. */
struct received_response {
	enum wire_encoding encoding;
	enum status status;
	char *id;
	char *script;
	bool has_output;
	struct buf output;                /* decoded bytes */
	struct buf additional_properties; /* still encoded; empty for null */
	char *project_id;
	char *user_id;
	char *out; /* UTF-8 text, never NULL after success */
	char *err;
	char *request_sha256;
	char *routing_key;
	bool use_cache;
};

/* As strict as the server this protocol comes from: an unknown, missing or repeated member or an
 * unknown status is -EINVAL, with @err saying which. 0, -EINVAL or -ENOMEM; @ret (zeroed by the
 * caller) is valid for received_response_deinit in any case. */
int response_decode(struct slice body, const char *content_type, struct received_response *ret,
	struct error *err);
void received_response_deinit(struct received_response *response);
