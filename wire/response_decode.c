/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/object.h"

/* Reads one member that is not null. 0, -EINVAL or -ENOMEM. */
typedef int read_fn(struct received_response *p, const struct member *m, struct error *err);

static int read_id(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->id, err);
}

static int read_script(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->script, err);
}

static int read_status(struct received_response *p, const struct member *m, struct error *err)
{
	char *name = NULL;
	int r = member_text(m, &name, err);

	if (r < 0)
		return r;
	r = status_parse(slice_of(name), &p->status);
	if (r < 0)
		error_set(err, r, "status %.32s is unknown", name);
	free(name);
	return r;
}

static int read_output(struct received_response *p, const struct member *m, struct error *err)
{
	p->has_output = true;
	return member_bytes(m, 0, &p->output, err);
}

static int read_additional(struct received_response *p, const struct member *m, struct error *err)
{
	(void)err;
	return member_raw(m, &p->additional_properties);
}

static int read_project_id(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->project_id, err);
}

static int read_user_id(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->user_id, err);
}

/* What a program printed may hold NUL, which a C string cannot: it shows as U+FFFD. */
static int read_printed(const struct member *m, char **ret, struct error *err)
{
	struct buf raw = { 0 }, text = { 0 };
	size_t at = 0;
	int r = member_append_text(m, &raw, err);

	while (r == 0 && at < raw.len) {
		const char *nul = memchr(raw.data + at, '\0', raw.len - at);
		size_t n = nul ? (size_t)(nul - raw.data) - at : raw.len - at;

		r = buf_append(&text, raw.data + at, n);
		if (r == 0 && nul)
			r = buf_append_text(&text, "\xEF\xBF\xBD");
		at += n + 1;
	}
	if (r == 0)
		r = buf_append(&text, "", 1);
	if (r == 0)
		*ret = buf_steal(&text, NULL);
	buf_deinit(&raw);
	buf_deinit(&text);
	return r;
}

static int read_stdout(struct received_response *p, const struct member *m, struct error *err)
{
	return read_printed(m, &p->out, err);
}

static int read_stderr(struct received_response *p, const struct member *m, struct error *err)
{
	return read_printed(m, &p->err, err);
}

static int read_sha256(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->request_sha256, err);
}

static int read_routing_key(struct received_response *p, const struct member *m, struct error *err)
{
	return member_text(m, &p->routing_key, err);
}

static int read_use_cache(struct received_response *p, const struct member *m, struct error *err)
{
	return member_bool(m, &p->use_cache, err);
}

static const struct {
	const char *name;
	read_fn *read;
	bool required; /* null is not enough */
} fields[] = {
	{ "id", read_id, true },
	{ "script", read_script },
	{ "status", read_status, true },
	{ "output", read_output },
	{ "additionalProperties", read_additional },
	{ "projectId", read_project_id },
	{ "userId", read_user_id },
	{ "stdout", read_stdout },
	{ "stderr", read_stderr },
	{ "requestSHA256", read_sha256 },
	{ "routingKey", read_routing_key },
	{ "useCache", read_use_cache, true },
};

#define N_FIELDS (sizeof(fields) / sizeof(*fields))

static int read_member(
	struct received_response *p, const struct member *m, unsigned *seen, struct error *err)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		if (!member_is(m, fields[i].name))
			continue;
		*seen |= 1u << i;
		if (!member_is_null(m))
			return fields[i].read(p, m, err);
		if (fields[i].required)
			return error_set(err, -EINVAL, "%s is null", fields[i].name);
		return 0;
	}
	return error_set(err, -EINVAL, "%.*s is not a member of a response",
		(int)(m->name.len < 64 ? m->name.len : 64), m->name.data);
}

static int check_complete(unsigned seen, struct error *err)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		if (!(seen & 1u << i))
			return error_set(err, -EINVAL, "%s is missing", fields[i].name);
	return 0;
}

/* "" where the member was null. */
static int fill_printed(char **text)
{
	if (!*text)
		*text = strdup("");
	return *text ? 0 : -ENOMEM;
}

int response_decode(struct slice body, const char *content_type, struct received_response *ret,
	struct error *err)
{
	unsigned seen = 0;
	struct object o;
	struct member m;
	int r;

	ret->encoding = wire_detect(content_type, body);
	object_start(&o, ret->encoding, body, WIRE_DEPTH_MAX);
	while ((r = object_next(&o, &m, err)) == OBJECT_MEMBER) {
		r = read_member(ret, &m, &seen, err);
		if (r < 0)
			break;
	}
	object_deinit(&o);
	if (r == OBJECT_END)
		r = check_complete(seen, err);
	else if (r > 0)
		r = -EINVAL;
	if (r == 0)
		r = fill_printed(&ret->out);
	if (r == 0)
		r = fill_printed(&ret->err);
	return r;
}

void received_response_deinit(struct received_response *response)
{
	free(response->id);
	free(response->script);
	buf_deinit(&response->output);
	buf_deinit(&response->additional_properties);
	free(response->project_id);
	free(response->user_id);
	free(response->out);
	free(response->err);
	free(response->request_sha256);
	free(response->routing_key);
	*response = (struct received_response){ 0 };
}
