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
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "process_state.h"
#include "storage/snapshot.h"

enum {
	NICENESS = 10,
	READY_MS = 5000, /* for the child to close its descriptors */
	RETRY_MIN_MS = 10 * 1000,
	RETRY_MAX_MS = 10 * 60 * 1000,
};

/* Written by the child, read by the parent; in shared memory. */
struct child_status {
	_Atomic uint64_t bytes;
	atomic_int error;	 /* a negative errno */
	atomic_bool is_complete; /* the file is written and synced */
};

/* Work that may wait for the disk, for a thread of its own. */
struct publish_job {
	struct vfs *vfs;
	uint64_t position;
	int event;
	bool publishes; /* or only discards */
	int error;
	enum snapshot_publication outcome;
	atomic_bool is_done;
};

enum phase {
	IDLE,
	WRITING, /* `child` and `alive` are valid */
	WAITING, /* "snapshot.tmp" is complete */
	WORKING, /* `job` is under way, by `thread` if has_thread */
};

struct snapshotter {
	struct vfs *vfs;
	const struct service *service;
	struct child_status *child_status;
	int epoll; /* an epoll of the two below */
	int event; /* the job is done */
	int alive; /* read end of a pipe whose write end the child holds until it ends */
	pid_t child;
	enum phase phase;
	struct publish_job job;
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
	bool has_failed;   /* and that was logged */
	struct snapshotter_counters counters;
};

static bool watch_fd(struct snapshotter *snapshotter, int fd) {
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(snapshotter->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void close_fd(int fd) {
	if (fd >= 0)
		(void)close(fd);
}

struct snapshotter *snapshotter_new(struct vfs *vfs, const struct service *service,
				    uint64_t last_bytes) {
	struct snapshotter *snapshotter = calloc(1, sizeof(*snapshotter));

	if (snapshotter == NULL)
		return NULL;
	snapshotter->vfs = vfs;
	snapshotter->service = service;
	snapshotter->alive = -1;
	snapshotter->retry_ms = RETRY_MIN_MS;
	snapshotter->counters.last_bytes = last_bytes;
	snapshotter->child_status = mmap(NULL, sizeof(*snapshotter->child_status),
					 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snapshotter->epoll = epoll_create1(EPOLL_CLOEXEC);
	snapshotter->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (snapshotter->child_status != MAP_FAILED && snapshotter->epoll >= 0 &&
	    snapshotter->event >= 0 && watch_fd(snapshotter, snapshotter->event))
		return snapshotter;
	snapshotter_free(snapshotter);
	return NULL;
}

int snapshotter_fd(const struct snapshotter *snapshotter) {
	return snapshotter->epoll;
}

/* --- The child ----------------------------------------------------------------------------------
 */

/* Keeps `alive` as standard input. False: it cannot be done (errno). */
static bool close_all_but(int kept, int alive) {
	if (dup2(alive, STDIN_FILENO) < 0)
		return false;
	/* Not closed, so that no file gets a number that a careless line may be written to. */
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	return process_close_descriptors(kept);
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

/* Under memory pressure the kernel should kill this child, not kvd; and kvd runs first. */
static void lower_priority(void) {
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (file >= 0) {
		(void)!write(file, "1000", 4);
		(void)close(file);
	}
	(void)!nice(NICENESS);
}

static void store_progress(void *context, uint64_t done, uint64_t size) {
	struct child_status *child_status = context;

	(void)size;
	atomic_store_explicit(&child_status->bytes, done, memory_order_relaxed);
}

/*
 * Other threads of the parent may have held any lock when they were left behind; malloc's are in
 * order (glibc sees to it), and nothing here takes others.
 */
static _Noreturn void run_child(const struct snapshotter *snapshotter, pid_t parent, int alive) {
	struct child_status *child_status = snapshotter->child_status;

	/* The kernel does not report a parent that died before this call. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	if (!close_all_but(snapshotter->vfs->directory, alive) || write(STDIN_FILENO, "", 1) != 1) {
		atomic_store(&child_status->error, -errno);
		_exit(EXIT_FAILURE);
	}
	reset_signals();
	(void)prctl(PR_SET_NAME, "kvd-snapshot");
	lower_priority();
	int error = snapshot_write(snapshotter->vfs, snapshotter->service, snapshotter->position,
				   store_progress, child_status);
	atomic_store(&child_status->error, error);
	atomic_store(&child_status->is_complete, error == 0);
	_exit(error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* --- The parent and its child -------------------------------------------------------------------
 */

/* `alive`: see struct snapshotter. Where SIGCHLD is ignored, the number of a dead child is free. */
static void kill_child(pid_t child, int alive) {
	struct pollfd end = {.fd = alive};

	if (poll(&end, 1, 0) != 1 || (end.revents & POLLHUP) == 0)
		(void)kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/*
 * Waits until the child has closed all other descriptors: a socket that the parent closed meanwhile
 * would stay open, and in the parent's epoll, where it could not be removed any more. 0, or a
 * negative errno.
 */
static int await_ready(const struct snapshotter *snapshotter, int alive) {
	struct pollfd ready = {.fd = alive, .events = POLLIN};
	char byte;
	int count;

	do
		count = poll(&ready, 1, READY_MS);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return count < 0 ? -errno : -ETIMEDOUT;
	if (read(alive, &byte, 1) == 1)
		return 0;
	/* It is dead already. */
	int error = atomic_load(&snapshotter->child_status->error);
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
	int alive[2];

	if (pipe2(alive, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork_blocked();
	if (child == 0)
		run_child(snapshotter, parent, alive[1]);
	int error = child < 0 ? -errno : 0;
	(void)close(alive[1]);
	if (error == 0)
		error = await_ready(snapshotter, alive[0]);
	if (error == 0 && !watch_fd(snapshotter, alive[0]))
		error = -errno;
	if (error == 0) {
		snapshotter->child = child;
		snapshotter->alive = alive[0];
		return 0;
	}
	if (child > 0)
		kill_child(child, alive[0]);
	(void)close(alive[0]);
	return error;
}

/*
 * False: it is still at work. Else *error is 0 if it ended well. The exit status would not do:
 * there is none where SIGCHLD is ignored, which a process inherits from the one that started it.
 */
static bool reap(struct snapshotter *snapshotter, int *error) {
	const struct child_status *child_status = snapshotter->child_status;
	pid_t ended = waitpid(snapshotter->child, NULL, WNOHANG);

	if (ended == 0 || (ended < 0 && errno == EINTR))
		return false;
	*error = atomic_load(&child_status->error);
	/* It was killed, or found its parent gone. */
	if (*error == 0 && !atomic_load(&child_status->is_complete))
		*error = -ECHILD;
	(void)close(snapshotter->alive);
	snapshotter->alive = -1;
	return true;
}

/* --- Jobs ---------------------------------------------------------------------------------------
 */

static void *run_job(void *argument) {
	struct publish_job *job = argument;
	uint64_t one = 1;

	if (job->publishes)
		job->outcome = snapshot_publish(job->vfs, job->position, &job->error);
	/* A file that is left does no harm, and is removed with the next one. */
	if (job->outcome == PUBLISH_DONE)
		(void)snapshot_remove_others(job->vfs, job->position);
	else if (job->outcome == PUBLISH_REFUSED)
		(void)snapshot_discard(job->vfs);
	atomic_store(&job->is_done, true);
	/* It can only fail if the counter is full, and then the turn was notified. */
	(void)!write(job->event, &one, sizeof(one));
	return NULL;
}

/* Publishes, or if there was an error, discards. */
static void start_job(struct snapshotter *snapshotter, int error) {
	struct publish_job *job = &snapshotter->job;

	*job = (struct publish_job){
	    .vfs = snapshotter->vfs,
	    .position = snapshotter->position,
	    .event = snapshotter->event,
	    .publishes = error == 0,
	    .error = error,
	    .outcome = PUBLISH_REFUSED,
	};
	snapshotter->phase = WORKING;
	snapshotter->has_thread = pthread_create(&snapshotter->thread, NULL, run_job, job) == 0;
	/* Without a thread the turn waits for the disk. */
	if (!snapshotter->has_thread)
		(void)run_job(job);
}

static void end_job(struct snapshotter *snapshotter) {
	uint64_t count;

	if (snapshotter->has_thread)
		(void)pthread_join(snapshotter->thread, NULL);
	(void)!read(snapshotter->event, &count, sizeof(count));
	snapshotter->phase = IDLE;
}

/* --- From the start to the end ------------------------------------------------------------------
 */

static const char *error_message(int error) {
	return error == -ECHILD ? "the process that wrote it was killed" : strerror(-error);
}

static void record_failure(struct snapshotter *snapshotter, int error, uint64_t now_ms) {
	snapshotter->counters.failed++;
	snapshotter->counters.last_error = -error;
	snapshotter->retry_at_ms = now_ms + snapshotter->retry_ms;
	if (snapshotter->has_failed)
		log_verbose("no snapshot: %s; trying again in %" PRIu64 " s", error_message(error),
			    snapshotter->retry_ms / 1000);
	else
		log_warn("no snapshot: %s; kvd goes on with a longer journal, and tries again",
			 error_message(error));
	snapshotter->has_failed = true;
	snapshotter->retry_ms *= 2;
	if (snapshotter->retry_ms > RETRY_MAX_MS)
		snapshotter->retry_ms = RETRY_MAX_MS;
}

static void record_success(struct snapshotter *snapshotter, uint64_t now_ms) {
	struct snapshotter_counters *counters = &snapshotter->counters;

	counters->published++;
	counters->last_error = 0;
	counters->last_position = snapshotter->position;
	counters->last_bytes = atomic_load(&snapshotter->child_status->bytes);
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
	uint64_t began_ns = clock_ns();

	if (snapshotter->phase != IDLE)
		return false;
	snapshotter->position = position;
	snapshotter->journal_bytes = journal_bytes;
	snapshotter->began_ms = now_ms;
	snapshotter->bytes_about = service_memory_used(snapshotter->service);
	atomic_store(&snapshotter->child_status->bytes, 0);
	atomic_store(&snapshotter->child_status->error, 0);
	atomic_store(&snapshotter->child_status->is_complete, false);
	int error = fork_child(snapshotter);
	snapshotter->counters.pause_us = (clock_ns() - began_ns) / 1000;
	if (error < 0) {
		record_failure(snapshotter, error, now_ms);
		return false;
	}
	snapshotter->phase = WRITING;
	return true;
}

static enum snapshotter_state poll_job(struct snapshotter *snapshotter, uint64_t now_ms,
				       uint64_t *position) {
	if (!atomic_load(&snapshotter->job.is_done))
		return SNAPSHOTTER_PUBLISHING;
	end_job(snapshotter);
	switch (snapshotter->job.outcome) {
	case PUBLISH_DONE:
		record_success(snapshotter, now_ms);
		*position = snapshotter->position;
		return SNAPSHOTTER_PUBLISHED;
	case PUBLISH_REFUSED:
		record_failure(snapshotter, snapshotter->job.error, now_ms);
		return SNAPSHOTTER_FAILED;
	case PUBLISH_UNKNOWN:
		log_error("cannot sync the names in the directory: %s: the on-disk state is "
			  "uncertain, so kvd is exiting; restart it to recover",
			  strerror(-snapshotter->job.error));
		break;
	}
	return SNAPSHOTTER_BROKEN;
}

enum snapshotter_state snapshotter_poll(struct snapshotter *snapshotter, uint64_t durable,
					uint64_t now_ms, uint64_t *position) {
	int error;

	switch (snapshotter->phase) {
	case IDLE:
		return SNAPSHOTTER_IDLE;
	case WORKING:
		return poll_job(snapshotter, now_ms, position);
	case WRITING:
		if (!reap(snapshotter, &error))
			return SNAPSHOTTER_WRITING;
		if (error < 0) {
			start_job(snapshotter, error);
			return SNAPSHOTTER_PUBLISHING;
		}
		snapshotter->phase = WAITING;
		break;
	case WAITING:
		break;
	}
	if (durable < snapshotter->position)
		return SNAPSHOTTER_WAITING;
	start_job(snapshotter, 0);
	return SNAPSHOTTER_PUBLISHING;
}

void snapshotter_get_stats(const struct snapshotter *snapshotter,
			   struct snapshotter_counters *counters) {
	*counters = snapshotter->counters;
	counters->is_under_way = snapshotter->phase != IDLE;
	if (!counters->is_under_way)
		return;
	counters->bytes =
	    atomic_load_explicit(&snapshotter->child_status->bytes, memory_order_relaxed);
	counters->bytes_about = snapshotter->bytes_about;
}

void snapshotter_free(struct snapshotter *snapshotter) {
	if (snapshotter == NULL)
		return;
	switch (snapshotter->phase) {
	case IDLE:
		break;
	case WRITING:
		kill_child(snapshotter->child, snapshotter->alive);
		close_fd(snapshotter->alive);
		(void)snapshot_discard(snapshotter->vfs);
		break;
	case WAITING:
		(void)snapshot_discard(snapshotter->vfs);
		break;
	case WORKING:
		end_job(snapshotter);
		break;
	}
	close_fd(snapshotter->event);
	close_fd(snapshotter->epoll);
	if (snapshotter->child_status != MAP_FAILED)
		(void)munmap(snapshotter->child_status, sizeof(*snapshotter->child_status));
	free(snapshotter);
}
