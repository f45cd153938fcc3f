/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
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
	bool joins;    /* the group, by itself: it was not born there */
	volatile int error, group_error;
	volatile enum spawn_stage stage;
};

/* Before it can fork. The descriptor goes with the exec. */
IN_CHILD static void join_group(struct child *child)
{
	long fd = syscall(SYS_openat, child->request->group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_write, fd, "0", 1) < 0)
		child->group_error = errno;
}

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
	if (child->joins)
		join_group(child);

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

static char *child_stack(void)
{
	/* One is enough: the parent waits until the child is done with it. */
	static char *stack;
	if (!stack) {
		stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		if (stack == MAP_FAILED)
			stack = NULL;
	}
	return stack;
}

/* ---- into a group ---- */

/* As in linux/sched.h, which older headers have without the group. */
struct clone3_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};
#define INTO_GROUP 0x200000000ULL

#if defined(__x86_64__)
/* The C library has no clone3, and syscall(2) would return into a stack that is another. */
static long clone3_child(struct clone3_arguments *arguments, void *data)
{
	long ret;
	__asm__ volatile("syscall\n\t"
			 "testq %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "movq %[data], %%rdi\n\t"
			 "call *%[main]\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(ret)
			 : "0"((long)SYS_clone3), "D"(arguments),
			 "S"(sizeof(*arguments)), [main] "r"(child_main), [data] "r"(data)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static long clone3_child(struct clone3_arguments *arguments, void *data)
{
	register long number __asm__("x8") = SYS_clone3;
	register long first __asm__("x0") = (long)arguments;
	register long second __asm__("x1") = sizeof(*arguments);
	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x0, %[data]\n\t"
			 "blr %[main]\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(first)
			 : "r"(number), "r"(second), [main] "r"(child_main), [data] "r"(data)
			 : "x30", "memory");
	return first;
}
#else
static long clone3_child(struct clone3_arguments *arguments, void *data)
{
	(void)arguments, (void)data;
	return -ENOSYS;
}
#endif

/* Linux 5.7. The pid or a negative errno; -EAGAIN and -ENOMEM are as of clone. */
static long clone_into_group(struct child *child, char *stack)
{
	static bool forbidden;
	struct clone3_arguments arguments = {
		.flags = CLONE_VM | CLONE_VFORK | INTO_GROUP,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = CHILD_STACK,
		.cgroup = (uint64_t)child->request->group,
	};
	if (forbidden)
		return -ENOSYS;
	long r = clone3_child(&arguments, child);
	forbidden = r == -ENOSYS || r == -EPERM;
	return r;
}

/* The pid; -1 and errno. */
static pid_t clone_child(struct child *child, char *stack)
{
	if (child->request->group > 0) {
		long r = clone_into_group(child, stack);
		if (r > 0)
			return (pid_t)r;
		if (r == -EAGAIN || r == -ENOMEM) {
			errno = (int)-r;
			return -1;
		}
		child->joins = true;
	}
	return clone(child_main, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, child);
}

int spawn(const struct spawn_request *request, struct spawn_result *ret)
{
	struct child child = {
		.request = request,
		.parent = getpid(),
		.stage = SPAWN_CLONE,
	};
	char *stack = child_stack();
	sigset_t all, before;

	ret->stage = SPAWN_CLONE;
	if (!stack)
		return -ENOMEM;
	sigemptyset(&child.mask);
	sigfillset(&all);
	/* No handler may run in the child: it would run in our memory. */
	sigprocmask(SIG_BLOCK, &all, &before);
	pid_t pid = clone_child(&child, stack);
	int error = pid < 0 ? errno : child.error;
	sigprocmask(SIG_SETMASK, &before, NULL);

	ret->stage = child.stage;
	ret->group_error = child.group_error;
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
