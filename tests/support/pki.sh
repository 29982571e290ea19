# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# pki.sh - CAs and certificates of a test, made with openssl in the directory `dir`; to be sourced.

: "${dir:?where to make them}"
new_key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'

# make_ca NAME: NAME.pem and NAME.key.
make_ca() {
	# shellcheck disable=SC2086 # several words
	openssl req -x509 $new_key -keyout "$dir/$1.key" -out "$dir/$1.pem" -days 30 \
		-subj "/CN=$1" 2> "$dir/openssl.log" || cat "$dir/openssl.log"
}

# make_cert NAME CA EXTENSIONS [SUBJECT [openssl's options of its time]]: NAME.pem and NAME.key; the
# extensions are lines of an openssl.cnf.
make_cert() {
	local name=$1 ca=$2 subject=${4:-/CN=$1}
	printf '%b\n' "$3" > "$dir/$name.ext"
	# shellcheck disable=SC2086 # several words
	openssl req $new_key -keyout "$dir/$name.key" -out "$dir/$name.csr" -subj "$subject" \
		2> "$dir/openssl.log" &&
		openssl x509 -req -in "$dir/$name.csr" -CA "$dir/$ca.pem" -CAkey "$dir/$ca.key" \
			-CAcreateserial "${@:5}" -extfile "$dir/$name.ext" -out "$dir/$name.pem" \
			2> "$dir/openssl.log" || cat "$dir/openssl.log"
}
