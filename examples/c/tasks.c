/* SPDX-License-Identifier: Apache-2.0 */
/* Asks for tasks, cancels and lists them, with libtaskclient in a loop of our own. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taskclient/taskclient.h"

#define PATIENCE_MS 10000
#define QUIET_MS    500
#define GOING_ON    (-1)

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static int fail(const struct error *err)
{
	fprintf(stderr, "%s\n", err->text);
	return 1;
}

static int on_response(const struct taskclient_event *event)
{
	const struct buf *output = &event->response.output;
	enum status status = event->response.status;

	printf("%s%s%.*s\n", status_name(status), output->len > 0 ? " " : "", (int)output->len,
		output->len > 0 ? output->data : "");
	fflush(stdout);
	if (!status_is_final(status))
		return GOING_ON;
	return status == STATUS_SUCCESS ? 0 : 1;
}

static const char *member(const struct record *answer, const char *name)
{
	const char *text = record_text(answer, name);

	return text ? text : "-";
}

static int on_answer(const struct taskclient_event *event, bool is_list)
{
	const struct record *answer = &event->answer;

	if (is_list && event->id[0])
		printf("%s %s %s %s\n", event->id, member(answer, "state"),
			member(answer, "program"), member(answer, "runner"));
	if (is_list)
		return GOING_ON;
	printf("%s by %s\n", member(answer, "result"), member(answer, "runner"));
	return strcmp(member(answer, "result"), CONTROL_ACCEPTED) == 0 ? 0 : 1;
}

static int on_event(const struct taskclient_event *event, bool is_list)
{
	switch (event->kind) {
	case TASKCLIENT_RESPONSE:
		return on_response(event);
	case TASKCLIENT_ANSWER:
		return on_answer(event, is_list);
	case TASKCLIENT_ANSWERED:
		return 0;
	case TASKCLIENT_NOT_QUEUED:
	case TASKCLIENT_NO_ANSWER:
		return fail(&event->error);
	default:
		return GOING_ON;
	}
}

/* A program with other things to do adds taskclient_fd to what it polls anyway. */
static int loop(struct taskclient *client, bool is_list)
{
	int status = GOING_ON;

	while (status == GOING_ON) {
		struct pollfd p = { .fd = taskclient_fd(client), .events = POLLIN };
		struct taskclient_event event;
		struct error err = { 0 };
		int r = taskclient_next(client, &event, &err);

		if (r < 0)
			return fail(&err);
		if (r == 0) {
			(void)poll(&p, 1, taskclient_wait_ms(client));
			continue;
		}
		status = on_event(&event, is_list);
		taskclient_event_deinit(&event);
	}
	return status;
}

static int submit(struct taskclient *client, const char *program, const char *input)
{
	char id[ID_MAX + 1];
	struct taskclient_request request = {
		.queue = setting("TASKCTL_QUEUE", TASKCLIENT_QUEUE),
		.id = id,
		.program = program,
		.input = slice_of(input),
		.priority = -1,
	};
	struct error err = { 0 };

	if (taskclient_make_id(id) < 0)
		return 1;
	if (taskclient_submit(client, &request, &err) < 0)
		return fail(&err);
	puts(id);
	fflush(stdout);
	return loop(client, false);
}

static int cancel(struct taskclient *client, const char *id)
{
	struct error err = { 0 };

	return taskclient_cancel(client, id, PATIENCE_MS, &err) < 0 ? fail(&err)
								    : loop(client, false);
}

static int list(struct taskclient *client)
{
	const struct control control = { .op = CONTROL_LIST };
	const struct taskclient_patience patience = { PATIENCE_MS, QUIET_MS };
	struct error err = { 0 };

	return taskclient_ask(client, &control, &patience, NULL, &err) < 0 ? fail(&err)
									   : loop(client, true);
}

static int open_client(struct taskclient **ret)
{
	struct mq_options connection;
	struct error err = { 0 };
	int r;

	mq_options_init(&connection);
	r = mq_options_add_addresses(
		&connection, setting("TASKCTL_BROKER", "amqp://guest:guest@127.0.0.1:5672"), &err);
	if (r == 0)
		r = taskclient_open(&connection, setting("TASKCTL_CONTROL", NULL), ret, &err);
	mq_options_deinit(&connection);
	return r < 0 ? fail(&err) : 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct taskclient *client = NULL;
	bool is_submit = strcmp(verb, "submit") == 0 && argc > 2;
	bool is_cancel = strcmp(verb, "cancel") == 0 && argc == 3;
	int status;

	if (!is_submit && !is_cancel && strcmp(verb, "list") != 0) {
		fputs("usage: tasks submit PROGRAM [INPUT] | cancel ID | list\n", stderr);
		return 2;
	}
	if (open_client(&client) != 0)
		return 1;
	status = is_submit   ? submit(client, argv[2], argc > 3 ? argv[3] : "")
		 : is_cancel ? cancel(client, argv[2])
			     : list(client);
	taskclient_close(client);
	return status;
}
