/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl resume: what was paused goes on. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_resume,
		.op = "resume",
		.undone = "cannot be resumed",
		.nobody = "it may wait in a queue, have ended long ago, or its runner be cut off. "
			  "Nothing is remembered: ask again",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_resume = {
	.name = "resume",
	.group = VERBS_STEER,
	.summary = "let paused tasks go on",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "Lets paused tasks go on where they were.",
	.options = steer_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = STEER_EXITS,
	.run = run,
};
