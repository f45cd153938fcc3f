/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What `taskrunner exec` runs: the program of the command line, found and with its arguments.
 */

#include "runner/catalogue.h"
#include "runner/exec.h"

/* Finds the program, in the catalogue of the configuration (taken) or as a person would. @ret
 * (zeroed) is valid for launch_deinit in any case; its program is *@adapted, whose argv is the
 * caller's to free. 0, or an exit status with a sentence in @err. */
int exec_launch(const struct exec_options *options, struct launch *ret, struct program *adapted,
	struct error *err);
