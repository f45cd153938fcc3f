/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/task_event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define N(list) (sizeof(list) / sizeof(*(list)))

static struct task_event_facts some(enum event_kind kind)
{
	struct task_event_facts f;
	task_event_init(&f, kind);
	f.runner = "r1";
	f.instance = "62c007807216aa01";
	f.time_ms = 1767225600000;
	if (!event_kind_is_of_runner(kind))
		f.id = "4711";
	return f;
}

static void assert_written(const struct task_event_facts *facts, const char *json)
{
	struct buf body = { 0 };
	assert_int_equal(task_event_encode(facts, &body), 0);
	assert_int_equal(buf_append(&body, "", 1), 0);
	assert_string_equal(body.data, json);
	buf_deinit(&body);
}

static void test_golden(void **state)
{
	struct task_event_facts f = some(EVENT_FAILED), least = some(EVENT_READY);
	(void)state;
	f.program = "render \"fast\"";
	f.group = "night";
	f.user = "adam";
	f.project = "p";
	f.queue = "taskrunner.requests";
	f.cause = CAUSE_EXITED;
	f.attempt = 2;
	f.waited_ms = 0;
	f.wall_ms = 1500;
	f.cpu_ms = 900;
	f.peak_memory = 12345678901;
	f.exit_code = 0;
	f.signal = 9;
	assert_written(&f,
		"{\"event\":\"failed\",\"id\":\"4711\",\"program\":\"render \\\"fast\\\"\","
		"\"group\":\"night\",\"user\":\"adam\",\"project\":\"p\","
		"\"queue\":\"taskrunner.requests\",\"runner\":\"r1\","
		"\"instance\":\"62c007807216aa01\",\"cause\":\"exited\",\"attempt\":2,"
		"\"time\":1767225600000,\"waited_ms\":0,\"wall_ms\":1500,\"cpu_ms\":900,"
		"\"peak_memory\":12345678901,\"exit_code\":0,\"signal\":9}");
	assert_written(&least, "{\"event\":\"ready\",\"runner\":\"r1\","
			       "\"instance\":\"62c007807216aa01\",\"time\":1767225600000}");
}

static void assert_same_text(const char *a, const char *b)
{
	if (a)
		assert_string_equal(a, b);
	else
		assert_null(b);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (int kind = 0; kind < EVENT_KINDS; kind++) {
		struct task_event_facts f = some((enum event_kind)kind), back;
		struct error err = { 0 };
		struct buf body = { 0 };
		f.project = "\xc3\xa9\n";
		f.cause = kind % 2 ? CAUSE_TIMED_OUT : CAUSE_NONE;
		f.attempt = INT32_MAX;
		f.cpu_ms = INT64_MAX;
		assert_int_equal(task_event_encode(&f, &body), 0);
		assert_int_equal(task_event_decode(buf_slice(&body), &back, &err), 0);
		assert_int_equal(back.kind, kind);
		assert_int_equal(back.cause, f.cause);
		assert_same_text(f.id, back.id);
		assert_same_text(f.project, back.project);
		assert_null(back.user);
		assert_int_equal(back.attempt, INT32_MAX);
		assert_true(back.cpu_ms == INT64_MAX);
		assert_int_equal(back.exit_code, EVENT_UNKNOWN);
		task_event_deinit(&back);
		assert_null(back.project);
		buf_deinit(&body);
	}
}

#define TASK   "\"id\":\"x\",\"runner\":\"r\",\"time\":5"
#define STARTS "{\"event\":\"started\","

static void test_faults(void **state)
{
	static const char *const wrong[] = { "", "{", "[]", "{}", "\xff", "null", "\x81\xa2id\xa1x",
		"{" TASK "}", "{\"event\":\"begun\"," TASK "}", "{\"event\":1," TASK "}",
		"{\"event\":null," TASK "}", STARTS "\"event\":\"started\"," TASK "}",
		STARTS "\"runner\":\"r\",\"time\":5}", STARTS "\"id\":\"x\",\"runner\":\"r\"}",
		STARTS "\"id\":\"x\",\"time\":5}",
		STARTS "\"id\":\"x\",\"runner\":\"\",\"time\":5}",
		STARTS "\"id\":\"a/b\",\"runner\":\"r\",\"time\":5}",
		STARTS "\"id\":7,\"runner\":\"r\",\"time\":5}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":\"5\"}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":-5}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":5.0}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":5e3}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":9223372036854775808}",
		STARTS "\"id\":\"x\",\"runner\":\"r\",\"time\":111111111111111111111}",
		STARTS TASK ",\"attempt\":2147483648}", STARTS TASK ",\"exit_code\":true}",
		STARTS TASK ",\"cause\":\"bored\"}", STARTS TASK ",\"cause\":\"\"}",
		STARTS TASK ",\"program\":[]}", STARTS TASK ",\"user\":\"\\u0000\"}",
		STARTS TASK "} {}", "{\"event\":\"ready\"," TASK "}" };
	(void)state;
	for (size_t i = 0; i < N(wrong); i++) {
		struct task_event_facts back;
		struct error err = { 0 };
		assert_int_equal(task_event_decode(slice_of(wrong[i]), &back, &err), -EINVAL);
		assert_true(err.text[0]);
		task_event_deinit(&back);
	}
}

static void test_what_is_for_later_versions(void **state)
{
	struct task_event_facts back;
	(void)state;
	assert_int_equal(
		task_event_decode(slice_of(" " STARTS TASK ",\"mood\":{\"a\":[1.5]},\"cause\":null,"
					   "\"wall_ms\":null,\"program\":null}"),
			&back, NULL),
		0);
	assert_int_equal(back.kind, EVENT_STARTED);
	assert_null(back.program);
	assert_int_equal(back.wall_ms, EVENT_UNKNOWN);
	task_event_deinit(&back);
}

static void test_keys(void **state)
{
	static const struct {
		enum event_kind kind;
		const char *name, *key;
	} cases[] = {
		{ EVENT_STARTED, "render", "task.started.render" },
		{ EVENT_WAITING, "/opt/bin/render.py", "task.waiting._opt_bin_render_py" },
		{ EVENT_SUCCEEDED, "a b*c#d:e\\f\n", "task.succeeded.a_b_c_d_e_f_" },
		{ EVENT_FAILED, NULL, "task.failed._" },
		{ EVENT_RETURNED, "", "task.returned._" },
		{ EVENT_DRAINING, "host.example", "runner.draining.host_example" },
		{ EVENT_CANCELLED, "\xc3\xa9", "task.cancelled.\xc3\xa9" },
	};
	char key[TASK_EVENT_KEY_SIZE], name[400];
	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		task_event_key(cases[i].kind, cases[i].name, key);
		assert_string_equal(key, cases[i].key);
	}
	/* As long as AMQP allows, and not within a character. */
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	task_event_key(EVENT_STARTED, name, key);
	assert_int_equal(strlen(key), 255);
	memcpy(name + 255 - strlen("task.started.") - 1, "\xc3\xa9", 2);
	task_event_key(EVENT_STARTED, name, key);
	assert_int_equal(strlen(key), 254);
}

static void test_kinds(void **state)
{
	enum event_kind kind;
	(void)state;
	for (int i = 0; i < EVENT_KINDS; i++) {
		const char *name = event_kind_name((enum event_kind)i);
		assert_int_equal(event_kind_parse(slice_of(name), &kind), 0);
		assert_int_equal(kind, i);
	}
	assert_int_equal(event_kind_parse(slice_of(""), &kind), -EINVAL);
	assert_int_equal(event_kind_parse(slice_of(NULL), &kind), -EINVAL);
	assert_true(event_kind_is_final(EVENT_CANCELLED));
	assert_false(event_kind_is_final(EVENT_RETURNED));
	assert_true(event_kind_is_of_runner(EVENT_STOPPED));
	assert_false(event_kind_is_of_runner(EVENT_RETURNED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_what_is_for_later_versions),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
