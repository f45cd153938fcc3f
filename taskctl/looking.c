/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/looking.h"

#include <string.h>

#define N(array)       (sizeof(array) / sizeof(*(array)))

#define MORE           7 /* and above: what is seen on wide terminals, or with --wide */

#define AMPLE(columns) .ample = (columns), .ample_above = MORE - 1

/* Ids are to be copied: a UUID is whole before more columns are seen. Where even those that
 * everybody wants have no room, their ends are left. */
const struct column looking_all_columns[LOOKING_ALL_COLUMNS] = {
	[LOOKING_ID] = { "ID", "id", COLUMN_TEXT, .min = 12, AMPLE(36), .ends = true },
	[LOOKING_PROGRAM] = { "PROGRAM", "program", COLUMN_TEXT, .drop = 1, .min = 8, AMPLE(12) },
	[LOOKING_STATE] = { "STATE", "state", COLUMN_STATE, .min = 8, AMPLE(16),
		.aside = LOOKING_WAITS_FOR },
	[LOOKING_PROGRESS] = { "PROGRESS", "progress", COLUMN_FRACTION, .drop = 2, .min = 4 },
	[LOOKING_AGE] = { "AGE", "age_ms", COLUMN_AGE, .drop = 3 },
	[LOOKING_CPU] = { "CPU", "cpu_ms", COLUMN_DURATION, .drop = 4 },
	[LOOKING_MEMORY] = { "MEMORY", "memory", COLUMN_BYTES, .drop = 5 },
	[LOOKING_RUNNER] = { "RUNNER", "runner", COLUMN_TEXT, .drop = 6, .min = 8, AMPLE(16) },
	[LOOKING_MESSAGE] = { "MESSAGE", "message", COLUMN_TEXT, .drop = 10, .min = 20 },
	[LOOKING_RUNNING] = { "RUNNING", "running_ms", COLUMN_DURATION, .drop = 11 },
	[LOOKING_WAITED] = { "WAITED", "waited_ms", COLUMN_DURATION, .drop = 19 },
	[LOOKING_PEAK] = { "PEAK", "peak_memory", COLUMN_BYTES, .drop = 20 },
	[LOOKING_GROUP] = { "GROUP", "group", COLUMN_TEXT, .drop = MORE, .min = 12 },
	[LOOKING_USER] = { "USER", "user", COLUMN_TEXT, .drop = 8, .min = 10 },
	[LOOKING_PROJECT] = { "PROJECT", "project", COLUMN_TEXT, .drop = 9, .min = 10 },
	[LOOKING_LABELS] = { "LABELS", "labels", COLUMN_TEXT, .drop = 12, .min = 10 },
	[LOOKING_QUEUE] = { "QUEUE", "queue", COLUMN_TEXT, .drop = 13, .min = 16 },
	[LOOKING_ATTEMPT] = { "ATTEMPT", "attempt", COLUMN_COUNT, .drop = 14 },
	[LOOKING_PRIORITY] = { "PRIORITY", "priority", COLUMN_COUNT, .drop = 15 },
	[LOOKING_DEPTH] = { "DEPTH", "depth", COLUMN_COUNT, .drop = 16 },
	[LOOKING_PID] = { "PID", "pid", COLUMN_COUNT, .drop = 17 },
	[LOOKING_INSTANCE] = { "INSTANCE", "instance", COLUMN_TEXT, .drop = 18, .min = 16 },
	[LOOKING_WAITS_FOR] = { NULL, "waits_for", COLUMN_TEXT },
	[LOOKING_STDOUT] = { NULL, "stdout", COLUMN_TEXT },
	[LOOKING_STDERR] = { NULL, "stderr", COLUMN_TEXT },
};

void looking_columns(bool is_wide, struct column ret[LOOKING_COLUMNS])
{
	memcpy(ret, looking_all_columns, LOOKING_COLUMNS * sizeof(*ret));
	for (size_t i = LOOKING_RUNNER + 1; i < LOOKING_COLUMNS && !is_wide; i++)
		ret[i].title = NULL;
}

void looking_keep(enum looking_column column, struct column columns[LOOKING_COLUMNS])
{
	columns[column].title = looking_all_columns[column].title;
	columns[column].drop = 0;
}

bool looking_has(const struct taskclient_answer *answer, const char *member)
{
	static const char *const of_runs[] = { "running_ms", "cpu_ms" };
	const char *state = taskclient_answer_text(answer, "state");

	if (!taskclient_answer_text(answer, member))
		return false;
	if (!looking_fits_state("waiting,held", state))
		return true;
	for (size_t i = 0; i < N(of_runs); i++)
		if (strcmp(member, of_runs[i]) == 0)
			return false;
	return true;
}

static void put(struct table *table, const struct column *columns, size_t i,
	const struct taskclient_answer *answer)
{
	const char *member = columns[i].member;
	int64_t number;
	double real;

	if (!looking_has(answer, member))
		return;
	switch (columns[i].kind) {
	case COLUMN_TEXT:
	case COLUMN_STATE:
		table_put_text(table, i, taskclient_answer_text(answer, member));
		break;
	case COLUMN_FRACTION:
	case COLUMN_NUMBER:
		if (taskclient_answer_number(answer, member, &real))
			table_put_real(table, i, real);
		break;
	default:
		if (taskclient_answer_int(answer, member, &number))
			table_put_number(table, i, number);
	}
}

void looking_put(struct table *table, const struct column *columns, size_t n,
	const struct taskclient_answer *answer)
{
	table_row(table);
	for (size_t i = 0; i < n; i++)
		put(table, columns, i, answer);
}

enum looking_column looking_by_word(const char *word)
{
	static const struct {
		const char *word;
		enum looking_column column;
	} words[] = {
		{ "id", LOOKING_ID },
		{ "program", LOOKING_PROGRAM },
		{ "state", LOOKING_STATE },
		{ "progress", LOOKING_PROGRESS },
		{ "age", LOOKING_AGE },
		{ "cpu", LOOKING_CPU },
		{ "memory", LOOKING_MEMORY },
		{ "runner", LOOKING_RUNNER },
		{ "group", LOOKING_GROUP },
		{ "user", LOOKING_USER },
		{ "running", LOOKING_RUNNING },
	};

	for (size_t i = 0; i < N(words); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].column;
	return LOOKING_COLUMNS;
}

bool looking_fits_state(const char *list, const char *state)
{
	size_t len = state ? strlen(state) : 0;

	if (!list)
		return true;
	for (const char *at = list; len > 0; at += strcspn(at, ",") + 1) {
		if (strncmp(at, state, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
		if (at[strcspn(at, ",")] == '\0')
			break;
	}
	return false;
}
