/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the daemon share: daemon.c (connections, signals, life), intake.c (a delivery
 * becomes a task), job.c (its life), slots.c (how many are taken), lease.c (long ones are parked),
 * suspects.c (what another may be running), replies.c (what happens becomes responses), control*.c
 * (what is said about tasks and to us), cancellation.c (the ancestor's cancels), cancels.c (those
 * that are kept), task_events.c (what happens, for others). Nobody else includes this. Everything
 * here belongs to the main thread.
 */

#include <uthash.h>

#include "mq/publisher.h"
#include "runner/answers.h"
#include "runner/cancels.h"
#include "runner/custody.h"
#include "runner/daemon.h"
#include "runner/engine.h"
#include "runner/instance.h"
#include "runner/journal.h"
#include "runner/memory.h"
#include "runner/signals.h"
#include "runner/task_events.h"
#include "runner/topology.h"
#include "wire/control.h"

/* One line of a program's stdout or stderr, as far as it has come. */
struct line {
	char text[1024];
	size_t len;
};

/* Where a job stands. Only one that is with the engine, or over, outlives the connection that
 * brought it: the broker delivers the others again. */
enum job_phase {
	JOB_NEW,       /* being looked at */
	JOB_SUSPECT,   /* it may be running elsewhere: the other runners are asked */
	JOB_ASKED,     /* terarium: its cancellation queue is asked */
	JOB_HELD,      /* not to be started until it is played; takes no slot */
	JOB_RETURNING, /* goes back when it cannot come to us again and no second copy is about */
	JOB_READY,     /* waits for a slot of its queue */
	JOB_RUNNING,   /* with the engine */
	JOB_OVER,      /* the final response is on its way */
	JOB_LEAVING,   /* a copy for somebody else is on its way */
};

/* What a message is to its job; the publisher gives it back with the token. */
enum purpose {
	FOR_FINAL,
	FOR_PARKING,
	FOR_RENEWAL,
	FOR_QUESTION,
	FOR_ANSWER,
	FOR_LEAVING,
	FOR_FREEING,
	FOR_SPARE
};

/* A consumer with a prefetch of one: room for one task. */
struct slot {
	bool is_open;
	struct job *job; /* what it brought and is not settled */
};

struct queue {
	struct slot *slots; /* as many as may ever be open */
	size_t n_slots;
	size_t running;    /* jobs with the engine, or over */
	struct job *ready; /* that wait for one of them to end */
};

/* Pings on all channels that bring requests: when all were answered, the broker had heard us when
 * they were sent, and taken all that we had sent by then. That of the hold queues is for itself:
 * such a queue may hang, and nothing else. */
struct pings {
	uint64_t round; /* number of the last one sent */
	uint64_t sent_us;
	unsigned missing;  /* answers, but for that of the hold queues */
	bool wanted;       /* something was acknowledged since: as soon as these are answered */
	uint64_t proof_us; /* when the last answered round was sent */
	uint64_t answered; /* its number */
	uint64_t hold_round, hold_sent_us, hold_answered;
	bool hold_heard; /* the hold queues have answered on this connection */
};

/* Of the control queue to its exchange. */
struct binding {
	uint64_t asked_us; /* when it was renewed last */
	bool is_asked;     /* an answer to that is to come */
	bool declares;     /* the exchange, too */
	bool is_away;      /* control messages do not reach us */
	bool is_missing;   /* as there is no such exchange */
	char told[2][256]; /* why, as it was logged: of a binding, and of a declaration */
};

/* One accepted delivery, from its arrival until it is acknowledged or given back. */
struct job {
	struct daemon *daemon;
	char *id; /* of the task; NULL where the request had none that can be used */
	UT_hash_handle hh_id, hh_token;
	uint64_t token;    /* names the job to the publisher */
	uint64_t since_us; /* when it came */
	int64_t sent_ms;   /* when it was sent, as the request says (since 1970); 0: it does not */

	enum job_phase phase;
	size_t queue;      /* index of its request queue */
	struct slot *slot; /* the consumer that brought it; NULL: none that lives */
	struct custody custody;
	struct mq_message copy; /* the request as it came, for when it has to be sent again */
	uint64_t print;         /* of the request, with its id */
	struct mq_message
		answer; /* the final response, if it is worth being kept; else no exchange */
	struct job *prev_waiting, *next_waiting; /* in suspects, or in the queue's ready list */
	uint64_t asked_us;    /* suspect: since when the others have the question; 0: not yet */
	uint64_t ask_at_us;   /* suspect: when to ask anew; 0: not */
	uint64_t again_us;    /* and since when they have it once more */
	unsigned asking;      /* questions that are not confirmed yet */
	uint64_t question;    /* number of the last one */
	uint64_t giving;      /* suspect: the giving back that brought it (suspects_giving), whose
				 giver may say that it is free; or 0 */
	unsigned owed;        /* words about it to other runners that are not confirmed yet */
	uint64_t answered_us; /* when we first said that it is ours, since its delivery was lost */

	/* Where responses go; exchange NULL: nobody asked for any. */
	char *exchange, *key;
	char *correlation_id;
	char *traceparent, *tracestate; /* of the request, handed on */
	int64_t sequence;               /* of the last response */
	unsigned attempt;               /* from 1 */
	unsigned crashes;               /* earlier runs that ended with their runner */
	unsigned deliveries;            /* that the broker counted before that of what is held */
	bool has_spare;                 /* a copy that begins anew is on its way to the queue */
	bool is_listed;                 /* in daemon.jobs_by_id */
	bool is_begun;                  /* this run counts in copies that are made */
	uint64_t begun_number;          /* the first of them that says so; 0: none yet */
	bool kept_silent;               /* was asked while it held nothing, with ack: hold */
	uint64_t freed_number;      /* given back with nothing left elsewhere, by this copy … */
	uint64_t freed_round;       /* … which is sure when these pings are answered; or 0 */
	uint64_t give_again_us;     /* it could not be given back: when that is tried again; or 0 */
	bool is_held;               /* it is not to be started yet */
	bool was_held;              /* once, so copies must say whether it is still */
	bool is_kept;               /* held, and counted in daemon.held */
	bool said_held, said_begun; /* in the last copy that was sent */
	bool has_place;             /* it counts in its queue's running */
	bool is_fenced;             /* it may be another's by now: killed, and not answered */
	bool is_left;               /* its cancellation queue is no concern any more */
	bool dead_lettered;
	bool is_repeated; /* it was answered before, and the same is sent again */
	unsigned shrunk;  /* how often its final response was made smaller */

	/* Terarium: the task waits until its cancellation queue was looked into. */
	struct request request;
	struct launch launch;
	struct job *prev, *next;      /* in daemon.asked */
	uint64_t cancellation_number; /* 0: it has no consumer; tag "c<number>" */
	bool is_heard;                /* the consumer is there, as far as we know */
	UT_hash_handle hh_cancellation;

	struct line lines[2];
	struct job_events events;
};

struct daemon {
	struct config *config;
	const char *config_file;
	struct catalogue *catalogue;
	struct instance instance;
	struct journal journal;
	struct signals signals;
	struct topology topology;
	sd_event *loop;
	struct engine *engine;
	struct mq_publisher *publisher;
	struct mq_connection *consumer; /* NULL while there is none */
	uint64_t connection;            /* number of the consuming connection */
	bool consumer_is_lost; /* what is sent goes nowhere, and it is closed with the next turn */
	bool has_hold_queues;  /* on it; what the topology says is the next one's */
	sd_event_source *publisher_source, *consumer_source, *tick_source, *pump_source;
	sd_event_source *lost_source, *reconnect_source, *deadline_source, *balance_source;
	uint64_t consumer_since_us, told_guardian_us;
	struct custody_rules rules;
	struct pings pings;
	struct binding binding;
	struct queue *queues; /* config->n_queues */
	struct job *suspects;
	bool was_ready, publisher_up, stopping;
	bool draining;            /* takes no requests until it is told to */
	uint64_t give_back_round; /* when it is answered no request comes any more, and what has not
				   * started is given back; 0: not waited for */
	uint64_t started_us;
	size_t n_ending; /* tasks that were here when the time for finishing was last looked at */
	int status;      /* exit status */

	struct job *jobs_by_id, *jobs_by_token;
	uint64_t last_token;
	uint64_t copies;         /* number of the last copy of a request that we made */
	struct memory cancelled; /* cancels that came before their request */
	struct memory finished;  /* ids, and prints, of requests whose final response is safe */
	struct answers answers;  /* some of these responses */
	struct memory freed;     /* ids, and which giving back is said to be free */
	struct memory surplus;   /* copies of ours, under way, of requests that somebody else has */
	struct cancels cancels;  /* what the stream of them says */
	struct {
		size_t n, bytes;
	} held;                  /* what is held without a slot */
	struct memory signalled; /* ids, and prints of the questions that asked for it */
	struct task_events events;
	struct memory acknowledged; /* of those, what the broker was told on this connection */

	struct job *asked; /* terarium: in the order in which their queues were asked */
	struct job *by_cancellation;
	uint64_t last_cancellation;
	bool was_refused;           /* the server closed the channel and answered nothing since */
	bool listen_again;          /* with the next tick */
	struct leftover *leftovers; /* cancellation queues to be deleted, in the order of sending */
	size_t n_leftovers;
};

/* daemon.c */
/* Readiness, and what there is to say of it, to who has started us. */
void daemon_tell_state(struct daemon *daemon);
/* Nothing is freed by this: the connection is closed, and forgotten by all, with the next turn of
 * the loop. Meanwhile it can be sent to, in vain. */
void daemon_consumer_lost(struct daemon *daemon, const char *why);
bool daemon_hears(const struct daemon *daemon);
/* Looks for what arrived while we were sending. */
void daemon_pump_soon(struct daemon *daemon);
/* A slot may be free, or too many taken: looks with the next turn of the loop. */
void daemon_balance_soon(struct daemon *daemon);
void daemon_end_if_done(struct daemon *daemon);
/* The catalogue is read anew. 0 or a negative errno; then the old one stays in force. */
int daemon_reload(struct daemon *daemon, struct error *err);
/* A round of pings was answered. */
void daemon_on_ping(struct daemon *daemon);
/* It is ending, or was told to drain. */
bool daemon_takes_none(const struct daemon *daemon);
/* Takes no more requests, and gives back what has not started; or takes them again. */
void daemon_drain(struct daemon *daemon, bool drain);

/* job.c */
struct job *job_new(struct daemon *daemon, size_t queue);
/* The task has this id. 0 or -ENOMEM. */
int job_name(struct job *job, const char *id);
/* Another may have the id from now on. */
void job_unlist(struct job *job);
struct job *job_find(struct daemon *daemon, const char *id);
uint64_t job_token(const struct job *job, enum purpose purpose);
struct job *job_by_token(struct daemon *daemon, uint64_t token, enum purpose *ret);
#ifdef TASKRUNNER_CRASH_POINTS
void job_on_sent(uint64_t token); /* the publisher's thread */
#else
#define job_on_sent NULL
#endif
/* Takes it out of whatever it waits in. */
void job_stop_waiting(struct job *job);
/* Acknowledges what it holds. False: the connection is gone, or is lost by this. */
bool job_settle(struct job *job);
/* Each of these frees it: the request is answered; */
void job_acknowledge(struct job *job);
/* it is somebody else's now; */
void job_leave(struct job *job);
/* somebody should have it: goes back to its queue, with a copy that says that nobody runs it where
 * that can be made (then it is freed when the copy is safe); */
void job_give_back(struct job *job);
/* the copy may be there or not: another one, that does not promise anything; */
void job_give_back_again(struct job *job);
/* the same as it is, without a copy; */
void job_return(struct job *job);
/* the same, where no copy can be made: also what is parked leaves us; */
void job_return_as_it_is(struct job *job);
/* it is fenced, and its process dead. The broker may hear us all the same: then what it delivered
 * goes back, or it would hang here; */
void job_end_fenced(struct job *job);
/* nothing is to be said to the broker. */
void job_free(struct job *job);

/* intake.c */
void intake_delivery(struct daemon *daemon, struct mq_event *event);
/* A copy from a hold queue. */
void intake_copy(struct daemon *daemon, struct mq_event *event);
/* Nobody else runs it: looks it up and goes on. */
void intake_start(struct job *job);
/* Hands the job's request to the engine (moved out of the job) when there is a slot, or gives it
 * back if we are ending. */
void intake_submit(struct job *job);
/* Starts what waits for a slot of the queue. */
void intake_next(struct daemon *daemon, size_t queue);
/* What was not started comes again on another connection. */
void intake_forget(struct daemon *daemon);

/* held.c */
void held_begin(struct job *job);
void held_end(struct job *job); /* if it is held */
/* What has not started is held. False: it has, or is not here. */
bool held_hold(struct job *job);
/* It may be started; may free it. */
void held_play(struct job *job);
/* Its delivery is here again; what was said meanwhile is done. */
void held_on_home(struct job *job);

/* slots.c */
int slots_init(struct daemon *daemon); /* 0 or -ENOMEM */
void slots_deinit(struct daemon *daemon);
/* Opens or closes consumers, as many as there is room for. */
void slots_balance(struct daemon *daemon, size_t queue);
/* How many tasks of the queue may run from now on. 0 or -ENOMEM. */
int slots_set(struct daemon *daemon, size_t queue, unsigned slots);
void slots_close(struct daemon *daemon);  /* all, for good */
void slots_forget(struct daemon *daemon); /* the connection is gone */
/* The slot that brought a delivery is the job's. */
void slots_take(struct job *job, const char *consumer_tag);
void slots_release(struct job *job);
void slots_park(struct job *job);
/* The requests of what runs are parked, however young. */
void slots_park_running(struct daemon *daemon);

/* lease.c */
#define COPY_HEADERS 9 /* that a copy has of ours */
void lease_init(struct daemon *daemon);
void lease_connected(struct daemon *daemon);
void lease_lost(struct daemon *daemon);
void lease_end(struct daemon *daemon);
void lease_tick(struct daemon *daemon);      /* at least once a second */
void lease_give_back(struct daemon *daemon); /* what waits for nothing but that */
/* @knows_all: nobody had it before. */
void lease_begin(struct job *job, uint16_t channel, uint64_t tag, bool knows_all);
/* Without waiting for its time, or as soon as that can be. */
void lease_renew_now(struct job *job);
/* How often the broker had delivered it before. */
unsigned lease_deliveries(const struct mq_delivery *delivery);
/* Where nothing is parked: puts a copy beside what the broker will soon have delivered too often.
 */
void lease_spare(struct job *job);
/* The request of a job that is here has come once more. */
void lease_again(struct job *job, const struct mq_event *event, bool from_hold_queue);
/* Which copy of ours it is; 0: the original, or another's, whose numbers say nothing here. */
uint64_t lease_copy_number(const struct daemon *daemon, const struct mq_properties *p);
void lease_on_done(struct job *job, const struct mq_publisher_event *event);
void lease_on_pong(struct daemon *daemon, uint16_t channel);
/* Requests can be parked. */
bool lease_is_possible(const struct daemon *daemon);
/* As soon as the round that is under way is over. */
void lease_ping_soon(struct daemon *daemon);
/* Sends the request to @queue and lets go of it when it is safe there. 0 or a negative errno.
 * @may_be_freed: it does not run here, and whoever gets it may start it at once if it is nowhere
 * else. */
int lease_hand_over(struct job *job, const char *queue, bool may_be_freed);
/* It is safe there. */
void lease_handed_over(struct job *job);
/* It is nowhere. */
void lease_hand_over_later(struct job *job);
/* Acknowledgements up to this round of pings were taken. */
void lease_tell_freed(struct daemon *daemon, uint64_t round);

/* pings.c */
void pings_begin(struct daemon *daemon); /* connected, and all consumed */
void pings_tick(struct daemon *daemon);
void pings_on_answer(struct daemon *daemon, uint16_t channel);
void pings_lost(struct daemon *daemon);
/* It can be waited for what the broker says of the hold queues. */
bool pings_hold_is_well(const struct daemon *daemon);
/* As soon as the round that is under way is over. */
void pings_soon(struct daemon *daemon);

/* binding.c */
void binding_connected(struct daemon *daemon);
void binding_tick(struct daemon *daemon);
void binding_on_answer(struct daemon *daemon); /* on its channel */
void binding_on_closed(struct daemon *daemon, uint16_t code, const char *text);

/* suspects.c */
/* @giving: of whom gave it back in good order, or 0. */
void suspects_begin(struct job *job, uint64_t giving);
/* Another copy of it came. */
void suspects_wait_anew(struct job *job);
/* Whom it was to go back to is not there any more. */
void suspects_begin_again(struct job *job);
void suspects_end(struct job *job);
/* A copy that counts the run to come is safe. */
void suspects_on_turn(struct job *job);
void suspects_tick(struct daemon *daemon);
void suspects_on_asked(struct job *job); /* the others have the question */
/* All that came before this connection: tells the others what is here, asks about what waits. */
void suspects_connected(struct daemon *daemon);
void suspects_answer(struct daemon *daemon, const struct control *question, const char *reply_to);
void suspects_on_answer(struct daemon *daemon, const struct control *answer);
/* The job holds a delivery again, after it could not answer. */
void suspects_tell_back(struct job *job);
/* The job's request was given back, and is nowhere else: tells it, for who gets it. 0 or a negative
 * errno. */
int suspects_tell_free(struct job *job);
void suspects_on_free(struct daemon *daemon, const struct control *word);
/* What stands for one giving back of an instance: that of the copy with this number. */
uint64_t suspects_giving(const char *instance, const char *number);
#define GIVING_MAX 24
void suspects_number_giving(uint64_t number, char ret[GIVING_MAX]);
/* Another runner has the task, and says so unasked. */
void suspects_on_back(struct daemon *daemon, const struct control *word);

/* replies.c */
extern const struct engine_front replies_front; /* userdata: the daemon */
/* The final response for a request that never became a task. The job lives on until it is safe. */
void replies_refuse(
	struct job *job, const struct request *request, enum cause cause, const char *text);
void replies_cancelled(struct job *job, const struct request *request);
/* Keeps a delivery that nobody can be answered for. */
void replies_dead_letter(struct job *job, struct mq_delivery *delivery, const char *why);
/* What was sent before as the final response, again. */
void replies_repeat(struct job *job, const struct mq_message *answer);
/* Keeps a copy of the request for people to look at. */
void replies_keep_copy(struct job *job, const char *why);
/* The publisher is done with a message. */
void replies_on_done(struct daemon *daemon, struct mq_publisher_event *event);
/* Takes the message. 0 or -ENOMEM; then the job of a final response has been given back. */
int replies_send(struct daemon *daemon, struct mq_message *message, uint64_t token);

/* leftovers.c */
/* The task's cancellation queue, from which nobody consumed, is to be deleted. */
void leftovers_add(struct daemon *daemon, const char *id);
void leftovers_send(struct daemon *daemon); /* what has to be sent (again) */
/* The broker has answered on the channel of cancellations. */
void leftovers_on_answer(struct daemon *daemon);
void leftovers_lost(struct daemon *daemon);
void leftovers_on_closed(struct daemon *daemon); /* by the broker, the channel alone */
void leftovers_deinit(struct daemon *daemon);

/* control.c */
/* "accepted", "gone", or NULL: not ours, so others may have it, or its request is still to come,
 * and it is remembered for that. */
const char *control_cancel(struct daemon *daemon, const char *id);
/* Cancels what is here and was swept (cancels.h). */
void control_sweep(struct daemon *daemon);
void control_on_message(struct daemon *daemon, struct mq_delivery *delivery);

/* cancellation.c */
/* Terarium: asks the task's own queue whether it was cancelled already; intake_submit follows when
 * it was not. */
void control_ask_cancelled(struct job *job);
/* Declares and binds the cancellation queue of a task. 0 or a negative errno. */
int control_open_queue(struct daemon *daemon, const char *id);
void control_on_asked(struct daemon *daemon, bool cancelled);
void control_on_cancellation(struct daemon *daemon, const char *consumer_tag);
/* The connection is gone: what was asked will not be answered, and is delivered again. */
void control_forget(struct daemon *daemon);
/* The server closed the channel for the reason @text. It is opened again; the task whose queue was
 * at fault does without it. */
void control_on_closed(struct daemon *daemon, const char *text);
/* Listens for the tasks that are here and not heard, after a connection or channel was lost. */
void control_listen_again(struct daemon *daemon);
/* The task is over: its queue is not needed any more. Again: nothing. */
void control_end(struct job *job);
