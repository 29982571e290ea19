/* SPDX-License-Identifier: BSD-3-Clause */
/* acl_parse.c - the text of the rules: acl_parse() of acl.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/acl_private.h"
#include "number.h"

#define LIMIT_WORD "limit" /* what a line of limits begins with */

enum {
	WORD_MAX = 1024, /* bytes */
	SHOWN_MAX = 60,	 /* bytes of a word in an error */
};

/* A word without its quotes and escapes; a NUL follows. */
struct word {
	unsigned char bytes[WORD_MAX + 1];
	size_t size;
	bool is_quoted;
};

struct parser {
	const char *file;
	const struct who_names *names;
	const char *at;
	const char *end;
	unsigned line;
	char *error;
	struct acl *acl;
	size_t rules_max, whos_max, groups_max, limits_max; /* that there is memory for */
	struct word word;
};

/* Returns false, for the caller to return. */
static bool wrong(struct parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool wrong(struct parser *parser, const char *format, ...) {
	va_list arguments;
	int size =
	    snprintf(parser->error, ACL_ERROR_MAX, "%.200s:%u: ", parser->file, parser->line);

	va_start(arguments, format);
	(void)vsnprintf(parser->error + size, ACL_ERROR_MAX - (size_t)size, format, arguments);
	va_end(arguments);
	for (char *c = parser->error; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return false;
}

/* Makes room for one more element. False: no memory, or too many. */
static bool grow(struct parser *parser, void **array, size_t size, size_t count, size_t *max,
		 size_t limit, const char *what) {
	size_t wanted = *max == 0 ? 16 : 2 * *max;
	void *larger;

	if (count >= limit)
		return wrong(parser, "more than %zu %s: use groups and shorter prefixes", limit,
			     what);
	if (count < *max)
		return true;
	larger = realloc(*array, wanted * size);
	if (larger == NULL)
		return wrong(parser, "no memory for so many %s", what);
	*array = larger;
	*max = wanted;
	return true;
}

/* --- Words --------------------------------------------------------------------------------- */

static bool is_at_blank(const struct parser *parser) {
	return parser->at < parser->end &&
	       (*parser->at == ' ' || *parser->at == '\t' ||
		(*parser->at == '\r' && parser->at + 1 < parser->end && parser->at[1] == '\n'));
}

/* True if a word follows on this line. */
static bool skip_blanks(struct parser *parser) {
	while (is_at_blank(parser))
		parser->at++;
	return parser->at < parser->end && *parser->at != '\n' && *parser->at != '#';
}

static int hex(char digit) {
	const char *digits = "0123456789abcdef";
	const char *found = digit == '\0' ? NULL : strchr(digits, digit | 0x20);

	return found == NULL ? -1 : (int)(found - digits);
}

/* What follows a backslash. */
static bool read_escape(struct parser *parser, unsigned char *byte) {
	size_t left = (size_t)(parser->end - parser->at);

	if (left > 1 && (parser->at[1] == '\\' || parser->at[1] == '"')) {
		*byte = (unsigned char)parser->at[1];
		parser->at += 2;
		return true;
	}
	if (left > 3 && parser->at[1] == 'x' && hex(parser->at[2]) >= 0 &&
	    hex(parser->at[3]) >= 0) {
		*byte = (unsigned char)(hex(parser->at[2]) * 16 + hex(parser->at[3]));
		parser->at += 4;
		return true;
	}
	return wrong(parser, "behind \\ comes x and two hexadecimal digits, \\ or \"");
}

static bool is_end_of_word(const struct parser *parser, bool is_quoted) {
	if (parser->at == parser->end || *parser->at == '\n')
		return true;
	return is_quoted ? *parser->at == '"' : is_at_blank(parser);
}

/* Reads the next word, which is there; a # or " within one is no comment and no quote. */
static bool read_word(struct parser *parser) {
	struct word *word = &parser->word;
	unsigned char byte;

	word->size = 0;
	word->is_quoted = *parser->at == '"';
	parser->at += word->is_quoted;
	while (!is_end_of_word(parser, word->is_quoted)) {
		byte = (unsigned char)*parser->at;
		if (byte == '\\') {
			if (!read_escape(parser, &byte))
				return false;
		} else if (byte < ' ' || byte == 0x7f) {
			return wrong(parser, "a control character: write it as \\x%02x", byte);
		} else if (!word->is_quoted && (byte == '#' || byte == '"')) {
			return wrong(
			    parser,
			    "%c within a word: put the word in quotes (\"...\"), or a blank "
			    "before the %s",
			    byte, byte == '#' ? "comment" : "quote");
		} else {
			parser->at++;
		}
		if (word->size == WORD_MAX)
			return wrong(parser, "a word is longer than %d bytes", WORD_MAX);
		word->bytes[word->size++] = byte;
	}
	word->bytes[word->size] = '\0';
	if (!word->is_quoted)
		return true;
	if (parser->at == parser->end || *parser->at != '"')
		return wrong(parser, "the closing \" is missing");
	parser->at++;
	return is_end_of_word(parser, false) ||
	       wrong(parser, "a blank is missing behind the closing \"");
}

/* --- WHO(RIGHT) ---------------------------------------------------------------------------- */

static bool read_rights(struct parser *parser, char *text, struct who *who) {
	static const struct {
		const char *name;
		uint8_t rights;
	} options[] = {
	    {"ro", ACL_READ},
	    {"rw", ACL_READ | ACL_LOCK | ACL_APPEND | ACL_WRITE},
	    {"lock", ACL_READ | ACL_LOCK},
	    {"add", ACL_APPEND},
	    {"admin", ACL_ALL},
	    {"tls", 0},
	};
	const size_t count = sizeof(options) / sizeof(options[0]);

	while (text != NULL) {
		const char *name = strsep(&text, ",");
		size_t i = 0;

		while (i < count && strcmp(name, options[i].name) != 0)
			i++;
		if (i == count)
			return wrong(
			    parser,
			    "\"%.*s\": a right is ro, rw, lock, add or admin, and an option "
			    "is tls",
			    SHOWN_MAX, name);
		who->rights |= options[i].rights;
		who->needs_tls = who->needs_tls || options[i].rights == 0;
	}
	return who->rights != 0 ||
	       wrong(parser, "a right is missing beside tls: ro, rw, lock, add or admin");
}

static bool find_group(struct parser *parser, const char *name, struct who *who) {
	*who = (struct who){.kind = WHO_GROUP};
	for (who->id = 0; who->id < parser->acl->group_count; who->id++)
		if (strcmp(parser->acl->groups[who->id].name, name) == 0)
			return true;
	return wrong(parser, "there is no @%.*s above: define it in a line @%.*s = WHO...",
		     SHOWN_MAX, name, SHOWN_MAX, name);
}

/* The word as a WHO, with its rights unless it is a member of a group. */
static bool read_who(struct parser *parser, bool has_rights, struct who *who) {
	char *text = (char *)parser->word.bytes;
	char *open = strrchr(text, '(');
	char error[WHO_ERROR_MAX];
	size_t size = parser->word.size;

	if (strlen(text) != size)
		return wrong(parser, "a NUL byte in a name");
	if (has_rights && (open == NULL || text[size - 1] != ')'))
		return wrong(parser, "\"%.*s\": its rights are missing, as in any(ro)", SHOWN_MAX,
			     text);
	if (!has_rights && open != NULL)
		return wrong(parser,
			     "\"%.*s\": no rights stand here: give them to the caller or its "
			     "group in the line of a prefix",
			     SHOWN_MAX, text);
	if (has_rights) {
		text[size - 1] = '\0';
		*open++ = '\0';
	}
	if (text[0] == '@' ? !find_group(parser, text + 1, who)
			   : !who_parse(text, parser->names, who, error))
		return text[0] == '@' ? false : wrong(parser, "%s", error);
	if (!has_rights || read_rights(parser, open, who))
		return true;
	who_free(who);
	return false;
}

/* The next word, which is there, is one more of acl->whos. */
static bool read_next_who(struct parser *parser, bool has_rights) {
	struct acl *acl = parser->acl;

	if (!read_word(parser) ||
	    !grow(parser, (void **)&acl->whos, sizeof(*acl->whos), acl->who_count,
		  &parser->whos_max, ACL_TEXT_MAX, "callers") ||
	    !read_who(parser, has_rights, &acl->whos[acl->who_count]))
		return false;
	acl->who_count++;
	return true;
}

/* The rest of the line. */
static bool read_whos(struct parser *parser, bool has_rights, struct who_list *list) {
	*list = (struct who_list){.first = parser->acl->who_count};
	for (; skip_blanks(parser); list->count++)
		if (!read_next_who(parser, has_rights))
			return false;
	return true;
}

/* --- Lines --------------------------------------------------------------------------------- */

/* Counts the members of a group, with those of the groups in it. */
static bool check_group(struct parser *parser, struct group *group) {
	group->depth = 1;
	for (uint32_t i = 0; i < group->members.count; i++) {
		const struct who *who = &parser->acl->whos[group->members.first + i];
		const struct group *inner =
		    who->kind == WHO_GROUP ? &parser->acl->groups[who->id] : NULL;

		group->member_count += inner == NULL ? 1 : inner->member_count;
		if (inner != NULL && inner->depth >= group->depth)
			group->depth = inner->depth + 1;
		if (group->member_count > ACL_GROUP_MEMBERS_MAX)
			return wrong(parser,
				     "a group of more than %d members: use gid:, a network "
				     "or *.DOMAIN",
				     ACL_GROUP_MEMBERS_MAX);
	}
	if (group->member_count == 0)
		return wrong(parser, "@%s has no members, as in @%s = uid:1000", group->name,
			     group->name);
	return group->depth <= ACL_GROUP_DEPTH_MAX ||
	       wrong(parser, "@%s: groups in groups more than %d deep: name its members",
		     group->name, ACL_GROUP_DEPTH_MAX);
}

/* @NAME = WHO ... */
static bool read_group(struct parser *parser) {
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	struct acl *acl = parser->acl;
	struct group group = {.line = parser->line};
	size_t size = 0;

	for (parser->at++; parser->at < parser->end && *parser->at != '\0' &&
			   strchr(letters, *parser->at) != NULL;
	     parser->at++)
		if (size < ACL_GROUP_NAME_MAX)
			group.name[size++] = *parser->at;
		else
			return wrong(parser, "the name of a group is longer than %d bytes",
				     ACL_GROUP_NAME_MAX);
	if (size == 0 || !skip_blanks(parser) || *parser->at++ != '=')
		return wrong(parser, "a line that begins with @ defines a group, as in @web = "
				     "uid:1000 (a prefix that begins with @ stands in quotes)");
	for (uint32_t i = 0; i < acl->group_count; i++)
		if (strcmp(acl->groups[i].name, group.name) == 0)
			return wrong(parser,
				     "@%s has a line already (%u): name all its members "
				     "there",
				     group.name, acl->groups[i].line);
	if (!read_whos(parser, false, &group.members) || !check_group(parser, &group) ||
	    !grow(parser, (void **)&acl->groups, sizeof(*acl->groups), acl->group_count,
		  &parser->groups_max, ACL_RULES_MAX, "groups"))
		return false;
	acl->groups[acl->group_count++] = group;
	return true;
}

/* The word as a prefix: * for all keys. */
static bool read_prefix(struct parser *parser) {
	struct word *word = &parser->word;

	if (!read_word(parser))
		return false;
	if (word->size == 0)
		return wrong(parser, "the prefix is empty: write * for all keys");
	if (word->is_quoted)
		return true;
	if (word->size == 1 && word->bytes[0] == '*')
		word->size = 0;
	if (memchr(word->bytes, '*', word->size) != NULL)
		return wrong(parser,
			     "a prefix has no *: it is that of all keys which begin so (put "
			     "it in quotes if its keys have a *)");
	return true;
}

/* PREFIX WHO(RIGHT) ... */
static bool read_rule(struct parser *parser) {
	struct acl *acl = parser->acl;
	struct rule rule = {.line = parser->line, .parent = -1};

	if (!read_prefix(parser) ||
	    !grow(parser, (void **)&acl->rules, sizeof(*acl->rules), acl->rule_count,
		  &parser->rules_max, ACL_RULES_MAX, "rules"))
		return false;
	rule.size = (uint32_t)parser->word.size;
	rule.prefix = malloc(rule.size + 1);
	if (rule.prefix == NULL)
		return wrong(parser, "no memory for so many rules");
	memcpy(rule.prefix, parser->word.bytes, rule.size);
	struct rule *place = &acl->rules[acl->rule_count++];
	*place = rule;
	if (!read_whos(parser, true, &place->whos))
		return false;
	if (place->whos.count == 0)
		return wrong(parser, "a prefix without callers: name them with their rights, as in "
				     "app/ uid:1000(rw)");
	for (uint32_t i = 0; i < place->whos.count && rule.size > 0; i++)
		if ((acl->whos[place->whos.first + i].rights & ACL_ADMIN) != 0)
			return wrong(parser, "admin is a right to everything: give it in the line "
					     "of *");
	return true;
}

/* NAME=NUMBER */
static bool read_limit(struct parser *parser, struct limit_line *line) {
	char *text = (char *)parser->word.bytes;
	char *number = strchr(text, '=');
	const bool is_connections = strncmp(text, "connections=", 12) == 0;
	bool *has = is_connections ? &line->has_connections : &line->has_sessions;
	char error[NUMBER_ERROR_MAX];
	uint64_t value;

	if (strlen(text) != parser->word.size ||
	    (!is_connections && strncmp(text, "sessions=", 9) != 0))
		return wrong(parser, "\"%.*s\": a limit is connections=N or sessions=N", SHOWN_MAX,
			     text);
	if (*has)
		return wrong(parser,
			     "\"%.*s\": this limit stands in the line already: write it once",
			     SHOWN_MAX, text);
	if (!number_parse(number + 1, NUMBER_COUNT, 0, UINT32_MAX, &value, error))
		return wrong(parser, "\"%.*s\": %s", SHOWN_MAX, text, error);
	*has = true;
	*(is_connections ? &line->limits.connections : &line->limits.sessions) = (uint32_t)value;
	return true;
}

/* limit WHO NAME=NUMBER ... */
static bool read_limits(struct parser *parser) {
	struct acl *acl = parser->acl;
	struct limit_line line = {.has_sessions = false};

	parser->at += sizeof(LIMIT_WORD) - 1;
	if (!grow(parser, (void **)&acl->limits, sizeof(*acl->limits), acl->limit_count,
		  &parser->limits_max, ACL_LIMITS_MAX, "lines of limits"))
		return false;
	if (!skip_blanks(parser))
		return wrong(parser, "limit without a caller: write it as limit any sessions=100 "
				     "(the prefix \"limit\" stands in quotes)");
	if (!read_next_who(parser, false))
		return false;
	line.who = acl->who_count - 1;
	while (skip_blanks(parser))
		if (!read_word(parser) || !read_limit(parser, &line))
			return false;
	if (!line.has_sessions && !line.has_connections)
		return wrong(parser, "limit without a number: write connections=N, sessions=N or "
				     "both behind the caller");
	acl->limits[acl->limit_count++] = line;
	return true;
}

/* Whether the next word, which is there, is exactly this. */
static bool is_at_word(struct parser *parser, const char *word) {
	const size_t size = strlen(word);
	bool is_word;

	if ((size_t)(parser->end - parser->at) < size || memcmp(parser->at, word, size) != 0)
		return false;
	parser->at += size;
	is_word = is_end_of_word(parser, false);
	parser->at -= size;
	return is_word;
}

static bool read_line(struct parser *parser) {
	if (!skip_blanks(parser))
		return true;
	if (is_at_word(parser, LIMIT_WORD))
		return read_limits(parser);
	return *parser->at == '@' ? read_group(parser) : read_rule(parser);
}

static void skip_line(struct parser *parser) {
	const char *end = parser->at == parser->end
			      ? NULL
			      : memchr(parser->at, '\n', (size_t)(parser->end - parser->at));

	parser->at = end == NULL ? parser->end : end + 1;
}

/* --- All of it ----------------------------------------------------------------------------- */

static int by_prefix(const void *one, const void *other) {
	const struct rule *a = one, *b = other;
	int order = acl_compare((struct kv_bytes){a->prefix, a->size},
				(struct kv_bytes){b->prefix, b->size});

	return order != 0 ? order : a->line < b->line ? -1 : a->line > b->line;
}

static bool begins(const struct rule *one, const struct rule *other) {
	return one->size <= other->size && memcmp(one->prefix, other->prefix, one->size) == 0;
}

/* Puts the rules in order, finds the parent of each, and refuses a prefix that is there twice. */
static bool sort_rules(struct parser *parser) {
	struct acl *acl = parser->acl;

	if (acl->rule_count > 1)
		qsort(acl->rules, acl->rule_count, sizeof(*acl->rules), by_prefix);
	for (uint32_t i = 1; i < acl->rule_count; i++) {
		struct rule *rule = &acl->rules[i];
		int32_t parent = (int32_t)i - 1;

		while (parent >= 0 && !begins(&acl->rules[parent], rule))
			parent = acl->rules[parent].parent;
		rule->parent = parent;
		if (parent < 0 || acl->rules[parent].size < rule->size)
			continue;
		parser->line = rule->line;
		return wrong(parser,
			     "this prefix has a line already (%u): one line says all of a "
			     "prefix",
			     acl->rules[parent].line);
	}
	return true;
}

static bool make_heads(struct parser *parser) {
	struct acl *acl = parser->acl;

	acl->heads = calloc(acl->rule_count + 1, sizeof(*acl->heads));
	if (acl->heads == NULL)
		return wrong(parser, "no memory for so many rules");
	for (uint32_t i = 0; i < acl->rule_count; i++)
		acl->heads[i] =
		    acl_head((struct kv_bytes){acl->rules[i].prefix, acl->rules[i].size});
	return true;
}

struct acl *acl_parse(const char *file, struct kv_bytes text, const struct who_names *names,
		      char error[ACL_ERROR_MAX]) {
	struct parser parser = {.file = file, .names = names, .line = 1, .error = error};
	bool is_right = true;

	parser.at = text.data;
	parser.end = text.size == 0 ? parser.at : parser.at + text.size;
	parser.acl = calloc(1, sizeof(*parser.acl));
	if (parser.acl == NULL) {
		(void)wrong(&parser, "no memory for its rules");
		return NULL;
	}
	if (text.size > ACL_TEXT_MAX)
		is_right = wrong(&parser, "longer than %d MiB: use groups and shorter prefixes",
				 ACL_TEXT_MAX >> 20);
	for (; is_right && parser.at < parser.end; parser.line++) {
		is_right = read_line(&parser);
		skip_line(&parser);
	}
	if (is_right && sort_rules(&parser) && make_heads(&parser))
		return parser.acl;
	acl_free(parser.acl);
	return NULL;
}
