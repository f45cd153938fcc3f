/* SPDX-License-Identifier: Apache-2.0 */
#include "common/text.h"

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"
#define ELLIPSIS    "\xE2\x80\xA6"

int text_follow(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
	/* The table of RFC 3629, section 4: overlong forms, surrogates and what is above U+10FFFF
	 * show in the second byte at the latest. */
	*ret_low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
	*ret_high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
	if (lead < 0x80)
		return 0;
	if (lead < 0xC2 || lead > 0xF4)
		return -1;
	return lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
}

int text_char_len(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.data;
	unsigned char low, high;
	int follow = text_follow(p[0], &low, &high);

	if (follow < 0)
		return -1;
	for (int i = 1; i <= follow; i++) {
		if ((size_t)i >= s.len || p[i] < low || p[i] > high)
			return -i;
		low = 0x80;
		high = 0xBF;
	}
	return 1 + follow;
}

size_t text_ascii_len(struct slice s)
{
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= s.len; i += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, s.data + i, sizeof(word));
		if (word & 0x8080808080808080)
			break;
	}
	while (i < s.len && (unsigned char)s.data[i] < 0x80)
		i++;
	return i;
}

size_t text_utf8_len(struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		struct slice rest = { s.data + i, s.len - i };
		size_t ascii = text_ascii_len(rest);
		int n;

		if (ascii > 0) {
			i += ascii;
			continue;
		}
		n = text_char_len(rest);
		if (n < 0)
			break;
		i += (size_t)n;
	}
	return i;
}

bool text_is_utf8(struct slice s)
{
	return text_utf8_len(s) == s.len;
}

bool text_is_label(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.:-";
	size_t len = strlen(text);

	return len >= 1 && len <= 64 && strspn(text, letters) == len;
}

struct slice text_skip_cut(struct slice s)
{
	/* A character has at most three bytes after its first; more are not the rest of one. */
	for (int i = 0; i < 3 && s.len > 0 && ((unsigned char)s.data[0] & 0xC0) == 0x80; i++) {
		s.data++;
		s.len--;
	}
	return s;
}

int text_append_utf8(struct buf *out, struct slice s)
{
	size_t before = out->len;
	int r = 0;

	s = text_skip_cut(s);
	while (s.len > 0 && r == 0) {
		size_t good = text_utf8_len(s);

		r = buf_append(out, s.data, good);
		s.data += good;
		s.len -= good;
		if (r == 0 && s.len > 0) {
			int skip = -text_char_len(s);

			r = buf_append_text(out, REPLACEMENT);
			s.data += skip;
			s.len -= (size_t)skip;
		}
	}
	if (r < 0)
		out->len = before;
	return r;
}

int text_append_clean(struct buf *out, struct slice s, size_t max)
{
	size_t before = out->len, len;
	int r = text_append_utf8(out, s);

	if (r < 0)
		return r;
	len = out->len - before;
	/* Cut between characters. */
	while (len > max || (len < out->len - before &&
				    ((unsigned char)out->data[before + len] & 0xC0) == 0x80))
		len--;
	for (size_t i = before; i < before + len; i++) {
		unsigned char byte = (unsigned char)out->data[i];

		/* Escape sequences begin with ESC, or in UTF-8 with U+0080..U+009F. */
		if (byte < 0x20 || byte == 0x7F)
			out->data[i] = ' ';
		else if (byte == 0xC2 && i + 1 < before + len &&
			 (unsigned char)out->data[i + 1] < 0xA0)
			out->data[i] = out->data[i + 1] = ' ';
	}
	if (before + len < out->len) {
		out->len = before + len;
		r = buf_append_text(out, ELLIPSIS);
	}
	if (r < 0)
		out->len = before;
	return r;
}

/* A character that may stand in a log line as it is: not one of those that end a line or steer a
 * terminal (C0, DEL, C1, line and paragraph separator). */
static bool is_printable(const char *p, int n)
{
	const unsigned char *c = (const unsigned char *)p;

	if (n == 1)
		return c[0] >= 0x20 && c[0] != 0x7F;
	if (n == 2)
		return c[0] != 0xC2 || c[1] >= 0xA0;
	return n > 0 && memcmp(p, "\xE2\x80\xA8", 3) != 0 && memcmp(p, "\xE2\x80\xA9", 3) != 0;
}

static bool is_plain(struct slice s)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len;) {
		int n = text_char_len((struct slice){ s.data + i, s.len - i });

		if (n < 0 || !is_printable(s.data + i, n) || strchr(" \"\\=", s.data[i]))
			return false;
		i += (size_t)n;
	}
	return true;
}

static int append_escaped(struct buf *out, const char *p, int n)
{
	int r = 0;

	switch (*p) {
	case '\n':
		return buf_append_text(out, "\\n");
	case '\t':
		return buf_append_text(out, "\\t");
	case '"':
		return buf_append_text(out, "\\\"");
	case '\\':
		return buf_append_text(out, "\\\\");
	}
	if (n > 0 && is_printable(p, n))
		return buf_append(out, p, (size_t)n);
	for (int i = 0; i < (n < 0 ? -n : n) && r == 0; i++)
		r = buf_printf(out, "\\x%02X", (unsigned char)p[i]);
	return r;
}

int text_append_quoted(struct buf *out, struct slice s, size_t max)
{
	size_t before = out->len;
	int r;

	if (!s.data)
		return buf_append_text(out, "-");
	if (s.len <= max && is_plain(s))
		return buf_append(out, s.data, s.len);

	r = buf_append_text(out, "\"");
	for (size_t i = 0; i < s.len && r == 0;) {
		int n = text_char_len((struct slice){ s.data + i, s.len - i });
		size_t step = (size_t)(n < 0 ? -n : n);

		if (step > max - i) {
			r = buf_append_text(out, ELLIPSIS);
			break;
		}
		r = append_escaped(out, s.data + i, n);
		i += step;
	}
	if (r == 0)
		r = buf_append_text(out, "\"");
	if (r < 0)
		out->len = before;
	return r;
}

/* The locale of this thread alone is another for a moment. */
static locale_t begin_plain(locale_t *ret_before)
{
	locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);

	*ret_before = plain ? uselocale(plain) : (locale_t)0;
	return plain;
}

static void end_plain(locale_t plain, locale_t before)
{
	if (!plain)
		return;
	uselocale(before);
	freelocale(plain);
}

void text_from_number(double number, char ret[TEXT_NUMBER_SIZE])
{
	locale_t before, plain = begin_plain(&before);

	snprintf(ret, TEXT_NUMBER_SIZE, "%.10g", number);
	end_plain(plain, before);
}

bool text_to_number(const char *text, double *ret)
{
	locale_t before, plain = begin_plain(&before);
	char *end;
	double number = strtod(text, &end);

	end_plain(plain, before);
	if (end == text || *end != '\0' || !isfinite(number))
		return false;
	*ret = number;
	return true;
}
