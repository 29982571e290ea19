/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * simulate.c - the program: worlds by their seeds, each in a process of its own, some at a time.
 *
 *	simulate [--seed N] [--count N] [--seconds S] [--jobs N] [--list FILE] [-v]
 *
 * One line at the end says what happened, or which promise was broken in the world of which seed,
 * and how to see that again.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scenario.h"

enum {
	JOBS_MAX = 64,
	LIST_MAX = 1000,    /* seeds in a file */
	SEED_SECONDS = 120, /* of one world; a sanitizer is slow, and machines are shared */
	EXIT_BROKEN = 1,
	EXIT_USAGE = 2,
};

struct options {
	uint64_t seed;
	bool has_seed;
	uint64_t count; /* 0: as many as there is time for */
	double seconds; /* 0: as long as it takes */
	unsigned jobs;
	const char *list; /* a file of seeds, or NULL */
	bool is_told;
};

/* A process, and the pipe from it. pid 0: none. */
struct job {
	pid_t pid;
	int pipe;
	uint64_t seed;
};

struct tally {
	struct figures figures;
	uint64_t seeds;
	uint64_t virtual_ms;
	uint64_t hash;
	uint64_t failures;
};

static double now_s(void) {
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- Options -----------------------------------------------------------------------------------
 */

static bool read_number(const char *text, uint64_t *number) {
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static int usage(void) {
	(void)fputs("usage: simulate [--seed N] [--count N] [--seconds S] [--jobs N] [--list FILE] "
		    "[-v]\n",
		    stderr);
	return EXIT_USAGE;
}

static bool read_options(int argc, char **argv, struct options *options) {
	static const struct option names[] = {
	    {"seed", required_argument, NULL, 's'},    {"count", required_argument, NULL, 'c'},
	    {"seconds", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
	    {"list", required_argument, NULL, 'l'},    {NULL, 0, NULL, 0},
	};
	uint64_t number = 0;
	int message;

	*options = (struct options){.jobs = 2};
	while ((message = getopt_long(argc, argv, "v", names, NULL)) != -1) {
		if (strchr("sctj", message) != NULL && !read_number(optarg, &number))
			return false;
		if (message == 's') {
			options->seed = number;
			options->has_seed = true;
		} else if (message == 'c') {
			options->count = number;
		} else if (message == 't') {
			options->seconds = (double)number;
		} else if (message == 'j') {
			options->jobs = number < JOBS_MAX ? (unsigned)number : JOBS_MAX;
		} else if (message == 'l') {
			options->list = optarg;
		} else if (message == 'v') {
			options->is_told = true;
		} else {
			return false;
		}
	}
	if (options->jobs == 0 || options->is_told)
		options->jobs = 1;
	if (options->count == 0 && options->seconds == 0)
		options->count = 1;
	if (!options->has_seed)
		(void)!getrandom(&options->seed, sizeof(uint32_t), 0);
	return optind == argc;
}

/* --- One world in its process ------------------------------------------------------------------
 */

static void run_here(const struct options *options, uint64_t seed, int pipe) {
	struct outcome outcome = {.hash = 0};

	(void)alarm(SEED_SECONDS);
	if (!scenario_run(seed, options->is_told, &outcome))
		_exit(EXIT_FAILURE);
	(void)fflush(stdout);
	if (write(pipe, &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
		_exit(EXIT_FAILURE);
	/* Of a world that broke down nothing was freed. */
	if (outcome.failure[0] != '\0')
		_exit(EXIT_SUCCESS);
	exit(EXIT_SUCCESS);
}

static bool job_begin(struct job *job, const struct options *options, uint64_t seed) {
	int ends[2];

	(void)fflush(stdout);
	if (pipe(ends) != 0)
		return false;
	job->pid = fork();
	if (job->pid == 0) {
		(void)close(ends[0]);
		run_here(options, seed, ends[1]);
	}
	(void)close(ends[1]);
	job->pipe = ends[0];
	job->seed = seed;
	if (job->pid > 0)
		return true;
	(void)close(ends[0]);
	job->pid = 0;
	return false;
}

static void add_up(struct tally *tally, const struct outcome *outcome) {
#define ADD(name, words) tally->figures.name += outcome->figures.name;
	SIM_FIGURES(ADD)
#undef ADD
	tally->seeds++;
	tally->virtual_ms += outcome->virtual_ms;
	tally->hash = outcome->hash;
}

static void say_failure(struct tally *tally, uint64_t seed, const char *what) {
	tally->failures++;
	(void)printf("seed %" PRIu64 ": %s\nto see it: make simulate SEED=%" PRIu64 " TELL=1\n",
		     seed, what, seed);
	(void)fflush(stdout);
}

static void job_end(struct job *job, struct tally *tally) {
	struct outcome outcome;
	ssize_t size = read(job->pipe, &outcome, sizeof(outcome));
	char what[64];
	int status = 0;

	(void)close(job->pipe);
	(void)waitpid(job->pid, &status, 0);
	job->pid = 0;
	if (size == (ssize_t)sizeof(outcome))
		add_up(tally, &outcome);
	if (size == (ssize_t)sizeof(outcome) && outcome.failure[0] != '\0')
		say_failure(tally, job->seed, outcome.failure);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		say_failure(tally, job->seed, "no end in good time");
	else if (WIFSIGNALED(status) || status != 0 || size != (ssize_t)sizeof(outcome)) {
		(void)snprintf(what, sizeof(what), "the process died of %s %d",
			       WIFSIGNALED(status) ? "signal" : "exit status",
			       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		say_failure(tally, job->seed, what);
	}
}

/* --- Many --------------------------------------------------------------------------------------
 */

/* Where the seeds come from: one after another, or a list. */
struct source {
	const struct options *options;
	uint64_t list[LIST_MAX];
	uint64_t list_count;
	uint64_t next;
	uint64_t given;
	double began_s;
};

static bool wrong_list(const char *name, const char *what) {
	(void)fprintf(stderr, "simulate: %s: %s\n", name, what);
	return false;
}

/* A seed, a comment, or nothing. */
static bool read_seed(struct source *source, char *line) {
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0' || line[0] == '#')
		return true;
	if (!read_number(line, &source->list[source->list_count]))
		return false;
	source->list_count++;
	return true;
}

/*
 * All of it before the first fork: a child that exits puts the shared offset of an open file back.
 * False: what is wrong was said, for a list that tries nothing would prove nothing.
 */
static bool read_list(struct source *source, const char *name) {
	FILE *file = fopen(name, "r");
	bool is_good = true;
	char line[256];

	if (file == NULL)
		return wrong_list(name, strerror(errno));
	while (is_good && fgets(line, sizeof(line), file) != NULL) {
		if (source->list_count == LIST_MAX)
			is_good = wrong_list(name, "too many seeds: split the list");
		else if (!read_seed(source, line))
			is_good = wrong_list(name, "a line is neither a seed nor a # comment");
	}
	if (is_good && ferror(file))
		is_good = wrong_list(name, strerror(errno));
	else if (is_good && source->list_count == 0)
		is_good = wrong_list(name, "there is no seed in it");
	(void)fclose(file);
	return is_good;
}

static bool next_seed(struct source *source, uint64_t *seed) {
	const struct options *options = source->options;

	if (options->list != NULL) {
		if (source->given == source->list_count)
			return false;
		*seed = source->list[source->given++];
		return true;
	}
	if ((options->count > 0 && source->given == options->count) ||
	    (options->seconds > 0 && now_s() - source->began_s > options->seconds))
		return false;
	source->given++;
	*seed = source->next++;
	return true;
}

static bool run_all(struct source *source, struct tally *tally) {
	const struct options *options = source->options;
	struct job jobs[JOBS_MAX] = {{0}};
	struct pollfd news[JOBS_MAX];
	unsigned running = 0;
	bool is_over = false;
	uint64_t seed;

	do {
		for (unsigned i = 0; i < options->jobs && !is_over; i++) {
			if (jobs[i].pid != 0)
				continue;
			is_over = tally->failures > 0 || !next_seed(source, &seed);
			if (!is_over && !job_begin(&jobs[i], options, seed))
				return false;
			running += is_over ? 0 : 1;
		}
		for (unsigned i = 0; i < options->jobs; i++)
			news[i] = (struct pollfd){.fd = jobs[i].pid != 0 ? jobs[i].pipe : -1,
						  .events = POLLIN};
		if (running > 0 && poll(news, options->jobs, -1) < 0 && errno != EINTR)
			return false;
		for (unsigned i = 0; i < options->jobs; i++)
			if (jobs[i].pid != 0 && news[i].revents != 0) {
				job_end(&jobs[i], tally);
				running--;
			}
	} while (running > 0 || !is_over);
	return true;
}

static void say_all(const struct tally *tally, double took_s) {
	(void)printf("%" PRIu64 " seeds in %.1f s, %.1f hours of theirs:", tally->seeds, took_s,
		     (double)tally->virtual_ms / 3600000);
#define SAY(name, words) (void)printf(" %" PRIu64 " " words ";", tally->figures.name);
	SIM_FIGURES(SAY)
#undef SAY
	if (tally->seeds == 1)
		(void)printf(" log %016" PRIx64 ";", tally->hash);
	(void)printf(" %" PRIu64 " broken\n", tally->failures);
}

int main(int argc, char **argv) {
	struct options options;
	struct tally tally = {.seeds = 0};
	struct source source = {.options = &options, .began_s = now_s()};
	bool ran;

	if (!read_options(argc, argv, &options))
		return usage();
	/* A world that crashes is told up to there. */
	if (options.is_told)
		(void)setvbuf(stdout, NULL, _IOLBF, 0);
	source.next = options.seed;
	if (options.list != NULL && !read_list(&source, options.list))
		return EXIT_USAGE;
	if (options.list == NULL)
		(void)printf("seeds from %" PRIu64 "\n", options.seed);
	ran = run_all(&source, &tally);
	if (!ran)
		(void)fprintf(stderr, "simulate: cannot go on: %s\n", strerror(errno));
	say_all(&tally, now_s() - source.began_s);
	return ran && tally.failures == 0 ? EXIT_SUCCESS : EXIT_BROKEN;
}
