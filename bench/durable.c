/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * durable.c - what durability costs, beside what it is made of and beside Redis.
 *
 *	durable KVD DIR [REDIS-SERVER|-] [SECTION...]
 *
 * Starts the servers on local sockets in DIR (an empty directory on the disk to be measured). What
 * is compared is measured in turns, round after round, so that a busy machine is unfair to nobody;
 * a ratio is the median of the rounds' ratios. Sections: one, many, reads, recovery; all if none is
 * named. $QUICK: fewer and shorter rounds, less data.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kv/kv.h>

#include "durable_load.h"

enum {
	ROUNDS_MAX = 15,
	LOGGED_SIZE = 216, /* bytes of one such Put in the journal, its batch header included */
	PATH_SIZE = 300,
	LINE_SIZE = 512,
};

struct bench {
	const char *kvd;
	const char *redis_program; /* NULL: there is none */
	char load[PATH_SIZE];	   /* the load program beside this one */
	bool is_quick;
	char data[PATH_SIZE];
	char log[PATH_SIZE];
	char file[PATH_SIZE];
	char redis[PATH_SIZE];
	char durable[PATH_SIZE]; /* addresses */
	char memory[PATH_SIZE];
	const char *directory;
	pid_t pids[3]; /* kvd -d, kvd, Redis */
};

/* One figure, a value for each round. */
struct figure {
	double values[ROUNDS_MAX];
	unsigned count;
};

static void say_progress(const char *section, unsigned round, unsigned rounds) {
	if (isatty(STDERR_FILENO))
		(void)fprintf(stderr, "\r%s: %u of %u\033[K%s", section, round, rounds,
			      round == rounds ? "\r\033[K" : "");
}

/* --- Figures ------------------------------------------------------------------------------------
 */

static double median(struct figure figure) {
	qsort(figure.values, figure.count, sizeof(figure.values[0]), compare_doubles);
	return figure.count == 0 ? 0 : figure.values[figure.count / 2];
}

static void add(struct figure *figure, double value) {
	figure->values[figure->count++] = value;
}

static void print(const char *name, const struct figure *figure) {
	(void)printf("  %-58s %10.*f\n", name, median(*figure) < 100 ? 2 : 0, median(*figure));
}

/* `target` is at least that, or with `is_most` at most. */
static void print_target(const char *name, const struct figure *figure, double target,
			 bool is_most) {
	double value = median(*figure);
	bool is_met = is_most ? value <= target : value >= target;

	(void)printf("  %-58s %10.*f  (%s %g: %s)\n", name, value < 100 ? 2 : 0, value,
		     is_most ? "at most" : "at least", target, is_met ? "met" : "MISSED");
	(void)fflush(stdout);
}

/* --- Processes ----------------------------------------------------------------------------------
 */

/* What it says goes to `log`; it dies with us. */
static pid_t start(const char *log, const char *const argv[]) {
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)dup2(fd, STDOUT_FILENO);
		(void)dup2(fd, STDERR_FILENO);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static void stop(pid_t *pid) {
	if (*pid <= 0)
		return;
	(void)kill(*pid, SIGTERM);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

/* The first line of the log that holds `text`; false: there is none. */
static bool find_line(const struct bench *bench, const char *text, char line[LINE_SIZE]) {
	FILE *log = fopen(bench->log, "re");
	bool is_found = false;

	while (log != NULL && !is_found && fgets(line, LINE_SIZE, log) != NULL)
		is_found = strstr(line, text) != NULL;
	if (log != NULL)
		(void)fclose(log);
	return is_found;
}

/* Until it says that it is ready; in how many seconds. */
static double start_durable(struct bench *bench) {
	char line[LINE_SIZE];
	double began;

	(void)unlink(bench->log);
	began = now_us();
	bench->pids[0] =
	    start(bench->log, (const char *[]){bench->kvd, "-v", "-n", "-d", bench->data, "-l",
					       bench->durable, NULL});
	while (!find_line(bench, "kvd: ready", line)) {
		if (now_us() - began > WAIT_S * 1e6 ||
		    waitpid(bench->pids[0], NULL, WNOHANG) != 0) {
			(void)fprintf(stderr, "durable: kvd does not start: see %s\n", bench->log);
			exit(1);
		}
		(void)usleep(1000);
	}
	return (now_us() - began) / 1e6;
}

static void start_others(struct bench *bench) {
	bench->pids[1] =
	    start("/dev/null", (const char *[]){bench->kvd, "-n", "-l", bench->memory, NULL});
	if (bench->redis_program != NULL)
		bench->pids[2] =
		    start("/dev/null",
			  (const char *[]){bench->redis_program, "--port", "0", "--unixsocket",
					   bench->redis, "--dir", bench->directory, "--save", "",
					   "--appendonly", "yes", "--appendfsync", "always", NULL});
}

static uint64_t counter(const char *server, const char *name) {
	struct kv_options options = {.server = server};
	struct kv_client *client = NULL;
	struct kv_stats stats;
	uint64_t value = 0;

	if (kv_open(&options, &client) != KV_OK || kv_stats(client, &stats) != KV_OK)
		die("kv_stats");
	for (size_t i = 0; i < stats.counter_count; i++)
		if (strcmp(stats.counters[i].name, name) == 0)
			value = stats.counters[i].value;
	kv_stats_free(&stats);
	kv_close(client);
	return value;
}

/* --- Sections -----------------------------------------------------------------------------------
 */

static void measure_one(struct bench *bench) {
	unsigned rounds = bench->is_quick ? 7 : 15;
	int for_ms = bench->is_quick ? 100 : 300;
	struct figure sync = {0}, trip = {0}, put = {0}, ratio = {0};

	for (unsigned i = 0; i < rounds; i++) {
		add(&sync, time_sync(bench->file, LOGGED_SIZE, for_ms).median_us);
		add(&trip, trip_us(bench->durable, for_ms));
		add(&put, call_us(bench->durable, false, for_ms));
		add(&ratio, put.values[i] / (sync.values[i] + trip.values[i]));
		say_progress("one client", i + 1, rounds);
	}
	(void)printf("one client, medians\n");
	print("one write + fdatasync (us)", &sync);
	print("one round trip (us)", &trip);
	print("one durable Put (us)", &put);
	print_target("Put / (sync + round trip)", &ratio, 1.25, true);
}

static void measure_many(struct bench *bench) {
	unsigned rounds = bench->is_quick ? 3 : 7;
	int for_ms = bench->is_quick ? 500 : 1500;
	struct figure memory = {0}, durable = {0}, alone = {0}, redis = {0}, of_limits = {0},
		      of_redis = {0}, sizes = {0};

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t batches = counter(bench->durable, "journal_batches");
		uint64_t bytes = counter(bench->durable, "journal_bytes");
		double puts;
		double least;

		add(&memory, run_load(bench->memory, NULL, CLIENTS, for_ms));
		add(&durable, run_load(bench->durable, NULL, CLIENTS, for_ms));
		batches = counter(bench->durable, "journal_batches") - batches;
		bytes = counter(bench->durable, "journal_bytes") - bytes;
		puts = durable.values[i] * for_ms / 1e3 / (double)batches;
		add(&sizes, puts);
		add(&alone,
		    puts * 1e6 / time_sync(bench->file, bytes / batches, for_ms / 2).mean_us);
		if (bench->redis_program != NULL) {
			add(&redis, run_load(NULL, bench->redis, CLIENTS, for_ms));
			add(&of_redis, durable.values[i] / redis.values[i]);
		}
		least = memory.values[i] < alone.values[i] ? memory.values[i] : alone.values[i];
		add(&of_limits, durable.values[i] / least);
		say_progress("64 clients", i + 1, rounds);
	}
	(void)printf("64 clients, values of 100 bytes\n");
	print("Puts a second, memory only", &memory);
	print("Puts a second, durable", &durable);
	print("Puts in a batch", &sizes);
	print("such batches written and synced alone (Puts a second)", &alone);
	if (bench->redis_program != NULL)
		print("Redis SET a second, appendfsync always", &redis);
	print_target("durable / min(memory only, batches alone)", &of_limits, 0.4, false);
	if (bench->redis_program != NULL)
		print_target("durable / Redis", &of_redis, 1.1, false);
}

/*
 * Writers of another process, in one thread: as many threads as clients would keep this machine's
 * processors from the reader, and it is not those that are to be measured.
 */
static pid_t start_writers(const struct bench *bench, unsigned clients, int for_ms) {
	char connections[16];
	char duration[16];

	(void)snprintf(connections, sizeof(connections), "%u", clients);
	(void)snprintf(duration, sizeof(duration), "%d", for_ms);
	return start("/dev/null",
		     (const char *[]){bench->load, "--server", bench->durable, "--mix", "put",
				      "--connections", connections, "--keys", "100000", "--warm-up",
				      "0", "--duration", duration, NULL});
}

/* Median of one client's reads while so many write. */
static double read_beside(const struct bench *bench, unsigned writers, int for_ms) {
	/* They begin sooner and end later. */
	pid_t pid = start_writers(bench, writers, for_ms + WARM_UP_MS + 200);
	double us;
	int status;

	(void)usleep(100000);
	us = call_us(bench->durable, true, for_ms);
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		(void)fprintf(stderr, "durable: the writers failed: %s\n", bench->load);
		exit(1);
	}
	return us;
}

static void measure_reads(struct bench *bench) {
	unsigned rounds = bench->is_quick ? 3 : 7;
	int for_ms = bench->is_quick ? 300 : 1000;
	struct figure one = {0}, many = {0}, alone = {0}, of_one = {0}, of_many = {0};

	for (unsigned i = 0; i < rounds; i++) {
		add(&alone, call_us(bench->durable, true, for_ms));
		add(&one, read_beside(bench, 1, for_ms));
		add(&many, read_beside(bench, CLIENTS, for_ms));
		add(&of_one, one.values[i] / alone.values[i]);
		add(&of_many, many.values[i] / alone.values[i]);
		say_progress("reads beside writes", i + 1, rounds);
	}
	(void)printf("one client's reads of a key that nobody writes, median\n");
	print("alone (us)", &alone);
	print("beside one durable writer (us)", &one);
	print("beside 64 durable writers (us)", &many);
	print_target("beside one / alone", &of_one, 1.5, true);
	print_target("beside 64 / alone", &of_many, 1.5, true);
}

/* From "... snapshot and N operations from the journal in M ms". */
static void find_replay(const struct bench *bench, uint64_t *operations, uint64_t *ms) {
	static const char before[] = "snapshot and ";
	char line[LINE_SIZE];

	*operations = *ms = 0;
	if (!find_line(bench, before, line) ||
	    sscanf(strstr(line, before),
		   "snapshot and %" SCNu64 " operations from the journal in %" SCNu64, operations,
		   ms) != 2)
		(void)fprintf(stderr, "durable: kvd does not say what it replayed: see %s\n",
			      bench->log);
}

/* Asks for one, and waits for it. */
static void take_snapshot(const struct bench *bench) {
	uint64_t before = counter(bench->durable, "snapshots");

	if (kill(bench->pids[0], SIGUSR1) != 0)
		die("kill");
	for (int i = 0; i < WAIT_S * 100; i++) {
		if (counter(bench->durable, "snapshots") > before)
			return;
		(void)usleep(10000);
	}
	errno = ETIMEDOUT;
	die("a snapshot");
}

static void measure_pause(struct bench *bench, uint64_t keys) {
	uint64_t large = bench->is_quick ? 32768 : 262144;
	struct figure pause = {0}, gib = {0};

	fill_store(bench->durable, keys, large, 4096);
	for (int i = 0; i < 3; i++) {
		add(&gib, (double)counter(bench->durable, "memory_used") / (1 << 30));
		/* Another one may have ended just now. */
		take_snapshot(bench);
		add(&pause,
		    (double)counter(bench->durable, "snapshot_pause_us") / 1e3 / gib.values[i]);
		/* Pages are split while a child lives. */
		if (kill(bench->pids[0], SIGUSR1) != 0)
			die("kill");
		fill_store(bench->durable, 0, large / 4, VALUE_SIZE);
		say_progress("pauses", (unsigned)i + 1, 3);
	}
	print("GiB in memory", &gib);
	print_target("the pause when a snapshot starts (ms a GiB)", &pause, 20, true);
}

static void measure_recovery(struct bench *bench) {
	uint64_t small = bench->is_quick ? 100000 : 500000;
	uint64_t keys = bench->is_quick ? 200000 : 1000000;
	struct figure replay = {0}, ready = {0};
	uint64_t operations;
	uint64_t ms;

	say_progress("recovery", 0, 3);
	fill_store(bench->durable, 0, small, 8);
	for (int i = 0; i < 3; i++) {
		stop(&bench->pids[0]);
		(void)start_durable(bench);
		find_replay(bench, &operations, &ms);
		if (ms > 0)
			add(&replay, (double)operations / (double)ms * 1e3);
	}
	say_progress("recovery", 1, 3);
	fill_store(bench->durable, 0, keys, VALUE_SIZE);
	take_snapshot(bench);
	for (int i = 0; i < 3; i++) {
		stop(&bench->pids[0]);
		add(&ready, start_durable(bench));
	}
	say_progress("recovery", 3, 3);
	(void)printf("recovery\n");
	(void)printf("  %-58s %10" PRIu64 "\n", "operations in the journal", operations);
	print_target("replayed a second", &replay, 1e6, false);
	(void)printf("  %-58s %10" PRIu64 "\n", "keys in the snapshot",
		     counter(bench->durable, "keys"));
	print_target("ready from it after (s)", &ready, 2, true);
	measure_pause(bench, keys);
}

/* --- All of it ----------------------------------------------------------------------------------
 */

static void place(char out[PATH_SIZE], const char *before, const char *directory,
		  const char *name) {
	if (snprintf(out, PATH_SIZE, "%s%s/%s", before, directory, name) >= PATH_SIZE) {
		errno = ENAMETOOLONG;
		die(directory);
	}
}

static bool is_wanted(int argc, char **argv, const char *section) {
	for (int i = 4; i < argc; i++)
		if (strcmp(argv[i], section) == 0)
			return true;
	return argc <= 4;
}

int main(int argc, char **argv) {
	struct bench bench = {.is_quick = getenv("QUICK") != NULL};
	char copy[PATH_SIZE];

	if (argc < 3) {
		(void)fputs("usage: durable KVD DIR [REDIS-SERVER|- [SECTION...]]\n", stderr);
		return 2;
	}
	(void)snprintf(copy, sizeof(copy), "%s", argv[0]);
	bench.kvd = argv[1];
	bench.directory = argv[2];
	if (argc > 3 && strcmp(argv[3], "-") != 0)
		bench.redis_program = argv[3];
	place(bench.load, "", dirname(copy), "load");
	place(bench.data, "", argv[2], "data");
	place(bench.log, "", argv[2], "log");
	place(bench.file, "", argv[2], "file");
	place(bench.redis, "", argv[2], "redis");
	place(bench.durable, "local:", argv[2], "durable");
	place(bench.memory, "local:", argv[2], "memory");
	if (mkdir(bench.data, 0700) != 0)
		die(bench.data);
	/* It comes first: its journal is then of what it filled. */
	(void)start_durable(&bench);
	if (is_wanted(argc, argv, "recovery"))
		measure_recovery(&bench);
	start_others(&bench);
	if (is_wanted(argc, argv, "one"))
		measure_one(&bench);
	if (is_wanted(argc, argv, "many"))
		measure_many(&bench);
	if (is_wanted(argc, argv, "reads"))
		measure_reads(&bench);
	for (int i = 0; i < 3; i++)
		stop(&bench.pids[i]);
	return 0;
}
