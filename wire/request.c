/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/request.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/msgpack.h"
#include "wire/object.h"

#define MS_PER_SECOND  1000.0
#define MS_PER_MINUTE  60000.0
#define TIMEOUT_MAX_MS (10 * 365 * 86400 * MS_PER_SECOND)
/* The longest routing key that AMQP can carry. */
#define ROUTING_KEY_MAX 255
#define GROUP_MAX       255
#define LABELS_MAX      16
#define DEPTH_MAX       100

struct decoding {
	struct request *request;
	const struct request_limits *limits;
	uint64_t minutes_ms, seconds_ms;
	int outcome; /* of the first fault; REQUEST_OK while there is none */
	struct error *err;
};

/* Reads one member. A request_outcome with a sentence in @err, or -ENOMEM. */
typedef int read_fn(struct decoding *d, const struct member *m, struct error *err);

/* What a member_… function gave, as a request_outcome. */
static int outcome_of(int r)
{
	return r == -EINVAL ? REQUEST_BAD_FIELD : r == -EMSGSIZE ? REQUEST_TOO_LARGE : r;
}

static int bad(struct error *err, const char *sentence)
{
	error_set(err, -EINVAL, "%s", sentence);
	return REQUEST_BAD_FIELD;
}

static int read_id(struct decoding *d, const struct member *m, struct error *err)
{
	int r = member_text(m, &d->request->id, err);

	if (r < 0)
		return outcome_of(r);
	/* An unusable one stays for the answer; whoever runs it asks id_is_valid first. */
	if (!id_is_valid(slice_of(d->request->id)))
		return bad(
			err, "id must be 1 to 128 bytes without '/', and neither \".\" nor \"..\"");
	return REQUEST_OK;
}

static int read_script(struct decoding *d, const struct member *m, struct error *err)
{
	int r = member_text(m, &d->request->script, err);

	if (r < 0)
		return outcome_of(r);
	return *d->request->script == '\0' ? bad(err, "script is empty") : REQUEST_OK;
}

static int read_input(struct decoding *d, const struct member *m, struct error *err)
{
	size_t max = d->limits ? d->limits->input_max : 0;

	return outcome_of(member_bytes(m, max, &d->request->input, err));
}

static int read_timeout(
	const struct member *m, double ms_per_unit, uint64_t *ret_ms, struct error *err)
{
	double number, ms;
	int r = member_number(m, &number, err);

	if (r < 0)
		return outcome_of(r);
	/* Upwards, so that more than nothing never becomes 0, which would mean no limit. */
	ms = ceil(number * ms_per_unit);
	if (!(number > 0) || ms > TIMEOUT_MAX_MS) {
		error_set(err, -EINVAL, "%.*s must be more than 0 and at most ten years",
			(int)m->name.len, m->name.data);
		return REQUEST_BAD_FIELD;
	}
	*ret_ms = (uint64_t)ms;
	return REQUEST_OK;
}

static int read_minutes(struct decoding *d, const struct member *m, struct error *err)
{
	return read_timeout(m, MS_PER_MINUTE, &d->minutes_ms, err);
}

static int read_seconds(struct decoding *d, const struct member *m, struct error *err)
{
	return read_timeout(m, MS_PER_SECOND, &d->seconds_ms, err);
}

static int read_additional(struct decoding *d, const struct member *m, struct error *err)
{
	(void)err;
	return member_raw(m, &d->request->additional_properties);
}

static int read_user_id(struct decoding *d, const struct member *m, struct error *err)
{
	return outcome_of(member_text(m, &d->request->user_id, err));
}

static int read_project_id(struct decoding *d, const struct member *m, struct error *err)
{
	return outcome_of(member_text(m, &d->request->project_id, err));
}

static int read_sha256(struct decoding *d, const struct member *m, struct error *err)
{
	return outcome_of(member_text(m, &d->request->request_sha256, err));
}

static int read_routing_key(struct decoding *d, const struct member *m, struct error *err)
{
	char *key = NULL;
	int r = member_text(m, &key, err);

	if (r < 0)
		return outcome_of(r);
	if (strlen(key) > ROUTING_KEY_MAX) {
		free(key);
		return bad(err, "routingKey is longer than 255 bytes");
	}
	d->request->routing_key = key;
	return REQUEST_OK;
}

static int read_use_cache(struct decoding *d, const struct member *m, struct error *err)
{
	return outcome_of(member_bool(m, &d->request->use_cache, err));
}

static int read_group(struct decoding *d, const struct member *m, struct error *err)
{
	int r = member_text(m, &d->request->group, err);

	if (r < 0)
		return outcome_of(r);
	r = (int)strlen(d->request->group);
	return r < 1 || r > GROUP_MAX ? bad(err, "group must be 1 to 255 bytes") : REQUEST_OK;
}

static int add_label(struct buf *labels, const struct member *m, struct error *err)
{
	char *label = NULL;
	int r = member_text(m, &label, err);

	if (r == 0 && !text_is_label(label))
		r = error_set(err, -EINVAL,
			"labels: each is 1 to 64 letters, digits, '_', '.', ':' or '-'");
	if (r == 0)
		r = buf_printf(labels, "%s%s", labels->len > 0 ? "," : "", label);
	free(label);
	return r;
}

static int read_labels(struct decoding *d, const struct member *m, struct error *err)
{
	struct buf labels = { 0 };
	struct member element;
	size_t at = 0;
	int r, n = 0;

	while ((r = member_element(m, &at, &element, err)) > 0 && r != -ENOMEM) {
		r = ++n > LABELS_MAX ? error_set(err, -EINVAL, "labels: at most 16")
				     : add_label(&labels, &element, err);
		if (r < 0)
			break;
	}
	if (r == 0 && labels.len > 0)
		r = buf_append(&labels, "", 1);
	if (r == 0)
		d->request->labels = buf_steal(&labels, NULL);
	buf_deinit(&labels);
	return outcome_of(r);
}

static int read_depth(struct decoding *d, const struct member *m, struct error *err)
{
	double number;
	int r = member_number(m, &number, err);

	if (r < 0)
		return outcome_of(r);
	if (!(number >= 0 && number <= DEPTH_MAX) || number != floor(number))
		return bad(err, "depth must be a whole number from 0 to 100");
	d->request->depth = (unsigned)number;
	return REQUEST_OK;
}

static int read_hold(struct decoding *d, const struct member *m, struct error *err)
{
	return outcome_of(member_bool(m, &d->request->hold, err));
}

static const struct {
	const char *name;
	read_fn *read;
} fields[] = {
	{ "id", read_id },
	{ "script", read_script },
	{ "input", read_input },
	{ "timeoutMinutes", read_minutes },
	{ "timeoutSeconds", read_seconds },
	{ "additionalProperties", read_additional },
	{ "userId", read_user_id },
	{ "projectId", read_project_id },
	{ "requestSHA256", read_sha256 },
	{ "routingKey", read_routing_key },
	{ "useCache", read_use_cache },
	{ "group", read_group },
	{ "labels", read_labels },
	{ "depth", read_depth },
	{ "hold", read_hold },
};

/* Keeps the first fault; the walk goes on behind it, for what else can be read. */
static void fault(struct decoding *d, int outcome, const struct error *why)
{
	if (d->outcome != REQUEST_OK)
		return;
	d->outcome = outcome;
	if (d->err)
		*d->err = *why;
}

/* REQUEST_OK, another outcome, or -ENOMEM. */
static int read_member(struct decoding *d, const struct member *m, struct error *err)
{
	if (member_is_null(m))
		return REQUEST_OK;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (member_is(m, fields[i].name))
			return fields[i].read(d, m, err);
	return REQUEST_OK;
}

static int read_members(struct decoding *d, struct object *o)
{
	struct error err = { 0 };
	struct member m;
	int r;

	while ((r = object_next(o, &m, &err)) != OBJECT_END) {
		if (r < 0)
			return r;
		if (r == OBJECT_MEMBER) {
			r = read_member(d, &m, &err);
			if (r < 0)
				return r;
			if (r != REQUEST_OK)
				fault(d, r, &err);
			continue;
		}
		fault(d, r == OBJECT_MALFORMED ? REQUEST_MALFORMED : REQUEST_BAD_FIELD, &err);
		if (r != OBJECT_BAD_MEMBER)
			break;
	}
	return 0;
}

static void require(struct decoding *d, const char *value, const char *name)
{
	struct error err = { 0 };

	if (value)
		return;
	error_set(&err, -EINVAL, "%s is missing", name);
	fault(d, REQUEST_BAD_FIELD, &err);
}

int request_decode(struct slice body, const char *content_type, const struct request_limits *limits,
	struct request *ret, struct error *err)
{
	struct decoding d = { .request = ret, .limits = limits, .err = err };
	struct object o;
	int r;

	ret->encoding = wire_detect(content_type, body);
	ret->use_cache = true;
	object_start(&o, ret->encoding, body, limits ? limits->depth_max : 0);
	r = read_members(&d, &o);
	object_deinit(&o);
	if (r < 0)
		return error_set(err, r, "not enough memory for the request");
	require(&d, ret->id, "id");
	require(&d, ret->script, "script");
	ret->timeout_ms = d.seconds_ms > 0 ? d.seconds_ms : d.minutes_ms;
	return d.outcome;
}

void request_deinit(struct request *request)
{
	free(request->id);
	free(request->script);
	buf_deinit(&request->input);
	buf_deinit(&request->additional_properties);
	free(request->user_id);
	free(request->project_id);
	free(request->request_sha256);
	free(request->routing_key);
	free(request->group);
	free(request->labels);
	*request = (struct request){ 0 };
}

/* ,"name":"text" unless it is absent. */
static int json_member(struct buf *out, const char *name, const char *text)
{
	int r;

	if (!text)
		return 0;
	r = buf_printf(out, ",\"%s\":", name);
	return r < 0 ? r : json_quote(out, slice_of(text));
}

/* Whole minutes as every receiver knows them; anything finer as seconds. */
static int json_timeout(struct buf *out, uint64_t ms)
{
	if (ms == 0)
		return 0;
	if (ms % 60000 == 0)
		return buf_printf(out, ",\"timeoutMinutes\":%llu", (unsigned long long)ms / 60000);
	if (ms % 1000 == 0)
		return buf_printf(out, ",\"timeoutSeconds\":%llu", (unsigned long long)ms / 1000);
	return buf_printf(out, ",\"timeoutSeconds\":%llu.%03llu", (unsigned long long)ms / 1000,
		(unsigned long long)ms % 1000);
}

static int json_input(struct buf *out, const struct buf *input)
{
	/* Room for all of it, and for the short members that follow, at once. */
	char *unused;
	int r = buf_reserve(out, base64_encoded_len(input->len) + 1024, &unused);

	if (r == 0)
		r = buf_append_text(out, ",\"input\":");
	return r < 0 ? r : base64_encode_quoted(out, buf_slice(input));
}

static int json_additional(struct buf *out, const struct buf *raw)
{
	int r;

	if (raw->len == 0)
		return 0;
	r = buf_append_text(out, ",\"additionalProperties\":");
	return r < 0 ? r : buf_append(out, raw->data, raw->len);
}

/* The next of a list with commas; NULL data behind the last. */
static struct slice next_label(const char **at)
{
	struct slice label = { *at, strcspn(*at, ",") };

	if (!**at)
		return (struct slice){ 0 };
	*at += label.len + ((*at)[label.len] == ',');
	return label;
}

static int json_labels(struct buf *out, const char *labels)
{
	struct slice label;
	int r = labels ? buf_append_text(out, ",\"labels\":[") : 0;

	for (bool first = true; r == 0 && labels && (label = next_label(&labels)).data;
		first = false) {
		if (!first)
			r = buf_append_text(out, ",");
		if (r == 0)
			r = json_quote(out, label);
	}
	return r == 0 && labels ? buf_append_text(out, "]") : r;
}

static int json_encode(const struct request *q, struct buf *out)
{
	int r = buf_append_text(out, "{\"id\":");

	if (r == 0)
		r = json_quote(out, slice_of(q->id));
	if (r == 0)
		r = json_member(out, "script", q->script);
	if (r == 0)
		r = json_input(out, &q->input);
	if (r == 0)
		r = json_timeout(out, q->timeout_ms);
	if (r == 0)
		r = json_additional(out, &q->additional_properties);
	if (r == 0)
		r = json_member(out, "userId", q->user_id);
	if (r == 0)
		r = json_member(out, "projectId", q->project_id);
	if (r == 0)
		r = json_member(out, "requestSHA256", q->request_sha256);
	if (r == 0)
		r = json_member(out, "routingKey", q->routing_key);
	if (r == 0)
		r = json_member(out, "group", q->group);
	if (r == 0)
		r = json_labels(out, q->labels);
	if (r == 0 && q->depth)
		r = buf_printf(out, ",\"depth\":%u", q->depth);
	if (r == 0 && q->hold)
		r = buf_append_text(out, ",\"hold\":true");
	if (r == 0)
		r = buf_printf(out, ",\"useCache\":%s}", q->use_cache ? "true" : "false");
	return r;
}

static int msgpack_member(msgpack_packer *packer, const char *name, const char *text)
{
	int r;

	if (!text)
		return 0;
	r = msgpack_put_text(packer, slice_of(name));
	return r < 0 ? r : msgpack_put_text(packer, slice_of(text));
}

static int msgpack_timeout(msgpack_packer *packer, uint64_t ms)
{
	int r;

	if (ms == 0)
		return 0;
	if (ms % 60000 == 0) {
		r = msgpack_put_text(packer, slice_of("timeoutMinutes"));
		return r < 0 ? r : msgpack_pack_uint64(packer, ms / 60000);
	}
	r = msgpack_put_text(packer, slice_of("timeoutSeconds"));
	return r < 0 ? r : msgpack_pack_double(packer, (double)ms / MS_PER_SECOND);
}

static int msgpack_input(msgpack_packer *packer, struct buf *out, const struct buf *input)
{
	char *unused;
	int r = buf_reserve(out, input->len + 1024, &unused);

	if (r == 0)
		r = msgpack_put_text(packer, slice_of("input"));
	return r < 0 ? r : msgpack_put_bytes(packer, buf_slice(input));
}

static int msgpack_additional(msgpack_packer *packer, struct buf *out, const struct buf *raw)
{
	int r;

	if (raw->len == 0)
		return 0;
	r = msgpack_put_text(packer, slice_of("additionalProperties"));
	return r < 0 ? r : buf_append(out, raw->data, raw->len);
}

static int msgpack_labels(msgpack_packer *packer, const char *labels)
{
	const char *at = labels;
	size_t n = 0;
	int r;

	if (!labels)
		return 0;
	while (next_label(&at).data)
		n++;
	r = msgpack_put_text(packer, slice_of("labels"));
	if (r == 0)
		r = msgpack_pack_array(packer, n);
	for (at = labels; r == 0 && n > 0; n--)
		r = msgpack_put_text(packer, next_label(&at));
	return r;
}

static int msgpack_steering(msgpack_packer *packer, const struct request *q)
{
	int r = msgpack_member(packer, "group", q->group);

	if (r == 0)
		r = msgpack_labels(packer, q->labels);
	if (r == 0 && q->depth)
		r = msgpack_put_text(packer, slice_of("depth"));
	if (r == 0 && q->depth)
		r = msgpack_pack_uint64(packer, q->depth);
	if (r == 0 && q->hold)
		r = msgpack_put_text(packer, slice_of("hold"));
	if (r == 0 && q->hold)
		r = msgpack_put_bool(packer, true);
	return r;
}

static unsigned n_members(const struct request *q)
{
	/* id, script, input and useCache are always there. */
	return 4u + (q->timeout_ms > 0) + (q->additional_properties.len > 0) + !!q->user_id +
	       !!q->project_id + !!q->request_sha256 + !!q->routing_key + !!q->group + !!q->labels +
	       (q->depth > 0) + q->hold;
}

static int msgpack_encode(const struct request *q, struct buf *out)
{
	msgpack_packer packer;
	int r;

	msgpack_to_buf(&packer, out);
	r = msgpack_pack_map(&packer, n_members(q));
	if (r == 0)
		r = msgpack_member(&packer, "id", q->id);
	if (r == 0)
		r = msgpack_member(&packer, "script", q->script);
	if (r == 0)
		r = msgpack_input(&packer, out, &q->input);
	if (r == 0)
		r = msgpack_timeout(&packer, q->timeout_ms);
	if (r == 0)
		r = msgpack_additional(&packer, out, &q->additional_properties);
	if (r == 0)
		r = msgpack_member(&packer, "userId", q->user_id);
	if (r == 0)
		r = msgpack_member(&packer, "projectId", q->project_id);
	if (r == 0)
		r = msgpack_member(&packer, "requestSHA256", q->request_sha256);
	if (r == 0)
		r = msgpack_member(&packer, "routingKey", q->routing_key);
	if (r == 0)
		r = msgpack_steering(&packer, q);
	if (r == 0)
		r = msgpack_put_text(&packer, slice_of("useCache"));
	return r < 0 ? r : msgpack_put_bool(&packer, q->use_cache);
}

int request_encode(const struct request *request, struct buf *ret)
{
	size_t before = ret->len;
	int r = request->encoding == WIRE_JSON ? json_encode(request, ret)
					       : msgpack_encode(request, ret);

	if (r < 0)
		ret->len = before;
	return r;
}
