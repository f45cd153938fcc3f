/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Notes about cancels, which the runners keep for each other in a stream (runner/cancels.h). Always
 * JSON: {"op": "cancel" | "over" | "mark", "id": …, "time": …, "instance": …}, or {"op": "sweep",
 * "group": …, "program": …, "user": …, "project": …, "time": …, "until": …, "instance": …}. Times
 * are texts of digits, milliseconds since 1970.
 * Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/control.h"
#include "wire/wire.h"

enum note_op {
	NOTE_CANCEL, /* a request of this id, of now or to come, is cancelled */
	NOTE_OVER,   /* it was answered: cancels of this time or before count no more */
	NOTE_MARK,   /* a runner wants to know how far it has read; the id is its number */
	NOTE_SWEEP,  /* requests that fit all that is given, and were sent before, are cancelled */
};

/* Texts are owned. */
struct note {
	enum note_op op;
	char *id; /* NULL of a sweep */
	int64_t time_ms;
	char *instance;             /* who wrote it; may be NULL but in a mark */
	struct control_selector of; /* of a sweep; runner and all are not used */
	int64_t until_ms;           /* the sweep holds until then: not before its time */
};

/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (zeroed) is valid for note_deinit. */
int note_decode(struct slice body, struct note *ret, struct error *err);
int note_encode(const struct note *note, struct buf *ret);
void note_deinit(struct note *note);
