/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests against a real broker share. AMQP_URL names it, PRIVATE_BROKER and BROKER_DIR are
 * set by tests/lib/with-broker; a test that lacks them fails. Every wait has a deadline and waits
 * for an event. Include once, in the test program itself.
 */

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "mq/connection.h"

/* The longest silence that is none of a fault: 5 s before the publisher connects again, 10 s for
 * the connection and 10 s for an answer on it. */
#define PATIENCE_MS 30000

static const char *must_getenv(const char *name)
{
	const char *value = getenv(name);

	if (!value || !*value) {
		fprintf(stderr, "%s is not set; run this through tests/lib/with-broker\n", name);
		exit(1);
	}
	return value;
}

static void options_for(struct mq_options *o, const char *url)
{
	struct error err;

	mq_options_init(o);
	if (mq_options_add_addresses(o, url, &err) < 0)
		fail_msg("%s", err.text);
}

static void live_options(struct mq_options *o)
{
	options_for(o, must_getenv("AMQP_URL"));
}

static inline struct mq_connection *live_connect(void)
{
	struct mq_options o;
	struct mq_connection *c = NULL;
	struct error err = { 0 };

	live_options(&o);
	if (mq_connect(&o, &c, &err) < 0 || mq_channel_open(c, 1, &err) < 0)
		fail_msg("%s", err.text);
	mq_options_deinit(&o);
	return c;
}

/* A name that no other test uses. */
static inline const char *fresh_name(const char *what, char buffer[64])
{
	static unsigned n;

	snprintf(buffer, 64, "test.%s.%d.%u", what, (int)getpid(), ++n);
	return buffer;
}

/* Runs rabbitmqctl (or with another verb than "ctl", the broker script itself). */
static inline void broker(const char *verb, const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof(command), "'%s' %s '%s' %s >/dev/null",
		must_getenv("PRIVATE_BROKER"), verb, must_getenv("BROKER_DIR"), arguments);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

/* Waits for the next event: 1, or what mq_next gives when the connection is dead. */
static inline int next_event(struct mq_connection *c, struct mq_event *ret, struct error *err)
{
	uint64_t deadline = clock_now_us() + PATIENCE_MS * 1000ull;

	while (clock_now_us() < deadline) {
		struct pollfd p = { .fd = mq_fd(c), .events = POLLIN };
		int r = mq_next(c, ret, err);

		if (r != 0)
			return r;
		poll(&p, 1, 500);
		r = mq_tick(c, err);
		if (r < 0)
			return r;
	}
	fail_msg("nothing happened for %d ms", PATIENCE_MS);
	return 0;
}

static inline void expect_event(
	struct mq_connection *c, enum mq_event_kind kind, struct mq_event *ret)
{
	struct error err = { 0 };
	int r = next_event(c, ret, &err);

	if (r != 1)
		fail_msg("the connection died: %s", err.text);
	if (ret->kind != kind)
		fail_msg("event %d instead of %d: %s", ret->kind, kind, ret->text);
}

static inline void must(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

/* Body byte @i of message @seed. */
static inline char pattern(size_t seed, size_t i)
{
	return (char)(seed * 31 + i * 7 + (i >> 8) * 13 + (i >> 16));
}

static inline void fill(struct buf *body, size_t seed, size_t len)
{
	char *at;

	assert_int_equal(buf_reserve(body, len, &at), 0);
	for (size_t i = 0; i < len; i++)
		at[i] = pattern(seed, i);
	body->len += len;
}

static inline bool is_filled(const struct buf *body, size_t seed, size_t len)
{
	if (body->len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (body->data[i] != pattern(seed, i))
			return false;
	return true;
}

static inline void message_to(struct mq_message *m, const char *exchange, const char *key)
{
	mq_message_init(m);
	assert_int_equal(mq_properties_set(&m->exchange, exchange), 0);
	assert_int_equal(mq_properties_set(&m->routing_key, key), 0);
}
