/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is wrong with a command line that getopt_long does not take, in words. Main thread. */

#include <getopt.h>
#include <stddef.h>

enum option_fault {
	OPTION_UNKNOWN,
	OPTION_AMBIGUOUS,
	OPTION_NEEDS_VALUE,
	OPTION_TAKES_NONE,
};

/* After getopt_long (opterr 0, its letters beginning with ":") gave @c, '?' or ':': a sentence in
 * @text. Options without a letter have a value above 255. What follows '=' is not shown: it may be
 * a secret. */
enum option_fault option_fault(
	int c, const struct option *options, char *const *argv, char *text, size_t size);
