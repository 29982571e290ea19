/* SPDX-License-Identifier: BSD-3-Clause */
#include "completion.h"

#include <stdlib.h>
#include <string.h>

#include "commands.h"

/* Where the last word begins: behind the last blank that is not escaped. */
static size_t last_word(struct kv_bytes line) {
	const char *text = line.data;
	size_t start = 0;

	for (size_t i = 0; i < line.size; i++) {
		if (text[i] == '\\')
			i++;
		else if (text[i] == ' ' || text[i] == '\t')
			start = i + 1;
	}
	return start;
}

static void forget(struct completion *completion) {
	for (size_t i = 0; i < completion->count; i++)
		free(completion->candidates[i]);
	completion->count = 0;
	completion->more = false;
	completion->insert[0] = '\0';
}

/* Keeps what all candidates have in common, in completion->insert, as they are. */
static void add(struct completion *completion, struct kv_bytes candidate) {
	char quoted[4 * KV_KEY_MAX + 1];
	char *insert = completion->insert;
	size_t same = 0;

	if (completion->count == COMPLETION_MAX || candidate.size > KV_KEY_MAX ||
	    memchr(candidate.data, '\0', candidate.size) != NULL)
		return;
	words_quote(candidate, quoted, sizeof(quoted));
	char *copy = strdup(quoted);
	if (copy == NULL)
		return;
	if (completion->count == 0) {
		memcpy(insert, candidate.data, candidate.size);
		insert[candidate.size] = '\0';
	}
	while (same < candidate.size && insert[same] == ((const char *)candidate.data)[same])
		same++;
	insert[same] = '\0';
	completion->candidates[completion->count++] = copy;
}

static void add_commands(struct completion *completion, const char *word) {
	static const char *const own[] = {"exit", "quit"};
	const char *name = NULL;

	for (size_t i = 0; commands_name(i, &name); i++)
		if (strncmp(name, word, strlen(word)) == 0)
			add(completion, (struct kv_bytes){name, strlen(name)});
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strncmp(own[i], word, strlen(word)) == 0)
			add(completion, (struct kv_bytes){own[i], strlen(own[i])});
}

/* No server, no keys: a user who types gets no error line for that. */
static void add_keys(struct completion *completion, const char *word) {
	struct kv_bytes prefix = {word, strlen(word)};
	struct kv_bytes start = {"", 0};
	struct kv_list list = {.count = 0};

	if (completion->client == NULL &&
	    kvctl_open(completion->settings, "completion", COMPLETION_TIMEOUT_MS,
		       &completion->client) != CODE_DONE)
		return;
	if (kv_list(completion->client, prefix, start, COMPLETION_MAX, &list) != KV_OK)
		return;
	for (size_t i = 0; i < list.count; i++)
		add(completion, list.keys[i].key);
	completion->more = list.more;
	kv_list_free(&list);
}

/* What is to be typed behind the word: quoted, and with a blank behind the only one there is. */
static void cut_insert(struct completion *completion, size_t typed) {
	char *insert = completion->insert;
	char quoted[4 * KV_KEY_MAX + 1];
	size_t size = strlen(insert);

	if (completion->count == 0 || size < typed) {
		insert[0] = '\0';
		return;
	}
	words_quote((struct kv_bytes){insert + typed, size - typed}, quoted, sizeof(quoted));
	memcpy(insert, quoted, strlen(quoted) + 1);
	if (completion->count == 1 && !completion->more)
		strcat(insert, " ");
}

void completion_find(struct completion *completion, struct kv_bytes before) {
	size_t start = last_word(before);
	struct kv_bytes word = {(const char *)before.data + start, before.size - start};
	const char *typed = "";

	forget(completion);
	/* Within quotes nothing is completed: the word is no word. */
	if (words_split(&completion->words, before) != NULL)
		return;
	bool is_command =
	    completion->words.count == 0 || (completion->words.count == 1 && word.size > 0);
	bool is_help =
	    completion->words.count > 0 && strcmp(completion->words.word[0], "help") == 0;
	if (words_split(&completion->words, word) != NULL)
		return;
	if (completion->words.count > 0)
		typed = completion->words.word[0];
	if (is_command || is_help)
		add_commands(completion, typed);
	else if (typed[0] != '-')
		add_keys(completion, typed);
	cut_insert(completion, strlen(typed));
}

void completion_free(struct completion *completion) {
	forget(completion);
	words_free(&completion->words);
	kv_close(completion->client);
	completion->client = NULL;
}
