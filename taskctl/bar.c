/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/bar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "taskctl/display.h"
#include "taskctl/taskctl.h"
#include "wire/progress.h"

#define FRAME_US    50000 /* drawn at most this often */
#define MESSAGE_MAX 500
#define BAR_FRAME   8 /* columns of "[] 100% " */
#define ERASE_LINE  "\r\033[K"

void bar_init(struct bar *bar, bool quiet)
{
	*bar = (struct bar){ .quiet = quiet,
		.cells = BAR_CELLS,
		.is_terminal = isatty(STDERR_FILENO) == 1 && display_can_draw() };
}

void bar_deinit(struct bar *bar)
{
	bar_hide(bar);
	buf_deinit(&bar->message);
}

static void append_bar(const struct bar *bar, struct buf *out)
{
	char cells[BAR_CELLS + 1];
	unsigned full = (unsigned)(bar->fraction * bar->cells);

	for (unsigned i = 0; i < bar->cells; i++)
		cells[i] = i < full ? '#' : '.';
	cells[bar->cells] = '\0';
	(void)buf_printf(out, "[%s] %3d%% ", cells, progress_percent(bar->fraction));
}

/* Columns: a line that is one too long would begin a new one each time it is drawn. */
static size_t line_room(void)
{
	return display_columns(STDERR_FILENO) - 1;
}

/* Columns of the bar itself: none where the line has not that many. */
static size_t bar_width(const struct bar *bar, size_t room)
{
	size_t width = bar->cells + BAR_FRAME;

	return bar->has_fraction && room >= width ? width : 0;
}

size_t bar_room(const struct bar *bar)
{
	size_t room = line_room();

	return room - bar_width(bar, room);
}

static void draw(struct bar *bar)
{
	struct buf line = { 0 };
	size_t room = line_room(), width = bar_width(bar, room), len;

	(void)buf_append_text(&line, ERASE_LINE);
	if (width > 0)
		append_bar(bar, &line);
	len = display_prefix(buf_slice(&bar->message), room - width);
	(void)buf_append(&line, bar->message.data, len);
	(void)write_all(STDERR_FILENO, buf_slice(&line));
	buf_deinit(&line);
	bar->is_drawn = true;
	bar->is_dirty = false;
	bar->drawn_us = clock_now_us();
}

int bar_draw(struct bar *bar)
{
	uint64_t now = clock_now_us();

	if (!bar->is_dirty)
		return -1;
	if (now - bar->drawn_us < FRAME_US)
		return (int)((FRAME_US - (now - bar->drawn_us)) / 1000) + 1;
	draw(bar);
	return -1;
}

void bar_hide(struct bar *bar)
{
	if (!bar->is_drawn)
		return;
	(void)write_all(STDERR_FILENO, slice_of(ERASE_LINE));
	bar->is_drawn = false;
	bar->is_dirty = true;
}

static void write_line(struct slice record)
{
	struct buf line = { 0 };

	(void)progress_append_line(&line, record, MESSAGE_MAX);
	(void)write_all(STDERR_FILENO, buf_slice(&line));
	buf_deinit(&line);
}

/* The bar stays where it was if a record says nothing of it, and so does the message. */
static void take_report(struct bar *bar, const struct progress_report *report, struct slice record)
{
	if (report->has_fraction) {
		bar->has_fraction = true;
		bar->fraction = report->fraction;
	}
	if (report->message || !report->has_fraction)
		buf_clear(&bar->message);
	if (report->message)
		(void)text_append_clean(&bar->message, slice_of(report->message), MESSAGE_MAX);
	else if (!report->has_fraction)
		(void)progress_append_record(&bar->message, record, MESSAGE_MAX);
	bar->is_dirty = true;
}

void bar_record(struct bar *bar, struct slice record)
{
	struct progress_report report = { 0 };

	if (bar->quiet)
		return;
	if (!bar->is_terminal)
		write_line(record);
	else if (progress_report_decode(record, &report) == 0)
		take_report(bar, &report, record);
	progress_report_deinit(&report);
}

void bar_text(struct bar *bar, const char *text)
{
	if (bar->quiet || !bar->is_terminal)
		return;
	buf_clear(&bar->message);
	(void)text_append_clean(&bar->message, slice_of(text), MESSAGE_MAX);
	bar->is_dirty = true;
}
