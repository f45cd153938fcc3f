/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Records on the progress pipe. A pipe has no messages: writes merge and split. This tells the
 * records apart again, however the bytes arrive:
 *
 *  - a JSON object, array or string, from its first to its last byte, without white space around;
 *  - a MessagePack map whose keys are text of at most 1024 bytes;
 *  - anything else: a line, up to and without its newline (and a carriage return before it). Lines
 *    of white space are no records. What begins like JSON or like a map but does not go on as one
 *    is a line as well ("[1/10] compiling" arrives whole), and so is what follows it up to the byte
 *    that showed this. So are scalars, JSON that nests deeper than 512, and text that begins with
 *    0xDE or 0xDF and a byte of 0x80 to 0xBF: that is a letter of Thaana or N'Ko, and no map that
 *    could be meant.
 *
 * A text without newline is complete when its writer closes the pipe (progress_writer_closed), or
 * at the end of all (progress_end). Memory is bounded by a small multiple of the longest record
 * allowed, and each byte is looked at a bounded number of times. One thread at a time.
 */

#include "common/error.h"
#include "wire/wire.h"

struct progress_reader; /* opaque */

/* NULL when memory is short. @record_max: longest record in bytes. */
struct progress_reader *progress_reader_new(size_t record_max);
struct progress_reader *progress_reader_free(struct progress_reader *reader); /* gives NULL */

/* Adds bytes. 0 or -ENOMEM. Take all records out (progress_next) before feeding more, else the
 * bound is not kept. */
int progress_feed(struct progress_reader *reader, struct slice bytes);
/* The writer closed its end: an unterminated line is complete. An unfinished JSON value or map is
 * not; another write may go on with it. */
void progress_writer_closed(struct progress_reader *reader);
/* Nothing will follow: whatever is left is one record, an unfinished value a line. */
void progress_end(struct progress_reader *reader);

enum progress_outcome {
	PROGRESS_NONE,      /* feed more */
	PROGRESS_RECORD,    /* one record is in *ret, valid until the next call on the reader */
	PROGRESS_TOO_LARGE, /* a record exceeds the limit; the reader is of no further use */
};

enum progress_kind { PROGRESS_JSON, PROGRESS_MAP, PROGRESS_LINE };

enum progress_outcome progress_next(
	struct progress_reader *reader, struct slice *ret, enum progress_kind *ret_kind);

/*
 * What libtaskiface (or a program that speaks for itself) tells the runner rather than the
 * requester; such records are not relayed (docs/taskiface.md):
 *
 *	{"done": true}                                              the last progress was written
 *	{"taskiface": "fail", "kind": "data", "message": "…"}       the task declares its failure
 *
 * as a JSON object or as a MessagePack map. The first is just that, with no other member; but with
 * @any_done every object that has a member "done", of whatever value, counts as it (the ancestor's
 * rule). An object with "taskiface" of another value is for the requester.
 */
enum progress_meaning { PROGRESS_FOR_REQUESTER, PROGRESS_DONE, PROGRESS_FAIL };

struct progress_failure {
	char kind[64];      /* "" where none was given; cut where longer */
	char message[4096]; /* "" where none was given; cut at a character where longer */
};

/* Tells what a record means; fills @ret (may be NULL) for PROGRESS_FAIL. Costs nothing for records
 * that hold neither word. */
enum progress_meaning progress_meaning(
	struct slice record, enum progress_kind kind, bool any_done, struct progress_failure *ret);

/* What libtaskiface reports: {"fraction": 0.4, "message": "…", "data": any}, each optional; taskctl
 * and `taskrunner exec` show it. */
struct progress_report {
	bool has_fraction;
	double fraction; /* within [0, 1] */
	char *message;   /* owned, NULL where absent */
};

/* Reads a record (JSON or map, told by its first byte); a line or a JSON string is the message. A
 * fraction outside [0, 1] and a message that is no text are left out. 0 or -ENOMEM. */
int progress_report_decode(struct slice record, struct progress_report *ret);
void progress_report_deinit(struct progress_report *report);
/* 0 to 100, and 100 only for 1. */
int progress_percent(double fraction);
/* Appends what a person is shown of @record in place of a message that is missing: the record
 * itself, as one clean line of about @max bytes. 0 or -ENOMEM. */
int progress_append_record(struct buf *out, struct slice record, size_t max);
/* Appends @record as a line for people, of about @max bytes: "progress 40% half way\n"; percentage
 * and message only where there are any, the record itself where it has neither. 0 or -ENOMEM. */
int progress_append_line(struct buf *out, struct slice record, size_t max);
