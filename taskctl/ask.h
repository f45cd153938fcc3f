/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What run, submit and batch are told of a request, in options.
 *
 * Life: ask_init; ask_take_option for each option; ask_take_arguments; ask_prepare, after which
 * `request` can be sent; ask_deinit.
 */

#include "taskctl/taskctl.h"

enum {
	OPTION_ASK_ID = OPTION_OF_VERB + 100,
	OPTION_ASK_ENCODING,
	OPTION_ASK_LABELS,
	OPTION_ASK_DEPTH,
	OPTION_ASK_HOLD,
	OPTION_ASK_USER,
	OPTION_ASK_PROJECT,
};

struct ask {
	const char *input_file;
	const char *json;
	char id[TASKCLIENT_ID_SIZE];
	struct taskclient_request request;
	struct buf input;
};

/* Entries of a table of options (verbs.h). */
#define ASK_INPUT_OPTIONS                                                                       \
	{ "input", 'i', "FILE", NULL, "what the program reads; - is stdin. Default: nothing" }, \
		{ "json", 'j', "TEXT", NULL, "the input itself, checked to be JSON" },          \
	{                                                                                       \
		"id", OPTION_ASK_ID, "ID", NULL, "the task's id; default: a random UUID"        \
	}
#define ASK_OPTIONS                                                                              \
	{ "timeout", 't', "TIME", NULL, "the longest run, such as 90s or 5m" },                  \
		{ "group", 'g', "GROUP", NULL,                                                   \
			"tasks that belong together, to steer and follow"                        \
			" them" },                                                               \
		{ "labels", OPTION_ASK_LABELS, "LABELS", NULL,                                   \
			"what it needs of what runners have little of: gpu,matlab" },            \
		{ "priority", 'p', "NUMBER", NULL, "0 to 9, where the queue has priorities" },   \
		{ "depth", OPTION_ASK_DEPTH, "NUMBER", NULL,                                     \
			"how many tasks are above it and wait for it; it comes before those of " \
			"less" },                                                                \
		{ "hold", OPTION_ASK_HOLD, NULL, NULL, "not to be started until it is played" }, \
		{ "user", OPTION_ASK_USER, "NAME", NULL, "whose task it is" },                   \
		{ "project", OPTION_ASK_PROJECT, "NAME", NULL, "what it belongs to" },           \
	{                                                                                        \
		"encoding", OPTION_ASK_ENCODING, "HOW", "json msgpack",                          \
			"json (default) or msgpack"                                              \
	}

void ask_init(struct ask *ask);
void ask_deinit(struct ask *ask);
/* GOING_ON or an exit status, having told what is wrong, as the next one. */
int ask_take_option(const char *verb, struct ask *ask, int c);
/* The one argument: a program. */
int ask_take_arguments(const char *verb, struct ask *ask, const struct common_options *options,
	int argc, char **argv);
/* Reads the input and makes an id. 0 or an exit status. */
int ask_prepare(const char *verb, struct ask *ask);
