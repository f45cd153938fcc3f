/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "taskctl/keys.h"

#define LATE_US (KEYS_ESCAPE_MS * 1000ull)

/* What @bytes mean, each key by a letter or its text; '.' is KEY_NONE. */
static void read_all(struct keys *keys, uint64_t now_us, char *ret, size_t size)
{
	static const char letters[] = ".?UDPNHEr<x!zlu";
	struct pressed pressed;
	size_t len = 0;

	ret[0] = '\0';
	while (keys_next(keys, now_us, &pressed)) {
		assert_true(len + 8 < size);
		len += (size_t)snprintf(ret + len, size - len,
			pressed.key == KEY_TEXT ? "'%s'" : "%s",
			pressed.key == KEY_TEXT ? pressed.text
						: (char[]){ letters[pressed.key], '\0' });
	}
}

static const struct {
	const char *bytes, *keys;
} cases[] = {
	{ "a", "'a'" },
	{ "jK/", "'j''K''/'" },
	{ "\033[A\033[B", "UD" },
	{ "\033OA\033OB\033OH\033OF", "UDHE" },
	{ "\033[5~\033[6~\033[1~\033[4~\033[7~\033[8~\033[H\033[F", "PNHEHEHE" },
	{ "\033[1;5A\033[200~x", "..'x'" }, /* of which nothing is known: but taken as a whole */
	{ "\r\n\b\x7f", "rr<<" },
	{ "\x03\x1a\x0c\x15\x01", "!zlu." },
	{ "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80", "'\xC3\xBC''\xE2\x82\xAC''\xF0\x9F\x98\x80'" },
	{ "\xFFz\xC3z", ".'z'.'z'" },
	{ "\033\033[A", "xU" },
	{ "\033q", "x'q'" },
};

static void test_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct keys keys = { 0 };
		char seen[256];

		assert_int_equal(keys_feed(&keys, cases[i].bytes, strlen(cases[i].bytes), 0),
			strlen(cases[i].bytes));
		read_all(&keys, 0, seen, sizeof(seen));
		assert_string_equal(seen, cases[i].keys);
		assert_false(keys_waits(&keys));
	}
}

/* A slow line: each byte alone. */
static void test_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct keys keys = { 0 };
		char seen[256] = "";

		for (const char *at = cases[i].bytes; *at; at++) {
			assert_int_equal(keys_feed(&keys, at, 1, 0), 1);
			read_all(&keys, 0, seen + strlen(seen), sizeof(seen) - strlen(seen));
		}
		assert_string_equal(seen, cases[i].keys);
	}
}

/* What never comes is not waited for. */
static void test_late(void **state)
{
	static const struct {
		const char *bytes, *keys;
	} parts[] = {
		{ "\033", "x" },
		{ "\033[", "." },
		{ "\033[5", "." },
		{ "\033O", "." },
		{ "\xE2\x82", "." },
		{ "\xC3", "." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct keys keys = { 0 };
		char seen[256];

		keys_feed(&keys, parts[i].bytes, strlen(parts[i].bytes), 7);
		read_all(&keys, 7 + LATE_US - 1, seen, sizeof(seen));
		assert_string_equal(seen, "");
		assert_true(keys_waits(&keys));
		read_all(&keys, 7 + LATE_US, seen, sizeof(seen));
		assert_string_equal(seen, parts[i].keys);
		assert_false(keys_waits(&keys));
	}
}

/* Whatever comes, all of it is taken, and texts are characters. */
static void test_anything(void **state)
{
	struct keys keys = { 0 };
	struct pressed pressed;
	unsigned seed = 1;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		static const char likely[] = "\033[O~;5A\xC3\xBC";
		char bytes[300];
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);

		for (size_t i = 0; i < len; i++)
			bytes[i] = rand_r(&seed) % 2
					   ? likely[(size_t)rand_r(&seed) % (sizeof(likely) - 1)]
					   : (char)rand_r(&seed);
		assert_true(keys_feed(&keys, bytes, len, round * LATE_US) <= len);
		for (unsigned n = 0; keys_next(&keys, round * LATE_US, &pressed); n++) {
			assert_true(n <= sizeof(keys.bytes));
			assert_true((pressed.key == KEY_TEXT) == (pressed.text[0] != '\0'));
		}
		assert_true(keys.n < sizeof(keys.bytes));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
