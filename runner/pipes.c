/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/* Two pages: the least that still lets a writer and a reader work side by side. */
#define SMALL_PIPE 8192

static int make_fifo(const struct pipes *pipes, const char *name, char **ret_path)
{
	if (asprintf(ret_path, "%s/%s", pipes->directory, name) < 0) {
		*ret_path = NULL;
		return -ENOMEM;
	}
	return mkfifo(*ret_path, 0600) < 0 ? -errno : 0;
}

static int open_end(const char *path, int flags, int *ret_fd)
{
	*ret_fd = open(path, flags | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int open_reading(struct pipes *pipes, enum pipe_end end, const char *path)
{
	int r = open_end(path, O_RDONLY | O_NONBLOCK, &pipes->read_fd[end]);
	return r < 0 ? r : open_end(path, O_WRONLY | O_NONBLOCK, &pipes->keeper_fd[end]);
}

static int open_anonymous(struct pipes *pipes, enum pipe_end end)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pipes->read_fd[end] = fds[0];
	pipes->child_fd[end - PIPE_STDOUT] = fds[1];
	/* Only our end: the program expects an ordinary stdout. */
	return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* Shrinking never needs a privilege; whatever size we get will do. */
static void make_small(const struct pipes *pipes)
{
	fcntl(pipes->input_fd, F_SETPIPE_SZ, SMALL_PIPE);
	for (int end = PIPE_PROGRESS; end < PIPE_ENDS; end++)
		fcntl(pipes->read_fd[end], F_SETPIPE_SZ, SMALL_PIPE);
}

static int open_all(struct pipes *pipes, const char *parent, const char *name)
{
	int r;
	if (asprintf(&pipes->directory, "%s/%s", parent, name) < 0) {
		pipes->directory = NULL;
		return -ENOMEM;
	}
	if (mkdir(pipes->directory, 0700) < 0) {
		r = -errno;
		/* Not ours, so nothing in it may be removed. */
		free(steal_ptr(pipes->directory));
		return r;
	}
	if ((r = make_fifo(pipes, "input", &pipes->input_path)) < 0 ||
		(r = make_fifo(pipes, "output", &pipes->output_path)) < 0 ||
		(r = make_fifo(pipes, "progress", &pipes->progress_path)) < 0 ||
		(r = open_end(pipes->input_path, O_RDWR | O_NONBLOCK, &pipes->input_fd)) < 0 ||
		(r = open_reading(pipes, PIPE_OUTPUT, pipes->output_path)) < 0 ||
		(r = open_reading(pipes, PIPE_PROGRESS, pipes->progress_path)) < 0 ||
		(r = open_anonymous(pipes, PIPE_STDOUT)) < 0 ||
		(r = open_anonymous(pipes, PIPE_STDERR)) < 0)
		return r;
	return 0;
}

int pipes_open(struct pipes *pipes, const char *parent, const char *name, bool small)
{
	*pipes = PIPES_NONE;
	int r = open_all(pipes, parent, name);
	if (r < 0)
		pipes_close(pipes);
	else if (small)
		make_small(pipes);
	return r;
}

static void forget(int *fd)
{
	if (*fd >= 0)
		*fd = close_fd(*fd);
}

void pipes_close_childs(struct pipes *pipes)
{
	forget(&pipes->child_fd[0]);
	forget(&pipes->child_fd[1]);
}

void pipes_close_keepers(struct pipes *pipes)
{
	forget(&pipes->keeper_fd[0]);
	forget(&pipes->keeper_fd[1]);
}

void pipes_close_end(struct pipes *pipes, enum pipe_end end)
{
	forget(&pipes->read_fd[end]);
}

void pipes_close_input(struct pipes *pipes)
{
	forget(&pipes->input_fd);
}

static void close_input_if_done(struct pipes *pipes, struct slice input)
{
	if (pipes->input_opened && pipes->input_written == input.len)
		pipes_close_input(pipes);
}

int pipes_write_input(struct pipes *pipes, struct slice input)
{
	while (pipes->input_fd >= 0 && pipes->input_written < input.len) {
		ssize_t n = write(pipes->input_fd, input.data + pipes->input_written,
			input.len - pipes->input_written);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		pipes->input_written += (size_t)n;
	}
	close_input_if_done(pipes, input);
	return 0;
}

void pipes_input_opened(struct pipes *pipes, struct slice input)
{
	pipes->input_opened = true;
	close_input_if_done(pipes, input);
}

void pipes_close(struct pipes *pipes)
{
	pipes_close_childs(pipes);
	pipes_close_keepers(pipes);
	pipes_close_input(pipes);
	for (int end = 0; end < PIPE_ENDS; end++)
		pipes_close_end(pipes, end);
	if (pipes->directory) {
		/* The common case by its three names; what a program left behind by looking. */
		if (pipes->input_path)
			unlink(pipes->input_path);
		if (pipes->output_path)
			unlink(pipes->output_path);
		if (pipes->progress_path)
			unlink(pipes->progress_path);
		if (rmdir(pipes->directory) < 0)
			remove_tree_beside(pipes->directory);
	}
	free(pipes->directory);
	free(pipes->input_path);
	free(pipes->output_path);
	free(pipes->progress_path);
	*pipes = PIPES_NONE;
}

bool pipes_poll_input(struct pipes *pipes, struct slice input)
{
	int unread = 0;
	if (input.len == 0) {
		/* Nothing can be lost, so an end that opens only when there is a reader will do. */
		pipes_close_input(pipes);
		if (open_end(pipes->input_path, O_WRONLY | O_NONBLOCK, &pipes->input_fd) < 0)
			return false;
	} else if (pipes->input_fd < 0 || ioctl(pipes->input_fd, FIONREAD, &unread) < 0 ||
		   (size_t)unread >= pipes->input_written) {
		return false;
	}
	pipes_input_opened(pipes, input);
	return true;
}
