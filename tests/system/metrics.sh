#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# metrics.sh - what kvd counts: each counter is documented and a metric, and counts what it says.
# shellcheck disable=SC2317 # functions are called through check
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

here=$(dirname "$0")/../..
mkdir "$dir/data"
server=local:$dir/kvd.sock
mkfifo "$dir/ready" || exit 1
# shellcheck disable=SC2086 # a wrapper has arguments
${KVD_WRAPPER:-} "$kvd" -n -d "$dir/data" -l tcp:127.0.0.1 -l udp:127.0.0.1 -l "$server" \
	> "$dir/ready" 2> "$dir/kvd.log" &
server_pid=$!
IFS= read -r -t 60 ready < "$dir/ready" || {
	echo "not ok kvd_starts"
	exit 1
}
udp=$(grep -o 'udp:[^ ]*' <<< "$ready")

# The counter, as the last status or the one in the file $2 has it.
value_of() {
	awk -v name="$1" '$1 == name { value = $2 } END { print value + 0 }' "${2-$dir/out}"
}
grew_by() {
	[ $(($(value_of "$2") - $(value_of "$2" "$dir/before"))) -eq "$1" ] ||
		complain "$2: $(value_of "$2" "$dir/before"), then $(value_of "$2")"
}

counters_count_what_they_say() {
	local now=$server name
	kv put k v
	server=$udp
	kv status
	mv "$dir/out" "$dir/before"
	server=$now
	kv get k
	kv get none
	kv ls
	kv put k w
	kv del k
	server=$udp
	kv status
	server=$now
	grew_by 2 reads_served
	grew_by 1 reads_missed
	grew_by 2 calls_of_get
	grew_by 1 calls_of_list
	grew_by 1 calls_of_put
	grew_by 1 calls_of_delete
	grew_by 1 calls_of_status
	grew_by 2 writes_applied
	for name in datagram_bytes_received datagram_bytes_sent bytes_sent bytes_received; do
		[ "$(value_of "$name")" -gt "$(value_of "$name" "$dir/before")" ] || complain "no $name"
	done
	kv status
	[ "$(value_of peers)" = 1 ] || complain "peers: $(value_of peers)"
}

# Of all puts, each is in one bucket, and each batch of the journal, too.
buckets_hold_all_calls() {
	local sum
	kv status
	sum=$(awk '/^latency_put_le_/ { sum += $2 } END { print sum }' "$dir/out")
	[ "$sum" = "$(value_of calls_of_put)" ] || complain "$sum puts, not $(value_of calls_of_put)"
	awk '/^journal_sync_le_/ { sum += $2 } $1 == "journal_batches" { batches = $2 }
		END { exit sum != batches }' "$dir/out" || complain "batches are not in the buckets"
}

denials_are_counted() {
	local other_pid rules=$dir/kvd.acl
	echo '* any(ro)' > "$rules"
	"$kvd" -n -l "local:$dir/other.sock" --acl "$rules" > "$dir/other" 2> "$dir/err" &
	other_pid=$!
	until_true grep -q ready "$dir/other" || complain "no server with rules"
	"$kvctl" -s "local:$dir/other.sock" del k > "$dir/ignored" 2>&1
	"$kvctl" -s "local:$dir/other.sock" status > "$dir/out" 2> "$dir/err"
	[ "$(value_of calls_denied)" = 1 ] || complain "calls_denied: $(value_of calls_denied)"
	kill "$other_pid" && wait "$other_pid"
}

all_counters_are_documented() {
	kv status
	# The table has names, lists of names, and the beginnings of names.
	sed -n '/^## Counters/,/^## Examples/s/^| \([a-z_, *]*\) |.*/\1/p' "$here/docs/PROTOCOL.md" |
		tr -d ' ' | tr , '\n' | sed 's/\*/.*/' > "$dir/names"
	awk 'NR > 4 { print $1 }' "$dir/out" | grep -vxf "$dir/names" > "$dir/undocumented" &&
		complain "docs/PROTOCOL.md lacks $(tr '\n' ' ' < "$dir/undocumented")"
}

all_counters_are_metrics() {
	kv status -o prometheus
	exits 0
	! grep untyped "$dir/out" || complain "a counter is not in the table"
	grep -q '^kvd_keys 0$' "$dir/out" || complain "no keys"
	[ "$(grep -c '^# TYPE' "$dir/out")" = "$(grep '^# TYPE' "$dir/out" | sort -u | wc -l)" ] ||
		complain "a family is there twice"
	if command -v promtool > "$dir/ignored"; then
		promtool check metrics < "$dir/out" > "$dir/said" 2>&1 || complain "$(cat "$dir/said")"
	else
		echo "# left out: promtool is not there" >&3
	fi
	kv get k -o prometheus
	exits 2
	says "-o prometheus is for status"
}

exec 3>&1
for name in counters_count_what_they_say buckets_hold_all_calls denials_are_counted \
	all_counters_are_documented all_counters_are_metrics; do
	check "$name"
done
exit "$failed"
