/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A request that was with another runner before may still be running there, cut off from the
 * broker. So the runners are asked, and nothing is started before the time has passed after which
 * the other must have killed it. Who has it gets the request back.
 *
 * Who was cut off when the question came says what it runs as soon as it is back. Until the broker
 * has confirmed such a word, or an answer, pings prove nothing for that task (job.owed): so it is
 * killed before the one who waits for the word would start it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "runner/daemon_private.h"
#include "wire/control.h"

#define QUESTION_MAX 24

/* Without a body, so that it gets through in an alarm. 0 or a negative errno. */
static int send_control(struct daemon *daemon, const struct control *control, const char *exchange,
	const char *key, uint64_t token)
{
	struct mq_message message;
	mq_message_init(&message);
	message.urgent = true;
	int r = mq_properties_set(&message.exchange, exchange);
	if (r == 0)
		r = mq_properties_set(&message.routing_key, key);
	if (r == 0)
		r = mq_properties_set(&message.properties.reply_to, daemon->topology.control_queue);
	if (r == 0)
		r = control_encode_headers(control, mq_header_put, &message.properties);
	if (r == 0)
		return replies_send(daemon, &message, token);
	mq_message_deinit(&message);
	return r;
}

/* ---- telling ---- */

/* Another may have begun to wait while we could not be asked; or wait with a copy of what was given
 * back to us. */
static int tell(struct job *job, enum purpose purpose)
{
	struct daemon *daemon = job->daemon;
	const struct control word = {
		.op = CONTROL_BACK,
		.id = job->id,
		.instance = daemon->instance.id,
	};
	return send_control(
		daemon, &word, daemon->config->control.name, "", job_token(job, purpose));
}

static void tell_back(struct job *job)
{
	/* What cannot be said is owed for ever: no proof any more. */
	job->owed++;
	if (tell(job, FOR_ANSWER) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

/* ---- asking ---- */

/* Its token names a job for as long as this instance lives. */
static void number_question(const struct job *job, char ret[QUESTION_MAX])
{
	snprintf(ret, QUESTION_MAX, "%llu", (unsigned long long)job->token);
}

static void ask(struct job *job)
{
	struct daemon *daemon = job->daemon;
	char number[QUESTION_MAX], print[QUESTION_MAX];
	number_question(job, number);
	snprintf(print, sizeof(print), "%016llx", (unsigned long long)job->print);
	const struct control question = {
		.op = CONTROL_WHO_HAS,
		.id = job->id,
		.instance = daemon->instance.id,
		.print = print,
		.question = number,
	};
	job->asked_us = 0;
	job->asking++;
	if (send_control(daemon, &question, daemon->config->control.name, "",
		    job_token(job, FOR_QUESTION)) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

static void begin_to_wait(struct job *job)
{
	/* Nobody can be asked: the time alone must do. */
	if (!job->daemon->config->control.name[0])
		job->asked_us = clock_now_us();
	else if (!job->is_clean)
		ask(job);
	else if (job->asking++, tell(job, FOR_QUESTION) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

void suspects_begin(struct job *job, bool is_clean)
{
	struct daemon *daemon = job->daemon;
	job->phase = JOB_SUSPECT;
	job->is_clean = is_clean && daemon->config->control.name[0];
	job->asked_us = 0;
	DL_APPEND2(daemon->suspects, job, prev_waiting, next_waiting);
	if (!job->is_clean) {
		log_notice("request.suspect", LOG_S("task", job->id),
			LOG_I("crashes", job->crashes),
			LOG_S("proceeding", "the other runners are asked"));
		/* Brokers count how often they deliver, and drop what they delivered too often. A
		 * copy begins anew. */
		lease_renew_now(job);
	}
	begin_to_wait(job);
	daemon_balance_soon(daemon);
}

void suspects_begin_again(struct job *job)
{
	struct daemon *daemon = job->daemon;
	/* Where it has come again meanwhile, or the connection is gone, there is nothing to do. */
	if (!custody_is_live(&job->custody) || daemon->stopping || job_find(daemon, job->id)) {
		job_return(job);
		return;
	}
	HASH_ADD_KEYPTR(hh_id, daemon->jobs_by_id, job->id, strlen(job->id), job);
	job->is_listed = true;
	suspects_begin(job, false);
}

void suspects_end(struct job *job)
{
	if (job->phase != JOB_SUSPECT)
		return;
	DL_DELETE2(job->daemon->suspects, job, prev_waiting, next_waiting);
	job->phase = JOB_NEW;
}

static void start(struct job *job)
{
	suspects_end(job);
	intake_start(job);
}

void suspects_on_asked(struct job *job)
{
	/* Of several only the last one counts. */
	if (--job->asking > 0 || job->phase != JOB_SUSPECT)
		return;
	job->asked_us = clock_now_us();
	if (job->is_clean && custody_is_live(&job->custody))
		start(job);
}

static bool is_ours(const struct job *job)
{
	return job->phase == JOB_RUNNING || job->phase == JOB_READY || job->phase == JOB_OVER;
}

void suspects_connected(struct daemon *daemon)
{
	bool can_be_asked = daemon->config->control.name[0];
	for (struct job *job = daemon->jobs_by_token; can_be_asked && job; job = job->hh_token.next)
		if (job->phase == JOB_SUSPECT)
			ask(job);
		else if (job->id && is_ours(job))
			tell_back(job);
}

/* Nobody has it. But a run that takes its runner with it at once must count, so first a copy is
 * made that says that it has begun. */
static bool is_counted(struct job *job)
{
	const struct daemon *daemon = job->daemon;
	if (!daemon->rules.leases || !daemon->topology.has_hold_queues)
		return true;
	if (!job->is_begun) {
		job->is_begun = true;
		lease_renew_now(job);
	}
	return job->begun_number && job->custody.number >= job->begun_number;
}

/* Whoever had it is dead by now, or would have answered: and we would have heard it, for a ping
 * that was sent since then was answered. */
static bool has_waited(const struct job *job)
{
	const struct daemon *daemon = job->daemon;
	return job->asked_us && custody_is_live(&job->custody) &&
	       daemon->pings.proof_us >= job->asked_us + daemon->rules.suspect_us;
}

static void start_if_due(struct job *job)
{
	if (job->phase == JOB_SUSPECT && has_waited(job) && is_counted(job))
		start(job);
}

void suspects_on_turn(struct job *job)
{
	start_if_due(job);
}

void suspects_tick(struct daemon *daemon)
{
	uint64_t now = clock_now_us();
	for (struct job *job = daemon->suspects, *next; job; job = next) {
		next = job->next_waiting;
		if (!has_waited(job) && job->asked_us &&
			now >= job->asked_us + daemon->rules.suspect_us)
			lease_ping_soon(daemon);
		start_if_due(job);
	}
}

/* ---- answering ---- */

static uint64_t print_in(const struct control *question)
{
	return question->print ? strtoull(question->print, NULL, 16) : 0;
}

static bool was_answered(struct daemon *daemon, const struct control *question)
{
	return memory_has_print(&daemon->finished, question->id, print_in(question));
}

/* It may be another request that only looks the same. */
static void repeat_answer(struct daemon *daemon, const struct control *question)
{
	const struct mq_message *answer =
		answers_find(&daemon->answers, question->id, print_in(question));
	struct mq_message message;
	if (answer && mq_message_copy(answer, &message) == 0)
		replies_send(daemon, &message, 0);
}

/* Of two that wait with the same request, the one whose instance comes first in the alphabet keeps
 * it; and waits anew, as the other may have been somebody's answer. */
static const char *state_of(struct daemon *daemon, const struct control *question, struct job **ret)
{
	struct job *job;
	HASH_FIND(hh_id, daemon->jobs_by_id, question->id, strlen(question->id), job);
	*ret = job;
	if (!job)
		return was_answered(daemon, question) ? "done" : NULL;
	switch (job->phase) {
	case JOB_SUSPECT:
		return strcmp(daemon->instance.id, question->instance) < 0 ? "leased" : NULL;
	case JOB_LEAVING:
	case JOB_NEW:
		return NULL;
	default:
		break;
	}
	if (job->is_fenced)
		return NULL;
	/* What is parked and not here may have gone its way: rather one copy too many. */
	if (custody_is_live(&job->custody))
		return "leased";
	return daemon->topology.has_hold_queues ? "mine" : NULL;
}

void suspects_answer(struct daemon *daemon, const struct control *question, const char *reply_to)
{
	char queue[TOPOLOGY_NAME_MAX];
	struct job *job;
	if (!reply_to || strcmp(question->instance, daemon->instance.id) == 0)
		return;
	const char *state = state_of(daemon, question, &job);
	if (!state)
		return;
	struct control answer = {
		.op = CONTROL_HOLDER,
		.id = question->id,
		.instance = daemon->instance.id,
		.state = (char *)state,
		.question = question->question,
	};
	if (strcmp(state, "mine") == 0) {
		topology_hold_queue(
			daemon->config, daemon->instance.id, job->queue, queue, sizeof(queue));
		answer.queue = queue;
		if (!job->answered_us)
			job->answered_us = clock_now_us();
	}
	log_info("request.claimed", LOG_S("task", question->id), LOG_S("state", state));
	if (!job) {
		repeat_answer(daemon, question);
		send_control(daemon, &answer, "", reply_to, 0);
		return;
	}
	custody_answered(&job->custody);
	job->owed++;
	if (send_control(daemon, &answer, "", reply_to, job_token(job, FOR_ANSWER)) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
	if (job->phase == JOB_SUSPECT)
		ask(job);
}

void suspects_on_answer(struct daemon *daemon, const struct control *answer)
{
	struct job *job;
	HASH_FIND(hh_id, daemon->jobs_by_id, answer->id, strlen(answer->id), job);
	if (!job || job->phase != JOB_SUSPECT || !custody_is_live(&job->custody))
		return;
	char number[QUESTION_MAX];
	number_question(job, number);
	if (strcmp(answer->question, number) != 0)
		return;
	bool is_theirs = strcmp(answer->state, "mine") == 0;
	/* Nobody makes us send requests anywhere else. */
	if (is_theirs && (!answer->queue || !topology_is_hold_queue(answer->queue)))
		return;
	log_notice("request.found", LOG_S("task", job->id), LOG_S("with", answer->instance),
		LOG_S("state", answer->state),
		LOG_S("proceeding", is_theirs ? "it is handed back" : "it is theirs already"));
	suspects_end(job);
	if (!is_theirs)
		job_leave(job);
	else if (lease_hand_over(job, answer->queue, false) < 0)
		job_give_back(job);
}

void suspects_on_back(struct daemon *daemon, const struct control *word)
{
	struct job *job = job_find(daemon, word->id);
	if (job && job->phase == JOB_SUSPECT && strcmp(word->instance, daemon->instance.id) != 0) {
		job->is_clean = false;
		ask(job);
	}
}
