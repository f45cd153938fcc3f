/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control messages: what is said about a task while it waits or runs. The body is an object (JSON
 * or MessagePack) with `op` and `id`; more operations come later. Or the same members are headers,
 * `x-tr-op` and so on, and there is no body: such a message gets through while the server has an
 * alarm. Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/fields.h"
#include "wire/wire.h"

enum control_op {
	CONTROL_CANCEL,
	CONTROL_WHO_HAS, /* from runner to runners: who runs the task? */
	CONTROL_HOLDER,  /* the answer to it */
	CONTROL_BACK,    /* from runner to runners: I was cut off for a while, and have this task */
	CONTROL_FREE, /* from runner to runners: I gave it back, and nothing else is left of it */
};

/* Texts are owned. */
struct control {
	enum wire_encoding encoding;
	enum control_op op;
	char *id;       /* of the task */
	char *instance; /* but for cancel: of the runner that speaks */
	char *state;    /* holder: "mine" (it runs here, give me the request), "leased" (I hold the
			   request), "done" (it was answered) */
	char *queue;    /* holder, "mine": where the request is to be put; else NULL */
	char *print;    /* who-has: tells the request from another of this id; else NULL */
	char *question; /* who-has: of the asker's choice; holder: the same, so that no late answer
			   is taken for one to another question */
};

/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (zeroed) is valid for control_deinit. */
int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err);
int control_encode(const struct control *control, struct buf *ret);

/* The same in headers. */
int control_decode_headers(
	fields_get_fn get, void *userdata, struct control *ret, struct error *err);
int control_encode_headers(const struct control *control, fields_put_fn put, void *userdata);
void control_deinit(struct control *control);

/* What the owner of the task answers: {"id": …, "result": "accepted" | "gone", "runner": name}, or
 * {"error": sentence} for a message that cannot be read. */
struct control_answer {
	char *id;
	char *result;
	char *runner;
	char *error;
};

/* Answers are like what they answer: in the body, or in headers. */

int control_answer_encode(
	enum wire_encoding encoding, const struct control_answer *answer, struct buf *ret);
int control_answer_decode(
	struct slice body, const char *content_type, struct control_answer *ret, struct error *err);
int control_answer_encode_headers(
	const struct control_answer *answer, fields_put_fn put, void *userdata);
int control_answer_decode_headers(
	fields_get_fn get, void *userdata, struct control_answer *ret, struct error *err);
void control_answer_deinit(struct control_answer *answer);
