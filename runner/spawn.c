/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STACK (64 * 1024)

/* Between clone and exec the child runs in our memory: system calls only, no allocation, no locks,
 * nothing that a sanitizer would like to instrument. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

struct child {
	const struct spawn_request *request;
	pid_t parent;
	sigset_t mask; /* empty: what the program starts with */
	volatile int error;
	volatile enum spawn_stage stage;
};

IN_CHILD static int move_descriptors(const struct spawn_request *request)
{
	const int from[3] = { request->stdin_fd, request->stdout_fd, request->stderr_fd };
	/* Sources are never 0..2 (main keeps those open), so no target can overwrite a source. */
	for (int to = 0; to < 3; to++)
		if (syscall(SYS_dup3, from[to], to, 0) < 0)
			return -1;
	if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
		return 0;
	/* Before Linux 5.9, or forbidden by a container. Ours are all close-on-exec; this is for
	 * those a library forgot. */
	for (int fd = 3; fd < 4096; fd++)
		syscall(SYS_close, fd);
	return 0;
}

/* Whatever we ignore, or were started to ignore, the program shall not. Handlers are reset by exec
 * itself. The table is the child's own (no CLONE_SIGHAND). Not through sigaction(3), which
 * sanitizers keep books about. */
IN_CHILD static void reset_signals(const struct child *child)
{
	static const char plain[64]; /* SIG_DFL in the kernel's own struct, whatever its size */
	for (int signal = 1; signal < _NSIG; signal++)
		syscall(SYS_rt_sigaction, signal, plain, NULL, _NSIG / 8);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &child->mask, NULL, _NSIG / 8);
}

IN_CHILD static int child_main(void *data)
{
	struct child *child = data;
	const struct spawn_request *request = child->request;

	syscall(SYS_setsid);
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* The parent may have gone before prctl took effect. */
	if (syscall(SYS_getppid) != child->parent)
		syscall(SYS_exit_group, 127);

	child->stage = SPAWN_DIRECTORY;
	if (syscall(SYS_chdir, request->directory) < 0)
		goto out;
	child->stage = SPAWN_DESCRIPTORS;
	if (move_descriptors(request) < 0)
		goto out;
	child->stage = SPAWN_EXEC;
	reset_signals(child);
	syscall(SYS_execve, request->path, request->argv, request->environ);
out:
	child->error = errno;
	syscall(SYS_exit_group, 127);
	return 0;
}

static void *child_stack(void)
{
	/* One is enough: the parent waits until the child is done with it. */
	static char *stack;
	if (!stack) {
		stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		if (stack == MAP_FAILED)
			stack = NULL;
	}
	return stack ? stack + CHILD_STACK : NULL;
}

int spawn(const struct spawn_request *request, struct spawn_result *ret)
{
	struct child child = {
		.request = request,
		.parent = getpid(),
		.stage = SPAWN_CLONE,
	};
	void *stack = child_stack();
	sigset_t all, before;

	ret->stage = SPAWN_CLONE;
	if (!stack)
		return -ENOMEM;
	sigemptyset(&child.mask);
	sigfillset(&all);
	/* No handler may run in the child: it would run in our memory. */
	sigprocmask(SIG_BLOCK, &all, &before);
	pid_t pid = clone(child_main, stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
	int error = pid < 0 ? errno : child.error;
	sigprocmask(SIG_SETMASK, &before, NULL);

	ret->stage = child.stage;
	if (error == 0) {
		ret->pid = pid;
		return 0;
	}
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return -error;
}

int spawn_error_is_hosts(int code)
{
	switch (abs(code)) {
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EIO:
		return 1;
	default:
		return 0;
	}
}
