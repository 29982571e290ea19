/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_bench.c - The command bench: load, and a table of latencies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "bench_load.h"
#include "errors.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"
#include "timing.h"

enum {
	THREADS_DEFAULT = 8,
	THREADS_MAX = 1000,
	DURATION_DEFAULT_MS = 5000,
	KEYS_DEFAULT = 1000,
	VALUE_DEFAULT = 100,
	RATE_MAX = 100000000,
	PROGRESS_MS = 500,
	OPTION_DISTRIBUTION = 256, /* above all letters */
	OPTION_PREFIX,
	OPTION_RATE,
	OPTION_SEPARATE,
};

static const double shares[] = {0.5, 0.9, 0.99, 0.999};
enum { SHARES = sizeof(shares) / sizeof(shares[0]) };
static const char *const share_names[SHARES] = {"p50", "p90", "p99", "p99.9"};

struct bench {
	struct load load;
	uint64_t keys;
	uint64_t value_size;
	uint64_t threads;
	bool is_separate;	    /* a handle for each thread */
	struct kv_client **clients; /* owned; one for each thread, the same one unless separate */
};

/* --- The result ----------------------------------------------------------------------------- */

static double to_ms(uint64_t ns) {
	return (double)ns / 1e6;
}

static int print_table(const struct load *load, uint64_t calls, double seconds) {
	int code =
	    output_text("%llu calls in %.2f s, %.0f a second, %u at a time\n",
			(unsigned long long)calls, seconds, (double)calls / seconds, load->threads);
	if (code == CODE_DONE)
		code = output_text("%-8s %12s %10s %10s %10s %10s %10s %10s  (ms)\n", "", "calls",
				   "mean", "p50", "p90", "p99", "p99.9", "max");
	for (unsigned work = 0; code == CODE_DONE && work < WORKS; work++) {
		const struct histogram *latencies = &load->latencies[work];
		if (latencies->count == 0)
			continue;
		code = output_text("%-8s %12llu %10.3f", workload_name((enum op_type)work),
				   (unsigned long long)latencies->count,
				   histogram_mean(latencies) / 1e6);
		for (size_t i = 0; code == CODE_DONE && i < SHARES; i++)
			code =
			    output_text(" %10.3f", to_ms(histogram_quantile(latencies, shares[i])));
		if (code == CODE_DONE)
			code = output_text(" %10.3f\n", to_ms(latencies->max));
	}
	if (code == CODE_DONE && load->conflicts > 0)
		code = output_text("%llu times the key had changed between the Get and the Put of "
				   "a modify\n",
				   (unsigned long long)load->conflicts);
	return code;
}

static json_t *describe_work(const struct histogram *latencies) {
	json_t *object = json_pack("{s:I, s:f}", "calls", (json_int_t)latencies->count, "mean_ms",
				   histogram_mean(latencies) / 1e6);

	for (size_t i = 0; object != NULL && i < SHARES; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "%s_ms", share_names[i]);
		(void)json_object_set_new(
		    object, name, json_real(to_ms(histogram_quantile(latencies, shares[i]))));
	}
	if (object != NULL)
		(void)json_object_set_new(object, "max_ms", json_real(to_ms(latencies->max)));
	return object;
}

static int print_json(const struct load *load, uint64_t calls, double seconds) {
	json_t *works = json_object();

	for (unsigned work = 0; work < WORKS; work++)
		if (load->latencies[work].count > 0)
			(void)json_object_set_new(works, workload_name((enum op_type)work),
						  describe_work(&load->latencies[work]));
	return output_json(json_pack("{s:I, s:f, s:f, s:I, s:I, s:o}", "calls", (json_int_t)calls,
				     "seconds", seconds, "calls_per_second",
				     (double)calls / seconds, "threads", (json_int_t)load->threads,
				     "conflicts", (json_int_t)load->conflicts, "work", works));
}

/* --- The load ------------------------------------------------------------------------------- */

static void show_progress(const struct settings *settings, struct load *load, bool fills) {
	unsigned long long answered = atomic_load(&load->answered);
	double seconds = (timing_now_ms() - load->begin_ms) / 1e3;

	if (fills)
		status_line_show(settings, "writing keys: %llu of %llu", answered,
				 (unsigned long long)load->workload.keys);
	else
		status_line_show(settings, "%.0f of %.0f s: %llu calls", seconds,
				 load->duration_ms / 1e3, answered);
}

/* Runs all threads once. False, and *code: it failed, and that has been reported. */
static bool run_load(const struct settings *settings, const char *name, struct bench *bench,
		     bool fills, int *code) {
	struct load *load = &bench->load;
	struct attempted attempted = {.command = name, .expected = KV_ANY};
	bool is_started = load_start(load, bench->clients, fills);

	while (is_started && !load_is_done(load, PROGRESS_MS))
		show_progress(settings, load, fills);
	status_line_clear(settings);
	bool is_right = load_wait(load);
	if (!is_started) {
		*code =
		    error_report(CODE_REFUSED, name,
				 "no memory for %u threads (fewer with --threads)", load->threads);
		return false;
	}
	if (!is_right)
		*code = error_status(settings, load->failed_client, &attempted, load->status);
	return is_right;
}

static int run_bench(const struct settings *settings, const char *name, struct bench *bench) {
	struct load *load = &bench->load;
	const unsigned *mix = load->workload.shares;
	bool reads = mix[WORK_GET] != 0 || mix[WORK_MODIFY] != 0;
	int code = CODE_DONE;

	if (reads && !run_load(settings, name, bench, true, &code))
		return code;
	load_free(load);
	if (!run_load(settings, name, bench, false, &code))
		return code;

	uint64_t calls = atomic_load(&load->answered);
	double seconds = (load->end_ms - load->begin_ms) / 1e3;
	code = settings->format == FORMAT_JSON ? print_json(load, calls, seconds)
					       : print_table(load, calls, seconds);
	if (reads || workload_writes(&load->workload))
		notice(settings, name, "the keys that begin with \"%s\" stay in the store",
		       load->prefix);
	return code;
}

static int open_clients(const struct settings *settings, const char *name, struct bench *bench) {
	struct load *load = &bench->load;

	bench->clients = calloc(load->threads, sizeof(*bench->clients));
	if (bench->clients == NULL)
		return error_report(CODE_REFUSED, name, "no memory");
	int code = CODE_DONE;
	for (unsigned i = 0; code == CODE_DONE && i < load->threads; i++) {
		if (i > 0 && !bench->is_separate)
			bench->clients[i] = bench->clients[0];
		else
			code = kvctl_open(settings, name, settings->timeout_ms, &bench->clients[i]);
	}
	return code;
}

static void close_clients(const struct settings *settings, const char *name, struct bench *bench,
			  bool has_answered) {
	unsigned count = bench->is_separate ? bench->load.threads : 1;

	for (unsigned i = 0; bench->clients != NULL && i < count; i++)
		if (bench->clients[i] != NULL)
			kvctl_close(settings, name, bench->clients[i], has_answered && i == 0);
	free(bench->clients);
}

/* --- The command line ----------------------------------------------------------------------- */

static bool read_mix(const char *name, struct bench *bench) {
	const char *wrong = workload_parse(optarg, &bench->load.workload);

	if (wrong != NULL)
		(void)error_usage(name, "--mix \"%s\": %s", optarg, wrong);
	return wrong == NULL;
}

static bool read_distribution(const char *name, struct bench *bench) {
	bool is_right = workload_parse_distribution(optarg, &bench->load.workload.distribution);

	if (!is_right)
		(void)error_usage(name, "--distribution is uniform, zipfian or latest, not \"%s\"",
				  optarg);
	return is_right;
}

static bool read_prefix(const char *name, struct bench *bench) {
	bench->load.prefix = optarg;
	if (strlen(optarg) <= LOAD_PREFIX_MAX)
		return true;
	(void)error_usage(name, "--prefix has at most %d bytes", LOAD_PREFIX_MAX);
	return false;
}

static bool read_option(const char *name, int option, struct bench *bench) {
	uint64_t rate = 0;
	bool is_right = false;

	switch (option) {
	case 'n':
		return args_number(name, "--threads", optarg, 1, THREADS_MAX, &bench->threads);
	case 'd':
		return args_seconds(name, "--seconds", optarg, &bench->load.duration_ms);
	case 'k':
		return args_number(name, "--keys", optarg, 1, WORKLOAD_KEYS_MAX, &bench->keys);
	case 'b':
		return args_number(name, "--value", optarg, 0, KV_VALUE_MAX, &bench->value_size);
	case 'm':
		return read_mix(name, bench);
	case OPTION_DISTRIBUTION:
		return read_distribution(name, bench);
	case OPTION_PREFIX:
		return read_prefix(name, bench);
	case OPTION_RATE:
		is_right = args_number(name, "--rate", optarg, 0, RATE_MAX, &rate);
		bench->load.rate = (double)rate;
		return is_right;
	case OPTION_SEPARATE:
		return bench->is_separate = true;
	default:
		return false;
	}
}

static int start(const struct settings *settings, const char *name, struct bench *bench) {
	char *value = malloc(bench->value_size > 0 ? bench->value_size : 1);
	if (value == NULL)
		return error_report(CODE_REFUSED, name, "no memory for a value of %llu bytes",
				    (unsigned long long)bench->value_size);
	memset(value, 'v', bench->value_size);
	bench->load.value = (struct kv_bytes){value, bench->value_size};
	bench->load.threads = (unsigned)bench->threads;
	workload_init(&bench->load.workload, bench->keys);

	int code = open_clients(settings, name, bench);
	if (code == CODE_DONE)
		code = run_bench(settings, name, bench);
	close_clients(settings, name, bench, code == CODE_DONE);
	load_free(&bench->load);
	free(value);
	return code;
}

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"threads", required_argument, NULL, 'n'},
	    {"seconds", required_argument, NULL, 'd'},
	    {"keys", required_argument, NULL, 'k'},
	    {"value", required_argument, NULL, 'b'},
	    {"mix", required_argument, NULL, 'm'},
	    {"distribution", required_argument, NULL, OPTION_DISTRIBUTION},
	    {"prefix", required_argument, NULL, OPTION_PREFIX},
	    {"rate", required_argument, NULL, OPTION_RATE},
	    {"separate", no_argument, NULL, OPTION_SEPARATE},
	    {NULL, 0, NULL, 0},
	};
	struct bench bench = {
	    .load = {.prefix = "kvctl-bench/", .duration_ms = DURATION_DEFAULT_MS},
	    .keys = KEYS_DEFAULT,
	    .value_size = VALUE_DEFAULT,
	    .threads = THREADS_DEFAULT,
	};
	int option = 0;

	(void)workload_parse("get=50,put=50", &bench.load.workload);
	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":n:d:k:b:m:", options)) !=
	       -1) {
		if (option == 'h')
			return kvctl_help(&bench_command);
		if (!read_option(argv[0], option, &bench))
			return CODE_USAGE;
	}
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;
	if (bench.load.duration_ms == 0)
		return error_usage(argv[0], "--seconds 0 measures nothing");
	return start(settings, argv[0], &bench);
}

const struct command bench_command = {
    .name = "bench",
    .operands = "[OPTION]...",
    .summary = "load the server and print latencies",
    .details =
	"Makes calls from several threads and prints how many were answered and how long that\n"
	"took. A mix that reads writes each key first. Nothing is removed: the keys stay, and\n"
	"all begin with a prefix of their own.\n"
	"\n"
	"  -n, --threads N      calls at a time (8)\n"
	"  -d, --seconds SECS   how long (5)\n"
	"  -m, --mix MIX        null, get, put, append, insert, modify (a get, then a put at the\n"
	"                       version seen) with their shares (get=50,put=50), or a, b, c, d, f\n"
	"                       of YCSB with its distribution\n"
	"  -k, --keys N         (1000)\n"
	"  -b, --value BYTES    (100)\n"
	"      --distribution NAME    uniform, zipfian (0.99) or latest (uniform)\n"
	"      --rate N         calls a second, whatever the answers do (0: each thread makes its\n"
	"                       next call when the one before is answered)\n"
	"      --prefix TEXT    of the keys; keys that have it are overwritten (kvctl-bench/)\n"
	"      --separate       a handle for each thread, with connection and session\n"
	"  -h, --help           print this\n"
	"\n"
	"Example: kvctl bench --threads 50 --separate --mix b --seconds 10\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 5 outcome unknown, 6 server not reached, 8 no space, 1 or 7 "
	"refused.\n",
    .run = run,
};
