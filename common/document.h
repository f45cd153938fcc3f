/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML text -> a tree of nodes that know their lines. Nothing here knows a setting.
 *
 * Taken is one document whose root is a mapping, or an empty one. Refused are aliases, anchors,
 * tags, directives, keys that are no plain text, keys that stand twice in one mapping, and more
 * than the bounds below. Main thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define DOCUMENT_BYTES_MAX   (1024 * 1024)
#define DOCUMENT_DEPTH_MAX   16
#define DOCUMENT_ENTRIES_MAX 4096 /* of one mapping or list */
#define DOCUMENT_NODES_MAX   65536

enum node_kind { NODE_TEXT, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	unsigned line; /* from 1; of the key where there is one */
	char *key;     /* where the parent is a mapping; UTF-8 without NUL */
	char *text;    /* of NODE_TEXT; "" for YAML's null. NUL-terminated, may hold NULs before */
	size_t len;    /* of text */
	size_t n;      /* children */
	struct node *first, *last; /* children, in the file's order */
	struct node *next;         /* sibling */
};

/* Gives the root in @ret_root (release with document_free), NULL for an empty document. 0, -EINVAL
 * or -ENOMEM, with "name:line: YAML: …" in @err. */
int document_parse(
	const char *text, size_t len, const char *name, struct node **ret_root, struct error *err);
/* Releases @root and all below; NULL is fine; gives NULL. */
struct node *document_free(struct node *root);
