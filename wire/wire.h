/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The words of the protocol that requests and responses share. docs/protocol.md is the full text.
 * Nothing in wire/ does I/O or logs; everything works on bytes that the caller holds.
 */

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

/* How a body is written; a response has the encoding of its request. */
enum wire_encoding { WIRE_JSON, WIRE_MSGPACK };

/* "application/json" or "application/msgpack". */
const char *wire_content_type(enum wire_encoding encoding);
/* Tells the encoding from the content type (JSON also for any "…+json", MessagePack for msgpack,
 * x-msgpack, vnd.msgpack; parameters after ';' do not matter); where that says nothing (NULL,
 * empty, text/plain, application/octet-stream, anything else) from the first byte that is not white
 * space: a MessagePack map begins with 0x80..0x8f, 0xde or 0xdf; everything else is taken for JSON.
 */
enum wire_encoding wire_detect(const char *content_type, struct slice body);

/* No body and no value in it is followed deeper than this, whatever a caller allows. */
#define WIRE_DEPTH_MAX     1024
#define WIRE_DEPTH_DEFAULT 512

/* The six statuses that exist on the wire; there will never be a seventh (existing servers drop
 * it). */
enum status {
	STATUS_QUEUED,
	STATUS_RUNNING,
	STATUS_SUCCESS,
	STATUS_FAILED,
	STATUS_CANCELLING,
	STATUS_CANCELLED,
};

const char *status_name(enum status status);
/* 0 or -EINVAL. */
int status_parse(struct slice name, enum status *ret);
/* SUCCESS, FAILED, CANCELLED: nothing follows them. */
bool status_is_final(enum status status);

/* Why a task ended as it did: the one closed list, in headers, texts and logs alike. */
enum cause {
	CAUSE_NONE,      /* it succeeded */
	CAUSE_REFUSED,   /* the request cannot be accepted: a bad field, too large, not permitted */
	CAUSE_NOT_FOUND, /* no such program */
	CAUSE_EXEC_FAILED,   /* the program could not be started; detail: errno */
	CAUSE_EXITED,        /* it exited other than well; detail: exit code */
	CAUSE_KILLED,        /* a signal that was not ours ended it; detail: signal */
	CAUSE_OUT_OF_MEMORY, /* SIGKILL that was not ours, memory being the probable reason */
	CAUSE_TIMED_OUT,     /* the run took longer than allowed */
	CAUSE_SILENT,        /* no progress for longer than allowed */
	CAUSE_OUTPUT_TOO_LARGE,
	CAUSE_PROTOCOL_ERROR, /* a request or a progress record that breaks the protocol */
	CAUSE_CANCELLED,
	CAUSE_SHUTTING_DOWN, /* the runner had to end it; the request goes back to its queue */
	CAUSE_CRASH_LIMIT,   /* too many of its runs ended with their runner */
};
#define CAUSE_COUNT (CAUSE_CRASH_LIMIT + 1)

/* The token used in headers and logs: "", "refused", "not-found", "exec-failed", "exited",
 * "killed", "out-of-memory", "timed-out", "silent", "output-too-large", "protocol-error",
 * "cancelled", "shutting-down", "crash-limit". */
const char *cause_name(enum cause cause);
/* 0 or -EINVAL. */
int cause_parse(struct slice name, enum cause *ret);

/* AMQP headers of our own on responses (docs/protocol.md, "Headers"). */
#define HEADER_ATTEMPT      "x-tr-attempt"      /* int, from 1 */
#define HEADER_SEQUENCE     "x-tr-sequence"     /* int, from 1 within an attempt */
#define HEADER_RUNNER       "x-tr-runner"       /* text */
#define HEADER_CAUSE        "x-tr-cause"        /* text, see cause_name; absent on success */
#define HEADER_EXIT_CODE    "x-tr-exit-code"    /* int */
#define HEADER_SIGNAL       "x-tr-signal"       /* int */
#define HEADER_ERRNO        "x-tr-errno"        /* text, e.g. "ENOENT" */
#define HEADER_WALL_MS      "x-tr-wall-ms"      /* int */
#define HEADER_CPU_MS       "x-tr-cpu-ms"       /* int */
#define HEADER_PEAK_MEMORY  "x-tr-peak-memory"  /* int, bytes */
#define HEADER_FAILURE_KIND "x-tr-failure-kind" /* text, what the program called its failure */

/* On requests: when the requester sent it. */
#define HEADER_SENT "x-tr-sent" /* int, ms since 1970 */

/* AMQP headers on copies of requests that runners make (docs/delivery.md). */
#define HEADER_TASK    "x-tr-task"    /* text: the id */
#define HEADER_CRASHES "x-tr-crashes" /* int: runs that ended with their runner */
#define HEADER_QUEUE   "x-tr-queue"   /* text: the request queue it belongs to */
#define HEADER_HOLDER  "x-tr-holder"  /* text: instance of the runner that parked it */
#define HEADER_LEASE   "x-tr-lease"   /* int: which copy of that runner, from 1 */
#define HEADER_PRINT   "x-tr-print"   /* int: of the original, see print_of in runner/intake.c */
#define HEADER_HOLD    "x-tr-hold"    /* int: 1 held, 0 played */
#define HEADER_CLEAN                                                                   \
	"x-tr-clean" /* int: 0, or where it was given back and that runner has nothing \
			else of it: a number that its word "free" has, too */

/* The longest id, in bytes. */
#define ID_MAX 128
/* An id names a directory, so it is 1..128 bytes, has no '/' and no NUL and is not "." or "..". */
bool id_is_valid(struct slice id);
