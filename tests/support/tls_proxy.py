#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
#
# tls_proxy.py --to HOST:PORT [OPTION]... - stands before a kvd as a server with TLS (OpenSSL's), or as
# a network that is against it. Prints "ready PORT". For each connection it answers the probe of RFC
# 9289, shakes hands, and copies bytes to and from a connection in the clear to --to.
#
#   --cert FILE --key FILE   of the server           --ca FILE      ask clients for certificates
#   --alpn NAME              instead of sunrpc; "" for none          --max-1.2      no TLS 1.3
#   --offer no               answers the probe as a server without TLS does
#   --offer denied           ... as one that refuses the credential
#   --offer silent           never answers it
#   --offer clear            offers TLS and then serves in the clear
#   --relay                  copies bytes as they are: no TLS here
#   --strip                  with --relay: makes the reply to the probe one without TLS
#   --stall N,N...           with --relay: nothing of the server's beyond N bytes is passed on, by
#                            turns of each connection
#   --trickle                one byte at a time in both directions
#   --record FILE            appends all that came from clients
#   --through COMMAND        after the probe TLS is that of a program which listens on {port}, one for
#                            each connection; its standard input and output are --to's
import argparse
import select
import shlex
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--to", required=True)
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--ca")
parser.add_argument("--alpn", default="sunrpc")
parser.add_argument("--max-1.2", dest="old", action="store_true")
parser.add_argument("--offer", default="yes")
parser.add_argument("--relay", action="store_true")
parser.add_argument("--strip", action="store_true")
parser.add_argument("--stall", type=lambda text: [int(n) for n in text.split(",")])
parser.add_argument("--trickle", action="store_true")
parser.add_argument("--record")
parser.add_argument("--through")
options = parser.parse_args()

PROBE_SIZE = 44
record = open(options.record, "ab", buffering=0) if options.record else None


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(options.cert, options.key)
    if options.old:
        made.maximum_version = ssl.TLSVersion.TLSv1_2
    if options.alpn:
        made.set_alpn_protocols([options.alpn])
    if options.ca:
        made.load_verify_locations(options.ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def note(data):
    if record:
        record.write(data)
    return data


def connect():
    host, port = options.to.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def read_exactly(client, size):
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return note(data)


def send(to, data):
    if options.trickle:
        to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            to.sendall(data[i:i + 1])
    else:
        to.sendall(data)


def copy(client, server):
    """Copies both ways until one ends; `client` may be an SSLSocket."""
    passed = 0
    limit = options.stall.pop(0) if options.stall else None
    while True:
        pending = getattr(client, "pending", lambda: 0)()
        ready = [client] if pending else select.select([client, server], [], [])[0]
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            if one is client:
                send(server, note(data))
                continue
            if options.strip and passed == 0:
                xid = data[4:8]
                data = struct.pack(">I", 0x80000018) + xid + struct.pack(">5I", 1, 0, 0, 0, 0)
            if limit is not None:
                data = data[:max(0, limit - passed)]
            passed += len(data)
            if data:
                send(client, data)


def pump(read, write):
    """Until the end of what read() returns."""
    try:
        while True:
            data = read(65536)
            if not data:
                return
            write(data)
    except OSError:
        pass


def serve_through(client):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = shlex.split(options.through.format(port=port))
    program = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            try:
                secure = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.02)
        with connect() as server:
            for read, write in ((server.recv, program.stdin.write),
                                (program.stdout.read, server.sendall)):
                threading.Thread(target=pump, args=(read, write), daemon=True).start()
            copy(client, secure)
    finally:
        program.kill()
        program.wait()


def answer(client):
    """The probe. False: no TLS follows."""
    probe = read_exactly(client, PROBE_SIZE)
    words = struct.unpack(">11I", probe)
    xid = words[1]
    if options.offer == "silent":
        client.recv(1)
        return False
    if options.offer == "no":
        send(client, struct.pack(">7I", 0x80000018, xid, 1, 0, 0, 0, 0))
    elif options.offer == "denied":
        send(client, struct.pack(">6I", 0x80000014, xid, 1, 1, 1, 1))
    else:
        send(client, struct.pack(">6I", 0x80000020, xid, 1, 0, 0, 8) + b"STARTTLS" + bytes(4))
    return options.offer == "yes"


def serve(client):
    try:
        if options.relay:
            with connect() as server:
                copy(client, server)
            return
        if not answer(client):
            if options.offer != "silent":
                while note(client.recv(65536)):
                    pass
            return
        if options.through:
            serve_through(client)
            return
        client = context().wrap_socket(client, server_side=True)
        with connect() as server:
            copy(client, server)
    except (OSError, EOFError, ssl.SSLError) as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        client.close()


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print("ready", listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
