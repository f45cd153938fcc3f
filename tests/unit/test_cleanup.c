/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"

static int open_something(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_close_fd(void **state)
{
	int fd = open_something();

	(void)state;
	errno = EXDEV;
	assert_int_equal(close_fd(fd), -1);
	assert_int_equal(errno, EXDEV);
	assert_false(is_open(fd));
	errno = EXDEV;
	assert_int_equal(close_fd(-1), -1);
	assert_int_equal(errno, EXDEV);
}

static int leave_open(int *ret_guarded)
{
	cleanup_close int guarded = open_something();
	cleanup_close int kept = open_something();

	*ret_guarded = guarded;
	return steal_fd(&kept);
}

static char *leave_allocated(void)
{
	cleanup_free char *guarded = strdup("freed");
	cleanup_free char *kept = strdup("kept");

	assert_non_null(guarded);
	return steal_ptr(kept);
}

static void test_guards_and_stealing(void **state)
{
	int guarded, kept = leave_open(&guarded);
	char *text = leave_allocated();

	(void)state;
	assert_false(is_open(guarded));
	assert_true(is_open(kept));
	close_fd(kept);
	assert_string_equal(text, "kept");
	free(text);
}

static void test_the_clock_goes_on(void **state)
{
	uint64_t before = clock_now_us();

	(void)state;
	clock_sleep_ms(2);
	assert_true(clock_now_us() - before >= 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_fd),
		cmocka_unit_test(test_guards_and_stealing),
		cmocka_unit_test(test_the_clock_goes_on),
	};

	return cmocka_run_group_tests_name("cleanup", tests, NULL, NULL);
}
