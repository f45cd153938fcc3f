/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of taskclient/ share with each other and nobody else sees. */

#include <taskclient.h>
#include <uthash.h>

#include "mq/connection.h"
#include "wire/control.h"
#include "wire/response.h"

#define LOST "the connection to the server was lost"

/* A caller's struct taskclient_error is a struct error by another name, and is filled as one. */
_Static_assert(sizeof(struct taskclient_error) == sizeof(struct error) &&
		       offsetof(struct taskclient_error, code) == offsetof(struct error, code) &&
		       offsetof(struct taskclient_error, text) == offsetof(struct error, text),
	"errors differ");
static inline struct error *error_of(struct taskclient_error *err)
{
	return (struct error *)err;
}

#define CHANNEL_REQUESTS 1 /* with confirms */
#define CHANNEL_ANSWERS  2 /* responses and answers come here */
#define CHANNEL_CONTROL  3 /* of its own: a missing exchange closes the channel */
#define CHANNEL_INSPECT  4
#define CHANNEL_PEEK     5 /* what is kept in mailboxes is looked at */
#define CHANNEL_MAILBOX  6 /* one is emptied */
#define CHANNEL_NOTES    7 /* what runners that are not there yet are to know of */

struct taskclient_answer {
	struct record record;
};

/* What the headers of a response say; 0 or "" where they do not. */
struct facts {
	int64_t attempt, sequence;
	char runner[256];
	enum cause cause;
	bool has_exit_code;
	int64_t exit_code;
	int64_t signal;
	char error_name[32]; /* "ENOENT" */
	char failure_kind[64];
	bool has_usage; /* the three below */
	int64_t wall_ms, cpu_ms, peak_memory;
};

/* An event as we make it; callers get it as told.c writes it. */
struct happening {
	enum taskclient_event_kind kind;
	char id[ID_MAX + 1];
	struct error error;
	struct received_response response;
	struct facts facts;
	uint64_t question;
	unsigned runners;
	bool is_noted;
	struct taskclient_answer answer;
	uint64_t mail;
};

/* A task that this client has asked for or watches, until its final response. */
struct submission {
	UT_hash_handle hh;        /* submissions, by id */
	UT_hash_handle hh_number; /* unconfirmed, by number; in the order in which they were sent */
	char id[ID_MAX + 1];
	uint64_t number; /* of the publish; 0 once it was confirmed */
	size_t size;     /* of the request's body */
	bool returned;
	bool is_detached;          /* its responses go to a mailbox: over once it is confirmed */
	int64_t attempt, sequence; /* of the last response */
};

#define TOKEN_SIZE (ID_MAX + 16)

/* What was asked of the runners and is not over yet. */
struct question {
	struct question *next;
	enum control_op op;
	uint64_t number;
	char id[ID_MAX + 1];    /* of the task that it is about; "": of many */
	char token[TOKEN_SIZE]; /* tells its answers from responses */
	struct mq_message message;
	struct mq_message note; /* what is written down while nobody answers; no body: nothing */
	bool was_noted, is_not_kept; /* it was sent; the server did not take it */
	uint64_t again_us, deadline_us, quiet_us;
	uint64_t answered_us; /* the last time; 0: never */
	unsigned n_runners;   /* that have said all */
};

struct pending {
	struct pending *next;
	struct happening happening;
};

struct taskclient {
	struct mq_connection *mq;
	char *control, *responses; /* exchanges */
	char *cancels;             /* a stream */
	char reply_queue[256];
	uint64_t tick_us;
	uint64_t next_number;
	bool requests_closed; /* the server closed CHANNEL_REQUESTS */
	bool control_closed;
	bool notes_open;
	struct submission *submissions, *unconfirmed;
	struct question *questions;
	uint64_t last_question;
	/* What one frame brought besides the event that was given. */
	struct pending *first, *last;
};

/* Keeps it (moved) for taskclient_next. 0 or -ENOMEM. */
int happening_post(struct taskclient *c, struct happening *happening);
int happening_post_kind(struct taskclient *c, enum taskclient_event_kind kind, const char *id,
	const struct error *err);
void happening_deinit(struct happening *happening);
void taskclient_copy_id(char to[ID_MAX + 1], const char *id);

/* options.c */
/* @ret (whatever it held is overwritten) is valid for mq_options_deinit in any case. 0, -EINVAL,
 * -E2BIG or -ENOMEM. */
int options_read(
	const struct taskclient_options *options, struct mq_options *ret, struct error *err);
/* Connects with them. */
int options_connect(
	const struct taskclient_options *options, struct mq_connection **ret, struct error *err);

/* told.c: what callers get */
/* Takes @happening. 1, or -ENOMEM. */
int tell(struct happening *happening, struct taskclient_event **ret);

/* events.c */
/* One that the server has sent, which is released: 0, 1 (@ret holds what it is for the caller), or
 * a negative errno. */
int taskclient_take(
	struct taskclient *c, struct mq_event *event, struct happening *ret, struct error *err);

/* submit.c: what became of requests */
struct submission *taskclient_find(struct taskclient *c, const char *id);
/* A new one; NULL: no memory. */
struct submission *submission_add(struct taskclient *c, const char *id);
void submission_remove(struct taskclient *c, struct submission *gone);
int submission_on_confirm(struct taskclient *c, const struct mq_event *event);
void submission_on_returned(struct taskclient *c, const struct mq_event *event);
int submission_on_closed(struct taskclient *c, const struct mq_event *event);

/* questions.c */
/* Whether it is one of ours, of now or before. */
bool question_is_token(const char *text);
struct question *question_by_token(struct taskclient *c, const char *token);
/* May end it. */
void question_on_answer(struct taskclient *c, struct question *q, const struct record *answer);
void question_remove(struct taskclient *c, struct question *question);
/* The task has ended: nothing is asked about it any more. */
void question_forget(struct taskclient *c, const char *id);
int question_on_closed(struct taskclient *c, const struct mq_event *event);
/* A note was not kept: one, or all that are not known to be. */
void question_on_returned(struct taskclient *c, const struct mq_event *event);
void question_on_notes_closed(struct taskclient *c);
/* Sends again what is due and ends what is over. 0 or a negative errno. */
int question_tick(struct taskclient *c, uint64_t now_us);
uint64_t question_next_us(const struct taskclient *c);
