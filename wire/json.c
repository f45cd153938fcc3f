/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

enum state {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_CLOSE, /* after [ */
	EXPECT_NAME,
	EXPECT_NAME_OR_CLOSE, /* after { */
	EXPECT_COLON,
	EXPECT_COMMA_OR_CLOSE,
	IN_STRING,
	IN_ESCAPE,
	IN_HEX,
	IN_CHARACTER, /* of several bytes */
	IN_LITERAL,
	/* From here on in the order of number_table. */
	NUMBER_MINUS,
	NUMBER_ZERO,
	NUMBER_INTEGER,
	NUMBER_DOT,
	NUMBER_FRACTION,
	NUMBER_E,
	NUMBER_SIGN,
	NUMBER_EXPONENT,
	NUMBER_END, /* the byte does not belong to the number, which is complete */
	COMPLETE,
	FAULTY,
	TOO_DEEP,
};

enum number_class {
	CLASS_MINUS,
	CLASS_PLUS,
	CLASS_ZERO,
	CLASS_DIGIT,
	CLASS_DOT,
	CLASS_E,
	CLASS_OTHER
};

#define NUMBER_FIRST NUMBER_MINUS
#define END          NUMBER_END

/* What follows in a number: a row for each state, a column for each class of byte: - + 0 1-9 . e/E
 * and other. */
static const unsigned char number_table[][CLASS_OTHER + 1] = {
	/* MINUS    */ { FAULTY, FAULTY, NUMBER_ZERO, NUMBER_INTEGER, FAULTY, FAULTY, FAULTY },
	/* ZERO     */ { END, END, END, END, NUMBER_DOT, NUMBER_E, END },
	/* INTEGER  */ { END, END, NUMBER_INTEGER, NUMBER_INTEGER, NUMBER_DOT, NUMBER_E, END },
	/* DOT      */ { FAULTY, FAULTY, NUMBER_FRACTION, NUMBER_FRACTION, FAULTY, FAULTY, FAULTY },
	/* FRACTION */ { END, END, NUMBER_FRACTION, NUMBER_FRACTION, END, NUMBER_E, END },
	/* E        */
	{ NUMBER_SIGN, NUMBER_SIGN, NUMBER_EXPONENT, NUMBER_EXPONENT, FAULTY, FAULTY, FAULTY },
	/* SIGN     */ { FAULTY, FAULTY, NUMBER_EXPONENT, NUMBER_EXPONENT, FAULTY, FAULTY, FAULTY },
	/* EXPONENT */ { END, END, NUMBER_EXPONENT, NUMBER_EXPONENT, END, END, END },
};

#undef END

static enum number_class number_class(unsigned char c)
{
	switch (c) {
	case '-':
		return CLASS_MINUS;
	case '+':
		return CLASS_PLUS;
	case '0':
		return CLASS_ZERO;
	case '1' ... '9':
		return CLASS_DIGIT;
	case '.':
		return CLASS_DOT;
	case 'e':
	case 'E':
		return CLASS_E;
	}
	return CLASS_OTHER;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_hex(unsigned char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

size_t json_space_len(struct slice s)
{
	size_t i = 0;

	while (i < s.len && is_space((unsigned char)s.data[i]))
		i++;
	return i;
}

static void open_container(struct json_scanner *s, bool is_object)
{
	unsigned char bit = (unsigned char)(1u << (s->depth % 8));

	if (s->depth >= s->depth_max) {
		s->state = TOO_DEEP;
		return;
	}
	if (is_object)
		s->is_object[s->depth / 8] |= bit;
	else
		s->is_object[s->depth / 8] &= (unsigned char)~bit;
	s->depth++;
	s->state = is_object ? EXPECT_NAME_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
}

static bool in_object(const struct json_scanner *s)
{
	unsigned at = s->depth - 1;

	return s->is_object[at / 8] >> (at % 8) & 1;
}

static void value_ends(struct json_scanner *s)
{
	s->state = s->depth == 0 ? COMPLETE : EXPECT_COMMA_OR_CLOSE;
}

static void close_container(struct json_scanner *s, unsigned char c)
{
	if (in_object(s) != (c == '}')) {
		s->state = FAULTY;
		return;
	}
	s->depth--;
	value_ends(s);
}

static void begin_string(struct json_scanner *s, bool in_name)
{
	s->in_name = in_name;
	s->state = IN_STRING;
}

static void begin_literal(struct json_scanner *s, const char *literal)
{
	s->literal = literal + 1;
	s->state = IN_LITERAL;
}

static void begin_value(struct json_scanner *s, unsigned char c)
{
	switch (c) {
	case '{':
	case '[':
		open_container(s, c == '{');
		break;
	case '"':
		begin_string(s, false);
		break;
	case '-':
		s->state = NUMBER_MINUS;
		break;
	case '0':
		s->state = NUMBER_ZERO;
		break;
	case '1' ... '9':
		s->state = NUMBER_INTEGER;
		break;
	case 't':
		begin_literal(s, "true");
		break;
	case 'f':
		begin_literal(s, "false");
		break;
	case 'n':
		begin_literal(s, "null");
		break;
	default:
		s->state = FAULTY;
	}
}

/* A byte between values; white space may stand there. */
static void step_between(struct json_scanner *s, unsigned char c)
{
	if (is_space(c))
		return;
	switch (s->state) {
	case EXPECT_VALUE_OR_CLOSE:
		if (c == ']')
			close_container(s, c);
		else
			begin_value(s, c);
		break;
	case EXPECT_VALUE:
		begin_value(s, c);
		break;
	case EXPECT_NAME_OR_CLOSE:
	case EXPECT_NAME:
		if (c == '"')
			begin_string(s, true);
		else if (c == '}' && s->state == EXPECT_NAME_OR_CLOSE)
			close_container(s, c);
		else
			s->state = FAULTY;
		break;
	case EXPECT_COLON:
		s->state = c == ':' ? EXPECT_VALUE : FAULTY;
		break;
	default:
		if (c == '}' || c == ']')
			close_container(s, c);
		else if (c == ',')
			s->state = in_object(s) ? EXPECT_NAME : EXPECT_VALUE;
		else
			s->state = FAULTY;
	}
}

static void step_string(struct json_scanner *s, unsigned char c)
{
	int follow;

	if (c == '"') {
		if (s->in_name)
			s->state = EXPECT_COLON;
		else
			value_ends(s);
	} else if (c == '\\') {
		s->state = IN_ESCAPE;
	} else if (c < 0x20) {
		s->state = FAULTY;
	} else if (c >= 0x80) {
		follow = text_follow(c, &s->low, &s->high);
		s->left = (unsigned char)follow;
		s->state = follow < 0 ? FAULTY : IN_CHARACTER;
	}
}

static void step_inside(struct json_scanner *s, unsigned char c)
{
	switch (s->state) {
	case IN_ESCAPE:
		s->left = 4;
		s->state = c == 'u' ? IN_HEX : c && strchr("\"\\/bfnrt", c) ? IN_STRING : FAULTY;
		break;
	case IN_HEX:
		s->state = !is_hex(c) ? FAULTY : --s->left > 0 ? IN_HEX : IN_STRING;
		break;
	case IN_CHARACTER:
		if (c < s->low || c > s->high)
			s->state = FAULTY;
		else if (--s->left == 0)
			s->state = IN_STRING;
		s->low = 0x80;
		s->high = 0xBF;
		break;
	default: /* IN_LITERAL */
		if (c != (unsigned char)*s->literal)
			s->state = FAULTY;
		else if (*++s->literal == '\0')
			value_ends(s);
	}
}

/* Takes one byte; false if the byte was not used, because a number ended before it. */
static bool step(struct json_scanner *s, unsigned char c)
{
	if (s->state < IN_STRING) {
		step_between(s, c);
	} else if (s->state == IN_STRING) {
		step_string(s, c);
	} else if (s->state < NUMBER_FIRST) {
		step_inside(s, c);
	} else {
		s->state = number_table[s->state - NUMBER_FIRST][number_class(c)];
		if (s->state == NUMBER_END) {
			value_ends(s);
			return false;
		}
	}
	return true;
}

/* How many bytes of a string can be passed over in one go: neither quote nor backslash, no control
 * and nothing beyond ASCII. Most of a large body is one base64 string, so this is where time goes.
 */
static size_t plain_len(const char *data, size_t len)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	size_t i = 0;

	for (; i + 8 <= len; i += 8) {
		uint64_t word, quote, backslash;

		memcpy(&word, data + i, 8);
		quote = word ^ (ones * '"');
		backslash = word ^ (ones * '\\');
		/* A byte b of x is zero (or less than n) only if b - 1 (b - n) borrows into its top
		 * bit. */
		if ((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & high)
			break;
	}
	for (; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
	}
	return i;
}

void json_scan_start(struct json_scanner *s, unsigned depth_max)
{
	s->state = EXPECT_VALUE;
	s->depth = 0;
	s->depth_max = depth_max == 0 ? WIRE_DEPTH_DEFAULT : depth_max;
	if (s->depth_max > WIRE_DEPTH_MAX)
		s->depth_max = WIRE_DEPTH_MAX;
}

enum json_outcome json_scan(struct json_scanner *s, struct slice bytes, size_t *ret_used)
{
	size_t i = 0;

	while (i < bytes.len) {
		if (s->state == IN_STRING) {
			i += plain_len(bytes.data + i, bytes.len - i);
			if (i == bytes.len)
				break;
		}
		if (step(s, (unsigned char)bytes.data[i]) && s->state < FAULTY)
			i++;
		if (s->state >= COMPLETE)
			break;
	}
	*ret_used = i;
	return s->state == COMPLETE   ? JSON_DONE
	       : s->state == FAULTY   ? JSON_BAD
	       : s->state == TOO_DEEP ? JSON_TOO_DEEP
				      : JSON_MORE;
}

enum json_outcome json_value_len(struct slice s, unsigned depth_max, size_t *ret_len)
{
	struct json_scanner scanner;
	enum json_outcome outcome;

	json_scan_start(&scanner, depth_max);
	outcome = json_scan(&scanner, s, ret_len);
	if (outcome != JSON_MORE)
		return outcome;
	/* A number has no end of its own: what follows it, here nothing, ends it. */
	if (scanner.depth == 0 && scanner.state >= NUMBER_FIRST && !step(&scanner, ' '))
		return JSON_DONE;
	return JSON_BAD;
}

/* Four hexadecimal digits, known to be such. */
static unsigned hex4(const char *p)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++) {
		unsigned char c = (unsigned char)p[i];

		value = value << 4 | (c <= '9' ? c - 0u - '0' : (c | 0x20u) - 'a' + 10u);
	}
	return value;
}

static int append_code(struct buf *out, unsigned code)
{
	char c[4];
	size_t n;

	if (code < 0x80) {
		c[0] = (char)code;
		n = 1;
	} else if (code < 0x800) {
		c[0] = (char)(0xC0 | code >> 6);
		n = 2;
	} else if (code < 0x10000) {
		c[0] = (char)(0xE0 | code >> 12);
		n = 3;
	} else {
		c[0] = (char)(0xF0 | code >> 18);
		n = 4;
	}
	for (size_t i = 1; i < n; i++)
		c[i] = (char)(0x80 | (code >> (6 * (n - 1 - i)) & 0x3F));
	return buf_append(out, c, n);
}

/* The escape at @p (at its backslash, well-formed) and how long it is. */
static int append_escape(struct buf *out, struct slice p, size_t *ret_len)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	unsigned code, low;

	*ret_len = 2;
	if (p.data[1] != 'u')
		return buf_append(out, &values[strchr(names, p.data[1]) - names], 1);
	code = hex4(p.data + 2);
	*ret_len = 6;
	if (code >= 0xDC00 && code <= 0xDFFF)
		return -EINVAL;
	if (code >= 0xD800 && code <= 0xDBFF) {
		if (p.len < 12 || p.data[6] != '\\' || p.data[7] != 'u')
			return -EINVAL;
		low = hex4(p.data + 8);
		if (low < 0xDC00 || low > 0xDFFF)
			return -EINVAL;
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
		*ret_len = 12;
	}
	return append_code(out, code);
}

int json_unquote(struct buf *out, struct slice quoted)
{
	struct slice rest = { quoted.data + 1, quoted.len - 2 };
	char *unused;
	/* No escape is shorter than what it stands for. */
	int r = buf_reserve(out, rest.len, &unused);

	while (rest.len > 0 && r == 0) {
		const char *escape = memchr(rest.data, '\\', rest.len);
		size_t n = escape ? (size_t)(escape - rest.data) : rest.len;

		r = buf_append(out, rest.data, n);
		if (r == 0 && escape) {
			size_t len;

			r = append_escape(out, (struct slice){ escape, rest.len - n }, &len);
			n += len;
		}
		if (r == 0) {
			rest.data += n;
			rest.len -= n;
		}
	}
	return r;
}

/* How an ASCII character that cannot stand for itself is written. */
static const char *escape_of(unsigned char c, char buffer[8])
{
	static const char *const named[0x20] = {
		['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"
	};

	if (c == '"')
		return "\\\"";
	if (c == '\\')
		return "\\\\";
	if (named[c])
		return named[c];
	snprintf(buffer, 8, "\\u%04x", c);
	return buffer;
}

/* Passes @text on in pieces that need nothing more than copying. */
static int quote_pieces(
	struct slice text, int (*emit)(void *to, const char *data, size_t len), void *to)
{
	char buffer[8];
	int r = 0;

	while (text.len > 0 && r == 0) {
		size_t n = plain_len(text.data, text.len);
		int c;

		if (n > 0) {
			r = emit(to, text.data, n);
		} else if ((unsigned char)*text.data < 0x80) {
			const char *escape = escape_of((unsigned char)*text.data, buffer);

			r = emit(to, escape, strlen(escape));
			n = 1;
		} else {
			c = text_char_len(text);
			n = (size_t)(c < 0 ? -c : c);
			r = c > 0 ? emit(to, text.data, n) : emit(to, "\xEF\xBF\xBD", 3);
		}
		text.data += n;
		text.len -= n;
	}
	return r;
}

static int emit_append(void *to, const char *data, size_t len)
{
	return buf_append(to, data, len);
}

static int emit_count(void *to, const char *data, size_t len)
{
	(void)data;
	*(size_t *)to += len;
	return 0;
}

size_t json_quoted_len(struct slice text)
{
	size_t len = 2;

	quote_pieces(text, emit_count, &len);
	return len;
}

int json_quote(struct buf *out, struct slice text)
{
	size_t before = out->len;
	int r = buf_append_text(out, "\"");

	if (r == 0)
		r = quote_pieces(text, emit_append, out);
	if (r == 0)
		r = buf_append_text(out, "\"");
	if (r < 0)
		out->len = before;
	return r;
}
