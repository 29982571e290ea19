/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/snapshotter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "storage/snapshot.h"

enum {
	NICENESS = 10,
	WORD_MS = 5000, /* for the child to close its descriptors */
	RETRY_MIN_MS = 10 * 1000,
	RETRY_MAX_MS = 10 * 60 * 1000,
};

/* What the child tells its parent; in memory that they share. */
struct page {
	_Atomic uint64_t bytes;
	atomic_int error; /* a negative errno */
};

/* What may wait for the disk: done by a thread of its own. */
struct chore {
	struct disk *disk;
	uint64_t position;
	int event;
	bool publishes; /* or only discards */
	int error;
	enum snapshot_publication outcome;
	atomic_bool is_done;
};

enum phase {
	IDLE,
	WRITING, /* `child` and `life` are there */
	WAITING, /* "snapshot.tmp" is whole */
	WORKING, /* `chore` is under way, by `thread` if has_thread */
};

struct snapshotter {
	struct disk *disk;
	const struct service *service;
	struct page *page;
	int news;  /* an epoll of the two below */
	int event; /* the chore is done */
	int life;  /* of a pipe whose other end the child has for as long as it lives */
	pid_t child;
	enum phase phase;
	struct chore chore;
	pthread_t thread;
	bool has_thread;

	/* The one under way. */
	uint64_t position;
	uint64_t journal_bytes;
	uint64_t began_ms;
	uint64_t bytes_about;

	uint64_t journal_bytes_last; /* when the last one published began */
	uint64_t retry_at_ms;
	uint64_t retry_ms; /* the next pause after a failure */
	bool has_failed;   /* and that was said */
	struct snapshotter_counters counters;
};

static bool add_to_news(struct snapshotter *snapshotter, int fd) {
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(snapshotter->news, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void close_fd(int fd) {
	if (fd >= 0)
		(void)close(fd);
}

struct snapshotter *snapshotter_new(struct disk *disk, const struct service *service,
				    uint64_t last_bytes) {
	struct snapshotter *snapshotter = calloc(1, sizeof(*snapshotter));

	if (snapshotter == NULL)
		return NULL;
	snapshotter->disk = disk;
	snapshotter->service = service;
	snapshotter->life = -1;
	snapshotter->retry_ms = RETRY_MIN_MS;
	snapshotter->counters.last_bytes = last_bytes;
	snapshotter->page = mmap(NULL, sizeof(*snapshotter->page), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snapshotter->news = epoll_create1(EPOLL_CLOEXEC);
	snapshotter->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (snapshotter->page != MAP_FAILED && snapshotter->news >= 0 && snapshotter->event >= 0 &&
	    add_to_news(snapshotter, snapshotter->event))
		return snapshotter;
	snapshotter_free(snapshotter);
	return NULL;
}

int snapshotter_fd(const struct snapshotter *snapshotter) {
	return snapshotter->news;
}

/* --- The child ----------------------------------------------------------------------------------
 */

/* Keeps `life` as standard input. False: the kernel cannot (errno). */
static bool close_all_but(int kept, int life) {
	unsigned first = STDERR_FILENO + 1;

	if (dup2(life, STDIN_FILENO) < 0)
		return false;
	/* Not closed, so that no file gets a number that a careless line may be written to. */
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	if (kept >= (int)first) {
		if (kept > (int)first && close_range(first, (unsigned)kept - 1, 0) != 0)
			return false;
		first = (unsigned)kept + 1;
	}
	return close_range(first, ~0U, 0) == 0;
}

static void reset_signals(void) {
	struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;

	/* Some cannot be set; these have no handler either. */
	for (int signal = 1; signal <= SIGRTMAX; signal++)
		(void)sigaction(signal, &usual, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The parent is what must live: it is served first, and killed last when memory runs out. */
static void step_back(void) {
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (file >= 0) {
		(void)!write(file, "1000", 4);
		(void)close(file);
	}
	(void)!nice(NICENESS);
}

static void tell_progress(void *context, uint64_t done, uint64_t size) {
	struct page *page = context;

	(void)size;
	atomic_store_explicit(&page->bytes, done, memory_order_relaxed);
}

/*
 * Other threads of the parent may have held any lock when they were left behind; malloc's are in
 * order (glibc sees to it), and nothing here takes others.
 */
static _Noreturn void be_child(const struct snapshotter *snapshotter, pid_t parent, int life) {
	struct page *page = snapshotter->page;

	/* Who died before the kernel was asked is not noticed by it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	if (!close_all_but(snapshotter->disk->directory, life) || write(STDIN_FILENO, "", 1) != 1) {
		atomic_store(&page->error, -errno);
		_exit(EXIT_FAILURE);
	}
	reset_signals();
	(void)prctl(PR_SET_NAME, "kvd-snapshot");
	step_back();
	int error = snapshot_write(snapshotter->disk, snapshotter->service, snapshotter->position,
				   tell_progress, page);
	atomic_store(&page->error, error);
	_exit(error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* --- The parent and its child -------------------------------------------------------------------
 */

static void kill_child(pid_t child) {
	(void)kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/*
 * Until the child says that it has closed all else: a socket that the parent closed meanwhile would
 * stay open, and in the parent's epoll, where nobody could take it out any more. 0, or a negative
 * errno.
 */
static int wait_for_word(const struct snapshotter *snapshotter, int life) {
	struct pollfd word = {.fd = life, .events = POLLIN};
	char byte;
	int count;

	do
		count = poll(&word, 1, WORD_MS);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return count < 0 ? -errno : -ETIMEDOUT;
	if (read(life, &byte, 1) == 1)
		return 0;
	/* It is dead already. */
	int error = atomic_load(&snapshotter->page->error);
	return error < 0 ? error : -ECHILD;
}

/* Forks with all signals blocked, for their handlers are the parent's. -1: it failed (errno). */
static pid_t fork_blocked(void) {
	sigset_t all;
	sigset_t before;
	int error;

	(void)sigfillset(&all);
	error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error != 0) {
		errno = error;
		return -1;
	}
	pid_t child = fork();
	if (child != 0) {
		error = errno;
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
		errno = error;
	}
	return child;
}

/* 0, or a negative errno. */
static int fork_child(struct snapshotter *snapshotter) {
	pid_t parent = getpid();
	int life[2];

	if (pipe2(life, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork_blocked();
	if (child == 0)
		be_child(snapshotter, parent, life[1]);
	int error = child < 0 ? -errno : 0;
	(void)close(life[1]);
	if (error == 0)
		error = wait_for_word(snapshotter, life[0]);
	if (error == 0 && !add_to_news(snapshotter, life[0]))
		error = -errno;
	if (error == 0) {
		snapshotter->child = child;
		snapshotter->life = life[0];
		return 0;
	}
	if (child > 0)
		kill_child(child);
	(void)close(life[0]);
	return error;
}

/* False: it is still at work. Else *error is 0 if it ended well. */
static bool reap(struct snapshotter *snapshotter, int *error) {
	int status = 0;
	pid_t ended = waitpid(snapshotter->child, &status, WNOHANG);

	if (ended == 0 || (ended < 0 && errno == EINTR))
		return false;
	*error = ended < 0 ? -errno : atomic_load(&snapshotter->page->error);
	/* It was killed, or found its parent gone. */
	if (*error == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS))
		*error = -ECHILD;
	(void)close(snapshotter->life);
	snapshotter->life = -1;
	return true;
}

/* --- Chores -------------------------------------------------------------------------------------
 */

static void *do_chore(void *argument) {
	struct chore *chore = argument;
	uint64_t one = 1;

	if (chore->publishes)
		chore->outcome = snapshot_publish(chore->disk, chore->position, &chore->error);
	/* What is left over does no harm, and is removed with the next one. */
	if (chore->outcome == PUBLISH_DONE)
		(void)snapshot_remove_others(chore->disk, chore->position);
	else if (chore->outcome == PUBLISH_REFUSED)
		(void)snapshot_discard(chore->disk);
	atomic_store(&chore->is_done, true);
	/* It can only fail if the counter is full, and then the turn has been told. */
	(void)!write(chore->event, &one, sizeof(one));
	return NULL;
}

/* Publishes, or if there was an error, discards. */
static void start_chore(struct snapshotter *snapshotter, int error) {
	struct chore *chore = &snapshotter->chore;

	*chore = (struct chore){
	    .disk = snapshotter->disk,
	    .position = snapshotter->position,
	    .event = snapshotter->event,
	    .publishes = error == 0,
	    .error = error,
	    .outcome = PUBLISH_REFUSED,
	};
	snapshotter->phase = WORKING;
	snapshotter->has_thread = pthread_create(&snapshotter->thread, NULL, do_chore, chore) == 0;
	/* For once the turn waits for the disk. */
	if (!snapshotter->has_thread)
		(void)do_chore(chore);
}

static void end_chore(struct snapshotter *snapshotter) {
	uint64_t count;

	if (snapshotter->has_thread)
		(void)pthread_join(snapshotter->thread, NULL);
	(void)!read(snapshotter->event, &count, sizeof(count));
	snapshotter->phase = IDLE;
}

/* --- From the start to the end ------------------------------------------------------------------
 */

static const char *reason(int error) {
	return error == -ECHILD ? "the process that wrote it was killed" : strerror(-error);
}

static void note_failure(struct snapshotter *snapshotter, int error, uint64_t now_ms) {
	snapshotter->counters.failed++;
	snapshotter->counters.last_error = -error;
	snapshotter->retry_at_ms = now_ms + snapshotter->retry_ms;
	if (snapshotter->has_failed)
		log_verbose("no snapshot: %s; trying again in %" PRIu64 " s", reason(error),
			   snapshotter->retry_ms / 1000);
	else
		log_warn("no snapshot: %s; kvd goes on with a longer journal, and tries again",
			 reason(error));
	snapshotter->has_failed = true;
	snapshotter->retry_ms *= 2;
	if (snapshotter->retry_ms > RETRY_MAX_MS)
		snapshotter->retry_ms = RETRY_MAX_MS;
}

static void note_success(struct snapshotter *snapshotter, uint64_t now_ms) {
	struct snapshotter_counters *counters = &snapshotter->counters;

	counters->published++;
	counters->last_error = 0;
	counters->last_position = snapshotter->position;
	counters->last_bytes = atomic_load(&snapshotter->page->bytes);
	counters->last_ms = now_ms - snapshotter->began_ms;
	snapshotter->journal_bytes_last = snapshotter->journal_bytes;
	snapshotter->retry_at_ms = 0;
	snapshotter->retry_ms = RETRY_MIN_MS;
	if (snapshotter->has_failed)
		log_info("snapshots are taken again");
	snapshotter->has_failed = false;
	log_verbose("snapshot up to operation %" PRIu64 ": %" PRIu64 " bytes in %" PRIu64 " ms",
		   counters->last_position, counters->last_bytes, counters->last_ms);
}

bool snapshotter_is_due(const struct snapshotter *snapshotter, uint64_t journal_bytes,
			uint64_t now_ms) {
	return snapshotter->phase == IDLE && now_ms >= snapshotter->retry_at_ms &&
	       snapshot_is_due(journal_bytes - snapshotter->journal_bytes_last,
			       snapshotter->counters.last_bytes);
}

bool snapshotter_start(struct snapshotter *snapshotter, uint64_t position, uint64_t journal_bytes,
		       uint64_t now_ms) {
	struct service_counters counters;
	uint64_t began_ns = clock_ns();

	if (snapshotter->phase != IDLE)
		return false;
	service_get_stats(snapshotter->service, &counters);
	snapshotter->position = position;
	snapshotter->journal_bytes = journal_bytes;
	snapshotter->began_ms = now_ms;
	snapshotter->bytes_about = counters.memory_used;
	atomic_store(&snapshotter->page->bytes, 0);
	atomic_store(&snapshotter->page->error, 0);
	int error = fork_child(snapshotter);
	snapshotter->counters.pause_us = (clock_ns() - began_ns) / 1000;
	if (error < 0) {
		note_failure(snapshotter, error, now_ms);
		return false;
	}
	snapshotter->phase = WRITING;
	return true;
}

static enum snapshotter_news poll_chore(struct snapshotter *snapshotter, uint64_t now_ms,
					uint64_t *position) {
	if (!atomic_load(&snapshotter->chore.is_done))
		return SNAPSHOTTER_PUBLISHING;
	end_chore(snapshotter);
	switch (snapshotter->chore.outcome) {
	case PUBLISH_DONE:
		note_success(snapshotter, now_ms);
		*position = snapshotter->position;
		return SNAPSHOTTER_PUBLISHED;
	case PUBLISH_REFUSED:
		note_failure(snapshotter, snapshotter->chore.error, now_ms);
		return SNAPSHOTTER_FAILED;
	case PUBLISH_UNKNOWN:
		log_error("cannot sync the names in the directory: %s: what is on the disk is not "
			  "known, so kvd stops; start it again to find out",
			  strerror(-snapshotter->chore.error));
		break;
	}
	return SNAPSHOTTER_BROKEN;
}

enum snapshotter_news snapshotter_poll(struct snapshotter *snapshotter, uint64_t durable,
				       uint64_t now_ms, uint64_t *position) {
	int error;

	switch (snapshotter->phase) {
	case IDLE:
		return SNAPSHOTTER_IDLE;
	case WORKING:
		return poll_chore(snapshotter, now_ms, position);
	case WRITING:
		if (!reap(snapshotter, &error))
			return SNAPSHOTTER_WRITING;
		if (error < 0) {
			start_chore(snapshotter, error);
			return SNAPSHOTTER_PUBLISHING;
		}
		snapshotter->phase = WAITING;
		break;
	case WAITING:
		break;
	}
	if (durable < snapshotter->position)
		return SNAPSHOTTER_WAITING;
	start_chore(snapshotter, 0);
	return SNAPSHOTTER_PUBLISHING;
}

void snapshotter_get_stats(const struct snapshotter *snapshotter,
		       struct snapshotter_counters *counters) {
	*counters = snapshotter->counters;
	counters->is_under_way = snapshotter->phase != IDLE;
	if (!counters->is_under_way)
		return;
	counters->bytes = atomic_load_explicit(&snapshotter->page->bytes, memory_order_relaxed);
	counters->bytes_about = snapshotter->bytes_about;
}

void snapshotter_free(struct snapshotter *snapshotter) {
	if (snapshotter == NULL)
		return;
	switch (snapshotter->phase) {
	case IDLE:
		break;
	case WRITING:
		kill_child(snapshotter->child);
		close_fd(snapshotter->life);
		(void)snapshot_discard(snapshotter->disk);
		break;
	case WAITING:
		(void)snapshot_discard(snapshotter->disk);
		break;
	case WORKING:
		end_chore(snapshotter);
		break;
	}
	close_fd(snapshotter->event);
	close_fd(snapshotter->news);
	if (snapshotter->page != MAP_FAILED)
		(void)munmap(snapshotter->page, sizeof(*snapshotter->page));
	free(snapshotter);
}
