/* SPDX-License-Identifier: Apache-2.0 */
#include "common/option_fault.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct option *find_option(const struct option *options, int value)
{
	while (options->name && options->val != value)
		options++;
	return options->name ? options : NULL;
}

static bool is_short_for_several(const struct option *options, const char *word, size_t len)
{
	unsigned n = 0;

	for (; options->name; options++)
		n += strncmp(options->name, word, len) == 0;
	return n > 1;
}

enum option_fault option_fault(
	int c, const struct option *options, char *const *argv, char *text, size_t size)
{
	const struct option *known = find_option(options, optopt);
	const char *word = argv[optind - 1];
	int len = (int)strcspn(word, "=");

	if (c == ':') {
		snprintf(text, size, "--%s needs a value", known ? known->name : "?");
		return OPTION_NEEDS_VALUE;
	}
	if (known) {
		snprintf(text, size, "--%s takes no value", known->name);
		return OPTION_TAKES_NONE;
	}
	if (!optopt && len > 2 && is_short_for_several(options, word + 2, (size_t)len - 2)) {
		snprintf(text, size, "%.*s is short for several options", len, word);
		return OPTION_AMBIGUOUS;
	}
	if (optopt)
		snprintf(text, size, "there is no option -%c", optopt);
	else
		snprintf(text, size, "there is no option %.*s", len, word);
	return OPTION_UNKNOWN;
}
