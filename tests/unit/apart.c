/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define LIFE_S 120

struct part {
	apart_fn fn;
	void *data;
	int (*prepare)(struct part *part);
};

static int give_up(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 127;
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return give_up("waitpid");
	return status_of(status);
}

static int run(struct part *part)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return give_up("fork");
	if (pid > 0)
		return wait_for(pid);
	alarm(LIFE_S);
	int status = part->prepare ? part->prepare(part) : 0;
	if (status == 0)
		status = part->fn(part->data);
	fflush(NULL);
	_exit(status);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		give_up(path);
	if (fd >= 0)
		close(fd);
}

/* Namespaces need root, or a user namespace in which one is. */
static int enter(int namespaces)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (unshare(namespaces | (uid == 0 ? 0 : CLONE_NEWUSER)) < 0)
		return give_up("unshare");
	if (uid != 0) {
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %d 1", (int)uid);
		write_file("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %d 1", (int)gid);
		write_file("/proc/self/gid_map", map);
	}
	return 0;
}

static int prepare_unprivileged(struct part *part)
{
	(void)part;
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return give_up("setuid");
	return 0;
}

static int prepare_mounts(struct part *part)
{
	(void)part;
	int status = enter(CLONE_NEWNS);
	if (status == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
		status = give_up("mount");
	return status;
}

static int mount_proc(struct part *part)
{
	(void)part;
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", 0, NULL) < 0)
		return give_up("mount /proc");
	return 0;
}

/* The first process that is made after unshare is number 1. */
static int prepare_pids(struct part *part)
{
	struct part inner = { part->fn, part->data, mount_proc };
	int status = enter(CLONE_NEWNS | CLONE_NEWPID);
	_exit(status ? status : run(&inner));
}

int apart(apart_fn fn, void *data)
{
	return run(&(struct part){ fn, data, NULL });
}

int apart_unprivileged(apart_fn fn, void *data)
{
	return run(&(struct part){ fn, data, prepare_unprivileged });
}

int apart_with_mounts(apart_fn fn, void *data)
{
	return run(&(struct part){ fn, data, prepare_mounts });
}

int apart_with_pids(apart_fn fn, void *data)
{
	return run(&(struct part){ fn, data, prepare_pids });
}
