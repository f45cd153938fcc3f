/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells the service manager ("READY=1", "STATUS=…", newline between), if there is one: as
 * sd_notify(3), but where that waits for a manager that does not read, this drops the message.
 * 0, or a negative errno. */
int notify(const char *state);
