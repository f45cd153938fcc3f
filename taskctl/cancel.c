/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl cancel: one message to all runners for each task; the one that has it answers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "taskctl/taskctl.h"

#define VERB       "cancel"
#define RUNNER_MAX 300

struct cancel_verb {
	struct common_options options;
	uint64_t wait_ms;
	struct taskclient *client;
	unsigned n_waiting;
	int status;
};

/* The worst of all ids is the status of the whole. */
static void settle(struct cancel_verb *v, int status)
{
	v->n_waiting--;
	if (status > v->status)
		v->status = status;
}

static void print_answer(const char *id, const char *text, const char *runner)
{
	struct buf line = { 0 };

	(void)buf_printf(&line, "%s: %s ", id, text);
	(void)text_append_clean(&line, slice_of(runner ? runner : "a runner"), RUNNER_MAX);
	printf("%.*s\n", (int)line.len, line.len > 0 ? line.data : "");
	buf_deinit(&line);
}

static void on_answer(struct cancel_verb *v, const struct taskclient_event *event)
{
	const char *result = record_text(&event->answer, "result");
	const char *runner = record_text(&event->answer, "runner");
	const char *error = record_text(&event->answer, "error");

	if (result && strcmp(result, CONTROL_ACCEPTED) == 0) {
		print_answer(event->id, "accepted by", runner);
		settle(v, EXIT_DONE);
	} else if (result && strcmp(result, CONTROL_GONE) == 0) {
		print_answer(event->id, "has ended already, says", runner);
		settle(v, EXIT_TASK_FAILED);
	} else {
		say("%s: %s", event->id, error ? error : "an answer that says nothing");
		settle(v, EXIT_BROKER);
	}
}

static void on_no_answer(struct cancel_verb *v, const struct taskclient_event *event)
{
	if (event->error.code == -ENOENT) {
		say("%s: there is no control exchange '%s' (has a runner ever run here?): %s",
			event->id,
			v->options.broker.control ? v->options.broker.control : TASKCLIENT_CONTROL,
			event->error.text);
		settle(v, EXIT_NO_QUEUE);
	} else if (event->error.code == -EACCES) {
		say("%s: %s", event->id, event->error.text);
		settle(v, EXIT_BROKER);
	} else {
		say("%s: no runner has it, or none is connected. Runners that run now remember the "
		    "cancel "
		    "for a day: should its request come to them, it is not started",
			event->id);
		settle(v, EXIT_TOO_LATE);
	}
}

static void handle(struct cancel_verb *v, const struct taskclient_event *event)
{
	switch (event->kind) {
	case TASKCLIENT_ANSWER:
		on_answer(v, event);
		break;
	case TASKCLIENT_NO_ANSWER:
		on_no_answer(v, event);
		break;
	case TASKCLIENT_BAD_ANSWER:
		say("%s: an answer that is not understood: %s", event->id, event->error.text);
		break;
	case TASKCLIENT_BLOCKED:
		say("the broker takes no messages for now: %s", event->error.text);
		break;
	default: /* no tasks of our own */
		break;
	}
}

static int wait_for_answers(struct cancel_verb *v)
{
	while (v->n_waiting > 0) {
		struct pollfd p = { .fd = taskclient_fd(v->client), .events = POLLIN };
		struct taskclient_event event;
		struct error err = { 0 };
		int r = taskclient_next(v->client, &event, &err);

		if (r < 0) {
			say("lost the connection to the broker: %s", err.text);
			return EXIT_BROKER;
		}
		if (r > 0) {
			handle(v, &event);
			taskclient_event_deinit(&event);
		} else {
			(void)poll(&p, 1, taskclient_wait_ms(v->client));
		}
	}
	return v->status;
}

static int check_ids(int n, char **ids)
{
	if (n == 0)
		return usage_error(VERB, "which task? An id is missing");
	for (int i = 0; i < n; i++)
		if (!id_is_valid(slice_of(ids[i])))
			return usage_error(VERB, "'%s' cannot be the id of a task", ids[i]);
	return 0;
}

static int cancel_all(struct cancel_verb *v, int n, char **ids)
{
	unsigned patience_ms = v->wait_ms > 1000000000 ? 1000000000 : (unsigned)v->wait_ms;
	int r = check_ids(n, ids);

	if (r == 0)
		r = open_client(&v->options.broker, &v->client);
	if (r != 0)
		return r;

	for (int i = 0; i < n; i++) {
		bool again = false;
		struct error err = { 0 };

		for (int j = 0; j < i; j++)
			again = again || strcmp(ids[i], ids[j]) == 0;
		if (again)
			continue;
		if (taskclient_cancel(v->client, ids[i], patience_ms, &err) < 0) {
			say("%s", err.text);
			return EXIT_BROKER;
		}
		v->n_waiting++;
	}
	return wait_for_answers(v);
}

static int take_option(void *verb, int c)
{
	struct cancel_verb *v = verb;

	(void)c; /* there is one */
	return read_duration(VERB, "--wait", optarg, &v->wait_ms) == 0 ? GOING_ON : EXIT_USAGE;
}

static int run(int argc, char **argv)
{
	struct cancel_verb v = { .wait_ms = 10000 };
	int r = read_options(&verb_cancel, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = cancel_all(&v, argc - optind, argv + optind);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "wait", 'w', "TIME", NULL, "how long to wait for an answer, default 10s" },
	{ 0 },
};

const struct verb verb_cancel = {
	.name = VERB,
	.group = VERBS_STEER,
	.summary = "end tasks by their ids",
	.arguments = "[OPTIONS] ID…",
	.about = "Asks the runner that has the task to end it, and waits until it has answered.",
	.options = options,
	.shares = SHARES_BROKER,
	.exits =
		"0 accepted, 1 the task had ended already, 2 usage, 3 broker trouble, 4 no control "
		"exchange, 5 nobody answered in time (runners that run now remember it for a day, "
		"so "
		"that a request still waiting in a queue will be answered CANCELLED), 6 a file "
		"cannot be read, or stdout not written",
	.run = run,
};
