/* SPDX-License-Identifier: BSD-3-Clause */
/* kvfault - a bad network between clients and a kvd: options, start and stop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control.h"
#include "random.h"
#include "route.h"

static const char usage[] =
    "usage: kvfault [-b] [-c PATH] [-o N] [-s SEED] LISTEN=SERVER...\n"
    "\n"
    "Stands between clients and a kvd and is a bad network: clients use LISTEN in place of "
    "SERVER,\n"
    "as in \"kvfault -b tcp:127.0.0.1:0=tcp:127.0.0.1:7000\". Addresses are as for kvd -l and "
    "kvctl\n"
    "-s: tcp:HOST:PORT, udp:HOST:PORT, local:/PATH; port 0 is any free one. tcp and local may "
    "lead\n"
    "to each other. It knows RPC records, and loses, repeats, delays and reorders whole ones; it\n"
    "cuts connections at any byte.\n"
    "\n"
    "  -b, --bad           begin with a bad network; otherwise it is a good one\n"
    "  -c, --control PATH  take commands on a local stream socket at PATH\n"
    "  -o, --older N       an older server: of procedures above N it says that it has none such\n"
    "  -s, --seed SEED     all chance follows from this number (printed; otherwise random): the\n"
    "                      n-th message one way on the m-th link of a route meets the same fate\n"
    "  -h, --help          this\n"
    "\n"
    "When it serves it prints \"kvfault: ready ADDRESS...\", one for each route in their order.\n"
    "SIGTERM and SIGINT end it (exit 0). Exit 1: it cannot serve; 2: a mistake in the options.\n"
    "\n";

struct options {
	bool is_bad;
	const char *control;
	uint64_t seed;
	unsigned procedure_max; /* 0: all */
};

/* The exit status if there is nothing to do, else -1. */
static int read_options(int argc, char *argv[], struct options *options) {
	static const struct option names[] = {
	    {"bad", no_argument, NULL, 'b'},	     {"control", required_argument, NULL, 'c'},
	    {"older", required_argument, NULL, 'o'}, {"seed", required_argument, NULL, 's'},
	    {"help", no_argument, NULL, 'h'},	     {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "bc:o:s:h", names, NULL)) != -1) {
		char *end = NULL;

		switch (option) {
		case 'b':
			options->is_bad = true;
			break;
		case 'c':
			options->control = optarg;
			break;
		case 'o':
			options->procedure_max = (unsigned)strtoul(optarg, &end, 10);
			if (optarg[0] < '1' || optarg[0] > '9' || *end != '\0') {
				(void)fprintf(stderr, "kvfault: -o %s: a procedure is a number\n",
					      optarg);
				return 2;
			}
			break;
		case 's':
			errno = 0;
			options->seed = strtoull(optarg, &end, 10);
			if (optarg[0] < '0' || optarg[0] > '9' || *end != '\0' || errno != 0) {
				(void)fprintf(stderr, "kvfault: -s %s: a seed is a number\n",
					      optarg);
				return 2;
			}
			break;
		case 'h':
			(void)printf("%s%s", usage, control_help);
			return 0;
		default:
			(void)fprintf(stderr, "kvfault: see kvfault --help\n");
			return 2;
		}
	}
	if (optind == argc) {
		(void)fprintf(stderr, "kvfault: no route: write LISTEN=SERVER, as in "
				      "tcp:127.0.0.1:0=tcp:127.0.0.1:7000\n");
		return 2;
	}
	return -1;
}

static void tell_ready(const struct network *network) {
	(void)fprintf(stderr, "kvfault: seed %llu\n", (unsigned long long)network->seed);
	(void)printf("kvfault: ready");
	for (size_t i = 0; i < network->route_count; i++) {
		char text[ADDRESS_TEXT_MAX];

		address_format(&network->routes[i].listens, text);
		(void)printf(" %s", text);
	}
	(void)printf("\n");
	(void)fflush(stdout);
}

/* Readable once the process is asked to end; -1 with errno. */
static int catch_signals(void) {
	sigset_t ends;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) != 0)
		return -1;
	return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The exit status if one cannot be added, else -1. */
static int add_routes(struct network *network, char *routes[]) {
	char error[ROUTE_ERROR_MAX];

	for (; *routes != NULL; routes++) {
		switch (route_add(network, *routes, error)) {
		case ROUTE_ADDED:
			break;
		case ROUTE_MALFORMED:
			(void)fprintf(stderr, "kvfault: %s\n", error);
			return 2;
		case ROUTE_FAILED:
			(void)fprintf(stderr, "kvfault: %s\n", error);
			return 1;
		}
	}
	return -1;
}

static int serve(const struct options *options, char *routes[], struct network *network) {
	char error[CONTROL_ANSWER_MAX];
	struct control *control = NULL;
	int stop = catch_signals();
	int status;

	if (stop < 0) {
		(void)fprintf(stderr, "kvfault: no signals: %s\n", strerror(errno));
		return 1;
	}
	status = add_routes(network, routes);
	if (status >= 0)
		return status;
	if (options->is_bad)
		(void)control_obey(network, "bad", error);
	if (options->control != NULL) {
		control = control_open(network, options->control);
		if (control == NULL) {
			(void)fprintf(stderr, "kvfault: no control socket at %s: %s\n",
				      options->control, strerror(errno));
			return 1;
		}
	}
	tell_ready(network);
	network_run(network, stop);
	control_close(control);
	(void)close(stop);
	return 0;
}

int main(int argc, char *argv[]) {
	static struct network network;
	struct options options = {.seed = random_id()};
	int status = read_options(argc, argv, &options);

	if (status >= 0)
		return status;
	if (!network_open(&network, options.seed)) {
		perror("kvfault");
		return 1;
	}
	network.procedure_max = options.procedure_max;
	status = serve(&options, argv + optind, &network);
	network_close(&network);
	return status;
}
