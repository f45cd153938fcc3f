/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl: asks runners for work from a terminal or a script. docs/man/taskctl.1.scd */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "taskctl/taskctl.h"

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} verbs[] = {
	{ "run", verb_run, "run a program as a task, show its progress, print its output" },
	{ "cancel", verb_cancel, "end tasks by their ids" },
};

static void print_help(FILE *out)
{
	fputs("usage: taskctl VERB [OPTIONS] …\n\n", out);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n'taskctl VERB --help' tells more, taskctl(1) the rest. --version prints the "
	      "version.\n",
		out);
}

/* Output that was lost must not look like success. */
static int flush(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	say("cannot write to stdout");
	return status == EXIT_DONE ? EXIT_LOCAL : status;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* a write tells it, too */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return flush(EXIT_DONE);
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("taskctl " TASKRUNNER_VERSION);
		return flush(EXIT_DONE);
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return flush(verbs[i].run(argc - 1, argv + 1));
	return usage_error(
		"", "there is no %s '%s'", argv[1][0] == '-' ? "option" : "verb", argv[1]);
}
