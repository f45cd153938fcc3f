/* SPDX-License-Identifier: Apache-2.0 */

/* A delivery becomes a task, or is known already, or is refused. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "runner/daemon_private.h"
#include "wire/fingerprint.h"

/* What AMQP can carry as a routing key. */
#define ROUTING_KEY_MAX 255
/* Longer headers are not handed on: with all the others they must fit into one frame. */
#define TRACE_MAX 512
/* A request that says that it was sent longer ago, or so much later than now, has a bad clock. */
#define SENT_AGO_MAX_MS   (366 * 24 * 3600 * (int64_t)1000)
#define SENT_AHEAD_MAX_MS (3600 * (int64_t)1000)
/* Some write milliseconds where AMQP wants seconds. */
#define SECONDS_MAX 100000000000ULL

/* ---- what the headers say ---- */

static int64_t number_of(const struct mq_delivery *delivery, const char *name)
{
	const struct mq_header *header = mq_properties_header(&delivery->properties, name);
	bool is_number = header && header->kind == MQ_HEADER_INT && header->number > 0;
	return !is_number ? 0 : header->number < INT32_MAX ? header->number : INT32_MAX;
}

static int64_t plausible(int64_t sent_ms)
{
	int64_t age = clock_wall_ms() - sent_ms;
	return age < SENT_AGO_MAX_MS && age > -SENT_AHEAD_MAX_MS ? sent_ms : 0;
}

/* 0: it does not say, or that cannot be. */
static int64_t sent_ms_of(const struct mq_delivery *delivery)
{
	const struct mq_properties *p = &delivery->properties;
	const struct mq_header *header = mq_properties_header(p, HEADER_SENT);
	int64_t sent = header && header->kind == MQ_HEADER_INT ? plausible(header->number) : 0;
	if (sent || p->timestamp > INT64_MAX)
		return sent;
	return plausible((int64_t)p->timestamp * (p->timestamp < SECONDS_MAX ? 1000 : 1));
}

static bool is_parked_copy(const struct mq_delivery *delivery)
{
	return mq_properties_header(&delivery->properties, HEADER_HOLDER);
}

/* Another runner had it and never said what became of it. */
static bool is_suspect(const struct mq_delivery *delivery)
{
	if (delivery->redelivered)
		return true;
	return is_parked_copy(delivery) && !number_of(delivery, HEADER_CLEAN);
}

static uint64_t giving_of(const struct mq_delivery *delivery)
{
	const struct mq_properties *p = &delivery->properties;
	const char *holder = mq_properties_text(p, HEADER_HOLDER);
	const struct mq_header *number = mq_properties_header(p, HEADER_CLEAN);
	bool is_given = holder && number && number->kind == MQ_HEADER_INT && number->number > 0;
	char text[GIVING_MAX];
	if (!is_given)
		return 0;
	suspects_number_giving((uint64_t)number->number, text);
	return suspects_giving(holder, text);
}

static void count_runs(struct job *job, const struct mq_delivery *delivery)
{
	unsigned earlier = lease_deliveries(delivery);
	bool crashed = is_suspect(delivery);
	job->deliveries = earlier;
	job->attempt = (unsigned)number_of(delivery, HEADER_ATTEMPT) + earlier + 1;
	job->crashes =
		(unsigned)number_of(delivery, HEADER_CRASHES) + (crashed && !earlier ? 1 : earlier);
}

static void copy_trace(char **field, const struct mq_delivery *delivery, const char *name)
{
	const char *text = mq_properties_text(&delivery->properties, name);
	/* A copy that fails for want of memory costs a trace, not a task. */
	if (text && strlen(text) <= TRACE_MAX)
		mq_properties_set(field, text);
}

/* ---- where responses go ---- */

static int find_route(
	struct job *job, const struct request *request, const struct mq_delivery *delivery)
{
	const char *reply_to = delivery->properties.reply_to;
	if (request->routing_key && strlen(request->routing_key) <= ROUTING_KEY_MAX) {
		int r = mq_properties_set(&job->exchange, job->daemon->config->responses.name);
		return r < 0 ? r : mq_properties_set(&job->key, request->routing_key);
	}
	if (!reply_to || !*reply_to)
		return 0;
	int r = mq_properties_set(&job->exchange, "");
	return r < 0 ? r : mq_properties_set(&job->key, reply_to);
}

/* ---- one that is known ---- */

static void drop_copy(
	struct daemon *daemon, const struct mq_event *event, const char *id, const char *why)
{
	log_notice("request.duplicate", LOG_S("task", id), LOG_S("proceeding", why));
	if (mq_ack(daemon->consumer, event->channel, event->delivery.tag, false) < 0)
		daemon_consumer_lost(daemon, "a delivery could not be settled");
	else
		daemon_pump_soon(daemon);
}

/* By us, or by one whose journal we have. What is given back in good order was not answered. */
static bool was_parked_here(const struct daemon *daemon, const struct mq_delivery *delivery)
{
	const char *holder = mq_properties_text(&delivery->properties, HEADER_HOLDER);
	if (!holder || number_of(delivery, HEADER_CLEAN))
		return false;
	for (size_t i = 0; i < daemon->journal.n_dead; i++)
		if (strcmp(holder, daemon->journal.dead[i].id) == 0)
			return true;
	return strcmp(holder, daemon->instance.id) == 0;
}

/* Copies are not quite like their original: they have a message id. So they carry its print. */
static uint64_t print_of(const struct mq_delivery *delivery)
{
	const struct mq_properties *p = &delivery->properties;
	const struct mq_header *header = mq_properties_header(p, HEADER_PRINT);
	if (is_parked_copy(delivery) && header && header->kind == MQ_HEADER_INT)
		return (uint64_t)header->number;
	const struct slice parts[] = { buf_slice(&delivery->body), slice_of(p->message_id),
		slice_of(p->correlation_id), slice_of(p->reply_to) };
	return fingerprint(parts, sizeof(parts) / sizeof(*parts));
}

/* Its final response is safe, but the acknowledgement was lost with the connection that it went out
 * on. What was acknowledged on this connection does not come again on it: then this is another
 * request of the same id and content, which somebody gave back, and which must not be lost. */
static bool was_answered(struct daemon *daemon, const char *id, const struct mq_delivery *delivery)
{
	return was_parked_here(daemon, delivery) ||
	       (delivery->redelivered && !memory_has(&daemon->acknowledged, id));
}

/* A job that holds the delivery. NULL: there is no memory; it comes back when the connection ends.
 */
static struct job *take(
	struct daemon *daemon, size_t queue, const struct mq_event *event, bool is_new)
{
	struct job *job = job_new(daemon, queue);
	if (!job) {
		log_error("request.no-memory");
		return NULL;
	}
	lease_begin(job, event->channel, event->delivery.tag, is_new);
	count_runs(job, &event->delivery);
	return job;
}

/* It was made by somebody who died, so it is not known whether it is the same request or one that
 * only looks the same: each gets its answer. */
static bool repeat_answer(struct daemon *daemon, const struct mq_event *event, const char *id,
	uint64_t print, const struct mq_message *answer)
{
	struct job *job = take(daemon, event->channel - 1U, event, false);
	if (!job)
		return true; /* it comes again */
	slots_take(job, event->consumer_tag);
	job->print = print;
	if (job_name(job, id) < 0)
		job_return(job);
	else
		replies_repeat(job, answer);
	return true;
}

/* The same id again. What came back from a connection that was lost is ours still. A new request
 * whose forerunner is over but for the broker's word is another task. Anything else is a copy,
 * which the first one answers for. */
static bool is_known(struct daemon *daemon, const struct mq_event *event, const char *id)
{
	const struct mq_delivery *delivery = &event->delivery;
	struct job *job = job_find(daemon, id);
	bool is_ours = is_parked_copy(delivery) ||
		       (delivery->redelivered && job && !custody_is_live(&job->custody));
	bool is_over = job && job->phase == JOB_OVER;
	if (is_over && !(is_ours && job->print == print_of(delivery))) {
		job_unlist(job);
		return false;
	}
	if (job) {
		lease_again(job, event, false);
		return true;
	}
	if (!is_suspect(delivery))
		return false;
	uint64_t print = print_of(delivery);
	if (!memory_has_print(&daemon->finished, id, print))
		return false;
	if (was_answered(daemon, id, delivery)) {
		drop_copy(daemon, event, id, "it was answered before");
		return true;
	}
	const struct mq_message *answer = answers_find(&daemon->answers, id, print);
	return answer && repeat_answer(daemon, event, id, print, answer);
}

/* ---- a slot ---- */

#define DEPTHS 128 /* more than a request can have */

/* Inner tasks before outer ones: somebody waits for them. */
static int rank_of(const struct job *job)
{
	int priority = job->copy.properties.priority;
	return (priority > 0 ? priority : 0) * DEPTHS + (int)job->request.depth;
}

static bool goes_before(const struct job *job, const struct job *other)
{
	int rank = rank_of(job), others = rank_of(other);
	return rank != others ? rank > others : job->token < other->token;
}

/* Mostly it is the last. */
static void make_ready(struct job *job)
{
	struct queue *queue = &job->daemon->queues[job->queue];
	struct job *before = queue->ready ? queue->ready->prev_waiting : NULL;
	job->phase = JOB_READY;
	while (before && goes_before(job, before))
		before = before == queue->ready ? NULL : before->prev_waiting;
	DL_APPEND_ELEM2(queue->ready, before, job, prev_waiting, next_waiting);
}

/* Not as long as it might come to us again. */
static void give_back_in_time(struct job *job)
{
	if (job->daemon->give_back_round)
		job->phase = JOB_RETURNING;
	else
		job_give_back(job);
}

/* Its program has no free slot, or the machine no room. It may be over as well, and the job gone.
 */
static void tell_if_waiting(struct daemon *daemon, uint64_t token)
{
	struct job *job;
	HASH_FIND(hh_token, daemon->jobs_by_token, &token, sizeof(token), job);
	struct task *task =
		job && job->phase == JOB_RUNNING ? engine_find(daemon->engine, job->id) : NULL;
	if (task && !task_pid(task))
		task_events_tell(job, EVENT_WAITING, CAUSE_NONE);
}

void intake_submit(struct job *job)
{
	struct daemon *daemon = job->daemon;
	struct queue *queue = &daemon->queues[job->queue];
	job->phase = JOB_NEW;
	if (daemon_takes_none(daemon)) {
		give_back_in_time(job);
		return;
	}
	/* While it waited the connection may have died without our knowing. */
	if (clock_now_us() > custody_deadline(&job->custody, &daemon->rules)) {
		job_return(job);
		return;
	}
	if (queue->running >= daemon->config->queues[job->queue].slots || !cancels_allow(daemon)) {
		make_ready(job);
		task_events_tell(job, EVENT_WAITING, CAUSE_NONE);
		return;
	}
	job->phase = JOB_RUNNING;
	job->has_place = true;
	queue->running++;
	uint64_t token = job->token;
	job->launch.rank = rank_of(job);
	int r = engine_submit(daemon->engine, &job->request, &job->launch, job->attempt, job);
	if (r < 0) {
		log_error("request.not-accepted", LOG_S("task", job->id), LOG_ERRNO(r));
		job_give_back(job);
	} else {
		tell_if_waiting(daemon, token);
	}
}

void intake_next(struct daemon *daemon, size_t index)
{
	struct queue *queue = &daemon->queues[index];
	if (!cancels_allow(daemon) || daemon_takes_none(daemon))
		return;
	for (struct job *job = queue->ready, *next;
		job && queue->running < daemon->config->queues[index].slots; job = next) {
		next = job->next_waiting;
		/* What is parked and was not delivered again yet may be on its way to another. */
		if (!custody_is_live(&job->custody))
			continue;
		DL_DELETE2(queue->ready, job, prev_waiting, next_waiting);
		job->phase = JOB_NEW;
		if (memory_take(&daemon->cancelled, job->id))
			replies_cancelled(job, &job->request);
		else
			intake_submit(job);
	}
}

void intake_forget(struct daemon *daemon)
{
	for (struct job *job = daemon->jobs_by_token, *next; job; job = next) {
		next = job->hh_token.next;
		bool waits = job->phase == JOB_SUSPECT || job->phase == JOB_READY ||
			     job->phase == JOB_HELD || job->phase == JOB_RETURNING;
		if (waits && (job->phase == JOB_RETURNING || !custody_is_parked(&job->custody)))
			job_free(job);
	}
}

/* ---- a delivery becomes a task ---- */

/* Its runs take their runners with them: one final answer, and a copy for people to look at. */
static void end_crashing(struct job *job)
{
	struct error why;
	error_set(&why, -ELOOP,
		"%u runs of it ended with their runner or were cut off from the broker; it is not "
		"started again",
		job->crashes);
	replies_keep_copy(job, why.text);
	replies_refuse(job, &job->request, CAUSE_CRASH_LIMIT, why.text);
}

void intake_start(struct job *job)
{
	struct daemon *daemon = job->daemon;
	struct error err = { 0 };
	if (memory_take(&daemon->cancelled, job->id) || cancels_swept(job, &job->request)) {
		replies_cancelled(job, &job->request);
		return;
	}
	if (job->crashes >= daemon->config->delivery.crash_limit) {
		end_crashing(job);
		return;
	}
	/* An id that was used before is this task's from now on. */
	memory_take(&daemon->finished, job->id);
	if (job->is_held) {
		held_begin(job);
		return;
	}
	int r = catalogue_resolve(daemon->catalogue, job->request.script, &job->launch, &err);
	if (r < 0) {
		job_give_back(job);
		return;
	}
	if (r != CATALOGUE_FOUND) {
		replies_refuse(job, &job->request,
			r == CATALOGUE_NOT_FOUND ? CAUSE_NOT_FOUND : CAUSE_REFUSED, err.text);
		return;
	}
	if (daemon->config->cancellation.name[0])
		control_ask_cancelled(job);
	else
		intake_submit(job);
}

/* Whoever left an address is answered there, even if nothing else could be read. */
static void refuse_request(struct job *job, struct request *request, int outcome,
	struct mq_delivery *delivery, const char *why)
{
	if (!job->exchange) {
		replies_dead_letter(job, delivery, why);
		return;
	}
	/* Without an id the requester knows the answer by what he gave to the message. */
	if (!job->id && !job->correlation_id)
		mq_properties_set(&job->correlation_id, delivery->properties.message_id);
	/* However long the id is, the answer must fit into a message. */
	if (request->id && strlen(request->id) > ID_MAX)
		request->id[0] = '\0';
	replies_refuse(job, request,
		outcome == REQUEST_TOO_LARGE ? CAUSE_REFUSED : CAUSE_PROTOCOL_ERROR, why);
}

static bool has_usable_id(const struct request *request)
{
	return request->id && id_is_valid(slice_of(request->id));
}

/* As request_decode. An address can lead back to where requests come from: a response that were
 * taken for one would be answered, and so on without end. */
static int read_request(const struct daemon *daemon, const struct mq_delivery *delivery,
	struct request *ret, struct error *err)
{
	const struct request_limits limits = { .input_max = daemon->config->limits.input };
	const char *content_type = delivery->properties.content_type;
	if (!mq_properties_header(&delivery->properties, HEADER_SEQUENCE))
		return request_decode(buf_slice(&delivery->body), content_type, &limits, ret, err);
	ret->encoding = wire_detect(content_type, buf_slice(&delivery->body));
	error_set(err, -ELOOP,
		"it is a response and not a request: the address that it was sent to leads here");
	return REQUEST_MALFORMED;
}

static int describe(
	struct job *job, const struct mq_delivery *delivery, const struct request *request)
{
	mq_properties_set(&job->correlation_id, delivery->properties.correlation_id);
	copy_trace(&job->traceparent, delivery, "traceparent");
	copy_trace(&job->tracestate, delivery, "tracestate");
	int r = find_route(job, request, delivery);
	if (r == 0 && has_usable_id(request))
		r = job_name(job, request->id);
	return r;
}

/* The request as it came, for when it has to be sent again. */
static void keep_copy(struct job *job, struct mq_delivery *delivery)
{
	job->copy.properties = delivery->properties;
	job->copy.body = delivery->body;
	/* What the broker noted of this message is not true of another. */
	mq_properties_remove(&job->copy.properties, "x-delivery-count");
	mq_properties_remove(&job->copy.properties, "x-acquired-count");
	mq_properties_remove(&job->copy.properties, "x-first-death-");
	mq_properties_remove(&job->copy.properties, "x-last-death-");
	/* Room for ours. */
	mq_properties_cut(&job->copy.properties, MQ_HEADERS_MAX - COPY_HEADERS);
	mq_properties_init(&delivery->properties);
	delivery->body = (struct buf){ 0 };
}

/* What was said of it since counts more than what the requester wrote. */
static void learn_hold(struct job *job)
{
	const struct mq_header *header = mq_properties_header(&job->copy.properties, HEADER_HOLD);
	bool was_said = header && header->kind == MQ_HEADER_INT &&
			mq_properties_header(&job->copy.properties, HEADER_HOLDER);
	job->is_held = was_said ? header->number > 0 : job->request.hold;
	job->was_held = was_said || job->is_held;
}

static void cleanup_request(struct request *request)
{
	request_deinit(request);
}

void intake_delivery(struct daemon *daemon, struct mq_event *event)
{
	cleanup_with(cleanup_request) struct request request = { 0 };
	struct mq_delivery *delivery = &event->delivery;
	size_t queue = event->channel - 1U;
	struct error err = { 0 };

	crash_point("S0");
	int r = read_request(daemon, delivery, &request, &err);
	bool usable = has_usable_id(&request);
	if (usable && is_known(daemon, event, request.id))
		return;
	bool suspect = is_suspect(delivery), given_back = is_parked_copy(delivery);
	uint64_t giving = suspect ? 0 : giving_of(delivery);
	struct job *job = take(daemon, queue, event, !suspect && !given_back);
	if (!job)
		return;
	slots_take(job, event->consumer_tag);
	if (usable)
		job->print = print_of(delivery);
	if (r < 0 || describe(job, delivery, &request) < 0) {
		job_give_back(job);
		return;
	}
	job->sent_ms = sent_ms_of(delivery);
	task_events_accept(job, &request);
	if (r != REQUEST_OK || !usable) {
		refuse_request(job, &request, r, delivery, err.text);
		return;
	}
	keep_copy(job, delivery);
	job->request = request;
	request = (struct request){ 0 };
	learn_hold(job);
	if (daemon_takes_none(daemon))
		give_back_in_time(job);
	else if (suspect || given_back)
		suspects_begin(job, giving);
	else
		intake_start(job);
}

/* Of a task that is not here: it was cut off and killed, or its runner is dead and we have taken
 * over its queue. */
static void send_home(struct daemon *daemon, size_t queue, struct mq_event *event, const char *id)
{
	struct job *job = take(daemon, queue, event, false);
	if (!job)
		return;
	job->attempt = (unsigned)number_of(&event->delivery, HEADER_ATTEMPT);
	job->crashes = (unsigned)number_of(&event->delivery, HEADER_CRASHES);
	job->print = print_of(&event->delivery);
	job->is_begun = true; /* of that many runs; see add_lease_headers */
	keep_copy(job, &event->delivery);
	learn_hold(job);
	log_notice("request.sent-home", LOG_S("task", id));
	if (job_name(job, id) < 0 ||
		lease_hand_over(job, daemon->config->queues[queue].name, false) < 0)
		job_give_back(job);
}

/* The queue that a copy belongs to: by name, for the dead may have had them in another order. */
static size_t queue_of(const struct daemon *daemon, const struct mq_event *event)
{
	const struct config *config = daemon->config;
	const char *name = mq_properties_text(&event->delivery.properties, HEADER_QUEUE);
	for (size_t i = 0; name && i < config->n_queues; i++)
		if (strcmp(config->queues[i].name, name) == 0)
			return i;
	/* After the letter, the tag of its consumer has the number. */
	size_t i = strtoul(event->consumer_tag + (event->consumer_tag[0] != '\0'), NULL, 10);
	return i < config->n_queues ? i : 0;
}

/* It is said of one copy, once. Should that come a second time it is a copy as any other. */
static bool take_surplus(struct daemon *daemon, const struct mq_delivery *delivery, const char *id)
{
	uint64_t number = lease_copy_number(daemon, &delivery->properties);
	return number > 0 && memory_has_print(&daemon->surplus, id, number) &&
	       memory_take(&daemon->surplus, id);
}

void intake_copy(struct daemon *daemon, struct mq_event *event)
{
	const char *text = mq_properties_text(&event->delivery.properties, HEADER_TASK);
	const char *id = text ? text : "";
	struct job *job = job_find(daemon, id);
	cleanup_free char *name = strdup(id);
	/* Also where the id has come again: what has replaced this copy is not to be held by it. */
	if (take_surplus(daemon, &event->delivery, id))
		drop_copy(daemon, event, id, "somebody else has it");
	else if (job)
		lease_again(job, event, true);
	else if (!id_is_valid(slice_of(id)))
		drop_copy(daemon, event, id, "it is none of a runner's copies");
	else if (memory_has_print(&daemon->finished, id, print_of(&event->delivery)))
		drop_copy(daemon, event, id, "it was answered before");
	else if (name)
		send_home(daemon, queue_of(daemon, event), event, name);
}
