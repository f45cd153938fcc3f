/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A text that grows, of which only the last part is seen, again and again: what is new in it?
 * Usable when zeroed.
 */

#include "common/buf.h"

struct tail {
	struct buf seen; /* the last part that was seen */
};

/* What of @text was not seen before: a part of it, perhaps none. What is older than what was seen
 * gives nothing. */
struct slice tail_news(struct tail *t, struct slice text);
/* It begins anew. */
void tail_restart(struct tail *t);
void tail_deinit(struct tail *t);
