/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/task_event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "common/text.h"
#include "wire/fields.h"
#include "wire/json.h"
#include "wire/object.h"

/* More digits than any number of ours has. */
#define DIGITS_MAX 20

static const char *const kind_names[EVENT_KINDS] = {
	[EVENT_WAITING] = "waiting",
	[EVENT_HELD] = "held",
	[EVENT_PLAYED] = "played",
	[EVENT_STARTED] = "started",
	[EVENT_PAUSED] = "paused",
	[EVENT_RESUMED] = "resumed",
	[EVENT_ENDING] = "ending",
	[EVENT_SUCCEEDED] = "succeeded",
	[EVENT_FAILED] = "failed",
	[EVENT_CANCELLED] = "cancelled",
	[EVENT_RETURNED] = "returned",
	[EVENT_READY] = "ready",
	[EVENT_DRAINING] = "draining",
	[EVENT_STOPPED] = "stopped",
};

const char *event_kind_name(enum event_kind kind)
{
	return kind_names[kind];
}

int event_kind_parse(struct slice name, enum event_kind *ret)
{
	for (int i = 0; i < EVENT_KINDS; i++) {
		if (slice_equal(name, kind_names[i])) {
			*ret = (enum event_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool event_kind_is_of_runner(enum event_kind kind)
{
	return kind >= EVENT_READY;
}

bool event_kind_is_final(enum event_kind kind)
{
	return kind == EVENT_SUCCEEDED || kind == EVENT_FAILED || kind == EVENT_CANCELLED;
}

void task_event_init(struct task_event_facts *facts, enum event_kind kind)
{
	*facts = (struct task_event_facts){
		.kind = kind,
		.attempt = EVENT_UNKNOWN,
		.time_ms = EVENT_UNKNOWN,
		.waited_ms = EVENT_UNKNOWN,
		.wall_ms = EVENT_UNKNOWN,
		.cpu_ms = EVENT_UNKNOWN,
		.peak_memory = EVENT_UNKNOWN,
		.exit_code = EVENT_UNKNOWN,
		.signal = EVENT_UNKNOWN,
	};
}

/* ---- the members, in the order in which they are written ---- */

struct text_member {
	const char *name;
	size_t offset;
};

#define AT(member) #member, offsetof(struct task_event_facts, member)

static const struct text_member texts[] = {
	{ AT(id) },
	{ AT(program) },
	{ AT(group) },
	{ AT(user) },
	{ AT(project) },
	{ AT(queue) },
	{ AT(runner) },
	{ AT(instance) },
};

static const struct number_member {
	const char *name;
	size_t offset;
	int64_t max;
} numbers[] = {
	{ AT(attempt), INT32_MAX },
	{ "time", offsetof(struct task_event_facts, time_ms), INT64_MAX },
	{ AT(waited_ms), INT64_MAX },
	{ AT(wall_ms), INT64_MAX },
	{ AT(cpu_ms), INT64_MAX },
	{ AT(peak_memory), INT64_MAX },
	{ AT(exit_code), INT32_MAX },
	{ AT(signal), INT32_MAX },
};

#undef AT
#define N(list) (sizeof(list) / sizeof(*(list)))

static char **text_at(const struct task_event_facts *facts, const struct text_member *m)
{
	return (char **)((char *)facts + m->offset);
}

static int64_t *number_at(const struct task_event_facts *facts, const struct number_member *m)
{
	return (int64_t *)((char *)facts + m->offset);
}

/* ---- writing ---- */

static int write_text(struct buf *out, const char *name, const char *text)
{
	int r = buf_printf(out, ",\"%s\":", name);

	return r < 0 ? r : json_quote(out, slice_of(text));
}

static int write_members(const struct task_event_facts *facts, struct buf *out)
{
	int r = buf_printf(out, "{\"event\":\"%s\"", kind_names[facts->kind]);

	for (size_t i = 0; i < N(texts) && r == 0; i++)
		if (*text_at(facts, &texts[i]))
			r = write_text(out, texts[i].name, *text_at(facts, &texts[i]));
	if (r == 0 && facts->cause)
		r = write_text(out, "cause", cause_name(facts->cause));
	for (size_t i = 0; i < N(numbers) && r == 0; i++)
		if (*number_at(facts, &numbers[i]) >= 0)
			r = buf_printf(out, ",\"%s\":%lld", numbers[i].name,
				(long long)*number_at(facts, &numbers[i]));
	return r < 0 ? r : buf_append_text(out, "}");
}

int task_event_encode(const struct task_event_facts *facts, struct buf *ret)
{
	size_t before = ret->len;
	int r = write_members(facts, ret);

	if (r < 0)
		ret->len = before;
	return r;
}

/* ---- reading ---- */

/* Digits alone: no sign, fraction or exponent. */
static int read_number(
	const struct member *m, const struct number_member *as, int64_t *ret, struct error *err)
{
	char digits[DIGITS_MAX + 1];
	int r = m->value.len <= DIGITS_MAX ? 0 : -EINVAL;

	if (r == 0) {
		memcpy(digits, m->value.data, m->value.len);
		digits[m->value.len] = '\0';
		r = strspn(digits, "0123456789") == m->value.len
			    ? parse_int(digits, 0, as->max, ret)
			    : -EINVAL;
	}
	return r < 0 ? error_set(err, -EINVAL, "%s is not a whole number from 0 to %lld", as->name,
			       (long long)as->max)
		     : 0;
}

static int read_kind(const struct member *m, enum event_kind *ret, struct error *err)
{
	char *name = NULL;
	int r = member_text(m, &name, err);

	if (r == 0 && event_kind_parse(slice_of(name), ret) < 0)
		r = error_set(err, -EINVAL, "there is no event of this name");
	free(name);
	return r;
}

static int read_cause(const struct member *m, enum cause *ret, struct error *err)
{
	char *name = NULL;
	int r = member_text(m, &name, err);

	if (r == 0 && (cause_parse(slice_of(name), ret) < 0 || *ret == CAUSE_NONE))
		r = error_set(err, -EINVAL, "there is no cause of this name");
	free(name);
	return r;
}

static int read_member(
	const struct member *m, struct task_event_facts *ret, bool *has_kind, struct error *err)
{
	if (member_is_null(m))
		return 0;
	if (member_is(m, "event")) {
		*has_kind = true;
		return read_kind(m, &ret->kind, err);
	}
	if (member_is(m, "cause"))
		return read_cause(m, &ret->cause, err);
	for (size_t i = 0; i < N(texts); i++)
		if (member_is(m, texts[i].name))
			return member_text(m, text_at(ret, &texts[i]), err);
	for (size_t i = 0; i < N(numbers); i++)
		if (member_is(m, numbers[i].name))
			return read_number(m, &numbers[i], number_at(ret, &numbers[i]), err);
	return 0;
}

static int check(const struct task_event_facts *facts, bool has_kind, struct error *err)
{
	if (!has_kind)
		return error_set(err, -EINVAL, "event is missing");
	if (facts->time_ms < 0)
		return error_set(err, -EINVAL, "time is missing");
	if (!facts->runner || !facts->runner[0])
		return error_set(err, -EINVAL, "runner is missing");
	if (!event_kind_is_of_runner(facts->kind))
		return fields_check_id(facts->id, err);
	return facts->id ? error_set(err, -EINVAL, "an event of a runner has no id") : 0;
}

int task_event_decode(struct slice body, struct task_event_facts *ret, struct error *err)
{
	struct object o;
	struct member m;
	bool has_kind = false;
	int r;

	task_event_init(ret, EVENT_WAITING);
	object_start(&o, WIRE_JSON, body, 0);
	while ((r = object_next(&o, &m, err)) == OBJECT_MEMBER) {
		r = read_member(&m, ret, &has_kind, err);
		if (r < 0)
			break;
	}
	object_deinit(&o);
	if (r != OBJECT_END)
		return r < 0 ? r : -EINVAL;
	return check(ret, has_kind, err);
}

void task_event_deinit(struct task_event_facts *facts)
{
	for (size_t i = 0; i < N(texts); i++)
		free(*text_at(facts, &texts[i]));
	task_event_init(facts, EVENT_WAITING);
}

/* ---- routing keys ---- */

/* Those of topic exchanges are words between dots; '*' and '#' mean something in patterns. */
static bool is_plain(unsigned char c)
{
	return c > ' ' && c != 0x7f && !strchr(".*#/\\:", c);
}

void task_event_key(enum event_kind kind, const char *name, char ret[TASK_EVENT_KEY_SIZE])
{
	int n = snprintf(ret, TASK_EVENT_KEY_SIZE, "%s.%s.%s",
		event_kind_is_of_runner(kind) ? "runner" : "task", kind_names[kind],
		name && *name ? name : "_");
	size_t len = n < TASK_EVENT_KEY_SIZE ? (size_t)n : TASK_EVENT_KEY_SIZE - 1;
	char *word = strchr(strchr(ret, '.') + 1, '.') + 1;

	/* Not within a character of UTF-8. */
	ret[text_utf8_len((struct slice){ ret, len })] = '\0';
	for (; *word; word++)
		if (!is_plain((unsigned char)*word))
			*word = '_';
}
