/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one table of verbs and their options. From it come `taskctl --help`, each verb's --help, what
 * getopt_long knows, and the completions of the shells, so these cannot differ.
 *
 * A new verb is a file with a `const struct verb verb_NAME` and the function it names, a line among
 * the declarations below and a line in verbs.c.
 *
 *	static const struct verb_option options[] = {
 *		{ "group", 'g', "GROUP", NULL, "only tasks of this group" },
 *		{ "state", OPTION_STATE, "STATE", "waiting held running", "only these" },
 *		{ "all", OPTION_ALL, NULL, NULL, "finished ones, too" },
 *		{ 0 },
 *	};
 *	const struct verb verb_ps = {
 *		.name = "ps", .group = VERBS_LOOK, .summary = "list tasks on all runners",
 *		.arguments = "[OPTIONS]",
 *		.about = "Lists …",
 *		.options = options, .shares = SHARES_BROKER | SHARES_OUTPUT,
 *		.exits = "0 done, 2 usage, 3 broker trouble, …",
 *		.run = run,
 *	};
 *
 *	static int run(int argc, char **argv)
 *	{
 *		struct ps_verb v = { 0 };
 *		int r = read_options(&verb_ps, argc, argv, take_option, &v, &v.options);
 *
 *		if (r == GOING_ON) // EXIT_DONE after --help is not that
 *			r = list(&v); // begins with open_client(&v.options.broker, &v.client)
 *		taskclient_close(v.client);
 *		options_deinit(&v.options);
 *		return r;
 *	}
 */

#include "common/buf.h"
#include "taskctl/table.h"

struct verb_option {
	const char *name;  /* long, without its dashes */
	int value;         /* its letter, or OPTION_OF_VERB and above */
	const char *takes; /* what stands for its value: "TIME"; "FILE" is completed with the names
			    * of files; NULL: it takes none */
	const char *words; /* "json msgpack": all that the value can be; NULL: who knows */
	const char *help;  /* wrapped where it is shown; no newline */
	bool takes_list;   /* several of @words, with commas between them */
};

/* Not taken by verbs for options of their own: -b, -h, -o. */
enum {
	OPTION_BROKER_FILE = 256,
	OPTION_PASSWORD_FILE,
	OPTION_CONTROL,
	OPTION_QUEUE,
	OPTION_NO_HEADER,
	OPTION_COLOR,
	OPTION_RESPONSES,
	OPTION_CANCELS,
	OPTION_OF_VERB = 512, /* and above: the verb's own */
};

enum verb_group {
	VERBS_ASK,     /* run, submit, wait, follow, result, logs, batch */
	VERBS_STEER,   /* cancel, kill, pause, resume, play, hold, signal */
	VERBS_LOOK,    /* ps, top, history, stats */
	VERBS_RUNNERS, /* runners, programs, queues, drain, undrain, slots, reload */
	VERBS_OTHER,   /* completion */
	VERB_GROUPS,
};

enum {
	SHARES_BROKER = 1,    /* --broker, --broker-file, --password-file, --control */
	SHARES_OUTPUT = 2,    /* --output, --no-header, --color */
	SHARES_QUEUE = 4,     /* --queue: options.queue */
	SHARES_RESPONSES = 8, /* --responses: options.broker.responses */
	SHARES_CANCELS = 16,  /* --cancels: options.broker.cancels */
};

struct verb {
	const char *name;
	enum verb_group group;
	const char *summary;               /* a line */
	const char *arguments;             /* what follows the verb: "[OPTIONS] ID…" */
	const char *about;                 /* what --help says first; wrapped, '\n' ends a line */
	const struct verb_option *options; /* ends with { 0 }; NULL: none */
	unsigned shares;
	const char *words;                 /* what the first argument can be; NULL: who knows */
	bool takes_files;                  /* arguments are completed with the names of files */
	const char *exits;                 /* statuses, after "Exit status: " */
	int (*run)(int argc, char **argv); /* gives the exit status */
};

extern const struct verb verb_run;
extern const struct verb verb_submit;
extern const struct verb verb_wait;
extern const struct verb verb_result;
extern const struct verb verb_logs;
extern const struct verb verb_follow;
extern const struct verb verb_batch;
extern const struct verb verb_queues;
extern const struct verb verb_cancel;
extern const struct verb verb_kill;
extern const struct verb verb_pause;
extern const struct verb verb_resume;
extern const struct verb verb_hold;
extern const struct verb verb_play;
extern const struct verb verb_signal;
extern const struct verb verb_ps;
extern const struct verb verb_status;
extern const struct verb verb_top;
extern const struct verb verb_runners;
extern const struct verb verb_programs;
extern const struct verb verb_drain;
extern const struct verb verb_undrain;
extern const struct verb verb_slots;
extern const struct verb verb_reload;
extern const struct verb verb_history;
extern const struct verb verb_stats;
extern const struct verb verb_events;
extern const struct verb verb_completion;

extern const struct verb *const verbs[]; /* as they are listed; ends with NULL */

const struct verb *verb_find(const char *name);
/* The title of a group in `taskctl --help`. */
const char *verb_group_title(enum verb_group group);
/* All options of @verb in the order of its help, those it shares and --help among them: its @index
 * th, or NULL. */
const struct verb_option *verb_option(const struct verb *verb, size_t index);

/* What `taskctl --help` and `taskctl VERB --help` print. 0, -ENOMEM or -EMSGSIZE. */
int verbs_help(struct buf *out);
int verb_help(const struct verb *verb, struct buf *out);
