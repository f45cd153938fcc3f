/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What may be run: the name in a request -> the program to start.
 *
 * A name is looked for in `programs`, then as a file directly in one of `program_directories`,
 * then, with `search_path` only, as an absolute path or through PATH. A name that ends in .py and
 * is not in `programs` is run by python3. No name with ".." in it, and no path but as said, ever
 * gets further. Files are looked up at each request: what is put into a directory can be run at
 * once.
 *
 * A catalogue is counted, so that tasks keep theirs when a reload brings the next. Main thread.
 */

#include "runner/config.h"

struct catalogue; /* opaque */

/* Takes over @set (zeroed then). One reference, for catalogue_unref. NULL when memory is short. */
struct catalogue *catalogue_new(struct program_set *set);
struct catalogue *catalogue_ref(struct catalogue *catalogue);
struct catalogue *catalogue_unref(struct catalogue *catalogue); /* gives NULL */

/* What to start. Owned; holds a reference to its catalogue. */
struct launch {
	struct catalogue *catalogue;
	const struct program
		*program;     /* for limits and environment; lives as long as the catalogue */
	struct program found; /* stands in for an entry where a file was found */
	char *path;           /* of the executable, absolute unless the entry's is not */
	char *script;         /* of a .py file; then path is python3's */
	int rank; /* of those that wait for a slot, higher ones start first; the caller's */
};

enum catalogue_outcome {
	CATALOGUE_FOUND,
	CATALOGUE_NOT_FOUND, /* err: one sentence for the requester */
	CATALOGUE_REFUSED,   /* the same */
};

/* Gives a catalogue_outcome or -ENOMEM. @ret (zeroed) is valid for launch_deinit in any case. */
int catalogue_resolve(
	struct catalogue *catalogue, const char *name, struct launch *ret, struct error *err);
/* Tells what can be run: entries (@from: "programs"), and the executable files of the directories
 * (@from: the directory), of each directory at most CATALOGUE_LISTED_MAX. */
#define CATALOGUE_LISTED_MAX 1000
typedef void (*catalogue_tell_fn)(void *userdata, const struct program *program, const char *from);
void catalogue_list(struct catalogue *catalogue, catalogue_tell_fn tell, void *userdata);
void launch_deinit(struct launch *launch);

/* Where PATH has an executable file of this name: an owned path, or NULL. */
char *find_in_path(const char *name);
