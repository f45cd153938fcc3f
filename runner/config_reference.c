/* SPDX-License-Identifier: Apache-2.0 */
/* The table as text: what a row takes, what it is without being given, and the whole as a YAML file
 * that changes nothing until its "#" are taken away. */

#include "runner/config_internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "common/parse.h"

const char *setting_variable(const struct setting *setting, char *buffer, size_t size)
{
	snprintf(buffer, size, "TASKRUNNER_%s", setting->key);
	for (char *p = buffer; *p; p++)
		*p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
	return buffer;
}

static const char *describe_words(const struct setting *s, char *buffer, size_t size)
{
	size_t len = (size_t)snprintf(buffer, size, "one of");

	for (size_t i = 0; s->words[i] && len < size; i++)
		len += (size_t)snprintf(
			buffer + len, size - len, "%s %s", i ? "," : "", s->words[i]);
	return buffer;
}

static const char *describe_duration(const struct setting *s, char *buffer, size_t size)
{
	bool seconds = s->kind == SETTING_SECONDS;
	uint64_t unit = seconds ? 1000000 : 1;
	char min[32], max[32];

	snprintf(buffer, size, "a duration from %s to %s%s, such as 90s",
		format_duration((uint64_t)s->min * unit, min, sizeof(min)),
		format_duration((uint64_t)s->max * unit, max, sizeof(max)),
		seconds ? " in whole seconds" : "");
	return buffer;
}

static const char *describe_size(const struct setting *s, char *buffer, size_t size)
{
	char min[32], max[32];

	snprintf(buffer, size, "a size from %s to %s, such as 512KiB",
		format_size((uint64_t)s->min, min, sizeof(min)),
		format_size((uint64_t)s->max, max, sizeof(max)));
	return buffer;
}

const char *setting_describe(const struct setting *s, char *buffer, size_t size)
{
	static const char *const fixed[] = {
		[SETTING_SECRET] = "text",
		[SETTING_PATH] = "an absolute path",
		[SETTING_FILE] = "the absolute path of a file",
		[SETTING_BOOL] = "true or false",
		[SETTING_ADDRESSES] = "amqp://host:port, several with commas or as a list",
		[SETTING_DIRECTORIES] = "absolute paths of directories, with colons or as a list",
		[SETTING_ARGV] = "a list of texts",
		[SETTING_ENVIRONMENT] = "a mapping of names to texts",
		[SETTING_LABELS] = "a list of labels",
		[SETTING_LABEL_CAPS] = "label:number, several with commas or as a mapping",
		[SETTING_QUEUES] = "a list of queues",
		[SETTING_PROGRAMS] = "a mapping of names to programs",
	};

	switch (s->kind) {
	case SETTING_TEXT:
		snprintf(buffer, size, "text of %lld to %lld bytes without control characters",
			(long long)s->min, (long long)s->max);
		return buffer;
	case SETTING_NUMBER:
		snprintf(buffer, size, "a whole number from %lld to %lld", (long long)s->min,
			(long long)s->max);
		return buffer;
	case SETTING_SECONDS:
	case SETTING_DURATION:
		return describe_duration(s, buffer, size);
	case SETTING_SIZE:
		return describe_size(s, buffer, size);
	default:
		return s->words ? describe_words(s, buffer, size) : fixed[s->kind];
	}
}

const char *setting_default(const struct setting *setting)
{
	if (setting->shown)
		return setting->shown;
	if (setting->fallback)
		return *setting->fallback ? setting->fallback : "empty";
	return "none";
}

/* Two spaces a level; "#" stands in the first column, so that taking it away leaves YAML. */
static void print_line(FILE *out, unsigned level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void print_line(FILE *out, unsigned level, const char *format, ...)
{
	va_list ap;

	fprintf(out, "#%*s", (int)level * 2, "");
	va_start(ap, format);
	vfprintf(out, format, ap);
	va_end(ap);
	fputc('\n', out);
}

static void print_facts(FILE *out, const struct setting *s, unsigned level)
{
	char description[256], variable[128];

	fprintf(out, "#%*s# %s.\n", (int)level * 2, "", s->meaning);
	fprintf(out, "#%*s# Value: %s. %s%s", (int)level * 2, "",
		setting_describe(s, description, sizeof(description)),
		s->flags & SETTING_REQUIRED ? "" : "Default: ", setting_default(s));
	if (s->terarium)
		fprintf(out, "; with compat: terarium %s", *s->terarium ? s->terarium : "empty");
	fprintf(out, ".\n");
	if (!(s->flags & SETTING_FILE_ONLY))
		fprintf(out, "#%*s# Environment: %s\n", (int)level * 2, "",
			setting_variable(s, variable, sizeof(variable)));
}

/* The value to print: what changes nothing, but for what an entry cannot do without. */
static const char *printed_value(const struct setting *s)
{
	if (s->example)
		return s->example;
	if (s->fallback && !*s->fallback)
		return "\"\"";
	return s->fallback ? s->fallback : "";
}

/* Prints the headings of the sections that @key is in and @previous was not; gives the level. */
static unsigned print_sections(FILE *out, const char *key, const char *previous, unsigned level)
{
	const char *start = key, *dot;

	for (; (dot = strchr(start, '.')); start = dot + 1, level++)
		if (!previous || strncmp(key, previous, (size_t)(dot - key) + 1))
			print_line(out, level, "%.*s:", (int)(dot - start), start);
	return level;
}

static void print_rows(FILE *out, const struct setting_table *table, unsigned level);

static void print_row(FILE *out, const struct setting *s, unsigned level)
{
	const char *name = strrchr(s->key, '.');
	const char *value = printed_value(s);

	print_facts(out, s, level);
	print_line(out, level, "%s:%s%s", name ? name + 1 : s->key, *value ? " " : "", value);
	if (s->kind == SETTING_QUEUES) {
		print_line(out, level + 1, "-");
		print_rows(out, &queue_table, level + 2);
	} else if (s->kind == SETTING_PROGRAMS) {
		print_line(out, level + 1, "render:");
		print_rows(out, &program_table, level + 2);
	}
}

static void print_rows(FILE *out, const struct setting_table *table, unsigned level)
{
	const char *previous = NULL;

	for (size_t i = 0; i < table->n; i++) {
		const struct setting *s = &table->rows[i];

		print_row(out, s, print_sections(out, s->key, previous, level));
		previous = s->key;
	}
}

void config_print_reference(FILE *out)
{
	fprintf(out, "## Every setting of taskrunner with its default. To set one, take the # at "
		     "the start of its\n"
		     "## line away, and of the lines that it stands under. taskrunner "
		     "--check-config --config FILE\n"
		     "## tells whether a file is right. See taskrunner.yaml(5).\n");
	print_rows(out, &config_table, 0);
}
