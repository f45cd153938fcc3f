/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/text.h"
#include "wire/msgpack.h"
#include "wire/request.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define N(table)       (sizeof(table) / sizeof(*(table)))

/* As the ancestor's server sends it. */
static const char full[] =
	"{\"type\":\"GOLLM\",\"id\":\"2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11\","
	"\"script\":\"gollm:model_card\",\"input\":\"eyJhIjoxfQ==\",\"timeoutMinutes\":45,"
	"\"additionalProperties\":{\"b\": [1, 2.50, null],\"a\":\"\\u00e4\"},\"userId\":\"u-1\","
	"\"projectId\":\"8a7f\",\"requestSHA256\":\"abc=\",\"routingKey\":\"rk\",\"useCache\":"
	"false}";

static int decode(struct slice body, struct request *q, struct error *err)
{
	memset(q, 0, sizeof(*q));
	memset(err, 0, sizeof(*err));
	return request_decode(body, NULL, NULL, q, err);
}

static void assert_full(const struct request *q)
{
	assert_string_equal(q->id, "2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11");
	assert_string_equal(q->script, "gollm:model_card");
	assert_true(slice_equal(buf_slice(&q->input), "{\"a\":1}"));
	assert_int_equal(q->timeout_ms, 45 * 60000);
	assert_string_equal(q->user_id, "u-1");
	assert_string_equal(q->project_id, "8a7f");
	assert_string_equal(q->request_sha256, "abc=");
	assert_string_equal(q->routing_key, "rk");
	assert_false(q->use_cache);
}

static void test_a_full_request(void **state)
{
	struct request q;
	struct error err;

	(void)state;
	assert_int_equal(decode(slice_of(full), &q, &err), REQUEST_OK);
	assert_int_equal(q.encoding, WIRE_JSON);
	assert_full(&q);
	/* Byte for byte, with its spaces and escapes. */
	assert_true(slice_equal(
		buf_slice(&q.additional_properties), "{\"b\": [1, 2.50, null],\"a\":\"\\u00e4\"}"));
	request_deinit(&q);
	assert_null(q.id);
	request_deinit(&q);
}

static void test_the_least_request(void **state)
{
	static const char *const bodies[] = {
		" {\"id\":\"x\",\"script\":\"s\"}\r\n",
		"{\"script\":\"s\",\"id\":\"x\",\"input\":null,\"timeoutMinutes\":null,"
		"\"timeoutSeconds\":null,\"additionalProperties\":null,\"userId\":null,"
		"\"projectId\":null,\"requestSHA256\":null,\"routingKey\":null,\"useCache\":null}",
		"{\"\\u0069d\":\"\\u0078\",\"unknown\":[{}],\"script\":\"s\",\"input\":\"\"}",
	};

	(void)state;
	for (size_t i = 0; i < N(bodies); i++) {
		struct request q;
		struct error err;

		assert_int_equal(decode(slice_of(bodies[i]), &q, &err), REQUEST_OK);
		assert_string_equal(q.id, "x");
		assert_string_equal(q.script, "s");
		assert_int_equal(q.input.len, 0);
		assert_int_equal(q.timeout_ms, 0);
		assert_int_equal(q.additional_properties.len, 0);
		assert_null(q.user_id);
		assert_null(q.project_id);
		assert_null(q.request_sha256);
		assert_null(q.routing_key);
		assert_true(q.use_cache);
		request_deinit(&q);
	}
}

struct fault_case {
	const char *body;
	int outcome;
	const char *says;
};

static void assert_faults(const struct fault_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct request q;
		struct error err;
		int r = decode(slice_of(cases[i].body), &q, &err);

		if (r != cases[i].outcome || !strstr(err.text, cases[i].says))
			print_error("%s\n -> %d %s\n", cases[i].body, r, err.text);
		assert_int_equal(r, cases[i].outcome);
		assert_non_null(strstr(err.text, cases[i].says));
		request_deinit(&q);
	}
}

static void test_no_json(void **state)
{
	static const struct fault_case cases[] = {
		{ "", REQUEST_MALFORMED, "not a JSON object" },
		{ "null", REQUEST_MALFORMED, "not a JSON object" },
		{ "[1]", REQUEST_MALFORMED, "not a JSON object" },
		{ "\"id\"", REQUEST_MALFORMED, "not a JSON object" },
		{ "hello", REQUEST_MALFORMED, "not a JSON object" },
		{ "{", REQUEST_MALFORMED, "not valid JSON at byte 1" },
		{ "{\"id\":\"x\",\"script\":\"s\"", REQUEST_MALFORMED,
			"not valid JSON at byte 22" },
		{ "{\"id\":\"x\",\"script\":\"s\",}", REQUEST_MALFORMED, "not valid JSON" },
		{ "{\"id\":\"x\" \"script\":\"s\"}", REQUEST_MALFORMED,
			"not valid JSON at byte 10" },
		{ "{\"id\":\"x\",\"script\":\"s\"} x", REQUEST_MALFORMED,
			"not valid JSON at byte 24" },
		{ "{\"id\":\"x\",\"script\":\"s\"}{}", REQUEST_MALFORMED, "not valid JSON" },
		{ "{\"id\":\"x\",\"script\":\"s\",\"a\":01}", REQUEST_MALFORMED, "not valid JSON" },
		{ "{\"id\":\"x\",\"script\":\"\xFF\"}", REQUEST_MALFORMED, "not valid JSON" },
		{ "{\"id\":\"x\ny\",\"script\":\"s\"}", REQUEST_MALFORMED, "not valid JSON" },
		{ "{id:\"x\",\"script\":\"s\"}", REQUEST_MALFORMED, "not valid JSON" },
		{ "\xEF\xBB\xBF{\"id\":\"x\",\"script\":\"s\"}", REQUEST_MALFORMED, "object" },
	};

	(void)state;
	assert_faults(cases, N(cases));
}

#define HEAD_JSON "{\"id\":\"x\",\"script\":\"s\","

static void test_bad_fields(void **state)
{
	static const struct fault_case cases[] = {
		{ "{}", REQUEST_BAD_FIELD, "id is missing" },
		{ "{\"id\":\"x\"}", REQUEST_BAD_FIELD, "script is missing" },
		{ "{\"script\":\"x\"}", REQUEST_BAD_FIELD, "id is missing" },
		{ "{\"id\":null,\"script\":\"s\"}", REQUEST_BAD_FIELD, "id is missing" },
		{ "{\"id\":1,\"script\":\"s\"}", REQUEST_BAD_FIELD, "id is not a string" },
		{ "{\"id\":[],\"script\":\"s\"}", REQUEST_BAD_FIELD, "id is not a string" },
		{ "{\"id\":\"\",\"script\":\"s\"}", REQUEST_BAD_FIELD, "id must be" },
		{ "{\"id\":\"..\",\"script\":\"s\"}", REQUEST_BAD_FIELD, "id must be" },
		{ "{\"id\":\"a\\/b\",\"script\":\"s\"}", REQUEST_BAD_FIELD, "id must be" },
		{ "{\"id\":\"a\\u0000\",\"script\":\"s\"}", REQUEST_BAD_FIELD,
			"id is a string with a NUL" },
		{ "{\"id\":\"\\udead\",\"script\":\"s\"}", REQUEST_BAD_FIELD, "id is not a text" },
		{ "{\"id\":\"x\",\"script\":\"\"}", REQUEST_BAD_FIELD, "script is empty" },
		{ "{\"id\":\"x\",\"script\":{}}", REQUEST_BAD_FIELD, "script is not a string" },
		{ "{\"id\":\"x\",\"script\":\"a\\u0000b\"}", REQUEST_BAD_FIELD,
			"script is a string with" },
		{ HEAD_JSON "\"input\":7}", REQUEST_BAD_FIELD, "input is not a string" },
		{ HEAD_JSON "\"input\":[1]}", REQUEST_BAD_FIELD, "input is not a string" },
		{ HEAD_JSON "\"input\":\"Zg\"}", REQUEST_BAD_FIELD, "input is not base64" },
		{ HEAD_JSON "\"input\":\"Zg==\\n\"}", REQUEST_BAD_FIELD, "input is not base64" },
		{ HEAD_JSON "\"input\":\"Z g=\"}", REQUEST_BAD_FIELD, "input is not base64" },
		{ HEAD_JSON "\"input\":\"\\ud800\"}", REQUEST_BAD_FIELD, "input is not base64" },
		{ HEAD_JSON "\"timeoutMinutes\":\"5\"}", REQUEST_BAD_FIELD,
			"timeoutMinutes is not a number" },
		{ HEAD_JSON "\"timeoutMinutes\":true}", REQUEST_BAD_FIELD,
			"timeoutMinutes is not a number" },
		{ HEAD_JSON "\"timeoutMinutes\":0}", REQUEST_BAD_FIELD, "timeoutMinutes must be" },
		{ HEAD_JSON "\"timeoutMinutes\":-0.0}", REQUEST_BAD_FIELD,
			"timeoutMinutes must be" },
		{ HEAD_JSON "\"timeoutMinutes\":-5}", REQUEST_BAD_FIELD, "timeoutMinutes must be" },
		{ HEAD_JSON "\"timeoutMinutes\":5256001}", REQUEST_BAD_FIELD,
			"timeoutMinutes must be" },
		{ HEAD_JSON "\"timeoutMinutes\":1e999}", REQUEST_BAD_FIELD,
			"timeoutMinutes is not" },
		{ HEAD_JSON "\"timeoutSeconds\":1e300}", REQUEST_BAD_FIELD,
			"timeoutSeconds must be" },
		{ HEAD_JSON "\"timeoutSeconds\":"
			    "1111111111111111111111111111111111111111111111111111111111111111111}",
			REQUEST_BAD_FIELD, "timeoutSeconds is not" },
		{ HEAD_JSON "\"timeoutSeconds\":5,\"timeoutMinutes\":[]}", REQUEST_BAD_FIELD,
			"timeoutMinutes is not" },
		{ HEAD_JSON "\"userId\":7}", REQUEST_BAD_FIELD, "userId is not a string" },
		{ HEAD_JSON "\"projectId\":{}}", REQUEST_BAD_FIELD, "projectId is not a string" },
		{ HEAD_JSON "\"requestSHA256\":[]}", REQUEST_BAD_FIELD,
			"requestSHA256 is not a string" },
		{ HEAD_JSON "\"routingKey\":false}", REQUEST_BAD_FIELD,
			"routingKey is not a string" },
		{ HEAD_JSON "\"useCache\":1}", REQUEST_BAD_FIELD, "useCache is neither" },
		{ HEAD_JSON "\"useCache\":\"true\"}", REQUEST_BAD_FIELD, "useCache is neither" },
		{ HEAD_JSON "\"id\":\"y\"}", REQUEST_BAD_FIELD, "id stands twice" },
		{ HEAD_JSON "\"i\\u0064\":\"y\"}", REQUEST_BAD_FIELD, "id stands twice" },
		{ HEAD_JSON "\"unknown\":1,\"unknown\":1}", REQUEST_BAD_FIELD,
			"unknown stands twice" },
		{ HEAD_JSON "\"\\ud800\":1}", REQUEST_BAD_FIELD,
			"the name of a member is no text" },
	};

	(void)state;
	assert_faults(cases, N(cases));
}

/* Whatever was wrong, what can be read is read, so that somebody can be answered. */
static void test_what_is_read_beside_a_fault(void **state)
{
	static const char *const bodies[] = {
		/* cut off, or garbage behind */
		"{\"id\":\"x\",\"script\":\"s\",\"routingKey\":\"rk\",\"userId\":\"u\",\"inp",
		"{\"id\":\"x\",\"script\":\"s\",\"routingKey\":\"rk\",\"userId\":\"u\"}}",
		/* a bad field before the others */
		"{\"timeoutMinutes\":\"x\",\"id\":\"x\",\"script\":\"s\",\"routingKey\":\"rk\","
		"\"userId\":\"u\"}",
		"{\"input\":\"*\",\"id\":\"x\",\"script\":\"s\",\"routingKey\":\"rk\",\"userId\":"
		"\"u\"}",
		/* the first of two ids holds */
		"{\"id\":\"x\",\"id\":\"y\",\"script\":\"s\",\"routingKey\":\"rk\",\"userId\":"
		"\"u\"}",
		/* two faults, of which the first is told */
		"{\"a\":1,\"a\":2,\"id\":\"x\",\"script\":\"s\",\"routingKey\":\"rk\",\"userId\":"
		"\"u\",}",
	};

	(void)state;
	for (size_t i = 0; i < N(bodies); i++) {
		struct request q;
		struct error err;

		assert_int_not_equal(decode(slice_of(bodies[i]), &q, &err), REQUEST_OK);
		assert_int_not_equal(err.text[0], '\0');
		assert_string_equal(q.id, "x");
		assert_string_equal(q.script, "s");
		assert_string_equal(q.routing_key, "rk");
		assert_string_equal(q.user_id, "u");
		request_deinit(&q);
	}
	{
		struct request q;
		struct error err;

		assert_int_equal(
			decode(BYTES("{\"a\":1,\"a\":2,\"id\":\"x\",\"script\":\"s\",}"), &q, &err),
			REQUEST_BAD_FIELD);
		assert_string_equal(err.text, "a stands twice");
		request_deinit(&q);
		/* An id that cannot be used is kept for the log. */
		assert_int_equal(decode(BYTES("{\"id\":\"a/b\",\"script\":\"s\"}"), &q, &err),
			REQUEST_BAD_FIELD);
		assert_string_equal(q.id, "a/b");
		request_deinit(&q);
	}
}

static void test_err_may_be_null(void **state)
{
	struct request q = { 0 };

	(void)state;
	assert_int_equal(
		request_decode(BYTES("{\"id\":7}"), NULL, NULL, &q, NULL), REQUEST_BAD_FIELD);
	request_deinit(&q);
	assert_int_equal(request_decode(slice_of(NULL), NULL, NULL, &q, NULL), REQUEST_MALFORMED);
	request_deinit(&q);
	assert_int_equal(request_decode(slice_of(NULL), "application/msgpack", NULL, &q, NULL),
		REQUEST_MALFORMED);
	request_deinit(&q);
}

static void test_timeouts(void **state)
{
	static const struct {
		const char *members;
		uint64_t ms;
	} cases[] = {
		{ "\"timeoutMinutes\":5", 300000 },
		{ "\"timeoutMinutes\":0.5", 30000 },
		{ "\"timeoutMinutes\":1.5e1", 900000 },
		{ "\"timeoutSeconds\":0.25", 250 },
		{ "\"timeoutSeconds\":1e-9", 1 }, /* never nothing: that would mean no limit */
		{ "\"timeoutSeconds\":0.0011", 2 },
		{ "\"timeoutSeconds\":315360000", 315360000000 },
		{ "\"timeoutMinutes\":5256000", 315360000000 },
		{ "\"timeoutMinutes\":5,\"timeoutSeconds\":2", 2000 },
		{ "\"timeoutSeconds\":2,\"timeoutMinutes\":5", 2000 },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct request q;
		struct error err;
		char body[200];

		snprintf(body, sizeof(body), HEAD_JSON "%s}", cases[i].members);
		assert_int_equal(decode(slice_of(body), &q, &err), REQUEST_OK);
		assert_true(q.timeout_ms == cases[i].ms);
		request_deinit(&q);
	}
}

static void test_input_limit(void **state)
{
	const struct request_limits limits = { .input_max = 3 };
	static const struct {
		const char *input;
		int outcome;
	} cases[] = { { "", REQUEST_OK }, { "Zm8=", REQUEST_OK }, { "Zm9v", REQUEST_OK },
		{ "\\u005Am9v", REQUEST_OK }, { "Zm9vYg==", REQUEST_TOO_LARGE },
		{ "Zm9vYmFy", REQUEST_TOO_LARGE } };

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct request q = { 0 };
		struct error err = { 0 };
		char body[200];

		snprintf(body, sizeof(body), HEAD_JSON "\"input\":\"%s\",\"routingKey\":\"rk\"}",
			cases[i].input);
		assert_int_equal(
			request_decode(slice_of(body), NULL, &limits, &q, &err), cases[i].outcome);
		if (cases[i].outcome != REQUEST_OK)
			assert_string_equal(err.text, "input holds more than 3 bytes");
		assert_string_equal(q.routing_key, "rk");
		request_deinit(&q);
	}
	{
		struct request q = { 0 };

		assert_int_equal(
			request_decode(BYTES("\x83\xA2id\xA1x\xA6script\xA1s\xA5input\xC4\x04"
					     "1234"),
				NULL, &limits, &q, NULL),
			REQUEST_TOO_LARGE);
		request_deinit(&q);
		assert_int_equal(
			request_decode(BYTES("\x83\xA2id\xA1x\xA6script\xA1s\xA5input\xC4\x03"
					     "123"),
				NULL, &limits, &q, NULL),
			REQUEST_OK);
		request_deinit(&q);
	}
}

static void test_escaped_slashes(void **state)
{
	struct request q;
	struct error err;

	(void)state;
	assert_int_equal(decode(BYTES(HEAD_JSON "\"input\":\"+\\/+\\/\"}"), &q, &err), REQUEST_OK);
	assert_int_equal(q.input.len, 3);
	assert_memory_equal(q.input.data, "\xFB\xFF\xBF", 3);
	request_deinit(&q);
}

static void test_routing_key_length(void **state)
{
	struct buf body = { 0 };
	struct request q;
	struct error err;

	(void)state;
	buf_append_text(&body, HEAD_JSON "\"routingKey\":\"");
	for (int i = 0; i < 255; i++)
		buf_append_text(&body, "k");
	buf_append_text(&body, "\"}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_OK);
	request_deinit(&q);
	body.len -= 2;
	buf_append_text(&body, "k\"}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_BAD_FIELD);
	assert_null(q.routing_key);
	request_deinit(&q);
	buf_deinit(&body);
}

static void append_nested(struct buf *b, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		buf_append_text(b, "[");
	for (unsigned i = 0; i < depth; i++)
		buf_append_text(b, "]");
}

static void test_depth(void **state)
{
	static const struct {
		unsigned max, depth;
		int outcome;
	} cases[] = { { 0, 512, REQUEST_OK }, { 0, 513, REQUEST_BAD_FIELD }, { 2, 2, REQUEST_OK },
		{ 2, 3, REQUEST_BAD_FIELD }, { 0, 2000000, REQUEST_BAD_FIELD } };

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		const struct request_limits limits = { .depth_max = cases[i].max };
		struct buf body = { 0 };
		struct request q = { 0 };
		struct error err = { 0 };

		buf_append_text(&body, HEAD_JSON "\"additionalProperties\":");
		append_nested(&body, cases[i].depth);
		buf_append_text(&body, "}");
		assert_int_equal(request_decode(buf_slice(&body), NULL, &limits, &q, &err),
			cases[i].outcome);
		if (cases[i].outcome != REQUEST_OK)
			assert_non_null(strstr(err.text, "additionalProperties is nested deeper"));
		assert_string_equal(q.id, "x");
		request_deinit(&q);
		buf_deinit(&body);
	}
}

static void append_members(struct buf *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		buf_printf(b, ",\"m%u\":%u", i, i);
}

static void test_many_members_and_long_names(void **state)
{
	struct buf body = { 0 };
	struct request q;
	struct error err;

	(void)state;
	buf_append_text(&body, "{\"id\":\"x\",\"script\":\"s\"");
	append_members(&body, 254);
	buf_append_text(&body, "}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_OK);
	request_deinit(&q);
	body.len--;
	buf_append_text(&body, ",\"one\":\"more\"}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_BAD_FIELD);
	assert_string_equal(q.id, "x");
	request_deinit(&q);

	buf_clear(&body);
	buf_append_text(&body, "{\"");
	for (int i = 0; i < 100000; i++)
		buf_append_text(&body, "\xC3\xA4");
	buf_append_text(&body, "\":1,\"id\":\"x\",\"script\":\"s\"}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_BAD_FIELD);
	assert_string_equal(q.id, "x");
	request_deinit(&q);
	/* The same name in a sentence: cut, and still text. */
	buf_clear(&body);
	buf_append_text(&body, "{\"a");
	for (int i = 0; i < 100000; i++)
		buf_append_text(&body, "\xC3\xA4");
	buf_append_text(&body, "\":");
	append_nested(&body, 600);
	buf_append_text(&body, "}");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_BAD_FIELD);
	assert_true(text_is_utf8(slice_of(err.text)));
	assert_true(strlen(err.text) < 200);
	request_deinit(&q);
	buf_deinit(&body);
}

/* Cut at every byte, a right body is refused, does no harm, and never yields less than before. */
static void assert_truncation(struct slice body)
{
	bool had_id = false, had_key = false;

	for (size_t n = 0; n < body.len; n++) {
		/* An exact copy, so that a sanitizer sees the first byte too far. */
		char *copy = malloc(n + (n == 0));
		struct request q;
		struct error err;
		int r;

		assert_non_null(copy);
		memcpy(copy, body.data, n);
		r = decode((struct slice){ copy, n }, &q, &err);
		assert_int_equal(r, REQUEST_MALFORMED);
		assert_true(!had_id || q.id);
		assert_true(!had_key || q.routing_key);
		had_id = q.id;
		had_key = q.routing_key;
		request_deinit(&q);
		free(copy);
	}
	assert_true(had_id && had_key);
}

static void test_truncation_json(void **state)
{
	(void)state;
	assert_truncation(slice_of(full));
}

/* The same request as MessagePack. */
static void pack_full(struct buf *b)
{
	static const char additional[] = "\x82\xA1"
					 "b\x93\x01\xCB\x40\x04\0\0\0\0\0\0\xC0\xA1"
					 "a\xD4\x07\xC1";
	msgpack_packer p;

	msgpack_to_buf(&p, b);
	msgpack_pack_map(&p, 11);
	msgpack_put_text(&p, BYTES("type"));
	msgpack_pack_ext_with_body(&p, "xyz", 3, 1); /* of no concern */
	msgpack_put_text(&p, BYTES("id"));
	msgpack_put_text(&p, BYTES("2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11"));
	msgpack_put_text(&p, BYTES("script"));
	msgpack_put_text(&p, BYTES("gollm:model_card"));
	msgpack_put_text(&p, BYTES("input"));
	msgpack_put_bytes(&p, BYTES("{\"a\":1}"));
	msgpack_put_text(&p, BYTES("timeoutMinutes"));
	msgpack_pack_uint8(&p, 45);
	msgpack_put_text(&p, BYTES("additionalProperties"));
	buf_append(b, additional, sizeof(additional) - 1);
	msgpack_put_text(&p, BYTES("userId"));
	msgpack_put_text(&p, BYTES("u-1"));
	msgpack_put_text(&p, BYTES("projectId"));
	msgpack_put_text(&p, BYTES("8a7f"));
	msgpack_put_text(&p, BYTES("requestSHA256"));
	msgpack_put_text(&p, BYTES("abc="));
	msgpack_put_text(&p, BYTES("routingKey"));
	msgpack_put_text(&p, BYTES("rk"));
	msgpack_put_text(&p, BYTES("useCache"));
	msgpack_pack_false(&p);
}

static void test_a_full_request_msgpack(void **state)
{
	struct buf b = { 0 };
	struct request q;
	struct error err;

	(void)state;
	pack_full(&b);
	assert_int_equal(decode(buf_slice(&b), &q, &err), REQUEST_OK);
	assert_int_equal(q.encoding, WIRE_MSGPACK);
	assert_full(&q);
	assert_int_equal(q.additional_properties.len, 20);
	assert_memory_equal(q.additional_properties.data,
		"\x82\xA1"
		"b\x93\x01\xCB\x40\x04",
		8);
	request_deinit(&q);
	assert_truncation(buf_slice(&b));
	buf_append(&b, "\xC0", 1);
	assert_int_equal(decode(buf_slice(&b), &q, &err), REQUEST_MALFORMED);
	request_deinit(&q);
	buf_deinit(&b);
}

#define HEAD_MSGPACK "\x83\xA2id\xA1x\xA6script\xA1s"

static void test_bad_msgpack(void **state)
{
	static const struct {
		struct slice body;
		int outcome;
		const char *says;
	} cases[] = {
		{ BYTES(""), REQUEST_MALFORMED, "not a MessagePack map" },
		{ BYTES("\xC0"), REQUEST_MALFORMED, "not a MessagePack map" },
		{ BYTES("\x91\x01"), REQUEST_MALFORMED, "not a MessagePack map" },
		{ BYTES("\xC1"), REQUEST_MALFORMED, "not a MessagePack map" },
		{ BYTES("{\"id\":\"x\"}"), REQUEST_MALFORMED, "not a MessagePack map" },
		{ BYTES("\xDF\xFF\xFF\xFF\xFF"), REQUEST_MALFORMED, "not valid MessagePack" },
		{ BYTES("\xDF\xFF\xFF\xFF\xFF\xA2id\xA1x"), REQUEST_MALFORMED,
			"not valid MessagePack" },
		{ BYTES(HEAD_MSGPACK "\xA1k\xDD\xFF\xFF\xFF\xFF"), REQUEST_MALFORMED, "not valid" },
		{ BYTES(HEAD_MSGPACK "\xA1k\xC6\xFF\xFF\xFF\xFF"), REQUEST_MALFORMED, "not valid" },
		{ BYTES(HEAD_MSGPACK "\xA1k\xC1"), REQUEST_MALFORMED, "not valid" },
		{ BYTES("\x80"), REQUEST_BAD_FIELD, "id is missing" },
		{ BYTES(HEAD_MSGPACK "\x01\x02"), REQUEST_BAD_FIELD,
			"name of a member is no text" },
		{ BYTES(HEAD_MSGPACK "\xA1\xFF\x02"), REQUEST_BAD_FIELD,
			"name of a member is no text" },
		{ BYTES(HEAD_MSGPACK "\xC4\x01k\x02"), REQUEST_BAD_FIELD,
			"name of a member is no text" },
		{ BYTES(HEAD_MSGPACK "\xA2id\xA1y"), REQUEST_BAD_FIELD, "id stands twice" },
		{ BYTES("\x82\xA2id\x01\xA6script\xA1s"), REQUEST_BAD_FIELD, "id is not a string" },
		{ BYTES("\x82\xA2id\xC4\x01x\xA6script\xA1s"), REQUEST_BAD_FIELD,
			"id is not a string" },
		{ BYTES("\x82\xA2id\xD4\x01x\xA6script\xA1s"), REQUEST_BAD_FIELD,
			"id is not a string" },
		{ BYTES("\x82\xA2id\xA1\xFF\xA6script\xA1s"), REQUEST_BAD_FIELD,
			"id is not UTF-8" },
		{ BYTES("\x82\xA2id\xA2\0x\xA6script\xA1s"), REQUEST_BAD_FIELD,
			"id is a string with a NUL" },
		{ BYTES(HEAD_MSGPACK "\xA5input\x01"), REQUEST_BAD_FIELD, "input is not bytes" },
		{ BYTES(HEAD_MSGPACK "\xA5input\xD4\x01\x01"), REQUEST_BAD_FIELD,
			"input is not bytes" },
		{ BYTES(HEAD_MSGPACK "\xA5input\x90"), REQUEST_BAD_FIELD, "input is not bytes" },
		{ BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xA1"
				     "5"),
			REQUEST_BAD_FIELD, "timeoutSeconds is not a number" },
		{ BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\x00"), REQUEST_BAD_FIELD,
			"timeoutSeconds must" },
		{ BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xFF"), REQUEST_BAD_FIELD,
			"timeoutSeconds must" },
		/* not a number, infinite */
		{ BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xCA\x7F\xC0\0\0"), REQUEST_BAD_FIELD,
			"is not a number" },
		{ BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xCA\x7F\x80\0\0"), REQUEST_BAD_FIELD,
			"is not a number" },
		{ BYTES(HEAD_MSGPACK "\xA8useCache\x01"), REQUEST_BAD_FIELD,
			"useCache is neither" },
		{ BYTES(HEAD_MSGPACK "\xAAroutingKey\xC3"), REQUEST_BAD_FIELD,
			"routingKey is not" },
		{ BYTES(HEAD_MSGPACK "\xA6userId\x80"), REQUEST_BAD_FIELD, "userId is not" },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct request q = { 0 };
		struct error err = { 0 };
		int r = request_decode(cases[i].body, "application/msgpack", NULL, &q, &err);

		if (r != cases[i].outcome || !strstr(err.text, cases[i].says))
			print_error("case %zu -> %d %s\n", i, r, err.text);
		assert_int_equal(r, cases[i].outcome);
		assert_non_null(strstr(err.text, cases[i].says));
		request_deinit(&q);
	}
}

static void test_msgpack_values(void **state)
{
	struct request q;
	struct error err;

	(void)state;
	/* A str counts as bytes, whatever is in it. */
	assert_int_equal(decode(BYTES(HEAD_MSGPACK "\xA5input\xA3\0\xFFz"), &q, &err), REQUEST_OK);
	assert_int_equal(q.input.len, 3);
	assert_memory_equal(q.input.data, "\0\xFFz", 3);
	request_deinit(&q);
	assert_int_equal(
		decode(BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xCB\x3F\xF8\0\0\0\0\0\0"), &q, &err),
		REQUEST_OK);
	assert_int_equal(q.timeout_ms, 1500);
	request_deinit(&q);
	assert_int_equal(
		decode(BYTES(HEAD_MSGPACK "\xAEtimeoutSeconds\xD1\x01\0"), &q, &err), REQUEST_OK);
	assert_int_equal(q.timeout_ms, 256000);
	request_deinit(&q);
	assert_int_equal(decode(BYTES(HEAD_MSGPACK "\xB4"
						   "additionalProperties\xC0"),
				 &q, &err),
		REQUEST_OK);
	assert_int_equal(q.additional_properties.len, 0);
	request_deinit(&q);
}

static void test_msgpack_depth(void **state)
{
	static char nested[600];
	struct buf body = { 0 };
	struct request q;
	struct error err;

	(void)state;
	memset(nested, '\x91', sizeof(nested));
	buf_append(&body, HEAD_MSGPACK, sizeof(HEAD_MSGPACK) - 1);
	buf_append_text(&body, "\xB4"
			       "additionalProperties");
	buf_append(&body, nested, 512);
	buf_append_text(&body, "\xC0");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_OK);
	request_deinit(&q);
	body.len--;
	buf_append_text(&body, "\x91\xC0");
	assert_int_equal(decode(buf_slice(&body), &q, &err), REQUEST_BAD_FIELD);
	assert_string_equal(err.text, "additionalProperties is nested deeper than 512 levels");
	request_deinit(&q);
	buf_deinit(&body);
}

static void assert_same(const struct request *a, const struct request *b)
{
	assert_int_equal(a->encoding, b->encoding);
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->script, b->script);
	assert_true(slice_equal(slice_of(a->user_id), b->user_id));
	assert_true(slice_equal(slice_of(a->project_id), b->project_id));
	assert_true(slice_equal(slice_of(a->request_sha256), b->request_sha256));
	assert_true(slice_equal(slice_of(a->routing_key), b->routing_key));
	assert_int_equal(a->use_cache, b->use_cache);
	assert_true(a->timeout_ms == b->timeout_ms);
	assert_int_equal(a->input.len, b->input.len);
	assert_true(a->input.len == 0 || memcmp(a->input.data, b->input.data, a->input.len) == 0);
	assert_int_equal(a->additional_properties.len, b->additional_properties.len);
	assert_true(a->additional_properties.len == 0 ||
		    memcmp(a->additional_properties.data, b->additional_properties.data,
			    a->additional_properties.len) == 0);
}

static void assert_round_trip(struct request *q)
{
	struct buf body = { 0 };
	struct request back = { 0 };
	struct error err = { 0 };

	assert_int_equal(request_encode(q, &body), 0);
	assert_int_equal(wire_detect(NULL, buf_slice(&body)), q->encoding);
	assert_int_equal(
		request_decode(buf_slice(&body), wire_content_type(q->encoding), NULL, &back, &err),
		REQUEST_OK);
	assert_same(q, &back);
	request_deinit(&back);
	buf_deinit(&body);
}

static void test_round_trips(void **state)
{
	static char bytes[256];
	static const uint64_t timeouts[] = { 0, 1, 999, 1000, 1500, 60000, 90000, 61001,
		315360000000 };

	(void)state;
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		for (size_t i = 0; i < N(timeouts); i++) {
			struct request q = {
				.encoding = (enum wire_encoding)encoding,
				.id = "id \"\\\n\xE2\x82\xAC\x01",
				.script = "s",
				.timeout_ms = timeouts[i],
				.input = { .data = bytes, .len = 256 },
				.use_cache = true,
			};

			assert_round_trip(&q);
			q.input.len = 0;
			q.use_cache = false;
			q.user_id = "";
			q.project_id = "p";
			q.request_sha256 = "h";
			q.routing_key = "r";
			if (encoding == WIRE_JSON)
				q.additional_properties =
					(struct buf){ .data = "{\"a\": 1}", .len = 8 };
			else
				q.additional_properties = (struct buf){ .data = "\x81\xA1"
										"a\x01",
					.len = 4 };
			assert_round_trip(&q);
		}
	}
}

static void test_encoded_json_is_what_clients_send(void **state)
{
	struct request q = { .id = "x",
		.script = "s",
		.timeout_ms = 300000,
		.use_cache = true,
		.input = { .data = "foo", .len = 3 },
		.routing_key = "rk" };
	struct buf body = { 0 };

	(void)state;
	assert_int_equal(request_encode(&q, &body), 0);
	assert_true(slice_equal(buf_slice(&body),
		"{\"id\":\"x\",\"script\":\"s\",\"input\":\"Zm9v\",\"timeoutMinutes\":5,"
		"\"routingKey\":\"rk\",\"useCache\":true}"));
	buf_clear(&body);
	q.timeout_ms = 1050;
	assert_int_equal(request_encode(&q, &body), 0);
	assert_non_null(memmem(body.data, body.len, "\"timeoutSeconds\":1.050,", 23));
	buf_deinit(&body);
}

static void test_64_mib(void **state)
{
	struct request q = { .id = "x", .script = "s", .use_cache = true };
	size_t size = 64 << 20;

	(void)state;
	assert_int_equal(buf_reserve(&q.input, size, &(char *){ NULL }), 0);
	for (size_t i = 0; i < size; i++)
		q.input.data[i] = (char)(i * 2654435761u >> 13);
	q.input.len = size;
	assert_round_trip(&q);
	q.encoding = WIRE_MSGPACK;
	assert_round_trip(&q);
	buf_deinit(&q.input);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_request),
		cmocka_unit_test(test_the_least_request),
		cmocka_unit_test(test_no_json),
		cmocka_unit_test(test_bad_fields),
		cmocka_unit_test(test_what_is_read_beside_a_fault),
		cmocka_unit_test(test_err_may_be_null),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_input_limit),
		cmocka_unit_test(test_escaped_slashes),
		cmocka_unit_test(test_routing_key_length),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_many_members_and_long_names),
		cmocka_unit_test(test_truncation_json),
		cmocka_unit_test(test_a_full_request_msgpack),
		cmocka_unit_test(test_bad_msgpack),
		cmocka_unit_test(test_msgpack_values),
		cmocka_unit_test(test_msgpack_depth),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_encoded_json_is_what_clients_send),
		cmocka_unit_test(test_64_mib),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
