/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "wire/wire.h"

#define PREFIX "taskrunner-"
#define SUFFIX ".journal"
/* Lines after which it is written anew with what is still remembered. */
#define LINES_MAX 200000
/* A line: the print in hexadecimal digits, a space, the id. */
#define PRINT_DIGITS 16
#define LINE_SIZE    (PRINT_DIGITS + 1 + ID_MAX + 2)

static int open_locked(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = -errno;
		close_fd(fd);
		return r;
	}
	return fd;
}

int journal_open(struct journal *journal, const char *base, const char *id)
{
	if (asprintf(&journal->path, "%s/" PREFIX "%s" SUFFIX, base, id) < 0) {
		journal->path = NULL;
		return -ENOMEM;
	}
	int fd = open_locked(journal->path, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
	if (fd < 0)
		free(steal_ptr(journal->path));
	else
		journal->fd = fd;
	return fd < 0 ? fd : 0;
}

void journal_leave(struct journal *journal)
{
	free(steal_ptr(journal->path));
}

void journal_close(struct journal *journal)
{
	if (journal->path)
		unlink(journal->path);
	if (journal->fd >= 0)
		close_fd(journal->fd);
	free(journal->path);
	for (size_t i = 0; i < journal->n_dead; i++) {
		if (journal->dead[i].fd >= 0)
			close_fd(journal->dead[i].fd);
		free(journal->dead[i].path);
	}
	*journal = (struct journal){ .fd = -1 };
}

static bool write_line(int fd, const char *task, uint64_t print)
{
	char line[LINE_SIZE];
	int len = snprintf(line, sizeof(line), "%016llx %s\n", (unsigned long long)print, task);
	return len > 0 && (size_t)len < sizeof(line) && write(fd, line, (size_t)len) == len;
}

static void write_entry(const char *id, uint64_t print, void *userdata)
{
	struct journal *journal = userdata;
	journal->lines += write_line(journal->fd, id, print);
}

void journal_add(
	struct journal *journal, const char *task, uint64_t print, const struct memory *finished)
{
	/* An id with a newline in it cannot be told from two. */
	if (journal->fd < 0 || strchr(task, '\n'))
		return;
	if (journal->lines >= LINES_MAX && ftruncate(journal->fd, 0) == 0) {
		journal->lines = 0;
		memory_visit(finished, write_entry, journal);
	}
	if (write_line(journal->fd, task, print)) {
		journal->lines++;
		return;
	}
	log_warn("journal.not-written", LOG_S("file", journal->path), LOG_ERRNO(errno));
	/* Once is enough to be told; the disk may be full for long. */
	close_fd(steal_fd(&journal->fd));
}

static void read_line(char *line, struct memory *finished)
{
	size_t len = strcspn(line, "\n");
	const char *id = line + PRINT_DIGITS + 1;
	if (line[len] != '\n' || len <= PRINT_DIGITS || line[PRINT_DIGITS] != ' ')
		return; /* cut off, when it was killed */
	line[len] = '\0';
	if (id_is_valid(slice_of(id)))
		memory_add_print(finished, id, strtoull(line, NULL, 16));
}

static void read_lines(int fd, struct memory *finished)
{
	char line[LINE_SIZE];
	int copy = dup(fd);
	FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
	if (!file) {
		if (copy >= 0)
			close_fd(copy);
		return;
	}
	while (fgets(line, sizeof(line), file))
		read_line(line, finished);
	fclose(file);
}

/* The instance in a file's name; false: it is none of ours. */
static bool parse_name(const char *name, char *ret, size_t size)
{
	size_t len = strlen(name), fixed = sizeof(PREFIX) - 1 + sizeof(SUFFIX) - 1;
	if (len <= fixed || len - fixed >= size || strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0 ||
		strcmp(name + len - (sizeof(SUFFIX) - 1), SUFFIX) != 0)
		return false;
	memcpy(ret, name + sizeof(PREFIX) - 1, len - fixed);
	ret[len - fixed] = '\0';
	return strspn(ret, "0123456789abcdef") == strlen(ret);
}

static void take_dead(
	struct journal *journal, const char *base, const char *name, struct memory *finished)
{
	struct journal_dead *dead = &journal->dead[journal->n_dead];
	*dead = (struct journal_dead){ .fd = -1 };
	if (!parse_name(name, dead->id, sizeof(dead->id)) ||
		asprintf(&dead->path, "%s/%s", base, name) < 0)
		return;
	dead->fd = open_locked(dead->path, O_RDONLY);
	if (dead->fd < 0) {
		free(steal_ptr(dead->path));
		return;
	}
	read_lines(dead->fd, finished);
	journal->n_dead++;
}

void journal_find_dead(struct journal *journal, const char *base, struct memory *finished)
{
	DIR *dir = opendir(base);
	const struct dirent *entry;
	while (dir && journal->n_dead < JOURNAL_DEAD_MAX && (entry = readdir(dir)))
		take_dead(journal, base, entry->d_name, finished);
	if (dir)
		closedir(dir);
}

void journal_settle(struct journal *journal, size_t i)
{
	struct journal_dead *dead = &journal->dead[i];
	if (dead->fd < 0)
		return;
	unlink(dead->path);
	close_fd(steal_fd(&dead->fd));
}
