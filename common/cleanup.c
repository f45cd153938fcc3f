/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cleanup.h"

#include <assert.h>
#include <errno.h>

int close_fd(int fd)
{
	int saved = errno;

	if (fd >= 0) {
		/* EINTR counts as closed on Linux. EBADF means that somebody closed a number that
		 * was not his, and the next such close may hit another thread's file. */
		int r = close(fd);
		assert(r == 0 || errno != EBADF);
	}
	errno = saved;
	return -1;
}
