/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "taskctl/taskctl.h"

#define DEFAULT_BROKER "amqp://guest:guest@127.0.0.1:5672"

static void say_args(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void say_args(const char *format, va_list args)
{
	char text[2048];
	struct buf line = { 0 };

	vsnprintf(text, sizeof(text), format, args);
	(void)buf_printf(&line, "taskctl: %s\n", text);
	(void)write_all(STDERR_FILENO, buf_slice(&line));
	buf_deinit(&line);
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_args(format, args);
	va_end(args);
}

int usage_error(const char *verb, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_args(format, args);
	va_end(args);
	fprintf(stderr, "Try 'taskctl %s%s--help'.\n", verb, verb[0] ? " " : "");
	return EXIT_USAGE;
}

int read_duration(const char *verb, const char *option, const char *text, uint64_t *ret_ms)
{
	uint64_t us;
	int r = parse_duration(text, &us);

	if (r < 0 || us < 1000)
		return usage_error(
			verb, "%s: '%s' is not a duration such as 90s, 5m or 1.5h", option, text);
	*ret_ms = us / 1000;
	return 0;
}

static int read_addresses(const struct broker_options *options, struct mq_options *ret)
{
	const char *from_environment = getenv("TASKCTL_BROKER");
	const char *list = options->broker;
	struct error err = { 0 };

	if (!list)
		list = from_environment && *from_environment ? from_environment : DEFAULT_BROKER;
	if (mq_options_add_addresses(ret, list, &err) == 0)
		return 0;
	say("%s: %s", options->broker ? "--broker" : "TASKCTL_BROKER", err.text);
	return EXIT_USAGE;
}

int open_client(const struct broker_options *options, struct taskclient **ret)
{
	cleanup_with(mq_options_deinit) struct mq_options connection;
	struct error err = { 0 };
	int r;

	mq_options_init(&connection);
	r = read_addresses(options, &connection);
	if (r != 0)
		return r;
	if (mq_properties_set(&connection.connection_name, "taskctl") < 0)
		return EXIT_LOCAL;
	r = taskclient_open(&connection, options->control, ret, &err);
	if (r == 0)
		return 0;
	say("no connection to the broker: %s", err.text);
	if (r == -EACCES)
		say("check user, password and vhost in --broker or TASKCTL_BROKER");
	else if (!options->broker && !getenv("TASKCTL_BROKER"))
		say("tell where it is with --broker URL or TASKCTL_BROKER=URL");
	return EXIT_BROKER;
}
