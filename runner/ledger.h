/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is known of cancels: by id, when one was said last, and until when they were used up; and
 * what of that is still to be written into the stream where the runners keep it for each other
 * (cancels.h).
 *
 * A cancel is live while it is newer than the last `over` of its id. All who have read the same
 * notes come to the same result, in whatever order they were written. Times are milliseconds since
 * 1970. Bounded as memory.h is. No I/O, no clock. Main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/note.h"

struct ledger {
	struct ledger_entry *entries; /* uthash, oldest first */
	struct ledger_entry *waiting; /* with something to be written */
	size_t max;
	int64_t age_max_ms;
};

void ledger_init(struct ledger *ledger, size_t max, int64_t age_max_ms);
void ledger_deinit(struct ledger *ledger);
/* What nothing was said of for too long goes. */
void ledger_forget_old(struct ledger *ledger, int64_t now_ms);

/* A cancel was heard of; it is to be written. 0 or -ENOMEM. */
int ledger_heard(struct ledger *ledger, const char *id, int64_t now_ms);
/* The task is over here, so cancels until now are used up; to be written if some are in the stream,
 * else as soon as one is read there. 0 or -ENOMEM. */
int ledger_over(struct ledger *ledger, const char *id, int64_t now_ms);
/* The same, if the id is known at all. */
void ledger_end(struct ledger *ledger, const char *id, int64_t now_ms);

/* The stream is read from its beginning: nothing is known of what it holds. */
void ledger_begin(struct ledger *ledger);
/* Has a cancel that was read become live by this? Then ledger_visit_new tells it, too. */
bool ledger_read_cancel(struct ledger *ledger, const char *id, int64_t time_ms);
/* Is a cancel that was live used up by this? */
bool ledger_read_over(struct ledger *ledger, const char *id, int64_t time_ms);
/* All of it was read: what lives here and was not found there is to be written. */
void ledger_compare(struct ledger *ledger);

bool ledger_is_live(const struct ledger *ledger, const char *id);
/* Tells those that came to live by reading and were not told yet. @tell may call ledger_end. */
void ledger_visit_new(
	struct ledger *ledger, void (*tell)(const char *id, void *userdata), void *userdata);
/* Takes the next note to be written; its texts are borrowed until the next call. False: none. */
bool ledger_next(struct ledger *ledger, struct note *ret);
