/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load.c - the load program: threads, the window that is measured, and what came of it.
 *
 * Prints a name and a value on each line, times in microseconds. docs/PERFORMANCE.md tells what
 * they mean.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "options.h"
#include "worker.h"

/* What the threads share. They meet at the gate before and after the window is set. */
struct run {
	struct options options;
	pthread_barrier_t gate;
	struct window window;
	_Atomic bool has_failed;
	uint64_t *versions; /* owned; NULL: Puts name none */
};

struct part {
	struct run *run;
	unsigned number;
	struct worker worker;
	pthread_t thread;
};

/* Seconds of processor time since the start. */
struct usage {
	double load, server;
};

static void *run_part(void *context) {
	struct part *part = context;
	struct run *run = part->run;
	bool is_right = worker_open(&part->worker, &run->options, run->versions, part->number,
				    run->options.threads) &&
			(!run->options.fills || worker_fill(&part->worker));

	if (!is_right)
		atomic_store(&run->has_failed, true);
	(void)pthread_barrier_wait(&run->gate);
	(void)pthread_barrier_wait(&run->gate);
	if (!atomic_load(&run->has_failed) && !worker_run(&part->worker, run->window))
		atomic_store(&run->has_failed, true);
	return NULL;
}

/* --- Processor time ------------------------------------------------------------------------- */

static double seconds_of(struct timeval time) {
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Of a process, all its threads: the first number of each schedstat, in nanoseconds. */
static double read_usage(pid_t pid) {
	char path[64];
	DIR *tasks = NULL;
	const struct dirent *task = NULL;
	double seconds = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return 0;
	while ((task = readdir(tasks)) != NULL) {
		char name[sizeof(path) + sizeof(task->d_name) + 16];
		unsigned long long ns = 0;
		FILE *file = NULL;
		(void)snprintf(name, sizeof(name), "%s/%s/schedstat", path, task->d_name);
		file = task->d_name[0] == '.' ? NULL : fopen(name, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%llu", &ns) == 1)
			seconds += (double)ns / 1e9;
		(void)fclose(file);
	}
	(void)closedir(tasks);
	return seconds;
}

static struct usage usage_now(pid_t server) {
	struct rusage own;
	struct usage usage = {0, server == 0 ? 0 : read_usage(server)};

	if (getrusage(RUSAGE_SELF, &own) == 0)
		usage.load = seconds_of(own.ru_utime) + seconds_of(own.ru_stime);
	return usage;
}

static void sleep_until(uint64_t ns) {
	struct timespec until = {.tv_sec = (time_t)(ns / 1000000000),
				 .tv_nsec = (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		continue;
}

/* --- What came of it ------------------------------------------------------------------------ */

static void print_latency(const char *prefix, const struct histogram *latencies) {
	static const double percents[] = {10, 25,   50,	  75,	 90,	95,
					  99, 99.5, 99.9, 99.95, 99.99, 100};

	printf("%scount %" PRIu64 "\n", prefix, latencies->count);
	printf("%smean_us %.2f\n", prefix, histogram_mean(latencies) / 1e3);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
		printf("%sp%g_us %.2f\n", prefix, percents[i],
		       (double)histogram_quantile(latencies, percents[i] / 100) / 1e3);
}

static void print_result(struct part *parts, const struct options *options, double seconds,
			 struct usage used) {
	struct worker *sum = &parts[0].worker;
	struct histogram *all = calloc(1, sizeof(*all));
	unsigned kinds = 0;

	for (unsigned i = 1; i < options->threads; i++) {
		const struct worker *worker = &parts[i].worker;
		for (unsigned work = 0; work < WORKS; work++)
			histogram_merge(&sum->latencies[work], &worker->latencies[work]);
		sum->answered += worker->answered;
		sum->missing += worker->missing;
		sum->conflicts += worker->conflicts;
		sum->behind += worker->behind;
	}
	printf("calls_per_second %.0f\n", (double)sum->answered / seconds);
	printf("seconds %.3f\n", seconds);
	for (unsigned work = 0; all != NULL && work < WORKS; work++) {
		histogram_merge(all, &sum->latencies[work]);
		kinds += sum->latencies[work].count > 0;
	}
	if (all != NULL)
		print_latency("", all);
	for (unsigned work = 0; kinds > 1 && work < WORKS; work++) {
		char prefix[16];
		(void)snprintf(prefix, sizeof(prefix), "%s_", workload_name((enum op_type)work));
		if (sum->latencies[work].count > 0)
			print_latency(prefix, &sum->latencies[work]);
	}
	printf("missing %" PRIu64 "\nconflicts %" PRIu64 "\nbehind %" PRIu64 "\n", sum->missing,
	       sum->conflicts, sum->behind);
	printf("load_cpu_percent %.0f\n", used.load / seconds * 100);
	if (options->server_pid != 0)
		printf("server_cpu_percent %.0f\nserver_us_a_call %.3f\n",
		       used.server / seconds * 100,
		       sum->answered == 0 ? 0 : used.server * 1e6 / (double)sum->answered);
	free(all);
}

/* --- The run -------------------------------------------------------------------------------- */

/* Every connection is a descriptor; a few more are for the rest. */
static bool raise_files(const struct options *options) {
	const rlim_t wanted = (rlim_t)options->connections + options->idle + 64;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return true;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == wanted)
		return true;
	log_error("%u connections need %llu open files, and the limit is %llu (ulimit -Hn)",
		  options->connections + options->idle, (unsigned long long)wanted,
		  (unsigned long long)limit.rlim_max);
	return false;
}

static bool open_idle(const struct options *options, int *idle) {
	for (unsigned i = 0; i < options->idle; i++) {
		idle[i] = connection_dial(&options->server);
		if (idle[i] < 0)
			return false;
	}
	return true;
}

/* Everything but the threads' own memory. False: an error line said why. */
static bool prepare(struct run *run, int *idle) {
	const struct options *options = &run->options;

	if (!raise_files(options) || !open_idle(options, idle))
		return false;
	if (options->is_versioned) {
		run->versions = calloc(options->workload.keys, sizeof(*run->versions));
		if (run->versions == NULL) {
			log_error("no memory for the versions of so many keys");
			return false;
		}
	}
	return true;
}

/* Runs the threads to their end. Replies the seconds that were measured; *used is theirs. */
static double measure(struct run *run, struct part *parts, struct usage *used) {
	const struct options *options = &run->options;
	uint64_t begin_ns = 0;
	struct usage before = {0, 0};
	struct usage after = {0, 0};

	(void)pthread_barrier_wait(&run->gate);
	begin_ns = clock_ns();
	if (options->calls == 0)
		begin_ns += (uint64_t)options->warmup_ms * 1000000;
	run->window = (struct window){begin_ns, UINT64_MAX};
	if (options->calls == 0)
		run->window.end_ns = begin_ns + (uint64_t)options->duration_ms * 1000000;
	(void)pthread_barrier_wait(&run->gate);

	if (options->calls == 0 && !atomic_load(&run->has_failed))
		sleep_until(begin_ns);
	before = usage_now(options->server_pid);
	if (options->calls == 0 && !atomic_load(&run->has_failed)) {
		sleep_until(run->window.end_ns);
		after = usage_now(options->server_pid);
	}
	for (unsigned i = 0; i < options->threads; i++)
		(void)pthread_join(parts[i].thread, NULL);
	if (options->calls != 0) {
		run->window.end_ns = clock_ns();
		after = usage_now(options->server_pid);
	}
	*used = (struct usage){after.load - before.load, after.server - before.server};
	return (double)(run->window.end_ns - run->window.begin_ns) / 1e9;
}

static bool run_all(struct run *run, struct part *parts) {
	struct usage used = {0, 0};
	double seconds = 0;

	if (pthread_barrier_init(&run->gate, NULL, run->options.threads + 1) != 0)
		return false;
	for (unsigned i = 0; i < run->options.threads; i++) {
		parts[i] = (struct part){.run = run, .number = i};
		if (pthread_create(&parts[i].thread, NULL, run_part, &parts[i]) != 0) {
			/* Those that run wait at the gate for one that will not come. */
			log_error("no more than %u threads can be made", i);
			exit(1);
		}
	}
	seconds = measure(run, parts, &used);
	if (!atomic_load(&run->has_failed))
		print_result(parts, &run->options, seconds, used);
	for (unsigned i = 0; i < run->options.threads; i++)
		worker_close(&parts[i].worker);
	(void)pthread_barrier_destroy(&run->gate);
	return !atomic_load(&run->has_failed);
}

int main(int argc, char **argv) {
	static struct run run;
	int code = 0;
	int *idle = NULL;
	struct part *parts = NULL;

	log_open("load", 0);
	if (!options_read(&run.options, argc, argv, &code))
		return code;
	idle = calloc(run.options.idle + 1, sizeof(*idle));
	parts = calloc(run.options.threads, sizeof(*parts));
	if (idle == NULL || parts == NULL) {
		log_error("no memory");
		return 1;
	}
	code = prepare(&run, idle) && run_all(&run, parts) ? 0 : 1;
	if (fflush(stdout) != 0) {
		log_error("standard output: %s", strerror(errno));
		code = 1;
	}
	free(run.versions);
	free((void *)(uintptr_t)run.options.common.value.data);
	free(idle);
	free(parts);
	return code;
}
