/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl logs: what a task has written to its stdout and stderr. */
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "taskctl/fresh.h"
#include "taskctl/watch.h"

#define VERB        "logs"
#define AGAIN_US    500000
#define PATIENCE_MS 3000
#define TAIL        65536

struct logs_verb {
	struct common_options options;
	struct watch watch;
	bool follow;
	bool is_known;     /* a runner has answered */
	uint64_t asked_us; /* when the question was sent that is under way; 0: none is */
	bool is_read;      /* what is kept has been read, or nothing is */
	uint64_t again_us;
	int64_t attempt;
	struct fresh out, err;
};

static int print(struct logs_verb *v, const char *out, const char *err)
{
	int r = 0;

	if (out)
		r = write_all(STDOUT_FILENO, fresh_part(&v->out, slice_of(out)));
	if (err && r == 0)
		(void)write_all(STDERR_FILENO, fresh_part(&v->err, slice_of(err)));
	if (r == 0)
		return GOING_ON;
	say("the output cannot be written: %s", strerror(-r));
	return EXIT_LOCAL;
}

/* Another run writes anew. */
static void see_attempt(struct logs_verb *v, int64_t attempt)
{
	if (attempt > v->attempt) {
		fresh_restart(&v->out);
		fresh_restart(&v->err);
		v->attempt = attempt;
	}
}

static int on_event(struct watch *w, struct watched *task, const struct taskclient_event *event)
{
	struct logs_verb *v = w->userdata;
	int r;

	if (event->kind == TASKCLIENT_CAUGHT_UP) {
		v->is_read = true;
		return GOING_ON;
	}
	see_attempt(v, event->attempt);
	if (event->attempt < v->attempt)
		return GOING_ON;
	r = print(v, event->stdout_text, event->stderr_text);
	if (r == GOING_ON && event->is_final)
		watch_over(w, task, EXIT_DONE);
	return r;
}

static int on_answer(struct logs_verb *v, const struct taskclient_answer *answer)
{
	const char *result = taskclient_answer_text(answer, "result");
	int64_t attempt = v->attempt;
	int r;

	v->is_known = true;
	if (result && strcmp(result, TASKCLIENT_ACCEPTED) != 0) /* it has ended */
		return v->watch.tasks[0].is_missing ? EXIT_DONE : GOING_ON;
	(void)taskclient_answer_int(answer, "attempt", &attempt);
	see_attempt(v, attempt);
	r = attempt < v->attempt ? GOING_ON
				 : print(v, taskclient_answer_text(answer, "stdout"),
					   taskclient_answer_text(answer, "stderr"));
	return r == GOING_ON && !v->follow ? EXIT_DONE : r;
}

static int on_other(struct watch *w, const struct taskclient_event *event)
{
	struct logs_verb *v = w->userdata;

	if (event->kind != TASKCLIENT_ANSWER && event->kind != TASKCLIENT_NO_ANSWER &&
		event->kind != TASKCLIENT_BAD_ANSWER)
		return GOING_ON;
	v->asked_us = 0;
	if (event->kind == TASKCLIENT_ANSWER)
		return on_answer(v, event->answer);
	if (w->tasks[0].is_missing && !v->is_known) {
		say("%s: nothing is kept for it, and no runner has it", w->tasks[0].id);
		return EXIT_NO_QUEUE;
	}
	return v->follow ? GOING_ON : EXIT_DONE;
}

static void on_missing(struct watch *w, struct watched *task)
{
	struct logs_verb *v = w->userdata;

	(void)task;
	v->is_read = true;
}

/* What was asked on a connection that was lost is never answered. */
static bool is_under_way(const struct logs_verb *v, uint64_t now_us)
{
	return v->asked_us > 0 && now_us < v->asked_us + 2 * PATIENCE_MS * 1000ull;
}

/* While it runs, its runner has more than the responses. */
static int on_idle(struct watch *w, int *ret_ms)
{
	struct logs_verb *v = w->userdata;
	const struct taskclient_control control = {
		.op = "status", .id = w->tasks[0].id, .tail = TAIL, .patience_ms = PATIENCE_MS
	};
	uint64_t now = clock_now_us();

	*ret_ms = AGAIN_US / 1000;
	if (!v->is_read || is_under_way(v, now) || now < v->again_us)
		return GOING_ON;
	v->again_us = now + AGAIN_US;
	v->asked_us = now;
	return taskclient_ask(w->client, &control, NULL, NULL) < 0 ? WATCH_LOST : GOING_ON;
}

static int take_option(void *verb, int c)
{
	struct logs_verb *v = verb;

	(void)c; /* there is one */
	v->follow = true;
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct logs_verb v = { 0 };
	int r = read_options(&verb_logs, argc, argv, take_option, &v, &v.options);

	v.watch = (struct watch){
		.options = &v.options,
		.verb = VERB,
		.deadline_us = UINT64_MAX,
		.userdata = &v,
		.on_event = on_event,
		.on_other = on_other,
		.on_missing = on_missing,
		.on_idle = on_idle,
	};
	if (r == GOING_ON && argc - optind > 1)
		r = usage_error(VERB, "'%s' is too much: one id", argv[optind + 1]);
	if (r == GOING_ON)
		r = watch_take_ids(&v.watch, argc - optind, argv + optind);
	if (r == 0 && v.watch.n > 0)
		r = watch_run(&v.watch);
	watch_deinit(&v.watch);
	fresh_deinit(&v.out);
	fresh_deinit(&v.err);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "follow", 'f', NULL, NULL, "go on until the task has ended" },
	{ 0 },
};

const struct verb verb_logs = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "print what a task wrote to its stdout and stderr",
	.arguments = "[OPTIONS] ID",
	.about = "Prints the last part of what a task wrote to its stdout and stderr, of each to "
		 "ours, from what is kept of it and, while it runs, from its runner.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_RESPONSES,
	.exits = "0 printed, however the task ended, 2 usage, 3 broker trouble, 4 nothing is kept "
		 "for the id and no runner has it, 6 stdout cannot be written",
	.run = run,
};
