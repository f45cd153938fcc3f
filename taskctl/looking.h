/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What runners answer about tasks (records, wire/control.h), as rows of a table. The columns are
 * the names that answers, events and programs know.
 */

#include "taskctl/taskctl.h"

enum looking_column {
	LOOKING_ID,
	LOOKING_PROGRAM,
	LOOKING_STATE,
	LOOKING_PROGRESS,
	LOOKING_AGE,
	LOOKING_CPU,
	LOOKING_MEMORY,
	LOOKING_RUNNER,
	LOOKING_MESSAGE,
	LOOKING_RUNNING,
	LOOKING_WAITED,
	LOOKING_PEAK,
	LOOKING_GROUP,
	LOOKING_USER,
	LOOKING_PROJECT,
	LOOKING_LABELS,
	LOOKING_QUEUE,
	LOOKING_ATTEMPT,
	LOOKING_PRIORITY,
	LOOKING_DEPTH,
	LOOKING_PID,
	LOOKING_INSTANCE,
	LOOKING_WAITS_FOR, /* people see it behind the state */
	LOOKING_COLUMNS,
};

/* What `status` gives besides. */
enum looking_text {
	LOOKING_STDOUT = LOOKING_COLUMNS,
	LOOKING_STDERR,
	LOOKING_ALL_COLUMNS,
};

/* The columns of a task. Those that are seen are few, or with @is_wide all. @ret is the table's for
 * its life. */
void looking_columns(bool is_wide, struct column ret[LOOKING_COLUMNS]);
/* This one is seen, however narrow the terminal is: rows are sorted by it. */
void looking_keep(enum looking_column column, struct column columns[LOOKING_COLUMNS]);
extern const struct column looking_all_columns[LOOKING_ALL_COLUMNS];

/* Whether @answer says something of it. Zeros of a task that has not begun to run say nothing. */
bool looking_has(const struct taskclient_answer *answer, const char *member);
/* Adds a row with what @answer has of @columns, in a table made of them: LOOKING_COLUMNS or
 * LOOKING_ALL_COLUMNS. */
void looking_put(struct table *table, const struct column *columns, size_t n,
	const struct taskclient_answer *answer);
#define LOOK_WAIT_MS 5000
#define LOOK_EXITS                                                                              \
	"0 done, 2 usage, 3 broker trouble, or a runner refused, 4 no control exchange, 5 not " \
	"all "                                                                                  \
	"answered in time, 6 stdout not written"

/* By the words of --sort; LOOKING_COLUMNS where it is none. */
#define LOOKING_SORTS "id program state progress age cpu memory runner group user running"
enum looking_column looking_by_word(const char *word);

/* Whether @state is in @list, words with commas between them; NULL: any. */
bool looking_fits_state(const char *list, const char *state);
