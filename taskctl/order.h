/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is said to runners: one verb (drain, slots, …) and the runners that are meant, by their
 * names or all of them. Who answers what is told runner by runner.
 */

#include "taskctl/taskctl.h"

struct order {
	const struct verb *verb;
	const char *op;
	bool takes_slots; /* the first argument; and --queue */
};

extern const struct verb_option order_options[];
#define ORDER_EXITS                                                                           \
	"0 accepted, 2 usage, 3 broker trouble, or a runner refused, 4 no control exchange, " \
	"5 not answered in time, 6 stdout not written; of several runners the highest"

/* Of set-slots. */
enum { OPTION_SLOTS_QUEUE = OPTION_OF_VERB };

int order(const struct order *order, int argc, char **argv);
