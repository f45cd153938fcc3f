/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What options, environment and ~/.config/taskctl.yaml say of the same things. Main thread.
 */

#include "taskctl/taskctl.h"

enum setting {
	SETTING_BROKER,
	SETTING_BROKER_FILE,
	SETTING_PASSWORD_FILE,
	SETTING_CONTROL,
	SETTING_QUEUE,
	SETTING_OUTPUT,
	SETTING_COLOR,
	SETTING_RESPONSES,
	SETTING_CANCELS,
	SETTINGS,
};

struct settings {
	const char *said[ORIGINS][SETTINGS]; /* NULL: nothing */
	bool no_header;
};

/* Takes @value if @c is one of the options that verbs share. */
bool settings_take(struct settings *settings, int c, const char *value);
/* Reads environment and file, and fills @ret, which borrows from @settings' values and owns what
 * the file said. GOING_ON or an exit status, having told what is wrong. */
int settings_resolve(
	struct settings *settings, const struct verb *verb, struct common_options *ret);
