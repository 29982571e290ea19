#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tls_peer.py - the other end of TLS for tests: a client of RFC 9289 made of Python's ssl.

    tls_peer.py relay HOST:PORT          prints a port: what connects there is behind a granted probe
    tls_peer.py proxy OPTIONS HOST:PORT  likewise, behind the handshake: what connects speaks RPC
    tls_peer.py ask OPTIONS HOST:PORT WHAT...   prints a line for each

OPTIONS: --cert F, --key F, --ca F, --alpn NAME ("" for none), --tls12. WHAT: hex (calls as bytes, and
the reply), tls (the handshake), PROCEDURE[/FLAVOR[/BYTES]] (a call), udp/PROCEDURE/FLAVOR,
behind (a probe with a byte behind it), end (waits until the server closes).
"""

import argparse
import socket
import ssl
import struct
import sys
import threading

PROGRAM, LAST_FRAGMENT = 0x20004B56, 0x80000000
# RFC 9289, 4.1, and RFC 5531, 9: a call of NULL whose credential is AUTH_TLS, and its reply.
PROBE = bytes.fromhex(
    "80000028"  # the last fragment, 40 bytes
    "00000007" "00000000" "00000002"  # xid, CALL, RPC version
    "20004b56" "00000001" "00000000"  # program, version, NULL
    "00000007" "00000000"  # AUTH_TLS, no bytes
    "00000000" "00000000")  # AUTH_NONE, no bytes
GRANT = bytes.fromhex(
    "80000020"
    "00000007" "00000001" "00000000"  # xid, REPLY, MSG_ACCEPTED
    "00000000" "00000008" "5354415254544c53"  # AUTH_NONE, 8 bytes: STARTTLS
    "00000000")  # SUCCESS


def receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def record(sock):
    mark = receive(sock, 4)
    return mark + receive(sock, struct.unpack(">I", mark)[0] & ~LAST_FRAGMENT)


def connect(options):
    host, _, port = options.server.rpartition(":")
    sock = socket.create_connection((host, int(port)), 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def probe(sock):
    sock.sendall(PROBE)
    reply = record(sock)
    if reply != GRANT:
        raise EOFError("the probe is answered " + reply.hex())


def handshake(options, sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if options.ca:
        context.load_verify_locations(options.ca)
    else:
        context.verify_mode = ssl.CERT_NONE
    if options.cert:
        context.load_cert_chain(options.cert, options.key)
    if options.alpn:
        context.set_alpn_protocols([options.alpn])
    if options.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context.wrap_socket(sock)


def copy(source, sink):
    try:
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve_one(options, client):
    try:
        server = connect(options)
        probe(server)
        if options.mode == "proxy":
            server = handshake(options, server)
    except (OSError, EOFError) as error:
        print("tls_peer: %s" % error, file=sys.stderr, flush=True)
        client.close()
        return
    # An ssl socket may send in one thread while another receives.
    threading.Thread(target=copy, args=(client, server), daemon=True).start()
    copy(server, client)


def serve(options):
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve_one, args=(options, client), daemon=True).start()


def call(procedure, flavor=0, credential=b""):
    message = struct.pack(">8I", 7, 0, 2, PROGRAM, 1, procedure, flavor, len(credential))
    message += credential + struct.pack(">2I", 0, 0)
    return struct.pack(">I", LAST_FRAGMENT | len(message)) + message


def outcome(reply):
    """The reply in words."""
    words = struct.unpack(">%dI" % (len(reply) // 4), reply)
    if words[2] == 1:
        return "AUTH_ERROR %d" % words[4] if words[3] == 1 else "RPC_MISMATCH"
    if words[4] == 8:
        return "STARTTLS"
    return "ACCEPTED %d" % words[5]


def principal(reply):
    size = struct.unpack(">I", reply[28:32])[0]
    return reply[32 : 32 + size].decode("ascii")


def ask_one(options, sock, what):
    """Returns the line, and the socket to go on with."""
    if what == "hex":
        sock.sendall(PROBE)
        return record(sock).hex(), sock
    if what == "behind":
        sock.sendall(PROBE + b"\x16")
        return record(sock).hex(), sock
    if what == "tls":
        sock = handshake(options, sock)
        return "%s %s" % (sock.version(), sock.selected_alpn_protocol()), sock
    if what == "end":
        return "ended" if sock.recv(1) == b"" else "more", sock
    words = what.split("/")
    if words[0] == "udp":
        host, _, port = options.udp.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(60)
            udp.sendto(call(int(words[1]), int(words[2]))[4:], (host, int(port)))
            return outcome(udp.recv(65536)), sock
    flavor = int(words[1]) if len(words) > 1 else 0
    sock.sendall(call(int(words[0]), flavor, bytes(int(words[2]) if len(words) > 2 else 0)))
    reply = record(sock)[4:]
    if words[0] == "15" and flavor == 0 and outcome(reply) == "ACCEPTED 0":
        return principal(reply), sock
    return outcome(reply), sock


def ask(options):
    sock = connect(options)
    for what in options.what:
        try:
            line, sock = ask_one(options, sock, what)
        except ssl.SSLError as error:
            line = "alert: %s" % error.reason
        except (EOFError, ConnectionError):
            line = "closed"
        print("%s: %s" % (what, line), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("relay", "proxy", "ask"))
    for name in ("--cert", "--key", "--ca", "--udp"):
        parser.add_argument(name)
    parser.add_argument("--alpn", default="sunrpc")
    parser.add_argument("--tls12", action="store_true")
    parser.add_argument("server")
    parser.add_argument("what", nargs="*")
    options = parser.parse_args()
    if options.mode == "ask":
        ask(options)
    else:
        serve(options)


main()
