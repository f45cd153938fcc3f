/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl cancel: one message to all runners for each task; the one that has it answers. */
#include "taskctl/steer.h"

static int run(int argc, char **argv)
{
	static const struct steering steering = {
		.verb = &verb_cancel,
		.op = "cancel",
		.undone = "cannot be cancelled",
		.nobody = "runners that run now remember it for a day: should its request come to "
			  "them, it is not started",
	};

	return steer(&steering, argc, argv);
}

const struct verb verb_cancel = {
	.name = "cancel",
	.group = VERBS_STEER,
	.summary = "end tasks, with grace",
	.arguments = "[OPTIONS] ID…|FILTER",
	.about = "Asks the runners that have the tasks to end them: SIGTERM first, SIGKILL when "
		 "the grace is over. A filter reaches what runners have, with --queued also what "
		 "is still in a queue. Of ids, requests are reached in their queues, too: runners "
		 "remember them for a day.",
	.options = steer_end_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT | SHARES_CANCELS,
	.exits = STEER_EXITS,
	.run = run,
};
