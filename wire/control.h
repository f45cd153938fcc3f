/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control messages: what is said about a task while it waits or runs. The body is an object (JSON
 * or MessagePack) with `op` and `id`; more operations come later. Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/wire.h"

enum control_op {
	CONTROL_CANCEL,
	CONTROL_WHO_HAS, /* from runner to runners: who runs the task? */
	CONTROL_HOLDER,  /* the answer to it */
};

/* Texts are owned. */
struct control {
	enum wire_encoding encoding;
	enum control_op op;
	char *id;       /* of the task */
	char *instance; /* who-has, holder: of the runner that speaks */
	char *state;    /* holder: "mine" (it runs here, give me the request), "leased" (I hold the
			   request), "done" (it was answered) */
	char *queue;    /* holder, "mine": where the request is to be put; else NULL */
	char *question; /* who-has: of the asker's choice; holder: the same, so that no late answer
			   is taken for one to another question */
};

/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (zeroed) is valid for control_deinit. */
int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err);
int control_encode(const struct control *control, struct buf *ret);
void control_deinit(struct control *control);

/* What the owner of the task answers: {"id": …, "result": "accepted" | "gone", "runner": name}, or
 * {"error": sentence} for a message that cannot be read. */
struct control_answer {
	char *id;
	char *result;
	char *runner;
	char *error;
};

int control_answer_encode(
	enum wire_encoding encoding, const struct control_answer *answer, struct buf *ret);
int control_answer_decode(
	struct slice body, const char *content_type, struct control_answer *ret, struct error *err);
void control_answer_deinit(struct control_answer *answer);

/*
 * Notes about cancels, which the runners keep for each other in a stream (runner/cancels.h). Always
 * JSON: {"op": "cancel" | "over" | "mark", "id": …, "time": …, "instance": …}. The time is a text
 * of digits, milliseconds since 1970.
 */
enum note_op {
	NOTE_CANCEL, /* a request of this id, of now or to come, is cancelled */
	NOTE_OVER,   /* it was answered: cancels of this time or before count no more */
	NOTE_MARK,   /* a runner wants to know how far it has read; the id is its number */
};

/* Texts are owned. */
struct note {
	enum note_op op;
	char *id;
	int64_t time_ms;
	char *instance; /* who wrote it; may be NULL but in a mark */
};

/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (zeroed) is valid for note_deinit. */
int note_decode(struct slice body, struct note *ret, struct error *err);
int note_encode(const struct note *note, struct buf *ret);
void note_deinit(struct note *note);
