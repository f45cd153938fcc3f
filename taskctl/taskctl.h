/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the verbs of taskctl share. A verb is one file with one function, listed in main.c.
 * stdout is for results alone; everything that is said to a person goes to stderr.
 */

#include "common/buf.h"
#include "taskclient/taskclient.h"

/* Exit statuses; docs/man/taskctl.1.scd has them, too. */
enum status_of_taskctl {
	EXIT_DONE = 0,        /* run: the task succeeded; cancel: accepted */
	EXIT_TASK_FAILED = 1, /* run: it failed; cancel: it had ended already */
	EXIT_USAGE = 2,
	EXIT_BROKER = 3,   /* not reachable, lost, or not understood */
	EXIT_NO_QUEUE = 4, /* no such queue or exchange, or the broker refused the request */
	EXIT_TOO_LATE = 5, /* run: timed out or silent; cancel: nobody answered in time */
	EXIT_LOCAL = 6,    /* input not readable, output not writable */
	EXIT_CANCELLED = 130,
};

int verb_run(int argc, char **argv);
int verb_cancel(int argc, char **argv);

/* ---- options.c ---- */

#define BROKER_HELP                                                                               \
	"  -b, --broker URL        amqp://user:password@host:port/vhost or amqps://…, several " \
	"with\n"                                                                                  \
	"                          commas; default: $TASKCTL_BROKER, else a local broker\n"       \
	"      --control EXCHANGE  where cancels go; default " TASKCLIENT_CONTROL "\n"

struct broker_options {
	const char *broker;  /* NULL: environment or default */
	const char *control; /* NULL: default */
};

/* Connects and tells what is wrong. 0, or an exit status. */
int open_client(const struct broker_options *options, struct taskclient **ret);
/* "taskctl: …\n" to stderr, in one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the hint where help is; gives EXIT_USAGE. */
int usage_error(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads a duration of at least a millisecond. 0 or EXIT_USAGE, having told what is wrong. */
int read_duration(const char *verb, const char *option, const char *text, uint64_t *ret_ms);

/* ---- input.c ---- */

/* All of @file ("-": stdin) is appended to @ret. 0, or an exit status, having told what is wrong.
 */
int read_input(const char *file, struct buf *ret);
/* All of @bytes to @fd, however slow its reader. 0 or a negative errno. */
int write_all(int fd, struct slice bytes);

/* ---- report.c ---- */

/* Tells the final response: output to stdout, the program's messages and what became of it to
 * stderr. Gives the exit status. @brief: nothing is said about success. */
int report_final(const struct taskclient_event *event, bool brief);
/* Appends @text fit for one line on a terminal: without control characters, at most @max bytes. */
void append_clean(struct buf *out, struct slice text, size_t max);
