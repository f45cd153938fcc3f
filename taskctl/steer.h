/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is said about tasks, to those who have them: one verb (cancel, pause, …) and the tasks that
 * are meant, by their ids or by what they have in common. Who answers is told task by task, and
 * summed up.
 */

#include "taskctl/taskctl.h"

/* What tasks have in common, as options say it; the verb's own begin with OPTION_OF_VERB. */
enum {
	OPTION_PROJECT = OPTION_OF_VERB + 50,
};

/* clang-format off */
#define FILTER_OPTIONS \
	{ "group", 'g', "GROUP", NULL, "tasks of this group" }, \
	{ "program", 'p', "PROGRAM", NULL, "tasks of this program" }, \
	{ "user", 'u', "USER", NULL, "tasks of this user, as their requests say it" }, \
	{ "project", OPTION_PROJECT, "PROJECT", NULL, "tasks of this project" }, \
	{ "runner", 'r', "RUNNER", NULL, "tasks that this runner has: its name or instance" }
/* clang-format on */

/* Takes an option of FILTER_OPTIONS (optarg is borrowed). */
bool filter_take(struct taskclient_control *filter, int c);

/* Whether @signal is the name or the number of one; @ret is as runners understand it. */
bool signal_read(const char *signal, char ret[16]);

struct steering {
	const struct verb *verb;
	const char *op;
	const char *undone;  /* "cannot be paused" */
	const char *nobody;  /* what becomes of it where nobody has the task */
	bool takes_a_signal; /* the first argument */
};

extern const struct verb_option steer_options[], steer_end_options[];
#define STEER_EXITS                                                                             \
	"0 accepted, 1 the task had ended already, is in no state for it, or no task fits the " \
	"filter, 2 usage, 3 broker trouble, or a runner refused, 4 no control exchange, 5 not " \
	"answered in time, 6 stdout not written; of several tasks the highest"

int steer(const struct steering *steering, int argc, char **argv);
