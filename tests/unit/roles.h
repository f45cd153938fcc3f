/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a test executable does when it was started again as a program: `test_x role NAME ARGS...`.
 * For what a shell script cannot do, or not exactly.
 */

/* The path of this executable, for argv[0]. */
const char *roles_self(void);
/* Plays the role that the arguments name and gives its exit status; -1 where they name none. */
int roles_play(int argc, char **argv);
