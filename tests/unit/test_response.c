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

#include "wire/response.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define N(table)       (sizeof(table) / sizeof(*(table)))

static struct response sample(enum wire_encoding encoding)
{
	return (struct response){
		.encoding = encoding,
		.status = STATUS_SUCCESS,
		.id = BYTES("2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11"),
		.script = BYTES("echo.py"),
		.output = BYTES("\0\xFF{}"),
		.additional_properties = encoding == WIRE_JSON ? BYTES("{\"a\": [1,2.50]}")
							       : BYTES("\x81\xA1"
								       "a\x92\x01\x02"),
		.project_id = BYTES("p"),
		.user_id = BYTES("u"),
		.out = BYTES("line \"1\"\n"),
		.err = BYTES("\xFF!"),
		.request_sha256 = BYTES("h="),
		.routing_key = BYTES("rk"),
		.use_cache = true,
	};
}

static void assert_encoded(const struct response *p, struct slice expected)
{
	struct buf body = { 0 };

	assert_int_equal(response_encode(p, &body), 0);
	assert_int_equal(body.len, expected.len);
	assert_memory_equal(body.data, expected.data, expected.len);
	buf_deinit(&body);
}

static void test_golden_json(void **state)
{
	struct response p = sample(WIRE_JSON);

	(void)state;
	assert_encoded(
		&p, BYTES("{\"id\":\"2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11\",\"script\":\"echo.py\","
			  "\"status\":\"SUCCESS\",\"output\":\"AP97fQ==\","
			  "\"additionalProperties\":{\"a\": "
			  "[1,2.50]},\"projectId\":\"p\",\"userId\":\"u\","
			  "\"stdout\":\"line \\\"1\\\"\\n\",\"stderr\":\"\xEF\xBF\xBD!\","
			  "\"requestSHA256\":\"h=\",\"routingKey\":\"rk\",\"useCache\":true}"));
	p = (struct response){ .status = STATUS_RUNNING, .id = BYTES("x"), .script = BYTES("s") };
	assert_encoded(&p,
		BYTES("{\"id\":\"x\",\"script\":\"s\",\"status\":\"RUNNING\",\"output\":null,"
		      "\"additionalProperties\":null,\"projectId\":null,\"userId\":null,"
		      "\"stdout\":\"\",\"stderr\":\"\",\"requestSHA256\":null,\"routingKey\":null,"
		      "\"useCache\":false}"));
	/* Empty is not absent; empty additionalProperties cannot be and are null. */
	p.output = p.additional_properties = p.user_id = BYTES("");
	assert_encoded(&p,
		BYTES("{\"id\":\"x\",\"script\":\"s\",\"status\":\"RUNNING\",\"output\":\"\","
		      "\"additionalProperties\":null,\"projectId\":null,\"userId\":\"\","
		      "\"stdout\":\"\",\"stderr\":\"\",\"requestSHA256\":null,\"routingKey\":null,"
		      "\"useCache\":false}"));
}

static void test_golden_msgpack(void **state)
{
	struct response p = sample(WIRE_MSGPACK);

	(void)state;
	p.id = BYTES("x");
	assert_encoded(&p,
		BYTES("\x8C\xA2id\xA1x\xA6script\xA7"
		      "echo.py\xA6status\xA7SUCCESS\xA6output\xC4\x04\0\xFF{}"
		      "\xB4"
		      "additionalProperties\x81\xA1"
		      "a\x92\x01\x02\xA9projectId\xA1p\xA6userId\xA1u"
		      "\xA6stdout\xA9line \"1\"\n\xA6stderr\xA4\xEF\xBF\xBD!\xADrequestSHA256\xA2h="
		      "\xAAroutingKey\xA2rk\xA8useCache\xC3"));
	p = (struct response){ .encoding = WIRE_MSGPACK,
		.status = STATUS_CANCELLED,
		.id = BYTES("x"),
		.script = BYTES("s") };
	assert_encoded(&p, BYTES("\x8C\xA2id\xA1x\xA6script\xA1s\xA6status\xA9"
				 "CANCELLED\xA6output\xC0"
				 "\xB4"
				 "additionalProperties\xC0\xA9projectId\xC0\xA6userId\xC0"
				 "\xA6stdout\xA0\xA6stderr\xA0\xADrequestSHA256\xC0\xAAroutingKey"
				 "\xC0\xA8useCache\xC2"));
}

static void test_appends_and_keeps_the_bound(void **state)
{
	struct response p = { .status = STATUS_FAILED,
		.id = BYTES("x"),
		.script = BYTES("s"),
		.output = BYTES("why") };
	struct buf body = { 0 }, bounded = { .max = 50 };

	(void)state;
	buf_append_text(&body, "before");
	assert_int_equal(response_encode(&p, &body), 0);
	assert_memory_equal(body.data, "before{\"id\":", 11);
	buf_deinit(&body);
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		p.encoding = (enum wire_encoding)encoding;
		buf_append_text(&bounded, "keep");
		assert_int_equal(response_encode(&p, &bounded), -EMSGSIZE);
		assert_true(slice_equal(buf_slice(&bounded), "keep"));
		buf_deinit(&bounded);
	}
}

static void assert_one_allocation(const struct response *p)
{
	struct buf body = { 0 };
	const char *data;
	size_t cap;

	assert_int_equal(response_encode(p, &body), 0);
	data = body.data;
	cap = body.cap;
	/* It was reserved at once if a second time in the same memory moves nothing, and not for
	 * more than was needed. */
	assert_in_range(cap, body.len, body.len + body.len / 4 + 512);
	buf_clear(&body);
	assert_int_equal(response_encode(p, &body), 0);
	assert_ptr_equal(body.data, data);
	assert_int_equal(body.cap, cap);
	buf_deinit(&body);
}

static void test_one_allocation(void **state)
{
	static char big[300000];
	struct response p = sample(WIRE_JSON);

	(void)state;
	memset(big, '\n', sizeof(big));
	p.output = p.out = (struct slice){ big, sizeof(big) };
	assert_one_allocation(&p);
	p = sample(WIRE_MSGPACK);
	p.output = p.out = (struct slice){ big, sizeof(big) };
	assert_one_allocation(&p);
}

static int decode(struct slice body, struct received_response *p, struct error *err)
{
	memset(p, 0, sizeof(*p));
	memset(err, 0, sizeof(*err));
	return response_decode(body, NULL, p, err);
}

static void assert_sample(const struct received_response *p)
{
	assert_int_equal(p->status, STATUS_SUCCESS);
	assert_string_equal(p->id, "2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11");
	assert_string_equal(p->script, "echo.py");
	assert_true(p->has_output);
	assert_int_equal(p->output.len, 4);
	assert_memory_equal(p->output.data, "\0\xFF{}", 4);
	assert_string_equal(p->project_id, "p");
	assert_string_equal(p->user_id, "u");
	assert_string_equal(p->out, "line \"1\"\n");
	assert_string_equal(p->err, "\xEF\xBF\xBD!");
	assert_string_equal(p->request_sha256, "h=");
	assert_string_equal(p->routing_key, "rk");
	assert_true(p->use_cache);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct response p = sample((enum wire_encoding)encoding);
		struct buf body = { 0 };
		struct received_response back;
		struct error err;

		assert_int_equal(response_encode(&p, &body), 0);
		assert_int_equal(decode(buf_slice(&body), &back, &err), 0);
		assert_int_equal(back.encoding, encoding);
		assert_sample(&back);
		assert_int_equal(back.additional_properties.len, p.additional_properties.len);
		assert_memory_equal(back.additional_properties.data, p.additional_properties.data,
			p.additional_properties.len);
		received_response_deinit(&back);
		assert_null(back.id);

		/* Every beginning of it is refused, and harmless. */
		for (size_t n = 0; n < body.len; n++) {
			char *copy = malloc(n + (n == 0));

			memcpy(copy, body.data, n);
			assert_int_equal(decode((struct slice){ copy, n }, &back, &err), -EINVAL);
			assert_int_not_equal(err.text[0], '\0');
			received_response_deinit(&back);
			free(copy);
		}
		buf_deinit(&body);
	}
}

static void test_absent_and_empty(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++)
		for (int empty = 0; empty < 2; empty++) {
			struct response p = { .encoding = (enum wire_encoding)encoding,
				.status = STATUS_CANCELLED,
				.id = BYTES("x"),
				.script = BYTES("s") };
			struct buf body = { 0 };
			struct received_response back;
			struct error err;

			if (empty)
				p.output = p.project_id = p.out = BYTES("");
			assert_int_equal(response_encode(&p, &body), 0);
			assert_int_equal(decode(buf_slice(&body), &back, &err), 0);
			assert_int_equal(back.has_output, empty);
			assert_int_equal(back.output.len, 0);
			assert_int_equal(back.project_id != NULL, empty);
			assert_string_equal(back.out, "");
			assert_string_equal(back.err, "");
			assert_int_equal(back.additional_properties.len, 0);
			received_response_deinit(&back);
			buf_deinit(&body);
		}
}

/* The parts of a right body, to leave out, repeat and spoil. */
static const char *const parts[] = { "\"id\":\"x\"", "\"script\":\"s\"", "\"status\":\"RUNNING\"",
	"\"output\":null", "\"additionalProperties\":null", "\"projectId\":null", "\"userId\":null",
	"\"stdout\":\"\"", "\"stderr\":\"\"", "\"requestSHA256\":null", "\"routingKey\":null",
	"\"useCache\":true" };

/* A body of all parts, with part @at replaced by @instead (NULL: left out). */
static int decode_with(size_t at, const char *instead, struct error *err)
{
	struct buf body = { 0 };
	struct received_response p;
	const char *before = "{";
	int r;

	for (size_t i = 0; i < N(parts); i++) {
		const char *part = i == at ? instead : parts[i];

		if (!part)
			continue;
		buf_append_text(&body, before);
		buf_append_text(&body, part);
		before = ",";
	}
	buf_append_text(&body, "}");
	r = decode(buf_slice(&body), &p, err);
	received_response_deinit(&p);
	buf_deinit(&body);
	return r;
}

static void test_each_member_is_needed_once(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(decode_with(99, NULL, &err), 0);
	for (size_t i = 0; i < N(parts); i++) {
		char twice[200];

		assert_int_equal(decode_with(i, NULL, &err), -EINVAL);
		assert_non_null(strstr(err.text, "is missing"));
		snprintf(twice, sizeof(twice), "%s,%s", parts[i], parts[i]);
		assert_int_equal(decode_with(i, twice, &err), -EINVAL);
		assert_non_null(strstr(err.text, "stands twice"));
	}
	assert_int_equal(decode_with(0, "\"id\":\"x\",\"attempt\":1", &err), -EINVAL);
	assert_string_equal(err.text, "attempt is not a member of a response");
}

static void test_each_member_of_a_wrong_type(void **state)
{
	static const struct {
		size_t at;
		const char *part;
	} cases[] = { { 0, "\"id\":1" }, { 0, "\"id\":null" }, { 0, "\"id\":\"\\u0000\"" },
		{ 1, "\"script\":[]" }, { 2, "\"status\":null" }, { 2, "\"status\":\"DONE\"" },
		{ 2, "\"status\":\"running\"" }, { 2, "\"status\":1" }, { 3, "\"output\":{}" },
		{ 3, "\"output\":\"Zg\"" }, { 5, "\"projectId\":1" }, { 6, "\"userId\":false" },
		{ 7, "\"stdout\":1" }, { 8, "\"stderr\":[]" }, { 9, "\"requestSHA256\":{}" },
		{ 10, "\"routingKey\":0" }, { 11, "\"useCache\":null" }, { 11, "\"useCache\":0" } };
	struct error err;

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		assert_int_equal(decode_with(cases[i].at, cases[i].part, &err), -EINVAL);
		assert_int_not_equal(err.text[0], '\0');
	}
	/* What an existing runner may send. */
	assert_int_equal(decode_with(1, "\"script\":null", &err), 0);
	assert_int_equal(decode_with(7, "\"stdout\":null", &err), 0);
}

/* A program may print NUL; the client has C strings. */
static void test_nul_in_what_was_printed(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct response p = sample((enum wire_encoding)encoding);
		struct buf body = { 0 };
		struct received_response back;
		struct error err;

		p.out = BYTES("a\0b\0");
		p.err = BYTES("\0");
		assert_int_equal(response_encode(&p, &body), 0);
		assert_int_equal(decode(buf_slice(&body), &back, &err), 0);
		assert_string_equal(back.out, "a\xEF\xBF\xBD"
					      "b\xEF\xBF\xBD");
		assert_string_equal(back.err, "\xEF\xBF\xBD");
		received_response_deinit(&back);
		buf_deinit(&body);
	}
}

/* The tail of what was printed begins in the middle of a character and ends in one. */
static void test_cut_tails(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct response p = sample((enum wire_encoding)encoding);
		struct buf body = { 0 };
		struct received_response back;
		struct error err;

		p.out = BYTES("\x82\xAC"
			      "abc\xE2\x82");
		p.err = BYTES("\x80\x80\x80\x80\x80");
		assert_int_equal(response_encode(&p, &body), 0);
		assert_int_equal(decode(buf_slice(&body), &back, &err), 0);
		assert_string_equal(back.out, "abc\xEF\xBF\xBD");
		assert_string_equal(back.err, "\xEF\xBF\xBD\xEF\xBF\xBD");
		received_response_deinit(&back);
		buf_deinit(&body);
	}
}

static void test_64_mib(void **state)
{
	size_t size = (64 << 20) + 1;
	char *bytes = malloc(size);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct response p = sample((enum wire_encoding)encoding);
		struct buf body = { 0 };
		struct received_response back;
		struct error err;

		p.output = (struct slice){ bytes, size };
		assert_int_equal(response_encode(&p, &body), 0);
		assert_int_equal(decode(buf_slice(&body), &back, &err), 0);
		assert_int_equal(back.output.len, size);
		assert_int_equal(memcmp(back.output.data, bytes, size), 0);
		received_response_deinit(&back);
		buf_deinit(&body);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_json),
		cmocka_unit_test(test_golden_msgpack),
		cmocka_unit_test(test_appends_and_keeps_the_bound),
		cmocka_unit_test(test_one_allocation),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_absent_and_empty),
		cmocka_unit_test(test_each_member_is_needed_once),
		cmocka_unit_test(test_each_member_of_a_wrong_type),
		cmocka_unit_test(test_nul_in_what_was_printed),
		cmocka_unit_test(test_cut_tails),
		cmocka_unit_test(test_64_mib),
	};

	return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
