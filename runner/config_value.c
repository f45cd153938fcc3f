/* SPDX-License-Identifier: Apache-2.0 */
/* One text -> one typed field, by its row in the table; and the faults that a value can have. */

#include "runner/config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/text.h"

#define PATH_BYTES_MAX  4095
#define SHOWN_BYTES_MAX 64

int config_fault(const struct place *at, const char *format, ...)
{
	struct error *err = at->source->err;
	char sentence[sizeof(err->text)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	if (at->line)
		return error_set(err, -EINVAL, "%s:%u: %s: %s", at->source->name, at->line, at->key,
			sentence);
	return error_set(err, -EINVAL, "environment: %s: %s", at->key, sentence);
}

int config_expected(const struct place *at, const char *format, ...)
{
	cleanup_with(buf_deinit) struct buf shown = { 0 };
	char expected[384];
	va_list ap;

	va_start(ap, format);
	vsnprintf(expected, sizeof(expected), format, ap);
	va_end(ap);
	if (!at->shown.data || text_append_quoted(&shown, at->shown, SHOWN_BYTES_MAX) < 0)
		return config_fault(at, "expected %s", expected);
	return config_fault(at, "expected %s, not %.*s", expected, (int)shown.len, shown.data);
}

int config_no_memory(const struct place *at)
{
	return error_set(at->source->err, -ENOMEM, "%s: out of memory", at->source->name);
}

static int expected_kind(const struct setting *s, const struct place *at)
{
	char description[256];

	return config_expected(at, "%s", setting_describe(s, description, sizeof(description)));
}

int setting_check_text(const char *text, size_t len, const struct place *at)
{
	struct slice slice = { .data = text, .len = len };

	if (memchr(text, '\0', len))
		return config_fault(at, "expected text without NUL bytes");
	if (!text_is_utf8(slice))
		return config_fault(at, "expected text in UTF-8");
	return 0;
}

static bool has_control_characters(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	return false;
}

static int set_text(char **field, const char *text, const struct place *at)
{
	char *copy = strdup(text);

	if (!copy)
		return config_no_memory(at);
	free(*field);
	*field = copy;
	return 0;
}

static int store_text(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	size_t len = strlen(text);

	if (len < (size_t)s->min || len > (size_t)s->max || has_control_characters(text))
		return expected_kind(s, at);
	return set_text(field, text, at);
}

static int store_secret(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	(void)s;
	return set_text(field, text, at);
}

static int store_path(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	if (*text != '/' || strlen(text) > PATH_BYTES_MAX || has_control_characters(text))
		return expected_kind(s, at);
	return set_text(field, text, at);
}

static int store_file(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	struct stat st;

	if (*text != '/')
		return expected_kind(s, at);
	if (stat(text, &st) < 0 || access(text, R_OK) < 0)
		return config_expected(at, "a file that can be read (%s)", log_errno_text(errno));
	if (!S_ISREG(st.st_mode))
		return config_expected(at, "a regular file");
	return store_path(s, field, text, at);
}

static int word_index(const struct setting *s, const char *text)
{
	for (int i = 0; s->words[i]; i++)
		if (!strcmp(s->words[i], text))
			return i;
	return -EINVAL;
}

static int store_bool(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	bool value = false;
	int r = s->words ? word_index(s, text) : parse_bool(text, &value);

	if (r < 0)
		return expected_kind(s, at);
	*(bool *)field = value || r > 0;
	return 0;
}

static int store_word(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	int r = word_index(s, text);

	if (r < 0)
		return expected_kind(s, at);
	*(unsigned *)field = (unsigned)r;
	return 0;
}

static int store_word_text(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	if (word_index(s, text) < 0)
		return expected_kind(s, at);
	return set_text(field, text, at);
}

static int store_number(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	int64_t value;

	if (parse_int(text, s->min, s->max, &value) < 0)
		return expected_kind(s, at);
	*(unsigned *)field = (unsigned)value;
	return 0;
}

static int store_seconds(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	uint64_t us;

	if (parse_duration(text, &us) < 0 || us % 1000000 || us / 1000000 < (uint64_t)s->min ||
		us / 1000000 > (uint64_t)s->max)
		return expected_kind(s, at);
	*(unsigned *)field = (unsigned)(us / 1000000);
	return 0;
}

static int store_duration(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	uint64_t us;

	if (parse_duration(text, &us) < 0 || us < (uint64_t)s->min || us > (uint64_t)s->max)
		return expected_kind(s, at);
	*(uint64_t *)field = us;
	return 0;
}

static int store_size(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	uint64_t bytes;

	if (parse_size(text, &bytes) < 0 || bytes < (uint64_t)s->min || bytes > (uint64_t)s->max)
		return expected_kind(s, at);
	*(size_t *)field = (size_t)bytes;
	return 0;
}

/* An address may hold a password, hence only what mq says of it is told. */
static int store_addresses(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	struct error err = { 0 };
	int r = mq_options_add_addresses(field, text, &err);

	(void)s;
	if (r == -ENOMEM)
		return config_no_memory(at);
	return r < 0 ? config_fault(at, "%s", err.text) : 0;
}

int strings_add(char ***list, char *item)
{
	size_t n = 0;
	char **grown;

	while (*list && (*list)[n])
		n++;
	grown = item ? reallocarray(*list, n + 2, sizeof(char *)) : NULL;
	if (!grown) {
		free(item);
		return -ENOMEM;
	}
	grown[n] = item;
	grown[n + 1] = NULL;
	*list = grown;
	return 0;
}

char **strings_free(char **list)
{
	for (char **item = list; item && *item; item++)
		free(*item);
	free(list);
	return NULL;
}

static int add_directory(char ***list, const char *path, const struct place *at)
{
	struct stat st;

	if (*path != '/' || strlen(path) > PATH_BYTES_MAX)
		return config_expected(at, "absolute paths of directories");
	if (stat(path, &st) < 0)
		return config_expected(at, "a directory that is there (%s)", log_errno_text(errno));
	if (!S_ISDIR(st.st_mode))
		return config_expected(at, "a directory");
	return strings_add(list, strdup(path)) < 0 ? config_no_memory(at) : 0;
}

static int store_directories(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	cleanup_free char *copy = strdup(text);
	char *rest = copy, *path;
	int r = 0;

	(void)s;
	if (!copy)
		return config_no_memory(at);
	while (r == 0 && (path = strsep(&rest, ":")))
		r = add_directory(field, path, at);
	return r;
}

int label_check(const char *name, const struct place *at)
{
	return text_is_label(name)
		       ? 0
		       : config_expected(at, "as a label 1 to 64 letters, digits, _ . : or -");
}

int label_caps_add(const struct setting *s, struct label_caps *caps, const char *name,
	const char *text, const struct place *at)
{
	struct label_cap *grown;
	int64_t max;

	if (parse_int(text, s->min, s->max, &max) < 0)
		return config_expected(at, "a whole number from %lld to %lld", (long long)s->min,
			(long long)s->max);
	for (size_t i = 0; i < caps->n; i++)
		if (!strcmp(caps->caps[i].name, name))
			return config_expected(at, "each label once");
	if (caps->n == LABEL_CAPS_MAX)
		return config_fault(at, "more than %d labels", LABEL_CAPS_MAX);
	grown = reallocarray(caps->caps, caps->n + 1, sizeof(*grown));
	if (!grown)
		return config_no_memory(at);
	caps->caps = grown;
	grown[caps->n] = (struct label_cap){ strdup(name), (unsigned)max };
	return grown[caps->n++].name ? 0 : config_no_memory(at);
}

/* A label may hold colons itself. */
static int store_label_caps(
	const struct setting *s, void *field, const char *text, const struct place *at)
{
	cleanup_free char *copy = strdup(text);
	char *rest = copy, *name;
	int r = 0;

	if (!copy)
		return config_no_memory(at);
	while (r == 0 && (name = strsep(&rest, ","))) {
		char *number = strrchr(name, ':');

		if (!number)
			return expected_kind(s, at);
		*number++ = '\0';
		r = label_check(name, at);
		if (r == 0)
			r = label_caps_add(s, field, name, number, at);
	}
	return r;
}

/* What can be stored from one text; the others are read by config_tree.c. */
typedef int (*store_fn)(
	const struct setting *s, void *field, const char *text, const struct place *at);

static const store_fn stores[] = {
	[SETTING_TEXT] = store_text,
	[SETTING_SECRET] = store_secret,
	[SETTING_PATH] = store_path,
	[SETTING_FILE] = store_file,
	[SETTING_BOOL] = store_bool,
	[SETTING_NUMBER] = store_number,
	[SETTING_SECONDS] = store_seconds,
	[SETTING_DURATION] = store_duration,
	[SETTING_SIZE] = store_size,
	[SETTING_WORD] = store_word,
	[SETTING_WORD_TEXT] = store_word_text,
	[SETTING_ADDRESSES] = store_addresses,
	[SETTING_DIRECTORIES] = store_directories,
	[SETTING_LABEL_CAPS] = store_label_caps,
};

int setting_store(
	const struct setting *setting, void *base, const char *text, const struct place *at)
{
	return stores[setting->kind](setting, (char *)base + setting->offset, text, at);
}

static void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void free_label_caps(struct label_caps *caps)
{
	for (size_t i = 0; i < caps->n; i++)
		free(caps->caps[i].name);
	free(caps->caps);
	*caps = (struct label_caps){ 0 };
}

void setting_release_all(const struct setting_table *table, void *base)
{
	for (size_t i = 0; i < table->n; i++) {
		void *field = (char *)base + table->rows[i].offset;

		switch (table->rows[i].kind) {
		case SETTING_SECRET:
			free_secret(steal_ptr(*(char **)field));
			break;
		case SETTING_TEXT:
		case SETTING_PATH:
		case SETTING_FILE:
		case SETTING_WORD_TEXT:
			free(steal_ptr(*(char **)field));
			break;
		case SETTING_DIRECTORIES:
		case SETTING_ARGV:
		case SETTING_ENVIRONMENT:
		case SETTING_LABELS:
			*(char ***)field = strings_free(*(char ***)field);
			break;
		case SETTING_LABEL_CAPS:
			free_label_caps(field);
			break;
		default:
			break;
		}
	}
}
