/* SPDX-License-Identifier: Apache-2.0 */
/* A verb of taskctl that lists what stands on stdin: id, state, fraction and text of a task in each
 * line, with tabs between them. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taskctl/taskctl.h"

enum { ID, STATE, PROGRESS, MESSAGE, N_COLUMNS };

static const struct column columns[] = {
	[ID] = { "ID", "id", COLUMN_TEXT },
	[STATE] = { "STATE", "state", COLUMN_STATE },
	[PROGRESS] = { "PROGRESS", "progress", COLUMN_FRACTION, .drop = 2, .min = 1 },
	[MESSAGE] = { "MESSAGE", "message", COLUMN_TEXT, .drop = 1, .min = 6 },
};

static const struct verb verb = {
	.name = "show",
	.arguments = "[OPTIONS]",
	.about = "Shows a table.",
	.shares = SHARES_OUTPUT,
	.exits = "0 done",
};

static void put_line(struct table *t, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	table_row(t);
	for (size_t i = 0; i < N_COLUMNS && line; i++) {
		const char *value = strsep(&line, "\t");

		if (i == PROGRESS)
			table_put_real(t, i, *value ? strtod(value, NULL) : NAN);
		else if (*value)
			table_put_text(t, i, value);
	}
}

static int show(const struct output_options *output)
{
	struct table *t = table_new(columns, N_COLUMNS);
	char *line = NULL;
	size_t size = 0;
	int r;

	while (getline(&line, &size, stdin) > 0)
		put_line(t, line);
	free(line);
	r = table_show(t, output);
	if (r == EXIT_DONE)
		table_show_counts(t, STATE, output);
	table_free(t);
	return r;
}

int main(int argc, char **argv)
{
	struct common_options options = { 0 };
	int r;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	r = read_options(&verb, argc, argv, NULL, NULL, &options);
	if (r == GOING_ON)
		r = show(&options.output);
	options_deinit(&options);
	return r;
}
