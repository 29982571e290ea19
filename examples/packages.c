/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * packages.c - keeps the machine's package records in the store.
 *
 *	dpkg-query -s | packages load       puts each record under "name:architecture"
 *	dpkg-query -s | packages compare    gets each and compares it byte for byte
 *
 * Several threads share one handle, as a server would; each has calls of its own under way. Prints
 * one line with the counts, and exits with 1 if a record is missing or differs.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "example.h"

enum { THREADS = 8 };

struct record {
	char key[KV_KEY_MAX + 1];
	struct kv_bytes text; /* part of the input */
};

struct work {
	struct kv_client *client;
	struct record *records;
	size_t count;
	bool compare;
	atomic_size_t next; /* the first record that no thread has taken */
	atomic_size_t wrong;
};

/* All of standard input, to be freed, with a NUL after it. */
static char *read_input(size_t *size) {
	size_t room = 1 << 20;
	char *text = malloc(room);

	*size = 0;
	while (text != NULL) {
		*size += fread(text + *size, 1, room - *size - 1, stdin);
		if (ferror(stdin))
			die("cannot read standard input");
		if (feof(stdin)) {
			text[*size] = '\0';
			return text;
		}
		if (*size == room - 1)
			text = realloc(text, room *= 2);
	}
	die("no memory");
}

/* The value of a field at the start of a line, e.g. "\nPackage: "; false if there is none. */
static bool field(const char *text, const char *end, const char *name, struct kv_bytes *value) {
	const char *start = memmem(text, (size_t)(end - text), name, strlen(name));

	if (start == NULL)
		return false;
	start += strlen(name);
	const char *stop = memchr(start, '\n', (size_t)(end - start));
	*value = (struct kv_bytes){start, (size_t)((stop != NULL ? stop : end) - start)};
	return true;
}

/* Takes the record at *text: up to the next empty line, or the end. False at the end. */
static bool next_record(const char **text, const char *end, struct record *record) {
	struct kv_bytes name;
	struct kv_bytes architecture;

	while (*text < end && **text == '\n')
		(*text)++;
	if (*text == end)
		return false;

	const char *start = *text;
	const char *stop = memmem(start, (size_t)(end - start), "\n\n", 2);
	*text = stop != NULL ? stop + 1 : end;
	record->text = (struct kv_bytes){start, (size_t)(*text - start)};

	if (record->text.size < 9 || memcmp(start, "Package: ", 9) != 0 ||
	    !field(start, *text, "Package: ", &name) ||
	    !field(start, *text, "\nArchitecture: ", &architecture))
		die("not a package record: %.40s...", start);
	int length = snprintf(record->key, sizeof(record->key), "%.*s:%.*s", (int)name.size,
			      (const char *)name.data, (int)architecture.size,
			      (const char *)architecture.data);
	if (length < 0 || (size_t)length >= sizeof(record->key))
		die("the name of a package is too long for a key");
	return true;
}

static bool is_stored(struct kv_client *client, const struct record *record) {
	struct kv_value value;
	enum kv_status status = kv_get(client, bytes_of(record->key), &value);

	if (status == KV_NOKEY) {
		fprintf(stderr, "%s is not in the store\n", record->key);
		return false;
	}
	must(status, "get", record->key);

	bool same = value.size == record->text.size &&
		    memcmp(value.data, record->text.data, value.size) == 0;
	kv_value_free(&value);
	if (!same)
		fprintf(stderr, "%s differs\n", record->key);
	return same;
}

static void *run(void *argument) {
	struct work *work = argument;
	size_t mine;

	while ((mine = atomic_fetch_add(&work->next, 1)) < work->count) {
		const struct record *record = &work->records[mine];

		if (!work->compare)
			must(
			    kv_put(work->client, bytes_of(record->key), record->text, KV_ANY, NULL),
			    "put", record->key);
		else if (!is_stored(work->client, record))
			atomic_fetch_add(&work->wrong, 1);
	}
	return NULL;
}

static double now(void) {
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double run_threads(struct work *work) {
	pthread_t threads[THREADS];
	double start = now();

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run, work) != 0)
			die("cannot start a thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return now() - start;
}

int main(int argc, char **argv) {
	if (argc != 2 || (strcmp(argv[1], "load") != 0 && strcmp(argv[1], "compare") != 0))
		die("usage: dpkg-query -s | packages load|compare");

	struct work work = {.compare = strcmp(argv[1], "compare") == 0};
	size_t size;
	size_t room = 0;
	char *input = read_input(&size);
	const char *next = input;

	for (;; work.count++) {
		if (work.count == room) {
			room = room == 0 ? 1024 : room * 2;
			work.records = realloc(work.records, room * sizeof(struct record));
			if (work.records == NULL)
				die("no memory");
		}
		if (!next_record(&next, input + size, &work.records[work.count]))
			break;
	}
	if (work.count == 0)
		die("no package records on standard input");

	work.client = open_client();
	double seconds = run_threads(&work);
	kv_close(work.client);

	if (work.wrong == 0)
		printf("%zu records, %zu bytes %s in %.3f s: %.0f a second\n", work.count, size,
		       work.compare ? "compared, all the same," : "stored", seconds,
		       (double)work.count / seconds);
	else
		printf("%zu of %zu records are not as they were stored\n", work.wrong, work.count);

	free(work.records);
	free(input);
	return work.wrong == 0 ? 0 : 1;
}
