/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "taskctl/display.h"
#include "taskctl/taskctl.h"

static bool is_of(const char *text, const char *characters)
{
	return strspn(text, characters) == strlen(text);
}

#define SMALL "abcdefghijklmnopqrstuvwxyz-"
#define WORDS SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ "

/* What shells' scripts are made of needs no quotes in them. */
static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; verbs[i]; i++) {
		assert_true(verbs[i]->name[0] && is_of(verbs[i]->name, SMALL));
		assert_ptr_equal(verb_find(verbs[i]->name), verbs[i]);
		assert_true(verbs[i]->group < VERB_GROUPS);
		assert_non_null(verb_group_title(verbs[i]->group));
		assert_true(!verbs[i]->words || is_of(verbs[i]->words, WORDS));
		assert_non_null(verbs[i]->run);
	}
	assert_null(verb_find("no-such-verb"));
	assert_null(verb_find(""));
}

static void check_option(const struct verb *verb, const struct verb_option *o)
{
	const struct verb_option *other;

	assert_true(o->name[0] && is_of(o->name, SMALL));
	assert_true((o->value < 256 && isalnum(o->value)) || o->value >= OPTION_BROKER_FILE);
	assert_true(o->help[0] && !strchr(o->help, '\n'));
	assert_true(!o->takes || is_of(o->takes, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-"));
	assert_true(!o->words || (o->takes && is_of(o->words, WORDS)));
	for (size_t i = 0; (other = verb_option(verb, i)); i++)
		if (other != o && (strcmp(other->name, o->name) == 0 || other->value == o->value))
			fail_msg("%s: --%s and --%s are one", verb->name, o->name, other->name);
}

static void test_options(void **state)
{
	const struct verb_option *o;

	(void)state;
	for (size_t i = 0; verbs[i]; i++)
		for (size_t j = 0; (o = verb_option(verbs[i], j)); j++)
			check_option(verbs[i], o);
}

static void check_lines(struct buf *text)
{
	assert_int_equal(buf_append(text, "", 1), 0);
	for (const char *line = text->data; *line; line += strcspn(line, "\n") + 1) {
		struct slice whole = { line, strcspn(line, "\n") };

		if (display_width(whole) > 80 || (whole.len > 0 && line[whole.len - 1] == ' '))
			fail_msg("%.*s", (int)whole.len, line);
	}
}

/* Every option is there, on lines that fit on every terminal. */
static void test_help(void **state)
{
	const struct verb_option *o;
	struct buf text = { 0 };

	(void)state;
	assert_int_equal(verbs_help(&text), 0);
	check_lines(&text);
	for (size_t i = 0; verbs[i]; i++) {
		assert_non_null(strstr(text.data, verbs[i]->name));
		assert_non_null(strstr(text.data, verb_group_title(verbs[i]->group)));
	}
	buf_deinit(&text);
	for (size_t i = 0; verbs[i]; i++) {
		assert_int_equal(verb_help(verbs[i], &text), 0);
		check_lines(&text);
		for (size_t j = 0; (o = verb_option(verbs[i], j)); j++) {
			char word[64];

			snprintf(word, sizeof(word), "--%s%s%s", o->name, o->takes ? " " : "",
				o->takes ? o->takes : "");
			assert_non_null(strstr(text.data, word));
		}
		assert_non_null(strstr(text.data, "\nExit status: 0 "));
		buf_deinit(&text);
	}
}

static void test_wrapping(void **state)
{
	static const struct verb_option options[] = {
		{ "short", 's', NULL, NULL, "words" },
		{ "an-option-with-a-long-name", 300, "VALUE", NULL,
			"a meaning that takes more than the fifty-two columns that there are, so "
			"that it is continued below" },
		{ "url", 301, NULL, NULL,
			"01234567890123456789012345678901234567890123456789012345678901234" },
		{ 0 },
	};
	static const struct verb verb = {
		.name = "try",
		.arguments = "THIS",
		.about = "One.\n\n  two   as it stands\nthree",
		.options = options,
		.exits = "0 done",
	};
	struct buf text = { 0 };

	(void)state;
	assert_int_equal(verb_help(&verb, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	assert_string_equal(text.data,
		"usage: taskctl try THIS\n"
		"\n"
		"One.\n"
		"\n"
		"  two   as it stands\n"
		"three\n"
		"\n"
		"  -s, --short               words\n"
		"      --an-option-with-a-long-name VALUE\n"
		"                            a meaning that takes more than the fifty-two columns\n"
		"                            that there are, so that it is continued below\n"
		"      --url                 0123456789012345678901234567890123456789012345678901\n"
		"                            2345678901234\n"
		"  -h, --help                this text\n"
		"\n"
		"Exit status: 0 done.\n");
	buf_deinit(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_wrapping),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
