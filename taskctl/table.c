/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/table.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "taskctl/table_internal.h"

struct table *table_new(const struct column *columns, size_t n)
{
	struct table *t = calloc(1, sizeof(*t));

	assert(n > 0 && n <= COLUMNS_MAX);
	if (!t)
		return NULL;
	t->columns = columns;
	t->n_columns = n;
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	free(t->cells);
	buf_deinit(&t->texts);
	free(t);
	return NULL;
}

void table_clear(struct table *t)
{
	if (!t)
		return;
	t->n_rows = 0;
	t->n_measured = 0;
	t->now_ms = 0;
	buf_clear(&t->texts);
}

/* ---- putting ---- */

static bool holds_text(const struct column *column)
{
	return column->kind == COLUMN_TEXT || column->kind == COLUMN_STATE;
}

static bool holds_real(const struct column *column)
{
	return column->kind == COLUMN_FRACTION || column->kind == COLUMN_NUMBER ||
	       column->kind == COLUMN_RATE;
}

static bool holds_number(const struct column *column)
{
	return !holds_text(column) && !holds_real(column) && column->kind != COLUMN_LIST;
}

static union cell absent_cell(const struct column *column)
{
	if (holds_real(column))
		return (union cell){ .real = NAN };
	if (holds_number(column))
		return (union cell){ .number = TABLE_ABSENT };
	return (union cell){ .text = 0 };
}

bool cell_is_absent(const struct column *column, union cell cell)
{
	if (holds_real(column))
		return !isfinite(cell.real);
	if (holds_number(column))
		return cell.number == TABLE_ABSENT;
	return cell.text == 0;
}

static int grow(struct table *t)
{
	size_t cap = t->cap_rows ? t->cap_rows * 2 : 16;
	union cell *cells = reallocarray(t->cells, cap, t->n_columns * sizeof(*cells));

	if (!cells)
		return -ENOMEM;
	t->cells = cells;
	t->cap_rows = cap;
	return 0;
}

void table_row(struct table *t)
{
	if (!t || t->failed < 0)
		return;
	if (t->n_rows == t->cap_rows)
		t->failed = grow(t);
	if (t->failed < 0)
		return;
	for (size_t i = 0; i < t->n_columns; i++)
		t->cells[t->n_rows * t->n_columns + i] = absent_cell(&t->columns[i]);
	t->n_rows++;
}

/* The cell of the last row to put something into; NULL where nothing is kept any more. */
static union cell *cell_to_fill(struct table *t, size_t column)
{
	if (!t || t->failed < 0)
		return NULL;
	assert(t->n_rows > 0 && column < t->n_columns);
	return &t->cells[(t->n_rows - 1) * t->n_columns + column];
}

static int keep_text(struct table *t, struct slice text)
{
	uint32_t len = (uint32_t)text.len;
	int r;

	if (text.len > UINT32_MAX)
		return -EMSGSIZE;
	r = buf_append(&t->texts, &len, sizeof(len));
	return r < 0 ? r : buf_append(&t->texts, text.data, text.len);
}

void table_put_slice(struct table *t, size_t column, struct slice text)
{
	union cell *cell = cell_to_fill(t, column);
	size_t at = t ? t->texts.len : 0;

	if (!cell || !text.data)
		return;
	assert(holds_text(&t->columns[column]));
	t->failed = keep_text(t, text);
	if (t->failed == 0)
		cell->text = at + 1;
}

void table_put_text(struct table *t, size_t column, const char *text)
{
	table_put_slice(t, column, slice_of(text));
}

void table_put_number(struct table *t, size_t column, int64_t value)
{
	union cell *cell = cell_to_fill(t, column);

	if (!cell)
		return;
	assert(holds_number(&t->columns[column]));
	cell->number = value;
}

void table_put_real(struct table *t, size_t column, double value)
{
	union cell *cell = cell_to_fill(t, column);

	if (!cell)
		return;
	assert(holds_real(&t->columns[column]));
	cell->real = value;
}

void table_put_list(struct table *t, size_t column, const char *const *texts, size_t n)
{
	union cell *cell = cell_to_fill(t, column);
	size_t at = t ? t->texts.len : 0;
	uint32_t number = (uint32_t)n;

	if (!cell || !texts)
		return;
	assert(t->columns[column].kind == COLUMN_LIST);
	t->failed = buf_append(&t->texts, &number, sizeof(number));
	for (size_t i = 0; i < n && t->failed == 0; i++)
		t->failed = keep_text(t, slice_of(texts[i]));
	if (t->failed == 0)
		cell->text = at + 1;
}

/* ---- getting ---- */

size_t table_rows(const struct table *t)
{
	return t ? t->n_rows : 0;
}

union cell table_cell(const struct table *t, size_t row, size_t column)
{
	assert(row < t->n_rows && column < t->n_columns);
	return t->cells[row * t->n_columns + column];
}

struct slice table_text_at(const struct table *t, size_t *at)
{
	const char *begin = t->texts.data + *at;
	uint32_t len;

	memcpy(&len, begin, sizeof(len));
	*at += sizeof(len) + len;
	return (struct slice){ begin + sizeof(len), len };
}

size_t table_list(const struct table *t, union cell cell, size_t *ret_at)
{
	uint32_t n;

	memcpy(&n, t->texts.data + cell.text - 1, sizeof(n));
	*ret_at = cell.text - 1 + sizeof(n);
	return n;
}

struct slice table_text(const struct table *t, size_t row, size_t column)
{
	union cell cell = table_cell(t, row, column);
	size_t at = cell.text - 1;

	assert(holds_text(&t->columns[column]));
	return cell.text == 0 ? (struct slice){ 0 } : table_text_at(t, &at);
}

int64_t table_number(const struct table *t, size_t row, size_t column)
{
	assert(holds_number(&t->columns[column]));
	return table_cell(t, row, column).number;
}

double table_real(const struct table *t, size_t row, size_t column)
{
	assert(holds_real(&t->columns[column]));
	return table_cell(t, row, column).real;
}

size_t table_find(const struct table *t, size_t column, struct slice text)
{
	for (size_t row = 0; row < table_rows(t); row++) {
		struct slice s = table_text(t, row, column);

		if (s.data && s.len == text.len && memcmp(s.data, text.data, s.len) == 0)
			return row;
	}
	return TABLE_NONE;
}

/* ---- order ---- */

struct sorting {
	const struct table *t;
	size_t column;
	bool descending;
};

static int compare_texts(struct slice a, struct slice b)
{
	int r = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

/* States go in the order of a task's life, those that nobody knows by their words behind them. */
static int compare_states(struct slice a, struct slice b)
{
	size_t rank_a = state_rank(a), rank_b = state_rank(b);

	return rank_a != rank_b ? (rank_a > rank_b) - (rank_a < rank_b) : compare_texts(a, b);
}

static int compare_lists(const struct table *t, union cell a, union cell b)
{
	size_t at_a, at_b, n_a = table_list(t, a, &at_a), n_b = table_list(t, b, &at_b);
	int r = 0;

	for (size_t i = 0; i < n_a && i < n_b && r == 0; i++)
		r = compare_texts(table_text_at(t, &at_a), table_text_at(t, &at_b));
	return r != 0 ? r : (n_a > n_b) - (n_a < n_b);
}

/* Of cells that are not absent. */
static int compare_cells(const struct table *t, size_t column, union cell a, union cell b)
{
	size_t at_a = a.text - 1, at_b = b.text - 1;

	switch (t->columns[column].kind) {
	case COLUMN_TEXT:
		return compare_texts(table_text_at(t, &at_a), table_text_at(t, &at_b));
	case COLUMN_STATE:
		return compare_states(table_text_at(t, &at_a), table_text_at(t, &at_b));
	case COLUMN_LIST:
		return compare_lists(t, a, b);
	case COLUMN_FRACTION:
	case COLUMN_NUMBER:
	case COLUMN_RATE:
		return (a.real > b.real) - (a.real < b.real);
	default:
		return (a.number > b.number) - (a.number < b.number);
	}
}

static int compare_rows(const void *left, const void *right, void *arg)
{
	const struct sorting *s = arg;
	const struct column *column = &s->t->columns[s->column];
	size_t row_a = *(const size_t *)left, row_b = *(const size_t *)right;
	union cell a = table_cell(s->t, row_a, s->column), b = table_cell(s->t, row_b, s->column);
	bool no_a = cell_is_absent(column, a), no_b = cell_is_absent(column, b);
	int r = 0;

	if (no_a || no_b)
		r = no_a - no_b;
	else
		r = s->descending ? compare_cells(s->t, s->column, b, a)
				  : compare_cells(s->t, s->column, a, b);
	return r != 0 ? r : (row_a > row_b) - (row_a < row_b);
}

void table_sort(struct table *t, size_t column, bool descending)
{
	struct sorting sorting = { t, column, descending };
	size_t *order, size;
	union cell *cells;

	if (!t || t->failed < 0 || t->n_rows < 2)
		return;
	size = t->n_columns * sizeof(*cells);
	order = reallocarray(NULL, t->n_rows, sizeof(*order));
	cells = reallocarray(NULL, t->cap_rows, size);
	if (order && cells) {
		for (size_t i = 0; i < t->n_rows; i++)
			order[i] = i;
		qsort_r(order, t->n_rows, sizeof(*order), compare_rows, &sorting);
		for (size_t i = 0; i < t->n_rows; i++)
			memcpy(cells + i * t->n_columns, t->cells + order[i] * t->n_columns, size);
		free(t->cells);
		t->cells = cells;
		t->n_measured = 0;
	} else {
		t->failed = -ENOMEM;
		free(cells);
	}
	free(order);
}

/* ---- counts ---- */

#define WORDS_MAX 32 /* different ones; of the rest nothing is said */

struct counts {
	struct slice words[WORDS_MAX];
	uint64_t n[WORDS_MAX];
	size_t n_words;
};

static void count_word(struct counts *counts, struct slice word)
{
	size_t i = 0;

	while (i < counts->n_words && compare_texts(counts->words[i], word) != 0)
		i++;
	if (i == WORDS_MAX)
		return;
	if (i == counts->n_words)
		counts->words[counts->n_words++] = word;
	counts->n[i]++;
}

static int append_counts(const struct counts *counts, bool color, struct buf *out)
{
	struct state_count list[WORDS_MAX] = { 0 };
	char *texts[WORDS_MAX] = { 0 };
	bool taken[WORDS_MAX] = { 0 };
	int r = 0;

	for (size_t i = 0; i < counts->n_words; i++) {
		size_t next = TABLE_NONE;

		for (size_t j = 0; j < counts->n_words; j++)
			if (!taken[j] && (next == TABLE_NONE || compare_states(counts->words[j],
									counts->words[next]) < 0))
				next = j;
		taken[next] = true;
		texts[i] = slice_dup(counts->words[next]);
		r = texts[i] ? r : -ENOMEM;
		list[i] = (struct state_count){ texts[i], counts->n[next] };
	}
	if (r == 0)
		r = display_counts(out, list, counts->n_words, color);
	for (size_t i = 0; i < counts->n_words; i++)
		free(texts[i]);
	return r;
}

int table_counts(const struct table *t, size_t column, bool color, struct buf *out)
{
	struct counts counts = { 0 };

	for (size_t row = 0; row < table_rows(t); row++) {
		struct slice word = table_text(t, row, column);

		if (word.data)
			count_word(&counts, word);
	}
	return append_counts(&counts, color, out);
}
