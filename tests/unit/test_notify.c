/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told: a real datagram socket stands where systemd's would. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/notify.h"

/* The manager: its socket, and what NOTIFY_SOCKET names it. */
struct manager {
	char directory[64];
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int fd;
};

static void bind_to(struct manager *m, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	snprintf(m->name, sizeof(m->name), "%s", name);
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(m->fd >= 0);
	assert_int_equal(bind(m->fd, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
		0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static int open_manager(void **state)
{
	static struct manager manager;
	manager = (struct manager){ .fd = -1 };
	strcpy(manager.directory, "/tmp/test-notify-XXXXXX");
	*state = &manager;
	return mkdtemp(manager.directory) ? 0 : -1;
}

static int close_manager(void **state)
{
	struct manager *m = *state;
	if (m->fd >= 0)
		close(m->fd);
	if (m->name[0] == '/')
		unlink(m->name);
	unsetenv("NOTIFY_SOCKET");
	return rmdir(m->directory);
}

static const char *in_directory(const struct manager *m, const char *name)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/%s", m->directory, name);
	return path;
}

/* One datagram is one state. */
static void expect(const struct manager *m, const char *state)
{
	char text[256];
	ssize_t n = recv(m->fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, state);
}

static void expect_nothing(const struct manager *m)
{
	char text[256];
	assert_int_equal(recv(m->fd, text, sizeof(text), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static unsigned next_fd(void)
{
	int fd = dup(STDIN_FILENO);
	close(fd);
	return (unsigned)fd;
}

static void a_path_is_told(void **state)
{
	struct manager *m = *state;
	bind_to(m, in_directory(m, "socket"));
	unsigned before = next_fd();
	assert_int_equal(notify("READY=1\nSTATUS=Taking requests"), 0);
	assert_int_equal(notify("STOPPING=1"), 0);
	expect(m, "READY=1\nSTATUS=Taking requests");
	expect(m, "STOPPING=1");
	expect_nothing(m);
	assert_int_equal(next_fd(), before); /* nothing stays open */
}

static void an_abstract_name_is_told(void **state)
{
	struct manager *m = *state;
	char name[64], longer[72];
	snprintf(name, sizeof(name), "@test-notify/%d", (int)getpid());
	bind_to(m, name);
	assert_int_equal(notify("READY=1"), 0);
	expect(m, "READY=1");
	/* An abstract name ends where it ends, not at a NUL: one that is longer is another. */
	snprintf(longer, sizeof(longer), "%s-more", name);
	assert_int_equal(setenv("NOTIFY_SOCKET", longer, 1), 0);
	assert_int_equal(notify("READY=1"), -ECONNREFUSED);
	expect_nothing(m);
}

/* The longest names that an address takes. */
static void a_name_may_be_as_long_as_an_address(void **state)
{
	struct manager *m = *state;
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	int len = snprintf(name, sizeof(name), "@test-notify/%d/", (int)getpid());
	memset(name + len, 'x', sizeof(name) - (size_t)len);
	name[sizeof(name) - 2] = '\0'; /* one less than sun_path has */
	bind_to(m, name);
	assert_int_equal(notify("READY=1"), 0);
	expect(m, "READY=1");
	name[sizeof(name) - 2] = 'x';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(notify("READY=1"), -EINVAL);
	expect_nothing(m);
}

static void without_a_manager_nothing_is_told(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify("READY=1"), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
	assert_int_equal(notify("READY=1"), 0);
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const names[] = { "relative/path", "vsock:2:1234", " /run/x" };
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
		assert_int_equal(notify("READY=1"), -EINVAL);
	}
}

static void a_manager_that_is_gone_is_an_error(void **state)
{
	struct manager *m = *state;
	assert_int_equal(setenv("NOTIFY_SOCKET", in_directory(m, "nothing"), 1), 0);
	assert_int_equal(notify("READY=1"), -ENOENT);
	bind_to(m, in_directory(m, "socket"));
	close(m->fd);
	m->fd = -1;
	assert_int_equal(notify("READY=1"), -ECONNREFUSED);
}

/* It does not read: what does not fit is dropped, nothing waits. */
static void a_manager_that_does_not_read_is_not_waited_for(void **state)
{
	struct manager *m = *state;
	int r = 0;
	unsigned n = 0;
	bind_to(m, in_directory(m, "socket"));
	alarm(60); /* the end of this process, should it wait */
	while (n < 1000000 && (r = notify("WATCHDOG=1")) == 0)
		n++;
	alarm(0);
	assert_int_equal(r, -EAGAIN);
	assert_true(n > 0);
	/* As soon as there is room, it is told again. */
	expect(m, "WATCHDOG=1");
	assert_int_equal(notify("STOPPING=1"), 0);
	while (--n > 0)
		expect(m, "WATCHDOG=1");
	expect(m, "STOPPING=1");
	expect_nothing(m);
}

int main(void)
{
#define WITH_MANAGER(test) cmocka_unit_test_setup_teardown(test, open_manager, close_manager)
	const struct CMUnitTest tests[] = {
		WITH_MANAGER(a_path_is_told),
		WITH_MANAGER(an_abstract_name_is_told),
		WITH_MANAGER(a_name_may_be_as_long_as_an_address),
		WITH_MANAGER(without_a_manager_nothing_is_told),
		WITH_MANAGER(what_is_no_address_is_refused),
		WITH_MANAGER(a_manager_that_is_gone_is_an_error),
		WITH_MANAGER(a_manager_that_does_not_read_is_not_waited_for),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
