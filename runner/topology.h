/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What must exist at the broker. Exchanges and queues that are ours (`declare: true`) are declared,
 * those of others only looked for. Runs in the publisher's thread, right after each connect,
 * because declaring waits for answers (mq/publisher.h).
 */

#include "mq/connection.h"
#include "runner/config.h"

struct topology {
	const struct config *config;
	/* Of this runner, exclusive, named by the server; "" without a control exchange. Written
	 * before the connection is handed to the main thread, which alone reads it. */
	char control_queue[256];
};

/* Channels of the consuming connection: one for each request queue, so that each has its own limit
 * of unacknowledged deliveries, then these two. */
uint16_t topology_queue_channel(const struct config *config, size_t queue);
uint16_t topology_control_channel(const struct config *config);
uint16_t topology_cancellation_channel(const struct config *config);

/* For mq_publisher_options; @userdata is a struct topology. */
int topology_prepare_publisher(struct mq_connection *c, void *userdata, struct error *err);
int topology_prepare_consumer(struct mq_connection *c, void *userdata, struct error *err);
