/* SPDX-License-Identifier: Apache-2.0 */

/*
 * taskctl follow: a line for each task, drawn over itself on a terminal, a line for each change
 * elsewhere. What is known comes from what is kept, from responses, and from runners, which are
 * asked again and again: they alone know of paused tasks, log lines, and tasks that nothing is kept
 * for.
 */

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/watch.h"

#define VERB        "follow"
#define AGAIN_US    1000000
#define FRAME_US    100000
#define PATIENCE_MS 3000
#define QUIET_MS    300
#define TAIL        2000
#define ASKED_MAX   50 /* so many tasks are asked about one by one */
#define TEXT_MAX    200

enum { ID, STATE, PROGRESS, MESSAGE, LOG, RUNNER, ATTEMPT, COLUMNS };

struct view {
	char state[16];
	char message[TEXT_MAX], log[TEXT_MAX], runner[256];
	double progress; /* NAN: none */
	int64_t attempt;
	bool is_dirty;
	bool is_known;     /* somebody has told of it */
	uint64_t asked_us; /* when a question was sent that is under way; 0: none is */
};

struct follow_verb {
	struct common_options options;
	struct watch watch;
	const char *group;
	struct table *table;
	struct column columns[COLUMNS];
	bool draws, is_drawn, is_dirty;
	size_t n_drawn; /* lines on the terminal */
	bool was_listed;
	uint64_t listed_us; /* as asked_us */
	uint64_t again_us, frame_us;
};

static const struct column columns[COLUMNS] = {
	[ID] = { "ID", "id", COLUMN_TEXT, .min = 8, .ends = true },
	[STATE] = { "STATE", "state", COLUMN_STATE, .width = LONGEST_STATE },
	[PROGRESS] = { "PROGRESS", "progress", COLUMN_FRACTION, .drop = 1, .min = 5 },
	[MESSAGE] = { "MESSAGE", "message", COLUMN_TEXT, .drop = 2, .min = 10, .width = 20 },
	[LOG] = { "LOG", "log", COLUMN_TEXT, .drop = 3, .min = 10 },
	[RUNNER] = { NULL, "runner", COLUMN_TEXT },
	[ATTEMPT] = { NULL, "attempt", COLUMN_COUNT },
};

/* ---- what is known of a task ---- */

static struct view *view_of(struct watched *task)
{
	struct view *view = task->more;

	if (!view && (view = calloc(1, sizeof(*view)))) {
		view->progress = NAN;
		view->is_dirty = true;
		snprintf(view->state, sizeof(view->state), "waiting");
		task->more = view;
	}
	return view;
}

static void set_text(struct view *view, char *field, size_t size, const char *text)
{
	if (!text || strncmp(field, text, size - 1) == 0)
		return;
	snprintf(field, size, "%s", text);
	view->is_dirty = true;
}

#define SET(view, field, text) set_text(view, (view)->field, sizeof((view)->field), text)

static void set_progress(struct view *view, double progress)
{
	if (progress != view->progress) {
		view->progress = progress;
		view->is_dirty = true;
	}
}

/* The last line of @text that is not empty. */
static void set_log(struct view *view, const char *text)
{
	size_t end = text ? strlen(text) : 0, start;
	char line[TEXT_MAX];

	while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
		end--;
	for (start = end; start > 0 && text[start - 1] != '\n'; start--)
		;
	if (end == 0)
		return;
	snprintf(line, sizeof(line), "%.*s", (int)(end - start), text + start);
	SET(view, log, line);
}

/* Another run, of which nothing is known yet. */
static void see_attempt(struct view *view, int64_t attempt)
{
	if (attempt <= view->attempt)
		return;
	if (view->attempt > 0)
		set_progress(view, NAN);
	view->attempt = attempt;
	view->is_dirty = true;
}

static int on_event(struct watch *w, struct watched *task, const struct taskclient_event *event)
{
	struct follow_verb *v = w->userdata;
	struct view *view = view_of(task);
	enum taskclient_status status = event->status;

	if (!view)
		return EXIT_LOCAL;
	v->is_dirty = true;
	view->is_known = true;
	if (event->kind == TASKCLIENT_CAUGHT_UP)
		return GOING_ON;
	see_attempt(view, event->attempt);
	SET(view, runner, event->runner);
	set_log(view, event->stdout_text);
	set_log(view, event->stderr_text);
	if (event->is_final) {
		SET(view, state, final_state(status));
		if (status == TASKCLIENT_STATUS_FAILED && event->cause)
			SET(view, message, event->cause);
		watch_over(w, task, final_status(event));
		return GOING_ON;
	}
	SET(view, state, status == TASKCLIENT_STATUS_CANCELLING ? "ending" : "running");
	if (event->progress >= 0)
		set_progress(view, event->progress);
	SET(view, message, event->message);
	return GOING_ON;
}

/* ---- what runners say ---- */

static void take_facts(struct view *view, const struct taskclient_answer *answer)
{
	int64_t attempt = 0;
	double progress;

	if (taskclient_answer_int(answer, "attempt", &attempt))
		see_attempt(view, attempt);
	if (attempt < view->attempt)
		return;
	SET(view, state, taskclient_answer_text(answer, "state"));
	SET(view, message, taskclient_answer_text(answer, "message"));
	SET(view, runner, taskclient_answer_text(answer, "runner"));
	if (taskclient_answer_number(answer, "progress", &progress))
		set_progress(view, progress);
	set_log(view, taskclient_answer_text(answer, "stdout"));
	set_log(view, taskclient_answer_text(answer, "stderr"));
}

static int on_answer(struct follow_verb *v, const struct taskclient_event *event)
{
	const char *result = taskclient_answer_text(event->answer, "result");
	struct watch *w = &v->watch;
	struct watched *task = event->id ? watch_find(w, event->id) : NULL;
	struct taskclient_error err = { 0 };
	struct view *view;
	int r = 0;

	if (event->id && !task && v->group) {
		r = watch_add(w, event->id, &err);
		task = watch_find(w, event->id);
	}
	if (!task || task->is_over || r != 0)
		return r < 0 ? WATCH_LOST : r > 0 ? r : GOING_ON;
	view = view_of(task);
	if (!view)
		return EXIT_LOCAL;
	v->is_dirty = true;
	if (result && strcmp(result, TASKCLIENT_ACCEPTED) == 0) {
		view->is_known = true;
		take_facts(view, event->answer);
	} else if (result && strcmp(result, TASKCLIENT_GONE) == 0 && task->is_missing) {
		view->is_known = true;
		SET(view, state, "ended"); /* how, nobody kept */
		watch_over(w, task, EXIT_DONE);
	}
	return GOING_ON;
}

static int on_no_answer(struct follow_verb *v, struct watched *task)
{
	struct view *view = task->more;

	if (!task->is_missing || task->is_over)
		return GOING_ON;
	if (v->group) { /* it was there, and its runner is not any more */
		SET(view, state, "ended");
		watch_over(&v->watch, task, EXIT_DONE);
	} else if (strcmp(view->state, "waiting") == 0) {
		say("%s: nothing is kept for it, and no runner has it", task->id);
		watch_over(&v->watch, task, EXIT_NO_QUEUE);
	}
	return GOING_ON;
}

static int on_other(struct watch *w, const struct taskclient_event *event)
{
	struct follow_verb *v = w->userdata;
	struct watched *task = event->id ? watch_find(w, event->id) : NULL;
	struct view *view = task ? view_of(task) : NULL;

	switch (event->kind) {
	case TASKCLIENT_ANSWER:
		if (view)
			view->asked_us = 0;
		return on_answer(v, event);
	case TASKCLIENT_ANSWERED:
		v->listed_us = 0;
		v->was_listed = true;
		return GOING_ON;
	case TASKCLIENT_NO_ANSWER:
		if (view)
			view->asked_us = 0;
		else
			v->listed_us = 0;
		v->was_listed = v->was_listed || !view;
		return view ? on_no_answer(v, task) : GOING_ON;
	default:
		return GOING_ON;
	}
}

static void on_missing(struct watch *w, struct watched *task)
{
	(void)w;
	(void)view_of(task);
}

/* What was asked on a connection that was lost is never answered. */
static bool is_under_way(uint64_t asked_us)
{
	return asked_us > 0 && clock_now_us() < asked_us + 2 * PATIENCE_MS * 1000ull;
}

static int ask_list(struct follow_verb *v)
{
	const struct taskclient_control control = {
		.op = "list", .group = v->group, .patience_ms = PATIENCE_MS, .quiet_ms = QUIET_MS
	};

	if (!v->group || is_under_way(v->listed_us))
		return 0;
	v->listed_us = clock_now_us();
	return taskclient_ask(v->watch.client, &control, NULL, NULL);
}

static int ask_one(struct follow_verb *v, struct watched *task)
{
	const struct taskclient_control control = {
		.op = "status", .id = task->id, .tail = TAIL, .patience_ms = PATIENCE_MS
	};
	struct view *view = view_of(task);

	if (!view || is_under_way(view->asked_us))
		return 0;
	view->asked_us = clock_now_us();
	return taskclient_ask(v->watch.client, &control, NULL, NULL);
}

static int ask_all(struct follow_verb *v)
{
	int r = ask_list(v);
	unsigned n = 0;

	for (size_t i = 0; i < v->watch.n && r == 0 && n < ASKED_MAX; i++) {
		struct watched *task = &v->watch.tasks[i];

		if (task->is_over)
			continue;
		r = ask_one(v, task);
		n++;
	}
	return r;
}

/* ---- what is shown ---- */

/* Of a task for which nothing is kept it is not said that it waits before a runner has told so. */
static bool is_shown(const struct watched *task)
{
	const struct view *view = task->more;

	return view && (view->is_known || !task->is_missing);
}

static void put_row(struct table *t, const struct watched *task, const struct view *view)
{
	table_row(t);
	table_put_text(t, ID, task->id);
	table_put_text(t, STATE, view->state);
	table_put_real(t, PROGRESS, view->progress);
	table_put_text(t, MESSAGE, view->message[0] ? view->message : NULL);
	table_put_text(t, LOG, view->log[0] ? view->log : NULL);
	table_put_text(t, RUNNER, view->runner[0] ? view->runner : NULL);
	if (view->attempt > 0)
		table_put_number(t, ATTEMPT, view->attempt);
}

/* Those that changed, one after the other. */
static int print_changes(struct follow_verb *v)
{
	int r = EXIT_DONE;

	for (size_t i = 0; i < v->watch.n && r == EXIT_DONE; i++) {
		struct view *view = view_of(&v->watch.tasks[i]);

		if (!view || !view->is_dirty || !is_shown(&v->watch.tasks[i]))
			continue;
		view->is_dirty = false;
		put_row(v->table, &v->watch.tasks[i], view);
		r = table_show(v->table, &v->options.output);
		table_clear(v->table);
	}
	return r == EXIT_DONE ? GOING_ON : r;
}

/* How many tasks the lines of @view, a header among them, do not show. */
static size_t n_hidden(const struct follow_verb *v, const struct table_view *view)
{
	size_t seen = view->height > 0 ? view->height - 1 : 0;

	return table_rows(v->table) > seen ? table_rows(v->table) - seen : 0;
}

static int append_more(struct table_view *view, const struct follow_verb *v, struct buf *out)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };
	int r = buf_printf(&text, "\xE2\x80\xA6 %zu more", n_hidden(v, view));

	if (r == 0)
		r = buf_append_text(out, "\r\n\033[K");
	return r < 0 ? r : display_append(out, buf_slice(&text), view->width, NULL);
}

/* At most as many lines as the terminal has, from the top: the last ones are how many tasks had no
 * room, and the counts. */
static int append_frame(struct follow_verb *v, struct buf *out)
{
	size_t room = display_lines(STDOUT_FILENO), lines = table_rows(v->table) + 1;
	bool is_short = room > 3 && lines > room - 2;
	struct table_view view = { .width = display_columns(STDOUT_FILENO),
		.color = v->options.output.color,
		.selected = TABLE_NONE,
		.sorted = TABLE_NONE };
	int r = 0;

	if (v->n_drawn > 1)
		r = buf_printf(out, "\033[%zuA", v->n_drawn - 1);
	view.height = is_short ? room - 3 : lines;
	if (r == 0)
		r = buf_append_text(out, "\r");
	if (r == 0)
		r = table_draw(v->table, &view, out);
	if (r == 0 && is_short)
		r = append_more(&view, v, out);
	if (r == 0)
		r = buf_append_text(out, "\r\n\033[K");
	if (r == 0)
		r = table_counts(v->table, STATE, view.color, out);
	v->n_drawn = view.height + is_short + 1;
	return r < 0 ? r : buf_append_text(out, "\033[J");
}

static int draw(struct follow_verb *v)
{
	cleanup_with(buf_deinit) struct buf frame = { 0 };
	int r;

	table_clear(v->table);
	for (size_t i = 0; i < v->watch.n; i++)
		if (is_shown(&v->watch.tasks[i]))
			put_row(v->table, &v->watch.tasks[i], view_of(&v->watch.tasks[i]));
	if (table_rows(v->table) == 0 && v->n_drawn == 0)
		return GOING_ON;
	r = append_frame(v, &frame);
	if (r == 0)
		r = write_all(STDOUT_FILENO, buf_slice(&frame));
	return r < 0 ? EXIT_LOCAL : GOING_ON;
}

static int show(struct follow_verb *v)
{
	if (!v->is_dirty)
		return GOING_ON;
	v->is_dirty = false;
	v->frame_us = clock_now_us() + FRAME_US;
	return v->draws ? draw(v) : print_changes(v);
}

static int on_idle(struct watch *w, int *ret_ms)
{
	struct follow_verb *v = w->userdata;
	uint64_t now = clock_now_us();
	int r = GOING_ON;

	*ret_ms = FRAME_US / 1000;
	if (now >= v->frame_us)
		r = show(v);
	if (v->group && v->was_listed && v->listed_us == 0 && w->n_left == 0) {
		if (w->n == 0)
			say("no runner has a task of the group %s", v->group);
		return w->n == 0 ? EXIT_NO_QUEUE : w->status;
	}
	if (r != GOING_ON || now < v->again_us)
		return r;
	v->again_us = now + AGAIN_US;
	return ask_all(v) < 0 ? WATCH_LOST : GOING_ON;
}

/* ---- the verb ---- */

/* Ids that are named are known before anything is written; others are like as not UUIDs. */
static void make_columns(struct follow_verb *v)
{
	size_t width = v->group ? LENGTH_OF_UUID : 0;

	memcpy(v->columns, columns, sizeof(columns));
	for (size_t i = 0; i < v->watch.n; i++)
		if (display_width(slice_of(v->watch.tasks[i].id)) > width)
			width = display_width(slice_of(v->watch.tasks[i].id));
	v->columns[ID].width = width < UCHAR_MAX ? (unsigned char)width : UCHAR_MAX;
}

static int follow(struct follow_verb *v, int n, char **ids)
{
	struct watch *w = &v->watch;
	int r;

	if (v->group && n > 0)
		return usage_error(VERB, "--group and ids exclude each other");
	r = v->group ? 0 : watch_take_ids(w, n, ids);
	if (r != 0)
		return r;
	v->draws = v->options.output.format == OUTPUT_TABLE && v->options.output.is_terminal &&
		   display_can_draw();
	make_columns(v);
	v->table = table_new(v->columns, COLUMNS);
	w->is_open = v->group;
	for (size_t i = 0; i < w->n; i++)
		(void)view_of(&w->tasks[i]);
	r = watch_run(w);
	v->is_dirty = true;
	(void)show(v);
	if (v->n_drawn > 0)
		(void)write_all(STDOUT_FILENO, slice_of("\r\n"));
	return r;
}

static int take_option(void *verb, int c)
{
	struct follow_verb *v = verb;

	(void)c; /* there is one */
	if (!optarg[0])
		return usage_error(VERB, "--group: the text is empty");
	v->group = optarg;
	return GOING_ON;
}

static int run(int argc, char **argv)
{
	struct follow_verb v = { 0 };
	int r = read_options(&verb_follow, argc, argv, take_option, &v, &v.options);

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
	if (r == GOING_ON)
		r = follow(&v, argc - optind, argv + optind);
	for (size_t i = 0; i < v.watch.n; i++)
		free(v.watch.tasks[i].more);
	watch_deinit(&v.watch);
	table_free(v.table);
	options_deinit(&v.options);
	return r;
}

static const struct verb_option options[] = {
	{ "group", 'g', "GROUP", NULL, "all tasks of the group that runners have, and new ones" },
	{ 0 },
};

const struct verb verb_follow = {
	.name = VERB,
	.group = VERBS_ASK,
	.summary = "follow tasks: state, progress, messages, last lines",
	.arguments = "[OPTIONS] ID…|--group GROUP",
	.about = "Shows tasks until all have ended: on a terminal a line for each, drawn over "
		 "itself, elsewhere a line for each change.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_RESPONSES | SHARES_OUTPUT,
	.exits = "0 all succeeded, 1 one failed, 2 usage, 3 broker trouble, 4 nothing is known of "
		 "an id or group, 5 one timed out or was silent, 6 stdout cannot be written, 130 "
		 "one was cancelled; of several the highest",
	.run = run,
};
