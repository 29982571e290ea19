#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# acl.sh - kvd --acl: the file, SIGHUP, --who, what kvctl says of a refusal; and, as root, several
# users at one local socket.
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

rules=$dir/kvd.acl
me=$(id -u)
chmod 711 "$dir"
cp "$kvctl" "$dir/kvctl" && kvctl=$dir/kvctl

# Starts kvd with the rules on standard input; sets tcp and socket.
serve() {
	local ready word
	cat > "$rules"
	mkfifo "$dir/ready" || exit 1
	# shellcheck disable=SC2086 # a wrapper has arguments
	${KVD_WRAPPER:-} "$kvd" -n -l tcp:127.0.0.1 -l udp:127.0.0.1 -l "local:$dir/kvd.sock" \
		--acl "$rules" > "$dir/ready" 2> "$dir/kvd.log" &
	server_pid=$!
	IFS= read -r -t 60 ready < "$dir/ready" || {
		echo "not ok kvd_starts"
		cat "$dir/kvd.log"
		exit 1
	}
	for word in $ready; do
		case $word in
		tcp:*) tcp=$word ;;
		udp:*) udp=$word ;;
		local:*) socket=$word ;;
		esac
	done
	server=$socket
}

# Has kvd read the rules on standard input; waits for a line that says TEXT once more.
reload() {
	local before
	before=$(grep -cF -- "$1" "$dir/kvd.log")
	cat > "$rules.new"
	mv "$rules.new" "$rules"
	kill -HUP "$server_pid"
	until_true said_more "$before" "$1" || complain "kvd does not say \"$1\""
}
said_more() {
	[ "$(grep -cF -- "$2" "$dir/kvd.log")" -gt "$1" ]
}

refused() {
	timeout 60 "$kvd" -n -l "local:$dir/other.sock" --acl "$rules" > "$dir/out" 2> "$dir/err"
	code=$?
}

# --- The file, without a server --------------------------------------------------------------------

an_error_is_one_line_with_its_place() {
	printf '* any(ro)\napp/ any(write)\n' > "$rules"
	refused
	exits 1
	says "$rules:2: \"write\": a right is ro, rw, lock, add or admin"
}

a_file_that_others_may_write_is_refused() {
	echo '* any(ro)' > "$rules"
	chmod 620 "$rules"
	refused
	exits 1
	says "its group or others may write it (chmod go-w"
	chmod 602 "$rules"
	refused
	exits 1
	says "its group or others may write it"
	chmod 600 "$rules"
}

what_is_no_file_is_refused() {
	rm -f "$rules"
	refused
	exits 1
	says "No such file"
	mkfifo "$rules"
	refused
	exits 1
	says "it is not a file"
	rm -f "$rules"
}

who_shows_the_line_and_the_right() {
	printf '* uid:%s(ro)\n# more\napp/ uid:%s(rw) host:10.0.0.0/8(add)\n' "$me" "$me" > "$rules"
	"$kvd" --acl "$rules" --who "uid:$me" --key app/x > "$dir/out" 2> "$dir/err"
	code=$?
	exits 0
	prints "line 3: app/ uid:$me(rw) host:10.0.0.0/8(add)
uid:$me \"app/x\": rw
"
	"$kvd" --acl "$rules" --who any --key x > "$dir/out" 2> "$dir/err"
	prints "line 1: * uid:$me(ro)
any \"x\": none
"
	"$kvd" --acl "$rules" --who host:10.1.2.3 --key app/x > "$dir/out" 2> "$dir/err"
	grep -q ': add$' "$dir/out" || complain "an address has another right"
	"$kvd" --acl "$rules" --who gid:0 --key x > "$dir/out" 2> "$dir/err"
	code=$?
	exits 1
	says "name one caller: uid:USER, cert:NAME, host:ADDRESS or any"
	"$kvd" --acl "$rules" --who any > "$dir/out" 2> "$dir/err"
	code=$?
	exits 2
	says "--who and --key need each other and --acl FILE"
}

other_machines_need_rules_or_open() {
	timeout 60 "$kvd" -n -l tcp:0.0.0.0 > "$dir/out" 2> "$dir/err"
	code=$?
	exits 2
	says "give rules with --acl FILE"
	mkfifo "$dir/any"
	"$kvd" -n -l tcp:0.0.0.0 --acl "$rules" > "$dir/any" 2> "$dir/err" &
	IFS= read -r -t 60 _ < "$dir/any" || complain "kvd does not serve with rules"
	kill $! && wait $!
}

# --- One user --------------------------------------------------------------------------------------

a_denied_call_says_who_and_what_is_needed() {
	kv put app/x v -q
	exits 0
	kv put ro/x v
	exits 7
	says "the server knows this client as \"uid:$me\", which lacks a right to it (rw is needed)"
	server=$tcp kv get app/x
	exits 7
	says "the server knows this client as \"any\", which lacks a right to it (ro is needed)"
	server=$udp kv get app/x
	exits 7
	server=$tcp kv get public/x
	exits 3
	server=$tcp kv ls app/
	exits 7
	server=$tcp kv ls
	exits 0
	server=$tcp kv put app/x v
	exits 7
	kv snapshot
	exits 7
	says "admin is needed"
	server=$tcp kv status
	exits 7
}

the_log_says_what_was_denied() {
	grep -q "denied: uid:$me (uid $me pid [0-9]*): PUT \"ro/x\": rw is needed, and ro is given (--acl: line 3)" \
		"$dir/kvd.log" || complain "no line in the log"
	grep -q 'denied: any at 127.0.0.1:[0-9]*: GET "app/x": ro is needed, and none is given' \
		"$dir/kvd.log" || complain "no line of tcp in the log"
}

whoami_shows_the_principal_and_its_rights() {
	kv whoami
	exits 0
	prints "uid:$me
app/  rw
locks/  lock
log/  add
public/  ro
ro/  ro
"
	server=$tcp kv -o json whoami
	exits 0
	prints_line '{"principal":"any","rules":true,"secure":false,"grants":[{"prefix":"public/","rights":"ro"}],"more":false}'
}

add_and_lock_do_what_they_say() {
	kv append log/x line -q
	exits 0
	kv get log/x
	exits 7
	kv lock locks/a -- true
	exits 0
	kv lock app/a -- true
	exits 0
	kv put locks/a other
	exits 7
	kv lock ro/a -- true
	exits 125
}

a_reload_holds_at_once_and_a_wrong_one_not_at_all() {
	reload "was read again: 2 rules" << END
* uid:0(admin)
app/ uid:$me(ro)
END
	kv put app/x w
	if [ "$me" = 0 ]; then exits 0; else exits 7; fi
	reload "stay as they were: $rules:2: there is no @other above" << END
* any(rw)
app/ @other(rw)
END
	server=$tcp kv put app/x w
	exits 7
}

a_waiting_call_is_refused_by_a_reload() {
	reload "was read again: 1 rules" <<< "* any(rw)"
	"$kvctl" -s "$tcp" get waited/x --wait 60 > "$dir/out" 2> "$dir/err" &
	until_true waits || complain "no call waits"
	reload "was read again: 1 rules" <<< "* uid:$me(rw)"
	ends $!
	exits 7
}
waits() {
	"$kvctl" -s "$socket" status | grep -q '^calls_waiting *1$'
}

for name in an_error_is_one_line_with_its_place a_file_that_others_may_write_is_refused \
	what_is_no_file_is_refused who_shows_the_line_and_the_right other_machines_need_rules_or_open; do
	check "$name"
done
serve << END
* uid:4000000000(admin)
app/ uid:$me(rw)
ro/ uid:$me(ro)
log/ uid:$me(add)
locks/ uid:$me(lock)
public/ any(ro)
END
for name in a_denied_call_says_who_and_what_is_needed the_log_says_what_was_denied \
	whoami_shows_the_principal_and_its_rights add_and_lock_do_what_they_say \
	a_reload_holds_at_once_and_a_wrong_one_not_at_all a_waiting_call_is_refused_by_a_reload; do
	check "$name"
done

# --- Several users ---------------------------------------------------------------------------------

# Runs kvctl as this user, with these supplementary groups ("" for none).
as() {
	local uid=$1 groups=(--clear-groups)
	[ -z "$2" ] || groups=(--groups "$2")
	shift 2
	setpriv --reuid "$uid" --regid "$uid" "${groups[@]}" \
		"$dir/kvctl" -s "$socket" "$@" > "$dir/out" 2> "$dir/err"
	code=$?
}

users_have_rights_of_their_own() {
	reload "was read again: 4 rules" << END
* uid:0(admin)
app/ uid:4001(rw) gid:4100(ro)
app/secret/ uid:4001(rw)
own/ uid:4002(rw)
END
	as 4001 "" put app/x v -q
	exits 0
	as 4001 "" put app/secret/x v -q
	exits 0
	as 4002 "" get app/x
	exits 7
	as 4002 4100 get app/x
	exits 0
	prints v
	as 4002 4100 put app/x w
	exits 7
	as 4003 4100 get app/secret/x
	exits 7
	as 4100 "" get app/x
	exits 0
	as 4002 "" put own/x v -q
	exits 0
	as 4002 4100 ls
	prints "app/a
app/x
own/x
"
	as 4001 "" ls
	prints "app/a
app/secret/x
app/x
"
	as 4003 "" ls
	exits 7
	as 0 "" ls app/secret/
	prints_line app/secret/x
}

the_overflow_user_is_a_user_where_all_ids_are_shown() {
	reload "was read again: 1 rules" <<< "* uid:65534(rw) known(ro)"
	as 65534 "" whoami
	prints "uid:65534
*  rw
"
	as 4001 "" whoami
	prints "uid:4001
*  ro
"
}

# There kvd is shown 65534 for each user that has no id in its namespace.
a_user_of_another_namespace_is_any() {
	kill "$server_pid" && wait "$server_pid"
	rm -f "$dir/ready" "$dir/kvd.sock"
	KVD_WRAPPER="unshare --user --map-root-user ${KVD_WRAPPER-}" serve \
		<<< "* uid:65534(rw) uid:4001(rw) known(ro)"
	as 4001 "" whoami
	prints_line any
	as 0 "" whoami
	prints "uid:0
*  ro
"
}

if [ "$me" != 0 ] || ! command -v setpriv > "$dir/ignored"; then
	echo "skip users_have_rights_of_their_own: needs root and setpriv"
	exit "$failed"
fi
check users_have_rights_of_their_own
if [ "$(awk '{ print $1, $2, $3 }' /proc/self/uid_map)" != "0 0 4294967295" ]; then
	echo "skip the_overflow_user_is_a_user_where_all_ids_are_shown: this user namespace does not show all"
else
	check the_overflow_user_is_a_user_where_all_ids_are_shown
fi
if unshare --user --map-root-user true 2> "$dir/ignored"; then
	check a_user_of_another_namespace_is_any
else
	echo "skip a_user_of_another_namespace_is_any: no user namespace can be made here"
fi
exit "$failed"
