/* SPDX-License-Identifier: BSD-3-Clause */
#include "args.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "kvctl.h"
#include "number.h"

/* --- Options --------------------------------------------------------------------------------- */

enum {
	OPTION_HISTORY = ARGS_VERSION + 1,
	OPTION_TLS_CA,
	OPTION_TLS_CERT,
	OPTION_TLS_KEY,
	OPTION_TLS_NAME,
	LETTERS_SIZE = 64,
};

static const char global_letters[] = "s:t:o:qvP:h";
static const struct option global_options[] = {
    {"server", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 't'},
    {"output", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"program", required_argument, NULL, 'P'},
    {"history", required_argument, NULL, OPTION_HISTORY},
    {"tls-ca", required_argument, NULL, OPTION_TLS_CA},
    {"tls-cert", required_argument, NULL, OPTION_TLS_CERT},
    {"tls-key", required_argument, NULL, OPTION_TLS_KEY},
    {"tls-name", required_argument, NULL, OPTION_TLS_NAME},
    {"help", no_argument, NULL, 'h'},
};
enum { GLOBAL_COUNT = sizeof(global_options) / sizeof(global_options[0]), OWN_MAX = 16 };

static bool read_server(const char *command, struct settings *settings) {
	const char *error = kv_address_error(optarg);
	if (error != NULL)
		(void)error_usage(command, "-s \"%s\": %s", optarg, error);
	settings->server = optarg;
	return error == NULL;
}

static bool read_format(const char *command, enum format *format) {
	if (strcmp(optarg, "simple") == 0)
		*format = FORMAT_SIMPLE;
	else if (strcmp(optarg, "json") == 0)
		*format = FORMAT_JSON;
	else if (strcmp(optarg, "prometheus") == 0)
		*format = FORMAT_PROMETHEUS;
	else
		return error_usage(command, "-o is simple or json, not \"%s\"", optarg) ==
		       CODE_DONE;
	return true;
}

/* `source` is -P or the variable that it stands for. */
static bool read_program(const char *command, const char *source, const char *text,
			 uint32_t *program) {
	uint64_t number = 0;
	if (!args_number(command, source, text, 1, UINT32_MAX, &number))
		return false;
	*program = (uint32_t)number;
	return true;
}

bool args_environment(struct settings *settings) {
	const char *program = getenv("KV_PROGRAM");
	return program == NULL || program[0] == '\0' ||
	       read_program(NULL, "$KV_PROGRAM", program, &settings->program);
}

enum global { GLOBAL_NONE, GLOBAL_RIGHT, GLOBAL_WRONG };

static enum global read_global(struct settings *settings, const char *command, int option) {
	bool is_right = true;

	switch (option) {
	case 's':
		is_right = read_server(command, settings);
		break;
	case 't':
		is_right = args_seconds(command, "-t", optarg, &settings->timeout_ms);
		settings->waits = true;
		break;
	case 'o':
		is_right = read_format(command, &settings->format);
		break;
	case 'q':
		settings->is_quiet = true;
		break;
	case 'v':
		settings->is_verbose = true;
		break;
	case 'P':
		is_right = read_program(command, "-P", optarg, &settings->program);
		break;
	case OPTION_HISTORY:
		settings->history = optarg;
		break;
	case OPTION_TLS_CA:
		settings->tls_ca = optarg;
		break;
	case OPTION_TLS_CERT:
		settings->tls_cert = optarg;
		break;
	case OPTION_TLS_KEY:
		settings->tls_key = optarg;
		break;
	case OPTION_TLS_NAME:
		settings->tls_name = optarg;
		break;
	default:
		return GLOBAL_NONE;
	}
	return is_right ? GLOBAL_RIGHT : GLOBAL_WRONG;
}

static int report_option(const char *command, const char *letters, int option, const char *text) {
	/*
	 * getopt leaves in optopt the letter, or the `val` of a long option (letters too, or above
	 * them all), or 0 for a long option that it does not know.
	 */
	if (option == ':')
		(void)error_usage(command, "option %s needs an argument", text);
	else if (optopt == 0)
		(void)error_usage(
		    command, "unknown option %s (put -- before an argument that starts with -)",
		    text);
	else if (optopt > UCHAR_MAX || strchr(letters, optopt) != NULL)
		(void)error_usage(command, "option %s takes no argument", text);
	else
		(void)error_usage(
		    command, "unknown option -%c (put -- before an argument that starts with -)",
		    optopt);
	return '?';
}

int args_option(struct settings *settings, const char *command, int argc, char **argv,
		const char *letters, const struct option *options) {
	struct option all[OWN_MAX + GLOBAL_COUNT + 1];
	char all_letters[LETTERS_SIZE];
	size_t count = 0;

	for (; options[count].name != NULL && count < OWN_MAX; count++)
		all[count] = options[count];
	memcpy(all + count, global_options, sizeof(global_options));
	all[count + GLOBAL_COUNT] = (struct option){.name = NULL};
	(void)snprintf(all_letters, sizeof(all_letters), "%s%s", letters, global_letters);

	opterr = 0;
	for (;;) {
		int option = getopt_long(argc, argv, all_letters, all, NULL);
		if (option == ':' || option == '?')
			return report_option(command, all_letters, option,
					     optind > 0 && optind <= argc ? argv[optind - 1] : "");
		switch (read_global(settings, command, option)) {
		case GLOBAL_NONE:
			return option;
		case GLOBAL_RIGHT:
			break;
		case GLOBAL_WRONG:
			return '?';
		}
	}
}

/* --- Operands -------------------------------------------------------------------------------- */

bool args_operands(const char *command, int argc, char **argv, int count, const char *names) {
	int got = argc - optind;
	if (got == count)
		return true;
	if (count == 0)
		(void)error_usage(command, "unexpected argument \"%s\"", argv[optind]);
	else
		(void)error_usage(command, "expected %s, got %d argument%s%s", names, got,
				  got == 1 ? "" : "s",
				  got > count ? " (quote a value that has spaces)" : "");
	return false;
}

static bool parse(const char *command, const char *what, const char *text, enum number_kind kind,
		  uint64_t min, uint64_t max, uint64_t *number) {
	char error[NUMBER_ERROR_MAX];
	if (number_parse(text, kind, min, max, number, error))
		return true;
	(void)error_usage(command, "%s: %s", what, error);
	return false;
}

bool args_number(const char *command, const char *what, const char *text, uint64_t min,
		 uint64_t max, uint64_t *number) {
	return parse(command, what, text, NUMBER_COUNT, min, max, number);
}

bool args_version(const char *command, const char *what, const char *text, uint64_t *version) {
	return args_number(command, what, text, 0, KV_ANY - 1, version);
}

bool args_seconds(const char *command, const char *what, const char *text, unsigned *ms) {
	uint64_t number = 0;
	if (!parse(command, what, text, NUMBER_SECONDS, 0, UINT_MAX, &number))
		return false;
	*ms = (unsigned)number;
	return true;
}

bool args_may_read_input(const struct settings *settings, const char *command) {
	if (settings->input_has_commands)
		(void)error_usage(command, "standard input has the commands, so it has no value or "
					   "file: name a file");
	return !settings->input_has_commands;
}

int args_key(const char *command, const char *text, struct kv_bytes *key) {
	key->data = text;
	key->size = strlen(text);
	if (key->size == 0)
		return error_usage(command, "the key is empty: a key has 1 to %d bytes",
				   KV_KEY_MAX);
	if (key->size > KV_KEY_MAX)
		return error_report(CODE_LIMIT, command, "the key has %zu bytes: a key has 1 to %d",
				    key->size, KV_KEY_MAX);
	return CODE_DONE;
}
