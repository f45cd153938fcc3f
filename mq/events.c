/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "mq/internal.h"

#define DONE 1 /* an event is complete */
#define MORE 0
/* So much is read and kept while something else is wanted; the rest waits in the socket. */
#define KEPT_BYTES_MAX (1024 * 1024)

void mq_delivery_deinit(struct mq_delivery *delivery)
{
	free(delivery->exchange);
	free(delivery->routing_key);
	mq_properties_deinit(&delivery->properties);
	buf_deinit(&delivery->body);
	*delivery = (struct mq_delivery){ 0 };
}

void mq_event_deinit(struct mq_event *event)
{
	mq_delivery_deinit(&event->delivery);
	*event = (struct mq_event){ 0 };
}

static void event_init(struct mq_event *event, enum mq_event_kind kind, uint16_t channel)
{
	*event = (struct mq_event){ .kind = kind, .channel = channel };
	mq_properties_init(&event->delivery.properties);
}

static int no_memory(struct mq_connection *c)
{
	return mq_fail(c, -ENOMEM, "out of memory");
}

/* ---- messages: method, header and body frames ---- */

static void incoming_reset(struct mq_incoming *in)
{
	mq_event_deinit(&in->event);
	*in = (struct mq_incoming){ 0 };
}

static int begin_message(struct mq_connection *c, uint16_t channel, enum mq_event_kind kind,
	struct mq_incoming **ret)
{
	struct mq_incoming *in = c->incoming[channel];

	if (in->active)
		return mq_fail(c, -EPROTO, "a message begins within another one");
	in->active = true;
	event_init(&in->event, kind, channel);
	*ret = in;
	return MORE;
}

/* A name with a NUL in it counts as empty: no C string can stand for it. */
static char *name_dup(amqp_bytes_t name)
{
	bool has_nul = name.len > 0 && memchr(name.bytes, '\0', name.len);

	return mq_text_dup(has_nul ? amqp_empty_bytes : name);
}

static int take_route(struct mq_connection *c, struct mq_delivery *delivery, amqp_bytes_t exchange,
	amqp_bytes_t routing_key)
{
	delivery->exchange = name_dup(exchange);
	delivery->routing_key = name_dup(routing_key);
	if (delivery->exchange && delivery->routing_key)
		return MORE;
	return no_memory(c);
}

static int finish_message(struct mq_incoming *in, struct mq_event *ret)
{
	*ret = in->event;
	*in = (struct mq_incoming){ 0 };
	return DONE;
}

static int on_deliver(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_deliver_t *m = decoded;
	struct mq_incoming *in = NULL;
	int r = begin_message(c, channel, MQ_DELIVERY, &in);

	(void)ret;
	if (r < 0)
		return r;
	mq_copy_text(in->event.consumer_tag, sizeof(in->event.consumer_tag), m->consumer_tag);
	in->event.delivery.tag = m->delivery_tag;
	in->event.delivery.redelivered = m->redelivered;
	return take_route(c, &in->event.delivery, m->exchange, m->routing_key);
}

static int on_get_ok(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_get_ok_t *m = decoded;
	struct mq_incoming *in = NULL;
	int r = begin_message(c, channel, MQ_DELIVERY, &in);

	(void)ret;
	if (r < 0)
		return r;
	in->event.delivery.tag = m->delivery_tag;
	in->event.delivery.redelivered = m->redelivered;
	return take_route(c, &in->event.delivery, m->exchange, m->routing_key);
}

static int on_return(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_return_t *m = decoded;
	struct mq_incoming *in = NULL;
	int r = begin_message(c, channel, MQ_RETURNED, &in);

	(void)ret;
	if (r < 0)
		return r;
	in->event.code = m->reply_code;
	mq_copy_text(in->event.text, sizeof(in->event.text), m->reply_text);
	return take_route(c, &in->event.delivery, m->exchange, m->routing_key);
}

static int on_header(struct mq_connection *c, const amqp_frame_t *frame, struct mq_event *ret)
{
	struct mq_incoming *in = c->incoming[frame->channel];
	uint64_t size = frame->payload.properties.body_size;

	if (!in->active || in->has_header || frame->payload.properties.class_id != AMQP_BASIC_CLASS)
		return mq_fail(c, -EPROTO, "a content header out of place");
	if (size > MQ_BODY_MAX)
		return mq_fail(c, -EPROTO,
			"a message of %llu bytes is announced; at most %llu are taken",
			(unsigned long long)size, MQ_BODY_MAX);
	if (mq_properties_from_amqp(
		    frame->payload.properties.decoded, &in->event.delivery.properties) < 0)
		return no_memory(c);
	in->has_header = true;
	in->left = size;
	in->event.delivery.body.max = size;
	return size == 0 ? finish_message(in, ret) : MORE;
}

static int on_body(struct mq_connection *c, const amqp_frame_t *frame, struct mq_event *ret)
{
	struct mq_incoming *in = c->incoming[frame->channel];
	amqp_bytes_t part = frame->payload.body_fragment;

	if (!in->has_header || part.len > in->left)
		return mq_fail(c, -EPROTO, "a body frame out of place");
	/* Who gets his message back has it still. */
	if (in->event.kind != MQ_RETURNED &&
		buf_append(&in->event.delivery.body, part.bytes, part.len) < 0)
		return no_memory(c);
	in->left -= part.len;
	return in->left == 0 ? finish_message(in, ret) : MORE;
}

/* ---- methods that are events by themselves ---- */

static int on_get_empty(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	(void)c, (void)decoded;
	event_init(ret, MQ_GET_EMPTY, channel);
	return DONE;
}

static int on_ack(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_ack_t *m = decoded;

	(void)c;
	event_init(ret, MQ_ACK, channel);
	ret->number = m->delivery_tag;
	ret->multiple = m->multiple;
	return DONE;
}

static int on_nack(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_nack_t *m = decoded;

	(void)c;
	event_init(ret, MQ_NACK, channel);
	ret->number = m->delivery_tag;
	ret->multiple = m->multiple;
	return DONE;
}

static int on_cancel(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_basic_cancel_t *m = decoded;

	(void)c;
	event_init(ret, MQ_CONSUMER_CANCELLED, channel);
	mq_copy_text(ret->consumer_tag, sizeof(ret->consumer_tag), m->consumer_tag);
	return DONE;
}

static int on_qos_ok(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	(void)c, (void)decoded;
	event_init(ret, MQ_QOS_SET, channel);
	return DONE;
}

static int on_channel_open_ok(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	(void)c, (void)decoded;
	event_init(ret, MQ_CHANNEL_OPENED, channel);
	return DONE;
}

static int on_channel_close(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_channel_close_t *m = decoded;
	amqp_channel_close_ok_t ok = { 0 };
	int r;

	event_init(ret, MQ_CHANNEL_CLOSED, channel);
	ret->code = m->reply_code;
	mq_copy_text(ret->text, sizeof(ret->text), m->reply_text);
	incoming_reset(c->incoming[channel]);
	c->open[channel] = false;
	r = amqp_send_method(c->amqp, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
	return r < 0 ? mq_fail_status(c, r, "after a channel was closed") : DONE;
}

static int on_channel_flow(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret)
{
	const amqp_channel_flow_t *m = decoded;
	amqp_channel_flow_ok_t ok = { .active = m->active };
	int r = amqp_send_method(c->amqp, channel, AMQP_CHANNEL_FLOW_OK_METHOD, &ok);

	(void)ret;
	return r < 0 ? mq_fail_status(c, r, "answering channel.flow") : MORE;
}

typedef int (*method_fn)(
	struct mq_connection *c, uint16_t channel, const void *decoded, struct mq_event *ret);

static const struct {
	amqp_method_number_t id;
	method_fn handle;
} methods[] = {
	{ AMQP_BASIC_DELIVER_METHOD, on_deliver },
	{ AMQP_BASIC_GET_OK_METHOD, on_get_ok },
	{ AMQP_BASIC_GET_EMPTY_METHOD, on_get_empty },
	{ AMQP_BASIC_RETURN_METHOD, on_return },
	{ AMQP_BASIC_ACK_METHOD, on_ack },
	{ AMQP_BASIC_NACK_METHOD, on_nack },
	{ AMQP_BASIC_CANCEL_METHOD, on_cancel },
	{ AMQP_BASIC_QOS_OK_METHOD, on_qos_ok },
	{ AMQP_CHANNEL_OPEN_OK_METHOD, on_channel_open_ok },
	{ AMQP_CHANNEL_CLOSE_METHOD, on_channel_close },
	{ AMQP_CHANNEL_FLOW_METHOD, on_channel_flow },
};

/* ---- frames ---- */

static int on_connection_close(struct mq_connection *c, const amqp_connection_close_t *m)
{
	amqp_connection_close_ok_t ok = { 0 };
	char text[MQ_SHORT_MAX + 1];

	mq_copy_text(text, sizeof(text), m->reply_text);
	(void)amqp_send_method(c->amqp, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	return mq_fail(
		c, -ECONNRESET, "the server closed the connection: %u %s", m->reply_code, text);
}

static int on_connection_frame(
	struct mq_connection *c, const amqp_frame_t *frame, struct mq_event *ret)
{
	const amqp_connection_blocked_t *blocked = frame->payload.method.decoded;

	if (frame->frame_type != AMQP_FRAME_METHOD)
		return MORE; /* a heartbeat */
	switch (frame->payload.method.id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		return on_connection_close(c, frame->payload.method.decoded);
	case AMQP_CONNECTION_BLOCKED_METHOD:
		event_init(ret, MQ_BLOCKED, 0);
		mq_copy_text(ret->text, sizeof(ret->text), blocked->reason);
		return DONE;
	case AMQP_CONNECTION_UNBLOCKED_METHOD:
		event_init(ret, MQ_UNBLOCKED, 0);
		return DONE;
	default:
		return MORE;
	}
}

static int on_method(struct mq_connection *c, const amqp_frame_t *frame, struct mq_event *ret)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (methods[i].id == frame->payload.method.id)
			return methods[i].handle(
				c, frame->channel, frame->payload.method.decoded, ret);
	return MORE; /* the answer to something sent without waiting: declare-ok, consume-ok, … */
}

static int on_frame(struct mq_connection *c, const amqp_frame_t *frame, struct mq_event *ret)
{
	if (frame->channel == 0)
		return on_connection_frame(c, frame, ret);
	if (frame->channel >= MQ_CHANNELS || !c->incoming[frame->channel])
		return mq_fail(c, -EPROTO, "a frame on channel %u, which was never opened",
			frame->channel);
	switch (frame->frame_type) {
	case AMQP_FRAME_METHOD:
		return on_method(c, frame, ret);
	case AMQP_FRAME_HEADER:
		return on_header(c, frame, ret);
	case AMQP_FRAME_BODY:
		return on_body(c, frame, ret);
	default:
		return MORE;
	}
}

int mq_read_event(struct mq_connection *c, struct mq_event *ret)
{
	struct timeval zero = { 0 };

	if (c->dead)
		return -ENOTCONN;
	for (;;) {
		amqp_frame_t frame;
		int r = amqp_simple_wait_frame_noblock(c->amqp, &frame, &zero);

		if (r == AMQP_STATUS_TIMEOUT)
			return MORE;
		if (r != AMQP_STATUS_OK)
			return mq_fail_status(c, r, "reading from the server");
		r = on_frame(c, &frame, ret);
		/* All that is kept was copied. */
		amqp_maybe_release_buffers_on_channel(c->amqp, frame.channel);
		if (r != MORE)
			return r;
	}
}

static size_t kept_size(const struct mq_event_node *node)
{
	return sizeof(*node) + node->event.delivery.body.len;
}

/* Keeps one event for mq_next: DONE, or MORE (there is none for now), or a negative errno. */
static int keep_one(struct mq_connection *c)
{
	struct mq_event_node *node = calloc(1, sizeof(*node));
	int r;

	if (!node)
		return no_memory(c);
	r = mq_read_event(c, &node->event);
	if (r != DONE) {
		free(node);
		return r;
	}
	if (c->last)
		c->last->next = node;
	else
		c->first = node;
	c->last = node;
	c->kept_bytes += kept_size(node);
	return DONE;
}

int mq_forget_channel(struct mq_connection *c, uint16_t channel)
{
	struct mq_event_node **at = &c->first, *node;
	int r = MORE;

	/* What came before the answer that was waited for is in the library's queue. */
	while (r >= 0 && amqp_frames_enqueued(c->amqp))
		r = keep_one(c);
	c->last = NULL;
	while ((node = *at)) {
		if (node->event.channel == channel) {
			*at = node->next;
			c->kept_bytes -= kept_size(node);
			mq_event_deinit(&node->event);
			free(node);
		} else {
			c->last = node;
			at = &node->next;
		}
	}
	incoming_reset(c->incoming[channel]);
	return r < 0 ? r : 0;
}

int mq_next(struct mq_connection *c, struct mq_event *ret, struct error *err)
{
	struct mq_event_node *node = c->first;
	int r;

	if (node) {
		c->kept_bytes -= kept_size(node);
		*ret = node->event;
		c->first = node->next;
		if (!c->first)
			c->last = NULL;
		free(node);
		return DONE;
	}
	r = mq_read_event(c, ret);
	if (r < 0)
		return mq_explain(c, r, err);
	return r;
}

/* ---- is the server alive? ---- */

/* Asks the kernel when the last byte came, if by what we know it has been long ago. */
static uint64_t silence_us(struct mq_connection *c)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint64_t now = clock_now_us();

	if (now - c->heard_us < c->heartbeat_s * 1000000ull)
		return now - c->heard_us;
	if (getsockopt(mq_fd(c), IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		c->heard_us = now - info.tcpi_last_data_recv * 1000ull;
	return now - c->heard_us;
}

/* Keeps what has come, as far as there is room for it. */
static int keep_some(struct mq_connection *c)
{
	int r = DONE;

	while (r == DONE && c->kept_bytes < KEPT_BYTES_MAX)
		r = keep_one(c);
	return r < 0 ? r : 0;
}

static int check_silence(struct mq_connection *c, uint64_t limit_us)
{
	uint64_t silence = silence_us(c);
	int r;

	if (silence <= limit_us)
		return 0;
	r = keep_some(c); /* its last word may be why */
	if (r < 0)
		return r;
	return mq_fail(c, -ETIMEDOUT, "nothing was heard from the server for %u s",
		(unsigned)(silence / 1000000));
}

int mq_writable(struct mq_connection *c)
{
	int r;

	if (c->dead)
		return -ENOTCONN;
	if (c->heartbeat_s == 0 || clock_now_us() - c->heard_us < c->heartbeat_s * 1000000ull)
		return 0;
	/* Before the library comes to wait without limit for a sign of life. */
	r = keep_some(c);
	return r < 0 ? r : check_silence(c, c->heartbeat_s * 1500000ull);
}

static int beat(struct mq_connection *c)
{
	amqp_frame_t frame = { .frame_type = AMQP_FRAME_HEARTBEAT };
	uint64_t now = clock_now_us();
	int r;

	if (now - c->beat_us < c->heartbeat_s * 500000ull)
		return 0;
	c->beat_us = now;
	r = amqp_send_frame(c->amqp, &frame);
	return r < 0 ? mq_fail_status(c, r, "sending a heartbeat") : 0;
}

/* It does not read, or a flood would be taken in as fast as it comes. */
int mq_tick(struct mq_connection *c, struct error *err)
{
	int r = c->dead ? -ENOTCONN : 0;

	if (r == 0 && c->heartbeat_s > 0)
		r = check_silence(c, c->heartbeat_s * 2000000ull);
	if (r == 0 && c->heartbeat_s > 0)
		r = beat(c);
	return r < 0 ? mq_explain(c, r, err) : 0;
}

int mq_explain(struct mq_connection *c, int r, struct error *err)
{
	struct timeval zero = { 0 };

	/* A write that failed may hide the server's farewell, which is still to be read. */
	for (unsigned n = 0; n < 10000 && c->reason.code == -ECONNRESET && mq_fd(c) >= 0; n++) {
		amqp_frame_t frame;

		if (amqp_simple_wait_frame_noblock(c->amqp, &frame, &zero) != AMQP_STATUS_OK)
			break;
		if (frame.channel == 0 && frame.frame_type == AMQP_FRAME_METHOD &&
			frame.payload.method.id == AMQP_CONNECTION_CLOSE_METHOD) {
			c->reason = (struct error){ 0 };
			on_connection_close(c, frame.payload.method.decoded);
			break;
		}
		amqp_maybe_release_buffers_on_channel(c->amqp, frame.channel);
	}
	c->dead = true;
	if (c->reason.code == 0)
		return error_set(err, r, "the connection to the server is closed");
	return error_set(err, c->reason.code, "%s", c->reason.text);
}
