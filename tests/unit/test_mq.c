/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mq/connection.h"
#include "mq/publisher.h"

#define SECRET "s3cr3t"

static void refuses_address(const char *list, int expected)
{
	struct mq_options o;
	struct error err = { 0 };

	mq_options_init(&o);
	assert_int_equal(mq_options_add_addresses(&o, list, &err), expected);
	assert_int_equal(err.code, expected);
	assert_true(strlen(err.text) > 0);
	assert_null(strstr(err.text, SECRET));
	mq_options_deinit(&o);
}

static void test_bad_addresses(void **state)
{
	(void)state;
	refuses_address("", -EINVAL);
	refuses_address(" ,, ", -EINVAL);
	refuses_address("localhost:5672", -EINVAL);
	refuses_address("http://u:" SECRET "@h", -EINVAL);
	refuses_address("amqp:/h", -EINVAL);
	refuses_address("AMQP://h", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:port", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:0", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:65536", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:-1", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:99999999999999999999", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h:5672:7", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h/v/w", -EINVAL);
	refuses_address("amqp://u:" SECRET "@h/v?heartbeat=3", -EINVAL);
	refuses_address("amqp://u:" SECRET "%zz@h", -EINVAL);
	refuses_address("amqp://u:" SECRET "%", -EINVAL);
	refuses_address("amqp://[::1", -EINVAL);
	refuses_address("amqp://x[::1]", -EINVAL);
	refuses_address("amqp://good, bad", -EINVAL);
	refuses_address(
		"amqp://1 amqp://2 amqp://3 amqp://4 amqp://5 amqp://6 amqp://7 amqp://8 amqp://9",
		-E2BIG);
}

static void describes(const char *address, const char *expected)
{
	struct mq_options o;
	char text[100];

	mq_options_init(&o);
	assert_int_equal(mq_options_add_addresses(&o, address, NULL), 0);
	assert_int_equal(o.n_addresses, 1);
	assert_string_equal(mq_options_describe(&o, 0, text, sizeof(text)), expected);
	assert_null(strstr(text, SECRET));
	mq_options_deinit(&o);
}

static void test_describe(void **state)
{
	(void)state;
	describes("amqp://", "localhost:5672/");
	describes("amqps://", "localhost:5671/");
	describes("amqp://host", "host:5672/");
	describes("amqp://host/", "host:5672/");
	describes("amqp://host:1/%2f", "host:1/");
	describes("amqp://u:" SECRET "@host:65535/v", "host:65535/v");
	describes("amqp://u%40x:" SECRET "%3a%2F@host/a%2Fb", "host:5672/a/b");
	describes("amqp://[::1]:77/v", "[::1]:77/v");
	describes("\n\tamqp://host,", "host:5672/");
}

static void test_several_addresses(void **state)
{
	struct mq_options o;
	char text[64];

	(void)state;
	mq_options_init(&o);
	assert_int_equal(o.heartbeat_s, 20);
	assert_int_equal(o.connect_timeout_s, 10);
	assert_int_equal(mq_options_add_addresses(&o, "amqp://a,amqps://b amqp://c:1", NULL), 0);
	assert_int_equal(mq_options_add_addresses(&o, "amqp://d", NULL), 0);
	assert_int_equal(o.n_addresses, 4);
	assert_string_equal(mq_options_describe(&o, 1, text, sizeof(text)), "b:5671/");
	assert_string_equal(mq_options_describe(&o, 3, text, sizeof(text)), "d:5672/");
	assert_string_equal(mq_options_describe(&o, 4, text, sizeof(text)), "?");
	o.vhost = strdup("own");
	assert_string_equal(mq_options_describe(&o, 3, text, sizeof(text)), "d:5672/own");
	assert_string_equal(mq_options_describe(&o, 3, text, 5), "d:56");
	mq_options_deinit(&o);
}

static void test_no_address(void **state)
{
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };

	(void)state;
	mq_options_init(&o);
	assert_int_equal(mq_connect(&o, &c, &err), -EINVAL);
	assert_null(c);
	assert_null(mq_close(NULL));
	assert_null(mq_publisher_stop(NULL, 0));
	mq_options_deinit(&o);
}

static void test_properties(void **state)
{
	struct mq_properties p;
	char name[32];

	(void)state;
	mq_properties_init(&p);
	assert_int_equal(p.priority, -1);
	assert_null(mq_properties_header(&p, "a"));
	assert_int_equal(mq_properties_set(&p.reply_to, "one"), 0);
	assert_int_equal(mq_properties_set(&p.reply_to, "two"), 0);
	assert_string_equal(p.reply_to, "two");
	assert_int_equal(mq_properties_set(&p.reply_to, NULL), 0);
	assert_null(p.reply_to);
	assert_int_equal(mq_properties_add_text(&p, "a", "text"), 0);
	assert_int_equal(mq_properties_add_int(&p, "b", INT64_MIN), 0);
	assert_string_equal(mq_properties_header(&p, "a")->text, "text");
	assert_true(mq_properties_header(&p, "b")->number == INT64_MIN);
	/* Another kind under the same name replaces, and does not count twice. */
	assert_int_equal(mq_properties_add_int(&p, "a", 7), 0);
	assert_int_equal(p.n_headers, 2);
	assert_int_equal(mq_properties_header(&p, "a")->kind, MQ_HEADER_INT);
	for (int i = 2; i < MQ_HEADERS_MAX; i++) {
		snprintf(name, sizeof(name), "h%d", i);
		assert_int_equal(mq_properties_add_int(&p, name, i), 0);
	}
	assert_int_equal(mq_properties_add_text(&p, "more", "x"), -E2BIG);
	assert_int_equal(mq_properties_add_text(&p, "h2", "still possible"), 0);
	assert_int_equal(p.n_headers, MQ_HEADERS_MAX);
	mq_properties_deinit(&p);
	assert_int_equal(p.n_headers, 0);
}

static void test_message_check(void **state)
{
	struct mq_message m;
	struct error err = { 0 };
	char longest[257], huge[140000];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	memset(huge, 'x', sizeof(huge));
	longest[256] = huge[sizeof(huge) - 1] = '\0';
	mq_message_init(&m);
	assert_int_equal(mq_message_check(&m, &err), 0);

	assert_int_equal(mq_properties_set(&m.routing_key, longest), 0);
	assert_int_equal(mq_message_check(&m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "routing key"));
	m.routing_key[255] = '\0';
	assert_int_equal(mq_message_check(&m, &err), 0);

	assert_int_equal(mq_properties_set(&m.properties.correlation_id, longest), 0);
	assert_int_equal(mq_message_check(&m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "correlation_id"));
	mq_properties_set(&m.properties.correlation_id, NULL);

	assert_int_equal(mq_properties_add_text(&m.properties, "h", huge), 0);
	assert_int_equal(mq_message_check(&m, &err), -EINVAL);
	assert_int_equal(mq_properties_add_text(&m.properties, "h", "small"), 0);
	assert_int_equal(mq_message_check(&m, NULL), 0);
	assert_int_equal(mq_properties_add_int(&m.properties, longest, 1), 0);
	assert_int_equal(mq_message_check(&m, NULL), -EINVAL);
	mq_message_deinit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_several_addresses),
		cmocka_unit_test(test_no_address),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_message_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
