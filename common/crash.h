/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Points at which a test build kills itself, to show what a crash there leads to: with
 * TASKRUNNER_CRASH_AT=STEP in the environment the process gets SIGKILL when it comes to that step.
 * The steps are those of docs/delivery.md. A release has none of it.
 */

#ifdef TASKRUNNER_CRASH_POINTS
void crash_point(const char *step);
#else
#define crash_point(step) ((void)0)
#endif
