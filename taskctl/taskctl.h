/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the verbs of taskctl share. A verb is one file with one function, listed in main.c.
 * stdout is for results alone; everything that is said to a person goes to stderr.
 */

#include <getopt.h>

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

/* "taskctl: …\n" to stderr, in one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the hint where help is; gives EXIT_USAGE. */
int usage_error(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* After getopt_long (its letters beginning with ":") gave '?' or ':': tells what is wrong, gives
 * EXIT_USAGE. Options without a letter have a value above 255. */
int option_error(const char *verb, int c, const struct option *options, char *const *argv);
/* Reads a duration of at least a millisecond. 0 or EXIT_USAGE, having told what is wrong. */
int read_duration(const char *verb, const char *option, const char *text, uint64_t *ret_ms);

/* What every verb that speaks to the broker takes. */
enum {
	OPTION_BROKER_FILE = 256,
	OPTION_PASSWORD_FILE,
	OPTION_CONTROL,
	OPTION_OF_VERB, /* and above: the verb's own */
};

/* clang-format off */
/* Rows of getopt_long's table. */
#define TAKES_VALUE(name, value) { name, required_argument, NULL, value }
#define TAKES_NONE(name, value)  { name, no_argument, NULL, value }
#define BROKER_LETTERS "b:"
#define BROKER_OPTIONS \
	TAKES_VALUE("broker", 'b'), \
	TAKES_VALUE("broker-file", OPTION_BROKER_FILE), \
	TAKES_VALUE("password-file", OPTION_PASSWORD_FILE), \
	TAKES_VALUE("control", OPTION_CONTROL)
#define BROKER_HELP \
	"  -b, --broker URL          amqp://user:password@host:port/vhost or amqps://…,\n" \
	"                            several with commas. Default: $TASKCTL_BROKER, else\n" \
	"                            a broker on this machine\n" \
	"      --broker-file FILE    the same, from a file; default: $TASKCTL_BROKER_FILE\n" \
	"      --password-file FILE  the password alone; default: $TASKCTL_PASSWORD_FILE\n" \
	"      --control EXCHANGE    where cancels go; default " TASKCLIENT_CONTROL "\n" \
	"  -h, --help\n"
/* clang-format on */

struct broker_options {
	/* NULL: environment or default */
	const char *broker, *broker_file;
	const char *password_file;
	const char *control;
};

/* Takes optarg if @c is one of BROKER_OPTIONS. */
bool take_broker_option(struct broker_options *options, int c);

/* ---- broker.c ---- */

/* Connects and tells what is wrong. 0, or an exit status. */
int open_client(const struct broker_options *options, struct taskclient **ret);

/* ---- input.c ---- */

/* All of @file is appended to @ret. 0, or an exit status, having told what is wrong; @from, an
 * option or a variable, is where the file was named. */
int read_file(const char *from, const char *file, size_t max, struct buf *ret);
/* The same for the input of a task; "-" is stdin. */
int read_input(const char *file, struct buf *ret);
/* All of @bytes to @fd, however slow its reader. 0 or a negative errno. */
int write_all(int fd, struct slice bytes);

/* ---- report.c ---- */

/* Tells the final response: output to stdout, the program's messages and what became of it to
 * stderr. Gives the exit status. @brief: nothing is said about success. */
int report_final(const struct taskclient_event *event, bool brief);
