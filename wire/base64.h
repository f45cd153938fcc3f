/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Base64 of RFC 4648, section 4: padded, no line breaks, one way to write each value. Any thread.
 */

#include "common/buf.h"

/* How many bytes @text stands for; exact if @text is valid. */
size_t base64_decoded_len(struct slice text);
size_t base64_encoded_len(size_t len);
/* Appends the bytes. 0, -EINVAL (nothing is appended), -ENOMEM or -EMSGSIZE. */
int base64_decode(struct buf *out, struct slice text);
/* Appends the text with a double quote before and after it, which is how JSON wants it. 0, -ENOMEM
 * or -EMSGSIZE. */
int base64_encode_quoted(struct buf *out, struct slice bytes);
