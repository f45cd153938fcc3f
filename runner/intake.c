/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "runner/daemon_private.h"

/* What AMQP can carry as a routing key. */
#define ROUTING_KEY_MAX 255
/* Longer headers are not handed on: with all the others they must fit into one frame. */
#define TRACE_MAX 512

/* ---- jobs ---- */

static int copy(char **field, const char *text)
{
	return mq_properties_set(field, text);
}

static int copy_header(char **field, const struct mq_delivery *delivery, const char *name)
{
	const struct mq_header *header = mq_properties_header(&delivery->properties, name);
	if (!header || header->kind != MQ_HEADER_TEXT || strlen(header->text) > TRACE_MAX)
		return 0;
	return copy(field, header->text);
}

/* A quorum queue counts deliveries; of a classic one we only know that there was an earlier. */
static unsigned attempt_of(const struct mq_delivery *delivery)
{
	const struct mq_header *count =
		mq_properties_header(&delivery->properties, "x-delivery-count");
	if (count && count->kind == MQ_HEADER_INT && count->number > 0)
		return count->number < INT32_MAX ? (unsigned)count->number + 1 : INT32_MAX;
	return delivery->redelivered ? 2 : 1;
}

static struct job *job_new(
	struct daemon *daemon, uint16_t channel, const struct mq_delivery *delivery)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->daemon = daemon;
	job->connection = daemon->connection;
	job->channel = channel;
	job->tag = delivery->tag;
	job->token = ++daemon->last_token;
	job->attempt = attempt_of(delivery);
	HASH_ADD(hh_token, daemon->jobs_by_token, token, sizeof(job->token), job);
	/* A copy that fails for want of memory costs a trace, not a task. */
	copy(&job->correlation_id, delivery->properties.correlation_id);
	copy_header(&job->traceparent, delivery, "traceparent");
	copy_header(&job->tracestate, delivery, "tracestate");
	return job;
}

static void unlist(struct job *job)
{
	if (job->is_listed)
		HASH_DELETE(hh_id, job->daemon->jobs_by_id, job);
	job->is_listed = false;
}

static void job_free(struct job *job)
{
	struct daemon *daemon = job->daemon;
	control_end(job);
	HASH_DELETE(hh_token, daemon->jobs_by_token, job);
	unlist(job);
	free(job->id);
	free(job->exchange);
	free(job->key);
	free(job->correlation_id);
	free(job->traceparent);
	free(job->tracestate);
	request_deinit(&job->request);
	launch_deinit(&job->launch);
	free(job);
	daemon_end_if_done(daemon);
}

struct job *job_by_token(struct daemon *daemon, uint64_t token)
{
	struct job *job;
	HASH_FIND(hh_token, daemon->jobs_by_token, &token, sizeof(token), job);
	return job;
}

/* True if the broker was told. */
static bool settle(struct job *job, int (*how)(struct job *))
{
	struct daemon *daemon = job->daemon;
	/* A delivery of a connection that is gone has been given back by its end. */
	if (!daemon->consumer || job->connection != daemon->connection)
		return false;
	if (how(job) < 0) {
		daemon_consumer_lost(daemon, "a delivery could not be settled");
		return false;
	}
	daemon_pump_soon(daemon);
	return true;
}

static int ack(struct job *job)
{
	return mq_ack(job->daemon->consumer, job->channel, job->tag, false);
}

static int requeue(struct job *job)
{
	return mq_nack(job->daemon->consumer, job->channel, job->tag, true);
}

void job_acknowledge(struct job *job)
{
	if (job->id && memory_add(&job->daemon->finished, job->id) < 0)
		log_warn("task.not-remembered", LOG_S("task", job->id));
	if (settle(job, ack) && job->id)
		memory_add(&job->daemon->acknowledged, job->id);
	job_free(job);
}

void job_give_back(struct job *job)
{
	log_notice("request.given-back", LOG_S("task", job->id));
	/* A cancel that waits in its queue is for whoever takes the request next. */
	if (!job->cancellation_number)
		job->is_left = true;
	settle(job, requeue);
	job_free(job);
}

/* ---- where responses go ---- */

static int find_route(
	struct job *job, const struct request *request, const struct mq_delivery *delivery)
{
	const char *reply_to = delivery->properties.reply_to;
	if (request->routing_key && strlen(request->routing_key) <= ROUTING_KEY_MAX) {
		int r = copy(&job->exchange, job->daemon->config->responses.name);
		return r < 0 ? r : copy(&job->key, request->routing_key);
	}
	if (!reply_to || !*reply_to)
		return 0;
	int r = copy(&job->exchange, "");
	return r < 0 ? r : copy(&job->key, reply_to);
}

/* ---- a delivery becomes a task ---- */

static int name_job(struct job *job, const char *id)
{
	job->id = strdup(id);
	if (!job->id)
		return -ENOMEM;
	HASH_ADD_KEYPTR(hh_id, job->daemon->jobs_by_id, job->id, strlen(job->id), job);
	job->is_listed = true;
	return 0;
}

static void adopt(struct job *job, uint16_t channel, const struct mq_delivery *delivery)
{
	log_notice("request.adopted", LOG_S("task", job->id));
	job->connection = job->daemon->connection;
	job->channel = channel;
	job->tag = delivery->tag;
}

/* Its final response is safe, but the acknowledgement was lost with the connection that it went out
 * on. What was acknowledged on this connection does not come again on it: then this is another
 * request of the same id, which somebody gave back, and which must not be lost. */
static bool was_answered(struct daemon *daemon, const char *id, const struct mq_delivery *delivery)
{
	return delivery->redelivered && memory_has(&daemon->finished, id) &&
	       !memory_has(&daemon->acknowledged, id);
}

/* The same id again. What came back from a connection that was lost is ours still: the job takes
 * the new delivery in place of the old. A request whose forerunner is over but for the broker's
 * word is another task. Anything else is a copy, which the first one answers for. */
static bool is_known(
	struct daemon *daemon, const char *id, uint16_t channel, const struct mq_delivery *delivery)
{
	struct job *job;
	HASH_FIND(hh_id, daemon->jobs_by_id, id, strlen(id), job);
	if (job && job->connection != daemon->connection &&
		(delivery->redelivered || !job->is_over)) {
		adopt(job, channel, delivery);
		return true;
	}
	if (job && job->is_over) {
		unlist(job);
		return false;
	}
	if (!job && !was_answered(daemon, id, delivery))
		return false;
	log_notice("request.duplicate", LOG_S("task", id),
		LOG_S("proceeding", job ? "the first one is running" : "it was answered before"));
	if (mq_ack(daemon->consumer, channel, delivery->tag, false) < 0)
		daemon_consumer_lost(daemon, "a delivery could not be settled");
	return true;
}

void intake_submit(struct job *job)
{
	struct daemon *daemon = job->daemon;
	if (daemon->stopping) {
		job_give_back(job);
		return;
	}
	int r = engine_submit(daemon->engine, &job->request, &job->launch, job->attempt, job);
	if (r < 0) {
		log_error("request.not-accepted", LOG_S("task", job->id), LOG_ERRNO(r));
		job_give_back(job);
	}
}

static void accept_request(struct job *job, struct request *request)
{
	struct daemon *daemon = job->daemon;
	struct error err = { 0 };
	if (memory_take(&daemon->cancelled, request->id)) {
		replies_cancelled(job, request);
		return;
	}
	int r = catalogue_resolve(daemon->catalogue, request->script, &job->launch, &err);
	if (r < 0) {
		job_give_back(job);
		return;
	}
	if (r != CATALOGUE_FOUND) {
		replies_refuse(job, request,
			r == CATALOGUE_NOT_FOUND ? CAUSE_NOT_FOUND : CAUSE_REFUSED, err.text);
		return;
	}
	job->request = *request;
	*request = (struct request){ 0 };
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
		copy(&job->correlation_id, delivery->properties.message_id);
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

static void cleanup_request(struct request *request)
{
	request_deinit(request);
}

void intake_delivery(struct daemon *daemon, uint16_t channel, struct mq_delivery *delivery)
{
	cleanup_with(cleanup_request) struct request request = { 0 };
	struct error err = { 0 };

	int r = read_request(daemon, delivery, &request, &err);
	bool usable = has_usable_id(&request);
	if (usable && is_known(daemon, request.id, channel, delivery))
		return;
	struct job *job = job_new(daemon, channel, delivery);
	if (!job) {
		/* Not settled: it comes back when the connection ends. Nothing else can be done. */
		log_error("request.no-memory");
		return;
	}
	if (r < 0 || daemon->stopping || find_route(job, &request, delivery) < 0 ||
		(usable && name_job(job, request.id) < 0)) {
		job_give_back(job);
		return;
	}
	if (r != REQUEST_OK || !usable) {
		refuse_request(job, &request, r, delivery, err.text);
		return;
	}
	buf_deinit(&delivery->body); /* all that is needed has been copied */
	accept_request(job, &request);
}
