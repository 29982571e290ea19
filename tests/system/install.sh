#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# install.sh - what `make install` puts there is whole: programs are built from it, and from nothing
# else of this tree, and work; `make uninstall` takes it all away.
#
# Prints "ok NAME", "not ok NAME" or "skip NAME: WHY" for each test, and exits 1 if one failed.
# shellcheck disable=SC2317 # functions are called through test_that
# shellcheck disable=SC2086 # CC may be several words: "ccache cc"
if [ -n "${SANITIZE-}" ]; then
	echo "skip install: a sanitized library needs its sanitizer in the program"
	echo "ok nothing to install"
	exit 0
fi

# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
CC=${CC:-cc}
here=$PWD/tests/system
root=$dir/root
usr=$root/usr

# What the machine's libraries need; what kv needs comes from its own kv.pc.
tirpc_cflags=$(pkg-config --cflags libtirpc)
tirpc_libs=$(pkg-config --libs libtirpc)
kv_pc() {
	PKG_CONFIG_PATH=$usr/lib/pkgconfig pkg-config --define-variable=prefix="$usr" "$@" kv
}

install_all() {
	make -s install BUILD="$BUILD" DESTDIR="$root" PREFIX=/usr
	for file in sbin/kvd bin/kvctl lib/libkv.so.0 lib/libkv-tls.so.0 lib/libkv.so lib/libkv.a lib/pkgconfig/kv.pc \
		include/kv/kv.h include/kv/lock.h include/rpcsvc/kv.x include/rpcsvc/kv.h \
		share/man/man1/kvctl.1 share/man/man8/kvd.8 share/man/man3/kv.3; do
		[ -e "$usr/$file" ] || { echo "no $file" && return 1; }
	done
}
test_that everything_is_installed install_all

# man kv_get shows kv(3): each function of the library has a page, whose target is there.
functions_have_pages() {
	local name page
	for name in $(nm -D --defined-only "$usr/lib/libkv.so.0" | sed -n 's/.* T \(kv_[a-z_]*\)$/\1/p'); do
		page=$(sed -n 's/^\.so //p' "$usr/share/man/man3/$name.3") || return
		grep -q "^\.Fn $name\>\|^\.Fo $name\$" "$usr/share/man/$page" ||
			{ echo "$name is not in $page" && return 1; }
	done
}
test_that each_function_has_a_page functions_have_pages

# The unit names the installed kvd, with options that it has, and is one that systemd reads.
unit_starts_kvd() {
	local unit=$usr/lib/systemd/system/kvd.service line options
	grep -q '^Type=notify$' "$unit" || { echo "no Type=notify" && return 1; }
	! grep '@[A-Z]*@' "$unit" || return 1
	line=$(sed -n 's/^ExecStart=//p' "$unit")
	[ "${line%% *}" = /usr/sbin/kvd ] && [ -x "$root${line%% *}" ] || { echo "$line" && return 1; }
	# Its options are looked at before the last one, which ends it.
	options=${line#* }
	options=${options/'$KVD_OPTIONS'/$(sed -n 's/^Environment="KVD_OPTIONS=\(.*\)"$/\1/p' "$unit")}
	# shellcheck disable=SC2086
	"$usr/sbin/kvd" $options --version || return 1
	command -v systemd-analyze || return 0
	# The path of the installed one, which is not at /usr here, and no manual page to look for.
	sed -e "s|^ExecStart=/usr|ExecStart=$usr|" -e '/^Documentation=/d' "$unit" > "$dir/kvd.service"
	systemd-analyze verify --man=no "$dir/kvd.service" 2>&1 | grep -F kvd.service | tee "$dir/verdict"
	[ ! -s "$dir/verdict" ]
}
test_that the_unit_starts_the_installed_kvd unit_starts_kvd

# --- A server from what was installed ------------------------------------------------------------

# The wrapper is several words on purpose.
# shellcheck disable=SC2086
start kvd ${KVD_WRAPPER-} "$usr/sbin/kvd" -n -l tcp:127.0.0.1 -l "local:$dir/s" || exit 1
port=${ready#*tcp:127.0.0.1:}
port=${port%% *}
export KV_SERVER=local:$dir/s

kvctl_works() {
	[ "$("$usr/bin/kvctl" put installed yes)" = 1 ] && [ "$("$usr/bin/kvctl" get installed)" = yes ]
}
test_that the_installed_kvctl_works kvctl_works

# --- Programs built from what was installed --------------------------------------------------------

# Nothing but kv.x, rpcgen and libtirpc.
from_kv_x() (
	mkdir "$dir/x" && cd "$dir/x" || exit 1
	cp "$usr/include/rpcsvc/kv.x" . &&
		rpcgen -C -h -o kv.h kv.x &&
		rpcgen -C -c -o kv_xdr.c kv.x &&
		rpcgen -C -l -o kv_clnt.c kv.x || exit 1
	# What rpcgen makes is not free of warnings.
	# shellcheck disable=SC2086
	$CC -w -I. $tirpc_cflags -o client "$here/install_rpcgen.c" kv_xdr.c kv_clnt.c \
		$tirpc_libs && [ "$(./client "$port")" = "stubs 1" ]
)
test_that a_client_is_built_from_kv_x_alone from_kv_x

stubs_shared() {
	# shellcheck disable=SC2086
	$CC -I"$usr/include" $tirpc_cflags -o "$dir/shared" "$here/install_stubs.c" \
		-L"$usr/lib" -lkv $tirpc_libs &&
		[ "$(LD_LIBRARY_PATH=$usr/lib "$dir/shared" "$port")" = "alone 1" ]
}
test_that a_client_calls_the_stubs_of_the_shared_library stubs_shared

stubs_static() {
	# shellcheck disable=SC2086
	$CC -I"$usr/include" $tirpc_cflags -o "$dir/static" "$here/install_stubs.c" \
		"$usr/lib/libkv.a" $tirpc_libs -pthread &&
		[ "$("$dir/static" "$port")" = "alone 1" ]
}
test_that a_client_calls_the_stubs_of_the_static_library stubs_static

example_shared() {
	# shellcheck disable=SC2046
	$CC $(kv_pc --cflags) -o "$dir/hello" examples/hello.c $(kv_pc --libs) &&
		LD_LIBRARY_PATH=$usr/lib "$dir/hello" | grep -q '^hello, world (version'
}
test_that the_example_is_built_with_pkg_config example_shared

example_static() {
	local libs
	# -lkv alone becomes the archive: the machine has no static libtirpc.
	libs=$(kv_pc --static --libs | sed "s|-lkv|$usr/lib/libkv.a|")
	# shellcheck disable=SC2046,SC2086
	$CC $(kv_pc --cflags) -o "$dir/hello_static" examples/hello.c $libs &&
		! ldd "$dir/hello_static" | grep -q libkv &&
		"$dir/hello_static" | grep -q '^hello, world (version'
}
test_that the_example_is_built_with_the_static_library example_static

all_examples() {
	local source
	for source in examples/*.c; do
		# shellcheck disable=SC2046
		$CC -D_GNU_SOURCE $(kv_pc --cflags) -o "$dir/example" "$source" $(kv_pc --libs) -pthread ||
			return
	done
}
test_that each_example_is_built_from_what_is_installed all_examples

# --- What the files promise -------------------------------------------------------------------------

headers_alone() {
	local header
	for header in "$usr"/include/kv/*.h; do
		printf '#include <kv/%s>\n' "${header##*/}" |
			$CC -std=c99 -pedantic-errors -Wall -Wextra -Werror -I"$usr/include" -x c \
				-fsyntax-only - || return 1
	done
}
test_that each_public_header_stands_alone_in_c99 headers_alone

# Names that are not ours: none may be seen from outside.
foreign() {
	grep -E '^(kv_|kvproc_|xdr_kv1_)' -v
}
names_shared() {
	objdump -p "$usr/lib/libkv.so" | grep -q 'SONAME *libkv.so.0$' || return 1
	! nm -D --defined-only -f posix "$usr/lib/libkv.so" | cut -d ' ' -f 1 | foreign
}
test_that the_shared_library_exports_its_own_names_only names_shared

names_static() {
	! nm -g --defined-only -f posix "$usr/lib/libkv.a" 2> /dev/null | grep -v ':$' |
		cut -d ' ' -f 1 | foreign | grep .
}
test_that the_static_library_exports_its_own_names_only names_static

# No path of the machine that built it.
no_build_paths() {
	! grep -r -F -e "$dir" -e "$PWD/" "$usr/include" "$usr/lib/pkgconfig" "$usr/share/man"
}
test_that no_installed_text_names_the_place_of_its_build no_build_paths

uninstall_all() {
	make -s uninstall BUILD="$BUILD" DESTDIR="$root" PREFIX=/usr &&
		! find "$root" ! -type d | grep . &&
		! find "$root" -type d | grep -E '/(kv|rpcsvc|pkgconfig|systemd|man[0-9])$'
}
test_that uninstall_leaves_no_file_and_no_folder_of_ours uninstall_all

# As packagers do: a DESTDIR with a blank, libraries in a folder for one architecture.
elsewhere() {
	local place="$dir/a place" libs=/usr/lib/arch
	make -s install BUILD="$BUILD" DESTDIR="$place" PREFIX=/usr LIBDIR=$libs &&
		[ -e "$place$libs/libkv.so.0" ] && [ -L "$place$libs/libkv.so" ] && [ ! -e "$dir/a" ] &&
		grep -qx "libdir=.{prefix}/lib/arch" "$place$libs/pkgconfig/kv.pc" &&
		make -s uninstall BUILD="$BUILD" DESTDIR="$place" PREFIX=/usr LIBDIR=$libs &&
		! find "$place" ! -type d | grep .
}
test_that libraries_and_all_else_go_where_a_packager_says elsewhere

exit $failed
