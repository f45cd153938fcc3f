/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/progress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "wire/json.h"
#include "wire/msgpack.h"

/* Memory beyond this is given back when nothing is left in it. */
#define KEEP_BYTES ((size_t)64 << 10)
/* The longest key that the map of a record may have. */
#define KEY_MAX 1024

enum state { AT_START, IN_JSON, IN_MAP, IN_LINE, FAILED };

/* How far a map was followed. */
struct map_scan {
	enum { MAP_HEAD, MAP_KEY, MAP_VALUE } phase;
	uint64_t left; /* pairs */
	struct msgpack_skipper skipper;
};

/* All places are offsets into `data`. */
struct progress_reader {
	struct buf data;
	size_t record_max;
	enum state state;
	size_t line;  /* where the record begins if it turns out to be a line */
	size_t value; /* where it begins if it is a value: the same without white space */
	size_t at;    /* how far it was looked at */
	/* A value was followed up to here and then was none. What begins before is read as lines
	 * only, else each line of hostile input could begin a value that is followed to the same
	 * place. */
	size_t lines_until;
	/* Where writers closed (uint64_t each, in order, counted from the beginning of the stream).
	 * A text that its writer did not end with a newline ends there, also if it began like a
	 * value and only what follows shows that it is none. */
	struct buf closings;
	size_t first_closing; /* those before are of no account any more */
	uint64_t base;        /* where in the stream `data` begins */
	bool after_value;     /* white space that follows belongs to no line */
	bool ended;
	struct json_scanner json;
	struct map_scan map;
};

enum scan { SCAN_MORE, SCAN_DONE, SCAN_NO_VALUE, SCAN_TOO_LARGE };

struct progress_reader *progress_reader_new(size_t record_max)
{
	struct progress_reader *r = calloc(1, sizeof(*r));

	if (r)
		r->record_max = record_max;
	return r;
}

struct progress_reader *progress_reader_free(struct progress_reader *reader)
{
	if (reader) {
		buf_deinit(&reader->data);
		buf_deinit(&reader->closings);
		free(reader);
	}
	return NULL;
}

static size_t minus(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

static const uint64_t *closings(const struct progress_reader *r, size_t *ret_n)
{
	*ret_n = r->closings.len / sizeof(uint64_t);
	return (const uint64_t *)(const void *)r->closings.data;
}

/* The first place at @from or behind where a writer closed; SIZE_MAX where there is none. */
static size_t next_closing(const struct progress_reader *r, size_t from)
{
	size_t low = r->first_closing, high;
	const uint64_t *places = closings(r, &high);
	size_t n = high;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (places[middle] < r->base + from)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n ? (size_t)(places[low] - r->base) : SIZE_MAX;
}

/* Forgets those before `data`. */
static void forget_closings(struct progress_reader *r)
{
	size_t n;
	const uint64_t *places = closings(r, &n);

	while (r->first_closing < n && places[r->first_closing] < r->base)
		r->first_closing++;
	if (r->first_closing > n / 2) {
		buf_consume(&r->closings, r->first_closing * sizeof(uint64_t));
		r->first_closing = 0;
	}
}

/* Drops what was handed out. */
static void compact(struct progress_reader *r)
{
	size_t gone = r->line;

	if (gone == 0)
		return;
	buf_consume(&r->data, gone);
	r->base += gone;
	forget_closings(r);
	r->line = 0;
	r->value = minus(r->value, gone);
	r->at -= gone;
	r->lines_until = minus(r->lines_until, gone);
	if (r->data.len == 0 && r->data.cap > KEEP_BYTES)
		buf_deinit(&r->data);
}

int progress_feed(struct progress_reader *reader, struct slice bytes)
{
	compact(reader);
	return buf_append(&reader->data, bytes.data, bytes.len);
}

void progress_writer_closed(struct progress_reader *reader)
{
	uint64_t place = reader->base + reader->data.len;

	/* Where memory is short for it, two texts without newline may become one. */
	if (next_closing(reader, reader->data.len) == SIZE_MAX)
		(void)buf_append(&reader->closings, &place, sizeof(place));
}

void progress_end(struct progress_reader *reader)
{
	reader->ended = true;
}

static unsigned char byte_at(const struct progress_reader *r, size_t at)
{
	return (unsigned char)r->data.data[at];
}

static bool is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum progress_outcome too_large(struct progress_reader *r)
{
	r->state = FAILED;
	return PROGRESS_TOO_LARGE;
}

/* Hands out [from, to); the next record begins at @next or behind. */
static enum progress_outcome finish(
	struct progress_reader *r, size_t from, size_t to, size_t next, struct slice *ret)
{
	*ret = (struct slice){ r->data.data + from, to - from };
	r->line = r->at = next;
	r->after_value = r->state != IN_LINE;
	r->state = AT_START;
	return PROGRESS_RECORD;
}

/* What the first byte of a record promises, white space left aside. */
static enum state promise(const struct progress_reader *r)
{
	unsigned char c = byte_at(r, r->at);

	if (r->at < r->lines_until)
		return IN_LINE;
	if (c == '{' || c == '[' || c == '"')
		return IN_JSON;
	if ((c & 0xF0) == 0x80 || c == 0xDE || c == 0xDF)
		return IN_MAP;
	return IN_LINE;
}

/* Passes over white space before a record. True when the first byte of one is there; after false
 * there may be more white space than a record may have bytes. */
static bool skip_space(struct progress_reader *r)
{
	for (;;) {
		unsigned char c;

		if (r->after_value || next_closing(r, r->at) == r->at)
			r->line = r->at;
		if (r->at == r->data.len)
			break;
		c = byte_at(r, r->at);
		if (!is_space(c))
			return true;
		r->at++;
		if (c == '\n') {
			r->line = r->at;
			r->after_value = false;
		} else if (r->at - r->line > r->record_max + 1) {
			return false;
		}
	}
	if (r->ended)
		r->line = r->at;
	return false;
}

static bool begin(struct progress_reader *r)
{
	if (!skip_space(r))
		return false;
	r->after_value = false;
	r->value = r->at;
	r->state = promise(r);
	if (r->state == IN_JSON)
		json_scan_start(&r->json, 0);
	else if (r->state == IN_MAP)
		r->map.phase = MAP_HEAD;
	return true;
}

/* What may be looked at of a value: no more than its longest form. */
static struct slice window(const struct progress_reader *r)
{
	size_t max = r->value + r->record_max;
	size_t end = r->data.len < max ? r->data.len : max;

	return (struct slice){ r->data.data + r->at, end - r->at };
}

static enum scan follow_json(struct progress_reader *r)
{
	size_t used;
	enum json_outcome outcome = json_scan(&r->json, window(r), &used);

	r->at += used;
	return outcome == JSON_MORE ? SCAN_MORE : outcome == JSON_DONE ? SCAN_DONE : SCAN_NO_VALUE;
}

static enum scan follow_map_head(struct progress_reader *r)
{
	struct slice s = window(r);
	struct msgpack_head head;
	enum msgpack_outcome outcome;

	/* 0xDE and 0xDF begin characters of Thaana and N'Ko as well. Their second byte is one that
	 * no map of less than 32768 pairs has in this place. */
	if (s.len >= 2 && (unsigned char)s.data[0] >= 0xC0 &&
		((unsigned char)s.data[1] & 0xC0) == 0x80)
		return SCAN_NO_VALUE;
	outcome = msgpack_head_read(s, &head);
	if (outcome != MSGPACK_DONE)
		return SCAN_MORE;
	r->at += head.size;
	r->map.left = head.len;
	r->map.phase = MAP_KEY;
	return SCAN_DONE;
}

/* Keys are text: that tells a map from most of what only happens to begin like one. */
static enum scan follow_map_key(struct progress_reader *r)
{
	struct slice s = window(r), key;
	struct msgpack_head head;
	enum msgpack_outcome outcome = msgpack_head_read(s, &head);

	if (outcome == MSGPACK_MORE)
		return SCAN_MORE;
	if (outcome != MSGPACK_DONE || head.kind != MSGPACK_STR || head.len > KEY_MAX)
		return SCAN_NO_VALUE;
	if (s.len - head.size < head.len)
		return SCAN_MORE;
	key = (struct slice){ s.data + head.size, (size_t)head.len };
	if (!text_is_utf8(key))
		return SCAN_NO_VALUE;
	r->at += head.size + key.len;
	r->map.phase = MAP_VALUE;
	msgpack_skip_start(&r->map.skipper, 0);
	return SCAN_DONE;
}

static enum scan follow_map_value(struct progress_reader *r)
{
	size_t used;
	enum msgpack_outcome outcome = msgpack_skip(&r->map.skipper, window(r), &used);

	r->at += used;
	if (outcome == MSGPACK_MORE)
		/* A string or the like that is too long need not arrive before that can be said. */
		return r->at - r->value + r->map.skipper.payload > r->record_max ? SCAN_TOO_LARGE
										 : SCAN_MORE;
	if (outcome != MSGPACK_DONE)
		return SCAN_NO_VALUE;
	r->map.left--;
	r->map.phase = MAP_KEY;
	return SCAN_DONE;
}

static enum scan follow_map(struct progress_reader *r)
{
	enum scan scan = SCAN_DONE;

	while (scan == SCAN_DONE) {
		if (r->map.phase == MAP_HEAD)
			scan = follow_map_head(r);
		else if (r->map.phase == MAP_VALUE)
			scan = follow_map_value(r);
		else if (r->map.left == 0)
			break;
		else
			scan = follow_map_key(r);
	}
	return scan;
}

/* Goes on with a value. */
static enum scan follow(struct progress_reader *r)
{
	enum scan scan = r->state == IN_JSON ? follow_json(r) : follow_map(r);

	if (scan == SCAN_MORE && r->data.len - r->value > r->record_max)
		return SCAN_TOO_LARGE;
	return scan;
}

/* What began like a value is none: the line in which it began is the record. */
static void fall_back(struct progress_reader *r)
{
	r->lines_until = r->at;
	r->at = r->line;
	r->state = IN_LINE;
}

/* Nothing follows an unfinished value: it is a record as it is, without white space behind. */
static enum progress_outcome finish_unfinished(struct progress_reader *r, struct slice *ret)
{
	size_t to = r->data.len;

	while (is_space(byte_at(r, to - 1)))
		to--;
	r->state = IN_LINE;
	return finish(r, r->value, to, r->data.len, ret);
}

static enum progress_outcome read_line(struct progress_reader *r, struct slice *ret)
{
	size_t closing = next_closing(r, r->at > r->line ? r->at : r->line + 1);
	bool closed = closing != SIZE_MAX;
	size_t limit = closed ? closing : r->data.len;
	const char *newline = memchr(r->data.data + r->at, '\n', limit - r->at);
	size_t to = newline ? (size_t)(newline - r->data.data) : limit;
	bool complete = newline || closed || r->ended;
	size_t next;

	if (!complete)
		r->at = limit;
	if (complete || to - r->line == r->record_max + 1)
		/* If incomplete, the newline may still follow. */
		to -= byte_at(r, to - 1) == '\r';
	if (to - r->line > r->record_max)
		return too_large(r);
	if (!complete)
		return PROGRESS_NONE;
	next = newline ? (size_t)(newline - r->data.data) + 1 : limit;
	return finish(r, r->line, to, next, ret);
}

static enum progress_outcome too_much_space(struct progress_reader *r)
{
	return r->at - r->line > r->record_max + 1 ? too_large(r) : PROGRESS_NONE;
}

enum progress_outcome progress_next(
	struct progress_reader *reader, struct slice *ret, enum progress_kind *ret_kind)
{
	enum scan scan;

	for (;;) {
		switch (reader->state) {
		case AT_START:
			if (!begin(reader))
				return too_much_space(reader);
			break;
		case IN_LINE:
			*ret_kind = PROGRESS_LINE;
			return read_line(reader, ret);
		case FAILED:
			return PROGRESS_TOO_LARGE;
		case IN_JSON:
		case IN_MAP:
			*ret_kind = reader->state == IN_JSON ? PROGRESS_JSON : PROGRESS_MAP;
			scan = follow(reader);
			if (scan == SCAN_DONE)
				return finish(reader, reader->value, reader->at, reader->at, ret);
			if (scan == SCAN_TOO_LARGE)
				return too_large(reader);
			if (scan == SCAN_MORE && !reader->ended)
				return PROGRESS_NONE;
			if (scan == SCAN_MORE) {
				*ret_kind = PROGRESS_LINE;
				return finish_unfinished(reader, ret);
			}
			fall_back(reader);
			break;
		}
	}
}
