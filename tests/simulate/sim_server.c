/* SPDX-License-Identifier: BSD-3-Clause */
#include "sim_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_stubs.h"
#include "message_queue.h"
#include "random.h"
#include "rpc/xdr_inplace.h"
#include "sim.h"
#include "sim_call.h"
#include "storage/fake_disk.h"
#include "storage/recovery.h"
#include "turn.h"

enum {
	PROGRAM = 0x20004b56,
	ANSWER_MAX = 128 * 1024,
	TURN_MS = 2,	      /* between something that arrives and its turn, at most */
	BEHIND_MS = 5,	      /* until a turn that takes nothing looks again */
	STEP_MS = 3,	      /* a piece of the journal's work that is no batch */
	NO_ROOM_MS = 700,     /* until it looks again whether the disk has room */
	STALL_MS = 4000,      /* a disk that takes its time */
	ALONE_TURNS = 5,      /* of so many, the turn writes one itself */
	LIKE_SOON = 12,	      /* changes of the disk */
	BACK_SOON_MS = 60,    /* at most, until it is started again ... */
	BACK_AFTER_MS = 4000, /* ... or this */
};

/*
 * A process is there while `turn` is not NULL, and then `generation` is its number. `armed` is what
 * ends it when the disk strikes.
 */
struct sim_server {
	struct sim_server_options options;
	struct net *net;
	struct fake_disk *disk;
	uint64_t boot;
	uint64_t boots;
	uint64_t generations;
	void (*tell)(void *context, uint64_t generation); /* of another store */
	void *tell_context;

	struct recovery recovery;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct service *service;
	struct turn *turn;
	uint64_t base_ms;  /* its time when it started ... */
	uint64_t start_ms; /* ... and the world's */
	struct message_queue inbox;
	struct message_queue send_queue;
	bool is_turn_planned;
	bool is_step_planned;
	uint64_t tick_ms; /* when an idle turn is due; UINT64_MAX: none */

	struct caller caller; /* of all calls: any */
	bool is_armed;
	bool is_quiet;
	enum sim_server_failure armed;
	bool was_failing; /* the disk failed it, and then it may have forgotten what it showed */
	_Alignas(8) uint8_t answer[ANSWER_MAX];
};

static uint64_t between(uint64_t least, uint64_t most) {
	return prng_between(&sim()->prng, least, most);
}

/* --- Answers -----------------------------------------------------------------------------------
 */

static struct sim_server *server_of(const struct call *call) {
	return (struct sim_server *)(void *)((char *)(uintptr_t)call->caller -
					     offsetof(struct sim_server, caller));
}

static bool_t answer(SVCXPRT *xprt, struct rpc_msg *message) {
	struct call *call = xprt->xp_p1;
	struct wire *wire = sim_call_wire(call);
	struct sim_server *server = server_of(call);
	uint8_t *bytes;
	u_int size;
	XDR xdrs;

	message->rm_xid = call->xid;
	xdr_mem_init(&xdrs, XDR_ENCODE, server->answer, ANSWER_MAX);
	if (!xdr_inplace_replymsg(&xdrs, message)) {
		sim_fail("an answer cannot be encoded");
	} else {
		size = XDR_GETPOS(&xdrs);
		if (wire_is_stream(wire)) {
			bytes = or_die(malloc(size));
			memcpy(bytes, server->answer, size);
			message_queue_put(&server->send_queue, wire, bytes, size);
		} else {
			net_answer(wire, server->generations, server->answer, size);
		}
	}
	dispatch_call_free(turn_dispatch(server->turn), call);
	return TRUE;
}

static const struct xp_ops call_ops = {
    .xp_reply = answer,
};

static void send_answers(struct sim_server *server) {
	struct message *message;

	while ((message = message_queue_take(&server->send_queue)) != NULL) {
		net_answer(message->wire, server->generations, message->bytes, message->size);
		message_free(message);
	}
}

static void run_record(struct sim_server *server, const struct message *message) {
	struct dispatch *dispatch = turn_dispatch(server->turn);
	struct call *call = or_die(dispatch_call(dispatch));

	call->xp_ops = &call_ops;
	sim_call_set_wire(call, message->wire);
	call->caller = &server->caller;
	call->reply_max =
	    wire_is_stream(message->wire) ? UINT32_MAX : WIRE_DATAGRAM_MAX - WIRE_REPLY_OVERHEAD;
	if (!dispatch_record(dispatch, call, (struct kv_bytes){message->bytes, message->size},
			     NULL)) {
		sim_fail("a record of the client's is no call");
		dispatch_call_free(dispatch, call);
	}
}

/* --- Ends --------------------------------------------------------------------------------------
 */

static void plan_disk(struct sim_server *server, struct fake_plan plan) {
	plan.capacity = server->is_quiet ? 0 : server->options.disk_capacity;
	if (server->disk != NULL)
		fake_disk_plan(server->disk, &plan);
}

static void come_back(void *context, uint64_t generations) {
	struct sim_server *server = context;

	if (server->generations == generations)
		sim_server_start(server);
}

static bool keep_some(void *context, size_t thing) {
	uint64_t *mode = context;

	(void)thing;
	return *mode == 1 || (*mode > 1 && prng_below(&sim()->prng, 4) >= *mode - 1);
}

static void note_figures(const struct sim_server *server) {
	struct stats stats = {0};

	service_add_stats(server->service, &stats);
	sim()->figures.expiries += stats_value(&stats, "sessions_expired");
	sim()->figures.replays += stats_value(&stats, "calls_replayed");
}

/* All that a process is made of goes with it, as the kernel does it: nothing is said or written. */
static void teardown(struct sim_server *server) {
	if (server->service != NULL)
		note_figures(server);
	turn_free(server->turn);
	snapshotter_free(server->snapshotter);
	journal_free(server->journal);
	service_free(server->service);
	if (server->options.is_durable)
		recovery_close(&server->recovery);
	server->turn = NULL;
	server->snapshotter = NULL;
	server->journal = NULL;
	server->service = NULL;
	server->is_armed = false;
	server->tick_ms = UINT64_MAX;
	message_queue_drop(&server->inbox);
	message_queue_drop(&server->send_queue);
}

static void crash(struct sim_server *server, bool is_power_lost) {
	uint64_t mode = prng_below(&sim()->prng, 5);

	teardown(server);
	if (server->disk != NULL) {
		fake_disk_kill(server->disk);
		if (is_power_lost)
			fake_disk_lose_power(server->disk, keep_some, &mode);
	}
	if (is_power_lost)
		server->boot = 0;
	net_process_died(server->net, server->generations, is_power_lost);
	/* Often at once: while the same call is still waited for. */
	sim_schedule(sim()->now_ms +
			 between(1, prng_often(&sim()->prng, 5000) ? BACK_SOON_MS : BACK_AFTER_MS),
		     come_back, server, server->generations);
}

static void crash_as_armed(struct sim_server *server) {
	bool is_power_lost = server->armed == END_POWER_SOON;

	sim_log("kvd %" PRIu64 ": %s in \"%s\"", server->generations,
		is_power_lost ? "the power is lost" : "killed", fake_disk_last(server->disk));
	if (is_power_lost)
		sim()->figures.power_losses++;
	else
		sim()->figures.kills++;
	crash(server, is_power_lost);
}

/* True: the disk struck while something was done with it, and the process is no more. */
static bool was_struck(struct sim_server *server) {
	if (!server->is_armed || server->armed == END_FAILED_SYNC ||
	    !fake_disk_struck(server->disk))
		return false;
	crash_as_armed(server);
	return true;
}

static void arm(struct sim_server *server, enum sim_server_failure end) {
	struct fake_plan plan = {.crash_at = 0};
	uint64_t soon = between(1, LIKE_SOON);

	server->is_armed = true;
	server->armed = end;
	if (end == END_FAILED_SYNC) {
		plan.fail_change = soon;
		plan.error = -EIO;
	} else {
		plan.crash_at = soon;
		plan.crash_bytes = prng_often(&sim()->prng, 5000) ? between(1, 4096) : 0;
	}
	plan_disk(server, plan);
	sim_log("disk: strikes at the change number %" PRIu64 " from now", soon);
}

static void stop(struct sim_server *server) {
	bool stopped = turn_stop(server->turn);

	if (was_struck(server))
		return;
	if (!stopped && !server->is_armed)
		sim_fail("a clean stop failed: %s", link_stubs()->error);
	if (stopped)
		send_answers(server);
	crash(server, false);
}

void sim_server_fail(struct sim_server *server, enum sim_server_failure end) {
	if (server->turn == NULL)
		return;
	switch (end) {
	case END_KILL:
		sim()->figures.kills++;
		sim_log("kvd %" PRIu64 ": killed", server->generations);
		crash(server, false);
		break;
	case END_POWER:
		sim()->figures.power_losses++;
		sim_log("kvd %" PRIu64 ": the power is lost", server->generations);
		crash(server, true);
		break;
	case END_STOP:
		sim()->figures.clean_stops++;
		sim_log("kvd %" PRIu64 ": stopped", server->generations);
		stop(server);
		break;
	case END_FAILED_SYNC:
	case END_KILL_SOON:
	case END_POWER_SOON:
		if (server->disk != NULL && !server->is_armed && !server->is_quiet)
			arm(server, end);
		break;
	}
}

void sim_server_quiesce(struct sim_server *server) {
	server->is_quiet = true;
	if (server->is_armed && fake_disk_struck(server->disk))
		return; /* it is on its way out */
	server->is_armed = false;
	plan_disk(server, (struct fake_plan){.crash_at = 0});
}

/* --- Turns -------------------------------------------------------------------------------------
 */

static void do_turn(void *context, uint64_t generation);

static uint64_t time_of(const struct sim_server *server) {
	return server->base_ms +
	       (sim()->now_ms - server->start_ms) * server->options.clock_percent / 100;
}

static void plan_turn(struct sim_server *server, uint64_t within_ms) {
	if (server->is_turn_planned)
		return;
	server->is_turn_planned = true;
	sim_schedule(sim()->now_ms + between(0, within_ms), do_turn, server, server->generations);
}

static void tick(void *context, uint64_t generation) {
	struct sim_server *server = context;

	if (server->turn == NULL || server->generations != generation ||
	    server->tick_ms != sim()->now_ms)
		return;
	server->tick_ms = UINT64_MAX;
	plan_turn(server, 0);
}

static void plan_tick(struct sim_server *server, uint64_t due_ms) {
	uint64_t at_ms;

	if (due_ms == UINT64_MAX)
		return;
	at_ms = sim()->now_ms + due_ms * 100 / server->options.clock_percent + 1;
	if (at_ms >= server->tick_ms)
		return;
	server->tick_ms = at_ms;
	sim_schedule(at_ms, tick, server, server->generations);
}

static uint64_t disk_takes_ms(const struct sim_server *server) {
	if (!server->is_quiet && prng_often(&sim()->prng, 100))
		return between(1, STALL_MS);
	return between(0, server->options.disk_ms);
}

/* What the journal's thread does. */
static void step(void *context, uint64_t generation) {
	struct sim_server *server = context;
	uint64_t again_ms = 0;
	bool has_news = false;

	if (server->turn == NULL || server->generations != generation)
		return;
	server->is_step_planned = false;
	switch (journal_step(server->journal)) {
	case JOURNAL_WROTE:
		sim()->figures.batches++;
		again_ms = disk_takes_ms(server);
		has_news = true;
		break;
	case JOURNAL_PREPARED:
		again_ms = between(0, STEP_MS);
		has_news = true;
		break;
	case JOURNAL_IDLE:
		break;
	case JOURNAL_NO_ROOM:
		sim()->figures.disk_full++;
		again_ms = NO_ROOM_MS;
		break;
	case JOURNAL_FAILED:
		has_news = true;
		break;
	}
	if (was_struck(server))
		return;
	if (has_news)
		plan_turn(server, TURN_MS);
	if (again_ms > 0) {
		server->is_step_planned = true;
		sim_schedule(sim()->now_ms + again_ms, step, server, generation);
	}
}

static void plan_step(struct sim_server *server) {
	if (server->journal == NULL || server->is_step_planned)
		return;
	server->is_step_planned = true;
	sim_schedule(sim()->now_ms + disk_takes_ms(server), step, server, server->generations);
}

/* The disk failed, and kvd stops by itself. */
static void fail(struct sim_server *server) {
	if (!server->is_armed && !server->was_failing)
		sim_fail("kvd stopped, and no disk had failed: %s", link_stubs()->error);
	sim()->figures.failed_syncs++;
	sim_log("kvd %" PRIu64 ": stops, for the disk failed", server->generations);
	server->was_failing = true;
	crash(server, false);
}

static void do_turn(void *context, uint64_t generation) {
	struct sim_server *server = context;
	struct message *message;
	bool went_on;

	if (server->turn == NULL || server->generations != generation)
		return;
	server->is_turn_planned = false;
	sim()->figures.turns++;
	turn_begin(server->turn, time_of(server));
	while (!turn_is_backlogged(server->turn) &&
	       (message = message_queue_take(&server->inbox)) != NULL) {
		run_record(server, message);
		message_free(message);
	}
	/* Now and then as if its client were alone. */
	went_on = turn_end(server->turn, sim()->figures.turns % ALONE_TURNS == 0);
	if (was_struck(server))
		return;
	if (!went_on) {
		fail(server);
		return;
	}
	send_answers(server);
	plan_tick(server, turn_expire_sessions(server->turn, true));
	plan_step(server);
	if (server->inbox.first != NULL)
		plan_turn(server, BEHIND_MS);
}

static void take(void *context, struct wire *wire, uint8_t *bytes, size_t size) {
	struct sim_server *server = context;

	message_queue_put(&server->inbox, wire, bytes, size);
	plan_turn(server, TURN_MS);
}

/* --- Starting ----------------------------------------------------------------------------------
 */

static struct service *make_service(struct sim_server *server) {
	struct server_identity identity = {.epoch = random_id()};
	const struct service_limits limits = {.value_max = server->options.value_max,
					      .memory_max = SIZE_MAX,
					      .sessions_max = server->options.sessions_max,
					      .lease_ms = server->options.lease_ms};
	struct journal_sink recorder = {.journal = NULL};
	struct service *service;
	struct mem_account *memory;

	identity.seed = random_id();
	random_bytes(identity.store, sizeof(identity.store));
	if (server->journal != NULL) {
		memcpy(identity.store, server->recovery.store, sizeof(identity.store));
		recorder = journal_recorder(server->journal);
	}
	service = or_die(service_new(&identity, &limits, &recorder));
	memory = service_memory(service);
	memory->limit = memory->used + server->options.memory_room;
	return service;
}

/* False: the disk struck, or recovery refused. */
static bool recover(struct sim_server *server) {
	struct journal_file_options options = {.segment_size = server->options.segment_size,
					       .chance = random_id};

	if (!recovery_open_disk(&server->recovery, fake_disk_of(server->disk), &options))
		return false;
	server->journal = or_die(journal_new());
	server->service = make_service(server);
	if (!recovery_run(&server->recovery, server->service))
		return false;
	server->base_ms = server->recovery.time_ms;
	journal_start_threadless(server->journal, server->recovery.file, server->recovery.last);
	server->snapshotter = or_die(snapshotter_new(&server->recovery.vfs, server->service,
						     server->recovery.snapshot.size));
	return true;
}

/* A start that a crash may interrupt. */
static bool restart_from_disk(struct sim_server *server) {
	struct fake_plan plan = {.crash_at = 0};
	bool rose;

	if (server->was_failing && prng_often(&sim()->prng, 3000))
		plan.evict_at = between(1, 30);
	server->was_failing = false;
	plan_disk(server, plan);
	if (!server->is_quiet && prng_often(&sim()->prng, 1000))
		arm(server, prng_often(&sim()->prng, 5000) ? END_KILL_SOON : END_POWER_SOON);
	rose = recover(server);
	if (server->is_armed && fake_disk_struck(server->disk)) {
		sim()->figures.torn_recoveries++;
		crash_as_armed(server);
		return false;
	}
	if (rose)
		return true;
	sim_fail("kvd does not start: %s", link_stubs()->error);
	crash(server, false);
	return false;
}

void sim_server_start(struct sim_server *server) {
	if (server->turn != NULL)
		return;
	server->generations++;
	server->is_turn_planned = false;
	server->is_step_planned = false;
	if (server->boot == 0)
		server->boot = ++server->boots;
	server->base_ms = 0;
	if (server->options.is_durable) {
		if (!restart_from_disk(server))
			return;
	} else {
		server->service = make_service(server);
		server->tell(server->tell_context, server->generations);
	}
	server->start_ms = sim()->now_ms;
	server->turn = or_die(turn_new(&(struct turn_options){
	    .service = server->service,
	    .program = PROGRAM,
	    .journal = server->journal,
	    .snapshotter = server->snapshotter,
	    .replayed = server->recovery.replayed,
	}));
	if (server->generations > 1)
		sim()->figures.restarts++;
	sim_log("kvd %" PRIu64 ": serves", server->generations);
	plan_turn(server, 0);
}

/* --- From the outside --------------------------------------------------------------------------
 */

struct sim_server *sim_server_new(const struct sim_server_options *options) {
	struct sim_server *server = or_die(calloc(1, sizeof(*server)));

	server->options = *options;
	message_queue_open(&server->inbox);
	message_queue_open(&server->send_queue);
	server->tick_ms = UINT64_MAX;
	if (options->is_durable)
		server->disk = fake_disk_new(prng_next(&sim()->prng));
	return server;
}

void sim_server_free(struct sim_server *server) {
	if (server == NULL)
		return;
	teardown(server);
	if (server->disk != NULL)
		fake_disk_free(server->disk);
	free(server);
}

static uint64_t boot_of(void *context) {
	return ((const struct sim_server *)context)->boot;
}

static uint64_t generation_of(void *context) {
	return sim_server_generation(context);
}

struct net_server sim_server_for_network(struct sim_server *server) {
	return (struct net_server){
	    .boot = boot_of, .generation = generation_of, .take = take, .context = server};
}

void sim_server_join(struct sim_server *server, struct net *net) {
	server->net = net;
}

bool sim_server_is_up(const struct sim_server *server) {
	return server->turn != NULL;
}

uint64_t sim_server_generation(const struct sim_server *server) {
	return server->turn != NULL ? server->generations : 0;
}

uint64_t sim_server_generations(const struct sim_server *server) {
	return server->generations;
}

bool sim_server_is_durable(const struct sim_server *server) {
	return server->options.is_durable;
}

void sim_server_tell_store(struct sim_server *server,
			   void (*tell)(void *context, uint64_t generation), void *context) {
	server->tell = tell;
	server->tell_context = context;
}
