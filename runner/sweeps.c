/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/sweeps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SWEEPS_MAX 1000
/* All runners hear the same sweep, each by its own clock. */
#define SAME_MS 5000

struct sweep {
	struct sweep *prev, *next;
	struct control_selector of; /* owned; runner and all say nothing here */
	int64_t time_ms, until_ms;
	bool is_noted;
};

static void forget(struct sweeps *sweeps, struct sweep *sweep)
{
	DL_DELETE(sweeps->list, sweep);
	sweeps->n--;
	free(sweep->of.group);
	free(sweep->of.program);
	free(sweep->of.user);
	free(sweep->of.project);
	free(sweep);
}

void sweeps_deinit(struct sweeps *sweeps)
{
	while (sweeps->list)
		forget(sweeps, sweeps->list);
}

void sweeps_forget_old(struct sweeps *sweeps, int64_t now_ms)
{
	struct sweep *sweep, *next;

	DL_FOREACH_SAFE (sweeps->list, sweep, next)
		if (now_ms > sweep->until_ms)
			forget(sweeps, sweep);
}

/* ---- what is known ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct sweep *find(const struct sweeps *sweeps, const struct control_selector *of)
{
	struct sweep *sweep;

	DL_FOREACH (sweeps->list, sweep)
		if (same_text(sweep->of.group, of->group) &&
			same_text(sweep->of.program, of->program) &&
			same_text(sweep->of.user, of->user) &&
			same_text(sweep->of.project, of->project))
			return sweep;
	return NULL;
}

static bool copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return *to || !from;
}

static struct sweep *add(struct sweeps *sweeps, const struct control_selector *of)
{
	struct sweep *sweep = calloc(1, sizeof(*sweep));

	if (!sweep)
		return NULL;
	DL_APPEND(sweeps->list, sweep);
	sweeps->n++;
	if (!copy_text(&sweep->of.group, of->group) ||
		!copy_text(&sweep->of.program, of->program) ||
		!copy_text(&sweep->of.user, of->user) ||
		!copy_text(&sweep->of.project, of->project)) {
		forget(sweeps, sweep);
		return NULL;
	}
	if (sweeps->n > SWEEPS_MAX)
		forget(sweeps, sweeps->list);
	return sweep;
}

int sweeps_heard(
	struct sweeps *sweeps, const struct control_selector *of, int64_t now_ms, int64_t until_ms)
{
	struct sweep *sweep = find(sweeps, of);

	/* Said again, as long as nobody answers. */
	if (sweep && now_ms - sweep->time_ms < SAME_MS && until_ms - sweep->until_ms < SAME_MS)
		return 0;
	if (!sweep)
		sweep = add(sweeps, of);
	if (!sweep)
		return -ENOMEM;
	sweep->time_ms = now_ms;
	sweep->until_ms = until_ms;
	sweep->is_noted = false;
	return 0;
}

static bool is_same(const struct sweep *sweep, const struct note *note)
{
	return llabs(sweep->time_ms - note->time_ms) < SAME_MS &&
	       llabs(sweep->until_ms - note->until_ms) < SAME_MS;
}

int sweeps_read(struct sweeps *sweeps, const struct note *note)
{
	struct sweep *sweep = find(sweeps, &note->of);

	if (sweep && is_same(sweep, note)) {
		sweep->is_noted = true;
		return 0;
	}
	if (sweep && note->time_ms < sweep->time_ms)
		return 0;
	if (!sweep)
		sweep = add(sweeps, &note->of);
	if (!sweep)
		return -ENOMEM;
	sweep->time_ms = note->time_ms;
	sweep->until_ms = note->until_ms;
	sweep->is_noted = true;
	return 1;
}

/* ---- what is to be noted ---- */

void sweeps_begin(struct sweeps *sweeps)
{
	struct sweep *sweep;

	DL_FOREACH (sweeps->list, sweep)
		sweep->is_noted = false;
}

static struct sweep *first_news(const struct sweeps *sweeps)
{
	struct sweep *sweep;

	DL_FOREACH (sweeps->list, sweep)
		if (!sweep->is_noted)
			break;
	return sweep;
}

bool sweeps_have_news(const struct sweeps *sweeps)
{
	return first_news(sweeps);
}

bool sweeps_next(struct sweeps *sweeps, struct note *ret)
{
	struct sweep *sweep = first_news(sweeps);

	if (!sweep)
		return false;
	sweep->is_noted = true;
	*ret = (struct note){
		.op = NOTE_SWEEP,
		.of = sweep->of,
		.time_ms = sweep->time_ms,
		.until_ms = sweep->until_ms,
	};
	return true;
}

/* ---- what they are for ---- */

static bool fits(const char *wanted, const char *is)
{
	return !wanted || (is && strcmp(wanted, is) == 0);
}

bool sweeps_selects(const struct control_selector *selector, const struct request *request)
{
	return fits(selector->program, request->script) && fits(selector->group, request->group) &&
	       fits(selector->user, request->user_id) &&
	       fits(selector->project, request->project_id);
}

bool sweeps_fit(
	const struct sweeps *sweeps, const struct request *request, int64_t sent_ms, int64_t now_ms)
{
	struct sweep *sweep;

	DL_FOREACH (sweeps->list, sweep)
		if (now_ms <= sweep->until_ms && sent_ms <= sweep->time_ms &&
			sweeps_selects(&sweep->of, request))
			return true;
	return false;
}
