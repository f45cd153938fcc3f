/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A text that grows, of which only the last part is seen, again and again: what is new in it?
 * Usable when zeroed.
 */

#include "common/buf.h"

struct fresh {
	struct buf seen; /* the last part that was seen */
};

/* What of @text was not seen before: a part of it, perhaps none. What is older than what was seen
 * gives nothing. */
struct slice fresh_part(struct fresh *f, struct slice text);
/* It begins anew. */
void fresh_restart(struct fresh *f);
void fresh_deinit(struct fresh *f);
