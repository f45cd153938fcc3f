/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as the texts of a table: the first is the width of the terminal, cells are apart by
 * newlines. */

#include <locale.h>
#include <string.h>

#include "common/text.h"
#include "fuzz/fuzz.h"
#include "taskctl/table.h"
#include "wire/json.h"
#include "wire/msgpack.h"

enum { TEXT, STATE, LIST, N_COLUMNS };

static const struct column columns[] = {
	[TEXT] = { "TEXT", "text", COLUMN_TEXT, .min = 3 },
	[STATE] = { "STATE", "state", COLUMN_STATE, .drop = 1 },
	[LIST] = { "LIST", "list", COLUMN_LIST, .drop = 2, .min = 5 },
};

static struct slice next_line(struct slice *rest)
{
	const char *end = memchr(rest->data, '\n', rest->len);
	struct slice line = { rest->data, end ? (size_t)(end - rest->data) : rest->len };
	size_t used = end ? line.len + 1 : line.len;

	rest->data += used;
	rest->len -= used;
	return line;
}

static void fill(struct table *t, struct slice rest)
{
	while (rest.len > 0) {
		char *list[2] = { 0 };

		table_row(t);
		table_put_slice(t, TEXT, next_line(&rest));
		table_put_slice(t, STATE, next_line(&rest));
		list[0] = slice_dup(next_line(&rest));
		list[1] = slice_dup(next_line(&rest));
		table_put_list(t, LIST, (const char *const *)list, 2);
		free(list[0]);
		free(list[1]);
	}
}

/* Nothing steers the terminal, and no line is wider than it. */
static void check_lines(struct slice text, size_t width)
{
	promise(text_is_utf8(text));
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		promise((c >= 0x20 && c != 0x7F) || c == '\n');
		promise(c != 0xC2 || (unsigned char)text.data[i + 1] >= 0xA0);
	}
	while (text.len > 0)
		promise(display_width(next_line(&text)) <= width);
}

static void check_people(struct table *t, size_t width)
{
	const struct output_options forms[] = {
		{ .no_header = true },
		{ .is_terminal = true, .width = width },
	};

	for (size_t i = 0; i < 2; i++) {
		struct buf out = { 0 };

		promise(table_render(t, &forms[i], &out) == 0);
		if (i == 1)
			check_lines(buf_slice(&out), width);
		buf_deinit(&out);
	}
}

static void check_json(struct table *t)
{
	const struct output_options json = { .format = OUTPUT_JSON };
	struct buf out = { 0 };
	struct slice rest;
	size_t n = 0, len;

	promise(table_render(t, &json, &out) == 0);
	check_lines(buf_slice(&out), SIZE_MAX);
	for (rest = buf_slice(&out); rest.len > 0; n++) {
		struct slice line = next_line(&rest);

		promise(json_value_len(line, 0, &len) == JSON_DONE && len == line.len);
	}
	promise(n == table_rows(t));
	buf_deinit(&out);
}

static void check_msgpack(struct table *t)
{
	const struct output_options msgpack = { .format = OUTPUT_MSGPACK };
	struct buf out = { 0 };
	size_t n = 0, at = 0, len;

	promise(table_render(t, &msgpack, &out) == 0);
	for (; at < out.len; at += len, n++)
		promise(msgpack_value_len((struct slice){ out.data + at, out.len - at }, 0, &len) ==
			MSGPACK_DONE);
	promise(n == table_rows(t));
	buf_deinit(&out);
}

static void check_screen(struct table *t, size_t width)
{
	struct table_view view = { .width = width, .height = 5, .selected = 1, .sorted = TEXT };
	struct buf out = { 0 };

	table_sort(t, TEXT, true);
	promise(table_draw(t, &view, &out) == 0);
	promise(table_counts(t, STATE, false, &out) == 0);
	promise(text_is_utf8(buf_slice(&out)));
	buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct table *t = table_new(columns, N_COLUMNS);
	size_t width = size > 0 ? data[0] % 100 + 1 : 80;

	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* for wcwidth */
	if (size > 0)
		fill(t, (struct slice){ (const char *)data + 1, size - 1 });
	check_people(t, width);
	check_json(t);
	check_msgpack(t);
	check_screen(t, width);
	table_free(t);
	return 0;
}
