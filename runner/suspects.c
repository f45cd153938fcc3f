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
#include "wire/fingerprint.h"

#define QUESTION_MAX 48

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

static int tell(struct job *job, enum control_op op, enum purpose purpose)
{
	struct daemon *daemon = job->daemon;
	char number[GIVING_MAX];
	suspects_number_giving(job->freed_number, number);
	const struct control word = {
		.op = op,
		.id = job->id,
		.instance = daemon->instance.id,
		.question = op == CONTROL_FREE ? number : NULL,
	};
	return send_control(
		daemon, &word, daemon->config->control.name, "", job_token(job, purpose));
}

/* Another may have begun to wait while we could not be asked. */
void suspects_tell_back(struct job *job)
{
	job->kept_silent = false;
	/* What cannot be said is owed for ever: no proof any more. */
	job->owed++;
	if (tell(job, CONTROL_BACK, FOR_ANSWER) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

int suspects_tell_free(struct job *job)
{
	if (!job->daemon->config->control.name[0] || job->daemon->binding.is_away)
		return -ENOTCONN;
	return tell(job, CONTROL_FREE, FOR_FREEING);
}

/* ---- asking ---- */

/* Its token names a job for as long as this instance lives. An answer to an earlier question may no
 * longer be true. */
static void number_question(const struct job *job, char ret[QUESTION_MAX])
{
	snprintf(ret, QUESTION_MAX, "%llu.%llu", (unsigned long long)job->token,
		(unsigned long long)job->question);
}

static void send_question(struct job *job)
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
	job->asking++;
	if (send_control(daemon, &question, daemon->config->control.name, "",
		    job_token(job, FOR_QUESTION)) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

static void ask(struct job *job)
{
	job->question++;
	job->asked_us = job->again_us = job->ask_at_us = 0;
	send_question(job);
}

/* Not at once: what is on its way to the present question is to count. Of two that asked anew
 * whenever they heard each other none would ever get an answer. */
static void ask_soon(struct job *job)
{
	job->asked_us = job->again_us = 0;
	if (!job->ask_at_us)
		job->ask_at_us = clock_now_us() + job->daemon->rules.suspect_us / 32;
}

/* Where the exchange was made anew, those who have the task did not hear the first one: by now they
 * have bound their queues to it again. */
static void ask_again_if_due(struct job *job)
{
	const struct daemon *daemon = job->daemon;
	if (job->asked_us && !job->again_us && !job->asking && !job->ask_at_us &&
		clock_now_us() >= job->asked_us + daemon->rules.suspect_us / 2)
		send_question(job);
}

void suspects_number_giving(uint64_t number, char ret[GIVING_MAX])
{
	snprintf(ret, GIVING_MAX, "%llu", (unsigned long long)number);
}

/* An instance may give the same request back several times; what is said of one of them is not true
 * of another. */
uint64_t suspects_giving(const char *instance, const char *number)
{
	const struct slice parts[] = { slice_of(instance), slice_of(number) };
	return fingerprint(parts, sizeof(parts) / sizeof(*parts));
}

/* Nobody has it, and we have all that there is of it. */
static void start_freed(struct job *job)
{
	log_debug("request.free", LOG_S("task", job->id),
		LOG_S("proceeding", "nobody else has it: it is started at once"));
	memory_take(&job->daemon->freed, job->id);
	job->custody.knows_all = true;
	suspects_end(job);
	intake_start(job);
}

void suspects_begin(struct job *job, uint64_t giving)
{
	struct daemon *daemon = job->daemon;
	job->phase = JOB_SUSPECT;
	job->giving = giving;
	job->asked_us = job->again_us = job->ask_at_us = 0;
	DL_APPEND2(daemon->suspects, job, prev_waiting, next_waiting);
	if (giving && memory_has_print(&daemon->freed, job->id, giving)) {
		start_freed(job);
		return;
	}
	if (giving)
		log_debug("request.given-back-here", LOG_S("task", job->id),
			LOG_S("proceeding", "who gave it back is to say that it is free"));
	else
		log_notice("request.suspect", LOG_S("task", job->id),
			LOG_I("crashes", job->crashes),
			LOG_S("proceeding", "the other runners are asked"));
	task_events_tell(job, EVENT_WAITING, CAUSE_NONE);
	/* Brokers count how often they deliver, and drop what they delivered too often. A copy
	 * begins anew. */
	lease_renew_now(job);
	lease_spare(job);
	if (daemon->config->control.name[0])
		ask(job);
	else
		job->asked_us = job->again_us =
			clock_now_us(); /* nobody can be: the time alone must do */
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
	suspects_begin(job, 0);
}

void suspects_end(struct job *job)
{
	if (job->phase != JOB_SUSPECT)
		return;
	DL_DELETE2(job->daemon->suspects, job, prev_waiting, next_waiting);
	job->phase = JOB_NEW;
}

void suspects_wait_anew(struct job *job)
{
	job->giving = 0;
	if (job->daemon->config->control.name[0])
		ask(job);
}

void suspects_on_asked(struct job *job)
{
	/* Of several only the last one counts. */
	if (--job->asking > 0 || job->phase != JOB_SUSPECT)
		return;
	if (job->asked_us)
		job->again_us = clock_now_us();
	else
		job->asked_us = clock_now_us();
}

static bool is_ours(const struct job *job)
{
	return job->phase == JOB_RUNNING || job->phase == JOB_READY || job->phase == JOB_HELD ||
	       job->phase == JOB_OVER;
}

void suspects_connected(struct daemon *daemon)
{
	bool can_be_asked = daemon->config->control.name[0];
	for (struct job *job = daemon->jobs_by_token; can_be_asked && job; job = job->hh_token.next)
		if (job->phase == JOB_SUSPECT)
			ask(job);
		else if (job->id && is_ours(job))
			suspects_tell_back(job);
}

/* Nobody has it. But a run that takes its runner with it at once must count, so first a copy is
 * made that says that it has begun. */
static bool is_counted(struct job *job)
{
	if (!lease_is_possible(job->daemon) || job->is_held)
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
	return job->asked_us && job->again_us && !job->ask_at_us &&
	       custody_is_live(&job->custody) &&
	       daemon->pings.proof_us >= job->asked_us + daemon->rules.suspect_us &&
	       daemon->pings.proof_us >= job->again_us + daemon->rules.suspect_us / 4;
}

static void start_if_due(struct job *job)
{
	if (job->phase != JOB_SUSPECT || !has_waited(job) || !is_counted(job))
		return;
	suspects_end(job);
	intake_start(job);
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
		if (job->ask_at_us && now >= job->ask_at_us)
			ask(job);
		ask_again_if_due(job);
		if (!has_waited(job) && job->asked_us &&
			now >= job->asked_us + daemon->rules.suspect_us)
			pings_soon(daemon);
		start_if_due(job);
	}
}

/* ---- answering ---- */

static uint64_t print_in(const struct control *question)
{
	return question->print ? strtoull(question->print, NULL, 16) : 0;
}

/* Another request of the same id is another task: it is no concern of who asks. */
static struct job *find_asked(struct daemon *daemon, const struct control *question)
{
	struct job *job = job_find(daemon, question->id);
	return job && question->print && job->print != print_in(question) ? NULL : job;
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
 * it. */
static const char *state_of(struct job *job, const struct control *question)
{
	const struct daemon *daemon = job->daemon;
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
	if (daemon->has_hold_queues)
		return "mine";
	job->kept_silent = true;
	return NULL;
}

static void answer_done(struct daemon *daemon, struct control *answer,
	const struct control *question, const char *to)
{
	answer->state = "done";
	repeat_answer(daemon, question);
	send_control(daemon, answer, "", to, 0);
}

static void answer_ours(struct job *job, struct control *answer, const char *to)
{
	char queue[TOPOLOGY_NAME_MAX];
	struct daemon *daemon = job->daemon;
	if (strcmp(answer->state, "mine") == 0) {
		topology_hold_queue(&daemon->topology, job->queue, queue, sizeof(queue));
		answer->queue = queue;
		if (!job->answered_us)
			job->answered_us = clock_now_us();
	}
	custody_answered(&job->custody);
	job->owed++;
	if (send_control(daemon, answer, "", to, job_token(job, FOR_ANSWER)) < 0)
		log_error("control.no-memory", LOG_S("task", job->id));
}

void suspects_answer(struct daemon *daemon, const struct control *question, const char *reply_to)
{
	struct job *job = find_asked(daemon, question);
	struct control answer = {
		.op = CONTROL_HOLDER,
		.id = question->id,
		.instance = daemon->instance.id,
		.question = question->question,
	};
	if (!reply_to || strcmp(question->instance, daemon->instance.id) == 0)
		return;
	if (!job && was_answered(daemon, question))
		answer_done(daemon, &answer, question, reply_to);
	else if (job && (answer.state = (char *)state_of(job, question)))
		answer_ours(job, &answer, reply_to);
	if (answer.state)
		log_info("request.claimed", LOG_S("task", question->id),
			LOG_S("state", answer.state));
	/* Who keeps it waits anew, as the other may have been somebody's answer; and the other, who
	 * may have been asked too soon, is to hear of us. */
	if (job && job->phase == JOB_SUSPECT)
		ask_soon(job);
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
	if (job && job->phase == JOB_SUSPECT && strcmp(word->instance, daemon->instance.id) != 0)
		ask(job);
}

void suspects_on_free(struct daemon *daemon, const struct control *word)
{
	struct job *job = job_find(daemon, word->id);
	/* Older runners do not say which. */
	uint64_t giving = word->question ? suspects_giving(word->instance, word->question) : 0;
	if (!giving)
		return;
	if (job && job->phase == JOB_SUSPECT && job->giving == giving)
		start_freed(job);
	else if (memory_add_print(&daemon->freed, word->id, giving) < 0)
		log_error("control.no-memory", LOG_S("task", word->id));
}
