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

#include "wire/wire.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static void test_statuses(void **state)
{
	static const char *const names[] = { "QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCELLING",
		"CANCELLED" };
	enum status status;

	(void)state;
	for (int i = STATUS_QUEUED; i <= STATUS_CANCELLED; i++) {
		assert_string_equal(status_name((enum status)i), names[i]);
		assert_int_equal(status_parse(slice_of(names[i]), &status), 0);
		assert_int_equal(status, i);
		assert_int_equal(status_is_final(status),
			i == STATUS_SUCCESS || i == STATUS_FAILED || i == STATUS_CANCELLED);
	}
	status = STATUS_FAILED;
	assert_int_equal(status_parse(BYTES("success"), &status), -EINVAL);
	assert_int_equal(status_parse(BYTES("SUCCES"), &status), -EINVAL);
	assert_int_equal(status_parse(BYTES("SUCCESSS"), &status), -EINVAL);
	assert_int_equal(status_parse(BYTES(""), &status), -EINVAL);
	assert_int_equal(status_parse(slice_of(NULL), &status), -EINVAL);
	assert_int_equal(status, STATUS_FAILED);
}

static void test_causes(void **state)
{
	static const char *const names[CAUSE_COUNT] = { "", "refused", "not-found", "exec-failed",
		"exited", "killed", "out-of-memory", "timed-out", "silent", "output-too-large",
		"protocol-error", "cancelled", "shutting-down", "crash-limit" };
	enum cause cause;

	(void)state;
	for (int i = 0; i < CAUSE_COUNT; i++) {
		assert_string_equal(cause_name((enum cause)i), names[i]);
		assert_int_equal(cause_parse(slice_of(names[i]), &cause), 0);
		assert_int_equal(cause, i);
	}
	assert_int_equal(cause_parse(BYTES("Killed"), &cause), -EINVAL);
	assert_int_equal(cause_parse(slice_of(NULL), &cause), -EINVAL);
}

static void test_ids(void **state)
{
	char longest[ID_MAX + 1];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_true(id_is_valid(BYTES("2f1f6c7e-8e2b-4c58-9d0e-0a8c3a6d4b11")));
	assert_true(id_is_valid(BYTES("a")));
	assert_true(id_is_valid(BYTES("...")));
	assert_true(id_is_valid(BYTES(".hidden")));
	assert_true(id_is_valid(BYTES("any thing\n\xE2\x82\xAC")));
	assert_true(id_is_valid((struct slice){ longest, ID_MAX }));
	assert_false(id_is_valid((struct slice){ longest, ID_MAX + 1 }));
	assert_false(id_is_valid(BYTES("")));
	assert_false(id_is_valid(BYTES(".")));
	assert_false(id_is_valid(BYTES("..")));
	assert_false(id_is_valid(BYTES("a/b")));
	assert_false(id_is_valid(BYTES("/")));
	assert_false(id_is_valid(BYTES("a\0b")));
	assert_false(id_is_valid(slice_of(NULL)));
}

static void test_encodings(void **state)
{
	static const struct {
		const char *type;
		struct slice body;
		enum wire_encoding encoding;
	} cases[] = {
		{ "application/json", BYTES("\x81"), WIRE_JSON },
		{ "Application/JSON; charset=utf-8", BYTES("\x81"), WIRE_JSON },
		{ "application/problem+json", BYTES("\x81"), WIRE_JSON },
		{ "application/msgpack", BYTES("{}"), WIRE_MSGPACK },
		{ "application/x-msgpack;v=1", BYTES("{}"), WIRE_MSGPACK },
		{ " application/vnd.msgpack ", BYTES("{}"), WIRE_MSGPACK },
		{ NULL, BYTES("{}"), WIRE_JSON },
		{ NULL, BYTES(" \r\n\t{}"), WIRE_JSON },
		{ NULL, BYTES("\x80"), WIRE_MSGPACK },
		{ NULL, BYTES("\x8F"), WIRE_MSGPACK },
		{ NULL, BYTES("\x90"), WIRE_JSON },
		{ NULL, BYTES("\xDE"), WIRE_MSGPACK },
		{ NULL, BYTES("\xDF"), WIRE_MSGPACK },
		{ NULL, BYTES("\xDD"), WIRE_JSON },
		{ NULL, BYTES(""), WIRE_JSON },
		{ NULL, BYTES("   "), WIRE_JSON },
		{ "", BYTES("\x81"), WIRE_MSGPACK },
		{ "text/plain", BYTES("\x81"), WIRE_MSGPACK },
		{ "text/plain", BYTES("{}"), WIRE_JSON },
		{ "application/octet-stream", BYTES("\x81"), WIRE_MSGPACK },
		{ "application/jsonx", BYTES("\x81"), WIRE_MSGPACK },
		{ "xapplication/json", BYTES("\x81"), WIRE_MSGPACK },
		{ ";application/json", BYTES("\x81"), WIRE_MSGPACK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(wire_detect(cases[i].type, cases[i].body), cases[i].encoding);
	assert_int_equal(wire_detect(NULL, slice_of(NULL)), WIRE_JSON);
	assert_string_equal(wire_content_type(WIRE_JSON), "application/json");
	assert_string_equal(wire_content_type(WIRE_MSGPACK), "application/msgpack");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_causes),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_encodings),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
