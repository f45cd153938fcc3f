/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl drain: runners finish what they have, and take no more. */
#include "taskctl/order.h"

static int run(int argc, char **argv)
{
	static const struct order what = { .verb = &verb_drain, .op = "drain" };

	return order(&what, argc, argv);
}

const struct verb verb_drain = {
	.name = "drain",
	.group = VERBS_RUNNERS,
	.summary = "let runners finish and take no more",
	.arguments = "[OPTIONS] RUNNER…|--all",
	.about = "Runners take no more requests, give back what has not started, and finish what "
		 "runs. They live on, and answer, until they are undrained or restarted.",
	.options = order_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = ORDER_EXITS,
	.run = run,
};
