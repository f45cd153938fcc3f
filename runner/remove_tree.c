/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "runner/pipes.h"

/*
 * A program may nest directories deeper than any path is long, and take all permissions from them.
 * So nothing here recurses or holds more than a few descriptors: what is not empty is moved up to
 * the top, level by level, until the top is empty. Mount points say EBUSY and are left alone;
 * symbolic links are files.
 */

struct removal {
	int top;
	unsigned moved; /* names what is moved up */
};

/* An unprivileged runner could not look inside otherwise, nor move it. */
static void give_permissions(int parent, const char *name)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
		(st.st_mode & 0700) != 0700)
		fchmodat(parent, name, 0700, 0);
}

static DIR *open_directory(int parent, const char *name)
{
	give_permissions(parent, name);
	cleanup_close int fd =
		openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir)
		steal_fd(&fd);
	return dir;
}

static bool remove_entry(int parent, const char *name)
{
	return unlinkat(parent, name, 0) == 0 ||
	       ((errno == EISDIR || errno == EPERM) && unlinkat(parent, name, AT_REMOVEDIR) == 0);
}

static bool is_filled(void)
{
	return errno == ENOTEMPTY || errno == EEXIST;
}

static bool move_up(struct removal *removal, int parent, const char *name)
{
	char to[32];
	give_permissions(parent, name);
	do
		snprintf(to, sizeof(to), ".removed-%u", ++removal->moved);
	while (faccessat(removal->top, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	return renameat(parent, name, removal->top, to) == 0;
}

static struct dirent *next_entry(DIR *dir)
{
	struct dirent *entry;
	do
		entry = readdir(dir);
	while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
	return entry;
}

/* Empties a directory in the top one: what is filled itself is moved up. */
static unsigned empty_inner(struct removal *removal, const char *name)
{
	DIR *dir = open_directory(removal->top, name);
	unsigned done = 0;
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = next_entry(dir));)
		done += remove_entry(dirfd(dir), entry->d_name) ||
			(is_filled() && move_up(removal, dirfd(dir), entry->d_name));
	closedir(dir);
	return done;
}

/* One look through the top directory: how much it brought. */
static unsigned empty_top(struct removal *removal, DIR *dir)
{
	unsigned done = 0;
	rewinddir(dir);
	for (struct dirent *entry; (entry = next_entry(dir));)
		if (remove_entry(removal->top, entry->d_name))
			done++;
		else if (is_filled())
			done += empty_inner(removal, entry->d_name);
	return done;
}

int remove_tree(const char *path)
{
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	DIR *dir = open_directory(AT_FDCWD, path);
	if (!dir)
		return -errno;
	struct removal removal = { .top = dirfd(dir) };
	while (empty_top(&removal, dir) > 0)
		;
	closedir(dir);
	return rmdir(path) == 0 ? 0 : -errno;
}
