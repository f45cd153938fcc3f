/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * libtaskclient: asks runners for work, follows it, steers it, and reads what became of it. One
 * connection, any number of tasks, and no thread of its own: it lives in the caller's loop.
 *
 *	struct taskclient_options options = { .broker = "amqp://guest:guest@127.0.0.1:5672" };
 *	struct taskclient_request request = { .id = "one", .program = "copy", .input = "abc",
 *		.input_len = 3 };
 *	struct taskclient_error err;
 *	struct taskclient_event *event;
 *	struct taskclient *client;
 *	bool is_over = false;
 *	int r = taskclient_open(&options, &client, &err);
 *
 *	if (r < 0) …
 *	r = taskclient_submit(client, &request, &err);
 *	while (r >= 0 && !is_over) {
 *		struct pollfd p = { .fd = taskclient_fd(client), .events = POLLIN };
 *
 *		r = taskclient_next(client, &event, &err);
 *		if (r == 0)
 *			poll(&p, 1, taskclient_wait_ms(client));
 *		if (r > 0) {
 *			is_over = event->is_final || event->kind == TASKCLIENT_NOT_QUEUED;
 *			…
 *			taskclient_event_free(event);
 *		}
 *	}
 *	taskclient_close(client);
 *
 * Errors. What can fail returns a negative errno value, and puts it with one sentence for people
 * into @err, which may be NULL. Each function lists the values after which its client (or feed)
 * goes on. After any other it is of no further use: taskclient_close. Tasks that were queued go on
 * without it.
 *
 * Waiting. taskclient_next and taskclient_feed_next never wait for the server. What opens, inspects
 * or is about mailboxes does, at most for connect_timeout_s at each step. Other calls send, and
 * wait only while the socket is full, at most for twice the heartbeat.
 *
 * Structs that the caller fills are zeroed first, whole (`= { 0 }`, or an initializer with names):
 * a member that is 0 or NULL says nothing, and has its default. A later version takes new members
 * from `reserved`, so a program that was compiled before goes on. Structs that the library gives
 * are never made or copied by the caller: a later version adds members at their end. An error stays
 * as it is.
 *
 * Texts that are passed in are borrowed for the call. Texts that come out are valid as long as what
 * they are in; one that is not there is NULL. They come from others: clean them before they reach a
 * terminal. Times are in milliseconds, sizes in bytes; a number that is not known is
 * TASKCLIENT_UNKNOWN.
 *
 * Threads. A client, a feed and what they gave belong to one thread at a time; several of them can
 * be used by several threads. After fork(2) the child must not use them; descriptors are
 * close-on-exec. Nothing here prints, logs, installs a signal handler or raises SIGPIPE.
 *
 * What travels is in docs/protocol.md: any AMQP client can do the same.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TASKCLIENT_API __attribute__((visibility("default")))

/* What stands where the caller names nothing. */
#define TASKCLIENT_BROKER       "amqp://guest:guest@127.0.0.1:5672"
#define TASKCLIENT_QUEUE        "taskrunner.requests"
#define TASKCLIENT_CONTROL      "taskrunner.control"
#define TASKCLIENT_CANCELS      "taskrunner.cancels" /* the stream in which cancels are noted */
#define TASKCLIENT_RESPONSES    "taskrunner.responses"
#define TASKCLIENT_EVENTS       "task-events"
#define TASKCLIENT_HISTORY      "taskrunner.history"
#define TASKCLIENT_PATIENCE_MS  10000
#define TASKCLIENT_QUIET_MS     500

#define TASKCLIENT_ID_MAX       128 /* bytes */
#define TASKCLIENT_ID_SIZE      (TASKCLIENT_ID_MAX + 1)
#define TASKCLIENT_MAILBOX_SIZE 256 /* a name and its NUL */
#define TASKCLIENT_UNKNOWN      (-1)

#ifdef __cplusplus
extern "C" {
#endif

struct taskclient; /* opaque: a connection, and what is under way on it */

struct taskclient_error {
	int code;       /* negative errno */
	char text[512]; /* one sentence without a full stop, UTF-8, never with a password */
};

/* Of the library that runs, "0.1.0". Static memory. */
TASKCLIENT_API const char *taskclient_version(void);

/* ------------------------------------------------------------------------------------------------
 * Open and close
 */

struct taskclient_options {
	/* amqp://user:password@host:port/vhost or amqps://…; several, with commas between them, are
	 * tried in order, each once. NULL: TASKCLIENT_BROKER. */
	const char *broker;
	const char *user, *password, *vhost; /* win over those of the address */
	const char *name; /* in the server's list of connections; NULL: "taskclient" */
	/* amqps: certificates (PEM) of who signs the server's, NULL: the system's; and our own with
	 * its key, both or none. @insecure: neither the server nor its name is verified. */
	const char *ca_file, *cert_file, *key_file;
	bool insecure, no_heartbeat;
	unsigned heartbeat_s;       /* 0: 20 */
	unsigned connect_timeout_s; /* for each address; 0: 10 */
	const char *control;        /* the exchange that reaches the runners; NULL: the default */
	const char *responses;      /* that of responses that are kept; NULL: the default */
	const char *cancels;        /* the stream in which cancels are noted; NULL: the default */
	void *reserved[8];
};

/* Whether the addresses are well-formed, and certificate and key both there; nothing is connected.
 * 0, -EINVAL, -E2BIG (too many addresses) or -ENOMEM. */
TASKCLIENT_API int taskclient_options_check(
	const struct taskclient_options *options, struct taskclient_error *err);

/*
 * Connects, and makes a queue for answers, which lives as long as the client. 0 and a client in
 * *@ret, to be given to taskclient_close; or what taskclient_options_check gives, -EACCES (refused:
 * user, password, vhost), -ETIMEDOUT, -ECONNREFUSED, … After failure *@ret is as it was.
 */
TASKCLIENT_API int taskclient_open(const struct taskclient_options *options,
	struct taskclient **ret, struct taskclient_error *err);

/* Takes at most a second. Gives NULL; NULL is fine. */
TASKCLIENT_API struct taskclient *taskclient_close(struct taskclient *client);

/* ------------------------------------------------------------------------------------------------
 * The loop: poll the descriptor for reading, for at most so many milliseconds (1 or more); then,
 * and also after each other call, taskclient_next until it gives 0.
 */

TASKCLIENT_API int taskclient_fd(const struct taskclient *client);
TASKCLIENT_API int taskclient_wait_ms(const struct taskclient *client);

struct taskclient_event;

/* 1 and an event in *@ret, to be given to taskclient_event_free; 0: nothing for now; or the error
 * that ended the client. */
TASKCLIENT_API int taskclient_next(
	struct taskclient *client, struct taskclient_event **ret, struct taskclient_error *err);
TASKCLIENT_API void taskclient_event_free(struct taskclient_event *event); /* NULL is fine */

enum taskclient_event_kind {
	TASKCLIENT_QUEUED = 1, /* the request is safe in its queue; may come after responses, and
				* not at all where the final one was faster */
	TASKCLIENT_NOT_QUEUED, /* it is not, and will not be: error -ENOENT (no such queue),
				* -EMSGSIZE (larger than the server takes), -EAGAIN (the queue
				* refuses) */
	TASKCLIENT_RESPONSE,   /* of a task: all from `status` on */
	TASKCLIENT_CAUGHT_UP,  /* taskclient_watch: all that was kept of the task has been told */
	TASKCLIENT_MALFORMED,  /* something came that is no response: error; id where it can be
				* told */
	TASKCLIENT_ANSWER,     /* answer, question; id of the task, if it is about one */
	TASKCLIENT_BAD_ANSWER, /* one that is not understood: error; a good one may still come */
	TASKCLIENT_ANSWERED,   /* the question is over: runners */
	TASKCLIENT_NO_ANSWER,  /* it is over without one: error -ETIMEDOUT, -ENOENT (there is no
				* control exchange: no runner ever ran), -EACCES */
	TASKCLIENT_BLOCKED,    /* the server takes no requests for now; error has its words */
	TASKCLIENT_UNBLOCKED,
};

/* The only ones there are, and ever will be. */
enum taskclient_status {
	TASKCLIENT_STATUS_QUEUED = 1,
	TASKCLIENT_STATUS_RUNNING,
	TASKCLIENT_STATUS_SUCCESS,
	TASKCLIENT_STATUS_FAILED,
	TASKCLIENT_STATUS_CANCELLING,
	TASKCLIENT_STATUS_CANCELLED,
};

/* "RUNNING", as docs/protocol.md has it; NULL where it is none of them. Static memory. */
TASKCLIENT_API const char *taskclient_status_name(enum taskclient_status status);

struct taskclient_event {
	enum taskclient_event_kind kind;
	const char *id; /* of the task */
	struct taskclient_error error;
	uint64_t question; /* number of what was answered, or not; 0: none */
	unsigned runners;  /* how many have said all */
	bool is_noted; /* TASKCLIENT_NO_ANSWER to a cancel or kill: it is kept for the runners that
			* come within a day */
	const struct taskclient_answer *answer;

	enum taskclient_status status;
	bool is_final;           /* nothing follows: SUCCESS, FAILED or CANCELLED */
	const char *program;     /* as the request named it */
	const char *output;      /* SUCCESS: the result; FAILED: the reason; RUNNING: a record of
				  * progress as the program wrote it. A NUL stands behind it. */
	size_t output_len;       /* without that NUL */
	double progress;         /* of such a record: 0 to 1, or TASKCLIENT_UNKNOWN */
	const char *message;     /* its words for people */
	const char *stdout_text; /* the last of what the program wrote there; may be "" */
	const char *stderr_text;
	const char *runner;        /* its name */
	int64_t attempt, sequence; /* which run, and which response of it, from 1; 0: not told */
	const char *cause;         /* why it has failed: "exited", "timed-out", … */
	int64_t exit_code, signal;
	const char *error_name;   /* "ENOENT": why the program could not be started */
	const char *failure_kind; /* what the program called its failure */
	int64_t wall_ms, cpu_ms, peak_memory;
	uint64_t mail; /* taskclient_mailbox_empty: for taskclient_mailbox_settle; else 0 */
};

/* ------------------------------------------------------------------------------------------------
 * Ask for a task
 */

/* A fresh id: a random UUID. 0, or the error of getrandom(2). */
TASKCLIENT_API int taskclient_make_id(char ret_id[TASKCLIENT_ID_SIZE]);
/* 1 to 128 bytes without '/', and neither "." nor "..". */
TASKCLIENT_API bool taskclient_id_is_valid(const char *id);

struct taskclient_request {
	const char *id;      /* not in use by this client */
	const char *program; /* as runners know it */
	const void *input;   /* what it reads */
	size_t input_len;
	const char *queue;   /* NULL: TASKCLIENT_QUEUE */
	bool is_msgpack;     /* the request, and so its responses, are MessagePack, not JSON */
	bool hold;           /* not to be started until it is played */
	unsigned priority;   /* 1 to 9, where the queue has priorities; 0: none */
	unsigned depth;      /* how many tasks are above it, each of which has asked for the next:
			      * to 100. Added to the priority, which becomes 9 at most, so that what
			      * others wait for comes first. */
	uint64_t timeout_ms; /* the longest run; 0: what the runner allows */
	const char *group;   /* tasks that belong together, for who steers them */
	const char *labels;  /* what it needs of what a runner has little of: "gpu,matlab" */
	const char *user, *project; /* whose it is */
	const char *mailbox;        /* where its responses are kept, see below; this client is told
				     * of none, and done with the task at TASKCLIENT_QUEUED. NULL:
				     * they come to this client. */
	void *reserved[8];
};

/*
 * Sends a request: persistent, and confirmed by the server. TASKCLIENT_QUEUED or _NOT_QUEUED tells
 * whether a queue has it; then comes a TASKCLIENT_RESPONSE for each response, in order and repeats
 * left out, up to the one that is_final. 0; -EINVAL: it cannot be sent; -EALREADY: a task of this
 * id is under way here; -ENOMEM.
 */
TASKCLIENT_API int taskclient_submit(struct taskclient *client,
	const struct taskclient_request *request, struct taskclient_error *err);

/* What waits in a queue, and how many consumers take from it. 0, -ENOENT (no such queue),
 * -EACCES, -EINVAL (this cannot be its name). */
TASKCLIENT_API int taskclient_inspect(struct taskclient *client, const char *queue,
	uint32_t *ret_ready, uint32_t *ret_consumers, struct taskclient_error *err);

/* ------------------------------------------------------------------------------------------------
 * Tell and ask runners: about one task, which its runner alone answers, or about many
 */

struct taskclient_control {
	/* About tasks: "cancel", "kill" (without grace), "pause", "resume", "hold" (what has not
	 * started is not started), "play" (it may), "signal", "status", "list".
	 * About runners: "ping", "programs", "drain" (takes no more requests), "undrain",
	 * "set-slots", "reload". */
	const char *op;
	const char *id; /* one task; or all that fit the rest, of which at least one must be there,
			 * but for list, ping and programs */
	const char *group, *program, *user, *project;
	const char *runner; /* its name or instance */
	bool all;
	const char *signal; /* signal: "USR1", "SIGUSR1" or a number */
	const char *queue;  /* set-slots: of this queue alone */
	/* cancel and kill of a group, program, user, project or all: also what is still in queues
	 * and was sent before; and for so many seconds (to 86400) what comes from there and does
	 * not tell when it was sent. 0: only what runners have. */
	unsigned queued_s;
	unsigned slots; /* set-slots: to 10000 */
	unsigned tail;  /* status: so much of stdout and stderr, to 1 MiB */
	/* How long answers are waited for: in all (0: TASKCLIENT_PATIENCE_MS), and, about many,
	 * after a runner has said all (0: TASKCLIENT_QUIET_MS): others have heard it by then. */
	unsigned patience_ms, quiet_ms;
	void *reserved[8];
};

/*
 * Asks, again every 2 s while nobody answers. TASKCLIENT_ANSWER comes for each answer. A question
 * about one task is over with the first; any other with TASKCLIENT_ANSWERED; either with
 * TASKCLIENT_NO_ANSWER if nobody answered. A cancel or kill that nobody answers is noted for
 * runners that come later, if there is a place for it (is_noted). The final response of a task of
 * this client ends questions about it, too. 0; -EINVAL: it makes no sense, as @err says; -ENOMEM.
 * @ret_question (may be NULL) is `question` of these events.
 */
TASKCLIENT_API int taskclient_ask(struct taskclient *client,
	const struct taskclient_control *control, uint64_t *ret_question,
	struct taskclient_error *err);

/* Asks to end the task @id, of this client or another; nothing happens if that is under way. As
 * taskclient_ask; @patience_ms 0: TASKCLIENT_PATIENCE_MS. */
TASKCLIENT_API int taskclient_cancel(struct taskclient *client, const char *id,
	unsigned patience_ms, struct taskclient_error *err);

/*
 * An answer has members, all of them texts or numbers: `runner` (its name) and `instance` (one life
 * of it), and `error` (a sentence: it refuses) or `result`. About a task `id`, and with status and
 * list what is known of it: `state`, `program`, `age_ms`, `progress`, … (docs/protocol.md has all).
 */
struct taskclient_answer; /* opaque */

#define TASKCLIENT_ACCEPTED    "accepted"    /* result: it is done */
#define TASKCLIENT_GONE        "gone"        /* the task has ended */
#define TASKCLIENT_NOT_RUNNING "not-running" /* no such thing in its `state` */
#define TASKCLIENT_END         "end"         /* the last word about many tasks: `count` of them */
#define TASKCLIENT_PONG        "pong"        /* to ping: the facts about the runner */

/* Of @name: NULL where there is none. A number is given as text, too. Here and below an @answer
 * that is NULL has no members. */
TASKCLIENT_API const char *taskclient_answer_text(
	const struct taskclient_answer *answer, const char *name);
/* false where there is none, or it is no (whole) number; *@ret is as it was then. */
TASKCLIENT_API bool taskclient_answer_int(
	const struct taskclient_answer *answer, const char *name, int64_t *ret);
TASKCLIENT_API bool taskclient_answer_number(
	const struct taskclient_answer *answer, const char *name, double *ret);
/* The name of the @index th member, from 0; NULL after the last. */
TASKCLIENT_API const char *taskclient_answer_name(
	const struct taskclient_answer *answer, size_t index);
/* One that outlives its event, to be given to taskclient_answer_free. NULL: no memory. */
TASKCLIENT_API struct taskclient_answer *taskclient_answer_copy(
	const struct taskclient_answer *answer);
TASKCLIENT_API void taskclient_answer_free(struct taskclient_answer *answer); /* NULL is fine */

/* ------------------------------------------------------------------------------------------------
 * Mailboxes: a task can be asked for now, and its result be read by another client, tomorrow,
 * several times.
 *
 * A mailbox is a durable queue. What runners say of a task is kept there, read or not, until nobody
 * has used the mailbox for as long as its maker said, or it is removed.
 *
 *  1. taskclient_mailbox_make, then taskclient_submit with `mailbox`.
 *  2. Any client: taskclient_watch. Nothing is taken away, others can do the same.
 *  3. Or, where one client alone reads: taskclient_mailbox_empty, and taskclient_mailbox_settle for
 *     what may be forgotten. What was not settled when the client ends comes again to the next.
 *  4. taskclient_mailbox_remove.
 */

/* That of one task, where taskclient_watch looks for it. */
TASKCLIENT_API void taskclient_mailbox_name(
	const char *id, char ret_mailbox[TASKCLIENT_MAILBOX_SIZE]);

/* Makes it, if it is not there. 0, -ENOENT (there is no exchange of responses: no runner ever ran),
 * -EACCES. */
TASKCLIENT_API int taskclient_mailbox_make(struct taskclient *client, const char *mailbox,
	uint64_t keep_ms, struct taskclient_error *err);
/* With all that is in it. 0, also where there is none; -EACCES. */
TASKCLIENT_API int taskclient_mailbox_remove(
	struct taskclient *client, const char *mailbox, struct taskclient_error *err);

/*
 * What was said of the task @id, which has a mailbox of its own, comes as TASKCLIENT_RESPONSE, as
 * if this client had asked for it; then TASKCLIENT_CAUGHT_UP, then what is said from now on. Waits
 * while another client does the same, for at most @patience_ms (-EBUSY). 0; -ENOENT: nothing is
 * kept of this task, or there is no exchange; -EINVAL: no id, or a task of this client; -EACCES.
 */
TASKCLIENT_API int taskclient_watch(struct taskclient *client, const char *id, unsigned patience_ms,
	struct taskclient_error *err);

/* All that is in the mailbox, and comes into it, arrives as TASKCLIENT_RESPONSE with `mail`;
 * repeats are not left out. @ret_kept: how many are in it now. One for each client. 0, -EBUSY
 * (another client does that), -ENOENT, -EACCES. */
TASKCLIENT_API int taskclient_mailbox_empty(struct taskclient *client, const char *mailbox,
	uint32_t *ret_kept, struct taskclient_error *err);
/* It is not needed any more. */
TASKCLIENT_API int taskclient_mailbox_settle(
	struct taskclient *client, uint64_t mail, struct taskclient_error *err);

/* ------------------------------------------------------------------------------------------------
 * Feeds: what became of all tasks and runners, without any payload. Those of the past, from the
 * stream that keeps them, up to its present end; or those to come, from the exchange. A feed has a
 * connection of its own, and as much memory as one event takes.
 */

struct taskclient_feed; /* opaque */

/* As taskclient_open; then one of the next two, once. */
TASKCLIENT_API int taskclient_feed_open(const struct taskclient_options *options,
	struct taskclient_feed **ret, struct taskclient_error *err);
/* What runners told since @since_ms (by their clocks; since 1970; 0: all that is kept). @stream
 * NULL: TASKCLIENT_HISTORY. 0, -ENOENT (no such stream), -EACCES. */
TASKCLIENT_API int taskclient_feed_history(struct taskclient_feed *feed, const char *stream,
	int64_t since_ms, struct taskclient_error *err);
/* What they tell from now on, of keys that fit @pattern ("task.failed.*"; NULL: all). @exchange
 * NULL: TASKCLIENT_EVENTS. Likewise. */
TASKCLIENT_API int taskclient_feed_live(struct taskclient_feed *feed, const char *exchange,
	const char *pattern, struct taskclient_error *err);
TASKCLIENT_API struct taskclient_feed *taskclient_feed_close(
	struct taskclient_feed *feed); /* gives NULL; NULL is fine */

/* As for a client. */
TASKCLIENT_API int taskclient_feed_fd(const struct taskclient_feed *feed);
TASKCLIENT_API int taskclient_feed_wait_ms(const struct taskclient_feed *feed);

enum {
	TASKCLIENT_FEED_EVENT = 1,
	TASKCLIENT_FEED_END = 2, /* of history: all has been given that was there when it began */
};

struct taskclient_feed_event {
	/* "waiting", "held", "played", "started", "paused", "resumed", "ending", "succeeded",
	 * "failed", "cancelled", "returned" (given back); of runners "ready", "draining",
	 * "stopped". */
	const char *event;
	bool is_final; /* succeeded, failed or cancelled */
	bool is_of_runner;
	const char *id; /* of the task */
	const char *program, *group, *user, *project;
	const char *queue;             /* that the request came from */
	const char *runner, *instance; /* its name, and one life of it */
	const char *cause;             /* as in responses */
	int64_t attempt;
	int64_t time_ms;   /* since 1970, by the runner's clock */
	int64_t waited_ms; /* from being sent to its start */
	int64_t wall_ms, cpu_ms, peak_memory;
	int64_t exit_code, signal;
};

/* One of the two above, 0 (nothing for now) or the error that ended the feed: -ETIMEDOUT where a
 * stream stops before its end, -EINVAL where it is none. TASKCLIENT_FEED_EVENT gives an event in
 * *@ret, to be given to taskclient_feed_event_free. */
TASKCLIENT_API int taskclient_feed_next(struct taskclient_feed *feed,
	struct taskclient_feed_event **ret, struct taskclient_error *err);
TASKCLIENT_API void taskclient_feed_event_free(struct taskclient_feed_event *event); /* or NULL */
/* Messages that were no events, and were left out. */
TASKCLIENT_API uint64_t taskclient_feed_ignored(const struct taskclient_feed *feed);

#ifdef __cplusplus
}
#endif
