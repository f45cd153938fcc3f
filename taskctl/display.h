/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Text of strangers on a terminal: what it may hold, how many columns it takes, cut to fit. Widths
 * are libc's (wcwidth), which knows by the locale: main has set it. Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

#define DISPLAY_ANY SIZE_MAX /* as many columns as it takes */

/* Appends @text as one line that steers no terminal: control characters and line ends become
 * spaces, what is not UTF-8, not printable or changes the direction of writing becomes U+FFFD. At
 * most @columns columns; what does not fit is cut, with an ellipsis as the last column. Gives the
 * columns used in @ret_columns (may be NULL). 0, -ENOMEM or -EMSGSIZE. */
int display_append(struct buf *out, struct slice text, size_t columns, size_t *ret_columns);
/* The same, but what is cut is cut in the middle: "3f2a…9c1b", for names that differ at their ends.
 */
int display_append_ends(struct buf *out, struct slice text, size_t columns, size_t *ret_columns);
/* How many columns display_append would use of any number. */
size_t display_width(struct slice text);
/* Bytes at the beginning of @text (clean by text_append_clean or display_append) that take at most
 * @columns. */
size_t display_prefix(struct slice text, size_t columns);
/* Must not reach a terminal: controls it, or the direction of what follows. */
bool display_steers(uint32_t character);
int display_spaces(struct buf *out, size_t n);

/* Whether terminals of this kind can draw over what stands there (TERM). */
bool display_can_draw(void);
/* Of the terminal that @fd is; from COLUMNS and LINES where it does not know, else 80 and 24. */
size_t display_columns(int fd);
size_t display_lines(int fd);

/* Colours, as SGR sequences: the marks around a word. PAINT_NONE is nothing. */
enum paint {
	PAINT_NONE,
	PAINT_GOOD,   /* green */
	PAINT_BUSY,   /* blue */
	PAINT_CARE,   /* yellow */
	PAINT_BAD,    /* red */
	PAINT_FAINT,  /* dim */
	PAINT_TITLE,  /* bold */
	PAINT_CHOSEN, /* reverse */
};

const char *paint_on(enum paint paint);  /* "" of PAINT_NONE */
const char *paint_off(enum paint paint); /* likewise */
/* The colour of a state of tasks (waiting, held, running, paused, ending, succeeded, failed,
 * cancelled, …) or runners (ready, draining, stopped, …); PAINT_NONE of others. */
enum paint paint_of_state(struct slice word);

/* The place of a state among those that people know, in the order in which tasks go through them.
 */
#define STATE_UNKNOWN 100
size_t state_rank(struct slice word);

/* "waiting 12 · running 8 · paused 1 · failed 2": those of @counts whose number is not 0; "none"
 * where all are. */
struct state_count {
	const char *word;
	uint64_t n;
};
int display_counts(struct buf *out, const struct state_count *counts, size_t n, bool color);
