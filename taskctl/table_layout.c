/* SPDX-License-Identifier: Apache-2.0 */
/* What a table looks like to people: cells as text, which columns are seen, and how wide. */
#include <string.h>

#include "common/clock.h"
#include "taskctl/table_internal.h"

#define GAP         2  /* spaces between columns */
#define ALIGNED_MAX 64 /* where nothing is cut: longer texts push what follows aside */
#define BAR_CELLS   10
#define BAR_COLUMNS (BAR_CELLS + 7) /* "[####......]  40%" */
#define PERCENT     4

static bool is_text(const struct column *column)
{
	return column->kind == COLUMN_TEXT || column->kind == COLUMN_STATE ||
	       column->kind == COLUMN_LIST;
}

static bool is_left(const struct column *column)
{
	return column->align == ALIGN_BY_KIND ? is_text(column) : column->align == ALIGN_LEFT;
}

/* ---- cells ---- */

static int append_fraction(struct buf *out, double fraction, bool with_bar)
{
	char cells[BAR_CELLS + 1];
	int full = (int)((fraction > 1 ? 1 : fraction < 0 ? 0 : fraction) * BAR_CELLS + 1e-9);
	int r;

	if (!with_bar)
		return human_percent(out, fraction);
	memset(cells, '.', BAR_CELLS);
	memset(cells, '#', (size_t)full);
	cells[BAR_CELLS] = '\0';
	r = buf_printf(out, "[%s] ", cells);
	return r < 0 ? r : human_percent(out, fraction);
}

static int append_list(const struct table *t, union cell cell, size_t columns, struct buf *out,
	size_t *ret_columns)
{
	struct buf joined = { 0 };
	size_t at, n = table_list(t, cell, &at);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct slice text = table_text_at(t, &at);

		if (i > 0)
			r = buf_append_text(&joined, ", ");
		if (r == 0)
			r = buf_append(&joined, text.data, text.len);
	}
	if (r == 0)
		r = display_append(out, buf_slice(&joined), columns, ret_columns);
	buf_deinit(&joined);
	return r;
}

static int append_number(const struct table *t, const struct layout *layout,
	const struct column *column, union cell cell, size_t columns, struct buf *out)
{
	switch (column->kind) {
	case COLUMN_BOOL:
		return buf_append_text(out, cell.number ? "yes" : "no");
	case COLUMN_BYTES:
		return human_bytes(out, cell.number);
	case COLUMN_DURATION:
		return human_duration(out, cell.number);
	case COLUMN_AGE:
		return human_age(out, cell.number);
	case COLUMN_TIME:
		return human_time(out, cell.number, layout->for_terminal ? t->now_ms : 0);
	case COLUMN_FRACTION:
		return append_fraction(
			out, cell.real, layout->for_terminal && columns >= BAR_COLUMNS);
	case COLUMN_NUMBER:
		return human_number(out, cell.real);
	case COLUMN_RATE:
		return human_rate(out, cell.real);
	default:
		return human_count(out, cell.number);
	}
}

static int append_text(const struct table *t, size_t row, size_t i, size_t columns, struct buf *out,
	size_t *ret_columns)
{
	const struct column *column = &t->columns[i];
	struct slice text = table_text(t, row, i), more = { 0 };
	struct buf joined = { 0 };
	int r = 0;

	if (column->aside > 0)
		more = table_text(t, row, column->aside);
	if (more.len > 0) {
		r = buf_append(&joined, text.data, text.len);
		if (r == 0)
			r = buf_append_text(&joined, ": ");
		if (r == 0)
			r = buf_append(&joined, more.data, more.len);
		text = buf_slice(&joined);
	}
	if (r == 0)
		r = column->ends ? display_append_ends(out, text, columns, ret_columns)
				 : display_append(out, text, columns, ret_columns);
	buf_deinit(&joined);
	return r;
}

/* At most @columns wide; numbers are as wide as they are. */
static int append_cell(const struct table *t, const struct layout *layout, size_t row, size_t i,
	size_t columns, struct buf *out, size_t *ret_columns)
{
	const struct column *column = &t->columns[i];
	union cell cell = table_cell(t, row, i);
	size_t before = out->len;
	int r;

	if (cell_is_absent(column, cell)) {
		*ret_columns = 1;
		return buf_append_text(out, "-");
	}
	if (column->kind == COLUMN_LIST)
		return append_list(t, cell, columns, out, ret_columns);
	if (is_text(column))
		return append_text(t, row, i, columns, out, ret_columns);
	r = append_number(t, layout, column, cell, columns, out);
	*ret_columns = out->len - before;
	return r;
}

/* ---- widths ---- */

static int measure_row(
	struct table *t, const struct layout *layout, size_t row, struct buf *scratch)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		size_t columns = 0;
		int r;

		if (!t->columns[i].title)
			continue;
		buf_clear(scratch);
		r = append_cell(t, layout, row, i, DISPLAY_ANY, scratch, &columns);
		if (r < 0)
			return r;
		if (columns > t->widths[i])
			t->widths[i] = columns;
	}
	return 0;
}

/* Of all rows that are new since the last time. */
static int measure(struct table *t, const struct layout *layout)
{
	struct buf scratch = { 0 };
	int r = 0;

	if (t->now_ms == 0)
		t->now_ms = clock_wall_ms();
	if (t->measured_for_terminal != layout->for_terminal) {
		memset(t->widths, 0, sizeof(t->widths));
		t->n_measured = 0;
		t->measured_for_terminal = layout->for_terminal;
	}
	/* The last row may still be filled when somebody looks: it is measured each time. */
	for (size_t row = t->n_measured; row < t->n_rows && r == 0; row++)
		r = measure_row(t, layout, row, &scratch);
	t->n_measured = t->n_rows > 0 ? t->n_rows - 1 : 0;
	buf_deinit(&scratch);
	return r;
}

static size_t title_width(const struct table *t, const struct layout *layout, size_t i)
{
	return display_width(slice_of(t->columns[i].title)) + (layout->sorted == i);
}

static size_t total_width(const struct table *t, const struct layout *layout)
{
	size_t total = 0, n = 0;

	for (size_t i = 0; i < t->n_columns; i++)
		if (layout->shown[i]) {
			total += layout->widths[i];
			n++;
		}
	return n > 0 ? total + (n - 1) * GAP : 0;
}

/* A column is seen that is less worth than room for this one. */
static bool stays_ample(const struct table *t, const struct layout *layout, size_t i)
{
	for (size_t other = 0; other < t->n_columns && t->columns[i].ample > 0; other++)
		if (layout->shown[other] && other != layout->sorted &&
			t->columns[other].drop > t->columns[i].ample_above)
			return true;
	return false;
}

/* How narrow a column may become. */
static size_t narrowest(const struct table *t, const struct layout *layout, size_t i)
{
	const struct column *column = &t->columns[i];
	size_t min = layout->widths[i];

	if (column->min == 0)
		return min;
	if (is_text(column))
		min = stays_ample(t, layout, i) ? column->ample : column->min;
	else if (column->kind == COLUMN_FRACTION)
		min = PERCENT > title_width(t, layout, i) ? PERCENT : title_width(t, layout, i);
	return min < layout->widths[i] ? min : layout->widths[i];
}

/* The widest of the columns that may still become narrower; TABLE_NONE. A bar goes as a whole, and
 * before any text is cut. */
static size_t widest(const struct table *t, const struct layout *layout)
{
	size_t found = TABLE_NONE;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!layout->shown[i] || layout->widths[i] == narrowest(t, layout, i))
			continue;
		if (!is_text(&t->columns[i]))
			return i;
		if (found == TABLE_NONE || layout->widths[i] > layout->widths[found])
			found = i;
	}
	return found;
}

static bool can_fit(const struct table *t, const struct layout *layout)
{
	struct layout least = *layout;

	for (size_t i = 0; i < t->n_columns; i++)
		least.widths[i] = narrowest(t, layout, i);
	return total_width(t, &least) <= layout->width;
}

static void cut(const struct table *t, struct layout *layout)
{
	size_t total, i;

	while ((total = total_width(t, layout)) > layout->width) {
		i = widest(t, layout);
		if (i == TABLE_NONE)
			return;
		if (is_text(&t->columns[i]))
			layout->widths[i]--;
		else
			layout->widths[i] = narrowest(t, layout, i);
	}
}

/* The column that is missed least: of those with the same @drop the last. Not what rows are sorted
 * by. */
static size_t least_needed(const struct table *t, const struct layout *layout)
{
	size_t found = TABLE_NONE;

	for (size_t i = 0; i < t->n_columns; i++)
		if (layout->shown[i] && t->columns[i].drop > 0 && i != layout->sorted &&
			(found == TABLE_NONE || t->columns[i].drop >= t->columns[found].drop))
			found = i;
	return found;
}

/* Not even what should always stay has room: columns go from the right, @sorted last, and the one
 * where the terminal ends is cut. Not a number: it would be another. */
static void force(const struct table *t, struct layout *layout, size_t sorted)
{
	for (size_t i = t->n_columns; i-- > 0;) {
		size_t total = total_width(t, layout), excess = total - layout->width;

		if (total <= layout->width)
			return;
		if (!layout->shown[i] || i == sorted)
			continue;
		if (total == layout->widths[i]) { /* the only one */
			layout->widths[i] = layout->width;
			return;
		}
		if (is_text(&t->columns[i]) && layout->widths[i] > excess) {
			layout->widths[i] -= excess;
			return;
		}
		layout->shown[i] = false;
	}
}

static void narrow(const struct table *t, struct layout *layout)
{
	while (!can_fit(t, layout)) {
		size_t i = least_needed(t, layout);

		if (i == TABLE_NONE) {
			cut(t, layout);
			force(t, layout, layout->sorted);
			force(t, layout, TABLE_NONE);
			return;
		}
		layout->shown[i] = false;
	}
	cut(t, layout);
}

int table_lay_out(struct table *t, struct layout *layout)
{
	int r = measure(t, layout);

	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_columns; i++) {
		size_t title;

		layout->shown[i] = t->columns[i].title != NULL;
		if (!layout->shown[i])
			continue;
		title = title_width(t, layout, i);
		layout->widths[i] = t->widths[i] > title ? t->widths[i] : title;
		if (layout->is_printed && layout->widths[i] < t->columns[i].width)
			layout->widths[i] = t->columns[i].width;
		if (layout->width == 0 && layout->widths[i] > ALIGNED_MAX)
			layout->widths[i] = ALIGNED_MAX;
		/* It would be cut to that, one by one. */
		if (layout->width > 0 && layout->widths[i] > layout->width &&
			is_text(&t->columns[i]) && t->columns[i].min > 0)
			layout->widths[i] = layout->width;
	}
	if (layout->width > 0)
		narrow(t, layout);
	layout->last = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		if (layout->shown[i])
			layout->last = i;
	return 0;
}

/* ---- lines ---- */

/* @text, which is @used columns wide, at its side of the column. */
static int append_aligned(const struct table *t, const struct layout *layout, size_t i,
	struct slice text, size_t used, enum paint paint, bool padded, struct buf *out)
{
	size_t space = layout->widths[i] > used ? layout->widths[i] - used : 0;
	bool left = is_left(&t->columns[i]);
	int r = left ? 0 : display_spaces(out, space);

	if (r == 0)
		r = buf_append_text(out, paint_on(paint));
	if (r == 0)
		r = buf_append(out, text.data, text.len);
	if (r == 0)
		r = buf_append_text(out, paint_off(paint));
	if (r == 0 && left && (padded || i != layout->last))
		r = display_spaces(out, space);
	return r;
}

static int append_gap(const struct layout *layout, size_t i, struct buf *out)
{
	for (size_t before = 0; before < i; before++)
		if (layout->shown[before])
			return display_spaces(out, GAP);
	return 0;
}

static int append_title(
	const struct table *t, const struct layout *layout, size_t i, struct buf *out)
{
	struct buf title = { 0 };
	size_t used = 0;
	int r = buf_append_text(&title, t->columns[i].title);
	struct buf shown = { 0 };

	if (r == 0 && layout->sorted == i)
		r = buf_append_text(&title, layout->descending ? "\xE2\x86\x93" : "\xE2\x86\x91");
	if (r == 0)
		r = display_append(&shown, buf_slice(&title), layout->widths[i], &used);
	if (r == 0)
		r = append_gap(layout, i, out);
	if (r == 0)
		r = append_aligned(t, layout, i, buf_slice(&shown), used,
			layout->color ? PAINT_TITLE : PAINT_NONE, false, out);
	buf_deinit(&title);
	buf_deinit(&shown);
	return r;
}

int table_append_header(const struct table *t, const struct layout *layout, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < t->n_columns && r == 0; i++)
		if (layout->shown[i])
			r = append_title(t, layout, i, out);
	return r;
}

static enum paint paint_of_cell(
	const struct table *t, const struct layout *layout, size_t row, size_t i, bool chosen)
{
	union cell cell = table_cell(t, row, i);
	size_t at = cell.text - 1;

	if (!layout->color || chosen)
		return PAINT_NONE;
	if (cell_is_absent(&t->columns[i], cell))
		return PAINT_FAINT;
	return t->columns[i].kind == COLUMN_STATE ? paint_of_state(table_text_at(t, &at))
						  : PAINT_NONE;
}

/* @text holds one cell after the other. */
static int append_row_cell(const struct table *t, const struct layout *layout, size_t row, size_t i,
	bool chosen, struct buf *text, struct buf *out)
{
	size_t used = 0, columns = layout->width > 0 ? layout->widths[i] : DISPLAY_ANY;
	int r;

	buf_clear(text);
	r = append_cell(t, layout, row, i, columns, text, &used);
	if (r == 0 && used > columns) { /* a part of a number would be another */
		buf_clear(text);
		r = display_append(text, slice_of("\xE2\x80\xA6"), columns, &used);
	}
	if (r == 0)
		r = append_gap(layout, i, out);
	if (r == 0)
		r = append_aligned(t, layout, i, buf_slice(text), used,
			paint_of_cell(t, layout, row, i, chosen), chosen, out);
	return r;
}

int table_append_row(const struct table *t, const struct layout *layout, size_t row, bool chosen,
	struct buf *out)
{
	size_t total = total_width(t, layout);
	struct buf text = { 0 };
	int r = chosen ? buf_append_text(out, paint_on(PAINT_CHOSEN)) : 0;

	for (size_t i = 0; i < t->n_columns && r == 0; i++)
		if (layout->shown[i])
			r = append_row_cell(t, layout, row, i, chosen, &text, out);
	if (r == 0 && chosen && layout->width > total)
		r = display_spaces(out, layout->width - total);
	if (r == 0 && chosen)
		r = buf_append_text(out, paint_off(PAINT_CHOSEN));
	buf_deinit(&text);
	return r;
}
