/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runner/config.h"

/* The daemon: takes requests from the broker and runs them until it is told to end. Gives the exit
 * status of the process: 0 after an orderly end, 1 when it could not start. @config_file (may be
 * NULL) is read again on SIGHUP. Main thread, signals_prepare done before. */
int daemon_run(struct config *config, const char *config_file);
