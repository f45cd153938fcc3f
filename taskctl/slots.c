/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl slots: how many tasks run at a time. */
#include "taskctl/order.h"

static int run(int argc, char **argv)
{
	static const struct order what = {
		.verb = &verb_slots, .op = "set-slots", .takes_slots = true
	};

	return order(&what, argc, argv);
}

static const struct verb_option options[] = {
	{ "queue", OPTION_SLOTS_QUEUE, "NAME", NULL,
		"the slots of this request queue; needed where a runner has several" },
	{ "all", 'a', NULL, NULL, "all runners" },
	{ "wait", 'w', "TIME", NULL, "how long to wait for answers, default 10s" },
	{ 0 },
};

const struct verb verb_slots = {
	.name = "slots",
	.group = VERBS_RUNNERS,
	.summary = "set how many tasks run at a time",
	.arguments = "[OPTIONS] N RUNNER…|--all",
	.about = "Sets how many tasks runners run at a time from a request queue, until they are "
		 "restarted. With fewer than run now nothing is ended; with 0 nothing more is "
		 "started.",
	.options = options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = ORDER_EXITS,
	.run = run,
};
