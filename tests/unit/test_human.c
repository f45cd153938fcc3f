/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "taskctl/human.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * (int64_t)HOUR)

struct whole {
	int64_t n;
	const char *shown;
};

struct real {
	double n;
	const char *shown;
};

static void expect(struct buf *text, const char *shown)
{
	assert_true(text->len <= HUMAN_MAX);
	assert_int_equal(buf_append(text, "", 1), 0);
	assert_string_equal(text->data, shown);
	buf_deinit(text);
}

static void expect_wholes(int (*append)(struct buf *, int64_t), const struct whole *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf text = { 0 };

		assert_int_equal(append(&text, cases[i].n), 0);
		expect(&text, cases[i].shown);
	}
}

static void expect_reals(int (*append)(struct buf *, double), const struct real *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct buf text = { 0 };

		assert_int_equal(append(&text, cases[i].n), 0);
		expect(&text, cases[i].shown);
	}
}

#define N(array) (sizeof(array) / sizeof(*(array)))

static void test_durations(void **state)
{
	static const struct whole cases[] = {
		{ INT64_MIN, "0 ms" },
		{ -1, "0 ms" },
		{ 0, "0 ms" },
		{ 850, "850 ms" },
		{ 999, "999 ms" },
		{ 1000, "1.0 s" },
		{ 12345, "12.3 s" },
		{ 59999, "59.9 s" },
		{ MINUTE, "1 min 00 s" },
		{ 4 * MINUTE + 5999, "4 min 05 s" },
		{ HOUR - 1, "59 min 59 s" },
		{ HOUR, "1 h 00 min" },
		{ 3 * HOUR + 12 * MINUTE + 59 * SECOND, "3 h 12 min" },
		{ DAY - 1, "23 h 59 min" },
		{ DAY, "1 d 0 h" },
		{ 5 * DAY + 2 * HOUR + 59 * MINUTE, "5 d 2 h" },
		{ INT64_MAX, "106751991167 d 7 h" },
	};

	(void)state;
	expect_wholes(human_duration, cases, N(cases));
}

static void test_ages(void **state)
{
	static const struct whole cases[] = {
		{ -5000, "0 s" },
		{ 0, "0 s" },
		{ 999, "0 s" },
		{ 12999, "12 s" },
		{ 59999, "59 s" },
		{ 4 * MINUTE + 5 * SECOND, "4 min 05 s" },
		{ 5 * DAY, "5 d 0 h" },
	};

	(void)state;
	expect_wholes(human_age, cases, N(cases));
}

static void test_bytes(void **state)
{
	static const struct whole cases[] = {
		{ -1, "0 B" },
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 1024 * 1024 - 1, "1023.9 KiB" },
		{ 37 * 1024 * 1024, "37.0 MiB" },
		{ INT64_C(1) << 40, "1.0 TiB" },
		{ INT64_MAX, "7.9 EiB" },
	};

	(void)state;
	expect_wholes(human_bytes, cases, N(cases));
}

static void test_numbers(void **state)
{
	static const struct real numbers[] = {
		{ 0, "0.00" },
		{ 0.25, "0.25" },
		{ 9.99, "9.99" },
		{ 9.996, "10.0" },
		{ 12.34, "12.3" },
		{ 99.96, "100" },
		{ 1250, "1250" },
		{ -3.5, "-3.50" },
		{ 1e18, "1e+18" },
		{ NAN, "-" },
		{ INFINITY, "inf" },
	};
	static const struct real rates[] = {
		{ 0, "0/s" },
		{ -1, "0/s" },
		{ NAN, "0/s" },
		{ 0.25, "0.25/s" },
		{ 12.34, "12.3/s" },
		{ 1250, "1250/s" },
		{ 0.05, "3.00/min" },
		{ 1.5 / 3600, "1.50/h" },
	};
	static const struct real percents[] = {
		{ -1, "  0%" },
		{ NAN, "  0%" },
		{ 0, "  0%" },
		{ 0.29, " 29%" },
		{ 0.999, " 99%" },
		{ 1, "100%" },
		{ 7, "100%" },
	};
	static const struct whole counts[] = {
		{ 0, "0" },
		{ 1234567, "1234567" },
		{ INT64_MIN, "-9223372036854775808" },
	};

	(void)state;
	expect_reals(human_number, numbers, N(numbers));
	expect_reals(human_rate, rates, N(rates));
	expect_reals(human_percent, percents, N(percents));
	expect_wholes(human_count, counts, N(counts));
}

/* In a zone that is not that of Greenwich, so that days differ. */
static void test_times(void **state)
{
	static const int64_t evening = INT64_C(1763755445000); /* 2025-11-21 20:04:05 UTC */
	static const struct {
		int64_t ms, now_ms;
		const char *shown;
	} cases[] = {
		{ evening, evening + HOUR, "22:04:05" },
		{ evening, evening + 3 * HOUR, "2025-11-21 22:04" }, /* the next day here */
		{ evening, evening - 365 * DAY, "2025-11-21 22:04" },
		{ evening, 0, "2025-11-21 22:04:05" },
		{ evening + 999, 0, "2025-11-21 22:04:05" },
		{ INT64_MAX, evening, "292278994-08-17 09:12" },
		{ INT64_MIN + 1, 0, "-292275055-05-16 18:47:05" },
	};

	(void)state;
	setenv("TZ", "XXX-2", 1);
	tzset();
	for (size_t i = 0; i < N(cases); i++) {
		struct buf text = { 0 };

		assert_int_equal(human_time(&text, cases[i].ms, cases[i].now_ms), 0);
		expect(&text, cases[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
