/* SPDX-License-Identifier: Apache-2.0 */
#include "common/parse.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, as formatting wants it. */
static const struct unit duration_units[] = {
	{ "d", 86400000000 },
	{ "h", 3600000000 },
	{ "m", 60000000 },
	{ "s", 1000000 },
	{ "ms", 1000 },
	{ "us", 1 },
};

static const struct unit size_units[] = {
	{ "GiB", (uint64_t)1 << 30 },
	{ "MiB", (uint64_t)1 << 20 },
	{ "KiB", (uint64_t)1 << 10 },
	{ "B", 1 },
};

#define N_UNITS(table) (sizeof(table) / sizeof(*(table)))

static const struct unit *unit_find(const struct unit *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

/* Reads decimal digits at *@at and moves it behind them. -EINVAL if there is none, -ERANGE (all
 * digits taken) if the value does not fit. */
static int digits(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t value = 0;
	int r = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			r = -ERANGE;
	*at = p;
	*ret = value;
	return r;
}

int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = false;
	uint64_t magnitude;
	int64_t value;
	int r;

	if (!text)
		return -EINVAL;
	if (*text == '-' || *text == '+')
		negative = *text++ == '-';
	r = digits(&text, &magnitude);
	if (r == -EINVAL || *text != '\0')
		return -EINVAL;
	if (r < 0 || magnitude > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	if (value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_bool(const char *text, bool *ret)
{
	static const char *const words[][2] = { { "false", "true" }, { "no", "yes" },
		{ "off", "on" }, { "0", "1" } };

	if (!text)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		for (int value = 0; value < 2; value++)
			if (strcasecmp(text, words[i][value]) == 0) {
				*ret = value;
				return 0;
			}
	return -EINVAL;
}

/* A decimal fraction as @ret_part / @ret_scale. More digits than nanoseconds of a day need must be
 * zeros, else the value is not representable. */
static int fraction(const char **at, uint64_t *ret_part, uint64_t *ret_scale)
{
	const char *p = *at;
	int r = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	*ret_part = 0;
	*ret_scale = 1;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (*ret_scale < 1000000000000) {
			*ret_part = *ret_part * 10 + (uint64_t)(*p - '0');
			*ret_scale *= 10;
		} else if (*p != '0') {
			r = -ERANGE;
		}
	}
	*at = p;
	return r;
}

int parse_duration(const char *text, uint64_t *ret_us)
{
	uint64_t whole, part = 0, scale = 1;
	const struct unit *unit;
	unsigned __int128 us;
	int r, r_fraction = 0;

	if (!text)
		return -EINVAL;
	if (strcmp(text, "0") == 0) {
		*ret_us = 0;
		return 0;
	}
	r = digits(&text, &whole);
	if (r == -EINVAL)
		return r;
	if (*text == '.') {
		text++;
		r_fraction = fraction(&text, &part, &scale);
		if (r_fraction == -EINVAL)
			return r_fraction;
	}
	unit = unit_find(duration_units, N_UNITS(duration_units), text);
	if (!unit)
		return -EINVAL;
	/* What is no whole number of microseconds is refused: 0.0000001s must not become 0. */
	us = (unsigned __int128)part * unit->factor;
	if (r < 0 || r_fraction < 0 || us % scale != 0)
		return -ERANGE;
	us = us / scale + (unsigned __int128)whole * unit->factor;
	if (us > UINT64_MAX)
		return -ERANGE;
	*ret_us = (uint64_t)us;
	return 0;
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
	const struct unit *unit;
	uint64_t value;
	int r;

	if (!text)
		return -EINVAL;
	r = digits(&text, &value);
	if (r == -EINVAL)
		return r;
	unit = unit_find(size_units, N_UNITS(size_units), *text == '\0' ? "B" : text);
	if (!unit)
		return -EINVAL;
	if (r < 0 || __builtin_mul_overflow(value, unit->factor, &value))
		return -ERANGE;
	*ret_bytes = value;
	return 0;
}

const char *format_duration(uint64_t us, char *buffer, unsigned size)
{
	size_t len = 0;

	snprintf(buffer, size, "0");
	for (size_t i = 0; i < N_UNITS(duration_units) && len < size; i++) {
		const struct unit *unit = &duration_units[i];

		if (us >= unit->factor)
			len += (size_t)snprintf(buffer + len, size - len, "%llu%s",
				(unsigned long long)(us / unit->factor), unit->name);
		us %= unit->factor;
	}
	return buffer;
}

const char *format_size(uint64_t bytes, char *buffer, unsigned size)
{
	const struct unit *unit = size_units;

	while (bytes % unit->factor != 0 || (bytes == 0 && unit->factor > 1))
		unit++;
	snprintf(buffer, size, "%llu%s", (unsigned long long)(bytes / unit->factor), unit->name);
	return buffer;
}
