/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl play: what is held may start. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_play,
		.op = "play",
		.undone = "cannot be played",
		.nobody = "it may wait in a queue, have ended long ago, or its runner be cut off. "
			  "Nothing is remembered: ask again",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_play = {
	.name = "play",
	.group = VERBS_STEER,
	.summary = "let held tasks start",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "Lets tasks start that were held, or whose requests said so. Of what is not held "
		 "it is accepted, too, and changes nothing.",
	.options = steer_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = STEER_EXITS,
	.run = run,
};
