/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "taskctl/taskctl.h"

#define CHUNK     (256 * 1024)
#define INPUT_MAX (256ull * 1024 * 1024) /* more than any runner takes */

static int read_all(int fd, const char *from, const char *name, size_t max, struct buf *ret)
{
	char limit[32];

	for (;;) {
		char *at;
		ssize_t n;
		int r = buf_reserve(ret, CHUNK, &at);

		if (r < 0 || ret->len > max) {
			say("%s: %s is too large: more than %s", from, name,
				format_size(max, limit, sizeof(limit)));
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
			say("%s: cannot read %s: %s", from, name, strerror(errno));
			return EXIT_LOCAL;
		}
	}
}

int read_file(const char *from, const char *file, size_t max, struct buf *ret)
{
	cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		say("%s: cannot open %s: %s", from, file, strerror(errno));
		return EXIT_LOCAL;
	}
	return read_all(fd, from, file, max, ret);
}

int read_input(const char *file, struct buf *ret)
{
	if (strcmp(file, "-") == 0)
		return read_all(STDIN_FILENO, "--input", "stdin", INPUT_MAX, ret);
	return read_file("--input", file, INPUT_MAX, ret);
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
