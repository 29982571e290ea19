#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A client for kv in plain Python, written from docs/PROTOCOL.md alone.

It speaks ONC RPC (RFC 5531) with XDR (RFC 4506) over a tcp or local stream, and does what the
protocol asks of a client: a session, one slot, the same call again until it is answered. So each
put and append happens exactly once, or ends in Unknown. One Client serves one thread.

    kv.py -s tcp:HOST:PORT get KEY
    kv.py -s local:/PATH put KEY VALUE [VERSION]
    kv.py -s local:/PATH append KEY VALUE...      each VALUE in a call of its own
    kv.py -s local:/PATH delete KEY [VERSION]
    kv.py -s local:/PATH list [PREFIX]
    kv.py -s local:/PATH lease KEY VALUE SECONDS  made only if it is missing; ends by itself
    kv.py -s local:/PATH lock NAME SECONDS COMMAND...  runs COMMAND while it holds the lock, with a
                                                  lease of so many seconds; beside kvctl lock
"""

import argparse
import os
import random
import socket
import struct
import subprocess
import sys
import time

PROGRAM, VERSION = 0x20004B56, 1
HELLO, OPEN, CLOSE, GET, PUT, APPEND, DELETE, LIST, TXN = 1, 2, 3, 4, 5, 6, 8, 10, 13
OK, NOKEY, VERSION_MISMATCH, MAYBE, BADSESSION, STALE, FALSE_RETRY = 0, 1, 2, 3, 5, 6, 7
EPOCH, UNMET = 17, 18
AT, EXISTS, HOLDS, FREE = 0, 1, 2, 3  # tests of a condition
CHANGE_PUT, CHANGE_APPEND, CHANGE_DELETE, CHANGE_TOUCH = 0, 1, 2, 3
ANY = 2**64 - 1  # as expected version: whatever it is
LAST_FRAGMENT = 0x80000000
RECORD_MAX = 33 << 20


class Refused(Exception):
    """The call did not happen and never will; .status is a number of kv.x, .current a version."""

    def __init__(self, status, current=0):
        super().__init__("refused with status %d at version %d" % (status, current))
        self.status, self.current = status, current


class Unknown(Exception):
    """Whether the write happened, or will, cannot be told."""


class ConnectionLost(Exception):
    """The connection is of no more use; the call may be sent again over another one."""


def opaque(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


class Reader:
    """XDR values, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def fixed(self, size):
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise ConnectionLost("a reply that ends too early")
        self.at += size + -size % 4
        return piece

    def uint(self):
        return struct.unpack(">I", self.fixed(4))[0]

    def hyper(self):
        return struct.unpack(">Q", self.fixed(8))[0]

    def opaque(self):
        return self.fixed(self.uint())


class Connection:
    """One stream to a server."""

    def __init__(self, address, seconds):
        kind, _, place = address.partition(":")
        try:
            if kind == "local":
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(seconds)
                self.socket.connect(place)
            else:
                host, _, port = place.rpartition(":")
                self.socket = socket.create_connection((host.strip("[]"), int(port)), seconds)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise ConnectionLost(str(error)) from None
        self.xid = random.getrandbits(32)
        self.received = b""

    def close(self):
        self.socket.close()

    def send(self, procedure, arguments):
        """Sends a call and returns its xid."""
        self.xid = (self.xid + 1) % 2**32
        header = struct.pack(">6I", self.xid, 0, 2, PROGRAM, VERSION, procedure)
        message = header + bytes(16) + arguments  # AUTH_NONE, twice
        try:
            self.socket.settimeout(10)
            self.socket.sendall(struct.pack(">I", LAST_FRAGMENT | len(message)) + message)
        except OSError as error:
            raise ConnectionLost(str(error)) from None
        return self.xid

    def fill(self, size, deadline):
        while len(self.received) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(1 << 16)
            except socket.timeout:
                raise TimeoutError from None
            except OSError as error:
                raise ConnectionLost(str(error)) from None
            if not piece:
                raise ConnectionLost("the server closed the connection")
            self.received += piece

    def record(self, deadline):
        """The next record; TimeoutError leaves what came for the next try."""
        end, parts = 0, []
        while True:
            self.fill(end + 4, deadline)
            mark = struct.unpack(">I", self.received[end : end + 4])[0]
            size = mark & ~LAST_FRAGMENT
            if end + size > RECORD_MAX:
                raise ConnectionLost("a reply that is larger than any")
            self.fill(end + 4 + size, deadline)
            parts.append(self.received[end + 4 : end + 4 + size])
            end += 4 + size
            if mark & LAST_FRAGMENT:
                self.received = self.received[end:]
                return b"".join(parts)

    def reply(self, xids, deadline):
        """The results of the first reply to one of these calls."""
        while True:
            reader = Reader(self.record(deadline))
            xid, direction, accepted = reader.uint(), reader.uint(), reader.uint()
            if direction != 1 or xid not in xids:
                continue
            if accepted != 0:
                raise ConnectionLost("the server denies the call")
            reader.uint()
            reader.opaque()
            state = reader.uint()
            if state != 0:
                raise ConnectionLost("the call is not accepted: state %d" % state)
            return reader


class Client:
    """A session with one slot. `deadline_s` bounds each call, retries included."""

    def __init__(self, address, deadline_s=60, attempt_s=1.0):
        self.address, self.deadline_s, self.attempt_s = address, deadline_s, attempt_s
        self.connection, self.store, self.epoch = None, None, 0
        self.forget_session()

    def forget_session(self):
        self.client_id, self.seq, self.nonce = 0, 0, os.urandom(16)

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def connect(self, deadline):
        """Connects and says HELLO. Returns False if another store answers there now."""
        if self.connection is not None:
            return True
        self.connection = Connection(self.address, max(0.1, deadline - time.monotonic()))
        xid = self.connection.send(HELLO, b"")
        reader = self.connection.reply({xid}, min(deadline, time.monotonic() + self.attempt_s))
        reader.uint()
        store, epoch = reader.fixed(16), reader.hyper()
        known, self.store, self.epoch = self.store, store, epoch
        return known in (None, store)

    def exchange(self, procedure, arguments, is_write=False, wait_s=0):
        """Sends the call until it is answered. `arguments` is a function of the epoch.

        The server may take wait_s longer. Returns the status, the results behind it, and whether
        one copy alone was sent."""
        deadline = time.monotonic() + self.deadline_s + wait_s
        attempt_s, pause_s, copies, xids = self.attempt_s, 0.01, 0, set()
        while time.monotonic() < deadline:
            try:
                if self.connection is None:
                    xids = set()
                    if not self.connect(deadline):
                        self.forget_session()
                        if is_write:
                            raise Unknown("another store answers at this address")
                xids.add(self.connection.send(procedure, arguments(self.epoch)))
                copies += 1
                reader = self.connection.reply(
                    xids, min(deadline, time.monotonic() + attempt_s))
                status = reader.uint()
                if status != EPOCH:
                    return status, reader, copies == 1
                copies -= 1  # it did not run
                self.disconnect()
            except TimeoutError:
                attempt_s = min(2 * attempt_s, 16)
                if not xids:  # HELLO was not answered
                    self.disconnect()
            except ConnectionLost:
                self.disconnect()
                time.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(2 * pause_s, 1)
        if is_write and copies > 0:
            raise Unknown("no answer in %g s" % self.deadline_s)
        raise TimeoutError("no answer in %g s" % self.deadline_s)

    def open(self):
        arguments = lambda epoch: struct.pack(">Q", epoch) + self.nonce + struct.pack(">I", 1)
        status, reader, _ = self.exchange(OPEN, arguments)
        if status != OK:
            raise Refused(status)
        self.client_id = reader.hyper()

    def write(self, procedure, rest, wait_s=0):
        """`rest` is a function: what follows the head, as it is when a copy is sent."""
        while True:
            if self.client_id == 0:
                self.open()
            self.seq += 1
            seq, client_id = self.seq, self.client_id
            arguments = lambda epoch: struct.pack(">QQIQ", epoch, client_id, 0, seq) + rest()
            status, reader, is_only_copy = self.exchange(procedure, arguments, True, wait_s)
            if status == BADSESSION and is_only_copy:
                self.forget_session()
                continue  # it did not run: once more, in another session
            if status in (BADSESSION, STALE, FALSE_RETRY):
                self.forget_session()
            if status in (BADSESSION, STALE, FALSE_RETRY, MAYBE):
                raise Unknown("status %d" % status)
            current = reader.hyper()
            if status != OK:
                raise Refused(status, current)
            return current, reader

    def get(self, key):
        """Returns value and version. Refused: .status is NOKEY if there is no such key."""
        arguments = lambda epoch: struct.pack(">Q", epoch) + opaque(key)
        status, reader, _ = self.exchange(GET, arguments)
        current = reader.hyper()
        if status != OK:
            raise Refused(status, current)
        return reader.opaque(), current

    def put(self, key, value, expected=ANY):
        """Returns the version that it made."""
        rest = struct.pack(">Q", expected) + opaque(key) + opaque(value)
        return self.write(PUT, lambda: rest)[0]

    def append(self, key, value, expected=ANY):
        """Returns the version that it made, and the value before."""
        rest = struct.pack(">Q", expected) + opaque(key) + opaque(value) + struct.pack(">I", 1)
        current, reader = self.write(APPEND, lambda: rest)
        reader.hyper()
        return current, reader.opaque()

    def delete(self, key, expected=ANY):
        """Returns the version that it spent: the key was at the one before."""
        return self.write(DELETE, lambda: struct.pack(">Q", expected) + opaque(key))[0]

    def list(self, prefix=b""):
        """Yields (key, version, size, ttl left in ms); pages are points in time of their own."""
        after, more = b"", True
        while more:
            arguments = lambda epoch: (struct.pack(">Q", epoch) + opaque(prefix) + opaque(after)
                                       + struct.pack(">I", 0))
            status, reader, _ = self.exchange(LIST, arguments)
            if status != OK:
                raise Refused(status)
            reader.hyper()
            more = reader.uint()
            for _ in range(reader.uint()):
                after = reader.opaque()
                version, size, left = reader.hyper(), reader.uint(), reader.hyper()
                reader.uint()
                yield after, version, size, left

    def txn(self, conditions, changes, wait_s=0):
        """Conditions are (test, key, version, value), changes (kind, key, value, ttl in ms).

        Waits on the server for the first condition, wait_s at most. Each copy says how long is
        left; the last one, that it is now or never. Returns the versions. Refused: .status is
        UNMET if a condition does not hold."""
        until = time.monotonic() + wait_s
        rest = struct.pack(">I", len(conditions))
        for test, key, version, value in conditions:
            rest += struct.pack(">I", test) + opaque(key) + struct.pack(">Q", version)
            rest += opaque(value)
        rest += struct.pack(">I", len(changes))
        for kind, key, value, ttl_ms in changes:
            rest += struct.pack(">I", kind) + opaque(key) + opaque(value)
            rest += struct.pack(">Q", ttl_ms)

        def left():
            left_ms = int(1000 * (until - time.monotonic()))
            return struct.pack(">I", max(0, min(left_ms, 60000))) + rest

        reader = self.write(TXN, left, wait_s)[1]
        reader.uint()
        reader.hyper()
        return [reader.hyper() for _ in range(reader.uint())]

    def close(self):
        """Ends the session: one try."""
        if self.client_id != 0 and self.connection is not None:
            try:
                xid = self.connection.send(CLOSE, struct.pack(">QQ", self.epoch, self.client_id))
                self.connection.reply({xid}, time.monotonic() + self.attempt_s)
            except (ConnectionLost, TimeoutError):
                pass
        self.forget_session()
        self.disconnect()


class Lock:
    """A lock that is shared with kvctl lock and kv_lock(3): docs/PROTOCOL.md, "The lock"."""

    FREE_VALUE = b"__unlocked"

    def __init__(self, client, name, ttl_s):
        self.client, self.name, self.ttl_s = client, name, ttl_s
        self.id, self.token, self.end = os.urandom(16).hex().encode(), 0, 0.0

    @staticmethod
    def now():
        """Goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def left_s(self):
        """How long it is surely held: counted from before the call was sent, less an eighth."""
        return max(0.0, self.end - self.now()) if self.token else 0.0

    def look(self):
        try:
            value, version = self.client.get(self.name)
        except Refused as error:
            if error.status != NOKEY:
                raise
            value, version = self.FREE_VALUE, 0
        if value != self.FREE_VALUE and (len(value) != 32 or value.strip(b"0123456789abcdef")):
            raise ValueError("the key exists but is not a lock")
        return value, version

    def settle(self):
        """After Unknown: no earlier call of the session happens any more once this is answered."""
        try:
            self.client.txn([(AT, self.name, ANY, b"")], [(CHANGE_TOUCH, self.name, b"", 1)])
        except Refused:
            pass

    def acquire(self, wait_s=7 * 86400):
        """Waits in turn. False: it is still another's."""
        self.look()
        put = (CHANGE_PUT, self.name, self.id, int(1000 * self.ttl_s))
        began = self.now()
        try:
            self.token = self.client.txn([(FREE, self.name, 0, self.FREE_VALUE)], [put], wait_s)[0]
        except Refused as error:
            if error.status != UNMET:
                raise
            self.look()
            return False
        except Unknown:
            self.settle()
            value, version = self.look()
            if value != self.id:
                return False
            self.token = version
        self.end = began + 0.875 * self.ttl_s
        # Handed over after a long wait, the lease is old.
        if self.left_s() < self.ttl_s / 2 and not self.renew():
            return self.acquire(wait_s)
        return True

    def renew(self):
        """False: the lock is lost. Unknown or TimeoutError: it is held for left_s(); try again."""
        began = self.now()
        try:
            self.client.txn([(AT, self.name, self.token, b"")],
                            [(CHANGE_TOUCH, self.name, b"", int(1000 * self.ttl_s))])
        except Refused as error:
            if error.status not in (UNMET, NOKEY):
                raise
            self.token = 0
            return False
        self.end = began + 0.875 * self.ttl_s
        return True

    def release(self):
        """False: it was not held any more."""
        token, self.token = self.token, 0
        while True:
            try:
                self.client.put(self.name, self.FREE_VALUE, token)
                return True
            except Refused as error:
                if error.status not in (NOKEY, VERSION_MISMATCH):
                    raise
                return False
            except Unknown:
                self.settle()
                if self.look() != (self.id, token):
                    return True

    def run(self, command):
        """Runs a program while it holds the lock. None: it was killed, for the lease was not renewed."""
        program = subprocess.Popen(command, env=dict(os.environ, KV_LOCK_TOKEN=str(self.token)))
        try:
            while self.left_s() > 0:
                try:
                    return program.wait(min(self.ttl_s / 4, self.left_s()))
                except subprocess.TimeoutExpired:
                    pass
                # A call must not hold up the end of the lease.
                self.client.deadline_s = min(1.0, self.left_s() / 2)
                try:
                    self.renew()
                except (Unknown, TimeoutError):
                    pass  # held for what is left
            return None
        finally:
            program.kill()
            program.wait()


def run_locked(client, name, ttl_s, command):
    """Returns the exit code, with the numbers of kvctl lock."""
    deadline_s = client.deadline_s
    lock = Lock(client, name, ttl_s)
    if not lock.acquire():
        return 124
    code = lock.run(command)
    client.deadline_s = deadline_s
    return code if code is not None and lock.release() else 123


def main():
    parser = argparse.ArgumentParser(description="a client for kv")
    parser.add_argument("-s", "--server", required=True, help="tcp:HOST:PORT or local:/PATH")
    parser.add_argument("-t", "--timeout", type=float, default=60, help="seconds for each call")
    parser.add_argument("--attempt", type=float, default=1, help="seconds before a call is sent again")
    parser.add_argument("command", choices=("get", "put", "append", "delete", "list", "lease",
                                              "lock"))
    parser.add_argument("key", nargs="?", default="")
    parser.add_argument("values", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    client = Client(options.server, options.timeout, options.attempt)
    key = options.key.encode()
    try:
        if options.command == "get":
            sys.stdout.buffer.write(client.get(key)[0])
        elif options.command == "put" and len(options.values) in (1, 2):
            expected = int(options.values[1]) if len(options.values) == 2 else ANY
            print(client.put(key, options.values[0].encode(), expected))
        elif options.command == "append" and options.values:
            for value in options.values:
                print(client.append(key, value.encode())[0])
        elif options.command == "delete" and len(options.values) in (0, 1):
            expected = int(options.values[0]) if options.values else ANY
            print(client.delete(key, expected))
        elif options.command == "list" and not options.values:
            for listed, version, size, left in client.list(key):
                print(version, size, left, listed.decode())
        elif options.command == "lease" and len(options.values) == 2:
            value, seconds = options.values[0].encode(), float(options.values[1])
            print(client.txn([(AT, key, 0, b"")],
                             [(CHANGE_PUT, key, value, int(seconds * 1000))])[0])
        elif options.command == "lock" and len(options.values) >= 2:
            code = run_locked(client, key, float(options.values[0]), options.values[1:])
            client.close()
            return code
        else:
            parser.error("put takes VALUE [VERSION], append VALUE...")
    except Refused as error:
        print("kv.py: %s" % error, file=sys.stderr)
        return {NOKEY: 3, VERSION_MISMATCH: 4, UNMET: 4}.get(error.status, 1)
    except ValueError as error:
        print("kv.py: %s" % error, file=sys.stderr)
        return 1
    except Unknown as error:
        print("kv.py: unknown outcome: %s" % error, file=sys.stderr)
        return 5
    except TimeoutError as error:
        print("kv.py: %s" % error, file=sys.stderr)
        return 6
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
