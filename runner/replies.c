/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What happens to a task becomes responses. Finals are mandatory: one that no queue takes is kept
 * in the dead-letter queue. The request is acknowledged when its final response is safe, and not
 * before.
 */

#include "wire/response.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "common/log.h"
#include "runner/daemon_private.h"

/* Of a name that is too long to be echoed. */
#define SCRIPT_SHOWN 256

int replies_send(struct daemon *daemon, struct mq_message *message, uint64_t token)
{
	int r = mq_publisher_send(daemon->publisher, message, token);
	if (r < 0) {
		enum purpose purpose;
		struct job *job = job_by_token(daemon, token, &purpose);
		log_error("response.no-memory", LOG_S("task", job ? job->id : NULL));
		if (job && purpose == FOR_FINAL)
			job_give_back(job);
	}
	if (mq_publisher_is_full(daemon->publisher))
		engine_pause_relay(daemon->engine, true);
	return r;
}

/* ---- one response ---- */

struct reply {
	enum status status;
	struct slice output;
	struct slice out, err;
	const struct outcome *outcome; /* of a final response; else NULL */
};

static struct slice slice_if(const struct buf *b)
{
	return b->len ? buf_slice(b) : (struct slice){ 0 };
}

static int encode(const struct request *request, const struct reply *reply, struct buf *ret)
{
	const struct response response = {
		.encoding = request->encoding,
		.status = reply->status,
		.id = slice_of(request->id ? request->id : ""),
		.script = slice_of(request->script ? request->script : ""),
		.output = reply->output,
		.additional_properties = slice_if(&request->additional_properties),
		.project_id = slice_of(request->project_id),
		.user_id = slice_of(request->user_id),
		.out = reply->out,
		.err = reply->err,
		.request_sha256 = slice_of(request->request_sha256),
		.routing_key = slice_of(request->routing_key),
		.use_cache = request->use_cache,
	};
	return response_encode(&response, ret);
}

static void add_text(struct mq_properties *p, const char *name, const char *text)
{
	if (text && text[0])
		mq_properties_add_text(p, name, text);
}

static void add_outcome(struct mq_properties *p, const struct outcome *outcome)
{
	add_text(p, HEADER_CAUSE, cause_name(outcome->cause));
	if (outcome->exit_code >= 0)
		mq_properties_add_int(p, HEADER_EXIT_CODE, outcome->exit_code);
	if (outcome->signal)
		mq_properties_add_int(p, HEADER_SIGNAL, outcome->signal);
	if (outcome->error)
		add_text(p, HEADER_ERRNO, outcome_errno_name(outcome->error));
	add_text(p, HEADER_FAILURE_KIND, outcome->kind);
	mq_properties_add_int(p, HEADER_WALL_MS, (int64_t)(outcome->wall_us / 1000));
	mq_properties_add_int(p, HEADER_CPU_MS, (int64_t)(outcome->cpu_us / 1000));
	mq_properties_add_int(p, HEADER_PEAK_MEMORY, (int64_t)outcome->peak_memory);
}

static void describe(struct job *job, enum wire_encoding encoding, const struct outcome *outcome,
	struct mq_message *message)
{
	struct mq_properties *p = &message->properties;
	char message_id[ID_MAX + 96];
	job->sequence++;
	/* One run, one series: another runner's, or another run of ours, has other ids. */
	snprintf(message_id, sizeof(message_id), "%s/%s-%llu/%lld", job->id ? job->id : "",
		job->daemon->instance.id, (unsigned long long)job->token, (long long)job->sequence);
	mq_properties_set(&message->exchange, job->exchange ? job->exchange : "");
	mq_properties_set(&message->routing_key, job->key ? job->key : "");
	mq_properties_set(&p->content_type, wire_content_type(encoding));
	mq_properties_set(&p->correlation_id, job->correlation_id ? job->correlation_id : job->id);
	mq_properties_set(&p->message_id, message_id);
	mq_properties_set(&p->app_id, "taskrunner");
	p->persistent = true;
	mq_properties_add_int(p, HEADER_ATTEMPT, job->attempt);
	mq_properties_add_int(p, HEADER_SEQUENCE, job->sequence);
	add_text(p, HEADER_RUNNER, job->daemon->config->name);
	add_text(p, "traceparent", job->traceparent);
	add_text(p, "tracestate", job->tracestate);
	if (outcome)
		add_outcome(p, outcome);
}

/* ---- the dead-letter queue ---- */

static void add_address(struct mq_message *message, const char *why)
{
	struct mq_properties *p = &message->properties;
	mq_properties_add_text(p, "x-tr-reason", why);
	if (message->exchange)
		mq_properties_add_text(p, "x-tr-exchange", message->exchange);
	if (message->routing_key)
		mq_properties_add_text(p, "x-tr-routing-key", message->routing_key);
}

static bool address_dead_letter(struct job *job, struct mq_message *message, const char *why)
{
	const char *queue = job->daemon->config->dead_letter_queue;
	if (!queue[0] || job->dead_lettered) {
		log_at(queue[0] ? LOG_ERROR : LOG_WARN, "dead-letter.dropped",
			LOG_S("task", job->id), LOG_S("reason", why),
			LOG_S("queue", queue[0] ? queue : "none"));
		return false;
	}
	log_warn(
		"dead-letter", LOG_S("task", job->id), LOG_S("reason", why), LOG_S("queue", queue));
	job->dead_lettered = true;
	/* A stranger's headers leave room for ours, in number and in size. */
	mq_properties_cut(&message->properties, MQ_HEADERS_MAX - 3);
	add_address(message, why);
	if (mq_message_check(message, NULL) < 0) {
		mq_properties_cut(&message->properties, 0);
		add_address(message, why);
	}
	mq_properties_set(&message->exchange, "");
	mq_properties_set(&message->routing_key, queue);
	message->mandatory = true;
	message->properties.persistent = true;
	return true;
}

static void keep(struct job *job, struct mq_message *message, const char *why)
{
	if (address_dead_letter(job, message, why)) {
		replies_send(job->daemon, message, job_token(job, FOR_FINAL));
		return;
	}
	mq_message_deinit(message);
	job_acknowledge(job);
}

void replies_dead_letter(struct job *job, struct mq_delivery *delivery, const char *why)
{
	struct mq_message message;
	job->phase = JOB_OVER;
	mq_message_init(&message);
	message.exchange = delivery->exchange;
	message.routing_key = delivery->routing_key;
	message.properties = delivery->properties;
	message.body = delivery->body;
	delivery->exchange = delivery->routing_key = NULL;
	mq_properties_init(&delivery->properties);
	delivery->body = (struct buf){ 0 };
	keep(job, &message, why);
}

void replies_keep_copy(struct job *job, const char *why)
{
	struct mq_message message;
	if (mq_message_copy(&job->copy, &message) < 0)
		return;
	if (address_dead_letter(job, &message, why))
		replies_send(job->daemon, &message, 0);
	else
		mq_message_deinit(&message);
	job->dead_lettered = false; /* its final response may have to be, too */
}

/* ---- responses ---- */

/* What may be as long as the requester likes is left out. */
static void leave_out_echo(struct response *response)
{
	struct slice *script = &response->script;
	if (script->len > SCRIPT_SHOWN) {
		script->len = SCRIPT_SHOWN;
		/* Not within a character of UTF-8. */
		while ((script->data[script->len] & 0xc0) == 0x80)
			script->len--;
	}
	response->additional_properties = (struct slice){ 0 };
	response->project_id = response->user_id = (struct slice){ 0 };
	response->request_sha256 = (struct slice){ 0 };
}

static int encode_smaller(
	const struct received_response *old, const char *text, bool with_echo, struct buf *ret)
{
	bool was_success = old->status == STATUS_SUCCESS;
	struct response response = {
		.encoding = old->encoding,
		.status = was_success ? STATUS_FAILED : old->status,
		.id = slice_of(old->id),
		.script = slice_of(old->script),
		.output = was_success ? slice_of(text) : slice_if(&old->output),
		.additional_properties = slice_if(&old->additional_properties),
		.project_id = slice_of(old->project_id),
		.user_id = slice_of(old->user_id),
		.request_sha256 = slice_of(old->request_sha256),
		.routing_key = slice_of(old->routing_key),
		.use_cache = old->use_cache,
	};
	if (!with_echo)
		leave_out_echo(&response);
	return response_encode(&response, ret);
}

/* No message of this size can be sent: first without its output and texts, and FAILED if it was a
 * success; then without what it echoes; then not at all. */
static int shrink(struct job *job, struct mq_message *message)
{
	struct received_response old = { 0 };
	struct buf body = { 0 };
	char text[128];
	log_error("response.too-large", LOG_S("task", job->id),
		LOG_I("bytes", (int64_t)message->body.len));
	if (job->shrunk++ >= 2)
		return -EMSGSIZE;
	snprintf(text, sizeof(text),
		"The output is too large: a message of %zu bytes cannot be sent",
		message->body.len);
	int r = response_decode(
		buf_slice(&message->body), message->properties.content_type, &old, NULL);
	if (r == 0)
		r = encode_smaller(&old, text, job->shrunk == 1, &body);
	if (r == 0 && old.status == STATUS_SUCCESS) {
		add_text(&message->properties, HEADER_CAUSE, cause_name(CAUSE_OUTPUT_TOO_LARGE));
		task_events_spoilt(job, CAUSE_OUTPUT_TOO_LARGE);
	}
	received_response_deinit(&old);
	if (r < 0)
		return r;
	buf_deinit(&message->body);
	message->body = body;
	return 0;
}

/* The pseudo-queue of direct reply-to counts as none before RabbitMQ 4.2: what arrives there is
 * returned all the same. */
static bool is_direct_reply(const struct job *job)
{
	static const char prefix[] = "amq.rabbitmq.reply-to";
	return job->key && !job->exchange[0] && strncmp(job->key, prefix, sizeof(prefix) - 1) == 0;
}

/* Progress that cannot be sent is no reason to end a task. */
static int fit(struct job *job, bool is_final, struct mq_message *message)
{
	int r = 0;
	while (r == 0 && message->body.len > job->daemon->config->limits.message)
		r = is_final ? shrink(job, message) : -EMSGSIZE;
	if (r < 0 && !is_final)
		log_error("response.too-large", LOG_S("task", job->id),
			LOG_I("bytes", (int64_t)message->body.len));
	return r;
}

/* Without memory it is not kept. */
static void keep_answer(struct job *job, const struct mq_message *message)
{
	if (job->id && answers_want(&job->daemon->answers, message->body.len))
		mq_message_copy(message, &job->answer);
}

void replies_repeat(struct job *job, const struct mq_message *answer)
{
	struct mq_message message;
	job->phase = JOB_OVER;
	job->is_repeated = true;
	log_notice("request.answered-again", LOG_S("task", job->id));
	/* Without memory it is given back, and comes again. */
	if (mq_message_copy(answer, &message) < 0)
		job_return(job);
	else
		replies_send(job->daemon, &message, job_token(job, FOR_FINAL));
}

static void send_reply(struct job *job, const struct request *request, const struct reply *reply)
{
	bool is_final = status_is_final(reply->status);
	struct mq_message message;
	if (!is_final && !job->exchange)
		return;
	mq_message_init(&message);
	message.mandatory = is_final && !is_direct_reply(job);
	describe(job, request->encoding, reply->outcome, &message);
	if (encode(request, reply, &message.body) < 0) {
		log_error("response.no-memory", LOG_S("task", job->id));
		mq_message_deinit(&message);
		if (is_final)
			job_give_back(job);
		return;
	}
	if (fit(job, is_final, &message) < 0) {
		mq_message_deinit(&message);
		if (is_final)
			job_give_back(job);
		else
			job->sequence--;
		return;
	}
	if (is_final)
		keep_answer(job, &message);
	if (is_final && !job->exchange)
		keep(job, &message, "nobody asked for a response");
	else
		replies_send(job->daemon, &message, is_final ? job_token(job, FOR_FINAL) : 0);
}

static void log_final(
	const struct job *job, const struct request *request, const struct outcome *outcome)
{
	enum log_level level = outcome->status == STATUS_FAILED ? LOG_NOTICE : LOG_INFO;
	struct log_field fields[8];
	size_t n = 0;
	if (!log_wants(level))
		return;
	fields[n++] = LOG_S("task", job->id);
	fields[n++] = LOG_S("program", request->script);
	fields[n++] = LOG_S("status", status_name(outcome->status));
	if (outcome->cause)
		fields[n++] = LOG_S("cause", cause_name(outcome->cause));
	fields[n++] = LOG_I("wall_ms", (int64_t)outcome->wall_us / 1000);
	fields[n++] = LOG_I("cpu_ms", (int64_t)outcome->cpu_us / 1000);
	fields[n++] = LOG_I("peak_memory", (int64_t)outcome->peak_memory);
	if (outcome->text[0])
		fields[n++] = LOG_S("text", outcome->text);
	log_write(level, "task.finished", fields, n);
}

static void send_final(struct job *job, const struct request *request,
	const struct outcome *outcome, const struct reply *reply)
{
	struct reply final = *reply;
	final.status = outcome->status;
	final.outcome = outcome;
	job->phase = JOB_OVER;
	if (outcome->status == STATUS_FAILED)
		final.output = slice_of(outcome->text);
	log_final(job, request, outcome);
	task_events_judged(job, outcome);
	send_reply(job, request, &final);
}

void replies_refuse(
	struct job *job, const struct request *request, enum cause cause, const char *text)
{
	struct outcome outcome = { .status = STATUS_FAILED, .cause = cause, .exit_code = -1 };
	snprintf(outcome.text, sizeof(outcome.text), "%s", text);
	control_end(job);
	send_final(job, request, &outcome, &(struct reply){ 0 });
}

/* The cancel stays in its queue until this is safe: should we be killed, the next runner finds it.
 */
void replies_cancelled(struct job *job, const struct request *request)
{
	const struct outcome outcome = {
		.status = STATUS_CANCELLED,
		.cause = CAUSE_CANCELLED,
		.exit_code = -1,
	};
	send_final(job, request, &outcome, &(struct reply){ 0 });
}

/* With the last part of what the program wrote to stdout and stderr. */
static void reply_with_texts(
	struct task *task, const struct reply *base, const struct outcome *outcome)
{
	struct job *job = task_front_data(task);
	struct reply reply = *base;
	struct buf out = { 0 }, err = { 0 };
	if (task_text(task, PIPE_STDOUT, &out) == 0)
		reply.out = buf_slice(&out);
	if (task_text(task, PIPE_STDERR, &err) == 0)
		reply.err = buf_slice(&err);
	if (outcome)
		send_final(job, task_request(task), outcome, &reply);
	else
		send_reply(job, task_request(task), &reply);
	buf_deinit(&out);
	buf_deinit(&err);
}

/* ---- what the engine tells ---- */

static void on_running(void *userdata, struct task *task)
{
	struct job *job = task_front_data(task);
	(void)userdata;
	crash_point("S2");
	bool was_begun = job->is_begun;
	job->is_begun = true;
	/* The copy that is parked says that it has not. */
	if (!was_begun && custody_is_parked(&job->custody))
		lease_renew_now(job);
	log_info("task.started", LOG_S("task", job->id),
		LOG_S("program", task_request(task)->script), LOG_I("pid", task_pid(task)));
	send_reply(job, task_request(task), &(struct reply){ .status = STATUS_RUNNING });
	task_events_tell(job, EVENT_STARTED, CAUSE_NONE);
	crash_point("S1");
}

static void on_progress(
	void *userdata, struct task *task, struct slice record, enum progress_kind kind)
{
	(void)userdata;
	(void)kind;
	reply_with_texts(task, &(struct reply){ .status = STATUS_RUNNING, .output = record }, NULL);
}

static void on_cancelling(void *userdata, struct task *task)
{
	(void)userdata;
	reply_with_texts(task, &(struct reply){ .status = STATUS_CANCELLING }, NULL);
}

static void on_ending(void *userdata, struct task *task, enum cause cause)
{
	(void)userdata;
	task_events_tell(task_front_data(task), EVENT_ENDING, cause);
}

static void log_line(const struct job *job, enum pipe_end end, struct line *line)
{
	log_info(end == PIPE_STDOUT ? "task.stdout" : "task.stderr", LOG_S("task", job->id),
		LOG_SLICE("text", ((struct slice){ line->text, line->len })));
	line->len = 0;
}

static void on_text(void *userdata, struct task *task, enum pipe_end end, struct slice text)
{
	struct daemon *daemon = userdata;
	struct job *job = task_front_data(task);
	struct line *line = &job->lines[end - PIPE_STDOUT];
	if (!daemon->config->log.task_output || !log_wants(LOG_INFO))
		return;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] != '\n')
			line->text[line->len++] = text.data[i];
		if (text.data[i] == '\n' || line->len == sizeof(line->text))
			log_line(job, end, line);
	}
}

static void on_final(
	void *userdata, struct task *task, const struct outcome *outcome, struct slice output)
{
	struct job *job = task_front_data(task);
	(void)userdata;
	for (int end = PIPE_STDOUT; end < PIPE_ENDS; end++)
		if (job->lines[end - PIPE_STDOUT].len)
			log_line(job, end, &job->lines[end - PIPE_STDOUT]);
	crash_point("S6");
	control_end(job);
	if (job->is_fenced)
		job_free(job);
	else if (outcome->cause == CAUSE_SHUTTING_DOWN)
		job_give_back(job);
	else
		reply_with_texts(task, &(struct reply){ .output = output }, outcome);
}

static void on_paused(void *userdata, struct task *task)
{
	(void)userdata;
	log_info("task.paused", LOG_S("task", task_request(task)->id));
	task_events_tell(task_front_data(task), EVENT_PAUSED, CAUSE_NONE);
}

static void on_resumed(void *userdata, struct task *task)
{
	(void)userdata;
	log_info("task.resumed", LOG_S("task", task_request(task)->id));
	task_events_tell(task_front_data(task), EVENT_RESUMED, CAUSE_NONE);
}

const struct engine_front replies_front = {
	.on_paused = on_paused,
	.on_resumed = on_resumed,
	.on_running = on_running,
	.on_progress = on_progress,
	.on_text = on_text,
	.on_cancelling = on_cancelling,
	.on_ending = on_ending,
	.on_final = on_final,
};

/* ---- what the publisher tells ---- */

static void on_too_large(struct job *job, struct mq_message *message)
{
	if (job->dead_lettered || shrink(job, message) < 0) {
		log_error("response.dropped", LOG_S("task", job->id),
			LOG_S("reason", "it is too large"));
		mq_message_deinit(message);
		job_acknowledge(job);
	} else {
		replies_send(job->daemon, message, job_token(job, FOR_FINAL));
	}
}

static void on_final_done(struct job *job, struct mq_publisher_event *event)
{
	switch (event->outcome) {
	case MQ_CONFIRMED:
		crash_point("S8");
		job_acknowledge(job);
		break;
	case MQ_UNROUTABLE:
		if (job->is_repeated) /* it was safe the first time */
			job_acknowledge(job);
		else
			keep(job, &event->message,
				event->error.text[0] ? event->error.text
						     : "no queue took the final response");
		break;
	case MQ_TOO_LARGE:
		on_too_large(job, &event->message);
		break;
	case MQ_UNCERTAIN: /* only of copies that are given back */
		break;
	}
}

/* The request was on its way to somebody else. */
static void on_leaving_done(struct job *job, struct mq_publisher_event *event)
{
	bool was_handed_back = topology_is_hold_queue(
		event->message.routing_key ? event->message.routing_key : "");
	if (event->outcome == MQ_CONFIRMED) {
		lease_handed_over(job);
		return;
	}
	if (event->outcome == MQ_UNCERTAIN) {
		job_give_back_again(job);
		return;
	}
	log_error("request.not-given-back", LOG_S("task", job->id),
		LOG_S("reason", event->error.text[0] ? event->error.text : "its queue is gone"));
	if (was_handed_back) /* he who had it ended */
		suspects_begin_again(job);
	else
		keep(job, &event->message, "the queue that it belongs to is gone");
}

void replies_on_done(struct daemon *daemon, struct mq_publisher_event *event)
{
	enum purpose purpose;
	struct job *job = job_by_token(daemon, event->token, &purpose);
	if (!job) {
		if (event->outcome == MQ_TOO_LARGE)
			log_error("response.too-large",
				LOG_I("bytes", (int64_t)event->message.body.len));
		return;
	}
	switch (purpose) {
	case FOR_FINAL:
		on_final_done(job, event);
		break;
	case FOR_PARKING:
	case FOR_RENEWAL:
		lease_on_done(job, event);
		break;
	case FOR_QUESTION:
		suspects_on_asked(job);
		break;
	case FOR_ANSWER:
		job->owed--;
		break;
	case FOR_FREEING:
		job_free(job);
		break;
	case FOR_SPARE:
		job->has_spare = false;
		break;
	case FOR_LEAVING:
		on_leaving_done(job, event);
		break;
	}
}
