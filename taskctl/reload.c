/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl reload: runners read their configuration again. */
#include "taskctl/order.h"

static int run(int argc, char **argv)
{
	static const struct order what = { .verb = &verb_reload, .op = "reload" };

	return order(&what, argc, argv);
}

const struct verb verb_reload = {
	.name = "reload",
	.group = VERBS_RUNNERS,
	.summary = "let runners read their catalogue again",
	.arguments = "[OPTIONS] RUNNER…|--all",
	.about = "Runners read their configuration again, as on SIGHUP: the catalogue of programs "
		 "changes, and what else taskrunner(8) says. What is wrong with it is told, and "
		 "changes nothing.",
	.options = order_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = ORDER_EXITS,
	.run = run,
};
