/* SPDX-License-Identifier: Apache-2.0 */

/* Any body as a request, in both encodings. What was read is written and read again: the same must
 * come out. */

#include <string.h>

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "wire/request.h"

static bool same_text(const char *a, const char *b)
{
	return slice_equal(slice_of(a), b);
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check_round_trip(const struct request *q)
{
	struct request back = { 0 };
	struct buf body = { 0 };
	struct error err = { 0 };

	promise(request_encode(q, &body) == 0);
	promise(request_decode(buf_slice(&body), wire_content_type(q->encoding), NULL, &back,
			&err) == REQUEST_OK);
	promise(same_text(q->id, back.id));
	promise(same_text(q->script, back.script));
	promise(same_bytes(&q->input, &back.input));
	promise(same_bytes(&q->additional_properties, &back.additional_properties));
	promise(same_text(q->user_id, back.user_id));
	promise(same_text(q->project_id, back.project_id));
	promise(same_text(q->request_sha256, back.request_sha256));
	promise(same_text(q->routing_key, back.routing_key));
	promise(q->timeout_ms == back.timeout_ms);
	promise(q->use_cache == back.use_cache);
	request_deinit(&back);
	buf_deinit(&body);
}

static void decode(struct slice body, const char *content_type, const struct request_limits *limits)
{
	struct request q = { 0 };
	struct error err = { 0 };
	int r = request_decode(body, content_type, limits, &q, &err);

	promise(r >= REQUEST_OK && r <= REQUEST_TOO_LARGE);
	/* Not more than the body holds, whatever it says. */
	promise(q.input.len <= body.len && q.additional_properties.len <= body.len);
	promise(q.input.cap <= 2 * body.len + 64 &&
		q.additional_properties.cap <= 2 * body.len + 64);
	if (r == REQUEST_OK) {
		promise(id_is_valid(slice_of(q.id)) && q.script);
		promise(!limits || limits->input_max == 0 || q.input.len <= limits->input_max);
		if (!limits)
			check_round_trip(&q);
	} else {
		promise(err.text[0] != '\0');
	}
	if (q.id)
		promise(text_is_utf8(slice_of(q.id)));
	request_deinit(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct request_limits limits = { .input_max = 8, .depth_max = 3 };
	struct slice body = { (const char *)data, size };

	decode(body, NULL, NULL);
	decode(body,
		wire_detect(NULL, body) == WIRE_JSON ? "application/msgpack" : "application/json",
		NULL);
	decode(body, NULL, &limits);
	return 0;
}
