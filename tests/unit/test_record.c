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

#include "wire/record.h"

static void test_round_trip(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct record record = { 0 }, back = { 0 };
		struct buf body = { 0 };
		int64_t whole;
		double number;

		record_add_text(&record, "id", "a\"b");
		record_add_text(&record, "nothing", NULL);
		record_add_int(&record, "time", INT64_MAX);
		record_add_number(&record, "progress", 0.25);
		record_add_number(&record, "endless", 1.0 / 0.0);
		record_add_text(&record, "id", "again");
		assert_int_equal(record_encode((enum wire_encoding)encoding, &record, &body), 0);
		if (encoding == WIRE_JSON)
			assert_true(slice_equal(buf_slice(&body),
				"{\"id\":\"again\",\"time\":9223372036854775807,"
				"\"progress\":0.25}"));
		assert_int_equal(record_decode(buf_slice(&body), NULL, &back, NULL), 0);
		assert_int_equal(back.n, 3);
		assert_string_equal(record_text(&back, "id"), "again");
		assert_true(record_int(&back, "time", &whole) && whole == INT64_MAX);
		assert_true(record_number(&back, "progress", &number) && number == 0.25);
		assert_false(record_int(&back, "progress", &whole));
		assert_false(record_int(&back, "nothing", &whole));
		record_deinit(&record);
		record_deinit(&back);
		buf_deinit(&body);
	}
}

static void test_other_members(void **state)
{
	struct record record = { 0 };

	(void)state;
	assert_int_equal(record_decode(slice_of("{\"a\":[1],\"b\":{},\"c\":null,\"d\":true,"
						"\"e\":-1.5e3}"),
				 NULL, &record, NULL),
		0);
	assert_int_equal(record.n, 2);
	assert_string_equal(record_text(&record, "d"), "true");
	assert_string_equal(record_text(&record, "e"), "-1500");
	record_deinit(&record);
}

static void test_bounds(void **state)
{
	struct record record = { 0 }, back = { 0 };
	struct buf body = { 0 };
	char name[80];

	(void)state;
	for (int i = 0; i < RECORD_MEMBERS_MAX; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		record_add_int(&record, name, i);
	}
	assert_false(record.failed);
	record_add_int(&record, "one more", 1);
	assert_true(record.failed);
	assert_int_equal(record_encode(WIRE_JSON, &record, &body), -ENOMEM);
	assert_int_equal(body.len, 0);
	record_deinit(&record);
	/* Of what somebody else wrote the rest is left out. */
	buf_append_text(&body, "{");
	for (int i = 0; i < 200; i++)
		buf_printf(&body, "%s\"m%d\":1", i ? "," : "", i);
	buf_append_text(&body, "}");
	assert_int_equal(record_decode(buf_slice(&body), NULL, &back, NULL), 0);
	assert_int_equal(back.n, RECORD_MEMBERS_MAX);
	record_deinit(&back);
	buf_deinit(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_other_members),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
