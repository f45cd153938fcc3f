/* SPDX-License-Identifier: Apache-2.0 */

/* Any body as a response. What was read is written and read again: the same must come out. */

#include <string.h>

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "wire/response.h"

static bool same_text(const char *a, const char *b)
{
	return slice_equal(slice_of(a), b);
}

static struct response to_send(const struct received_response *p)
{
	struct response out = {
		.encoding = p->encoding,
		.status = p->status,
		.id = slice_of(p->id),
		.script = slice_of(p->script),
		.additional_properties = buf_slice(&p->additional_properties),
		.project_id = slice_of(p->project_id),
		.user_id = slice_of(p->user_id),
		.out = slice_of(p->out),
		.err = slice_of(p->err),
		.request_sha256 = slice_of(p->request_sha256),
		.routing_key = slice_of(p->routing_key),
		.use_cache = p->use_cache,
	};

	if (p->has_output)
		out.output = buf_slice(&p->output);
	return out;
}

static void check_round_trip(const struct received_response *p)
{
	struct received_response back = { 0 };
	struct response out = to_send(p);
	struct buf body = { 0 };

	promise(response_encode(&out, &body) == 0);
	promise(response_decode(buf_slice(&body), wire_content_type(p->encoding), &back, NULL) ==
		0);
	promise(back.status == p->status && back.use_cache == p->use_cache);
	promise(same_text(back.id, p->id) && same_text(back.script, p->script));
	promise(same_text(back.out, p->out) && same_text(back.err, p->err));
	promise(same_text(back.project_id, p->project_id) && same_text(back.user_id, p->user_id));
	promise(same_text(back.request_sha256, p->request_sha256));
	promise(same_text(back.routing_key, p->routing_key));
	promise(back.has_output == p->has_output && back.output.len == p->output.len);
	promise(p->output.len == 0 || memcmp(back.output.data, p->output.data, p->output.len) == 0);
	promise(back.additional_properties.len == p->additional_properties.len);
	received_response_deinit(&back);
	buf_deinit(&body);
}

/* Any bytes as what a program printed and put out: what is made of them is a right
 * response. */
static void check_encoding(enum wire_encoding encoding, struct slice bytes)
{
	struct response out = { .encoding = encoding,
		.status = STATUS_FAILED,
		.id = slice_of("x"),
		.script = bytes.len % 2 ? slice_of("s") : (struct slice){ 0 },
		.output = bytes,
		.out = bytes,
		.err = bytes };
	struct received_response back = { 0 };
	struct buf body = { 0 };
	struct error err = { 0 };

	promise(response_encode(&out, &body) == 0);
	promise(response_decode(buf_slice(&body), wire_content_type(encoding), &back, &err) == 0);
	promise(back.output.len == bytes.len);
	promise(bytes.len == 0 || memcmp(back.output.data, bytes.data, bytes.len) == 0);
	promise(text_is_utf8(slice_of(back.out)) && same_text(back.out, back.err));
	received_response_deinit(&back);
	buf_deinit(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body = { (const char *)data, size };
	struct received_response p = { 0 };
	struct error err = { 0 };
	int r = response_decode(body, NULL, &p, &err);

	promise(r == 0 || (r < 0 && err.text[0] != '\0'));
	if (r == 0)
		check_round_trip(&p);
	received_response_deinit(&p);
	check_encoding(WIRE_JSON, body);
	check_encoding(WIRE_MSGPACK, body);
	return 0;
}
