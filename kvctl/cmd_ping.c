/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ping.c - The command ping: round trips. */
#include "args.h"
#include "errors.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"
#include "timing.h"

enum { COUNT_DEFAULT = 3, INTERVAL_DEFAULT_MS = 1000 };

struct times {
	unsigned count;
	double min_ms;
	double sum_ms;
	double max_ms;
};

static void add_time(struct times *times, double time_ms) {
	if (times->count == 0 || time_ms < times->min_ms)
		times->min_ms = time_ms;
	if (times->count == 0 || time_ms > times->max_ms)
		times->max_ms = time_ms;
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
					     (json_int_t)times->count, "min_ms", times->min_ms,
					     "avg_ms", mean_ms, "max_ms", times->max_ms));
	return output_text("%u answered, min/avg/max = %.3f/%.3f/%.3f ms\n", times->count,
			   times->min_ms, mean_ms, times->max_ms);
}

/* Stops at the first call without a reply, because ping is run to see if the server is up. */
static int ping(const struct settings *settings, const char *name, struct kv_client *client,
		uint64_t count, unsigned interval_ms) {
	struct attempted attempted = {.command = name, .expected = KV_ANY};
	struct times times = {.count = 0};
	int code = CODE_DONE;

	for (uint64_t seq = 1; code == CODE_DONE && seq <= count; seq++) {
		if (seq > 1)
			timing_sleep_ms(interval_ms);
		double start_ms = timing_now_ms();
		struct status_line_wait wait;
		status_line_wait_begin(&wait, settings, client);
		enum kv_status status = kv_ping(client);
		status_line_wait_end(&wait);
		double time_ms = timing_now_ms() - start_ms;
		if (status != KV_OK) {
			code = error_status(settings, client, &attempted, status);
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

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"count", required_argument, NULL, 'c'},
	    {"interval", required_argument, NULL, 'i'},
	    {NULL, 0, NULL, 0},
	};
	uint64_t count = COUNT_DEFAULT;
	unsigned interval_ms = INTERVAL_DEFAULT_MS;
	bool is_right = true;
	int option = 0;

	optind = 0;
	while (is_right &&
	       (option = args_option(settings, argv[0], argc, argv, ":c:i:", options)) != -1) {
		switch (option) {
		case 'c':
			is_right = args_number(argv[0], "--count", optarg, 1, UINT32_MAX, &count);
			break;
		case 'i':
			is_right = args_seconds(argv[0], "--interval", optarg, &interval_ms);
			break;
		case 'h':
			return kvctl_help(&ping_command);
		default:
			return CODE_USAGE;
		}
	}
	if (!is_right)
		return CODE_USAGE;
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;

	struct kv_client *client = NULL;
	int code = kvctl_open(settings, argv[0], settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;
	code = ping(settings, argv[0], client, count, interval_ms);
	kvctl_close(settings, argv[0], client, code == CODE_DONE);
	return code;
}

const struct command ping_command = {
    .name = "ping",
    .operands = "[--count N] [--interval SECS]",
    .summary = "measure round trips to the server",
    .details = "Sends empty calls one after the other and prints the time that each took, then\n"
	       "the minimum, the mean and the maximum. The first includes connecting. Ends at the\n"
	       "first that is not answered in time. With -q, prints the summary only.\n"
	       "\n"
	       "  -c, --count N         how many (3)\n"
	       "  -i, --interval SECS   from one to the next (1)\n"
	       "  -h, --help            print this\n"
	       "\n"
	       "Example: kvctl -t 2 ping --count 1\n"
	       "\n"
	       "Exit codes: 0 all answered, 2 usage, 6 server not reached, 1 or 7 refused.\n",
    .run = run,
};
