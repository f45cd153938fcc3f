/* SPDX-License-Identifier: Apache-2.0 */

/* Control messages to the runner itself. */

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "runner/control_private.h"

/* ---- who is there ---- */

static const char *state_word(const struct daemon *daemon)
{
	if (daemon->stopping)
		return "stopping";
	return daemon->draining ? "draining" : "ready";
}

struct counts {
	int64_t slots, used, waiting, held, paused;
};

static void count(const struct daemon *daemon, struct counts *ret)
{
	struct task_view view;
	*ret = (struct counts){ 0 };
	for (size_t i = 0; i < daemon->config->n_queues; i++) {
		ret->slots += daemon->config->queues[i].slots;
		ret->used += (int64_t)daemon->queues[i].running;
	}
	for (const struct job *job = daemon->jobs_by_token; job; job = job->hh_token.next) {
		const struct task *task =
			job->phase == JOB_RUNNING ? engine_find(daemon->engine, job->id) : NULL;
		if (task)
			task_look(task, &view);
		ret->held += job->phase == JOB_HELD;
		ret->paused += task && strcmp(view.state, "paused") == 0;
		ret->waiting += job->phase == JOB_READY || job->phase == JOB_SUSPECT ||
				(task && strcmp(view.state, "waiting") == 0);
	}
}

static void add_counts(const struct daemon *daemon, struct record *answer)
{
	struct counts n;
	count(daemon, &n);
	record_add_int(answer, "slots", n.slots);
	record_add_int(answer, "used", n.used);
	record_add_int(answer, "free", n.slots > n.used ? n.slots - n.used : 0);
	record_add_int(answer, "waiting", n.waiting);
	record_add_int(answer, "held", n.held);
	record_add_int(answer, "paused", n.paused);
}

static void add_queues(const struct daemon *daemon, struct record *answer)
{
	const struct config *config = daemon->config;
	struct buf names = { 0 };
	int r = 0;
	for (size_t i = 0; i < config->n_queues && r == 0; i++)
		r = buf_printf(&names, "%s%s:%u", i ? "," : "", config->queues[i].name,
			config->queues[i].slots);
	if (r == 0 && buf_append(&names, "", 1) == 0)
		record_add_text(answer, "queues", names.data);
	buf_deinit(&names);
}

static void pong(struct inquiry *q)
{
	const struct daemon *daemon = q->daemon;
	struct record answer;
	char host[HOST_NAME_MAX + 1] = "";
	double load;
	gethostname(host, sizeof(host) - 1);
	control_begin_answer(q, &answer);
	record_add_text(&answer, "result", CONTROL_PONG);
	record_add_text(&answer, "state", state_word(daemon));
	record_add_text(&answer, "host", host);
	record_add_int(&answer, "pid", getpid());
	record_add_text(&answer, "version", TASKRUNNER_VERSION);
	record_add_int(
		&answer, "uptime_ms", (int64_t)((clock_now_us() - daemon->started_us) / 1000));
	if (getloadavg(&load, 1) == 1)
		record_add_number(&answer, "load", load);
	add_counts(daemon, &answer);
	add_queues(daemon, &answer);
	control_answer(q, &answer, false);
}

/* ---- what it can run ---- */

struct listing {
	struct inquiry *q;
	size_t n;
};

/* "gpu,matlab", as requests have them. */
static void add_labels(struct record *answer, char **labels)
{
	struct buf text = { 0 };
	int r = 0;
	for (size_t i = 0; r == 0 && labels && labels[i]; i++)
		r = buf_printf(&text, "%s%s", i > 0 ? "," : "", labels[i]);
	if (r == 0 && text.len > 0 && buf_append(&text, "", 1) == 0)
		record_add_text(answer, "labels", text.data);
	buf_deinit(&text);
}

static void tell_program(void *userdata, const struct program *program, const char *from)
{
	struct listing *listing = userdata;
	struct record answer;
	control_begin_answer(listing->q, &answer);
	record_add_text(&answer, "result", CONTROL_ACCEPTED);
	/* As with tasks: what has an id is one of many. */
	record_add_text(&answer, "id", program->name);
	record_add_text(&answer, "program", program->name);
	record_add_text(&answer, "from", from);
	if (program->timeout_us)
		record_add_int(&answer, "timeout_ms", (int64_t)(program->timeout_us / 1000));
	if (program->slots)
		record_add_int(&answer, "slots", program->slots);
	add_labels(&answer, program->labels);
	control_answer(listing->q, &answer, true);
	listing->n++;
}

static void programs(struct inquiry *q)
{
	struct listing listing = { q, 0 };
	catalogue_list(q->daemon->catalogue, tell_program, &listing);
	control_answer_end(q, listing.n);
}

/* ---- what it is to do ---- */

static void drain(struct inquiry *q)
{
	daemon_drain(q->daemon, q->control->op == CONTROL_DRAIN);
	control_answer_accepted(q);
}

static int find_queue(const struct daemon *daemon, const char *name)
{
	const struct config *config = daemon->config;
	if (!name)
		return config->n_queues == 1 ? 0 : -1;
	for (size_t i = 0; i < config->n_queues; i++)
		if (strcmp(config->queues[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void set_slots(struct inquiry *q)
{
	int queue = find_queue(q->daemon, q->control->queue);
	int64_t slots = 0;
	if (queue < 0) {
		control_answer_error(q, NULL,
			q->control->queue ? "it has no such queue"
					  : "it has several queues, and none is named");
		return;
	}
	parse_int(q->control->slots, 0, INT32_MAX, &slots);
	if (slots_set(q->daemon, (size_t)queue, (unsigned)slots) < 0) {
		control_answer_error(q, NULL, "it has no memory for so many");
		return;
	}
	log_notice("runner.slots", LOG_S("queue", q->daemon->config->queues[queue].name),
		LOG_I("slots", slots));
	control_answer_accepted(q);
}

static void reload(struct inquiry *q)
{
	struct error err = { 0 };
	if (daemon_reload(q->daemon, &err) < 0)
		control_answer_error(q, NULL, err.text);
	else
		control_answer_accepted(q);
}

void control_runner(struct inquiry *q)
{
	static void (*const steps[CONTROL_OPS])(struct inquiry *) = {
		[CONTROL_PING] = pong,
		[CONTROL_PROGRAMS] = programs,
		[CONTROL_DRAIN] = drain,
		[CONTROL_UNDRAIN] = drain,
		[CONTROL_SET_SLOTS] = set_slots,
		[CONTROL_RELOAD] = reload,
	};
	steps[q->control->op](q);
}
