/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define PATIENCE_MS 30000

struct watched *watch_find(struct watch *w, const char *id)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->tasks[i].id, id) == 0)
			return &w->tasks[i];
	return NULL;
}

static struct watched *append(struct watch *w, const char *id)
{
	struct watched *grown = reallocarray(w->tasks, w->n + 1, sizeof(*grown));
	char *copy = strdup(id);

	w->tasks = grown ? grown : w->tasks;
	if (!grown || !copy) {
		free(copy);
		return NULL;
	}
	w->tasks[w->n] = (struct watched){ .id = copy };
	w->n_left++;
	return &w->tasks[w->n++];
}

int watch_take_ids(struct watch *w, int n, char **ids)
{
	for (int i = 0; i < n; i++) {
		if (!taskclient_id_is_valid(ids[i]))
			return usage_error(w->verb, "'%s' cannot be the id of a task", ids[i]);
		if (!watch_find(w, ids[i]) && !append(w, ids[i]))
			return EXIT_LOCAL;
	}
	return n > 0 ? 0 : usage_error(w->verb, "which task? An id is missing");
}

void watch_deinit(struct watch *w)
{
	w->client = taskclient_close(w->client);
	for (size_t i = 0; i < w->n; i++)
		free(w->tasks[i].id);
	free(w->tasks);
	w->tasks = NULL;
	w->n = 0;
}

void watch_over(struct watch *w, struct watched *task, int status)
{
	if (task->is_over)
		return;
	task->is_over = true;
	w->n_left--;
	if (status > w->status)
		w->status = status;
}

static void missing(struct watch *w, struct watched *task)
{
	task->is_missing = true;
	if (w->on_missing) {
		w->on_missing(w, task);
		return;
	}
	say("%s: nothing is kept for it: it was not asked for by 'taskctl submit' or that is too "
	    "long ago",
		task->id);
	watch_over(w, task, EXIT_NO_QUEUE);
}

/* 0, an exit status, or a negative errno when the connection is lost. */
static int watch_one(struct watch *w, struct watched *task, struct taskclient_error *err)
{
	int r = taskclient_watch(w->client, task->id, PATIENCE_MS, err);

	if (r == -ENOENT) {
		missing(w, task);
		return 0;
	}
	if (r != -EBUSY && r != -EACCES)
		return r;
	say("%s: %s", task->id, err->text);
	return EXIT_BROKER;
}

int watch_add(struct watch *w, const char *id, struct taskclient_error *err)
{
	struct watched *task = append(w, id);

	return task ? watch_one(w, task, err) : EXIT_LOCAL;
}

static int watch_all(struct watch *w, struct taskclient_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->n; i++)
		if (!w->tasks[i].is_over && !w->tasks[i].is_missing)
			r = watch_one(w, &w->tasks[i], err);
	return r;
}

/* After a new connection all comes again. */
static bool is_new(struct watched *task, const struct taskclient_event *event)
{
	if (event->attempt < task->attempt ||
		(event->attempt == task->attempt && event->sequence > 0 &&
			event->sequence <= task->sequence))
		return false;
	task->attempt = event->attempt;
	task->sequence = event->sequence;
	return true;
}

static int on_event(struct watch *w, const struct taskclient_event *event)
{
	struct watched *task = event->id ? watch_find(w, event->id) : NULL;

	if (event->kind == TASKCLIENT_MALFORMED) {
		say("%s: an answer that is not understood: %s", event->id ? event->id : "?",
			event->error.text);
		return task ? EXIT_BROKER : GOING_ON;
	}
	if (event->kind != TASKCLIENT_RESPONSE && event->kind != TASKCLIENT_CAUGHT_UP)
		return w->on_other ? w->on_other(w, event) : GOING_ON;
	if (!task || task->is_over || (event->kind == TASKCLIENT_RESPONSE && !is_new(task, event)))
		return GOING_ON;
	return w->on_event(w, task, event);
}

static int take_events(struct watch *w, struct taskclient_error *err)
{
	for (;;) {
		struct taskclient_event *event;
		int r = taskclient_next(w->client, &event, err);

		if (r < 0)
			return WATCH_LOST;
		if (r == 0)
			return GOING_ON;
		r = on_event(w, event);
		taskclient_event_free(event);
		if (r != GOING_ON)
			return r;
	}
}

static int wait_ms(struct watch *w, int idle)
{
	int ms = taskclient_wait_ms(w->client);
	uint64_t now = clock_now_us();

	if (idle >= 0 && idle < ms)
		ms = idle;
	if (w->deadline_us != UINT64_MAX) {
		uint64_t left = w->deadline_us > now ? (w->deadline_us - now) / 1000 + 1 : 0;

		ms = left < (uint64_t)ms ? (int)left : ms;
	}
	return ms;
}

static int follow(struct watch *w, struct taskclient_error *err)
{
	for (;;) {
		struct pollfd p = { .fd = taskclient_fd(w->client), .events = POLLIN };
		int r = take_events(w, err);

		if (r != GOING_ON)
			return r;
		if (w->n_left == 0 && !w->is_open)
			return w->status;
		if (clock_now_us() >= w->deadline_us)
			return EXIT_TOO_LATE;
		int idle_ms = -1;

		r = w->on_idle ? w->on_idle(w, &idle_ms) : GOING_ON;
		if (r != GOING_ON)
			return r;
		(void)poll(&p, 1, wait_ms(w, idle_ms));
	}
}

int watch_run(struct watch *w)
{
	struct taskclient_error err = { 0 };
	int r = w->client ? 0 : open_client(&w->options->broker, &w->client);

	while (r == 0) {
		r = watch_all(w, &err);
		if (r > 0)
			return r;
		r = r == 0 ? follow(w, &err) : WATCH_LOST;
		if (r != WATCH_LOST)
			return r;
		if (err.code == 0)
			err = (struct taskclient_error){ -ECONNRESET, "it was closed" };
		r = reopen_client(&w->options->broker, &err, w->deadline_us, &w->client);
		if (r == EXIT_BROKER)
			return EXIT_TOO_LATE;
	}
	return r;
}
