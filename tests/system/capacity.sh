#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# capacity.sh - the model of memory and disk in docs/OPERATIONS.md holds within 10 % for three shapes
# of data: many small entries, middling ones, and pages.
# shellcheck disable=SC2317 # functions are called through test_that
if [ -n "${SANITIZE-}" ] || [ -n "${KVD_WRAPPER-}" ]; then
	echo "skip capacity: memory of a sanitized program says nothing"
	exit 0
fi
# Where a sync costs nothing, if there is such a place: the data is what is measured.
export TMPDIR=${TMPDIR-/dev/shm}
[ -w "$TMPDIR" ] || unset TMPDIR
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
KVCTL=${KVCTL:-$BUILD/kvctl}

resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$kvd/status"; }
counter() { "$KVCTL" status | awk -v name="$1" '$1 == name { print $2 }'; }
# near WHAT MODEL MEASURED
near() {
	echo "figure: $shape: $1: $2 by the model, $3 measured" >&3
	awk -v model="$2" -v measured="$3" 'BEGIN { exit !(measured > 0.9 * model && measured < 1.1 * model) }'
}

# shape KEYS KEY_BYTES VALUE_BYTES
shape_is_near() {
	local keys=$1 key=$2 value=$3 before
	mkdir "$dir/data" && start kvd "${KVD:-$BUILD/kvd}" -n -l "local:$dir/s" -d "$dir/data" || return
	export KV_SERVER=local:$dir/s
	before=$(resident)
	awk -v n="$keys" -v k="$key" -v v="$value" 'BEGIN {
		text = sprintf("%*s", v, ""); gsub(/ /, "v", text)
		for (i = 0; i < n; i++) printf "{\"key\":\"%0*d\",\"value\":\"%s\"}\n", k, i, text
	}' | "$KVCTL" -q load || return
	near "bytes of memory for each key" $((48 + 104 * (key + value) / 100)) $((($(resident) - before) / keys)) &&
		"$KVCTL" -q snapshot &&
		near "bytes of a snapshot for each key" $((key + value + 16)) $(($(counter snapshot_bytes) / keys)) || return
	kill "$kvd" && wait "$kvd"
	kvd=''
	rm -r "$dir/data"
}

exec 3>&1
for shape in "500000 16 16" "200000 32 200" "15000 40 4000"; do
	# shellcheck disable=SC2086 # three numbers
	test_that "entries_of_${shape// /_}_take_what_the_model_says" shape_is_near $shape
done
exit $failed
