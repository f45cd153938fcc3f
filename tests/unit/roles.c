/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/roles.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nothing that a test starts may outlive it for long, whatever goes wrong. */
#define LIFE_S 300

extern char **environ;

const char *roles_self(void)
{
	static char path[PATH_MAX];
	if (!path[0] && readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		abort();
	return path;
}

static int open_pipe(const char *variable, int flags)
{
	const char *path = getenv(variable);
	int fd = path ? open(path, flags) : -1;
	if (fd < 0) {
		perror(variable);
		exit(99);
	}
	return fd;
}

static void write_all(int fd, const void *data, size_t len)
{
	const char *at = data;
	while (len > 0) {
		ssize_t n = write(fd, at, len);
		if (n < 0)
			exit(98);
		at += n;
		len -= (size_t)n;
	}
}

static void say_progress(const char *text)
{
	int fd = open_pipe("TASKIFACE_PROGRESS_PIPE", O_WRONLY);
	write_all(fd, text, strlen(text));
	close(fd);
}

/* ---- roles ---- */

/* Copies input to output. */
static int role_echo(char **args)
{
	static char bytes[65536];
	int in = open_pipe("TASKIFACE_INPUT_PIPE", O_RDONLY);
	int out = open_pipe("TASKIFACE_OUTPUT_PIPE", O_WRONLY);
	ssize_t n;
	(void)args;
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		write_all(out, bytes, (size_t)n);
	return n < 0;
}

static void tell_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	char path[300], target[300];
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		printf("fd %s %s\n", entry->d_name,
			strncmp(target, "pipe:", 5) == 0 ? "pipe" : target);
	}
	closedir(dir);
}

static void tell_signals(void)
{
	sigset_t blocked;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int i = 1; i < NSIG; i++) {
		struct sigaction action;
		if (sigismember(&blocked, i) == 1)
			printf("blocked %d\n", i);
		if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			printf("ignored %d\n", i);
	}
}

/* Tells on stdout all that a program gets from its parent. */
static int role_report(char **args)
{
	char cwd[PATH_MAX] = "";
	int death = 0;
	for (int i = 0; args[i]; i++)
		printf("arg %s\n", args[i]);
	for (char **at = environ; *at; at++)
		printf("env %s\n", *at);
	tell_descriptors();
	tell_signals();
	prctl(PR_GET_PDEATHSIG, &death);
	printf("death %d\n", death);
	printf("leads %s %s\n", getsid(0) == getpid() ? "session" : "-",
		getpgid(0) == getpid() ? "group" : "-");
	printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
	printf("parent %d\n", (int)getppid());
	return 0;
}

static void pause_for_ever(void)
{
	alarm(LIFE_S);
	for (;;)
		pause();
}

static int role_pause(char **args)
{
	(void)args;
	pause_for_ever();
	return 0;
}

static void close_all(void)
{
	for (int fd = 0; fd < 256; fd++)
		close(fd);
}

/* Starts over as role `pause`, so that /proc shows an environment without the mark. */
static void become_nobodys(void)
{
	char *const argv[] = { (char *)roles_self(), (char *)"role", (char *)"pause", NULL };
	char *const none[] = { NULL };
	execve(argv[0], argv, none);
	_exit(97);
}

/* escape HOW...: a grandchild in a session of its own lives on. "hold": it keeps stdout and has the
 * output pipe open; "bare": its environment is empty; "deaf": it ignores SIGTERM. Its pid is told
 * as progress before the program itself exits 0, or, with "stay", pauses. */
static int role_escape(char **args)
{
	int hold = 0, bare = 0, stay = 0, deaf = 0, ready[2];
	pid_t pid = 0;
	char text[32];
	for (; *args; args++) {
		hold |= !strcmp(*args, "hold");
		bare |= !strcmp(*args, "bare");
		stay |= !strcmp(*args, "stay");
		deaf |= !strcmp(*args, "deaf");
	}
	if (pipe(ready) < 0)
		return 96;
	if (fork() == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		pid = getpid();
		if (deaf)
			signal(SIGTERM, SIG_IGN);
		if (hold)
			open_pipe("TASKIFACE_OUTPUT_PIPE", O_WRONLY);
		if (write(ready[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(95);
		if (!hold)
			close_all();
		if (bare)
			become_nobodys();
		pause_for_ever();
	}
	if (read(ready[0], &pid, sizeof(pid)) != sizeof(pid))
		return 94;
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	say_progress(text);
	if (stay)
		pause_for_ever();
	return 0;
}

/* Takes processor time without end. */
static void spin(void)
{
	alarm(LIFE_S);
	for (volatile unsigned long i = 0;; i++)
		;
}

/* Starts a process that is @away from us: 0: a child, 1: a child in a session of its own, 2: an
 * orphan in one. It tells its number. */
static void start_spinning(int away, int ready)
{
	pid_t child = fork(), pid;
	if (child != 0) {
		if (away == 2)
			waitpid(child, NULL, 0);
		return;
	}
	if (away > 0)
		setsid();
	if (away == 2 && fork() != 0)
		_exit(0);
	pid = getpid();
	if (write(ready, &pid, sizeof(pid)) != sizeof(pid))
		_exit(95);
	spin();
}

/* spin: it, a child, a child in another session and an orphan take processor time without end.
 * Their numbers are told as one record of progress. */
static int role_spin(char **args)
{
	pid_t pids[3];
	int ready[2];
	char text[128];
	(void)args;
	if (pipe(ready) < 0)
		return 96;
	for (int away = 0; away < 3; away++)
		start_spinning(away, ready[1]);
	for (int i = 0; i < 3; i++)
		if (read(ready[0], &pids[i], sizeof(pids[i])) != sizeof(pids[i]))
			return 94;
	snprintf(text, sizeof(text), "%d %d %d %d\n", (int)getpid(), (int)pids[0], (int)pids[1],
		(int)pids[2]);
	say_progress(text);
	spin();
	return 0;
}

/* relay: each process starts the next one, in a session of its own, and ends; each writes a dot to
 * stdout. */
static int role_relay(char **args)
{
	(void)args;
	for (int i = 0; i < 1000000; i++) {
		write_all(1, ".", 1);
		pid_t pid = fork();
		if (pid < 0)
			return 91;
		if (pid > 0 && i == 0) /* the program itself stays */
			pause_for_ever();
		if (pid > 0)
			_exit(0);
		setsid();
		alarm(LIFE_S);
		usleep(20000);
	}
	return 0;
}

/* bomb N: N processes at the most in all, each of which leaves its session and forks on. */
static int role_bomb(char **args)
{
	int left = args[0] ? atoi(args[0]) : 0;
	for (; left > 0; left--) {
		pid_t pid = fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			if (left % 2)
				setsid();
			if (left % 3 == 0 && fork() > 0)
				_exit(0);
			signal(SIGTERM, SIG_IGN);
			close_all();
			pause_for_ever();
		}
	}
	say_progress("armed\n");
	pause_for_ever();
	return 0;
}

static volatile sig_atomic_t asked;

static void on_asked(int signal)
{
	asked = signal;
}

/* Says that it is ready and goes on when it is asked to end. */
static void wait_for_term(void)
{
	sigset_t term, before;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	signal(SIGTERM, on_asked);
	say_progress("ready\n");
	while (!asked)
		sigsuspend(&before);
}

/* flood PIPE [lines] [on-term]: writes for ever to "stdout", "output" or "progress". */
static int role_flood(char **args)
{
	static char bytes[65536];
	int fd = !strcmp(args[0], "stdout")   ? 1
		 : !strcmp(args[0], "output") ? open_pipe("TASKIFACE_OUTPUT_PIPE", O_WRONLY)
					      : open_pipe("TASKIFACE_PROGRESS_PIPE", O_WRONLY);
	alarm(LIFE_S);
	memset(bytes, 'x', sizeof(bytes));
	if (args[1] && !strcmp(args[1], "lines"))
		for (size_t i = 63; i < sizeof(bytes); i += 64)
			bytes[i] = '\n';
	if (args[1] && !strcmp(args[1], "on-term"))
		wait_for_term();
	for (;;)
		write_all(fd, bytes, sizeof(bytes));
	return 0;
}

/* reopen N: opens and closes the progress pipe over and over, writing a word each time; for ever
 * without N. */
static int role_reopen(char **args)
{
	long n = args[0] ? atol(args[0]) : LONG_MAX;
	char text[64];
	alarm(LIFE_S);
	for (long i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "{\"n\":%ld}", i);
		say_progress(text);
	}
	return 0;
}

/* open-progress: opens and closes it without writing, for ever. */
static int role_open_progress(char **args)
{
	(void)args;
	alarm(LIFE_S);
	for (;;)
		close(open_pipe("TASKIFACE_PROGRESS_PIPE", O_WRONLY));
	return 0;
}

/* signal N: dies of it. */
static int role_signal(char **args)
{
	struct rlimit no_core = { 0, 0 };
	int number = atoi(args[0]);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(number, SIG_DFL);
	raise(number);
	return 93;
}

static const struct {
	const char *name;
	int (*play)(char **args);
} roles[] = {
	{ "bomb", role_bomb },
	{ "echo", role_echo },
	{ "escape", role_escape },
	{ "flood", role_flood },
	{ "open-progress", role_open_progress },
	{ "pause", role_pause },
	{ "relay", role_relay },
	{ "reopen", role_reopen },
	{ "report", role_report },
	{ "signal", role_signal },
	{ "spin", role_spin },
};

int roles_play(int argc, char **argv)
{
	if (argc < 3 || strcmp(argv[1], "role") != 0)
		return -1;
	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (strcmp(roles[i].name, argv[2]) == 0)
			return roles[i].play(argv + 3);
	fprintf(stderr, "no role %s\n", argv[2]);
	return 92;
}
