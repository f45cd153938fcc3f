/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Questions to runners, put all at once, and who has answered them.
 *
 * Life: filled with what stands first below, the rest zeroed; asking_put any number of times; with
 * @calls_roll asking_call_roll after the last; asking_wait, or asking_take for each event of the
 * client until asking_is_over; asking_deinit. One thread.
 *
 * To one task (an id) only its owner answers, once. To many, each runner tells what it has and ends
 * with a last word. Nobody knows how many runners there are: a roll call in the same window tells
 * who is there, so that it is over when these have said all, and others can be named. Without a
 * roll call it is over when runners have been quiet for ASKING_QUIET_MS.
 */

#include "taskctl/taskctl.h"

#define ASKING_QUIET_MS 300

struct asking_runner {
	char *name, *instance;
	bool is_there;           /* it answered the roll call */
	bool has_ended;          /* it has said its last word */
	uint64_t n_told, n_said; /* tasks that it told of, and that it says it has */
};

struct asking {
	struct taskclient *client; /* borrowed, as all of these */
	const char *exchange;      /* as in broker_options */
	uint64_t wait_ms;
	bool calls_roll;
	bool keeps_quiet; /* what is wrong is kept in @trouble, not told */
	/* An answer to the question put as the @index th, from 0, or NULL: nobody answered. Last
	 * words without anything else in them are not told. */
	void (*on_answer)(void *userdata, size_t index, const struct taskclient_answer *answer);
	/* An answer to the roll call; may be NULL. */
	void (*on_roll)(void *userdata, const struct taskclient_answer *answer);
	void *userdata;

	bool was_noted; /* what nobody answered is kept for runners that come */
	char trouble[1200];
	struct asked *asked;
	size_t n, n_open;
	uint64_t roll; /* number of that question */
	bool roll_is_open;
	uint64_t heard_us; /* the last answer */
	struct asking_runner *runners;
	size_t n_runners;
	struct told *told; /* so that nothing is told twice */
};

/* 0 or an exit status, having told what is wrong. */
int asking_put(struct asking *a, const struct taskclient_control *control);
/* @runner: only this one is asked; NULL: all. */
int asking_call_roll(struct asking *a, const char *runner);

/* True: @event was about this. @ret_status is set where nothing more can come of it. */
bool asking_take(struct asking *a, const struct taskclient_event *event, int *ret_status);
bool asking_is_over(const struct asking *a);
/* How long poll may wait: milliseconds. */
int asking_wait_ms(const struct asking *a);
/* Until it is over. 0 or an exit status, having told what is wrong. */
int asking_wait(struct asking *a);

/* How many runners have said all, or are there. */
size_t asking_answered(const struct asking *a);
/* Names runners that are there and have not said all in time. 0 or EXIT_TOO_LATE. */
int asking_tell_silent(const struct asking *a);
void asking_deinit(struct asking *a);

/* "Is one running?", and what else to do where no runner has answered. */
void asking_tell_nobody(const struct asking *a);
