/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/fingerprint.h"

#include <string.h>

#include <openssl/evp.h>

#include "common/cleanup.h"

static bool add(EVP_MD_CTX *context, struct slice part)
{
	uint64_t len = part.len;
	return EVP_DigestUpdate(context, &len, sizeof(len)) &&
	       (len == 0 || EVP_DigestUpdate(context, part.data, part.len));
}

uint64_t fingerprint(const struct slice *parts, size_t n)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t ret = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
	for (size_t i = 0; good && i < n; i++)
		good = add(context, parts[i]);
	if (good && EVP_DigestFinal_ex(context, digest, NULL))
		memcpy(&ret, digest, sizeof(ret));
	EVP_MD_CTX_free(context);
	return ret;
}
