/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feeds files, and all files in directories, to a fuzz target: `replay_NAME CORPUS…`. Each file is
 * also fed cut short, at a number of places, so that a corpus tells more than it holds.
 */

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "fuzz/fuzz.h"

/* Files up to this size are cut at every byte, larger ones at so many places. */
#define N_CUTS 400

static void feed(const char *data, size_t len)
{
	/* An exact copy, so that a sanitizer sees the first byte too far. */
	cleanup_free uint8_t *copy = malloc(len + (len == 0));

	promise(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
}

static void feed_cut(const char *data, size_t len)
{
	size_t step = len / N_CUTS + 1;

	for (size_t n = 0; n < len; n += step)
		feed(data, n);
	feed(data, len);
}

static bool replay_file(const char *path)
{
	cleanup_free char *data = NULL;
	FILE *file = fopen(path, "rb");
	struct stat st;
	size_t len;

	if (!file || fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode)) {
		fprintf(stderr, "%s cannot be read\n", path);
		if (file)
			fclose(file);
		return false;
	}
	data = malloc((size_t)st.st_size + 1);
	promise(data);
	len = fread(data, 1, (size_t)st.st_size, file);
	fclose(file);
	feed_cut(data, len);
	return true;
}

/* How many files were replayed; -1 where @path is no directory or something in it is no file. */
static int replay_directory(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return -1;
	while (n >= 0 && (entry = readdir(dir))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		n = replay_file(file) ? n + 1 : -1;
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int n_all = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_directory(argv[i]);

		if (n < 0)
			n = replay_file(argv[i]) ? 1 : 0;
		if (n == 0) {
			fprintf(stderr, "%s holds nothing to replay\n", argv[i]);
			return EXIT_FAILURE;
		}
		n_all += n;
	}
	printf("%d inputs replayed\n", n_all);
	return n_all > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
