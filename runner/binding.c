/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether control messages reach us. The exchange is not ours alone: it can be deleted and made
 * anew, and then our queue hears nothing any more, of which nobody tells us. So it is bound again
 * and again, on a channel of its own, which the server closes where it refuses that; then it is
 * tried again. Where the exchange is ours to declare, that is done when it is missing.
 *
 * No connection is given up for this: tasks go on, and requests are taken.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"

#define NOT_FOUND 404

/* A question is asked again after half the time that others wait: by then all listen again. */
static uint64_t interval_us(const struct daemon *daemon)
{
	return daemon->rules.suspect_us / 4;
}

static void reachable(struct daemon *daemon)
{
	struct binding *b = &daemon->binding;
	b->is_missing = false;
	if (!b->is_away)
		return;
	b->is_away = false;
	memset(b->told, 0, sizeof(b->told));
	log_notice("control.reachable", LOG_S("exchange", daemon->config->control.name));
}

/* Said once for each reason. */
static void unreachable(struct daemon *daemon, bool by_declaration, const char *why)
{
	struct binding *b = &daemon->binding;
	char *told = b->told[by_declaration], text[sizeof(b->told[0])];
	b->is_away = true;
	snprintf(text, sizeof(text), "%s", why);
	if (strcmp(told, text) == 0)
		return;
	memcpy(told, text, sizeof(text));
	log_error("control.unreachable", LOG_S("exchange", daemon->config->control.name),
		LOG_S("reason", why),
		LOG_S("proceeding",
			"tasks go on, and cannot be steered or asked about; it is tried again"));
}

void binding_connected(struct daemon *daemon)
{
	const struct topology *topology = &daemon->topology;
	struct binding *b = &daemon->binding;
	b->is_asked = b->declares = false;
	b->asked_us = clock_now_us();
	b->is_missing = topology->control_error.code == -ENOENT;
	if (!topology->control_queue[0])
		return;
	if (topology->control_error.code == 0)
		reachable(daemon);
	else
		unreachable(daemon, false, topology->control_error.text);
}

static int send_declaration(struct daemon *daemon, uint16_t channel)
{
	const struct mq_exchange exchange = topology_exchange(&daemon->config->control);
	return mq_send_declare_exchange(daemon->consumer, channel, &exchange);
}

/* What is answered is the last of these. */
static void bind_again(struct daemon *daemon)
{
	struct binding *b = &daemon->binding;
	const struct config *config = daemon->config;
	uint16_t channel = topology_binding_channel(config);
	int r = 0;
	b->is_asked = true;
	b->asked_us = clock_now_us();
	b->declares = b->is_missing && config->control.declare;
	if (b->declares)
		r = send_declaration(daemon, channel);
	if (r == 0)
		r = mq_send_bind(daemon->consumer, channel, daemon->topology.control_queue,
			config->control.name, "");
	if (r == 0)
		r = mq_send_qos(daemon->consumer, channel, 1);
	if (r < 0)
		daemon_consumer_lost(daemon, "the control queue could not be bound");
	else
		daemon_pump_soon(daemon);
}

void binding_tick(struct daemon *daemon)
{
	const struct binding *b = &daemon->binding;
	if (daemon->consumer && daemon->topology.control_queue[0] && !b->is_asked &&
		clock_now_us() - b->asked_us >= interval_us(daemon))
		bind_again(daemon);
}

void binding_on_answer(struct daemon *daemon)
{
	struct binding *b = &daemon->binding;
	bool was_away = b->is_away;
	b->is_asked = false;
	reachable(daemon);
	if (!was_away)
		return;
	daemon_tell_state(daemon);
	/* Who asked meanwhile was not heard. */
	suspects_connected(daemon);
}

void binding_on_closed(struct daemon *daemon, uint16_t code, const char *text)
{
	struct binding *b = &daemon->binding;
	bool was_away = b->is_away;
	b->is_asked = false;
	/* Where it may not be declared, the next time it may be there. */
	b->is_missing = code == NOT_FOUND && !b->declares;
	unreachable(daemon, b->declares, text);
	if (mq_send_channel_open(daemon->consumer, topology_binding_channel(daemon->config)) < 0) {
		daemon_consumer_lost(daemon, "a channel could not be opened");
		return;
	}
	if (was_away)
		return;
	daemon_tell_state(daemon);
	if (b->is_missing && daemon->config->control.declare)
		bind_again(daemon);
}
