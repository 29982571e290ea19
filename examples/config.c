/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.c - configuration that follows changes: a copy of all keys with a prefix, printed each
 * time it differs, as one line "key=value ..." in the order of the keys.
 *
 *     config PREFIX [COUNT]
 *
 * Ends after COUNT lines; without it, never.
 */
#include "example.h"

enum { SETTINGS_MAX = 1000 };

struct setting {
	char key[KV_KEY_MAX + 1];
	struct kv_value value;
};

static struct setting settings[SETTINGS_MAX];
static size_t count;

static int compare(const void *one, const void *other) {
	return strcmp(((const struct setting *)one)->key, ((const struct setting *)other)->key);
}

/* Its setting, which is made if there is none. */
static struct setting *find(const char *key) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(settings[i].key, key) == 0)
			return &settings[i];
	if (count == SETTINGS_MAX)
		die("more than %d settings", SETTINGS_MAX);
	(void)print_to(settings[count].key, sizeof(settings[count].key), "%s", key);
	return &settings[count++];
}

static void drop(struct setting *setting) {
	kv_value_free(&setting->value);
	*setting = settings[--count];
	settings[count] = (struct setting){0};
}

/* The key has changed: its value is read, if it is still there. */
static void update(struct kv_client *client, struct kv_bytes key) {
	struct setting *setting = find(key.data);

	kv_value_free(&setting->value);
	enum kv_status status = kv_get(client, key, &setting->value);
	/* That it is missing, or of another store, the watch says in its turn. */
	if (status != KV_NOKEY && status != KV_BADSESSION)
		must(status, "get", key.data);
}

static void print(void) {
	qsort(settings, count, sizeof(settings[0]), compare);
	for (size_t i = 0; i < count; i++)
		printf("%s%s=%.*s", i > 0 ? " " : "", settings[i].key, (int)settings[i].value.size,
		       (const char *)settings[i].value.data);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv) {
	unsigned long lines = argc > 2 ? number(argv[2], 1) : 0;
	struct kv_client *client = open_client();
	struct kv_watch *watch;
	bool is_new = true;

	if (argc < 2)
		die("usage: config PREFIX [COUNT]");
	must(kv_watch_open(client, bytes_of(argv[1]), &watch), "watch", argv[1]);
	for (unsigned long printed = 0; lines == 0 || printed < lines;) {
		struct kv_watched change;
		/* With something new it only asks whether there is more: then the copy is whole. */
		enum kv_status status = kv_watch_next(watch, is_new ? 0 : 1000, &change);

		if (status == KV_UNMET && is_new) {
			print();
			printed++;
		} else if (status == KV_BADSESSION) {
			while (count > 0)
				drop(&settings[0]);
		} else if (status == KV_OK) {
			if (change.is_gone)
				drop(find(change.key.data));
			else
				update(client, change.key);
		} else if (status != KV_UNMET && status != KV_TIMEOUT) {
			must(status, "watch", argv[1]);
		}
		is_new = status == KV_OK || status == KV_BADSESSION;
	}
	kv_watch_close(watch);
	kv_close(client);
	return 0;
}
