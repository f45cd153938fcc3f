/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>
#include <string.h>

/*
 * The number that stands behind "key": in a JSON object without nested ones. This is a stand-in
 * that keeps the examples free of libraries; a program that is more than an example uses a JSON
 * library.
 */
static inline double json_number(const char *json, const char *key, double otherwise)
{
	const char *at = strstr(json, key);
	char *end;
	double number;

	if (!at || at == json || at[-1] != '"' || at[strlen(key)] != '"')
		return otherwise;
	at += strlen(key) + 1;
	at += strspn(at, " \t\r\n:");
	number = strtod(at, &end);
	return end == at ? otherwise : number;
}
