/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"

int tree_become_subreaper(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

bool tree_signal_group(pid_t group, int signal)
{
	return kill(-group, signal) == 0 || errno != ESRCH;
}

static void cleanup_buf(struct buf *b)
{
	buf_deinit(b);
}

/* A file under /proc, whole, with a NUL after it. Files there have no size to ask for. */
static int read_proc(const char *path, struct buf *ret)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		char *at;
		if (buf_reserve(ret, 4096, &at) < 0)
			return -ENOMEM;
		ssize_t n = read(fd, at, 4095);
		if (n < 0)
			return -errno;
		at[n] = '\0';
		if (n == 0)
			return 0;
		ret->len += (size_t)n;
	}
}

int tree_read_mark(pid_t pid, char *ret, size_t size)
{
	cleanup_with(cleanup_buf) struct buf environment = { .max = 4 << 20 };
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	int r = read_proc(path, &environment);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return r;
	if (r < 0 || environment.len == 0)
		return 0;
	const char *end = environment.data + environment.len;
	for (const char *at = environment.data; at < end; at += strlen(at) + 1)
		if (strncmp(at, TREE_MARK "=", sizeof(TREE_MARK)) == 0) {
			snprintf(ret, size, "%s", at + sizeof(TREE_MARK));
			return 1;
		}
	return 0;
}

/* 1 or 0, or a negative errno. */
static int is_of_task(const struct tree_view *view, pid_t pid, pid_t leader, const char *mark)
{
	char its_mark[128];
	pid_t session = getsid(pid);
	if (leader > 0 && session == leader)
		return 1;
	if (session > 0 && view->is_own(view->userdata, session))
		return 0;
	int r = view->is_in_group ? view->is_in_group(view->userdata, pid) : -1;
	if (r >= 0)
		return r;
	r = tree_read_mark(pid, its_mark, sizeof(its_mark));
	if (r <= 0)
		return r < 0 ? r : 1;
	return strcmp(its_mark, mark) == 0 || !view->is_live_mark(view->userdata, its_mark);
}

static int list_children(struct buf *ret)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/task/%ld/children", syscall(SYS_gettid));
	return read_proc(path, ret);
}

int tree_kill_strays(const struct tree_view *view, pid_t leader, const char *mark)
{
	cleanup_with(cleanup_buf) struct buf children = { .max = 16 << 20 };
	int found = 0, r = list_children(&children);
	/* A kernel without this list (CONFIG_PROC_CHILDREN) is one without strays that could be
	 * found. */
	if (r < 0 || children.len == 0)
		return r == -ENOENT ? 0 : r;
	for (char *at = children.data, *next; *at; at = next) {
		pid_t pid = (pid_t)strtol(at, &next, 10);
		if (next == at)
			break;
		while (*next == ' ')
			next++;
		if (view->is_own(view->userdata, pid) ||
			(r = is_of_task(view, pid, leader, mark)) == 0)
			continue;
		if (r < 0 || kill(pid, SIGKILL) == 0)
			found++;
	}
	return found;
}

static bool is_marked(pid_t pid, const char *instance)
{
	char mark[128];
	size_t len = strlen(instance);
	return tree_read_mark(pid, mark, sizeof(mark)) > 0 && strncmp(mark, instance, len) == 0 &&
	       mark[len] == '/';
}

unsigned tree_kill_marked(const char *instance, pid_t except)
{
	unsigned found = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		return 0;
	for (struct dirent *entry; (entry = readdir(proc));) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid != except && pid != getpid() && is_marked(pid, instance) &&
			kill(pid, SIGKILL) == 0)
			found++;
	}
	closedir(proc);
	return found;
}

/* ---- all processes ---- */

/* Fields of /proc/PID/stat, counted from 1. The second is a name in parentheses that may hold
 * anything, so counting begins behind the last of them. */
enum { STAT_STATE = 3, STAT_PARENT, STAT_SESSION = 6, STAT_TIMES = 14, STAT_RSS = 24 };

static uint64_t ticks_to_us(long long ticks)
{
	static long hertz;
	if (!hertz)
		hertz = sysconf(_SC_CLK_TCK);
	return ticks > 0 ? (uint64_t)ticks * 1000000 / (uint64_t)hertz : 0;
}

static void take_field(struct tree_process *process, int field, long long value)
{
	if (field == STAT_PARENT)
		process->parent = (pid_t)value;
	else if (field == STAT_SESSION)
		process->session = (pid_t)value;
	else if (field >= STAT_TIMES && field < STAT_TIMES + 4)
		process->cpu_us += ticks_to_us(value);
	else if (field == STAT_RSS)
		process->bytes = value > 0 ? (uint64_t)value * (uint64_t)getpagesize() : 0;
}

static bool parse_stat(const char *stat, struct tree_process *ret)
{
	const char *at = strrchr(stat, ')');
	char *end;
	if (!at || strlen(at) < 4)
		return false;
	ret->state = at[2];
	at += 3;
	for (int field = STAT_PARENT; field <= STAT_RSS; field++, at = end) {
		long long value = strtoll(at, &end, 10);
		if (end == at)
			return false;
		take_field(ret, field, value);
	}
	return true;
}

static bool read_stat(const char *pid, struct tree_process *ret)
{
	char path[300], stat[1024];
	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
	if (n <= 0)
		return false;
	stat[n] = '\0';
	*ret = (struct tree_process){ .pid = (pid_t)strtol(pid, NULL, 10) };
	return parse_stat(stat, ret);
}

static int compare(const void *a, const void *b)
{
	const struct tree_process *x = a, *y = b;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int tree_list(struct tree_process **ret, size_t *ret_n)
{
	struct buf list = { 0 };
	struct tree_process process;
	int r = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		return -errno;
	for (struct dirent *entry; r == 0 && (entry = readdir(proc));)
		if (isdigit((unsigned char)entry->d_name[0]) && read_stat(entry->d_name, &process))
			r = buf_append(&list, &process, sizeof(process));
	closedir(proc);
	if (r < 0) {
		buf_deinit(&list);
		return r;
	}
	*ret_n = list.len / sizeof(process);
	*ret = (void *)buf_steal(&list, NULL);
	if (*ret_n > 0)
		qsort(*ret, *ret_n, sizeof(process), compare);
	return 0;
}

const struct tree_process *tree_find(const struct tree_process *list, size_t n, pid_t pid)
{
	const struct tree_process key = { .pid = pid };
	return n > 0 ? bsearch(&key, list, n, sizeof(*list), compare) : NULL;
}
