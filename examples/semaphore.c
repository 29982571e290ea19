/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * semaphore.c - runs a command while it holds one of LIMIT permits.
 *
 *	semaphore NAME LIMIT SECONDS COMMAND [ARGUMENT...]
 *
 * A permit is a key, "NAME/NUMBER", with a ttl: it ends SECONDS after its holder died; the command
 * dies with the holder. NAME holds the count of permits at the last acquisition. Each acquisition
 * writes it at the version that was read before the permits were counted: of two that counted the
 * same permits one succeeds, and the other counts again. That version is the permit's number.
 */

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "example.h"

/* Waits for a permit and takes it: *permit, printed to `text`. Returns its version. */
static uint64_t acquire(struct kv_client *client, const char *name, size_t limit, uint64_t ttl_ms,
			char text[KV_KEY_MAX + 1], struct kv_bytes *permit) {
	for (;; pause_ms(20)) {
		struct kv_condition same = {.test = KV_AT, .key = bytes_of(name)};
		struct kv_value value = {0};
		struct kv_list permits;
		char count[32];
		enum kv_status status = kv_get(client, same.key, &value);

		if (status != KV_NOKEY)
			must(status, "get", name);
		same.version = value.version; /* 0: it does not exist */
		kv_value_free(&value);
		*permit = print_to(text, KV_KEY_MAX + 1, "%s/%llu", name,
				   (unsigned long long)same.version);
		struct kv_bytes prefix = {text, strlen(name) + 1};

		must(kv_list(client, prefix, (struct kv_bytes){0}, limit, &permits), "list", name);
		size_t taken = permits.count;
		kv_list_free(&permits);
		if (taken >= limit)
			continue;

		struct kv_bytes now = print_to(count, sizeof(count), "%zu", taken + 1);
		struct kv_change changes[] = {
		    {.kind = KV_CHANGE_PUT, .key = same.key, .value = now},
		    {.kind = KV_CHANGE_PUT, .key = *permit, .ttl_ms = ttl_ms},
		};
		status = kv_txn(client, &(struct kv_txn){&same, 1, changes, 2, 0, 0, 0});
		if (status == KV_OK)
			return changes[1].version;
		if (status != KV_UNMET)
			must(status, "acquire", name);
	}
}

static pid_t start(char **command, const sigset_t *blocked) {
	pid_t child = fork();

	if (child < 0)
		die("cannot fork: %s", strerror(errno));
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_UNBLOCK, blocked, NULL);
	execvp(command[0], command);
	die("%s: %s", command[0], strerror(errno));
}

int main(int argc, char **argv) {
	unsigned long limit = argc > 4 ? number(argv[2], 1) : 0;
	unsigned long seconds = argc > 4 ? number(argv[3], 1) : 0;
	char text[KV_KEY_MAX + 1];
	struct kv_bytes permit;
	sigset_t ended;
	int result;

	if (argc < 5 || limit > KV_PAGE_MAX)
		die("usage: semaphore NAME LIMIT SECONDS COMMAND [ARGUMENT...]");
	struct kv_client *client = open_client();
	uint64_t version = acquire(client, argv[1], limit, seconds * 1000, text, &permit);

	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ended, NULL);
	pid_t child = start(argv + 4, &ended);
	/* Renew the permit three times in its ttl; without it the command must not go on. */
	while (waitpid(child, &result, WNOHANG) == 0) {
		struct timespec third = {(time_t)(seconds / 3), (long)(seconds % 3) * 333333333};

		if (sigtimedwait(&ended, NULL, &third) < 0 &&
		    kv_touch(client, permit, version, seconds * 1000) != KV_OK) {
			kill(child, SIGKILL);
			die("the permit of %s is lost", argv[1]);
		}
	}
	kv_delete(client, permit, version, NULL);
	kv_close(client);
	return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}
