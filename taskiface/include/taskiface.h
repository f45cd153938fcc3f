/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * libtaskiface: through it a program that taskrunner runs talks to its three named pipes. It needs
 * nothing but libc. docs/taskiface.md describes the pipes themselves.
 *
 *	struct taskiface *task;
 *	char *input;
 *	size_t len;
 *	int r = taskiface_open(&argc, argv, &task);
 *
 *	if (r < 0)
 *		return 1;
 *	r = taskiface_read_all(task, 0, TASKIFACE_FOREVER, &input, &len);
 *	if (r < 0) …
 *	taskiface_progress(task, 0.5, "half way", NULL);
 *	r = taskiface_write_all(task, "done", 4, TASKIFACE_FOREVER);
 *	free(input);
 *	taskiface_close(task);
 *
 * Errors. What can fail returns a negative errno value; each function lists those that have a
 * meaning of their own. Beside them any error of open(2), read(2), write(2) or poll(2) is passed
 * on, and -ENOMEM. Nothing here ends the program, prints, or raises a signal: when the other end
 * of a pipe is gone, a call gives -EPIPE and the program sees no SIGPIPE. No call returns -EINTR.
 *
 * Time. timeout_ms is in milliseconds: 0 does not wait, TASKIFACE_FOREVER (or any negative
 * number) waits without limit. It is one deadline for the whole call, however many pieces the
 * data comes in.
 *
 * Signals. No handler is installed unless taskiface_watch_cancellation is called.
 *
 * Threads. taskiface_progress, taskiface_progress_raw, taskiface_flush, taskiface_fail,
 * taskiface_cancelled, taskiface_cancel_fd, taskiface_time_left_ms, taskiface_id and
 * taskiface_attempt may be called by any thread at any time. Reading is for one thread at a
 * time, so is writing output; the two may be different threads. Open, close,
 * taskiface_progress_mode, taskiface_watch_cancellation and taskiface_self_destruct want the
 * handle for themselves. After fork(2) the child must not use the handle; descriptors are
 * close-on-exec.
 *
 * Pointers that are passed in are borrowed for the call. A NULL handle is a mistake of the caller
 * except where it is said to be fine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TASKIFACE_API        __attribute__((visibility("default")))

#define TASKIFACE_FOREVER    (-1)
#define TASKIFACE_RECORD_MAX 1048576 /* longest progress record in bytes */
#define TASKIFACE_NO_LIMIT   INT64_MAX

#ifdef __cplusplus
extern "C" {
#endif

struct taskiface; /* opaque: one task, as seen from inside its program */

/* ------------------------------------------------------------------------------------------------
 * Open and close
 */

/*
 * Finds out where the pipes are. Each of them, and the id, comes from the first of
 *
 *	--id X --input-pipe P --output-pipe P --progress-pipe P	(also --id=X, also --input_pipe)
 *	TASKIFACE_ID, TASKIFACE_INPUT_PIPE and so on, where they are set and not empty
 *	standard input, standard output, standard error		(the program was started by hand)
 *
 * "-" as a path means the standard stream. These arguments are taken out of @argv, *@argc is
 * reduced and the rest keeps its order; the search ends at "--". The argument
 * --self-destruct-timeout-seconds N is taken out too and does what taskiface_self_destruct does.
 * @argc may be NULL: then the environment alone counts. A pipe is opened when it is first used.
 *
 * 0, and the handle in *@ret, to be given to taskiface_close. -EINVAL: an argument has no value,
 * or a number (the argument's or one in TASKIFACE_ATTEMPT, TASKIFACE_TIMEOUT_MS,
 * TASKIFACE_GRACE_MS) is none. After failure *@ret, *@argc and @argv are as they were.
 */
TASKIFACE_API int taskiface_open(int *argc, char **argv, struct taskiface **ret);

/*
 * Sends progress that still waits to be sent, for at most the time given to
 * taskiface_progress_mode, ends the output, disarms the self-destruction, puts signal dispositions
 * back, and releases the handle, in every case. NULL is fine. 0, or what prevented the last
 * progress from being sent.
 */
TASKIFACE_API int taskiface_close(struct taskiface *task);

/* The id of the task; "by-hand" where none was given. Valid until taskiface_close. */
TASKIFACE_API const char *taskiface_id(const struct taskiface *task);

/* Which run of this task it is, from 1. More than 1: an earlier run ended with its machine or
 * runner, and may have left traces. */
TASKIFACE_API int taskiface_attempt(const struct taskiface *task);

/* Of the library that runs, "0.1.0". Static memory. */
TASKIFACE_API const char *taskiface_version(void);

/* ------------------------------------------------------------------------------------------------
 * Input: everything that the requester sent, until end of file. It can be read once.
 */

/*
 * The next bytes, as they come. A number from 1 to @size; 0 at the end of the input, then for ever;
 * -ETIMEDOUT: nothing came in time, call again if you like; -ECANCELED: a cancellation was seen
 * (only with taskiface_watch_cancellation). @size must not be 0 (-EINVAL).
 */
TASKIFACE_API ssize_t taskiface_read(
	struct taskiface *task, void *buffer, size_t size, int timeout_ms);

/*
 * All of the input, or what taskiface_read left of it. 0, and gives memory in *@ret_data that the
 * caller must free(3); a NUL stands behind the last byte and is not counted in *@ret_len.
 * @max is the longest input that is accepted, in bytes; 0 sets no bound. -EMSGSIZE: it is longer.
 * -ETIMEDOUT and -ECANCELED as for taskiface_read; what came so far is kept, and the next read
 * goes on with it. After failure *@ret_data and *@ret_len are as they were.
 */
TASKIFACE_API int taskiface_read_all(
	struct taskiface *task, size_t max, int timeout_ms, char **ret_data, size_t *ret_len);

/* ------------------------------------------------------------------------------------------------
 * Progress: records, each of which becomes one message to the requester. A record is sent whole or
 * not at all, and with one write(2) where it is not longer than 4096 bytes, so that several
 * processes can report on one pipe.
 */

enum taskiface_progress_mode {
	TASKIFACE_PROGRESS_WAIT, /* wait for room: nothing is lost, a slow reader slows the program
				  */
	TASKIFACE_PROGRESS_LATEST, /* never wait: only the newest unsent record is kept */
};

/*
 * How progress is sent from now on. @timeout_ms is, in the first mode, how long a report may wait;
 * in the second, how long taskiface_close may wait for the last one. A new handle has
 * TASKIFACE_PROGRESS_WAIT with 30 s. 0, or -EINVAL for an unknown mode.
 */
TASKIFACE_API int taskiface_progress_mode(
	struct taskiface *task, enum taskiface_progress_mode mode, int timeout_ms);

/*
 * Reports {"fraction": …, "message": …, "data": …}.
 *
 * @fraction: done of all, 0 to 1; values outside are moved to the nearer end; NAN (or any NaN)
 * leaves it out. @message: text for a person, UTF-8 (bytes that are none become U+FFFD); NULL
 * leaves it out. @data_json: one JSON value for programs, which is checked; NULL leaves it out.
 * With nothing at all it is a sign of life.
 *
 * 0: sent, or in TASKIFACE_PROGRESS_LATEST perhaps kept until the next report, taskiface_flush or
 * taskiface_close. -EINVAL: @data_json is not one well-formed value. -EMSGSIZE: longer than
 * TASKIFACE_RECORD_MAX. -ETIMEDOUT (TASKIFACE_PROGRESS_WAIT only): there was no room in time, the
 * record is dropped; one of more than 4096 bytes that was begun is finished by the next call.
 * -EPIPE: nobody reads any more.
 */
TASKIFACE_API int taskiface_progress(
	struct taskiface *task, double fraction, const char *message, const char *data_json);

/* Sends @len bytes as they are: a JSON value, a MessagePack map, or a line with its newline. Errors
 * as for taskiface_progress; -EINVAL where @len is 0. */
TASKIFACE_API int taskiface_progress_raw(struct taskiface *task, const void *record, size_t len);

/* Waits until no progress is left unsent. 0; -ETIMEDOUT: some is, and is kept; -EPIPE. */
TASKIFACE_API int taskiface_flush(struct taskiface *task, int timeout_ms);

/* ------------------------------------------------------------------------------------------------
 * Output: everything until the pipe is closed is the result of the task.
 */

/*
 * Writes the output and ends it. 0; -EALREADY: output was written or ended before, nothing is
 * written now; -ETIMEDOUT: not all was taken in time; -EPIPE: nobody reads any more. After failure
 * a part may have been taken: leave with an exit status other than 0, or call taskiface_fail, lest
 * the part be taken for the whole.
 */
TASKIFACE_API int taskiface_write_all(
	struct taskiface *task, const void *data, size_t len, int timeout_ms);

/*
 * Writes a piece. The number of bytes taken, which is less than @len only when the time was over;
 * -ETIMEDOUT: none was taken in time; -EALREADY: the output was ended; -EPIPE.
 */
TASKIFACE_API ssize_t taskiface_write(
	struct taskiface *task, const void *data, size_t len, int timeout_ms);

/* Ends the output. 0; again: 0. A program that only exits has ended it too. */
TASKIFACE_API int taskiface_finish(struct taskiface *task);

/* ------------------------------------------------------------------------------------------------
 * Failure
 */

/*
 * Tells the requester why there is no result: the task is FAILED with @message, whatever the
 * program writes and however it exits from now on. It does not end the program.
 *
 * @kind: one word for programs, such as "data" or "licence"; cut at 63 bytes; NULL: none.
 * @message: one or more sentences for people; cut at 4095 bytes; NULL: none. Both UTF-8.
 * Progress that waits goes first. 0; -EALREADY: a failure was told before, this one is not sent;
 * -ETIMEDOUT; -EPIPE.
 */
TASKIFACE_API int taskiface_fail(
	struct taskiface *task, const char *kind, const char *message, int timeout_ms);

/* ------------------------------------------------------------------------------------------------
 * Cancellation: the runner sends SIGTERM, and after a grace time SIGKILL. It does so when the
 * requester cancels, when the time allowed is over, and when the runner itself ends; for a program
 * these are the same. One that does not watch ends at once by the former, which is fine where there
 * is nothing to clean up.
 */

/* Is called from within the signal handler, once: only what signal-safety(7) lists is allowed. */
typedef void (*taskiface_cancel_fn)(void *arg);

/*
 * From now on SIGTERM and SIGINT do not end the program: they set a flag, make a descriptor
 * readable, end a taskiface_read, and call @fn (may be NULL) with @arg, both kept until
 * taskiface_close. A SIGINT that was ignored stays so. System calls are restarted (SA_RESTART).
 * Signals after the first change nothing.
 *
 * A cancellation concerns the process and is never taken back: a later handle finds it.
 * 0; -EBUSY: another handle of this process watches; -EALREADY: this one does.
 */
TASKIFACE_API int taskiface_watch_cancellation(
	struct taskiface *task, taskiface_cancel_fn fn, void *arg);

/* Has a cancellation been seen? false where none is watched for. Async-signal-safe. */
TASKIFACE_API bool taskiface_cancelled(const struct taskiface *task);

/* A descriptor for poll(2) that is readable from the cancellation on. Do not read from it or close
 * it. It stays open until the process ends. -EINVAL: not watched. */
TASKIFACE_API int taskiface_cancel_fd(const struct taskiface *task);

/*
 * How many milliseconds the program has. Before a cancellation was seen: until the time allowed for
 * the whole run is over, counted from taskiface_open; then the runner asks it to end. Once one was
 * seen: until the runner kills it, that is what is left of TASKIFACE_GRACE_MS counted from the
 * signal, the same whether it came from a cancel, the end of the allowed time or the end of the
 * runner. 0 when it is over, TASKIFACE_NO_LIMIT when there is no such limit. Async-signal-safe.
 */
TASKIFACE_API int64_t taskiface_time_left_ms(const struct taskiface *task);

/*
 * Ends the program in @timeout_ms from now even if it hangs. A thread, in which all signals are
 * blocked, waits; when the time is over it tells the requester a failure of kind "self-destruct",
 * without waiting for anything, and sends SIGKILL to the process group if this process leads it (it
 * does under the runner), else to this process alone. Calling again replaces the time; a timeout_ms
 * of 0 or less disarms, and so does taskiface_close. Does not go over to a forked child.
 * 0; -EAGAIN: no thread could be made.
 */
TASKIFACE_API int taskiface_self_destruct(struct taskiface *task, int64_t timeout_ms);

#ifdef __cplusplus
}
#endif
