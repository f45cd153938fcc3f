/* SPDX-License-Identifier: Apache-2.0 */

/*
 *   probe LEDGER LOCKS
 *
 * A task that leaves a trace which no kill can take back. It appends lines
 *
 *   ID ATTEMPT PID start|overlap|end MICROSECONDS
 *
 * to the file LEDGER (each one write to O_APPEND, so they are whole and in order), and holds a lock
 * on the file LOCKS/ID for as long as one process of it lives. Who finds the lock taken is a second
 * run beside the first and says so: "overlap" in place of "start". So overlaps are seen exactly,
 * also where a run was killed and has no "end".
 *
 * Its input is words:
 *   ms=N        work that long
 *   children=N  start that many processes, each in a session of its own, which do not end by
 * themselves progress=N  report progress every N ms output=N    output of that many bytes grow=N
 * use that many MiB of memory, and be the first that the kernel kills for it
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Nothing of a test lives longer, whatever became of the test. */
#define LIFE_SECONDS 900

struct order {
	uint64_t ms;
	uint64_t children;
	uint64_t progress;
	uint64_t output;
	uint64_t grow;
};

static int ledger;

static void fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(70);
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	if (!value) {
		errno = EINVAL;
		fail(name);
	}
	return value;
}

static void note(const char *event)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "%s %s %d %s %llu\n", variable("TASKIFACE_ID"),
		variable("TASKIFACE_ATTEMPT"), getpid(), event, (unsigned long long)now_us());
	if (len >= (int)sizeof(line) || write(ledger, line, (size_t)len) != len)
		fail("ledger");
}

/* The descriptor stays open, in children too, and so the lock is held. */
static bool lock(const char *directory)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, variable("TASKIFACE_ID"));
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		fail(path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno != EWOULDBLOCK)
		fail(path);
	return false;
}

static void read_words(char *words, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int fd = open(variable("TASKIFACE_INPUT_PIPE"), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("input pipe");
	while (len < size - 1 && (n = read(fd, words + len, size - 1 - len)) > 0)
		len += (size_t)n;
	words[len] = '\0';
	close(fd);
}

static struct order read_order(void)
{
	struct order order = { 0 };
	const struct {
		const char *name;
		uint64_t *value;
	} table[] = {
		{ "ms", &order.ms },
		{ "children", &order.children },
		{ "progress", &order.progress },
		{ "output", &order.output },
		{ "grow", &order.grow },
	};
	char words[1024];
	read_words(words, sizeof(words));
	for (char *rest = words, *word; (word = strsep(&rest, " "));) {
		char *value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			if (strcmp(table[i].name, word) == 0)
				*table[i].value = strtoull(value, NULL, 10);
	}
	return order;
}

static void start_child(void)
{
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return;
	setsid();
	/* Whoever holds these keeps the runner waiting for more of them. */
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	alarm(LIFE_SECONDS);
	for (;;)
		pause();
}

static void grow(uint64_t mib)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1000", 4) != 4)
		fail("oom_score_adj");
	close(fd);
	for (uint64_t i = 0; i < mib; i++) {
		void *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (block == MAP_FAILED)
			fail("mmap");
	}
}

static void sleep_until(uint64_t us)
{
	const struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static int open_pipe(const char *name)
{
	int fd = open(variable(name), O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fail(name);
	return fd;
}

static void work(uint64_t end_us, uint64_t progress_ms)
{
	int fd = progress_ms ? open_pipe("TASKIFACE_PROGRESS_PIPE") : -1;
	for (uint64_t next = now_us(); progress_ms; dprintf(fd, "{\"message\": \"at work\"}\n")) {
		next += progress_ms * 1000;
		if (next >= end_us)
			break;
		sleep_until(next);
	}
	sleep_until(end_us);
}

static void put_output(uint64_t bytes)
{
	static const char block[4096] = "The output of a probe.\n";
	int fd = open_pipe("TASKIFACE_OUTPUT_PIPE");
	while (bytes > 0) {
		ssize_t n = write(fd, block, bytes < sizeof(block) ? bytes : sizeof(block));
		if (n < 0)
			fail("output pipe");
		bytes -= (uint64_t)n;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t begin_us = now_us();
	if (argc < 3) {
		fprintf(stderr, "usage: probe LEDGER LOCKS\n");
		return 2;
	}
	alarm(LIFE_SECONDS);
	ledger = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (ledger < 0)
		fail(argv[1]);
	note(lock(argv[2]) ? "start" : "overlap");

	struct order order = read_order();
	for (uint64_t i = 0; i < order.children; i++)
		start_child();
	if (order.grow)
		grow(order.grow);
	work(begin_us + order.ms * 1000, order.progress);
	put_output(order.output);
	note("end");
	return 0;
}
