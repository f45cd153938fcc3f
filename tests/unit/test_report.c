/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "taskctl/taskctl.h"
#include "tests/unit/capture.h"
#include "wire/wire.h"

/* An event with what a final response brings, all borrowed. */
static struct taskclient_event final(
	enum taskclient_status status, const char *cause, const char *output)
{
	struct taskclient_event event = {
		.kind = TASKCLIENT_RESPONSE,
		.id = "one",
		.status = status,
		.is_final = true,
		.output = output,
		.output_len = strlen(output),
		.stdout_text = "",
		.stderr_text = "",
		.attempt = 1,
		.sequence = 2,
		.cause = cause,
		.runner = "r1",
		.exit_code = TASKCLIENT_UNKNOWN,
		.signal = TASKCLIENT_UNKNOWN,
		.wall_ms = TASKCLIENT_UNKNOWN,
		.cpu_ms = TASKCLIENT_UNKNOWN,
		.peak_memory = TASKCLIENT_UNKNOWN,
	};

	return event;
}

struct told {
	int status;
	struct capture out, err;
};

static void report(struct told *told, const struct taskclient_event *event, bool brief)
{
	capture_start(&told->out, STDOUT_FILENO);
	capture_start(&told->err, STDERR_FILENO);
	told->status = report_final(event, brief);
	capture_end(&told->err);
	capture_end(&told->out);
}

static void expect(const struct taskclient_event *event, bool brief, int status, const char *out,
	const char *err)
{
	struct told told;

	report(&told, event, brief);
	assert_string_equal(told.out.text, out);
	assert_string_equal(told.err.text, err);
	assert_int_equal(told.status, status);
}

static void test_success(void **state)
{
	struct taskclient_event event = final(TASKCLIENT_STATUS_SUCCESS, NULL, "result");

	(void)state;
	expect(&event, false, EXIT_DONE, "result", "taskctl: one succeeded; on r1\n");
	expect(&event, true, EXIT_DONE, "result", "");
	event.stdout_text = "a word\n";
	event.stderr_text = "unfinished";
	expect(&event, true, EXIT_DONE, "result", "a word\nunfinished\n");
	event = final(TASKCLIENT_STATUS_SUCCESS, NULL, "");
	event.runner = NULL;
	expect(&event, false, EXIT_DONE, "", "taskctl: one succeeded\n");
}

static void test_each_cause_has_its_status(void **state)
{
	struct taskclient_event event;
	char text[128];

	(void)state;
	for (enum cause cause = CAUSE_NONE + 1; cause < CAUSE_COUNT; cause++) {
		int status = EXIT_TASK_FAILED;

		if (cause == CAUSE_TIMED_OUT || cause == CAUSE_SILENT)
			status = EXIT_TOO_LATE;
		if (cause == CAUSE_CANCELLED)
			continue;
		event = final(TASKCLIENT_STATUS_FAILED, cause_name(cause), "why");
		snprintf(text, sizeof(text), "taskctl: one failed (%s): why; on r1\n",
			cause_name(cause));
		expect(&event, true, status, "", text);
	}
	event = final(TASKCLIENT_STATUS_FAILED, NULL, "");
	expect(&event, false, EXIT_TASK_FAILED, "", "taskctl: one failed; on r1\n");
	event = final(TASKCLIENT_STATUS_CANCELLED, "cancelled", "");
	expect(&event, true, EXIT_CANCELLED, "", "taskctl: one was cancelled; on r1\n");
}

static void test_facts(void **state)
{
	struct taskclient_event event = final(TASKCLIENT_STATUS_FAILED, "exited", "no");

	(void)state;
	event.wall_ms = 59994;
	event.cpu_ms = 3723004;
	event.peak_memory = 1536 * 1024;
	event.attempt = 3;
	event.failure_kind = "disk";
	expect(&event, false, EXIT_TASK_FAILED, "",
		"taskctl: one failed (exited): no [disk]; wall 59.9 s, cpu 1 h 02 min, memory 1.5 "
		"MiB, attempt 3, on r1\n");
	event.wall_ms = 60000;
	event.cpu_ms = 0;
	event.attempt = 1;
	event.runner = NULL;
	expect(&event, false, EXIT_TASK_FAILED, "",
		"taskctl: one failed (exited): no [disk]; wall 1 min 00 s, cpu 0 ms, memory 1.5 "
		"MiB\n");
	/* It never ran. */
	event.peak_memory = 0;
	event.attempt = 2;
	expect(&event, false, EXIT_TASK_FAILED, "",
		"taskctl: one failed (exited): no [disk]; attempt 2\n");
}

/* Whatever runners say is one line, and steers no terminal. */
static void test_hostile_texts(void **state)
{
	struct taskclient_event event =
		final(TASKCLIENT_STATUS_FAILED, "exited", "a\nb\033[2J\xc2\x9b\xff");
	struct told told;
	char *reason = malloc(5001);

	(void)state;
	event.failure_kind = "k\r\033]0;t\a";
	event.runner = "r\033c";
	expect(&event, false, EXIT_TASK_FAILED, "",
		"taskctl: one failed (exited): a b [2J  \xef\xbf\xbd [k  ]0;t ]; on r c\n");
	memset(reason, 'x', 5000);
	reason[5000] = '\0';
	event = final(TASKCLIENT_STATUS_FAILED, "exited", reason);
	report(&told, &event, false);
	free(reason);
	assert_non_null(strstr(told.err.text, "x…; on r1\n"));
	assert_true(strlen(told.err.text) < 2100);
}

/* What is told begins a line of its own; stdout gets the output and nothing else. */
static void test_output_on_a_terminal(void **state)
{
	static const struct {
		const char *output, *out, *err;
	} cases[] = {
		{ "result", "result", "\ntaskctl: one succeeded; on r1\n" },
		{ "result\n", "result\r\n", "taskctl: one succeeded; on r1\n" },
		{ "", "", "taskctl: one succeeded; on r1\n" },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (int brief = 0; brief < 2; brief++) {
			struct taskclient_event event =
				final(TASKCLIENT_STATUS_SUCCESS, NULL, cases[i].output);
			struct capture out, err;

			capture_terminal(&out, STDOUT_FILENO, 80);
			capture_start(&err, STDERR_FILENO);
			report_final(&event, brief);
			capture_end(&err);
			capture_end(&out);
			assert_string_equal(out.text, cases[i].out);
			assert_string_equal(err.text, brief ? "" : cases[i].err);
		}
}

static void test_output_that_cannot_be_written(void **state)
{
	struct taskclient_event event = final(TASKCLIENT_STATUS_SUCCESS, NULL, "result");
	struct capture out, err;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), status;

	(void)state;
	capture_into(&out, STDOUT_FILENO, full);
	out.from = memfd_create("nothing", MFD_CLOEXEC);
	capture_start(&err, STDERR_FILENO);
	status = report_final(&event, true);
	capture_end(&err);
	capture_end(&out);
	close(full);
	assert_int_equal(status, EXIT_LOCAL);
	assert_string_equal(err.text,
		"taskctl: one succeeded, but its output cannot be written: No space left on "
		"device\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_each_cause_has_its_status),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_hostile_texts),
		cmocka_unit_test(test_output_on_a_terminal),
		cmocka_unit_test(test_output_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
