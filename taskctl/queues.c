/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl queues: what waits in the queues of the runners, and who takes from them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "taskctl/taskctl.h"

#define VERB         "queues"
#define PATIENCE_MS  3000
#define QUIET_MS     300
#define DEAD_LETTERS "taskrunner.dead-letters"

enum { OPTION_DEAD_LETTERS = OPTION_OF_VERB };

struct queues_verb {
	struct common_options options;
	struct taskclient *client;
	struct table *table;
	const char *dead_letters;
	char **names;
	size_t n;
	int status;
};

enum { QUEUE, WAITING, CONSUMERS, COLUMNS };

static const struct column columns[COLUMNS] = {
	[QUEUE] = { "QUEUE", "queue", COLUMN_TEXT },
	[WAITING] = { "WAITING", "waiting", COLUMN_COUNT },
	[CONSUMERS] = { "CONSUMERS", "consumers", COLUMN_COUNT },
};

static int add_name(struct queues_verb *v, struct slice name)
{
	char **grown;

	for (size_t i = 0; i < v->n; i++)
		if (slice_equal(name, v->names[i]))
			return 0;
	grown = reallocarray(v->names, v->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	v->names = grown;
	v->names[v->n] = slice_dup(name);
	return v->names[v->n++] ? 0 : -ENOMEM;
}

/* "requests:4,other:2" */
static int add_names(struct queues_verb *v, const char *text)
{
	int r = 0;

	while (text && *text && r == 0) {
		size_t len = strcspn(text, ","), name = len;

		while (name > 0 && text[name] != ':')
			name--;
		r = add_name(v, (struct slice){ text, name > 0 ? name : len });
		text += len + (text[len] == ',');
	}
	return r;
}

static int lost(const struct taskclient_error *err)
{
	say("lost the connection to the broker: %s", err->text);
	return EXIT_BROKER;
}

static int on_event(struct queues_verb *v, const struct taskclient_event *event)
{
	switch (event->kind) {
	case TASKCLIENT_ANSWER:
		return add_names(v, taskclient_answer_text(event->answer, "queues")) < 0
			       ? EXIT_LOCAL
			       : GOING_ON;
	case TASKCLIENT_ANSWERED:
		return EXIT_DONE;
	case TASKCLIENT_NO_ANSWER:
		if (event->error.code == -ENOENT)
			say("no runner has answered: %s; name the queues to see them all the same",
				event->error.text);
		else
			say("no runner has answered: is one running, and connected to this broker? "
			    "Name the queues to see them all the same");
		return event->error.code == -ENOENT ? EXIT_NO_QUEUE : EXIT_TOO_LATE;
	default:
		return GOING_ON;
	}
}

/* The queues that runners name. */
static int ask_runners(struct queues_verb *v)
{
	const struct taskclient_control control = {
		.op = "ping", .patience_ms = PATIENCE_MS, .quiet_ms = QUIET_MS
	};
	struct taskclient_error err = { 0 };
	int r = taskclient_ask(v->client, &control, NULL, &err) < 0 ? lost(&err) : GOING_ON;

	while (r == GOING_ON) {
		struct pollfd p = { .fd = taskclient_fd(v->client), .events = POLLIN };
		struct taskclient_event *event;
		int got = taskclient_next(v->client, &event, &err);

		if (got < 0)
			return lost(&err);
		if (got == 0) {
			(void)poll(&p, 1, taskclient_wait_ms(v->client));
			continue;
		}
		r = on_event(v, event);
		taskclient_event_free(event);
	}
	return r;
}

/* @is_wanted: it is told if it is not there. */
static int put_queue(struct queues_verb *v, const char *name, bool is_wanted)
{
	uint32_t ready = 0, consumers = 0;
	struct taskclient_error err = { 0 };
	int r = taskclient_inspect(v->client, name, &ready, &consumers, &err);

	if (r == -ENOENT || r == -EACCES || r == -EINVAL) {
		if (is_wanted)
			say("%s: %s", name, err.text);
		v->status = is_wanted ? EXIT_NO_QUEUE : v->status;
		return GOING_ON;
	}
	if (r < 0)
		return lost(&err);
	table_row(v->table);
	table_put_text(v->table, QUEUE, name);
	table_put_number(v->table, WAITING, ready);
	table_put_number(v->table, CONSUMERS, consumers);
	return GOING_ON;
}

static int list(struct queues_verb *v, int n, char **names)
{
	int r = open_client(&v->options.broker, &v->client);

	v->table = table_new(columns, COLUMNS);
	for (int i = 0; i < n && r == 0; i++)
		r = add_name(v, slice_of(names[i])) < 0 ? EXIT_LOCAL : 0;
	if (r == 0 && n == 0)
		r = ask_runners(v);
	if (r != 0)
		return r;
	r = GOING_ON;
	for (size_t i = 0; i < v->n && r == GOING_ON; i++)
		r = put_queue(v, v->names[i], true);
	if (r == GOING_ON && n == 0)
		r = put_queue(v, v->dead_letters ? v->dead_letters : DEAD_LETTERS,
			v->dead_letters != NULL);
	if (r == GOING_ON && v->status != EXIT_DONE && table_rows(v->table) == 0)
		return v->status;
	if (r == GOING_ON)
		r = table_show(v->table, &v->options.output);
	return r == EXIT_DONE ? v->status : r;
}

static int take_option(void *verb, int c)
{
	struct queues_verb *v = verb;

	(void)c; /* the only one */
	v->dead_letters = optarg;
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct queues_verb v = { 0 };
	int r = read_options(&verb_queues, argc, argv, take_option, &v, &v.options);

	if (r == GOING_ON)
		r = list(&v, argc - optind, argv + optind);
	for (size_t i = 0; i < v.n; i++)
		free(v.names[i]);
	free(v.names);
	table_free(v.table);
	taskclient_close(v.client);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "dead-letters", OPTION_DEAD_LETTERS, "QUEUE", NULL,
		"listed with those of the runners, default " DEAD_LETTERS },
	{ 0 },
};

const struct verb verb_queues = {
	.name = VERB,
	.group = VERBS_RUNNERS,
	.summary = "list queues: what waits there, who takes from it",
	.arguments = "[OPTIONS] [NAME…]",
	.about = "Lists the request queues of the runners that answer, and the dead-letter queue; "
		 "or the queues that are named.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = "0 listed, 2 usage, 3 broker trouble, 4 no such queue or control exchange, 5 no "
		 "runner has answered, 6 stdout cannot be written",
	.run = run,
};
