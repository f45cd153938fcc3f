/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of YAML -> structs, by the tables. */

#include "runner/config_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/text.h"

#define KEY_BYTES_MAX          512
#define PROGRAM_NAME_BYTES_MAX 255

/* What one mapping and those nested in it are read into. */
struct target {
	struct source *source;
	const struct setting_table *table;
	void *base;
	struct origin *origins; /* of the table's rows */
	const char *path;       /* before the keys in messages: "programs.render." */
};

static struct place place_of(const struct target *t, const struct node *node, const char *key)
{
	return (struct place){ .source = t->source, .line = node->line, .key = key };
}

/* A path that is too long is cut: none that means something is. */
static void join(char *buffer, const char *path, const char *prefix, const char *key)
{
	int n = snprintf(buffer, KEY_BYTES_MAX, "%s%s%s", path, prefix, key);

	if (n < 0)
		*buffer = '\0';
}

/* Only what looks like a key is repeated: "password:secret" is one key where its space is missing.
 */
static const char *showable_key(const char *key)
{
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n == strlen(key) && n <= 64 ? key : "(a key)";
}

static int expand(const struct place *at, const struct node *node, char **ret)
{
	cleanup_free char *text = NULL;
	int r = setting_check_text(node->text, node->len, at);

	if (r == 0)
		r = config_substitute(at, node->text, &text);
	if (r == 0)
		r = setting_check_text(text, strlen(text), at);
	if (r == 0)
		*ret = steal_ptr(text);
	return r;
}

/* ---- values of several texts ---- */

static int read_strings(
	struct target *t, const struct setting *s, const struct node *list, const char *key)
{
	char ***field = (char ***)((char *)t->base + s->offset);
	const struct node *item;

	for (item = list->first; item; item = item->next) {
		struct place at = place_of(t, item, key);
		cleanup_free char *text = NULL;
		int r;

		if (item->kind != NODE_TEXT)
			return config_expected(&at, "a list of texts");
		r = expand(&at, item, &text);
		if (r == 0 && strings_add(field, steal_ptr(text)) < 0)
			r = config_no_memory(&at);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_argv(
	struct target *t, const struct setting *s, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	char ***field = (char ***)((char *)t->base + s->offset);
	int r;

	if (node->kind != NODE_LIST)
		return config_expected(&at, "a list such as %s", s->example);
	r = read_strings(t, s, node, key);
	if (r < 0)
		return r;
	if (!*field || !***field)
		return config_expected(&at, "a program to run as the first of the list");
	if (strchr(**field, '/') && ***field != '/')
		return config_expected(
			&at, "an absolute path, or a name without / that PATH finds");
	return 0;
}

static bool is_variable_name(const char *name)
{
	return *name && !strchr(name, '=');
}

static int read_environment_entry(
	struct target *t, char ***field, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	cleanup_free char *text = NULL;
	char *entry = NULL;
	int r;

	if (node->kind != NODE_TEXT)
		return config_expected(&at, "text as the value of a variable");
	if (!is_variable_name(node->key))
		return config_expected(&at, "names of variables without =");
	if (!strncmp(node->key, "TASKIFACE_", strlen("TASKIFACE_")))
		return config_fault(
			&at, "variables whose names begin TASKIFACE_ are the runner's own");
	r = expand(&at, node, &text);
	if (r < 0)
		return r;
	if (asprintf(&entry, "%s=%s", node->key, text) < 0 || strings_add(field, entry) < 0)
		return config_no_memory(&at);
	return 0;
}

static int read_environment(
	struct target *t, const struct setting *s, const struct node *node, const char *key)
{
	char ***field = (char ***)((char *)t->base + s->offset);
	struct place at = place_of(t, node, key);
	const struct node *child;
	int r;

	if (node->kind != NODE_MAP)
		return config_expected(&at, "a mapping such as {LANG: C.UTF-8}");
	for (child = node->first; child; child = child->next) {
		r = read_environment_entry(t, field, child, key);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- labels ---- */

static int read_labels(
	struct target *t, const struct setting *s, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	char ***field = (char ***)((char *)t->base + s->offset);
	int r;

	if (node->kind != NODE_LIST || node->n > (size_t)s->max)
		return config_expected(
			&at, "a list of at most %d labels, such as [gpu]", PROGRAM_LABELS_MAX);
	r = read_strings(t, s, node, key);
	for (char **label = *field; r == 0 && label && *label; label++)
		r = label_check(*label, &at);
	return r;
}

static int read_label_cap(
	struct target *t, const struct setting *s, const struct node *node, const char *key)
{
	struct label_caps *caps = (struct label_caps *)((char *)t->base + s->offset);
	struct place at = place_of(t, node, key);
	cleanup_free char *text = NULL;
	char name[KEY_BYTES_MAX];
	int r;

	at.shown = slice_of(node->key); /* if it is wrong, it is the name and not its value */
	r = label_check(node->key, &at);
	if (r < 0)
		return r;
	join(name, key, ".", node->key);
	at = place_of(t, node, name);
	if (node->kind != NODE_TEXT)
		return config_expected(&at, "a whole number from %lld to %lld", (long long)s->min,
			(long long)s->max);
	r = expand(&at, node, &text);
	if (r < 0 || !*text)
		return r;
	at.shown = slice_of(node->text);
	return label_caps_add(s, caps, node->key, text, &at);
}

static int read_label_caps(
	struct target *t, const struct setting *s, const struct node *map, const char *key)
{
	int r = 0;

	for (const struct node *node = map->first; node && r == 0; node = node->next)
		r = read_label_cap(t, s, node, key);
	return r;
}

/* ---- mappings ---- */

static int read_map(struct target *t, const char *prefix, const struct node *map);
static int read_queues(struct target *t, const struct node *node, const char *key);
static int read_programs(
	struct target *t, struct program_set *set, const struct node *node, const char *key);

static int read_text(struct target *t, const struct setting *s, const struct node *node,
	const char *key, bool *ret_given)
{
	struct place at = place_of(t, node, key);
	cleanup_free char *text = NULL;
	char description[256];
	int r;

	if (node->kind != NODE_TEXT)
		return config_expected(
			&at, "%s", setting_describe(s, description, sizeof(description)));
	r = expand(&at, node, &text);
	if (r < 0)
		return r;
	*ret_given = *text || (s->flags & SETTING_MAY_BE_EMPTY);
	if (s->kind != SETTING_SECRET && s->kind != SETTING_ADDRESSES)
		at.shown =
			slice_of(node->text); /* as it was written: ${…} may stand for a secret */
	return *ret_given ? setting_store(s, t->base, text, &at) : 0;
}

static int read_text_list(
	struct target *t, const struct setting *s, const struct node *list, const char *key)
{
	const struct node *item;
	bool given = true;
	int r = 0;

	for (item = list->first; item && r == 0; item = item->next) {
		r = read_text(t, s, item, key, &given);
		if (r == 0 && !given) {
			struct place at = place_of(t, item, key);

			r = config_fault(&at, "an item of the list is empty");
		}
	}
	return r;
}

static int read_value(
	struct target *t, const struct setting *s, const struct node *node, const char *key)
{
	struct origin *origin = &t->origins[s - t->table->rows];
	bool given = true;
	int r;

	if (origin->from == FROM_ENVIRONMENT)
		return 0;
	if (node->kind == NODE_TEXT && !node->len && !(s->flags & SETTING_MAY_BE_EMPTY))
		return 0;
	if (s->kind == SETTING_ARGV)
		r = read_argv(t, s, node, key);
	else if (s->kind == SETTING_ENVIRONMENT)
		r = read_environment(t, s, node, key);
	else if (s->kind == SETTING_LABELS)
		r = read_labels(t, s, node, key);
	else if (s->kind == SETTING_LABEL_CAPS && node->kind == NODE_MAP)
		r = read_label_caps(t, s, node, key);
	else if (s->kind == SETTING_QUEUES)
		r = read_queues(t, node, key);
	else if (s->kind == SETTING_PROGRAMS)
		r = read_programs(
			t, (struct program_set *)((char *)t->base + s->offset), node, key);
	else if (node->kind == NODE_LIST &&
		 (s->kind == SETTING_ADDRESSES || s->kind == SETTING_DIRECTORIES))
		r = read_text_list(t, s, node, key);
	else
		r = read_text(t, s, node, key, &given);
	if (r == 0 && given)
		*origin = (struct origin){ FROM_FILE, node->line };
	return r;
}

static bool is_section(const struct setting_table *table, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < table->n; i++)
		if (!strncmp(table->rows[i].key, key, len) && table->rows[i].key[len] == '.')
			return true;
	return false;
}

/* Says which keys may stand where @prefix is. */
static int unknown_key(
	struct target *t, const char *prefix, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	char known[320] = "";
	size_t len = 0, prefix_len = strlen(prefix), last_len = 0;
	const char *last = "";

	for (size_t i = 0; i < t->table->n && len < sizeof(known); i++) {
		const char *row = t->table->rows[i].key;
		const char *name;
		size_t name_len;

		if (strncmp(row, prefix, prefix_len))
			continue;
		name = row + prefix_len;
		name_len = strcspn(name, ".");
		if (name_len == last_len && !strncmp(name, last, name_len))
			continue;
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%.*s", len ? ", " : "",
			(int)name_len, name);
		last = name;
		last_len = name_len;
	}
	return config_fault(&at, "unknown key; expected one of %s", known);
}

static int read_section(
	struct target *t, const char *key, const struct node *node, const char *shown)
{
	struct place at = place_of(t, node, shown);
	char prefix[KEY_BYTES_MAX];

	if (node->kind == NODE_TEXT && !node->len)
		return 0;
	if (node->kind != NODE_MAP)
		return config_expected(&at, "a mapping (key: value)");
	join(prefix, key, ".", "");
	return read_map(t, prefix, node);
}

static int read_map(struct target *t, const char *prefix, const struct node *map)
{
	char key[KEY_BYTES_MAX], shown[KEY_BYTES_MAX];
	const struct node *node;
	int r = 0;

	for (node = map->first; node && r == 0; node = node->next) {
		const struct setting *s;

		join(key, "", prefix, node->key);
		join(shown, t->path, prefix, showable_key(node->key));
		/* A key with a dot in it is no way to write a path. */
		s = strchr(node->key, '.') ? NULL : setting_find(t->table, key);
		if (s)
			r = read_value(t, s, node, shown);
		else if (!strchr(node->key, '.') && is_section(t->table, key))
			r = read_section(t, key, node, shown);
		else
			r = unknown_key(t, prefix, node, shown);
	}
	return r;
}

static int check_required(const struct target *t, const struct node *node)
{
	char key[KEY_BYTES_MAX];

	for (size_t i = 0; i < t->table->n; i++) {
		const struct setting *s = &t->table->rows[i];
		struct place at = place_of(t, node, key);

		if (!(s->flags & SETTING_REQUIRED) || t->origins[i].from)
			continue;
		join(key, t->path, "", s->key);
		return config_fault(&at, "is missing or empty");
	}
	return 0;
}

/* An entry of a list or mapping: its own rows, what it cannot do without, its defaults. */
static int read_entry(struct target *t, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	int r;

	if (node->kind != NODE_MAP)
		return config_expected(&at, "a mapping (key: value)");
	r = read_map(t, "", node);
	if (r == 0)
		r = check_required(t, node);
	return r < 0 ? r : config_defaults(t->table, t->base, t->origins, false, t->source);
}

int config_defaults(const struct setting_table *table, void *base, const struct origin *origins,
	bool terarium, struct source *source)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct setting *s = &table->rows[i];
		const char *text = terarium && s->terarium ? s->terarium : s->fallback;
		struct place at = { .source = source, .key = s->key, .shown = slice_of(text) };
		int r = text && !origins[i].from ? setting_store(s, base, text, &at) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- queues ---- */

static int read_queues(struct target *t, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	const struct node *item;
	int r = 0;

	if (node->kind != NODE_LIST || !node->n)
		return config_expected(
			&at, "a list of at least one queue, such as [{name: requests}]");
	for (item = node->first; item && r == 0; item = item->next) {
		struct queue_config queue = { 0 };
		struct origin origins[SETTING_ROWS_MAX] = { 0 };
		struct target entry = { t->source, &queue_table, &queue, origins,
			queue_table.path };

		at = place_of(t, item, key);
		r = read_entry(&entry, item, key);
		if (r == 0)
			r = config_add_queue(t->base, &queue, &at);
		setting_release_all(&queue_table, &queue);
	}
	return r;
}

/* ---- programs ---- */

/* An absolute path as a name must be in the one form it would be asked for. */
static bool is_canonical_path(const char *path)
{
	while (*path == '/') {
		size_t n = strcspn(++path, "/");

		if (!n || (n == 1 && *path == '.') || (n == 2 && !strncmp(path, "..", 2)))
			return false;
		path += n;
	}
	return !*path;
}

static bool is_program_name(const char *name)
{
	if (strlen(name) > PROGRAM_NAME_BYTES_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return *name && (!strchr(name, '/') || (*name == '/' && is_canonical_path(name)));
}

static int read_program(
	struct target *t, struct program *program, const struct node *node, const char *key)
{
	static const char row[] = "pipe_arguments";
	struct origin origins[SETTING_ROWS_MAX] = { 0 };
	struct place at = place_of(t, node, key);
	char path[KEY_BYTES_MAX], name[KEY_BYTES_MAX];
	struct target entry = { t->source, &program_table, program, origins, path };
	int r;

	if (!is_program_name(node->key)) {
		at.shown = slice_of(node->key); /* what is wrong is the name, not its value */
		return config_expected(&at,
			"as a program's name at most %d bytes without /, or an absolute path",
			PROGRAM_NAME_BYTES_MAX);
	}
	join(name, key, ".", node->key);
	join(path, name, ".", "");
	program->line = node->line;
	program->name = strdup(node->key);
	if (!program->name)
		return config_no_memory(&at);
	r = read_entry(&entry, node, name);
	if (!origins[setting_find(&program_table, row) - program_table.rows].from)
		program->pipe_arguments = PIPE_ARGUMENTS_UNSET;
	return r;
}

static int read_programs(
	struct target *t, struct program_set *set, const struct node *node, const char *key)
{
	struct place at = place_of(t, node, key);
	const struct node *child;
	int r = 0;

	if (node->kind != NODE_MAP)
		return config_expected(&at, "a mapping of names to programs");
	set->programs = node->n ? calloc(node->n, sizeof(*set->programs)) : NULL;
	if (node->n && !set->programs)
		return config_no_memory(&at);
	for (child = node->first; child && r == 0; child = child->next)
		r = read_program(t, &set->programs[set->n_programs++], child, key);
	return r;
}

int config_read_tree(struct reader *reader, const struct node *root)
{
	struct target t = { &reader->source, &config_table, reader->config, reader->origins, "" };

	return root ? read_map(&t, "", root) : 0;
}
