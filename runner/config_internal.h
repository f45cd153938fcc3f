/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of configuration share: the table of settings, and the place a value came from.
 * Only runner/config*.c and their test include this.
 *
 * A table has a row for each key of one mapping and those nested in it ("limits.input"): what kind
 * of value, where it goes, bounds, default, meaning. The rows drive reading, defaults, releasing,
 * the printed reference, and the test that holds the documents to them.
 */

#include "runner/config.h"
#include "common/document.h"

enum setting_kind {
	SETTING_TEXT,        /* char *: UTF-8 without control characters, min..max bytes */
	SETTING_SECRET,      /* char *: never shown */
	SETTING_PATH,        /* char *: absolute */
	SETTING_FILE,        /* char *: absolute, and a regular file we may read */
	SETTING_BOOL,        /* bool; where there are words: which one */
	SETTING_NUMBER,      /* int or unsigned, min..max */
	SETTING_SECONDS,     /* unsigned, from a duration; min..max seconds */
	SETTING_DURATION,    /* uint64_t microseconds; min..max microseconds */
	SETTING_SIZE,        /* size_t; min..max bytes */
	SETTING_WORD,        /* an enum: which of the words */
	SETTING_WORD_TEXT,   /* char *: one of the words */
	SETTING_ADDRESSES,   /* struct mq_options: its addresses */
	SETTING_DIRECTORIES, /* char **, absolute, there; a list, or one text with colons */
	SETTING_ARGV,        /* char **: a list */
	SETTING_ENVIRONMENT, /* char ** of "NAME=value": a mapping */
	SETTING_LABELS,      /* char **: a list of labels */
	SETTING_LABEL_CAPS,  /* struct label_caps: a mapping */
	SETTING_QUEUES,      /* struct config: queues and n_queues */
	SETTING_PROGRAMS,    /* struct program_set: a mapping */
};

enum {
	SETTING_MAY_BE_EMPTY = 1, /* an empty value is a value */
	SETTING_REQUIRED = 2,     /* an entry without it is an error */
	SETTING_FILE_ONLY = 4,    /* has no environment variable */
};

struct setting {
	const char *key;
	enum setting_kind kind;
	unsigned flags;
	size_t offset; /* in the struct that the table is for */
	int64_t min, max;
	const char *const *words; /* NULL-terminated */
	const char *fallback;     /* the default, as one would write it; NULL: zero, or computed */
	const char *shown; /* how the documents put a default that is not `fallback`; NULL: that */
	const char *terarium; /* the default under `compat: terarium`; NULL: the same */
	const char *example;  /* for the printed reference, where there is no default */
	const char *meaning;
};

struct setting_table {
	const char *path; /* before the keys, in documents and messages: "", "queues[]." */
	const struct setting *rows;
	size_t n;
};

#define SETTING_ROWS_MAX 64

/* Of a program whose entry does not say, until the whole was read. */
#define PIPE_ARGUMENTS_UNSET ((enum pipe_arguments)(PIPE_ARGUMENTS_NONE + 1))

extern const struct setting_table config_table;  /* struct config */
extern const struct setting_table queue_table;   /* struct queue_config */
extern const struct setting_table program_table; /* struct program */

/* Where a reading stands as a whole. */
struct source {
	const char *name; /* the file's, for messages */
	char *const *environment;
	size_t substituted; /* bytes that ${…} has given */
	struct error *err;
};

/* Where one value comes from. */
struct place {
	struct source *source;
	unsigned line;      /* in the file; 0: an environment variable */
	const char *key;    /* whole path, or the variable's name */
	struct slice shown; /* the value as it was written, for messages; absent: not to be shown */
};

/* Where each row of a table got its value; by index. */
struct origin {
	enum { FROM_NOWHERE, FROM_FILE, FROM_ENVIRONMENT } from;
	unsigned line;
};

struct reader {
	struct source source;
	struct config *config;
	struct origin origins[SETTING_ROWS_MAX]; /* of config_table */
};

/* "file:line: key: sentence"; gives -EINVAL. */
int config_fault(const struct place *at, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* "file:line: key: expected …, not VALUE"; gives -EINVAL. */
int config_expected(const struct place *at, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int config_no_memory(const struct place *at);

/* The row of @key in @table; NULL. */
const struct setting *setting_find(const struct setting_table *table, const char *key);
/* "TASKRUNNER_BROKER_VHOST"; @size 128 is enough for every row. */
const char *setting_variable(const struct setting *setting, char *buffer, size_t size);
/* "a size from 1KiB to 1GiB, such as 64MiB": what the row takes, in words. */
const char *setting_describe(const struct setting *setting, char *buffer, size_t size);
/* The default in words: "64MiB", "none", "the host's name". */
const char *setting_default(const struct setting *setting);

/* config_substitute.c: gives @text with ${…} replaced in a new @ret (release with free). */
int config_substitute(const struct place *at, const char *text, char **ret);
/* Of the environment @source reads; NULL where unset. */
const char *source_getenv(const struct source *source, const char *name, size_t len);

/* config_value.c: stores one value in its place in @base, in the stead of what was there; addresses
 * and directories are added to what is there. On failure @base is as it was. */
int setting_store(
	const struct setting *setting, void *base, const char *text, const struct place *at);
/* What every text must be: no NUL (@len tells), UTF-8. */
int setting_check_text(const char *text, size_t len, const struct place *at);
/* Appends @item (moved; freed on failure) to the NULL-terminated @list. 0 or -ENOMEM. */
int strings_add(char ***list, char *item);
int label_check(const char *name, const struct place *at);
/* Adds the cap that @text is for the label @name, which was checked. */
int label_caps_add(const struct setting *setting, struct label_caps *caps, const char *name,
	const char *text, const struct place *at);
/* Frees the list and what is in it; gives NULL. */
char **strings_free(char **list);
/* Releases what the rows of @table own in @base. */
void setting_release_all(const struct setting_table *table, void *base);

/* config_tree.c: reads @root by config_table into reader->config; skips rows that have an origin.
 */
int config_read_tree(struct reader *reader, const struct node *root);
/* Gives each row without an origin its default. */
int config_defaults(const struct setting_table *table, void *base, const struct origin *origins,
	bool terarium, struct source *source);
/* Adds a queue to @config (moved). -EINVAL where its name is taken or its facts do not fit. */
int config_add_queue(struct config *config, struct queue_config *queue, const struct place *at);

/* config_env.c: reads TASKRUNNER_* of reader->source.environment into reader->config. */
int config_read_environment(struct reader *reader);
