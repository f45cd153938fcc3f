/* SPDX-License-Identifier: Apache-2.0 */
#include "taskctl/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "taskctl/taskctl.h"

/* Another screen with no cursor; what is too long is not continued on the next line. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"
/* What is drawn is seen as a whole, by terminals that know of this. */
#define BEGIN "\033[?2026h\033[H"
#define END   "\033[?2026l"

int screen_check(struct error *err)
{
	const char *terminal = getenv("TERM");

	if (isatty(STDOUT_FILENO) != 1)
		return error_set(err, -ENOTTY, "stdout is no terminal");
	if (isatty(STDIN_FILENO) != 1)
		return error_set(err, -ENOTTY, "stdin is no terminal");
	if (!terminal || !*terminal || strcmp(terminal, "dumb") == 0)
		return error_set(err, -ENOTTY, "TERM says that the terminal can do nothing");
	return 0;
}

int screen_open(struct screen *screen, struct error *err)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &screen->before) < 0)
		return error_set(err, -errno, "cannot ask the terminal: %s", strerror(errno));
	raw = screen->before;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return error_set(err, -errno, "cannot set the terminal: %s", strerror(errno));
	screen->is_open = true;
	return write_all(STDOUT_FILENO, slice_of(ENTER));
}

void screen_close(struct screen *screen)
{
	if (!screen->is_open)
		return;
	screen->is_open = false;
	(void)write_all(STDOUT_FILENO, slice_of(LEAVE));
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &screen->before);
}

int screen_draw(struct screen *screen, struct slice frame)
{
	struct buf whole = { 0 };
	int r;

	(void)screen;
	r = buf_append_text(&whole, BEGIN);
	if (r == 0)
		r = buf_append(&whole, frame.data, frame.len);
	if (r == 0)
		r = buf_append_text(&whole, END);
	if (r == 0)
		r = write_all(STDOUT_FILENO, buf_slice(&whole));
	buf_deinit(&whole);
	return r;
}
