/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* Microseconds of CLOCK_BOOTTIME: counts time in suspend, never steps. Any thread. */
uint64_t clock_now_us(void);

/* Sleeping is for tests and command-line tools only; nothing in the runner calls it. */
void clock_sleep_ms(unsigned ms);
