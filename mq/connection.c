/* SPDX-License-Identifier: Apache-2.0 */
#include "mq/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mq/internal.h"

#define CLOSE_TIMEOUT_S 1

int mq_status_errno(int status)
{
	switch (status) {
	case AMQP_STATUS_OK:
		return 0;
	case AMQP_STATUS_NO_MEMORY:
		return -ENOMEM;
	case AMQP_STATUS_TIMEOUT:
	case AMQP_STATUS_HEARTBEAT_TIMEOUT:
		return -ETIMEDOUT;
	case AMQP_STATUS_CONNECTION_CLOSED:
	case AMQP_STATUS_SOCKET_ERROR:
	case AMQP_STATUS_SOCKET_CLOSED:
	case AMQP_STATUS_SSL_ERROR:
		return -ECONNRESET;
	case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
		return -EHOSTUNREACH;
	case AMQP_STATUS_INVALID_PARAMETER:
	case AMQP_STATUS_TABLE_TOO_BIG:
		return -EINVAL;
	default:
		return -EPROTO;
	}
}

int mq_fail(struct mq_connection *c, int code, const char *format, ...)
{
	va_list args;
	char text[sizeof(c->reason.text)];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (c->reason.code == 0)
		error_set(&c->reason, code, "%s", text);
	c->dead = true;
	return code;
}

int mq_fail_status(struct mq_connection *c, int status, const char *what)
{
	if (status == AMQP_STATUS_OK) /* an answer, but none that there is to what was asked */
		return mq_fail(c, -EPROTO, "%s: the server broke the protocol", what);
	if (status == AMQP_STATUS_CONNECTION_CLOSED)
		return mq_fail(c, -ECONNRESET,
			"%s: the server closed the connection without a word", what);
	if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
		return mq_fail(c, -ETIMEDOUT, "nothing was heard from the server for %u s",
			2 * c->heartbeat_s);
	return mq_fail(c, mq_status_errno(status), "%s: %s", what, amqp_error_string2(status));
}

/* True if a farewell can be written without waiting. */
static bool can_write_now(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)) == 0;
}

static void say_goodbye(struct mq_connection *c)
{
	struct timeval timeout = { .tv_sec = CLOSE_TIMEOUT_S };
	int fd = amqp_get_sockfd(c->amqp);

	if (!can_write_now(fd))
		return;
	mq_set_user_timeout(fd, CLOSE_TIMEOUT_S * 1000);
	(void)amqp_set_rpc_timeout(c->amqp, &timeout);
	(void)amqp_connection_close(c->amqp, AMQP_REPLY_SUCCESS);
}

static void free_events(struct mq_connection *c)
{
	for (unsigned i = 0; i < MQ_CHANNELS; i++) {
		if (c->incoming[i])
			mq_event_deinit(&c->incoming[i]->event);
		free(c->incoming[i]);
	}
	while (c->first) {
		struct mq_event_node *node = c->first;

		c->first = node->next;
		mq_event_deinit(&node->event);
		free(node);
	}
}

struct mq_connection *mq_close(struct mq_connection *c)
{
	if (!c)
		return NULL;
	if (c->amqp && !c->dead)
		say_goodbye(c);
	(void)mq_interrupt_watch(c->interrupt, -1);
	if (c->amqp)
		amqp_destroy_connection(c->amqp);
	free_events(c);
	free(c);
	return NULL;
}

int mq_fd(const struct mq_connection *c)
{
	return amqp_get_sockfd(c->amqp);
}

const struct mq_server *mq_server(const struct mq_connection *c)
{
	return &c->server;
}

/* ---- blocking part ---- */

static int check_name(const char *name, struct error *err)
{
	if (mq_is_short(name))
		return 0;
	return error_set(err, -EINVAL, "a name of more than %d bytes: %.40s…", MQ_SHORT_MAX, name);
}

static int on_connection_exception(
	struct mq_connection *c, const amqp_connection_close_t *close, struct error *err)
{
	amqp_connection_close_ok_t ok = { 0 };
	char text[MQ_SHORT_MAX + 1];

	mq_copy_text(text, sizeof(text), close->reply_text);
	(void)amqp_send_method(c->amqp, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	mq_fail(c, -ECONNRESET, "the server closed the connection: %u %s", close->reply_code, text);
	return error_set(err, c->reason.code, "%s", c->reason.text);
}

static int open_channel(struct mq_connection *c, uint16_t channel, struct error *err)
{
	amqp_rpc_reply_t reply;

	if (!amqp_channel_open(c->amqp, channel)) {
		reply = amqp_get_rpc_reply(c->amqp);
		if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
			reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
			return on_connection_exception(c, reply.reply.decoded, err);
		mq_fail_status(c, reply.library_error, "cannot open a channel");
		return error_set(err, c->reason.code, "%s", c->reason.text);
	}
	amqp_maybe_release_buffers_on_channel(c->amqp, channel);
	c->open[channel] = true;
	return 0;
}

int mq_channel_open(struct mq_connection *c, uint16_t channel, struct error *err)
{
	assert(channel > 0 && channel < MQ_CHANNELS);
	if (c->dead)
		return error_set(err, -ENOTCONN, "the connection is closed");
	if (c->open[channel])
		return 0;
	if (!c->incoming[channel])
		c->incoming[channel] = calloc(1, sizeof(*c->incoming[channel]));
	if (!c->incoming[channel])
		return error_set(err, -ENOMEM, "out of memory");
	return open_channel(c, channel, err);
}

static int channel_error(uint16_t code)
{
	switch (code) {
	case AMQP_PRECONDITION_FAILED:
		return -EEXIST;
	case AMQP_NOT_FOUND:
		return -ENOENT;
	case AMQP_ACCESS_REFUSED:
	case AMQP_RESOURCE_LOCKED:
		return -EACCES;
	default:
		return -EPROTO;
	}
}

static int on_channel_exception(struct mq_connection *c, uint16_t channel,
	const amqp_channel_close_t *close, struct error *err)
{
	amqp_channel_close_ok_t ok = { 0 };
	char text[MQ_SHORT_MAX + 1];
	int code = channel_error(close->reply_code);
	int r;

	mq_copy_text(text, sizeof(text), close->reply_text);
	r = amqp_send_method(c->amqp, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
	if (r < 0)
		mq_fail_status(c, r, "after a channel was closed");
	else if (code == -EPROTO)
		mq_fail(c, code, "%s", text);
	else if (mq_forget_channel(c, channel) == 0 && open_channel(c, channel, err) == 0)
		return error_set(err, code, "%s", text);
	/* The first error is the one worth telling. */
	error_set(err, c->reason.code, "%s", text);
	return c->reason.code;
}

/* Judges the blocking call just made on @channel; @done: what it gave was an answer. */
static int finish_rpc(struct mq_connection *c, uint16_t channel, bool done, struct error *err)
{
	amqp_rpc_reply_t reply;
	int r;

	if (done) {
		amqp_maybe_release_buffers_on_channel(c->amqp, channel);
		return 0;
	}
	reply = amqp_get_rpc_reply(c->amqp);
	if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) {
		mq_fail_status(c, reply.library_error, "waiting for the server's answer");
		return error_set(err, c->reason.code, "%s", c->reason.text);
	}
	if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
		r = on_channel_exception(c, channel, reply.reply.decoded, err);
	else
		r = on_connection_exception(c, reply.reply.decoded, err);
	if (!c->dead)
		amqp_maybe_release_buffers_on_channel(c->amqp, channel);
	return r;
}

/* What every blocking call begins with. */
static int begin_rpc(struct mq_connection *c, uint16_t channel, struct error *err)
{
	assert(channel > 0 && channel < MQ_CHANNELS);
	if (c->dead || !c->open[channel])
		return error_set(err, -ENOTCONN, "the connection or channel is closed");
	return 0;
}

int mq_declare_exchange(struct mq_connection *c, uint16_t channel,
	const struct mq_exchange *exchange, struct error *err)
{
	int r = begin_rpc(c, channel, err);

	if (r == 0)
		r = check_name(exchange->name, err);
	if (r < 0)
		return r;
	return finish_rpc(c, channel,
		amqp_exchange_declare(c->amqp, channel, mq_bytes(exchange->name),
			mq_bytes(exchange->type ? exchange->type : "direct"), exchange->passive,
			exchange->durable, exchange->auto_delete, 0, amqp_empty_table),
		err);
}

static amqp_table_entry_t text_argument(const char *key, const char *text)
{
	return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key),
		.value = { .kind = AMQP_FIELD_KIND_UTF8, .value = { .bytes = mq_bytes(text) } } };
}

/* RabbitMQ compares arguments by value, not by width. */
static amqp_table_entry_t number_argument(const char *key, int64_t number)
{
	return (amqp_table_entry_t){ .key = amqp_cstring_bytes(key),
		.value = { .kind = AMQP_FIELD_KIND_I64, .value = { .i64 = number } } };
}

unsigned mq_queue_arguments(
	const struct mq_queue *queue, amqp_table_entry_t entries[MQ_QUEUE_ARGUMENTS_MAX])
{
	unsigned n = 0;

	if (queue->type)
		entries[n++] = text_argument("x-queue-type", queue->type);
	if (queue->max_priority > 0)
		entries[n++] = number_argument("x-max-priority", queue->max_priority);
	if (queue->ttl_ms > 0)
		entries[n++] = number_argument("x-message-ttl", queue->ttl_ms);
	if (queue->expires_ms > 0)
		entries[n++] = number_argument("x-expires", queue->expires_ms);
	if (queue->max_age)
		entries[n++] = text_argument("x-max-age", queue->max_age);
	if (queue->max_bytes > 0)
		entries[n++] = number_argument("x-max-length-bytes", queue->max_bytes);
	if (queue->segment_bytes > 0)
		entries[n++] =
			number_argument("x-stream-max-segment-size-bytes", queue->segment_bytes);
	if (queue->dead_letter_queue) {
		entries[n++] = text_argument("x-dead-letter-exchange", "");
		entries[n++] = text_argument("x-dead-letter-routing-key", queue->dead_letter_queue);
	}
	if (queue->dead_letter_safely) {
		entries[n++] = text_argument("x-dead-letter-strategy", "at-least-once");
		entries[n++] = text_argument("x-overflow", "reject-publish");
	}
	return n;
}

static int declare_queue(struct mq_connection *c, uint16_t channel, const struct mq_queue *queue,
	amqp_queue_declare_ok_t *ret, struct error *err)
{
	const amqp_queue_declare_ok_t *ok;
	amqp_table_entry_t entries[MQ_QUEUE_ARGUMENTS_MAX];
	amqp_table_t arguments = { .entries = entries };
	int r = begin_rpc(c, channel, err);

	if (r == 0)
		r = check_name(queue->name, err);
	if (r < 0)
		return r;
	arguments.num_entries = (int)mq_queue_arguments(queue, entries);
	ok = amqp_queue_declare(c->amqp, channel, mq_bytes(queue->name), queue->passive,
		queue->durable, queue->exclusive, queue->auto_delete, arguments);
	if (ok)
		*ret = *ok;
	/* The caller reads the name before buffers are released. */
	return ok ? 0 : finish_rpc(c, channel, false, err);
}

int mq_declare_queue(struct mq_connection *c, uint16_t channel, const struct mq_queue *queue,
	char *ret_name, uint32_t *ret_ready, struct error *err)
{
	amqp_queue_declare_ok_t ok = { 0 };
	int r = declare_queue(c, channel, queue, &ok, err);

	if (r < 0)
		return r;
	if (ret_name)
		mq_copy_text(ret_name, MQ_SHORT_MAX + 1, ok.queue);
	if (ret_ready)
		*ret_ready = ok.message_count;
	return finish_rpc(c, channel, true, err);
}

int mq_inspect_queue(struct mq_connection *c, uint16_t channel, const char *name,
	uint32_t *ret_ready, uint32_t *ret_consumers, struct error *err)
{
	const struct mq_queue queue = { .name = name, .passive = true };
	amqp_queue_declare_ok_t ok = { 0 };
	int r = declare_queue(c, channel, &queue, &ok, err);

	if (r < 0)
		return r;
	*ret_ready = ok.message_count;
	*ret_consumers = ok.consumer_count;
	return finish_rpc(c, channel, true, err);
}

int mq_bind(struct mq_connection *c, uint16_t channel, const char *queue, const char *exchange,
	const char *routing_key, struct error *err)
{
	int r = begin_rpc(c, channel, err);

	if (r == 0)
		r = check_name(queue, err);
	if (r == 0)
		r = check_name(exchange, err);
	if (r == 0)
		r = check_name(routing_key, err);
	if (r < 0)
		return r;
	return finish_rpc(c, channel,
		amqp_queue_bind(c->amqp, channel, mq_bytes(queue), mq_bytes(exchange),
			mq_bytes(routing_key), amqp_empty_table),
		err);
}

int mq_qos(struct mq_connection *c, uint16_t channel, uint16_t prefetch, struct error *err)
{
	int r = begin_rpc(c, channel, err);

	if (r < 0)
		return r;
	return finish_rpc(c, channel, amqp_basic_qos(c->amqp, channel, 0, prefetch, 0), err);
}

int mq_confirm(struct mq_connection *c, uint16_t channel, struct error *err)
{
	int r = begin_rpc(c, channel, err);

	if (r < 0)
		return r;
	return finish_rpc(c, channel, amqp_confirm_select(c->amqp, channel), err);
}
