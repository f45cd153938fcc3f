/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl kill: as cancel, without grace. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_kill,
		.op = "kill",
		.undone = "cannot be killed",
		.nobody = "runners that run now remember it for a day: should its request come to "
			  "them, it is not started",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_kill = {
	.name = "kill",
	.group = VERBS_STEER,
	.summary = "end tasks at once",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "As cancel, but with SIGKILL at once: programs cannot clean up.",
	.options = steer_end_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT | SHARES_CANCELS,
	.exits = STEER_EXITS,
	.run = run,
};
