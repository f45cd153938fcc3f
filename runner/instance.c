/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "runner/cgroup.h"
#include "runner/pipes.h"
#include "runner/tree.h"

/* What marked processes get to disappear in, once their runner is dead. */
#define KILL_ROUNDS   2000
#define KILL_PAUSE_MS 5

/* From the runner to its guardian; written at once, being shorter than PIPE_BUF. */
struct message {
	bool ends; /* all is well */
	unsigned patience_ms;
};

static void kill_leftovers(const char *id)
{
	int quiet = 0;
	/* Twice nothing: a process that forked just before it was killed shows up in the second
	 * look. */
	for (int round = 0; round < KILL_ROUNDS && quiet < 2; round++) {
		bool is_left = cgroup_clear(id);
		quiet = tree_kill_marked(id, 0) == 0 && !is_left ? quiet + 1 : 0;
		clock_sleep_ms(KILL_PAUSE_MS);
	}
}

static void close_all_but(int keep)
{
	syscall(SYS_close_range, 3U, (unsigned)keep - 1, 0U);
	syscall(SYS_close_range, (unsigned)keep + 1, ~0U, 0U);
}

/* How much longer it may take: a machine that was suspended, or a frozen container, wakes the two
 * of us in any order. */
#define SECOND_CHANCE_MS 1000

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;
	while ((r = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	return r != 0;
}

/* What the runner said last: a message, or the end of file, when it died. */
static ssize_t hear(int fd, pid_t runner, struct message *ret)
{
	int patience = -1;
	ssize_t n;
	for (;;) {
		if (!is_readable(fd, patience) && !is_readable(fd, SECOND_CHANCE_MS) &&
			getppid() == runner)
			kill(runner, SIGKILL);
		while ((n = read(fd, ret, sizeof(*ret))) < 0 && errno == EINTR)
			;
		if (n != sizeof(*ret) || ret->ends)
			return n;
		patience = (int)ret->patience_ms;
	}
}

/* The whole life of the guardian. */
static void guard(const struct instance *instance, int fd, pid_t runner)
{
	struct message message;
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "taskrunner-grd");
	close_all_but(fd);
	if (hear(fd, runner, &message) == 0) {
		kill_leftovers(instance->id);
		remove_tree(instance->directory);
	}
	_exit(0);
}

static int start_guardian(struct instance *instance)
{
	int fds[2];
	pid_t runner = getpid();
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	instance->guardian = fork();
	if (instance->guardian < 0) {
		int r = -errno;
		close_fd(fds[0]);
		close_fd(fds[1]);
		return r;
	}
	if (instance->guardian == 0) {
		close(fds[1]);
		guard(instance, fds[0], runner);
	}
	close_fd(fds[0]);
	instance->guardian_fd = fds[1];
	/* A guardian that is stopped must not stop us. */
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	return 0;
}

void instance_alive(struct instance *instance, unsigned patience_ms)
{
	const struct message message = { .patience_ms = patience_ms };
	(void)!write(instance->guardian_fd, &message, sizeof(message));
}

static void make_id(char *ret, size_t size)
{
	uint64_t random;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = clock_now_us();
	snprintf(ret, size, "%016llx", (unsigned long long)random);
}

static int make_directory(struct instance *instance, const char *base)
{
	if (mkdir(base, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (asprintf(&instance->directory, "%s/taskrunner-%s", base, instance->id) < 0) {
		instance->directory = NULL;
		return -ENOMEM;
	}
	instance->base = strdup(base);
	if (instance->base && mkdir(instance->directory, 0700) == 0)
		return 0;
	int r = instance->base ? -errno : -ENOMEM;
	free(steal_ptr(instance->base));
	free(steal_ptr(instance->directory));
	return r;
}

static int find_directory(struct instance *instance, struct error *err)
{
	const char *const places[] = { getenv("RUNTIME_DIRECTORY"), getenv("TMPDIR"), "/run",
		"/dev/shm", "/tmp" };
	int r = -ENOENT;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (places[i] && places[i][0] == '/' &&
			(r = make_directory(instance, places[i])) == 0)
			return 0;
	return error_set(err, r,
		"no directory for the pipes of tasks can be made in "
		"$RUNTIME_DIRECTORY, $TMPDIR, /run, /dev/shm or /tmp; set run_directory");
}

int instance_start(struct instance *instance, const char *base, struct error *err)
{
	int r;
	*instance = (struct instance){ .guardian_fd = -1 };
	make_id(instance->id, sizeof(instance->id));
	if (!base)
		r = find_directory(instance, err);
	else if ((r = make_directory(instance, base)) < 0)
		error_set(err, r, "run_directory %s cannot be used: %s", base, strerror(-r));
	if (r == 0 && (r = start_guardian(instance)) < 0)
		error_set(err, r, "the guardian process cannot be started: %s", strerror(-r));
	if (r < 0)
		instance_stop(instance);
	return r;
}

void instance_clear_dead(const char *base, const char *id)
{
	cleanup_free char *directory = NULL;
	kill_leftovers(id);
	if (asprintf(&directory, "%s/taskrunner-%s", base, id) < 0)
		directory = NULL;
	else
		remove_tree(directory);
}

void instance_stop(struct instance *instance)
{
	if (instance->guardian > 0) {
		const struct message last = { .ends = true };
		(void)!write(instance->guardian_fd, &last, sizeof(last));
		close_fd(steal_fd(&instance->guardian_fd));
		while (waitpid(instance->guardian, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (instance->guardian_fd >= 0)
		close_fd(instance->guardian_fd);
	free(instance->base);
	remove_tree_wait();
	if (instance->directory)
		remove_tree(instance->directory);
	free(instance->directory);
	*instance = (struct instance){ .guardian_fd = -1 };
}
