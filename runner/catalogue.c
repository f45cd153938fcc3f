/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/catalogue.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/* A name is whatever stands in a request; of a long one the beginning is enough for a sentence. */
#define SHOWN "%.200s"

struct catalogue {
	unsigned references;
	struct program_set set;
};

struct catalogue *catalogue_new(struct program_set *set)
{
	struct catalogue *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->references = 1;
	c->set = *set;
	*set = (struct program_set){ 0 };
	return c;
}

struct catalogue *catalogue_ref(struct catalogue *c)
{
	c->references++;
	return c;
}

struct catalogue *catalogue_unref(struct catalogue *c)
{
	if (c && --c->references == 0) {
		program_set_deinit(&c->set);
		free(c);
	}
	return NULL;
}

void launch_deinit(struct launch *launch)
{
	free(launch->path);
	free(launch->script);
	free(launch->found.name);
	catalogue_unref(launch->catalogue);
	*launch = (struct launch){ 0 };
}

static bool is_executable_file(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *find_in_path(const char *name)
{
	const char *at = getenv("PATH");
	if (!at || !*at)
		at = "/usr/local/bin:/usr/bin:/bin";
	while (*at) {
		size_t len = strcspn(at, ":");
		char *path = NULL;
		/* An empty element would mean the working directory: never searched. */
		if (len > 0 && at[0] == '/' && asprintf(&path, "%.*s/%s", (int)len, at, name) < 0)
			return NULL;
		if (path && is_executable_file(path))
			return path;
		free(path);
		at += len + (at[len] == ':');
	}
	return NULL;
}

/* A directory of that name is left to exec, which refuses it in clear words. */
static bool is_python(const char *name, const char *path)
{
	size_t len = strlen(name);
	struct stat st;
	return len > 3 && strcmp(name + len - 3, ".py") == 0 &&
	       !(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* Fills @ret for the file at @path (taken) that is not an entry of `programs`. */
static int found_file(struct catalogue *c, const char *name, char *path, struct launch *ret)
{
	ret->found.name = strdup(name);
	ret->found.pipe_arguments = c->set.pipe_arguments;
	ret->program = &ret->found;
	ret->path = path;
	if (!ret->found.name)
		return -ENOMEM;
	if (is_python(name, path)) {
		ret->script = path;
		ret->path = find_in_path("python3");
		if (!ret->path)
			ret->path = strdup("/usr/bin/python3");
		if (!ret->path)
			return -ENOMEM;
	}
	return CATALOGUE_FOUND;
}

static int find_in_directories(struct catalogue *c, const char *name, char **ret)
{
	for (char **dir = c->set.directories; dir && *dir; dir++) {
		cleanup_free char *path = NULL;
		struct stat st;
		if (asprintf(&path, "%s/%s", *dir, name) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		if (stat(path, &st) == 0) {
			*ret = steal_ptr(path);
			return CATALOGUE_FOUND;
		}
	}
	return CATALOGUE_NOT_FOUND;
}

static const struct program *find_entry(const struct catalogue *c, const char *name)
{
	for (size_t i = 0; i < c->set.n_programs; i++)
		if (strcmp(c->set.programs[i].name, name) == 0)
			return &c->set.programs[i];
	return NULL;
}

static int launch_entry(const struct program *program, struct launch *ret, struct error *err)
{
	const char *first = program->argv[0];
	bool is_path = strchr(first, '/');
	ret->program = program;
	ret->path = is_path ? strdup(first) : find_in_path(first);
	if (ret->path)
		return CATALOGUE_FOUND;
	if (is_path)
		return -ENOMEM;
	error_set(err, -ENOENT, "Program '%s' was not found: '%s' is in no directory of PATH",
		program->name, first);
	return CATALOGUE_NOT_FOUND;
}

static bool has_dot_dot(const char *name)
{
	for (const char *at = name; (at = strstr(at, "..")); at += 2)
		if ((at == name || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
			return true;
	return false;
}

static int refused(struct error *err, const char *name, const char *why)
{
	error_set(err, -EPERM, "Program '" SHOWN "' was refused: %s", name, why);
	return CATALOGUE_REFUSED;
}

static int find_file(struct catalogue *c, const char *name, char **ret, struct error *err)
{
	if (has_dot_dot(name))
		return refused(err, name, "a name may not contain '..'");
	if (strchr(name, '/')) {
		if (!c->set.search_path || name[0] != '/')
			return refused(
				err, name, "only names from the catalogue can be run, not paths");
		*ret = strdup(name);
		if (!*ret)
			return -ENOMEM;
		return access(name, F_OK) == 0 ? CATALOGUE_FOUND : CATALOGUE_NOT_FOUND;
	}
	int r = find_in_directories(c, name, ret);
	if (r == CATALOGUE_NOT_FOUND && c->set.search_path)
		r = (*ret = find_in_path(name)) ? CATALOGUE_FOUND : CATALOGUE_NOT_FOUND;
	return r;
}

int catalogue_resolve(struct catalogue *c, const char *name, struct launch *ret, struct error *err)
{
	cleanup_free char *path = NULL;
	const struct program *entry = find_entry(c, name);
	ret->catalogue = catalogue_ref(c);
	if (entry)
		return launch_entry(entry, ret, err);
	if (!*name)
		return refused(err, name, "the name is empty");
	int r = find_file(c, name, &path, err);
	if (r == CATALOGUE_NOT_FOUND)
		error_set(err, -ENOENT,
			"Program '" SHOWN "' was not found: no such entry in the catalogue%s", name,
			c->set.search_path ? " or in PATH"
					   : " and no such file in a program directory");
	if (r != CATALOGUE_FOUND)
		return r;
	return found_file(c, name, steal_ptr(path), ret);
}

/* ---- all that there is ---- */

static bool is_listed(struct catalogue *c, const char *name)
{
	for (size_t i = 0; i < c->set.n_programs; i++)
		if (strcmp(c->set.programs[i].name, name) == 0)
			return true;
	return false;
}

static void tell_file(struct catalogue *c, const char *directory, const char *name,
	catalogue_tell_fn tell, void *userdata)
{
	const struct program program = { .name = (char *)name };
	cleanup_free char *path = NULL;
	if (is_listed(c, name) || asprintf(&path, "%s/%s", directory, name) < 0)
		return;
	if (is_executable_file(path) || is_python(name, path))
		tell(userdata, &program, directory);
}

static void list_directory(
	struct catalogue *c, const char *directory, catalogue_tell_fn tell, void *userdata)
{
	DIR *d = opendir(directory);
	const struct dirent *entry;
	for (int n = 0; d && n < CATALOGUE_LISTED_MAX && (entry = readdir(d)); n++)
		tell_file(c, directory, entry->d_name, tell, userdata);
	if (d)
		closedir(d);
}

void catalogue_list(struct catalogue *c, catalogue_tell_fn tell, void *userdata)
{
	for (size_t i = 0; i < c->set.n_programs; i++)
		tell(userdata, &c->set.programs[i], "programs");
	for (char **at = c->set.directories; at && *at; at++)
		list_directory(c, *at, tell, userdata);
}
