#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tls.sh - kvd --tls-cert: the probe, handshakes with OpenSSL and GnuTLS, certificates and who they
# are, what may come in the clear, SIGHUP, and what is wrong with the files.
# shellcheck disable=SC2317 # functions are called through test_that
for needed in openssl python3; do
	command -v "$needed" > /dev/null && continue
	echo "skip tls: there is no $needed"
	exit 0
done
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
here=$(realpath "$(dirname "$0")/../support")
KVCTL=${KVCTL:-$BUILD/kvctl}
KVD=${KVD:-$BUILD/kvd}

# --- Certificates ----------------------------------------------------------------------------------

umask 077
pki=$dir/pki
mkdir "$pki"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"; }
# ca NAME: a certificate authority.
ca() {
	key "$1"
	openssl req -x509 -new -key "$pki/$1.key" -days 30 -subj "/CN=$1" -out "$pki/$1.pem"
}
# certify NAME CA EXTENSIONS [OPTION...]: a certificate of the CA.
certify() {
	local name=$1 issuer=$2 extensions=$3
	shift 3
	key "$name"
	openssl req -new -key "$pki/$name.key" -subj "/CN=$name" -out "$pki/$name.csr"
	openssl x509 -req -in "$pki/$name.csr" -CA "$pki/$issuer.pem" -CAkey "$pki/$issuer.key" \
		-set_serial "$((++serial))" -extfile <(printf '%b\n' "$extensions") \
		-out "$pki/$name.pem" "$@"
}
# Of what `openssl ca` needs to revoke and to set dates.
authority() {
	: > "$pki/index"
	echo 1000 > "$pki/serial"
	echo 01 > "$pki/crlnumber"
	cat > "$pki/ca.conf" <<- END
		[ca]
		default_ca = d
		[d]
		database = $pki/index
		serial = $pki/serial
		crlnumber = $pki/crlnumber
		new_certs_dir = $pki
		certificate = $pki/ca.pem
		private_key = $pki/ca.key
		default_md = sha256
		default_days = 30
		default_crl_days = 30
		policy = p
		[p]
		commonName = supplied
	END
}
# dated NAME FROM TO: a certificate of "ca" that is valid between these.
dated() {
	key "$1"
	openssl req -new -key "$pki/$1.key" -subj "/CN=$1" -out "$pki/$1.csr"
	openssl ca -batch -notext -config "$pki/ca.conf" -in "$pki/$1.csr" -out "$pki/$1.pem" \
		-startdate "$2" -enddate "$3"
}
make_pki() {
	serial=1
	ca ca && ca other && authority &&
		certify server ca 'subjectAltName=DNS:localhost,IP:127.0.0.1' &&
		certify alice ca 'subjectAltName=DNS:Alice.kv.test,URI:kv:alice,email:alice@kv.test\nextendedKeyUsage=clientAuth' &&
		certify bob ca 'subjectAltName=IP:127.0.0.1,DNS:Bob.kv.test\nextendedKeyUsage=1.3.6.1.5.5.7.3.33' &&
		certify carol ca 'basicConstraints=CA:FALSE' &&
		certify eve other 'subjectAltName=email:alice@kv.test' &&
		certify host ca 'subjectAltName=DNS:host.kv.test\nextendedKeyUsage=serverAuth' &&
		certify number ca 'subjectAltName=IP:127.0.0.1' &&
		dated past 20200101000000Z 20200102000000Z &&
		dated future 20480101000000Z 20490101000000Z &&
		openssl ca -config "$pki/ca.conf" -gencrl -out "$pki/crl.pem"
} 2> "$dir/openssl.log"
make_pki || {
	cat "$dir/openssl.log"
	exit 1
}

# --- A server --------------------------------------------------------------------------------------

files=(--tls-cert "$pki/server.pem" --tls-key "$pki/server.key")
rules=$dir/kvd.acl
cat > "$rules" << END
*      uid:$(id -u)(admin)
alice/ cert:alice@kv.test(rw)
hosts/ cert:*.kv.test(rw,tls)
carol/ cert-sha256:$(openssl x509 -in "$pki/carol.pem" -noout -fingerprint -sha256 | sed 's/.*=//')(ro)
public/ any(ro,tls)
END

# serve OPTION...: a kvd with them, in place of the one before. Sets tcp and udp.
serve() {
	[ -z "$kvd" ] || { kill "$kvd" && wait "$kvd"; }
	kvd=
	: > "$dir/kvd.log"
	# shellcheck disable=SC2086 # a wrapper has arguments
	start kvd ${KVD_WRAPPER-} "$KVD" -n -l tcp:127.0.0.1 -l udp:127.0.0.1 \
		-l "local:$dir/s" "$@" || exit 1
	tcp=$(grep -o 'tcp:[^ ]*' <<< "$ready" | sed 's/tcp://')
	udp=$(grep -o 'udp:[^ ]*' <<< "$ready" | sed 's/udp://')
}
peer() { python3 "$here/tls_peer.py" "$@"; }
ask() { peer ask --udp "$udp" --ca "$pki/ca.pem" "$@"; }
# ask_as NAME [OPTION...] WHAT...
ask_as() {
	local name=$1
	shift
	ask --cert "$pki/$name.pem" --key "$pki/$name.key" "$tcp" "$@"
}
ctl() { timeout 60 "$KVCTL" -s "$@"; }

# expect TEXT: the standard input is that text.
expect() {
	local got
	got=$(cat)
	[ "$got" = "$1" ] || {
		printf 'expected:\n%s\ngot:\n%s\n' "$1" "$got"
		return 1
	}
}
# until COMMAND...: waits for it to succeed.
until_true() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$@" && return
		sleep 0.1
	done
	echo "never: $*"
	return 1
}
logs() { grep -qF -- "$1" "$dir/kvd.log"; }

serve --acl "$rules" "${files[@]}" --tls-ca "$pki/ca.pem"

# --- The probe -------------------------------------------------------------------------------------

a_probe_is_answered_as_the_rfc_says() {
	ask "$tcp" hex | expect "hex: 80000020$(printf '%08x' 7)000000010000000000000000000000085354415254544c5300000000"
}
test_that a_probe_is_answered_as_the_rfc_says a_probe_is_answered_as_the_rfc_says

# A bad credential is 1; what may not come in the clear is 5.
a_probe_is_the_first_call_and_has_no_bytes() {
	ask "$tcp" 0/7/4 0/7 | expect $'0/7/4: AUTH_ERROR 1\n0/7: AUTH_ERROR 1' &&
		ask "$tcp" 0 0/7 | expect $'0: ACCEPTED 0\n0/7: AUTH_ERROR 1' &&
		ask "$tcp" 4/7 | expect '4/7: AUTH_ERROR 1' &&
		ask "$tcp" hex tls 0/7 0 | tail -n 2 | expect $'0/7: AUTH_ERROR 1\n0: ACCEPTED 0' &&
		ask "$tcp" udp/0/7 udp/4/7 | expect $'udp/0/7: ACCEPTED 0\nudp/4/7: AUTH_ERROR 2' &&
		ask "$tcp" behind end | tail -n 1 | expect 'end: closed' || ask "$tcp" behind end
}
test_that a_probe_is_the_first_call_and_has_no_bytes a_probe_is_the_first_call_and_has_no_bytes

# --- Handshakes ------------------------------------------------------------------------------------

tls_13_alone_and_sunrpc_or_no_protocol() {
	ask --alpn sunrpc "$tcp" hex tls | tail -n 1 | expect 'tls: TLSv1.3 sunrpc' &&
		ask --alpn '' "$tcp" hex tls 0 | tail -n 2 | expect $'tls: TLSv1.3 None\n0: ACCEPTED 0' &&
		ask --alpn http/1.1 "$tcp" hex tls | grep -q '^tls: alert' &&
		until_true logs 'No common application protocol' &&
		ask --tls12 "$tcp" hex tls | grep -q '^tls: alert' &&
		logs 'tls refused: 127.0.0.1:'
}
test_that tls_13_alone_and_sunrpc_or_no_protocol tls_13_alone_and_sunrpc_or_no_protocol

a_certificate_says_who_the_client_is() {
	ask_as alice hex tls 15 | tail -n 1 | expect '15: cert:alice@kv.test' &&
		ask_as bob hex tls 15 | tail -n 1 | expect '15: cert:Bob.kv.test' &&
		ask_as carol hex tls 15 | tail -n 1 | expect '15: cert:carol' &&
		ask "$tcp" hex tls 15 | tail -n 1 | expect '15: any' &&
		ask "$tcp" 15 | expect '15: any'
}
test_that a_certificate_says_who_the_client_is a_certificate_says_who_the_client_is

# refused NAME ALERT REASON
refused() {
	ask_as "$1" hex tls 0 | tail -n 1 | expect "0: alert: $2" && until_true logs "\"CN=$1\": $3"
}
a_certificate_is_refused_with_its_reason() {
	serve --acl "$rules" "${files[@]}" --tls-ca "$pki/ca.pem"
	refused eve TLSV1_ALERT_UNKNOWN_CA 'its issuer is not in --tls-ca' &&
		refused past SSLV3_ALERT_CERTIFICATE_EXPIRED 'it has expired' &&
		refused future SSLV3_ALERT_CERTIFICATE_EXPIRED 'it is not valid yet' &&
		refused host SSLV3_ALERT_UNSUPPORTED_CERTIFICATE 'it is not for clients' &&
		refused number SSLV3_ALERT_BAD_CERTIFICATE 'it has no name'
}
test_that a_certificate_is_refused_with_its_reason a_certificate_is_refused_with_its_reason

# A relay does the probe, then the library's own program speaks.
start_peer() {
	start kvfault python3 "$here/tls_peer.py" "$@" || return 1
	port=$ready
}
the_programs_of_openssl_and_gnutls_shake_hands() {
	start_peer relay "$tcp" || return 1
	openssl s_client -connect "127.0.0.1:$port" -CAfile "$pki/ca.pem" -alpn sunrpc \
		-cert "$pki/alice.pem" -key "$pki/alice.key" -verify_return_error \
		< /dev/null > "$dir/s_client" 2>&1
	grep -q 'Verify return code: 0 (ok)' "$dir/s_client" &&
		grep -q 'ALPN protocol: sunrpc' "$dir/s_client" &&
		grep -q 'New, TLSv1.3' "$dir/s_client" || {
		cat "$dir/s_client"
		return 1
	}
	if command -v gnutls-cli > /dev/null; then
		gnutls-cli --x509cafile "$pki/ca.pem" --x509certfile "$pki/bob.pem" \
			--x509keyfile "$pki/bob.key" -p "$port" localhost \
			< /dev/null > "$dir/gnutls-cli" 2>&1
		grep -q 'Handshake was completed' "$dir/gnutls-cli" || {
			cat "$dir/gnutls-cli"
			return 1
		}
	fi
	kill "$kvfault"
	kvfault=
}
test_that the_programs_of_openssl_and_gnutls_shake_hands the_programs_of_openssl_and_gnutls_shake_hands

# --- Calls -----------------------------------------------------------------------------------------

# kvctl in the clear, behind a proxy that has alice's certificate.
calls_and_large_values_go_through_tls() {
	start_peer proxy --ca "$pki/ca.pem" --cert "$pki/alice.pem" --key "$pki/alice.key" "$tcp" ||
		return 1
	head -c 9000000 /dev/urandom > "$dir/value"
	ctl "tcp:127.0.0.1:$port" put alice/k - < "$dir/value" &&
		ctl "tcp:127.0.0.1:$port" get alice/k > "$dir/copy" && cmp "$dir/value" "$dir/copy" &&
		ctl "tcp:127.0.0.1:$port" put hosts/k v &&
		ctl "tcp:127.0.0.1:$port" get public/k
	[ $? = 4 ] || ctl "tcp:127.0.0.1:$port" get public/k || echo "exit $?"
	ctl "tcp:127.0.0.1:$port" put carol/k v
	[ $? = 7 ]
}
test_that calls_and_large_values_go_through_tls calls_and_large_values_go_through_tls
kill "$kvfault" 2> /dev/null
kvfault=

what_tls_is_needed_for_is_denied_in_the_clear() {
	ctl "tcp:$tcp" get public/k
	[ $? = 7 ]
}
test_that what_tls_is_needed_for_is_denied_in_the_clear what_tls_is_needed_for_is_denied_in_the_clear

by_default_this_machine_may_call_in_the_clear_and_with_require_none_may() {
	ask "$tcp" 15 udp/15/0 | expect $'15: any\nudp/15/0: ACCEPTED 0' || return 1
	serve "${files[@]}" --tls require
	ask "$tcp" 0 15 udp/0/0 udp/15/0 |
		expect $'0: ACCEPTED 0\n15: AUTH_ERROR 5\nudp/0/0: ACCEPTED 0\nudp/15/0: AUTH_ERROR 5' &&
		ask "$tcp" hex tls 15 | tail -n 1 | expect '15: any' &&
		ctl "local:$dir/s" put k v
}
test_that by_default_this_machine_may_call_in_the_clear_and_with_require_none_may \
	by_default_this_machine_may_call_in_the_clear_and_with_require_none_may

without_rules_a_certificate_is_needed() {
	serve "${files[@]}" --tls-ca "$pki/ca.pem" --tls require
	ask "$tcp" hex tls 0 | tail -n 1 | expect '0: alert: TLSV13_ALERT_CERTIFICATE_REQUIRED' &&
		ask_as bob hex tls 15 | tail -n 1 | expect '15: cert:Bob.kv.test'
}
test_that without_rules_a_certificate_is_needed without_rules_a_certificate_is_needed

without_tls_a_probe_is_a_call_of_null() {
	serve
	ask "$tcp" 0/7 4/7 | expect $'0/7: ACCEPTED 0\n4/7: AUTH_ERROR 2'
}
test_that without_tls_a_probe_is_a_call_of_null without_tls_a_probe_is_a_call_of_null

# --- SIGHUP ----------------------------------------------------------------------------------------

revoke() {
	openssl ca -config "$pki/ca.conf" -revoke "$pki/$1.pem" &&
		openssl ca -config "$pki/ca.conf" -gencrl -out "$pki/crl.new" &&
		mv "$pki/crl.new" "$pki/crl.pem"
} 2> "$dir/openssl.log"
a_revoked_certificate_loses_its_connection() {
	serve --acl "$rules" "${files[@]}" --tls-ca "$pki/ca.pem" --tls-crl "$pki/crl.pem"
	ask_as alice hex tls 15 end > "$dir/alice" &
	local asks=$!
	ask_as bob hex tls 15 end > "$dir/bob" &
	local others=$!
	until_true grep -q alice@kv.test "$dir/alice" && until_true grep -q Bob.kv "$dir/bob" &&
		revoke alice && kill -HUP "$kvd" && until_true logs 'certificates were read again' &&
		wait "$asks" && tail -n 1 "$dir/alice" | expect 'end: ended' &&
		logs 'it is revoked (--tls-crl)' &&
		refused alice SSLV3_ALERT_CERTIFICATE_REVOKED 'it is revoked' &&
		! grep -q end "$dir/bob"
	local code=$?
	kill "$others" && wait "$others"
	return "$code"
}
test_that a_revoked_certificate_loses_its_connection a_revoked_certificate_loses_its_connection

an_error_at_a_reload_leaves_all_as_it_was() {
	cp "$rules" "$dir/rules.before"
	cp "$pki/server.key" "$dir/key.before"
	echo '* any(rw)' > "$rules"
	cp "$pki/bob.key" "$pki/server.key"
	kill -HUP "$kvd"
	until_true logs 'rules and certificates stay as they were: --tls-key' || return 1
	ask_as bob hex tls 15 | tail -n 1 | expect '15: cert:Bob.kv.test' &&
		! ctl "tcp:$tcp" put k v
	local code=$?
	mv "$dir/rules.before" "$rules"
	mv "$dir/key.before" "$pki/server.key"
	return "$code"
}
test_that an_error_at_a_reload_leaves_all_as_it_was an_error_at_a_reload_leaves_all_as_it_was

# --- Files and options -----------------------------------------------------------------------------

# says CODE TEXT OPTION...: kvd ends with that code, and one line that says so.
says() {
	local code=$1 text=$2
	shift 2
	timeout 60 "$KVD" -n -l "local:$dir/other" "$@" > /dev/null 2> "$dir/err"
	[ $? = "$code" ] && [ "$(wc -l < "$dir/err")" = 1 ] && grep -qF -- "$text" "$dir/err" || {
		echo "not \"$text\" (exit $code): $*"
		cat "$dir/err"
		return 1
	}
}
an_error_of_the_files_is_one_line() {
	local cert=$pki/server.pem secret=$pki/server.key
	cp "$secret" "$pki/open.key"
	chmod 640 "$pki/open.key"
	echo nothing > "$pki/nothing"
	openssl pkey -in "$secret" -aes128 -passout pass:x -out "$pki/locked.key"
	openssl ca -config "$pki/ca.conf" -gencrl -out "$pki/foreign.crl" -cert "$pki/other.pem" \
		-keyfile "$pki/other.key" 2> "$dir/openssl.log"
	says 2 '--tls-cert and --tls-key need each other' --tls-cert "$cert" &&
		says 2 '--tls, --tls-ca and --tls-crl need --tls-cert' --tls require &&
		says 2 '--tls "no": write require or offer' --tls no &&
		says 2 '--tls-crl needs --tls-ca' "${files[@]}" --tls-crl "$pki/crl.pem" &&
		says 1 "--tls-cert $pki/none: No such file" --tls-cert "$pki/none" --tls-key "$secret" &&
		says 1 "--tls-cert $pki: it is not a file" --tls-cert "$pki" --tls-key "$secret" &&
		says 1 'or others may read it (chmod go-r' --tls-cert "$cert" --tls-key "$pki/open.key" &&
		says 1 "it is not the key of --tls-cert $cert" --tls-cert "$cert" --tls-key "$pki/bob.key" &&
		says 1 "--tls-cert $pki/nothing: it has no certificate" \
			--tls-cert "$pki/nothing" --tls-key "$secret" &&
		says 1 "--tls-key $cert: it has no private key" --tls-cert "$cert" --tls-key "$cert" &&
		says 1 'protected by a password' --tls-cert "$cert" --tls-key "$pki/locked.key" &&
		says 1 "--tls-ca $pki/nothing: it has no cert" "${files[@]}" --tls-ca "$pki/nothing" &&
		says 1 "--tls-crl $pki/nothing: it has no list" "${files[@]}" \
			--tls-ca "$pki/ca.pem" --tls-crl "$pki/nothing" &&
		says 1 'signed by no CA of --tls-ca' "${files[@]}" \
			--tls-ca "$pki/ca.pem" --tls-crl "$pki/foreign.crl"
}
test_that an_error_of_the_files_is_one_line an_error_of_the_files_is_one_line

exit "$failed"
