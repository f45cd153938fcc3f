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

static int fault(const struct batch_results *r, uint64_t number, const char *what)
{
	say("%s: line %" PRIu64 ": %s", r->name, number, what);
	return EXIT_USAGE;
}

static int take_line(struct batch_results *r, uint64_t number, struct slice line)
{
	struct record record = { 0 };
	struct error err = { 0 };
	int64_t of = 0;
	const char *state;
	int result = 0;

	if (record_decode(line, "application/json", &record, &err) < 0)
		result = fault(r, number, err.code ? err.text : "it cannot be read");
	else if (!record_int(&record, "line", &of) || of < 1 ||
		 !(state = record_text(&record, "state")))
		result = fault(r, number, "this is no result of a batch");
	else if ((uint64_t)of > r->n_lines)
		result = fault(r, number, "a result of another batch: this one has fewer lines");
	if (result == 0) {
		unsigned char *known = &r->lines[of];
		unsigned times = (*known & LINE_TIMES) < LINE_TIMES ? (*known & LINE_TIMES) + 1u
								    : LINE_TIMES;

		r->n_known += *known == 0;
		*known = (unsigned char)(times |
					 (strcmp(state, "succeeded") != 0 ? LINE_FAILED : 0));
	}
	record_deinit(&record);
	return result;
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
	free(line);
	if (result == 0 && ftruncate(r->fd, whole) < 0) {
		say("--results: %s: %s", r->name, strerror(errno));
		result = EXIT_LOCAL;
	}
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
	r->lines = calloc(n_lines + 1, 1);
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
	return r->lines[line] == 0 || (retry_failed && r->lines[line] & LINE_FAILED);
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

static int put_begin(struct buf *out, uint64_t line, const char *id, const char *program,
	const char *state, const char *cause, struct slice message)
{
	int r = buf_printf(out, "{\"line\":%" PRIu64, line);

	if (r == 0)
		r = put_text(out, "id", id);
	if (r == 0)
		r = put_text(out, "program", program);
	if (r == 0)
		r = put_text(out, "state", state);
	if (r == 0)
		r = put_text(out, "cause", cause);
	if (r == 0)
		r = buf_append_text(out, ",\"message\":");
	if (r == 0)
		r = message.data ? json_quote(out, message) : buf_append_text(out, "null");
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

int batch_encode(
	struct buf *ret, uint64_t line, const struct taskclient_event *event, const char *program)
{
	bool ok = event->status == TASKCLIENT_STATUS_SUCCESS;
	struct slice output = { event->output, event->output_len };
	int r = put_begin(ret, line, event->id, program, final_state(event->status), event->cause,
		ok ? (struct slice){ 0 } : output);

	if (r == 0 && ok)
		r = put_output(ret, output.data ? output : slice_of(""));
	else if (r == 0)
		r = buf_append_text(ret, ",\"output\":null,\"output_base64\":null");
	if (r == 0)
		r = put_facts(ret, event);
	return r < 0 ? r : put_end(ret, event->stdout_text, event->stderr_text);
}

int batch_encode_refused(
	struct buf *ret, uint64_t line, const char *id, const char *program, const char *why)
{
	const struct taskclient_event none = {
		.exit_code = TASKCLIENT_UNKNOWN,
		.signal = TASKCLIENT_UNKNOWN,
		.wall_ms = TASKCLIENT_UNKNOWN,
		.cpu_ms = TASKCLIENT_UNKNOWN,
		.peak_memory = TASKCLIENT_UNKNOWN,
	};
	int r = put_begin(ret, line, id, program, "failed", "refused", slice_of(why));

	if (r == 0)
		r = buf_append_text(ret, ",\"output\":null,\"output_base64\":null");
	if (r == 0)
		r = put_facts(ret, &none);
	return r < 0 ? r : put_end(ret, "", "");
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

int batch_add(
	struct batch_results *r, uint64_t line, bool failed, struct slice record, uint64_t mail)
{
	int result = buf_append(&r->out, record.data, record.len);

	if (result == 0)
		result = add_mail(r, mail);
	if (result == 0) {
		unsigned times = r->lines[line] & LINE_TIMES;

		r->n_known += r->lines[line] == 0;
		times += times < LINE_TIMES;
		r->lines[line] = (unsigned char)(times | (failed ? LINE_FAILED : 0));
	}
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
