/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exec_launch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

/* ---- where it is ---- */

/* @path as the catalogue wants it: absolute, without "..". Its last part stays a link if it is one:
 * what a program is may hang on the name that it is called by. NULL: see errno. */
static char *make_absolute(const char *path)
{
	const char *base = strrchr(path, '/') + 1;
	if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return realpath(path, NULL);
	cleanup_free char *directory = strndup(path, (size_t)(base - path));
	cleanup_free char *real = directory ? realpath(directory, NULL) : NULL;
	char *ret;
	if (!real || asprintf(&ret, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base) < 0)
		return NULL;
	if (access(ret, F_OK) == 0)
		return ret;
	free(ret);
	return NULL;
}

/* Tells and gives the exit status. */
static int not_there(const char *name, int error, struct error *err)
{
	if (strchr(name, '/'))
		error_set(err, -error, "program '%s' was not found: %s", name, strerror(error));
	else if (access(name, F_OK) == 0)
		error_set(err, -ENOENT, "program '%s' was not found in PATH; did you mean ./%s?",
			name, name);
	else
		error_set(err, -ENOENT, "program '%s' was not found in PATH", name);
	return err->code == -ENOENT || err->code == -ENOTDIR ? EXEC_NOT_FOUND : EXEC_NOT_EXECUTABLE;
}

static int look_up(struct program_set *set, const char *name, struct launch *ret, struct error *err)
{
	struct catalogue *catalogue = catalogue_new(set);
	int r = catalogue ? catalogue_resolve(catalogue, name, ret, err) : -ENOMEM;
	catalogue_unref(catalogue);
	return r < 0 ? error_set(err, r, "no memory") : r;
}

/* As a person would look: a path, or a name in PATH. */
static int find_by_hand(
	const char *name, enum pipe_arguments pipe_arguments, struct launch *ret, struct error *err)
{
	cleanup_free char *path = strchr(name, '/') ? make_absolute(name) : find_in_path(name);
	if (!path)
		return not_there(name, errno, err);
	struct program_set set = { .search_path = true, .pipe_arguments = pipe_arguments };
	return look_up(&set, path, ret, err) == CATALOGUE_FOUND ? 0 : EXEC_NOT_FOUND;
}

static bool has_entry(const struct program_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_programs; i++)
		if (strcmp(set->programs[i].name, name) == 0)
			return true;
	return false;
}

static int find(const struct exec_options *options, struct launch *ret, struct error *err)
{
	struct program_set *set = &options->config->catalogue;
	enum pipe_arguments pipe_arguments = set->pipe_arguments;
	bool is_entry = has_entry(set, options->program);
	int r = look_up(set, options->program, ret, err);
	if (r == CATALOGUE_FOUND)
		return 0;
	if (is_entry)
		return EXEC_NOT_FOUND;
	launch_deinit(ret);
	return find_by_hand(options->program, pipe_arguments, ret, err);
}

/* ---- its arguments ---- */

static size_t count(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

/* Those of the command line stand behind the program's own. NULL when memory is short. */
static char **join_arguments(const struct launch *launch, char *const *more)
{
	char *const *base = launch->program->argv;
	size_t n_base = count(base), n_more = count(more), n = 0;
	char **argv = calloc(n_base + n_more + 3, sizeof(char *));
	if (!argv)
		return NULL;
	for (size_t i = 0; i < n_base; i++)
		argv[n++] = base[i];
	if (n_base == 0) {
		argv[n++] = launch->path;
		if (launch->script)
			argv[n++] = launch->script;
	}
	for (size_t i = 0; i < n_more; i++)
		argv[n++] = more[i];
	return argv;
}

int exec_launch(const struct exec_options *options, struct launch *ret, struct program *adapted,
	struct error *err)
{
	int status = find(options, ret, err);
	if (status)
		return status;
	*adapted = *ret->program;
	adapted->argv = join_arguments(ret, options->arguments);
	if (!adapted->argv) {
		error_set(err, -ENOMEM, "no memory");
		return EXEC_FAILED;
	}
	if (options->pipe_arguments)
		adapted->pipe_arguments = *options->pipe_arguments;
	ret->program = adapted;
	return 0;
}
