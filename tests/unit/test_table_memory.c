/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whichever allocation of a table fails: it says so at the end, or nothing is missing. Linked with
 * --wrap for the allocating functions (meson.build).
 */

#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "taskctl/table.h"

/* How many allocations succeed before one fails; negative: all do. */
static int n_left = -1;

static bool fails(void)
{
	return n_left >= 0 && n_left-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

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

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

static const struct column columns[] = {
	{ "ID", "id", COLUMN_TEXT },
	{ "STATE", "state", COLUMN_STATE },
	{ "LABELS", "labels", COLUMN_LIST },
	{ "N", "n", COLUMN_COUNT },
};

static void fill(struct table *t)
{
	static const char *const labels[] = { "gpu", "matlab" };

	for (int i = 0; i < 40; i++) {
		char id[32];

		snprintf(id, sizeof(id), "task \xff %d", i);
		table_row(t);
		table_put_text(t, 0, id);
		table_put_text(t, 1, i % 2 ? "running" : "waiting");
		table_put_list(t, 2, labels, 2);
		table_put_number(t, 3, 40 - i);
		if (table_rows(t) > 0)
			(void)table_text(t, table_rows(t) - 1, 0);
	}
	table_sort(t, 3, false);
}

/* All that can be had of it in one go, as long as nothing fails. */
static int use(struct table *t, struct buf *out)
{
	struct table_view view = { .width = 60, .height = 10, .selected = 3, .color = true };
	int r = 0;

	for (int format = OUTPUT_TABLE; format <= OUTPUT_MSGPACK && r == 0; format++) {
		const struct output_options output = { .format = (enum output_format)format };

		r = table_render(t, &output, out);
	}
	if (r == 0)
		r = table_draw(t, &view, out);
	return r == 0 ? table_counts(t, 1, true, out) : r;
}

static void test_every_allocation(void **state)
{
	struct buf right = { 0 };
	int r = -ENOMEM, n;

	(void)state;
	for (n = -1; r != 0 || n <= 0; n++) {
		struct table *t;
		struct buf out = { 0 };
		bool failed;

		n_left = n;
		t = table_new(columns, 4);
		fill(t);
		r = use(t, &out);
		failed = n >= 0 && n_left < 0;
		n_left = -1;
		assert_true(r == (failed ? -ENOMEM : 0));
		table_free(t);
		if (n < 0)
			right = out;
		else if (r == 0)
			assert_true(
				out.len == right.len && memcmp(out.data, right.data, out.len) == 0);
		if (n >= 0)
			buf_deinit(&out);
	}
	assert_in_range(n, 20, 10000);
	buf_deinit(&right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
