/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of `taskctl top` share: top.c has the verb and its loop, top_rounds.c asks what
 * there is, top_keys.c does what keys say, top_draw.c shows it. Main thread.
 */

#include "taskctl/asking.h"
#include "taskctl/keys.h"
#include "taskctl/looking.h"
#include "taskctl/screen.h"

#define TOP_FILTER_MAX 64

enum top_mode { TOP_LISTS, TOP_FILTERS, TOP_CONFIRMS };

/* What runners said in one round. */
struct top_round {
	struct taskclient_answer **tasks;
	size_t n_tasks, n_runners;
	int64_t slots, used;
};

struct top {
	struct common_options options;
	struct taskclient_control list; /* texts borrowed from argv */
	uint64_t interval_ms;
	struct taskclient *client;
	struct screen screen;
	struct keys keys;
	int signal_fd;
	bool is_over, is_dirty;
	int status;
	char why[1300]; /* what to tell once the terminal is as it was */

	/* The round that is asked for, and the last whole one. */
	struct asking asking;
	bool is_asking;
	uint64_t asked_us;
	struct top_round next, shown;
	bool has_shown, is_silent; /* the last round had no answer */

	/* What is done to the selected task. */
	struct asking order;
	const char *op;
	char message[1000]; /* in the last line, until the next key */

	struct column columns[LOOKING_COLUMNS];
	struct table *table;
	struct table_view view;
	char *selected_id, *selected_instance; /* NULL: none yet */
	enum looking_column sort;
	bool descending;
	enum top_mode mode;
	char filter[TOP_FILTER_MAX + 1], filter_before[TOP_FILTER_MAX + 1];
};

/* Leaves the loop with @status. */
void top_leave(struct top *top, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void top_say(struct top *top, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* top_rounds.c */
/* Begins and ends rounds when it is time. */
void top_tick(struct top *top);
/* Milliseconds until the next. */
int top_wait_ms(const struct top *top);
void top_take(struct top *top, const struct taskclient_event *event);
/* Says @op about the selected task. */
void top_order(struct top *top, const char *op);
void top_rounds_deinit(struct top *top);

/* top_keys.c */
void top_press(struct top *top, const struct pressed *pressed);

/* top_draw.c */
/* Makes the rows anew: of a round, an order of rows or a filter that changed. */
void top_fill(struct top *top);
/* Rows that the terminal has place for. */
size_t top_page(const struct top *top);
void top_select(struct top *top, size_t row);
void top_draw(struct top *top);
