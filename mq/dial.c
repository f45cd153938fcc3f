/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "mq/internal.h"

int mq_interrupt_init(struct mq_interrupt *i)
{
	*i = (struct mq_interrupt){ .fd = -1 };
	i->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (i->wake_fd < 0)
		return -errno;
	pthread_mutex_init(&i->lock, NULL);
	return 0;
}

void mq_interrupt_deinit(struct mq_interrupt *i)
{
	i->wake_fd = close_fd(i->wake_fd);
	i->fd = close_fd(i->fd);
	pthread_mutex_destroy(&i->lock);
}

void mq_interrupt_now(struct mq_interrupt *i)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&i->lock);
	i->wanted = true;
	if (i->fd >= 0)
		(void)shutdown(i->fd, SHUT_RDWR);
	/* Cannot fail: the counter never gets near its limit. */
	(void)!write(i->wake_fd, &one, sizeof(one));
	pthread_mutex_unlock(&i->lock);
}

int mq_interrupt_watch(struct mq_interrupt *i, int fd)
{
	int old, copy = fd, r = 0;

	if (!i)
		return 0;
	if (fd >= 0)
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && copy < 0)
		r = -errno;
	pthread_mutex_lock(&i->lock);
	old = i->fd;
	i->fd = copy;
	if (i->wanted)
		r = -ECANCELED;
	pthread_mutex_unlock(&i->lock);
	close_fd(old);
	return r;
}

void mq_set_user_timeout(int fd, unsigned timeout_ms)
{
	/* Fails for what is no TCP socket, and then nothing is lost but speed in noticing. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static int wait_connected(int fd, uint64_t deadline_us, struct mq_interrupt *interrupt)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLOUT },
		{ .fd = interrupt ? interrupt->wake_fd : -1, .events = POLLIN },
	};
	int error = 0;
	socklen_t len = sizeof(error);

	for (;;) {
		uint64_t now = clock_now_us();
		int n, left_ms = now >= deadline_us ? 0 : (int)((deadline_us - now + 999) / 1000);

		n = poll(fds, 2, left_ms);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		break;
	}
	if (fds[1].revents)
		return -ECANCELED;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static int connect_one(
	const struct addrinfo *to, uint64_t deadline_us, struct mq_interrupt *interrupt)
{
	const int one = 1;
	cleanup_close int fd = -1;
	int r;

	fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
		if (errno != EINPROGRESS && errno != EINTR)
			return -errno;
		r = wait_connected(fd, deadline_us, interrupt);
		if (r < 0)
			return r;
	}
	return steal_fd(&fd);
}

static void free_addresses(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

int mq_dial(const char *host, int port, unsigned timeout_s, struct mq_interrupt *interrupt,
	struct error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP };
	cleanup_with(free_addresses) struct addrinfo *list = NULL;
	uint64_t deadline_us = clock_now_us() + timeout_s * 1000000ull;
	unsigned n = 0;
	char service[16];
	int r;

	snprintf(service, sizeof(service), "%d", port);
	r = getaddrinfo(host, service, &hints, &list);
	if (r != 0)
		return error_set(err, -EHOSTUNREACH, "the name cannot be resolved: %s",
			r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	for (const struct addrinfo *to = list; to; to = to->ai_next)
		n++;
	r = -EHOSTUNREACH;
	for (const struct addrinfo *to = list; to; to = to->ai_next, n--) {
		/* Each address gets its share of the time that is left, or a dead one would eat it
		 * all. */
		uint64_t now = clock_now_us();
		uint64_t left = deadline_us > now ? deadline_us - now : 0;

		r = connect_one(to, now + left / n, interrupt);
		if (r >= 0 || r == -ECANCELED)
			break;
	}
	if (r < 0)
		return error_set(err, r, "cannot connect: %s", strerror(-r));
	return r;
}
