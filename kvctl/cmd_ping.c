/* SPDX-License-Identifier: BSD-3-Clause */
/* ping.c - the subcommand ping: round trips. */
#include <errno.h>
#include <time.h>

#include "args.h"
#include "errors.h"
#include "kvctl.h"
#include "output.h"

enum { COUNT_DEFAULT = 3, INTERVAL_DEFAULT_MS = 1000 };

struct times {
	unsigned count;
	double least_ms;
	double sum_ms;
	double most_ms;
};

static void add_time(struct times *times, double time_ms) {
	if (times->count == 0 || time_ms < times->least_ms)
		times->least_ms = time_ms;
	if (times->count == 0 || time_ms > times->most_ms)
		times->most_ms = time_ms;
	times->sum_ms += time_ms;
	times->count++;
}

static int print_time(const struct settings *settings, unsigned seq, double time_ms) {
	if (settings->is_quiet)
		return CODE_DONE;
	if (settings->format == FORMAT_JSON)
		return output_json(
		    json_pack("{s:I, s:f}", "seq", (json_int_t)seq, "time_ms", time_ms));
	return output_text("seq=%u time=%.3f ms\n", seq, time_ms);
}

static int print_summary(const struct settings *settings, const struct times *times) {
	double mean_ms = times->sum_ms / times->count;

	if (settings->format == FORMAT_JSON)
		return output_json(json_pack("{s:I, s:f, s:f, s:f}", "count",
					     (json_int_t)times->count, "min_ms", times->least_ms,
					     "avg_ms", mean_ms, "max_ms", times->most_ms));
	return output_text("%u answered, min/avg/max = %.3f/%.3f/%.3f ms\n", times->count,
			   times->least_ms, mean_ms, times->most_ms);
}

static void pause_ms(unsigned ms) {
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

/* Stops at the first that is not answered: whoever asks for a sign of life wants to know now. */
static int ping(const struct settings *settings, const char *name, struct kv_client *client,
		uint64_t count, unsigned interval_ms) {
	struct action action = {.command = name, .expected = KV_ANY};
	struct times times = {.count = 0};
	int code = CODE_DONE;

	for (uint64_t seq = 1; code == CODE_DONE && seq <= count; seq++) {
		if (seq > 1)
			pause_ms(interval_ms);
		double start_ms = kvctl_now_ms();
		enum kv_status status = kv_ping(client);
		double time_ms = kvctl_now_ms() - start_ms;
		if (status != KV_OK) {
			code = error_status(settings, client, &action, status);
			break;
		}
		add_time(&times, time_ms);
		code = print_time(settings, (unsigned)seq, time_ms);
	}
	if (times.count == 0 || code == CODE_REFUSED)
		return code;
	int printed = print_summary(settings, &times);
	return code != CODE_DONE ? code : printed;
}

static int run(const struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"count", required_argument, NULL, 'c'},
	    {"interval", required_argument, NULL, 'i'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	uint64_t count = COUNT_DEFAULT;
	unsigned interval_ms = INTERVAL_DEFAULT_MS;
	bool is_right = true;
	int option = 0;

	optind = 0;
	while (is_right &&
	       (option = arguments_option(argv[0], argc, argv, ":c:i:h", options)) != -1) {
		switch (option) {
		case 'c':
			is_right =
			    arguments_number(argv[0], "--count", optarg, 1, UINT32_MAX, &count);
			break;
		case 'i':
			is_right = arguments_seconds(argv[0], "--interval", optarg, &interval_ms);
			break;
		case 'h':
			return kvctl_help(&ping_command);
		default:
			return CODE_USAGE;
		}
	}
	if (!is_right)
		return CODE_USAGE;
	if (optind < argc)
		return error_usage(argv[0], "-s names the server, not \"%s\" after it",
				     argv[optind]);

	struct kv_client *client = NULL;
	if (!kvctl_open(settings, argv[0], settings->timeout_ms, &client))
		return CODE_REFUSED;
	int code = ping(settings, argv[0], client, count, interval_ms);
	kvctl_close(settings, argv[0], client, code == CODE_DONE);
	return code;
}

const struct command ping_command = {
    .name = "ping",
    .operands = "[--count N] [--interval SECS]",
    .summary = "measure round trips to the server",
    .details = "Sends empty calls one after the other and prints the time that each took, then\n"
	       "the least, the mean and the greatest. The first includes connecting. Ends at the\n"
	       "first that is not answered in time. With -q, prints the summary only.\n"
	       "\n"
	       "  -c, --count N         how many (3)\n"
	       "  -i, --interval SECS   from one to the next (1)\n"
	       "  -h, --help            print this\n"
	       "\n"
	       "Example: kvctl -t 2 ping --count 1\n"
	       "\n"
	       "Exit codes: 0 all answered, 2 usage, 6 no answer, 1 or 7 refused.\n",
    .run = run,
};
