/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts words, and says how much each count is worth.
 *
 *	wordcount [--rounds N] [--top N]
 *
 * Input: text, or any concatenation or tar archive of text files. Output: JSON with the number of
 * words and the most frequent ones. Had the authors written as much again in the same manner, each
 * count would be a little different: the standard deviation, "plus_minus", comes from N rounds in
 * which as many words as there are, are drawn anew from all of them (the bootstrap). The rounds are
 * the work: 10000 of them take some seconds for a million bytes of text.
 *
 * A word is a run of ASCII letters; capitals count as small letters.
 */
#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskiface.h>

struct word {
	const char *text; /* in the input */
	size_t len;
	uint32_t count;
	double sum, sum_of_squares; /* of its counts in the rounds */
};

struct counts {
	struct word *words; /* at first each that was met, then the distinct ones */
	uint32_t *ids;      /* of each that was met: an index into the distinct ones */
	uint32_t n_words, n_met;
};

/* --- counting --- */

static bool find_words(struct counts *c, char *text, size_t len)
{
	c->words = calloc(len / 2 + 1, sizeof(*c->words)); /* there cannot be more */
	for (size_t i = 0, start = 0; c->words && i <= len; i++) {
		if (i < len && isalpha((unsigned char)text[i])) {
			text[i] = (char)tolower((unsigned char)text[i]);
			continue;
		}
		if (i > start)
			c->words[c->n_met++] = (struct word){ text + start, i - start, 1, 0, 0 };
		start = i + 1;
	}
	c->ids = calloc((size_t)c->n_met + 1, sizeof(*c->ids));
	return c->words && c->ids;
}

static int by_text(const void *a, const void *b)
{
	const struct word *x = a, *y = b;
	int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void count_words(struct counts *c)
{
	qsort(c->words, c->n_met, sizeof(*c->words), by_text);
	for (uint32_t i = 0; i < c->n_met; i++) {
		if (i > 0 && by_text(&c->words[i], &c->words[c->n_words - 1]) == 0)
			c->words[c->n_words - 1].count++;
		else
			c->words[c->n_words++] = c->words[i];
		c->ids[i] = c->n_words - 1;
	}
}

/* --- drawing anew --- */

static uint64_t next_random(uint64_t *state) /* xorshift64* */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717u;
}

static void draw(const struct counts *c, uint32_t *drawn, uint64_t *random)
{
	memset(drawn, 0, c->n_words * sizeof(*drawn));
	for (uint32_t i = 0; i < c->n_met; i++)
		drawn[c->ids[(next_random(random) >> 32) * c->n_met >> 32]]++;
	for (uint32_t i = 0; i < c->n_words; i++) {
		c->words[i].sum += drawn[i];
		c->words[i].sum_of_squares += (double)drawn[i] * drawn[i];
	}
}

static int draw_rounds(struct taskiface *task, const struct counts *c, int rounds)
{
	uint64_t random = 88172645463325252u; /* fixed: the same input gives the same output */
	uint32_t *drawn = calloc((size_t)c->n_words + 1, sizeof(*drawn));
	char message[64];

	if (!drawn)
		return -1;
	for (int i = 1; i <= rounds && !taskiface_cancelled(task); i++) {
		draw(c, drawn, &random);
		snprintf(message, sizeof(message), "round %d of %d", i, rounds);
		if (i % (rounds / 100 + 1) == 0 || i == rounds)
			taskiface_progress(task, (double)i / rounds, message, NULL);
	}
	free(drawn);
	return taskiface_cancelled(task) ? -1 : 0;
}

/* --- the result --- */

static int by_count(const void *a, const void *b)
{
	const struct word *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return by_text(x, y);
}

static double deviation(const struct word *w, int rounds)
{
	double mean = w->sum / rounds;

	return rounds > 0 ? sqrt(fmax(0, w->sum_of_squares / rounds - mean * mean)) : 0;
}

static int write_result(struct taskiface *task, struct counts *c, int rounds, int top)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return -1;
	qsort(c->words, c->n_words, sizeof(*c->words), by_count);
	fprintf(f, "{\"words\": %u, \"distinct\": %u, \"top\": [", c->n_met, c->n_words);
	for (int i = 0; i < top && i < (int)c->n_words; i++) {
		const struct word *w = &c->words[i];

		fprintf(f, "%s\n  {\"word\": \"%.*s\", \"count\": %u, \"plus_minus\": %.1f}",
			i > 0 ? "," : "", (int)w->len, w->text, w->count, deviation(w, rounds));
	}
	fputs("]}\n", f);
	r = fclose(f) == 0 ? taskiface_write_all(task, text, len, TASKIFACE_FOREVER) : -1;
	free(text);
	return r;
}

static int work(struct taskiface *task, int rounds, int top)
{
	struct counts c = { 0 };
	char *text = NULL;
	size_t len;
	int r = taskiface_read_all(task, 1u << 30, TASKIFACE_FOREVER, &text, &len);

	if (r == 0)
		r = find_words(&c, text, len) ? 0 : -1;
	if (r == 0) {
		taskiface_progress(task, 0, "counting", NULL);
		count_words(&c);
		r = draw_rounds(task, &c, rounds);
	}
	if (r == 0)
		r = write_result(task, &c, rounds, top);
	free(c.words);
	free(c.ids);
	free(text);
	return r;
}

static int option(int argc, char **argv, const char *name, int otherwise)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return atoi(argv[i + 1]);
	return otherwise;
}

int main(int argc, char **argv)
{
	struct taskiface *task;
	int r = taskiface_open(&argc, argv, &task); /* takes its own arguments out of argv */

	if (r < 0) {
		fprintf(stderr, "wordcount: %s\n", strerror(-r));
		return 2;
	}
	taskiface_watch_cancellation(task, NULL, NULL);
	taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 1000);
	r = work(task, option(argc, argv, "--rounds", 10000), option(argc, argv, "--top", 10));
	taskiface_close(task);
	return r < 0;
}
