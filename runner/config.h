/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Configuration: a YAML file and the environment -> struct config. The only place with libyaml.
 *
 * Rules, for a person to rely on (docs/configuration.md lists every key):
 *  - An unknown key, a repeated key, a wrong type or an impossible value is an error that names
 * file, line, key and what was expected. The first one ends the reading.
 *  - In any value (not in keys), ${NAME} stands for the environment variable NAME, ${NAME:-text}
 * for it or the text where it is unset or empty; ${NAME} alone is an error where NAME is unset.
 * "$$" is
 *    "$"; a "$" before anything else is an error. Substitution happens after YAML was read: a value
 *    cannot change the structure.
 *  - An empty value counts as not given, but where docs/configuration.md says that a key may be
 * empty.
 *  - Every setting outside `programs` can be given by the environment, which wins: key path in
 * capitals joined by "_" after TASKRUNNER_, e.g. TASKRUNNER_BROKER_ADDRESSES,
 * TASKRUNNER_LIMITS_INPUT. TASKRUNNER_QUEUES takes "name:slots,name:slots", TASKRUNNER_LABELS
 * "label:number,label:number", TASKRUNNER_PROGRAM_DIRECTORIES a colon-separated list. What the file
 * says of the same key is then not looked at. A TASKRUNNER_ variable that names no setting is an
 * error too, but for TASKRUNNER_DEBUG (a convention between tasks).
 *  - A secret (broker.username, broker.password) also comes from a file: key broker.password_file,
 *    variable TASKRUNNER_BROKER_PASSWORD_FILE; one trailing newline is dropped. Giving both in the
 * same place is an error. No error text ever holds a secret or the value of a substituted variable.
 *  - No aliases, anchors, tags or directives, one document, at most 1 MiB.
 *
 * Inside: common/document.c (YAML -> tree), config_table.c (the one table of settings),
 * config_tree.c and config_env.c (tree, environment -> struct, by the table), config_value.c and
 * config_substitute.c (one value), config_reference.c (the table as text), config.c (order,
 * defaults, checks across keys).
 *
 * Main thread; a struct config is not changed after it was read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/log.h"
#include "mq/mq.h"

/* How a program is told its id and pipes on the command line. */
enum pipe_arguments {
	PIPE_ARGUMENTS_HYPHENS,     /* --id X --input-pipe P --output-pipe P --progress-pipe P */
	PIPE_ARGUMENTS_UNDERSCORES, /* --id X --input_pipe P … */
	PIPE_ARGUMENTS_NONE,        /* by environment alone */
};

/* An entry of `programs`. Owned by its catalogue. */
struct program {
	char *name;
	char **argv;         /* NULL-terminated; argv[0] is a path or is looked up in PATH */
	char *directory;     /* working directory; NULL: the task's own private one */
	char **environment;  /* "NAME=value", NULL-terminated, never NULL; added to what every task
				has */
	uint64_t timeout_us; /* the longest run; 0: `limits.timeout`. A request may ask for less */
	uint64_t silence_timeout_us; /* longest time without progress; 0: none */
	unsigned slots;              /* how many at once; 0: as many as the runner has */
	char **labels; /* what each of its tasks needs; NULL-terminated, or NULL: nothing */
	enum pipe_arguments pipe_arguments;
	unsigned line; /* in the file, for messages */
};

struct program_set {
	struct program *programs;
	size_t n_programs;
	char **directories; /* program_directories: absolute; NULL-terminated, never NULL */
	bool search_path;   /* terarium: names through PATH, absolute paths */
	enum pipe_arguments
		pipe_arguments; /* for programs found in directories and through PATH, and
				 * for entries of `programs` that say nothing else */
};

/* Each has a channel of its own, and a connection 255 of them. */
#define QUEUES_MAX 200

struct queue_config {
	char *name;
	unsigned slots; /* tasks of this queue at once: 1..10000 */
	bool declare;   /* ours: declared; else only used */
	bool durable;
	char *type;       /* "classic", "quorum"; NULL: the server's default */
	int max_priority; /* classic: x-max-priority; 0 none */
};

/* Of what a runner has little of: how many tasks that need it run at once. */
struct label_cap {
	char *name;
	unsigned max; /* 1..10000 */
};

#define LABEL_CAPS_MAX     64
#define PROGRAM_LABELS_MAX 16 /* as in a request */

struct label_caps {
	struct label_cap *caps;
	size_t n;
};

struct exchange_config {
	char *name;
	char *type;
	bool declare;
	bool durable;
};

struct config {
	char *file;    /* that was read; NULL: none. For logs see config_source */
	bool terarium; /* compat: terarium */
	char *name;    /* of the runner; default: the host's name */

	struct mq_options broker; /* connection_name is set, too: "taskrunner NAME" */
	struct {
		char *username; /* files from which broker.username and .password were read; NULL */
		char *password;
	} secret_files;
	struct queue_config *queues;
	size_t n_queues;
	struct label_caps labels; /* any other has no cap */
	struct exchange_config responses;
	struct exchange_config control; /* fanout; name "": no control exchange */
	char *cancels;                  /* stream that keeps cancels; "": none */
	struct {
		char *exchange; /* topic; "": no events */
		char *history;  /* stream that keeps them; "": none */
		uint64_t max_age_us;
		size_t max_bytes;
	} events;
	struct exchange_config
		cancellation;      /* direct; terarium: a queue per task id; name "": none */
	bool cancellation_durable; /* of the queue for each task */
	char *dead_letter_queue;   /* "" : none */

	struct {
		bool hold;            /* ack: hold; nothing is parked */
		uint64_t park_us;     /* age at which a request is parked; 60 s */
		uint64_t lease_us;    /* x-message-ttl of the hold queue; 300 s */
		char *hold_type;      /* "auto", "classic", "quorum" */
		unsigned crash_limit; /* 5 */
	} delivery;

	char *run_directory; /* NULL: the first that can be written of $RUNTIME_DIRECTORY, $TMPDIR,
				/run, /dev/shm, /tmp */
	bool no_cgroups;     /* cgroups: off */

	struct {
		uint64_t timeout_us;  /* default and longest run; 0: for ever. With `terarium` only
				       * the  default, for requests that name none: 5 min */
		uint64_t grace_us;    /* SIGTERM to SIGKILL; 10 s */
		uint64_t drain_us;    /* for pipes that someone else still holds after the program's
					 exit; 5 s */
		uint64_t shutdown_us; /* for running tasks after SIGTERM; 8 s, less than a
					 container's 10 s */
		unsigned held;        /* requests that are held without taking a slot; 1000 */
		size_t input;         /* bytes; 64 MiB */
		size_t output;        /* bytes; 64 MiB */
		size_t progress_record; /* bytes; 1 MiB */
		size_t stdout_tail;     /* bytes carried in responses; 64 KiB */
		size_t stderr_tail;
		size_t message; /* longest message body published; 128 MiB; RabbitMQ 4 takes 16 MiB
				   unless told otherwise */
	} limits;

	struct {
		enum log_level level;
		bool task_output; /* log the programs' stdout and stderr lines; default true */
	} log;

	struct program_set catalogue;
};

/* Reads @file (NULL: none, environment alone) and the environment. 0 or a negative errno with the
 * sentence in @err, beginning "file:line: key: ", "file:line: YAML: " where it is no YAML that we
 * take, or "environment: VARIABLE: ". What @ret held is overwritten, not released; it is valid for
 * config_deinit in any case. */
int config_read(const char *file, struct config *ret, struct error *err);
/* The same from memory; @name stands for the file's in messages; @environment is "NAME=value",
 * NULL-terminated. For tests and fuzzing; reads no file but those that _file keys name. */
int config_read_text(const char *text, size_t len, const char *name, char *const environment[],
	struct config *ret, struct error *err);
void config_deinit(struct config *config);
/* For logs: the file that was read, or "environment". Valid as long as @config. */
const char *config_source(const struct config *config);

/* Writes every key with its default, unit and meaning as YAML comments: `taskrunner
 * --print-config`. The table that reads is the table that prints, so the two cannot differ. */
void config_print_reference(FILE *out);

void program_set_deinit(struct program_set *set);
