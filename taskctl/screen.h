/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The whole terminal: each key comes at once and unseen, and what stood there before comes back
 * when the screen is closed. Life: screen_open, any number of frames, screen_close; again at will.
 * Main thread.
 */

#include <stdbool.h>
#include <termios.h>

#include "common/buf.h"
#include "common/error.h"

struct screen { /* usable when zeroed */
	bool is_open;
	struct termios before;
};

/* Whether stdin and stdout are a terminal that can do what is needed; else @err tells. */
int screen_check(struct error *err);
/* 0 or a negative errno with a sentence. */
int screen_open(struct screen *screen, struct error *err);
/* Nothing where it is not open. */
void screen_close(struct screen *screen);
/* Writes what begins at the upper left. 0 or a negative errno: the terminal is gone. */
int screen_draw(struct screen *screen, struct slice frame);
