/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl hold: what has not started is not started. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_hold,
		.op = "hold",
		.undone = "cannot be held",
		.nobody = "it may wait in a queue, have ended long ago, or its runner be cut off. "
			  "Nothing is remembered: ask again",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_hold = {
	.name = "hold",
	.group = VERBS_STEER,
	.summary = "keep waiting tasks from starting",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "Keeps tasks that wait at a runner from starting until they are played; they take "
		 "no slot meanwhile. What runs already is paused, not held.",
	.options = steer_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = STEER_EXITS,
	.run = run,
};
