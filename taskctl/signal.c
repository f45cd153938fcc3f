/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl signal: one to the processes of running tasks. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_signal,
		.op = "signal",
		.undone = "cannot be sent a signal",
		.nobody = "it may wait in a queue, have ended long ago, or its runner be cut off. "
			  "Nothing is remembered: ask again",
		.takes_a_signal = true,
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_signal = {
	.name = "signal",
	.group = VERBS_STEER,
	.summary = "send running tasks a signal",
	.arguments = "[OPTIONS] SIGNAL ID…|FILTER",
	.about = "Sends a signal to running tasks: by its name, with or without SIG, or by its "
		 "number. It comes once, though the question may be repeated.",
	.words = "ABRT ALRM CONT HUP INT KILL PIPE QUIT STOP TERM TSTP TTIN TTOU USR1 USR2 WINCH",
	.options = steer_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = STEER_EXITS,
	.run = run,
};
