/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "log.h"
#include "core/operation.h"

enum {
	OPTION_VERSION = 256,
	OPTION_VALUE_MAX,
	OPTION_MEMORY_MAX,
	OPTION_CONNECTIONS_MAX,
	OPTION_SESSIONS_MAX,
	OPTION_LEASE,
	OPTION_CHECK,
};

/* RFC 5531, 8.1: what programs of the user's own may be called. */
static const uint64_t program_least = 1, program_most = UINT32_MAX;

/* Bytes. Far above what an empty store takes: below that every write would be refused. */
static const uint64_t memory_least = 1 << 20;

static const struct option long_options[] = {
    {"data", required_argument, NULL, 'd'},
    {"check", required_argument, NULL, OPTION_CHECK},
    {"listen", required_argument, NULL, 'l'},
    {"no-rpcbind", no_argument, NULL, 'n'},
    {"program", required_argument, NULL, 'P'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"max-value", required_argument, NULL, OPTION_VALUE_MAX},
    {"max-memory", required_argument, NULL, OPTION_MEMORY_MAX},
    {"max-connections", required_argument, NULL, OPTION_CONNECTIONS_MAX},
    {"max-sessions", required_argument, NULL, OPTION_SESSIONS_MAX},
    {"session-lease", required_argument, NULL, OPTION_LEASE},
    {NULL, 0, NULL, 0},
};

/* The first one makes a missing value ':'. */
static const char letters[] = ":d:l:nP:vh";

static const char usage[] =
    "usage: kvd [-d DIR] [-l ADDRESS]... [-n] [-P PROGRAM] [-v]... [OPTION]...\n"
    "       kvd --check DIR\n"
    "Serves a key/value store over ONC RPC.\n"
    "\n"
    "  -d, --data DIR          keep everything in DIR, durable before it is answered; without it\n"
    "                          everything is in memory and gone when kvd stops\n"
    "      --check DIR         verify what is in DIR, print what it holds, and exit\n"
    "  -l, --listen ADDRESS    tcp:HOST[:PORT], udp:HOST[:PORT] or local:PATH; may be repeated\n"
    "                          (default: tcp and udp on 127.0.0.1 and ::1, and a local socket)\n"
    "  -n, --no-rpcbind        do not register with rpcbind\n"
    "  -P, --program N         another RPC program number (default 0x20004b56)\n"
    "  -v, --verbose           log what peers do; -vv: every step\n"
    "      --max-value SIZE    largest value, at most 16M (default 16M)\n"
    "      --max-memory SIZE   for keys, values and sessions (default: half of the machine's)\n"
    "      --max-connections N connections open at once (default 10000)\n"
    "      --max-sessions N    clients remembered at once (default 1000000)\n"
    "      --session-lease SECS how long an idle client is remembered (default 3600)\n"
    "  -h, --help              this text\n"
    "      --version           the version\n"
    "\n"
    "SIZE is a number of bytes, with k, M or G for 1024, 1024^2, 1024^3. See kvd(8).\n";

static size_t half_of_memory(void) {
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_size = sysconf(_SC_PAGESIZE);

	if (pages <= 0 || page_size <= 0)
		return (size_t)1 << 30;
	return (size_t)pages / 2 * (size_t)page_size;
}

/* A number from `least` to `most`; with `units`, k, M or G may follow. */
static bool read_number(const char *name, const char *text, bool units, uint64_t least,
			uint64_t most, uint64_t *number) {
	char *end = NULL;
	unsigned shift = 0;

	errno = 0;
	/* Not base 0, which would take a leading zero for octal. */
	*number = strtoull(text, &end, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
	if (units && end != text && *end != '\0' && end[1] == '\0') {
		shift = *end == 'k' || *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
		end += shift != 0;
	}
	if (!isdigit((unsigned char)text[0]) || *end != '\0') {
		log_error("%s \"%s\": that is not a number%s", name, text,
			  units ? " of bytes (such as 4096, 512k, 16M or 2G)" : "");
		return false;
	}
	if (errno == ERANGE || *number > (UINT64_MAX >> shift) || *number << shift < least ||
	    *number << shift > most) {
		log_error("%s %s: it must be from %llu to %llu", name, text,
			  (unsigned long long)least, (unsigned long long)most);
		return false;
	}
	*number <<= shift;
	return true;
}

static bool read_address(const char *text, struct options *options) {
	const char *wrong;

	if (options->address_count == LISTENERS_MAX) {
		log_error("--listen %s: more than %d addresses", text, LISTENERS_MAX);
		return false;
	}
	wrong = address_parse(text, &options->addresses[options->address_count]);
	if (wrong != NULL) {
		log_error("--listen \"%s\": %s", text, wrong);
		return false;
	}
	options->address_count++;
	return true;
}

/* Options with a number. */
static bool read_limit(int option, const char *text, struct options *options) {
	uint64_t number = 0;
	bool good = false;

	switch (option) {
	case 'P':
		good = read_number("--program", text, false, program_least, program_most, &number);
		options->program = (uint32_t)number;
		break;
	case OPTION_VALUE_MAX:
		good = read_number("--max-value", text, true, 1, VALUE_MAX, &number);
		options->value_max = (uint32_t)number;
		break;
	case OPTION_MEMORY_MAX:
		good = read_number("--max-memory", text, true, memory_least, SIZE_MAX / 2, &number);
		options->memory_max = (size_t)number;
		break;
	case OPTION_CONNECTIONS_MAX:
		good = read_number("--max-connections", text, false, 1, 1000000, &number);
		options->connections_max = (unsigned)number;
		break;
	case OPTION_SESSIONS_MAX:
		good = read_number("--max-sessions", text, false, 1, 100000000, &number);
		options->sessions_max = (uint32_t)number;
		break;
	case OPTION_LEASE:
		good = read_number("--session-lease", text, false, 1, 366 * 86400, &number);
		options->lease_ms = number * 1000;
		break;
	default:
		break;
	}
	return good;
}

/* getopt is kept quiet: it would say it in its own words. */
static void say_unknown(int option, char **argv) {
	const char *word = argv[optind - 1];

	if (option == ':')
		log_error("%s needs a value (kvd --help lists the options)", word);
	else if (optopt != 0 && optopt < 256 && strchr(letters, optopt) == NULL)
		log_error("-%c is no option (kvd --help lists them)", optopt);
	else
		log_error("%s is no option, or takes no value (kvd --help lists them)", word);
}

enum options_answer options_read(int argc, char **argv, struct options *options) {
	int option;

	*options = (struct options){.use_rpcbind = true,
				    .program = KV_PROGRAM,
				    .value_max = VALUE_MAX,
				    .memory_max = half_of_memory(),
				    .connections_max = 10000,
				    .sessions_max = 1000000,
				    .lease_ms = UINT64_C(3600) * 1000};
	opterr = 0;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		bool good = true;

		if (option == 'h' || option == OPTION_VERSION) {
			(void)fputs(option == 'h' ? usage : KV_SOFTWARE "\n", stdout);
			return OPTIONS_DONE;
		}
		if (option == '?' || option == ':') {
			say_unknown(option, argv);
			return OPTIONS_WRONG;
		}
		if (option == 'd')
			options->data = optarg;
		else if (option == OPTION_CHECK)
			options->check = optarg;
		else if (option == 'l')
			good = read_address(optarg, options);
		else if (option == 'n')
			options->use_rpcbind = false;
		else if (option == 'v')
			options->verbosity++;
		else
			good = read_limit(option, optarg, options);
		if (!good)
			return OPTIONS_WRONG;
	}
	if (optind < argc) {
		log_error("\"%s\": kvd takes options only (kvd --help lists them)", argv[optind]);
		return OPTIONS_WRONG;
	}
	return OPTIONS_RUN;
}
