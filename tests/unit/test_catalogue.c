/* SPDX-License-Identifier: Apache-2.0 */
/* What may be run, and above all what may not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/catalogue.h"
#include "runner/pipes.h"

static char place[64];
static char *old_path;

/* @place: programs/ (admitted), more/ (admitted after it), bin/ (in PATH), outside. */
static char *in_place(const char *name)
{
	char *path = NULL;
	assert_true(asprintf(&path, "%s/%s", place, name) > 0);
	return path;
}

static void make(const char *name, mode_t mode)
{
	char *path = in_place(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	free(path);
}

static void make_directory(const char *name)
{
	char *path = in_place(name);
	assert_int_equal(mkdir(path, 0755), 0);
	free(path);
}

static int place_make(void **state)
{
	(void)state;
	strcpy(place, "/tmp/test-catalogue-XXXXXX");
	assert_non_null(mkdtemp(place));
	make_directory("programs");
	make_directory("programs/directory");
	make_directory("programs/directory.py");
	make_directory("more");
	make_directory("bin");
	make_directory("bin/directory");
	make("programs/tool", 0755);
	make("programs/plain", 0644);
	make("programs/both", 0755);
	make("programs/entry", 0755);
	make("programs/task.py", 0644);
	make("programs/py", 0755);
	make("programs/.py", 0755);
	make("programs/a..b", 0755);
	make("programs/directory/inner", 0755);
	make("more/both", 0755);
	make("more/other", 0755);
	make("bin/python3", 0755);
	make("bin/found", 0755);
	make("bin/plain", 0644);
	make("bin/inpath.py", 0755);
	make("outside", 0755);
	char *link = in_place("programs/link"), *dangling = in_place("programs/dangling");
	assert_int_equal(symlink("../outside", link), 0);
	assert_int_equal(symlink("nowhere", dangling), 0);
	free(link);
	free(dangling);
	char *bin = in_place("bin");
	old_path = strdup(getenv("PATH"));
	setenv("PATH", bin, 1);
	free(bin);
	return 0;
}

static int place_remove(void **state)
{
	(void)state;
	setenv("PATH", old_path, 1);
	free(old_path);
	return remove_tree(place);
}

static char **strings(const char *a, const char *b)
{
	char **list = calloc(3, sizeof(*list));
	assert_non_null(list);
	list[0] = a ? in_place(a) : NULL;
	list[1] = b ? in_place(b) : NULL;
	return list;
}

static struct program entry(const char *name, const char *argv0)
{
	struct program program = { .name = strdup(name),
		.argv = calloc(3, sizeof(char *)),
		.environment = calloc(1, sizeof(char *)),
		.slots = 7 };
	program.argv[0] = strdup(argv0);
	program.argv[1] = strdup("--first");
	return program;
}

static struct catalogue *make_catalogue(bool search_path)
{
	struct program_set set = {
		.programs = calloc(4, sizeof(struct program)),
		.n_programs = 4,
		.directories = strings("programs", "more"),
		.search_path = search_path,
		.pipe_arguments = PIPE_ARGUMENTS_UNDERSCORES,
	};
	set.programs[0] = entry("entry", "/abs/entry");
	set.programs[1] = entry("by-path", "found");
	set.programs[2] = entry("by-path-missing", "not-there");
	set.programs[3] = entry("../odd name/with.py", "/abs/odd");
	struct catalogue *c = catalogue_new(&set);
	assert_non_null(c);
	assert_null(set.programs); /* taken */
	assert_null(set.directories);
	return c;
}

/* @path: what is to be executed, in the place unless it begins with '/'. */
static void expect_found(
	struct catalogue *c, const char *name, const char *path, const char *script)
{
	struct launch launch = { 0 };
	struct error err = { 0 };
	char *expected = path[0] == '/' ? strdup(path) : in_place(path);
	char *expected_script = script ? in_place(script) : NULL;
	assert_int_equal(catalogue_resolve(c, name, &launch, &err), CATALOGUE_FOUND);
	assert_string_equal(launch.path, expected);
	if (script)
		assert_string_equal(launch.script, expected_script);
	else
		assert_null(launch.script);
	assert_string_equal(launch.program->name, name);
	free(expected);
	free(expected_script);
	launch_deinit(&launch);
	launch_deinit(&launch);
}

static void expect_not(struct catalogue *c, const char *name, int outcome, const char *text)
{
	struct launch launch = { 0 };
	struct error err = { 0 };
	assert_int_equal(catalogue_resolve(c, name, &launch, &err), outcome);
	assert_null(launch.path);
	if (!strstr(err.text, text))
		fail_msg("'%s' is not in '%s'", text, err.text);
	launch_deinit(&launch);
}

static void expect_refused(struct catalogue *c, const char *name)
{
	expect_not(c, name, CATALOGUE_REFUSED, "was refused");
}

static void expect_missing(struct catalogue *c, const char *name)
{
	expect_not(c, name, CATALOGUE_NOT_FOUND, "was not found");
}

static void entries_come_first(void **state)
{
	struct catalogue *c = make_catalogue(false);
	struct launch launch = { 0 };
	(void)state;
	expect_found(c, "entry", "/abs/entry", NULL);
	expect_found(c, "by-path", "bin/found", NULL);
	expect_not(c, "by-path-missing", CATALOGUE_NOT_FOUND,
		"'not-there' is in no directory of PATH");
	/* What a person wrote down is what is meant, whatever it looks like. */
	expect_found(c, "../odd name/with.py", "/abs/odd", NULL);
	assert_int_equal(catalogue_resolve(c, "entry", &launch, NULL), CATALOGUE_FOUND);
	assert_int_equal(launch.program->slots, 7);
	assert_string_equal(launch.program->argv[1], "--first");
	launch_deinit(&launch);
	catalogue_unref(c);
}

static void files_of_directories_are_found_in_order(void **state)
{
	struct catalogue *c = make_catalogue(false);
	struct launch launch = { 0 };
	(void)state;
	expect_found(c, "tool", "programs/tool", NULL);
	expect_found(c, "both", "programs/both", NULL);
	expect_found(c, "other", "more/other", NULL);
	expect_found(c, "a..b", "programs/a..b", NULL);
	expect_found(c, "link", "programs/link", NULL);
	expect_missing(c, "dangling");
	expect_missing(c, "absent");
	expect_missing(c, "outside");
	/* Without search_path, PATH is nobody's. */
	expect_missing(c, "found");
	assert_int_equal(catalogue_resolve(c, "tool", &launch, NULL), CATALOGUE_FOUND);
	assert_int_equal(launch.program->pipe_arguments, PIPE_ARGUMENTS_UNDERSCORES);
	assert_int_equal(launch.program->slots, 0);
	launch_deinit(&launch);
	catalogue_unref(c);
}

/* Exec says what is wrong with these (test_engine, what_cannot_be_executed_says_why). */
static void what_cannot_be_executed_is_left_to_exec(void **state)
{
	struct catalogue *c = make_catalogue(false);
	(void)state;
	expect_found(c, "plain", "programs/plain", NULL);
	expect_found(c, "directory", "programs/directory", NULL);
	expect_found(c, "directory.py", "programs/directory.py", NULL);
	catalogue_unref(c);
}

static void python_files_are_run_by_python(void **state)
{
	struct catalogue *c = make_catalogue(true);
	char *path = in_place("programs/task.py");
	(void)state;
	expect_found(c, "task.py", "bin/python3", "programs/task.py");
	expect_found(c, path, "bin/python3", "programs/task.py");
	expect_found(c, "inpath.py", "bin/python3", "bin/inpath.py");
	expect_missing(c, "absent.py");
	/* These are no endings. */
	expect_found(c, "py", "programs/py", NULL);
	expect_found(c, ".py", "programs/.py", NULL);
	setenv("PATH", "/nonexistent", 1);
	expect_found(c, "task.py", "/usr/bin/python3", "programs/task.py");
	char *bin = in_place("bin");
	setenv("PATH", bin, 1);
	free(bin);
	free(path);
	catalogue_unref(c);
}

static void paths_are_refused(void **state)
{
	static const char *const always[] = { "", "..", "../outside", "programs/../outside", "/..",
		"/bin/../bin/sh", "../", "x/..", "./../outside", "tool/../tool", "directory/inner",
		"./tool", "tool/", "directory/", "a/../../b", "//../x", ".../..", "..\n/.." };
	static const char *const absolute[] = { "/bin/sh", "/", "//bin/sh", "/nonexistent" };
	(void)state;
	for (int search = 0; search < 2; search++) {
		struct catalogue *c = make_catalogue(search);
		for (size_t i = 0; i < sizeof(always) / sizeof(*always); i++)
			expect_refused(c, always[i]);
		catalogue_unref(c);
	}
	struct catalogue *c = make_catalogue(false);
	for (size_t i = 0; i < sizeof(absolute) / sizeof(*absolute); i++)
		expect_refused(c, absolute[i]);
	/* Names, not paths. */
	expect_missing(c, "...");
	expect_missing(c, "..x");
	expect_missing(c, "x..");
	catalogue_unref(c);
}

static void search_path_opens_path_and_absolute_names(void **state)
{
	struct catalogue *c = make_catalogue(true);
	char *outside = in_place("outside"), *absent = in_place("absent");
	(void)state;
	expect_found(c, "found", "bin/found", NULL);
	expect_found(c, outside, "outside", NULL);
	expect_missing(c, absent);
	expect_missing(c, "absent");
	/* A directory wins over PATH. */
	expect_found(c, "tool", "programs/tool", NULL);
	expect_found(c, "plain", "programs/plain", NULL);
	free(outside);
	free(absent);
	catalogue_unref(c);
}

static void expect_in_path(const char *path, const char *name, const char *expected)
{
	if (path)
		setenv("PATH", path, 1);
	else
		unsetenv("PATH");
	char *found = find_in_path(name);
	if (expected)
		assert_string_equal(found, expected);
	else
		assert_null(found);
	free(found);
}

static void path_is_searched_with_care(void **state)
{
	char *bin = in_place("bin"), *found = in_place("bin/found"), *path = NULL;
	char cwd[4096];
	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(bin), 0);
	/* An empty or relative element would mean the working directory. */
	expect_in_path("", "found", NULL);
	expect_in_path(":", "found", NULL);
	expect_in_path(".:bin:../bin", "found", NULL);
	expect_in_path("/nonexistent::", "found", NULL);
	assert_true(asprintf(&path, ":/nonexistent::%s:", bin) > 0);
	expect_in_path(path, "found", found);
	expect_in_path(bin, "plain", NULL); /* not executable */
	expect_in_path(bin, "directory", NULL);
	expect_in_path(bin, "absent", NULL);
	expect_in_path(NULL, "sh", "/usr/bin/sh");
	setenv("PATH", bin, 1);
	assert_int_equal(chdir(cwd), 0);
	free(path);
	free(found);
	free(bin);
}

static void names_of_any_length_are_answered(void **state)
{
	struct catalogue *c = make_catalogue(true);
	char *name = malloc(1 << 20);
	(void)state;
	memset(name, 'x', 1 << 20);
	name[(1 << 20) - 1] = '\0';
	expect_missing(c, name);
	name[0] = '/';
	expect_missing(c, name);
	memcpy(name, "../", 3);
	expect_refused(c, name);
	free(name);
	catalogue_unref(c);
}

/* A task keeps what it was started from, whatever a reload brings. */
static void a_launch_outlives_its_catalogue(void **state)
{
	struct catalogue *c = make_catalogue(false);
	struct launch first = { 0 }, second = { 0 };
	(void)state;
	assert_int_equal(catalogue_resolve(c, "entry", &first, NULL), CATALOGUE_FOUND);
	assert_int_equal(catalogue_resolve(c, "entry", &second, NULL), CATALOGUE_FOUND);
	assert_null(catalogue_unref(c));
	launch_deinit(&first);
	assert_string_equal(second.program->name, "entry");
	assert_string_equal(second.program->argv[0], "/abs/entry");
	launch_deinit(&second);
	assert_null(catalogue_unref(NULL));
}

/* What is put into a directory can be run at once, what is taken out cannot. */
static void files_are_looked_up_each_time(void **state)
{
	struct catalogue *c = make_catalogue(false);
	char *path = in_place("more/late");
	(void)state;
	expect_missing(c, "late");
	make("more/late", 0755);
	expect_found(c, "late", "more/late", NULL);
	unlink(path);
	expect_missing(c, "late");
	free(path);
	catalogue_unref(c);
}

static void an_empty_catalogue_runs_nothing(void **state)
{
	struct program_set set = { 0 };
	struct catalogue *c = catalogue_new(&set);
	(void)state;
	expect_missing(c, "sh");
	expect_refused(c, "/bin/sh");
	catalogue_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_first),
		cmocka_unit_test(files_of_directories_are_found_in_order),
		cmocka_unit_test(what_cannot_be_executed_is_left_to_exec),
		cmocka_unit_test(python_files_are_run_by_python),
		cmocka_unit_test(paths_are_refused),
		cmocka_unit_test(search_path_opens_path_and_absolute_names),
		cmocka_unit_test(path_is_searched_with_care),
		cmocka_unit_test(names_of_any_length_are_answered),
		cmocka_unit_test(a_launch_outlives_its_catalogue),
		cmocka_unit_test(files_are_looked_up_each_time),
		cmocka_unit_test(an_empty_catalogue_runs_nothing),
	};
	return cmocka_run_group_tests_name("catalogue", tests, place_make, place_remove);
}
