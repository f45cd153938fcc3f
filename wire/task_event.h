/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Events: what became of a task, or of a runner, without any payload. Always JSON, numbers as
 * numbers; runners publish them to a topic exchange and a stream keeps them (docs/protocol.md,
 * "Events"). Any thread, one at a time.
 */

#include <stdint.h>

#include "common/error.h"
#include "wire/wire.h"

enum event_kind {
	EVENT_WAITING, /* accepted, but not started at once */
	EVENT_HELD,
	EVENT_PLAYED,
	EVENT_STARTED,
	EVENT_PAUSED,
	EVENT_RESUMED,
	EVENT_ENDING, /* it was told to end */
	EVENT_SUCCEEDED,
	EVENT_FAILED,
	EVENT_CANCELLED,
	EVENT_RETURNED, /* the runner gave the request back */
	/* Of runners: */
	EVENT_READY,
	EVENT_DRAINING,
	EVENT_STOPPED,
};
#define EVENT_KINDS (EVENT_STOPPED + 1)

/* "waiting", "held", … */
const char *event_kind_name(enum event_kind kind);
/* 0 or -EINVAL. */
int event_kind_parse(struct slice name, enum event_kind *ret);
bool event_kind_is_of_runner(enum event_kind kind);
/* Succeeded, failed, cancelled: one for each final response. */
bool event_kind_is_final(enum event_kind kind);

/* The kinds as bits, for who wants some of them. */
#define EVENT_BIT(kind) (1U << (kind))

#define EVENT_UNKNOWN   (-1) /* stands for a number that is not there */

/* Texts are owned where they were decoded, and NULL where they are not there; so is EVENT_UNKNOWN
 * for numbers. */
struct task_event_facts {
	enum event_kind kind;
	char *id; /* of the task; NULL in events of runners */
	char *program;
	char *group;
	char *user;
	char *project;
	char *queue;    /* that the request came from */
	char *runner;   /* its name */
	char *instance; /* one life of it */
	enum cause cause;
	int64_t attempt;
	int64_t time_ms;   /* since 1970, by the runner's clock */
	int64_t waited_ms; /* from being sent to its start */
	int64_t wall_ms, cpu_ms;
	int64_t peak_memory; /* bytes */
	int64_t exit_code, signal;
};

/* Nothing is known of it but the kind. */
void task_event_init(struct task_event_facts *facts, enum event_kind kind);
/* Appends. 0, -ENOMEM or -EMSGSIZE; on failure @ret is as it was. */
int task_event_encode(const struct task_event_facts *facts, struct buf *ret);
/* 0, -EINVAL with a sentence in @err, or -ENOMEM; @ret (whatever it held is overwritten) is valid
 * for task_event_deinit in any case. Members that are not known are for later versions. */
int task_event_decode(struct slice body, struct task_event_facts *ret, struct error *err);
void task_event_deinit(struct task_event_facts *facts);

/* What AMQP can carry as a routing key. */
#define TASK_EVENT_KEY_SIZE 256
/* "task.started.render", "runner.ready.name". What would be taken apart, or for a pattern, in the
 * last word becomes '_', which also stands where there is none; a long one is cut. */
void task_event_key(enum event_kind kind, const char *name, char ret[TASK_EVENT_KEY_SIZE]);
