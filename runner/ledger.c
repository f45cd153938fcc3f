/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

/* Times of 0 are older than all. */
struct ledger_entry {
	UT_hash_handle hh;
	struct ledger_entry *prev, *next; /* in waiting */
	int64_t cancelled_ms;             /* the newest cancel */
	int64_t over_ms;                  /* the newest over */
	int64_t stored_ms;                /* the newest cancel that was read in the stream */
	int64_t written_ms;               /* the newest that we wrote and have not read yet */
	bool over_is_stored;              /* so that nobody needs to write it any more */
	bool tell_over;                   /* it is to be written */
	bool is_waiting;
	bool is_new;
	char id[];
};

void ledger_init(struct ledger *ledger, size_t max, int64_t age_max_ms)
{
	*ledger = (struct ledger){ .max = max, .age_max_ms = age_max_ms };
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool is_live(const struct ledger_entry *entry)
{
	return entry->cancelled_ms > entry->over_ms;
}

static bool is_in_stream(const struct ledger_entry *entry)
{
	return later(entry->stored_ms, entry->written_ms) > entry->over_ms;
}

static void wait(struct ledger *ledger, struct ledger_entry *entry)
{
	if (!entry->is_waiting)
		DL_APPEND(ledger->waiting, entry);
	entry->is_waiting = true;
}

static void stop_waiting(struct ledger *ledger, struct ledger_entry *entry)
{
	if (entry->is_waiting)
		DL_DELETE(ledger->waiting, entry);
	entry->is_waiting = false;
}

static void forget(struct ledger *ledger, struct ledger_entry *entry)
{
	stop_waiting(ledger, entry);
	HASH_DEL(ledger->entries, entry);
	free(entry);
}

void ledger_deinit(struct ledger *ledger)
{
	while (ledger->entries)
		forget(ledger, ledger->entries);
}

/* uthash iterates in the order of insertion, and nothing is said of an id long after it was new. */
void ledger_forget_old(struct ledger *ledger, int64_t now_ms)
{
	for (struct ledger_entry *e; (e = ledger->entries);) {
		if (now_ms - later(e->cancelled_ms, e->over_ms) <= ledger->age_max_ms)
			break;
		forget(ledger, e);
	}
}

static struct ledger_entry *find(const struct ledger *ledger, const char *id)
{
	struct ledger_entry *entry;
	HASH_FIND_STR(ledger->entries, id, entry);
	return entry;
}

/* NULL: no memory. */
static struct ledger_entry *find_or_add(struct ledger *ledger, const char *id)
{
	struct ledger_entry *entry = find(ledger, id);
	size_t len = strlen(id);
	if (entry)
		return entry;
	while (ledger->entries && HASH_COUNT(ledger->entries) >= ledger->max)
		forget(ledger, ledger->entries);
	entry = calloc(1, sizeof(*entry) + len + 1);
	if (!entry)
		return NULL;
	memcpy(entry->id, id, len + 1);
	HASH_ADD_KEYPTR(hh, ledger->entries, entry->id, len, entry);
	return entry;
}

bool ledger_is_live(const struct ledger *ledger, const char *id)
{
	const struct ledger_entry *entry = find(ledger, id);
	return entry && is_live(entry);
}

/* ---- what happens here ---- */

int ledger_heard(struct ledger *ledger, const char *id, int64_t now_ms)
{
	struct ledger_entry *entry = find_or_add(ledger, id);
	if (!entry)
		return -ENOMEM;
	/* What was over before we heard it is older, whatever the clock of him says who wrote so.
	 */
	entry->cancelled_ms = later(entry->cancelled_ms, later(now_ms, entry->over_ms + 1));
	if (!is_in_stream(entry))
		wait(ledger, entry);
	return 0;
}

static void end(struct ledger *ledger, struct ledger_entry *entry, int64_t now_ms)
{
	bool tell = is_in_stream(entry);
	int64_t known = later(entry->cancelled_ms, later(entry->stored_ms, entry->written_ms));
	entry->over_ms = later(entry->over_ms, later(now_ms, known));
	entry->over_is_stored = entry->is_new = false;
	entry->tell_over = entry->tell_over || tell;
	if (entry->tell_over)
		wait(ledger, entry);
}

int ledger_over(struct ledger *ledger, const char *id, int64_t now_ms)
{
	struct ledger_entry *entry = find_or_add(ledger, id);
	if (!entry)
		return -ENOMEM;
	end(ledger, entry, now_ms);
	return 0;
}

void ledger_end(struct ledger *ledger, const char *id, int64_t now_ms)
{
	struct ledger_entry *entry = find(ledger, id);
	if (entry)
		end(ledger, entry, now_ms);
}

/* ---- what is read ---- */

void ledger_begin(struct ledger *ledger)
{
	for (struct ledger_entry *e = ledger->entries; e; e = e->hh.next)
		e->stored_ms = e->written_ms = 0;
}

bool ledger_read_cancel(struct ledger *ledger, const char *id, int64_t time_ms)
{
	struct ledger_entry *entry = find_or_add(ledger, id);
	if (!entry)
		return false;
	bool was_live = is_live(entry);
	entry->stored_ms = later(entry->stored_ms, time_ms);
	entry->cancelled_ms = later(entry->cancelled_ms, time_ms);
	if (time_ms <= entry->over_ms && !entry->over_is_stored) {
		/* Others do not know yet what became of it. */
		entry->tell_over = true;
		wait(ledger, entry);
	}
	entry->is_new = entry->is_new || (is_live(entry) && !was_live);
	return is_live(entry) && !was_live;
}

bool ledger_read_over(struct ledger *ledger, const char *id, int64_t time_ms)
{
	struct ledger_entry *entry = find_or_add(ledger, id);
	if (!entry)
		return false;
	bool was_live = is_live(entry);
	if (time_ms >= entry->over_ms) {
		entry->over_ms = time_ms;
		entry->over_is_stored = true;
		entry->tell_over = false;
	}
	if (is_live(entry)) {
		/* It is said of an older cancel; ours may not have been written because of that. */
		if (!is_in_stream(entry))
			wait(ledger, entry);
		return false;
	}
	entry->is_new = false;
	return was_live;
}

void ledger_compare(struct ledger *ledger)
{
	for (struct ledger_entry *e = ledger->entries; e; e = e->hh.next)
		if (is_live(e) && !is_in_stream(e))
			wait(ledger, e);
}

void ledger_visit_new(
	struct ledger *ledger, void (*tell)(const char *id, void *userdata), void *userdata)
{
	for (struct ledger_entry *e = ledger->entries; e; e = e->hh.next) {
		if (!e->is_new)
			continue;
		e->is_new = false;
		tell(e->id, userdata);
	}
}

/* ---- what is to be written ---- */

bool ledger_next(struct ledger *ledger, struct note *ret)
{
	for (struct ledger_entry *e; (e = ledger->waiting);) {
		if (e->tell_over) {
			e->tell_over = false;
			e->over_is_stored = true;
			*ret = (struct note){ NOTE_OVER, e->id, e->over_ms, NULL };
			return true;
		}
		stop_waiting(ledger, e);
		if (is_live(e) && !is_in_stream(e)) {
			e->written_ms = e->cancelled_ms;
			*ret = (struct note){ NOTE_CANCEL, e->id, e->cancelled_ms, NULL };
			return true;
		}
	}
	return false;
}
