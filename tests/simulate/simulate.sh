#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# simulate.sh - simulated worlds keep all promises: those of past failures, and as many fresh ones as
# SIMULATE_SECONDS (default 8) allow. See tests/simulate/sim_config.h and `make simulate`.
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
simulate=$BUILD/tests/simulate/simulate

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

# Of a hundred worlds, each of which is always the same: nothing that is to be survived has gone
# missing, most calls are done in spite of it, and what was answered or may have happened is judged.
all_sorts_happen() {
	local sum words count

	"$simulate" --seed 1 --count 100 > "$dir/sorts" || return 1
	tail -n 1 "$dir/sorts"
	sum=$(tail -n 1 "$dir/sorts" | sed -e 's/.*of theirs: //' -e 's/; 0 broken$//')
	while read -r count words; do
		# Histories of the lock with a lease that have too many orders to be judged are few.
		[ "$words" = 'leases undecided' ] && [ "$count" -le 2 ] && continue
		[ "$count" -gt 0 ] || {
			echo "there were no $words"
			return 1
		}
	done < <(echo "$sum" | sed 's/; */\n/g')
	figure() { echo "$sum" | grep -Eo "[0-9]+ $1(;|$)" | grep -Eo '^[0-9]+'; }
	[ "$(figure operations)" -gt 20000 ] && [ "$(figure restarts)" -gt 300 ] &&
	    [ $((2 * $(figure 'done'))) -gt "$(figure operations)" ] &&
	    [ $((10 * $(figure judged))) -gt $((7 * $(figure operations))) ]
}

is_usage() {
	"$simulate" "$@" 2> "$dir/usage"
	[ $? = 2 ] && grep -q '^usage: ' "$dir/usage"
}

# Else it would be said that no promise was broken.
is_refused() {
	"$simulate" --list "$2" > "$dir/list" 2>&1
	[ $? = 2 ] && grep -q "$1" "$dir/list"
}

test_that seeds_of_past_failures_keep_all_promises "$simulate" --list tests/simulate/seeds
test_that a_seed_is_the_same_world_each_time same_twice
test_that fresh_seeds_keep_all_promises fresh_seeds
test_that all_sorts_happen_and_most_calls_are_done all_sorts_happen
test_that a_list_without_seeds_is_a_mistake is_refused 'there is no seed in it' /dev/null
test_that a_list_with_a_line_that_is_no_seed_is_a_mistake is_refused 'neither a seed' "$0"
test_that a_seed_that_is_no_number_is_a_mistake is_usage --seed one
first=$(head -n 1 "$dir/fresh")
sum=$(grep -Eo '^[0-9]+ seeds in .*operations;' "$dir/fresh")
echo "figure: $first: ${sum%;}"
exit $failed
