/* SPDX-License-Identifier: Apache-2.0 */

/*
 * taskrunner: arguments, configuration, then the daemon or `exec`.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/option_fault.h"
#include "common/parse.h"
#include "runner/config.h"
#include "runner/daemon.h"
#include "runner/exec.h"
#include "runner/signals.h"
#include "wire/wire.h"

/* The command, and what points to its help. */
#define EXEC "exec"

static const char help[] =
	"Usage: taskrunner [--config FILE] [--check-config] [--print-config]\n"
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
	"Runs PROGRAM (a name from the catalogue of --config, a path, or a name in PATH) as a\n"
	"task, without a broker: with its pipes, in a directory of its own. Its output goes to\n"
	"stdout; its progress, and what it writes to stdout and stderr itself, to stderr.\n"
	"\n"
	"  -c, --config FILE         take limits and catalogue from here\n"
	"  -i, --input FILE          what the program reads; - is stdin; default: nothing\n"
	"  -t, --timeout TIME        end it after, for example, 90s or 5m\n"
	"      --id ID               the task's id; default: exec\n"
	"      --pipe-arguments HOW  hyphens, underscores, none; default: as configured\n"
	"  -h, --help                this text\n"
	"\n"
	"Exit status: that of a program that ended by itself, 128 + signal if one ended it;\n"
	"124 timed out or silent, 126 cannot be executed, 127 not found, 130 cancelled (Ctrl-C;\n"
	"twice: at once), 1 failed otherwise, 2 for a bad command line or configuration.\n";

static int usage_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* @command: EXEC, or "" for the daemon. */
static int usage_error(const char *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("taskrunner: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry 'taskrunner %s%s--help'.\n", command, command[0] ? " " : "");
	return EXEC_USAGE;
}

static int option_error(const char *command, int c, const struct option *options, char *const *argv)
{
	const char *hint = "";
	char text[256];
	if (option_fault(c, options, argv, text, sizeof(text)) == OPTION_UNKNOWN && command[0])
		hint = "; arguments of the program stand after --";
	return usage_error(command, "%s%s", text, hint);
}

/* Descriptors 0 to 2 exist from here on, so that none of ours can end up there. What stands in for
 * one that was closed cannot be read or written: that stays an error. */
static void open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null",
				(fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

/* What was lost on stdout must not look like success. */
static int flush(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fputs("taskrunner: cannot write to stdout\n", stderr);
	return status == 0 ? EXEC_FAILED : status;
}

static int read_config(const char *file, struct config *ret)
{
	struct error err = { 0 };
	if (config_read(file, ret, &err) == 0)
		return 0;
	fprintf(stderr, "taskrunner: %s\n", err.text);
	return EXEC_USAGE;
}

/* ---- taskrunner exec ---- */

static int take_pipe_arguments(const char *text, struct exec_options *ret)
{
	static const struct {
		const char *name;
		enum pipe_arguments value;
	} known[] = {
		{ "hyphens", PIPE_ARGUMENTS_HYPHENS },
		{ "underscores", PIPE_ARGUMENTS_UNDERSCORES },
		{ "none", PIPE_ARGUMENTS_NONE },
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(text, known[i].name) == 0) {
			ret->pipe_arguments = &known[i].value;
			return 0;
		}
	return usage_error(
		EXEC, "--pipe-arguments: '%s' is not one of hyphens, underscores, none", text);
}

static int take_id(const char *text, struct exec_options *ret)
{
	ret->id = text;
	if (id_is_valid(slice_of(text)))
		return 0;
	return usage_error(EXEC, "--id: 1 to %d bytes without '/', and not '.' or '..'", ID_MAX);
}

static int take_timeout(const char *text, struct exec_options *ret)
{
	if (parse_duration(text, &ret->timeout_us) == 0 && ret->timeout_us >= 1000)
		return 0;
	return usage_error(EXEC, "--timeout: '%s' is not a duration such as 90s, 5m or 1.5h", text);
}

/* The one word that stands before "--". */
static int take_program(int n, char **words, struct exec_options *ret)
{
	if (n == 0 || !words[0][0])
		return usage_error(EXEC, "which program? Its name is missing");
	if (n > 1)
		return usage_error(EXEC,
			"'%s' is too much; arguments of the program stand after --", words[1]);
	ret->program = words[0];
	return 0;
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
	int option, status = 0, end = 1;
	/* What stands after "--" is for the program. */
	while (end < argc && strcmp(argv[end], "--") != 0)
		end++;
	ret->arguments = end < argc ? argv + end + 1 : NULL;
	opterr = 0; /* we say it ourselves */
	while (status == 0 && (option = getopt_long(end, argv, ":c:i:t:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			*ret_config = optarg;
			break;
		case 'i':
			ret->input_file = optarg;
			break;
		case 't':
			status = take_timeout(optarg, ret);
			break;
		case OPTION_ID:
			status = take_id(optarg, ret);
			break;
		case OPTION_PIPE_ARGUMENTS:
			status = take_pipe_arguments(optarg, ret);
			break;
		case 'h':
			fputs(exec_help, stdout);
			return -1;
		default:
			return option_error(EXEC, option, options, argv);
		}
	}
	return status ? status : take_program(end - optind, argv + optind, ret);
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
	opterr = 0; /* we say it ourselves */
	while ((option = getopt_long(argc, argv, "+:c:hV", options, NULL)) != -1) {
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
			return option_error("", option, options, argv);
		}
	}
	if (optind < argc && strcmp(argv[optind], EXEC) == 0)
		return usage_error(EXEC, "exec comes first: taskrunner exec PROGRAM --config FILE");
	if (optind < argc)
		return usage_error("", "'%s' is no command and no option", argv[optind]);
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
	if (argc > 1 && strcmp(argv[1], EXEC) == 0)
		return flush(main_exec(argc - 1, argv + 1));
	return flush(main_daemon(argc, argv));
}
