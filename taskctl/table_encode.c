/* SPDX-License-Identifier: Apache-2.0 */
/* What programs get of a table: a line of JSON or a map of MessagePack for each row. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/text.h"
#include "taskctl/table_internal.h"
#include "wire/json.h"
#include "wire/msgpack.h"

/* ---- JSON ---- */

/* The character of 2 or 3 bytes (or DEL) at @p that a terminal must not get; 0: none is there. Its
 * length is in @ret_len. */
static uint32_t steering_at(const char *p, size_t left, size_t *ret_len)
{
	const unsigned char *c = (const unsigned char *)p;
	uint32_t found = 0;

	*ret_len = 1;
	if (c[0] == 0x7F) {
		found = 0x7F;
	} else if (c[0] >= 0xC2 && c[0] < 0xE0 && left >= 2) {
		*ret_len = 2;
		found = (c[0] & 0x1Fu) << 6 | (c[1] & 0x3F);
	} else if (c[0] >= 0xE0 && c[0] < 0xF0 && left >= 3) {
		*ret_len = 3;
		found = (c[0] & 0x0Fu) << 12 | (c[1] & 0x3Fu) << 6 | (c[2] & 0x3F);
	}
	return display_steers(found) && found != 0 ? found : 0;
}

/* JSON may be read on a terminal, and it lets every character but ASCII's controls pass. */
static int append_json_text(struct buf *out, struct slice text)
{
	struct buf quoted = { 0 };
	size_t from = 0, at = 0;
	int r = json_quote(&quoted, text);

	while (r == 0 && at < quoted.len) {
		size_t len;
		uint32_t steering = steering_at(quoted.data + at, quoted.len - at, &len);

		if (steering) {
			r = buf_append(out, quoted.data + from, at - from);
			if (r == 0)
				r = buf_printf(out, "\\u%04" PRIx32, steering);
			from = at + len;
		}
		at += len;
	}
	if (r == 0)
		r = buf_append(out, quoted.data + from, quoted.len - from);
	buf_deinit(&quoted);
	return r;
}

/* As short as it may be without becoming another number. */
static int append_json_real(struct buf *out, double value)
{
	char text[32];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return buf_append_text(out, text);
}

static int append_json_list(const struct table *t, union cell cell, struct buf *out)
{
	size_t at, n = table_list(t, cell, &at);
	int r = buf_append_text(out, "[");

	for (size_t i = 0; i < n && r == 0; i++) {
		if (i > 0)
			r = buf_append_text(out, ",");
		if (r == 0)
			r = append_json_text(out, table_text_at(t, &at));
	}
	return r < 0 ? r : buf_append_text(out, "]");
}

static int append_json_cell(
	const struct table *t, const struct column *column, union cell cell, struct buf *out)
{
	size_t at = cell.text - 1;

	if (cell_is_absent(column, cell))
		return buf_append_text(out, "null");
	switch (column->kind) {
	case COLUMN_TEXT:
	case COLUMN_STATE:
		return append_json_text(out, table_text_at(t, &at));
	case COLUMN_LIST:
		return append_json_list(t, cell, out);
	case COLUMN_BOOL:
		return buf_append_text(out, cell.number ? "true" : "false");
	case COLUMN_FRACTION:
	case COLUMN_NUMBER:
	case COLUMN_RATE:
		return append_json_real(out, cell.real);
	default:
		return buf_printf(out, "%" PRId64, cell.number);
	}
}

int table_encode_json(const struct table *t, size_t row, struct buf *out)
{
	const char *before = "{";
	int r = 0;

	for (size_t i = 0; i < t->n_columns && r == 0; i++) {
		if (!t->columns[i].member)
			continue;
		r = buf_printf(out, "%s\"%s\":", before, t->columns[i].member);
		if (r == 0)
			r = append_json_cell(t, &t->columns[i], table_cell(t, row, i), out);
		before = ",";
	}
	return r < 0 ? r : buf_append_text(out, "}\n");
}

/* ---- MessagePack ---- */

static int put_text(msgpack_packer *packer, struct slice text)
{
	struct buf clean = { 0 };
	bool is_clean = text_is_utf8(text);
	int r = is_clean ? 0 : text_append_utf8(&clean, text);

	if (r == 0)
		r = msgpack_put_text(packer, is_clean ? text : buf_slice(&clean));
	buf_deinit(&clean);
	return r;
}

static int put_list(const struct table *t, union cell cell, msgpack_packer *packer)
{
	size_t at, n = table_list(t, cell, &at);
	int r = msgpack_pack_array(packer, n);

	for (size_t i = 0; i < n && r == 0; i++)
		r = put_text(packer, table_text_at(t, &at));
	return r;
}

static int put_cell(
	const struct table *t, const struct column *column, union cell cell, msgpack_packer *packer)
{
	size_t at = cell.text - 1;

	if (cell_is_absent(column, cell))
		return msgpack_pack_nil(packer);
	switch (column->kind) {
	case COLUMN_TEXT:
	case COLUMN_STATE:
		return put_text(packer, table_text_at(t, &at));
	case COLUMN_LIST:
		return put_list(t, cell, packer);
	case COLUMN_BOOL:
		return msgpack_put_bool(packer, cell.number != 0);
	case COLUMN_FRACTION:
	case COLUMN_NUMBER:
	case COLUMN_RATE:
		return msgpack_pack_double(packer, cell.real);
	default:
		return msgpack_pack_int64(packer, cell.number);
	}
}

int table_encode_msgpack(const struct table *t, size_t row, struct buf *out)
{
	msgpack_packer packer;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < t->n_columns; i++)
		n += t->columns[i].member != NULL;
	msgpack_to_buf(&packer, out);
	r = msgpack_pack_map(&packer, n);
	for (size_t i = 0; i < t->n_columns && r == 0; i++) {
		if (!t->columns[i].member)
			continue;
		r = msgpack_put_text(&packer, slice_of(t->columns[i].member));
		if (r == 0)
			r = put_cell(t, &t->columns[i], table_cell(t, row, i), &packer);
	}
	return r;
}
