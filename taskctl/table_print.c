/* SPDX-License-Identifier: Apache-2.0 */
/* Where a table goes: to stdout, to a buffer, to a screen. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "taskctl/table_internal.h"
#include "taskctl/taskctl.h"

#define CHUNK (64 * 1024) /* written at once */

/* ---- to stdout ---- */

static int append_table_row(
	const struct table *t, const struct layout *layout, size_t row, struct buf *out)
{
	int r = table_append_row(t, layout, row, false, out);

	return r < 0 ? r : buf_append_text(out, "\n");
}

static int append_one(const struct table *t, const struct output_options *output,
	const struct layout *layout, size_t row, struct buf *out)
{
	switch (output->format) {
	case OUTPUT_JSON:
		return table_encode_json(t, row, out);
	case OUTPUT_MSGPACK:
		return table_encode_msgpack(t, row, out);
	default:
		return append_table_row(t, layout, row, out);
	}
}

static int append_first(struct table *t, const struct output_options *output, struct layout *layout,
	struct buf *out)
{
	int r;

	if (output->format != OUTPUT_TABLE)
		return 0;
	*layout = (struct layout){
		.for_terminal = output->is_terminal,
		.color = output->color,
		.is_printed = true,
		.width = output->width,
		.sorted = TABLE_NONE,
	};
	r = table_lay_out(t, layout);
	if (r < 0 || output->no_header || t->has_header)
		return r;
	r = table_append_header(t, layout, out);
	return r < 0 ? r : buf_append_text(out, "\n");
}

/* @fd -1: all stays in @out. */
static int put_out(struct table *t, const struct output_options *output, int fd, struct buf *out)
{
	struct layout layout;
	int r;

	if (!t || t->failed < 0)
		return t ? t->failed : -ENOMEM;
	r = append_first(t, output, &layout, out);
	for (size_t row = 0; row < t->n_rows && r == 0; row++) {
		r = append_one(t, output, &layout, row, out);
		if (r == 0 && fd >= 0 && out->len >= CHUNK) {
			r = write_all(fd, buf_slice(out));
			buf_clear(out);
		}
	}
	return r;
}

int table_print(struct table *t, const struct output_options *output)
{
	struct buf out = { 0 };
	int r = put_out(t, output, STDOUT_FILENO, &out);

	if (r == 0)
		r = write_all(STDOUT_FILENO, buf_slice(&out));
	if (r == 0)
		t->has_header = true;
	buf_deinit(&out);
	return r;
}

int table_render(struct table *t, const struct output_options *output, struct buf *out)
{
	return put_out(t, output, -1, out);
}

int table_show(struct table *t, const struct output_options *output)
{
	int r = table_print(t, output);

	if (r == 0)
		return EXIT_DONE;
	say("cannot write to stdout: %s", strerror(-r));
	return EXIT_LOCAL;
}

void table_show_counts(const struct table *t, size_t column, const struct output_options *output)
{
	struct buf line = { 0 };

	if (output->format != OUTPUT_TABLE || !output->is_terminal)
		return;
	if (table_counts(t, column, output->color, &line) == 0 && buf_append_text(&line, "\n") == 0)
		(void)write_all(STDOUT_FILENO, buf_slice(&line));
	buf_deinit(&line);
}

/* ---- full screen ---- */

static void scroll(const struct table *t, struct table_view *view, size_t n_lines)
{
	size_t n = t->n_rows;

	if (view->selected != TABLE_NONE && view->selected < n && n_lines > 0) {
		if (view->first > view->selected)
			view->first = view->selected;
		if (view->selected - view->first >= n_lines)
			view->first = view->selected - n_lines + 1;
	}
	/* Rows that went away leave no room at the end where some are hidden above. */
	if (n <= n_lines)
		view->first = 0;
	else if (view->first > n - n_lines)
		view->first = n - n_lines;
}

static int draw_line(const struct table *t, const struct layout *layout,
	const struct table_view *view, size_t row, struct buf *out)
{
	bool chosen = row == view->selected;
	int r = 0;

	if (row >= t->n_rows)
		return 0;
	if (view->selected != TABLE_NONE && !view->color)
		r = buf_append_text(out, chosen ? "> " : "  ");
	return r < 0 ? r : table_append_row(t, layout, row, chosen && view->color, out);
}

static int draw_header(const struct table *t, const struct layout *layout,
	const struct table_view *view, struct buf *out)
{
	int r = 0;

	if (view->selected != TABLE_NONE && !view->color)
		r = buf_append_text(out, "  ");
	return r < 0 ? r : table_append_header(t, layout, out);
}

int table_draw(struct table *t, struct table_view *view, struct buf *out)
{
	size_t margin = view->selected != TABLE_NONE && !view->color ? 2 : 0;
	struct layout layout = {
		.for_terminal = true,
		.color = view->color,
		.width = view->width > margin ? view->width - margin : 1,
		.sorted = view->sorted,
		.descending = view->descending,
	};
	int r;

	if (!t || t->failed < 0)
		return t ? t->failed : -ENOMEM;
	r = table_lay_out(t, &layout);
	scroll(t, view, view->height > 0 ? view->height - 1 : 0);
	for (size_t line = 0; line < view->height && r == 0; line++) {
		r = buf_append_text(out, line > 0 ? "\r\n\033[K" : "\033[K");
		if (r == 0 && line == 0)
			r = draw_header(t, &layout, view, out);
		else if (r == 0)
			r = draw_line(t, &layout, view, view->first + line - 1, out);
	}
	return r;
}
