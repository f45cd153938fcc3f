/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl result: what a task that was submitted has written. */
#include <unistd.h>

#include "common/clock.h"
#include "taskctl/watch.h"

#define VERB "result"

enum { OPTION_REMOVE = OPTION_OF_VERB, OPTION_WAIT };

struct result_verb {
	struct common_options options;
	struct watch watch;
	bool quiet, remove, wait;
	bool is_told; /* the result was written */
};

static int on_event(struct watch *w, struct watched *task, const struct taskclient_event *event)
{
	struct result_verb *v = w->userdata;
	int r;

	if (event->kind == TASKCLIENT_CAUGHT_UP && !v->wait) {
		say("%s has not ended yet; 'taskctl result --wait' waits for it", task->id);
		return EXIT_TOO_LATE;
	}
	if (event->kind != TASKCLIENT_RESPONSE || !event->is_final)
		return GOING_ON;
	r = report_final(event, v->quiet || isatty(STDERR_FILENO) != 1);
	v->is_told = r != EXIT_LOCAL;
	watch_over(w, task, r);
	return r;
}

static int forget(struct result_verb *v, int status)
{
	char mailbox[TASKCLIENT_MAILBOX_SIZE];
	struct taskclient_error err = { 0 };

	taskclient_mailbox_name(v->watch.tasks[0].id, mailbox);
	if (taskclient_mailbox_remove(v->watch.client, mailbox, &err) == 0)
		return status;
	say("the result cannot be removed: %s", err.text);
	return EXIT_BROKER;
}

static int take_option(void *verb, int c)
{
	struct result_verb *v = verb;

	v->remove = v->remove || c == OPTION_REMOVE;
	v->wait = v->wait || c == OPTION_WAIT;
	v->quiet = v->quiet || c == 'q';
	return GOING_ON;
}

static int tell(struct result_verb *v, int n, char **ids)
{
	int r = n > 1 ? usage_error(VERB, "'%s' is too much: one id", ids[1])
		      : watch_take_ids(&v->watch, n, ids);

	if (r == 0)
		r = watch_run(&v->watch);
	if (v->is_told && v->remove)
		r = forget(v, r);
	watch_deinit(&v->watch);
	return r;
}

static int run(int argc, char **argv)
{
	struct result_verb v = { 0 };
	int r = read_options(&verb_result, argc, argv, take_option, &v, &v.options);

	v.watch = (struct watch){
		.options = &v.options,
		.verb = VERB,
		.deadline_us = UINT64_MAX,
		.userdata = &v,
		.on_event = on_event,
	};
	if (r == GOING_ON)
		r = tell(&v, argc - optind, argv + optind);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "wait", OPTION_WAIT, NULL, NULL, "until the task has ended, if it has not" },
	{ "remove", OPTION_REMOVE, NULL, NULL, "forget the task once its result is written" },
	{ "quiet", 'q', NULL, NULL, "nothing about success" },
	{ 0 },
};

const struct verb verb_result = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "print the output of a task that was submitted and has ended",
	.arguments = "[OPTIONS] ID",
	.about = "Writes the output of a task to stdout, as 'taskctl run' would have. Takes "
		 "nothing away unless it is told to.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_RESPONSES,
	.exits = "0 success, 1 the task failed, 2 usage, 3 broker trouble, 4 nothing is kept for "
		 "the id, 5 timed out or silent, or it has not ended yet, 6 stdout cannot be "
		 "written, 130 cancelled",
	.run = run,
};
