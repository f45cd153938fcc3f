/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, not libyaml's own tree: that one resolves aliases without a trace, which is how nine
 * lines become a thousand million nodes.
 */

#include "common/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "common/cleanup.h"

struct builder {
	yaml_parser_t parser;
	const char *text;
	const char *name;
	struct error *err;
	struct node *root;
	struct node *stack[DOCUMENT_DEPTH_MAX]; /* open mappings and lists; borrowed from root */
	unsigned depth;
	unsigned n_nodes;
	unsigned n_documents;
	char *key; /* read, its value is awaited; owned */
	unsigned key_line;
};

static int refuse(struct builder *b, unsigned line, const char *what)
{
	return error_set(b->err, -EINVAL, "%s:%u: YAML: %s", b->name, line, what);
}

static unsigned event_line(const yaml_event_t *event)
{
	return (unsigned)event->start_mark.line + 1;
}

struct node *document_free(struct node *root)
{
	struct node *child, *next;

	if (!root)
		return NULL;
	for (child = root->first; child; child = next) {
		next = child->next;
		document_free(child); /* as deep as DOCUMENT_DEPTH_MAX */
	}
	free(root->key);
	free(root->text);
	free(root);
	return NULL;
}

/* The reader knows only how many bytes in the fault is. */
static unsigned line_of_offset(const char *text, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset; i++)
		line += text[i] == '\n';
	return line;
}

static int parser_fault(struct builder *b)
{
	const yaml_parser_t *p = &b->parser;
	unsigned line = (unsigned)p->problem_mark.line + 1;

	if (p->error == YAML_MEMORY_ERROR)
		return error_set(b->err, -ENOMEM, "%s: out of memory", b->name);
	if (p->error == YAML_READER_ERROR)
		return error_set(b->err, -EINVAL, "%s:%u: YAML: the text is not clean UTF-8: %s",
			b->name, line_of_offset(b->text, p->problem_offset),
			p->problem ? p->problem : "unreadable");
	return error_set(b->err, -EINVAL, "%s:%u: YAML: %s%s%s", b->name, line,
		p->problem ? p->problem : "unreadable", p->context ? " " : "",
		p->context ? p->context : "");
}

/* Hangs @node where it belongs; it is the tree's from here on. */
static void attach(struct builder *b, struct node *node)
{
	struct node *parent = b->depth ? b->stack[b->depth - 1] : NULL;

	if (!parent) {
		b->root = node;
		return;
	}
	node->key = steal_ptr(b->key);
	if (node->key)
		node->line = b->key_line;
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	parent->n++;
}

static int add_node(struct builder *b, enum node_kind kind, const yaml_event_t *event)
{
	struct node *parent = b->depth ? b->stack[b->depth - 1] : NULL;
	struct node *node;

	if (parent && parent->n == DOCUMENT_ENTRIES_MAX)
		return refuse(b, event_line(event), "more than 4096 entries in one place");
	if (b->n_nodes++ == DOCUMENT_NODES_MAX)
		return refuse(b, event_line(event), "more than 65536 values");
	if (kind != NODE_TEXT && b->depth == DOCUMENT_DEPTH_MAX)
		return refuse(b, event_line(event), "nested deeper than 16 levels");
	node = calloc(1, sizeof(*node));
	if (!node)
		return error_set(b->err, -ENOMEM, "%s: out of memory", b->name);
	node->kind = kind;
	node->line = event_line(event);
	attach(b, node);
	if (kind != NODE_TEXT)
		b->stack[b->depth++] = node;
	return 0;
}

static bool awaits_key(const struct builder *b)
{
	return b->depth && b->stack[b->depth - 1]->kind == NODE_MAP && !b->key;
}

static int take_key(struct builder *b, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	const struct node *child = b->stack[b->depth - 1]->first;

	if (strlen(text) != event->data.scalar.length || !*text)
		return refuse(b, event_line(event), "a key is empty or holds a NUL");
	for (; child; child = child->next)
		if (!strcmp(child->key, text))
			return error_set(b->err, -EINVAL,
				"%s:%u: %s: the key stands twice in one mapping, first on line %u",
				b->name, event_line(event), text, child->line);
	b->key = strdup(text);
	b->key_line = event_line(event);
	return b->key ? 0 : error_set(b->err, -ENOMEM, "%s: out of memory", b->name);
}

/* YAML's null: nothing at all, or one of two plain words. */
static bool is_null(const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;

	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
	size_t len = is_null(event) ? 0 : event->data.scalar.length;
	struct node *node;
	int r;

	if (event->data.scalar.anchor || event->data.scalar.tag)
		return refuse(b, event_line(event), "anchors (&) and tags (!) are not taken");
	if (awaits_key(b))
		return take_key(b, event);
	r = add_node(b, NODE_TEXT, event);
	if (r < 0)
		return r;
	node = b->depth ? b->stack[b->depth - 1]->last : b->root;
	node->text = malloc(len + 1);
	if (!node->text)
		return error_set(b->err, -ENOMEM, "%s: out of memory", b->name);
	memcpy(node->text, event->data.scalar.value, len);
	node->text[len] = '\0';
	node->len = len;
	return 0;
}

static int on_collection(struct builder *b, enum node_kind kind, const yaml_event_t *event)
{
	/* The two structures are alike in libyaml, but nothing promises that. */
	bool decorated =
		kind == NODE_MAP
			? event->data.mapping_start.anchor || event->data.mapping_start.tag
			: event->data.sequence_start.anchor || event->data.sequence_start.tag;

	if (decorated)
		return refuse(b, event_line(event), "anchors (&) and tags (!) are not taken");
	if (awaits_key(b))
		return refuse(b, event_line(event), "a key is to be text, not a list or a mapping");
	return add_node(b, kind, event);
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->n_documents++)
			return refuse(
				b, event_line(event), "a second document begins; one is taken");
		return 0;
	case YAML_ALIAS_EVENT:
		return refuse(b, event_line(event), "aliases (*) are not taken");
	case YAML_SCALAR_EVENT:
		return on_scalar(b, event);
	case YAML_SEQUENCE_START_EVENT:
		return on_collection(b, NODE_LIST, event);
	case YAML_MAPPING_START_EVENT:
		return on_collection(b, NODE_MAP, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	default:
		return 0;
	}
}

static int build(struct builder *b)
{
	yaml_event_t event;
	bool end;
	int r;

	do {
		if (!yaml_parser_parse(&b->parser, &event))
			return parser_fault(b);
		end = event.type == YAML_STREAM_END_EVENT;
		r = on_event(b, &event);
		yaml_event_delete(&event);
		if (r < 0)
			return r;
	} while (!end);
	if (b->root && b->root->kind == NODE_TEXT && !b->root->len)
		b->root = document_free(b->root); /* "---" and nothing */
	if (b->root && b->root->kind != NODE_MAP)
		return refuse(b, b->root->line, "expected a mapping (key: value) at the top");
	return 0;
}

/* The breaks that libyaml knows, those beyond ASCII among them; and its mark at the very start. */
static bool starts_line(const char *text, size_t at)
{
	static const char *const breaks[] = { "\n", "\r", "\xC2\x85", "\xE2\x80\xA8",
		"\xE2\x80\xA9" };

	if (!at || (at == 3 && !memcmp(text, "\xEF\xBB\xBF", 3)))
		return true;
	for (size_t i = 0; i < sizeof(breaks) / sizeof(*breaks); i++) {
		size_t len = strlen(breaks[i]);

		if (at >= len && !memcmp(text + at - len, breaks[i], len))
			return true;
	}
	return false;
}

/* No directive: a file of nothing else keeps libyaml busy for the square of its length. */
static int refuse_directives(struct builder *b, const char *text, size_t len)
{
	const char *p = text, *end = text + len;

	for (; (p = memchr(p, '%', (size_t)(end - p))); p++)
		if (starts_line(text, (size_t)(p - text)))
			return refuse(b, line_of_offset(text, (size_t)(p - text)),
				"directives (%) are not taken");
	return 0;
}

int document_parse(
	const char *text, size_t len, const char *name, struct node **ret_root, struct error *err)
{
	struct builder b = { .text = text, .name = name, .err = err };
	int r;

	if (len > DOCUMENT_BYTES_MAX)
		return error_set(err, -EINVAL, "%s:1: YAML: larger than 1MiB", name);
	r = refuse_directives(&b, text, len);
	if (r < 0)
		return r;
	if (!yaml_parser_initialize(&b.parser))
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	/* Said, not guessed: a UTF-16 mark is no way round the checks. */
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	r = build(&b);
	yaml_parser_delete(&b.parser);
	free(b.key);
	if (r < 0)
		document_free(b.root);
	else
		*ret_root = b.root;
	return r;
}
