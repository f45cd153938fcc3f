/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "taskctl/batch.h"
#include "wire/json.h"
#include "wire/object.h"

#define BOM "\xEF\xBB\xBF"

void batch_task_deinit(struct batch_task *task)
{
	char *const texts[] = { task->id, task->program, task->group, task->labels, task->user,
		task->project };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		free(texts[i]);
	buf_deinit(&task->input);
	*task = (struct batch_task){ 0 };
}

/* ---- lines ---- */

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

/* Quotes that are open at the end of @text. */
static bool is_open(const char *text)
{
	bool open = false;

	for (; *text; text++)
		open ^= *text == '"';
	return open;
}

/* Appends a line to s->text. 1, 0 at the end, or a negative errno. */
static int read_line(struct batch_source *s, size_t *len)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n = getline(&line, &size, s->file);
	int e = errno;
	char *grown;

	if (n < 0) {
		free(line);
		return ferror(s->file) ? -e : 0;
	}
	s->next_line++;
	grown = realloc(s->text, *len + (size_t)n + 1);
	if (!grown) {
		free(line);
		return -ENOMEM;
	}
	memcpy(grown + *len, line, (size_t)n + 1);
	s->text = grown;
	*len += (size_t)n;
	free(line);
	return 1;
}

/* The next record into s->text: a line, or several where one of a table is quoted. s->size is its
 * length without the line break. */
static int read_record(struct batch_source *s)
{
	int r;

	do {
		size_t len = 0;

		s->line = s->next_line;
		r = read_line(s, &len);
		while (r > 0 && s->is_table && s->separator == ',' && is_open(s->text))
			if ((r = read_line(s, &len)) == 0)
				return -EBADMSG;
		if (r <= 0)
			return r;
		if (s->line == 1 && strncmp(s->text, BOM, 3) == 0)
			memmove(s->text, s->text + 3, (len -= 3) + 1);
		while (len > 0 && strchr("\r\n", s->text[len - 1]) && s->text[len - 1])
			s->text[--len] = '\0';
		s->size = len;
	} while (strlen(s->text) == s->size && is_blank(s->text));
	return 1;
}

/* ---- tables ---- */

/* Takes the field at @at apart in place; gives where the next one begins, or NULL after the last.
 */
static char *take_field(char *at, char separator, char **ret)
{
	char *to = at;
	bool quoted = separator == ',' && *at == '"';

	*ret = at;
	if (quoted)
		at++;
	while (*at && (quoted || *at != separator)) {
		if (quoted && *at == '"') {
			if (at[1] != '"') {
				quoted = false;
				at++;
				continue;
			}
			at++;
		}
		*to++ = *at++;
	}
	bool more = *at == separator;

	*to = '\0';
	return more ? at + 1 : NULL;
}

/* Splits @text; gives the number of fields, of which @max are stored. */
static size_t split(char *text, char separator, char **fields, size_t max)
{
	size_t n = 0;
	char *field;

	while (text) {
		text = take_field(text, separator, &field);
		if (n < max)
			fields[n] = field;
		n++;
	}
	return n;
}

static size_t count_fields(const char *text, char separator)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == separator;
	return n;
}

static int read_header(struct batch_source *s)
{
	int r;

	s->separator = ',';
	r = read_record(s);
	if (r == 0)
		return 0; /* no header: no tasks */
	if (r == -EBADMSG) {
		say("%s: line %" PRIu64 ": a quote is not closed", s->name, s->line);
		return EXIT_USAGE;
	}
	if (r < 0) {
		say("cannot read %s: %s", s->name, strerror(-r));
		return EXIT_LOCAL;
	}
	s->separator = strchr(s->text, '\t') ? '\t' : ',';
	s->columns = calloc(count_fields(s->text, s->separator), sizeof(*s->columns));
	if (!s->columns)
		return EXIT_LOCAL;
	s->n_columns =
		split(s->text, s->separator, s->columns, count_fields(s->text, s->separator));
	for (size_t i = 0; i < s->n_columns; i++) {
		s->columns[i] = strdup(s->columns[i]);
		if (!s->columns[i])
			return EXIT_LOCAL;
	}
	return 0;
}

static char *const *find_column(const struct batch_source *s, struct slice name)
{
	for (size_t i = 0; i < s->n_columns; i++)
		if (slice_equal(name, s->columns[i]))
			return &s->columns[i];
	return NULL;
}

const char *batch_open_brace(const char *template)
{
	for (const char *at = template; (at = strchr(at, '{')); at++) {
		if (at[1] != '{' && !strchr(at, '}'))
			return at;
		at = at[1] == '{' ? at + 1 : strchr(at, '}');
	}
	return NULL;
}

/* "{name}" stands for the field of that column, "{{" for "{". All braces are closed. */
static int fill_template(
	const struct batch_source *s, char *const *fields, struct buf *out, struct error *err)
{
	int r = 0;

	for (const char *at = s->template; *at && r == 0;) {
		size_t plain = strcspn(at, "{"), len;
		char *const *column;

		r = buf_append(out, at, plain);
		at += plain;
		if (!*at || r < 0)
			break;
		if (at[1] == '{') {
			r = buf_append_text(out, "{");
			at += 2;
			continue;
		}
		len = strcspn(at + 1, "}");
		column = find_column(s, (struct slice){ at + 1, len });
		if (!column)
			return error_set(err, -EINVAL,
				"the template names a column that is not there: %.*s", (int)len,
				at + 1);
		r = buf_append_text(out, fields[column - s->columns]);
		at += len + 2;
	}
	return r;
}

static int row_object(const struct batch_source *s, char *const *fields, struct buf *out)
{
	int r = buf_append_text(out, "{");

	for (size_t i = 0; i < s->n_columns && r == 0; i++) {
		if (i > 0)
			r = buf_append_text(out, ",");
		if (r == 0)
			r = json_quote(out, slice_of(s->columns[i]));
		if (r == 0)
			r = buf_append_text(out, ":");
		if (r == 0)
			r = json_quote(out, slice_of(fields[i]));
	}
	return r < 0 ? r : buf_append_text(out, "}");
}

static int take_row(struct batch_source *s, struct batch_task *task, struct error *err)
{
	cleanup_free char **fields = calloc(s->n_columns + 1, sizeof(*fields));
	size_t n;

	if (!fields)
		return -ENOMEM;
	if (strlen(s->text) != s->size)
		return error_set(err, -EINVAL, "it holds a NUL byte");
	n = split(s->text, s->separator, fields, s->n_columns);
	if (n != s->n_columns)
		return error_set(
			err, -EINVAL, "it has %zu fields, and the header %zu", n, s->n_columns);
	return s->template ? fill_template(s, fields, &task->input, err)
			   : row_object(s, fields, &task->input);
}

/* ---- JSON lines ---- */

static int take_input(const struct member *m, struct batch_task *task, struct error *err)
{
	buf_clear(&task->input);
	if (member_is_null(m))
		return 0;
	return m->value.len > 0 && m->value.data[0] == '"'
		       ? member_append_text(m, &task->input, err)
		       : member_raw(m, &task->input);
}

static int take_bytes(const struct member *m, struct batch_task *task, struct error *err)
{
	buf_deinit(&task->input);
	return member_bytes(m, 0, &task->input, err);
}

static int replace(const struct member *m, char **ret, struct error *err)
{
	char *text = NULL;
	int r = member_text(m, &text, err);

	if (r == 0) {
		free(*ret);
		*ret = text;
	}
	return r;
}

static int take_id(const struct member *m, struct batch_task *task, struct error *err)
{
	int r = replace(m, &task->id, err);

	return r == 0 && !taskclient_id_is_valid(task->id)
		       ? error_set(err, -EINVAL,
				 "id: 1 to %d bytes without '/', and not '.' or '..'",
				 TASKCLIENT_ID_MAX)
		       : r;
}

static int take_program(const struct member *m, struct batch_task *task, struct error *err)
{
	return replace(m, &task->program, err);
}

static int take_group(const struct member *m, struct batch_task *task, struct error *err)
{
	return replace(m, &task->group, err);
}

static int take_user(const struct member *m, struct batch_task *task, struct error *err)
{
	return replace(m, &task->user, err);
}

static int take_project(const struct member *m, struct batch_task *task, struct error *err)
{
	return replace(m, &task->project, err);
}

static int take_labels(const struct member *m, struct batch_task *task, struct error *err)
{
	cleanup_with(buf_deinit) struct buf labels = { 0 };
	struct member element;
	size_t at = 0;
	int r;

	while ((r = member_element(m, &at, &element, err)) > 0) {
		if (labels.len > 0 && buf_append_text(&labels, ",") < 0)
			return -ENOMEM;
		r = member_append_text(&element, &labels, err);
		if (r < 0)
			return r;
	}
	if (r < 0 || labels.len == 0)
		return r;
	free(task->labels);
	task->labels = slice_dup(buf_slice(&labels));
	return task->labels ? 0 : -ENOMEM;
}

static int take_whole(const struct member *m, int max, int *ret, struct error *err)
{
	double number = 0;
	int r = member_number(m, &number, err);

	if (r == 0 && (number < 0 || number > max || number != (int)number))
		return error_set(err, -EINVAL, "%.*s: a whole number from 0 to %d",
			(int)m->name.len, m->name.data, max);
	if (r == 0)
		*ret = (int)number;
	return r;
}

static int take_priority(const struct member *m, struct batch_task *task, struct error *err)
{
	int priority = 0, r = take_whole(m, 9, &priority, err);

	task->priority = (unsigned)priority;
	return r;
}

static int take_depth(const struct member *m, struct batch_task *task, struct error *err)
{
	int depth = 0, r = take_whole(m, 100, &depth, err);

	task->depth = (unsigned)depth;
	return r;
}

static int take_hold(const struct member *m, struct batch_task *task, struct error *err)
{
	return member_bool(m, &task->hold, err);
}

static int take_time(
	const struct member *m, double unit_ms, struct batch_task *task, struct error *err)
{
	double number = 0;
	int r = member_number(m, &number, err);

	if (r == 0 && !(number > 0 && number * unit_ms < 1e12))
		return error_set(
			err, -EINVAL, "%.*s: a number above 0", (int)m->name.len, m->name.data);
	if (r == 0)
		task->timeout_ms = (uint64_t)(number * unit_ms + 0.999);
	return r;
}

static int take_seconds(const struct member *m, struct batch_task *task, struct error *err)
{
	return take_time(m, 1000, task, err);
}

static int take_minutes(const struct member *m, struct batch_task *task, struct error *err)
{
	return take_time(m, 60000, task, err);
}

/* What members are about: each is said once. */
enum part {
	PART_ID,
	PART_PROGRAM,
	PART_INPUT,
	PART_GROUP,
	PART_LABELS,
	PART_PRIORITY,
	PART_DEPTH,
	PART_HOLD,
	PART_USER,
	PART_PROJECT,
	PART_TIMEOUT,
	N_PARTS,
};

static const struct known_member {
	const char *name;
	enum part part;
	int (*take)(const struct member *m, struct batch_task *task, struct error *err);
} members[] = {
	{ "id", PART_ID, take_id },
	{ "script", PART_PROGRAM, take_program },
	{ "program", PART_PROGRAM, take_program },
	{ "input", PART_INPUT, take_input },
	{ "input_base64", PART_INPUT, take_bytes },
	{ "group", PART_GROUP, take_group },
	{ "labels", PART_LABELS, take_labels },
	{ "priority", PART_PRIORITY, take_priority },
	{ "depth", PART_DEPTH, take_depth },
	{ "hold", PART_HOLD, take_hold },
	{ "userId", PART_USER, take_user },
	{ "user", PART_USER, take_user },
	{ "projectId", PART_PROJECT, take_project },
	{ "project", PART_PROJECT, take_project },
	{ "timeoutSeconds", PART_TIMEOUT, take_seconds },
	{ "timeoutMinutes", PART_TIMEOUT, take_minutes },
};

static const struct known_member *find_member(const struct member *m)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (member_is(m, members[i].name))
			return &members[i];
	return NULL;
}

/* A name that is not known would be a wish that is not heard, and so would be one of two that say
 * the same. @given: the name that has said it, by part. */
static int take_member(
	const struct member *m, const char **given, struct batch_task *task, struct error *err)
{
	const struct known_member *known = find_member(m);
	const char *before;

	if (!known)
		return error_set(err, -EINVAL, "there is no such member: %.*s",
			(int)(m->name.len < 64 ? m->name.len : 64), m->name.data);
	if (member_is_null(m))
		return 0;
	before = given[known->part];
	given[known->part] = known->name;
	if (before)
		return error_set(err, -EINVAL, "%s and %s are both there, and one is too much",
			before, known->name);
	return known->take(m, task, err);
}

static int take_object(struct batch_source *s, struct batch_task *task, struct error *err)
{
	const char *given[N_PARTS] = { NULL };
	struct object o;
	struct member m;
	int e, r = 0;

	object_start(&o, WIRE_JSON, (struct slice){ s->text, s->size }, 0);
	while (r == 0 && (e = object_next(&o, &m, err)) == OBJECT_MEMBER)
		r = take_member(&m, given, task, err);
	object_deinit(&o);
	if (r < 0)
		return r;
	return e == OBJECT_END ? 0 : e < 0 ? e : -EINVAL;
}

/* ---- tasks ---- */

static int copy(char **ret, const char *text)
{
	if (!text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int take_defaults(struct batch_task *task, const struct taskclient_request *from)
{
	int r = copy(&task->program, from->program);

	if (r == 0)
		r = copy(&task->group, from->group);
	if (r == 0)
		r = copy(&task->labels, from->labels);
	if (r == 0)
		r = copy(&task->user, from->user);
	if (r == 0)
		r = copy(&task->project, from->project);
	task->priority = from->priority;
	task->depth = from->depth;
	task->hold = from->hold;
	task->timeout_ms = from->timeout_ms;
	return r;
}

int batch_next(struct batch_source *s, struct batch_task *ret, struct error *err)
{
	int r = read_record(s);

	*ret = (struct batch_task){ .line = s->line };
	if (r == -EBADMSG)
		return error_set(err, -EINVAL, "a quote is not closed");
	if (r < 0)
		return error_set(err, r, "%s", strerror(-r));
	if (r == 0)
		return 0;
	r = take_defaults(ret, &s->defaults->request);
	if (r == 0)
		r = s->is_table ? take_row(s, ret, err) : take_object(s, ret, err);
	if (r == 0 && (!ret->program || !ret->program[0]))
		r = error_set(err, -EINVAL, "no program is named, and there is no --program");
	if (r == 0)
		return 1;
	batch_task_deinit(ret);
	return r == -EINVAL ? r : error_set(err, r, "%s", strerror(-r));
}

/* ---- the file ---- */

/* What comes only once is kept, because it is read twice. */
static FILE *copy_of(FILE *from)
{
	FILE *to = tmpfile();
	char bytes[65536];
	size_t n;

	while (to && (n = fread(bytes, 1, sizeof(bytes), from)) > 0)
		if (fwrite(bytes, 1, n, to) != n)
			break;
	if (to && (ferror(from) || ferror(to) || fflush(to) != 0)) {
		fclose(to);
		to = NULL;
	}
	return to;
}

static bool is_directory(FILE *file)
{
	struct stat st;

	return fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode);
}

int batch_rewind(struct batch_source *s)
{
	rewind(s->file);
	s->next_line = 1;
	for (size_t i = 0; i < s->n_columns; i++)
		free(s->columns[i]);
	free(s->columns);
	s->columns = NULL;
	s->n_columns = 0;
	return s->is_table ? read_header(s) : 0;
}

int batch_open(struct batch_source *s, const char *name)
{
	bool is_stdin = strcmp(name, "-") == 0;

	s->name = is_stdin ? "stdin" : name;
	s->file = is_stdin ? stdin : fopen(name, "re");
	if (s->file && is_directory(s->file)) {
		say("cannot read %s: it is a directory", s->name);
		return EXIT_LOCAL;
	}
	if (s->file && fseeko(s->file, 0, SEEK_CUR) < 0) {
		FILE *copied = copy_of(s->file);

		if (!is_stdin)
			fclose(s->file);
		s->file = copied;
	}
	if (!s->file) {
		say("cannot read %s: %s", s->name, strerror(errno));
		return EXIT_LOCAL;
	}
	return batch_rewind(s);
}

void batch_close(struct batch_source *s)
{
	for (size_t i = 0; i < s->n_columns; i++)
		free(s->columns[i]);
	free(s->columns);
	free(s->text);
	if (s->file && s->file != stdin)
		fclose(s->file);
	*s = (struct batch_source){ 0 };
}
