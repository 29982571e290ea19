# SPDX-License-Identifier: BSD-3-Clause
# kv: server, client library and shell tool. `make help` lists the targets.

VERSION := 0.1.0

# In a tree that is not one's own, one builds at home.
BUILD   ?= $(shell [ -w . ] || [ ! -w "$$HOME" ] && echo build || echo "$$HOME/.cache/kv-build")
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
CFLAGS  ?= -O2 -g
RPCGEN  ?= rpcgen
PKG     ?= pkg-config

BINDIR     := $(PREFIX)/bin
SBINDIR    := $(PREFIX)/sbin
LIBDIR     := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include
UNITDIR    := $(PREFIX)/lib/systemd/system
MANDIR     := $(PREFIX)/share/man

# A missing library is said here in one line, not by the compiler in many.
NEEDS_NOTHING := clean help uninstall house-rules lint format format-check
ifneq ($(filter-out $(NEEDS_NOTHING),$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell for tool in $(PKG) $(RPCGEN); do \
                       command -v $$tool >/dev/null || echo $$tool; done; \
                   for library in libtirpc libxxhash libisal jansson nettle; do \
                       $(PKG) --exists $$library 2>/dev/null || echo $$library; done)
ifneq ($(MISSING),)
$(error $(MISSING) not found: run tools/setup)
endif
endif

TIRPC_CFLAGS := $(shell $(PKG) --cflags libtirpc 2>/dev/null)
TIRPC_LIBS   := $(shell $(PKG) --libs libtirpc 2>/dev/null)
ISAL_LIBS    := $(shell $(PKG) --libs libisal 2>/dev/null)
XXHASH_LIBS  := $(shell $(PKG) --libs libxxhash 2>/dev/null)
CHECK_LIBS   := $(shell $(PKG) --libs check 2>/dev/null)
KVCTL_LIBS   := $(shell $(PKG) --libs jansson nettle 2>/dev/null)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wwrite-strings -Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wundef
# WERROR=1 makes every warning an error, SANITIZE=address,undefined builds with sanitizers.
ifdef WERROR
WARNINGS += -Werror
endif
ifdef SANITIZE
SANITIZERS := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

ALL_CFLAGS  := -std=c11 -D_GNU_SOURCE -DKV_SOFTWARE='"kvd $(VERSION)"' -fPIC -pthread \
               $(SANITIZERS)
# The server is optimized as one program where the compiler is gcc: what that gains is told in
# docs/PERFORMANCE.md. Its objects hold the usual code as well, and tests link that.
ifndef SANITIZE
LTO := $(shell $(CC) --version 2>/dev/null | grep -q 'Free Software' && \
         echo -flto=auto -ffat-lto-objects)
endif
ALL_LDFLAGS := -pthread $(SANITIZERS) $(if $(LTO),-fno-lto) $(LDFLAGS)

# --- The floors. What a floor may include is what is on its include path. -----------------------

PUBLIC_HEADERS := base/status.h base/bytes.h client/kv.h lock/lock.h
PUBLIC  := $(foreach header,$(PUBLIC_HEADERS),$(BUILD)/include/kv/$(notdir $(header)))
RPC     := $(BUILD)/rpc

# The only files that see XDR and libtirpc.
WIRE := server/dispatch.o server/foresight.o server/call.o server/wire.o server/outbox.o \
        server/transport_stream.o server/transport_datagram.o server/registrar.o server/options.o \
        client/connection.o client/locate.o client/caller.o client/procedures.o \
        bench/protocol_kv.o bench/options.o bench/tirpc_server.o

INCLUDES_base   :=
INCLUDES_server := -Ibase
INCLUDES_client := -I$(BUILD)/include -Ibase
INCLUDES_lock   := -I$(BUILD)/include
INCLUDES_kvctl  := -I$(BUILD)/include -DKV_RELEASE='"$(VERSION)"'
INCLUDES_kvcheck := -Ibase -DKV_RELEASE='"$(VERSION)"'
INCLUDES_bench  := -I$(BUILD)/include -Ibase -Ikvctl
OPTIMIZE_server := $(LTO)
INCLUDES_WIRE   := -I$(RPC) $(TIRPC_CFLAGS)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(1)/*.c))

BASE   := $(call objects,base)
SERVER := $(call objects,server)
CLIENT := $(call objects,client)
LOCK   := $(call objects,lock)
KVCTL  := $(call objects,kvctl)
KVCHECK := $(call objects,kvcheck)
# What judges histories inside another program: see kvcheck/checker.h.
CHECKER := $(filter-out %/kvcheck.o,$(KVCHECK)) \
           $(patsubst %,$(BUILD)/obj/base/%.o,history_call json_bytes status)
CLERK  := $(patsubst %,$(BUILD)/obj/client/%.o, \
            attempt backoff channel clerk client memo origin recorder session verdict wait)
CORE   := $(patsubst %,$(BUILD)/obj/server/%.o,buffer table operation store session state service)

# --- Programs and libraries ----------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

## all: kvd, kvctl, kvcheck and libkv, in build/ (BUILD=... for another place)
all: $(BUILD)/kvd $(BUILD)/kvctl $(BUILD)/kvcheck $(BUILD)/libkv.so $(BUILD)/libkv.a

$(BUILD)/kvd: $(SERVER) $(BASE) $(RPC)/server_xdr.o
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(filter-out -fno-lto,$(ALL_LDFLAGS)) $(LTO) \
	    $(TIRPC_LIBS) $(XXHASH_LIBS) $(ISAL_LIBS)

$(BUILD)/kvctl: $(KVCTL) $(BUILD)/libkv.a
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(KVCTL_LIBS) $(TIRPC_LIBS) \
	    -lm

$(BUILD)/kvcheck: $(BUILD)/obj/kvcheck/kvcheck.o $(CHECKER)
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(KVCTL_LIBS)

LIBKV := $(BASE) $(CLIENT) $(LOCK) $(RPC)/client_xdr.o $(RPC)/client_stubs.o

$(BUILD)/libkv.so.0: $(LIBKV) client/libkv.map
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -shared -Wl,-soname,libkv.so.0 \
	    -Wl,--version-script=client/libkv.map -o $@ $(LIBKV) $(ALL_LDFLAGS) $(TIRPC_LIBS)
$(BUILD)/libkv.so: $(BUILD)/libkv.so.0
	ln -sf libkv.so.0 $@

# One object whose inner names are local, so that they clash with nobody's.
$(BUILD)/libkv.a: $(LIBKV) client/libkv.map
	$(LD) -r -o $(BUILD)/libkv.o $(LIBKV)
	objcopy --wildcard -G 'kv_*' -G 'kvproc_*' -G 'xdr_kv1_*' $(BUILD)/libkv.o
	rm -f $@
	$(AR) rcs $@ $(BUILD)/libkv.o

# --- Objects -------------------------------------------------------------------------------------

$(WIRE:%=$(BUILD)/obj/%): EXTRA = $(INCLUDES_WIRE)
$(WIRE:%=$(BUILD)/obj/%): | $(RPC)/rpcsvc/kv.h

define floor
$(BUILD)/obj/$(1)/%.o: $(1)/%.c | $(PUBLIC)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) $$(WARNINGS) $$(CFLAGS) $$(INCLUDES_$(1)) $$(EXTRA) \
	    $$(OPTIMIZE_$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach name,base server client lock kvctl kvcheck bench,$(eval $(call floor,$(name))))

define public
$(BUILD)/include/kv/$(notdir $(1)): $(1)
	@mkdir -p $$(@D)
	ln -sfn $(CURDIR)/$(1) $$@
endef
$(foreach header,$(PUBLIC_HEADERS),$(eval $(call public,$(header))))

# rpcgen writes the path it was given into #include, so it runs beside a copy of kv.x.
$(RPC)/rpcsvc/kv.x: kv.x
	@mkdir -p $(@D)
	cp $< $@
$(RPC)/rpcsvc/kv.h: $(RPC)/rpcsvc/kv.x
	cd $(@D) && rm -f kv.h && $(RPCGEN) -C -M -h -o kv.h kv.x
$(RPC)/rpcsvc/kv_xdr.c: $(RPC)/rpcsvc/kv.x $(RPC)/rpcsvc/kv.h
	cd $(@D) && rm -f kv_xdr.c && $(RPCGEN) -C -M -c -o kv_xdr.c kv.x
$(RPC)/rpcsvc/kv_clnt.c: $(RPC)/rpcsvc/kv.x $(RPC)/rpcsvc/kv.h
	cd $(@D) && rm -f kv_clnt.c && $(RPCGEN) -C -M -l -o kv_clnt.c kv.x

GENERATED = $(CC) $(ALL_CFLAGS) $(CFLAGS) -w $(TIRPC_CFLAGS) -c -o $@ $<
$(RPC)/client_xdr.o: $(RPC)/rpcsvc/kv_xdr.c
	$(GENERATED)
$(RPC)/client_stubs.o: $(RPC)/rpcsvc/kv_clnt.c
	$(GENERATED)
# The server's XDR routines read and write in place: see server/wire.h.
$(RPC)/server_xdr.o: $(RPC)/rpcsvc/kv_xdr.c server/wire.h
	$(GENERATED) $(LTO) -fvisibility=hidden -DWIRE_GENERATED -include server/wire.h

# --- Tests ---------------------------------------------------------------------------------------

# A unit test links only the floors that it tests.
CORE_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/core_*.c))
CLIENT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/client_*.c))
LOCK_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/lock_*.c))
BASE_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/base_*.c))
SNAPSHOT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%, \
                    $(wildcard tests/unit/snapshot*_test.c))
JOURNAL_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%, \
                   $(wildcard tests/unit/journal_*_test.c tests/unit/recovery_*_test.c))
CHECKER_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%, \
                   $(wildcard tests/unit/check_*_test.c))
BENCH_TESTS  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/bench_*.c))
UNIT_TESTS   := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c))

# The client's edge: a link knows bytes only, a connection the generated code and libtirpc too.
LINK_TESTS := $(patsubst %,$(BUILD)/tests/unit/client_link_%,test cost_test turns_test)
EDGE_TESTS := $(LINK_TESTS) $(BUILD)/tests/unit/client_connection_test
$(LINK_TESTS): tests/unit/link_peer.c \
    $(patsubst %,$(BUILD)/obj/client/%.o,link reason waiter)
# It counts system calls.
$(BUILD)/tests/unit/client_link_cost_test: private TEST_LIBS = \
    -Wl,--wrap=recv,--wrap=sendmsg,--wrap=poll
# It holds up what sends, and sees who sleeps and who is woken.
$(BUILD)/tests/unit/client_link_turns_test: private TEST_LIBS = -Wl,--wrap=sendmsg,--wrap=sendmmsg \
    -Wl,--wrap=sem_clockwait,--wrap=sem_wait,--wrap=sem_post \
    -Wl,--wrap=pthread_mutex_lock,--wrap=pthread_mutex_unlock
$(BUILD)/tests/unit/client_connection_test: tests/unit/rpc_script.c \
    $(RPC)/client_xdr.o $(RPC)/client_stubs.o \
    $(patsubst %,$(BUILD)/obj/client/%.o,attempt caller connection dial link locate procedures reason \
      waiter)
$(BUILD)/tests/unit/client_connection_test: private EXTRA = $(INCLUDES_WIRE)
$(BUILD)/tests/unit/client_connection_test: private TEST_LIBS = $(TIRPC_LIBS)

# The kernel refuses as the test says.
$(BUILD)/tests/unit/listener_test: $(BASE) $(BUILD)/obj/server/listener.o
$(BUILD)/tests/unit/listener_test: private TEST_LIBS = -Wl,--wrap=accept4
$(BUILD)/tests/unit/transport_stream_test: $(CORE) $(BASE) $(RPC)/server_xdr.o \
    $(patsubst %,$(BUILD)/obj/server/%.o,arrivals call counters dispatch foresight outbox pacing \
      transport_stream wire)
$(BUILD)/tests/unit/transport_stream_test: private EXTRA = $(INCLUDES_WIRE)
$(BUILD)/tests/unit/transport_stream_test: private TEST_LIBS = $(TIRPC_LIBS) -Wl,--wrap=epoll_ctl

$(BUILD)/tests/unit/outbox_test: $(CORE) $(BASE) $(RPC)/server_xdr.o \
    $(patsubst %,$(BUILD)/obj/server/%.o,outbox wire)
$(BUILD)/tests/unit/outbox_test: private EXTRA = $(INCLUDES_WIRE)
$(BUILD)/tests/unit/outbox_test: private TEST_LIBS = $(TIRPC_LIBS)

$(EDGE_TESTS): $(BASE)
# Measurement: what is counted and drawn, without a server.
$(BUILD)/tests/unit/bench_histogram_test: $(BUILD)/obj/kvctl/histogram.o
$(BUILD)/tests/unit/bench_workload_test: $(BUILD)/obj/kvctl/workload.o
$(BUILD)/tests/unit/bench_protocol_test: $(BASE) $(RPC)/client_xdr.o \
    $(patsubst %,$(BUILD)/obj/bench/%.o,outgoing protocol protocol_echo protocol_etcd protocol_kv \
      protocol_memcached protocol_redis) $(BUILD)/obj/kvctl/workload.o
$(BENCH_TESTS): private EXTRA = -Ikvctl -Ibench $(INCLUDES_WIRE)
$(BENCH_TESTS): private TEST_LIBS = $(TIRPC_LIBS) -lnettle -lm
$(BASE_TESTS): $(BASE)
$(CORE_TESTS): $(CORE) $(BASE)
$(SNAPSHOT_TESTS): $(CORE) $(BASE) \
    $(patsubst %,$(BUILD)/obj/server/%.o,batch disk heap snapshot snapshotter)
$(SNAPSHOT_TESTS): private TEST_LIBS = $(ISAL_LIBS)
$(BUILD)/tests/unit/snapshot_crash_test: tests/unit/fake_disk.c tests/unit/fake_file.c
# It refuses processes, memory and threads.
$(BUILD)/tests/unit/snapshotter_test: private TEST_LIBS = $(ISAL_LIBS) \
    -Wl,--wrap=fork,--wrap=epoll_ctl,--wrap=pthread_create
# The journal and what stands on it: the test is the disk.
$(JOURNAL_TESTS): $(CORE) $(BASE) tests/unit/fake_disk.c tests/unit/fake_file.c \
    $(patsubst %,$(BUILD)/obj/server/%.o,batch codec disk journal journal_file journal_read \
      recovery progress snapshot heap)
$(JOURNAL_TESTS): private TEST_LIBS = $(ISAL_LIBS)
CRASH_RUN := $(patsubst %,tests/unit/crash_%.c,model run snapshot)
$(BUILD)/tests/unit/journal_crash_test: $(CRASH_RUN)
$(filter $(BUILD)/tests/unit/recovery_%,$(JOURNAL_TESTS)): $(CRASH_RUN)
$(BUILD)/tests/unit/recovery_damage_test: tests/unit/disk_image.c
# It refuses memory, descriptors, threads.
$(BUILD)/tests/unit/journal_refused_test: private TEST_LIBS = $(ISAL_LIBS) \
    -Wl,--wrap=calloc,--wrap=realloc,--wrap=eventfd,--wrap=pthread_create
# It fails syncs.
$(BUILD)/tests/unit/journal_disk_test: private TEST_LIBS = $(ISAL_LIBS) -Wl,--wrap=fsync
# It knows when the journal's thread waits.
$(BUILD)/tests/unit/journal_write_test: private TEST_LIBS = $(ISAL_LIBS) \
    -Wl,--wrap=pthread_cond_wait
# They refuse memory.
$(patsubst %,$(BUILD)/tests/unit/%,journal_damage_test recovery_error_test): private TEST_LIBS = $(ISAL_LIBS) \
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# A turn without sockets: the test is the dispatcher and the snapshotter.
$(BUILD)/tests/unit/turn_test: $(CORE) $(BASE) tests/unit/fake_disk.c tests/unit/fake_file.c \
    $(patsubst %,$(BUILD)/obj/server/%.o, \
        batch codec counters disk heap journal journal_file journal_read snapshot turn)
$(BUILD)/tests/unit/turn_test: private TEST_LIBS = $(ISAL_LIBS)
$(BUILD)/tests/unit/heap_test: $(BUILD)/obj/server/heap.o
$(BUILD)/tests/unit/solitude_test: $(BUILD)/obj/server/solitude.o
$(BUILD)/tests/unit/foresight_test: $(CORE) $(RPC)/server_xdr.o $(BASE) \
    $(patsubst %,$(BUILD)/obj/server/%.o,foresight wire)
$(BUILD)/tests/unit/foresight_test: private EXTRA = $(INCLUDES_WIRE)
$(BUILD)/tests/unit/foresight_test: private TEST_LIBS = $(TIRPC_LIBS)
$(CHECKER_TESTS): $(CHECKER)
$(CHECKER_TESTS): private EXTRA = -Ikvcheck
$(CHECKER_TESTS): private TEST_LIBS = $(KVCTL_LIBS)
$(CLIENT_TESTS): $(BASE)
# The client without sockets: the test is the outside world.
$(filter $(BUILD)/tests/unit/client_clerk%,$(CLIENT_TESTS)): $(CLERK) tests/unit/fake_transport.c
$(BUILD)/tests/unit/client_recorder_test: $(BUILD)/obj/client/recorder.o
# The kernel does as the test says.
$(BUILD)/tests/unit/client_origin_test: $(BUILD)/obj/client/origin.o
$(BUILD)/tests/unit/client_origin_test: private TEST_LIBS = -Wl,--wrap=madvise,--wrap=mmap
# The lock alone: the test is its client library, its clock and its chance.
$(LOCK_TESTS): $(BUILD)/obj/lock/lock.o $(BUILD)/obj/lock/patience.o $(BUILD)/obj/base/status.o \
    tests/unit/fake_kv.c

$(UNIT_TESTS): $(BUILD)/tests/unit/%: tests/unit/%.c | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -Ibase -Iserver -Iclient \
	    -Itests/support $(EXTRA) -MMD -MP -o $@ $(filter %.c %.o,$^) $(ALL_LDFLAGS) $(CHECK_LIBS) \
	    $(XXHASH_LIBS) $(TEST_LIBS)

# A system test runs the real programs, from another process; the library is linked as users link it.
SUPPORT      := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
SYSTEM_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/system/*_test.c))
SYSTEM_SH    := $(wildcard tests/system/*.sh tests/simulate/*.sh)

SYSTEM_INCLUDES := -I$(BUILD)/include $(INCLUDES_WIRE) -Itests/support

$(SUPPORT): $(BUILD)/tests/support/%.o: tests/support/%.c | $(PUBLIC) $(RPC)/rpcsvc/kv.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) $(SYSTEM_INCLUDES) -MMD -MP -c -o $@ $<

# What was asked and told is judged in the test's own process.
$(BUILD)/tests/support/tape.o: private SYSTEM_INCLUDES += -Ibase -Ikvcheck
JUDGE := $(filter-out %/status.o,$(CHECKER))

# kvfault: a bad network between clients and kvd, for the tests and by hand.
KVFAULT := $(BUILD)/tests/kvfault
$(KVFAULT): $(wildcard tests/kvfault/*.c) $(BASE) | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -Ibase -Itests/kvfault -o $@ \
	    $(filter %.c %.o,$^) $(ALL_LDFLAGS)
$(KVFAULT): $(wildcard tests/kvfault/*.h)

$(SYSTEM_TESTS): $(BUILD)/tests/system/%: tests/system/%.c $(SUPPORT) $(JUDGE) $(BUILD)/libkv.a | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) $(SYSTEM_INCLUDES) -MMD -MP -o $@ \
	    $(filter %.c %.o %.a,$^) $(ALL_LDFLAGS) $(CHECK_LIBS) $(KVCTL_LIBS) $(TIRPC_LIBS)

# --- Simulation: worlds that follow from a seed (docs/ARCHITECTURE.md) ---------------------------

# Client and server have the same names for some things, so the client's are made local first. The
# lock calls kv_get and kv_put through the simulation, which writes down what it does. What is left
# out is what the simulation stands in for.
SIM        := $(BUILD)/obj/tests/simulate
SIM_CLIENT := $(filter-out $(patsubst %,$(BUILD)/obj/client/%.o,connection dial link locate wait \
                waiter), \
                $(CLIENT)) \
              $(filter-out %/outside.o,$(LOCK)) $(RPC)/client_xdr.o $(RPC)/client_stubs.o
SIM_SERVER := $(filter-out $(patsubst %,$(BUILD)/obj/server/%.o,listener main notify options outbox \
                registrar snapshotter svc_run transport_datagram transport_stream),$(SERVER)) \
              $(RPC)/server_xdr.o
SIM_BASE   := $(filter-out $(patsubst %,$(BUILD)/obj/base/%.o,chance clock log),$(BASE))
SIM_OURS   := $(patsubst tests/simulate/%.c,$(SIM)/%.o,$(wildcard tests/simulate/*.c)) \
              $(SIM)/fake_disk.o $(SIM)/fake_file.o
SIM_FLAGS   = $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -Ibase -Itests/simulate \
              -Itests/unit $(SIM_SIDE) -MMD -MP

$(SIM)/client.o: $(SIM_CLIENT) | $(PUBLIC)
	@mkdir -p $(@D)
	$(LD) -r --wrap=kv_get --wrap=kv_put -o $@ $(SIM_CLIENT)
	objcopy --wildcard -G 'kv_*' -G procedures_attempt -G 'reason_*' -G 'backoff_*' $@

# A file of the simulation is on one side, or on neither.
$(SIM)/link.o $(SIM)/seams.o: private SIM_SIDE = -Iclient
$(SIM)/machine.o: private SIM_SIDE = -Iserver $(INCLUDES_WIRE)
$(SIM)/histories.o: private SIM_SIDE = -Ikvcheck
$(SIM)/snapshotter.o $(SIM)/fake_disk.o $(SIM)/fake_file.o: private SIM_SIDE = -Iserver
$(SIM)/machine.o: | $(RPC)/rpcsvc/kv.h
$(SIM)/%.o: tests/simulate/%.c | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(SIM_FLAGS) -c -o $@ $<
$(SIM)/%.o: tests/unit/%.c | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(SIM_FLAGS) -c -o $@ $<

SIMULATE := $(BUILD)/tests/simulate/simulate
$(SIMULATE): $(sort $(SIM_OURS) $(SIM)/client.o $(SIM_SERVER) $(SIM_BASE) $(CHECKER))
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
	    -Wl,--wrap=pthread_cond_signal,--wrap=pthread_cond_broadcast \
	    $(TIRPC_LIBS) $(XXHASH_LIBS) $(ISAL_LIBS) $(KVCTL_LIBS)

## simulate: the simulated world of SEED=n, told with TELL=1; or COUNT=1000 worlds from there
simulate: $(SIMULATE)
	@$(SIMULATE) $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(if $(TELL),-v)

# Examples: what users write, on the public headers and the library alone.
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(wildcard examples/*.c))

$(EXAMPLES): $(BUILD)/examples/%: examples/%.c $(BUILD)/libkv.a | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -MMD -MP -o $@ $< \
	    $(BUILD)/libkv.a $(ALL_LDFLAGS) $(TIRPC_LIBS)

## examples: the programs in examples/, in build/examples/
examples: $(EXAMPLES)

# Two builds of one place at a time would write into each other's files.
LOCKED = @mkdir -p $(BUILD) && flock $(BUILD)
RUN    = BUILD=$(abspath $(BUILD)) SANITIZE=$(SANITIZE) bash tests/run

unit-tests: $(UNIT_TESTS)
tests: all examples $(KVFAULT) $(UNIT_TESTS) $(SYSTEM_TESTS) $(BUILD)/bench/load $(BUILD)/bench/echo \
       $(SIMULATE)

## unit: the tests without sockets
unit:
	$(LOCKED) $(MAKE) unit-tests
	@$(RUN) $(UNIT_TESTS)

## check: all tests, against the real programs too; the last line counts them
check:
	$(LOCKED) $(MAKE) tests
	@$(RUN) $(filter-out $(LEFT_OUT),$(SYSTEM_TESTS) $(SYSTEM_SH) $(UNIT_TESTS))

## demo: the real thing at work, on this machine's own data
demo:
	@echo "building in $(BUILD) ..."
	$(LOCKED) $(MAKE) all examples
	@BUILD=$(abspath $(BUILD)) sh examples/demo.sh

# Address space randomised further than TSan's runtime knows makes it give up: do without.
UNRANDOM = $(shell setarch -R true 2>/dev/null && echo setarch -R)

# What says nothing more when it is instrumented is left out there: how much memory is used, ...
FIGURES = %/memory_test %/fault_memory_test
# ... one thread that tries all there is (asan does once), ...
SEARCHES = %/journal_crash_test %/recovery_damage_test %/check_brute_test %/lock_explore_test \
           %/core_table_test
# ... and for the thread sanitizer whatever has one thread only.
ONE_THREAD = $(SEARCHES) %/check_test %/input_test %/options_test %/bench.sh \
             $(addprefix %/,$(basename $(notdir $(wildcard $(foreach floor, \
               base bench check client_clerk core lock snapshot recovery,tests/unit/$(floor)_*.c)))))

## asan: all tests with the address and undefined behaviour sanitizers
asan:
	$(MAKE) BUILD=$(BUILD)/asan SANITIZE=address,undefined LEFT_OUT='$(FIGURES)' check
## tsan: the tests of what has threads, with the thread sanitizer
tsan:
	TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp $(UNRANDOM) $(MAKE) BUILD=$(BUILD)/tsan \
	    SANITIZE=thread LEFT_OUT='$(FIGURES) $(ONE_THREAD)' check

# What valgrind runs: the units, and against kvd what exercises most of it in little time.
VALGRIND        = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite
VALGRIND_UNITS  = $(filter-out $(SEARCHES),$(UNIT_TESTS))
VALGRIND_SYSTEM = $(filter %/duplicate_test %/input_test,$(SYSTEM_TESTS))

## valgrind: the unit tests, and some others with kvd, under valgrind
valgrind:
	$(LOCKED) $(MAKE) tests
	@WRAPPER="$(VALGRIND)" $(RUN) $(VALGRIND_UNITS)
	@KVD_WRAPPER="$(VALGRIND)" CK_TIMEOUT_MULTIPLIER=10 $(RUN) $(VALGRIND_SYSTEM)

## mutants: plant faults in copies of the sources, one at a time, and see which tests notice
mutants:
	@BUILD=$(abspath $(BUILD)) bash tests/mutants

FAULT_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/system/fault_*_test.c))

## torture: kvd killed KILLS=200 times; the fault suites, partitions for SECONDS=30; EVERY_CRASH=1
KILLS       ?= 200
EVERY_CRASH ?= 1
torture: $(BUILD)/kvd $(KVFAULT) $(BUILD)/tests/system/crash_test $(FAULT_TESTS) \
    $(BUILD)/tests/unit/journal_crash_test
	KILLS=$(KILLS) BUILD=$(BUILD) KVD=$(BUILD)/kvd $(BUILD)/tests/system/crash_test
	@for program in $(FAULT_TESTS); do \
	    KV_LONG=1 $(if $(findstring command,$(origin SECONDS)),SECONDS=$(SECONDS)) \
	        BUILD=$(BUILD) KVD=$(BUILD)/kvd $$program || exit 1; \
	done
	EVERY_CRASH=$(EVERY_CRASH) $(BUILD)/tests/unit/journal_crash_test

## bench-durable: what durability costs, beside Redis if it is there (QUICK=1: in a minute)
bench-durable: $(BUILD)/kvd $(BUILD)/bench/durable $(BUILD)/bench/load
	@place=$$(mktemp -d "$(CURDIR)/durable.XXXXXX") && $(BUILD)/bench/durable $(BUILD)/kvd "$$place" \
	    $$(command -v redis-server || echo -); status=$$?; rm -rf "$$place"; exit $$status
$(BUILD)/bench/durable: bench/durable.c bench/durable_load.c $(BUILD)/libkv.a | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -o $@ $(filter %.c %.a,$^) \
	    $(ALL_LDFLAGS) $(TIRPC_LIBS)

# --- Measurement ---------------------------------------------------------------------------------

## guard: instructions and system calls for each call, beside those in bench/guard.txt
guard:
	$(LOCKED) $(MAKE) $(BUILD)/kvd $(BUILD)/bench/load
	@BUILD=$(abspath $(BUILD)) CC='$(CC)' CFLAGS='$(CFLAGS)' SANITIZE=$(SANITIZE) bash bench/guard

bench_objects = $(patsubst %,$(BUILD)/obj/bench/%.o,$(1))
PROTOCOLS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/protocol*.c))
LOAD      := $(call bench_objects,load options worker connection outgoing) $(PROTOCOLS) \
             $(patsubst %,$(BUILD)/obj/kvctl/%.o,histogram workload)
MEASURES  := $(patsubst %,$(BUILD)/bench/%,load echo tirpc_server pingpong sync locks)

bench-programs: all $(MEASURES)

## bench: kvd beside its peers, in turns; writes BUILD/bench/report.md (QUICK=1: within a minute)
bench:
	$(LOCKED) $(MAKE) bench-programs
	@BUILD=$(abspath $(BUILD)) QUICK=$(or $(QUICK),0) bash bench/run

BENCH_LINK = @mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $(filter %.o %.a,$^) \
             $(ALL_LDFLAGS)
$(BUILD)/bench/load: $(LOAD) $(BASE) $(RPC)/client_xdr.o
	$(BENCH_LINK) $(TIRPC_LIBS) -lnettle -lm
$(BUILD)/bench/echo: $(call bench_objects,echo) $(BASE)
	$(BENCH_LINK)
$(BUILD)/bench/pingpong: $(BUILD)/obj/bench/pingpong.o $(filter-out %/load.o %/worker.o,$(LOAD)) \
    $(BASE) $(RPC)/client_xdr.o
	$(BENCH_LINK) $(TIRPC_LIBS) -lnettle -lm
$(BUILD)/bench/sync: $(call bench_objects,sync) $(BUILD)/obj/kvctl/histogram.o $(BASE)
	$(BENCH_LINK) -lm
# Of the library's parts, so that the lock's calls can be counted.
$(BUILD)/bench/locks: $(call bench_objects,locks) $(BUILD)/obj/kvctl/histogram.o $(LIBKV)
	$(BENCH_LINK) -Wl,--wrap=kv_get,--wrap=kv_put $(TIRPC_LIBS) -lm
$(BUILD)/bench/tirpc_server: $(call bench_objects,tirpc_server) $(BASE) $(RPC)/client_xdr.o
	$(BENCH_LINK) $(TIRPC_LIBS)

# --- Fuzzing (clang's libFuzzer) -----------------------------------------------------------------

FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_fuzz.c))
SECONDS ?= 10

# Everything is built instrumented in a place of its own; the driver is linked in at the end.
FUZZ_PROGRAMS := $(FUZZERS:%=$(BUILD)/tests/fuzz/%)
$(BUILD)/tests/fuzz/address_fuzz: $(BUILD)/obj/base/address.o
$(BUILD)/tests/fuzz/stream_fuzz: $(CORE) $(filter-out %/chance.o,$(BASE)) $(RPC)/server_xdr.o \
    $(patsubst %,$(BUILD)/obj/server/%.o,arrivals call counters dispatch foresight outbox pacing \
      transport_stream wire)
$(BUILD)/tests/fuzz/dispatch_fuzz: $(CORE) $(filter-out %/chance.o,$(BASE)) $(RPC)/server_xdr.o \
    $(patsubst %,$(BUILD)/obj/server/%.o,call dispatch wire counters)
$(BUILD)/tests/fuzz/dispatch_fuzz: private EXTRA = $(INCLUDES_WIRE)
$(BUILD)/tests/fuzz/state_fuzz: $(CORE)
$(BUILD)/tests/fuzz/recovery_fuzz: $(CORE) $(BASE) \
    $(patsubst %,tests/unit/%.c,disk_image fake_disk fake_file) \
    $(patsubst %,$(BUILD)/obj/server/%.o,batch codec disk journal_file journal_read recovery \
      progress snapshot heap)
$(BUILD)/tests/fuzz/recovery_fuzz: private EXTRA = -Itests/unit
$(BUILD)/tests/fuzz/recovery_fuzz: private TEST_LIBS = $(ISAL_LIBS)
$(BUILD)/tests/fuzz/history_fuzz: $(CHECKER)
$(BUILD)/tests/fuzz/history_fuzz: private EXTRA = -Ikvcheck
$(BUILD)/tests/fuzz/history_fuzz: private TEST_LIBS = $(KVCTL_LIBS)
$(FUZZ_PROGRAMS): $(BUILD)/tests/fuzz/%: tests/fuzz/%.c | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) -Wno-missing-prototypes $(CFLAGS) -I$(BUILD)/include -Ibase \
	    -Iserver $(EXTRA) -MMD -MP -o $@ $(filter %.c %.o,$^) $(ALL_LDFLAGS) -fsanitize=fuzzer \
	    $(TIRPC_LIBS) $(XXHASH_LIBS) $(TEST_LIBS)
fuzz-programs: $(FUZZ_PROGRAMS)

## fuzz: each fuzz target for SECONDS=10 seconds, from tests/fuzz/corpus
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
	@bash tests/fuzz/run $(BUILD)/fuzz/tests/fuzz $(SECONDS) $(FUZZERS)

# --- The look of the sources ---------------------------------------------------------------------

C_SOURCES = $(wildcard $(foreach folder,base client lock server kvctl kvcheck examples bench \
                tests/*,$(folder)/*.c $(folder)/*.h))
SCRIPTS   = $(wildcard tools/* bench/run bench/report bench/guard .ci/run examples/*.sh \
                tests/run tests/mutants tests/mutants.d/* tests/fuzz/run tests/*/*.sh)

## format: lay out every C file as .clang-format says
format:
	clang-format -i $(C_SOURCES)
## format-check: say which files `make format` would change
format-check:
	@case "$$(clang-format --version)" in \
	*' version 14.'*) clang-format --dry-run --Werror $(C_SOURCES) ;; \
	*) echo "left out: the layout is that of clang-format 14; another lays out otherwise" ;; esac
## house-rules: what the sources promise each other, checked
house-rules:
	@bash tools/house-rules
## lint: house rules, scripts, the lists of mutants, man pages
lint: house-rules
	shellcheck -x -S warning $(SCRIPTS)
	@bash tests/mutants --texts
	mandoc -T lint -W warning $(wildcard docs/man/*.[1-8])

# --- Installation --------------------------------------------------------------------------------

MAN_PAGES := $(notdir $(wildcard docs/man/*.[1-8]))

# mode:file:where. What is installed, and so what is uninstalled.
INSTALLED := 755:$(BUILD)/kvd:$(SBINDIR)/kvd 755:$(BUILD)/kvctl:$(BINDIR)/kvctl \
    755:$(BUILD)/kvcheck:$(BINDIR)/kvcheck \
    644:$(BUILD)/libkv.so.0:$(LIBDIR)/libkv.so.0 644:$(BUILD)/libkv.a:$(LIBDIR)/libkv.a \
    $(foreach header,$(PUBLIC_HEADERS),644:$(header):$(INCLUDEDIR)/kv/$(notdir $(header))) \
    644:kv.x:$(INCLUDEDIR)/rpcsvc/kv.x 644:$(RPC)/rpcsvc/kv.h:$(INCLUDEDIR)/rpcsvc/kv.h \
    $(foreach page,$(MAN_PAGES),644:docs/man/$(page):$(MANDIR)/man$(lastword $(subst ., ,$(page)))/$(page))

## install: put everything under PREFIX=/usr/local (and that under DESTDIR)
install: all
	@for entry in $(INSTALLED); do \
	    where=$${entry##*:} entry=$${entry%:*}; \
	    install -D -m "$${entry%%:*}" "$${entry#*:}" "$(DESTDIR)$$where" || exit 1; \
	done
	ln -sf libkv.so.0 $(DESTDIR)$(LIBDIR)/libkv.so
	@mkdir -p $(DESTDIR)$(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' client/kv.pc.in \
	    > $(DESTDIR)$(LIBDIR)/pkgconfig/kv.pc
	@mkdir -p $(DESTDIR)$(UNITDIR)
	sed -e 's|@PREFIX@|$(PREFIX)|' server/kvd.service.in > $(DESTDIR)$(UNITDIR)/kvd.service
## uninstall: remove what install put there
uninstall:
	@for entry in $(INSTALLED); do rm -f "$(DESTDIR)$${entry##*:}" || exit 1; done
	rm -f $(DESTDIR)$(LIBDIR)/libkv.so $(DESTDIR)$(LIBDIR)/pkgconfig/kv.pc \
	    $(DESTDIR)$(UNITDIR)/kvd.service
	rmdir --ignore-fail-on-non-empty $(DESTDIR)$(INCLUDEDIR)/kv

## clean: remove everything that was built
clean:
	rm -rf $(BUILD)

## help: this list
help:
	@sed -n 's/^## //p' Makefile | awk -F ': ' '{ printf "%-14s %s\n", $$1, $$2 }'

.PHONY: all simulate torture mutants bench-durable bench-programs bench guard examples unit-tests \
        tests unit check demo asan tsan valgrind fuzz-programs fuzz format format-check house-rules \
        lint install uninstall clean help

-include $(wildcard $(BUILD)/obj/*/*.d $(BUILD)/obj/tests/*/*.d $(BUILD)/tests/*/*.d $(BUILD)/examples/*.d)
