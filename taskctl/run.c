/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl run: submits a task and follows it to its end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/ask.h"
#include "taskctl/bar.h"
#include "taskctl/taskctl.h"

#define VERB               "run"
#define NOTICE_US          3000000 /* without a response: look why */
#define CANCEL_PATIENCE_MS 10000

struct run_verb {
	struct common_options options;
	struct ask ask;
	bool quiet;
	struct taskclient *client;
	struct bar bar;
	int signal_fd;
	unsigned n_signals;
	bool told_unanswered;
	uint64_t notice_us; /* 0: not any more */
	int64_t attempt;
};

/* ---- options ---- */

static int take_option(void *verb, int c)
{
	struct run_verb *v = verb;

	if (c == 'q') {
		v->quiet = true;
		return GOING_ON;
	}
	return ask_take_option(VERB, &v->ask, c);
}

/* ---- what is said on the way ---- */

/* Whatever is said takes the place of the bar. */
#define NOTICE(v, ...)                       \
	do {                                 \
		if (!(v)->quiet) {           \
			bar_hide(&(v)->bar); \
			say(__VA_ARGS__);    \
		}                            \
	} while (0)

static const char *queue_of(const struct run_verb *v)
{
	return v->ask.request.queue ? v->ask.request.queue : TASKCLIENT_QUEUE;
}

static int lost(struct run_verb *v, const struct taskclient_error *err)
{
	bar_hide(&v->bar);
	say("lost the connection to the broker: %s", err->text);
	say("the task %s goes on without us, its result cannot be received any more; 'taskctl "
	    "cancel %s' "
	    "would end it",
		v->ask.id, v->ask.id);
	return EXIT_BROKER;
}

/* No response for a while: tell why that may be. */
static int look_at_queue(struct run_verb *v)
{
	uint32_t ready = 0, consumers = 0;
	struct taskclient_error err = { 0 };
	int r;

	v->notice_us = 0;
	if (v->quiet)
		return GOING_ON;
	r = taskclient_inspect(v->client, queue_of(v), &ready, &consumers, &err);
	if (r == -EACCES || r == -ENOENT)
		return GOING_ON; /* somebody else's queue; nothing can be said */
	if (r < 0)
		return lost(v, &err);
	if (consumers == 0)
		NOTICE(v, "no runner takes requests from '%s' now; waiting (%u there)", queue_of(v),
			(unsigned)ready);
	else if (ready == 0)
		NOTICE(v, "a runner has taken the request from '%s', and tells nothing yet",
			queue_of(v));
	else
		NOTICE(v, "waiting for a free slot; requests waiting in '%s': %u, runners: %u",
			queue_of(v), (unsigned)ready, (unsigned)consumers);
	return GOING_ON;
}

static int not_queued(struct run_verb *v, const struct taskclient_error *err)
{
	bar_hide(&v->bar);
	if (err->code == -ENOENT)
		say("there is no queue '%s': no runner has been started for it, or --queue is "
		    "wrong",
			queue_of(v));
	else if (err->code == -EMSGSIZE)
		say("the request is larger than the broker takes: %s", err->text);
	else
		say("the broker did not take the request: %s", err->text);
	return EXIT_NO_QUEUE;
}

/* ---- events ---- */

static void on_running(struct run_verb *v, const struct taskclient_event *event)
{
	char text[300];

	if (v->attempt > 0 && event->attempt > v->attempt)
		NOTICE(v, "started again: attempt %lld", (long long)event->attempt);
	v->attempt = event->attempt;
	if (event->output) {
		bar_record(&v->bar, (struct slice){ event->output, event->output_len });
		return;
	}
	snprintf(text, sizeof(text), "running on %s", event->runner ? event->runner : "");
	bar_text(&v->bar, event->runner ? text : "running");
}

static int on_response(struct run_verb *v, const struct taskclient_event *event)
{
	v->notice_us = 0;
	switch (event->status) {
	case TASKCLIENT_STATUS_RUNNING:
		on_running(v, event);
		return GOING_ON;
	case TASKCLIENT_STATUS_CANCELLING:
		bar_text(&v->bar, "being cancelled");
		return GOING_ON;
	case TASKCLIENT_STATUS_QUEUED:
		return GOING_ON;
	default:
		bar_hide(&v->bar);
		return report_final(event, v->quiet || !v->bar.is_terminal);
	}
}

static int cancel(struct run_verb *v)
{
	struct taskclient_error err = { 0 };

	return taskclient_cancel(v->client, v->ask.id, CANCEL_PATIENCE_MS, &err) < 0 ? lost(v, &err)
										     : GOING_ON;
}

static int on_no_answer(struct run_verb *v, const struct taskclient_error *err)
{
	if (err->code != -ETIMEDOUT) {
		bar_hide(&v->bar);
		say("it cannot be cancelled: %s", err->text);
		return GOING_ON;
	}
	if (!v->told_unanswered)
		NOTICE(v, "no runner has the task yet; the cancel is repeated until one has. "
			  "Ctrl-C stops "
			  "waiting");
	v->told_unanswered = true;
	return cancel(v);
}

static int on_event(struct run_verb *v, const struct taskclient_event *event)
{
	switch (event->kind) {
	case TASKCLIENT_NOT_QUEUED:
		return not_queued(v, &event->error);
	case TASKCLIENT_RESPONSE:
		return on_response(v, event);
	case TASKCLIENT_MALFORMED:
		bar_hide(&v->bar);
		say("%s: an answer that is not understood: %s", v->ask.id, event->error.text);
		return EXIT_BROKER;
	case TASKCLIENT_BAD_ANSWER:
		NOTICE(v, "an answer to the cancel that is not understood: %s", event->error.text);
		return GOING_ON;
	case TASKCLIENT_NO_ANSWER:
		return on_no_answer(v, &event->error);
	case TASKCLIENT_BLOCKED:
		NOTICE(v, "the broker takes no messages for now: %s", event->error.text);
		return GOING_ON;
	case TASKCLIENT_QUEUED:
		bar_text(&v->bar, "waiting for a runner");
		return GOING_ON;
	default:
		return GOING_ON;
	}
}

/* ---- the loop ---- */

static int on_signal(struct run_verb *v)
{
	struct signalfd_siginfo info;

	while (read(v->signal_fd, &info, sizeof(info)) == sizeof(info))
		v->n_signals++;
	if (v->n_signals > 1) {
		bar_hide(&v->bar);
		say("not waiting for the end of %s; it may still run", v->ask.id);
		return EXIT_CANCELLED;
	}
	if (v->n_signals == 1)
		NOTICE(v, "cancelling %s; once more to stop waiting", v->ask.id);
	return cancel(v);
}

static int wait_ms(struct run_verb *v)
{
	int ms = taskclient_wait_ms(v->client), bar_ms = bar_draw(&v->bar);
	uint64_t now = clock_now_us();

	if (v->notice_us > 0) {
		int left = v->notice_us > now ? (int)((v->notice_us - now) / 1000) + 1 : 0;

		ms = left < ms ? left : ms;
	}
	return bar_ms >= 0 && bar_ms < ms ? bar_ms : ms;
}

/* All that has come. */
static int take_events(struct run_verb *v)
{
	for (;;) {
		struct taskclient_event *event;
		struct taskclient_error err = { 0 };
		int r = taskclient_next(v->client, &event, &err);

		if (r < 0)
			return lost(v, &err);
		if (r == 0)
			return GOING_ON;
		r = on_event(v, event);
		taskclient_event_free(event);
		if (r != GOING_ON)
			return r;
		(void)bar_draw(&v->bar);
	}
}

static int follow(struct run_verb *v)
{
	struct pollfd fds[] = {
		{ .fd = taskclient_fd(v->client), .events = POLLIN },
		{ .fd = v->signal_fd, .events = POLLIN },
	};
	int r;

	for (;;) {
		r = take_events(v);
		if (r == GOING_ON && v->notice_us > 0 && clock_now_us() >= v->notice_us)
			r = look_at_queue(v);
		if (r != GOING_ON)
			return r;
		(void)poll(fds, 2, wait_ms(v));
		if (fds[1].revents) {
			r = on_signal(v);
			if (r != GOING_ON)
				return r;
		}
	}
}

/* From now on Ctrl-C is an event. Until here it just ended us. */
static int catch_signals(struct run_verb *v)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	v->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return v->signal_fd < 0 ? EXIT_LOCAL : 0;
}

static int submit_and_follow(struct run_verb *v)
{
	struct taskclient_error err = { 0 };
	int r;

	r = ask_prepare(VERB, &v->ask);
	if (r == 0)
		r = open_client(&v->options.broker, &v->client);
	if (r == 0)
		r = catch_signals(v);
	if (r != 0)
		return r;
	r = taskclient_submit(v->client, &v->ask.request, &err);
	if (r == -EINVAL)
		return usage_error(VERB, "%s", err.text);
	if (r < 0)
		return lost(v, &err);
	buf_deinit(&v->ask.input);
	v->notice_us = clock_now_us() + NOTICE_US;
	return follow(v);
}

static int run(int argc, char **argv)
{
	struct run_verb v = { .signal_fd = -1 };
	int r;

	ask_init(&v.ask);
	r = read_options(&verb_run, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = ask_take_arguments(VERB, &v.ask, &v.options, argc, argv);
	if (r == GOING_ON) {
		bar_init(&v.bar, v.quiet);
		r = submit_and_follow(&v);
		bar_deinit(&v.bar);
	}
	close_fd(v.signal_fd);
	taskclient_close(v.client);
	ask_deinit(&v.ask);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	ASK_INPUT_OPTIONS,
	ASK_OPTIONS,
	{ "quiet", 'q', NULL, NULL, "neither progress nor notices" },
	{ 0 },
};

const struct verb verb_run = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "run a program as a task, show its progress, print its output",
	.arguments = "[OPTIONS] PROGRAM",
	.about = "Asks a runner to run PROGRAM, shows its progress, writes its output to stdout. "
		 "Ctrl-C cancels the task and waits for its end; a second one stops waiting.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_QUEUE,
	.exits =
		"0 success, 1 the task failed, 2 usage, 3 broker trouble, 4 no such queue or "
		"request refused, 5 timed out or silent, 6 a file cannot be read or the output not "
		"be written here, 130 cancelled",
	.run = run,
};
