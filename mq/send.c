/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "mq/internal.h"

#define FRAME_OVERHEAD 8 /* of rabbitmq-c's body frames: header and end */

/* 1 if something may be written on @channel, 0 if the server has closed it, or a negative errno. */
static int begin_send(struct mq_connection *c, uint16_t channel)
{
	int r;

	assert(channel > 0 && channel < MQ_CHANNELS);
	r = mq_writable(c);
	return r < 0 ? r : c->open[channel];
}

static int send_method(
	struct mq_connection *c, uint16_t channel, amqp_method_number_t id, void *method)
{
	int r = begin_send(c, channel);

	if (r <= 0)
		return r;
	r = amqp_send_method(c->amqp, channel, id, method);
	return r < 0 ? mq_fail_status(c, r, "sending to the server") : 0;
}

static int consume(struct mq_connection *c, uint16_t channel, const char *queue, const char *tag,
	bool no_ack, bool exclusive, amqp_table_t arguments)
{
	amqp_basic_consume_t m = {
		.queue = mq_bytes(queue),
		.consumer_tag = mq_bytes(tag),
		.no_ack = no_ack,
		.exclusive = exclusive,
		.arguments = arguments,
		/* RabbitMQ 3.10 fails with an internal error, and closes the connection, when a
		 * consumer is cancelled before its consume-ok has gone out. */
		.nowait = true,
	};

	assert(mq_is_short(queue) && mq_is_short(tag));
	return send_method(c, channel, AMQP_BASIC_CONSUME_METHOD, &m);
}

int mq_consume(struct mq_connection *c, uint16_t channel, const char *queue, const char *tag,
	bool no_ack, bool exclusive)
{
	return consume(c, channel, queue, tag, no_ack, exclusive, amqp_empty_table);
}

int mq_consume_stream_from(struct mq_connection *c, uint16_t channel, const char *stream,
	const char *tag, int64_t since)
{
	const char *word = since == MQ_STREAM_LAST ? "last" : "first";
	amqp_table_entry_t offset = { .key = amqp_cstring_bytes("x-stream-offset"),
		.value = { .kind = AMQP_FIELD_KIND_UTF8,
			.value = { .bytes = amqp_cstring_bytes(word) } } };
	amqp_table_t arguments = { .num_entries = 1, .entries = &offset };

	if (since > 0)
		offset.value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_TIMESTAMP,
			.value = { .u64 = (uint64_t)since } };
	return consume(c, channel, stream, tag, false, false, arguments);
}

int mq_consume_stream(
	struct mq_connection *c, uint16_t channel, const char *stream, const char *tag)
{
	return mq_consume_stream_from(c, channel, stream, tag, MQ_STREAM_FIRST);
}

int mq_cancel(struct mq_connection *c, uint16_t channel, const char *tag)
{
	amqp_basic_cancel_t m = { .consumer_tag = mq_bytes(tag) };

	assert(mq_is_short(tag));
	return send_method(c, channel, AMQP_BASIC_CANCEL_METHOD, &m);
}

int mq_get(struct mq_connection *c, uint16_t channel, const char *queue, bool no_ack)
{
	amqp_basic_get_t m = { .queue = mq_bytes(queue), .no_ack = no_ack };

	assert(mq_is_short(queue));
	return send_method(c, channel, AMQP_BASIC_GET_METHOD, &m);
}

int mq_ack(struct mq_connection *c, uint16_t channel, uint64_t delivery_tag, bool multiple)
{
	amqp_basic_ack_t m = { .delivery_tag = delivery_tag, .multiple = multiple };

	return send_method(c, channel, AMQP_BASIC_ACK_METHOD, &m);
}

int mq_nack(struct mq_connection *c, uint16_t channel, uint64_t delivery_tag, bool requeue)
{
	amqp_basic_nack_t m = { .delivery_tag = delivery_tag, .requeue = requeue };

	return send_method(c, channel, AMQP_BASIC_NACK_METHOD, &m);
}

/* The library sends a body that fills its frames exactly with "more follows", and nothing does:
 * without this the kernel would keep the last bytes back for a while. */
static void push_out(struct mq_connection *c, size_t body_len)
{
	const int one = 1;
	size_t frame = (size_t)amqp_get_frame_max(c->amqp) - FRAME_OVERHEAD;

	if (body_len > 0 && body_len % frame == 0)
		(void)setsockopt(mq_fd(c), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int mq_publish(struct mq_connection *c, uint16_t channel, const struct mq_message *message)
{
	amqp_table_entry_t entries[MQ_HEADERS_MAX];
	amqp_basic_properties_t properties;
	amqp_bytes_t body = { .len = message->body.len, .bytes = message->body.data };
	int r = begin_send(c, channel);

	if (r <= 0)
		return r;
	if (mq_message_check(message, NULL) < 0 ||
		mq_message_overhead(message) > (size_t)amqp_get_frame_max(c->amqp))
		return -EINVAL;
	mq_properties_to_amqp(&message->properties, entries, &properties);
	r = amqp_basic_publish(c->amqp, channel, mq_bytes(message->exchange),
		mq_bytes(message->routing_key), message->mandatory, 0, &properties, body);
	if (r < 0)
		return mq_fail_status(c, r, "publishing");
	push_out(c, body.len);
	return 0;
}

int mq_send_declare_exchange(
	struct mq_connection *c, uint16_t channel, const struct mq_exchange *exchange)
{
	amqp_exchange_declare_t m = {
		.exchange = mq_bytes(exchange->name),
		.type = mq_bytes(exchange->type ? exchange->type : "direct"),
		.passive = exchange->passive,
		.durable = exchange->durable,
		.auto_delete = exchange->auto_delete,
	};

	assert(mq_is_short(exchange->name) && mq_is_short(exchange->type));
	return send_method(c, channel, AMQP_EXCHANGE_DECLARE_METHOD, &m);
}

int mq_send_declare_queue(struct mq_connection *c, uint16_t channel, const struct mq_queue *queue)
{
	amqp_table_entry_t entries[MQ_QUEUE_ARGUMENTS_MAX];
	amqp_queue_declare_t m = {
		.queue = mq_bytes(queue->name),
		.passive = queue->passive,
		.durable = queue->durable,
		.exclusive = queue->exclusive,
		.auto_delete = queue->auto_delete,
	};

	assert(mq_is_short(queue->name));
	m.arguments.num_entries = (int)mq_queue_arguments(queue, entries);
	m.arguments.entries = entries;
	return send_method(c, channel, AMQP_QUEUE_DECLARE_METHOD, &m);
}

int mq_send_bind(struct mq_connection *c, uint16_t channel, const char *queue, const char *exchange,
	const char *routing_key)
{
	amqp_queue_bind_t m = {
		.queue = mq_bytes(queue),
		.exchange = mq_bytes(exchange),
		.routing_key = mq_bytes(routing_key),
	};

	assert(mq_is_short(queue) && mq_is_short(exchange) && mq_is_short(routing_key));
	return send_method(c, channel, AMQP_QUEUE_BIND_METHOD, &m);
}

int mq_send_delete_queue(
	struct mq_connection *c, uint16_t channel, const char *queue, bool if_unused, bool if_empty)
{
	amqp_queue_delete_t m = {
		.queue = mq_bytes(queue),
		.if_unused = if_unused,
		.if_empty = if_empty,
	};

	assert(mq_is_short(queue));
	return send_method(c, channel, AMQP_QUEUE_DELETE_METHOD, &m);
}

int mq_send_qos(struct mq_connection *c, uint16_t channel, uint16_t prefetch)
{
	amqp_basic_qos_t m = { .prefetch_count = prefetch };

	return send_method(c, channel, AMQP_BASIC_QOS_METHOD, &m);
}

int mq_send_channel_open(struct mq_connection *c, uint16_t channel)
{
	amqp_channel_open_t m = { .out_of_band = amqp_empty_bytes };

	assert(channel > 0 && channel < MQ_CHANNELS && c->incoming[channel]);
	c->open[channel] = true;
	return send_method(c, channel, AMQP_CHANNEL_OPEN_METHOD, &m);
}
