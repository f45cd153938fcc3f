/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Scope guards: what is declared with one of these is released when its scope ends. `steal_ptr` and
 * `steal_fd` hand over and disarm.
 */

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

/* Closes and forgets; keeps errno. Fine with -1. Gives back -1 so that it can be assigned. */
int close_fd(int fd);

static inline void cleanup_close_fd(int *fd)
{
	close_fd(*fd);
}

#define cleanup_free           __attribute__((cleanup(cleanup_free_ptr)))
#define cleanup_close          __attribute__((cleanup(cleanup_close_fd)))
#define cleanup_with(function) __attribute__((cleanup(function)))

#define steal_ptr(p)                        \
	({                                  \
		__typeof__(p) _taken = (p); \
		(p) = NULL;                 \
		_taken;                     \
	})

static inline int steal_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}
