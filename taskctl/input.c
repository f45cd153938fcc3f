/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "taskctl/taskctl.h"

#define CHUNK     (256 * 1024)
#define INPUT_MAX (256ull * 1024 * 1024) /* more than any runner takes */

static int read_all(int fd, const char *name, struct buf *ret)
{
	for (;;) {
		char *at;
		ssize_t n;
		int r = buf_reserve(ret, CHUNK, &at);

		if (r < 0 || ret->len > INPUT_MAX) {
			say("%s is too large to be an input: more than %llu MiB", name,
				INPUT_MAX / (1024 * 1024));
			return EXIT_LOCAL;
		}
		n = read(fd, at, CHUNK);
		if (n == 0)
			return 0;
		if (n > 0) {
			ret->len += (size_t)n;
		} else if (errno == EAGAIN) {
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
		} else if (errno != EINTR) {
			say("cannot read %s: %s", name, strerror(errno));
			return EXIT_LOCAL;
		}
	}
}

int read_input(const char *file, struct buf *ret)
{
	cleanup_close int fd = -1;

	if (strcmp(file, "-") == 0)
		return read_all(STDIN_FILENO, "stdin", ret);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		say("cannot open %s: %s", file, strerror(errno));
		return EXIT_LOCAL;
	}
	return read_all(fd, file, ret);
}

int write_all(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.data, bytes.len);

		if (n >= 0) {
			bytes.data += n;
			bytes.len -= (size_t)n;
		} else if (errno == EAGAIN) {
			(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}
