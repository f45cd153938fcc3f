/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "runner/pipes.h"
#include "wire/wire.h"

/*
 * A program may nest directories deeper than any path is long, and take all permissions from them.
 * So nothing here recurses or holds more than a few descriptors: what is not empty is moved up to
 * the top, level by level, until the top is empty. Mount points say EBUSY and are left alone;
 * symbolic links are files.
 *
 * It may also leave more files than can be removed while others wait: those are left to a thread.
 */

/* Entries that are removed without a thread: some milliseconds. */
#define AT_ONCE 200
#define TRIES   100

struct removal {
	int top;
	unsigned moved; /* names what is moved up */
	size_t left;    /* entries that may still be looked at */
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

static struct dirent *next_allowed(struct removal *removal, DIR *dir)
{
	if (removal->left == 0)
		return NULL;
	removal->left--;
	return next_entry(dir);
}

/* Empties a directory in the top one: what is filled itself is moved up. */
static unsigned empty_inner(struct removal *removal, const char *name)
{
	DIR *dir = open_directory(removal->top, name);
	unsigned done = 0;
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = next_allowed(removal, dir));)
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
	for (struct dirent *entry; (entry = next_allowed(removal, dir));)
		if (remove_entry(removal->top, entry->d_name))
			done++;
		else if (is_filled())
			done += empty_inner(removal, entry->d_name);
	return done;
}

/* -EAGAIN: there is more than @most. */
static int remove_some(const char *path, size_t most)
{
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	DIR *dir = open_directory(AT_FDCWD, path);
	if (!dir)
		return -errno;
	struct removal removal = { .top = dirfd(dir), .left = most };
	while (empty_top(&removal, dir) > 0)
		;
	closedir(dir);
	return rmdir(path) == 0 ? 0 : removal.left == 0 ? -EAGAIN : -errno;
}

int remove_tree(const char *path)
{
	return remove_some(path, SIZE_MAX);
}

/* ---- beside the rest ---- */

struct waiting {
	struct waiting *next;
	char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static struct waiting *first;
static bool is_working;

static void *work(void *unused)
{
	pthread_mutex_lock(&lock);
	for (struct waiting *waiting; (waiting = first);) {
		first = waiting->next;
		pthread_mutex_unlock(&lock);
		remove_tree(waiting->path);
		free(waiting);
		pthread_mutex_lock(&lock);
	}
	is_working = false;
	pthread_cond_broadcast(&idle);
	pthread_mutex_unlock(&lock);
	return unused;
}

/* Signals are for the main thread. */
static bool start_thread(void)
{
	pthread_t thread;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&thread, NULL, work, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		pthread_detach(thread);
	return r == 0;
}

static bool hand_over(const char *path)
{
	size_t len = strlen(path) + 1;
	struct waiting *waiting = malloc(sizeof(*waiting) + len);
	if (!waiting)
		return false;
	memcpy(waiting->path, path, len);
	pthread_mutex_lock(&lock);
	waiting->next = first;
	first = waiting;
	is_working = is_working || start_thread();
	bool is_taken = is_working;
	if (!is_taken)
		first = waiting->next;
	pthread_mutex_unlock(&lock);
	if (!is_taken)
		free(waiting);
	return is_taken;
}

/* Another task may have its name at once. The new one is longer than any id. */
static char *move_aside(const char *path)
{
	static unsigned moved;
	const char *end = strrchr(path, '/');
	char *to;
	for (int i = 0; end && i < TRIES; i++) {
		if (asprintf(&to, "%.*s/%0*u", (int)(end - path), path, ID_MAX + 1, ++moved) < 0)
			return NULL;
		if (rename(path, to) == 0)
			return to;
		free(to);
	}
	return NULL;
}

void remove_tree_beside(const char *path)
{
	if (remove_some(path, AT_ONCE) != -EAGAIN)
		return;
	cleanup_free char *aside = move_aside(path);
	if (!aside || !hand_over(aside))
		remove_tree(aside ? aside : path);
}

void remove_tree_wait(void)
{
	pthread_mutex_lock(&lock);
	while (is_working)
		pthread_cond_wait(&idle, &lock);
	pthread_mutex_unlock(&lock);
}
