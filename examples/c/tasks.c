/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks for tasks, cancels and lists them, with libtaskclient in a loop of our own:
 *
 *	cc -o tasks tasks.c $(pkg-config --cflags --libs taskclient)
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskclient.h>

#define GOING_ON (-1)

/* NULL: the library's default. */
static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static int fail(const struct taskclient_error *err)
{
	fprintf(stderr, "%s\n", err->text);
	return 1;
}

static int on_response(const struct taskclient_event *event)
{
	const char *said = event->is_final ? event->output : event->message;

	printf("%s%s%s\n", taskclient_status_name(event->status), said && *said ? " " : "",
		said ? said : "");
	fflush(stdout);
	if (!event->is_final)
		return GOING_ON;
	return event->status == TASKCLIENT_STATUS_SUCCESS ? 0 : 1;
}

static const char *member(const struct taskclient_answer *answer, const char *name)
{
	const char *text = taskclient_answer_text(answer, name);

	return text ? text : "-";
}

static int on_answer(const struct taskclient_event *event, bool is_list)
{
	const struct taskclient_answer *answer = event->answer;

	if (is_list && event->id)
		printf("%s %s %s %s\n", event->id, member(answer, "state"),
			member(answer, "program"), member(answer, "runner"));
	if (is_list)
		return GOING_ON;
	printf("%s by %s\n", member(answer, "result"), member(answer, "runner"));
	return strcmp(member(answer, "result"), TASKCLIENT_ACCEPTED) == 0 ? 0 : 1;
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
		struct taskclient_event *event;
		struct taskclient_error err;
		int r = taskclient_next(client, &event, &err);

		if (r < 0)
			return fail(&err);
		if (r == 0) {
			(void)poll(&p, 1, taskclient_wait_ms(client));
			continue;
		}
		status = on_event(event, is_list);
		taskclient_event_free(event);
	}
	return status;
}

static int submit(struct taskclient *client, const char *program, const char *input)
{
	char id[TASKCLIENT_ID_SIZE];
	struct taskclient_request request = {
		.queue = setting("TASKCTL_QUEUE"),
		.id = id,
		.program = program,
		.input = input,
		.input_len = strlen(input),
	};
	struct taskclient_error err;

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
	struct taskclient_error err;

	return taskclient_cancel(client, id, 0, &err) < 0 ? fail(&err) : loop(client, false);
}

static int list(struct taskclient *client)
{
	const struct taskclient_control control = { .op = "list" };
	struct taskclient_error err;

	return taskclient_ask(client, &control, NULL, &err) < 0 ? fail(&err) : loop(client, true);
}

int main(int argc, char **argv)
{
	const struct taskclient_options options = { .broker = setting("TASKCTL_BROKER"),
		.control = setting("TASKCTL_CONTROL") };
	const char *verb = argc > 1 ? argv[1] : "";
	bool is_submit = strcmp(verb, "submit") == 0 && argc > 2;
	bool is_cancel = strcmp(verb, "cancel") == 0 && argc == 3;
	struct taskclient *client;
	struct taskclient_error err;
	int status;

	if (!is_submit && !is_cancel && strcmp(verb, "list") != 0) {
		fputs("usage: tasks submit PROGRAM [INPUT] | cancel ID | list\n", stderr);
		return 2;
	}
	if (taskclient_open(&options, &client, &err) < 0)
		return fail(&err);
	status = is_submit   ? submit(client, argv[2], argc > 3 ? argv[3] : "")
		 : is_cancel ? cancel(client, argv[2])
			     : list(client);
	taskclient_close(client);
	return status;
}
