/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "taskctl/batch.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/record.h"

/* ---- what is there ---- */

static const char *const begin_of_record = "{\"line\"";

static int refuse(const struct batch_results *r, const char *why, uint64_t number)
{
	say("--results: %s %s (line %" PRIu64 "); it is left as it is, and nothing was sent",
		r->name, why, number);
	return EXIT_USAGE;
}

/* A cancelled line that does not say whose wish it was, as earlier versions wrote, may have been
 * cut off by an interruption: it is done again rather than lost. */
static enum batch_end end_of(const struct record *record, const char *state)
{
	const char *interrupted = record_text(record, "interrupted");

	if (strcmp(state, "succeeded") == 0)
		return BATCH_SUCCEEDED;
	if (strcmp(state, "cancelled") != 0)
		return BATCH_FAILED;
	return interrupted && strcmp(interrupted, "false") == 0 ? BATCH_CANCELLED
								: BATCH_INTERRUPTED;
}

static void note(struct batch_results *r, uint64_t line, enum batch_end end)
{
	struct batch_line *known = &r->lines[line];

	r->n_known += known->end == BATCH_NONE;
	known->times += known->times < UINT16_MAX;
	known->end = (unsigned char)end;
}

static int take_line(struct batch_results *r, uint64_t number, struct slice line)
{
	struct record record = { 0 };
	int64_t of = 0;
	const char *state = NULL;
	int e = record_decode(line, "application/json", &record, NULL), result = 0;

	if (e == 0 && record_int(&record, "line", &of) && of > 0)
		state = record_text(&record, "state");
	if (e == -ENOMEM) {
		say("out of memory");
		result = EXIT_LOCAL;
	} else if (!state) {
		result = refuse(r, "is no results file of batch", number);
	} else if ((uint64_t)of > r->n_lines) {
		result = refuse(r, "is of another batch: this one has fewer lines", number);
	} else {
		note(r, (uint64_t)of, end_of(&record, state));
	}
	record_deinit(&record);
	return result;
}

/* What an interruption left half written: at least its beginning is ours. Zeros are what some file
 * systems leave when the power fails. */
static bool is_torn(struct slice rest)
{
	size_t len = strlen(begin_of_record);

	return *rest.data == '\0' ||
	       strncmp(rest.data, begin_of_record, rest.len < len ? rest.len : len) == 0;
}

static int cut_off(const struct batch_results *r, off_t whole)
{
	if (ftruncate(r->fd, whole) == 0)
		return 0;
	say("--results: %s: %s", r->name, strerror(errno));
	return EXIT_LOCAL;
}

static int read_known(struct batch_results *r, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	off_t whole = 0;
	uint64_t number = 0;
	ssize_t n;
	int result = 0;

	while (result == 0 && (n = getline(&line, &size, file)) > 0 && line[n - 1] == '\n') {
		result = take_line(r, ++number, (struct slice){ line, (size_t)n - 1 });
		whole += n;
	}
	if (result == 0 && ferror(file)) {
		say("--results: cannot read %s: %s", r->name, strerror(errno));
		result = EXIT_LOCAL;
	} else if (result == 0 && n > 0) {
		result = number > 0 || is_torn((struct slice){ line, (size_t)n })
				 ? cut_off(r, whole)
				 : refuse(r, "is no results file of batch", 1);
	}
	free(line);
	return result;
}

static int open_file(struct batch_results *r)
{
	FILE *file;
	int copy, result;

	r->fd = open(r->name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (r->fd < 0) {
		say("--results: cannot open %s: %s", r->name, strerror(errno));
		return EXIT_LOCAL;
	}
	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0) {
		say("--results: another taskctl writes to %s", r->name);
		return EXIT_LOCAL;
	}
	copy = dup(r->fd);
	file = copy < 0 ? NULL : fdopen(copy, "r");
	if (!file) {
		close_fd(copy);
		return EXIT_LOCAL;
	}
	result = read_known(r, file);
	fclose(file);
	return result;
}

int batch_results_open(struct batch_results *r, uint64_t n_lines)
{
	r->n_lines = n_lines;
	r->lines = calloc(n_lines + 1, sizeof(*r->lines));
	if (!r->lines)
		return EXIT_LOCAL;
	if (r->name)
		return open_file(r);
	r->fd = STDOUT_FILENO;
	return 0;
}

void batch_results_close(struct batch_results *r)
{
	if (r->name)
		close_fd(r->fd);
	buf_deinit(&r->out);
	free(r->lines);
	free(r->mails);
	*r = (struct batch_results){ .fd = -1 };
}

bool batch_is_wanted(const struct batch_results *r, uint64_t line, bool retry_failed)
{
	enum batch_end end = r->lines[line].end;

	return end == BATCH_NONE || end == BATCH_INTERRUPTED ||
	       (retry_failed && end != BATCH_SUCCEEDED);
}

/* ---- records ---- */

static int put_text(struct buf *out, const char *name, const char *text)
{
	int r = buf_printf(out, ",\"%s\":", name);

	if (r == 0)
		r = text ? json_quote(out, slice_of(text)) : buf_append_text(out, "null");
	return r;
}

static int put_number(struct buf *out, const char *name, bool there, int64_t number)
{
	return there ? buf_printf(out, ",\"%s\":%" PRId64, name, number)
		     : buf_printf(out, ",\"%s\":null", name);
}

static int put_output(struct buf *out, struct slice bytes)
{
	bool is_text =
		!memchr(bytes.data ? bytes.data : "", '\0', bytes.len) && text_is_utf8(bytes);
	int r = buf_append_text(out, ",\"output\":");

	if (r == 0)
		r = is_text ? json_quote(out, bytes) : buf_append_text(out, "null");
	if (r == 0)
		r = buf_append_text(out, ",\"output_base64\":");
	if (r < 0 || is_text)
		return r < 0 ? r : buf_append_text(out, "null");
	return base64_encode_quoted(out, bytes);
}

/* What each record begins with. */
struct head {
	uint64_t line;
	const char *id, *program, *state, *cause;
	bool interrupted;
	struct slice message;
};

static int put_begin(struct buf *out, const struct head *head)
{
	int r = buf_printf(out, "%s:%" PRIu64, begin_of_record, head->line);

	if (r == 0)
		r = put_text(out, "id", head->id);
	if (r == 0)
		r = put_text(out, "program", head->program);
	if (r == 0)
		r = put_text(out, "state", head->state);
	if (r == 0)
		r = put_text(out, "cause", head->cause);
	if (r == 0)
		r = buf_printf(out,
			",\"interrupted\":%s,\"message\":", head->interrupted ? "true" : "false");
	if (r == 0)
		r = head->message.data ? json_quote(out, head->message)
				       : buf_append_text(out, "null");
	return r;
}

static int put_known(struct buf *out, const char *name, int64_t number)
{
	return put_number(out, name, number != TASKCLIENT_UNKNOWN, number);
}

static int put_facts(struct buf *out, const struct taskclient_event *e)
{
	int r = put_known(out, "exit_code", e->exit_code);

	if (r == 0)
		r = put_known(out, "signal", e->signal);
	if (r == 0)
		r = put_text(out, "runner", e->runner);
	if (r == 0)
		r = put_number(out, "attempt", e->attempt > 0, e->attempt);
	if (r == 0)
		r = put_known(out, "wall_ms", e->wall_ms);
	if (r == 0)
		r = put_known(out, "cpu_ms", e->cpu_ms);
	if (r == 0)
		r = put_known(out, "peak_memory", e->peak_memory);
	return r;
}

static int put_end(struct buf *out, const char *text_out, const char *text_err)
{
	int r = put_text(out, "stdout", text_out);

	if (r == 0)
		r = put_text(out, "stderr", text_err);
	return r < 0 ? r : buf_append_text(out, "}\n");
}

int batch_encode(struct buf *ret, uint64_t line, const struct taskclient_event *event,
	const char *program, bool interrupted)
{
	bool ok = event->status == TASKCLIENT_STATUS_SUCCESS;
	struct slice output = { event->output, event->output_len };
	const struct head head = {
		.line = line,
		.id = event->id,
		.program = program,
		.state = final_state(event->status),
		.cause = event->cause,
		.interrupted = interrupted,
		.message = ok ? (struct slice){ 0 } : output,
	};
	int r = put_begin(ret, &head);

	if (r == 0 && ok)
		r = put_output(ret, output.data ? output : slice_of(""));
	else if (r == 0)
		r = buf_append_text(ret, ",\"output\":null,\"output_base64\":null");
	if (r == 0)
		r = put_facts(ret, event);
	return r < 0 ? r : put_end(ret, event->stdout_text, event->stderr_text);
}

/* Of a task of which no runner has said anything. */
static int encode_unanswered(struct buf *ret, const struct head *head)
{
	const struct taskclient_event none = {
		.exit_code = TASKCLIENT_UNKNOWN,
		.signal = TASKCLIENT_UNKNOWN,
		.wall_ms = TASKCLIENT_UNKNOWN,
		.cpu_ms = TASKCLIENT_UNKNOWN,
		.peak_memory = TASKCLIENT_UNKNOWN,
	};
	int r = put_begin(ret, head);

	if (r == 0)
		r = buf_append_text(ret, ",\"output\":null,\"output_base64\":null");
	if (r == 0)
		r = put_facts(ret, &none);
	return r < 0 ? r : put_end(ret, "", "");
}

int batch_encode_refused(
	struct buf *ret, uint64_t line, const char *id, const char *program, const char *why)
{
	return encode_unanswered(ret, &(struct head){
					      .line = line,
					      .id = id,
					      .program = program,
					      .state = "failed",
					      .cause = "refused",
					      .message = slice_of(why),
				      });
}

int batch_encode_left(struct buf *ret, uint64_t line, const char *id, const char *program)
{
	return encode_unanswered(ret, &(struct head){
					      .line = line,
					      .id = id,
					      .program = program,
					      .state = "cancelled",
					      .interrupted = true,
					      .message = slice_of("its end was not waited for"),
				      });
}

/* ---- writing ---- */

static int add_mail(struct batch_results *r, uint64_t mail)
{
	if (mail == 0)
		return 0;
	if (r->n_mails == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		uint64_t *grown = reallocarray(r->mails, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->mails = grown;
		r->room = room;
	}
	r->mails[r->n_mails++] = mail;
	return 0;
}

int batch_add(struct batch_results *r, uint64_t line, enum batch_end end, struct slice record,
	uint64_t mail)
{
	int result = buf_append(&r->out, record.data, record.len);

	if (result == 0)
		result = add_mail(r, mail);
	if (result == 0)
		note(r, line, end);
	return result;
}

int batch_flush(struct batch_results *r)
{
	int result = write_all(r->fd, buf_slice(&r->out));

	if (result == 0 && r->out.len > 0 && r->name && fsync(r->fd) < 0)
		result = -errno;
	buf_clear(&r->out);
	return result;
}
