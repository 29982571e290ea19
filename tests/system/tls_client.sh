#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tls_client.sh - tls: addresses: kvctl and a kvd behind tls_proxy.py, which is OpenSSL's server; what
# is refused and why, what is never sent in the clear, time limits, programs that use no TLS.
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"
# shellcheck source=tests/support/pki.sh
. "$(dirname "$0")/../support/pki.sh"

BUILD=$(realpath "$build")
export LD_LIBRARY_PATH=$BUILD
proxies=
clean_up_proxies() {
	local pid
	for pid in $proxies; do
		kill "$pid" && wait "$pid"
	done 2> /dev/null
	clean_up
}
trap clean_up_proxies EXIT
have() { command -v "$1" > /dev/null; }
for tool in python3 openssl; do
	have $tool || {
		echo "skip: there is no $tool"
		exit 0
	}
done

make_ca ca
make_ca other
make_cert server ca 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth'
make_cert named ca 'subjectAltName=DNS:kv.test'
make_cert expired ca 'subjectAltName=IP:127.0.0.1' /CN=expired -days -1
make_cert stranger other 'subjectAltName=IP:127.0.0.1'
make_cert alice ca 'subjectAltName=email:alice@kv.test\nextendedKeyUsage=clientAuth'
make_cert eve other 'extendedKeyUsage=clientAuth'

start_server
server=$tcp kv put k v

# proxy CERT OPTION...: a server with TLS before kvd; sets server to its address.
proxy() {
	local port name=$1
	shift
	rm -f "$dir/ready"
	mkfifo "$dir/ready"
	python3 "$(dirname "$0")/../support/tls_proxy.py" --to "${tcp#tcp:}" --cert "$dir/$name.pem" \
		--key "$dir/$name.key" "$@" > "$dir/ready" 2>> "$dir/proxy.log" &
	proxies="$proxies $!"
	read -r -t 60 _ port < "$dir/ready" || complain "tls_proxy.py does not start"
	server=tls:127.0.0.1:$port
}
# A kvctl that trusts the CA; as kv.
tls() { kv --tls-ca "$dir/ca.pem" "$@"; }
alice() { tls --tls-cert "$dir/alice.pem" --tls-key "$dir/alice.key" "$@"; }

values_go_both_ways() {
	proxy server
	tls put k v
	exits 0
	tls get k
	exits 0
	prints v
	tls whoami -q
	exits 0
	head -c 16777216 /dev/urandom > "$dir/large"
	tls -q put large "@$dir/large"
	exits 0
	tls get large
	exits 0
	cmp -s "$dir/out" "$dir/large" || complain "another value came back"
	server=tls:localhost:${server##*:}
	tls get k
	prints v
}

a_session_and_many_threads_work() {
	proxy server
	tls bench --seconds 0.3 --threads 16 --mix get=50,append=50
	exits 0
	tls lock l -- true
	exits 0
}

bytes_may_come_one_by_one() {
	proxy server --trickle
	tls put k 12345
	exits 0
	tls get k
	prints 12345
}

# The programs themselves; before them the proxy only answers the probe.
other_programs_shake_hands() {
	local files
	files="-cert $dir/server.pem -key $dir/server.key"
	proxy server --through "openssl s_server -quiet -accept {port} $files -tls1_3 -alpn sunrpc"
	tls put k s_server
	exits 0
	tls get k
	prints s_server
	have gnutls-serv || return
	files="--x509certfile $dir/server.pem --x509keyfile $dir/server.key"
	# It sends lines back, and HELLO is none: that the handshake was done is all there is to see.
	proxy server --through "gnutls-serv -q --echo -p {port} $files --alpn sunrpc"
	tls -t 2 get k
	exits 6
	says "$server: no reply in"
}

a_certificate_is_shown_to_a_server_that_wants_one() {
	proxy server --ca "$dir/ca.pem"
	alice put k mutual
	exits 0
	KV_TLS_CA=$dir/ca.pem KV_TLS_CERT=$dir/alice.pem KV_TLS_KEY=$dir/alice.key kv get k
	exits 0
	prints mutual
}

# refusal TEXT COMMAND...: it is denied at once, whatever the time limit.
refusal() {
	local text=$1
	shift
	"$@" -t 100 get k
	exits 7
	says "denied: $server: $text"
}

what_one_side_refuses_is_denied_with_the_reason() {
	proxy server --ca "$dir/ca.pem"
	refusal "the server wants a certificate of its clients" tls
	refusal "the server refused this client's certificate: it does not know its issuer" \
		tls --tls-cert "$dir/eve.pem" --tls-key "$dir/eve.key"
	proxy named
	refusal 'the server'\''s certificate "CN=named" is refused: it is not for 127.0.0.1' tls
	tls --tls-name kv.test get k
	exits 0
	refusal 'the server'\''s certificate "CN=named" is refused: it is not for other' \
		tls --tls-name other
	refusal 'the server'\''s certificate "CN=named" is refused: its issuer is none' \
		kv --tls-ca "$dir/other.pem"
	refusal 'the server'\''s certificate "CN=named" is refused: its issuer is none' kv
	proxy expired
	refusal 'the server'\''s certificate "CN=expired" is refused: it has expired' tls
	proxy stranger
	refusal 'the server'\''s certificate "CN=stranger" is refused: its issuer is none' tls
	proxy server --alpn ''
	refusal 'the server does not serve RPC over TLS (ALPN sunrpc)' tls
	proxy server --max-1.2
	refusal 'the server does not speak TLS 1.3' tls
}

another_address_is_used_instead() {
	proxy stranger
	server=$server,$tcp
	kv put k other
	exits 0
}

# Neither is there a session, nor does a copy of the call go anywhere.
nothing_is_sent_in_the_clear() {
	local offer
	for offer in no denied clear silent; do
		: > "$dir/recorded"
		proxy server --offer $offer --record "$dir/recorded"
		tls -t 3 put secret-key secret-value
		exits 6
		case $offer in
		no | denied) says "$server: the server offers no TLS" ;;
		silent) says "$server: no reply to the question for TLS" ;;
		esac
		grep -q secret "$dir/recorded" && complain "--offer $offer: a secret was sent"
		probes_only || complain "--offer $offer: a call was sent in the clear"
	done
	: > "$dir/recorded"
	server=$tcp
	proxy server --relay --strip --record "$dir/recorded"
	tls -t 3 put secret-key secret-value
	exits 6
	says "$server: the server offers no TLS"
	probes_only || complain "a call was sent in the clear"
}
# What was recorded begins with the probe, and has no other RPC call: TLS records at most.
probes_only() {
	python3 - "$dir/recorded" <<- 'end'
		import sys
		data = open(sys.argv[1], "rb").read()
		probe = bytes.fromhex("000000000000000220004b56000000010000000000000007" + "00" * 12)
		at = calls = 0
		while at < len(data):
		    if data[at] == 0x16 or data[at] == 0x15:
		        at += 5 + int.from_bytes(data[at + 3:at + 5], "big")
		    elif data[at:at + 4] == bytes.fromhex("80000028") and data[at + 8:at + 44] == probe:
		        at, calls = at + 44, calls + 1
		    else:
		        sys.exit(1)
		sys.exit(calls == 0)
	end
}

# The server's first 36 bytes are its reply to the probe. The unit tests cut at each byte.
a_handshake_that_stalls_keeps_the_time_limit() {
	local n began
	proxy server
	tcp=tcp:${server#tls:} proxy server --relay --stall 0,35,36,41,160,170,700
	for n in 0 35 36 41 160 170 700; do
		began=$(date +%s%N)
		tls -t 0.2 get k
		exits 6
		[ $((($(date +%s%N) - began) / 1000000)) -ge 200 ] || complain "$n: too early"
	done
}

# A kvd with TLS of its own, and rules.
a_kvd_knows_a_client_by_its_certificate() {
	local ready
	printf '%s\n' '* uid:0(admin)' 'app/ cert:alice@kv.test(rw)' 'open/ any(rw)' > "$dir/rules"
	rm -f "$dir/ready"
	mkfifo "$dir/ready"
	"$kvd" -n -l tcp:127.0.0.1 --acl "$dir/rules" --tls require --tls-cert "$dir/server.pem" \
		--tls-key "$dir/server.key" --tls-ca "$dir/ca.pem" > "$dir/ready" 2> "$dir/tls.log" &
	proxies="$proxies $!"
	IFS= read -r -t 60 ready < "$dir/ready" || complain "kvd does not start"
	server=tls:${ready#*tcp:}
	alice put app/k v
	exits 0
	alice get app/k
	prints v
	alice put other v
	exits 7
	tls put open/k v
	exits 0
	tls put app/k v
	exits 7
	alice whoami
	grep -q '^cert:alice@kv.test$' "$dir/out" || complain "not the name of the certificate"
	refusal "the server refused this client's certificate" \
		tls --tls-cert "$dir/eve.pem" --tls-key "$dir/eve.key"
	refusal 'the server'\''s certificate "CN=server" is refused: it is not for kv.test' \
		tls --tls-name kv.test
	server=tcp:${ready#*tcp:}
	kv put open/k v
	exits 7
}

# --- Files, and programs without TLS ----------------------------------------------------------------

files_that_cannot_be_used_are_named() {
	proxy server
	cp "$dir/alice.key" "$dir/open.key"
	chmod 644 "$dir/open.key"
	tls -t 100 --tls-cert "$dir/alice.pem" --tls-key "$dir/open.key" get k
	exits 1
	says "$server: tls_key $dir/open.key: other users may read or write the key (chmod go= it)"
	tls -t 100 --tls-cert "$dir/alice.pem" get k
	exits 1
	says "tls_key is missing"
	kv --tls-ca "$dir/missing" get k
	exits 1
	says "tls_ca $dir/missing: No such file"
	tls --tls-cert "$dir/alice.pem" --tls-key "$dir/alice.key" lock l -- true
	exits 0
}

without_the_library_only_tls_addresses_fail() {
	server=tls:127.0.0.1:1
	LD_LIBRARY_PATH='' tls -t 100 get k
	exits 1
	says "$server: tls: needs the package libkv-tls"
	server=tls:127.0.0.1:1,$tcp
	LD_LIBRARY_PATH='' kv put k clear
	exits 0
}

# Nothing that is linked: a program without tls: starts as ever.
nothing_links_gnutls_but_its_own_library() {
	local file
	for file in kvctl libkv.so.0; do
		readelf -d "$BUILD/$file" | grep -q 'NEEDED.*gnutls' && complain "$file needs GnuTLS"
	done
	readelf -d "$BUILD/libkv-tls.so.0" | grep -q 'NEEDED.*gnutls' || complain "it does not"
	server=$tcp
	LD_DEBUG=files LD_DEBUG_OUTPUT="$dir/loaded" kv put k v
	exits 0
	grep -q 'gnutls\|libkv-tls' "$dir"/loaded.* && complain "a program without tls: loads GnuTLS"
	readelf -sW --dyn-syms "$BUILD/libkv-tls.so.0" | awk '$7 != "UND" && $5 == "GLOBAL" { print $8 }' |
		sort -u > "$dir/out"
	prints_line kv_tls_plugin
}

for test in ${CASE:-values_go_both_ways a_session_and_many_threads_work bytes_may_come_one_by_one other_programs_shake_hands \
    a_certificate_is_shown_to_a_server_that_wants_one \
    what_one_side_refuses_is_denied_with_the_reason another_address_is_used_instead \
    nothing_is_sent_in_the_clear a_handshake_that_stalls_keeps_the_time_limit \
    a_kvd_knows_a_client_by_its_certificate files_that_cannot_be_used_are_named \
    without_the_library_only_tls_addresses_fail \
    nothing_links_gnutls_but_its_own_library}; do
	check "$test"
done
exit "$failed"
