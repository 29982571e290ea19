/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of the control socket. */
#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "route.h"

enum { WORDS_MAX = 6 };

const char control_help[] =
    "Commands, one a line; each is answered by a line \"ok ...\" or \"error: ...\":\n"
    "  good                   no faults by chance (orders and partitions stay)\n"
    "  bad                    each request delayed 0 to 26 ms, 10 % of them lost, 10 % of the\n"
    "                         replies lost; over udp 10 % repeated, 5 % copied late and 5 %\n"
    "                         overtaken, up to 2 s\n"
    "  set NAME N             lose-requests, lose-replies, repeat, late, reorder, cut, fragment:\n"
    "                         percent of the messages; delay-requests, delay-replies: each by up\n"
    "                         to N ms; far: how late a late or overtaken one may be, in ms\n"
    "  partition [WAY]        nothing gets through (WAY: requests, replies, both): datagrams are\n"
    "                         lost; what is said on streams waits\n"
    "  heal                   the partition is over, and what waited goes on its way\n"
    "  hang-up                every connection is reset\n"
    "  DEED WAY [N [PROC [NUMBER]]]\n"
    "                         the next N (1) messages, calls of or answers to PROC (null, hello,\n"
    "                         open, close, get, put, append, status; any), are not left to\n"
    "                         chance: pass, lose, hold, repeat (again after NUMBER ms), delay (by\n"
    "                         NUMBER ms; others overtake), cut (the connection ends after NUMBER\n"
    "                         bytes). Orders are obeyed from the oldest on\n"
    "  release [N], drop [N]  the oldest N (all) that are held go on, or are lost\n"
    "  forget                 no more orders\n"
    "  to ADDRESS             the server is there now; connections to the old one end\n"
    "  status                 what happened so far: requests=N replies=N lost=N ... held=N (now)\n"
    "\"@2 COMMAND\" is for the second route only; a command without @ is for all of them.\n";

static const char *const count_names[COUNTS] = {
    [COUNT_REQUESTS] = "requests", [COUNT_REPLIES] = "replies",
    [COUNT_LOST] = "lost",	   [COUNT_REPEATED] = "repeated",
    [COUNT_DELAYED] = "delayed",   [COUNT_REORDERED] = "reordered",
    [COUNT_CUT] = "cut",	   [COUNT_FRAGMENTED] = "fragmented",
    [COUNT_HELD] = "kept",
};

/* A command taken apart. */
struct command {
	struct network *network;
	char *words[WORDS_MAX + 1]; /* NULL after the last */
	size_t count;
	char *answer;
};

__attribute__((format(printf, 2, 3))) static bool error(struct command *command, const char *format,
							...) {
	va_list arguments;
	int start = snprintf(command->answer, CONTROL_ANSWER_MAX, "error: ");

	va_start(arguments, format);
	(void)vsnprintf(command->answer + start, CONTROL_ANSWER_MAX - (size_t)start, format,
			arguments);
	va_end(arguments);
	return false;
}

static bool read_number(const char *text, unsigned most, unsigned *number) {
	char *end;
	unsigned long value;

	if (text == NULL || !isdigit((unsigned char)text[0]))
		return false;
	value = strtoul(text, &end, 10);
	*number = (unsigned)value;
	return *end == '\0' && value <= most;
}

static bool read_way(const char *text, enum direction *direction) {
	bool is_requests = text != NULL && strcmp(text, "requests") == 0;

	*direction = is_requests ? REQUESTS : REPLIES;
	return is_requests || (text != NULL && strcmp(text, "replies") == 0);
}

static bool read_procedure(const char *text, int *procedure) {
	static const char *const names[] = {"null", "hello", "open",   "close",
					    "get",  "put",   "append", "status"};

	*procedure = PROCEDURE_ANY;
	if (strcmp(text, "any") == 0)
		return true;
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0)
			*procedure = (int)i;
	return *procedure != PROCEDURE_ANY;
}

/* Each of these is called for one route at a time, and checks before it changes anything. */

static bool do_good(struct command *command, struct route *route) {
	(void)command;
	memset(route->rules.settings, 0, sizeof route->rules.settings);
	return true;
}

static bool do_bad(struct command *command, struct route *route) {
	(void)command;
	rules_bad(&route->rules, route->is_stream);
	return true;
}

static bool do_set(struct command *command, struct route *route) {
	const char *name = command->words[1];
	enum setting setting = name == NULL ? SETTINGS : rules_setting(name);
	unsigned value;

	if (setting == SETTINGS)
		return error(command, "no such setting: %s (kvfault --help lists them)",
			     name == NULL ? "none is named" : name);
	if (!read_number(command->words[2], rules_setting_max(setting), &value))
		return error(command, "%s is a number from 0 to %u", name,
			     rules_setting_max(setting));
	route->rules.settings[setting] = value;
	return true;
}

static bool do_partition(struct command *command, struct route *route) {
	const char *way = command->words[1];
	enum direction direction;
	bool is_both = way == NULL || strcmp(way, "both") == 0;

	if (!is_both && !read_way(way, &direction))
		return error(command, "a partition is of requests, replies or both");
	for (int i = 0; i < DIRECTIONS; i++)
		if (is_both || i == (int)direction)
			route_cut_off(route, (enum direction)i, true);
	return true;
}

static bool do_heal(struct command *command, struct route *route) {
	(void)command;
	for (int i = 0; i < DIRECTIONS; i++)
		route_cut_off(route, (enum direction)i, false);
	return true;
}

static bool do_hang_up(struct command *command, struct route *route) {
	(void)command;
	route_cut_all(route);
	return true;
}

static bool do_release(struct command *command, struct route *route) {
	unsigned count = UINT_MAX;

	if (command->words[1] != NULL && !read_number(command->words[1], ORDER_COUNT_MAX, &count))
		return error(command, "how many is a number up to %d", ORDER_COUNT_MAX);
	(void)route_release(route, count, strcmp(command->words[0], "drop") == 0);
	return true;
}

static bool do_forget(struct command *command, struct route *route) {
	(void)command;
	rules_forget_orders(&route->rules);
	return true;
}

static bool do_to(struct command *command, struct route *route) {
	char text[ROUTE_ERROR_MAX];

	if (command->words[1] == NULL)
		return error(command, "to which address?");
	return route_lead(route, command->words[1], text) || error(command, "%s", text);
}

static bool do_status(struct command *command, struct route *route) {
	(void)command;
	(void)route;
	return true;
}

/* DEED WAY [N [PROC [NUMBER]]] */
static bool give_order(struct command *command, struct route *route, enum deed deed) {
	struct order order = {.deed = deed, .procedure = PROCEDURE_ANY, .count = 1};
	char **words = command->words;

	if (!read_way(words[1], &order.direction))
		return error(command, "%s what? requests or replies", words[0]);
	if (command->count > 2 && !read_number(words[2], ORDER_COUNT_MAX, &order.count))
		return error(command, "how many is a number up to %d", ORDER_COUNT_MAX);
	if (command->count > 3 && !read_procedure(words[3], &order.procedure))
		return error(command, "no such procedure: %s (kvfault --help lists them)",
			     words[3]);
	if (command->count > 4 && !read_number(words[4], MESSAGE_MAX, &order.number))
		return error(command, "the last word is a number up to %d", MESSAGE_MAX);
	if (order.count > 0 && !rules_order(&route->rules, order))
		return error(command, "%d orders wait to be used: forget them first", ORDERS_MAX);
	return true;
}

/* Words behind its name: more of them would mean something else than what is done. */
static bool has_at_most(struct command *command, size_t words_max) {
	return command->count <= 1 + words_max ||
	       error(command, "%s: \"%s\" is too much (kvfault --help)", command->words[0],
		     command->words[1 + words_max]);
}

static bool obey(struct command *command, struct route *route) {
	static const struct {
		const char *name;
		bool (*act)(struct command *command, struct route *route);
		size_t words_max; /* behind the name */
	} commands[] = {
	    {"good", do_good, 0},	{"bad", do_bad, 0},
	    {"set", do_set, 2},		{"partition", do_partition, 1},
	    {"heal", do_heal, 0},	{"hang-up", do_hang_up, 0},
	    {"release", do_release, 1}, {"drop", do_release, 1},
	    {"forget", do_forget, 0},	{"to", do_to, 1},
	    {"status", do_status, 0},
	};
	static const char *const deeds[] = {
	    [DEED_PASS] = "pass",     [DEED_LOSE] = "lose",   [DEED_HOLD] = "hold",
	    [DEED_REPEAT] = "repeat", [DEED_DELAY] = "delay", [DEED_CUT] = "cut",
	};

	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(command->words[0], commands[i].name) == 0)
			return has_at_most(command, commands[i].words_max) &&
			       commands[i].act(command, route);
	for (unsigned i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
		if (strcmp(command->words[0], deeds[i]) == 0)
			return has_at_most(command, 4) && give_order(command, route, (enum deed)i);
	return error(command, "no such command: %s (kvfault --help lists them)", command->words[0]);
}

static void tell_status(struct command *command, size_t first, size_t last) {
	uint64_t counts[COUNTS] = {0};
	unsigned held = 0, links = 0;
	int at = snprintf(command->answer, CONTROL_ANSWER_MAX, "ok");

	for (size_t i = first; i <= last; i++) {
		struct route *route = &command->network->routes[i];

		for (int j = 0; j < COUNTS; j++)
			counts[j] += route->counts[j];
		held += route_held(route);
		for (struct link *link = route->links; link != NULL; link = link->next)
			links++;
	}
	for (int i = 0; i < COUNTS; i++)
		at += snprintf(command->answer + at, CONTROL_ANSWER_MAX - (size_t)at, " %s=%llu",
			       count_names[i], (unsigned long long)counts[i]);
	(void)snprintf(command->answer + at, CONTROL_ANSWER_MAX - (size_t)at, " links=%u held=%u",
		       links, held);
}

/* "@2" names a route, none all of them; false: there is none of that number. */
static bool choose_routes(struct command *command, size_t *first, size_t *last) {
	unsigned number;

	*first = 0;
	*last = command->network->route_count - 1;
	if (command->words[0][0] != '@')
		return true;
	if (!read_number(command->words[0] + 1, (unsigned)command->network->route_count, &number) ||
	    number == 0)
		return error(command, "routes are @1 to @%zu", command->network->route_count);
	*first = *last = number - 1;
	memmove(command->words, command->words + 1, WORDS_MAX * sizeof command->words[0]);
	command->count--;
	return command->count > 0 || error(command, "a command is missing after the route");
}

/* Those before it have obeyed. False, as an error is. */
static bool name_route(struct command *command, size_t number) {
	char text[CONTROL_ANSWER_MAX];

	(void)snprintf(text, sizeof text, "%s", command->answer + strlen("error: "));
	return error(command, "@%zu: %s", number, text);
}

bool control_obey(struct network *network, const char *text, char answer[CONTROL_ANSWER_MAX]) {
	struct command command = {.network = network, .answer = answer};
	char line[CONTROL_LINE_MAX + 1];
	char *rest = line;
	char *word;
	size_t first, last;

	(void)snprintf(line, sizeof line, "%s", text);
	while ((word = strtok_r(rest, " \t\r", &rest)) != NULL) {
		if (command.count == WORDS_MAX)
			return error(&command, "a command has at most %d words", WORDS_MAX);
		command.words[command.count++] = word;
	}
	if (command.count == 0)
		return error(&command, "no command (kvfault --help lists them)");
	if (!choose_routes(&command, &first, &last))
		return false;
	for (size_t i = first; i <= last; i++)
		if (!obey(&command, &network->routes[i]))
			return i > first && name_route(&command, i + 1);
	tell_status(&command, first, last);
	return true;
}
