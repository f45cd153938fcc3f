/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A part of a test in a process of its own, where it can do what the whole test must not: give up
 * privileges, mount, exhaust limits. It reports by its exit status; cmocka's assertions do not
 * reach there. Each function gives that status, or 128 + the signal that ended it.
 */

typedef int (*apart_fn)(void *data);

int apart(apart_fn fn, void *data);
/* As an ordinary user: nobody, where the test runs as root. */
int apart_unprivileged(apart_fn fn, void *data);
/* With mounts of its own that nobody else sees; as root of a user namespace where we are not root.
 */
int apart_with_mounts(apart_fn fn, void *data);
/* With a table of processes of its own, in which it is number 1. */
int apart_with_pids(apart_fn fn, void *data);
