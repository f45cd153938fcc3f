/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/bar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "taskctl/taskctl.h"
#include "wire/progress.h"

#define FRAME_US    50000 /* drawn at most this often */
#define MESSAGE_MAX 500
#define BAR_CELLS   24
#define ERASE_LINE  "\r\033[K"

void bar_init(struct bar *bar, bool quiet)
{
	*bar = (struct bar){ .quiet = quiet, .is_terminal = isatty(STDERR_FILENO) == 1 };
}

void bar_deinit(struct bar *bar)
{
	bar_hide(bar);
	buf_deinit(&bar->message);
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return 80;
	return size.ws_col;
}

/* Bytes of the first @n characters of UTF-8 text. */
static size_t prefix_len(struct slice text, size_t n)
{
	size_t len = 0;

	while (len < text.len) {
		bool begins = ((unsigned char)text.data[len] & 0xC0) != 0x80;

		if (begins && n-- == 0)
			break;
		len++;
	}
	return len;
}

static void append_bar(const struct bar *bar, struct buf *out)
{
	char cells[BAR_CELLS + 1];
	int full = (int)(bar->fraction * BAR_CELLS);

	for (int i = 0; i < BAR_CELLS; i++)
		cells[i] = i < full ? '#' : '.';
	cells[BAR_CELLS] = '\0';
	(void)buf_printf(out, "[%s] %3d%% ", cells, (int)(bar->fraction * 100));
}

static void draw(struct bar *bar)
{
	struct buf line = { 0 };
	size_t room, width = terminal_width() - 1;

	(void)buf_append_text(&line, ERASE_LINE);
	if (bar->has_fraction)
		append_bar(bar, &line);
	room = line.len - strlen(ERASE_LINE);
	room = room < width ? width - room : 0;
	(void)buf_append(&line, bar->message.data, prefix_len(buf_slice(&bar->message), room));
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

static void write_line(const struct bar *bar)
{
	struct buf line = { 0 };

	(void)buf_append_text(&line, "progress");
	if (bar->has_fraction)
		(void)buf_printf(&line, " %d%%", (int)(bar->fraction * 100));
	if (bar->message.len > 0)
		(void)buf_append_text(&line, " ");
	(void)buf_append(&line, bar->message.data, bar->message.len);
	(void)buf_append_text(&line, "\n");
	(void)write_all(STDERR_FILENO, buf_slice(&line));
	buf_deinit(&line);
}

static void show(struct bar *bar)
{
	if (bar->is_terminal)
		bar->is_dirty = true;
	else
		write_line(bar);
}

void bar_record(struct bar *bar, struct slice record)
{
	struct progress_report report = { 0 };

	if (bar->quiet || progress_report_decode(record, &report) < 0)
		return;
	/* On a terminal the bar stays where it was if a record says nothing of it. */
	if (report.has_fraction || !bar->is_terminal) {
		bar->has_fraction = report.has_fraction;
		bar->fraction = report.fraction;
	}
	if (report.message || !report.has_fraction) {
		struct slice text = report.message ? slice_of(report.message) : record;

		buf_clear(&bar->message);
		append_clean(&bar->message, text, MESSAGE_MAX);
	} else if (!bar->is_terminal) {
		buf_clear(&bar->message);
	}
	progress_report_deinit(&report);
	show(bar);
}

void bar_text(struct bar *bar, const char *text)
{
	if (bar->quiet || !bar->is_terminal)
		return;
	buf_clear(&bar->message);
	append_clean(&bar->message, slice_of(text), MESSAGE_MAX);
	show(bar);
}
