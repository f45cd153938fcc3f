/* SPDX-License-Identifier: Apache-2.0 */
/* Connections against a real broker, and against what is none. */
#include "tests/e2e/live.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static void declare(struct mq_connection *c, const char *queue)
{
	const struct mq_queue q = { .name = queue, .exclusive = true };
	struct error err;

	must(mq_declare_queue(c, 1, &q, NULL, NULL, &err), &err);
}

/* ---- messages ---- */

static void round_trip(struct mq_connection *c, const char *queue, size_t size)
{
	struct mq_message m;
	struct mq_event event;
	char longest[256];

	memset(longest, 'y', 255);
	longest[255] = '\0';
	message_to(&m, "", queue);
	fill(&m.body, size, size);
	m.properties.persistent = true;
	m.properties.priority = 3;
	m.properties.timestamp = 1767225600;
	mq_properties_set(&m.properties.content_type, "application/json");
	mq_properties_set(&m.properties.correlation_id, longest);
	mq_properties_set(&m.properties.reply_to, "back");
	mq_properties_set(&m.properties.message_id, "");
	mq_properties_add_text(&m.properties, "text", "Grüße");
	mq_properties_add_text(&m.properties, "empty", "");
	mq_properties_add_int(&m.properties, "least", INT64_MIN);
	mq_properties_add_int(&m.properties, "most", INT64_MAX);
	assert_int_equal(mq_publish(c, 1, &m), 0);
	mq_message_deinit(&m);

	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(event.consumer_tag, "t");
	assert_string_equal(event.delivery.exchange, "");
	assert_string_equal(event.delivery.routing_key, queue);
	assert_false(event.delivery.redelivered);
	assert_true(is_filled(&event.delivery.body, size, size));
	struct mq_properties *p = &event.delivery.properties;
	assert_true(p->persistent);
	assert_int_equal(p->priority, 3);
	assert_int_equal(p->timestamp, 1767225600);
	assert_string_equal(p->content_type, "application/json");
	assert_string_equal(p->correlation_id, longest);
	assert_string_equal(p->reply_to, "back");
	assert_string_equal(p->message_id, "");
	assert_null(p->type);
	assert_null(p->app_id);
	assert_int_equal(p->n_headers, 4);
	assert_string_equal(mq_properties_header(p, "text")->text, "Grüße");
	assert_string_equal(mq_properties_header(p, "empty")->text, "");
	assert_true(mq_properties_header(p, "least")->number == INT64_MIN);
	assert_true(mq_properties_header(p, "most")->number == INT64_MAX);
	assert_int_equal(mq_ack(c, 1, event.delivery.tag, false), 0);
	mq_event_deinit(&event);
}

static void test_round_trips(void **state)
{
	/* Around the size of a frame's payload, and its multiple. */
	static const size_t sizes[] = { 0, 1, 2, 131063, 131064, 131065, 262128, 5 * 1024 * 1024 };
	struct mq_connection *c = live_connect();
	char queue[64];

	(void)state;
	declare(c, fresh_name("round", queue));
	assert_int_equal(mq_consume(c, 1, queue, "t", false, false), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		round_trip(c, queue, sizes[i]);
	mq_close(c);
}

static void test_get(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	char queue[64];

	(void)state;
	declare(c, fresh_name("get", queue));
	message_to(&m, "", queue);
	fill(&m.body, 1, 10);
	/* Answers come in the order asked. */
	assert_int_equal(mq_get(c, 1, queue, false), 0);
	assert_int_equal(mq_publish(c, 1, &m), 0);
	assert_int_equal(mq_get(c, 1, queue, false), 0);
	expect_event(c, MQ_GET_EMPTY, &event);
	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(event.consumer_tag, "");
	assert_true(is_filled(&event.delivery.body, 1, 10));
	/* Given back, it comes again and says so. */
	assert_int_equal(mq_nack(c, 1, event.delivery.tag, true), 0);
	mq_event_deinit(&event);
	assert_int_equal(mq_get(c, 1, queue, true), 0);
	expect_event(c, MQ_DELIVERY, &event);
	assert_true(event.delivery.redelivered);
	mq_event_deinit(&event);
	mq_message_deinit(&m);
	mq_close(c);
}

static void test_unroutable(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	struct error err;

	(void)state;
	must(mq_confirm(c, 1, &err), &err);
	message_to(&m, "", "no.such.queue");
	fill(&m.body, 1, 300000);
	m.mandatory = true;
	mq_properties_set(&m.properties.message_id, "m1");
	assert_int_equal(mq_publish(c, 1, &m), 0);
	m.mandatory = false;
	assert_int_equal(mq_publish(c, 1, &m), 0);
	expect_event(c, MQ_RETURNED, &event);
	assert_int_equal(event.code, 312);
	assert_string_equal(event.delivery.routing_key, "no.such.queue");
	assert_string_equal(event.delivery.properties.message_id, "m1");
	mq_event_deinit(&event);
	uint64_t seen = 0;
	while (seen < 2) {
		expect_event(c, MQ_ACK, &event);
		seen = event.number;
	}
	mq_message_deinit(&m);
	mq_close(c);
}

static void test_unsendable(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	char queue[64], *huge = malloc(140001);

	(void)state;
	memset(huge, 'h', 140000);
	huge[140000] = '\0';
	declare(c, fresh_name("unsendable", queue));
	message_to(&m, "", queue);
	mq_properties_add_text(&m.properties, "h", huge);
	assert_int_equal(mq_publish(c, 1, &m), -EINVAL);
	huge[126000] = '\0';
	mq_properties_add_text(&m.properties, "h", huge);
	/* The connection is unharmed. */
	assert_int_equal(mq_publish(c, 1, &m), 0);
	assert_int_equal(mq_get(c, 1, queue, true), 0);
	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(mq_properties_header(&event.delivery.properties, "h")->text, huge);
	mq_event_deinit(&event);
	mq_message_deinit(&m);
	free(huge);
	mq_close(c);
}

/* ---- declarations ---- */

static void test_declare_twice(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_queue q = { .durable = true };
	struct mq_exchange x = { .type = "direct", .durable = true };
	struct error err = { 0 };
	char name[64], got[256];
	uint32_t ready = 77, consumers = 77;

	(void)state;
	q.name = x.name = fresh_name("twice", name);
	must(mq_declare_queue(c, 1, &q, got, &ready, &err), &err);
	assert_string_equal(got, name);
	assert_int_equal(ready, 0);
	must(mq_declare_queue(c, 1, &q, NULL, NULL, &err), &err);
	must(mq_inspect_queue(c, 1, name, &ready, &consumers, &err), &err);
	assert_int_equal(consumers, 0);

	q.durable = false;
	assert_int_equal(mq_declare_queue(c, 1, &q, NULL, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.text, "durable"));
	assert_non_null(strstr(err.text, "false"));
	assert_non_null(strstr(err.text, "true"));
	q.durable = true;
	q.max_priority = 5;
	assert_int_equal(mq_declare_queue(c, 1, &q, NULL, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.text, "x-max-priority"));

	must(mq_declare_exchange(c, 1, &x, &err), &err);
	x.type = "fanout";
	assert_int_equal(mq_declare_exchange(c, 1, &x, &err), -EEXIST);
	assert_non_null(strstr(err.text, "type"));
	/* It lives on after each of them. */
	must(mq_bind(c, 1, name, name, "key", &err), &err);
	assert_int_equal(mq_bind(c, 1, name, "no.such.exchange", "key", &err), -ENOENT);
	assert_non_null(strstr(err.text, "no.such.exchange"));
	assert_int_equal(mq_send_delete_queue(c, 1, name, false, false), 0);
	mq_close(c);
}

static void test_passive(void **state)
{
	struct mq_connection *c = live_connect();
	const struct mq_queue q = { .name = "no.such.queue", .passive = true };
	const struct mq_exchange x = { .name = "no.such.exchange", .passive = true };
	const struct mq_queue reserved = { .name = "amq.mine" };
	struct error err = { 0 };
	char name[256], longest[300];
	uint32_t n;

	(void)state;
	assert_int_equal(mq_declare_queue(c, 1, &q, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no.such.queue"));
	assert_int_equal(mq_inspect_queue(c, 1, "no.such.queue", &n, &n, &err), -ENOENT);
	assert_int_equal(mq_declare_exchange(c, 1, &x, &err), -ENOENT);
	assert_int_equal(mq_declare_queue(c, 1, &reserved, NULL, NULL, &err), -EACCES);
	memset(longest, 'q', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(
		mq_declare_queue(c, 1, &(struct mq_queue){ .name = longest }, NULL, NULL, &err),
		-EINVAL);
	must(mq_declare_queue(
		     c, 1, &(struct mq_queue){ .name = "", .exclusive = true }, name, NULL, &err),
		&err);
	assert_true(strncmp(name, "amq.gen-", 8) == 0);
	mq_close(c);
}

static void test_exclusive_of_another(void **state)
{
	struct mq_connection *c = live_connect(), *d = live_connect();
	struct error err = { 0 };
	char name[64];
	uint32_t n;

	(void)state;
	declare(c, fresh_name("mine", name));
	assert_int_equal(mq_inspect_queue(d, 1, name, &n, &n, &err), -EACCES);
	assert_int_equal(mq_inspect_queue(d, 1, name, &n, &n, &err), -EACCES);
	mq_close(d);
	mq_close(c);
}

/* What the senders ask for and is refused comes as a closed channel; it can be opened again. */
static void test_channel_closed_and_reopened(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	char queue[64];

	(void)state;
	assert_int_equal(mq_send_declare_queue(c, 1,
				 &(struct mq_queue){
					 .name = fresh_name("again", queue), .exclusive = true }),
		0);
	message_to(&m, "no.such.exchange", "key");
	assert_int_equal(mq_publish(c, 1, &m), 0);
	expect_event(c, MQ_CHANNEL_CLOSED, &event);
	assert_int_equal(event.code, 404);
	assert_non_null(strstr(event.text, "no.such.exchange"));
	/* Nothing happens on a closed channel, and nothing breaks. */
	assert_int_equal(mq_ack(c, 1, 1, false), 0);
	assert_int_equal(mq_publish(c, 1, &m), 0);
	assert_int_equal(mq_send_channel_open(c, 1), 0);
	assert_int_equal(mq_consume(c, 1, queue, "t", true, false), 0);
	expect_event(c, MQ_CHANNEL_OPENED, &event);
	mq_message_deinit(&m);
	message_to(&m, "", queue);
	assert_int_equal(mq_publish(c, 1, &m), 0);
	expect_event(c, MQ_DELIVERY, &event);
	mq_event_deinit(&event);
	/* An unknown delivery tag is our own fault and closes it, too. */
	assert_int_equal(mq_ack(c, 1, 99, false), 0);
	expect_event(c, MQ_CHANNEL_CLOSED, &event);
	assert_int_equal(event.code, 406);
	mq_message_deinit(&m);
	mq_close(c);
}

static void test_sent_declarations(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	char name[64];

	(void)state;
	fresh_name("sent", name);
	assert_int_equal(mq_send_declare_exchange(c, 1,
				 &(struct mq_exchange){
					 .name = name, .type = "fanout", .auto_delete = true }),
		0);
	assert_int_equal(mq_send_declare_queue(
				 c, 1, &(struct mq_queue){ .name = name, .auto_delete = true }),
		0);
	assert_int_equal(mq_send_bind(c, 1, name, name, ""), 0);
	assert_int_equal(mq_consume(c, 1, name, "t", true, true), 0);
	message_to(&m, name, "any");
	assert_int_equal(mq_publish(c, 1, &m), 0);
	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(event.delivery.exchange, name);
	mq_event_deinit(&event);
	/* After a cancel nothing is delivered; here the queue goes with its last consumer. */
	assert_int_equal(mq_cancel(c, 1, "t"), 0);
	assert_int_equal(mq_get(c, 1, name, true), 0);
	expect_event(c, MQ_CHANNEL_CLOSED, &event);
	assert_int_equal(event.code, 404);
	mq_message_deinit(&m);
	mq_close(c);
}

static void test_consumer_cancelled(void **state)
{
	struct mq_connection *c = live_connect(), *d = live_connect();
	struct mq_event event;
	struct error err;
	char name[64];

	(void)state;
	must(mq_declare_queue(c, 1, &(struct mq_queue){ .name = fresh_name("gone", name) }, NULL,
		     NULL, &err),
		&err);
	assert_int_equal(mq_consume(c, 1, name, "tag-of-it", false, false), 0);
	/* The answer comes after the consumer is there: only then the other connection may ask. */
	must(mq_qos(c, 1, 10, &err), &err);
	assert_int_equal(mq_send_delete_queue(d, 1, name, true, false), 0); /* in use: refused */
	expect_event(d, MQ_CHANNEL_CLOSED, &event);
	assert_int_equal(mq_send_channel_open(d, 1), 0);
	assert_int_equal(mq_send_delete_queue(d, 1, name, false, false), 0);
	expect_event(c, MQ_CONSUMER_CANCELLED, &event);
	assert_string_equal(event.consumer_tag, "tag-of-it");
	mq_close(d);
	mq_close(c);
}

static void test_prefetch(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	struct error err;
	char queue[64];

	(void)state;
	declare(c, fresh_name("prefetch", queue));
	must(mq_qos(c, 1, 2, &err), &err);
	assert_int_equal(mq_consume(c, 1, queue, "t", false, false), 0);
	message_to(&m, "", queue);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mq_publish(c, 1, &m), 0);
	expect_event(c, MQ_DELIVERY, &event);
	mq_event_deinit(&event);
	expect_event(c, MQ_DELIVERY, &event);
	uint64_t tag = event.delivery.tag;
	mq_event_deinit(&event);
	/* The third is still there: get answers before it could have been delivered. */
	assert_int_equal(mq_get(c, 1, queue, true), 0);
	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(event.consumer_tag, "");
	mq_event_deinit(&event);
	assert_int_equal(mq_publish(c, 1, &m), 0);
	assert_int_equal(mq_ack(c, 1, tag, true), 0);
	expect_event(c, MQ_DELIVERY, &event);
	assert_string_equal(event.consumer_tag, "t");
	mq_event_deinit(&event);
	mq_message_deinit(&m);
	mq_close(c);
}

/* ---- the end of a connection ---- */

static void test_closed_by_the_server(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_event event;
	struct error err = { 0 };

	(void)state;
	broker("ctl", "close_all_connections 'a test wants it'");
	assert_int_equal(next_event(c, &event, &err), -ECONNRESET);
	assert_non_null(strstr(err.text, "320"));
	assert_non_null(strstr(err.text, "a test wants it"));
	mq_close(c);
}

/* Writing on finds out why, though the read side was not looked at. */
static void test_closed_while_writing(void **state)
{
	struct mq_connection *c = live_connect();
	struct mq_message m;
	struct mq_event event;
	struct error err = { 0 };
	int r = 0;

	(void)state;
	message_to(&m, "", "nowhere");
	broker("ctl", "close_all_connections 'a test wants it'");
	for (int i = 0; i < 1000 && r == 0; i++)
		r = mq_publish(c, 1, &m);
	if (r == 0)
		r = next_event(c, &event, &err);
	assert_int_equal(r, -ECONNRESET);
	assert_int_equal(mq_publish(c, 1, &m), -ENOTCONN);
	assert_true(mq_next(c, &event, &err) < 0);
	mq_message_deinit(&m);
	mq_close(c);
}

/* A connection with a short heartbeat, and the process id of a broker that has stopped in its
 * tracks. */
static struct mq_connection *connect_and_freeze(pid_t *ret_broker)
{
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };
	char path[300];
	FILE *f;

	live_options(&o);
	o.heartbeat_s = 1;
	must(mq_connect(&o, &c, &err), &err);
	must(mq_channel_open(c, 1, &err), &err);
	mq_options_deinit(&o);
	snprintf(path, sizeof(path), "%s/node.pid", must_getenv("BROKER_DIR"));
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", ret_broker), 1);
	fclose(f);
	assert_int_equal(kill(*ret_broker, SIGSTOP), 0);
	return c;
}

static void test_silent_server_is_noticed(void **state)
{
	pid_t pid;
	struct mq_connection *c = connect_and_freeze(&pid);
	struct mq_event event;
	struct error err = { 0 };
	int r = next_event(c, &event, &err);

	(void)state;
	kill(pid, SIGCONT);
	assert_int_equal(r, -ETIMEDOUT);
	assert_non_null(strstr(err.text, "nothing was heard"));
	mq_close(c);
}

/* The library alone would wait for ever in the publish that follows such a silence, and in one that
 * finds no room. */
static void publish_into_silence(size_t size, unsigned pause_ms)
{
	pid_t pid;
	struct mq_connection *c = connect_and_freeze(&pid);
	struct mq_message m;
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;
	int r = 0;

	message_to(&m, "", "nowhere");
	fill(&m.body, 1, size);
	clock_sleep_ms(pause_ms); /* not waiting for anything: silence is what is tested */
	while (r == 0 && clock_now_us() < deadline) {
		r = mq_publish(c, 1, &m);
		poll(NULL, 0, 10);
	}
	kill(pid, SIGCONT);
	assert_true(r == -ETIMEDOUT || r == -ECONNRESET);
	mq_message_deinit(&m);
	mq_close(c);
}

static void test_publish_into_silence(void **state)
{
	(void)state;
	publish_into_silence(10, 2500);
	publish_into_silence(8 * 1024 * 1024, 0);
}

static void test_server(void **state)
{
	struct mq_connection *c = live_connect();
	const struct mq_server *server = mq_server(c);
	int flags = fcntl(mq_fd(c), F_GETFD);

	(void)state;
	assert_string_equal(server->product, "RabbitMQ");
	assert_true(server->version[0] >= 3);
	assert_true(server->version[1] + server->version[2] > 0);
	assert_true(flags & FD_CLOEXEC);
	/* Channels can be opened twice, and the highest is allowed. */
	struct error err;
	must(mq_channel_open(c, 1, &err), &err);
	must(mq_channel_open(c, 31, &err), &err);
	mq_close(c);
}

static void refused(const char *url, const char *username, const char *password, const char *vhost,
	int expected)
{
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };

	options_for(&o, url);
	mq_properties_set(&o.username, username);
	mq_properties_set(&o.password, password);
	mq_properties_set(&o.vhost, vhost);
	o.connect_timeout_s = 2;
	assert_int_equal(mq_connect(&o, &c, &err), expected);
	assert_int_equal(err.code, expected);
	assert_null(c);
	assert_null(strstr(err.text, "s3cr3t"));
	assert_true(strlen(err.text) > 10);
	print_message("    %s\n", err.text);
	mq_options_deinit(&o);
}

static void test_refused(void **state)
{
	const char *url = must_getenv("AMQP_URL");

	(void)state;
	refused(url, "guest", "s3cr3t", NULL, -EACCES);
	refused(url, "nobody", "s3cr3t", NULL, -EACCES);
	refused(url, NULL, NULL, "no-such-vhost", -EACCES);
}

/* ---- servers that are none ---- */

struct impostor {
	int fd;
	pthread_t thread;
	const char *says;
	size_t len;
	bool hold; /* keep the connection open */
};

static void *impostor_main(void *userdata)
{
	struct impostor *i = userdata;
	char buffer[256];

	for (;;) {
		int fd = accept(i->fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		(void)!write(fd, i->says, i->len);
		if (i->hold)
			while (read(fd, buffer, sizeof(buffer)) > 0)
				;
		else
			(void)!read(fd, buffer, sizeof(buffer));
		close(fd);
	}
}

static void impostor_start(struct impostor *i, char url[64])
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	i->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(i->fd >= 0);
	assert_int_equal(bind(i->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(i->fd, 5), 0);
	assert_int_equal(getsockname(i->fd, (struct sockaddr *)&at, &len), 0);
	snprintf(url, 64, "amqp://127.0.0.1:%u", ntohs(at.sin_port));
	assert_int_equal(pthread_create(&i->thread, NULL, impostor_main, i), 0);
}

static void impostor_stop(struct impostor *i)
{
	shutdown(i->fd, SHUT_RDWR);
	pthread_join(i->thread, NULL);
	close(i->fd);
}

static void against(const char *says, size_t len, bool hold, int expected)
{
	struct impostor i = { .says = says, .len = len, .hold = hold };
	char url[64];

	impostor_start(&i, url);
	refused(url, NULL, NULL, NULL, expected);
	impostor_stop(&i);
}

static void test_impostors(void **state)
{
	static const char zeros[70000];

	(void)state;
	against("", 0, true, -ETIMEDOUT);
	against("", 0, false, -ECONNRESET);
	against("AMQP\0\1\0\0", 8, false, -EPROTO);
	against("HTTP/1.1 400 Bad Request\r\n\r\n", 28, false, -EPROTO);
	against("SSH-2.0-OpenSSH_9.2\r\n", 21, true, -EPROTO);
	against(zeros, sizeof(zeros), false, -EPROTO);
	/* A frame that announces more than it sends; one that is too large. */
	against("\1\0\0\0\0\1\0x", 8, true, -ETIMEDOUT);
	against("\1\0\0\177\377\377\377x", 8, true, -EPROTO);
	/* A method frame of a class that does not exist, and one that is cut short. */
	against("\1\0\0\0\0\0\4\1\2\3\4\316", 12, true, -EPROTO);
	against("\1\0\0\0\0\0\4\0\12\0\12\316", 12, true, -EPROTO);
	/* A body frame where connection.start should be. */
	against("\3\0\1\0\0\0\1x\316", 9, true, -EPROTO);
}

static void test_nobody_there(void **state)
{
	struct impostor i = { .says = "" };
	char url[64], list[200];
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };

	(void)state;
	impostor_start(&i, url);
	impostor_stop(&i);
	refused(url, NULL, NULL, NULL, -ECONNREFUSED);
	refused("amqp://no-such-host.invalid", NULL, NULL, NULL, -EHOSTUNREACH);
	/* The one that works is found, wherever it stands. */
	snprintf(list, sizeof(list), "%s,%s", url, must_getenv("AMQP_URL"));
	options_for(&o, list);
	must(mq_connect(&o, &c, &err), &err);
	mq_close(c);
	mq_options_deinit(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_unroutable),
		cmocka_unit_test(test_unsendable),
		cmocka_unit_test(test_declare_twice),
		cmocka_unit_test(test_passive),
		cmocka_unit_test(test_exclusive_of_another),
		cmocka_unit_test(test_channel_closed_and_reopened),
		cmocka_unit_test(test_sent_declarations),
		cmocka_unit_test(test_consumer_cancelled),
		cmocka_unit_test(test_prefetch),
		cmocka_unit_test(test_closed_by_the_server),
		cmocka_unit_test(test_closed_while_writing),
		cmocka_unit_test(test_silent_server_is_noticed),
		cmocka_unit_test(test_publish_into_silence),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_impostors),
		cmocka_unit_test(test_nobody_there),
	};

	must_getenv("AMQP_URL");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
