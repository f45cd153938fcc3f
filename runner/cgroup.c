/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define PREFIX "taskrunner-"
/* Groups may be made within groups, by programs too. */
#define DEPTH_MAX 64
/* Files of groups and of /proc are short, but for lists of processes. */
#define TEXT_MAX 4096

/* ---- files ---- */

/* Gives the length, or a negative errno; @ret ends with NUL. */
static ssize_t read_file(int directory, const char *path, char *ret, size_t size)
{
	cleanup_close int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);
	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return n;
}

static int write_file(int directory, const char *path, const char *text)
{
	cleanup_close int fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static bool has_file(int directory, const char *path)
{
	return faccessat(directory, path, F_OK, 0) == 0;
}

/* The number behind @key at the start of a line; 0 where there is none. */
static uint64_t number_of(const char *text, const char *key)
{
	size_t len = strlen(key);
	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, key, len) == 0 && at[len] == ' ')
			return strtoull(at + len, NULL, 10);
	}
	return 0;
}

static uint64_t read_number(int directory, const char *path)
{
	char text[64];
	return read_file(directory, path, text, sizeof(text)) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* ---- where we are ---- */

/* One of the hierarchies: NULL is version 2, else the name of a controller of version 1. */
typedef const char *hierarchy;

static bool holds_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

/* Of a line of /proc/PID/cgroup, "4:memory:/path" or "0::/path"; NULL: of another hierarchy. */
static char *path_in_line(char *line, hierarchy which)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path)
		return NULL;
	*path++ = '\0';
	controllers++;
	if (which ? !holds_word(controllers, which) : strncmp(line, "0:", 2) != 0)
		return NULL;
	path[strcspn(path, "\n")] = '\0';
	return path;
}

/* Our own group, or that of @process, as the kernel names it. 0 or a negative errno. */
static int read_name(const char *file, hierarchy which, char **ret)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t size = 0;
	*ret = NULL;
	if (!f)
		return -errno;
	while (!*ret && getline(&line, &size, f) > 0) {
		const char *path = path_in_line(line, which);
		if (path && !(*ret = strdup(path)))
			break;
	}
	free(line);
	fclose(f);
	return *ret ? 0 : -ENOENT;
}

/* In mountinfo a space is \040, and so on. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

struct mount {
	char *root, *point; /* which part of the hierarchy, and where; of the line */
};

/* "36 35 98:0 /root /point rw,… … - cgroup2 source options"; false: something else. */
static bool parse_mount(char *line, hierarchy which, struct mount *ret)
{
	char *fields[6], *more = strstr(line, " - "), *save = NULL;
	if (!more)
		return false;
	*more = '\0';
	char *type = strtok_r(more + 3, " \n", &save);
	char *source = type ? strtok_r(NULL, " \n", &save) : NULL;
	char *options = source ? strtok_r(NULL, " \n", &save) : NULL;
	if (!options || strcmp(type, which ? "cgroup" : "cgroup2") != 0 ||
		(which && !holds_word(options, which)))
		return false;
	save = NULL;
	for (int i = 0; i < 6; i++)
		if (!(fields[i] = strtok_r(i ? NULL : line, " ", &save)))
			return false;
	unescape(fields[3]);
	unescape(fields[4]);
	*ret = (struct mount){ fields[3], fields[4] };
	return true;
}

/* Calls @visit for each mount of the hierarchy until it gives true. */
static bool visit_mounts(
	hierarchy which, bool (*visit)(const struct mount *mount, void *data), void *data)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	struct mount mount;
	bool found = false;
	while (f && !found && getline(&line, &size, f) > 0)
		found = parse_mount(line, which, &mount) && visit(&mount, data);
	free(line);
	if (f)
		fclose(f);
	return found;
}

struct wanted {
	const char *name;
	char *directory;
};

static bool find_directory(const struct mount *mount, void *data)
{
	struct wanted *wanted = data;
	struct stat st;
	size_t len = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);
	const char *rest = wanted->name + len;
	if (strncmp(wanted->name, mount->root, len) != 0 || (*rest != '/' && *rest != '\0'))
		return false;
	if (asprintf(&wanted->directory, "%s%s", mount->point, strcmp(rest, "/") == 0 ? "" : rest) <
		0)
		wanted->directory = NULL;
	else if (stat(wanted->directory, &st) == 0 && S_ISDIR(st.st_mode))
		return true;
	free(steal_ptr(wanted->directory));
	return false;
}

/* Our own group: its name, and the directory where it can be seen. 0 or a negative errno. */
static int find_own(hierarchy which, char **ret_name, char **ret_directory)
{
	int r = read_name("/proc/self/cgroup", which, ret_name);
	if (r < 0)
		return r;
	struct wanted wanted = { .name = *ret_name };
	if (!visit_mounts(which, find_directory, &wanted)) {
		free(steal_ptr(*ret_name));
		return -ENOENT;
	}
	*ret_directory = wanted.directory;
	return 0;
}

/* ---- the group of an instance ---- */

/* What we are in, we may hand on only if nothing but groups were in it. Our group for the tasks is
 * such a one, so if it was given the controller, the tasks can have it. */
static bool enable_memory(int fd)
{
	char controllers[TEXT_MAX];
	ssize_t n = read_file(fd, "cgroup.controllers", controllers, sizeof(controllers));
	for (ssize_t i = 0; i < n; i++)
		if (controllers[i] == ' ' || controllers[i] == '\n')
			controllers[i] = ',';
	return n > 0 && holds_word(controllers, "memory") &&
	       write_file(fd, "cgroup.subtree_control", "+memory") == 0;
}

/* Whether processes may be moved there is up to the two files. */
static int check_usable(const char *own, int fd, struct error *err)
{
	char procs[4200];
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", own);
	if (!has_file(fd, "cgroup.freeze"))
		return error_set(err, -ENOTSUP, "the kernel cannot freeze a group (Linux 5.2 can)");
	if (access(procs, W_OK) < 0 || faccessat(fd, "cgroup.procs", W_OK, 0) < 0)
		return error_set(err, -errno, "processes cannot be moved out of %s: %s", own,
			strerror(errno));
	return 0;
}

static int open_in(struct cgroup *groups, const char *own, struct error *err)
{
	if (mkdir(groups->directory, 0755) < 0)
		return error_set(
			err, -errno, "no group can be made in %s: %s", own, strerror(errno));
	groups->fd = open(groups->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = groups->fd < 0 ? error_set(err, -errno, "%s cannot be opened: %s",
					 groups->directory, strerror(errno))
			       : check_usable(own, groups->fd, err);
	if (r < 0) {
		rmdir(groups->directory);
		return r;
	}
	groups->has_memory = enable_memory(groups->fd);
	return 0;
}

static void forget(struct cgroup *groups)
{
	close_fd(groups->fd);
	free(groups->directory);
	free(groups->name);
	*groups = CGROUP_NONE;
}

int cgroup_open(struct cgroup *ret, const char *instance, struct error *err)
{
	cleanup_free char *own = NULL, *directory = NULL;
	*ret = CGROUP_NONE;
	int r = find_own(NULL, &own, &directory);
	if (r < 0)
		return error_set(err, r, "there are no control groups of version 2");
	if (asprintf(&ret->directory, "%s/" PREFIX "%s", directory, instance) < 0)
		ret->directory = NULL;
	if (asprintf(&ret->name, "%s/" PREFIX "%s", strcmp(own, "/") == 0 ? "" : own, instance) < 0)
		ret->name = NULL;
	r = ret->directory && ret->name ? open_in(ret, directory, err)
					: error_set(err, -ENOMEM, "no memory");
	if (r < 0)
		forget(ret);
	return r;
}

/* ---- groups within groups ---- */

static bool is_group(int directory, const char *name)
{
	struct stat st;
	return name[0] != '.' && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

static DIR *open_list(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !list)
		close_fd(fd);
	return list;
}

/* Every process of this one group, without cgroup.kill. It is frozen, so none is born meanwhile. */
static void kill_each(int group)
{
	FILE *f;
	int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	long pid;
	if (fd < 0 || !(f = fdopen(fd, "r"))) {
		if (fd >= 0)
			close_fd(fd);
		return;
	}
	/* 0 is one that our namespace does not show. */
	while (fscanf(f, "%ld", &pid) == 1)
		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
	fclose(f);
}

/* Removes the group and those in it, killing what lives there if @kills. 0, 1: something is left,
 * or a negative errno. */
static int remove_group(int parent, const char *name, bool kills, int depth)
{
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY || depth > DEPTH_MAX)
		return -errno;
	DIR *list = open_list(parent, name);
	if (!list)
		return errno == ENOENT ? 0 : errno == EMFILE || errno == ENFILE ? 1 : -errno;
	if (kills)
		kill_each(dirfd(list));
	for (struct dirent *entry; (entry = readdir(list));)
		if (is_group(dirfd(list), entry->d_name))
			remove_group(dirfd(list), entry->d_name, kills, depth + 1);
	closedir(list);
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : 1;
}

/* The same; all at once, where the kernel can. */
static int end_group(int parent, const char *name)
{
	char path[300];
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	snprintf(path, sizeof(path), "%s/cgroup.kill", name);
	bool killed = write_file(parent, path, "1") == 0;
	if (!killed) {
		snprintf(path, sizeof(path), "%s/cgroup.freeze", name);
		write_file(parent, path, "1");
	}
	return remove_group(parent, name, !killed, 0);
}

void cgroup_close(struct cgroup *groups)
{
	if (groups->fd >= 0)
		remove_group(AT_FDCWD, groups->directory, false, 0);
	forget(groups);
}

/* ---- the group of a task ---- */

static const char *name_of(uint64_t serial, char *buffer, size_t size, const char *file)
{
	snprintf(buffer, size, "%llu%s", (unsigned long long)serial, file);
	return buffer;
}

int cgroup_make(const struct cgroup *groups, uint64_t serial)
{
	char name[64];
	name_of(serial, name, sizeof(name), "");
	if (mkdirat(groups->fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(groups->fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = -errno;
	if (fd < 0)
		unlinkat(groups->fd, name, AT_REMOVEDIR);
	return fd < 0 ? r : fd;
}

int cgroup_end(const struct cgroup *groups, uint64_t serial)
{
	char name[64];
	return end_group(groups->fd, name_of(serial, name, sizeof(name), ""));
}

int cgroup_freeze(const struct cgroup *groups, uint64_t serial, bool frozen)
{
	char path[64];
	return write_file(groups->fd, name_of(serial, path, sizeof(path), "/cgroup.freeze"),
		frozen ? "1" : "0");
}

uint64_t cgroup_owner(const struct cgroup *groups, pid_t pid)
{
	char file[64];
	cleanup_free char *name = NULL;
	size_t len = strlen(groups->name);
	snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	if (read_name(file, NULL, &name) < 0 || strncmp(name, groups->name, len) != 0 ||
		name[len] != '/')
		return 0;
	return strtoull(name + len + 1, NULL, 10);
}

static void look_at_memory(int group, struct cgroup_usage *ret)
{
	char events[TEXT_MAX];
	ret->memory = read_number(group, "memory.current");
	ret->peak_memory = read_number(group, "memory.peak"); /* Linux 5.19 */
	if (read_file(group, "memory.events", events, sizeof(events)) > 0)
		ret->oom_kills = number_of(events, "oom_kill");
}

int cgroup_look(const struct cgroup *groups, uint64_t serial, struct cgroup_usage *ret)
{
	char name[64], stat[TEXT_MAX];
	*ret = (struct cgroup_usage){ 0 };
	name_of(serial, name, sizeof(name), "");
	cleanup_close int fd = openat(groups->fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read_file(fd, "cpu.stat", stat, sizeof(stat));
	if (n < 0)
		return (int)n;
	ret->cpu_us = number_of(stat, "usage_usec");
	if (groups->has_memory)
		look_at_memory(fd, ret);
	return 0;
}

/* ---- what dead instances left ---- */

struct search {
	char name[64];
	bool is_left;
};

static void search_in(DIR *list, struct search *search, int depth)
{
	for (struct dirent *entry; (entry = readdir(list));) {
		if (!is_group(dirfd(list), entry->d_name))
			continue;
		if (strcmp(entry->d_name, search->name) == 0) {
			search->is_left |= end_group(dirfd(list), entry->d_name) > 0;
			continue;
		}
		DIR *below = depth < DEPTH_MAX ? open_list(dirfd(list), entry->d_name) : NULL;
		if (below)
			search_in(below, search, depth + 1);
		if (below)
			closedir(below);
	}
}

static bool search_mount(const struct mount *mount, void *data)
{
	DIR *list = opendir(mount->point);
	if (list) {
		search_in(list, data, 0);
		closedir(list);
	}
	return false;
}

/* It may have been in another group than we are: a user's session, another service. */
bool cgroup_clear(const char *instance)
{
	struct search search = { 0 };
	snprintf(search.name, sizeof(search.name), PREFIX "%s", instance);
	visit_mounts(NULL, search_mount, &search);
	return search.is_left;
}

/* ---- want of memory ---- */

static int open_own(hierarchy which, const char *file)
{
	cleanup_free char *name = NULL, *directory = NULL, *path = NULL;
	int r = find_own(which, &name, &directory);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/%s", directory, file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The fields of the three are named alike. Before Linux 4.13 version 1 does not count. */
static bool counts(int fd)
{
	char text[TEXT_MAX];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return strstr(text, "oom_kill ") != NULL;
}

int cgroup_open_oom_kills(void)
{
	int fd = open_own(NULL, "memory.events");
	if (fd < 0)
		fd = open_own("memory", "memory.oom_control");
	if (fd >= 0 && counts(fd))
		return fd;
	if (fd >= 0)
		close_fd(fd);
	fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

uint64_t cgroup_read_oom_kills(int fd)
{
	char text[16 << 10];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return 0;
	text[n] = '\0';
	return number_of(text, "oom_kill");
}
