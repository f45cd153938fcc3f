/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Progress on stderr: a bar that is drawn over and over on a terminal, a line for each record
 * elsewhere.
 */

#include <stdint.h>

#include "common/buf.h"

#define BAR_CELLS 24 /* at most */

struct bar {
	bool quiet;
	bool is_terminal;
	unsigned cells; /* BAR_CELLS, or fewer where the text is of more use */
	bool has_fraction;
	double fraction;
	struct buf message; /* clean */
	bool is_dirty;      /* something new is to be drawn */
	bool is_drawn;
	uint64_t drawn_us;
};

void bar_init(struct bar *bar, bool quiet);
void bar_deinit(struct bar *bar);
/* A progress record, as the program wrote it. */
void bar_record(struct bar *bar, struct slice record);
/* Text in place of what the program says, until it says something. */
void bar_text(struct bar *bar, const char *text);
/* How many columns of a text are seen now, beside the bar; without a terminal it means nothing. */
size_t bar_room(const struct bar *bar);
/* Draws what is due; gives the milliseconds after which it wants to be called again, or -1. */
int bar_draw(struct bar *bar);
/* Takes the bar away before something else is written; the next bar_draw brings it back. */
void bar_hide(struct bar *bar);
