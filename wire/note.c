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
};

int note_decode(struct slice body, struct note *ret, struct error *err)
{
	char *op = NULL, *time = NULL;
	const struct text_field fields[] = { { "op", &op }, { "id", &ret->id }, { "time", &time },
		{ "instance", &ret->instance } };
	int r = fields_decode(WIRE_JSON, body, fields, N_FIELDS(fields), err);

	if (r == 0)
		r = fields_parse_op(note_names, N_FIELDS(note_names), op, err);
	if (r >= 0) {
		ret->op = (enum note_op)r;
		r = fields_check_id(ret->id, err);
	}
	if (r == 0 && (!time || parse_int(time, 0, INT64_MAX, &ret->time_ms) < 0))
		r = error_set(err, -EINVAL, "time is missing or no number");
	if (r == 0 && ret->op == NOTE_MARK && !ret->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	free(op);
	free(time);
	return r;
}

int note_encode(const struct note *note, struct buf *ret)
{
	struct note n = *note;
	char *op = (char *)note_names[note->op];
	char digits[24], *time = digits;
	const struct text_field fields[] = { { "op", &op }, { "id", &n.id }, { "time", &time },
		{ "instance", &n.instance } };

	snprintf(digits, sizeof(digits), "%lld", (long long)note->time_ms);
	return fields_encode(WIRE_JSON, fields, N_FIELDS(fields), ret);
}

void note_deinit(struct note *note)
{
	free(note->id);
	free(note->instance);
	*note = (struct note){ 0 };
}
