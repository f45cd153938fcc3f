/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <msgpack/unpack.h>

#include "taskctl/table.h"
#include "taskctl/taskctl.h"
#include "tests/unit/capture.h"
#include "wire/json.h"

#define N(array) (sizeof(array) / sizeof(*(array)))

enum { ID, STATE, PROGRESS, CPU, MEMORY, MESSAGE, COLUMNS_OF_TASKS };

static const struct column tasks[] = {
	[ID] = { "ID", "id", COLUMN_TEXT },
	[STATE] = { "STATE", "state", COLUMN_STATE },
	[PROGRESS] = { "PROGRESS", "progress", COLUMN_FRACTION, .drop = 1, .min = 1 },
	[CPU] = { "CPU", "cpu_ms", COLUMN_DURATION, .drop = 3 },
	[MEMORY] = { "MEMORY", "memory", COLUMN_BYTES, .drop = 2 },
	[MESSAGE] = { "MESSAGE", "message", COLUMN_TEXT, .drop = 1, .min = 8 },
};

static void put_task(struct table *t, const char *id, const char *state, double progress,
	int64_t cpu_ms, int64_t memory, const char *message)
{
	table_row(t);
	table_put_text(t, MESSAGE, message);
	table_put_text(t, ID, id);
	table_put_text(t, STATE, state);
	table_put_real(t, PROGRESS, progress);
	table_put_number(t, CPU, cpu_ms);
	table_put_number(t, MEMORY, memory);
}

static struct table *three_tasks(void)
{
	struct table *t = table_new(tasks, COLUMNS_OF_TASKS);

	put_task(t, "one", "running", 0.4, 12345, 1536, "counting words");
	put_task(t, "two", "waiting", NAN, TABLE_ABSENT, TABLE_ABSENT, NULL);
	put_task(t, "three", "paused", 1, 850, 37 * 1024 * 1024, "漢字 and e\xcc\x81");
	return t;
}

static const char *rendered(struct table *t, const struct output_options *output, struct buf *out)
{
	buf_clear(out);
	assert_int_equal(table_render(t, output, out), 0);
	assert_int_equal(buf_append(out, "", 1), 0);
	return out->data;
}

static void expect(struct table *t, const struct output_options *output, const char *shown)
{
	struct buf out = { 0 };

	assert_string_equal(rendered(t, output, &out), shown);
	buf_deinit(&out);
}

/* ---- people ---- */

static void test_in_full(void **state)
{
	const struct output_options pipe = { 0 }, bare = { .no_header = true };
	struct table *t = three_tasks();

	(void)state;
	expect(t, &pipe,
		"ID     STATE    PROGRESS     CPU    MEMORY  MESSAGE\n"
		"one    running       40%  12.3 s   1.5 KiB  counting words\n"
		"two    waiting         -       -         -  -\n"
		"three  paused       100%  850 ms  37.0 MiB  漢字 and e\xcc\x81\n");
	expect(t, &bare,
		"one    running       40%  12.3 s   1.5 KiB  counting words\n"
		"two    waiting         -       -         -  -\n"
		"three  paused       100%  850 ms  37.0 MiB  漢字 and e\xcc\x81\n");
	t = table_free(t);
	assert_null(t);
	t = table_new(tasks, COLUMNS_OF_TASKS);
	expect(t, &pipe, "ID  STATE  PROGRESS  CPU  MEMORY  MESSAGE\n");
	expect(t, &bare, "");
	table_free(t);
}

/* What gives way, in which order, from a wide terminal to one that cannot show anything. */
static void test_on_narrow_terminals(void **state)
{
	static const struct {
		size_t width;
		const char *header, *first;
	} cases[] = {
		{ 71, "ID     STATE             PROGRESS     CPU    MEMORY  MESSAGE",
			"one    running  [####......]  40%  12.3 s   1.5 KiB  counting words" },
		/* First the bar, */
		{ 66, "ID     STATE    PROGRESS     CPU    MEMORY  MESSAGE",
			"one    running       40%  12.3 s   1.5 KiB  counting words" },
		/* then texts, */
		{ 56, "ID     STATE    PROGRESS     CPU    MEMORY  MESSAGE",
			"one    running       40%  12.3 s   1.5 KiB  counting wo…" },
		{ 52, "ID     STATE    PROGRESS     CPU    MEMORY  MESSAGE",
			"one    running       40%  12.3 s   1.5 KiB  countin…" },
		/* then columns. */
		{ 51, "ID     STATE    PROGRESS    MEMORY  MESSAGE",
			"one    running       40%   1.5 KiB  counting words" },
		{ 43, "ID     STATE    PROGRESS  MESSAGE",
			"one    running       40%  counting words" },
		{ 34, "ID     STATE    PROGRESS  MESSAGE", "one    running       40%  countin…" },
		{ 33, "ID     STATE             PROGRESS", "one    running  [####......]  40%" },
		{ 32, "ID     STATE    PROGRESS", "one    running       40%" },
		{ 23, "ID     STATE", "one    running" },
		/* What should always stay goes from the right. */
		{ 13, "ID     STATE", "one    runni…" },
		{ 8, "ID     …", "one    …" },
		{ 7, "ID", "one" },
		{ 2, "ID", "o…" },
		{ 1, "…", "…" },
	};
	struct table *t = three_tasks();

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		const struct output_options terminal = { .is_terminal = true,
			.width = cases[i].width };
		struct buf out = { 0 };
		char begin[256];

		snprintf(begin, sizeof(begin), "%s\n%s\n", cases[i].header, cases[i].first);
		rendered(t, &terminal, &out);
		if (strncmp(out.data, begin, strlen(begin)) != 0)
			fail_msg("%zu columns: %s instead of %s", cases[i].width, out.data, begin);
		for (const char *line = out.data; *line; line = strchr(line, '\n') + 1)
			assert_true(display_width((struct slice){ line, strcspn(line, "\n") }) <=
				    cases[i].width);
		buf_deinit(&out);
	}
	table_free(t);
}

enum { NAME, DOING, AGE, WHERE, MORE, WAITS_FOR, COLUMNS_OF_NAMES };

static const struct column names[] = {
	[NAME] = { "ID", "id", COLUMN_TEXT, .min = 6, .ample = 16, .ample_above = 2, .ends = true },
	[DOING] = { "STATE", "state", COLUMN_STATE, .min = 8, .aside = WAITS_FOR },
	[AGE] = { "AGE", "age_ms", COLUMN_AGE, .drop = 1 },
	[WHERE] = { "RUNNER", "runner", COLUMN_TEXT, .drop = 2, .min = 4 },
	[MORE] = { "MORE", "more", COLUMN_TEXT, .drop = 3, .min = 4 },
	[WAITS_FOR] = { NULL, "waits_for", COLUMN_TEXT },
};

static struct table *two_names(void)
{
	struct table *t = table_new(names, COLUMNS_OF_NAMES);

	table_row(t);
	table_put_text(t, NAME, "0123456789abcdef");
	table_put_text(t, DOING, "waiting");
	table_put_number(t, AGE, 12000);
	table_put_text(t, WHERE, "runner");
	table_put_text(t, MORE, "whatever");
	table_put_text(t, WAITS_FOR, "gpu");
	table_row(t);
	table_put_text(t, NAME, "1");
	table_put_text(t, DOING, "running");
	return t;
}

/* Names have room while something is seen that is worth less; then their ends stay. */
static void test_names(void **state)
{
	static const struct {
		size_t width, sorted;
		const char *header, *first;
	} cases[] = {
		{ 56, TABLE_NONE, "ID                STATE          AGE  RUNNER  MORE",
			"0123456789abcdef  waiting: gpu  12 s  runner  whatever" },
		{ 44, TABLE_NONE, "ID                STATE      AGE  RUN…  MORE",
			"0123456789abcdef  waiting…  12 s  run…  wha…" },
		{ 42, TABLE_NONE, "ID              STATE          AGE  RUNNER",
			"0123456…abcdef  waiting: gpu  12 s  runner" },
		{ 28, TABLE_NONE, "ID      STATE      AGE  RUN…", "012…ef  waiting…  12 s  run…" },
		{ 27, TABLE_NONE, "ID         STATE        AGE", "0123…cdef  waiting: …  12 s" },
		/* What rows are sorted by stays, whatever it is. */
		{ 27, WHERE, "ID        STATE     RUNNER↑", "0123…def  waiting…  runner" },
		{ 27, MORE, "ID       STATE     MORE↑", "012…def  waiting…  whatever" },
		{ 14, AGE, "ID      AGE↑", "012…ef  12 s" },
	};
	struct table *t = two_names();
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct table_view view = {
			.width = cases[i].width,
			.height = 2,
			.selected = TABLE_NONE,
			.sorted = cases[i].sorted,
		};
		char wanted[256];

		snprintf(wanted, sizeof(wanted), "\033[K%s\r\n\033[K%s", cases[i].header,
			cases[i].first);
		buf_clear(&out);
		assert_int_equal(table_draw(t, &view, &out), 0);
		assert_int_equal(buf_append(&out, "", 1), 0);
		if (strcmp(out.data, wanted) != 0)
			fail_msg("%zu columns: %s instead of %s", cases[i].width, out.data, wanted);
	}
	buf_deinit(&out);
	table_free(t);
}

/* What a task waits for is a fact of its own for programs, and nothing for counts and colours. */
static void test_aside(void **state)
{
	const struct output_options pipe = { .no_header = true, .color = true },
				    json = { .format = OUTPUT_JSON };
	struct table *t = two_names();
	struct buf out = { 0 };

	(void)state;
	assert_non_null(strstr(rendered(t, &pipe, &out), "\033[2mwaiting: gpu\033[0m  12 s"));
	assert_non_null(strstr(rendered(t, &json, &out), "\"state\":\"waiting\""));
	assert_non_null(strstr(out.data, "\"waits_for\":\"gpu\""));
	buf_clear(&out);
	assert_int_equal(table_counts(t, DOING, false, &out), 0);
	assert_true(slice_equal(buf_slice(&out), "waiting 1 · running 1"));
	buf_deinit(&out);
	table_free(t);
}

static void test_numbers_are_never_cut(void **state)
{
	static const struct column columns[] = { { "N", "n", COLUMN_COUNT } };
	const struct output_options narrow = { .is_terminal = true, .width = 4 };
	struct table *t = table_new(columns, 1);

	(void)state;
	table_row(t);
	table_put_number(t, 0, 1234);
	expect(t, &narrow, "   N\n1234\n");
	table_row(t);
	table_put_number(t, 0, 12345);
	expect(t, &narrow, "   N\n1234\n   …\n");
	table_free(t);
}

static void test_colors(void **state)
{
	const struct output_options color = {
		.is_terminal = true,
		.width = 25,
		.color = true,
	};
	struct table *t = three_tasks();

	(void)state;
	expect(t, &color,
		"\033[1mID\033[0m     \033[1mSTATE\033[0m    \033[1mPROGRESS\033[0m\n"
		"one    \033[36mrunning\033[0m       40%\n"
		"two    \033[2mwaiting\033[0m         \033[2m-\033[0m\n"
		"three  \033[33mpaused\033[0m       100%\n");
	table_free(t);
}

enum { KIND_LIST, KIND_BOOL, KIND_COUNT, KIND_AGE, KIND_TIME, KIND_NUMBER, KIND_RATE, KINDS };

static const struct column kinds[] = {
	[KIND_LIST] = { "LABELS", "labels", COLUMN_LIST },
	[KIND_BOOL] = { "PARKED", "parked", COLUMN_BOOL },
	[KIND_COUNT] = { "N", "n", COLUMN_COUNT, .align = ALIGN_LEFT },
	[KIND_AGE] = { "AGE", "age_ms", COLUMN_AGE },
	[KIND_TIME] = { "TIME", "time", COLUMN_TIME },
	[KIND_NUMBER] = { "LOAD", "load", COLUMN_NUMBER },
	[KIND_RATE] = { "RATE", "rate", COLUMN_RATE },
};

static struct table *all_kinds(void)
{
	static const char *const labels[] = { "gpu", "matlab\n2" };
	struct table *t = table_new(kinds, KINDS);

	table_row(t);
	table_put_list(t, KIND_LIST, labels, 2);
	table_put_number(t, KIND_BOOL, 1);
	table_put_number(t, KIND_COUNT, -7);
	table_put_number(t, KIND_AGE, 12345);
	table_put_number(t, KIND_TIME, INT64_C(1763755445123));
	table_put_real(t, KIND_NUMBER, 0.1);
	table_put_real(t, KIND_RATE, 1e300);
	table_row(t);
	table_put_list(t, KIND_LIST, labels, 0);
	table_put_number(t, KIND_BOOL, 0);
	table_put_real(t, KIND_NUMBER, INFINITY);
	return t;
}

static void test_kinds(void **state)
{
	const struct output_options pipe = { 0 };
	struct table *t = all_kinds();

	(void)state;
	expect(t, &pipe,
		"LABELS         PARKED  N    AGE                 TIME  LOAD      RATE\n"
		"gpu, matlab 2     yes  -7  12 s  2025-11-21 20:04:05  0.10  1e+300/s\n"
		"                   no  -      -                    -     -         -\n");
	table_free(t);
}

/* Today's times are shorter on a terminal. */
static void test_times_of_today(void **state)
{
	const struct output_options terminal = { .is_terminal = true, .width = 200 };
	struct table *t = table_new(&kinds[KIND_TIME], 1);
	struct buf out = { 0 };
	struct timespec now;

	(void)state;
	do { /* unless the day ends right here */
		clock_gettime(CLOCK_REALTIME, &now);
		table_clear(t);
		table_row(t);
		table_put_number(t, 0, (int64_t)now.tv_sec * 1000);
		rendered(t, &terminal, &out);
	} while (now.tv_sec / 86400 != time(NULL) / 86400);
	assert_int_equal(strlen(out.data), strlen("    TIME\n12:34:56\n"));
	buf_deinit(&out);
	table_free(t);
}

static const char *const hostile[] = {
	"\033]0;title\007",
	"a\nb\r\tc",
	"\xc2\x9b"
	"2J",
	"\xff\xfe",
	"right\u202eto left",
	"\x7f",
	"\x80",
};

/* In whatever form, nothing that tasks say steers a terminal or makes lines. */
static void test_hostile_texts(void **state)
{
	const struct output_options forms[] = {
		{ 0 },
		{ .is_terminal = true, .width = 60 },
		{ .format = OUTPUT_JSON },
	};
	struct table *t = table_new(tasks, COLUMNS_OF_TASKS);

	(void)state;
	for (size_t i = 0; i < N(hostile); i++)
		put_task(t, hostile[i], hostile[i], 0, 0, 0, hostile[i]);
	for (size_t i = 0; i < N(forms); i++) {
		struct buf out = { 0 };
		size_t lines = 0;

		rendered(t, &forms[i], &out);
		for (const unsigned char *p = (unsigned char *)out.data; *p; p++) {
			lines += *p == '\n';
			assert_true((*p >= 0x20 || *p == '\n') && *p != 0x7F);
			assert_false(*p == 0xC2 && p[1] < 0xA0);
		}
		assert_null(strstr(out.data, "\u202e"));
		assert_int_equal(lines, N(hostile) + (forms[i].format == OUTPUT_TABLE));
		buf_deinit(&out);
	}
	table_free(t);
}

/* One long text does not make every line as long. */
static void test_long_text_in_a_pipe(void **state)
{
	const struct output_options pipe = { .no_header = true };
	struct table *t = table_new(tasks, 2);
	struct buf text = { 0 }, out = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_append_text(&text, "x");
	table_row(t);
	table_put_slice(t, ID, buf_slice(&text));
	table_put_text(t, STATE, "held");
	table_row(t);
	table_put_text(t, ID, "short");
	table_put_text(t, STATE, "held");
	rendered(t, &pipe, &out);
	assert_int_equal(strcspn(out.data, "\n"), 100000 + 6);
	assert_true(strlen(strchr(out.data, '\n')) < 100);
	buf_deinit(&text);
	buf_deinit(&out);
	table_free(t);
}

/* ---- programs ---- */

static void test_json(void **state)
{
	const struct output_options json = { .format = OUTPUT_JSON };
	struct table *t = three_tasks(), *k = all_kinds();

	(void)state;
	expect(t, &json,
		"{\"id\":\"one\",\"state\":\"running\",\"progress\":0.4,\"cpu_ms\":12345,"
		"\"memory\":1536,\"message\":\"counting words\"}\n"
		"{\"id\":\"two\",\"state\":\"waiting\",\"progress\":null,\"cpu_ms\":null,"
		"\"memory\":null,\"message\":null}\n"
		"{\"id\":\"three\",\"state\":\"paused\",\"progress\":1,\"cpu_ms\":850,"
		"\"memory\":38797312,\"message\":\"漢字 and e\xcc\x81\"}\n");
	expect(k, &json,
		"{\"labels\":[\"gpu\",\"matlab\\n2\"],\"parked\":true,\"n\":-7,\"age_ms\":12345,"
		"\"time\":1763755445123,\"load\":0.1,\"rate\":1e+300}\n"
		"{\"labels\":[],\"parked\":false,\"n\":null,\"age_ms\":null,\"time\":null,"
		"\"load\":null,\"rate\":null}\n");
	table_free(t);
	table_free(k);
}

/* Each line is JSON, and its texts are what was put. */
static void test_json_of_hostile_texts(void **state)
{
	static const struct column columns[] = { { "T", "t", COLUMN_TEXT } };
	const struct output_options json = { .format = OUTPUT_JSON };

	(void)state;
	for (size_t i = 0; i < N(hostile); i++) {
		struct table *t = table_new(columns, 1);
		struct buf out = { 0 }, back = { 0 };
		size_t len;

		table_row(t);
		table_put_text(t, 0, hostile[i]);
		rendered(t, &json, &out);
		out.len--; /* the NUL */
		assert_int_equal(json_value_len(buf_slice(&out), 0, &len), JSON_DONE);
		assert_int_equal(len, out.len - 1);
		assert_int_equal(json_unquote(&back, (struct slice){ out.data + 5, len - 6 }), 0);
		if ((unsigned char)hostile[i][0] < 0x80 || (unsigned char)hostile[i][0] == 0xC2)
			assert_true(slice_equal(buf_slice(&back), hostile[i]));
		buf_deinit(&out);
		buf_deinit(&back);
		table_free(t);
	}
}

static void test_numbers_survive_json(void **state)
{
	static const struct column columns[] = { { "N", "n", COLUMN_NUMBER } };
	static const double numbers[] = { 0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308,
		0.30000000000000004, -0.0, 1e15, 123456789012345680.0 };
	const struct output_options json = { .format = OUTPUT_JSON };

	(void)state;
	for (size_t i = 0; i < N(numbers); i++) {
		struct table *t = table_new(columns, 1);
		struct buf out = { 0 };

		table_row(t);
		table_put_real(t, 0, numbers[i]);
		assert_true(strtod(rendered(t, &json, &out) + 5, NULL) == numbers[i]);
		buf_deinit(&out);
		table_free(t);
	}
}

static const msgpack_object *member(const msgpack_object *map, const char *name)
{
	for (uint32_t i = 0; i < map->via.map.size; i++) {
		const msgpack_object_str *key = &map->via.map.ptr[i].key.via.str;

		if (key->size == strlen(name) && memcmp(key->ptr, name, key->size) == 0)
			return &map->via.map.ptr[i].val;
	}
	fail_msg("no member %s", name);
	return NULL;
}

static void test_msgpack(void **state)
{
	const struct output_options form = { .format = OUTPUT_MSGPACK };
	struct table *t = three_tasks(), *k = all_kinds();
	struct buf out = { 0 };
	msgpack_unpacked value;
	size_t at = 0;
	const msgpack_object *map = &value.data;

	(void)state;
	assert_int_equal(table_render(t, &form, &out), 0);
	assert_int_equal(table_render(k, &form, &out), 0);
	msgpack_unpacked_init(&value);
	assert_int_equal(
		msgpack_unpack_next(&value, out.data, out.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(map->via.map.size, COLUMNS_OF_TASKS);
	assert_true(member(map, "progress")->via.f64 == 0.4);
	assert_int_equal(member(map, "cpu_ms")->via.i64, 12345);
	assert_memory_equal(member(map, "state")->via.str.ptr, "running", 7);
	assert_int_equal(
		msgpack_unpack_next(&value, out.data, out.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(member(map, "progress")->type, MSGPACK_OBJECT_NIL);
	assert_int_equal(member(map, "message")->type, MSGPACK_OBJECT_NIL);
	assert_int_equal(
		msgpack_unpack_next(&value, out.data, out.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(
		msgpack_unpack_next(&value, out.data, out.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(member(map, "labels")->via.array.size, 2);
	assert_true(member(map, "parked")->via.boolean);
	assert_int_equal(member(map, "n")->via.i64, -7);
	assert_int_equal(
		msgpack_unpack_next(&value, out.data, out.len, &at), MSGPACK_UNPACK_SUCCESS);
	assert_int_equal(at, out.len);
	msgpack_unpacked_destroy(&value);
	buf_deinit(&out);
	table_free(t);
	table_free(k);
}

/* A text in MessagePack is UTF-8, whatever was put. */
static void test_msgpack_of_hostile_texts(void **state)
{
	static const struct column columns[] = { { "T", "t", COLUMN_TEXT } };
	const struct output_options form = { .format = OUTPUT_MSGPACK };
	struct table *t = table_new(columns, 1);
	struct buf out = { 0 };

	(void)state;
	table_row(t);
	table_put_text(t, 0, "\x80");
	table_row(t);
	table_put_text(t, 0, "a\xff");
	assert_int_equal(table_render(t, &form, &out), 0);
	assert_int_equal(out.len, 4 + 8);
	assert_memory_equal(out.data,
		"\x81\xa1t\xa0\x81\xa1t\xa4"
		"a\xef\xbf\xbd",
		12);
	buf_deinit(&out);
	table_free(t);
}

static void test_columns_for_one_side(void **state)
{
	static const struct column columns[] = {
		{ "SEEN", NULL, COLUMN_TEXT },
		{ NULL, "told", COLUMN_TEXT },
	};
	const struct output_options pipe = { 0 }, json = { .format = OUTPUT_JSON };
	struct table *t = table_new(columns, 2);

	(void)state;
	table_row(t);
	table_put_text(t, 0, "a");
	table_put_text(t, 1, "b");
	expect(t, &pipe, "SEEN\na\n");
	expect(t, &json, "{\"told\":\"b\"}\n");
	table_free(t);
}

/* ---- rows ---- */

static void test_get_and_find(void **state)
{
	struct table *t = three_tasks();

	(void)state;
	assert_int_equal(table_rows(t), 3);
	assert_true(slice_equal(table_text(t, 2, ID), "three"));
	assert_null(table_text(t, 1, MESSAGE).data);
	assert_int_equal(table_number(t, 0, CPU), 12345);
	assert_int_equal(table_number(t, 1, CPU), TABLE_ABSENT);
	assert_true(isnan(table_real(t, 1, PROGRESS)));
	assert_int_equal(table_find(t, ID, slice_of("two")), 1);
	assert_int_equal(table_find(t, ID, slice_of("tw")), TABLE_NONE);
	assert_int_equal(table_find(t, MESSAGE, slice_of("")), TABLE_NONE);
	table_clear(t);
	assert_int_equal(table_rows(t), 0);
	assert_int_equal(table_find(t, ID, slice_of("two")), TABLE_NONE);
	table_free(t);
}

static const char *order(const struct table *t)
{
	static char text[64];

	text[0] = '\0';
	for (size_t i = 0; i < table_rows(t); i++) {
		struct slice id = table_text(t, i, ID);

		strncat(text, id.data, id.len);
		strcat(text, " ");
	}
	return text;
}

static void test_sort(void **state)
{
	struct table *t = three_tasks();

	(void)state;
	put_task(t, "four", "odd", 0.4, 12345, 0, "");
	table_sort(t, ID, false);
	assert_string_equal(order(t), "four one three two ");
	table_sort(t, ID, true);
	assert_string_equal(order(t), "two three one four ");
	/* In the order of a task's life, not of letters. */
	table_sort(t, STATE, false);
	assert_string_equal(order(t), "two one three four ");
	/* What is equal stays as it was, what is absent comes last. */
	table_sort(t, PROGRESS, false);
	assert_string_equal(order(t), "one four three two ");
	table_sort(t, CPU, true);
	assert_string_equal(order(t), "one four three two ");
	table_sort(t, MEMORY, false);
	assert_string_equal(order(t), "four one three two ");
	table_sort(t, MESSAGE, false);
	assert_string_equal(order(t), "four one three two ");
	table_free(t);
}

static void test_sort_lists(void **state)
{
	static const struct column columns[] = {
		{ "ID", "id", COLUMN_TEXT },
		{ "LABELS", "labels", COLUMN_LIST },
	};
	static const char *const labels[] = { "b", "c" };
	struct table *t = table_new(columns, 2);

	(void)state;
	for (size_t n = 0; n < 4; n++) {
		table_row(t);
		table_put_text(t, 0, ((const char *[]){ "bc", "c", "none", "b" })[n]);
		if (n != 2)
			table_put_list(t, 1, labels + n % 3 % 2, n == 0 ? 2 : 1);
	}
	table_sort(t, 1, false);
	assert_string_equal(order(t), "b bc c none ");
	table_free(t);
}

static void test_counts(void **state)
{
	struct table *t = three_tasks();
	struct buf out = { 0 };

	(void)state;
	put_task(t, "four", "strange", 0, 0, 0, NULL);
	put_task(t, "five", "running", 0, 0, 0, NULL);
	put_task(t, "six", NULL, 0, 0, 0, NULL);
	assert_int_equal(table_counts(t, STATE, false, &out), 0);
	assert_true(slice_equal(buf_slice(&out), "waiting 1 · running 2 · paused 1 · strange 1"));
	buf_deinit(&out);
	/* More words than anybody has. */
	for (int i = 0; i < 1000; i++) {
		char word[16];

		snprintf(word, sizeof(word), "%d", i);
		put_task(t, "x", word, 0, 0, 0, NULL);
	}
	assert_int_equal(table_counts(t, STATE, false, &out), 0);
	assert_true(out.len < 1000);
	buf_deinit(&out);
	table_free(t);
}

/* ---- stdout ---- */

/* The header once, and columns that do not become narrower. */
static void test_printed_bit_by_bit(void **state)
{
	const struct output_options pipe = { 0 };
	struct table *t = table_new(tasks, 2);
	struct capture c;

	(void)state;
	capture_start(&c, STDOUT_FILENO);
	for (int i = 0; i < 3; i++) {
		table_clear(t);
		table_row(t);
		table_put_text(t, ID, i == 1 ? "longer" : "one");
		table_put_text(t, STATE, "held");
		assert_int_equal(table_show(t, &pipe), EXIT_DONE);
	}
	capture_end(&c);
	assert_string_equal(c.text, "ID   STATE\none  held\nlonger  held\none     held\n");
	table_free(t);
}

/* A header stands before rows that nobody knows yet: it has room for what they are like. */
static void test_width_of_what_comes(void **state)
{
	static const struct column columns[] = {
		{ "ID", "id", COLUMN_TEXT, .min = 3, .ends = true, .width = 6 },
		{ "STATE", "state", COLUMN_STATE, .width = LONGEST_STATE },
		{ "RUNNER", "runner", COLUMN_TEXT },
	};
	const struct output_options pipe = { 0 }, narrow = { .is_terminal = true, .width = 22 };
	struct table_view view = {
		.width = 30, .height = 1, .selected = TABLE_NONE, .sorted = TABLE_NONE
	};
	struct table *t = table_new(columns, 3);
	struct buf out = { 0 };

	(void)state;
	table_row(t);
	table_put_text(t, 0, "a");
	table_put_text(t, 1, "held");
	expect(t, &pipe, "ID      STATE      RUNNER\na       held       -\n");
	expect(t, &narrow, "ID   STATE      RUNNER\na    held       -\n");
	/* What is drawn is drawn again. */
	assert_int_equal(table_draw(t, &view, &out), 0);
	assert_true(slice_equal(buf_slice(&out), "\033[KID  STATE  RUNNER"));
	buf_deinit(&out);
	table_free(t);
}

static void test_counts_are_for_terminals(void **state)
{
	struct output_options output = { .is_terminal = true, .width = 80 };
	struct table *t = three_tasks();
	struct capture c;

	(void)state;
	capture_start(&c, STDOUT_FILENO);
	table_show_counts(t, STATE, &output);
	output.format = OUTPUT_JSON;
	table_show_counts(t, STATE, &output);
	output = (struct output_options){ 0 };
	table_show_counts(t, STATE, &output);
	capture_end(&c);
	assert_string_equal(c.text, "waiting 1 · running 1 · paused 1\n");
	table_free(t);
}

static void test_stdout_that_is_full(void **state)
{
	const struct output_options pipe = { 0 };
	struct table *t = three_tasks();
	struct capture out, err;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), status;

	(void)state;
	capture_into(&out, STDOUT_FILENO, full);
	out.from = memfd_create("nothing", MFD_CLOEXEC);
	capture_start(&err, STDERR_FILENO);
	status = table_show(t, &pipe);
	capture_end(&err);
	capture_end(&out);
	close(full);
	assert_int_equal(status, EXIT_LOCAL);
	assert_string_equal(err.text, "taskctl: cannot write to stdout: No space left on device\n");
	table_free(t);
}

/* Widths come from all rows, the last one's too. */
static void test_many_rows(void **state)
{
	const struct output_options terminal = { .is_terminal = true, .width = 40 };
	struct table *t = table_new(tasks, COLUMNS_OF_TASKS);
	struct buf out = { 0 };
	size_t line;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%d", i);
		put_task(t, i == 99999 ? "the last one" : id, i % 2 ? "running" : "waiting",
			i / 1e5, i, i, "some message");
	}
	table_sort(t, CPU, true);
	rendered(t, &terminal, &out);
	line = strcspn(out.data, "\n");
	assert_memory_equal(out.data, "ID            STATE", 19);
	assert_memory_equal(out.data + line + 1, "the last one  running", 21);
	buf_deinit(&out);
	table_free(t);
}

/* ---- full screen ---- */

static const char *drawn(struct table *t, struct table_view *view, struct buf *out)
{
	buf_clear(out);
	assert_int_equal(table_draw(t, view, out), 0);
	assert_int_equal(buf_append(out, "", 1), 0);
	return out->data;
}

#define CLEAR "\033[K"
#define NEXT  "\r\n" CLEAR

static void test_draw(void **state)
{
	struct table_view view = { .width = 16, .height = 5, .selected = 1, .sorted = ID };
	struct table *t = three_tasks();
	struct buf out = { 0 };

	(void)state;
	assert_string_equal(drawn(t, &view, &out),
		CLEAR "  ID↑    STATE" NEXT "  one    running" NEXT "> two    waiting" NEXT
		      "  three  paused" NEXT);
	view.color = true;
	view.sorted = STATE;
	view.descending = true;
	assert_string_equal(drawn(t, &view, &out),
		CLEAR "\033[1mID\033[0m     \033[1mSTATE↓\033[0m" NEXT
		      "one    \033[36mrunning\033[0m" NEXT "\033[7mtwo    waiting  \033[0m" NEXT
		      "three  \033[33mpaused\033[0m" NEXT);
	view.selected = TABLE_NONE;
	view.color = false;
	view.sorted = TABLE_NONE;
	view.height = 2;
	assert_string_equal(drawn(t, &view, &out), CLEAR "ID     STATE" NEXT "one    running");
	view.height = 0;
	assert_string_equal(drawn(t, &view, &out), "");
	buf_deinit(&out);
	table_free(t);
}

static void test_scroll(void **state)
{
	static const struct {
		size_t height, selected, first, then;
	} cases[] = {
		{ 3, 0, 0, 0 }, { 3, 1, 0, 0 }, { 3, 2, 0, 1 }, /* down to it, */
		{ 3, 0, 1, 0 },                                 /* and up */
		{ 3, TABLE_NONE, 1, 1 },
		{ 3, TABLE_NONE, 100, 1 }, /* no empty lines while rows are hidden */
		{ 10, 2, 2, 0 }, { 2, 1, 0, 1 }, { 1, 1, 0, 0 }, { 0, 2, 0, 0 },
		{ 3, 100, 0, 0 }, /* a row that went away */
	};
	struct table *t = three_tasks();
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct table_view view = {
			.width = 40,
			.height = cases[i].height,
			.selected = cases[i].selected,
			.first = cases[i].first,
			.sorted = TABLE_NONE,
		};

		drawn(t, &view, &out);
		assert_true(cases[i].height < 2 || view.first == cases[i].then);
	}
	buf_deinit(&out);
	table_free(t);
}

/* Every size, with every text: as many lines as asked for, none wider than the screen. */
static void test_draw_in_any_size(void **state)
{
	struct table *t = three_tasks();
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < N(hostile); i++)
		put_task(t, hostile[i], hostile[i], 0.5, 1, 1, hostile[i]);
	for (size_t width = 0; width < 90; width++)
		for (size_t height = 1; height < 15; height += 3) {
			struct table_view view = {
				.width = width,
				.height = height,
				.selected = width % 5,
				.sorted = width % COLUMNS_OF_TASKS,
			};
			size_t lines = 1;
			const char *line = drawn(t, &view, &out), *end;

			for (; (end = strstr(line, "\r\n")); line = end + 2) {
				struct slice text = { line + 3, (size_t)(end - line) - 3 };

				assert_true(width < 3 || display_width(text) <= width);
				lines++;
			}
			assert_int_equal(lines, height);
		}
	buf_deinit(&out);
	table_free(t);
}

static void test_no_table(void **state)
{
	const struct output_options pipe = { 0 };
	struct table_view view = { .width = 10, .height = 2 };
	struct buf out = { 0 };

	(void)state;
	table_row(NULL);
	table_put_text(NULL, 0, "x");
	table_put_number(NULL, 0, 1);
	table_put_real(NULL, 0, 1);
	table_put_list(NULL, 0, NULL, 0);
	table_sort(NULL, 0, false);
	table_clear(NULL);
	assert_int_equal(table_rows(NULL), 0);
	assert_int_equal(table_find(NULL, 0, slice_of("x")), TABLE_NONE);
	assert_int_equal(table_print(NULL, &pipe), -ENOMEM);
	assert_int_equal(table_draw(NULL, &view, &out), -ENOMEM);
	assert_null(table_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_full),
		cmocka_unit_test(test_on_narrow_terminals),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_aside),
		cmocka_unit_test(test_numbers_are_never_cut),
		cmocka_unit_test(test_colors),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_times_of_today),
		cmocka_unit_test(test_hostile_texts),
		cmocka_unit_test(test_long_text_in_a_pipe),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_hostile_texts),
		cmocka_unit_test(test_numbers_survive_json),
		cmocka_unit_test(test_msgpack),
		cmocka_unit_test(test_msgpack_of_hostile_texts),
		cmocka_unit_test(test_columns_for_one_side),
		cmocka_unit_test(test_get_and_find),
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_sort_lists),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_printed_bit_by_bit),
		cmocka_unit_test(test_width_of_what_comes),
		cmocka_unit_test(test_counts_are_for_terminals),
		cmocka_unit_test(test_stdout_that_is_full),
		cmocka_unit_test(test_many_rows),
		cmocka_unit_test(test_draw),
		cmocka_unit_test(test_scroll),
		cmocka_unit_test(test_draw_in_any_size),
		cmocka_unit_test(test_no_table),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
