/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever allocation fails, first, second and so on to the last: the answer is -ENOMEM, or right
 * as if nothing had happened, and what there is can be released. Linked with --wrap for the
 * allocating functions (meson.build).
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/tail.h"
#include "common/text.h"
#include "wire/control.h"
#include "wire/note.h"
#include "wire/progress.h"
#include "wire/request.h"
#include "wire/response.h"
#include "wire/task_event.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })

/* How many allocations succeed before one fails; negative: all do. */
static int n_left = -1;

static bool fails(void)
{
	return n_left >= 0 && n_left-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* Runs @attempt with ever more memory until nothing failed. It gives back 0 or -ENOMEM, and that it
 * does so truthfully is its own affair to check. */
static void with_little_memory(int (*attempt)(enum wire_encoding encoding))
{
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		int n = 0, r;

		do {
			bool failed;

			n_left = n;
			r = attempt((enum wire_encoding)encoding);
			failed = n_left < 0;
			n_left = -1;
			assert_true(r == 0 || (r == -ENOMEM && failed));
			n++;
		} while (r != 0);
		assert_in_range(n, 2, 100); /* something was allocated, and failed */
	}
}

static struct request sample_request(enum wire_encoding encoding)
{
	return (struct request){ .encoding = encoding,
		.id = "x",
		.script = "s",
		.timeout_ms = 1500,
		.input = { .data = "\xFF\xEF\xFF", .len = 3 },
		.additional_properties = { .data = encoding == WIRE_JSON ? "1" : "\x01", .len = 1 },
		.user_id = "u",
		.project_id = "p",
		.request_sha256 = "h",
		.routing_key = "rk" };
}

static int encode_request(enum wire_encoding encoding)
{
	struct request q = sample_request(encoding);
	struct buf body = { 0 };
	int r = request_encode(&q, &body);

	assert_true(r == 0 || body.len == 0);
	buf_deinit(&body);
	return r;
}

static int decode_request(enum wire_encoding encoding)
{
	struct request q = sample_request(encoding), back = { 0 };
	struct buf body = { 0 };
	struct error err = { 0 };
	int kept = n_left, r;

	n_left = -1;
	assert_int_equal(request_encode(&q, &body), 0);
	n_left = kept;
	r = request_decode(buf_slice(&body), NULL, NULL, &back, &err);
	if (r == 0)
		assert_string_equal(back.routing_key, "rk");
	else
		assert_string_equal(err.text, "not enough memory for the request");
	request_deinit(&back);
	buf_deinit(&body);
	return r;
}

static struct response sample_response(enum wire_encoding encoding)
{
	return (struct response){ .encoding = encoding,
		.status = STATUS_FAILED,
		.id = BYTES("x"),
		.script = BYTES("s"),
		.output = BYTES("\xFF\xEF\xFF"),
		.additional_properties = encoding == WIRE_JSON ? BYTES("1") : BYTES("\x01"),
		.project_id = BYTES("p"),
		.user_id = BYTES("u"),
		.out = BYTES("\xFFout\0"),
		.request_sha256 = BYTES("h"),
		.routing_key = BYTES("rk") };
}

static int encode_response(enum wire_encoding encoding)
{
	struct response p = sample_response(encoding);
	struct buf body = { 0 };
	int r = response_encode(&p, &body);

	assert_true(r == 0 || body.len == 0);
	buf_deinit(&body);
	return r;
}

static int decode_response(enum wire_encoding encoding)
{
	struct response p = sample_response(encoding);
	struct received_response back = { 0 };
	struct buf body = { 0 };
	int kept = n_left, r;

	/* A null, which is filled with "". */
	static const char nulls[] =
		"{\"id\":\"x\",\"script\":null,\"status\":\"FAILED\",\"output\":null,"
		"\"additionalProperties\":null,\"projectId\":null,\"userId\":null,\"stdout\":null,"
		"\"stderr\":null,\"requestSHA256\":null,\"routingKey\":null,\"useCache\":true}";

	n_left = -1;
	assert_int_equal(response_encode(&p, &body), 0);
	n_left = kept;
	r = response_decode(buf_slice(&body), NULL, &back, NULL);
	if (r == 0) {
		assert_string_equal(back.out, "\xEF\xBF\xBDout\xEF\xBF\xBD");
		received_response_deinit(&back);
		r = response_decode(BYTES(nulls), NULL, &back, NULL);
	}
	if (r == 0)
		assert_string_equal(back.err, "");
	received_response_deinit(&back);
	buf_deinit(&body);
	return r;
}

static int use_control(enum wire_encoding encoding)
{
	struct control control = { .encoding = encoding, .id = "x" }, back = { 0 };
	struct record answer = { 0 }, said = { 0 };
	struct note note = { .id = "x", .instance = "i" }, noted = { 0 };
	struct buf body = { 0 };
	int r = control_encode(&control, &body);

	assert_true(r == 0 || body.len == 0);
	record_add_text(&answer, "result", "gone");
	record_add_int(&answer, "count", 3);
	if (r == 0)
		r = control_decode(buf_slice(&body), NULL, &back, NULL);
	buf_clear(&body);
	if (r == 0)
		r = record_encode(encoding, &answer, &body);
	if (r == 0)
		r = control_answer_decode(buf_slice(&body), NULL, &said, NULL);
	buf_clear(&body);
	if (r == 0)
		r = note_encode(&note, &body);
	if (r == 0)
		r = note_decode(buf_slice(&body), &noted, NULL);
	note_deinit(&noted);
	control_deinit(&back);
	record_deinit(&answer);
	record_deinit(&said);
	buf_deinit(&body);
	return r;
}

static int use_event(enum wire_encoding encoding)
{
	struct task_event_facts facts, back;
	struct buf body = { 0 };
	int r;

	(void)encoding; /* always JSON */
	task_event_init(&facts, EVENT_FAILED);
	task_event_init(&back, EVENT_FAILED);
	facts.id = "x";
	facts.runner = "r";
	facts.program = "p";
	facts.time_ms = 1;
	facts.cause = CAUSE_EXITED;
	r = task_event_encode(&facts, &body);
	assert_true(r == 0 || body.len == 0);
	if (r == 0)
		r = task_event_decode(buf_slice(&body), &back, NULL);
	assert_true(r < 0 || (back.cause == CAUSE_EXITED && strcmp(back.program, "p") == 0));
	task_event_deinit(&back);
	buf_deinit(&body);
	return r;
}

static int use_progress(enum wire_encoding encoding)
{
	struct slice bytes = encoding == WIRE_JSON ? BYTES("{\"message\":\"m\"}")
						   : BYTES("\x81\xA7message\xA1m");
	struct progress_reader *reader = progress_reader_new(100);
	struct progress_report report = { 0 };
	struct buf line = { 0 };
	enum progress_kind kind;
	struct slice record;
	int r;

	if (!reader)
		return -ENOMEM;
	r = progress_feed(reader, bytes);
	if (r == 0) {
		assert_int_equal(progress_next(reader, &record, &kind), PROGRESS_RECORD);
		r = progress_report_decode(record, &report);
		assert_true(r < 0 || slice_equal(slice_of(report.message), "m"));
		progress_report_deinit(&report);
	}
	if (r == 0) {
		r = progress_report_decode(BYTES("a line\xFF"), &report);
		progress_report_deinit(&report);
	}
	if (r == 0) {
		r = progress_append_line(&line, bytes, 100);
		assert_true(line.len == (r == 0 ? strlen("progress m\n") : 0));
	}
	buf_deinit(&line);
	progress_reader_free(reader);
	return r;
}

static int use_bytes(enum wire_encoding encoding)
{
	struct buf b = { 0 }, clean = { 0 };
	char *copy = slice_dup(BYTES("x"));
	int r = copy ? buf_printf(&b, "%100d", encoding) : -ENOMEM;

	free(copy);
	if (r == 0)
		r = text_append_utf8(&b, BYTES("0123456789012345678901234567890123456789\xFF"));
	if (r == 0)
		r = text_append_quoted(&b,
			BYTES("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
			      "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"),
			1000);
	if (r == 0)
		r = text_append_clean(&clean, buf_slice(&b), 20);
	buf_deinit(&clean);
	buf_deinit(&b);
	return r;
}

/* A tail never fails: it keeps what it has room for. */
static void test_tail(void **state)
{
	struct tail t;
	struct buf out = { 0 };
	char bytes[300];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	tail_init(&t, 1000);
	n_left = 0;
	tail_write(&t, "lost", 4);
	assert_int_equal(t.len, 0);
	n_left = 1;
	tail_write(&t, "kept", 4);
	tail_write(&t, bytes, sizeof(bytes)); /* has to go with what the first took */
	n_left = -1;
	assert_in_range(t.len, 4, 299);
	assert_int_equal(t.total, 308);
	n_left = 0;
	assert_int_equal(tail_copy(&t, &out), -ENOMEM);
	n_left = -1;
	assert_int_equal(tail_copy(&t, &out), 0);
	assert_int_equal(out.len, t.len);
	tail_write(&t, bytes, sizeof(bytes));
	assert_true(t.len >= 300);
	buf_deinit(&out);
	tail_deinit(&t);
}

#define SHORT_TEST(function)                      \
	static void test_##function(void **state) \
	{                                         \
		(void)state;                      \
		with_little_memory(function);     \
	}

SHORT_TEST(encode_request)
SHORT_TEST(decode_request)
SHORT_TEST(encode_response)
SHORT_TEST(decode_response)
SHORT_TEST(use_control)
SHORT_TEST(use_event)
SHORT_TEST(use_progress)
SHORT_TEST(use_bytes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode_request),
		cmocka_unit_test(test_decode_request),
		cmocka_unit_test(test_encode_response),
		cmocka_unit_test(test_decode_response),
		cmocka_unit_test(test_use_control),
		cmocka_unit_test(test_use_event),
		cmocka_unit_test(test_use_progress),
		cmocka_unit_test(test_use_bytes),
		cmocka_unit_test(test_tail),
	};

	return cmocka_run_group_tests_name("short_memory", tests, NULL, NULL);
}
