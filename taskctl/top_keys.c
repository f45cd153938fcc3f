/* SPDX-License-Identifier: Apache-2.0 */
/* What keys do in `taskctl top`. */
#include <stdio.h>
#include <string.h>

#include "taskctl/top_private.h"

/* ---- moving ---- */

static void move(struct top *top, long by)
{
	size_t n = table_rows(top->table);
	long row = top->view.selected == TABLE_NONE ? 0 : (long)top->view.selected + by;

	if (n == 0)
		return;
	top_select(top, row < 0 ? 0 : row >= (long)n ? n - 1 : (size_t)row);
}

/* ---- the order of rows ---- */

/* Those that are worth a look come first: the largest, and the youngest. */
static bool begins_with_largest(enum looking_column column)
{
	return column == LOOKING_PROGRESS || column == LOOKING_CPU || column == LOOKING_MEMORY;
}

static void sort_by_next(struct top *top)
{
	/* What is seen on all but the narrowest terminals. */
	top->sort = top->sort < LOOKING_RUNNER ? top->sort + 1 : LOOKING_ID;
	top->descending = begins_with_largest(top->sort);
	top_fill(top);
}

/* ---- what is done to a task ---- */

static bool selected_is(const struct top *top, const char *state)
{
	return top->view.selected != TABLE_NONE &&
	       slice_equal(table_text(top->table, top->view.selected, LOOKING_STATE), state);
}

/* One key for what stops and what goes on again, of tasks that run and tasks that wait. */
static void pause_or_resume(struct top *top)
{
	if (selected_is(top, "paused"))
		top_order(top, "resume");
	else if (selected_is(top, "held"))
		top_order(top, "play");
	else if (selected_is(top, "waiting"))
		top_order(top, "hold");
	else
		top_order(top, "pause");
}

static void ask_to_end(struct top *top, const char *op)
{
	if (!top->selected_id)
		return;
	top->op = op;
	top->mode = TOP_CONFIRMS;
	top_say(top, "%s %s? y/n", op, top->selected_id);
}

static void confirm(struct top *top, const struct pressed *pressed)
{
	top->mode = TOP_LISTS;
	if (pressed->key == KEY_TEXT && strcmp(pressed->text, "y") == 0)
		top_order(top, top->op);
	else
		top_say(top, "nothing is done");
}

/* ---- the filter ---- */

static void drop_character(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && ((unsigned char)text[len - 1] & 0xC0) == 0x80)
		len--;
	text[len > 0 ? len - 1 : 0] = '\0';
}

static void edit_filter(struct top *top, const struct pressed *pressed)
{
	size_t len = strlen(top->filter);

	switch (pressed->key) {
	case KEY_TEXT:
		if (len + strlen(pressed->text) <= TOP_FILTER_MAX)
			memcpy(top->filter + len, pressed->text, strlen(pressed->text) + 1);
		break;
	case KEY_BACKSPACE:
		drop_character(top->filter);
		break;
	case KEY_CLEAR:
		top->filter[0] = '\0';
		break;
	case KEY_ESCAPE:
		memcpy(top->filter, top->filter_before, sizeof(top->filter));
		top->mode = TOP_LISTS;
		break;
	case KEY_ENTER:
		top->mode = TOP_LISTS;
		break;
	default:
		return;
	}
	top_fill(top);
}

/* ---- the list ---- */

static void press_letter(struct top *top, char letter)
{
	switch (letter) {
	case 'q':
		top_leave(top, EXIT_DONE, "%s", "");
		break;
	case 'j':
		move(top, 1);
		break;
	case 'k':
		move(top, -1);
		break;
	case 's':
		sort_by_next(top);
		break;
	case 'S':
		top->descending = !top->descending;
		top_fill(top);
		break;
	case 'f':
	case '/':
		memcpy(top->filter_before, top->filter, sizeof(top->filter));
		top->mode = TOP_FILTERS;
		break;
	case 'p':
		pause_or_resume(top);
		break;
	case 'c':
		ask_to_end(top, "cancel");
		break;
	case 'K':
		ask_to_end(top, "kill");
		break;
	default:
		break;
	}
}

static void press_in_list(struct top *top, const struct pressed *pressed)
{
	long page = (long)top_page(top), n = (long)table_rows(top->table);

	top->message[0] = '\0';
	switch (pressed->key) {
	case KEY_UP:
		move(top, -1);
		break;
	case KEY_DOWN:
		move(top, 1);
		break;
	case KEY_PAGE_UP:
		move(top, -page);
		break;
	case KEY_PAGE_DOWN:
		move(top, page);
		break;
	case KEY_HOME:
		move(top, -n);
		break;
	case KEY_END:
		move(top, n);
		break;
	case KEY_TEXT:
		press_letter(top, pressed->text[0]);
		break;
	default:
		break;
	}
}

void top_press(struct top *top, const struct pressed *pressed)
{
	static void (*const steps[])(struct top *, const struct pressed *) = {
		[TOP_LISTS] = press_in_list,
		[TOP_FILTERS] = edit_filter,
		[TOP_CONFIRMS] = confirm,
	};

	top->is_dirty = true;
	if (pressed->key == KEY_INTERRUPT)
		top_leave(top, EXIT_CANCELLED, "%s", "");
	else
		steps[top->mode](top, pressed);
}
