/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control.h"

#include <errno.h>
#include <stdlib.h>

#include "common/parse.h"

#define SLOTS_MAX  10000
#define TAIL_MAX   (1 << 20)
#define QUEUED_MAX (24 * 3600)

enum about { ABOUT_TASKS, ABOUT_RUNNERS, BETWEEN_RUNNERS };

static const char *const op_names[CONTROL_OPS] = {
	[CONTROL_CANCEL] = "cancel",
	[CONTROL_KILL] = "kill",
	[CONTROL_PAUSE] = "pause",
	[CONTROL_RESUME] = "resume",
	[CONTROL_HOLD] = "hold",
	[CONTROL_PLAY] = "play",
	[CONTROL_SIGNAL] = "signal",
	[CONTROL_STATUS] = "status",
	[CONTROL_LIST] = "list",
	[CONTROL_PING] = "ping",
	[CONTROL_PROGRAMS] = "programs",
	[CONTROL_DRAIN] = "drain",
	[CONTROL_UNDRAIN] = "undrain",
	[CONTROL_SET_SLOTS] = "set-slots",
	[CONTROL_RELOAD] = "reload",
	[CONTROL_WHO_HAS] = "who-has",
	[CONTROL_HOLDER] = "holder",
	[CONTROL_BACK] = "back",
	[CONTROL_FREE] = "free",
};

static const enum about about[CONTROL_OPS] = {
	[CONTROL_CANCEL] = ABOUT_TASKS,
	[CONTROL_KILL] = ABOUT_TASKS,
	[CONTROL_PAUSE] = ABOUT_TASKS,
	[CONTROL_RESUME] = ABOUT_TASKS,
	[CONTROL_HOLD] = ABOUT_TASKS,
	[CONTROL_PLAY] = ABOUT_TASKS,
	[CONTROL_SIGNAL] = ABOUT_TASKS,
	[CONTROL_STATUS] = ABOUT_TASKS,
	[CONTROL_LIST] = ABOUT_TASKS,
	[CONTROL_PING] = ABOUT_RUNNERS,
	[CONTROL_PROGRAMS] = ABOUT_RUNNERS,
	[CONTROL_DRAIN] = ABOUT_RUNNERS,
	[CONTROL_UNDRAIN] = ABOUT_RUNNERS,
	[CONTROL_SET_SLOTS] = ABOUT_RUNNERS,
	[CONTROL_RELOAD] = ABOUT_RUNNERS,
	[CONTROL_WHO_HAS] = BETWEEN_RUNNERS,
	[CONTROL_HOLDER] = BETWEEN_RUNNERS,
	[CONTROL_BACK] = BETWEEN_RUNNERS,
	[CONTROL_FREE] = BETWEEN_RUNNERS,
};

/* What would reach everything must say so, where it changes anything. */
static bool may_be_all(enum control_op op)
{
	return op == CONTROL_LIST || op == CONTROL_PING || op == CONTROL_PROGRAMS;
}

const char *control_op_name(enum control_op op)
{
	return op_names[op];
}

bool control_is_about_tasks(enum control_op op)
{
	return about[op] == ABOUT_TASKS;
}

bool control_is_between_runners(enum control_op op)
{
	return about[op] == BETWEEN_RUNNERS;
}

#define N_FIELDS(fields) (sizeof(fields) / sizeof(*(fields)))

/* clang-format off */
#define CONTROL_FIELDS(op, c) { \
	{ .name = "op", .value = &(op) }, \
	{ .name = "id", .value = &(c)->id }, \
	{ .name = "group", .value = &(c)->selector.group }, \
	{ .name = "program", .value = &(c)->selector.program }, \
	{ .name = "user", .value = &(c)->selector.user }, \
	{ .name = "project", .value = &(c)->selector.project }, \
	{ .name = "runner", .value = &(c)->selector.runner }, \
	{ .name = "all", .value = &(c)->selector.all, .or_number = true }, \
	{ .name = "queued", .value = &(c)->queued, .or_number = true }, \
	{ .name = "signal", .value = &(c)->signal, .or_number = true }, \
	{ .name = "slots", .value = &(c)->slots, .or_number = true }, \
	{ .name = "tail", .value = &(c)->tail, .or_number = true }, \
	{ .name = "instance", .value = &(c)->instance }, \
	{ .name = "state", .value = &(c)->state }, \
	{ .name = "queue", .value = &(c)->queue }, \
	{ .name = "print", .value = &(c)->print }, \
	{ .name = "question", .value = &(c)->question }, \
}
/* clang-format on */

/* ---- what must be there ---- */

static int check_all(const struct control *c, struct error *err)
{
	const char *all = c->selector.all;

	if (!all || slice_equal(slice_of(all), "true"))
		return 0;
	return error_set(err, -EINVAL, "all can only be true");
}

static bool names_tasks(const struct control_selector *s)
{
	return s->group || s->program || s->user || s->project;
}

static int check_tasks(const struct control *c, struct error *err)
{
	const struct control_selector *s = &c->selector;
	bool selects = names_tasks(s) || s->runner || s->all;

	if (c->id && selects)
		return error_set(err, -EINVAL, "id stands alone: nothing else can be selected");
	if (c->id)
		return fields_check_id(c->id, err);
	if (!selects && !may_be_all(c->op))
		return error_set(err, -EINVAL,
			"id is missing, or group, program, user, project, runner or all");
	return 0;
}

static int check_runners(const struct control *c, struct error *err)
{
	const struct control_selector *s = &c->selector;

	if (c->id || names_tasks(s))
		return error_set(
			err, -EINVAL, "%s is about runners: runner or all", op_names[c->op]);
	if (!s->runner && !s->all && !may_be_all(c->op))
		return error_set(err, -EINVAL, "runner is missing, or all");
	return 0;
}

static int check_between(const struct control *c, struct error *err)
{
	int r = fields_check_id(c->id, err);

	if (r == 0 && !c->instance)
		r = error_set(err, -EINVAL, "instance is missing");
	if (r == 0 && (c->op == CONTROL_WHO_HAS || c->op == CONTROL_HOLDER) && !c->question)
		r = error_set(err, -EINVAL, "question is missing");
	if (r == 0 && c->op == CONTROL_HOLDER && !c->state)
		r = error_set(err, -EINVAL, "state is missing");
	return r;
}

static int check_number(
	const char *name, const char *text, int64_t min, int64_t max, struct error *err)
{
	int64_t number;

	if (text && parse_int(text, min, max, &number) < 0)
		return error_set(err, -EINVAL, "%s must be a whole number from %lld to %lld", name,
			(long long)min, (long long)max);
	return 0;
}

/* What is in a queue is nobody's, and is reached by its id anyway. */
static int check_queued(const struct control *c, struct error *err)
{
	if (!c->queued)
		return 0;
	if (c->op != CONTROL_CANCEL && c->op != CONTROL_KILL)
		return error_set(err, -EINVAL, "queued is for cancel and kill alone");
	if (c->id || c->selector.runner)
		return error_set(err, -EINVAL,
			"queued goes with group, program, user, project or "
			"all, not with id or runner");
	return check_number("queued", c->queued, 1, QUEUED_MAX, err);
}

static int check_arguments(const struct control *c, struct error *err)
{
	int r = check_all(c, err);

	if (r == 0 && c->op == CONTROL_SIGNAL && !c->signal)
		r = error_set(err, -EINVAL, "signal is missing");
	if (r == 0 && c->op == CONTROL_SET_SLOTS && !c->slots)
		r = error_set(err, -EINVAL, "slots is missing");
	if (r == 0)
		r = check_number("slots", c->slots, 0, SLOTS_MAX, err);
	if (r == 0)
		r = check_number("tail", c->tail, 0, TAIL_MAX, err);
	return r < 0 ? r : check_queued(c, err);
}

int control_check(const char *op, struct control *c, struct error *err)
{
	static int (*const checks[])(const struct control *, struct error *) = {
		[ABOUT_TASKS] = check_tasks,
		[ABOUT_RUNNERS] = check_runners,
		[BETWEEN_RUNNERS] = check_between,
	};
	int r = fields_parse_op(op_names, CONTROL_OPS, op, err);

	if (r < 0)
		return r;
	c->op = (enum control_op)r;
	r = checks[about[c->op]](c, err);
	return r < 0 ? r : check_arguments(c, err);
}

/* ---- bytes and headers ---- */

/* What is misspelt would otherwise widen a selection. Runners of a later version may tell each
 * other more than we know. */
static int check_read(const char *op, const char *other, struct control *c, struct error *err)
{
	int r = control_check(op, c, err);

	if (r == 0 && other[0] && !control_is_between_runners(c->op))
		return error_set(err, -EINVAL, "a control message has no '%s'", other);
	return r;
}

int control_decode(
	struct slice body, const char *content_type, struct control *ret, struct error *err)
{
	char *op = NULL, other[FIELDS_OTHER_SIZE];
	const struct text_field fields[] = CONTROL_FIELDS(op, ret);
	int r;

	ret->encoding = wire_detect(content_type, body);
	r = fields_decode(ret->encoding, body, fields, N_FIELDS(fields), other, err);
	if (r == 0)
		r = check_read(op, other, ret, err);
	free(op);
	return r;
}

int control_decode_headers(
	fields_get_fn get, void *userdata, struct control *ret, struct error *err)
{
	char *op = NULL, other[FIELDS_OTHER_SIZE];
	const struct text_field fields[] = CONTROL_FIELDS(op, ret);
	int r = fields_get(fields, N_FIELDS(fields), get, userdata, other, err);

	if (r == 0)
		r = check_read(op, other, ret, err);
	free(op);
	return r;
}

int control_encode(const struct control *control, struct buf *ret)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = CONTROL_FIELDS(op, &c);

	return fields_encode(control->encoding, fields, N_FIELDS(fields), ret);
}

int control_encode_headers(const struct control *control, fields_put_fn put, void *userdata)
{
	struct control c = *control;
	char *op = (char *)op_names[control->op];
	const struct text_field fields[] = CONTROL_FIELDS(op, &c);

	return fields_put(fields, N_FIELDS(fields), put, userdata);
}

void control_deinit(struct control *control)
{
	char *op = NULL;
	const struct text_field fields[] = CONTROL_FIELDS(op, control);

	for (size_t i = 0; i < N_FIELDS(fields); i++)
		free(*fields[i].value);
	*control = (struct control){ 0 };
}

/* ---- answers ---- */

int control_answer_check(const struct record *answer, struct error *err)
{
	if (record_text(answer, "result") || record_text(answer, "error"))
		return 0;
	return error_set(err, -EINVAL, "the answer holds neither result nor error");
}

int control_answer_decode(
	struct slice body, const char *content_type, struct record *ret, struct error *err)
{
	int r = record_decode(body, content_type, ret, err);

	return r < 0 ? r : control_answer_check(ret, err);
}
