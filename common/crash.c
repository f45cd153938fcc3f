/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crash.h"

#ifdef TASKRUNNER_CRASH_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void crash_point(const char *step)
{
	const char *at = getenv("TASKRUNNER_CRASH_AT");
	if (at && strcmp(at, step) == 0)
		kill(getpid(), SIGKILL);
}

#endif
