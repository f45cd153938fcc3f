/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "taskctl/batch.h"
#include "taskctl/display.h"
#include "taskctl/human.h"

#define LINE_US 10000000 /* between lines of progress, where there is no terminal */

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

static void append_rate(
	const struct batch_show *s, const struct batch_counts *counts, struct buf *out)
{
	double seconds = (double)(clock_now_us() - s->started_us) / 1e6;
	double rate = seconds > 0 ? (double)counts->done / seconds : 0;

	if (counts->done == 0)
		return;
	(void)buf_append_text(out, " · ");
	(void)human_rate(out, rate);
	if (counts->done < counts->todo) {
		(void)buf_append_text(out, " · ");
		(void)human_age(
			out, (int64_t)((double)(counts->todo - counts->done) / rate * 1000));
		(void)buf_append_text(out, " left");
	}
}

static void append_counts(
	const struct batch_show *s, const struct batch_counts *counts, struct buf *out)
{
	const struct state_count states[] = {
		{ "waiting", counts->waiting },
		{ "running", counts->running },
		{ "succeeded", counts->succeeded },
		{ "failed", counts->failed },
		{ "cancelled", counts->cancelled },
	};

	(void)buf_printf(out, "%" PRIu64 " of %" PRIu64 ": ", counts->done, counts->todo);
	(void)display_counts(out, states, sizeof(states) / sizeof(*states), false);
	append_rate(s, counts, out);
}

static void say_line(struct batch_show *s, const struct batch_counts *counts)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	append_counts(s, counts, &text);
	say("%.*s", (int)text.len, text.data ? text.data : "");
}

static void draw(struct batch_show *s, const struct batch_counts *counts)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	append_counts(s, counts, &text);
	s->bar.has_fraction = true;
	s->bar.fraction = counts->todo > 0 ? (double)counts->done / (double)counts->todo : 1;
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
		say_line(s, counts);
	}
}

void batch_show_last(struct batch_show *s, const struct batch_counts *counts)
{
	if (s->quiet)
		return;
	bar_hide(&s->bar);
	say_line(s, counts);
}
