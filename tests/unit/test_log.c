/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"

struct fixture {
	int in, out; /* of a pipe; lines come out at `out` */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	if (!f || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	f->out = fds[0];
	f->in = fds[1];
	log_open(f->in);
	log_set_level(LOG_INFO);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	log_open(2);
	close_fd(f->in);
	close_fd(f->out);
	free(f);
	return 0;
}

/* Everything that was written so far, as a string. */
static const char *written(struct fixture *f)
{
	static char text[1 << 20];
	size_t len = 0;
	ssize_t n;

	while ((n = read(f->out, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

/* What stands behind the time, which is checked for its form. */
static const char *after_time(const char *line)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'd')
			assert_in_range(line[i], '0', '9');
		else
			assert_int_equal(line[i], form[i]);
	return line + sizeof(form) - 1;
}

static void test_a_line(void **state)
{
	const struct error err = { .code = -EIO, .text = "it broke: \"x\"" };

	log_info("task.started", LOG_S("task", "4711"), LOG_I("pid", 99),
		LOG_S("why", "two words\n"), LOG_SLICE("part", ((struct slice){ "abcdef", 3 })),
		LOG_S("none", NULL), LOG_E(&err));
	assert_string_equal(after_time(written(*state)),
		"info task.started task=4711 pid=99 why=\"two words\\n\" part=abc none=- "
		"error=\"it broke: \\\"x\\\"\"\n");
	log_error("bare");
	assert_string_equal(after_time(written(*state)), "error bare\n");
	log_warn("numbers", LOG_I("min", INT64_MIN), LOG_ERRNO(-ENOENT));
	assert_string_equal(after_time(written(*state)),
		"warn numbers min=-9223372036854775808 error=\"No such file or directory\"\n");
}

static void test_levels(void **state)
{
	static const char *const names[] = { "error", "warn", "notice", "info", "debug" };
	enum log_level level;

	log_debug("unheard", LOG_I("evaluated", 1));
	assert_string_equal(written(*state), "");
	log_set_level(LOG_DEBUG);
	log_debug("heard");
	assert_string_equal(after_time(written(*state)), "debug heard\n");
	log_set_level(LOG_ERROR);
	assert_false(log_wants(LOG_WARN));
	assert_true(log_wants(LOG_ERROR));
	for (int i = 0; i < 5; i++) {
		assert_int_equal(log_level_parse(names[i], &level), 0);
		assert_int_equal(level, i);
		assert_string_equal(log_level_name(level), names[i]);
	}
	level = LOG_NOTICE;
	assert_int_equal(log_level_parse("INFO", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
	assert_int_equal(level, LOG_NOTICE);
}

static void test_errno_text(void **state)
{
	(void)state;
	assert_string_equal(log_errno_text(ENOENT), "No such file or directory");
	assert_string_equal(log_errno_text(-ENOENT), "No such file or directory");
	assert_string_equal(log_errno_text(-12345), "error 12345");
	assert_string_equal(log_errno_text(INT32_MIN), "error 2147483648");
}

static void test_errno_is_kept(void **state)
{
	errno = EXDEV;
	log_info("x");
	assert_int_equal(errno, EXDEV);
	written(*state);
}

/* One line, well-formed, of at most 4096 bytes, whatever stands in it. */
static void test_long_values_are_cut(void **state)
{
	static char value[100000];
	static const char fills[] = { 'x', '\n', '\xFF', '"', ' ' };

	for (size_t i = 0; i < sizeof(fills); i++) {
		const char *text;
		size_t len;

		memset(value, fills[i], sizeof(value) - 1);
		log_info("long", LOG_S("value", value), LOG_S("next", "y"));
		text = written(*state);
		len = strlen(text);
		assert_in_range(len, 2000, 4096);
		assert_ptr_equal(strchr(text, '\n'), text + len - 1);
		assert_non_null(strstr(text, "\xE2\x80\xA6\""));
		assert_true(text_is_utf8((struct slice){ text, len }));
	}
}

static void test_every_length_up_to_the_limit(void **state)
{
	static char value[4200];

	for (size_t n = 3900; n < sizeof(value); n++) {
		const char *text;

		memset(value, 'v', n);
		value[n] = '\0';
		log_info("e", LOG_S("k", value), LOG_I("n", 7));
		text = written(*state);
		assert_true(strlen(text) <= 4096);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	}
}

static void test_many_fields(void **state)
{
	struct log_field fields[1000];
	const char *text;

	for (size_t i = 0; i < 1000; i++)
		fields[i] = LOG_I("k", 123456);
	log_write(LOG_INFO, "many", fields, 1000);
	text = written(*state);
	assert_in_range(strlen(text), 4000, 4096);
	assert_string_equal(text + strlen(text) - 5, " \xE2\x80\xA6\n");
}

/* A reader that does not read: lines are dropped and counted, nothing blocks (the pipe is made
 * blocking for that), and the count is told when there is room. */
static void test_a_full_pipe(void **state)
{
	struct fixture *f = *state;
	const char *text, *at;
	unsigned n_lines = 0;
	int flags = fcntl(f->in, F_GETFL);

	fcntl(f->in, F_SETFL, flags & ~O_NONBLOCK);
	for (int i = 0; i < 10000; i++)
		log_info("flood", LOG_S("filler", "0123456789012345678901234567890123456789"));
	text = written(f);
	for (at = text; (at = strchr(at, '\n')); at++)
		n_lines++;
	assert_in_range(n_lines, 1, 9999);
	assert_null(strstr(text, "dropped"));

	log_info("after");
	at = after_time(written(f));
	text = strstr(at, "\n");
	assert_non_null(text);
	{
		char expected[64];

		snprintf(
			expected, sizeof(expected), "warn log.dropped count=%u\n", 10000 - n_lines);
		assert_memory_equal(at, expected, strlen(expected));
	}
	assert_string_equal(after_time(text + 1), "info after\n");
	log_info("once");
	assert_string_equal(after_time(written(f)), "info once\n");
}

/* Nobody reads any more: no SIGPIPE, no end of the program. */
static void test_a_broken_pipe(void **state)
{
	struct fixture *f = *state;

	f->out = close_fd(f->out);
	log_info("into the void");
	log_info("again");
	f->in = close_fd(f->in);
	log_open(-1);
	log_info("no descriptor");
	/* What was dropped is told in the next test's pipe otherwise. */
	{
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
		f->out = fds[0];
		f->in = fds[1];
		log_open(f->in);
		log_info("back");
		assert_non_null(strstr(written(f), "log.dropped count=3\n"));
	}
}

static void *write_lines(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_info("thread", LOG_I("number", (intptr_t)arg), LOG_I("line", i));
	return NULL;
}

/* Lines of threads in @text, with those that were reported as dropped. */
static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text = strchr(text, '\n') + 1) {
		const char *line = after_time(text);
		unsigned number, i;

		if (sscanf(line, "warn log.dropped count=%u", &number) == 1)
			n += number;
		else if (strncmp(line, "info end\n", 9) != 0 &&
			 sscanf(line, "info thread number=%u line=%u", &number, &i) == 2)
			n++;
		else
			assert_memory_equal(line, "info end\n", 9);
	}
	return n;
}

static void test_threads_do_not_mix_lines(void **state)
{
	pthread_t threads[4];
	struct fixture *f = *state;
	unsigned n_lines;

	for (intptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)i), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	n_lines = count_lines(written(f));
	assert_in_range(n_lines, 1, 2000);
	/* Lines that were lost at the very end are told with the next. */
	log_info("end");
	n_lines += count_lines(written(f));
	assert_int_equal(n_lines, 2000);
}

int main(void)
{
#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_a_line),
		LOG_TEST(test_levels),
		cmocka_unit_test(test_errno_text),
		LOG_TEST(test_errno_is_kept),
		LOG_TEST(test_long_values_are_cut),
		LOG_TEST(test_every_length_up_to_the_limit),
		LOG_TEST(test_many_fields),
		LOG_TEST(test_a_full_pipe),
		LOG_TEST(test_a_broken_pipe),
		LOG_TEST(test_threads_do_not_mix_lines),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
