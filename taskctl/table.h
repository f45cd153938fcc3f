/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rows of typed cells under named columns, for people and for programs.
 *
 *	static const struct column columns[] = {
 *		[ID] = { "ID", "id", COLUMN_TEXT },
 *		[STATE] = { "STATE", "state", COLUMN_STATE },
 *		[AGE] = { "AGE", "age_ms", COLUMN_AGE, .drop = 1 },
 *		[MESSAGE] = { "MESSAGE", "message", COLUMN_TEXT, .drop = 2, .min = 10 },
 *	};
 *	struct table *t = table_new(columns, N_COLUMNS);
 *
 *	table_row(t);
 *	table_put_text(t, ID, id);
 *	table_put_number(t, AGE, 1234);
 *	r = table_print(t, &v.options.output);
 *	table_free(t);
 *
 * Life: table_new; for each row table_row and then its cells, in any order; table_print or
 * table_draw, any number of times, with more rows in between or not; table_clear; table_free. What
 * is put is copied. A cell that is not put, or put as NULL, TABLE_ABSENT or NAN, is absent: "-" for
 * people, null for programs.
 *
 * No error has to be looked at before table_print: once memory was short, the rest of the calls do
 * nothing, and it says so. Texts may be anything, however hostile: what is written is clean.
 * Memory is 8 bytes for each cell, and the texts. One thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "taskctl/display.h"
#include "taskctl/human.h"

enum column_kind {
	COLUMN_TEXT,     /* table_put_text */
	COLUMN_STATE,    /* table_put_text: a word, in its colour */
	COLUMN_LIST,     /* table_put_list: texts; "a, b" for people, an array for programs */
	COLUMN_BOOL,     /* table_put_number: yes or no; true or false */
	COLUMN_COUNT,    /* table_put_number, as the five below */
	COLUMN_BYTES,    /* "1.5 MiB"; 1572864 */
	COLUMN_DURATION, /* of ms: "12.3 s"; 12345 */
	COLUMN_AGE,      /* of ms: "12 s"; 12345 */
	COLUMN_TIME,     /* of ms since 1970: "21:04:05" or with its day, local; 1763672645000 */
	COLUMN_FRACTION, /* table_put_real: "[####......]  40%"; 0.4 */
	COLUMN_NUMBER,   /* table_put_real: "0.25" */
	COLUMN_RATE,     /* table_put_real, per second: "12.3/s"; 12.3 */
};

enum column_align {
	ALIGN_BY_KIND, /* texts, states and lists left, all else right */
	ALIGN_LEFT,
	ALIGN_RIGHT,
};

struct column {
	const char *title;  /* "RUNNER"; NULL: for programs only */
	const char *member; /* "runner", in snake_case with its unit; NULL: for people only */
	enum column_kind kind;
	/* What gives way on a narrow terminal: texts with a @min are cut down to that many columns,
	 * the widest first (a fraction with a @min loses its bar); when that does not do, columns
	 * are left out, those with the highest @drop first. 0 stays always. */
	unsigned char drop;
	unsigned char min;
	enum column_align align;
	/* Of texts with a @min: so many columns they keep while one with a @drop above @ample_above
	 * is seen. */
	unsigned char ample;
	unsigned char ample_above;
	bool ends;           /* texts are cut in their middle: "3f2a…9c1b" */
	unsigned char aside; /* the column of a text that is told behind this one's, for people:
			      * "waiting: gpu"; 0: none */
	/* So wide at least, where table_print writes rows bit by bit under a header that stands. */
	unsigned char width;
};

/* For @width. */
#define LONGEST_STATE  9 /* "succeeded", "cancelled" */
#define LENGTH_OF_UUID 36

struct table; /* opaque */

#define TABLE_ABSENT INT64_MIN
#define TABLE_NONE   SIZE_MAX

/* @columns is borrowed for the table's life. NULL when memory is short: all functions take that,
 * as a table without rows whose table_print tells -ENOMEM. */
struct table *table_new(const struct column *columns, size_t n);
struct table *table_free(struct table *t); /* gives NULL */
/* Forgets the rows. Widths stay, so that what is drawn again and again does not jump, and so does
 * it that table_print has written the header. */
void table_clear(struct table *t);

/* Begins a row; the calls below fill it. */
void table_row(struct table *t);
void table_put_text(struct table *t, size_t column, const char *text);
void table_put_slice(struct table *t, size_t column, struct slice text);
void table_put_number(struct table *t, size_t column, int64_t value);
void table_put_real(struct table *t, size_t column, double value);
void table_put_list(struct table *t, size_t column, const char *const *texts, size_t n);

size_t table_rows(const struct table *t);
/* What was put; absent where it was not. Texts are valid until the next put or clear. */
struct slice table_text(const struct table *t, size_t row, size_t column);
int64_t table_number(const struct table *t, size_t row, size_t column);
double table_real(const struct table *t, size_t row, size_t column);
/* Orders the rows by a column; those that are equal stay as they were, absent cells come last. */
void table_sort(struct table *t, size_t column, bool descending);
/* The row whose text in @column is @text, or TABLE_NONE. */
size_t table_find(const struct table *t, size_t column, struct slice text);
/* "waiting 12 · running 8", counted in a COLUMN_STATE, in the order in which tasks go through
 * them. */
int table_counts(const struct table *t, size_t column, bool color, struct buf *out);

/* ---- to stdout ---- */

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_MSGPACK };

/* From --output, --no-header, --color and their like; taskctl.h: read_options fills it. */
struct output_options {
	enum output_format format;
	bool no_header;
	bool color;       /* is it wanted? */
	bool is_terminal; /* stdout */
	size_t width;     /* of the terminal; 0: nothing is cut */
};

/* Writes all rows to stdout, and the header the first time: may be called again after table_clear
 * and more rows, where they come bit by bit. 0 or a negative errno. */
int table_print(struct table *t, const struct output_options *output);
/* table_print, with what is wrong told: EXIT_DONE or EXIT_LOCAL. */
int table_show(struct table *t, const struct output_options *output);
/* The line of table_counts to stdout, where that is a terminal and gets a table; else nothing. */
void table_show_counts(const struct table *t, size_t column, const struct output_options *output);

/* ---- to a buffer ---- */

/* As table_print would write it, without writing. */
int table_render(struct table *t, const struct output_options *output, struct buf *out);

/* Full screen: a window on the rows. */
struct table_view {
	size_t width, height; /* the columns and lines to fill, the header's among them */
	bool color;
	size_t selected; /* row, marked in reverse, "> " where there is no colour; or TABLE_NONE */
	size_t first;    /* the row on top; changed so that the selected one is seen */
	size_t sorted;   /* the column whose title is marked, or TABLE_NONE */
	bool descending; /* of that mark */
};

/* Appends exactly @view->height lines for a terminal in raw mode: each erases what stood behind
 * it, "\r\n" between them and none at the end. Whoever calls puts the cursor at the beginning of
 * the first line, and writes the whole frame at once. 0, -ENOMEM or -EMSGSIZE. */
int table_draw(struct table *t, struct table_view *view, struct buf *out);
