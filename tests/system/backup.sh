#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# backup.sh - kvctl backup, and kvd's --check FILE, --restore, --restored and --moved: on real
# programs and disks.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# --- What a test is made of -----------------------------------------------------------------------

# Starts kvd on a directory; its address is in server.
serve() {
	rm -f "$dir/ready" && mkfifo "$dir/ready" || exit 1
	# shellcheck disable=SC2086 # a wrapper has arguments
	${KVD_WRAPPER:-} "$kvd" -n -l tcp:127.0.0.1 -l "local:$dir/kvd.sock" -d "$1" \
		>"$dir/ready" 2>"$dir/kvd.log" &
	server_pid=$!
	server=local:$dir/kvd.sock
	IFS= read -r -t 60 ready <"$dir/ready" || {
		wait "$server_pid"
		code=$?
		server_pid=
		return 1
	}
	tcp=$(grep -o 'tcp:[^ ]*' <<<"$ready")
}

stop() {
	kill "$server_pid"
	wait "$server_pid" || complain "kvd ended with $?"
	server_pid=
}

# kvd that is no server: its output is in $dir/out and $dir/err, its exit code in code.
run_kvd() {
	"$kvd" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
}

# A store of three keys in $dir/$1, of which one has a ttl and one a newline; it serves.
store() {
	mkdir "$dir/$1"
	serve "$dir/$1" || complain "kvd does not serve"
	kv put a one; kv put a two; kv put b $'line\n' --ttl 1000; kv put c ''
}

# Whether the file is a backup of that store, and the next one another store than $1.
holds_it() {
	kv get a; prints two
	kv get a --version; prints_line 2
	kv get b; prints $'line\n'
	kv get c; exits 0; prints ''
	kv ls; prints 'a
b
c
'
}

store_id() {
	kv status && sed -n 's/^store  *//p' "$dir/out"
}

tmpfs=
# A small file system at $dir/small, or a reason why there is none.
small_disk() {
	mkdir -p "$dir/small"
	[ "$(id -u)" -eq 0 ] || { echo "only root may mount"; return 1; }
	mount -t tmpfs -o size="$1" kv-backup "$dir/small" 2>"$dir/ignored" ||
		{ echo "no tmpfs can be mounted"; return 1; }
	tmpfs=$dir/small
}
free_disk() {
	[ -z "$tmpfs" ] || umount "$tmpfs"
	tmpfs=
}
trap 'free_disk; clean_up' EXIT

# Other bytes in a file.
change() {
	printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>"$dir/ignored"
}

# --- Backups --------------------------------------------------------------------------------------

a_backup_is_verified_and_becomes_another_store() {
	local old
	store data
	old=$(store_id)
	kv backup "$dir/backup"; exits 0
	prints_line "$("$kvd" --check "$dir/backup" | sed -n 's/^last_operation //p')"
	[ "$(stat -c %a "$dir/backup")" = 600 ] || complain "others may read it"
	[ ! -e "$dir/backup.tmp" ] || complain "a temporary file is left"
	kv put d later
	cp "$dir/backup" "$dir/first"
	run_kvd --check "$dir/backup"; exits 0; is_silent
	grep -qx 'keys 3' "$dir/out" || complain "not three keys"
	run_kvd -d "$dir/new" --restore "$dir/backup"; exits 0; is_silent
	grep -qx 'keys 3' "$dir/out" || complain "not three keys restored"
	kv del d
	stop
	serve "$dir/new"
	holds_it
	[ "$(store_id)" != "$old" ] || complain "it is the same store"
	grep -q '^sessions  *0$' "$dir/out" || complain "sessions were restored"
	kv put a three; prints_line 3
	kill -KILL "$server_pid"; wait "$server_pid" 2>"$dir/ignored"
	serve "$dir/new"
	kv get a; prints three
	stop
	run_kvd --check "$dir/new"; exits 0
}

a_backup_can_go_through_a_pipe() {
	serve "$dir/data"
	kv backup "$dir/backup"; exits 0
	"$kvctl" -s "$server" backup - | cat >"$dir/piped"
	cmp -s "$dir/piped" "$dir/backup" || complain "not the same bytes"
	kv -o json backup "$dir/backup"; exits 0
	prints_line "{\"position\":$("$kvd" --check "$dir/backup" |
		sed -n 's/^last_operation //p'),\"bytes\":$(stat -c %s "$dir/backup")}"
	kv -q backup "$dir/backup"; exits 0; prints ''
	stop
}

# A reader that goes away, and one that holds the backup up while the server dies.
half_a_backup_is_never_called_whole() {
	local writer half
	serve "$dir/data"
	head -c 8000000 /dev/zero | kv put large -
	: >"$dir/err"
	"$kvctl" -s "$server" backup - 2>"$dir/err" | head -c 10 >"$dir/out"
	code=${PIPESTATUS[0]}
	exits 1; grep -q 'cannot write standard output: Broken pipe' "$dir/err" || complain "no word"
	kv backup "$dir/backup"; exits 0
	cp "$dir/backup" "$dir/before"
	mkfifo "$dir/slow"
	"$kvctl" -s "$server" -t 0.2 backup - >"$dir/slow" 2>"$dir/err" &
	writer=$!
	exec 9<"$dir/slow"
	head -c 100 <&9 >"$dir/ignored"
	kill -KILL "$server_pid"; wait "$server_pid" 2>"$dir/ignored"
	server_pid=
	cat <&9 >"$dir/rest"
	exec 9<&-
	ends "$writer"; exits 6
	half=$(stat -c %s "$dir/rest")
	[ "$half" -gt 0 ] && [ "$half" -lt "$(stat -c %s "$dir/before")" ] || complain "all or none came"
	head -c 1000000 "$dir/before" >"$dir/half"
	run_kvd --check "$dir/half"; exits 1; says "$dir/half is damaged at offset"
	kv backup "$dir/backup"; exits 6
	cmp -s "$dir/before" "$dir/backup" || complain "the backup before is gone"
	[ ! -e "$dir/backup.tmp" ] || complain "a temporary file is left"
	serve "$dir/data"
	kv del large; exits 0
	stop
}

a_backup_that_cannot_be_written_leaves_nothing() {
	serve "$dir/data"
	head -c 4000000 /dev/zero | kv put large -
	kv backup; exits 2; says 'expected one FILE'
	kv backup "$dir/nothing/b"; exits 1; says 'No such file or directory'
	kv backup "$dir"; exits 1; says 'no file'
	if [ -w /dev/full ]; then
		"$kvctl" -s "$server" backup - >/dev/full 2>"$dir/err"; code=$?
		exits 8; grep -q 'No space left' "$dir/err" || complain "no word of the space"
	fi
	(ulimit -f 1024; "$kvctl" -s "$server" backup "$dir/limited" >"$dir/out" 2>"$dir/err"); code=$?
	exits 8; says 'File too large'
	[ ! -e "$dir/limited" ] && [ ! -e "$dir/limited.tmp" ] || complain "something is left"
	if small_disk 1m >"$dir/why"; then
		kv backup "$dir/small/b"; exits 8; says 'No space left on device'
		[ -z "$(ls "$dir/small")" ] || complain "something is left"
		free_disk
	else
		echo "# left out: a full disk: $(cat "$dir/why")" >&3
	fi
	kv del large
	stop
}

# The server's disk changed a byte: seen when it is copied, not when it is needed.
a_snapshot_that_is_damaged_is_no_backup() {
	local snapshot
	serve "$dir/data"
	head -c 1000000 /dev/zero | kv put large -
	kv backup "$dir/fresh"; exits 0
	snapshot=$(echo "$dir"/data/snapshot-*)
	change "$snapshot" 500000 '\x01'
	kv backup "$dir/bad"; exits 1; says 'the snapshot is damaged before byte'
	[ ! -e "$dir/bad" ] && [ ! -e "$dir/bad.tmp" ] || complain "something is left"
	change "$snapshot" 500000 '\x00'
	truncate -s -1 "$snapshot"
	kv backup "$dir/bad"; exits 1; says 'its log says why'
	kv del large; exits 0
	kv backup "$dir/fresh"; exits 0
	stop
}

one_at_a_time_writes_a_file() {
	serve "$dir/data"
	: >"$dir/held.tmp"
	exec 8<"$dir/held.tmp"
	flock 8
	kv backup "$dir/held"; exits 1; says 'another kvctl writes'
	exec 8<&-
	echo old >"$dir/held.tmp"
	kv backup "$dir/held"; exits 0
	run_kvd --check "$dir/held"; exits 0
	ln -s "$dir/elsewhere" "$dir/link.tmp"
	kv backup "$dir/link"; exits 1
	[ ! -e "$dir/elsewhere" ] || complain "it followed a link"
	stop
}

only_some_may() {
	serve "$dir/data"
	server=$tcp
	kv backup "$dir/denied"; exits 7; says 'only root and the user that runs kvd may'
	stop
	start_server_in_memory
	kv backup "$dir/denied"; exits 1; says 'in memory only'
	stop
	kv backup "$dir/denied"; exits 6
	[ ! -e "$dir/denied" ] && [ ! -e "$dir/denied.tmp" ] || complain "something is left"
}

start_server_in_memory() {
	rm -f "$dir/ready"
	start_server
	server=$socket
}

# --- Damage, and what cannot be restored ----------------------------------------------------------

damage_is_named_by_both() {
	local size at
	size=$(stat -c %s "$dir/first")
	for at in 3 13 20 40 64 70 $((size / 2)) $((size - 1)); do
		cp "$dir/first" "$dir/bad"
		# Not what stands there, whatever that is.
		change "$dir/bad" "$at" '\xa5'
		cmp -s "$dir/bad" "$dir/first" && change "$dir/bad" "$at" '\x5a'
		run_kvd --check "$dir/bad"; exits 1; says "$dir/bad is damaged at offset"
		run_kvd -d "$dir/none" --restore "$dir/bad"; exits 1; says "$dir/bad is damaged at offset"
	done
	for at in 0 1 63 64 71 $((size / 2)) $((size - 1)); do
		head -c "$at" "$dir/first" >"$dir/bad"
		run_kvd --check "$dir/bad"; exits 1; says "$dir/bad is damaged at offset"
		run_kvd -d "$dir/none" --restore "$dir/bad"; exits 1; says 'is damaged at offset'
	done
	(cat "$dir/first"; echo) >"$dir/bad"
	run_kvd --check "$dir/bad"; exits 1; says 'something stands behind its end'
	[ ! -e "$dir/none" ] || complain "a directory was made"
	run_kvd --check "$dir/not-there"; exits 1
	run_kvd -d "$dir/none" --restore "$dir/not-there"; exits 1; says 'No such file'
	run_kvd -d "$dir/none" --restore /dev/null; exits 1; says '/dev/null is no file'
	run_kvd -d "$dir/none" --restore "$dir"; exits 1; says 'is no file'
}

# The header's checksum covers the format, so python makes a whole one of a format to come.
a_newer_format_is_named_by_its_number() {
	python3 - "$dir/first" "$dir/newer" <<-'END'
		import sys
		data = bytearray(open(sys.argv[1], 'rb').read())
		data[12:16] = (9).to_bytes(4, 'little')
		crc = 0xffffffff
		for byte in data[12:64]:
		    crc ^= byte
		    for _ in range(8):
		        crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
		data[8:12] = (crc ^ 0xffffffff).to_bytes(4, 'little')
		open(sys.argv[2], 'wb').write(data)
	END
	run_kvd --check "$dir/newer"; exits 1
	says 'newer has format 9, and this kvd knows 2 to 4: use the kvd that wrote it'
	run_kvd -d "$dir/none" --restore "$dir/newer"; exits 1; says 'has format 9'
}

a_directory_that_is_used_is_not_restored_into() {
	mkdir "$dir/used" && echo mine >"$dir/used/file"
	run_kvd -d "$dir/used" --restore "$dir/first"; exits 1; says 'is not empty (file)'
	[ "$(cat "$dir/used/file")" = mine ] || complain "a file is gone"
	run_kvd -d "$dir/data" --restore "$dir/first"; exits 1; says 'is not empty'
	serve "$dir/data"
	run_kvd -d "$dir/data" --restore "$dir/first"; exits 1; says 'in use by another kvd'
	stop
	run_kvd -d "$dir/no/such" --restore "$dir/first"; exits 1; says 'No such file'
	run_kvd --restore "$dir/first"; exits 2; says 'need -d DIR'
	run_kvd -d "$dir/x" --restored --moved; exits 2; says 'exclude each other'
	run_kvd -d "$dir/x" --restored --check "$dir/x"; exits 2
	[ ! -e "$dir/x" ] || complain "a directory was made"
}

# As a kill leaves it: before the first byte, in the middle, whole, and at the very end.
a_restore_that_was_interrupted_is_recognised_and_run_again() {
	local left
	for left in restoring restoring:restored.tmp restoring:restored \
		restoring:snapshot-0000000000000000; do
		rm -rf "$dir/again" && mkdir -m 700 "$dir/again"
		touch "$dir/again/restoring"
		[ "${left#*:}" = restoring ] || head -c 100 "$dir/first" >"$dir/again/${left#*:}"
		serve "$dir/again" && complain "it serves what $left is"
		[ "$code" = 1 ] || complain "exit code $code"
		grep -q 'was interrupted; run it again' "$dir/kvd.log" || complain "no word of $left"
		run_kvd --check "$dir/again"; exits 1
		run_kvd -d "$dir/again" --restore "$dir/first"; exits 0
		serve "$dir/again" || complain "it does not serve after $left"
		holds_it
		stop
	done
}

# A restore onto a disk that is full (here: a limit of file sizes) is no store, and can be run again where there is room.
a_restore_without_room_is_no_store() {
	(ulimit -f 1000; "$kvd" -d "$dir/full" --restore "$dir/before" >"$dir/out" 2>"$dir/err"); code=$?
	exits 1; says 'File too large (make room for it, and run the same again)'
	serve "$dir/full" && complain "it serves"
	run_kvd -d "$dir/full" --restore "$dir/first"; exits 0
	serve "$dir/full"; holds_it; stop
}

# --- Copies ---------------------------------------------------------------------------------------

# Whether the file system tells when a file was made.
tells_births() {
	[ "$(stat -c %W "$dir/data/lock")" -gt 0 ] 2>"$dir/ignored" && [ -e "$dir/data/birth" ]
}

a_copied_directory_is_recognised() {
	local old
	tells_births || { echo "# left out: $dir tells no time of birth" >&3; return; }
	serve "$dir/data"; old=$(store_id); holds_it; stop
	cp -a "$dir/data" "$dir/copy"
	serve "$dir/copy" && complain "a copy is served"
	grep -q 'this directory was copied.*--moved.*--restored' "$dir/kvd.log" || complain "no word"
	cp -a "$dir/data" "$dir/moved"
	run_kvd -d "$dir/copy" --restored; exits 0; is_silent
	serve "$dir/copy"; holds_it
	[ "$(store_id)" != "$old" ] || complain "it is the same store"
	grep -q '^sessions  *0$' "$dir/out" || complain "sessions were kept"
	stop
	run_kvd -d "$dir/moved" --moved; exits 0; is_silent
	serve "$dir/moved"; holds_it
	[ "$(store_id)" = "$old" ] || complain "it is another store"
	stop
	run_kvd --check "$dir/copy"; exits 0
}

# None of these is a copy.
a_renamed_directory_and_another_mount_are_no_copies() {
	mv "$dir/data" "$dir/renamed"
	serve "$dir/renamed" || complain "a renamed directory is not served"; stop
	mv "$dir/renamed" "$dir/data"
	ln -s data "$dir/by-link"
	serve "$dir/by-link" || complain "a link is not followed"; stop
	mkdir "$dir/mount"
	if [ "$(id -u)" -eq 0 ] && mount --bind "$dir/data" "$dir/mount" 2>"$dir/ignored"; then
		tmpfs=$dir/mount
		serve "$dir/mount" || complain "a bind mount is not served"; stop
		free_disk
	else
		echo "# left out: a bind mount: only root may make one" >&3
	fi
	# The files of one directory, linked into another: rsync --link-dest and the like.
	rm -f "$dir/data/birth"
	serve "$dir/data" || complain "a directory of before is not served"; stop
	tells_births || return
	change "$dir/data/birth" 20 '\x77'
	serve "$dir/data" && complain "a damaged mark is served"
	grep -q 'birth is damaged' "$dir/kvd.log" || complain "no word"
	run_kvd -d "$dir/data" --moved; exits 0
	serve "$dir/data" || complain "not served after --moved"; stop
	run_kvd -d "$dir/used" --moved; exits 1; says 'not taken for a copy'
}

# As a kill leaves it: the new state is whole, and some files of the old one are gone.
a_restored_directory_that_was_interrupted_is_finished() {
	cp -a "$dir/data" "$dir/half-way"
	run_kvd -d "$dir/half-way" --restored; exits 0
	mv "$dir/half-way/snapshot-0000000000000000" "$dir/half-way/restored"
	cp "$dir/data"/journal-* "$dir/data/manifest" "$dir/half-way"
	serve "$dir/half-way" && complain "it serves"
	run_kvd -d "$dir/half-way" --restore "$dir/first"; exits 1; says 'is not empty'
	run_kvd -d "$dir/half-way" --restored; exits 0
	serve "$dir/half-way"; holds_it; stop
	cp -a "$dir/data" "$dir/begun"
	: >"$dir/begun/restored.tmp"
	serve "$dir/begun" && complain "it serves"
	run_kvd -d "$dir/begun" --restored; exits 0
	serve "$dir/begun"; holds_it; stop
	mkdir "$dir/empty"
	run_kvd -d "$dir/empty" --restored; exits 1; says 'there is no store'
}

exec 3>&1
for name in a_backup_is_verified_and_becomes_another_store a_backup_can_go_through_a_pipe \
	half_a_backup_is_never_called_whole a_backup_that_cannot_be_written_leaves_nothing \
	a_snapshot_that_is_damaged_is_no_backup one_at_a_time_writes_a_file only_some_may damage_is_named_by_both \
	a_newer_format_is_named_by_its_number a_directory_that_is_used_is_not_restored_into \
	a_restore_that_was_interrupted_is_recognised_and_run_again \
	a_restore_without_room_is_no_store a_copied_directory_is_recognised \
	a_renamed_directory_and_another_mount_are_no_copies \
	a_restored_directory_that_was_interrupted_is_finished; do
	check "$name"
done
exit "$failed"
