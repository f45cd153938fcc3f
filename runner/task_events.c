/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/task_events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"

/* More than this wait for the server, or need so much memory: then they are dropped. */
#define QUEUE_MESSAGES_MAX 10000
#define QUEUE_BYTES_MAX    (8U << 20)
/* They leave in company: one by one, each wakes a thread here and four processes at the broker, and
 * costs it 60 us of processor time instead of 30. */
#define LINGER_MS 100
/* To send what is left. */
#define LAST_WORDS_MS 500
/* The same problem is said again after so long. */
#define SAY_AGAIN_US (600 * (uint64_t)1000000)

#define TOLD_ONCE    (EVENT_BIT(EVENT_WAITING) | EVENT_BIT(EVENT_ENDING) | EVENT_BIT(EVENT_RETURNED))

/* ---- publishing ---- */

static bool can_publish(struct daemon *daemon)
{
	struct task_events *events = &daemon->events;
	bool is_full = !events->is_blocked && mq_publisher_is_full(events->publisher);
	if (!events->is_blocked && !is_full)
		return true;
	if (events->n_dropped++ == 0)
		log_warn("events.dropped",
			LOG_S("reason", is_full ? "too many wait for the broker"
						: "the broker has an alarm"),
			LOG_S("proceeding", "tasks and responses are not touched by it"));
	return false;
}

static void tell_end_of_drops(struct task_events *events)
{
	if (events->n_dropped)
		log_notice("events.resumed", LOG_I("dropped", (int64_t)events->n_dropped));
	events->n_dropped = 0;
}

static int fill(const struct daemon *daemon, const struct task_event_facts *facts, const char *name,
	struct mq_message *message)
{
	char key[TASK_EVENT_KEY_SIZE];
	task_event_key(facts->kind, name, key);
	int r = mq_properties_set(&message->exchange, daemon->config->events.exchange);
	if (r == 0)
		r = mq_properties_set(&message->routing_key, key);
	if (r == 0)
		r = mq_properties_set(
			&message->properties.content_type, wire_content_type(WIRE_JSON));
	return r < 0 ? r : task_event_encode(facts, &message->body);
}

static void publish(struct daemon *daemon, struct task_event_facts *facts, const char *name)
{
	struct mq_message message;
	if (!daemon->events.publisher || !can_publish(daemon))
		return;
	facts->runner = daemon->config->name;
	facts->instance = daemon->instance.id;
	if (facts->time_ms < 0)
		facts->time_ms = clock_wall_ms();
	mq_message_init(&message);
	int r = fill(daemon, facts, name, &message);
	if (r < 0)
		mq_message_deinit(&message);
	else
		r = mq_publisher_send(daemon->events.publisher, &message, 0);
	if (r < 0)
		log_error("events.no-memory", LOG_S("task", facts->id), LOG_ERRNO(r));
}

static void publish_of_job(struct job *job, struct task_event_facts *facts)
{
	const struct job_events *e = &job->events;
	facts->id = job->id;
	facts->program = e->program;
	facts->group = e->group;
	facts->user = e->user;
	facts->project = e->project;
	facts->queue = job->daemon->config->queues[job->queue].name;
	facts->attempt = job->attempt;
	facts->waited_ms = e->waited_ms;
	publish(job->daemon, facts, e->program);
}

/* ---- of a task ---- */

/* Without memory the event lacks it. */
static char *copy_of(const char *text)
{
	return text && *text ? strdup(text) : NULL;
}

void task_events_accept(struct job *job, const struct request *request)
{
	struct job_events *e = &job->events;
	if (!job->daemon->events.publisher || !job->id)
		return;
	*e = (struct job_events){
		.is_wanted = true,
		.program = copy_of(request->script),
		.group = copy_of(request->group),
		.user = copy_of(request->user_id),
		.project = copy_of(request->project_id),
		.sent_ms = job->sent_ms ? job->sent_ms : clock_wall_ms(),
		.waited_ms = EVENT_UNKNOWN,
	};
}

void task_events_tell(struct job *job, enum event_kind kind, enum cause cause)
{
	struct job_events *e = &job->events;
	struct task_event_facts facts;
	if (!e->is_wanted || (e->told & TOLD_ONCE & EVENT_BIT(kind)))
		return;
	e->told |= EVENT_BIT(kind);
	task_event_init(&facts, kind);
	facts.cause = cause;
	facts.time_ms = clock_wall_ms();
	/* It goes back without a final response, whatever had been made of it. */
	if (kind == EVENT_RETURNED)
		e->is_judged = false;
	if (kind == EVENT_STARTED)
		e->waited_ms = facts.time_ms > e->sent_ms ? facts.time_ms - e->sent_ms : 0;
	publish_of_job(job, &facts);
}

static enum event_kind final_kind(enum status status)
{
	return status == STATUS_SUCCESS     ? EVENT_SUCCEEDED
	       : status == STATUS_CANCELLED ? EVENT_CANCELLED
					    : EVENT_FAILED;
}

void task_events_judged(struct job *job, const struct outcome *outcome)
{
	struct job_events *e = &job->events;
	if (!e->is_wanted)
		return;
	task_event_init(&e->final, final_kind(outcome->status));
	e->is_judged = true;
	e->final.cause = outcome->cause;
	e->final.time_ms = clock_wall_ms();
	e->final.wall_ms = (int64_t)(outcome->wall_us / 1000);
	e->final.cpu_ms = (int64_t)(outcome->cpu_us / 1000);
	e->final.peak_memory = (int64_t)outcome->peak_memory;
	if (outcome->exit_code >= 0)
		e->final.exit_code = outcome->exit_code;
	if (outcome->signal)
		e->final.signal = outcome->signal;
}

void task_events_spoilt(struct job *job, enum cause cause)
{
	job->events.final.kind = EVENT_FAILED;
	job->events.final.cause = cause;
}

void task_events_final(struct job *job)
{
	if (!job->events.is_judged)
		return;
	job->events.is_judged = false;
	publish_of_job(job, &job->events.final);
}

void task_events_forget(struct job *job)
{
	struct job_events *e = &job->events;
	free(e->program);
	free(e->group);
	free(e->user);
	free(e->project);
	*e = (struct job_events){ 0 };
}

/* ---- of the runner ---- */

void task_events_of_runner(struct daemon *daemon, enum event_kind kind)
{
	struct task_event_facts facts;
	task_event_init(&facts, kind);
	publish(daemon, &facts, daemon->config->name);
}

/* ---- what the publisher tells ---- */

/* Only what is wrong with the events themselves: lost connections are told by those that matter. */
static void complain(struct daemon *daemon, const struct error *err)
{
	struct task_events *events = &daemon->events;
	uint64_t now = clock_now_us();
	bool is_own = err->code == -EACCES || err->code == -ENOENT || err->code == -EEXIST;
	bool is_old = events->problem_us && now - events->problem_us < SAY_AGAIN_US &&
		      strcmp(events->problem, err->text) == 0;
	if (!is_own || is_old) {
		log_debug("events.disconnected", LOG_E(err));
		return;
	}
	events->problem_us = now;
	snprintf(events->problem, sizeof(events->problem), "%s", err->text);
	log_error("events.off", LOG_S("exchange", daemon->config->events.exchange), LOG_E(err),
		LOG_S("proceeding", "tasks are run without; it is tried again"));
}

static int on_publisher(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct daemon *daemon = userdata;
	struct task_events *events = &daemon->events;
	struct mq_publisher_event event = { 0 };
	(void)source, (void)fd, (void)revents;
	while (mq_publisher_next(events->publisher, &event) > 0) {
		if (event.kind == MQ_PUBLISHER_DOWN)
			complain(daemon, &event.error);
		/* An alarm is told anew on each connection. */
		if (event.kind == MQ_PUBLISHER_BLOCKED)
			events->is_blocked = true;
		if (event.kind == MQ_PUBLISHER_UNBLOCKED || event.kind == MQ_PUBLISHER_UP)
			events->is_blocked = false;
		if (!events->is_blocked && !mq_publisher_is_full(events->publisher))
			tell_end_of_drops(events);
		mq_publisher_event_deinit(&event);
	}
	return 0;
}

/* ---- life ---- */

void task_events_start(struct daemon *daemon)
{
	struct task_events *events = &daemon->events;
	const struct mq_publisher_options options = {
		.connection = &daemon->config->broker,
		.queue_bytes_max = QUEUE_BYTES_MAX,
		.queue_messages_max = QUEUE_MESSAGES_MAX,
		.prepare = topology_prepare_events,
		.userdata = &daemon->topology,
		.loose = true,
		.linger_ms = LINGER_MS,
	};
	struct error err = { 0 };
	if (!daemon->config->events.exchange[0])
		return;
	int r = mq_publisher_start(&options, &events->publisher, &err);
	if (r == 0)
		r = sd_event_add_io(daemon->loop, &events->source,
			mq_publisher_fd(events->publisher), EPOLLIN, on_publisher, daemon);
	if (r >= 0)
		return;
	log_error("events.off", LOG_S("exchange", daemon->config->events.exchange), LOG_ERRNO(r),
		LOG_S("proceeding", "tasks are run without"));
	events->publisher = mq_publisher_stop(events->publisher, 0);
}

void task_events_finish(struct daemon *daemon)
{
	struct task_events *events = &daemon->events;
	events->source = sd_event_source_unref(events->source);
	if (events->publisher)
		mq_publisher_finish(events->publisher);
}

void task_events_stop(struct daemon *daemon)
{
	daemon->events.publisher = mq_publisher_stop(daemon->events.publisher, LAST_WORDS_MS);
}
