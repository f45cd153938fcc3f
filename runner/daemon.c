/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"
#include "runner/notify.h"

#define SECOND 1000000ULL

/* Cancels wait for their request for a day; finished tasks are remembered for an hour. */
#define CANCELLED_MAX    100000
#define CANCELLED_AGE_US (24 * 3600 * SECOND)
#define FINISHED_MAX     100000
#define SIGNALLED_MAX    1000
#define FINISHED_AGE_US  (3600 * SECOND)
#define ANSWERS_BYTES    (16U << 20)
/* A connection that dies sooner than this is not reopened at once. */
#define HEALTHY_US   (5 * SECOND)
#define RECONNECT_US SECOND
/* For the broker to confirm what is left, once no task is; and how often that is looked at. */
#define LAST_CONFIRMS_US SECOND
#define LAST_LOOK_US     (SECOND / 10)
/* A loop that does not turn for so long is killed by the guardian. */
#define PATIENCE_MIN_US (4 * SECOND)
#define PATIENCE_MAX_US (25 * SECOND)
/* After this many events others get their turn. */
#define TURN_EVENTS 256
/* For the last confirms and acknowledgements. */
#define FLUSH_MS 1000

/* ---- the guardian ---- */

/* Tasks must not go on for longer than others wait with what may be running here. */
static void tell_guardian(struct daemon *daemon)
{
	uint64_t now = clock_now_us(), patience = daemon->rules.suspect_us;
	if (patience < PATIENCE_MIN_US)
		patience = PATIENCE_MIN_US;
	if (patience > PATIENCE_MAX_US)
		patience = PATIENCE_MAX_US;
	if (now - daemon->told_guardian_us < patience / 5)
		return;
	daemon->told_guardian_us = now;
	instance_alive(&daemon->instance, (unsigned)(patience / 1000));
}

/* ---- readiness ---- */

static const char *status_text(const struct daemon *daemon)
{
	static const char *const texts[2][2] = {
		{ "STATUS=Taking requests",
			"STATUS=Taking requests; control messages cannot reach it" },
		{ "STATUS=Draining", "STATUS=Draining; control messages cannot reach it" },
	};
	if (!daemon->consumer || !daemon->publisher_up)
		return "STATUS=Not connected to the broker";
	return texts[daemon->draining][daemon->binding.is_away];
}

void daemon_tell_state(struct daemon *daemon)
{
	bool ready = daemon_hears(daemon) && daemon->publisher_up && !daemon->stopping;
	if (ready && !daemon->was_ready) {
		daemon->was_ready = true;
		notify("READY=1");
		log_notice("runner.ready", LOG_S("name", daemon->config->name),
			LOG_S("instance", daemon->instance.id));
		task_events_of_runner(daemon, EVENT_READY);
	}
	if (daemon->was_ready && !daemon->stopping)
		notify(status_text(daemon));
}

/* ---- the consuming connection ---- */

static int on_reconnect(sd_event_source *source, uint64_t now, void *userdata)
{
	struct daemon *daemon = userdata;
	(void)source;
	(void)now;
	mq_publisher_reconnect_consumer(daemon->publisher);
	return 0;
}

static void set_timer(sd_event_source *source, uint64_t in_us)
{
	sd_event_source_set_time(source, clock_now_us() + in_us);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void stop_not_started(struct daemon *daemon)
{
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		bool waits = job->phase == JOB_SUSPECT || job->phase == JOB_READY ||
			     job->phase == JOB_HELD;
		if (job->phase == JOB_RETURNING || (waits && daemon_takes_none(daemon)))
			job_give_back(job);
	}
}

/* Others take over at once what nobody has begun. */
static void give_back(struct daemon *daemon)
{
	daemon->give_back_round = 0;
	stop_not_started(daemon);
	if (daemon_takes_none(daemon))
		engine_stop_waiting(daemon->engine, CAUSE_SHUTTING_DOWN);
}

void daemon_consumer_lost(struct daemon *daemon, const char *why)
{
	if (!daemon_hears(daemon))
		return;
	log_error(
		"broker.consumer-lost", LOG_S("reason", why), LOG_S("proceeding", "reconnecting"));
	daemon->consumer_source = sd_event_source_unref(daemon->consumer_source);
	daemon->consumer_is_lost = true;
	sd_event_source_set_enabled(daemon->lost_source, SD_EVENT_ONESHOT);
}

/* Not at once, but before anything else: it frees jobs, and whoever found the connection lost may
 * be looking at one, or going through all of them. */
static int on_lost(sd_event_source *source, void *userdata)
{
	struct daemon *daemon = userdata;
	(void)source;
	daemon->consumer_is_lost = false;
	daemon->consumer = mq_close(daemon->consumer);
	lease_lost(daemon);
	cancels_lost(daemon);
	slots_forget(daemon);
	control_forget(daemon);
	intake_forget(daemon);
	if (daemon->give_back_round)
		give_back(daemon);
	daemon_tell_state(daemon);
	if (clock_now_us() - daemon->consumer_since_us > HEALTHY_US)
		mq_publisher_reconnect_consumer(daemon->publisher);
	else
		set_timer(daemon->reconnect_source, RECONNECT_US);
	return 0;
}

bool daemon_hears(const struct daemon *daemon)
{
	return daemon->consumer && !daemon->consumer_is_lost;
}

static void handle_delivery(struct daemon *daemon, struct mq_event *event)
{
	if (event->channel <= daemon->config->n_queues)
		intake_delivery(daemon, event);
	else if (event->channel == topology_hold_channel(daemon->config))
		intake_copy(daemon, event);
	else if (event->channel == topology_control_channel(daemon->config))
		control_on_message(daemon, &event->delivery);
	else if (event->channel == topology_cancels_channel(daemon->config))
		cancels_on_note(daemon, event);
	else if (event->consumer_tag[0] == '\0')
		control_on_asked(daemon, true);
	else
		control_on_cancellation(daemon, event->consumer_tag);
}

static void handle_channel_closed(struct daemon *daemon, const struct mq_event *event)
{
	if (event->channel == topology_cancellation_channel(daemon->config))
		control_on_closed(daemon, event->text);
	else if (event->channel == topology_cancels_channel(daemon->config))
		cancels_on_closed(daemon, event->code, event->text);
	else if (event->channel == topology_binding_channel(daemon->config))
		binding_on_closed(daemon, event->code, event->text);
	else
		daemon_consumer_lost(daemon, event->text);
}

static void handle_consumer_event(struct daemon *daemon, struct mq_event *event)
{
	switch (event->kind) {
	case MQ_DELIVERY:
		handle_delivery(daemon, event);
		break;
	case MQ_GET_EMPTY:
		control_on_asked(daemon, false);
		break;
	case MQ_CONSUMER_CANCELLED:
		if (event->channel == topology_cancels_channel(daemon->config))
			cancels_on_deleted(daemon);
		else if (event->channel != topology_cancellation_channel(daemon->config))
			daemon_consumer_lost(
				daemon, "the broker cancelled a consumer: its queue is gone");
		break;
	case MQ_QOS_SET:
		if (event->channel == topology_cancels_channel(daemon->config))
			cancels_on_declared(daemon);
		else if (event->channel == topology_cancellation_channel(daemon->config))
			leftovers_on_answer(daemon);
		else if (event->channel == topology_binding_channel(daemon->config))
			binding_on_answer(daemon);
		else
			pings_on_answer(daemon, event->channel);
		break;
	case MQ_CHANNEL_CLOSED:
		handle_channel_closed(daemon, event);
		break;
	default:
		break;
	}
}

static void pump(struct daemon *daemon)
{
	struct mq_event event = { 0 };
	struct error err = { 0 };
	int r = 0;
	for (int n = 0; daemon_hears(daemon); n++) {
		if (n == TURN_EVENTS) {
			daemon_pump_soon(daemon);
			return;
		}
		r = mq_next(daemon->consumer, &event, &err);
		if (r <= 0)
			break;
		handle_consumer_event(daemon, &event);
		mq_event_deinit(&event);
	}
	if (r < 0)
		daemon_consumer_lost(daemon, err.text);
}

static int on_consumer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source, (void)fd, (void)events;
	pump(userdata);
	return 0;
}

static int on_pump(sd_event_source *source, void *userdata)
{
	(void)source;
	pump(userdata);
	return 0;
}

void daemon_pump_soon(struct daemon *daemon)
{
	sd_event_source_set_enabled(daemon->pump_source, SD_EVENT_ONESHOT);
}

/* Not at once: whoever frees one job may be looking at others. */
static int on_balance(sd_event_source *source, void *userdata)
{
	struct daemon *daemon = userdata;
	(void)source;
	for (size_t i = 0; i < daemon->config->n_queues; i++) {
		intake_next(daemon, i);
		slots_balance(daemon, i);
	}
	return 0;
}

void daemon_balance_soon(struct daemon *daemon)
{
	sd_event_source_set_enabled(daemon->balance_source, SD_EVENT_ONESHOT);
}

static uint64_t tick_interval(const struct daemon *daemon)
{
	uint64_t us = daemon->config->broker.heartbeat_s * SECOND / 4;
	return us && us < SECOND ? us : SECOND;
}

/* Runs for as long as the runner does: tasks are fenced also when there is no connection. */
static int on_tick(sd_event_source *source, uint64_t now, void *userdata)
{
	struct daemon *daemon = userdata;
	struct error err = { 0 };
	(void)source;
	(void)now;
	set_timer(daemon->tick_source, tick_interval(daemon));
	tell_guardian(daemon);
	if (daemon_hears(daemon) && mq_tick(daemon->consumer, &err) < 0)
		daemon_consumer_lost(daemon, err.text);
	lease_tick(daemon);
	suspects_tick(daemon);
	cancels_tick(daemon);
	binding_tick(daemon);
	if (daemon_hears(daemon) && daemon->listen_again)
		control_listen_again(daemon);
	pump(daemon);
	return 0;
}

static int consume_control(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int r = 0;
	if (daemon->topology.control_queue[0])
		r = mq_consume(daemon->consumer, topology_control_channel(config),
			daemon->topology.control_queue, "control", true, true);
	return r;
}

static void forget_acknowledged(struct daemon *daemon)
{
	memory_deinit(&daemon->acknowledged);
	memory_init(&daemon->acknowledged, FINISHED_MAX, FINISHED_AGE_US);
}

static void consumer_ready(struct daemon *daemon, struct mq_connection *connection)
{
	daemon->consumer = connection;
	daemon->connection++;
	daemon->has_hold_queues = daemon->topology.has_hold_queues;
	forget_acknowledged(daemon);
	daemon->consumer_since_us = clock_now_us();
	int r = sd_event_add_io(daemon->loop, &daemon->consumer_source, mq_fd(connection), EPOLLIN,
		on_consumer, daemon);
	if (r == 0)
		r = consume_control(daemon);
	if (r < 0) {
		daemon_consumer_lost(daemon, "the queues could not be consumed");
		return;
	}
	cancels_connected(daemon);
	if (!daemon_hears(daemon))
		return;
	/* What is parked comes home before anything new is taken. */
	lease_connected(daemon);
	if (daemon_hears(daemon))
		suspects_connected(daemon);
	if (daemon_hears(daemon))
		control_listen_again(daemon);
	daemon_balance_soon(daemon);
	if (!daemon_hears(daemon))
		return;
	log_notice("broker.connected", LOG_S("for", "requests"));
	binding_connected(daemon);
	daemon_pump_soon(daemon);
	daemon_tell_state(daemon);
}

/* ---- the publisher ---- */

/* A name that exists with other arguments does not get better by waiting. */
static void connect_failed(struct daemon *daemon, const struct error *err)
{
	log_error("broker.unavailable", LOG_E(err), LOG_S("proceeding", "trying again"));
	if (err->code == -EEXIST && !daemon->was_ready) {
		daemon->status = 1;
		sd_event_exit(daemon->loop, 1);
	}
}

static void handle_publisher_event(struct daemon *daemon, struct mq_publisher_event *event)
{
	switch (event->kind) {
	case MQ_PUBLISHER_DONE:
		replies_on_done(daemon, event);
		break;
	case MQ_PUBLISHER_UP:
		daemon->publisher_up = true;
		log_notice("broker.connected", LOG_S("for", "responses"));
		daemon_tell_state(daemon);
		break;
	case MQ_PUBLISHER_DOWN:
		daemon->publisher_up = false;
		connect_failed(daemon, &event->error);
		daemon_tell_state(daemon);
		break;
	case MQ_PUBLISHER_CONSUMER_DOWN:
		connect_failed(daemon, &event->error);
		break;
	case MQ_PUBLISHER_BLOCKED:
		log_warn("broker.blocked", LOG_S("reason", event->error.text));
		break;
	case MQ_PUBLISHER_UNBLOCKED:
		log_notice("broker.unblocked");
		break;
	case MQ_PUBLISHER_HELD:
		log_error("response.held", LOG_S("reason", event->error.text),
			LOG_S("proceeding", "it is tried again"));
		break;
	case MQ_PUBLISHER_RELEASED:
		log_notice("response.released");
		break;
	case MQ_PUBLISHER_ROOM:
		engine_pause_relay(daemon->engine, false);
		break;
	case MQ_PUBLISHER_CONSUMER_READY:
		consumer_ready(daemon, event->consumer);
		event->consumer = NULL;
		break;
	}
}

static int on_publisher(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct daemon *daemon = userdata;
	struct mq_publisher_event event = { 0 };
	(void)source, (void)fd, (void)events;
	/* What is left is told again: the descriptor stays readable. */
	for (int n = 0; n < TURN_EVENTS && mq_publisher_next(daemon->publisher, &event) > 0; n++) {
		handle_publisher_event(daemon, &event);
		mq_publisher_event_deinit(&event);
	}
	return 0;
}

/* ---- reload and end ---- */

static int read_catalogue(struct daemon *daemon, struct error *err)
{
	struct config fresh = { 0 };
	int r = config_read(daemon->config_file, &fresh, err);
	if (r == 0) {
		struct catalogue *catalogue = catalogue_new(&fresh.catalogue);
		if (catalogue) {
			catalogue_unref(daemon->catalogue);
			daemon->catalogue = catalogue;
		} else {
			r = error_set(err, -ENOMEM, "no memory");
		}
	}
	config_deinit(&fresh);
	return r;
}

int daemon_reload(struct daemon *daemon, struct error *err)
{
	const char *file = daemon->config_file;
	int r = read_catalogue(daemon, err);
	if (r < 0)
		log_error("config.refused", LOG_E(err),
			LOG_S("proceeding", "the old one stays in force"));
	else
		log_notice("config.reloaded", LOG_S("from", file ? file : "the environment"),
			LOG_S("in_force", "programs; all else needs a restart"));
	return r;
}

static void on_reload(void *userdata)
{
	struct error err = { 0 };
	daemon_reload(userdata, &err);
}

void daemon_end_if_done(struct daemon *daemon)
{
	if (daemon->stopping && !daemon->jobs_by_token)
		sd_event_exit(daemon->loop, 0);
}

/* The time for finishing is over. Each task has its grace, as whenever one is ended: a program that
 * was told how long that is can rely on it. Then we look in from time to time, for the case that no
 * broker is there to confirm what is left. */
static int on_deadline(sd_event_source *source, uint64_t now, void *userdata)
{
	struct daemon *daemon = userdata;
	size_t tasks = engine_count(daemon->engine), before = daemon->n_ending;
	(void)source;
	(void)now;
	daemon->n_ending = tasks;
	set_timer(daemon->deadline_source, tasks > 0 ? LAST_LOOK_US : LAST_CONFIRMS_US);
	if (tasks > 0 && before == 0) {
		log_notice("runner.ending-tasks", LOG_I("tasks", (int64_t)tasks));
		engine_stop_all(daemon->engine, CAUSE_SHUTTING_DOWN, false);
	} else if (tasks == 0 && before == 0) {
		log_error("runner.unfinished",
			LOG_I("requests", HASH_CNT(hh_token, daemon->jobs_by_token)),
			LOG_S("reason", "the broker confirms nothing"),
			LOG_S("proceeding", "the broker will deliver them again"));
		sd_event_exit(daemon->loop, 0);
	}
	return 0;
}

/* Nothing is given back before the broker has closed our consumers, or it might come to us again.
 */
static void take_no_more(struct daemon *daemon)
{
	slots_close(daemon);
	if (daemon->consumer) {
		daemon->give_back_round = daemon->pings.round + 1;
		pings_soon(daemon);
	} else {
		give_back(daemon);
	}
}

void daemon_on_ping(struct daemon *daemon)
{
	if (daemon->give_back_round && daemon->pings.answered >= daemon->give_back_round)
		give_back(daemon);
}

bool daemon_takes_none(const struct daemon *daemon)
{
	return daemon->stopping || daemon->draining;
}

void daemon_drain(struct daemon *daemon, bool drain)
{
	if (daemon->stopping || daemon->draining == drain)
		return;
	daemon->draining = drain;
	log_notice(drain ? "runner.draining" : "runner.undrained",
		LOG_I("tasks", (int64_t)engine_count(daemon->engine)));
	task_events_of_runner(daemon, drain ? EVENT_DRAINING : EVENT_READY);
	if (drain) {
		take_no_more(daemon);
		slots_park_running(daemon);
	}
	daemon_tell_state(daemon);
	daemon_balance_soon(daemon);
}

static void on_stop(void *userdata, int signal, unsigned nth)
{
	struct daemon *daemon = userdata;
	log_notice("runner.stopping", LOG_I("signal", signal),
		LOG_I("tasks", (int64_t)engine_count(daemon->engine)),
		LOG_S("how", nth > 1 ? "at once" : "drain"));
	if (nth > 1) {
		engine_stop_all(daemon->engine, CAUSE_SHUTTING_DOWN, true);
		/* Nor is the broker waited for. */
		daemon->n_ending = 0;
		set_timer(daemon->deadline_source, LAST_CONFIRMS_US);
	} else {
		daemon->stopping = true;
		notify("STOPPING=1\nSTATUS=Finishing running tasks");
		task_events_of_runner(daemon, EVENT_DRAINING);
		take_no_more(daemon);
		set_timer(daemon->deadline_source, daemon->config->limits.shutdown_us);
	}
	daemon_end_if_done(daemon);
}

/* ---- life ---- */

static int add_timer(struct daemon *daemon, sd_event_source **ret, sd_event_time_handler_t handler)
{
	int r = sd_event_add_time(
		daemon->loop, ret, CLOCK_BOOTTIME, UINT64_MAX, 10000, handler, daemon);
	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static int add_sources(struct daemon *daemon)
{
	int r = sd_event_new(&daemon->loop);
	if (r >= 0)
		r = sd_event_set_watchdog(daemon->loop, true);
	if (r >= 0)
		r = add_timer(daemon, &daemon->tick_source, on_tick);
	if (r >= 0)
		r = add_timer(daemon, &daemon->reconnect_source, on_reconnect);
	if (r >= 0)
		r = add_timer(daemon, &daemon->deadline_source, on_deadline);
	if (r >= 0)
		r = sd_event_add_defer(daemon->loop, &daemon->lost_source, on_lost, daemon);
	if (r >= 0)
		r = sd_event_source_set_priority(daemon->lost_source, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_source_set_enabled(daemon->lost_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(daemon->loop, &daemon->pump_source, on_pump, daemon);
	if (r >= 0)
		r = sd_event_source_set_enabled(daemon->pump_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(daemon->loop, &daemon->balance_source, on_balance, daemon);
	if (r >= 0)
		r = sd_event_source_set_enabled(daemon->balance_source, SD_EVENT_OFF);
	if (r >= 0)
		r = signals_listen(&daemon->signals, daemon->loop, on_stop, on_reload, daemon);
	return r;
}

static int start_engine(struct daemon *daemon)
{
	const struct engine_options options = {
		.config = daemon->config,
		.run_directory = daemon->instance.directory,
		.instance = daemon->instance.id,
		.guardian = daemon->instance.guardian,
		.any_done = daemon->config->terarium,
	};
	struct engine_front front = replies_front;
	front.userdata = daemon;
	return engine_new(daemon->loop, &options, &front, &daemon->engine);
}

static int start_publisher(struct daemon *daemon, struct error *err)
{
	const struct mq_publisher_options options = {
		.connection = &daemon->config->broker,
		.prepare = topology_prepare_publisher,
		.prepare_consumer = topology_prepare_consumer,
		.on_sent = job_on_sent,
		.userdata = &daemon->topology,
	};
	int r = mq_publisher_start(&options, &daemon->publisher, err);
	if (r == 0)
		r = sd_event_add_io(daemon->loop, &daemon->publisher_source,
			mq_publisher_fd(daemon->publisher), EPOLLIN, on_publisher, daemon);
	return r;
}

/* Without it the runner works on: what is lost is the help to the one after it. */
static void start_journal(struct daemon *daemon)
{
	const char *base = daemon->instance.base;
	journal_find_dead(&daemon->journal, base, &daemon->finished, &daemon->freed);
	for (size_t i = 0; i < daemon->journal.n_dead; i++) {
		log_notice("runner.found-dead", LOG_S("instance", daemon->journal.dead[i].id),
			LOG_S("proceeding", "what it left is cleared and fetched home"));
		instance_clear_dead(base, daemon->journal.dead[i].id);
	}
	int r = journal_open(&daemon->journal, base, daemon->instance.id);
	if (r < 0)
		log_warn("journal.not-made", LOG_S("directory", base), LOG_ERRNO(r));
}

static int start(struct daemon *daemon, struct error *err)
{
	memory_init(&daemon->cancelled, CANCELLED_MAX, CANCELLED_AGE_US);
	memory_init(&daemon->finished, FINISHED_MAX, FINISHED_AGE_US);
	memory_init(&daemon->freed, FINISHED_MAX, FINISHED_AGE_US);
	memory_init(&daemon->surplus, FINISHED_MAX, FINISHED_AGE_US);
	memory_init(&daemon->signalled, SIGNALLED_MAX, FINISHED_AGE_US);
	daemon->started_us = clock_now_us();
	answers_init(&daemon->answers, ANSWERS_BYTES, FINISHED_AGE_US);
	forget_acknowledged(daemon);
	daemon->catalogue = catalogue_new(&daemon->config->catalogue);
	if (!daemon->catalogue)
		return error_set(err, -ENOMEM, "no memory");
	int r = instance_start(&daemon->instance, daemon->config->run_directory, err);
	if (r < 0)
		return r;
	start_journal(daemon);
	daemon->topology.instance = daemon->instance.id;
	daemon->topology.journal = &daemon->journal;
	lease_init(daemon);
	if ((r = slots_init(daemon)) < 0 || (r = add_sources(daemon)) < 0 ||
		(r = cancels_init(daemon)) < 0 || (r = start_engine(daemon)) < 0)
		return error_set(err, r, "the event loop cannot be set up: %s", strerror(-r));
	set_timer(daemon->tick_source, tick_interval(daemon));
	tell_guardian(daemon);
	task_events_start(daemon);
	return start_publisher(daemon, err);
}

static void free_jobs(struct daemon *daemon)
{
	/* Only what the broker did not confirm in time is left; it will deliver those again. */
	daemon->consumer = mq_close(daemon->consumer);
	lease_lost(daemon);
	while (daemon->jobs_by_token)
		job_free(daemon->jobs_by_token);
}

static void stop(struct daemon *daemon)
{
	daemon->publisher_source = sd_event_source_unref(daemon->publisher_source);
	daemon->consumer_source = sd_event_source_unref(daemon->consumer_source);
	cancels_flush(daemon);
	lease_end(daemon);
	if (daemon->was_ready)
		task_events_of_runner(daemon, EVENT_STOPPED);
	task_events_finish(daemon);
	if (daemon->engine && engine_count(daemon->engine) == 0)
		free_jobs(daemon);
	daemon->consumer = mq_close(daemon->consumer);
	daemon->publisher = mq_publisher_stop(daemon->publisher, FLUSH_MS);
	task_events_stop(daemon);
	if (daemon->engine && engine_count(daemon->engine) == 0)
		engine_free(daemon->engine);
	signals_forget(&daemon->signals);
	cancels_deinit(daemon);
	leftovers_deinit(daemon);
	sd_event_source_unref(daemon->tick_source);
	sd_event_source_unref(daemon->reconnect_source);
	sd_event_source_unref(daemon->deadline_source);
	sd_event_source_unref(daemon->lost_source);
	sd_event_source_unref(daemon->pump_source);
	sd_event_source_unref(daemon->balance_source);
	sd_event_unref(daemon->loop);
	catalogue_unref(daemon->catalogue);
	memory_deinit(&daemon->cancelled);
	memory_deinit(&daemon->finished);
	memory_deinit(&daemon->freed);
	memory_deinit(&daemon->surplus);
	memory_deinit(&daemon->signalled);
	answers_deinit(&daemon->answers);
	memory_deinit(&daemon->acknowledged);
	slots_deinit(daemon);
	journal_close(&daemon->journal);
	instance_stop(&daemon->instance);
}

int daemon_run(struct config *config, const char *config_file)
{
	struct daemon daemon = {
		.config = config,
		.config_file = config_file,
		.topology = { .config = config },
		.instance = { .guardian_fd = -1 },
		.journal = { .fd = -1 },
	};
	struct error err = { 0 };
	int r = start(&daemon, &err);
	if (r < 0) {
		log_error("runner.not-started", LOG_E(&err));
		daemon.status = 1;
	} else {
		r = sd_event_loop(daemon.loop);
		if (r < 0)
			log_error("runner.loop-failed", LOG_ERRNO(r));
		if (r != 0)
			daemon.status = 1;
	}
	stop(&daemon);
	log_notice("runner.stopped", LOG_I("status", daemon.status));
	return daemon.status;
}
