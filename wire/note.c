/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/note.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/parse.h"
#include "wire/fields.h"

#define N_FIELDS(fields) (sizeof(fields) / sizeof(*(fields)))

static const char *const note_names[] = {
	[NOTE_CANCEL] = "cancel",
	[NOTE_OVER] = "over",
	[NOTE_MARK] = "mark",
	[NOTE_SWEEP] = "sweep",
};

/* clang-format off */
#define NOTE_FIELDS(op, time, until, n) { \
	{ .name = "op", .value = &(op) }, \
	{ .name = "id", .value = &(n)->id }, \
	{ .name = "group", .value = &(n)->of.group }, \
	{ .name = "program", .value = &(n)->of.program }, \
	{ .name = "user", .value = &(n)->of.user }, \
	{ .name = "project", .value = &(n)->of.project }, \
	{ .name = "time", .value = &(time) }, \
	{ .name = "until", .value = &(until) }, \
	{ .name = "instance", .value = &(n)->instance }, \
}
/* clang-format on */

static int check_time(
	const char *name, const char *text, int64_t from, int64_t *ret, struct error *err)
{
	if (text && parse_int(text, from, INT64_MAX, ret) == 0)
		return 0;
	return error_set(err, -EINVAL, "%s is missing or no number", name);
}

static int check(
	const char *op, const char *time, const char *until, struct note *n, struct error *err)
{
	int r = fields_parse_op(note_names, N_FIELDS(note_names), op, err);

	if (r < 0)
		return r;
	n->op = (enum note_op)r;
	r = check_time("time", time, 0, &n->time_ms, err);
	if (r == 0 && n->op == NOTE_SWEEP)
		return check_time("until", until, n->time_ms, &n->until_ms, err);
	if (r == 0)
		r = fields_check_id(n->id, err);
	if (r == 0 && n->op == NOTE_MARK && !n->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	return r;
}

int note_decode(struct slice body, struct note *ret, struct error *err)
{
	char *op = NULL, *time = NULL, *until = NULL;
	const struct text_field fields[] = NOTE_FIELDS(op, time, until, ret);
	int r = fields_decode(WIRE_JSON, body, fields, N_FIELDS(fields), NULL, err);

	if (r == 0)
		r = check(op, time, until, ret, err);
	free(op);
	free(time);
	free(until);
	return r;
}

int note_encode(const struct note *note, struct buf *ret)
{
	struct note n = *note;
	char *op = (char *)note_names[note->op];
	char time_digits[24], *time = time_digits;
	char until_digits[24], *until = note->op == NOTE_SWEEP ? until_digits : NULL;
	const struct text_field fields[] = NOTE_FIELDS(op, time, until, &n);

	snprintf(time_digits, sizeof(time_digits), "%lld", (long long)note->time_ms);
	snprintf(until_digits, sizeof(until_digits), "%lld", (long long)note->until_ms);
	return fields_encode(WIRE_JSON, fields, N_FIELDS(fields), ret);
}

void note_deinit(struct note *note)
{
	char *none = NULL;
	const struct text_field fields[] = NOTE_FIELDS(none, none, none, note);

	for (size_t i = 0; i < N_FIELDS(fields); i++) {
		free(*fields[i].value);
		*fields[i].value = NULL;
	}
	*note = (struct note){ 0 };
}
