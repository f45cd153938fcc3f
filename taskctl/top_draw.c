/* SPDX-License-Identifier: Apache-2.0 */
/* What `taskctl top` shows: a line of sums, the tasks, and a line of keys, questions and answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "taskctl/top_private.h"

#define FRAME_LINES 2 /* around the table */

static const char help[] =
	"q quit  j/k move  s sort  S reverse  f filter  p pause/resume  c cancel  K kill";

/* ---- rows ---- */

static bool holds(const struct taskclient_answer *task, const char *words)
{
	static const char *const members[] = { "id", "program", "state", "group", "user", "project",
		"runner", "labels", "queue", "message", "waits_for" };

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		const char *text = taskclient_answer_text(task, members[i]);

		if (text && strcasestr(text, words))
			return true;
	}
	return false;
}

static bool is_equal(struct slice s, const char *text)
{
	return s.data && text && slice_equal(s, text);
}

void top_select(struct top *top, size_t row)
{
	top->view.selected = row;
	free(top->selected_id);
	free(top->selected_instance);
	top->selected_id = slice_dup(table_text(top->table, row, LOOKING_ID));
	top->selected_instance = slice_dup(table_text(top->table, row, LOOKING_INSTANCE));
	top->is_dirty = true;
}

/* The same task as before, wherever it is now; where it went away, the one in its place. */
static void select_again(struct top *top)
{
	size_t n = table_rows(top->table), place = top->view.selected;

	for (size_t row = 0; row < n && top->selected_id; row++) {
		if (is_equal(table_text(top->table, row, LOOKING_ID), top->selected_id) &&
			is_equal(table_text(top->table, row, LOOKING_INSTANCE),
				top->selected_instance)) {
			top->view.selected = row;
			return;
		}
	}
	/* Nobody is asked about one task and then answers about another. */
	if (top->mode == TOP_CONFIRMS) {
		top->mode = TOP_LISTS;
		top_say(top, "the task has ended");
	}
	if (n > 0) {
		top_select(top, place == TABLE_NONE ? 0 : place < n ? place : n - 1);
		return;
	}
	free(top->selected_id);
	free(top->selected_instance);
	top->selected_id = top->selected_instance = NULL;
	top->view.selected = TABLE_NONE;
}

void top_fill(struct top *top)
{
	table_clear(top->table);
	for (size_t i = 0; i < top->shown.n_tasks; i++)
		if (!top->filter[0] || holds(top->shown.tasks[i], top->filter))
			looking_put(top->table, top->columns, LOOKING_COLUMNS, top->shown.tasks[i]);
	/* Those that are alike in it keep their places from one round to the next. */
	table_sort(top->table, LOOKING_ID, false);
	table_sort(top->table, top->sort, top->descending);
	select_again(top);
	top->is_dirty = true;
}

/* ---- lines ---- */

static void append_sums(const struct top *top, struct buf *out)
{
	const struct top_round *round = &top->shown;

	if (!top->has_shown) {
		(void)buf_append_text(out, "asking the runners");
	} else if (top->is_silent) {
		(void)buf_append_text(
			out, "no runner answers: is one running, and connected to this broker?");
	} else {
		(void)buf_printf(out, "%zu runner%s, %lld of %lld slots used · ", round->n_runners,
			round->n_runners == 1 ? "" : "s", (long long)round->used,
			(long long)round->slots);
		(void)table_counts(top->table, LOOKING_STATE, false, out);
	}
	(void)buf_printf(out, " · by %s", top->columns[top->sort].title);
	if (top->filter[0])
		(void)buf_printf(out, " · filter: %s", top->filter);
}

static void append_bottom(const struct top *top, struct buf *out)
{
	if (top->mode == TOP_FILTERS)
		(void)buf_printf(
			out, "filter: %s_  (Enter keeps it, Escape takes it back)", top->filter);
	else
		(void)buf_append_text(out, top->message[0] ? top->message : help);
}

static void append_line(
	const struct top *top, const struct buf *text, enum paint paint, struct buf *out)
{
	paint = top->view.color ? paint : PAINT_NONE;
	(void)buf_append_text(out, "\033[K");
	(void)buf_append_text(out, paint_on(paint));
	(void)display_append(out, buf_slice(text), top->view.width, NULL);
	(void)buf_append_text(out, paint_off(paint));
}

size_t top_page(const struct top *top)
{
	return top->view.height > 1 ? top->view.height - 1 : 1;
}

void top_draw(struct top *top)
{
	size_t lines = display_lines(STDOUT_FILENO);
	struct buf frame = { 0 }, text = { 0 };
	int r;

	top->view.width = display_columns(STDOUT_FILENO);
	top->view.height = lines > FRAME_LINES ? lines - FRAME_LINES : 0;
	top->view.sorted = top->sort;
	top->view.descending = top->descending;
	append_sums(top, &text);
	append_line(top, &text, PAINT_TITLE, &frame);
	if (top->view.height > 0)
		(void)buf_append_text(&frame, "\r\n");
	r = table_draw(top->table, &top->view, &frame);
	buf_clear(&text);
	append_bottom(top, &text);
	if (lines > 1) {
		(void)buf_append_text(&frame, "\r\n");
		append_line(top, &text, top->message[0] ? PAINT_CARE : PAINT_FAINT, &frame);
	}
	if (r == 0)
		r = screen_draw(&top->screen, buf_slice(&frame));
	if (r < 0)
		top_leave(top, EXIT_LOCAL, "cannot draw: %s", strerror(-r));
	buf_deinit(&frame);
	buf_deinit(&text);
	top->is_dirty = false;
}
