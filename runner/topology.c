/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/topology.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

/* On the publisher's connection 1 and 2 are left to us: the server closes the channel of a
 * declaration that it refuses. */
#define DECLARE_CHANNEL 2

#define HOLD_PREFIX     "taskrunner.hold."
/* Of a hold queue whose runner died for ever. Much longer than any lease: what is still in it then
 * would be dropped. */
#define HOLD_EXPIRES_MS (24 * 3600 * (int64_t)1000)

/* A note takes about 300 bytes, so that is as many as a runner remembers (cancels.c). A stream
 * drops a segment at a time. */
#define CANCELS_MAX_AGE       "1D"
#define CANCELS_BYTES_MAX     (32 * (int64_t)1024 * 1024)
#define CANCELS_SEGMENT_BYTES (1024 * (int64_t)1024)
#define CANCELS_PAUSE_US      (60 * (uint64_t)1000000)

/* Of the stream of events: so much goes at once. */
#define HISTORY_SEGMENT_MIN (1024 * (int64_t)1024)
#define HISTORY_SEGMENT_MAX (64 * (int64_t)1024 * 1024)
#define HISTORY_SEGMENTS    8
#define HISTORY_PAUSE_US    (60 * (uint64_t)1000000)
/* What a refused declaration closes is not the channel of the exchange. */
#define EXCHANGE_CHANNEL 1
#define HISTORY_CHANNEL  2

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

uint16_t topology_hold_channel(const struct config *config)
{
	return (uint16_t)(config->n_queues + 3);
}

uint16_t topology_cancels_channel(const struct config *config)
{
	return (uint16_t)(config->n_queues + 4);
}

uint16_t topology_binding_channel(const struct config *config)
{
	return (uint16_t)(config->n_queues + 5);
}

void topology_hold_queue_of(const char *instance, size_t queue, char *ret, size_t size)
{
	snprintf(ret, size, HOLD_PREFIX "%s.%zu", instance, queue + 1);
}

void topology_hold_queue(const struct topology *topology, size_t queue, char *ret, size_t size)
{
	if (topology->hold_generation == 0)
		topology_hold_queue_of(topology->instance, queue, ret, size);
	else
		snprintf(ret, size, HOLD_PREFIX "%s.%zu.%u", topology->instance, queue + 1,
			topology->hold_generation);
}

bool topology_is_hold_queue(const char *name)
{
	return strncmp(name, HOLD_PREFIX, sizeof(HOLD_PREFIX) - 1) == 0;
}

struct mq_exchange topology_exchange(const struct exchange_config *config)
{
	return (struct mq_exchange){
		.name = config->name,
		.type = config->type,
		.durable = config->durable,
	};
}

static int declare_exchange(struct mq_connection *c, uint16_t channel,
	const struct exchange_config *config, const char *key, struct error *err)
{
	const struct mq_exchange exchange = topology_exchange(config);
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

/* What cannot be declared may be there all the same. */
static bool is_refused(int r)
{
	return r == -EACCES || r == -EEXIST;
}

/* Who consumes from it declares it, too, and says what is wrong with it; responses do not need it.
 */
static int declare_control(struct mq_connection *c, const struct config *config, struct error *err)
{
	struct error why = { 0 };
	int r = declare_exchange(c, DECLARE_CHANNEL, &config->control, "control", &why);
	if (r == 0 || is_refused(r))
		return 0;
	*err = why;
	return r;
}

int topology_prepare_publisher(struct mq_connection *c, void *userdata, struct error *err)
{
	const struct config *config = ((struct topology *)userdata)->config;
	int r = mq_channel_open(c, DECLARE_CHANNEL, err);
	if (r == 0)
		r = declare_exchange(c, DECLARE_CHANNEL, &config->responses, "responses", err);
	if (r == 0)
		r = declare_control(c, config, err);
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
	return mq_qos(c, channel, 1, err); /* slots.c */
}

/* Without it the runner works on, and tries again (binding.c). */
static int bind_control(struct mq_connection *c, struct topology *topology, struct error *err)
{
	const struct config *config = topology->config;
	uint16_t channel = topology_binding_channel(config);
	*err = (struct error){ 0 };
	int r = mq_channel_open(c, channel, err);
	if (r == 0)
		r = mq_bind(c, channel, topology->control_queue, config->control.name, "", err);
	topology->control_was_bound = topology->control_was_bound || r == 0;
	topology->control_error = *err;
	return r == -ENOENT || r == -EACCES ? 0 : r;
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
	/* At the start it is a mistake that people should see; later it must not stop anything. */
	if (r == -EACCES || (r == -EEXIST && topology->control_was_bound))
		r = 0;
	if (r == 0)
		r = mq_declare_queue(c, channel, &queue, topology->control_queue, NULL, err);
	return r < 0 ? r : bind_control(c, topology, err);
}

/* At-least-once dead-lettering of quorum queues came with 3.10. All that depends on the server's
 * version is decided here. */
static bool holds_in_quorum(const struct mq_connection *c, const struct config *config)
{
	const unsigned *v = mq_server(c)->version;
	if (strcmp(config->delivery.hold_type, "auto") == 0)
		return v[0] > 3 || (v[0] == 3 && v[1] >= 10);
	return strcmp(config->delivery.hold_type, "quorum") == 0;
}

static int declare_hold_queue(
	struct mq_connection *c, const struct topology *topology, size_t i, struct error *err)
{
	const struct config *config = topology->config;
	char name[TOPOLOGY_NAME_MAX];
	bool quorum = holds_in_quorum(c, config);
	const struct mq_queue queue = {
		.name = name,
		.durable = true,
		.type = quorum ? "quorum" : "classic",
		.ttl_ms = (int64_t)(config->delivery.lease_us / 1000),
		.dead_letter_queue = config->queues[i].name,
		.dead_letter_safely = quorum,
		.expires_ms = HOLD_EXPIRES_MS + (int64_t)(config->delivery.lease_us / 1000),
	};
	topology_hold_queue(topology, i, name, sizeof(name));
	return mq_declare_queue(c, topology_hold_channel(config), &queue, NULL, NULL, err);
}

/* Fatal errors of the connection alone count. */
static int find_dead_holds(
	struct mq_connection *c, struct topology *topology, size_t dead, struct error *err)
{
	const struct config *config = topology->config;
	char name[TOPOLOGY_NAME_MAX];
	uint32_t ready, consumers;
	bool found = false;
	for (size_t i = 0; i < config->n_queues; i++) {
		topology_hold_queue_of(topology->journal->dead[dead].id, i, name, sizeof(name));
		int r = mq_inspect_queue(
			c, topology_hold_channel(config), name, &ready, &consumers, err);
		if (r < 0 && r != -ENOENT && r != -EACCES)
			return r;
		topology->has_dead[dead][i] = r == 0;
		found = found || r == 0;
	}
	if (!found)
		journal_settle(topology->journal, dead);
	*err = (struct error){ 0 };
	return 0;
}

/* Without the right to declare them the runner works on, but long tasks are held as they are. */
static int prepare_holds(struct mq_connection *c, struct topology *topology, struct error *err)
{
	const struct config *config = topology->config;
	topology->has_hold_queues = false;
	if (config->delivery.hold)
		return 0;
	int r = mq_channel_open(c, topology_hold_channel(config), err);
	for (size_t i = 0; r == 0 && i < config->n_queues; i++)
		r = declare_hold_queue(c, topology, i, err);
	if (r == -EACCES) {
		log_error("lease.not-permitted", LOG_E(err),
			LOG_S("proceeding", "requests are held unacknowledged until their end, as "
					    "with delivery.ack: hold"));
		*err = (struct error){ 0 };
		return 0;
	}
	for (size_t i = 0; r == 0 && topology->journal && i < topology->journal->n_dead; i++)
		if (topology->journal->dead[i].fd >= 0)
			r = find_dead_holds(c, topology, i, err);
	if (r == 0)
		r = mq_qos(c, topology_hold_channel(config), TOPOLOGY_HOLD_MAX, err);
	topology->has_hold_queues = r == 0;
	return r;
}

/* ---- the stream of cancels ---- */

struct mq_queue topology_cancels_queue(const struct config *config)
{
	return (struct mq_queue){
		.name = config->cancels,
		.durable = true,
		.type = "stream",
		.max_age = CANCELS_MAX_AGE,
		.max_bytes = CANCELS_BYTES_MAX,
		.segment_bytes = CANCELS_SEGMENT_BYTES,
	};
}

static pthread_mutex_t problem_lock = PTHREAD_MUTEX_INITIALIZER;

/* True if it is another than before. "": none. */
static bool note_problem(struct topology *topology, const char *why)
{
	char problem[sizeof(topology->cancels_problem)] = "";
	snprintf(problem, sizeof(problem), "%s", why);
	pthread_mutex_lock(&problem_lock);
	bool is_new = strcmp(problem, topology->cancels_problem) != 0;
	memcpy(topology->cancels_problem, problem, sizeof(problem));
	pthread_mutex_unlock(&problem_lock);
	return is_new;
}

void topology_cancels_on(struct topology *topology)
{
	note_problem(topology, "");
}

void topology_cancels_off(struct topology *topology, const char *why)
{
	if (note_problem(topology, why))
		log_error("cancels.off", LOG_S("queue", topology->config->cancels),
			LOG_S("reason", why),
			LOG_S("proceeding",
				"cancels that come before their request are remembered only by "
				"the runners that are up"));
}

void topology_cancels_pause(struct topology *topology, const char *why)
{
	topology->cancels_pause_us = clock_now_us() + CANCELS_PAUSE_US;
	topology_cancels_off(topology, why);
}

/* Streams came with 3.9. */
static bool has_streams(const struct mq_connection *c)
{
	const unsigned *v = mq_server(c)->version;
	return v[0] > 3 || (v[0] == 3 && v[1] >= 9);
}

/* Without it the runner works on. */
static int prepare_cancels(struct mq_connection *c, struct topology *topology, struct error *err)
{
	const struct config *config = topology->config;
	const struct mq_queue queue = topology_cancels_queue(config);
	uint16_t channel = topology_cancels_channel(config);
	topology->has_cancels = topology->has_cancels_channel = false;
	topology->cancels_are_away = false;
	if (!config->control.name[0] || !config->cancels[0])
		return 0;
	if (!has_streams(c)) {
		topology_cancels_off(
			topology, "the server has no streams (RabbitMQ has them from 3.9 on)");
		return 0;
	}
	int r = mq_channel_open(c, channel, err);
	if (r < 0)
		return r;
	topology->has_cancels_channel = true;
	if (clock_now_us() < topology->cancels_pause_us)
		return 0;
	r = mq_declare_queue(c, channel, &queue, NULL, NULL, err);
	if (r == -EACCES || r == -EEXIST || r == -ENOENT) {
		topology->cancels_are_away = r == -ENOENT;
		topology_cancels_off(topology, err->text);
		*err = (struct error){ 0 };
		return 0;
	}
	if (r == 0)
		r = mq_qos(c, channel, TOPOLOGY_CANCELS_PREFETCH, err);
	/* A server that fails over it must not cost us the next connection, too. */
	if (r < 0)
		topology_cancels_pause(topology, err->text);
	topology->has_cancels = r == 0;
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
	if (r == 0)
		r = prepare_holds(c, topology, err);
	if (r == 0)
		r = prepare_cancels(c, topology, err);
	return r;
}

/* ---- events ---- */

/* Without the right to declare it, one that is there will do. */
static int prepare_exchange(struct mq_connection *c, const struct config *config, struct error *err)
{
	struct mq_exchange exchange = {
		.name = config->events.exchange,
		.type = "topic",
		.durable = true,
	};
	int r = mq_declare_exchange(c, EXCHANGE_CHANNEL, &exchange, err);
	exchange.passive = true;
	if (r == -EACCES && mq_declare_exchange(c, EXCHANGE_CHANNEL, &exchange, NULL) == 0)
		return 0;
	return r < 0 ? error_prefix(err, "events.exchange %s", exchange.name) : 0;
}

/* As RabbitMQ writes it: "7D", "5400s". */
static void write_age(uint64_t us, char *ret, size_t size)
{
	const uint64_t second = 1000000, day = 24 * 3600 * second;
	if (us % day == 0)
		snprintf(ret, size, "%lluD", (unsigned long long)(us / day));
	else
		snprintf(ret, size, "%llus", (unsigned long long)((us + second - 1) / second));
}

static int64_t segment_bytes(const struct config *config)
{
	int64_t part = (int64_t)config->events.max_bytes / HISTORY_SEGMENTS;
	if (part == 0 || part > HISTORY_SEGMENT_MAX)
		return HISTORY_SEGMENT_MAX;
	return part < HISTORY_SEGMENT_MIN ? HISTORY_SEGMENT_MIN : part;
}

static int declare_history(struct mq_connection *c, const struct config *config, struct error *err)
{
	char age[32];
	struct mq_queue queue = {
		.name = config->events.history,
		.durable = true,
		.type = "stream",
		.max_age = config->events.max_age_us ? age : NULL,
		.max_bytes = (int64_t)config->events.max_bytes,
		.segment_bytes = segment_bytes(config),
	};
	write_age(config->events.max_age_us, age, sizeof(age));
	int r = mq_declare_queue(c, HISTORY_CHANNEL, &queue, NULL, NULL, err);
	/* Somebody else made it, or may: then it has what limits it was given. */
	if (r == -EACCES) {
		queue.passive = true;
		r = mq_declare_queue(c, HISTORY_CHANNEL, &queue, NULL, NULL, NULL) == 0 ? 0 : r;
	}
	return r;
}

/* The server tells one argument that differs. Without limits of ours, it can be one of those that
 * only a stream has; or else nothing differs. */
static bool is_stream(struct mq_connection *c, const char *name)
{
	const struct mq_queue queue = { .name = name, .durable = true, .type = "stream" };
	struct error err = { 0 };
	int r = mq_declare_queue(c, HISTORY_CHANNEL, &queue, NULL, NULL, &err);
	return r == 0 || strstr(err.text, "'x-max-age'") ||
	       strstr(err.text, "'x-stream-max-segment-size-bytes'");
}

static int bind_history(struct mq_connection *c, const struct config *config, struct error *err)
{
	const char *exchange = config->events.exchange, *queue = config->events.history;
	int r = mq_bind(c, HISTORY_CHANNEL, queue, exchange, "task.#", err);
	return r < 0 ? r : mq_bind(c, HISTORY_CHANNEL, queue, exchange, "runner.#", err);
}

static void history_off(struct topology *topology, const char *why, const char *proceeding)
{
	if (strcmp(why, topology->history_problem) == 0)
		return;
	snprintf(topology->history_problem, sizeof(topology->history_problem), "%s", why);
	log_error("history.off", LOG_S("queue", topology->config->events.history),
		LOG_S("reason", why), LOG_S("proceeding", proceeding));
}

/* Without it events are published all the same. */
static int prepare_history(struct mq_connection *c, struct topology *topology, struct error *err)
{
	static const char unkept[] = "events are published, and kept by nobody";
	const struct config *config = topology->config;
	if (!config->events.history[0] || clock_now_us() < topology->history_pause_us)
		return 0;
	if (!has_streams(c)) {
		history_off(topology, "the server has no streams (RabbitMQ has them from 3.9 on)",
			unkept);
		return 0;
	}
	int r = mq_channel_open(c, HISTORY_CHANNEL, err);
	if (r == 0)
		r = declare_history(c, config, err);
	/* A stream with other limits will do. */
	bool has_others = r == -EEXIST && is_stream(c, config->events.history);
	if (has_others)
		history_off(topology, err->text, "it is used as it is");
	if (r == 0 || has_others)
		r = bind_history(c, config, err);
	if (r == 0) {
		if (!has_others)
			topology->history_problem[0] = '\0';
		return 0;
	}
	history_off(topology, err->text, unkept);
	if (r == -EACCES || r == -EEXIST || r == -ENOENT)
		return 0;
	/* A server that fails over it must not cost us the next connection, too. */
	topology->history_pause_us = clock_now_us() + HISTORY_PAUSE_US;
	return r;
}

int topology_prepare_events(struct mq_connection *c, void *userdata, struct error *err)
{
	struct topology *topology = userdata;
	int r = prepare_exchange(c, topology->config, err);
	return r < 0 ? r : prepare_history(c, topology, err);
}
