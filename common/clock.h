/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* Microseconds of CLOCK_BOOTTIME: counts time in suspend, never steps. Any thread. */
uint64_t clock_now_us(void);

/* Milliseconds since 1970 (CLOCK_REALTIME), for what others compare: may step. Any thread. */
int64_t clock_wall_ms(void);

/* Sleeping is for tests and command-line tools only; nothing in the runner calls it. */
void clock_sleep_ms(unsigned ms);
