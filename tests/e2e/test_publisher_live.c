/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher against a real broker that is stopped, filled, blocked and reconfigured under it.
 */
#include "tests/e2e/live.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "mq/publisher.h"

struct fixture {
	struct mq_options connection;
	struct mq_publisher_options options;
	struct mq_publisher *p;
	char queue[64];
	unsigned connect_timeout_s; /* 0: the default */
};

/* Durable, so that it is there after a restart; declared as the daemon does. */
static int prepare(struct mq_connection *c, void *userdata, struct error *err)
{
	struct fixture *f = userdata;
	const struct mq_queue q = { .name = f->queue, .durable = true };

	return mq_declare_queue(c, 1, &q, NULL, NULL, err);
}

static void start(struct fixture *f, const char *url)
{
	struct error err = { 0 };

	fresh_name("publisher", f->queue);
	options_for(&f->connection, url);
	if (f->connect_timeout_s)
		f->connection.connect_timeout_s = f->connect_timeout_s;
	f->options.connection = &f->connection;
	f->options.prepare = prepare;
	f->options.userdata = f;
	must(mq_publisher_start(&f->options, &f->p, &err), &err);
}

static void stop(struct fixture *f)
{
	f->p = mq_publisher_stop(f->p, 5000);
	mq_options_deinit(&f->connection);
}

static void delete_queue(struct fixture *f)
{
	struct mq_connection *c = live_connect();

	assert_int_equal(mq_send_delete_queue(c, 1, f->queue, false, false), 0);
	mq_close(c);
}

/* The next event, within PATIENCE_MS. */
static void next(struct fixture *f, struct mq_publisher_event *ret)
{
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;

	while (clock_now_us() < deadline) {
		struct pollfd p = { .fd = mq_publisher_fd(f->p), .events = POLLIN };

		if (mq_publisher_next(f->p, ret))
			return;
		poll(&p, 1, 500);
	}
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

/* Skips others; gives the one wanted. */
static void wait_for(
	struct fixture *f, enum mq_publisher_event_kind kind, struct mq_publisher_event *ret)
{
	for (;;) {
		next(f, ret);
		if (ret->kind == kind)
			return;
		if (ret->kind == MQ_PUBLISHER_DOWN)
			print_message("    down: %s\n", ret->error.text);
		mq_publisher_event_deinit(ret);
	}
}

static void await(struct fixture *f, enum mq_publisher_event_kind kind)
{
	struct mq_publisher_event event;

	wait_for(f, kind, &event);
	mq_publisher_event_deinit(&event);
}

static void expect_done(struct fixture *f, uint64_t token, enum mq_publisher_outcome outcome)
{
	struct mq_publisher_event event;

	wait_for(f, MQ_PUBLISHER_DONE, &event);
	assert_int_equal(event.token, token);
	assert_int_equal(event.outcome, outcome);
	mq_publisher_event_deinit(&event);
}

static void send_to(
	struct fixture *f, const char *exchange, const char *key, uint64_t token, size_t size)
{
	struct mq_message m;

	message_to(&m, exchange, key);
	m.properties.persistent = true;
	m.mandatory = true;
	fill(&m.body, token, size);
	assert_int_equal(mq_properties_add_int(&m.properties, "token", (int64_t)token), 0);
	assert_int_equal(mq_publisher_send(f->p, &m, token), 0);
}

/* Takes @n messages out of the queue and gives for each token how often it came. */
static void count_tokens(const char *queue, unsigned *seen, size_t n_seen, bool in_order)
{
	struct mq_connection *c = live_connect();
	struct mq_event event;
	int64_t last = 0;

	for (;;) {
		struct error err = { 0 };

		assert_int_equal(mq_get(c, 1, queue, true), 0);
		must(next_event(c, &event, &err), &err);
		if (event.kind == MQ_GET_EMPTY)
			break;
		const struct mq_header *h =
			mq_properties_header(&event.delivery.properties, "token");
		assert_non_null(h);
		assert_true(h->number > 0 && (size_t)h->number < n_seen);
		if (in_order)
			assert_true(h->number == last + 1);
		last = h->number;
		seen[h->number]++;
		mq_event_deinit(&event);
	}
	mq_close(c);
}

static void test_confirmed_in_order(void **state)
{
	struct fixture f = { 0 };
	static unsigned seen[2001];

	(void)state;
	start(&f, must_getenv("AMQP_URL"));
	for (uint64_t t = 1; t <= 2000; t++)
		send_to(&f, "", f.queue, t, t % 300);
	for (uint64_t t = 1; t <= 2000; t++)
		await(&f, MQ_PUBLISHER_DONE);
	assert_int_equal(mq_publisher_pending(f.p), 0);
	count_tokens(f.queue, seen, 2001, true);
	for (uint64_t t = 1; t <= 2000; t++)
		assert_int_equal(seen[t], 1);
	delete_queue(&f);
	stop(&f);
}

/* Nothing is lost when the broker goes away in the middle, politely or not. */
static void restart_in_the_middle(const char *how)
{
	enum { N = 10000 };
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	unsigned *seen = calloc(N + 1, sizeof(*seen)), *done = calloc(N + 1, sizeof(*done));
	unsigned n_done = 0;
	bool restarted = false;

	start(&f, must_getenv("AMQP_URL"));
	await(&f, MQ_PUBLISHER_UP);
	/* What is confirmed is on disk, but the queue itself need not be yet: a broker that is
	 * killed soon after a declaration may have forgotten it. */
	broker("ctl", "eval 'mnesia:sync_log().'");
	for (uint64_t t = 1; t <= N; t++)
		send_to(&f, "", f.queue, t, 200);
	while (n_done < N) {
		wait_for(&f, MQ_PUBLISHER_DONE, &event);
		assert_int_equal(event.outcome, MQ_CONFIRMED);
		assert_int_equal(done[event.token]++, 0);
		if (++n_done == N / 4 && !restarted) {
			restarted = true;
			broker(how, "");
			broker("start", "");
		}
	}
	count_tokens(f.queue, seen, N + 1, false);
	for (uint64_t t = 1; t <= N; t++)
		assert_true(seen[t] >= 1);
	delete_queue(&f);
	stop(&f);
	free(seen);
	free(done);
}

static void test_broker_restart(void **state)
{
	(void)state;
	restart_in_the_middle("down");
}

static void test_broker_crash(void **state)
{
	(void)state;
	restart_in_the_middle("kill");
}

static void test_connections_closed(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;

	(void)state;
	start(&f, must_getenv("AMQP_URL"));
	await(&f, MQ_PUBLISHER_UP);
	broker("ctl", "close_all_connections 'a test wants it'");
	wait_for(&f, MQ_PUBLISHER_DOWN, &event);
	assert_non_null(strstr(event.error.text, "a test wants it"));
	mq_publisher_event_deinit(&event);
	send_to(&f, "", f.queue, 5, 1);
	await(&f, MQ_PUBLISHER_UP);
	expect_done(&f, 5, MQ_CONFIRMED);
	delete_queue(&f);
	stop(&f);
}

/* Declares as a runner does for its events. */
static int prepare_exchange(struct mq_connection *c, void *userdata, struct error *err)
{
	struct fixture *f = userdata;
	const struct mq_exchange x = { .name = f->queue, .type = "fanout" };
	const struct mq_queue q = { .name = f->queue, .durable = true };
	int r = mq_declare_exchange(c, 1, &x, err);

	if (r == 0)
		r = mq_declare_queue(c, 1, &q, NULL, NULL, err);
	return r < 0 ? r : mq_bind(c, 1, f->queue, f->queue, "", err);
}

static void start_loose(struct fixture *f)
{
	struct error err = { 0 };

	fresh_name("loose", f->queue);
	live_options(&f->connection);
	f->options.connection = &f->connection;
	f->options.prepare = prepare_exchange;
	f->options.userdata = f;
	f->options.loose = true;
	f->options.linger_ms = 10;
	must(mq_publisher_start(&f->options, &f->p, &err), &err);
}

static void delete_exchange(const char *name)
{
	char rule[256];

	snprintf(rule, sizeof(rule),
		"eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"/\">>,exchange,<<\"%s\">>),false,"
		"<<\"test\">>).'",
		name);
	broker("ctl", rule);
}

/* Without confirms, in order; finish sends what is there. */
static void test_loose(void **state)
{
	struct fixture f = { 0 };
	static unsigned seen[2001];

	(void)state;
	start_loose(&f);
	await(&f, MQ_PUBLISHER_UP);
	for (uint64_t t = 1; t <= 2000; t++)
		send_to(&f, f.queue, "", t, 50);
	mq_publisher_finish(f.p);
	f.p = mq_publisher_stop(f.p, 5000);
	count_tokens(f.queue, seen, 2001, true);
	for (uint64_t t = 1; t <= 2000; t++)
		assert_int_equal(seen[t], 1);
	delete_queue(&f);
	delete_exchange(f.queue);
	mq_options_deinit(&f.connection);
}

/* What it begins anew with makes the exchange again. */
static void test_loose_exchange_deleted(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	unsigned seen[4] = { 0 };

	(void)state;
	start_loose(&f);
	await(&f, MQ_PUBLISHER_UP);
	delete_exchange(f.queue);
	send_to(&f, f.queue, "", 1, 50);
	wait_for(&f, MQ_PUBLISHER_DOWN, &event);
	assert_int_equal(event.error.code, -ENOENT);
	assert_non_null(strstr(event.error.text, f.queue));
	mq_publisher_event_deinit(&event);
	await(&f, MQ_PUBLISHER_UP);
	send_to(&f, f.queue, "", 2, 50);
	mq_publisher_finish(f.p);
	f.p = mq_publisher_stop(f.p, 5000);
	count_tokens(f.queue, seen, 4, false);
	assert_int_equal(seen[1], 0);
	assert_int_equal(seen[2], 1);
	delete_queue(&f);
	delete_exchange(f.queue);
	mq_options_deinit(&f.connection);
}

static void test_unroutable_among_others(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	char longest[300];

	(void)state;
	memset(longest, 'k', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	start(&f, must_getenv("AMQP_URL"));
	for (uint64_t t = 1; t <= 300; t++)
		send_to(&f, "", t % 100 == 0 ? "no.such.queue" : f.queue, t, 50);
	send_to(&f, "", longest, 301, 50);
	for (unsigned n = 1; n <= 301; n++) {
		wait_for(&f, MQ_PUBLISHER_DONE, &event);
		bool unroutable = event.token % 100 == 0 || event.token == 301;
		assert_int_equal(event.outcome, unroutable ? MQ_UNROUTABLE : MQ_CONFIRMED);
		if (unroutable) {
			assert_true(is_filled(&event.message.body, event.token, 50));
			assert_true(strlen(event.error.text) > 0);
		}
		mq_publisher_event_deinit(&event);
	}
	delete_queue(&f);
	stop(&f);
}

/* Messages for an exchange that is not there wait, and nobody else does. */
static void test_missing_exchange(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	struct mq_connection *c;
	struct error err;
	char exchange[64];
	bool held = false, released = false, done[20] = { false };

	(void)state;
	fresh_name("later", exchange);
	start(&f, must_getenv("AMQP_URL"));
	for (uint64_t t = 1; t < 20; t++)
		send_to(&f, t % 2 ? "" : exchange, t % 2 ? f.queue : "key", t, 50);
	/* What leaves first may be confirmed before the first is held. */
	for (unsigned n = 0; n < 10 || !held;) {
		next(&f, &event);
		if (event.kind == MQ_PUBLISHER_HELD) {
			assert_non_null(strstr(event.error.text, exchange));
			held = true;
		} else if (event.kind == MQ_PUBLISHER_DONE) {
			assert_int_equal(event.token % 2, 1);
			n++;
		}
		mq_publisher_event_deinit(&event);
	}
	assert_int_equal(mq_publisher_pending(f.p), 9);
	c = live_connect();
	must(mq_declare_exchange(c, 1,
		     &(struct mq_exchange){
			     .name = exchange, .type = "direct", .auto_delete = true },
		     &err),
		&err);
	must(mq_bind(c, 1, f.queue, exchange, "key", &err), &err);
	for (unsigned n = 0; n < 9 || !released;) {
		next(&f, &event);
		assert_true(event.kind != MQ_PUBLISHER_HELD && event.kind != MQ_PUBLISHER_DOWN);
		if (event.kind == MQ_PUBLISHER_DONE) {
			assert_false(done[event.token]);
			done[event.token] = true;
			/* Between exchange and binding some may have had no queue. */
			n++;
		}
		released = released || event.kind == MQ_PUBLISHER_RELEASED;
		mq_publisher_event_deinit(&event);
	}
	assert_int_equal(mq_publisher_pending(f.p), 0);
	mq_close(c);
	delete_queue(&f);
	stop(&f);
}

static void send_urgent(struct fixture *f, const char *exchange, const char *key, uint64_t token)
{
	struct mq_message m;

	message_to(&m, exchange, key);
	m.urgent = true;
	assert_int_equal(mq_publisher_send(f->p, &m, token), 0);
}

/* Messages that leave first are held as others are: told once, and nobody else waits. */
static void test_missing_exchange_of_urgent(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	struct mq_connection *c;
	struct error err;
	char exchange[64];
	bool held = false, released = false;

	(void)state;
	fresh_name("later", exchange);
	start(&f, must_getenv("AMQP_URL"));
	await(&f, MQ_PUBLISHER_UP);
	for (uint64_t t = 1; t < 20; t++)
		if (t % 2)
			send_to(&f, "", f.queue, t, 50);
		else
			send_urgent(&f, exchange, "key", t);
	for (unsigned n = 0; n < 10 || !held;) {
		next(&f, &event);
		assert_true(event.kind != MQ_PUBLISHER_DOWN);
		if (event.kind == MQ_PUBLISHER_HELD) {
			assert_false(held);
			assert_non_null(strstr(event.error.text, exchange));
			held = true;
		} else if (event.kind == MQ_PUBLISHER_DONE) {
			assert_int_equal(event.token % 2, 1);
			n++;
		}
		mq_publisher_event_deinit(&event);
	}
	assert_int_equal(mq_publisher_pending(f.p), 9);
	c = live_connect();
	must(mq_declare_exchange(c, 1,
		     &(struct mq_exchange){
			     .name = exchange, .type = "direct", .auto_delete = true },
		     &err),
		&err);
	for (unsigned n = 0; n < 9 || !released;) {
		next(&f, &event);
		assert_true(event.kind != MQ_PUBLISHER_HELD && event.kind != MQ_PUBLISHER_DOWN);
		n += event.kind == MQ_PUBLISHER_DONE;
		released = released || event.kind == MQ_PUBLISHER_RELEASED;
		mq_publisher_event_deinit(&event);
	}
	assert_int_equal(mq_publisher_pending(f.p), 0);
	mq_close(c);
	delete_queue(&f);
	stop(&f);
}

static unsigned n_prepared;

/* Well the first time, badly the second. */
static int prepare_badly_once(struct mq_connection *c, void *userdata, struct error *err)
{
	const struct mq_exchange x = { .name = "amq.direct", .type = "fanout", .durable = true };

	if (++n_prepared == 2)
		return mq_declare_exchange(c, 1, &x, err);
	return prepare(c, userdata, err);
}

/* `prepare` runs again while it waits for a missing exchange. Where that fails, the connection is
 * given up with messages on their way: everything must be confirmed all the same. */
static void test_prepare_fails_while_publishing(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	struct error err = { 0 };
	char exchange[64];
	uint64_t last = 1000, n_done = 1;
	bool down = false, up = false;

	(void)state;
	fresh_name("never", exchange);
	fresh_name("publisher", f.queue);
	live_options(&f.connection);
	f.options.connection = &f.connection;
	f.options.prepare = prepare_badly_once;
	f.options.userdata = &f;
	must(mq_publisher_start(&f.options, &f.p, &err), &err);
	send_to(&f, exchange, "key", 1, 10);
	await(&f, MQ_PUBLISHER_HELD);
	for (uint64_t t = 2; t <= last; t++)
		send_to(&f, "", f.queue, t, 500);
	/* Until it happens another one follows each that is done. It is up again before or after
	 * the last of them is done, as it comes. */
	while (n_done < last || !up) {
		next(&f, &event);
		if (event.kind == MQ_PUBLISHER_DONE) {
			assert_int_equal(event.outcome, MQ_CONFIRMED);
			n_done++;
			if (!down)
				send_to(&f, "", f.queue, ++last, 500);
		}
		down = down || event.kind == MQ_PUBLISHER_DOWN;
		up = down && (up || event.kind == MQ_PUBLISHER_UP);
		mq_publisher_event_deinit(&event);
	}
	send_to(&f, "", f.queue, ++last, 10);
	expect_done(&f, last, MQ_CONFIRMED);
	assert_int_equal(mq_publisher_pending(f.p), 1);
	delete_queue(&f);
	f.p = mq_publisher_stop(f.p, 0);
	mq_options_deinit(&f.connection);
}

static void test_too_large(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;

	(void)state;
	broker("ctl", "eval 'application:set_env(rabbit, max_message_size, 100000).'");
	start(&f, must_getenv("AMQP_URL"));
	for (uint64_t t = 1; t <= 50; t++)
		send_to(&f, "", f.queue, t, t % 20 == 0 ? 100001 : t == 30 ? 100000 : 10);
	for (unsigned n = 1; n <= 50; n++) {
		wait_for(&f, MQ_PUBLISHER_DONE, &event);
		assert_int_equal(
			event.outcome, event.token % 20 == 0 ? MQ_TOO_LARGE : MQ_CONFIRMED);
		if (event.outcome == MQ_TOO_LARGE)
			assert_true(is_filled(&event.message.body, event.token, 100001));
		mq_publisher_event_deinit(&event);
	}
	broker("ctl", "eval 'application:set_env(rabbit, max_message_size, 134217728).'");
	delete_queue(&f);
	stop(&f);
}

/* A queue that is full refuses; what is for others goes on; room sets it free. */
static void test_nack(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	struct mq_connection *c;
	struct mq_event taken;

	(void)state;
	start(&f, must_getenv("AMQP_URL"));
	await(&f, MQ_PUBLISHER_UP);
	broker("ctl", "set_policy --apply-to queues full '^test.publisher' "
		      "'{\"max-length\":1,\"overflow\":\"reject-publish\"}'");
	send_to(&f, "", f.queue, 1, 10);
	expect_done(&f, 1, MQ_CONFIRMED);
	/* The policy may take effect late, and limits are not exact: send until one is refused. */
	uint64_t t = 2;
	bool held = false;
	while (!held && t < 1000) {
		send_to(&f, "", f.queue, t++, 10);
		next(&f, &event);
		held = event.kind == MQ_PUBLISHER_HELD;
		mq_publisher_event_deinit(&event);
	}
	assert_true(held);
	send_to(&f, "", "no.such.queue", 1001, 10);
	expect_done(&f, 1001, MQ_UNROUTABLE);
	broker("ctl", "clear_policy full");
	await(&f, MQ_PUBLISHER_RELEASED);
	while (mq_publisher_pending(f.p) > 0) {
		next(&f, &event);
		assert_int_equal(event.kind, MQ_PUBLISHER_DONE);
		assert_int_equal(event.outcome, MQ_CONFIRMED);
		mq_publisher_event_deinit(&event);
	}
	/* Only now: on a busy machine the commands take longer than a server waits for a sign of
	 * life, and nobody would have given one on this connection. */
	c = live_connect();
	assert_int_equal(mq_get(c, 1, f.queue, true), 0);
	expect_event(c, MQ_DELIVERY, &taken);
	mq_event_deinit(&taken);
	mq_close(c);
	delete_queue(&f);
	stop(&f);
}

static void test_alarm(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	uint64_t t = 1;
	bool blocked = false;

	(void)state;
	start(&f, must_getenv("AMQP_URL"));
	send_to(&f, "", f.queue, t, 10);
	expect_done(&f, t, MQ_CONFIRMED);
	broker("ctl", "set_vm_memory_high_watermark 0");
	/* The server tells those that publish, and may be late with it. */
	while (!blocked) {
		send_to(&f, "", f.queue, ++t, 10);
		next(&f, &event);
		blocked = event.kind == MQ_PUBLISHER_BLOCKED;
		if (blocked)
			assert_non_null(strstr(event.error.text, "memory"));
		else
			assert_int_equal(event.kind, MQ_PUBLISHER_DONE);
		mq_publisher_event_deinit(&event);
	}
	for (uint64_t end = t + 18; t < end;)
		send_to(&f, "", f.queue, ++t, 10);
	assert_true(mq_publisher_pending(f.p) >= 18);
	broker("ctl", "set_vm_memory_high_watermark 0.4");
	await(&f, MQ_PUBLISHER_UNBLOCKED);
	while (mq_publisher_pending(f.p) > 0)
		await(&f, MQ_PUBLISHER_DONE);
	delete_queue(&f);
	stop(&f);
}

static int prepare_consumer(struct mq_connection *c, void *userdata, struct error *err)
{
	struct fixture *f = userdata;
	int r = mq_channel_open(c, 5, err);

	if (r == 0)
		r = mq_consume(c, 5, f->queue, "main", false, false);
	/* An answer that is waited for lets deliveries come before the hand-over. */
	return r < 0 ? r : mq_qos(c, 5, 10, err);
}

/* Takes deliveries until that of @token; what was given back comes again. */
static void take_delivery(struct mq_connection *c, int64_t token)
{
	struct mq_event delivery;
	bool found;

	do {
		expect_event(c, MQ_DELIVERY, &delivery);
		assert_int_equal(delivery.channel, 5);
		assert_int_equal(mq_ack(c, 5, delivery.delivery.tag, false), 0);
		found = mq_properties_header(&delivery.delivery.properties, "token")->number ==
			token;
		mq_event_deinit(&delivery);
	} while (!found);
}

static void test_consumer_is_handed_over(void **state)
{
	struct fixture f = { .options = { .prepare_consumer = prepare_consumer } };
	struct mq_publisher_event event;
	struct mq_event delivery;

	(void)state;
	start(&f, must_getenv("AMQP_URL"));
	send_to(&f, "", f.queue, 1, 100);
	wait_for(&f, MQ_PUBLISHER_CONSUMER_READY, &event);
	take_delivery(event.consumer, 1);
	mq_publisher_event_deinit(&event); /* closes it */
	send_to(&f, "", f.queue, 2, 100);
	mq_publisher_reconnect_consumer(f.p);
	wait_for(&f, MQ_PUBLISHER_CONSUMER_READY, &event);
	take_delivery(event.consumer, 2);
	/* It outlives the publisher. */
	struct mq_connection *c = event.consumer;
	event.consumer = NULL;
	delete_queue(&f);
	stop(&f);
	expect_event(c, MQ_CONSUMER_CANCELLED, &delivery);
	mq_close(c);
}

static void test_full_and_room(void **state)
{
	struct fixture f = { .options = { .queue_messages_max = 100, .window = 7 } };

	(void)state;
	start(&f, "amqp://127.0.0.1:1");
	for (uint64_t t = 1; t <= 99; t++) {
		assert_false(mq_publisher_is_full(f.p));
		send_to(&f, "", f.queue, 0, 10);
	}
	send_to(&f, "", f.queue, 0, 10);
	assert_true(mq_publisher_is_full(f.p));
	await(&f, MQ_PUBLISHER_DOWN);
	f.p = mq_publisher_stop(f.p, 0);
	mq_options_deinit(&f.connection);

	/* Bytes count as well; tokens of 0 bring no event but room does. */
	f.options.queue_messages_max = 0;
	f.options.queue_bytes_max = 1000000;
	start(&f, must_getenv("AMQP_URL"));
	send_to(&f, "", f.queue, 0, 1000000);
	if (mq_publisher_is_full(f.p))
		await(&f, MQ_PUBLISHER_ROOM);
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;
	while (mq_publisher_pending(f.p) > 0 && clock_now_us() < deadline)
		clock_sleep_ms(1);
	assert_int_equal(mq_publisher_pending(f.p), 0);
	assert_false(mq_publisher_is_full(f.p));
	delete_queue(&f);
	stop(&f);
}

static void test_refused(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	char url[100];

	(void)state;
	snprintf(url, sizeof(url), "amqp://guest:s3cr3t@%s",
		strstr(must_getenv("AMQP_URL"), "127."));
	start(&f, url);
	wait_for(&f, MQ_PUBLISHER_DOWN, &event);
	assert_int_equal(event.error.code, -EACCES);
	assert_null(strstr(event.error.text, "s3cr3t"));
	stop(&f);
}

static int prepare_badly(struct mq_connection *c, void *userdata, struct error *err)
{
	const struct mq_exchange x = { .name = "amq.direct", .type = "fanout", .durable = true };

	(void)userdata;
	return mq_declare_exchange(c, 1, &x, err);
}

static void test_prepare_fails(void **state)
{
	struct fixture f = { 0 };
	struct mq_publisher_event event;
	struct error err;

	(void)state;
	options_for(&f.connection, must_getenv("AMQP_URL"));
	f.options.connection = &f.connection;
	f.options.prepare = prepare_badly;
	must(mq_publisher_start(&f.options, &f.p, &err), &err);
	wait_for(&f, MQ_PUBLISHER_DOWN, &event);
	assert_int_equal(event.error.code, -EEXIST);
	assert_non_null(strstr(event.error.text, "amq.direct"));
	stop(&f);
}

/* Stopping is not held up by a server that says nothing. */
static void test_stop_while_connecting(void **state)
{
	struct fixture f = { 0 };
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	char url[64], byte;
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;

	(void)state;
	/* It is waiting for an answer to its greeting. */
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	snprintf(url, sizeof(url), "amqp://127.0.0.1:%u", ntohs(at.sin_port));
	f.connect_timeout_s = 3600;
	start(&f, url);
	send_to(&f, "", "x", 1, 10);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(read(fd, &byte, 1), 1);
	f.p = mq_publisher_stop(f.p, 0);
	mq_options_deinit(&f.connection);
	close(fd);
	close(listener);
	/* At once, before the thread has done anything. */
	start(&f, must_getenv("AMQP_URL"));
	f.p = mq_publisher_stop(f.p, 0);
	mq_options_deinit(&f.connection);
	/* With everything in all places. */
	start(&f, must_getenv("AMQP_URL"));
	for (uint64_t t = 1; t <= 1000; t++)
		send_to(&f, t % 3 ? "" : "no.such.exchange", f.queue, t, 10000);
	await(&f, MQ_PUBLISHER_DONE);
	f.p = mq_publisher_stop(f.p, 0);
	mq_options_deinit(&f.connection);
	delete_queue(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_confirmed_in_order),
		cmocka_unit_test(test_broker_restart),
		cmocka_unit_test(test_broker_crash),
		cmocka_unit_test(test_connections_closed),
		cmocka_unit_test(test_loose),
		cmocka_unit_test(test_loose_exchange_deleted),
		cmocka_unit_test(test_unroutable_among_others),
		cmocka_unit_test(test_missing_exchange),
		cmocka_unit_test(test_missing_exchange_of_urgent),
		cmocka_unit_test(test_prepare_fails_while_publishing),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_nack),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_consumer_is_handed_over),
		cmocka_unit_test(test_full_and_room),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_prepare_fails),
		cmocka_unit_test(test_stop_while_connecting),
	};

	must_getenv("AMQP_URL");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
