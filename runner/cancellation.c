/* SPDX-License-Identifier: Apache-2.0 */

/* The ancestor's way to cancel: a queue for each task, named by its id. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "runner/daemon_private.h"

int control_open_queue(struct daemon *daemon, const char *id)
{
	const struct config *config = daemon->config;
	uint16_t channel = topology_cancellation_channel(config);
	const struct mq_exchange exchange = topology_exchange(&config->cancellation);
	const struct mq_queue queue = {
		.name = id,
		.durable = config->cancellation_durable,
		.auto_delete = true,
	};
	int r = 0;
	if (config->cancellation.declare)
		r = mq_send_declare_exchange(daemon->consumer, channel, &exchange);
	if (r == 0)
		r = mq_send_declare_queue(daemon->consumer, channel, &queue);
	if (r == 0)
		r = mq_send_bind(daemon->consumer, channel, id, exchange.name, id);
	return r;
}

static int start_consuming(struct job *job)
{
	struct daemon *daemon = job->daemon;
	char tag[32];
	if (!job->cancellation_number) {
		job->cancellation_number = ++daemon->last_cancellation;
		HASH_ADD(hh_cancellation, daemon->by_cancellation, cancellation_number,
			sizeof(job->cancellation_number), job);
	}
	snprintf(tag, sizeof(tag), "c%llu", (unsigned long long)job->cancellation_number);
	job->is_heard = true;
	return mq_consume(daemon->consumer, topology_cancellation_channel(daemon->config), job->id,
		tag, true, false);
}

void control_ask_cancelled(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (!daemon->consumer) {
		job_give_back(job);
		return;
	}
	int r = control_open_queue(daemon, job->id);
	/* Not acknowledged: should the answer get lost, the cancel is in its queue still. */
	if (r == 0)
		r = mq_get(daemon->consumer, topology_cancellation_channel(daemon->config), job->id,
			false);
	job->phase = JOB_ASKED;
	DL_APPEND(daemon->asked, job);
	if (r < 0)
		daemon_consumer_lost(daemon, "a cancellation queue could not be asked");
	else
		daemon_pump_soon(daemon);
}

static struct job *take_asked(struct daemon *daemon)
{
	struct job *job = daemon->asked;
	if (job) {
		DL_DELETE(daemon->asked, job);
		job->phase = JOB_NEW;
	}
	return job;
}

void control_on_asked(struct daemon *daemon, bool cancelled)
{
	/* Answers come in the order of the questions. */
	struct job *job = take_asked(daemon);
	if (!job)
		return;
	daemon->was_refused = false;
	cancelled = memory_take(&daemon->cancelled, job->id) || cancelled;
	if (cancelled) {
		replies_cancelled(job, &job->request);
		return;
	}
	int r = daemon->stopping ? 0 : start_consuming(job);
	intake_submit(job);
	if (r < 0)
		daemon_consumer_lost(daemon, "a cancellation queue could not be consumed");
}

void control_on_cancellation(struct daemon *daemon, const char *consumer_tag)
{
	uint64_t number = strtoull(consumer_tag + 1, NULL, 10);
	struct job *job;
	HASH_FIND(hh_cancellation, daemon->by_cancellation, &number, sizeof(number), job);
	if (job)
		control_cancel(daemon, job->id);
}

static void forget_heard(struct daemon *daemon)
{
	struct job *job, *tmp;
	HASH_ITER (hh_cancellation, daemon->by_cancellation, job, tmp)
		job->is_heard = false;
}

void control_forget(struct daemon *daemon)
{
	forget_heard(daemon);
	leftovers_lost(daemon);
	daemon->was_refused = false;
	for (struct job *job; (job = take_asked(daemon));)
		job_give_back(job);
}

/* Its queue is not touched any more. */
static void stop_listening(struct job *job)
{
	job->is_left = true;
	if (job->cancellation_number)
		HASH_DELETE(hh_cancellation, job->daemon->by_cancellation, job);
	job->cancellation_number = 0;
}

/* "… for queue 'ID' in vhost …", "… queue name 'ID' contains reserved prefix …" */
static bool is_named(const struct job *job, const char *text)
{
	char words[ID_MAX + 32];
	snprintf(words, sizeof(words), "queue '%s'", job->id);
	if (strstr(text, words))
		return true;
	snprintf(words, sizeof(words), "queue name '%s'", job->id);
	return strstr(text, words);
}

static void run_unasked(struct job *job)
{
	log_warn("task.cancellation-unknown", LOG_S("task", job->id),
		LOG_S("proceeding", "it runs"));
	stop_listening(job);
	intake_submit(job);
}

/* Each turn ends one question at least: with an answer, with a name, or, when there was neither
 * since the last time, with all of them. */
static void ask_again(struct daemon *daemon, const char *text)
{
	struct job *jobs = daemon->asked, *job, *tmp;
	bool named = false;
	if (!jobs)
		return;
	DL_FOREACH (jobs, job)
		named = named || is_named(job, text);
	bool hopeless = !named && daemon->was_refused;
	daemon->was_refused = true;
	daemon->asked = NULL;
	DL_FOREACH_SAFE (jobs, job, tmp) {
		DL_DELETE(jobs, job);
		job->phase = JOB_NEW;
		if (hopeless || is_named(job, text))
			run_unasked(job);
		else
			control_ask_cancelled(job);
	}
}

void control_on_closed(struct daemon *daemon, const char *text)
{
	struct job *job, *tmp;
	log_error("broker.cancellation-refused", LOG_S("reason", text));
	forget_heard(daemon);
	leftovers_on_closed(daemon);
	HASH_ITER (hh_cancellation, daemon->by_cancellation, job, tmp)
		if (is_named(job, text))
			stop_listening(job);
	if (mq_send_channel_open(daemon->consumer, topology_cancellation_channel(daemon->config)) <
		0) {
		daemon_consumer_lost(daemon, "a channel could not be opened");
		return;
	}
	/* Not at once: what is wrong may still be so. */
	daemon->listen_again = true;
	ask_again(daemon, text);
}

void control_listen_again(struct daemon *daemon)
{
	struct job *job, *tmp;
	daemon->listen_again = false;
	HASH_ITER (hh_cancellation, daemon->by_cancellation, job, tmp) {
		if (job->is_heard)
			continue;
		if (control_open_queue(daemon, job->id) < 0 || start_consuming(job) < 0) {
			daemon_consumer_lost(daemon, "a cancellation queue could not be consumed");
			return;
		}
	}
	leftovers_send(daemon);
}

/* With its last consumer the queue goes; also when the connection does. */
static int leave_queue(struct job *job)
{
	struct daemon *daemon = job->daemon;
	char tag[32];
	if (!daemon->consumer)
		return 0;
	snprintf(tag, sizeof(tag), "c%llu", (unsigned long long)job->cancellation_number);
	return mq_cancel(daemon->consumer, topology_cancellation_channel(daemon->config), tag);
}

void control_end(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (job->phase == JOB_ASKED) {
		DL_DELETE(daemon->asked, job);
		job->phase = JOB_NEW;
	}
	if (job->is_left || !job->id || !daemon->config->cancellation.name[0])
		return;
	/* Before anything else: a lost connection may bring us here again. */
	job->is_left = true;
	/* One that nobody ever consumed from would be kept for ever. What a lost connection takes
	 * from us before its end is for whoever takes the request next. */
	if (job->cancellation_number && leave_queue(job) < 0)
		daemon_consumer_lost(daemon, "a cancellation queue could not be left");
	else if (!job->cancellation_number && (daemon->consumer || job->phase == JOB_OVER))
		leftovers_add(daemon, job->id);
	stop_listening(job);
}
