/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The three named pipes of a task and the two anonymous ones behind its stdout and stderr.
 *
 * Opening rules; each is pinned by tests/kernel/test_pipes.c (fifo(7), pipe(7)):
 *  - output, progress: we open the reading end non-blocking and then a writing end of our own, the
 *    keeper, both before the program starts. So its open never blocks, and it may open, write and
 *    close as often as it likes without our seeing an end of file. When the program is gone the
 * keeper is closed; the end of file then comes when the last process that holds the pipe lets go.
 *  - input: we open it for reading and writing, so that neither open nor write ever blocks, and
 * close when all is written AND the program has opened it. Closing earlier would lose what is in
 * the pipe, closing never would leave the reader without its end of file. inotify tells of the
 * open.
 *  - Everything is close-on-exec, and the child closes what it was not given.
 *
 * This file knows descriptors and paths, no events. Main thread; nothing here blocks or logs.
 */

#include <stdbool.h>

#include "common/buf.h"

enum pipe_end { PIPE_OUTPUT, PIPE_PROGRESS, PIPE_STDOUT, PIPE_STDERR, PIPE_ENDS };

struct pipes {
	char *directory; /* of the task, private, mode 0700; owned */
	char *input_path, *output_path, *progress_path;
	int read_fd[PIPE_ENDS];
	int keeper_fd[2]; /* our writing ends of output and progress */
	int child_fd[2];  /* writing ends of stdout and stderr, until the program was started */
	int input_fd;
	size_t input_written;
	bool input_opened; /* the program opened its end */
};

/* Makes directory @parent/@name with the pipes in it, opened as said. 0, or a negative errno with
 * nothing left behind. @small: ask for small buffers, because many pipes are open (the kernel
 * allots 64 MiB of them to a user by default). */
int pipes_open(struct pipes *pipes, const char *parent, const char *name, bool small);
/* After the program was started: the ends that are its own. */
void pipes_close_childs(struct pipes *pipes);
/* After the program ended: from now on the end of file can come. */
void pipes_close_keepers(struct pipes *pipes);

/* Writes what there is room for of @input. 0; 1 when the pipe is full (write again when it is
 * writable); a negative errno. Closes the pipe as soon as all is written and it was opened. */
int pipes_write_input(struct pipes *pipes, struct slice input);
/* The program opened its end. Closes ours if all of @input is in the pipe. */
void pipes_input_opened(struct pipes *pipes, struct slice input);

void pipes_close_end(struct pipes *pipes, enum pipe_end end);
void pipes_close_input(struct pipes *pipes);
/* Closes all, removes files and directory, frees. A zeroed struct made by PIPES_NONE is fine. */
void pipes_close(struct pipes *pipes);

#define PIPES_NONE                                      \
	((struct pipes){ .read_fd = { -1, -1, -1, -1 }, \
		.keeper_fd = { -1, -1 },                \
		.child_fd = { -1, -1 },                 \
		.input_fd = -1 })

/* Removes a directory and all in it; for a task's private directory, where a program may have left
 * files. Follows no symbolic link and crosses no mount. 0 or a negative errno; goes on at errors.
 */
int remove_tree(const char *path);
/* The same, but of much only some at once: the rest is moved aside and removed by a thread, so that
 * @path is free. Main thread. */
void remove_tree_beside(const char *path);
/* Until that is done. */
void remove_tree_wait(void);

/* Where no inotify tells of the open: looks for signs of it. True once the program has opened its
 * end (as pipes_input_opened); ask again later otherwise. */
bool pipes_poll_input(struct pipes *pipes, struct slice input);
