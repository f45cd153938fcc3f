/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl undrain: runners take requests again. */
#include "taskctl/order.h"

static int run(int argc, char **argv)
{
	static const struct order what = { .verb = &verb_undrain, .op = "undrain" };

	return order(&what, argc, argv);
}

const struct verb verb_undrain = {
	.name = "undrain",
	.group = VERBS_RUNNERS,
	.summary = "let drained runners take requests again",
	.arguments = "[OPTIONS] RUNNER…|--all",
	.about = "Runners that were drained take requests again.",
	.options = order_options,
	.shares = SHARES_BROKER | SHARES_OUTPUT,
	.exits = ORDER_EXITS,
	.run = run,
};
