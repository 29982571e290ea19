/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "closest_word.h"
#include "errors.h"
#include "output.h"

static const struct command help_command;
static const struct command version_command;
static const struct command *const commands[] = {
    &get_command,     &mget_command,   &put_command,   &append_command, &del_command,
    &ls_command,      &touch_command,  &txn_command,   &watch_command,	&dump_command,
    &load_command,    &lock_command,   &elect_command, &status_command, &snapshot_command,
    &backup_command,  &whoami_command, &ping_command,  &bench_command,	&help_command,
    &version_command,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const char usage_line[] = "usage: kvctl [OPTION]... COMMAND [ARGUMENT]...\n"
				 "       kvctl [OPTION]... [-f FILE] [-e]\n";

static const char options_text[] =
    "\n"
    "  -s, --server SERVER   local:/PATH, tcp:HOST[:PORT], HOST, udp:HOST[:PORT],\n"
    "                        tls:HOST[:PORT], or several with commas; default\n"
    "                        $KV_SERVER, else the kvd of this machine\n"
    "  -t, --timeout SECS    time for each call, retries included (10; 0: forever); waits for\n"
    "                        a server that is not there, too\n"
    "  -o, --output FORMAT   simple or json (one object a line); status: prometheus\n"
    "  -P, --program N       RPC program number, if kvd has another one; default $KV_PROGRAM\n"
    "  -f, --file FILE       in place of COMMAND: run the commands of FILE (-: standard input)\n"
    "  -e, --stop            end a file of commands at the first one that fails\n"
    "      --tls-ca FILE     CAs of servers at tls: addresses; default $KV_TLS_CA, else the "
    "system's\n"
    "      --tls-cert FILE   own certificate at tls: addresses; default $KV_TLS_CERT\n"
    "      --tls-key FILE    key of that certificate; default $KV_TLS_KEY\n"
    "      --tls-name NAME   name in the server's certificate, if it is not HOST\n"
    "      --history FILE    add each call on keys to FILE, for kvcheck\n"
    "  -q, --quiet           no notices, and no versions from put and append\n"
    "  -v, --verbose         say which server answered, and how fast\n"
    "  -h, --help            print this\n"
    "      --version         print kvctl's version\n"
    "\n"
    "They may stand before or after COMMAND; -- ends the options. kvctl COMMAND --help explains\n"
    "one command. Without COMMAND, lines of standard input are commands, which you type if it is\n"
    "a terminal (kvctl(1)). Exit codes: 0 done, 1 refused,\n"
    "2 usage, 3 no such key, 4 version mismatch, 5 outcome unknown, 6 server not reached,\n"
    "7 denied, 8 limit reached; lock and elect exit as their COMMAND did, or with 121 to 127\n"
    "(kvctl lock --help).\n";

int kvctl_help(const struct command *command) {
	return output_text("usage: kvctl [OPTION]... %s %s\n\n%s", command->name, command->operands,
			   command->details);
}

int commands_print_help(void) {
	int code = output_text("%s\nCommands:\n", usage_line);
	for (size_t i = 0; code == CODE_DONE && i < COMMAND_COUNT; i++)
		code = output_text("  %-10s%s\n", commands[i]->name, commands[i]->summary);
	return code == CODE_DONE ? output_text("%s", options_text) : code;
}

const struct command *commands_find(const char *name) {
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

int commands_report_unknown(const char *name) {
	const char *names[COMMAND_COUNT];
	char list[256] = "";
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		size_t size = strlen(list);
		names[i] = commands[i]->name;
		(void)snprintf(list + size, sizeof(list) - size, "%s%s", i > 0 ? ", " : "",
			       commands[i]->name);
	}
	const char *nearest = closest_word(name, names, COMMAND_COUNT);
	return error_usage(NULL, "unknown command \"%s\"%s%s%s; commands: %s", name,
			   nearest != NULL ? ", did you mean \"" : "",
			   nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "", list);
}

bool commands_name(size_t index, const char **name) {
	if (index >= COMMAND_COUNT)
		return false;
	*name = commands[index]->name;
	return true;
}

/* --- help and version ------------------------------------------------------------------------ */

int commands_print_version(void) {
	return output_text("kvctl %s\n", kv_version());
}

static int run_help(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&help_command) : CODE_USAGE;
	if (optind == argc)
		return commands_print_help();
	const struct command *command = commands_find(argv[optind]);
	return command != NULL ? kvctl_help(command) : commands_report_unknown(argv[optind]);
}

static int run_version(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&version_command) : CODE_USAGE;
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;
	return commands_print_version();
}

static const struct command help_command = {
    .name = "help",
    .operands = "[COMMAND]",
    .summary = "print the list of commands, or explain one",
    .details = "As kvctl --help, or kvctl COMMAND --help.\n",
    .run = run_help,
};

static const struct command version_command = {
    .name = "version",
    .operands = "",
    .summary = "print kvctl's version",
    .details = "As kvctl --version. The server's is in kvctl status.\n",
    .run = run_version,
};
