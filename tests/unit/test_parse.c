/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/parse.h"

#define SECOND 1000000ull

static void test_int(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max;
		int r;
		int64_t value;
	} cases[] = {
		{ "0", INT64_MIN, INT64_MAX, 0, 0 },
		{ "-0", 0, 0, 0, 0 },
		{ "+7", 0, 10, 0, 7 },
		{ "007", 0, 10, 0, 7 },
		{ "9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX },
		{ "-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN },
		{ "9223372036854775808", INT64_MIN, INT64_MAX, -ERANGE, 0 },
		{ "-9223372036854775809", INT64_MIN, INT64_MAX, -ERANGE, 0 },
		{ "18446744073709551616", INT64_MIN, INT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", INT64_MIN, INT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999x", INT64_MIN, INT64_MAX, -EINVAL, 0 },
		{ "11", 0, 10, -ERANGE, 0 },
		{ "-1", 0, 10, -ERANGE, 0 },
		{ "", 0, 10, -EINVAL, 0 },
		{ "-", 0, 10, -EINVAL, 0 },
		{ "+-1", 0, 10, -EINVAL, 0 },
		{ " 1", 0, 10, -EINVAL, 0 },
		{ "1 ", 0, 10, -EINVAL, 0 },
		{ "1\n", 0, 10, -EINVAL, 0 },
		{ "0x1", 0, 10, -EINVAL, 0 },
		{ "1.0", 0, 10, -EINVAL, 0 },
		{ NULL, 0, 10, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int64_t value = 4711;

		assert_int_equal(
			parse_int(cases[i].text, cases[i].min, cases[i].max, &value), cases[i].r);
		assert_true(value == (cases[i].r == 0 ? cases[i].value : 4711));
	}
}

static void test_bool(void **state)
{
	static const char *const yes[] = { "true", "yes", "on", "1", "TRUE", "Yes" };
	static const char *const no[] = { "false", "no", "off", "0", "False", "OFF" };
	static const char *const neither[] = { "", "y", "t", "2", "true ", " true", "-1", "01" };
	bool value;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		value = false;
		assert_int_equal(parse_bool(yes[i], &value), 0);
		assert_true(value);
		assert_int_equal(parse_bool(no[i], &value), 0);
		assert_false(value);
	}
	for (size_t i = 0; i < sizeof(neither) / sizeof(*neither); i++)
		assert_int_equal(parse_bool(neither[i], &value), -EINVAL);
	assert_int_equal(parse_bool(NULL, &value), -EINVAL);
}

struct reading {
	const char *text;
	int r;
	uint64_t value;
};

static void assert_readings(
	int (*parse)(const char *, uint64_t *), const struct reading *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 4711;
		int r = parse(cases[i].text, &value);

		if (r != cases[i].r)
			print_error("%s: %d\n", cases[i].text, r);
		assert_int_equal(r, cases[i].r);
		assert_true(value == (r == 0 ? cases[i].value : 4711));
	}
}

static void test_duration(void **state)
{
	static const struct reading cases[] = {
		{ "0", 0, 0 },
		{ "0s", 0, 0 },
		{ "90s", 0, 90 * SECOND },
		{ "1.5h", 0, 5400 * SECOND },
		{ "0.5ms", 0, 500 },
		{ "250us", 0, 250 },
		{ "2m", 0, 120 * SECOND },
		{ "7d", 0, 7 * 86400 * SECOND },
		{ "1.000000000000000000000s", 0, SECOND },
		{ "18446744073709551615us", 0, UINT64_MAX },
		{ "18446744073709551616us", -ERANGE, 0 },
		{ "18446744073709.551615s", 0, UINT64_MAX },
		{ "18446744073709.551616s", -ERANGE, 0 },
		{ "99999999999999d", -ERANGE, 0 },
		/* What would round to something else, 0 above all, is refused. */
		{ "0.0000001s", -ERANGE, 0 },
		{ "1.5us", -ERANGE, 0 },
		{ "0.00000000000000001d", -ERANGE, 0 },
		{ "99999999999999999999999x", -EINVAL, 0 },
		{ "1", -EINVAL, 0 },
		{ "00", -EINVAL, 0 },
		{ "0.0", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ ".5s", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
		{ "1m30s", -EINVAL, 0 },
		{ "1e3s", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ NULL, -EINVAL, 0 },
	};

	(void)state;
	assert_readings(parse_duration, cases, sizeof(cases) / sizeof(*cases));
}

static void test_size(void **state)
{
	static const struct reading cases[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "10B", 0, 10 },
		{ "64KiB", 0, 65536 },
		{ "64MiB", 0, 64 << 20 },
		{ "3GiB", 0, 3ull << 30 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "17179869184GiB", -ERANGE, 0 },
		{ "1.5MiB", -EINVAL, 0 },
		{ "1MB", -EINVAL, 0 },
		{ "1kib", -EINVAL, 0 },
		{ "1 MiB", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "MiB", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ NULL, -EINVAL, 0 },
	};

	(void)state;
	assert_readings(parse_size, cases, sizeof(cases) / sizeof(*cases));
}

static void test_formatting(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(format_duration(0, text, sizeof(text)), "0");
	assert_string_equal(format_duration(90 * SECOND, text, sizeof(text)), "1m30s");
	assert_string_equal(format_duration(86400 * SECOND, text, sizeof(text)), "1d");
	assert_string_equal(format_duration(1500000, text, sizeof(text)), "1s500ms");
	assert_string_equal(
		format_duration(UINT64_MAX, text, sizeof(text)), "213503982d8h1m49s551ms615us");
	assert_string_equal(format_duration(UINT64_MAX, text, 8), "2135039");
	assert_string_equal(format_size(0, text, sizeof(text)), "0B");
	assert_string_equal(format_size(1000, text, sizeof(text)), "1000B");
	assert_string_equal(format_size(1536, text, sizeof(text)), "1536B");
	assert_string_equal(format_size(64 << 20, text, sizeof(text)), "64MiB");
	assert_string_equal(format_size(UINT64_MAX, text, sizeof(text)), "18446744073709551615B");
}

static void test_sizes_come_back(void **state)
{
	char text[32];

	(void)state;
	for (uint64_t size = 1; size < UINT64_MAX / 3; size *= 3) {
		uint64_t back;

		assert_int_equal(parse_size(format_size(size << 1, text, sizeof(text)), &back), 0);
		assert_true(back == size << 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_formatting),
		cmocka_unit_test(test_sizes_come_back),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
