/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the table share: table.c has the rows, table_layout.c what they look like to
 * people, table_encode.c what programs get, table_print.c brings them there.
 */

#include "taskctl/table.h"

#define COLUMNS_MAX 64

/* Of which it is one, the column's kind tells. */
union cell {
	int64_t number; /* TABLE_ABSENT */
	double real;    /* NAN */
	size_t text;    /* where it begins in texts, plus one; 0: absent. So a list, too */
};

struct table {
	const struct column *columns;
	size_t n_columns;
	union cell *cells; /* row by row */
	size_t n_rows, cap_rows;
	struct buf texts; /* each with its length before it; a list is a number, then its texts */
	int failed;       /* a negative errno, once something could not be kept */
	bool has_header;  /* it was written */
	/* table_layout.c: of the rows up to n_measured. */
	size_t widths[COLUMNS_MAX];
	size_t n_measured;
	bool measured_for_terminal;
	int64_t now_ms; /* by which times are "today" */
};

/* The text at @at of texts; moves @at behind it. */
struct slice table_text_at(const struct table *t, size_t *at);
/* The number of texts of the list that @cell is (not absent); @ret_at is where the first begins. */
size_t table_list(const struct table *t, union cell cell, size_t *ret_at);
union cell table_cell(const struct table *t, size_t row, size_t column);
bool cell_is_absent(const struct column *column, union cell cell);

/* Appends a row as a line of JSON, or as a map of MessagePack. 0, -ENOMEM or -EMSGSIZE. */
int table_encode_json(const struct table *t, size_t row, struct buf *out);
int table_encode_msgpack(const struct table *t, size_t row, struct buf *out);

/* What is seen of a table, and how wide. */
struct layout {
	bool for_terminal;
	bool color;
	bool is_printed; /* the header may have to stand over rows that nobody knows yet */
	size_t width;    /* 0: nothing is cut */
	size_t widths[COLUMNS_MAX];
	bool shown[COLUMNS_MAX];
	size_t last;   /* the last that is shown */
	size_t sorted; /* TABLE_NONE */
	bool descending;
};

/* Measures the rows that are new, and fills the rest of @layout, whose first members are set. */
int table_lay_out(struct table *t, struct layout *layout);
/* A line without its end. @chosen: in reverse, padded to the width. */
int table_append_header(const struct table *t, const struct layout *layout, struct buf *out);
int table_append_row(const struct table *t, const struct layout *layout, size_t row, bool chosen,
	struct buf *out);
