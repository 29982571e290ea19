#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hardening.sh - the programs and the library are built with the usual protections: position
# independent, relocations read-only, no executable stack, stack protector, checked libc calls.
#
# Prints "ok NAME", "not ok NAME" or "skip NAME: WHY" for each test, and exits 1 if one failed.
set -u
export LC_ALL=C

BUILD=${BUILD:-build}
failed=0

# judge NAME TEXT REGEX: whether the text has a line that matches.
judge() {
	if grep -Eq -e "$3" <<< "$2"; then
		echo "ok $1"
	else
		echo "not ok $1"
		failed=1
	fi
}

if ! command -v readelf > /dev/null; then
	echo "skip hardening: readelf (binutils) is not here"
	exit 0
fi
for file in kvd kvctl kvcheck libkv.so.0; do
	headers=$(readelf -hlW "$BUILD/$file")
	dynamic=$(readelf -dW "$BUILD/$file")
	symbols=$(readelf -sW "$BUILD/$file")
	judge "${file}_is_position_independent" "$headers" 'Type: +DYN '
	judge "${file}_has_read_only_relocations" "$headers" 'GNU_RELRO'
	judge "${file}_binds_all_symbols_at_start" "$dynamic" 'BIND_NOW|FLAGS.* NOW'
	judge "${file}_has_no_executable_stack" "$headers" 'GNU_STACK +[^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ RW '
	if [ -n "${SANITIZE-}" ]; then
		echo "skip ${file}_protects_its_stack: the sanitizer does"
		continue
	fi
	judge "${file}_protects_its_stack" "$symbols" '__stack_chk_fail'
	[ -n "${OPTIMIZED--O2}" ] || continue # as make says: without, there is nothing to check
	judge "${file}_checks_the_sizes_of_libc_calls" "$symbols" '__(mem|str|v?sn?printf|v?fprintf|read|recv)[a-z]*_chk'
done
exit $failed
