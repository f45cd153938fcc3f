/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/batch.h"
#include "taskctl/display.h"
#include "taskctl/human.h"

#define LINE_US           10000000 /* between lines of progress, where there is no terminal */
#define SEPARATOR         " · "
#define SEPARATOR_COLUMNS 3
#define BAR_SHARE         8 /* one of so many columns is a cell of the bar */

void batch_show_init(struct batch_show *s)
{
	bar_init(&s->bar, s->quiet);
}

void batch_show_deinit(struct batch_show *s)
{
	bar_deinit(&s->bar);
}

void batch_show_start(struct batch_show *s)
{
	s->started_us = clock_now_us();
	s->line_us = s->started_us + LINE_US;
}

/* ---- parts of a line ---- */

static uint64_t all_done(const struct batch_counts *counts)
{
	return counts->earlier + counts->done;
}

/* Tasks in a second; 0: not known yet. */
static double rate_of(const struct batch_show *s, const struct batch_counts *counts)
{
	double seconds = (double)(clock_now_us() - s->started_us) / 1e6;

	return counts->done > 0 && seconds > 0 ? (double)counts->done / seconds : 0;
}

static void append_left(double rate, const struct batch_counts *counts, struct buf *out)
{
	double left = (double)(counts->tasks - all_done(counts));

	(void)human_age(out, (int64_t)(left / rate * 1000));
	(void)buf_append_text(out, " left");
}

static void append_how_far(const struct batch_counts *counts, struct buf *out)
{
	(void)buf_printf(out, "%" PRIu64 " of %" PRIu64, all_done(counts), counts->tasks);
}

static void append_ends(const struct batch_counts *counts, struct buf *out)
{
	const struct state_count states[] = {
		{ "waiting", counts->waiting },
		{ "running", counts->running },
		{ "succeeded", counts->ends[BATCH_SUCCEEDED] },
		{ "failed", counts->ends[BATCH_FAILED] },
		{ "cancelled", counts->ends[BATCH_CANCELLED] },
		{ "interrupted", counts->ends[BATCH_INTERRUPTED] },
	};

	(void)display_counts(out, states, sizeof(states) / sizeof(*states), false);
}

/* ---- lines ---- */

static void say_line(struct batch_show *s, const struct batch_counts *counts, bool is_last)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };
	double rate = rate_of(s, counts);

	append_how_far(counts, &text);
	(void)buf_append_text(&text, ": ");
	append_ends(counts, &text);
	if (counts->earlier > 0)
		(void)buf_printf(&text, ", %" PRIu64 " by earlier starts", counts->earlier);
	if (rate > 0) {
		(void)buf_append_text(&text, SEPARATOR);
		(void)human_rate(&text, rate);
	}
	if (rate > 0 && !is_last) {
		(void)buf_append_text(&text, SEPARATOR);
		append_left(rate, counts, &text);
	}
	say("%.*s", (int)text.len, text.data ? text.data : "");
}

/* ---- what is drawn: the most important first, and no part of which not all has room ---- */

/* False where there was no room. */
static bool add_part(struct buf *out, size_t room, struct buf *part)
{
	size_t width = display_width(buf_slice(out)) + display_width(buf_slice(part));
	bool fits = width + (out->len > 0 ? SEPARATOR_COLUMNS : 0) <= room;

	if (fits && out->len > 0)
		(void)buf_append_text(out, SEPARATOR);
	if (fits)
		(void)buf_append(out, part->data, part->len);
	buf_clear(part);
	return fits;
}

static bool add_rate(const struct batch_show *s, const struct batch_counts *counts, struct buf *out,
	size_t room, struct buf *part)
{
	double rate = rate_of(s, counts);

	if (rate <= 0)
		return true;
	(void)human_rate(part, rate);
	if (!add_part(out, room, part))
		return false;
	append_left(rate, counts, part);
	return add_part(out, room, part);
}

static void add_counts(
	const struct batch_counts *counts, struct buf *out, size_t room, struct buf *part)
{
	const struct state_count states[] = {
		{ "failed", counts->ends[BATCH_FAILED] },
		{ "cancelled", counts->ends[BATCH_CANCELLED] },
		{ "interrupted", counts->ends[BATCH_INTERRUPTED] },
		{ "running", counts->running },
		{ "waiting", counts->waiting },
		{ "succeeded", counts->ends[BATCH_SUCCEEDED] },
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		if (states[i].n == 0)
			continue;
		(void)display_counts(part, &states[i], 1, false);
		if (!add_part(out, room, part))
			return;
	}
}

static void draw(struct batch_show *s, const struct batch_counts *counts)
{
	cleanup_with(buf_deinit) struct buf text = { 0 }, part = { 0 };
	size_t columns = display_columns(STDERR_FILENO) / BAR_SHARE, room;

	s->bar.cells = columns < BAR_CELLS ? (unsigned)columns : BAR_CELLS;
	s->bar.has_fraction = true;
	s->bar.fraction = counts->tasks > 0 ? (double)all_done(counts) / (double)counts->tasks : 1;
	room = bar_room(&s->bar);
	if (add_rate(s, counts, &text, room, &part)) {
		append_how_far(counts, &part);
		if (add_part(&text, room, &part))
			add_counts(counts, &text, room, &part);
	}
	if (buf_append(&text, "", 1) == 0)
		bar_text(&s->bar, text.data);
}

void batch_show(struct batch_show *s, const struct batch_counts *counts)
{
	uint64_t now = clock_now_us();

	if (s->quiet)
		return;
	if (s->bar.is_terminal) {
		draw(s, counts);
	} else if (now >= s->line_us) {
		s->line_us = now + LINE_US;
		say_line(s, counts, false);
	}
}

void batch_show_last(struct batch_show *s, const struct batch_counts *counts)
{
	if (s->quiet)
		return;
	bar_hide(&s->bar);
	say_line(s, counts, true);
}

void batch_show_nothing(struct batch_show *s, const struct batch_counts *counts)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	if (s->quiet)
		return;
	append_ends(counts, &text);
	if (counts->tasks == 0)
		say("nothing to do: no tasks");
	else
		say("nothing to do: %" PRIu64 " tasks, all done by earlier starts: %.*s",
			counts->tasks, (int)text.len, text.data ? text.data : "");
}
