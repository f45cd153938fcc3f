/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the past and of now, from a real broker. */
#include "tests/e2e/live.h"

#include <time.h>

#include <taskclient.h>

#include "wire/task_event.h"

struct fixture {
	struct mq_connection *c;
	char exchange[64], stream[64];
	int64_t now_ms;
};

static void start(struct fixture *f, bool has_stream)
{
	struct error err = { 0 };
	struct timespec now;
	const struct mq_exchange x = { .name = f->exchange, .type = "topic" };
	const struct mq_queue q = {
		.name = f->stream, .durable = true, .type = has_stream ? "stream" : "classic"
	};

	fresh_name("feed-x", f->exchange);
	fresh_name("feed-s", f->stream);
	f->c = live_connect();
	must(mq_declare_exchange(f->c, 1, &x, &err), &err);
	must(mq_declare_queue(f->c, 1, &q, NULL, NULL, &err), &err);
	must(mq_bind(f->c, 1, f->stream, f->exchange, "#", &err), &err);
	must(mq_confirm(f->c, 1, &err), &err);
	clock_gettime(CLOCK_REALTIME, &now);
	f->now_ms = (int64_t)now.tv_sec * 1000;
}

static void stop(struct fixture *f)
{
	assert_int_equal(mq_send_delete_queue(f->c, 1, f->stream, false, false), 0);
	mq_close(f->c);
}

static void publish(struct fixture *f, const char *key, const char *body)
{
	struct mq_message m;

	message_to(&m, f->exchange, key);
	assert_int_equal(buf_append_text(&m.body, body), 0);
	assert_int_equal(mq_publish(f->c, 1, &m), 0);
	mq_message_deinit(&m);
}

static void publish_event(struct fixture *f, enum event_kind kind, const char *id, int64_t ago_ms)
{
	char key[TASK_EVENT_KEY_SIZE];
	struct task_event_facts facts;
	struct buf body = { 0 };

	task_event_init(&facts, kind);
	facts.id = (char *)id;
	facts.runner = "r";
	facts.program = "p";
	facts.time_ms = f->now_ms - ago_ms;
	task_event_key(kind, facts.program, key);
	assert_int_equal(task_event_encode(&facts, &body), 0);
	assert_int_equal(buf_append(&body, "", 1), 0);
	publish(f, key, body.data);
	buf_deinit(&body);
}

/* All that was published is safe. */
static void await_confirms(struct fixture *f, uint64_t n)
{
	struct mq_event event;

	for (uint64_t seen = 0; seen < n; mq_event_deinit(&event)) {
		expect_event(f->c, MQ_ACK, &event);
		seen = event.multiple || event.number > seen ? event.number : seen;
	}
}

static void feed_must(int r, const struct taskclient_error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

static struct taskclient_feed *open_feed(void)
{
	const struct taskclient_options options = { .broker = must_getenv("AMQP_URL") };
	struct taskclient_feed *feed = NULL;
	struct taskclient_error err;

	feed_must(taskclient_feed_open(&options, &feed, &err), &err);
	return feed;
}

/* TASKCLIENT_FEED_EVENT, _END or a negative errno. */
static int next(struct taskclient_feed *feed, struct taskclient_feed_event **ret,
	struct taskclient_error *err)
{
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;

	while (clock_now_us() < deadline) {
		struct pollfd p = { .fd = taskclient_feed_fd(feed), .events = POLLIN };
		int r = taskclient_feed_next(feed, ret, err);

		if (r != 0)
			return r;
		(void)poll(&p, 1, taskclient_feed_wait_ms(feed));
	}
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
	return 0;
}

/* How many events there are; they come in the order of their ids. */
static unsigned count(struct fixture *f, int64_t since_ms, uint64_t *ret_ignored)
{
	struct taskclient_feed *feed = open_feed();
	struct taskclient_feed_event *event;
	struct taskclient_error err = { 0 };
	unsigned n = 0;
	int r;
	long last = -1;

	feed_must(taskclient_feed_history(feed, f->stream, since_ms, &err), &err);
	while ((r = next(feed, &event, &err)) == TASKCLIENT_FEED_EVENT) {
		assert_true(atol(event->id) > last);
		last = atol(event->id);
		taskclient_feed_event_free(event);
		n++;
	}
	feed_must(r, &err);
	assert_int_equal(r, TASKCLIENT_FEED_END);
	/* Again and again. */
	assert_int_equal(taskclient_feed_next(feed, &event, &err), TASKCLIENT_FEED_END);
	*ret_ignored = taskclient_feed_ignored(feed);
	taskclient_feed_close(feed);
	return n;
}

static void test_history(void **state)
{
	enum { N = 10000 };
	struct fixture f = { 0 };
	uint64_t ignored;
	char id[16];

	(void)state;
	start(&f, true);
	assert_int_equal(count(&f, 0, &ignored), 0); /* empty */
	for (int i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "%d", i);
		publish_event(&f, EVENT_SUCCEEDED, id, i < N / 2 ? 3600 * 1000 : 0);
	}
	publish(&f, "task.failed.p", "what is this?");
	publish(&f, "task.failed.p", "");
	await_confirms(&f, N + 2);
	assert_int_equal(count(&f, 0, &ignored), N);
	assert_int_equal(ignored, 2);
	assert_int_equal(count(&f, f.now_ms - 60 * 1000, &ignored), N / 2);
	/* By the server's clock all of it is before this. */
	assert_int_equal(count(&f, f.now_ms + 3600 * 1000, &ignored), 0);
	stop(&f);
}

/* What comes while it is read does not keep it from coming to an end. */
static void test_history_while_more_comes(void **state)
{
	struct fixture f = { 0 };
	struct taskclient_feed *feed;
	struct taskclient_feed_event *event;
	struct taskclient_error err = { 0 };
	char id[16];
	unsigned n = 0;
	int r;

	(void)state;
	start(&f, true);
	publish_event(&f, EVENT_SUCCEEDED, "0", 0);
	await_confirms(&f, 1);
	feed = open_feed();
	feed_must(taskclient_feed_history(feed, f.stream, 0, &err), &err);
	while ((r = taskclient_feed_next(feed, &event, &err)) != TASKCLIENT_FEED_END) {
		feed_must(r, &err);
		if (r == TASKCLIENT_FEED_EVENT)
			taskclient_feed_event_free(event);
		snprintf(id, sizeof(id), "%u", ++n);
		publish_event(&f, EVENT_SUCCEEDED, id, 0);
		poll(NULL, 0, 1);
	}
	taskclient_feed_close(feed);
	stop(&f);
}

static void test_no_such_stream(void **state)
{
	struct fixture f = { 0 };
	struct taskclient_error err = { 0 };

	(void)state;
	start(&f, true);
	struct taskclient_feed *feed = open_feed();
	assert_int_equal(taskclient_feed_history(feed, "no.such.stream", 0, &err), -ENOENT);
	taskclient_feed_close(feed);
	feed = open_feed();
	assert_int_equal(taskclient_feed_live(feed, "no.such.exchange", NULL, &err), -ENOENT);
	taskclient_feed_close(feed);
	stop(&f);
}

/* What is in it stays there. */
static void test_no_stream(void **state)
{
	struct fixture f = { 0 };
	struct taskclient_feed_event *event;
	struct taskclient_error err = { 0 };
	uint32_t ready = 0, consumers = 1;

	(void)state;
	start(&f, false);
	publish_event(&f, EVENT_SUCCEEDED, "1", 0);
	await_confirms(&f, 1);
	struct taskclient_feed *feed = open_feed();
	feed_must(taskclient_feed_history(feed, f.stream, 0, &err), &err);
	assert_true(next(feed, &event, &err) < 0);
	assert_true(err.text[0]);
	taskclient_feed_close(feed);
	while (consumers > 0 || ready == 0)
		assert_int_equal(mq_inspect_queue(f.c, 1, f.stream, &ready, &consumers, NULL), 0);
	assert_int_equal(ready, 1);
	stop(&f);
}

static void test_live(void **state)
{
	struct fixture f = { 0 };
	struct taskclient_feed_event *event;
	struct taskclient_error err = { 0 };

	(void)state;
	start(&f, true);
	publish_event(&f, EVENT_FAILED, "before", 0);
	struct taskclient_feed *all = open_feed(), *failed = open_feed();
	feed_must(taskclient_feed_live(all, f.exchange, NULL, &err), &err);
	feed_must(taskclient_feed_live(failed, f.exchange, "task.failed.*", &err), &err);
	publish_event(&f, EVENT_SUCCEEDED, "1", 0);
	publish(&f, "task.failed.p", "{}");
	publish_event(&f, EVENT_FAILED, "2", 0);
	assert_int_equal(next(failed, &event, &err), TASKCLIENT_FEED_EVENT);
	assert_string_equal(event->id, "2");
	taskclient_feed_event_free(event);
	assert_int_equal(taskclient_feed_ignored(failed), 1);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(next(all, &event, &err), TASKCLIENT_FEED_EVENT);
		assert_int_equal(event->id[0], '0' + i);
		taskclient_feed_event_free(event);
	}
	assert_int_equal(taskclient_feed_next(all, &event, &err), 0);
	taskclient_feed_close(all);
	taskclient_feed_close(failed);
	stop(&f);
}

static void test_connection_lost(void **state)
{
	struct fixture f = { 0 };
	struct taskclient_feed_event *event;
	struct taskclient_error err = { 0 };

	(void)state;
	start(&f, true);
	struct taskclient_feed *feed = open_feed();
	feed_must(taskclient_feed_live(feed, f.exchange, NULL, &err), &err);
	broker("ctl", "close_all_connections 'a test wants it'");
	assert_true(next(feed, &event, &err) < 0);
	assert_non_null(strstr(err.text, "a test wants it"));
	taskclient_feed_close(feed);
	mq_close(f.c);
	f.c = live_connect();
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_history_while_more_comes),
		cmocka_unit_test(test_no_such_stream),
		cmocka_unit_test(test_no_stream),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_connection_lost),
	};

	must_getenv("AMQP_URL");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
