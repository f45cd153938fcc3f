/* SPDX-License-Identifier: Apache-2.0 */
/* Progress and failure: what is written, and that it is written whole or not at all. */
#include "tests/unit/taskiface_fixture.h"

#include <locale.h>
#include <math.h>

static struct pipes p;
static struct taskiface *task;

static int open_all(void **state)
{
	(void)state;
	pipes_open(&p);
	task = pipes_task(&p);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	taskiface_close(task);
	pipes_close(&p);
	return 0;
}

/* --- what is written --- */

static void checks_data(void **state)
{
	static const char *const bad[] = { "", " ", "{", "}", "[1,]", "[,1]", "{\"a\":}",
		"{\"a\" 1}", "{a:1}", "{\"a\":1,}", "01", "-", "1.", ".5", "1e", "1e+", "+1", "tru",
		"nul", "truex", "\"", "\"\\\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u12", "\"a\nb\"",
		"\"\x01\"", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "1 2", "[1] x", "{} {}",
		"'a'", "NaN", "[1", "{\"a\":1", "\xef\xbb\xbf{}", "/", "\"\xf4\x90\x80\x80\"",
		"\"\xc0\x80\"", "\"\xe0\x80\x80\"", "\"\xf0\x80\x80\x80\"" };
	static const char *const good[] = { "0", "-0", "-1.25e-7", "1E+2", "true", "false", "null",
		"\"\"", "\"\\u00e9\\n\\\"\\/\"", "\"żółć \xf0\x9f\x98\x80\"", "[]", "[ ]", "{}",
		"{ }", "[1,[2,{\"a\":[{}]}]]", " {\"a\" : 1 , \"b\":[ ]} " };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int r = taskiface_progress(task, NAN, NULL, bad[i]);

		if (r != -EINVAL)
			fail_msg("taken for JSON: %s", bad[i]);
	}
	pipes_expect(p.progress_fd, "");
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		char expected[128];

		snprintf(expected, sizeof(expected), "{\"data\":%s}\n", good[i]);
		if (good[i][0] == ' ') /* the space behind it is dropped */
			snprintf(expected, sizeof(expected), "{\"data\":%.*s}\n",
				(int)strlen(good[i]) - 1, good[i]);
		assert_int_equal(taskiface_progress(task, NAN, NULL, good[i]), 0);
		pipes_expect(p.progress_fd, expected);
	}
}

static void bounds_the_depth_of_data(void **state)
{
	enum { DEEP = 100000 };
	char *deep = malloc(2 * DEEP + 1);

	(void)state;
	memset(deep, '[', DEEP);
	memset(deep + DEEP, ']', DEEP);
	deep[2 * DEEP] = '\0';
	assert_int_equal(taskiface_progress(task, 0, NULL, deep), -EINVAL);
	assert_int_equal(taskiface_progress(task, 0, NULL, deep + DEEP - 512), -EINVAL);
	deep[DEEP + 512] = '\0';
	assert_int_equal(taskiface_progress(task, 0, NULL, deep + DEEP - 512), 0);
	free(deep);
}

static void puts_data_on_one_line(void **state)
{
	(void)state;
	assert_int_equal(taskiface_progress(task, 0.25, NULL, "{\r\n\t\"a\":\n1}\n"), 0);
	pipes_expect(p.progress_fd, "{\"fraction\":0.25,\"data\":{  \t\"a\": 1}}\n");
}

static void escapes_every_message(void **state)
{
	char all[256], *got;

	(void)state;
	for (int i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	all[255] = '\0';
	assert_int_equal(taskiface_progress(task, NAN, "a\"\\\n\t\r\x01\x7f", NULL), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"a\\\"\\\\\\n\\t\\r\\u0001\\u007f\"}\n");
	assert_int_equal(taskiface_progress(task, NAN, "\xc3\xa9 \xff\xc3", NULL), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\"}\n");
	assert_int_equal(taskiface_progress(task, NAN, all, NULL), 0);
	got = pipes_take(p.progress_fd, NULL);
	/* What we wrote passes our own check, given back as data. */
	*strchr(got, '\n') = '\0';
	assert_int_equal(taskiface_progress(task, NAN, NULL, got), 0);
	free(got);
}

static void writes_fractions(void **state)
{
	static const struct {
		double fraction;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ -0.0, "0" },
		{ 1, "1" },
		{ 0.4, "0.4" },
		{ 1.0 / 3, "0.333333" },
		{ 0.9999999, "1" },
		{ 1e-9, "0" },
		{ -3, "0" },
		{ 17, "1" },
		{ INFINITY, "1" },
		{ -INFINITY, "0" },
		{ 0.05, "0.05" },
		{ 0.000001, "0.000001" },
	};
	char expected[64];

	(void)state;
	setlocale(LC_ALL, "de_DE.UTF-8"); /* a comma for a point, where it is installed */
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(expected, sizeof(expected), "{\"fraction\":%s}\n", cases[i].text);
		assert_int_equal(taskiface_progress(task, cases[i].fraction, NULL, NULL), 0);
		pipes_expect(p.progress_fd, expected);
	}
	setlocale(LC_ALL, "C");
	assert_int_equal(taskiface_progress(task, NAN, NULL, NULL), 0);
	pipes_expect(p.progress_fd, "{}\n");
}

static void refuses_records_that_are_too_large(void **state)
{
	char *text = malloc(TASKIFACE_RECORD_MAX + 2);

	(void)state;
	memset(text, 'x', TASKIFACE_RECORD_MAX + 1);
	text[TASKIFACE_RECORD_MAX + 1] = '\0';
	assert_int_equal(taskiface_progress(task, 0, text, NULL), -EMSGSIZE);
	assert_int_equal(taskiface_progress_raw(task, text, TASKIFACE_RECORD_MAX + 1), -EMSGSIZE);
	assert_int_equal(taskiface_progress_raw(task, text, 0), -EINVAL);
	pipes_expect(p.progress_fd, "");
	assert_int_equal(taskiface_progress_raw(task, "line\n", 5), 0);
	pipes_expect(p.progress_fd, "line\n");
	free(text);
}

/* --- when it is written --- */

static void waits_and_drops_what_found_no_room(void **state)
{
	size_t filled = pipes_fill(p.progress_keeper);

	(void)state;
	assert_int_equal(
		taskiface_progress_mode(task, (enum taskiface_progress_mode)7, 0), -EINVAL);
	assert_int_equal(taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, 5), 0);
	assert_int_equal(taskiface_progress(task, 0, "dropped", NULL), -ETIMEDOUT);
	assert_int_equal(taskiface_fail(task, "a", "dropped too", 5), -ETIMEDOUT);
	pipes_drop(p.progress_fd, filled);
	assert_int_equal(taskiface_progress(task, 0, "sent", NULL), 0);
	assert_int_equal(taskiface_fail(task, "a", NULL, 0), 0); /* it may be tried again */
	pipes_expect(p.progress_fd,
		"{\"fraction\":0,\"message\":\"sent\"}\n{\"taskiface\":\"fail\",\"kind\":\"a\"}\n");
}

static void keeps_only_the_latest(void **state)
{
	size_t filled = pipes_fill(p.progress_keeper);
	char message[32];

	(void)state;
	assert_int_equal(taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, SOON_MS), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(message, sizeof(message), "step %d", i);
		assert_int_equal(taskiface_progress(task, NAN, message, NULL), 0);
	}
	assert_int_equal(taskiface_flush(task, 0), -ETIMEDOUT);
	assert_int_equal(taskiface_flush(task, 2), -ETIMEDOUT);
	pipes_drop(p.progress_fd, filled);
	pipes_expect(p.progress_fd, "");
	assert_int_equal(taskiface_flush(task, SOON_MS), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"step 999\"}\n");
	assert_int_equal(taskiface_progress(task, NAN, "then", NULL), 0);
	assert_int_equal(taskiface_flush(task, 0), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"then\"}\n");
}

static void the_next_report_sends_what_was_kept_first(void **state)
{
	size_t filled = pipes_fill(p.progress_keeper);

	(void)state;
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 0);
	assert_int_equal(taskiface_progress(task, NAN, "kept", NULL), 0);
	pipes_drop(p.progress_fd, filled);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, SOON_MS);
	assert_int_equal(taskiface_progress(task, NAN, "new", NULL), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"kept\"}\n{\"message\":\"new\"}\n");
}

static void close_sends_the_last(void **state)
{
	size_t filled = pipes_fill(p.progress_keeper);

	(void)state;
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 5);
	assert_int_equal(taskiface_progress(task, NAN, "last", NULL), 0);
	assert_int_equal(taskiface_close(task), -ETIMEDOUT);
	task = pipes_task(&p);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, SOON_MS);
	assert_int_equal(taskiface_progress(task, NAN, "last", NULL), 0);
	pipes_drop(p.progress_fd, filled);
	assert_int_equal(taskiface_close(task), 0);
	pipes_expect(p.progress_fd, "{\"message\":\"last\"}\n");
	task = NULL;
}

static void waits_for_a_reader_that_comes_late(void **state)
{
	(void)state;
	pipes_shut(&p.progress_fd);
	pipes_shut(&p.progress_keeper);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, 5);
	assert_int_equal(taskiface_progress(task, 0, "nobody", NULL), -ETIMEDOUT);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 5);
	assert_int_equal(taskiface_progress(task, 0, "older", NULL), 0);
	assert_int_equal(taskiface_progress(task, 1, "newer", NULL), 0);
	assert_int_equal(taskiface_flush(task, 25), -ETIMEDOUT);
	pipes_open_progress(&p);
	assert_int_equal(taskiface_flush(task, SOON_MS), 0);
	pipes_expect(p.progress_fd, "{\"fraction\":1,\"message\":\"newer\"}\n");
}

/* A record longer than the pipe goes in pieces: what was begun is finished, whatever comes next. */
static void never_cuts_a_record_short(void **state)
{
	enum { LONG = 300000 };
	char *text = malloc(LONG + 1), *got;
	size_t len = 0;

	(void)state;
	memset(text, 'x', LONG);
	text[LONG] = '\0';
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 0);
	assert_int_equal(taskiface_progress(task, NAN, text, NULL), 0);
	assert_int_equal(taskiface_progress(task, NAN, "older", NULL), 0);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, 5);
	assert_int_equal(taskiface_progress(task, NAN, "dropped", NULL), -ETIMEDOUT);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 0);
	assert_int_equal(taskiface_progress(task, NAN, "newest", NULL), 0);
	got = malloc(2 * LONG);
	for (int r = -ETIMEDOUT; r != 0;) {
		ssize_t n = read(p.progress_fd, got + len, 2 * LONG - len);

		assert_true(n > 0);
		len += (size_t)n;
		r = taskiface_flush(task, 0);
		assert_true(r == 0 || r == -ETIMEDOUT);
	}
	len += (size_t)read(p.progress_fd, got + len, 2 * LONG - len);
	got[len] = '\0';
	assert_int_equal(
		len, strlen("{\"message\":\"\"}\n") + LONG + strlen("{\"message\":\"newest\"}\n"));
	assert_string_equal(
		got + len - strlen("{\"message\":\"newest\"}\n"), "{\"message\":\"newest\"}\n");
	assert_int_equal(strspn(got + strlen("{\"message\":\""), "x"), LONG);
	free(got);
	free(text);
}

static void a_long_record_that_was_begun_is_finished_by_the_next_call(void **state)
{
	enum { LONG = 100000 };
	char *text = malloc(LONG + 1);
	size_t capacity = (size_t)fcntl(p.progress_fd, F_GETPIPE_SZ);

	(void)state;
	memset(text, 'x', LONG);
	text[LONG] = '\0';
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, 5);
	assert_int_equal(taskiface_progress(task, NAN, text, NULL), -ETIMEDOUT);
	assert_int_equal(taskiface_flush(task, 0), -ETIMEDOUT);
	pipes_drop(p.progress_fd, capacity);
	assert_int_equal(taskiface_flush(task, SOON_MS), 0);
	assert_int_equal(taskiface_progress(task, 1, NULL, NULL), 0);
	pipes_drop(p.progress_fd, strlen("{\"message\":\"\"}\n") + LONG - capacity);
	pipes_expect(p.progress_fd, "{\"fraction\":1}\n");
	free(text);
}

/* Standard error takes a page at a time, so that a kept record is begun while there still is room:
 * what comes next must not get into it. */
static void a_kept_record_is_finished_before_the_next(void **state)
{
	enum { LONG = 10000 };
	char *text = malloc(LONG + 1), *got;
	int err[2], saved = dup(2), kept, sent;
	struct taskiface *by_hand = NULL;
	size_t filled;

	(void)state;
	memset(text, 'x', LONG);
	text[LONG] = '\0';
	assert_int_equal(pipe(err), 0);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	filled = pipes_fill(err[1]);
	dup2(err[1], 2);
	assert_int_equal(taskiface_open(NULL, NULL, &by_hand), 0);
	taskiface_progress_mode(by_hand, TASKIFACE_PROGRESS_LATEST, 0);
	kept = taskiface_progress(by_hand, NAN, text, NULL);
	pipes_drop(err[0], filled);
	taskiface_progress_mode(by_hand, TASKIFACE_PROGRESS_WAIT, SOON_MS);
	sent = taskiface_progress(by_hand, 1, NULL, NULL);
	taskiface_close(by_hand);
	dup2(saved, 2);
	assert_int_equal(kept | sent, 0);
	got = pipes_take(err[0], NULL);
	assert_int_equal(strspn(got + strlen("{\"message\":\""), "x"), LONG);
	assert_string_equal(strchr(got, '}'), "}\n{\"fraction\":1}\n");
	free(got);
	free(text);
	close(saved);
	close(err[0]);
	close(err[1]);
}

/* --- threads --- */

enum { THREADS = 4, RECORDS = 300 };

static void *report_much(void *arg)
{
	char message[64];

	for (int i = 0; i < RECORDS; i++) {
		snprintf(message, sizeof(message), "%c %03d", 'a' + (int)(intptr_t)arg, i);
		if (taskiface_progress(task, NAN, message, NULL) != 0)
			return (void *)1;
	}
	return NULL;
}

/* Several threads, a pipe of one page, a slow reader: each record arrives once, whole, in order. */
static void threads_do_not_mix_records(void **state)
{
	pthread_t threads[THREADS];
	int next[THREADS] = { 0 }, lines = 0;
	char line[64];
	FILE *f;

	(void)state;
	assert_int_equal(fcntl(p.progress_fd, F_SETPIPE_SZ, 4096), 4096);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_WAIT, SOON_MS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, report_much, (void *)(intptr_t)i);
	fcntl(p.progress_fd, F_SETFL, 0);
	f = fdopen(dup(p.progress_fd), "r");
	for (; lines < THREADS * RECORDS; lines++) {
		char who;
		int number;

		assert_non_null(fgets(line, sizeof(line), f));
		assert_int_equal(sscanf(line, "{\"message\":\"%c %d\"}", &who, &number), 2);
		assert_in_range(who, 'a', 'a' + THREADS - 1);
		assert_int_equal(number, next[who - 'a']++);
	}
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	fclose(f);
}

static void *flush_long(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)taskiface_flush(task, SOON_MS);
}

static void *flush_for_ever(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)taskiface_flush(task, TASKIFACE_FOREVER);
}

/* A wait that began before there was a reader ends when there is one. */
static void notices_a_reader_while_it_waits(void **state)
{
	pthread_t thread;
	void *flushed;

	(void)state;
	pipes_shut(&p.progress_fd);
	pipes_shut(&p.progress_keeper);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 0);
	assert_int_equal(taskiface_progress(task, 1, NULL, NULL), 0);
	pthread_create(&thread, NULL, flush_for_ever, NULL);
	poll(NULL, 0, 5); /* most likely it waits by now; if not, the test is only weaker */
	pipes_open_progress(&p);
	pthread_join(thread, &flushed);
	assert_int_equal((intptr_t)flushed, 0);
	pipes_expect(p.progress_fd, "{\"fraction\":1}\n");
}

/* While one thread waits for room, another that never waits does not wait for it either. */
static void latest_is_not_held_up_by_a_waiting_thread(void **state)
{
	size_t filled = pipes_fill(p.progress_keeper);
	pthread_t thread;
	void *flushed;

	(void)state;
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 0);
	assert_int_equal(taskiface_progress(task, NAN, "first", NULL), 0);
	pthread_create(&thread, NULL, flush_long, NULL);
	for (int i = 0; i < 1000; i++) /* would take a thousand deadlines if it waited */
		assert_int_equal(taskiface_progress(task, NAN, "newer", NULL), 0);
	pipes_drop(p.progress_fd, filled);
	pthread_join(thread, &flushed);
	assert_int_equal((intptr_t)flushed, 0);
	pipes_expect(p.progress_fd, "{\"message\":\"newer\"}\n");
}

/* --- failure --- */

static void declares_a_failure_once(void **state)
{
	(void)state;
	assert_int_equal(taskiface_fail(task, "data", "line 3: \"x\"", 0), 0);
	pipes_expect(p.progress_fd,
		"{\"taskiface\":\"fail\",\"kind\":\"data\",\"message\":\"line 3: \\\"x\\\"\"}\n");
	assert_int_equal(taskiface_fail(task, "data", "again", 0), -EALREADY);
	pipes_expect(p.progress_fd, "");
}

static void a_failure_needs_neither_kind_nor_message(void **state)
{
	(void)state;
	assert_int_equal(taskiface_fail(task, NULL, NULL, 0), 0);
	pipes_expect(p.progress_fd, "{\"taskiface\":\"fail\"}\n");
}

/* Cut at the end of a character, within the bounds that the runner has for both. */
static void cuts_long_failures(void **state)
{
	char kind[100], message[3 * 2000 + 1], *got;

	(void)state;
	memset(kind, 'k', 99);
	kind[99] = '\0';
	message[0] = '\0';
	for (int i = 0; i < 2000; i++)
		memcpy(message + 3 * i, "\xe2\x82\xac", 4);
	assert_int_equal(taskiface_fail(task, kind, message, 0), 0);
	got = pipes_take(p.progress_fd, NULL);
	assert_int_equal(strspn(strstr(got, "kind\":\"") + strlen("kind\":\""), "k"), 63);
	assert_int_equal(strspn(strstr(got, "\xe2"), "\xe2\x82\xac"), 4095 / 3 * 3);
	free(got);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(checks_data),
		TEST(bounds_the_depth_of_data),
		TEST(puts_data_on_one_line),
		TEST(escapes_every_message),
		TEST(writes_fractions),
		TEST(refuses_records_that_are_too_large),
		TEST(waits_and_drops_what_found_no_room),
		TEST(keeps_only_the_latest),
		TEST(the_next_report_sends_what_was_kept_first),
		TEST(close_sends_the_last),
		TEST(waits_for_a_reader_that_comes_late),
		TEST(never_cuts_a_record_short),
		TEST(a_long_record_that_was_begun_is_finished_by_the_next_call),
		TEST(a_kept_record_is_finished_before_the_next),
		TEST(threads_do_not_mix_records),
		TEST(notices_a_reader_while_it_waits),
		TEST(latest_is_not_held_up_by_a_waiting_thread),
		TEST(declares_a_failure_once),
		TEST(a_failure_needs_neither_kind_nor_message),
		TEST(cuts_long_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
