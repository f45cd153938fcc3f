/* SPDX-License-Identifier: Apache-2.0 */
/* The client library against a real broker; this test is the runner as well. */
#include "tests/e2e/live.h"

#include <taskclient.h>

#include "wire/control.h"
#include "wire/response.h"
#include "wire/request.h"

/* What a runner has: a connection that takes requests and cancels, and answers. */
struct fixture {
	struct taskclient *client;
	struct mq_connection *runner;
	char queue[64], control[64];
};

#define REQUESTS 1
#define CONTROL  2
#define ANSWERS  3

static void client_must(int r, const struct taskclient_error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

static struct taskclient *open_client(const char *control)
{
	const struct taskclient_options o = { .broker = must_getenv("AMQP_URL"),
		.control = control };
	struct taskclient *c = NULL;
	struct taskclient_error err;

	client_must(taskclient_open(&o, &c, &err), &err);
	return c;
}

/* Takes requests, and cancels if their exchange is there. */
static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct mq_queue queue = { .exclusive = false, .auto_delete = true };
	struct error err;

	f->runner = live_connect();
	queue.name = fresh_name("requests", f->queue);
	must(mq_declare_queue(f->runner, REQUESTS, &queue, NULL, NULL, &err), &err);
	assert_int_equal(mq_consume(f->runner, REQUESTS, f->queue, "requests", true, false), 0);
	must(mq_channel_open(f->runner, CONTROL, &err), &err);
	must(mq_channel_open(f->runner, ANSWERS, &err), &err);
	f->client = open_client(fresh_name("control", f->control));
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	taskclient_close(f->client);
	mq_close(f->runner);
	free(f);
	return 0;
}

static void listen_to_control(struct fixture *f)
{
	const struct mq_exchange exchange = {
		.name = f->control, .type = "fanout", .auto_delete = true
	};
	const struct mq_queue queue = { .name = "", .exclusive = true };
	struct error err;
	char name[256];

	must(mq_declare_exchange(f->runner, CONTROL, &exchange, &err), &err);
	must(mq_declare_queue(f->runner, CONTROL, &queue, name, NULL, &err), &err);
	must(mq_bind(f->runner, CONTROL, name, f->control, "", &err), &err);
	assert_int_equal(mq_consume(f->runner, CONTROL, name, "control", true, true), 0);
}

static int submit_to(struct fixture *f, const char *queue, const char *id, const char *program,
	struct slice input, struct taskclient_error *err)
{
	const struct taskclient_request request = { .queue = queue,
		.id = id,
		.program = program,
		.input = input.data,
		.input_len = input.len };

	return taskclient_submit(f->client, &request, err);
}

static void submit(struct fixture *f, const char *id)
{
	struct taskclient_error err;

	client_must(submit_to(f, f->queue, id, "prog", slice_of("input"), &err), &err);
}

/* The next event; to be released. */
static void await(struct fixture *f, struct taskclient_event **ret)
{
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;
	struct taskclient_error err = { 0 };

	while (clock_now_us() < deadline) {
		struct pollfd p = { .fd = taskclient_fd(f->client), .events = POLLIN };
		int r = taskclient_next(f->client, ret, &err);

		client_must(r, &err);
		if (r > 0)
			return;
		poll(&p, 1, taskclient_wait_ms(f->client));
	}
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
}

static void await_kind(struct fixture *f, enum taskclient_event_kind kind, const char *id, int code)
{
	struct taskclient_event *event;

	await(f, &event);
	if (event->kind != kind || !event->id != !id || (id && strcmp(event->id, id) != 0) ||
		event->error.code != code)
		fail_msg("event %d for '%s' (%d %s) instead of %d for '%s'", event->kind,
			event->id ? event->id : "", event->error.code, event->error.text, kind,
			id ? id : "");
	taskclient_event_free(event);
}

/* ---- the runner's side ---- */

static void take(struct fixture *f, const char *tag, struct mq_event *ret)
{
	expect_event(f->runner, MQ_DELIVERY, ret);
	assert_string_equal(ret->consumer_tag, tag);
}

static void answer(struct fixture *f, const struct mq_event *to, struct buf *body, int64_t sequence)
{
	struct mq_message m;

	message_to(&m, "", to->delivery.properties.reply_to);
	mq_properties_set(&m.properties.correlation_id, to->delivery.properties.correlation_id);
	if (sequence > 0) {
		mq_properties_add_int(&m.properties, HEADER_ATTEMPT, 1);
		mq_properties_add_int(&m.properties, HEADER_SEQUENCE, sequence);
	}
	m.body = *body;
	*body = (struct buf){ 0 };
	assert_int_equal(mq_publish(f->runner, ANSWERS, &m), 0);
	mq_message_deinit(&m);
}

static void respond(
	struct fixture *f, const struct mq_event *to, enum status status, int64_t sequence)
{
	const char *id = to->delivery.properties.correlation_id;
	const struct response response = { .status = status,
		.id = slice_of(id),
		.script = slice_of("prog"),
		.output = slice_of(id) };
	struct buf body = { 0 };

	assert_int_equal(response_encode(&response, &body), 0);
	answer(f, to, &body, sequence);
}

static struct taskclient_event *await_next_response(struct fixture *f)
{
	struct taskclient_event *event;

	await(f, &event);
	while (event->kind == TASKCLIENT_QUEUED) {
		taskclient_event_free(event);
		await(f, &event);
	}
	assert_int_equal(event->kind, TASKCLIENT_RESPONSE);
	return event;
}

static void await_response(struct fixture *f, const char *id, enum taskclient_status status)
{
	struct taskclient_event *event = await_next_response(f);

	assert_string_equal(event->id, id);
	assert_int_equal(event->status, status);
	assert_int_equal(event->output_len, strlen(id));
	taskclient_event_free(event);
}

/* A whole task: what shows that the client is well. */
static void run_one(struct fixture *f, const char *id)
{
	struct mq_event request;

	submit(f, id);
	take(f, "requests", &request);
	assert_string_equal(request.delivery.properties.correlation_id, id);
	respond(f, &request, STATUS_SUCCESS, 1);
	mq_event_deinit(&request);
	await_response(f, id, TASKCLIENT_STATUS_SUCCESS);
}

/* ---- requests ---- */

static void test_ids(void **state)
{
	char one[TASKCLIENT_ID_SIZE], other[TASKCLIENT_ID_SIZE];

	(void)state;
	assert_int_equal(taskclient_make_id(one), 0);
	assert_int_equal(taskclient_make_id(other), 0);
	assert_int_equal(strlen(one), 36);
	assert_string_not_equal(one, other);
	assert_int_equal(one[14], '4');
	assert_non_null(strchr("89ab", one[19]));
	assert_int_equal(strspn(one, "0123456789abcdef-"), 36);
}

static void test_request_as_the_runner_sees_it(void **state)
{
	struct fixture *f = *state;
	const struct taskclient_request given = { .queue = f->queue,
		.id = "one",
		.program = "prog",
		.input = "a\0b",
		.input_len = 3,
		.is_msgpack = true,
		.timeout_ms = 1500 };
	struct request request = { 0 };
	struct mq_event event;
	struct error err;
	struct taskclient_error told;

	client_must(taskclient_submit(f->client, &given, &told), &told);
	take(f, "requests", &event);
	assert_string_equal(event.delivery.properties.content_type, "application/msgpack");
	assert_string_equal(event.delivery.properties.message_id, "one");
	assert_true(event.delivery.properties.persistent);
	assert_int_equal(request_decode(buf_slice(&event.delivery.body),
				 event.delivery.properties.content_type, NULL, &request, &err),
		REQUEST_OK);
	assert_string_equal(request.id, "one");
	assert_string_equal(request.script, "prog");
	assert_int_equal(request.input.len, 3);
	assert_memory_equal(request.input.data, "a\0b", 3);
	assert_int_equal(request.timeout_ms, 1500);
	assert_null(request.routing_key);
	request_deinit(&request);
	mq_event_deinit(&event);
}

static void test_requests_that_cannot_be_sent(void **state)
{
	struct fixture *f = *state;
	char longest[300];
	struct taskclient_error err;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	submit(f, "one");
	assert_int_equal(submit_to(f, f->queue, "", "prog", slice_of(""), &err), -EINVAL);
	assert_int_equal(submit_to(f, f->queue, "a/b", "prog", slice_of(""), &err), -EINVAL);
	assert_int_equal(submit_to(f, f->queue, longest, "prog", slice_of(""), &err), -EINVAL);
	assert_int_equal(submit_to(f, f->queue, "two", "", slice_of(""), &err), -EINVAL);
	assert_int_equal(submit_to(f, f->queue, "two", NULL, slice_of(""), &err), -EINVAL);
	assert_int_equal(submit_to(f, f->queue, "one", "prog", slice_of(""), &err), -EALREADY);
	assert_non_null(strstr(err.text, "under way already"));
	assert_int_equal(submit_to(f, longest, "two", "prog", slice_of(""), &err), -EINVAL);
	assert_non_null(strstr(err.text, "routing key"));
	await_kind(f, TASKCLIENT_QUEUED, "one", 0);
}

/* As a runner that tells all it can. */
static void respond_fully(struct fixture *f, const struct mq_event *to, enum status status,
	struct slice output, int64_t sequence)
{
	const struct response response = { .status = status,
		.id = slice_of(to->delivery.properties.correlation_id),
		.script = slice_of("prog"),
		.output = output,
		.out = slice_of("a word\n"),
		.err = slice_of("another") };
	struct mq_message m;

	message_to(&m, "", to->delivery.properties.reply_to);
	mq_properties_add_int(&m.properties, HEADER_ATTEMPT, 2);
	mq_properties_add_int(&m.properties, HEADER_SEQUENCE, sequence);
	mq_properties_add_text(&m.properties, HEADER_RUNNER, "r");
	if (status == STATUS_FAILED) {
		mq_properties_add_text(&m.properties, HEADER_CAUSE, "exited");
		mq_properties_add_int(&m.properties, HEADER_EXIT_CODE, 0);
		mq_properties_add_int(&m.properties, HEADER_SIGNAL, 9);
		mq_properties_add_text(&m.properties, HEADER_ERRNO, "ENOENT");
		mq_properties_add_text(&m.properties, HEADER_FAILURE_KIND, "data");
		mq_properties_add_int(&m.properties, HEADER_WALL_MS, 10);
		mq_properties_add_int(&m.properties, HEADER_CPU_MS, 0);
		mq_properties_add_int(&m.properties, HEADER_PEAK_MEMORY, 4096);
	}
	assert_int_equal(response_encode(&response, &m.body), 0);
	assert_int_equal(mq_publish(f->runner, ANSWERS, &m), 0);
	mq_message_deinit(&m);
}

static void check_progress(const struct taskclient_event *e)
{
	assert_int_equal(e->status, TASKCLIENT_STATUS_RUNNING);
	assert_false(e->is_final);
	assert_true(e->progress == 0.25);
	assert_string_equal(e->message, "going");
	assert_int_equal(e->output_len, strlen(e->output));
	assert_string_equal(e->program, "prog");
	assert_string_equal(e->runner, "r");
	assert_int_equal(e->attempt, 2);
	assert_int_equal(e->sequence, 1);
	assert_null(e->cause);
	assert_null(e->error_name);
	assert_null(e->failure_kind);
	assert_null(e->answer);
	assert_int_equal(e->mail, 0);
	assert_int_equal(e->exit_code, TASKCLIENT_UNKNOWN);
	assert_int_equal(e->signal, TASKCLIENT_UNKNOWN);
	assert_int_equal(e->wall_ms, TASKCLIENT_UNKNOWN);
	assert_int_equal(e->cpu_ms, TASKCLIENT_UNKNOWN);
	assert_int_equal(e->peak_memory, TASKCLIENT_UNKNOWN);
}

static void check_failure(const struct taskclient_event *e)
{
	assert_int_equal(e->status, TASKCLIENT_STATUS_FAILED);
	assert_true(e->is_final);
	assert_true(e->progress == TASKCLIENT_UNKNOWN);
	assert_null(e->message);
	assert_int_equal(e->output_len, 3);
	assert_memory_equal(e->output, "a\0b", 4); /* a NUL stands behind it */
	assert_string_equal(e->stdout_text, "a word\n");
	assert_string_equal(e->stderr_text, "another");
	assert_string_equal(e->cause, "exited");
	assert_int_equal(e->exit_code, 0);
	assert_int_equal(e->signal, 9);
	assert_string_equal(e->error_name, "ENOENT");
	assert_string_equal(e->failure_kind, "data");
	assert_int_equal(e->wall_ms, 10);
	assert_int_equal(e->cpu_ms, 0);
	assert_int_equal(e->peak_memory, 4096);
}

static void test_what_a_response_says(void **state)
{
	struct fixture *f = *state;
	struct taskclient_event *event;
	struct mq_event request;

	submit(f, "one");
	take(f, "requests", &request);
	respond_fully(f, &request, STATUS_RUNNING,
		slice_of("{\"fraction\": 0.25, \"message\": \"going\"}"), 1);
	event = await_next_response(f);
	check_progress(event);
	taskclient_event_free(event);
	respond_fully(f, &request, STATUS_RUNNING, (struct slice){ 0 }, 2);
	event = await_next_response(f);
	assert_null(event->output);
	assert_null(event->message);
	taskclient_event_free(event);
	respond_fully(f, &request, STATUS_FAILED, (struct slice){ "a\0b", 3 }, 3);
	event = await_next_response(f);
	check_failure(event);
	taskclient_event_free(event);
	taskclient_event_free(NULL);
	mq_event_deinit(&request);
}

static void test_many_tasks_at_once(void **state)
{
	static const char *const ids[] = { "a", "b", "c" };
	struct fixture *f = *state;
	struct mq_event requests[3];

	for (size_t i = 0; i < 3; i++)
		submit(f, ids[i]);
	for (size_t i = 0; i < 3; i++)
		take(f, "requests", &requests[i]);
	respond(f, &requests[2], STATUS_RUNNING, 1);
	await_response(f, "c", TASKCLIENT_STATUS_RUNNING);
	respond(f, &requests[0], STATUS_SUCCESS, 1);
	await_response(f, "a", TASKCLIENT_STATUS_SUCCESS);
	respond(f, &requests[0], STATUS_SUCCESS, 1); /* nobody's any more */
	respond(f, &requests[1], STATUS_FAILED, 7);
	await_response(f, "b", TASKCLIENT_STATUS_FAILED);
	run_one(f, "a"); /* the id is free again */
	respond(f, &requests[2], STATUS_CANCELLED, 2);
	await_response(f, "c", TASKCLIENT_STATUS_CANCELLED);
	for (size_t i = 0; i < 3; i++)
		mq_event_deinit(&requests[i]);
}

/* Of several, only those are told of whose queue is not there. */
static void test_no_such_queue(void **state)
{
	struct fixture *f = *state;
	struct taskclient_event *event;
	struct taskclient_error err;

	submit(f, "here");
	client_must(
		submit_to(f, "test.no.such.queue", "nowhere", "prog", slice_of(""), &err), &err);
	for (int i = 0; i < 2; i++) { /* in whatever order the broker confirms them */
		await(f, &event);
		assert_int_equal(event->kind,
			strcmp(event->id, "here") == 0 ? TASKCLIENT_QUEUED : TASKCLIENT_NOT_QUEUED);
		assert_int_equal(event->error.code, event->kind == TASKCLIENT_QUEUED ? 0 : -ENOENT);
		taskclient_event_free(event);
	}
	client_must(
		submit_to(f, "test.no.such.queue", "nowhere", "prog", slice_of(""), &err), &err);
	await_kind(f, TASKCLIENT_NOT_QUEUED, "nowhere", -ENOENT);
}

static void test_queue_that_refuses(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct taskclient_error told;
	char full[64];
	const struct mq_queue queue = { .name = fresh_name("full", full), .exclusive = true };

	broker("ctl", "set_policy full '^test\\.full' "
		      "'{\"max-length\":1,\"overflow\":\"reject-publish\"}' --apply-to queues");
	must(mq_declare_queue(f->runner, ANSWERS, &queue, NULL, NULL, &err), &err);
	client_must(submit_to(f, full, "one", "prog", slice_of(""), &told), &told);
	await_kind(f, TASKCLIENT_QUEUED, "one", 0);
	client_must(submit_to(f, full, "two", "prog", slice_of(""), &told), &told);
	await_kind(f, TASKCLIENT_NOT_QUEUED, "two", -EAGAIN);
	broker("ctl", "clear_policy full");
}

/* The broker closes the channel for it; the next request gets another. */
static void test_request_too_large_for_the_broker(void **state)
{
	struct fixture *f = *state;
	struct buf large = { 0 };
	struct taskclient *normal = f->client;
	struct taskclient_error err;

	fill(&large, 1, 200000);
	broker("ctl", "eval 'application:set_env(rabbit, max_message_size, 100000).'");
	f->client = open_client(f->control);
	submit(f, "before");
	await_kind(f, TASKCLIENT_QUEUED, "before", 0);
	for (int i = 0; i < 3; i++) {
		client_must(submit_to(f, f->queue, "large", "prog", buf_slice(&large), &err), &err);
		await_kind(f, TASKCLIENT_NOT_QUEUED, "large", -EMSGSIZE);
		submit(f, "after");
		await_kind(f, TASKCLIENT_QUEUED, "after", 0);
		taskclient_close(f->client);
		f->client = open_client(f->control);
	}
	taskclient_close(f->client);
	f->client = normal;
	broker("ctl", "eval 'application:set_env(rabbit, max_message_size, 134217728).'");
	buf_deinit(&large);
}

/* What is under way or not yet taken is forgotten. */
static void test_close_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct taskclient_event *event;
	struct taskclient_error err;

	for (int i = 0; i < 20; i++) {
		char id[16];

		snprintf(id, sizeof(id), "task-%d", i);
		submit(f, id);
		client_must(taskclient_cancel(f->client, id, 60000, &err), &err);
	}
	await(f, &event); /* of a confirm for many, or of the missing exchange for each cancel */
	taskclient_event_free(event);
}

/* ---- cancels ---- */

static void take_cancel(struct fixture *f, const char *id, struct mq_event *ret)
{
	struct control control = { 0 };
	struct error err;

	take(f, "control", ret);
	/* Without a body: an alarm lets nothing else through. */
	assert_int_equal(ret->delivery.body.len, 0);
	assert_int_equal(
		control_decode_headers(mq_header_get, &ret->delivery.properties, &control, &err),
		0);
	assert_string_equal(control.id, id);
	control_deinit(&control);
}

static void answer_cancel(struct fixture *f, const struct mq_event *to, const char *result)
{
	struct record a = { 0 };
	struct buf body = { 0 };

	record_add_text(&a, "result", result);
	record_add_text(&a, "runner", "r");
	assert_int_equal(record_encode(WIRE_JSON, &a, &body), 0);
	record_deinit(&a);
	answer(f, to, &body, 0);
}

static void await_answer(struct fixture *f, const char *id, const char *result)
{
	struct taskclient_event *event;

	await(f, &event);
	assert_int_equal(event->kind, TASKCLIENT_ANSWER);
	assert_string_equal(event->id, id);
	assert_string_equal(taskclient_answer_text(event->answer, "result"), result);
	taskclient_event_free(event);
}

/* Asked again and again until somebody answers; asking for the same in between changes nothing. */
static void test_cancel_is_repeated(void **state)
{
	struct fixture *f = *state;
	struct mq_event first, second;
	struct taskclient_event *event;
	struct taskclient_error err;
	int r;

	listen_to_control(f);
	client_must(taskclient_cancel(f->client, "one", 60000, &err), &err);
	client_must(taskclient_cancel(f->client, "one", 1, &err), &err);
	take_cancel(f, "one", &first);
	for (int got = 0; !got;) {
		struct pollfd fds[] = { { .fd = taskclient_fd(f->client), .events = POLLIN },
			{ .fd = mq_fd(f->runner), .events = POLLIN } };

		r = taskclient_next(f->client, &event, &err);
		assert_int_equal(r, 0); /* it is not given up */
		poll(fds, 2, taskclient_wait_ms(f->client));
		got = fds[1].revents;
	}
	take_cancel(f, "one", &second);
	assert_string_equal(first.delivery.properties.correlation_id,
		second.delivery.properties.correlation_id);
	answer_cancel(f, &first, "accepted");
	answer_cancel(f, &second, "gone"); /* nobody's any more */
	await_answer(f, "one", "accepted");
	run_one(f, "two");
	mq_event_deinit(&first);
	mq_event_deinit(&second);
}

static void test_answers_find_their_cancels(void **state)
{
	struct fixture *f = *state;
	struct mq_event first, second;
	struct taskclient_error err;

	listen_to_control(f);
	client_must(taskclient_cancel(f->client, "one", 60000, &err), &err);
	client_must(taskclient_cancel(f->client, "two", 60000, &err), &err);
	take_cancel(f, "one", &first);
	take_cancel(f, "two", &second);
	answer_cancel(f, &second, "gone");
	await_answer(f, "two", "gone");
	answer_cancel(f, &first, "accepted");
	await_answer(f, "one", "accepted");
	mq_event_deinit(&first);
	mq_event_deinit(&second);
}

/* Then there is nothing to cancel any more, and nobody is told so. */
static void test_final_response_ends_the_asking(void **state)
{
	struct fixture *f = *state;
	struct mq_event request, cancel;
	struct taskclient_event *event;
	enum taskclient_event_kind kind;
	struct taskclient_error err;

	listen_to_control(f);
	submit(f, "one");
	take(f, "requests", &request);
	client_must(taskclient_cancel(f->client, "one", 1, &err), &err);
	take_cancel(f, "one", &cancel);
	client_must(taskclient_cancel(f->client, "one", 60000, &err), &err);
	respond(f, &request, STATUS_CANCELLED, 1);
	do {
		await(f, &event);
		kind = event->kind;
		taskclient_event_free(event);
	} while (kind == TASKCLIENT_QUEUED || kind == TASKCLIENT_NO_ANSWER);
	assert_int_equal(kind, TASKCLIENT_RESPONSE);
	answer_cancel(f, &cancel, "gone");
	run_one(f, "two");
	mq_event_deinit(&request);
	mq_event_deinit(&cancel);
}

static void test_nobody_answers(void **state)
{
	struct fixture *f = *state;
	struct taskclient_error err;

	listen_to_control(f);
	assert_int_equal(taskclient_cancel(f->client, "a/b", 1000, &err), -EINVAL);
	client_must(taskclient_cancel(f->client, "one", 1, &err), &err);
	await_kind(f, TASKCLIENT_NO_ANSWER, "one", -ETIMEDOUT);
}

/* The broker closes the channel; once there is an exchange, cancels find it. */
static void test_no_control_exchange(void **state)
{
	struct fixture *f = *state;
	struct mq_event cancel;
	struct taskclient_error err;

	client_must(taskclient_cancel(f->client, "one", 60000, &err), &err);
	client_must(taskclient_cancel(f->client, "two", 60000, &err), &err);
	await_kind(f, TASKCLIENT_NO_ANSWER, "two", -ENOENT);
	await_kind(f, TASKCLIENT_NO_ANSWER, "one", -ENOENT);
	listen_to_control(f);
	client_must(taskclient_cancel(f->client, "one", 60000, &err), &err);
	take_cancel(f, "one", &cancel);
	answer_cancel(f, &cancel, "accepted");
	await_answer(f, "one", "accepted");
	mq_event_deinit(&cancel);
}

/* ---- the rest ---- */

static void test_inspect(void **state)
{
	struct fixture *f = *state;
	struct mq_connection *other = live_connect();
	uint32_t ready = 9, consumers = 9;
	struct error err;
	struct taskclient_error told;
	char name[64];
	struct mq_queue queue = { .exclusive = true };

	client_must(taskclient_inspect(f->client, f->queue, &ready, &consumers, &told), &told);
	assert_int_equal(ready, 0);
	assert_int_equal(consumers, 1);
	assert_int_equal(
		taskclient_inspect(f->client, "test.none", &ready, &consumers, &told), -ENOENT);
	queue.name = fresh_name("private", name);
	must(mq_declare_queue(other, 1, &queue, NULL, NULL, &err), &err);
	assert_int_equal(taskclient_inspect(f->client, name, &ready, &consumers, &told), -EACCES);
	client_must(taskclient_inspect(f->client, f->queue, &ready, &consumers, &told), &told);
	mq_close(other);
	run_one(f, "one");
}

static void test_no_broker(void **state)
{
	struct taskclient_options o = { .broker = "amqp://127.0.0.1:1" };
	struct taskclient *c = NULL;
	struct taskclient_error err;

	(void)state;
	assert_int_equal(taskclient_open(&o, &c, &err), -ECONNREFUSED);
	assert_int_equal(err.code, -ECONNREFUSED);
	assert_non_null(strstr(err.text, "127.0.0.1:1"));
	o.broker = must_getenv("AMQP_URL");
	o.vhost = "no-such-vhost";
	assert_int_equal(taskclient_open(&o, &c, NULL), -EACCES);
	o.vhost = NULL;
	o.password = "wrong-one";
	assert_int_equal(taskclient_open(&o, &c, &err), -EACCES);
	assert_null(strstr(err.text, o.password));
	assert_null(c);
	assert_null(taskclient_close(NULL));
	assert_string_equal(taskclient_status_name(TASKCLIENT_STATUS_CANCELLED), "CANCELLED");
	assert_null(taskclient_status_name((enum taskclient_status)0));
}

static void test_options(void **state)
{
	struct taskclient_options o = { 0 };
	struct taskclient_error err;

	(void)state;
	assert_int_equal(taskclient_options_check(&o, &err), 0);
	o.broker = "amqp://a,amqps://b:1/v";
	assert_int_equal(taskclient_options_check(&o, &err), 0);
	o.broker = "http://a";
	assert_int_equal(taskclient_options_check(&o, &err), -EINVAL);
	assert_non_null(strstr(err.text, "amqp://"));
	o.broker = " ";
	assert_int_equal(taskclient_options_check(&o, NULL), -EINVAL);
	o.broker = NULL;
	o.cert_file = "cert";
	assert_int_equal(taskclient_options_check(&o, &err), -EINVAL);
	o.key_file = "key";
	assert_int_equal(taskclient_options_check(&o, &err), 0);
}

static void test_questions_that_cannot_be_asked(void **state)
{
	static const struct taskclient_control questions[] = {
		{ 0 },
		{ .op = "dance", .all = true },
		{ .op = "who-has", .id = "one" }, /* of runners */
		{ .op = "cancel" },
		{ .op = "cancel", .id = "a/b" },
		{ .op = "cancel", .id = "one", .group = "g" },
		{ .op = "signal", .id = "one" },
		{ .op = "drain", .group = "g" },
		{ .op = "set-slots", .all = true, .slots = 10001 },
		{ .op = "status", .id = "one", .tail = 1 << 21 },
	};
	struct fixture *f = *state;
	struct taskclient_control longest = { .op = "list" };
	char *text = calloc(1, 200001);
	struct taskclient_error err;

	longest.group = memset(text, 'x', 200000);
	client_must(taskclient_ask(f->client, &longest, NULL, &err), &err);
	await_kind(f, TASKCLIENT_NO_ANSWER, NULL, -ENOENT); /* there is no exchange */
	longest.op = "cancel";                              /* goes without a body */
	assert_int_equal(taskclient_ask(f->client, &longest, NULL, &err), -EINVAL);
	free(text);
	assert_int_equal(taskclient_cancel(f->client, NULL, 0, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		assert_int_equal(taskclient_ask(f->client, &questions[i], NULL, &err), -EINVAL);
		assert_true(err.text[0]);
	}
	run_one(f, "one");
}

static void tell_facts(struct fixture *f, const struct mq_event *question)
{
	struct record record = { 0 };
	struct buf body = { 0 };

	record_add_text(&record, "result", "accepted");
	record_add_int(&record, "used", -3);
	record_add_number(&record, "load", 0.5);
	assert_int_equal(record_encode(WIRE_JSON, &record, &body), 0);
	record_deinit(&record);
	answer(f, question, &body, 0);
}

static void check_facts(const struct taskclient_answer *answer)
{
	int64_t whole = 9;
	double real = 9;

	assert_string_equal(taskclient_answer_name(answer, 0), "result");
	assert_string_equal(taskclient_answer_name(answer, 2), "load");
	assert_null(taskclient_answer_name(answer, 3));
	assert_string_equal(taskclient_answer_text(answer, "used"), "-3");
	assert_true(taskclient_answer_int(answer, "used", &whole));
	assert_int_equal(whole, -3);
	assert_true(taskclient_answer_number(answer, "load", &real));
	assert_true(real == 0.5);
	assert_false(taskclient_answer_int(answer, "load", &whole));
	assert_false(taskclient_answer_number(answer, "result", &real));
	assert_false(taskclient_answer_number(NULL, "load", &real));
	assert_true(whole == -3 && real == 0.5);
	assert_null(taskclient_answer_text(NULL, "result"));
}

/* What is asked arrives as it was meant, and each member of an answer can be read. */
static void test_question_and_its_answer(void **state)
{
	const struct taskclient_control asked = {
		.op = "set-slots", .runner = "r", .queue = "q", .slots = 7, .quiet_ms = 1
	};
	struct fixture *f = *state;
	struct taskclient_answer *copy;
	struct taskclient_event *event;
	struct taskclient_error told;
	struct control control = { 0 };
	struct mq_event question;
	uint64_t number;

	listen_to_control(f);
	client_must(taskclient_ask(f->client, &asked, &number, &told), &told);
	take(f, "control", &question);
	assert_int_equal(control_decode_headers(
				 mq_header_get, &question.delivery.properties, &control, NULL),
		0);
	assert_int_equal(control.op, CONTROL_SET_SLOTS);
	assert_string_equal(control.slots, "7");
	assert_string_equal(control.queue, "q");
	assert_string_equal(control.selector.runner, "r");
	assert_null(control.tail);
	control_deinit(&control);
	tell_facts(f, &question);
	mq_event_deinit(&question);
	await(f, &event);
	assert_int_equal(event->kind, TASKCLIENT_ANSWER);
	assert_int_equal(event->question, number);
	assert_null(event->id);
	copy = taskclient_answer_copy(event->answer);
	taskclient_event_free(event);
	check_facts(copy);
	taskclient_answer_free(copy);
	taskclient_answer_free(NULL);
	await_kind(f, TASKCLIENT_ANSWERED, NULL, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		TEST(test_request_as_the_runner_sees_it),
		TEST(test_requests_that_cannot_be_sent),
		TEST(test_what_a_response_says),
		TEST(test_many_tasks_at_once),
		TEST(test_no_such_queue),
		TEST(test_queue_that_refuses),
		TEST(test_request_too_large_for_the_broker),
		TEST(test_close_in_the_middle),
		TEST(test_cancel_is_repeated),
		TEST(test_answers_find_their_cancels),
		TEST(test_final_response_ends_the_asking),
		TEST(test_nobody_answers),
		TEST(test_no_control_exchange),
		TEST(test_inspect),
		cmocka_unit_test(test_no_broker),
		cmocka_unit_test(test_options),
		TEST(test_questions_that_cannot_be_asked),
		TEST(test_question_and_its_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
