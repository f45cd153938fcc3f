/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

#define N_MEMBERS 12
/* More than the names, punctuation and heads of all members and the longest status take. */
#define FRAME_BYTES 256

static struct slice status_slice(enum status status)
{
	return slice_of(status_name(status));
}

/* Upper bound of an absent or present text. */
static size_t json_text_len(struct slice text)
{
	return text.data ? json_quoted_len(text) : strlen("null");
}

static size_t json_len(const struct response *p)
{
	return FRAME_BYTES + json_text_len(p->id) + json_text_len(p->script) +
	       base64_encoded_len(p->output.len) + p->additional_properties.len +
	       json_text_len(p->project_id) + json_text_len(p->user_id) + json_text_len(p->out) +
	       json_text_len(p->err) + json_text_len(p->request_sha256) +
	       json_text_len(p->routing_key);
}

static int json_name(struct buf *out, const char *name)
{
	int r = buf_append(out, ",\"", 2);

	if (r == 0)
		r = buf_append_text(out, name);
	return r < 0 ? r : buf_append(out, "\":", 2);
}

static int json_text(struct buf *out, const char *name, struct slice text)
{
	int r = json_name(out, name);

	if (r < 0)
		return r;
	return text.data ? json_quote(out, text) : buf_append_text(out, "null");
}

static int json_output(struct buf *out, struct slice output)
{
	int r = json_name(out, "output");

	if (r < 0)
		return r;
	return output.data ? base64_encode_quoted(out, output) : buf_append_text(out, "null");
}

static int json_additional(struct buf *out, struct slice raw)
{
	int r = json_name(out, "additionalProperties");

	if (r < 0)
		return r;
	return raw.len > 0 ? buf_append(out, raw.data, raw.len) : buf_append_text(out, "null");
}

/* What a program printed is a text in any case. */
static struct slice present(struct slice text)
{
	return text.data ? text : slice_of("");
}

static int json_encode(const struct response *p, struct buf *out)
{
	char *unused;
	int r = buf_reserve(out, json_len(p), &unused);

	if (r == 0)
		r = buf_append_text(out, "{\"id\":");
	if (r == 0)
		r = p->id.data ? json_quote(out, p->id) : buf_append_text(out, "null");
	if (r == 0)
		r = json_text(out, "script", p->script);
	if (r == 0)
		r = json_text(out, "status", status_slice(p->status));
	if (r == 0)
		r = json_output(out, p->output);
	if (r == 0)
		r = json_additional(out, p->additional_properties);
	if (r == 0)
		r = json_text(out, "projectId", p->project_id);
	if (r == 0)
		r = json_text(out, "userId", p->user_id);
	if (r == 0)
		r = json_text(out, "stdout", text_skip_cut(present(p->out)));
	if (r == 0)
		r = json_text(out, "stderr", text_skip_cut(present(p->err)));
	if (r == 0)
		r = json_text(out, "requestSHA256", p->request_sha256);
	if (r == 0)
		r = json_text(out, "routingKey", p->routing_key);
	if (r == 0)
		r = json_name(out, "useCache");
	return r < 0 ? r : buf_append_text(out, p->use_cache ? "true}" : "false}");
}

/* U+FFFD has three bytes and replaces one at the least. */
static size_t msgpack_text_len(struct slice text)
{
	return text_is_utf8(text) ? text.len : 3 * text.len;
}

static size_t msgpack_len(const struct response *p)
{
	return FRAME_BYTES + msgpack_text_len(p->id) + msgpack_text_len(p->script) + p->output.len +
	       p->additional_properties.len + msgpack_text_len(p->project_id) +
	       msgpack_text_len(p->user_id) + msgpack_text_len(p->out) + msgpack_text_len(p->err) +
	       msgpack_text_len(p->request_sha256) + msgpack_text_len(p->routing_key);
}

/* Text of any bytes, or nil where it is absent. */
static int msgpack_text(msgpack_packer *packer, const char *name, struct slice text)
{
	struct buf repaired = { 0 };
	int r = msgpack_put_text(packer, slice_of(name));

	if (r == 0 && text.data && !text_is_utf8(text)) {
		r = text_append_utf8(&repaired, text);
		text = buf_slice(&repaired);
	}
	if (r == 0)
		r = msgpack_put_optional(packer, text);
	buf_deinit(&repaired);
	return r;
}

static int msgpack_output(msgpack_packer *packer, struct slice output)
{
	int r = msgpack_put_text(packer, slice_of("output"));

	if (r < 0)
		return r;
	return output.data ? msgpack_put_bytes(packer, output) : msgpack_pack_nil(packer);
}

static int msgpack_additional(msgpack_packer *packer, struct buf *out, struct slice raw)
{
	int r = msgpack_put_text(packer, slice_of("additionalProperties"));

	if (r < 0)
		return r;
	return raw.len > 0 ? buf_append(out, raw.data, raw.len) : msgpack_pack_nil(packer);
}

static int msgpack_encode(const struct response *p, struct buf *out)
{
	msgpack_packer packer;
	char *unused;
	int r = buf_reserve(out, msgpack_len(p), &unused);

	msgpack_to_buf(&packer, out);
	if (r == 0)
		r = msgpack_pack_map(&packer, N_MEMBERS);
	if (r == 0)
		r = msgpack_text(&packer, "id", p->id);
	if (r == 0)
		r = msgpack_text(&packer, "script", p->script);
	if (r == 0)
		r = msgpack_text(&packer, "status", status_slice(p->status));
	if (r == 0)
		r = msgpack_output(&packer, p->output);
	if (r == 0)
		r = msgpack_additional(&packer, out, p->additional_properties);
	if (r == 0)
		r = msgpack_text(&packer, "projectId", p->project_id);
	if (r == 0)
		r = msgpack_text(&packer, "userId", p->user_id);
	if (r == 0)
		r = msgpack_text(&packer, "stdout", present(p->out));
	if (r == 0)
		r = msgpack_text(&packer, "stderr", present(p->err));
	if (r == 0)
		r = msgpack_text(&packer, "requestSHA256", p->request_sha256);
	if (r == 0)
		r = msgpack_text(&packer, "routingKey", p->routing_key);
	if (r == 0)
		r = msgpack_put_text(&packer, slice_of("useCache"));
	return r < 0 ? r : msgpack_put_bool(&packer, p->use_cache);
}

int response_encode(const struct response *response, struct buf *ret)
{
	size_t before = ret->len;
	int r = response->encoding == WIRE_JSON ? json_encode(response, ret)
						: msgpack_encode(response, ret);

	if (r < 0)
		ret->len = before;
	return r;
}
