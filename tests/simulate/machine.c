/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/call.h"
#include "random.h"
#include "storage/fake_disk.h"
#include "mail.h"
#include "storage/recovery.h"
#include "seams.h"
#include "turn.h"
#include "rpc/xdr_inplace.h"
#include "world.h"

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
 * A process is there while `turn` is not NULL, and then `life` is its number. `armed` is what ends
 * it when the disk strikes.
 */
struct machine {
	struct machine_options options;
	struct net *net;
	struct fake_disk *disk;
	uint64_t boot;
	uint64_t boots;
	uint64_t lives;
	void (*tell)(void *context, uint64_t life); /* of another store */
	void *tell_context;

	struct recovery recovery;
	struct journal *journal;
	struct snapshotter *snapshotter;
	struct service *service;
	struct turn *turn;
	uint64_t base_ms;  /* its time when it started ... */
	uint64_t start_ms; /* ... and the world's */
	struct mail inbox;
	struct mail outbox;
	bool is_turn_planned;
	bool is_step_planned;
	uint64_t tick_ms; /* when an idle turn is due; UINT64_MAX: none */

	bool is_armed;
	bool is_calm;
	enum machine_end armed;
	bool was_failing; /* the disk failed it, and then it may have forgotten what it showed */
	_Alignas(8) uint8_t answer[ANSWER_MAX];
};

static uint64_t between(uint64_t least, uint64_t most) {
	return dice_between(&world()->dice, least, most);
}

/* --- Answers -----------------------------------------------------------------------------------
 */

static bool_t answer(SVCXPRT *xprt, struct rpc_msg *message) {
	struct call *call = xprt->xp_p1;
	struct wire *wire = xprt->xp_p2;
	struct machine *machine = (struct machine *)(void *)xprt->xp_tp;
	uint8_t *bytes;
	u_int size;
	XDR xdrs;

	message->rm_xid = call->xid;
	xdr_mem_init(&xdrs, XDR_ENCODE, machine->answer, ANSWER_MAX);
	if (!xdr_inplace_replymsg(&xdrs, message)) {
		world_fail("an answer cannot be encoded");
	} else {
		size = XDR_GETPOS(&xdrs);
		if (wire_is_stream(wire)) {
			bytes = or_die(malloc(size));
			memcpy(bytes, machine->answer, size);
			mail_put(&machine->outbox, wire, bytes, size);
		} else {
			net_answer(wire, machine->lives, machine->answer, size);
		}
	}
	dispatch_call_free(turn_dispatch(machine->turn), call);
	return TRUE;
}

static const struct xp_ops call_ops = {
    .xp_getargs = call_getargs,
    .xp_reply = answer,
    .xp_freeargs = call_freeargs,
};

static void send_answers(struct machine *machine) {
	struct letter *letter;

	while ((letter = mail_take(&machine->outbox)) != NULL) {
		net_answer(letter->wire, machine->lives, letter->bytes, letter->size);
		letter_free(letter);
	}
}

static void run_record(struct machine *machine, const struct letter *letter) {
	struct dispatch *dispatch = turn_dispatch(machine->turn);
	struct call *call = or_die(dispatch_call(dispatch));

	call->xprt.xp_ops = &call_ops;
	call->xprt.xp_p2 = letter->wire;
	call->xprt.xp_tp = (char *)(void *)machine;
	call->reply_max =
	    wire_is_stream(letter->wire) ? UINT32_MAX : WIRE_DATAGRAM_MAX - WIRE_REPLY_OVERHEAD;
	if (!dispatch_record(dispatch, call, (struct kv_bytes){letter->bytes, letter->size})) {
		world_fail("a record of the client's is no call");
		dispatch_call_free(dispatch, call);
	}
}

/* --- Ends --------------------------------------------------------------------------------------
 */

static void plan_disk(struct machine *machine, struct fake_plan plan) {
	plan.capacity = machine->is_calm ? 0 : machine->options.disk_capacity;
	if (machine->disk != NULL)
		fake_disk_plan(machine->disk, &plan);
}

static void come_back(void *context, uint64_t lives) {
	struct machine *machine = context;

	if (machine->lives == lives)
		machine_start(machine);
}

static bool keep_some(void *context, size_t thing) {
	uint64_t *mode = context;

	(void)thing;
	return *mode == 1 || (*mode > 1 && dice_below(&world()->dice, 4) >= *mode - 1);
}

static void note_figures(const struct machine *machine) {
	struct service_counters counters;

	service_get_stats(machine->service, &counters);
	world()->figures.expiries += counters.sessions_expired;
	world()->figures.replays += counters.calls_replayed;
}

/* All that a process is made of goes with it, as the kernel does it: nothing is said or written. */
static void bury(struct machine *machine) {
	if (machine->service != NULL)
		note_figures(machine);
	turn_free(machine->turn);
	snapshotter_free(machine->snapshotter);
	journal_free(machine->journal);
	service_free(machine->service);
	if (machine->options.is_durable)
		recovery_close(&machine->recovery);
	machine->turn = NULL;
	machine->snapshotter = NULL;
	machine->journal = NULL;
	machine->service = NULL;
	machine->is_armed = false;
	machine->tick_ms = UINT64_MAX;
	mail_drop(&machine->inbox);
	mail_drop(&machine->outbox);
}

static void die(struct machine *machine, bool is_power_lost) {
	uint64_t mode = dice_below(&world()->dice, 5);

	bury(machine);
	if (machine->disk != NULL) {
		fake_disk_kill(machine->disk);
		if (is_power_lost)
			fake_disk_lose_power(machine->disk, keep_some, &mode);
	}
	if (is_power_lost)
		machine->boot = 0;
	net_process_died(machine->net, machine->lives, is_power_lost);
	/* Often at once: while the same call is still waited for. */
	world_plan(world()->now_ms +
		       between(1, dice_often(&world()->dice, 5000) ? BACK_SOON_MS : BACK_AFTER_MS),
		   come_back, machine, machine->lives);
}

static void die_as_armed(struct machine *machine) {
	bool is_power_lost = machine->armed == END_POWER_SOON;

	world_say("kvd %" PRIu64 ": %s in \"%s\"", machine->lives,
		  is_power_lost ? "the power is lost" : "killed", fake_disk_last(machine->disk));
	if (is_power_lost)
		world()->figures.power_losses++;
	else
		world()->figures.kills++;
	die(machine, is_power_lost);
}

/* True: the disk struck while something was done with it, and the process is no more. */
static bool was_struck(struct machine *machine) {
	if (!machine->is_armed || machine->armed == END_FAILED_SYNC ||
	    !fake_disk_struck(machine->disk))
		return false;
	die_as_armed(machine);
	return true;
}

static void arm(struct machine *machine, enum machine_end end) {
	struct fake_plan plan = {.crash_at = 0};
	uint64_t soon = between(1, LIKE_SOON);

	machine->is_armed = true;
	machine->armed = end;
	if (end == END_FAILED_SYNC) {
		plan.fail_change = soon;
		plan.error = -EIO;
	} else {
		plan.crash_at = soon;
		plan.crash_bytes = dice_often(&world()->dice, 5000) ? between(1, 4096) : 0;
	}
	plan_disk(machine, plan);
	world_say("disk: strikes at the change number %" PRIu64 " from now", soon);
}

static void stop(struct machine *machine) {
	bool stopped = turn_stop(machine->turn);

	if (was_struck(machine))
		return;
	if (!stopped && !machine->is_armed)
		world_fail("a clean stop failed: %s", seams()->error);
	if (stopped)
		send_answers(machine);
	die(machine, false);
}

void machine_end(struct machine *machine, enum machine_end end) {
	if (machine->turn == NULL)
		return;
	switch (end) {
	case END_KILL:
		world()->figures.kills++;
		world_say("kvd %" PRIu64 ": killed", machine->lives);
		die(machine, false);
		break;
	case END_POWER:
		world()->figures.power_losses++;
		world_say("kvd %" PRIu64 ": the power is lost", machine->lives);
		die(machine, true);
		break;
	case END_STOP:
		world()->figures.clean_stops++;
		world_say("kvd %" PRIu64 ": stopped", machine->lives);
		stop(machine);
		break;
	case END_FAILED_SYNC:
	case END_KILL_SOON:
	case END_POWER_SOON:
		if (machine->disk != NULL && !machine->is_armed && !machine->is_calm)
			arm(machine, end);
		break;
	}
}

void machine_calm(struct machine *machine) {
	machine->is_calm = true;
	if (machine->is_armed && fake_disk_struck(machine->disk))
		return; /* it is on its way out */
	machine->is_armed = false;
	plan_disk(machine, (struct fake_plan){.crash_at = 0});
}

/* --- Turns -------------------------------------------------------------------------------------
 */

static void do_turn(void *context, uint64_t life);

static uint64_t time_of(const struct machine *machine) {
	return machine->base_ms +
	       (world()->now_ms - machine->start_ms) * machine->options.clock_percent / 100;
}

static void plan_turn(struct machine *machine, uint64_t within_ms) {
	if (machine->is_turn_planned)
		return;
	machine->is_turn_planned = true;
	world_plan(world()->now_ms + between(0, within_ms), do_turn, machine, machine->lives);
}

static void tick(void *context, uint64_t life) {
	struct machine *machine = context;

	if (machine->turn == NULL || machine->lives != life || machine->tick_ms != world()->now_ms)
		return;
	machine->tick_ms = UINT64_MAX;
	plan_turn(machine, 0);
}

static void plan_tick(struct machine *machine, uint64_t due_ms) {
	uint64_t at_ms;

	if (due_ms == UINT64_MAX)
		return;
	at_ms = world()->now_ms + due_ms * 100 / machine->options.clock_percent + 1;
	if (at_ms >= machine->tick_ms)
		return;
	machine->tick_ms = at_ms;
	world_plan(at_ms, tick, machine, machine->lives);
}

static uint64_t disk_takes_ms(const struct machine *machine) {
	if (!machine->is_calm && dice_often(&world()->dice, 100))
		return between(1, STALL_MS);
	return between(0, machine->options.disk_ms);
}

/* What the journal's thread does. */
static void step(void *context, uint64_t life) {
	struct machine *machine = context;
	uint64_t again_ms = 0;
	bool has_news = false;

	if (machine->turn == NULL || machine->lives != life)
		return;
	machine->is_step_planned = false;
	switch (journal_step(machine->journal)) {
	case JOURNAL_WROTE:
		world()->figures.batches++;
		again_ms = disk_takes_ms(machine);
		has_news = true;
		break;
	case JOURNAL_PREPARED:
		again_ms = between(0, STEP_MS);
		has_news = true;
		break;
	case JOURNAL_IDLE:
		break;
	case JOURNAL_NO_ROOM:
		world()->figures.disk_full++;
		again_ms = NO_ROOM_MS;
		break;
	case JOURNAL_FAILED:
		has_news = true;
		break;
	}
	if (was_struck(machine))
		return;
	if (has_news)
		plan_turn(machine, TURN_MS);
	if (again_ms > 0) {
		machine->is_step_planned = true;
		world_plan(world()->now_ms + again_ms, step, machine, life);
	}
}

static void plan_step(struct machine *machine) {
	if (machine->journal == NULL || machine->is_step_planned)
		return;
	machine->is_step_planned = true;
	world_plan(world()->now_ms + disk_takes_ms(machine), step, machine, machine->lives);
}

/* The disk failed, and kvd stops by itself. */
static void fail(struct machine *machine) {
	if (!machine->is_armed && !machine->was_failing)
		world_fail("kvd stopped, and no disk had failed: %s", seams()->error);
	world()->figures.failed_syncs++;
	world_say("kvd %" PRIu64 ": stops, for the disk failed", machine->lives);
	machine->was_failing = true;
	die(machine, false);
}

static void do_turn(void *context, uint64_t life) {
	struct machine *machine = context;
	struct letter *letter;
	bool went_on;

	if (machine->turn == NULL || machine->lives != life)
		return;
	machine->is_turn_planned = false;
	world()->figures.turns++;
	turn_begin(machine->turn, time_of(machine));
	while (!turn_is_backlogged(machine->turn) && (letter = mail_take(&machine->inbox)) != NULL) {
		run_record(machine, letter);
		letter_free(letter);
	}
	/* Now and then as if its client were alone. */
	went_on = turn_end(machine->turn, world()->figures.turns % ALONE_TURNS == 0);
	if (was_struck(machine))
		return;
	if (!went_on) {
		fail(machine);
		return;
	}
	send_answers(machine);
	plan_tick(machine, turn_expire_sessions(machine->turn));
	plan_step(machine);
	if (machine->inbox.first != NULL)
		plan_turn(machine, BEHIND_MS);
}

static void take(void *context, struct wire *wire, uint8_t *bytes, size_t size) {
	struct machine *machine = context;

	mail_put(&machine->inbox, wire, bytes, size);
	plan_turn(machine, TURN_MS);
}

/* --- Starting ----------------------------------------------------------------------------------
 */

static struct service *make_service(struct machine *machine) {
	struct identity identity = {.epoch = random_id()};
	const struct service_limits limits = {.value_max = machine->options.value_max,
					      .memory_max = SIZE_MAX,
					      .sessions_max = machine->options.sessions_max,
					      .lease_ms = machine->options.lease_ms};
	struct recorder recorder = {.journal = NULL};
	struct service *service;
	struct memory *memory;

	identity.seed = random_id();
	random_bytes(identity.store, sizeof(identity.store));
	if (machine->journal != NULL) {
		memcpy(identity.store, machine->recovery.store, sizeof(identity.store));
		recorder = journal_recorder(machine->journal);
	}
	service = or_die(service_new(&identity, &limits, &recorder));
	memory = service_memory(service);
	memory->limit = memory->used + machine->options.memory_room;
	return service;
}

/* False: the disk struck, or recovery refused. */
static bool recover(struct machine *machine) {
	struct journal_file_options options = {.segment_size = machine->options.segment_size,
					       .chance = random_id};

	if (!recovery_open_disk(&machine->recovery, fake_disk_of(machine->disk), &options))
		return false;
	machine->journal = or_die(journal_new());
	machine->service = make_service(machine);
	if (!recovery_run(&machine->recovery, machine->service))
		return false;
	machine->base_ms = machine->recovery.time_ms;
	journal_start_threadless(machine->journal, machine->recovery.file, machine->recovery.last);
	machine->snapshotter = or_die(snapshotter_new(&machine->recovery.disk, machine->service,
						      machine->recovery.snapshot.size));
	return true;
}

/* A start that a crash may interrupt. */
static bool rise_from_disk(struct machine *machine) {
	struct fake_plan plan = {.crash_at = 0};
	bool rose;

	if (machine->was_failing && dice_often(&world()->dice, 3000))
		plan.evict_at = between(1, 30);
	machine->was_failing = false;
	plan_disk(machine, plan);
	if (!machine->is_calm && dice_often(&world()->dice, 1000))
		arm(machine, dice_often(&world()->dice, 5000) ? END_KILL_SOON : END_POWER_SOON);
	rose = recover(machine);
	if (machine->is_armed && fake_disk_struck(machine->disk)) {
		world()->figures.torn_recoveries++;
		die_as_armed(machine);
		return false;
	}
	if (rose)
		return true;
	world_fail("kvd does not start: %s", seams()->error);
	die(machine, false);
	return false;
}

void machine_start(struct machine *machine) {
	if (machine->turn != NULL)
		return;
	machine->lives++;
	machine->is_turn_planned = false;
	machine->is_step_planned = false;
	if (machine->boot == 0)
		machine->boot = ++machine->boots;
	machine->base_ms = 0;
	if (machine->options.is_durable) {
		if (!rise_from_disk(machine))
			return;
	} else {
		machine->service = make_service(machine);
		machine->tell(machine->tell_context, machine->lives);
	}
	machine->start_ms = world()->now_ms;
	machine->turn = or_die(turn_new(&(struct turn_options){
	    .service = machine->service,
	    .program = PROGRAM,
	    .journal = machine->journal,
	    .snapshotter = machine->snapshotter,
	    .replayed = machine->recovery.replayed,
	}));
	if (machine->lives > 1)
		world()->figures.restarts++;
	world_say("kvd %" PRIu64 ": serves", machine->lives);
	plan_turn(machine, 0);
}

/* --- From the outside --------------------------------------------------------------------------
 */

struct machine *machine_new(const struct machine_options *options) {
	struct machine *machine = or_die(calloc(1, sizeof(*machine)));

	machine->options = *options;
	mail_open(&machine->inbox);
	mail_open(&machine->outbox);
	machine->tick_ms = UINT64_MAX;
	if (options->is_durable)
		machine->disk = fake_disk_new(dice_bits(&world()->dice));
	return machine;
}

void machine_free(struct machine *machine) {
	if (machine == NULL)
		return;
	bury(machine);
	if (machine->disk != NULL)
		fake_disk_free(machine->disk);
	free(machine);
}

static uint64_t boot_of(void *context) {
	return ((const struct machine *)context)->boot;
}

static uint64_t life_of(void *context) {
	return machine_life(context);
}

struct net_server machine_server(struct machine *machine) {
	return (struct net_server){
	    .boot = boot_of, .life = life_of, .take = take, .context = machine};
}

void machine_join(struct machine *machine, struct net *net) {
	machine->net = net;
}

bool machine_is_up(const struct machine *machine) {
	return machine->turn != NULL;
}

uint64_t machine_life(const struct machine *machine) {
	return machine->turn != NULL ? machine->lives : 0;
}

uint64_t machine_lives(const struct machine *machine) {
	return machine->lives;
}

bool machine_is_durable(const struct machine *machine) {
	return machine->options.is_durable;
}

void machine_tell_store(struct machine *machine, void (*tell)(void *context, uint64_t life),
			void *context) {
	machine->tell = tell;
	machine->tell_context = context;
}
