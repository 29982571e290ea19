/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "log.h"
#include "number.h"

enum {
	CONNECTIONS_MAX = 20000,
	THREADS_MAX = 64,
	VALUE_MAX = KV1_VALUE_MAX,
	DURATION_MAX_MS = 3600 * 1000,
	/* After the value lie zeros, so that it can be sent with its padding. */
	VALUE_MARGIN = 8,
};

static const char usage[] =
    "usage: load --server ADDRESS [OPTION]...\n"
    "\n"
    "Loads a server and prints what came of it, a name and a value on a line.\n"
    "\n"
    "  -s, --server ADDRESS  tcp:HOST:PORT (numbers) or local:/PATH\n"
    "  -p, --protocol NAME   kv, echo, redis, memcached or etcd (kv)\n"
    "  -P, --program N       kv's RPC program number\n"
    "  -c, --connections N   (50)\n"
    "  -f, --in-flight N     calls under way on each connection, 1 to 64 (1)\n"
    "  -t, --threads N       of the load (1)\n"
    "  -i, --idle N          further connections on which nothing happens (0)\n"
    "  -k, --keys N          (100000)\n"
    "  -d, --distribution NAME     uniform, zipfian (0.99) or latest (uniform)\n"
    "  -v, --value BYTES     (100)\n"
    "  -m, --mix MIX         null, get, put, append, insert, modify with shares (get=95,put=5),\n"
    "                        or a, b, c, d, f of YCSB (get)\n"
    "  -r, --rate N          calls a second, whatever the replies do; 0: each lane sends its next\n"
    "                        call when the one before is answered (0)\n"
    "  -w, --warm-up MS      not measured (200)\n"
    "  -D, --duration MS     measured (1000)\n"
    "  -n, --calls N         end after N calls instead, and measure all of them\n"
    "  -F, --fill            first write each key once\n"
    "  -e, --versioned       Puts expect the version that the key has (kv; needs --fill)\n"
    "  -S, --stateless       without a session (kv; needs --versioned if the mix writes)\n"
    "      --seed N          of all chance (1)\n"
    "      --pid PID         tell this process's use of the processor, too\n"
    "  -h, --help            this text\n";

enum { OPTION_SEED = 256, OPTION_PID };

static const char letters[] = "s:p:P:c:f:t:i:k:d:v:m:r:w:D:n:FeSh";
static const struct option long_options[] = {
    {"server", required_argument, NULL, 's'},
    {"protocol", required_argument, NULL, 'p'},
    {"program", required_argument, NULL, 'P'},
    {"connections", required_argument, NULL, 'c'},
    {"in-flight", required_argument, NULL, 'f'},
    {"threads", required_argument, NULL, 't'},
    {"idle", required_argument, NULL, 'i'},
    {"keys", required_argument, NULL, 'k'},
    {"distribution", required_argument, NULL, 'd'},
    {"value", required_argument, NULL, 'v'},
    {"mix", required_argument, NULL, 'm'},
    {"rate", required_argument, NULL, 'r'},
    {"warm-up", required_argument, NULL, 'w'},
    {"duration", required_argument, NULL, 'D'},
    {"calls", required_argument, NULL, 'n'},
    {"fill", no_argument, NULL, 'F'},
    {"versioned", no_argument, NULL, 'e'},
    {"stateless", no_argument, NULL, 'S'},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"pid", required_argument, NULL, OPTION_PID},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool read_number(const char *what, uint64_t min, uint64_t max, uint64_t *number) {
	char error[NUMBER_ERROR_MAX];

	if (number_parse(optarg, NUMBER_COUNT, min, max, number, error))
		return true;
	log_error("--%s: %s", what, error);
	return false;
}

static bool read_small(const char *what, uint64_t min, uint64_t max, unsigned *small) {
	uint64_t number = 0;

	if (!read_number(what, min, max, &number))
		return false;
	*small = (unsigned)number;
	return true;
}

static bool read_server(struct options *options) {
	const char *wrong = address_parse(optarg, &options->server);

	if (wrong == NULL && options->server.kind == ADDRESS_UDP)
		wrong = "udp is not measured: name a tcp or local address";
	if (wrong == NULL && options->server.kind == ADDRESS_TCP && options->server.port == 0)
		wrong = "the port is missing";
	if (wrong != NULL)
		log_error("--server \"%s\": %s", optarg, wrong);
	return wrong == NULL;
}

static bool read_protocol(struct options *options) {
	options->protocol = protocol_find(optarg);
	if (options->protocol == NULL)
		log_error("--protocol is kv, echo, redis, memcached or etcd, not \"%s\"", optarg);
	return options->protocol != NULL;
}

static bool read_mix(struct options *options) {
	const char *wrong = workload_parse(optarg, &options->workload);

	if (wrong != NULL)
		log_error("--mix \"%s\": %s", optarg, wrong);
	return wrong == NULL;
}

static bool read_distribution(struct options *options) {
	bool is_right = workload_parse_distribution(optarg, &options->workload.distribution);

	if (!is_right)
		log_error("--distribution is uniform, zipfian or latest, not \"%s\"", optarg);
	return is_right;
}

/* What takes a number. */
static bool read_count(struct options *options, int option) {
	uint64_t number = 0;
	unsigned size = 0;
	bool is_right = false;

	switch (option) {
	case 'P':
		return read_small("program", 1, UINT32_MAX, &options->common.program);
	case 'c':
		return read_small("connections", 1, CONNECTIONS_MAX, &options->connections);
	case 'f':
		return read_small("in-flight", 1, PROTOCOL_LANES_MAX, &options->common.lanes);
	case 't':
		return read_small("threads", 1, THREADS_MAX, &options->threads);
	case 'i':
		return read_small("idle", 0, CONNECTIONS_MAX, &options->idle);
	case 'k':
		return read_number("keys", 1, WORKLOAD_KEYS_MAX, &options->workload.keys);
	case 'v':
		is_right = read_small("value", 0, VALUE_MAX, &size);
		options->common.value.size = size;
		return is_right;
	case 'r':
		return read_number("rate", 0, UINT64_C(100000000), &options->rate);
	case 'w':
		return read_small("warm-up", 0, DURATION_MAX_MS, &options->warmup_ms);
	case 'D':
		return read_small("duration", 1, DURATION_MAX_MS, &options->duration_ms);
	case 'n':
		return read_number("calls", 1, UINT64_MAX, &options->calls);
	case OPTION_SEED:
		return read_number("seed", 0, UINT64_MAX, &options->seed);
	case OPTION_PID:
		is_right = read_number("pid", 1, INT32_MAX, &number);
		options->server_pid = (pid_t)number;
		return is_right;
	default:
		return false;
	}
}

static bool read_option(struct options *options, int option) {
	switch (option) {
	case 's':
		return read_server(options);
	case 'p':
		return read_protocol(options);
	case 'm':
		return read_mix(options);
	case 'd':
		return read_distribution(options);
	case 'F':
		return options->fills = true;
	case 'e':
		return options->is_versioned = true;
	case 'S':
		return options->common.is_stateless = true;
	default:
		return read_count(options, option);
	}
}

/* What is wrong with all of it together; NULL: nothing. */
static const char *find_conflict(const struct options *options) {
	bool is_kv = options->protocol == &protocol_kv;

	if (options->server.host[0] == '\0' && options->server.path[0] == '\0')
		return "--server is missing";
	if (!is_kv && (options->is_versioned || options->common.is_stateless))
		return "--versioned and --stateless are for kv";
	if (options->common.is_stateless && workload_writes(&options->workload) &&
	    !options->is_versioned)
		return "a stateless Put names a version: add --versioned --fill";
	if (options->is_versioned && !options->fills)
		return "--versioned must know the versions: add --fill";
	if (options->is_versioned && (options->workload.shares[WORK_APPEND] != 0 ||
				      options->workload.shares[WORK_INSERT] != 0 ||
				      options->workload.distribution != DISTRIBUTION_UNIFORM))
		return "--versioned is for get, put and modify over a uniform distribution";
	if (options->is_versioned &&
	    options->workload.keys < (uint64_t)options->connections * options->common.lanes)
		return "--versioned needs a key for each call under way: raise --keys";
	if (options->threads > options->connections)
		return "more --threads than --connections";
	return NULL;
}

static bool make_value(struct options *options) {
	size_t size = options->common.value.size;
	char *value = calloc(1, size + VALUE_MARGIN);

	if (value != NULL)
		memset(value, 'v', size);
	else
		log_error("no memory for a value of %zu bytes", size);
	options->common.value.data = value;
	return value != NULL;
}

bool options_read(struct options *options, int argc, char **argv, int *code) {
	const char *wrong = NULL;
	int option = 0;

	*options = (struct options){
	    .protocol = &protocol_kv,
	    .common = {.lanes = 1, .program = KV_PROGRAM, .value = {NULL, 100}},
	    .workload = {.shares = {[WORK_GET] = 1}, .share_sum = 1, .keys = 100000},
	    .connections = 50,
	    .threads = 1,
	    .warmup_ms = 200,
	    .duration_ms = 1000,
	    .seed = 1,
	};
	*code = 2;
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		if (option == 'h') {
			*code = fputs(usage, stdout) == EOF ? 1 : 0;
			return false;
		}
		if (!read_option(options, option))
			return false;
	}
	wrong = optind < argc ? "it takes options only" : find_conflict(options);
	if (wrong != NULL)
		log_error("%s (load --help)", wrong);
	if (wrong != NULL || !make_value(options))
		return false;
	workload_init(&options->workload, options->workload.keys);
	return true;
}
