/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/option_fault.h"
#include "common/parse.h"
#include "common/text.h"
#include "taskctl/settings.h"
#include "taskctl/taskctl.h"

#define OPTIONS_MAX 64

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

/* ---- the command line ---- */

struct table_of_getopt {
	struct option options[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 2];
};

/* Gives what getopt_long knows of @verb. */
static void fill(const struct verb *verb, struct table_of_getopt *ret)
{
	const struct verb_option *o;
	size_t n = 0, len = 0;

	ret->letters[len++] = ':'; /* we say ourselves what is wrong */
	for (; (o = verb_option(verb, n)); n++) {
		assert(n < OPTIONS_MAX);
		ret->options[n] = (struct option){
			.name = o->name,
			.has_arg = o->takes ? required_argument : no_argument,
			.val = o->value,
		};
		if (o->value >= 256)
			continue;
		ret->letters[len++] = (char)o->value;
		if (o->takes)
			ret->letters[len++] = ':';
	}
	ret->options[n] = (struct option){ 0 };
	ret->letters[len] = '\0';
}

static int print_help(const struct verb *verb)
{
	cleanup_with(buf_deinit) struct buf text = { 0 };

	if (verb_help(verb, &text) < 0)
		return EXIT_LOCAL;
	fwrite(text.data, 1, text.len, stdout);
	return EXIT_DONE;
}

static int option_error(const char *verb, int c, const struct option *options, char *const *argv)
{
	char text[256];

	(void)option_fault(c, options, argv, text, sizeof(text));
	return usage_error(verb, "%s", text);
}

int read_options(const struct verb *verb, int argc, char **argv, int (*take)(void *v, int c),
	void *v, struct common_options *ret)
{
	struct settings settings = { 0 };
	struct table_of_getopt known;
	int c, r = GOING_ON;

	fill(verb, &known);
	opterr = 0;
	while (r == GOING_ON &&
		(c = getopt_long(argc, argv, known.letters, known.options, NULL)) != -1) {
		if (c == 'h')
			return print_help(verb);
		if (c == '?' || c == ':')
			return option_error(verb->name, c, known.options, argv);
		if (!settings_take(&settings, c, optarg))
			r = take ? take(v, c) : GOING_ON;
	}
	return r == GOING_ON ? settings_resolve(&settings, verb, ret) : r;
}
