/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and publisher against a server that follows a script: what it sends with what, in one
 * piece, is ours to say. Heartbeats are off but where they are the matter, so that only what comes
 * wakes anybody: an event that is read and not told is missed for ever. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "mq/internal.h"
#include "mq/publisher.h"

#define PATIENCE_MS 30000
#define PEERS_MAX   2
#define BYTES(text) text, sizeof(text) - 1

/* ---- what the server can say ---- */

static void put_frame(struct buf *out, char kind, uint16_t channel, const char *data, size_t len)
{
	const char head[] = { kind, (char)(channel >> 8), (char)channel, 0, (char)(len >> 16),
		(char)(len >> 8), (char)len };

	assert_int_equal(buf_append(out, head, sizeof(head)), 0);
	assert_int_equal(buf_append(out, data, len), 0);
	assert_int_equal(buf_append(out, BYTES("\316")), 0);
}

static void put_method(
	struct buf *out, uint16_t channel, uint32_t method, const char *arguments, size_t len)
{
	const char id[] = { (char)(method >> 24), (char)(method >> 16), (char)(method >> 8),
		(char)method };
	struct buf payload = { 0 };

	assert_int_equal(buf_append(&payload, id, sizeof(id)), 0);
	assert_int_equal(buf_append(&payload, arguments, len), 0);
	put_frame(out, AMQP_FRAME_METHOD, channel, payload.data, payload.len);
	buf_deinit(&payload);
}

static void put_close(struct buf *out, uint16_t channel, uint16_t code, const char *text)
{
	struct buf arguments = { 0 };

	assert_int_equal(
		buf_printf(&arguments, "%c%c%c%s", code >> 8, code & 255, (int)strlen(text), text),
		0);
	assert_int_equal(buf_append(&arguments, BYTES("\0\0\0\0")), 0);
	put_method(out, channel, AMQP_CHANNEL_CLOSE_METHOD, arguments.data, arguments.len);
	buf_deinit(&arguments);
}

static void put_deliver(struct buf *out, uint16_t channel)
{
	put_method(out, channel, AMQP_BASIC_DELIVER_METHOD, BYTES("\1t\0\0\0\0\0\0\0\1\0\0\1q"));
}

/* Size and (no) properties of a message. */
static void put_header(struct buf *out, uint16_t channel, uint32_t size)
{
	const char payload[] = { 0, 60, 0, 0, 0, 0, 0, 0, (char)(size >> 24), (char)(size >> 16),
		(char)(size >> 8), (char)size, 0, 0 };

	put_frame(out, AMQP_FRAME_HEADER, channel, payload, sizeof(payload));
}

static void put_ack(struct buf *out, uint16_t channel, uint8_t number)
{
	const char arguments[] = { 0, 0, 0, 0, 0, 0, 0, (char)number, 0 };

	put_method(out, channel, AMQP_BASIC_ACK_METHOD, arguments, sizeof(arguments));
}

static void put_declared(struct buf *out, uint16_t channel)
{
	put_method(out, channel, AMQP_QUEUE_DECLARE_OK_METHOD, BYTES("\1q\0\0\0\0\0\0\0\0"));
}

/* ---- the server ---- */

struct peer;
typedef void (*answer_fn)(struct peer *peer, uint16_t channel, struct buf *out);

struct step {
	uint32_t method;  /* what is awaited */
	answer_fn answer; /* what is said then, in one piece; NULL: nothing */
};

struct peer {
	int fd;
	pthread_t thread;
	const struct step *script;
	struct buf in;
	uint16_t publishing; /* the channel of the last message */
};

struct server {
	int listener;
	char url[64];
	pthread_t thread;
	const struct step *scripts[PEERS_MAX]; /* for each connection, in the order they come */
	struct peer peers[PEERS_MAX];
	unsigned n_peers;
	_Atomic size_t flooded;
	char problem[128]; /* under the lock */
	pthread_mutex_t lock;
};

static struct server server;

static void complain(const char *what, uint32_t method)
{
	pthread_mutex_lock(&server.lock);
	if (!server.problem[0])
		snprintf(server.problem, sizeof(server.problem), "%s: method %u %u", what,
			method >> 16, method & 65535);
	pthread_mutex_unlock(&server.lock);
}

static bool read_up_to(struct peer *peer, size_t len)
{
	char bytes[4096];

	while (peer->in.len < len) {
		ssize_t n = read(peer->fd, bytes, sizeof(bytes));

		if (n <= 0 || buf_append(&peer->in, bytes, (size_t)n) < 0)
			return false;
	}
	return true;
}

static uint32_t number_at(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The next method of the client, or 0 when it has gone. Headers and bodies are passed over. */
static uint32_t next_method(struct peer *peer, uint16_t *ret_channel)
{
	for (;;) {
		uint32_t method = 0;
		size_t len;

		if (!read_up_to(peer, 8))
			return 0;
		len = number_at(peer->in.data + 3) + 8;
		if (!read_up_to(peer, len))
			return 0;
		*ret_channel = (uint16_t)(peer->in.data[1] << 8 | (peer->in.data[2] & 255));
		if (peer->in.data[0] == AMQP_FRAME_METHOD)
			method = number_at(peer->in.data + 7);
		buf_consume(&peer->in, len);
		if (method == AMQP_BASIC_PUBLISH_METHOD)
			peer->publishing = *ret_channel;
		if (method != 0 && method != AMQP_CHANNEL_CLOSE_OK_METHOD)
			return method;
	}
}

/* Sends what is in @out; false if the client has gone. */
static bool say(struct peer *peer, struct buf *out)
{
	bool taken = send(peer->fd, out->data, out->len, MSG_NOSIGNAL) == (ssize_t)out->len;

	buf_clear(out);
	return taken;
}

static void answer(struct peer *peer, uint16_t channel, answer_fn how)
{
	struct buf out = { 0 };

	if (how)
		how(peer, channel, &out);
	if (out.len > 0)
		(void)say(peer, &out);
	buf_deinit(&out);
}

static void say_start(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CONNECTION_START_METHOD,
		BYTES("\0\11\0\0\0\0\0\0\0\5PLAIN\0\0\0\5en_US"));
}

static void say_tune(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CONNECTION_TUNE_METHOD, BYTES("\0\377\0\2\0\0\0\0"));
}

static void say_connected(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CONNECTION_OPEN_OK_METHOD, BYTES("\0"));
}

static void say_closed(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CONNECTION_CLOSE_OK_METHOD, BYTES(""));
}

static const struct step greeting[] = {
	{ AMQP_CONNECTION_START_OK_METHOD, say_tune },
	{ AMQP_CONNECTION_TUNE_OK_METHOD, NULL },
	{ AMQP_CONNECTION_OPEN_METHOD, say_connected },
	{ 0 },
};

/* True when all of it was gone through. */
static bool follow(struct peer *peer, const struct step *script)
{
	for (; script->method; script++) {
		uint16_t channel = 0;
		uint32_t method = next_method(peer, &channel);

		if (method == AMQP_CONNECTION_CLOSE_METHOD)
			answer(peer, 0, say_closed);
		else if (method && method != script->method)
			complain("not in the script", method);
		if (method != script->method)
			return false;
		answer(peer, channel, script->answer);
	}
	return true;
}

static void *peer_main(void *userdata)
{
	static const struct step end[] = { { AMQP_CONNECTION_CLOSE_METHOD, say_closed }, { 0 } };
	struct peer *peer = userdata;

	if (read_up_to(peer, 8)) {
		buf_consume(&peer->in, 8);
		answer(peer, 0, say_start);
		if (follow(peer, greeting) && follow(peer, peer->script))
			(void)follow(peer, end);
	}
	shutdown(peer->fd, SHUT_RDWR);
	return NULL;
}

static void *server_main(void *userdata)
{
	int fd;

	(void)userdata;
	while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
		unsigned n = server.n_peers;

		if (n == PEERS_MAX || !server.scripts[n]) {
			complain("one connection too many", 0);
			close(fd);
			continue;
		}
		server.peers[n] = (struct peer){ .fd = fd, .script = server.scripts[n] };
		if (pthread_create(&server.peers[n].thread, NULL, peer_main, &server.peers[n]) != 0)
			return NULL;
		server.n_peers++;
	}
	return NULL;
}

static int listen_on_loopback(char url[64])
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(url, 64, "amqp://127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

static void server_start(const struct step *first, const struct step *second)
{
	server = (struct server){ .scripts = { first, second } };
	server.listener = listen_on_loopback(server.url);
	pthread_mutex_init(&server.lock, NULL);
	assert_int_equal(pthread_create(&server.thread, NULL, server_main, NULL), 0);
}

static void server_stop(void)
{
	shutdown(server.listener, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	for (unsigned i = 0; i < server.n_peers; i++) {
		shutdown(server.peers[i].fd, SHUT_RDWR);
		pthread_join(server.peers[i].thread, NULL);
		close(server.peers[i].fd);
		buf_deinit(&server.peers[i].in);
	}
	close(server.listener);
	pthread_mutex_destroy(&server.lock);
	assert_string_equal(server.problem, "");
}

/* ---- answers that several scripts have ---- */

static void say_opened(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CHANNEL_OPEN_OK_METHOD, BYTES("\0\0\0\0"));
}

static void say_queue(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_declared(out, channel);
}

static void say_exchange(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_EXCHANGE_DECLARE_OK_METHOD, BYTES(""));
}

static void say_selected(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_method(out, channel, AMQP_CONFIRM_SELECT_OK_METHOD, BYTES(""));
}

static void say_missing(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_close(out, channel, 404, "NOT_FOUND - no exchange 'later' in vhost '/'");
}

static void say_confirmed(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_ack(out, channel, 1);
}

/* ---- connections ---- */

static void options_for(struct mq_options *o, const char *url, unsigned heartbeat_s)
{
	struct error err = { 0 };

	mq_options_init(o);
	o->heartbeat_s = heartbeat_s;
	if (mq_options_add_addresses(o, url, &err) < 0)
		fail_msg("%s", err.text);
}

static struct mq_connection *connect_to_server(unsigned heartbeat_s)
{
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };

	options_for(&o, server.url, heartbeat_s);
	if (mq_connect(&o, &c, &err) < 0)
		fail_msg("%s", err.text);
	mq_options_deinit(&o);
	return c;
}

/* It must be there already: nothing is waited for. */
static void take(struct mq_connection *c, enum mq_event_kind kind, struct mq_event *ret)
{
	struct error err = { 0 };

	assert_int_equal(mq_next(c, ret, &err), 1);
	assert_int_equal(ret->kind, kind);
}

static void say_queue_in_between(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_deliver(out, channel);
	put_header(out, channel, 6);
	put_frame(out, AMQP_FRAME_BODY, channel, BYTES("abc"));
	put_method(out, 0, AMQP_CONNECTION_BLOCKED_METHOD, BYTES("\3why"));
	put_ack(out, channel, 5);
	put_declared(out, channel);
	put_frame(out, AMQP_FRAME_BODY, channel, BYTES("def"));
	put_deliver(out, channel);
	/* The next one is cut off within its method. */
	out->len -= 5;
}

static void say_the_rest(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_deliver(out, channel);
	buf_consume(out, out->len - 5);
	put_header(out, channel, 0);
	put_method(out, channel, AMQP_BASIC_QOS_OK_METHOD, BYTES(""));
}

/* What comes beside an answer that is waited for is all told, and in order. */
static void test_beside_an_answer(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue_in_between },
		{ AMQP_BASIC_QOS_METHOD, say_the_rest },
		{ 0 },
	};
	const struct mq_queue queue = { .name = "q" };
	struct mq_connection *c;
	struct mq_event event;
	struct error err = { 0 };

	(void)state;
	server_start(script, NULL);
	c = connect_to_server(0);
	assert_int_equal(mq_channel_open(c, 7, &err), 0);
	assert_int_equal(mq_declare_queue(c, 7, &queue, NULL, NULL, &err), 0);
	assert_int_equal(mq_tick(c, &err), 0);
	take(c, MQ_BLOCKED, &event);
	assert_string_equal(event.text, "why");
	take(c, MQ_ACK, &event);
	assert_int_equal(event.number, 5);
	take(c, MQ_DELIVERY, &event);
	assert_int_equal(event.channel, 7);
	assert_true(slice_equal(buf_slice(&event.delivery.body), "abcdef"));
	mq_event_deinit(&event);
	assert_int_equal(mq_next(c, &event, &err), 0);
	assert_int_equal(mq_qos(c, 7, 1, &err), 0);
	take(c, MQ_DELIVERY, &event);
	mq_event_deinit(&event);
	assert_int_equal(mq_next(c, &event, &err), 0);
	mq_close(c);
	server_stop();
}

#define FLOOD (64 * 1024 * 1024)

/* Messages without end, as far as somebody takes them. */
static void say_prefetch_and_flood(struct peer *peer, uint16_t channel, struct buf *out)
{
	static const char body[65536];
	size_t len = 0;

	put_method(out, channel, AMQP_BASIC_QOS_OK_METHOD, BYTES(""));
	say(peer, out);
	while (len < FLOOD) {
		put_deliver(out, channel);
		put_header(out, channel, sizeof(body));
		put_frame(out, AMQP_FRAME_BODY, channel, body, sizeof(body));
		len += out->len;
		if (!say(peer, out))
			return;
		atomic_store(&server.flooded, len);
	}
}

/* A tick does not take in what nobody asks for: that would have no bound. */
static void test_tick_in_a_flood(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_BASIC_QOS_METHOD, say_prefetch_and_flood },
		{ 0 },
	};
	struct mq_connection *c;
	struct mq_event event;
	struct error err = { 0 };
	struct pollfd more = { .events = POLLIN };
	int r = 0;

	(void)state;
	server_start(script, NULL);
	c = connect_to_server(20);
	more.fd = mq_fd(c);
	assert_int_equal(mq_channel_open(c, 7, &err), 0);
	assert_int_equal(mq_qos(c, 7, 0, &err), 0);
	for (int n = 0; n < 100; n++) {
		assert_int_equal(poll(&more, 1, PATIENCE_MS), 1);
		assert_int_equal(mq_tick(c, &err), 0);
	}
	/* Sockets have taken some of it. */
	assert_true(atomic_load(&server.flooded) < FLOOD / 2);
	while ((r = mq_next(c, &event, &err)) == 0)
		assert_int_equal(poll(&more, 1, PATIENCE_MS), 1);
	assert_int_equal(r, 1);
	assert_int_equal(event.kind, MQ_DELIVERY);
	mq_event_deinit(&event);
	/* There is no end to wait for. */
	shutdown(mq_fd(c), SHUT_RDWR);
	mq_close(c);
	server_stop();
}

static void say_other_arguments(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_ack(out, channel, 5);
	put_method(out, 0, AMQP_CONNECTION_BLOCKED_METHOD, BYTES("\3why"));
	put_deliver(out, channel);
	put_close(out, channel, 406, "PRECONDITION_FAILED - inequivalent arg");
}

static void say_opened_and_more(struct peer *peer, uint16_t channel, struct buf *out)
{
	say_opened(peer, channel, out);
	put_deliver(out, channel);
	put_header(out, channel, 0);
}

/* A channel that was opened anew has nothing of the old one: its numbers begin again. */
static void test_old_channel_is_forgotten(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_other_arguments },
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened_and_more },
		{ 0 },
	};
	const struct mq_queue queue = { .name = "q" };
	struct mq_connection *c;
	struct mq_event event;
	struct error err = { 0 };

	(void)state;
	server_start(script, NULL);
	c = connect_to_server(0);
	assert_int_equal(mq_channel_open(c, 7, &err), 0);
	assert_int_equal(mq_declare_queue(c, 7, &queue, NULL, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.text, "inequivalent"));
	take(c, MQ_BLOCKED, &event);
	take(c, MQ_DELIVERY, &event);
	mq_event_deinit(&event);
	assert_int_equal(mq_next(c, &event, &err), 0);
	mq_close(c);
	server_stop();
}

/* A channel that is closed instead of opened is no open channel. */
static void test_closed_instead_of_opened(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_missing },
		{ 0 },
	};
	struct mq_connection *c;
	struct error err = { 0 };

	(void)state;
	server_start(script, NULL);
	c = connect_to_server(0);
	assert_int_equal(mq_channel_open(c, 7, &err), -EPROTO);
	assert_int_equal(err.code, -EPROTO);
	assert_true(strlen(err.text) > 0);
	mq_close(c);
	server_stop();
}

/* An interruption does not hit what has got the number of a socket that is closed. */
static void test_interrupt_after_close(void **state)
{
	struct mq_interrupt i;
	int watched[2], other[2];
	char byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, watched), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	assert_int_equal(mq_interrupt_init(&i), 0);
	assert_int_equal(mq_interrupt_watch(&i, watched[0]), 0);
	assert_int_equal(dup2(other[0], watched[0]), watched[0]);
	mq_interrupt_now(&i);
	assert_int_equal(read(watched[1], &byte, 1), 0);
	assert_int_equal(send(other[0], "x", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(mq_interrupt_watch(&i, other[0]), -ECANCELED);
	assert_int_equal(mq_interrupt_watch(&i, -1), -ECANCELED);
	mq_interrupt_deinit(&i);
	for (int n = 0; n < 2; n++) {
		close(watched[n]);
		close(other[n]);
	}
}

/* ---- the publisher ---- */

static int prepare(struct mq_connection *c, void *userdata, struct error *err)
{
	const struct mq_queue queue = { .name = "q" };

	(void)userdata;
	return mq_declare_queue(c, 1, &queue, NULL, NULL, err);
}

static int prepare_consumer(struct mq_connection *c, void *userdata, struct error *err)
{
	int r = mq_channel_open(c, 7, err);

	(void)userdata;
	return r < 0 ? r : mq_qos(c, 7, 1, err);
}

static struct mq_publisher *start(struct mq_publisher_options *options, struct mq_options *o)
{
	struct mq_publisher *p = NULL;
	struct error err = { 0 };

	options->connection = o;
	if (mq_publisher_start(options, &p, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static void send_to(struct mq_publisher *p, const char *exchange, uint64_t token)
{
	struct mq_message m;

	mq_message_init(&m);
	assert_int_equal(mq_properties_set(&m.exchange, exchange), 0);
	assert_int_equal(mq_properties_set(&m.routing_key, "key"), 0);
	assert_int_equal(mq_publisher_send(p, &m, token), 0);
}

/* The next event but UP, which must be of this kind; nothing but the descriptor wakes us. */
static void expect(
	struct mq_publisher *p, enum mq_publisher_event_kind kind, struct mq_publisher_event *ret)
{
	do {
		struct pollfd fd = { .fd = mq_publisher_fd(p), .events = POLLIN };

		if (poll(&fd, 1, PATIENCE_MS) != 1)
			fail_msg("nothing happened for %d ms", PATIENCE_MS);
		assert_int_equal(mq_publisher_next(p, ret), 1);
	} while (ret->kind == MQ_PUBLISHER_UP);
	if (ret->kind != kind)
		fail_msg("event %d instead of %d: %s", ret->kind, kind, ret->error.text);
}

static void expect_done(struct mq_publisher *p, uint64_t token)
{
	struct mq_publisher_event event;

	expect(p, MQ_PUBLISHER_DONE, &event);
	assert_int_equal(event.token, token);
	assert_int_equal(event.outcome, MQ_CONFIRMED);
	mq_publisher_event_deinit(&event);
}

static void say_exchange_and_confirm(struct peer *peer, uint16_t channel, struct buf *out)
{
	put_ack(out, peer->publishing, 1);
	say_exchange(peer, channel, out);
}

/* A confirm that comes while the thread waits for another answer is told, though nothing follows.
 */
static void test_confirm_beside_an_answer(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue },
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, say_missing }, /* "later" */
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, NULL },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue },
		{ AMQP_EXCHANGE_DECLARE_METHOD, say_exchange_and_confirm },
		{ AMQP_BASIC_PUBLISH_METHOD, NULL }, /* "later", for which nothing is said */
		{ 0 },
	};
	struct mq_publisher_options options = { .prepare = prepare };
	struct mq_publisher_event event;
	struct mq_publisher *p;
	struct mq_options o;

	(void)state;
	server_start(script, NULL);
	options_for(&o, server.url, 0);
	p = start(&options, &o);
	send_to(p, "later", 1);
	expect(p, MQ_PUBLISHER_HELD, &event);
	send_to(p, "", 2);
	expect_done(p, 2);
	mq_publisher_stop(p, 0);
	mq_options_deinit(&o);
	server_stop();
}

static void say_nothing_more(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)channel, (void)out;
	shutdown(peer->fd, SHUT_RDWR);
}

/* What was sent when the connection was lost is sent again; but not what must not be there twice.
 */
static void test_once(void **state)
{
	static const struct step first[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue },
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, NULL },
		{ AMQP_BASIC_PUBLISH_METHOD, say_nothing_more },
		{ 0 },
	};
	static const struct step second[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue },
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, say_confirmed },
		{ 0 },
	};
	struct mq_publisher_options options = { .prepare = prepare };
	struct mq_publisher_event event;
	struct mq_publisher *p;
	struct mq_message m;
	struct mq_options o;

	(void)state;
	server_start(first, second);
	options_for(&o, server.url, 0);
	p = start(&options, &o);
	mq_message_init(&m);
	assert_int_equal(mq_properties_set(&m.exchange, ""), 0);
	assert_int_equal(mq_properties_set(&m.routing_key, "single"), 0);
	m.once = true;
	send_to(p, "", 1);
	assert_int_equal(mq_publisher_send(p, &m, 2), 0);
	expect(p, MQ_PUBLISHER_DONE, &event);
	assert_int_equal(event.token, 2);
	assert_int_equal(event.outcome, MQ_UNCERTAIN);
	assert_string_equal(event.message.routing_key, "single");
	mq_publisher_event_deinit(&event);
	expect(p, MQ_PUBLISHER_DOWN, &event);
	mq_publisher_event_deinit(&event);
	expect_done(p, 1);
	mq_publisher_stop(p, 0);
	mq_options_deinit(&o);
	server_stop();
}

static void say_refused_and_queue(struct peer *peer, uint16_t channel, struct buf *out)
{
	put_close(out, peer->publishing, 403,
		"ACCESS_REFUSED - access to exchange 'other' in vhost '/' refused");
	say_queue(peer, channel, out);
}

/* What the server says of a message is not taken for the answer to a declaration: only the messages
 * for that exchange wait. */
static void test_refusal_beside_an_answer(void **state)
{
	static const struct step script[] = {
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_QUEUE_DECLARE_METHOD, say_queue },
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, say_missing }, /* "later" */
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, NULL }, /* "other" */
		{ AMQP_QUEUE_DECLARE_METHOD, say_refused_and_queue },
		{ AMQP_EXCHANGE_DECLARE_METHOD, say_exchange },
		{ AMQP_BASIC_PUBLISH_METHOD, NULL }, /* "later": the channel is closed already */
		{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
		{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
		{ AMQP_BASIC_PUBLISH_METHOD, say_confirmed }, /* "later" */
		{ 0 },
	};
	struct mq_publisher_options options = { .prepare = prepare };
	struct mq_publisher_event event;
	struct mq_publisher *p;
	struct mq_options o;

	(void)state;
	server_start(script, NULL);
	options_for(&o, server.url, 0);
	p = start(&options, &o);
	send_to(p, "later", 1);
	expect(p, MQ_PUBLISHER_HELD, &event);
	send_to(p, "other", 2);
	expect(p, MQ_PUBLISHER_HELD, &event);
	assert_non_null(strstr(event.error.text, "'other'"));
	expect(p, MQ_PUBLISHER_RELEASED, &event);
	expect_done(p, 1);
	assert_int_equal(mq_publisher_pending(p), 1);
	mq_publisher_stop(p, 0);
	mq_options_deinit(&o);
	server_stop();
}

static void say_prefetch_and_deliver(struct peer *peer, uint16_t channel, struct buf *out)
{
	(void)peer;
	put_deliver(out, channel);
	put_header(out, channel, 0);
	put_method(out, channel, AMQP_BASIC_QOS_OK_METHOD, BYTES(""));
	put_deliver(out, channel);
	put_header(out, channel, 0);
}

static const struct step publishing[] = {
	{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
	{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
	{ AMQP_CONFIRM_SELECT_METHOD, say_selected },
	{ 0 },
};

static const struct step consuming[] = {
	{ AMQP_CHANNEL_OPEN_METHOD, say_opened },
	{ AMQP_BASIC_QOS_METHOD, say_prefetch_and_deliver },
	{ 0 },
};

/* What came before the hand-over is there after it. */
static void test_hand_over(void **state)
{
	struct mq_publisher_options options = { .prepare_consumer = prepare_consumer };
	struct mq_publisher_event event;
	struct mq_publisher *p;
	struct mq_event delivery;
	struct mq_options o;
	struct error err = { 0 };

	(void)state;
	server_start(publishing, consuming);
	options_for(&o, server.url, 0);
	p = start(&options, &o);
	expect(p, MQ_PUBLISHER_CONSUMER_READY, &event);
	take(event.consumer, MQ_DELIVERY, &delivery);
	mq_event_deinit(&delivery);
	take(event.consumer, MQ_DELIVERY, &delivery);
	mq_event_deinit(&delivery);
	assert_int_equal(mq_next(event.consumer, &delivery, &err), 0);
	mq_publisher_event_deinit(&event);
	mq_publisher_stop(p, 0);
	mq_options_deinit(&o);
	server_stop();
}

/* The consumer's connection begins with the address that the publisher's has found to work. */
static void test_consumer_begins_where_the_publisher_is(void **state)
{
	struct mq_publisher_options options = { .prepare_consumer = prepare_consumer };
	struct mq_publisher_event event;
	struct mq_publisher *p;
	struct mq_options o;
	char url[64];
	int silent = listen_on_loopback(url), fd;

	(void)state;
	server_start(publishing, consuming);
	options_for(&o, url, 0);
	assert_int_equal(mq_options_add_addresses(&o, server.url, NULL), 0);
	o.connect_timeout_s = 1;
	p = start(&options, &o);
	expect(p, MQ_PUBLISHER_CONSUMER_READY, &event);
	mq_publisher_event_deinit(&event);
	mq_publisher_stop(p, 0);
	fd = accept(silent, NULL, NULL);
	assert_true(fd >= 0);
	close(fd);
	/* Nobody else has knocked there. */
	struct pollfd second = { .fd = silent, .events = POLLIN };
	assert_int_equal(poll(&second, 1, 0), 0);
	close(silent);
	mq_options_deinit(&o);
	server_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside_an_answer),
		cmocka_unit_test(test_tick_in_a_flood),
		cmocka_unit_test(test_old_channel_is_forgotten),
		cmocka_unit_test(test_closed_instead_of_opened),
		cmocka_unit_test(test_interrupt_after_close),
		cmocka_unit_test(test_confirm_beside_an_answer),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_refusal_beside_an_answer),
		cmocka_unit_test(test_hand_over),
		cmocka_unit_test(test_consumer_begins_where_the_publisher_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
