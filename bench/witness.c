/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A task that witnesses what is done to it, in a file that is mapped: word 0 is the time at which
 * it was last seen to run (it looks at the clock without a pause for as long as word 2 is 1, else
 * once a millisecond), word 1 the time at which it got SIGTERM, word 3 when it ran again after it
 * had not for 20 ms. Nanoseconds of CLOCK_MONOTONIC. For bench/steer.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define GAP_NS 20000000

static volatile uint64_t *words;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_term(int signal)
{
	(void)signal;
	words[1] = now();
	_exit(0);
}

int main(void)
{
	const char *directory = getenv("WITNESS_DIRECTORY"), *id = getenv("TASKIFACE_ID");
	char path[512];
	int fd;

	if (!directory || !id)
		return 2;
	strcpy(path, "");
	strncat(path, directory, 300);
	strcat(path, "/");
	strncat(path, id, 128);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return 2;
	words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		return 2;
	signal(SIGTERM, on_term);
	alarm(300);
	words[0] = now();
	for (;;) {
		uint64_t at = now();

		if (at - words[0] > GAP_NS)
			words[3] = at;
		words[0] = at;
		if (!words[2])
			usleep(1000);
	}
}
