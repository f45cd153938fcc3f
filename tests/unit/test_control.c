/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/control.h"
#include "wire/note.h"

#define BYTES(literal) ((struct slice){ literal, sizeof(literal) - 1 })
#define N(table)       (sizeof(table) / sizeof(*(table)))

static void test_golden(void **state)
{
	struct control control = { .op = CONTROL_CANCEL, .id = "a\"b" };
	struct buf body = { 0 };

	(void)state;
	assert_int_equal(control_encode(&control, &body), 0);
	assert_true(slice_equal(buf_slice(&body), "{\"op\":\"cancel\",\"id\":\"a\\\"b\"}"));
	buf_clear(&body);
	control.encoding = WIRE_MSGPACK;
	assert_int_equal(control_encode(&control, &body), 0);
	assert_true(slice_equal(buf_slice(&body), "\x82\xA2op\xA6"
						  "cancel\xA2id\xA3"
						  "a\"b"));
	buf_deinit(&body);
}

static void test_between_runners(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct control answer = {
			.encoding = (enum wire_encoding)encoding,
			.op = CONTROL_HOLDER,
			.id = "a",
			.instance = "0011",
			.state = "mine",
			.queue = "taskrunner.hold.0011.1",
			.question = "17",
		};
		struct control back = { 0 };
		struct buf body = { 0 };

		assert_int_equal(control_encode(&answer, &body), 0);
		assert_int_equal(control_decode(buf_slice(&body), NULL, &back, NULL), 0);
		assert_int_equal(back.op, CONTROL_HOLDER);
		assert_string_equal(back.id, answer.id);
		assert_string_equal(back.instance, answer.instance);
		assert_string_equal(back.state, answer.state);
		assert_string_equal(back.queue, answer.queue);
		assert_string_equal(back.question, answer.question);
		control_deinit(&back);
		buf_deinit(&body);
	}
}

static void test_round_trip(void **state)
{
	(void)state;
	for (int encoding = WIRE_JSON; encoding <= WIRE_MSGPACK; encoding++) {
		struct control control = { .encoding = (enum wire_encoding)encoding,
			.op = CONTROL_CANCEL,
			.id = "\xE2\x82\xAC \\ \x01" };
		struct control back = { 0 };
		struct buf body = { 0 };
		struct error err = { 0 };

		assert_int_equal(control_encode(&control, &body), 0);
		assert_int_equal(control_decode(buf_slice(&body), NULL, &back, &err), 0);
		assert_int_equal(back.encoding, encoding);
		assert_int_equal(back.op, CONTROL_CANCEL);
		assert_string_equal(back.id, control.id);
		control_deinit(&back);
		for (size_t n = 0; n < body.len; n++) {
			assert_int_equal(
				control_decode((struct slice){ body.data, n }, NULL, &back, &err),
				-EINVAL);
			control_deinit(&back);
		}
		buf_deinit(&body);
	}
}

/* ---- in headers ---- */

struct headers {
	char names[16][32];
	char texts[16][32];
	size_t n;
	size_t room; /* further ones are refused */
};

static int put(const char *name, const char *text, void *userdata)
{
	struct headers *h = userdata;

	if (h->n == h->room)
		return -E2BIG;
	snprintf(h->names[h->n], 32, "%s", name);
	snprintf(h->texts[h->n++], 32, "%s", text);
	return 0;
}

static const char *text_of(const struct headers *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->names[i], name) == 0)
			return h->texts[i];
	return NULL;
}

static const char *get(size_t index, const char **ret_name, bool *ret_is_text,
	char number[FIELDS_NUMBER_SIZE], void *userdata)
{
	struct headers *h = userdata;

	(void)number;
	if (index >= h->n)
		return NULL;
	*ret_name = h->names[index];
	*ret_is_text = h->texts[index][0] != '#'; /* a number, in these tests */
	return h->texts[index] + !*ret_is_text;
}

static void test_headers(void **state)
{
	struct headers h = { .room = 16 };
	struct control back = { 0 };
	struct error err = { 0 };
	const struct control question = {
		.op = CONTROL_WHO_HAS,
		.id = "4711",
		.instance = "a0",
		.print = "00ff",
		.question = "7",
	};

	(void)state;
	assert_int_equal(control_encode_headers(&question, put, &h), 0);
	assert_int_equal(h.n, 5);
	assert_string_equal(text_of(&h, "x-tr-op"), "who-has");
	assert_string_equal(text_of(&h, "x-tr-id"), "4711");
	assert_int_equal(control_decode_headers(get, &h, &back, &err), 0);
	assert_int_equal(back.op, CONTROL_WHO_HAS);
	assert_string_equal(back.print, "00ff");
	assert_string_equal(back.question, "7");
	assert_null(back.state);
	control_deinit(&back);
	h = (struct headers){ .room = 2 };
	assert_int_equal(control_encode_headers(&question, put, &h), -E2BIG);
	assert_int_equal(control_decode_headers(get, &h, &back, &err), -EINVAL);
	assert_non_null(strstr(err.text, "instance is missing"));
	control_deinit(&back);
	h.n = 0;
	assert_int_equal(control_decode_headers(get, &h, &back, &err), -EINVAL);
	assert_non_null(strstr(err.text, "op is missing"));
	control_deinit(&back);
}

static void test_kinds_of_headers(void **state)
{
	static const struct {
		const char *names[4], *texts[4];
		const char *says; /* NULL: it is right */
	} cases[] = {
		{ { "x-tr-op", "x-tr-runner", "x-tr-slots" }, { "set-slots", "r", "#2" }, NULL },
		{ { "x-tr-op", "x-tr-all" }, { "pause", "#true" }, NULL },
		{ { "x-tr-op", "x-tr-id", "x-tr-signal" }, { "signal", "x", "#10" }, NULL },
		{ { "x-tr-op", "x-tr-id" }, { "cancel", "#4711" }, "x-tr-id is not a text" },
		{ { "x-tr-op", "x-tr-group", "x-tr-usr" }, { "kill", "g", "u" },
			"has no 'x-tr-usr'" },
		{ { "x-tr-op", "x-tr-id", "traceparent" }, { "kill", "x", "00" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct headers h = { .room = 16 };
		struct control back = { 0 };
		struct error err = { 0 };
		int r;

		for (size_t k = 0; k < 4 && cases[i].names[k]; k++)
			assert_int_equal(put(cases[i].names[k], cases[i].texts[k], &h), 0);
		r = control_decode_headers(get, &h, &back, &err);
		if (r != (cases[i].says ? -EINVAL : 0) ||
			(cases[i].says && !strstr(err.text, cases[i].says)))
			fail_msg("%zu -> %d %s", i, r, err.text);
		control_deinit(&back);
	}
}

static void test_answer_in_headers(void **state)
{
	struct headers h = { .room = 16 };
	struct record answer = { 0 }, back = { 0 };
	struct error err = { 0 };

	(void)state;
	record_add_text(&answer, "result", "gone");
	record_add_int(&answer, "peak_memory", 5);
	assert_int_equal(record_put_headers(&answer, put, &h), 0);
	assert_string_equal(text_of(&h, "x-tr-peak-memory"), "5");
	assert_int_equal(control_answer_check(&back, &err), -EINVAL);
	for (size_t i = 0; i < h.n; i++)
		record_add_header(&back, h.names[i], h.texts[i]);
	record_add_header(&back, "traceparent", "00");
	assert_int_equal(control_answer_check(&back, &err), 0);
	assert_int_equal(back.n, 2);
	assert_string_equal(record_text(&back, "peak_memory"), "5");
	record_deinit(&answer);
	record_deinit(&back);
}

static void test_faults(void **state)
{
	static const struct {
		const char *body, *says;
	} cases[] = {
		{ "", "not a JSON object" },
		{ "cancel", "not a JSON object" },
		{ "{}", "op is missing" },
		{ "{\"id\":\"x\"}", "op is missing" },
		{ "{\"op\":\"cancel\"}", "id is missing" },
		{ "{\"op\":\"cancel\",\"id\":null}", "id is missing" },
		{ "{\"op\":\"explode\",\"id\":\"x\"}", "op explode is unknown" },
		{ "{\"op\":\"Cancel\",\"id\":\"x\"}", "op Cancel is unknown" },
		{ "{\"op\":\"who-has\",\"id\":\"x\"}", "instance is missing" },
		{ "{\"op\":\"back\",\"id\":\"x\"}", "instance is missing" },
		{ "{\"op\":\"who-has\",\"id\":\"x\",\"instance\":\"0\"}", "question is missing" },
		{ "{\"op\":\"holder\",\"id\":\"x\",\"instance\":\"0\",\"question\":\"1\"}",
			"state is missing" },
		{ "{\"op\":1,\"id\":\"x\"}", "op is not a string" },
		{ "{\"op\":\"cancel\",\"id\":1}", "id is not a string" },
		{ "{\"op\":\"cancel\",\"id\":\"a/b\"}", "id is none" },
		{ "{\"op\":\"cancel\",\"id\":\"\"}", "id is none" },
		{ "{\"op\":\"cancel\",\"id\":\"x\",\"id\":\"y\"}", "id stands twice" },
		{ "{\"op\":\"cancel\",\"op\":\"cancel\",\"id\":\"y\"}", "op stands twice" },
		{ "{\"op\":\"cancel\",\"id\":\"x\"}}", "not valid JSON" },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct control control = { 0 };
		struct error err = { 0 };

		assert_int_equal(
			control_decode(slice_of(cases[i].body), NULL, &control, &err), -EINVAL);
		if (!strstr(err.text, cases[i].says))
			print_error("%s -> %s\n", cases[i].body, err.text);
		assert_non_null(strstr(err.text, cases[i].says));
		control_deinit(&control);
	}
	{
		struct control control = { 0 };

		/* Between runners members of later versions do not matter. */
		assert_int_equal(control_decode(BYTES("{\"op\":\"back\",\"why\":[],\"id\":\"x\","
						      "\"instance\":\"0\"}"),
					 "application/json", &control, NULL),
			0);
		assert_string_equal(control.id, "x");
		control_deinit(&control);
	}
}

static void test_answer_faults(void **state)
{
	static const char *const bodies[] = { "", "{}", "{\"id\":\"x\"}", "{\"result\":[]}", "[]",
		"{\"result\":\"gone\"", "{\"result\":\"gone\",\"result\":\"gone\"}" };

	(void)state;
	for (size_t i = 0; i < N(bodies); i++) {
		struct record answer = { 0 };
		struct error err = { 0 };

		assert_int_equal(
			control_answer_decode(slice_of(bodies[i]), NULL, &answer, &err), -EINVAL);
		assert_int_not_equal(err.text[0], '\0');
		record_deinit(&answer);
	}
}

static void test_selectors(void **state)
{
	static const struct {
		const char *body, *says; /* NULL: right */
	} cases[] = {
		{ "{\"op\":\"cancel\",\"group\":\"g\"}", NULL },
		{ "{\"op\":\"pause\",\"all\":true}", NULL },
		{ "{\"op\":\"pause\",\"all\":\"true\",\"program\":\"p\"}", NULL },
		{ "{\"op\":\"pause\",\"all\":false}", "all can only be true" },
		{ "{\"op\":\"kill\",\"group\":\"g\",\"usr\":\"u\"}", "has no 'usr'" },
		{ "{\"op\":\"back\",\"id\":\"x\",\"instance\":\"0\",\"new\":1}", NULL },
		{ "{\"op\":\"kill\"}", "id is missing, or group" },
		{ "{\"op\":\"kill\",\"id\":\"x\",\"group\":\"g\"}", "id stands alone" },
		{ "{\"op\":\"list\"}", NULL },
		{ "{\"op\":\"status\"}", "id is missing" },
		{ "{\"op\":\"status\",\"id\":\"x\",\"tail\":4096}", NULL },
		{ "{\"op\":\"status\",\"id\":\"x\",\"tail\":-1}", "tail must be" },
		{ "{\"op\":\"signal\",\"id\":\"x\"}", "signal is missing" },
		{ "{\"op\":\"signal\",\"id\":\"x\",\"signal\":10}", NULL },
		{ "{\"op\":\"ping\"}", NULL },
		{ "{\"op\":\"ping\",\"id\":\"x\"}", "ping is about runners" },
		{ "{\"op\":\"drain\"}", "runner is missing" },
		{ "{\"op\":\"drain\",\"runner\":\"r\",\"group\":\"g\"}", "about runners" },
		{ "{\"op\":\"set-slots\",\"runner\":\"r\"}", "slots is missing" },
		{ "{\"op\":\"set-slots\",\"runner\":\"r\",\"slots\":\"many\"}", "slots must be" },
		{ "{\"op\":\"set-slots\",\"runner\":\"r\",\"slots\":10001}", "slots must be" },
		{ "{\"op\":\"set-slots\",\"all\":true,\"slots\":0,\"queue\":\"q\"}", NULL },
		{ "{\"op\":\"cancel\",\"group\":\"g\",\"queued\":60}", NULL },
		{ "{\"op\":\"kill\",\"all\":true,\"queued\":\"86400\"}", NULL },
		{ "{\"op\":\"cancel\",\"group\":\"g\",\"queued\":0}", "queued must be" },
		{ "{\"op\":\"cancel\",\"group\":\"g\",\"queued\":86401}", "queued must be" },
		{ "{\"op\":\"cancel\",\"id\":\"x\",\"queued\":60}", "queued goes with" },
		{ "{\"op\":\"cancel\",\"group\":\"g\",\"runner\":\"r\",\"queued\":60}",
			"queued goes with" },
		{ "{\"op\":\"pause\",\"group\":\"g\",\"queued\":60}", "queued is for" },
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct control control = { 0 };
		struct error err = { 0 };
		int r = control_decode(slice_of(cases[i].body), NULL, &control, &err);

		if (r != (cases[i].says ? -EINVAL : 0) ||
			(cases[i].says && !strstr(err.text, cases[i].says)))
			fail_msg("%s -> %d %s", cases[i].body, r, err.text);
		control_deinit(&control);
	}
}

static void test_notes(void **state)
{
	static const char *const wrong[] = { "", "{", "[]", "{}", "\xff",
		"{\"op\":\"cancel\",\"id\":\"x\"}", "{\"op\":\"cancel\",\"id\":\"x\",\"time\":5}",
		"{\"op\":\"cancel\",\"id\":\"x\",\"time\":\"-5\"}",
		"{\"op\":\"cancel\",\"id\":\"x\",\"time\":\"5s\"}",
		"{\"op\":\"cancel\",\"id\":\"x\",\"time\":\"9223372036854775808\"}",
		"{\"op\":\"cancel\",\"id\":\"..\",\"time\":\"5\"}",
		"{\"op\":\"cancel\",\"time\":\"5\"}", "{\"id\":\"x\",\"time\":\"5\"}",
		"{\"op\":\"who-has\",\"id\":\"x\",\"time\":\"5\"}",
		"{\"op\":\"mark\",\"id\":\"x\",\"time\":\"5\"}",
		"{\"op\":\"sweep\",\"group\":\"g\",\"time\":\"5\"}",
		"{\"op\":\"sweep\",\"group\":\"g\",\"time\":\"5\",\"until\":\"4\"}",
		"{\"op\":\"sweep\",\"group\":7,\"time\":\"5\",\"until\":\"6\"}" };
	struct note note = { .op = NOTE_OVER, .id = "a", .time_ms = 17, .instance = "00" };
	struct note back = { 0 };
	struct buf body = { 0 };

	(void)state;
	assert_int_equal(note_encode(&note, &body), 0);
	assert_true(slice_equal(buf_slice(&body), "{\"op\":\"over\",\"id\":\"a\",\"time\":\"17\","
						  "\"instance\":\"00\"}"));
	assert_int_equal(note_decode(buf_slice(&body), &back, NULL), 0);
	assert_int_equal(back.op, NOTE_OVER);
	assert_string_equal(back.id, "a");
	assert_int_equal(back.time_ms, 17);
	assert_string_equal(back.instance, "00");
	note_deinit(&back);
	buf_deinit(&body);
	for (size_t i = 0; i < N(wrong); i++) {
		struct error err = { 0 };
		assert_int_equal(note_decode(slice_of(wrong[i]), &back, &err), -EINVAL);
		assert_true(err.text[0]);
		note_deinit(&back);
	}
}

static void test_note_of_a_sweep(void **state)
{
	struct note note = { .op = NOTE_SWEEP,
		.of = { .group = "g", .user = "u" },
		.time_ms = 17,
		.until_ms = 18,
		.instance = "00" };
	struct note back = { 0 };
	struct buf body = { 0 };

	(void)state;
	assert_int_equal(note_encode(&note, &body), 0);
	assert_true(slice_equal(buf_slice(&body),
		"{\"op\":\"sweep\",\"group\":\"g\",\"user\":\"u\",\"time\":\"17\",\"until\":\"18\","
		"\"instance\":\"00\"}"));
	assert_int_equal(note_decode(buf_slice(&body), &back, NULL), 0);
	assert_int_equal(back.op, NOTE_SWEEP);
	assert_string_equal(back.of.group, "g");
	assert_string_equal(back.of.user, "u");
	assert_null(back.of.program);
	assert_int_equal(back.until_ms, 18);
	note_deinit(&back);
	buf_deinit(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_between_runners),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_kinds_of_headers),
		cmocka_unit_test(test_answer_in_headers),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_answer_faults),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_note_of_a_sweep),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
