#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# simulate.sh - simulated worlds keep all promises: those of past failures, and as many fresh ones as
# SIMULATE_SECONDS (default 8) allow. See tests/simulate/climate.h and `make simulate`.
set -u
export LC_ALL=C

BUILD=${BUILD:-build}
simulate=$BUILD/tests/simulate/simulate

dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-simulate.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 143' TERM INT

failed=0
# test_that NAME COMMAND...: what the command says is shown if it fails.
test_that() {
	local name=$1
	shift
	if "$@" > "$dir/out" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		sed 's/^/  /' "$dir/out"
		failed=1
	fi
}

fresh_seeds() {
	"$simulate" --seconds "${SIMULATE_SECONDS:-8}" > "$dir/fresh" 2>&1
	local status=$?
	cat "$dir/fresh"
	return $status
}

# Everything that happened, line by line; what it took is no part of the world.
tell() { "$simulate" --seed "$1" -v 2> /dev/null | grep -v '^1 seeds in '; }
same_twice() {
	local seed
	for seed in 1 2 3 4 5; do
		tell $seed > "$dir/one"
		tell $seed > "$dir/other"
		[ "$(wc -l < "$dir/one")" -gt 100 ] || {
			echo "seed $seed: nothing happened"
			return 1
		}
		cmp "$dir/one" "$dir/other" || return 1
	done
	! cmp -s <(tell 1) <(tell 2)
}

is_usage() {
	"$simulate" "$@" 2> "$dir/usage"
	[ $? = 2 ] && grep -q '^usage: ' "$dir/usage"
}

test_that seeds_of_past_failures_keep_all_promises "$simulate" --list tests/simulate/seeds
test_that a_seed_is_the_same_world_each_time same_twice
test_that fresh_seeds_keep_all_promises fresh_seeds
test_that a_seed_that_is_no_number_is_a_mistake is_usage --seed one
first=$(head -n 1 "$dir/fresh")
sum=$(grep -Eo '^[0-9]+ seeds in .*operations;' "$dir/fresh")
echo "figure: $first: ${sum%;}"
exit $failed
