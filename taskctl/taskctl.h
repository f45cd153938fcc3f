/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the verbs of taskctl share. A verb is one file with its entry in the table (verbs.h).
 * stdout is for results alone; everything that is said to a person goes to stderr.
 */

#include <getopt.h> /* optarg, optind */
#include <taskclient.h>

#include "common/buf.h"
#include "taskctl/verbs.h"

/* Exit statuses; docs/man/taskctl.1.scd has them, too. */
enum status_of_taskctl {
	EXIT_DONE = 0,        /* run: the task succeeded; cancel: accepted */
	EXIT_TASK_FAILED = 1, /* run: it failed; cancel: it had ended already */
	EXIT_USAGE = 2,       /* options, arguments, environment, settings */
	EXIT_BROKER = 3,      /* not reachable, lost, or not understood */
	EXIT_NO_QUEUE = 4,    /* no such queue or exchange, or the broker refused the request */
	EXIT_TOO_LATE = 5,    /* run: timed out or silent; cancel: nobody answered in time */
	EXIT_LOCAL = 6,       /* input not readable, output not writable */
	EXIT_CANCELLED = 130,
};

/* A verb goes on; less than any exit status. */
#define GOING_ON (-1)

/* ---- options.c ---- */

/* "taskctl: …\n" to stderr, in one write. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the hint where help is; gives EXIT_USAGE. */
int usage_error(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads a duration of at least a millisecond. 0 or EXIT_USAGE, having told what is wrong. */
int read_duration(const char *verb, const char *option, const char *text, uint64_t *ret_ms);

/* Who named a thing. What comes first wins. */
enum origin { FROM_OPTION, FROM_ENVIRONMENT, FROM_FILE, ORIGINS, FROM_NOWHERE = ORIGINS };

struct broker_options {
	/* Of each origin what it names; NULL: nothing. */
	struct {
		const char *broker, *broker_file, *password_file;
	} from[ORIGINS];
	char *path; /* of ~/.config/taskctl.yaml, where there may be one; owned */
	const char *control, *responses; /* exchanges; NULL: the default */
	const char *cancels;             /* a stream; the same */
};

/* What verbs share, from the command line, the environment and ~/.config/taskctl.yaml. Usable when
 * zeroed. */
struct common_options {
	struct broker_options broker;
	struct output_options output;
	const char *queue; /* NULL: the default */
	struct node *file; /* owns what the file said */
};

/* Reads argv[1] and what follows by the table of @verb: its own options go to @take (with optarg
 * set; it gives GOING_ON or an exit status), the shared ones to @ret. Then argv[optind] is the
 * first argument. Says what is wrong and prints help. GOING_ON or an exit status; in any case
 * options_deinit(@ret). */
int read_options(const struct verb *verb, int argc, char **argv, int (*take)(void *v, int c),
	void *v, struct common_options *ret);
void options_deinit(struct common_options *options);

/* ---- broker.c ---- */

/* Connects and tells what is wrong. 0, or an exit status. */
int open_client(const struct broker_options *options, struct taskclient **ret);
/* The same for anything that connects: @open gives 0 or a negative errno with @err. */
int open_broker(const struct broker_options *options,
	int (*open)(const struct taskclient_options *connection, void *userdata,
		struct taskclient_error *err),
	void *userdata);
/* Connects once more after the connection was lost, telling that once: tries again and again until
 * @deadline_us (UINT64_MAX: forever). @err is why it was lost. 0 or an exit status. */
int reopen_client(const struct broker_options *options, const struct taskclient_error *err,
	uint64_t deadline_us, struct taskclient **client);
/* One try, without a word. */
int retry_client(const struct broker_options *options, struct taskclient **ret);

/* ---- input.c ---- */

/* All of @file is appended to @ret. 0, or an exit status, having told what is wrong; @from, an
 * option or a variable, is where the file was named. */
int read_file(const char *from, const char *file, size_t max, struct buf *ret);
/* The same for the input of a task; "-" is stdin. */
int read_input(const char *file, struct buf *ret);
/* All of @bytes to @fd, however slow its reader. 0 or a negative errno. */
int write_all(int fd, struct slice bytes);

/* ---- report.c ---- */

/* The exit status of a final response. */
int final_status(const struct taskclient_event *event);
/* "succeeded", "failed", "cancelled" */
const char *final_state(enum taskclient_status status);
/* Tells the final response: output to stdout, the program's messages and what became of it to
 * stderr. Gives the exit status. @brief: nothing is said about success. */
int report_final(const struct taskclient_event *event, bool brief);
