/* SPDX-License-Identifier: BSD-3-Clause */
#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "kvctl.h"

int arguments_option(const char *command, int argc, char **argv, const char *letters,
		     const struct option *options) {
	opterr = 0;
	int option = getopt_long(argc, argv, letters, options, NULL);

	/*
	 * getopt leaves in optopt the letter, or the `val` of a long option (letters too, or above
	 * them all), or 0 for a long option that it does not know.
	 */
	const char *text = optind > 0 && optind <= argc ? argv[optind - 1] : "";
	if (option == ':') {
		(void)error_usage(command, "%s wants an argument", text);
		return '?';
	}
	if (option != '?')
		return option;
	if (optopt == 0)
		(void)error_usage(command, "there is no option %s", text);
	else if (optopt > UCHAR_MAX || strchr(letters, optopt) != NULL)
		(void)error_usage(command, "%s: this option takes no argument", text);
	else
		(void)error_usage(command,
				    "there is no option -%c (what begins with - and is no option "
				    "comes after --)",
				    isprint(optopt) ? optopt : '?');
	return '?';
}

/* Digits only: strtoull alone would take a sign, spaces and a rest. */
static bool read_digits(const char *text, int base, uint64_t *number) {
	const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
	if (text[0] == '\0' || text[strspn(text, digits)] != '\0')
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, NULL, base);
	if (errno != 0 || value > UINT64_MAX)
		return false;
	*number = value;
	return true;
}

bool arguments_number(const char *command, const char *what, const char *text, uint64_t least,
		      uint64_t most, uint64_t *number) {
	if (read_digits(text, 10, number) && *number >= least && *number <= most)
		return true;
	(void)error_usage(command, "%s is a whole number from %llu to %llu, not \"%s\"", what,
			    (unsigned long long)least, (unsigned long long)most, text);
	return false;
}

bool arguments_version(const char *command, const char *text, uint64_t *version) {
	return arguments_number(command, "a version", text, 0, KV_ANY - 1, version);
}

bool arguments_program(const char *command, const char *text, uint32_t *program) {
	uint64_t number = 0;
	bool is_hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	bool is_number =
	    is_hex ? read_digits(text + 2, 16, &number) : read_digits(text, 10, &number);
	if (!is_number || number == 0 || number > UINT32_MAX) {
		(void)error_usage(command,
				    "a program number is decimal, or hexadecimal after 0x, from 1 "
				    "to 0xffffffff, not \"%s\"",
				    text);
		return false;
	}
	*program = (uint32_t)number;
	return true;
}

bool arguments_seconds(const char *command, const char *what, const char *text, unsigned *ms) {
	uint64_t total = 0;
	uint64_t unit = 1000;
	bool has_digits = false;
	bool has_point = false;
	bool has_rest = false; /* less than a millisecond, but not nothing */
	const char *at = text;

	for (; *at != '\0' && total <= UINT_MAX; at++) {
		if (*at == '.' && !has_point) {
			has_point = true;
			continue;
		}
		if (!isdigit((unsigned char)*at))
			break;
		has_digits = true;
		unsigned digit = (unsigned)(*at - '0');
		if (!has_point) {
			total = total * 10 + digit * 1000u;
		} else {
			unit /= 10;
			total += digit * unit;
			has_rest = has_rest || (unit == 0 && digit != 0);
		}
	}
	total += has_rest ? 1 : 0;
	if (*at != '\0' || !has_digits || total > UINT_MAX) {
		(void)error_usage(command,
				    "%s is seconds from 0 to %u, such as 10 or 0.5, not \"%s\"",
				    what, UINT_MAX / 1000, text);
		return false;
	}
	*ms = (unsigned)total;
	return true;
}

int arguments_key(const char *command, const char *text, struct kv_bytes *key) {
	key->data = text;
	key->size = strlen(text);
	if (key->size == 0)
		return error_usage(command, "a key has 1 to %d bytes, and this one is empty",
				     KV_KEY_MAX);
	if (key->size > KV_KEY_MAX)
		return error_report(CODE_LIMIT, command,
				    "a key has 1 to %d bytes, and this one %zu", KV_KEY_MAX,
				    key->size);
	return CODE_DONE;
}
