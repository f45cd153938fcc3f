/* SPDX-License-Identifier: Apache-2.0 */

/* Control messages about tasks: about one, which only its owner answers, or about many. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "common/text.h"
#include "runner/control_private.h"
#include "wire/fingerprint.h"

/* ---- cancelling ---- */

/* What waits here is answered at once. */
static bool cancel_waiting(struct job *job)
{
	if (job->phase != JOB_READY && job->phase != JOB_HELD)
		return false;
	if (!custody_is_live(&job->custody)) /* whoever gets it next is to hear of it */
		return false;
	memory_take(&job->daemon->cancelled, job->id);
	job_stop_waiting(job);
	replies_cancelled(job, &job->request);
	return true;
}

const char *control_cancel(struct daemon *daemon, const char *id)
{
	struct task *task = engine_find(daemon->engine, id);
	if (task) {
		bool accepted = engine_stop(daemon->engine, task, CAUSE_CANCELLED);
		log_info("task.cancel", LOG_S("task", id),
			LOG_S("result", accepted ? "accepted" : "too late"));
		return accepted ? CONTROL_ACCEPTED : CONTROL_GONE;
	}
	struct job *job = job_find(daemon, id);
	if (job ? job->phase == JOB_OVER : memory_has(&daemon->finished, id))
		return CONTROL_GONE;
	memory_add(&daemon->cancelled, id);
	log_info(
		"task.cancel", LOG_S("task", id), LOG_S("result", job ? "accepted" : "remembered"));
	if (!job)
		return NULL;
	cancel_waiting(job);
	/* A suspect may be running elsewhere, and be told there. */
	return job->phase != JOB_SUSPECT ? CONTROL_ACCEPTED : NULL;
}

static const char *do_cancel(struct inquiry *q, const char *id)
{
	const char *result = control_cancel(q->daemon, id);
	if (result && strcmp(result, CONTROL_GONE) == 0)
		cancels_too_late(q->daemon, id);
	else
		cancels_heard(q->daemon, id);
	return result;
}

static const char *do_kill(struct inquiry *q, const char *id)
{
	const char *result = do_cancel(q, id);
	struct task *task = engine_find(q->daemon->engine, id);
	if (task && result && strcmp(result, CONTROL_ACCEPTED) == 0)
		engine_kill(task, CAUSE_CANCELLED);
	return result;
}

/* ---- what is done to a task that is here ---- */

static const char *pause_task(struct inquiry *q, struct job *job)
{
	struct task *task = engine_find(q->daemon->engine, job->id);
	return task && engine_pause(q->daemon->engine, task) ? CONTROL_ACCEPTED
							     : CONTROL_NOT_RUNNING;
}

static const char *resume_task(struct inquiry *q, struct job *job)
{
	struct task *task = engine_find(q->daemon->engine, job->id);
	return task && engine_resume(q->daemon->engine, task) ? CONTROL_ACCEPTED
							      : CONTROL_NOT_RUNNING;
}

static const char *hold_task(struct inquiry *q, struct job *job)
{
	(void)q;
	return held_hold(job) ? CONTROL_ACCEPTED : CONTROL_NOT_RUNNING;
}

static const char *play_task(struct inquiry *q, struct job *job)
{
	(void)q;
	held_play(job);
	return CONTROL_ACCEPTED;
}

/* "USR1", "SIGUSR1" or "10"; 0: there is none. */
static int signal_number(const char *text)
{
	int64_t number;
	if (parse_int(text, 1, SIGRTMAX, &number) == 0)
		return (int)number;
	const char *name = strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
	for (int i = 1; i < NSIG; i++) {
		const char *known = sigabbrev_np(i);
		if (known && strcmp(known, name) == 0)
			return i;
	}
	return 0;
}

/* A question that is asked again, because its answer was late, sends no second signal. */
static const char *signal_task(struct inquiry *q, struct job *job)
{
	struct daemon *daemon = q->daemon;
	struct task *task = engine_find(daemon->engine, job->id);
	struct slice asked = slice_of(q->delivery->properties.correlation_id);
	uint64_t print = fingerprint(&asked, 1);
	if (asked.len > 0 && memory_has_print(&daemon->signalled, job->id, print))
		return CONTROL_ACCEPTED;
	if (!task || !engine_signal(task, signal_number(q->control->signal)))
		return CONTROL_NOT_RUNNING;
	if (asked.len > 0)
		memory_add_print(&daemon->signalled, job->id, print);
	log_info("task.signal", LOG_S("task", job->id), LOG_S("signal", q->control->signal));
	return CONTROL_ACCEPTED;
}

static const char *look_at_task(struct inquiry *q, struct job *job)
{
	(void)q, (void)job;
	return CONTROL_ACCEPTED; /* the facts are in every answer */
}

/* ---- facts ---- */

static const struct request *request_of(const struct job *job)
{
	const struct task *task = engine_find(job->daemon->engine, job->id);
	return task ? task_request(task) : &job->request;
}

static void add_view(struct record *answer, const struct task *task)
{
	struct task_view view;
	task_look(task, &view);
	record_add_text(answer, "state", view.state);
	record_add_text(answer, "waits_for", view.waits_for);
	record_add_int(answer, "running_ms", (int64_t)(view.running_us / 1000));
	record_add_int(answer, "cpu_ms", (int64_t)(view.cpu_us / 1000));
	if (view.memory) /* else nobody has looked yet */
		record_add_int(answer, "memory", (int64_t)view.memory);
	if (view.peak_memory)
		record_add_int(answer, "peak_memory", (int64_t)view.peak_memory);
	if (view.pid)
		record_add_int(answer, "pid", view.pid);
	if (view.progress >= 0)
		record_add_number(answer, "progress", view.progress);
	if (view.message[0])
		record_add_text(answer, "message", view.message);
}

static const char *state_word(const struct job *job)
{
	if (job->phase == JOB_HELD || (job->phase == JOB_SUSPECT && job->is_held))
		return "held";
	return job->phase == JOB_OVER ? "ending" : "waiting";
}

static void add_facts(struct inquiry *q, const struct job *job, struct record *answer)
{
	const struct daemon *daemon = q->daemon;
	const struct request *request = request_of(job);
	const struct task *task = engine_find(daemon->engine, job->id);
	record_add_text(answer, "program", request->script);
	if (task)
		add_view(answer, task);
	else
		record_add_text(answer, "state", state_word(job));
	if (job->phase == JOB_SUSPECT)
		record_add_text(answer, "waits_for", "word");
	if (job->events.waited_ms != EVENT_UNKNOWN && job->events.is_wanted)
		record_add_int(answer, "waited_ms", job->events.waited_ms);
	record_add_text(answer, "group", request->group);
	record_add_text(answer, "user", request->user_id);
	record_add_text(answer, "project", request->project_id);
	record_add_text(answer, "labels", request->labels);
	record_add_text(answer, "queue", daemon->config->queues[job->queue].name);
	record_add_int(answer, "attempt", job->attempt);
	if (job->copy.properties.priority >= 0)
		record_add_int(answer, "priority", job->copy.properties.priority);
	if (request->depth)
		record_add_int(answer, "depth", request->depth);
	record_add_int(answer, "age_ms", (int64_t)((clock_now_us() - job->since_us) / 1000));
}

/* The last lines, as text. */
static void add_tail(struct record *answer, const char *name, const struct task *task,
	enum pipe_end end, size_t max)
{
	struct buf bytes = { 0 }, text = { 0 };
	if (task_text(task, end, &bytes) == 0) {
		size_t skip = bytes.len > max ? bytes.len - max : 0;
		for (size_t i = skip; i < bytes.len; i++)
			if (bytes.data[i] == '\0')
				bytes.data[i] = ' ';
		if (bytes.len > skip &&
			text_append_utf8(&text,
				(struct slice){ bytes.data + skip, bytes.len - skip }) == 0 &&
			buf_append(&text, "", 1) == 0)
			record_add_text(answer, name, text.data);
	}
	buf_deinit(&bytes);
	buf_deinit(&text);
}

static void add_tails(struct inquiry *q, const struct job *job, struct record *answer)
{
	const struct task *task = engine_find(q->daemon->engine, job->id);
	int64_t max = 0;
	if (!task || !q->control->tail || parse_int(q->control->tail, 0, INT32_MAX, &max) < 0)
		return;
	add_tail(answer, "stdout", task, PIPE_STDOUT, (size_t)max);
	add_tail(answer, "stderr", task, PIPE_STDERR, (size_t)max);
}

/* ---- one and many ---- */

static const char *(*const steps[CONTROL_OPS])(struct inquiry *q, struct job *job) = {
	[CONTROL_PAUSE] = pause_task,
	[CONTROL_RESUME] = resume_task,
	[CONTROL_HOLD] = hold_task,
	[CONTROL_PLAY] = play_task,
	[CONTROL_SIGNAL] = signal_task,
	[CONTROL_STATUS] = look_at_task,
	[CONTROL_LIST] = look_at_task,
};

static bool wants_facts(const struct inquiry *q)
{
	return q->control->op == CONTROL_STATUS || q->control->op == CONTROL_LIST;
}

static const char *carry_out(struct inquiry *q, const char *id)
{
	if (q->control->op == CONTROL_CANCEL)
		return do_cancel(q, id);
	if (q->control->op == CONTROL_KILL)
		return do_kill(q, id);
	struct job *job = job_find(q->daemon, id);
	if (!job)
		return memory_has(&q->daemon->finished, id) ? CONTROL_GONE : NULL;
	/* Whoever has it answers; but if nobody has, it is held here. */
	bool is_play = q->control->op == CONTROL_PLAY && job->is_held;
	if (job->phase == JOB_SUSPECT && q->control->op != CONTROL_LIST && !is_play)
		return NULL;
	return job->phase == JOB_OVER && !wants_facts(q) ? CONTROL_GONE
							 : steps[q->control->op](q, job);
}

/* False: it is not ours, and nothing is said. Of many, also those are told that may be somebody
 * else's: what ends them is remembered here. */
static bool tell(struct inquiry *q, const char *id, bool is_one_of_many)
{
	const char *result = carry_out(q, id);
	struct record answer;
	bool is_end = q->control->op == CONTROL_CANCEL || q->control->op == CONTROL_KILL;
	if (!result && is_one_of_many && is_end)
		result = CONTROL_ACCEPTED;
	if (!result)
		return false;
	control_begin_answer(q, &answer);
	record_add_text(&answer, "id", id);
	record_add_text(&answer, "result", result);
	const struct job *job = job_find(q->daemon, id);
	if (job && wants_facts(q)) {
		add_facts(q, job, &answer);
		add_tails(q, job, &answer);
	} else if (job && strcmp(result, CONTROL_NOT_RUNNING) == 0) {
		const struct task *task = engine_find(q->daemon->engine, id);
		struct task_view view = { .state = state_word(job) };
		if (task)
			task_look(task, &view);
		record_add_text(&answer, "state", view.state);
	}
	control_answer(q, &answer, is_one_of_many);
	return true;
}

static bool is_selected(const struct job *job, const void *userdata)
{
	const struct inquiry *q = userdata;
	return (job->phase != JOB_OVER || wants_facts(q)) &&
	       sweeps_selects(&q->control->selector, request_of(job));
}

static bool is_swept(const struct job *job, const void *userdata)
{
	(void)userdata;
	return job->phase != JOB_OVER && cancels_swept(job, request_of(job));
}

/* By their ids, for what is done to one may free others. */
static char **select_ids(struct daemon *daemon,
	bool (*is_wanted)(const struct job *job, const void *userdata), const void *userdata,
	size_t *ret_n)
{
	size_t max = HASH_CNT(hh_token, daemon->jobs_by_token), n = 0;
	char **ids = calloc(max + 1, sizeof(*ids));
	for (struct job *job = daemon->jobs_by_token; ids && job; job = job->hh_token.next)
		if (job->is_listed && job->phase != JOB_LEAVING && job->phase != JOB_NEW &&
			is_wanted(job, userdata) && (ids[n] = strdup(job->id)))
			n++;
	*ret_n = ids ? n : 0;
	return ids;
}

/* What is still in queues is cancelled when it comes. */
static void sweep(struct inquiry *q)
{
	int64_t seconds;
	if (parse_int(q->control->queued, 1, INT32_MAX, &seconds) == 0)
		cancels_sweep(q->daemon, &q->control->selector, seconds * 1000);
	log_info("tasks.swept", LOG_S("group", q->control->selector.group),
		LOG_S("program", q->control->selector.program),
		LOG_S("user", q->control->selector.user),
		LOG_S("project", q->control->selector.project), LOG_S("s", q->control->queued));
}

static void many(struct inquiry *q)
{
	size_t n, told = 0;
	char **ids = select_ids(q->daemon, is_selected, q, &n);
	if (q->control->queued)
		sweep(q);
	for (size_t i = 0; i < n; i++) {
		told += tell(q, ids[i], true);
		free(ids[i]);
	}
	free(ids);
	control_answer_end(q, told);
}

/* As if each had been named. */
void control_sweep(struct daemon *daemon)
{
	size_t n;
	char **ids = select_ids(daemon, is_swept, NULL, &n);
	for (size_t i = 0; i < n; i++) {
		control_cancel(daemon, ids[i]);
		free(ids[i]);
	}
	free(ids);
}

void control_tasks(struct inquiry *q)
{
	const struct control *control = q->control;
	if (control->op == CONTROL_SIGNAL && signal_number(control->signal) == 0)
		control_answer_error(q, control->id, "there is no such signal");
	else if (control->id)
		tell(q, control->id, false);
	else
		many(q);
}
