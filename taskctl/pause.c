/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl pause: running tasks use no processor until they are resumed. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_pause,
		.op = "pause",
		.undone = "cannot be paused",
		.nobody = "it may wait in a queue, have ended long ago, or its runner be cut off. "
			  "Nothing is remembered: ask again",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_pause = {
	.name = "pause",
	.group = VERBS_STEER,
	.summary = "stop running tasks for a while",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "Stops all processes of running tasks until they are resumed. Their time limits "
		 "stand still meanwhile; their slots stay taken.",
	.options = steer_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = STEER_EXITS,
	.run = run,
};
