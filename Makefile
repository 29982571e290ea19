# SPDX-License-Identifier: BSD-3-Clause
# kv: server, client library and shell tool. `make help` lists the targets.

VERSION := 0.1.0

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
CFLAGS  ?= -O2 -g
RPCGEN  ?= rpcgen
PKG     ?= pkg-config

LIBDIR     := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include
MANDIR     := $(PREFIX)/share/man

TIRPC_CFLAGS := $(shell $(PKG) --cflags libtirpc 2>/dev/null)
TIRPC_LIBS   := $(shell $(PKG) --libs libtirpc 2>/dev/null)
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
ALL_LDFLAGS := -pthread $(SANITIZERS) $(LDFLAGS)

# --- The floors. What a floor may include is what is on its include path. -----------------------

PUBLIC_HEADERS := base/status.h base/bytes.h client/kv.h lock/lock.h
PUBLIC  := $(foreach header,$(PUBLIC_HEADERS),$(BUILD)/include/kv/$(notdir $(header)))
RPC     := $(BUILD)/rpc

# The only files that see XDR and libtirpc.
WIRE := server/main.o server/svc_run.o server/dispatch.o server/listener.o server/registrar.o \
        server/transport.o server/transport_stream.o server/transport_datagram.o server/wire.o \
        client/connection.o client/locate.o

INCLUDES_base   :=
INCLUDES_server := -Ibase
INCLUDES_client := -I$(BUILD)/include -Ibase
INCLUDES_lock   := -I$(BUILD)/include
INCLUDES_kvctl  := -I$(BUILD)/include
INCLUDES_WIRE   := -I$(RPC) $(TIRPC_CFLAGS)

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))

BASE   := $(call objects,base)
SERVER := $(call objects,server)
CLIENT := $(call objects,client)
LOCK   := $(call objects,lock)
KVCTL  := $(call objects,kvctl)
CORE   := $(patsubst %,$(BUILD)/server/%.o,buffer table operation store session service)

# --- Programs and libraries ----------------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

## all: kvd, kvctl and libkv in $(BUILD)/
all: $(BUILD)/kvd $(BUILD)/kvctl $(BUILD)/libkv.so $(BUILD)/libkv.a $(BUILD)/kv.pc

$(BUILD)/kvd: $(SERVER) $(BASE) $(RPC)/server_xdr.o
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(TIRPC_LIBS) $(XXHASH_LIBS)

$(BUILD)/kvctl: $(KVCTL) $(BUILD)/libkv.a
	$(CC) $(ALL_CFLAGS) $(CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(KVCTL_LIBS) $(TIRPC_LIBS)

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

$(BUILD)/kv.pc: client/kv.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

# --- Objects -------------------------------------------------------------------------------------

$(WIRE:%=$(BUILD)/%): EXTRA = $(INCLUDES_WIRE)
$(WIRE:%=$(BUILD)/%): | $(RPC)/rpcsvc/kv.h

define floor
$(BUILD)/$(1)/%.o: $(1)/%.c | $(PUBLIC)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) $$(WARNINGS) $$(CFLAGS) $$(INCLUDES_$(1)) $$(EXTRA) -MMD -MP -c -o $$@ $$<
endef
$(foreach name,base server client lock kvctl,$(eval $(call floor,$(name))))

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
# The server's XDR routines read opaque data in place: see server/wire.h.
$(RPC)/server_xdr.o: $(RPC)/rpcsvc/kv_xdr.c
	$(GENERATED) -Dxdr_bytes=wire_bytes

# --- Tests ---------------------------------------------------------------------------------------

# A unit test links only the floors that it tests.
CORE_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/core_*.c))
CLIENT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/client_*.c))
LOCK_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/lock_*.c))
BASE_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/base_*.c))
UNIT_TESTS   := $(BASE_TESTS) $(CORE_TESTS) $(CLIENT_TESTS) $(LOCK_TESTS)

$(BASE_TESTS): $(BASE)
$(CORE_TESTS): $(CORE) $(BASE)
$(CLIENT_TESTS): $(BUILD)/client/clerk.o $(BASE)
$(LOCK_TESTS): $(LOCK) $(BASE)

$(UNIT_TESTS): $(BUILD)/tests/unit/%: tests/unit/%.c | $(PUBLIC)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARNINGS) $(CFLAGS) -I$(BUILD)/include -Ibase -Iserver -Iclient \
	    -Itests/support -MMD -MP -o $@ $(filter %.c %.o,$^) $(ALL_LDFLAGS) $(CHECK_LIBS) $(XXHASH_LIBS)

## unit: the tests without sockets
unit: $(UNIT_TESTS)
	@for t in $^; do echo "$$t"; $$t || exit 1; done

.PHONY: all unit

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/tests/*/*.d)
