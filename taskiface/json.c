/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON, and checking JSON that the program hands in: a broken value would take the records
 * behind it along.
 */
#include "taskiface/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 512 };

/* By the first byte; 0: none begins so. */
static size_t sequence_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if (first >= 0xe0 && first <= 0xef)
		return 3;
	return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

size_t ti_utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf; /* of the second byte */
	size_t n = sequence_length(s[0]);

	if (n > left)
		return 0;
	if (n < 2)
		return n;
	if (s[0] == 0xe0)
		low = 0xa0; /* below: overlong */
	else if (s[0] == 0xed)
		high = 0x9f; /* above: surrogates */
	else if (s[0] == 0xf0)
		low = 0x90; /* below: overlong */
	else if (s[0] == 0xf4)
		high = 0x8f; /* above: beyond U+10FFFF */
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static int append_character(struct ti_buf *out, const unsigned char *s, size_t n)
{
	static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	const char *at = s[0] ? strchr(plain, s[0]) : NULL;
	char escape[8];

	if (n == 0)
		return ti_buf_append_text(out, "\xef\xbf\xbd"); /* U+FFFD */
	if (at)
		snprintf(escape, sizeof(escape), "\\%c", letters[at - plain]);
	else if (s[0] < 0x20 || s[0] == 0x7f)
		snprintf(escape, sizeof(escape), "\\u%04x", s[0]);
	else
		return ti_buf_append(out, s, n);
	return ti_buf_append_text(out, escape);
}

int ti_json_text(struct ti_buf *out, const char *text, size_t max)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text), used = 0;
	int r = ti_buf_append(out, "\"", 1);

	while (r == 0 && left > 0) {
		size_t n = ti_utf8_length(s, left), step = n ? n : 1;

		if (step > max - used)
			break;
		r = append_character(out, s, n);
		s += step;
		used += step;
		left -= step;
	}
	return r < 0 ? r : ti_buf_append(out, "\"", 1);
}

int ti_json_fraction(struct ti_buf *out, double fraction)
{
	unsigned millionths = 0;
	char text[16];
	int len;

	if (fraction >= 1)
		millionths = 1000000;
	else if (fraction > 0)
		millionths = (unsigned)(fraction * 1000000 + 0.5);
	len = snprintf(text, sizeof(text), "%u.%06u", millionths / 1000000, millionths % 1000000);
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	return ti_buf_append(out, text, (size_t)len);
}

/* --- checking. Each function gives the place behind what it read, or NULL. --- */

static const unsigned char *skip_space(const unsigned char *s)
{
	while (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
		s++;
	return s;
}

static const unsigned char *skip_hex4(const unsigned char *s)
{
	for (int i = 0; i < 4; i++, s++)
		if (*s == '\0' || !strchr("0123456789abcdefABCDEF", *s))
			return NULL;
	return s;
}

static const unsigned char *skip_escape(const unsigned char *s)
{
	if (*s == 'u')
		return skip_hex4(s + 1);
	return *s && strchr("\"\\/bfnrt", *s) ? s + 1 : NULL;
}

static const unsigned char *skip_string(const unsigned char *s)
{
	for (s++; s && *s != '"';) {
		if (*s < 0x20) /* '\0' too */
			return NULL;
		if (*s == '\\') {
			s = skip_escape(s + 1);
		} else {
			size_t n = ti_utf8_length(s, strnlen((const char *)s, 4));

			s = n ? s + n : NULL;
		}
	}
	return s ? s + 1 : NULL;
}

static const unsigned char *skip_digits(const unsigned char *s)
{
	if (*s < '0' || *s > '9')
		return NULL;
	while (*s >= '0' && *s <= '9')
		s++;
	return s;
}

static const unsigned char *skip_number(const unsigned char *s)
{
	if (*s == '-')
		s++;
	s = *s == '0' ? s + 1 : skip_digits(s);
	if (s && *s == '.')
		s = skip_digits(s + 1);
	if (s && (*s == 'e' || *s == 'E')) {
		s++;
		s = skip_digits(*s == '+' || *s == '-' ? s + 1 : s);
	}
	return s;
}

static const unsigned char *skip_word(const unsigned char *s)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strncmp((const char *)s, words[i], strlen(words[i])) == 0)
			return s + strlen(words[i]);
	return NULL;
}

static const unsigned char *skip_value(const unsigned char *s, int depth);

static const unsigned char *skip_member(const unsigned char *s, int depth)
{
	if (*s != '"')
		return NULL;
	s = skip_string(s);
	if (!s)
		return NULL;
	s = skip_space(s);
	return *s == ':' ? skip_value(s + 1, depth) : NULL;
}

/* An object or an array. */
static const unsigned char *skip_group(const unsigned char *s, int depth)
{
	const bool object = *s == '{';
	const unsigned char close = object ? '}' : ']';

	s = skip_space(s + 1);
	if (*s == close)
		return s + 1;
	for (;;) {
		s = object ? skip_member(skip_space(s), depth) : skip_value(s, depth);
		if (!s)
			return NULL;
		s = skip_space(s);
		if (*s == close)
			return s + 1;
		if (*s++ != ',')
			return NULL;
	}
}

static const unsigned char *skip_value(const unsigned char *s, int depth)
{
	s = skip_space(s);
	if (*s == '{' || *s == '[')
		return depth < DEPTH_MAX ? skip_group(s, depth + 1) : NULL;
	if (*s == '"')
		return skip_string(s);
	if (*s == '-' || (*s >= '0' && *s <= '9'))
		return skip_number(s);
	return skip_word(s);
}

int ti_json_value(struct ti_buf *out, const char *json)
{
	const unsigned char *end = skip_value((const unsigned char *)json, 0);
	size_t from = out->len;
	int r;

	if (!end || *skip_space(end) != '\0')
		return -EINVAL;
	r = ti_buf_append(out, json, (size_t)(end - (const unsigned char *)json));
	/* A line break can only stand between the parts of a value. */
	for (size_t i = from; r == 0 && i < out->len; i++)
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->data[i] = ' ';
	return r;
}
