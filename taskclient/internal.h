/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of taskclient/ share with each other and nobody else sees. */

#include "taskclient/taskclient.h"

#define CHANNEL_REQUESTS 1 /* with confirms */
#define CHANNEL_ANSWERS  2 /* responses and answers come here */
#define CHANNEL_CONTROL  3 /* of its own: a missing exchange closes the channel */
#define CHANNEL_INSPECT  4

/* A task that this client has asked for, until its final response. */
struct submission {
	struct submission *next;
	char id[ID_MAX + 1];
	uint64_t number; /* of the publish; 0 once it was confirmed */
	size_t size;     /* of the request's body */
	bool returned;
	int64_t attempt, sequence; /* of the last response */
};

#define TOKEN_SIZE (ID_MAX + 16)

/* A cancel that was not answered yet. */
struct cancel {
	struct cancel *next;
	char id[ID_MAX + 1];
	char token[TOKEN_SIZE]; /* tells its answer from responses */
	uint64_t again_us, deadline_us;
};

struct pending_event {
	struct pending_event *next;
	struct taskclient_event event;
};

struct taskclient {
	struct mq_connection *mq;
	char *control_exchange;
	char reply_queue[256];
	uint64_t tick_us;
	uint64_t next_number;
	bool requests_closed; /* the server closed CHANNEL_REQUESTS */
	bool control_closed;
	struct submission *submissions;
	struct cancel *cancels;
	/* What one frame brought besides the event that was given. */
	struct pending_event *first, *last;
};

/* Keeps an event for taskclient_next. 0 or -ENOMEM. */
int taskclient_post(struct taskclient *c, enum taskclient_event_kind kind, const char *id,
	const struct error *err);
void taskclient_copy_id(char to[ID_MAX + 1], const char *id);

/* submit.c: what became of requests */
struct submission *taskclient_find(struct taskclient *c, const char *id);
void submission_remove(struct taskclient *c, struct submission *gone);
int submission_on_confirm(struct taskclient *c, const struct mq_event *event);
void submission_on_returned(struct taskclient *c, const struct mq_event *event);
int submission_on_closed(struct taskclient *c, const struct mq_event *event);

/* control.c */
/* Whether it is one of ours, of now or before. */
bool cancel_is_token(const char *text);
struct cancel *cancel_by_token(struct taskclient *c, const char *token);
void cancel_remove(struct taskclient *c, struct cancel *cancel);
/* The task has ended: nothing is asked any more. */
void cancel_forget(struct taskclient *c, const char *id);
int cancel_on_closed(struct taskclient *c, const struct mq_event *event);
/* Sends again what is due and gives up what is over. 0 or a negative errno. */
int cancel_tick(struct taskclient *c, uint64_t now_us);
uint64_t cancel_next_us(const struct taskclient *c);
