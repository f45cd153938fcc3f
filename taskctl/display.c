/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/display.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "common/parse.h"
#include "common/text.h"

#define REPLACEMENT "\xEF\xBF\xBD"
#define ELLIPSIS    "\xE2\x80\xA6"
#define MARKS_MAX   4 /* on one character; more would pile up over the lines around */

/* ---- text ---- */

struct glyph {
	const char *bytes; /* what is shown */
	size_t len;
	size_t columns;
	size_t used; /* of the text */
};

static uint32_t decode(const unsigned char *p, int n)
{
	uint32_t c = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));

	for (int i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3F);
	return c;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

/* Text after one of these may be shown far from where it stands. */
static bool is_direction(uint32_t c)
{
	return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
	       (c >= 0x2066 && c <= 0x2069);
}

bool display_steers(uint32_t character)
{
	return is_control(character) || is_direction(character);
}

/* The first character of @text, which is not empty. */
static struct glyph next_glyph(struct slice text)
{
	int n = text_char_len(text), columns;
	uint32_t c;

	if (n < 0)
		return (struct glyph){ REPLACEMENT, 3, 1, (size_t)-n };
	c = decode((const unsigned char *)text.data, n);
	if (is_control(c))
		return (struct glyph){ " ", 1, 1, (size_t)n };
	columns = n == 1 ? 1 : wcwidth((wchar_t)c);
	if (columns < 0 || is_direction(c))
		return (struct glyph){ REPLACEMENT, 3, 1, (size_t)n };
	return (struct glyph){ text.data, (size_t)n, (size_t)columns, (size_t)n };
}

int display_append(struct buf *out, struct slice text, size_t columns, size_t *ret_columns)
{
	size_t before = out->len, used = 0;
	size_t cut = before, cut_used = 0; /* where an ellipsis would still fit */
	unsigned marks = 0;
	int r = 0;

	while (text.len > 0 && r == 0) {
		struct glyph g = next_glyph(text);

		marks = g.columns == 0 ? marks + 1 : 0;
		if (used + g.columns > columns) {
			out->len = cut;
			r = columns > 0 ? buf_append_text(out, ELLIPSIS) : 0;
			used = columns > 0 ? cut_used + 1 : 0;
			break;
		}
		if (marks <= MARKS_MAX)
			r = buf_append(out, g.bytes, g.len);
		used += g.columns;
		if (used < columns) {
			cut = out->len;
			cut_used = used;
		}
		text.data += g.used;
		text.len -= g.used;
	}
	if (r < 0)
		out->len = before;
	else if (ret_columns)
		*ret_columns = used;
	return r;
}

/* The end of @text that takes at most @columns. */
static struct slice end_of(struct slice text, size_t columns)
{
	size_t width = display_width(text);

	while (text.len > 0) {
		struct glyph g = next_glyph(text);

		/* A mark alone would sit on what is before it. */
		if (width <= columns && g.columns > 0)
			break;
		width -= g.columns;
		text.data += g.used;
		text.len -= g.used;
	}
	return text;
}

int display_append_ends(struct buf *out, struct slice text, size_t columns, size_t *ret_columns)
{
	size_t before = out->len, begin = 0, end = 0;
	struct slice tail;
	int r;

	if (columns == DISPLAY_ANY || columns < 3 || display_width(text) <= columns)
		return display_append(out, text, columns, ret_columns);
	tail = end_of(text, (columns - 1) / 2);
	r = display_append(out, text, columns - (columns - 1) / 2, &begin);
	if (r == 0)
		r = display_append(out, tail, DISPLAY_ANY, &end);
	if (r < 0)
		out->len = before;
	else if (ret_columns)
		*ret_columns = begin + end;
	return r;
}

size_t display_width(struct slice text)
{
	size_t columns = 0;

	while (text.len > 0) {
		struct glyph g = next_glyph(text);

		columns += g.columns;
		text.data += g.used;
		text.len -= g.used;
	}
	return columns;
}

size_t display_prefix(struct slice text, size_t columns)
{
	size_t len = 0;

	while (len < text.len) {
		struct glyph g = next_glyph((struct slice){ text.data + len, text.len - len });

		if (g.columns > columns)
			break;
		columns -= g.columns;
		len += g.used;
	}
	return len;
}

int display_spaces(struct buf *out, size_t n)
{
	char *at;
	int r = buf_reserve(out, n, &at);

	if (r < 0 || n == 0)
		return r;
	memset(at, ' ', n);
	out->len += n;
	return 0;
}

/* ---- the terminal ---- */

static size_t from_environment(const char *name, size_t fallback)
{
	const char *text = getenv(name);
	int64_t value;

	return text && parse_int(text, 1, 10000, &value) == 0 ? (size_t)value : fallback;
}

bool display_can_draw(void)
{
	const char *terminal = getenv("TERM");

	return terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

size_t display_columns(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return from_environment("COLUMNS", 80);
	return size.ws_col;
}

size_t display_lines(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return from_environment("LINES", 24);
	return size.ws_row;
}

/* ---- colours ---- */

const char *paint_on(enum paint paint)
{
	static const char *const marks[] = {
		[PAINT_NONE] = "",
		[PAINT_GOOD] = "\033[32m",
		[PAINT_BUSY] = "\033[36m",
		[PAINT_CARE] = "\033[33m",
		[PAINT_BAD] = "\033[31m",
		[PAINT_FAINT] = "\033[2m",
		[PAINT_TITLE] = "\033[1m",
		[PAINT_CHOSEN] = "\033[7m",
	};

	return marks[paint];
}

const char *paint_off(enum paint paint)
{
	return paint == PAINT_NONE ? "" : "\033[0m";
}

/* In the order in which tasks, and then runners, go through them. */
static const struct state {
	const char *word;
	enum paint paint;
} states[] = {
	{ "queued", PAINT_FAINT },
	{ "waiting", PAINT_FAINT },
	{ "held", PAINT_CARE },
	{ "running", PAINT_BUSY },
	{ "paused", PAINT_CARE },
	{ "ending", PAINT_CARE },
	{ "done", PAINT_GOOD },
	{ "succeeded", PAINT_GOOD },
	{ "failed", PAINT_BAD },
	{ "cancelled", PAINT_FAINT },
	{ "ready", PAINT_GOOD },
	{ "draining", PAINT_CARE },
	{ "stopped", PAINT_FAINT },
};

enum paint paint_of_state(struct slice word)
{
	size_t rank = state_rank(word);

	return rank < STATE_UNKNOWN ? states[rank].paint : PAINT_NONE;
}

size_t state_rank(struct slice word)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (slice_equal(word, states[i].word))
			return i;
	return STATE_UNKNOWN;
}

static int append_count(struct buf *out, const struct state_count *count, bool color)
{
	enum paint paint = color ? paint_of_state(slice_of(count->word)) : PAINT_NONE;
	int r = buf_append_text(out, paint_on(paint));

	if (r == 0)
		r = display_append(out, slice_of(count->word), DISPLAY_ANY, NULL);
	if (r == 0)
		r = buf_printf(out, " %" PRIu64 "%s", count->n, paint_off(paint));
	return r;
}

int display_counts(struct buf *out, const struct state_count *counts, size_t n, bool color)
{
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (counts[i].n == 0)
			continue;
		if (any)
			r = buf_append_text(out, " · ");
		if (r == 0)
			r = append_count(out, &counts[i], color);
		any = true;
	}
	return r < 0 || any ? r : buf_append_text(out, "none");
}
