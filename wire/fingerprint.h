/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tells one content from another: the first 64 bits of a SHA-256 (FIPS 180-4). Any thread. */

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* Of @n parts, each with its length, so that what ends one part cannot begin the next. Parts
 * without data count as empty. 0 if libcrypto has no memory. */
uint64_t fingerprint(const struct slice *parts, size_t n);
