/* SPDX-License-Identifier: Apache-2.0 */
/* What callers get: events with plain members, and answers. What they point to is behind them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "taskclient/internal.h"
#include "wire/progress.h"

struct told {
	struct taskclient_event event;
	struct happening happening;
	struct progress_report progress;
};

#define SAME(name) \
	_Static_assert((int)TASKCLIENT_STATUS_##name == (int)STATUS_##name + 1, #name " differs")
SAME(QUEUED);
SAME(RUNNING);
SAME(SUCCESS);
SAME(FAILED);
SAME(CANCELLING);
SAME(CANCELLED);

const char *taskclient_status_name(enum taskclient_status status)
{
	bool is_one = status >= TASKCLIENT_STATUS_QUEUED && status <= TASKCLIENT_STATUS_CANCELLED;

	return is_one ? status_name((enum status)(status - TASKCLIENT_STATUS_QUEUED)) : NULL;
}

/* ---- events ---- */

static const char *text_of(const char *text)
{
	return text && *text ? text : NULL;
}

/* A last NUL, for who prints it. */
static int tell_output(struct taskclient_event *to, struct received_response *from)
{
	int r = from->has_output ? buf_append(&from->output, "", 1) : 0;

	if (r < 0 || !from->has_output)
		return r;
	to->output = from->output.data;
	to->output_len = from->output.len - 1;
	return 0;
}

static int tell_progress(struct taskclient_event *to, struct progress_report *report)
{
	int r;

	if (to->status != TASKCLIENT_STATUS_RUNNING || !to->output)
		return 0;
	r = progress_report_decode((struct slice){ to->output, to->output_len }, report);
	if (report->has_fraction)
		to->progress = report->fraction;
	to->message = report->message;
	return r;
}

static void tell_facts(struct taskclient_event *to, const struct facts *from)
{
	to->attempt = from->attempt;
	to->sequence = from->sequence;
	to->runner = text_of(from->runner);
	to->cause = text_of(cause_name(from->cause));
	to->error_name = text_of(from->error_name);
	to->failure_kind = text_of(from->failure_kind);
	if (from->has_exit_code)
		to->exit_code = from->exit_code;
	if (from->signal > 0)
		to->signal = from->signal;
	if (!from->has_usage)
		return;
	to->wall_ms = from->wall_ms;
	to->cpu_ms = from->cpu_ms;
	to->peak_memory = from->peak_memory;
}

static int tell_response(struct told *t)
{
	struct received_response *from = &t->happening.response;
	struct taskclient_event *to = &t->event;
	int r;

	to->status = (enum taskclient_status)(TASKCLIENT_STATUS_QUEUED + from->status);
	to->is_final = status_is_final(from->status);
	to->program = from->script;
	to->stdout_text = from->out;
	to->stderr_text = from->err;
	to->mail = t->happening.mail;
	tell_facts(to, &t->happening.facts);
	r = tell_output(to, from);
	return r < 0 ? r : tell_progress(to, &t->progress);
}

int tell(struct happening *happening, struct taskclient_event **ret)
{
	struct told *t = calloc(1, sizeof(*t));

	if (!t) {
		happening_deinit(happening);
		return -ENOMEM;
	}
	t->happening = *happening;
	happening = &t->happening;
	t->event = (struct taskclient_event){
		.kind = happening->kind,
		.id = text_of(happening->id),
		.question = happening->question,
		.runners = happening->runners,
		.is_noted = happening->is_noted,
		.progress = TASKCLIENT_UNKNOWN,
		.exit_code = TASKCLIENT_UNKNOWN,
		.signal = TASKCLIENT_UNKNOWN,
		.wall_ms = TASKCLIENT_UNKNOWN,
		.cpu_ms = TASKCLIENT_UNKNOWN,
		.peak_memory = TASKCLIENT_UNKNOWN,
	};
	memcpy(&t->event.error, &happening->error, sizeof(t->event.error));
	if (happening->kind == TASKCLIENT_ANSWER)
		t->event.answer = &happening->answer;
	if (happening->kind == TASKCLIENT_RESPONSE && tell_response(t) < 0) {
		taskclient_event_free(&t->event);
		return -ENOMEM;
	}
	*ret = &t->event;
	return 1;
}

void taskclient_event_free(struct taskclient_event *event)
{
	struct told *t = (struct told *)event; /* it stands first */

	if (!t)
		return;
	happening_deinit(&t->happening);
	progress_report_deinit(&t->progress);
	free(t);
}

/* ---- answers ---- */

const char *taskclient_answer_text(const struct taskclient_answer *answer, const char *name)
{
	return answer ? record_text(&answer->record, name) : NULL;
}

bool taskclient_answer_int(const struct taskclient_answer *answer, const char *name, int64_t *ret)
{
	int64_t number;

	if (!answer || !record_int(&answer->record, name, &number))
		return false;
	*ret = number;
	return true;
}

bool taskclient_answer_number(const struct taskclient_answer *answer, const char *name, double *ret)
{
	double number;

	if (!answer || !record_number(&answer->record, name, &number))
		return false;
	*ret = number;
	return true;
}

const char *taskclient_answer_name(const struct taskclient_answer *answer, size_t index)
{
	return answer && index < answer->record.n ? answer->record.members[index].name : NULL;
}

struct taskclient_answer *taskclient_answer_copy(const struct taskclient_answer *answer)
{
	struct taskclient_answer *copy = calloc(1, sizeof(*copy));

	for (size_t i = 0; copy && answer && i < answer->record.n; i++) {
		const struct record_member *m = &answer->record.members[i];

		record_add_text(&copy->record, m->name, m->text);
		if (!copy->record.failed)
			copy->record.members[i].is_number = m->is_number;
	}
	if (!copy || !copy->record.failed)
		return copy;
	taskclient_answer_free(copy);
	return NULL;
}

void taskclient_answer_free(struct taskclient_answer *answer)
{
	if (!answer)
		return;
	record_deinit(&answer->record);
	free(answer);
}
