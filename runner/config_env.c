/* SPDX-License-Identifier: Apache-2.0 */
/* TASKRUNNER_* -> struct config, by the table. Values are taken as they are, without ${…}. */

#include "runner/config_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define PREFIX "TASKRUNNER_"

static const struct setting *find_variable(const char *name)
{
	char variable[128];

	for (size_t i = 0; i < config_table.n; i++)
		if (!(config_table.rows[i].flags & SETTING_FILE_ONLY) &&
			!strcmp(setting_variable(&config_table.rows[i], variable, sizeof(variable)),
				name))
			return &config_table.rows[i];
	return NULL;
}

/* "name" or "name:slots"; a name may hold colons itself if slots follow. */
static int add_queue(struct reader *reader, char *text, const struct place *at)
{
	const struct origin origins[SETTING_ROWS_MAX] = { 0 };
	struct queue_config queue = { 0 };
	char *slots = strrchr(text, ':');
	int r;

	if (slots)
		*slots++ = '\0';
	r = config_defaults(&queue_table, &queue, origins, false, &reader->source);
	if (r == 0)
		r = setting_store(setting_find(&queue_table, "name"), &queue, text, at);
	if (r == 0 && slots)
		r = setting_store(setting_find(&queue_table, "slots"), &queue, slots, at);
	if (r == 0)
		r = config_add_queue(reader->config, &queue, at);
	setting_release_all(&queue_table, &queue);
	return r;
}

static int store_queues(struct reader *reader, const char *text, const struct place *at)
{
	cleanup_free char *copy = strdup(text);
	char *rest = copy, *item;
	int r = 0;

	if (!copy)
		return config_no_memory(at);
	while (r == 0 && (item = strsep(&rest, ",")))
		r = add_queue(reader, item, at);
	return r;
}

static int read_variable(struct reader *reader, const char *name, const char *value)
{
	const struct setting *s = find_variable(name);
	struct place at = { .source = &reader->source, .key = name };
	struct origin *origin;
	int r;

	if (!s)
		return config_fault(&at, "names no setting; see taskrunner.yaml(5)");
	if (!*value && !(s->flags & SETTING_MAY_BE_EMPTY))
		return 0;
	origin = &reader->origins[s - config_table.rows];
	if (origin->from)
		return config_fault(&at, "is there twice");
	r = setting_check_text(value, strlen(value), &at);
	if (r < 0)
		return r;
	if (s->kind != SETTING_SECRET && s->kind != SETTING_ADDRESSES)
		at.shown = slice_of(value);
	r = s->kind == SETTING_QUEUES ? store_queues(reader, value, &at)
				      : setting_store(s, reader->config, value, &at);
	if (r == 0)
		origin->from = FROM_ENVIRONMENT;
	return r;
}

/* Of test builds alone; see common/crash.h. */
static bool is_crash_point(const char *name)
{
#ifdef TASKRUNNER_CRASH_POINTS
	return !strcmp(name, PREFIX "CRASH_AT");
#else
	(void)name;
	return false;
#endif
}

int config_read_environment(struct reader *reader)
{
	for (char *const *e = reader->source.environment; e && *e; e++) {
		size_t len = strcspn(*e, "=");
		char name[128];
		int r;

		if (strncmp(*e, PREFIX, strlen(PREFIX)) || !(*e)[len])
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(len < 127 ? len : 127), *e);
		if (!strcmp(name, PREFIX "DEBUG") || is_crash_point(name))
			continue;
		r = read_variable(reader, name, *e + len + 1);
		if (r < 0)
			return r;
	}
	return 0;
}
