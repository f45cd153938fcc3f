/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "taskctl/human.h"
#include "taskctl/taskctl.h"

#define REASON_MAX 2000

static void append_facts(struct buf *out, const struct taskclient_event *e)
{
	if (e->peak_memory > 0) { /* else it never ran */
		(void)buf_append_text(out, "wall ");
		(void)human_duration(out, e->wall_ms);
		(void)buf_append_text(out, ", cpu ");
		(void)human_duration(out, e->cpu_ms);
		(void)buf_append_text(out, ", memory ");
		(void)human_bytes(out, e->peak_memory);
	}
	if (e->attempt > 1)
		(void)buf_printf(out, "%sattempt %" PRId64, out->len > 0 ? ", " : "", e->attempt);
	if (e->runner) {
		(void)buf_append_text(out, out->len > 0 ? ", on " : "on ");
		(void)text_append_clean(out, slice_of(e->runner), 100);
	}
}

/* What the program itself said. */
static void write_messages(const char *text)
{
	size_t len = strlen(text);

	(void)write_all(STDERR_FILENO, slice_of(text));
	if (len > 0 && text[len - 1] != '\n')
		(void)write_all(STDERR_FILENO, slice_of("\n"));
}

static void tell(const struct taskclient_event *event, const char *became, struct slice reason)
{
	struct buf text = { 0 }, facts = { 0 };

	(void)text_append_clean(&text, slice_of(event->id), TASKCLIENT_ID_MAX);
	(void)buf_printf(&text, " %s", became);
	if (event->cause && strcmp(event->cause, "cancelled") != 0)
		(void)buf_printf(&text, " (%s)", event->cause);
	if (reason.len > 0) {
		(void)buf_append_text(&text, ": ");
		(void)text_append_clean(&text, reason, REASON_MAX);
	}
	if (event->failure_kind) {
		(void)buf_append_text(&text, " [");
		(void)text_append_clean(&text, slice_of(event->failure_kind), 64);
		(void)buf_append_text(&text, "]");
	}
	append_facts(&facts, event);
	if (facts.len > 0)
		(void)buf_append_text(&text, "; ");
	(void)buf_append(&text, facts.data, facts.len);
	say("%.*s", (int)text.len, text.len > 0 ? text.data : "");
	buf_deinit(&facts);
	buf_deinit(&text);
}

/* An output without a last newline would have our words on its own line. */
static void begin_line(struct slice output)
{
	if (output.len > 0 && output.data[output.len - 1] != '\n' && isatty(STDOUT_FILENO) == 1)
		(void)write_all(STDERR_FILENO, slice_of("\n"));
}

static int report_success(const struct taskclient_event *event, bool brief)
{
	struct slice output = (struct slice){ event->output, event->output_len };
	int r = write_all(STDOUT_FILENO, output);

	if (r < 0) {
		say("%s succeeded, but its output cannot be written: %s", event->id, strerror(-r));
		return EXIT_LOCAL;
	}
	if (!brief) {
		begin_line(output);
		tell(event, "succeeded", (struct slice){ 0 });
	}
	return EXIT_DONE;
}

static int failed_status(const char *cause)
{
	bool is_late = cause && (strcmp(cause, "timed-out") == 0 || strcmp(cause, "silent") == 0);

	return is_late ? EXIT_TOO_LATE : EXIT_TASK_FAILED;
}

const char *final_state(enum taskclient_status status)
{
	return status == TASKCLIENT_STATUS_SUCCESS     ? "succeeded"
	       : status == TASKCLIENT_STATUS_CANCELLED ? "cancelled"
						       : "failed";
}

int final_status(const struct taskclient_event *event)
{
	switch (event->status) {
	case TASKCLIENT_STATUS_SUCCESS:
		return EXIT_DONE;
	case TASKCLIENT_STATUS_CANCELLED:
		return EXIT_CANCELLED;
	default:
		return failed_status(event->cause);
	}
}

int report_final(const struct taskclient_event *event, bool brief)
{
	write_messages(event->stdout_text);
	write_messages(event->stderr_text);
	switch (event->status) {
	case TASKCLIENT_STATUS_SUCCESS:
		return report_success(event, brief);
	case TASKCLIENT_STATUS_CANCELLED:
		tell(event, "was cancelled", (struct slice){ 0 });
		break;
	default:
		tell(event, "failed", (struct slice){ event->output, event->output_len });
		break;
	}
	return final_status(event);
}
