/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/topology.h"

/* On the publisher's connection 1 and 2 are left to us: the server closes the channel of a
 * declaration that it refuses. */
#define DECLARE_CHANNEL 2

uint16_t topology_queue_channel(const struct config *config, size_t queue)
{
	(void)config;
	return (uint16_t)(1 + queue);
}

uint16_t topology_control_channel(const struct config *config)
{
	return (uint16_t)(config->n_queues + 1);
}

uint16_t topology_cancellation_channel(const struct config *config)
{
	return (uint16_t)(config->n_queues + 2);
}

static int declare_exchange(struct mq_connection *c, uint16_t channel,
	const struct exchange_config *config, const char *key, struct error *err)
{
	const struct mq_exchange exchange = {
		.name = config->name,
		.type = config->type,
		.durable = config->durable,
	};
	if (!config->name[0] || !config->declare)
		return 0;
	int r = mq_declare_exchange(c, channel, &exchange, err);
	if (r < 0)
		error_prefix(err, "%s.exchange %s", key, config->name);
	return r;
}

static int declare_dead_letters(
	struct mq_connection *c, const struct config *config, struct error *err)
{
	const struct mq_queue queue = { .name = config->dead_letter_queue, .durable = true };
	if (!queue.name[0])
		return 0;
	int r = mq_declare_queue(c, DECLARE_CHANNEL, &queue, NULL, NULL, err);
	if (r < 0)
		error_prefix(err, "dead_letter_queue %s", queue.name);
	return r;
}

int topology_prepare_publisher(struct mq_connection *c, void *userdata, struct error *err)
{
	const struct config *config = ((struct topology *)userdata)->config;
	int r = mq_channel_open(c, DECLARE_CHANNEL, err);
	if (r == 0)
		r = declare_exchange(c, DECLARE_CHANNEL, &config->responses, "responses", err);
	if (r == 0)
		r = declare_dead_letters(c, config, err);
	return r;
}

static int prepare_queue(struct mq_connection *c, uint16_t channel,
	const struct queue_config *config, struct error *err)
{
	const struct mq_queue queue = {
		.name = config->name,
		.durable = config->durable,
		.passive = !config->declare,
		.type = config->type,
		.max_priority = config->max_priority,
	};
	int r = mq_channel_open(c, channel, err);
	if (r == 0)
		r = mq_declare_queue(c, channel, &queue, NULL, NULL, err);
	if (r < 0)
		return error_prefix(err, "queue %s", config->name);
	return mq_qos(c, channel, (uint16_t)config->slots, err);
}

static int prepare_control(struct mq_connection *c, struct topology *topology, struct error *err)
{
	const struct config *config = topology->config;
	const struct mq_queue queue = { .name = "", .exclusive = true, .auto_delete = true };
	uint16_t channel = topology_control_channel(config);
	topology->control_queue[0] = '\0';
	if (!config->control.name[0])
		return 0;
	int r = mq_channel_open(c, channel, err);
	if (r == 0)
		r = declare_exchange(c, channel, &config->control, "control", err);
	if (r == 0)
		r = mq_declare_queue(c, channel, &queue, topology->control_queue, NULL, err);
	if (r == 0)
		r = mq_bind(c, channel, topology->control_queue, config->control.name, "", err);
	return r;
}

int topology_prepare_consumer(struct mq_connection *c, void *userdata, struct error *err)
{
	struct topology *topology = userdata;
	const struct config *config = topology->config;
	int r = 0;
	for (size_t i = 0; r == 0 && i < config->n_queues; i++)
		r = prepare_queue(c, topology_queue_channel(config, i), &config->queues[i], err);
	if (r == 0)
		r = prepare_control(c, topology, err);
	if (r == 0 && config->cancellation.name[0])
		r = mq_channel_open(c, topology_cancellation_channel(config), err);
	return r;
}
