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
/* A line: a number in hexadecimal digits, what it is about, the id. */
#define DIGITS    16
#define LINE_SIZE (DIGITS + 1 + ID_MAX + 2)
#define FINISHED  ' ' /* the print of the request */
#define FREED     '+' /* what stands for the giving back */
/* The last line of one that has ended in good order. */
#define ENDED "ended\n"

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

/* Only what the next one may start at once is worth being kept, and it is all that there is. */
static bool leave_freed(const struct journal *journal)
{
	static const char ended[] = ENDED;
	ssize_t len = (ssize_t)sizeof(ended) - 1;
	if (!journal->path || journal->fd < 0 || !journal->freed ||
		write(journal->fd, ended, (size_t)len) != len)
		return false;
	log_info("journal.left", LOG_S("file", journal->path),
		LOG_I("given_back", (int64_t)journal->freed));
	return true;
}

void journal_close(struct journal *journal)
{
	if (journal->path && !leave_freed(journal))
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

static bool write_line(struct journal *journal, char kind, const char *task, uint64_t number)
{
	char line[LINE_SIZE];
	int len = snprintf(
		line, sizeof(line), "%016llx%c%s\n", (unsigned long long)number, kind, task);
	if (len <= 0 || (size_t)len >= sizeof(line) || write(journal->fd, line, (size_t)len) != len)
		return false;
	journal->lines++;
	return true;
}

static void write_finished(const char *id, uint64_t print, void *userdata)
{
	write_line(userdata, FINISHED, id, print);
}

/* False: there is no journal, or none any more. */
static bool note(struct journal *journal, char kind, const char *task, uint64_t number)
{
	/* An id with a newline in it cannot be told from two. */
	if (journal->fd < 0 || strchr(task, '\n'))
		return false;
	if (write_line(journal, kind, task, number))
		return true;
	log_warn("journal.not-written", LOG_S("file", journal->path), LOG_ERRNO(errno));
	/* Once is enough to be told; the disk may be full for long. */
	close_fd(steal_fd(&journal->fd));
	return false;
}

void journal_add(
	struct journal *journal, const char *task, uint64_t print, const struct memory *finished)
{
	/* What was given back so long before the end is with somebody else. */
	if (journal->fd >= 0 && journal->lines >= LINES_MAX && ftruncate(journal->fd, 0) == 0) {
		journal->lines = journal->freed = 0;
		memory_visit(finished, write_finished, journal);
	}
	note(journal, FINISHED, task, print);
}

void journal_add_freed(struct journal *journal, const char *task, uint64_t giving)
{
	journal->freed += note(journal, FREED, task, giving);
}

static void read_line(char *line, struct memory *finished, struct memory *freed)
{
	size_t len = strcspn(line, "\n");
	const char *id = line + DIGITS + 1;
	if (line[len] != '\n' || len <= DIGITS)
		return; /* cut off, when it was killed */
	line[len] = '\0';
	if (!id_is_valid(slice_of(id)))
		return;
	if (line[DIGITS] == FINISHED)
		memory_add_print(finished, id, strtoull(line, NULL, 16));
	else if (line[DIGITS] == FREED)
		memory_add_print(freed, id, strtoull(line, NULL, 16));
}

/* True: it has ended in good order. */
static bool read_lines(int fd, struct memory *finished, struct memory *freed)
{
	char line[LINE_SIZE];
	bool has_ended = false;
	int copy = dup(fd);
	FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
	if (!file) {
		if (copy >= 0)
			close_fd(copy);
		return false;
	}
	while (fgets(line, sizeof(line), file)) {
		has_ended = strcmp(line, ENDED) == 0;
		read_line(line, finished, freed);
	}
	fclose(file);
	return has_ended;
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

static void take_dead(struct journal *journal, const char *base, const char *name,
	struct memory *finished, struct memory *freed)
{
	struct journal_dead *dead = &journal->dead[journal->n_dead];
	*dead = (struct journal_dead){ .fd = -1 };
	if (!parse_name(name, dead->id, sizeof(dead->id)) ||
		asprintf(&dead->path, "%s/%s", base, name) < 0)
		return;
	dead->fd = open_locked(dead->path, O_RDONLY);
	if (dead->fd >= 0 && !read_lines(dead->fd, finished, freed)) {
		journal->n_dead++;
		return;
	}
	/* It is another's, or has said all that there is to it. */
	if (dead->fd >= 0)
		journal_settle(journal, journal->n_dead);
	free(steal_ptr(dead->path));
}

void journal_find_dead(
	struct journal *journal, const char *base, struct memory *finished, struct memory *freed)
{
	DIR *dir = opendir(base);
	const struct dirent *entry;
	while (dir && journal->n_dead < JOURNAL_DEAD_MAX && (entry = readdir(dir)))
		take_dead(journal, base, entry->d_name, finished, freed);
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
