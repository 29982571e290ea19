/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "closest_word.h"
#include "core/operation.h"
#include "log.h"
#include "number.h"
#include "rpc/change_ring.h"
#include "rpc/parking.h"

enum {
	OPTION_VERSION = 256,
	OPTION_VALUE_MAX,
	OPTION_MEMORY_MAX,
	OPTION_CONNECTIONS_MAX,
	OPTION_SESSIONS_MAX,
	OPTION_CONNECTIONS_EACH,
	OPTION_SESSIONS_EACH,
	OPTION_CHANGES_MAX,
	OPTION_WAITING_MAX,
	OPTION_LEASE,
	OPTION_CHECK,
	OPTION_OPEN,
	OPTION_ACL,
	OPTION_TLS,
	OPTION_TLS_CERT,
	OPTION_TLS_KEY,
	OPTION_TLS_CA,
	OPTION_TLS_CRL,
	OPTION_WHO,
	OPTION_KEY,
	OPTION_RESTORE,
	OPTION_RESTORED,
	OPTION_MOVED,
};

enum {
	EACH_SHARE = 4, /* one peer may have this part of all connections and sessions ... */
	EACH_MIN = 64,	/* ... but always so many */
};

#define EACH_USUAL UINT32_MAX /* as options->connections_each, sessions_each: not given */

/* Options with a number. The programs are those that RFC 5531, 8.1 leaves to users. */
static const struct limit {
	int option;
	enum number_kind kind;
	uint64_t min, max;
	const char *name;
} limits[] = {
    {'P', NUMBER_COUNT, 1, UINT32_MAX, "--program"},
    {OPTION_VALUE_MAX, NUMBER_SIZE, 1, VALUE_MAX, "--max-value"},
    /* Far above what an empty store takes: below that every write would be refused. */
    {OPTION_MEMORY_MAX, NUMBER_SIZE, 1 << 20, SIZE_MAX / 2, "--max-memory"},
    {OPTION_CONNECTIONS_MAX, NUMBER_COUNT, 1, 1000000, "--max-connections"},
    {OPTION_SESSIONS_MAX, NUMBER_COUNT, 1, 100000000, "--max-sessions"},
    {OPTION_CONNECTIONS_EACH, NUMBER_COUNT, 0, 1000000, "--max-connections-each"},
    {OPTION_SESSIONS_EACH, NUMBER_COUNT, 0, 100000000, "--max-sessions-each"},
    {OPTION_CHANGES_MAX, NUMBER_COUNT, 1, 16777216, "--max-changes"},
    {OPTION_WAITING_MAX, NUMBER_COUNT, 1, 1000000, "--max-waiting"},
    {OPTION_LEASE, NUMBER_COUNT, 1, 366 * 86400, "--session-lease"},
};

static const struct option long_options[] = {
    {"data", required_argument, NULL, 'd'},
    {"check", required_argument, NULL, OPTION_CHECK},
    {"restore", required_argument, NULL, OPTION_RESTORE},
    {"restored", no_argument, NULL, OPTION_RESTORED},
    {"moved", no_argument, NULL, OPTION_MOVED},
    {"listen", required_argument, NULL, 'l'},
    {"acl", required_argument, NULL, OPTION_ACL},
    {"open", no_argument, NULL, OPTION_OPEN},
    {"tls-cert", required_argument, NULL, OPTION_TLS_CERT},
    {"tls-key", required_argument, NULL, OPTION_TLS_KEY},
    {"tls-ca", required_argument, NULL, OPTION_TLS_CA},
    {"tls-crl", required_argument, NULL, OPTION_TLS_CRL},
    {"tls", required_argument, NULL, OPTION_TLS},
    {"who", required_argument, NULL, OPTION_WHO},
    {"key", required_argument, NULL, OPTION_KEY},
    {"no-rpcbind", no_argument, NULL, 'n'},
    {"program", required_argument, NULL, 'P'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"max-value", required_argument, NULL, OPTION_VALUE_MAX},
    {"max-memory", required_argument, NULL, OPTION_MEMORY_MAX},
    {"max-connections", required_argument, NULL, OPTION_CONNECTIONS_MAX},
    {"max-sessions", required_argument, NULL, OPTION_SESSIONS_MAX},
    {"max-connections-each", required_argument, NULL, OPTION_CONNECTIONS_EACH},
    {"max-sessions-each", required_argument, NULL, OPTION_SESSIONS_EACH},
    {"max-changes", required_argument, NULL, OPTION_CHANGES_MAX},
    {"max-waiting", required_argument, NULL, OPTION_WAITING_MAX},
    {"session-lease", required_argument, NULL, OPTION_LEASE},
    {NULL, 0, NULL, 0},
};

/* The leading colon has getopt return ':' for a missing value. */
static const char letters[] = ":d:l:nP:vh";

static const char usage[] =
    "usage: kvd [-d DIR] [-l ADDRESS]... [-n] [-P PROGRAM] [-v]... [OPTION]...\n"
    "       kvd --check DIR|FILE\n"
    "       kvd -d DIR --restore FILE | --restored | --moved\n"
    "       kvd --acl FILE --who WHO --key KEY\n"
    "Serves a key/value store over ONC RPC.\n"
    "\n"
    "  -d, --data DIR          keep everything in DIR: a write is durable before its reply; "
    "without\n"
    "                          it everything is in memory and lost when kvd stops\n"
    "      --check DIR|FILE    verify a directory or a backup, print what it holds, and exit\n"
    "      --restore FILE      make a new store in DIR of what kvctl backup wrote, and exit\n"
    "      --restored          DIR was copied or rolled back: make another store of it, and exit\n"
    "      --moved             DIR was moved, not copied: let it go on as the store it is, and "
    "exit\n"
    "  -l, --listen ADDRESS    tcp:HOST[:PORT], udp:HOST[:PORT] or local:PATH; may be repeated\n"
    "                          (default: tcp and udp on 127.0.0.1 and ::1, and a local socket)\n"
    "      --acl FILE          allow each client what FILE says (kvd.acl(5)); SIGHUP reads it "
    "again\n"
    "      --who WHO           with --acl and --key: print what uid:USER, cert:NAME, "
    "host:ADDRESS\n"
    "                          or any may do\n"
    "      --key KEY           with this key, and the line that says so, and exit\n"
    "      --open              allow addresses that other machines reach without --acl: every\n"
    "                          client may read and write everything\n"
    "      --tls-cert FILE     serve TLS on the tcp addresses, with this certificate\n"
    "      --tls-key FILE      and its key; SIGHUP reads these files again\n"
    "      --tls-ca FILE       ask clients for certificates, of these CAs\n"
    "      --tls-crl FILE      and refuse those that these lists have\n"
    "      --tls require|offer whether calls over tcp and udp may come without TLS (default: from\n"
    "                          this machine only)\n"
    "  -n, --no-rpcbind        do not register with rpcbind\n"
    "  -P, --program N         another RPC program number (default 0x20004b56)\n"
    "  -v, --verbose           log a line for each connection; -vv: for each call\n"
    "      --max-value SIZE    largest value, at most 16M (default 16M)\n"
    "      --max-memory SIZE   for keys, values and sessions (default: half of what the machine\n"
    "                          and the cgroup of kvd have)\n"
    "      --max-connections N connections open at once (default 10000)\n"
    "      --max-connections-each N  of one user or address (default: a quarter; 0: no limit)\n"
    "      --max-sessions N    clients remembered at once (default 1000000)\n"
    "      --max-sessions-each N     of one user or address (default: a quarter; 0: no limit)\n"
    "      --max-changes N     changes remembered for clients that watch (default 262144)\n"
    "      --max-waiting N     calls that wait for a change at once (default 65536)\n"
    "      --session-lease SECS how long an idle client is remembered (default 3600)\n"
    "  -h, --help              this text\n"
    "      --version           the version\n"
    "\n"
    "SIZE is a number of bytes, with k, M or G for 1024, 1024^2, 1024^3. See kvd(8).\n";

static bool read_address(const char *text, struct options *options) {
	const char *wrong;

	if (options->address_count == LISTENERS_MAX) {
		log_error("--listen %s: more than %d addresses", text, LISTENERS_MAX);
		return false;
	}
	wrong = address_parse(text, &options->addresses[options->address_count]);
	if (wrong == NULL && options->addresses[options->address_count].is_tls)
		wrong = "tls: is for clients: listen on tcp:, where --tls-cert gives them TLS";
	if (wrong != NULL) {
		log_error("--listen \"%s\": %s", text, wrong);
		return false;
	}
	options->address_count++;
	return true;
}

/* An option with a number. Returns false, logged, if it is wrong. */
static bool read_limit(int option, const char *text, struct options *options) {
	const struct limit *limit = limits;
	char error[NUMBER_ERROR_MAX];
	uint64_t number;

	while (limit->option != option)
		limit++;
	if (!number_parse(text, limit->kind, limit->min, limit->max, &number, error)) {
		log_error("%s: %s", limit->name, error);
		return false;
	}
	switch (option) {
	case 'P':
		options->program = (uint32_t)number;
		break;
	case OPTION_VALUE_MAX:
		options->value_max = (uint32_t)number;
		break;
	case OPTION_MEMORY_MAX:
		options->memory_max = (size_t)number;
		break;
	case OPTION_CONNECTIONS_MAX:
		options->connections_max = (unsigned)number;
		break;
	case OPTION_SESSIONS_MAX:
		options->sessions_max = (uint32_t)number;
		break;
	case OPTION_CONNECTIONS_EACH:
		options->connections_each = (unsigned)number;
		break;
	case OPTION_SESSIONS_EACH:
		options->sessions_each = (uint32_t)number;
		break;
	case OPTION_CHANGES_MAX:
		options->changes_max = (uint32_t)number;
		break;
	case OPTION_WAITING_MAX:
		options->waiting_max = (unsigned)number;
		break;
	case OPTION_LEASE:
		options->lease_ms = number * 1000;
		break;
	default:
		break;
	}
	return true;
}

/* Names the option that "--name" or "--name=value" is a misspelling of. */
static void report_unknown(const char *word) {
	const char *names[sizeof(long_options) / sizeof(long_options[0]) - 1];
	char name[64];
	const char *closest;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		names[i] = long_options[i].name;
	word += strspn(word, "-");
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	closest = closest_word(name, names, sizeof(names) / sizeof(names[0]));
	if (closest != NULL)
		log_error("unknown option --%s: did you mean --%s? (kvd --help lists all)", name,
			  closest);
	else
		log_error("unknown option --%s (kvd --help lists all)", name);
}

/* Says what getopt found; its own message has another form. */
static void report_error(int option, char **argv) {
	const char *word = argv[optind - 1];

	if (option == ':')
		log_error("%s needs a value (kvd --help lists the options)", word);
	else if (optopt != 0 && optopt < 256 && strchr(letters, optopt) == NULL)
		log_error("unknown option -%c (kvd --help lists all)", optopt);
	else if (optopt != 0)
		log_error("%s: that option takes no value", word);
	else
		report_unknown(word);
}

static bool read_policy(const char *text, struct options *options) {
	if (strcmp(text, "require") == 0) {
		options->tls_policy = TLS_REQUIRE;
	} else if (strcmp(text, "offer") == 0) {
		options->tls_policy = TLS_OFFER;
	} else {
		log_error("--tls \"%s\": write require or offer", text);
		return false;
	}
	options->has_tls_policy = true;
	return true;
}

/* An option of TLS, or one with a number. Returns false, logged, if it is wrong. */
static bool read_tls(int option, const char *text, struct options *options) {
	switch (option) {
	case OPTION_TLS_CERT:
		options->tls.certificate = text;
		return true;
	case OPTION_TLS_KEY:
		options->tls.key = text;
		return true;
	case OPTION_TLS_CA:
		options->tls.ca = text;
		return true;
	case OPTION_TLS_CRL:
		options->tls.crl = text;
		return true;
	case OPTION_TLS:
		return read_policy(text, options);
	default:
		return read_limit(option, text, options);
	}
}

/* An option without a number. Returns false, logged, if it is wrong. */
static bool read_other(int option, const char *text, struct options *options) {
	switch (option) {
	case 'd':
		options->data = text;
		return true;
	case 'l':
		return read_address(text, options);
	case 'n':
		options->use_rpcbind = false;
		return true;
	case 'v':
		options->verbosity++;
		return true;
	case OPTION_CHECK:
		options->check = text;
		return true;
	case OPTION_OPEN:
		options->is_open = true;
		return true;
	case OPTION_ACL:
		options->acl = text;
		return true;
	case OPTION_WHO:
		options->who = text;
		return true;
	case OPTION_KEY:
		options->key = text;
		return true;
	case OPTION_RESTORE:
		options->restore = text;
		return true;
	case OPTION_RESTORED:
		options->is_restored = true;
		return true;
	case OPTION_MOVED:
		options->is_moved = true;
		return true;
	default:
		return read_tls(option, text, options);
	}
}

static enum options_result print(const char *text) {
	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
		return OPTIONS_DONE;
	log_error("cannot write to standard output: %s", strerror(errno));
	return OPTIONS_ERROR;
}

/* One of those that make a directory ready and exit needs one. Returns false, logged, if not. */
static bool check_restore(const struct options *options) {
	int count = (options->restore != NULL) + options->is_restored + options->is_moved;

	if (count > 1)
		log_error("--restore, --restored and --moved exclude each other");
	else if (count == 1 && (options->data == NULL || options->check != NULL))
		log_error("--restore, --restored and --moved need -d DIR, and no --check");
	else
		return true;
	return false;
}

/* --who and --key ask one question. Returns false, logged, if a part of it is missing. */
static bool check_question(const struct options *options) {
	if ((options->who == NULL && options->key == NULL) ||
	    (options->acl != NULL && options->who != NULL && options->key != NULL))
		return true;
	log_error("--who and --key need each other and --acl FILE: kvd --acl FILE --who uid:USER "
		  "--key KEY");
	return false;
}

/* Returns false, logged, if an option of TLS lacks another. */
static bool check_tls(struct options *options) {
	const struct tls_files *tls = &options->tls;

	/* Without rules a certificate is all that tells clients apart. */
	options->tls.are_needed = tls->ca != NULL && options->acl == NULL;
	if (!options->has_tls_policy)
		options->tls_policy = tls->certificate != NULL ? TLS_REQUIRE_REMOTE : TLS_OFFER;
	if ((tls->certificate == NULL) != (tls->key == NULL))
		log_error("--tls-cert and --tls-key need each other: kvd --tls-cert FILE --tls-key "
			  "FILE");
	else if (tls->certificate == NULL &&
		 (tls->ca != NULL || tls->crl != NULL || options->has_tls_policy))
		log_error("--tls, --tls-ca and --tls-crl need --tls-cert and --tls-key");
	else if (tls->crl != NULL && tls->ca == NULL)
		log_error("--tls-crl needs --tls-ca, whose CAs sign what it has");
	else
		return true;
	return false;
}

/* Of a small number a quarter would be too few to work with. */
uint32_t options_usual_part(uint32_t all) {
	const uint32_t part = all / EACH_SHARE;

	return part > EACH_MIN ? part : EACH_MIN;
}

/* What one peer may have follows from what all may have, unless it is given. */
static void set_parts(struct options *options) {
	if (options->connections_each == EACH_USUAL)
		options->connections_each = options_usual_part(options->connections_max);
	if (options->sessions_each == EACH_USUAL)
		options->sessions_each = options_usual_part(options->sessions_max);
}

enum options_result options_read(int argc, char **argv, struct options *options) {
	int option;

	*options = (struct options){.use_rpcbind = true,
				    .program = KV_PROGRAM,
				    .value_max = VALUE_MAX,
				    .connections_max = 10000,
				    .sessions_max = 1000000,
				    .connections_each = EACH_USUAL,
				    .sessions_each = EACH_USUAL,
				    .changes_max = CHANGE_RING_SLOTS_USUAL,
				    .waiting_max = PARKING_MAX,
				    .lease_ms = UINT64_C(3600) * 1000};
	memory_limit_get(&options->memory_limit, "/proc/self");
	options->memory_max = (size_t)options->memory_limit.bytes / 2;
	opterr = 0;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (option == 'h' || option == OPTION_VERSION)
			return print(option == 'h' ? usage : KV_SOFTWARE "\n");
		if (option == '?' || option == ':') {
			report_error(option, argv);
			return OPTIONS_ERROR;
		}
		if (!read_other(option, optarg, options))
			return OPTIONS_ERROR;
	}
	if (optind < argc) {
		log_error(
		    "unexpected argument \"%s\": kvd takes options only (kvd --help lists them)",
		    argv[optind]);
		return OPTIONS_ERROR;
	}
	set_parts(options);
	return check_restore(options) && check_question(options) && check_tls(options)
		   ? OPTIONS_RUN
		   : OPTIONS_ERROR;
}
