/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/progress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "wire/json.h"
#include "wire/object.h"

static bool holds(struct slice record, const char *word)
{
	return memmem(record.data, record.len, word, strlen(word)) != NULL;
}

/* Keeps as many whole characters of @text as fit. A NUL would hide what follows. */
static void copy_cut(struct slice text, char *ret, size_t size)
{
	size_t len = text.len;

	if (len > size - 1) {
		len = size - 1;
		while (len > 0 && ((unsigned char)text.data[len] & 0xC0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++)
		ret[i] = text.data[i] == '\0' ? ' ' : text.data[i];
	ret[len] = '\0';
}

/* The text of @m, or "" if it is none. */
static void read_text(const struct member *m, char *ret, size_t size)
{
	struct buf text = { 0 };

	if (member_append_text(m, &text, NULL) == 0)
		copy_cut(buf_slice(&text), ret, size);
	else
		*ret = '\0';
	buf_deinit(&text);
}

struct meaning {
	bool has_done, done, fails;
	unsigned n_members;
	struct progress_failure *failure; /* may be NULL */
};

static void read_member(struct meaning *meaning, const struct member *m)
{
	char word[8];

	if (member_is(m, "done")) {
		meaning->has_done = true;
		member_bool(m, &meaning->done, NULL);
	} else if (member_is(m, "taskiface")) {
		read_text(m, word, sizeof(word));
		meaning->fails = strcmp(word, "fail") == 0;
	} else if (meaning->failure && member_is(m, "kind")) {
		read_text(m, meaning->failure->kind, sizeof(meaning->failure->kind));
	} else if (meaning->failure && member_is(m, "message")) {
		read_text(m, meaning->failure->message, sizeof(meaning->failure->message));
	}
}

static void read_object(struct meaning *meaning, enum wire_encoding encoding, struct slice record)
{
	struct object o;
	struct member m;
	int r;

	object_start(&o, encoding, record, WIRE_DEPTH_MAX);
	while ((r = object_next(&o, &m, NULL)) == OBJECT_MEMBER || r == OBJECT_BAD_MEMBER) {
		meaning->n_members++;
		if (r == OBJECT_MEMBER)
			read_member(meaning, &m);
	}
	object_deinit(&o);
}

enum progress_meaning progress_meaning(
	struct slice record, enum progress_kind kind, bool any_done, struct progress_failure *ret)
{
	struct meaning meaning = { .failure = ret };

	if (ret)
		*ret = (struct progress_failure){ 0 };
	if (kind == PROGRESS_LINE || (!holds(record, "done") && !holds(record, "taskiface")))
		return PROGRESS_FOR_REQUESTER;
	read_object(&meaning, kind == PROGRESS_JSON ? WIRE_JSON : WIRE_MSGPACK, record);
	if (meaning.fails)
		return PROGRESS_FAIL;
	if (meaning.has_done && (any_done || (meaning.done && meaning.n_members == 1)))
		return PROGRESS_DONE;
	return PROGRESS_FOR_REQUESTER;
}

/* Any bytes as an owned text; NUL becomes a space. */
static int to_message(struct slice text, char **ret)
{
	struct buf out = { 0 };
	int r = text_append_utf8(&out, text);

	if (r == 0)
		r = buf_append(&out, "", 1);
	if (r == 0) {
		copy_cut((struct slice){ out.data, out.len - 1 }, out.data, out.len);
		*ret = buf_steal(&out, NULL);
	}
	buf_deinit(&out);
	return r;
}

static int member_to_message(const struct member *m, char **ret)
{
	struct buf text = { 0 };
	int r = member_append_text(m, &text, NULL);

	if (r == 0)
		r = to_message(buf_slice(&text), ret);
	buf_deinit(&text);
	return r == -EINVAL ? 0 : r;
}

static int read_report(struct object *o, struct progress_report *ret)
{
	struct member m;
	double number;
	int r;

	while ((r = object_next(o, &m, NULL)) == OBJECT_MEMBER || r == OBJECT_BAD_MEMBER) {
		if (r == OBJECT_BAD_MEMBER)
			continue;
		r = 0;
		if (member_is(&m, "message"))
			r = member_to_message(&m, &ret->message);
		else if (member_is(&m, "fraction") && member_number(&m, &number, NULL) == 0 &&
			 number >= 0 && number <= 1) {
			ret->has_fraction = true;
			ret->fraction = number;
		}
		if (r < 0)
			break;
	}
	return r;
}

/* A JSON string is the message itself. */
static int read_string(struct slice record, struct progress_report *ret)
{
	const struct member m = { .encoding = WIRE_JSON, .value = record };
	size_t len;

	if (json_value_len(record, 0, &len) == JSON_DONE && len == record.len)
		return member_to_message(&m, &ret->message);
	return to_message(record, &ret->message);
}

int progress_report_decode(struct slice record, struct progress_report *ret)
{
	unsigned char first = record.len > 0 ? (unsigned char)record.data[0] : 0;
	struct object o;
	int r;

	*ret = (struct progress_report){ 0 };
	if (first == '"')
		return read_string(record, ret);
	object_start(&o, wire_detect(NULL, record), record, WIRE_DEPTH_MAX);
	r = read_report(&o, ret);
	object_deinit(&o);
	if (r < 0 || r == OBJECT_END || r == OBJECT_OVER_LIMIT)
		return r < 0 ? r : 0;
	/* No object: a line. What was read of it before that showed is not meant. */
	progress_report_deinit(ret);
	return to_message(record, &ret->message);
}

void progress_report_deinit(struct progress_report *report)
{
	free(report->message);
	*report = (struct progress_report){ 0 };
}

int progress_percent(double fraction)
{
	/* 0.29 * 100 is a little less than 29. */
	int percent = (int)(fraction * 100 + 1e-9);

	return percent == 100 && fraction < 1 ? 99 : percent;
}

int progress_append_record(struct buf *out, struct slice record, size_t max)
{
	if (wire_detect(NULL, record) == WIRE_MSGPACK && !text_is_utf8(record))
		return buf_printf(out, "(%zu bytes of MessagePack)", record.len);
	return text_append_clean(out, record, max);
}

static int append_report(
	struct buf *out, const struct progress_report *report, struct slice record, size_t max)
{
	int r = buf_append_text(out, "progress");

	if (r == 0 && report->has_fraction)
		r = buf_printf(out, " %d%%", progress_percent(report->fraction));
	if (r == 0 && (report->message || !report->has_fraction))
		r = buf_append_text(out, " ");
	if (r == 0 && report->message)
		r = text_append_clean(out, slice_of(report->message), max);
	else if (r == 0 && !report->has_fraction)
		r = progress_append_record(out, record, max);
	return r == 0 ? buf_append_text(out, "\n") : r;
}

int progress_append_line(struct buf *out, struct slice record, size_t max)
{
	struct progress_report report;
	size_t before = out->len;
	int r = progress_report_decode(record, &report);

	if (r == 0)
		r = append_report(out, &report, record, max);
	if (r < 0)
		out->len = before;
	progress_report_deinit(&report);
	return r;
}
