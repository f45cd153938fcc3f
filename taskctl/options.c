/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/parse.h"
#include "common/text.h"
#include "taskctl/taskctl.h"

static void say_args(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

static void say_args(const char *format, va_list args)
{
	char text[2048];
	struct buf line = { 0 };

	vsnprintf(text, sizeof(text), format, args);
	(void)buf_append_text(&line, "taskctl: ");
	(void)text_append_clean(
		&line, slice_of(text), sizeof(text)); /* brokers and runners speak here */
	(void)buf_append_text(&line, "\n");
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

/* What follows '=' is not shown: it may be a secret. */
int option_error(const char *verb, int c, const struct option *options, char *const *argv)
{
	const struct option *known = find_option(options, optopt);
	const char *word = argv[optind - 1];
	int len = (int)strcspn(word, "=");

	if (c == ':')
		return usage_error(verb, "--%s needs a value", known ? known->name : "?");
	if (known)
		return usage_error(verb, "--%s takes no value", known->name);
	if (optopt)
		return usage_error(verb, "there is no option -%c", optopt);
	if (len > 2 && is_short_for_several(options, word + 2, (size_t)len - 2))
		return usage_error(verb, "%.*s is short for several options", len, word);
	return usage_error(verb, "there is no option %.*s", len, word);
}

bool take_broker_option(struct broker_options *options, int c)
{
	switch (c) {
	case 'b':
		options->broker = optarg;
		return true;
	case OPTION_BROKER_FILE:
		options->broker_file = optarg;
		return true;
	case OPTION_PASSWORD_FILE:
		options->password_file = optarg;
		return true;
	case OPTION_CONTROL:
		options->control = optarg;
		return true;
	default:
		return false;
	}
}
