/* SPDX-License-Identifier: Apache-2.0 */

/* The members of a request by which it is steered: group, labels, depth, hold. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/request.h"

static int decode(const char *members, struct request *q, struct error *err)
{
	char body[2048];

	*q = (struct request){ 0 };
	*err = (struct error){ 0 };
	snprintf(body, sizeof(body), "{\"id\":\"x\",\"script\":\"s\"%s}", members);
	return request_decode(slice_of(body), NULL, NULL, q, err);
}

static void test_what_is_read(void **state)
{
	struct request q;
	struct error err;

	(void)state;
	assert_int_equal(decode(",\"group\":\"g 1\",\"labels\":[ \"gpu\" ,\"mat.lab\"\n],"
				"\"depth\":3,\"hold\":true",
				 &q, &err),
		REQUEST_OK);
	assert_string_equal(q.group, "g 1");
	assert_string_equal(q.labels, "gpu,mat.lab");
	assert_int_equal(q.depth, 3);
	assert_true(q.hold);
	request_deinit(&q);
	assert_int_equal(
		decode(",\"labels\":[],\"hold\":false,\"group\":null", &q, &err), REQUEST_OK);
	assert_null(q.group);
	assert_null(q.labels);
	assert_int_equal(q.depth, 0);
	assert_false(q.hold);
	request_deinit(&q);
}

static void test_faults(void **state)
{
	static const struct {
		const char *members, *says;
	} cases[] = {
		{ ",\"group\":\"\"", "group must be" },
		{ ",\"group\":[]", "group is not a string" },
		{ ",\"labels\":\"gpu\"", "labels is not an array" },
		{ ",\"labels\":{\"gpu\":1}", "labels is not an array" },
		{ ",\"labels\":[\"gpu\",1]", "labels is not a string" },
		{ ",\"labels\":[\"a,b\"]", "labels: each" },
		{ ",\"labels\":[\"\"]", "labels: each" },
		{ ",\"labels\":[[\"a\"]]", "labels is not a string" },
		{ ",\"labels\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
		  "\"11\",\"12\","
		  "\"13\",\"14\",\"15\",\"16\",\"17\"]",
			"at most 16" },
		{ ",\"depth\":-1", "depth must be" },
		{ ",\"depth\":101", "depth must be" },
		{ ",\"depth\":1.5", "depth must be" },
		{ ",\"depth\":\"1\"", "depth is not a number" },
		{ ",\"hold\":1", "hold is neither" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct request q;
		struct error err;
		int r = decode(cases[i].members, &q, &err);

		if (r != REQUEST_BAD_FIELD || !strstr(err.text, cases[i].says))
			fail_msg("%s -> %d %s", cases[i].members, r, err.text);
		request_deinit(&q);
	}
}

static void test_round_trips(void **state)
{
	const struct request q = { .id = "x",
		.script = "s",
		.group = "g",
		.labels = "gpu,b:1",
		.depth = 100,
		.hold = true };

	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct request sent = q, back = { 0 };
		struct buf body = { 0 };
		struct error err = { 0 };

		sent.encoding = (enum wire_encoding)encoding;
		assert_int_equal(request_encode(&sent, &body), 0);
		assert_int_equal(
			request_decode(buf_slice(&body), NULL, NULL, &back, &err), REQUEST_OK);
		assert_int_equal(back.encoding, encoding);
		assert_string_equal(back.group, "g");
		assert_string_equal(back.labels, "gpu,b:1");
		assert_int_equal(back.depth, 100);
		assert_true(back.hold);
		request_deinit(&back);
		buf_deinit(&body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_read),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
