/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskclient/internal.h"

#define AGAIN_US 2000000

/* No id of a task holds a slash: an answer that comes late is not taken for a response. */
#define TOKEN_PREFIX "cancel/"

static int make_token(char ret_token[TOKEN_SIZE])
{
	char unique[ID_MAX + 1];
	int r = taskclient_make_id(unique);

	snprintf(ret_token, TOKEN_SIZE, TOKEN_PREFIX "%s", r < 0 ? "" : unique);
	return r;
}

bool cancel_is_token(const char *text)
{
	return text && strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0;
}

struct cancel *cancel_by_token(struct taskclient *c, const char *token)
{
	for (struct cancel *at = c->cancels; at && token; at = at->next)
		if (strcmp(at->token, token) == 0)
			return at;
	return NULL;
}

static struct cancel *cancel_by_id(struct taskclient *c, const char *id)
{
	for (struct cancel *at = c->cancels; at; at = at->next)
		if (strcmp(at->id, id) == 0)
			return at;
	return NULL;
}

void cancel_remove(struct taskclient *c, struct cancel *cancel)
{
	for (struct cancel **at = &c->cancels; *at; at = &(*at)->next) {
		if (*at == cancel) {
			*at = cancel->next;
			free(cancel);
			return;
		}
	}
}

void cancel_forget(struct taskclient *c, const char *id)
{
	struct cancel *cancel = cancel_by_id(c, id);

	if (cancel)
		cancel_remove(c, cancel);
}

/* Without a body: a server that has an alarm reads no other. */
static int fill(struct taskclient *c, const struct cancel *cancel, struct mq_message *m)
{
	const struct control control = { .op = CONTROL_CANCEL, .id = (char *)cancel->id };
	int r = control_encode_headers(&control, mq_header_put, &m->properties);

	if (r == 0)
		r = mq_properties_set(&m->exchange, c->control_exchange);
	if (r == 0)
		r = mq_properties_set(&m->routing_key, "");
	if (r == 0)
		r = mq_properties_set(&m->properties.correlation_id, cancel->token);
	if (r == 0)
		r = mq_properties_set(&m->properties.reply_to, c->reply_queue);
	return r;
}

static int send_cancel(struct taskclient *c, struct cancel *cancel, uint64_t now_us)
{
	cleanup_with(mq_message_deinit) struct mq_message m;
	int r;

	mq_message_init(&m);
	r = fill(c, cancel, &m);
	if (r == 0)
		r = mq_publish(c->mq, CHANNEL_CONTROL, &m);
	cancel->again_us = now_us + AGAIN_US;
	return r;
}

/* The server closed it because of a missing exchange, for example. */
static int reopen(struct taskclient *c)
{
	if (!c->control_closed)
		return 0;
	c->control_closed = false;
	return mq_send_channel_open(c->mq, CHANNEL_CONTROL);
}

int taskclient_cancel(struct taskclient *c, const char *id, unsigned patience_ms, struct error *err)
{
	struct cancel *cancel;
	uint64_t now = clock_now_us();
	int r;

	if (!id_is_valid(slice_of(id)))
		return error_set(err, -EINVAL,
			"an id is 1 to %d bytes without '/', and not '.' or '..'", ID_MAX);
	if (cancel_by_id(c, id))
		return 0;
	cancel = calloc(1, sizeof(*cancel));
	if (!cancel)
		return error_set(err, -ENOMEM, "out of memory");
	taskclient_copy_id(cancel->id, id);
	cancel->deadline_us = now + patience_ms * 1000ull;
	cancel->next = c->cancels;
	c->cancels = cancel;
	r = make_token(cancel->token);
	if (r == 0)
		r = reopen(c);
	if (r == 0)
		r = send_cancel(c, cancel, now);
	return r < 0 ? error_set(err, r, "the connection to the server was lost") : 0;
}

int cancel_on_closed(struct taskclient *c, const struct mq_event *event)
{
	struct error err;
	int r = 0;

	c->control_closed = true;
	error_set(&err, event->code == 404 ? -ENOENT : -EACCES, "%s", event->text);
	while (c->cancels && r == 0) {
		r = taskclient_post(c, TASKCLIENT_NO_ANSWER, c->cancels->id, &err);
		cancel_remove(c, c->cancels);
	}
	return r;
}

static int give_up(struct taskclient *c, struct cancel *cancel)
{
	struct error err;
	int r;

	error_set(&err, -ETIMEDOUT, "no runner has answered");
	r = taskclient_post(c, TASKCLIENT_NO_ANSWER, cancel->id, &err);
	cancel_remove(c, cancel);
	return r;
}

int cancel_tick(struct taskclient *c, uint64_t now_us)
{
	int r = 0;

	for (struct cancel *at = c->cancels, *next; at && r == 0; at = next) {
		next = at->next;
		if (now_us >= at->deadline_us)
			r = give_up(c, at);
		else if (now_us >= at->again_us)
			r = send_cancel(c, at, now_us);
	}
	return r;
}

uint64_t cancel_next_us(const struct taskclient *c)
{
	uint64_t at_us = UINT64_MAX;

	for (const struct cancel *at = c->cancels; at; at = at->next) {
		at_us = at->again_us < at_us ? at->again_us : at_us;
		at_us = at->deadline_us < at_us ? at->deadline_us : at_us;
	}
	return at_us;
}
