/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Cancels of all requests of a kind, of those too that are still in a queue: what comes later and
 * was sent before is cancelled in place of being started.
 *
 * A request may tell when it was sent. One that does not is taken to be older than every sweep, so
 * each holds for a limited time. Two of the same kind are one, the later. Runners tell each other
 * of them by notes (cancels.h). Bounded. No I/O, no clock; times are milliseconds since 1970. Main
 * thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/control.h"
#include "wire/note.h"
#include "wire/request.h"

struct sweeps {
	struct sweep *list; /* oldest first */
	size_t n;
};

void sweeps_deinit(struct sweeps *sweeps);
/* What has held its time goes. */
void sweeps_forget_old(struct sweeps *sweeps, int64_t now_ms);

/* One was heard of; it is to be noted. 0 or -ENOMEM. */
int sweeps_heard(
	struct sweeps *sweeps, const struct control_selector *of, int64_t now_ms, int64_t until_ms);
/* One was read. 1: it was not known; 0, or -ENOMEM. */
int sweeps_read(struct sweeps *sweeps, const struct note *note);
/* The notes are read from their beginning: nothing is known of what they hold. */
void sweeps_begin(struct sweeps *sweeps);
bool sweeps_have_news(const struct sweeps *sweeps);
/* Takes the next to be noted; its texts are borrowed until the next call. False: none. */
bool sweeps_next(struct sweeps *sweeps, struct note *ret);

/* Whether what a selector says of tasks (not of runners) is true of a request. */
bool sweeps_selects(const struct control_selector *selector, const struct request *request);
/* @sent_ms: 0 where the request does not tell. */
bool sweeps_fit(const struct sweeps *sweeps, const struct request *request, int64_t sent_ms,
	int64_t now_ms);
