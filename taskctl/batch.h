/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of `taskctl batch` share: batch_tasks.c reads tasks, batch_results.c reads and
 * writes results, batch_slots.c keeps what is under way, batch_strays.c what came before it was
 * asked for, batch_show.c shows it, batch.c sends and waits.
 */

#include <stdio.h>

#include "common/error.h"
#include "taskctl/ask.h"
#include "taskctl/bar.h"

/* ---- tasks: JSON lines, or a table ---- */

struct batch_source {
	const char *name; /* of the file, for messages */
	FILE *file;
	const struct ask *defaults;
	bool is_table;
	const char *template; /* of the input of a table's row; NULL: the row as an object; without
				 an open brace */
	uint64_t line, next_line; /* where the current record begins, where the next one does */
	char *text;               /* the current record */
	size_t size;
	char separator;
	char **columns;
	size_t n_columns;
};

/* Owns what it points to. */
struct batch_task {
	uint64_t line;
	char *id; /* NULL: none is named */
	char *program, *group, *labels, *user, *project;
	struct buf input;
	unsigned priority, depth;
	bool hold;
	uint64_t timeout_ms;
};

/* Opens @name ("-": stdin, of which a copy is made), and reads the header of a table. 0 or an exit
 * status, having told what is wrong. */
int batch_open(struct batch_source *s, const char *name);
int batch_rewind(struct batch_source *s);
void batch_close(struct batch_source *s);
/* The next task: 1, 0 after the last, -EINVAL (@err says what is wrong with line s->line), or
 * another negative errno. Lines without anything are passed over. */
int batch_next(struct batch_source *s, struct batch_task *ret, struct error *err);
/* Where a brace of @template is not closed; NULL: nowhere. */
const char *batch_open_brace(const char *template);
void batch_task_deinit(struct batch_task *task);

/* ---- results ---- */

/* How a line was done the last time. */
enum batch_end {
	BATCH_NONE, /* never */
	BATCH_SUCCEEDED,
	BATCH_FAILED,
	BATCH_CANCELLED,   /* by somebody who did not want it done */
	BATCH_INTERRUPTED, /* cancelled because taskctl was interrupted: to be done again */
	BATCH_ENDS,
};

struct batch_line {
	uint16_t times; /* done, in whatever way */
	unsigned char end;
};

struct batch_results {
	const char *name; /* NULL: stdout */
	int fd;
	struct buf out;           /* not written yet */
	struct batch_line *lines; /* by number */
	uint64_t n_lines;
	uint64_t n_known; /* lines that have a record */
	uint64_t *mails;  /* to be settled once what is in `out` is written */
	size_t n_mails, room;
};

/* Reads what is there; cuts off what an interruption left half written. @n_lines: of the batch. 0
 * or an exit status, having told what is wrong. */
int batch_results_open(struct batch_results *r, uint64_t n_lines);
void batch_results_close(struct batch_results *r);
/* Whether the line is to be done. */
bool batch_is_wanted(const struct batch_results *r, uint64_t line, bool retry_failed);
/* As one line to @ret. 0 or -ENOMEM. */
int batch_encode(struct buf *ret, uint64_t line, const struct taskclient_event *event,
	const char *program, bool interrupted);
/* Of a task that never came to a runner. */
int batch_encode_refused(
	struct buf *ret, uint64_t line, const char *id, const char *program, const char *why);
/* Of a task that was cancelled for an interruption, which did not last until its end. */
int batch_encode_left(struct buf *ret, uint64_t line, const char *id, const char *program);
/* Takes the record of a line; @mail: see struct batch_results, 0: none. 0 or -ENOMEM. */
int batch_add(struct batch_results *r, uint64_t line, enum batch_end end, struct slice record,
	uint64_t mail);
/* To the disk. 0 or a negative errno; then the caller settles the mails. */
int batch_flush(struct batch_results *r);

/* ---- slots: what is under way, and ends that wait for those before them ---- */

enum slot_state {
	SLOT_UNSENT,
	SLOT_SENT,   /* it is not known whether a queue has the request */
	SLOT_QUEUED, /* one has */
	SLOT_RUNNING,
	SLOT_OVER, /* `record` waits until those before it are written */
};

struct slot {
	struct slot *next; /* of the same place in the index */
	enum slot_state state;
	char id[TASKCLIENT_ID_SIZE];
	struct batch_task task;
	struct buf record;
	bool is_given_up; /* a cancel was sent, because of an interruption */
	enum batch_end end;
	uint64_t mail; /* of the final response; 0: none, or of a connection that is lost */
};

/* A ring, oldest first, and an index by id. */
struct slots {
	struct slot *ring;
	struct slot **index;
	size_t size, first, n;
	size_t n_places;
	size_t counts[SLOT_OVER + 1]; /* by state */
};

int slots_init(struct slots *s, size_t size);
void slots_deinit(struct slots *s);
struct slot *slots_at(const struct slots *s, size_t i); /* the i-th, oldest first */
struct slot *slots_find(const struct slots *s, const char *id);
/* At the end; there is room, and none of this id. Takes @task. */
struct slot *slots_add(struct slots *s, const char *id, struct batch_task *task);
void slots_set(struct slots *s, struct slot *slot, enum slot_state state);
/* Forgets the oldest. */
void slots_drop(struct slots *s);

/* ---- strays: final responses of tasks that have no slot (yet), of an earlier connection, or an
 * earlier life ---- */

struct stray;

struct strays {
	struct stray *first;
	size_t n;
};

/* Takes @event. 0 or -ENOMEM; then it is not taken. */
int strays_add(struct strays *s, struct taskclient_event **event);
/* The caller's from now on; NULL: there is none of this id. */
struct taskclient_event *strays_take(struct strays *s, const char *id);
/* Usable again after it. */
void strays_deinit(struct strays *s);

/* ---- what is shown: progress, and a line at the end ---- */

struct batch_show {
	bool quiet; /* set before batch_show_init */
	struct bar bar;
	uint64_t started_us, line_us;
};

struct batch_counts {
	uint64_t tasks;   /* in the file */
	uint64_t earlier; /* done by earlier starts, and not wanted again */
	uint64_t done;    /* by this one; not those that it interrupted */
	uint64_t waiting, running;
	uint64_t ends[BATCH_ENDS]; /* by whichever start */
};

void batch_show_init(struct batch_show *s);
void batch_show_deinit(struct batch_show *s);
/* Rates count from here. */
void batch_show_start(struct batch_show *s);
/* On a terminal bar_draw draws it, elsewhere it is a line now and then. */
void batch_show(struct batch_show *s, const struct batch_counts *counts);
void batch_show_last(struct batch_show *s, const struct batch_counts *counts);
/* Where earlier starts did all. */
void batch_show_nothing(struct batch_show *s, const struct batch_counts *counts);
