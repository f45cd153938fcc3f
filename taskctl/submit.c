/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl submit: asks for a task whose responses are kept; others read them later. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "taskctl/ask.h"

#define VERB "submit"

enum { OPTION_KEEP = OPTION_OF_VERB };

struct submit_verb {
	struct common_options options;
	struct ask ask;
	uint64_t keep_ms;
	char mailbox[TASKCLIENT_MAILBOX_SIZE];
	struct taskclient *client;
};

static int take_option(void *verb, int c)
{
	struct submit_verb *v = verb;

	if (c == OPTION_KEEP)
		return read_duration(VERB, "--keep", optarg, &v->keep_ms) == 0 ? GOING_ON
									       : EXIT_USAGE;
	return ask_take_option(VERB, &v->ask, c);
}

static int lost(const struct taskclient_error *err)
{
	say("lost the connection to the broker: %s", err->text);
	return EXIT_BROKER;
}

/* An id whose mailbox is there is another task's. */
static int make_mailbox(struct submit_verb *v)
{
	struct taskclient_error err = { 0 };
	uint32_t ready, consumers;
	int r = taskclient_inspect(v->client, v->mailbox, &ready, &consumers, &err);

	if (r == 0) {
		say("%s: there is a task of this id already; 'taskctl result --remove' forgets it",
			v->ask.id);
		return EXIT_NO_QUEUE;
	}
	if (r == -ENOENT)
		r = taskclient_mailbox_make(v->client, v->mailbox, v->keep_ms, &err);
	if (r == 0)
		return 0;
	if (r != -ENOENT && r != -EACCES && r != -EINVAL)
		return lost(&err);
	say("responses cannot be kept (has a runner ever run here?): %s", err.text);
	return EXIT_NO_QUEUE;
}

static int not_queued(struct submit_verb *v, const struct taskclient_error *why)
{
	const char *queue = v->ask.request.queue ? v->ask.request.queue : TASKCLIENT_QUEUE;
	struct taskclient_error err = { 0 };

	if (why->code == -ENOENT)
		say("there is no queue '%s': no runner has been started for it, or --queue is "
		    "wrong",
			queue);
	else
		say("the broker did not take the request: %s", why->text);
	(void)taskclient_mailbox_remove(v->client, v->mailbox, &err);
	return EXIT_NO_QUEUE;
}

/* Until it is known whether a queue has the request. */
static int wait_confirm(struct submit_verb *v)
{
	for (;;) {
		struct pollfd p = { .fd = taskclient_fd(v->client), .events = POLLIN };
		struct taskclient_event *event;
		struct taskclient_error err = { 0 };
		int r = taskclient_next(v->client, &event, &err);

		if (r < 0)
			return lost(&err);
		if (r == 0) {
			(void)poll(&p, 1, taskclient_wait_ms(v->client));
			continue;
		}
		r = event->kind == TASKCLIENT_QUEUED       ? EXIT_DONE
		    : event->kind == TASKCLIENT_NOT_QUEUED ? not_queued(v, &event->error)
							   : GOING_ON;
		if (event->kind == TASKCLIENT_BLOCKED)
			say("the broker takes no messages for now: %s", event->error.text);
		taskclient_event_free(event);
		if (r != GOING_ON)
			return r;
	}
}

static int print_id(const struct submit_verb *v)
{
	static const struct column columns[] = {
		{ "ID", "id", COLUMN_TEXT },
		{ "PROGRAM", "program", COLUMN_TEXT },
		{ "GROUP", "group", COLUMN_TEXT },
		{ "MAILBOX", "mailbox", COLUMN_TEXT },
	};
	struct table *t;
	int r;

	if (v->options.output.format == OUTPUT_TABLE)
		return printf("%s\n", v->ask.id) < 0 || fflush(stdout) != 0 ? EXIT_LOCAL
									    : EXIT_DONE;
	t = table_new(columns, 4);
	table_row(t);
	table_put_text(t, 0, v->ask.id);
	table_put_text(t, 1, v->ask.request.program);
	table_put_text(t, 2, v->ask.request.group);
	table_put_text(t, 3, v->mailbox);
	r = table_show(t, &v->options.output);
	table_free(t);
	return r;
}

static int submit(struct submit_verb *v)
{
	struct taskclient_error err = { 0 };
	int r = ask_prepare(VERB, &v->ask);

	if (r == 0)
		r = open_client(&v->options.broker, &v->client);
	if (r != 0)
		return r;
	taskclient_mailbox_name(v->ask.id, v->mailbox);
	v->ask.request.mailbox = v->mailbox;
	r = make_mailbox(v);
	if (r != 0)
		return r;
	r = taskclient_submit(v->client, &v->ask.request, &err);
	if (r == -EINVAL) {
		(void)taskclient_mailbox_remove(v->client, v->mailbox, NULL);
		return usage_error(VERB, "%s", err.text);
	}
	r = r < 0 ? lost(&err) : wait_confirm(v);
	return r == EXIT_DONE ? print_id(v) : r;
}

static int run(int argc, char **argv)
{
	struct submit_verb v = { .keep_ms = 7ull * 24 * 3600 * 1000 };
	int r;

	ask_init(&v.ask);
	r = read_options(&verb_submit, argc, argv, take_option, &v, &v.options);
	if (r == GOING_ON)
		r = ask_take_arguments(VERB, &v.ask, &v.options, argc, argv);
	if (r == GOING_ON)
		r = submit(&v);
	taskclient_close(v.client);
	ask_deinit(&v.ask);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	ASK_INPUT_OPTIONS,
	ASK_OPTIONS,
	{ "keep", OPTION_KEEP, "TIME", NULL,
		"how long the result is kept while nobody reads it, default 7d" },
	{ 0 },
};

const struct verb verb_submit = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "ask for a task and do not wait for it: prints its id",
	.arguments = "[OPTIONS] PROGRAM",
	.about =
		"Asks runners to run PROGRAM, prints the task's id once the request is safe in "
		"its queue, and ends. What becomes of the task is kept at the broker, for 'taskctl "
		"wait', 'result', 'logs' and 'follow'.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_QUEUE | SHARES_RESPONSES | SHARES_OUTPUT,
	.exits = "0 the request is in its queue, 2 usage, 3 broker trouble, 4 no such queue or "
		 "exchange, request refused, or the id is in use, 6 a file cannot be read or "
		 "stdout not be written",
	.run = run,
};
