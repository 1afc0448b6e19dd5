#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Our cores beside gcore's of the same stopped process: each page, register and file, and
# what every debugger makes of all threads: of the process, our full and mini core, gcore's.

load helpers
load journal

setup_file() {
	need_watch
	need gdb gcore eu-stack zstd jq
	live_begin
	local flags='-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -O1' name
	for name in d_server d_odd d_mini; do
		# shellcheck disable=SC2086 # a list of words
		gcc $flags -o "$LIVE/$name" "$ROOT/tests/victims/$name.c" -lpthread
	done
	cat >"$LIVE/sleepers.py" <<-'PY'
		import threading
		def deeper(n):
		    if n: deeper(n - 1)
		    else: threading.Event().wait()
		for i in range(4): threading.Thread(target=deeper, args=(3 * i,), daemon=True).start()
		print("ready", flush=True)
		threading.Event().wait()
	PY
}

teardown_file() {
	live_end
}

setup() {
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
	VICTIM=
}

teardown() {
	[[ -z $VICTIM ]] || end_victim
}

end_victim() {
	kill -KILL "$VICTIM" 2>/dev/null || :
	wait "$VICTIM" 2>/dev/null || :
}

victim() { # COMMAND...: that says 'ready'
	local said=$BATS_TEST_TMPDIR/said
	: >"$said"
	"$@" >"$said" 2>&1 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 20 grep -q ready "$said" || fail "the victim is not ready: $(cat "$said")"
}

states() {
	cat /proc/"$VICTIM"/task/*/stat | sed 's/.*) //' | cut -c1 | sort -u
}

stopped() {
	[[ $(states) == T ]]
}

asleep() {
	[[ $(states) == S ]]
}

dump() { # FILE OPTIONS...
	timeout 60 "$REQTRAP" dump --json --no-journal --pause-budget 10s -o "$OUT/$1" "${@:2}" "$VICTIM" >"$1.json" 2>err ||
		fail "dump $*: $(cat err)"
	stopped || [[ $1 == quiet ]] || fail "the dump lets a stopped process go"
}

compare() { # VERB FILE...: by core_equal.py; its figures are shown
	local text
	text=$(python3 "$LIVE_TESTS/core_equal.py" "$@") || fail "$2, $1: $text"
	echo "# $BATS_TEST_DESCRIPTION: $2: $text" >&3
}

stacks_gdb() { # live|CORE
	local of=(-p "$VICTIM")
	[[ $1 == live ]] || of=("$EXE" "$1")
	timeout 120 gdb -batch -nx -ex 'thread apply all bt' "${of[@]}"
}

stacks_eu-stack() {
	local of=(-p "$VICTIM")
	[[ $1 == live ]] || of=(--core="$1")
	timeout 120 eu-stack "${of[@]}"
}

stacks_lldb() {
	local of=(-p "$VICTIM")
	[[ $1 == live ]] || of=("$EXE" -c "$1")
	timeout 120 lldb -x --batch -o 'thread list' -o 'thread backtrace all' "${of[@]}"
}

# Each thread's frames with addresses, arguments and lines: it is one process, so nothing
# but the order of the threads may differ.
same_stacks() { # TOOL THREADS
	local of
	for of in live full mini gcore; do
		"stacks_$1" "$of" 2>err </dev/null | python3 "$LIVE_TESTS/core_equal.py" stacks "$1" >"$1.$of"
		is "$(grep -c '^thread ' "$1.$of")" "$2" "threads of $1, $of ($(head -n 3 err))"
		diff "$1.live" "$1.$of" >diff.txt || fail "$1: the process and its core '$of' differ: $(head -n 20 diff.txt)"
	done
	wait_for 5 stopped || fail "$1 let the process go"
	echo "# $BATS_TEST_DESCRIPTION: $1: $2 threads, $(grep -cv '^thread ' "$1.live") frames: process, full, mini and gcore's the same" >&3
}

# What elfutils say of the core they say of gcore's, too.
elf_check() {
	is "$(eu-readelf -hln full 2>&1 >/dev/null)" "" "complaints of eu-readelf"
	local kind
	for kind in full gcore; do
		eu-elflint --gnu-ld "$kind" 2>&1 | sed "s/'\?[0-9][0-9]*'\?/N/g" | sort -u >"lint.$kind" || :
	done
	is "$(comm -23 lint.full lint.gcore)" "" "complaints of eu-elflint that it has not of gcore's core"
	local n
	n=$(jq '.omitted | length' full.json)
	for kind in full zstd mini; do
		"$REQTRAP" verify "$kind" >verified 2>&1 || ((n > 0)) || [[ $kind == mini ]] || fail "verify: $(cat verified)"
		lacks "$(cat verified)" "damaged" "verify, $kind"
	done
}

# VICTIM, wherever its threads are when it is stopped; if they wait, from a clone as well.
equal() { # [quiet]
	local threads
	EXE=$(readlink "/proc/$VICTIM/exe")
	if [[ ${1:-} == quiet ]]; then
		wait_for 5 asleep || fail "the victim does not sleep"
		dump quiet --full --compress none
		is "$(jq -r .method quiet.json)" clone "method ($(jq -r .why_not_clone quiet.json))"
		asleep || fail "the victim sleeps no more"
	fi
	kill -STOP "$VICTIM"
	wait_for 5 stopped || fail "the victim does not stop"
	dump full --full --compress none
	is "$(jq -r .method full.json)" stop "method"
	is "$(jq -r .complete full.json)" true "complete"
	dump zstd --full --compress zstd
	[[ -e zstd ]] || mv "$(jq -r .path zstd.json)" zstd
	zstd -qd --no-progress -o unpacked <zstd
	dump mini --mini --compress none
	gcore -o theirs "$VICTIM" >gcore.log 2>&1 </dev/null || fail "gcore: $(tail -n 3 gcore.log)"
	mv "theirs.$VICTIM" gcore
	wait_for 5 stopped || fail "gcore let the process go"
	threads=$(find "/proc/$VICTIM/task" -mindepth 1 -maxdepth 1 | wc -l)

	compare pages full gcore "$VICTIM" full.json
	compare pages unpacked gcore "$VICTIM" zstd.json
	compare notes full gcore
	compare notes mini gcore
	if [[ ${1:-} == quiet ]]; then
		compare pages quiet gcore "$VICTIM" quiet.json earlier
		compare notes quiet gcore
	fi
	elf_check
	same_stacks gdb "$threads"
	same_stacks eu-stack "$threads"
	if command -v lldb >/dev/null; then
		same_stacks lldb "$threads"
	else
		echo "# lldb is not installed: not compared ('./run bench debuggers' installs it)" >&3
	fi
}

@test "threads in their waits" {
	victim "$LIVE/d_odd" threads 20
	equal quiet
}

@test "a server that works, 16 MiB" {
	local counts=$BATS_TEST_TMPDIR/counts
	truncate -s 4096 "$counts"
	is_ready() { [[ $(od -An -t u8 -N 8 "$counts" | tr -d ' ') == 1 ]]; }
	"$LIVE/d_server" "$counts" epoll 16 3>&- >/dev/null </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 is_ready
	equal
}

@test "vector registers in use" {
	local counts=$BATS_TEST_TMPDIR/counts
	truncate -s 4096 "$counts"
	is_ready() { [[ $(od -An -t u8 -N 8 "$counts" | tr -d ' ') == 1 ]]; }
	"$LIVE/d_server" "$counts" spin 1 3>&- >/dev/null </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 is_ready
	equal
}

@test "memory that a clone does not copy" {
	victim "$LIVE/d_odd" ranges
	equal
}

@test "a main thread on another stack" {
	victim "$LIVE/d_odd" coroutine
	equal quiet
}

@test "a seccomp filter" {
	victim "$LIVE/d_odd" seccomp
	equal
}

@test "stacks of every odd kind" {
	victim "$LIVE/d_mini" odd 4
	equal
}

@test "Python with threads" {
	victim /usr/bin/python3 "$LIVE/sleepers.py"
	equal quiet
}

@test "nginx's worker" {
	need nginx
	start_nginx 1
	VICTIM=$(children "$NGINX")
	equal
}

@test "php-fpm's worker" {
	need php-fpm8.2
	start_fpm
	VICTIM=$(children "$FPM" | tail -n 1)
	equal
}

@test "linked without a dynamic linker: glibc" {
	gcc -std=gnu11 -D_GNU_SOURCE -g -O1 -static -o "$LIVE/d_static" "$ROOT/tests/victims/d_mini.c" -lpthread
	victim "$LIVE/d_static" threads 5
	equal quiet
}

@test "linked without a dynamic linker: musl" {
	need musl-gcc
	musl-gcc -std=gnu11 -D_GNU_SOURCE -g -O1 -static -o "$LIVE/d_musl" "$ROOT/tests/victims/d_mini.c" -lpthread
	victim "$LIVE/d_musl" threads 5
	equal quiet
}

@test "coredumpctl debug" {
	journal_needs
	local core kind
	journal_begin
	REQTRAP=$LIVE/reqtrap
	victim "$LIVE/d_odd" threads 6
	EXE=$(readlink "/proc/$VICTIM/exe")
	kill -STOP "$VICTIM"
	wait_for 5 stopped
	stacks_gdb live 2>/dev/null </dev/null | python3 "$LIVE_TESTS/core_equal.py" stacks gdb >gdb.live
	is "$(grep -c '^thread ' gdb.live)" 7 "threads"
	for kind in full mini; do
		"$REQTRAP" dump --json --$kind --pause-budget 10s "$VICTIM" $kind.core.zst >json
		core=$OUT/$kind.core.zst
		entry "$core" >/dev/null
		systemd coredumpctl debug --debugger=gdb --debugger-arguments="-batch -nx -ex 'thread apply all bt'" \
			COREDUMP_FILENAME="$core" 2>err </dev/null | python3 "$LIVE_TESTS/core_equal.py" stacks gdb >through
		diff gdb.live through >diff.txt || fail "$kind: $(head -n 20 diff.txt) $(tail -n 3 err)"
		echo "# coredumpctl debug, $kind: 7 threads, $(grep -cv '^thread ' through) frames as of the process" >&3
	done
}
