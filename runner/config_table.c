/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of settings. A row added here is read, defaulted, printed, and missed by the test
 * until docs/configuration.md and docs/man/taskrunner.yaml.5.scd have it. */

#include "runner/config_internal.h"

#include <assert.h>
#include <string.h>

#define KIB            ((int64_t)1 << 10)
#define MIB            ((int64_t)1 << 20)
#define GIB            ((int64_t)1 << 30)

#define SECOND         ((int64_t)1000000)
#define MINUTE         (60 * SECOND)
#define HOUR           (60 * MINUTE)
#define YEAR           (366 * 24 * HOUR)

#define NAME_MAX_BYTES 255 /* what AMQP's short strings hold */

static const char *const compat_words[] = { "none", "terarium", NULL };
static const char *const ack_words[] = { "lease", "hold", NULL };
static const char *const cgroups_words[] = { "auto", "off", NULL };
static const char *const hold_types[] = { "auto", "classic", "quorum", NULL };
static const char *const queue_types[] = { "classic", "quorum", NULL };
static const char *const exchange_types[] = { "direct", "topic", "fanout", NULL };
static const char *const level_words[] = { "error", "warn", "notice", "info", "debug", NULL };
static const char *const spellings[] = { "hyphens", "underscores", "none", NULL };

/* Enums are written through unsigned. */
static_assert(sizeof(enum log_level) == sizeof(unsigned), "size of an enum");
static_assert(sizeof(enum pipe_arguments) == sizeof(unsigned), "size of an enum");

#define IN(member) offsetof(struct config, member)

static const struct setting config_rows[] = {
	{ "compat", SETTING_BOOL, .offset = IN(terarium), .words = compat_words, .fallback = "none",
		.meaning = "terarium: take the place of a Terarium task runner; changes four "
			   "defaults" },
	{ "name", SETTING_TEXT, .offset = IN(name), .min = 1, .max = 128,
		.shown = "the host's name",
		.meaning = "name of this runner in logs, responses and the broker's list of "
			   "connections" },

	{ "broker.addresses", SETTING_ADDRESSES, .offset = IN(broker),
		.fallback = "amqp://127.0.0.1:5672",
		.meaning = "servers, tried in order; amqps:// for TLS" },
	{ "broker.username", SETTING_SECRET, .offset = IN(broker.username),
		.shown = "the address's, else guest", .meaning = "user to log in as" },
	{ "broker.username_file", SETTING_FILE, .offset = IN(secret_files.username),
		.meaning = "file that holds the user's name, instead of broker.username" },
	{ "broker.password", SETTING_SECRET, .offset = IN(broker.password),
		.shown = "the address's, else guest", .meaning = "password of the user" },
	{ "broker.password_file", SETTING_FILE, .offset = IN(secret_files.password),
		.meaning = "file that holds the password, instead of broker.password" },
	{ "broker.vhost", SETTING_TEXT, .offset = IN(broker.vhost), .min = 1, .max = NAME_MAX_BYTES,
		.shown = "the address's, else /", .meaning = "virtual host" },
	{ "broker.heartbeat", SETTING_SECONDS, .offset = IN(broker.heartbeat_s), .max = 3600,
		.fallback = "20s",
		.meaning = "a silent connection is dead after twice this; 0: never" },
	{ "broker.connect_timeout", SETTING_SECONDS, .offset = IN(broker.connect_timeout_s),
		.min = 1, .max = 300, .fallback = "10s",
		.meaning = "longest time to connect to one address" },
	{ "broker.tls.ca_file", SETTING_FILE, .offset = IN(broker.tls.ca_file),
		.shown = "the system's certificates",
		.meaning = "certificates that the server's is checked against" },
	{ "broker.tls.cert_file", SETTING_FILE, .offset = IN(broker.tls.cert_file),
		.meaning = "client certificate; goes with key_file" },
	{ "broker.tls.key_file", SETTING_FILE, .offset = IN(broker.tls.key_file),
		.meaning = "key of the client certificate" },
	{ "broker.tls.insecure", SETTING_BOOL, .offset = IN(broker.tls.insecure),
		.fallback = "false",
		.meaning = "check neither the server's certificate nor its name; for tests" },

	{ "queues", SETTING_QUEUES, .shown = "one, taskrunner.requests",
		.meaning = "queues that requests are taken from" },

	{ "labels", SETTING_LABEL_CAPS, .offset = IN(labels), .min = 1, .max = 10000,
		.meaning = "of each label, how many tasks that need it run at once; one that is "
			   "not here has no cap" },

	{ "responses.exchange", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(responses.name),
		.max = NAME_MAX_BYTES, .fallback = "taskrunner.responses",
		.meaning =
			"exchange for responses with a routing key; empty: the default exchange" },
	{ "responses.type", SETTING_WORD_TEXT, .offset = IN(responses.type),
		.words = exchange_types, .fallback = "direct", .meaning = "its type" },
	{ "responses.declare", SETTING_BOOL, .offset = IN(responses.declare), .fallback = "true",
		.meaning = "declare it; false: it is somebody else's and must exist" },
	{ "responses.durable", SETTING_BOOL, .offset = IN(responses.durable), .fallback = "true",
		.meaning = "it outlives a restart of the broker" },
	{ "control.exchange", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(control.name),
		.max = NAME_MAX_BYTES, .fallback = "taskrunner.control",
		.meaning = "fanout exchange through which taskctl speaks to runners; empty: none" },
	{ "control.declare", SETTING_BOOL, .offset = IN(control.declare), .fallback = "true",
		.meaning = "declare it; false: it is somebody else's and must exist" },
	{ "control.durable", SETTING_BOOL, .offset = IN(control.durable), .fallback = "true",
		.meaning = "it outlives a restart of the broker" },
	{ "control.cancels", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(cancels), .max = NAME_MAX_BYTES,
		.fallback = "taskrunner.cancels",
		.meaning = "stream queue that keeps cancels for runners that start later; empty: "
			   "they are kept in memory alone" },
	{ "events.exchange", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(events.exchange),
		.max = NAME_MAX_BYTES, .fallback = "task-events", .terarium = "",
		.meaning = "topic exchange for events of tasks and runners; empty: none" },
	{ "events.history", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(events.history),
		.max = NAME_MAX_BYTES, .fallback = "taskrunner.history",
		.meaning = "stream queue that keeps events, for taskctl history; empty: they are "
			   "not kept" },
	{ "events.max_age", SETTING_DURATION, .offset = IN(events.max_age_us), .max = 10 * YEAR,
		.fallback = "7d", .meaning = "age at which events go from it; 0: no limit" },
	{ "events.max_bytes", SETTING_SIZE, .offset = IN(events.max_bytes), .max = 1024 * GIB,
		.fallback = "1GiB",
		.meaning = "size from which on the oldest events go from it; 0: no limit" },
	{ "cancellation.exchange", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(cancellation.name),
		.max = NAME_MAX_BYTES, .fallback = "",
		.meaning = "direct exchange for Terarium's way to cancel, a queue for each task; "
			   "empty: none" },
	{ "cancellation.declare", SETTING_BOOL, .offset = IN(cancellation.declare),
		.fallback = "true",
		.meaning = "declare it; false: it is somebody else's and must exist" },
	{ "cancellation.durable", SETTING_BOOL, .offset = IN(cancellation.durable),
		.fallback = "true", .meaning = "the exchange outlives a restart of the broker" },
	{ "cancellation.queue_durable", SETTING_BOOL, .offset = IN(cancellation_durable),
		.fallback = "true", .meaning = "so does the queue of each task" },
	{ "dead_letter_queue", SETTING_TEXT, SETTING_MAY_BE_EMPTY, IN(dead_letter_queue),
		.max = NAME_MAX_BYTES, .fallback = "taskrunner.dead-letters",
		.meaning = "where messages go that nobody can be told about; empty: they are "
			   "logged only" },

	{ "delivery.ack", SETTING_BOOL, .offset = IN(delivery.hold), .words = ack_words,
		.fallback = "lease",
		.meaning = "lease: requests of long tasks are parked, so that no "
			   "acknowledgement is ever late; hold: they are held until the end" },
	{ "delivery.park_after", SETTING_DURATION, .offset = IN(delivery.park_us),
		.min = SECOND / 5, .max = HOUR, .fallback = "60s",
		.meaning = "age at which a request is parked; less than a third of the "
			   "broker's acknowledgement timeout" },
	{ "delivery.lease", SETTING_DURATION, .offset = IN(delivery.lease_us), .min = 2 * SECOND,
		.max = 24 * HOUR, .fallback = "300s",
		.meaning = "after which others take over what a dead runner had parked; renewed "
			   "after a third of it" },
	{ "delivery.hold_type", SETTING_WORD_TEXT, .offset = IN(delivery.hold_type),
		.words = hold_types, .fallback = "auto",
		.meaning = "type of the queue for what is parked; auto: quorum where the broker "
			   "can (3.10 and later)" },
	{ "delivery.crash_limit", SETTING_NUMBER, .offset = IN(delivery.crash_limit), .min = 1,
		.max = 1000, .fallback = "5",
		.meaning = "runs of one request that may end unknown, with their runner; then it "
			   "has FAILED" },

	{ "run_directory", SETTING_PATH, .offset = IN(run_directory),
		.shown = "the first that can be written",
		.meaning = "where each task's directory of pipes is made" },
	{ "cgroups", SETTING_BOOL, .offset = IN(no_cgroups), .words = cgroups_words,
		.fallback = "auto",
		.meaning = "auto: a control group for each task where one can be made; off: none" },

	{ "limits.timeout", SETTING_DURATION, .offset = IN(limits.timeout_us), .max = YEAR,
		.fallback = "0", .terarium = "5m",
		.meaning = "longest run; 0: no limit. A request may ask for less" },
	{ "limits.grace", SETTING_DURATION, .offset = IN(limits.grace_us), .max = HOUR,
		.fallback = "10s", .meaning = "from SIGTERM to SIGKILL, whatever the reason" },
	{ "limits.drain", SETTING_DURATION, .offset = IN(limits.drain_us), .max = HOUR,
		.fallback = "5s",
		.meaning = "after a program's exit, for pipes that its children still hold" },
	{ "limits.shutdown", SETTING_DURATION, .offset = IN(limits.shutdown_us), .max = 24 * HOUR,
		.fallback = "8s",
		.meaning = "for running tasks to finish after the runner's SIGTERM; then they are "
			   "ended" },
	{ "limits.held", SETTING_NUMBER, .offset = IN(limits.held), .max = 100000,
		.fallback = "1000",
		.meaning = "requests that are held without taking a slot, and in bytes four times "
			   "limits.input; more of them take slots" },
	{ "limits.input", SETTING_SIZE, .offset = IN(limits.input), .min = KIB, .max = GIB,
		.fallback = "64MiB", .meaning = "input of a task" },
	{ "limits.output", SETTING_SIZE, .offset = IN(limits.output), .min = KIB, .max = GIB,
		.fallback = "64MiB", .meaning = "output of a task" },
	{ "limits.progress_record", SETTING_SIZE, .offset = IN(limits.progress_record), .min = 256,
		.max = 64 * MIB, .fallback = "1MiB", .meaning = "one record of progress" },
	{ "limits.stdout_tail", SETTING_SIZE, .offset = IN(limits.stdout_tail), .max = 64 * MIB,
		.fallback = "64KiB",
		.meaning = "last part of standard output carried in responses" },
	{ "limits.stderr_tail", SETTING_SIZE, .offset = IN(limits.stderr_tail), .max = 64 * MIB,
		.fallback = "64KiB",
		.meaning = "last part of standard error carried in responses" },
	{ "limits.message", SETTING_SIZE, .offset = IN(limits.message), .min = 16 * KIB,
		.max = 512 * MIB, .fallback = "128MiB",
		.meaning =
			"longest message published; RabbitMQ 4 takes 16MiB unless told otherwise" },

	{ "log.level", SETTING_WORD, .offset = IN(log.level), .words = level_words,
		.fallback = "info", .meaning = "least important events that are logged" },
	{ "log.task_output", SETTING_BOOL, .offset = IN(log.task_output), .fallback = "true",
		.meaning = "log what programs write to standard output and standard error" },

	{ "program_directories", SETTING_DIRECTORIES, .offset = IN(catalogue.directories),
		.meaning =
			"each executable file directly in one of these can be run under its name" },
	{ "search_path", SETTING_BOOL, .offset = IN(catalogue.search_path), .fallback = "false",
		.terarium = "true", .meaning = "also run whatever PATH finds, and absolute paths" },
	{ "pipe_arguments", SETTING_WORD, .offset = IN(catalogue.pipe_arguments),
		.words = spellings, .fallback = "hyphens", .terarium = "underscores",
		.meaning = "how programs are told their pipes: --input-pipe, --input_pipe, or not "
			   "at all" },
	{ "programs", SETTING_PROGRAMS, SETTING_FILE_ONLY, IN(catalogue),
		.meaning = "the catalogue: name, and what is run for it" },
};

#undef IN
#define IN(member) offsetof(struct queue_config, member)

static const struct setting queue_rows[] = {
	{ "name", SETTING_TEXT, SETTING_REQUIRED | SETTING_FILE_ONLY, IN(name), .min = 1,
		.max = NAME_MAX_BYTES, .shown = "Required", .example = "taskrunner.requests",
		.meaning = "name of the queue" },
	{ "slots", SETTING_NUMBER, SETTING_FILE_ONLY, IN(slots), .min = 1, .max = 10000,
		.shown = "the number of processors", .meaning = "tasks of this queue at once" },
	{ "declare", SETTING_BOOL, SETTING_FILE_ONLY, IN(declare), .fallback = "true",
		.meaning = "declare it; false: it is somebody else's and must exist" },
	{ "durable", SETTING_BOOL, SETTING_FILE_ONLY, IN(durable), .fallback = "true",
		.meaning = "it outlives a restart of the broker" },
	{ "type", SETTING_WORD_TEXT, SETTING_FILE_ONLY, IN(type), .words = queue_types,
		.shown = "the server's default", .meaning = "its type" },
	{ "max_priority", SETTING_NUMBER, SETTING_FILE_ONLY, IN(max_priority), .max = 255,
		.fallback = "0",
		.meaning = "highest priority of a message (classic queues); 0: none" },
};

#undef IN
#define IN(member) offsetof(struct program, member)

static const struct setting program_rows[] = {
	{ "argv", SETTING_ARGV, SETTING_REQUIRED | SETTING_FILE_ONLY, IN(argv), .shown = "Required",
		.example = "[/opt/render/bin/render, --quality, high]",
		.meaning =
			"what is run: a path, or a name that PATH finds, and its first arguments" },
	{ "directory", SETTING_PATH, SETTING_FILE_ONLY, IN(directory), .shown = "the task's own",
		.meaning = "working directory" },
	{ "environment", SETTING_ENVIRONMENT, SETTING_FILE_ONLY, IN(environment),
		.meaning = "variables added to the runner's own" },
	{ "timeout", SETTING_DURATION, SETTING_FILE_ONLY, IN(timeout_us), .max = YEAR,
		.fallback = "0",
		.meaning = "longest run; 0: limits.timeout. A request may ask for less" },
	{ "silence_timeout", SETTING_DURATION, SETTING_FILE_ONLY, IN(silence_timeout_us),
		.max = YEAR, .fallback = "0",
		.meaning = "longest time without progress; 0: no limit" },
	{ "slots", SETTING_NUMBER, SETTING_FILE_ONLY, IN(slots), .max = 10000, .fallback = "0",
		.meaning = "how many of it at once; 0: as many as the queues have" },
	{ "labels", SETTING_LABELS, SETTING_FILE_ONLY, IN(labels), .max = PROGRAM_LABELS_MAX,
		.meaning = "what each of its tasks needs, beside the labels of its request" },
	{ "pipe_arguments", SETTING_WORD, SETTING_FILE_ONLY, IN(pipe_arguments), .words = spellings,
		.shown = "the pipe_arguments above", .meaning = "how it is told its pipes" },
};

#undef IN

#define N_ROWS(rows) (sizeof(rows) / sizeof(*(rows)))

static_assert(N_ROWS(config_rows) <= SETTING_ROWS_MAX, "SETTING_ROWS_MAX");

const struct setting_table config_table = { "", config_rows, N_ROWS(config_rows) };
const struct setting_table queue_table = { "queues[].", queue_rows, N_ROWS(queue_rows) };
const struct setting_table program_table = { "programs.NAME.", program_rows, N_ROWS(program_rows) };

const struct setting *setting_find(const struct setting_table *table, const char *key)
{
	for (size_t i = 0; i < table->n; i++)
		if (!strcmp(table->rows[i].key, key))
			return &table->rows[i];
	return NULL;
}
