/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control messages: what is said about tasks while they wait or run, and to runners. The body is an
 * object (JSON or MessagePack) with `op` and what it is about. Or the same members are headers,
 * `x-tr-op` and so on, and there is no body: such a message gets through while the server has an
 * alarm. docs/protocol.md has the whole. Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/fields.h"
#include "wire/record.h"
#include "wire/wire.h"

enum control_op {
	/* about tasks: one (id), or all that the rest of the selector fits */
	CONTROL_CANCEL,
	CONTROL_KILL,   /* without grace */
	CONTROL_PAUSE,  /* it uses no processor until it is resumed */
	CONTROL_RESUME, /* and its time limits stand still */
	CONTROL_HOLD,   /* what has not started is not started */
	CONTROL_PLAY,   /* until it is played */
	CONTROL_SIGNAL, /* signal */
	CONTROL_STATUS, /* where is it? */
	CONTROL_LIST,   /* the same; nothing selected is everything */
	/* about runners: of one (runner), or all */
	CONTROL_PING, /* who is there? */
	CONTROL_PROGRAMS,
	CONTROL_DRAIN, /* takes no more requests, but lives on */
	CONTROL_UNDRAIN,
	CONTROL_SET_SLOTS, /* slots, queue */
	CONTROL_RELOAD,    /* the catalogue */
	/* from runner to runners */
	CONTROL_WHO_HAS, /* who runs the task? */
	CONTROL_HOLDER,  /* the answer to it */
	CONTROL_BACK,    /* I was cut off for a while, and have this task */
	CONTROL_FREE,    /* I gave it back, and nothing else is left of it */
};
#define CONTROL_OPS (CONTROL_FREE + 1)

/* Whom a message is for. NULL: does not matter; what is there must all fit. */
struct control_selector {
	char *group, *program, *user, *project; /* as in the request */
	char *runner;                           /* name or instance */
	char *all;                              /* "true" */
};

/* Texts are owned. */
struct control {
	enum wire_encoding encoding;
	enum control_op op;
	char *id; /* of the task; NULL: those that are selected */
	struct control_selector selector;
	char *queued;   /* cancel, kill: seconds for which what is selected is cancelled when it
			   comes from a queue; NULL: only what runners have */
	char *signal;   /* signal: name ("USR1", "SIGUSR1") or number */
	char *slots;    /* set-slots: a number */
	char *tail;     /* status: how many bytes of stdout and stderr are wanted */
	char *instance; /* between runners: of the one that speaks */
	char *state;    /* holder: "mine" (it runs here, give me the request), "leased" (I hold the
			   request), "done" (it was answered) */
	char *queue; /* holder, "mine": where the request is to be put; set-slots: which; else NULL
		      */
	char *print; /* who-has: tells the request from another of this id; else NULL */
	char *question; /* who-has: of the asker's choice; holder: the same, so that no late answer
			   is taken for one to another question; free: the number of the copy that
			   was given back */
};

/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (zeroed) is valid for control_deinit. */
int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err);
int control_encode(const struct control *control, struct buf *ret);

/* What is wrong with @control, whose `op` becomes the one of this name. 0 or -EINVAL, as above. */
int control_check(const char *op, struct control *control, struct error *err);

/* The same in headers. */
int control_decode_headers(
	fields_get_fn get, void *userdata, struct control *ret, struct error *err);
int control_encode_headers(const struct control *control, fields_put_fn put, void *userdata);
void control_deinit(struct control *control);

const char *control_op_name(enum control_op op);
/* It is about tasks (or about runners). */
bool control_is_about_tasks(enum control_op op);
bool control_is_between_runners(enum control_op op);

/*
 * Answers are records (record.h), like what they answer: in the body, or in headers. Each has
 * `runner` and `instance`, and `error` (a sentence) or `result`:
 *
 *	about one task, from its owner alone: id, "accepted", "gone" (it has ended), "not-running"
 *	(no such thing can be done to it in its state, which is in `state`); with status the facts
 *	about tasks that are selected: the same for each, and "end" with `count` after the last
 *	about runners: "accepted", or "pong" with its facts
 */
#define CONTROL_ACCEPTED    "accepted"
#define CONTROL_GONE        "gone"
#define CONTROL_NOT_RUNNING "not-running"
#define CONTROL_END         "end"
#define CONTROL_PONG        "pong"

/* As record_decode, and -EINVAL if it is no answer. */
int control_answer_decode(
	struct slice body, const char *content_type, struct record *ret, struct error *err);
/* 0 or -EINVAL: whether a record that was made of headers is one. */
int control_answer_check(const struct record *answer, struct error *err);
