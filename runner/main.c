/* SPDX-License-Identifier: Apache-2.0 */

/*
 * taskrunner: arguments, configuration, then the daemon or `exec`.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/parse.h"
#include "runner/config.h"
#include "runner/daemon.h"
#include "runner/exec.h"
#include "runner/signals.h"

#define STATUS_USAGE 2

static const char help[] =
	"Usage: taskrunner --config FILE\n"
	"       taskrunner exec PROGRAM [OPTIONS] [-- ARGS...]\n"
	"\n"
	"Takes requests from RabbitMQ, runs the program that each names as a process with\n"
	"three named pipes, and relays progress and result.\n"
	"\n"
	"  -c, --config FILE     YAML file; without it, the environment alone (TASKRUNNER_...)\n"
	"      --check-config    say whether the configuration is good, then end\n"
	"      --print-config    print every setting with its default and meaning, then end\n"
	"  -h, --help            this text\n"
	"  -V, --version         the version\n"
	"\n"
	"taskrunner exec runs one program through the same engine without a broker: progress and\n"
	"messages to stderr, output to stdout. See taskrunner exec --help.\n"
	"\n"
	"Exit status: 0 after an orderly end, 1 when it cannot run, 2 for a bad command line or\n"
	"configuration. Manual: taskrunner(8), taskrunner.yaml(5).\n";

static const char exec_help[] =
	"Usage: taskrunner exec PROGRAM [OPTIONS] [-- ARGS...]\n"
	"\n"
	"Runs PROGRAM (a path, a name in PATH, or a name from the catalogue of --config) as a "
	"task,\n"
	"without a broker. Progress and the program's messages go to stderr, its output to "
	"stdout.\n"
	"\n"
	"  -c, --config FILE         take limits and catalogue from here\n"
	"  -i, --input FILE          what the program reads; - is stdin; default: nothing\n"
	"  -t, --timeout TIME        end it after, for example, 90s or 5m\n"
	"      --id ID               the task's id; default: exec\n"
	"      --pipe-arguments HOW  hyphens (default), underscores or none\n"
	"  -h, --help                this text\n"
	"\n"
	"Exit status: that of the program, 128 + signal if one ended it; 124 timed out or silent,\n"
	"126 cannot be executed, 127 not found, 130 cancelled (Ctrl-C; twice: at once),\n"
	"1 failed otherwise, 2 for a bad command line.\n";

static int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int usage_error(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("taskrunner: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry 'taskrunner --help'.\n", stderr);
	return STATUS_USAGE;
}

/* Descriptors 0 to 2 exist from here on, so that none of ours can end up there. */
static void open_standard_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int read_config(const char *file, struct config *ret)
{
	struct error err = { 0 };
	if (config_read(file, ret, &err) == 0)
		return 0;
	fprintf(stderr, "taskrunner: %s\n", err.text);
	return STATUS_USAGE;
}

/* ---- taskrunner exec ---- */

static int parse_pipe_arguments(const char *text, enum pipe_arguments *ret)
{
	static const char *const names[] = { "hyphens", "underscores", "none" };
	for (int i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum pipe_arguments)i;
			return 0;
		}
	return -EINVAL;
}

static int parse_exec(int argc, char **argv, struct exec_options *ret, const char **ret_config)
{
	enum { OPTION_ID = 256, OPTION_PIPE_ARGUMENTS };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "input", required_argument, NULL, 'i' },
		{ "timeout", required_argument, NULL, 't' },
		{ "id", required_argument, NULL, OPTION_ID },
		{ "pipe-arguments", required_argument, NULL, OPTION_PIPE_ARGUMENTS },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option, end = 1;
	/* What stands after "--" is for the program. */
	while (end < argc && strcmp(argv[end], "--") != 0)
		end++;
	ret->arguments = end < argc ? argv + end + 1 : NULL;
	while ((option = getopt_long(end, argv, "c:i:t:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			*ret_config = optarg;
			break;
		case 'i':
			ret->input_file = optarg;
			break;
		case 't':
			if (parse_duration(optarg, &ret->timeout_us) < 0 || ret->timeout_us < 1000)
				return usage_error(
					"--timeout: '%s' is no time like 90s or 5m", optarg);
			break;
		case OPTION_ID:
			ret->id = optarg;
			break;
		case OPTION_PIPE_ARGUMENTS:
			if (parse_pipe_arguments(optarg, &ret->pipe_arguments) < 0)
				return usage_error("--pipe-arguments: '%s' is not one of hyphens, "
						   "underscores, none",
					optarg);
			break;
		case 'h':
			fputs(exec_help, stdout);
			return -1;
		default:
			fputs("Try 'taskrunner exec --help'.\n", stderr);
			return STATUS_USAGE;
		}
	}
	if (optind >= end)
		return usage_error("exec: which program? 'taskrunner exec PROGRAM'");
	if (optind + 1 < end)
		return usage_error(
			"exec: '%s' is too much; arguments of the program stand after --",
			argv[optind + 1]);
	ret->program = argv[optind];
	return 0;
}

static int main_exec(int argc, char **argv)
{
	struct config config = { 0 };
	struct exec_options options = { .config = &config };
	const char *config_file = NULL;
	int status = parse_exec(argc, argv, &options, &config_file);
	if (status != 0)
		return status < 0 ? 0 : status;
	status = read_config(config_file, &config);
	if (status == 0) {
		log_set_level(LOG_WARN);
		status = exec_run(&options);
	}
	config_deinit(&config);
	return status;
}

/* ---- the daemon ---- */

struct arguments {
	const char *config_file;
	bool check;
};

/* Gives -1 to go on, else the exit status. */
static int parse_main(int argc, char **argv, struct arguments *ret)
{
	enum { OPTION_CHECK = 256, OPTION_PRINT };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, OPTION_CHECK },
		{ "print-config", no_argument, NULL, OPTION_PRINT },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int option;
	while ((option = getopt_long(argc, argv, "+c:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret->config_file = optarg;
			break;
		case OPTION_CHECK:
			ret->check = true;
			break;
		case OPTION_PRINT:
			config_print_reference(stdout);
			return 0;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'V':
			puts("taskrunner " TASKRUNNER_VERSION);
			return 0;
		default:
			fputs("Try 'taskrunner --help'.\n", stderr);
			return STATUS_USAGE;
		}
	}
	if (optind < argc)
		return usage_error("'%s' is no command and no option", argv[optind]);
	return -1;
}

static int main_daemon(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct config config = { 0 };
	int status = parse_main(argc, argv, &arguments);
	if (status >= 0)
		return status;
	status = read_config(arguments.config_file, &config);
	if (status == 0 && arguments.check) {
		printf("%s is good\n",
			arguments.config_file ? arguments.config_file : "the environment");
	} else if (status == 0) {
		log_set_level(config.log.level);
		status = daemon_run(&config, arguments.config_file);
	}
	config_deinit(&config);
	return status;
}

int main(int argc, char **argv)
{
	open_standard_descriptors();
	signals_prepare();
	if (argc > 1 && strcmp(argv[1], "exec") == 0)
		return main_exec(argc - 1, argv + 1);
	return main_daemon(argc, argv);
}
