/* SPDX-License-Identifier: Apache-2.0 */
/* taskctl: asks runners for work from a terminal or a script. docs/man/taskctl.1.scd */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "taskctl/taskctl.h"

static int print_help(FILE *out)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	if (verbs_help(&text) < 0)
		return EXIT_LOCAL;
	fwrite(text.data, 1, text.len, out);
	return EXIT_DONE;
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
	const struct verb *verb;

	signal(SIGPIPE, SIG_IGN); /* a write tells it, too */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 2) {
		(void)print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return flush(print_help(stdout));
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("taskctl " TASKRUNNER_VERSION);
		return flush(EXIT_DONE);
	}
	verb = verb_find(argv[1]);
	if (verb)
		return flush(verb->run(argc - 1, argv + 1));
	return usage_error(
		"", "there is no %s '%s'", argv[1][0] == '-' ? "option" : "verb", argv[1]);
}
