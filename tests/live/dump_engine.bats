#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a dump does to its target, with victims that count it themselves; and whether
# the core is true. What happens when the worker itself fails is in harm_worker.bats.

load helpers

setup_file() {
	live_begin
	local flags='-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2'
	# shellcheck disable=SC2086 # a list of words
	{
		gcc $flags -g -o "$LIVE/d_server" "$ROOT/tests/victims/d_server.c" -lpthread
		gcc $flags -O1 -g -o "$LIVE/d_odd" "$ROOT/tests/victims/d_odd.c" -lpthread
	}
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	CORE=$OUT/core
	VICTIM=
}

teardown() {
	[[ -z $VICTIM ]] || end_victim
}

end_victim() {
	kill -KILL "$VICTIM" 2>/dev/null || :
	wait "$VICTIM" 2>/dev/null || :
}

odd() { # KIND [N]: a victim that says 'ready', its words in $SAID
	SAID=$BATS_TEST_TMPDIR/said
	: >"$SAID"
	"$LIVE/d_odd" "$@" >"$SAID" 2>&1 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 grep -q ready "$SAID" || fail "the victim is not ready: $(cat "$SAID")"
}

said() { # NAME
	awk -v name="$1" '$1 == name { print $2 }' "$SAID"
}

dump() { # OPTIONS...: of VICTIM into CORE; sets status, output, errors
	status=0
	output=$(timeout 60 "$REQTRAP" dump --json --compress none -o "$CORE" "$@" "$VICTIM" 2>"$BATS_TEST_TMPDIR/err") ||
		status=$?
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

dumped() { # METHOD [REASON]
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .method <<<"$output")" "$1" "method ($(jq -r .why_not_clone <<<"$output"))"
	[[ -z ${2:-} ]] || has "$(jq -r .why_not_clone <<<"$output")" "$2" "reason"
	[[ -s $CORE ]] || fail "there is no core"
}

state() {
	awk '/^State/ { print $2 }' "/proc/$VICTIM/status"
}

unharmed() { # [STATE]
	is "$(state)" "${1:-S}" "state"
	is "$(cat /proc/"$VICTIM"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
	is "$(children "$VICTIM")" "" "children"
}

same_memory() {
	local text
	text=$(python3 "$ROOT/tests/harm/core_check.py" "$CORE" "$VICTIM") || fail "core and process differ: $text"
	has "$text" "pages equal" "comparison"
}

frames() { # GDB ARGS: the frames of all threads
	gdb -batch -nx -ex 'thread apply all bt' "$@" 2>/dev/null </dev/null | sed -n '/^Thread /,$p' | grep '^#'
}

byte() { # ADDRESS: of the core
	gdb -batch -nx -ex "x/1xb $1" "$LIVE/d_odd" "$CORE" 2>&1 </dev/null | awk '/^0x/ { print $2 }' | tail -n 1
}

# ---- harm ----

@test "ten dumps: no EINTR, no SIGCHLD, no child, nothing wrong" {
	local counts=$BATS_TEST_TMPDIR/counts i
	truncate -s 4096 "$counts"
	"$LIVE/d_server" "$counts" epoll 8 3>&- >/dev/null </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	word() { od -An -t u8 -j $(($1 * 8)) -N 8 "$counts" | tr -d ' '; }
	is_ready() { [[ $(word 0) == 1 ]]; }
	wait_for 10 is_ready
	for ((i = 0; i < 10; i++)); do
		dump
		dumped clone
		rm "$CORE"
	done
	goes_on() { (($(word 1) > ticks + 3)); }
	local ticks
	ticks=$(word 1)
	wait_for 5 goes_on || fail "the main thread does not go on"
	is "$(word 7)" 0 "calls that returned EINTR"
	is "$(word 8)" 0 "wrong registers"
	is "$(word 9)" 0 "SIGCHLD"
	is "$(children "$VICTIM")" "" "children"
}

# A dump of something large in the background: DUMP, with the copy (COPY) in sight.
long_dump() {
	local counts=$BATS_TEST_TMPDIR/counts
	truncate -s 4096 "$counts"
	"$LIVE/d_server" "$counts" epoll 500 3>&- >/dev/null </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	is_ready() { [[ $(od -An -t u8 -N 8 "$counts" | tr -d ' ') == 1 ]]; }
	wait_for 20 is_ready
	"$REQTRAP" dump --json --compress zstd --pause-budget 2s -o "$CORE" "$VICTIM" >"$OUT.json" 2>"$OUT.err" 3>&- </dev/null &
	DUMP=$!
	remember "$DUMP"
	copied() { COPY=$(children "$VICTIM" | awk '{ print $1 }') && [[ -n $COPY ]]; }
	wait_for 10 copied || fail "there is no copy: $(cat "$OUT.err")"
}

dump_ends() { # EXIT-CODE PART-OF-TEXT
	status=0
	wait "$DUMP" || status=$?
	is "$status" "$1" "exit code ($(cat "$OUT.err"))"
	has "$(cat "$OUT.err")" "$2" "errors"
	one_line "$(cat "$OUT.err")" "errors"
	is "$(ls -A "$OUT")" "" "files"
}

@test "a worker that is killed: what it leaves behind is told, and reaped" {
	long_dump
	kill -KILL "$(children "$DUMP" | awk '{ print $1 }')"
	dump_ends 3 "the dump worker was killed (signal 9)"
	has "$(cat "$OUT.err")" "process $VICTIM keeps a dead child, process $COPY, until it is reaped" "errors"
	reaped() { [[ ! -e /proc/$COPY ]]; }
	wait_for 5 reaped || fail "the copy stays"
	is "$(children "$VICTIM")" "" "children"
}

@test "a process that ends while its copy is written takes its ports with it" {
	long_dump
	kill -KILL "$VICTIM"
	wait "$VICTIM" 2>/dev/null || :
	wait_for 1 gone "$COPY" || fail "the copy lives on"
	dump_ends 3 "ended while its core was written"
}

@test "a copy that is killed for want of memory costs the core only" {
	long_dump
	goes_first() { [[ $(cat "/proc/$COPY/oom_score_adj") == 1000 ]]; }
	wait_for 5 goes_first || fail "the copy does not go first: $(cat "/proc/$COPY/oom_score_adj")"
	kill -KILL "$COPY"
	dump_ends 3 "was killed while it was written"
	unharmed
}

# ---- truth ----

@test "the core holds what the process holds, from a clone and from a stop" {
	odd threads 30
	dump
	dumped clone
	unharmed
	same_memory
	is "$(jq .threads <<<"$output")" 31 "threads"
	rm "$CORE"
	dump --snapshot stop
	dumped stop
	unharmed
	same_memory
}

@test "gdb sees the same stacks in the core and in the process" {
	odd threads 10
	dump
	dumped clone
	frames "$LIVE/d_odd" "$CORE" >"$OUT/core.bt"
	frames -p "$VICTIM" >"$OUT/live.bt"
	[[ $(wc -l <"$OUT/live.bt") -gt 20 ]] || fail "gdb does not see the process"
	diff "$OUT/core.bt" "$OUT/live.bt" || fail "stacks differ"
}

@test "gdb sees the same stacks in the core of a threaded Python" {
	cat >"$BATS_TEST_TMPDIR/sleepers.py" <<-'PY'
		import threading
		def deeper(n):
		    if n: deeper(n - 1)
		    else: threading.Event().wait()
		for i in range(4): threading.Thread(target=deeper, args=(3 * i,), daemon=True).start()
		print("ready", flush=True)
		threading.Event().wait()
	PY
	SAID=$BATS_TEST_TMPDIR/said
	: >"$SAID"
	/usr/bin/python3 "$BATS_TEST_TMPDIR/sleepers.py" >"$SAID" 2>&1 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 grep -q ready "$SAID"
	asleep() { [[ $(cat /proc/"$VICTIM"/task/*/stat | sed 's/.*) //' | cut -c1 | sort -u) == S ]]; }
	wait_for 5 asleep
	dump
	dumped clone
	unharmed
	same_memory
	frames /usr/bin/python3 "$CORE" >"$OUT/core.bt"
	frames -p "$VICTIM" >"$OUT/live.bt"
	[[ $(wc -l <"$OUT/live.bt") -gt 20 ]] || fail "gdb does not see the process"
	diff "$OUT/core.bt" "$OUT/live.bt" || fail "stacks differ"
}

@test "debuggers and elfutils read the core without a complaint" {
	odd threads 3
	dump
	dumped clone
	local text
	text=$(gdb -batch -nx -ex 'info threads' -ex 'info auxv' -ex 'info proc mappings' "$LIVE/d_odd" "$CORE" 2>&1 </dev/null)
	lacks "$text" "too small" "gdb"
	lacks "$text" "not a core" "gdb"
	lacks "$text" "warning: Section" "gdb"
	has "$text" "AT_ENTRY" "gdb"
	has "$text" "$LIVE/d_odd" "gdb"
	has "$(eu-readelf -n "$CORE" 2>&1)" "REQTRAP" "our own note"
	is "$(eu-readelf -hln "$CORE" 2>&1 >/dev/null)" "" "complaints of eu-readelf"
	is "$(eu-stack --core="$CORE" 2>/dev/null | grep -c '^TID')" 4 "threads of eu-stack"
}

@test "memory that a clone does not copy is in the core; DONTDUMP is not" {
	odd ranges
	dump
	dumped clone
	unharmed
	same_memory
	local row
	for row in private:0x11 shared:0x22 dontfork:0x33 wipeonfork:0x44 none:0x66 big:0x77; do
		is "$(byte "0x$(said "${row%%:*}")")" "${row##*:}" "${row%%:*}"
	done
	is "$(jq -r '[.omitted[] | select(.why | test("DONTDUMP"))] | length' <<<"$output")" 1 "DONTDUMP listed"
	has "$(jq -r '.omitted[].why' <<<"$output")" "read from the live process later" "the big shared range"
}

@test "the same in a large process, where flags are read after the stop" {
	odd ranges 200
	dump --pause-budget 1s
	dumped clone
	unharmed
	same_memory
	local row
	for row in private:0x11 shared:0x22 dontfork:0x33 wipeonfork:0x44 none:0x66 big:0x77; do
		is "$(byte "0x$(said "${row%%:*}")")" "${row##*:}" "${row%%:*}"
	done
	is "$(byte "0x$(said dontdump)")" 0x00 "DONTDUMP"
	is "$(jq -r '[.omitted[] | select(.why | test("DONTFORK"))] | length' <<<"$output")" 2 "what is read later is told"
}

@test "coredump_filter is honoured, and told" {
	odd ranges
	echo 0x30 >"/proc/$VICTIM/coredump_filter"
	dump
	dumped clone
	has "$(jq -r '.omitted[].why' <<<"$output")" "coredump_filter" "omitted"
	[[ $(stat -c %s "$CORE") -lt 1000000 ]] || fail "anonymous memory is in the core"
}

@test "terabytes of nothing are no work, plain and compressed" {
	odd sparse 8
	dump
	dumped clone
	is "$(byte "0x$(said sparse)")" 0x11 "first page"
	is "$(byte "0x$(said sparse)+(4l<<40)")" 0x22 "page in the middle"
	is "$(byte "0x$(said sparse)+(8l<<40)-1")" 0x33 "last page"
	rm "$CORE"
	dump --compress zstd
	zstd -qt "$(jq -r .path <<<"$output")"
}

@test "as many mappings as there can be" {
	odd maps 32000
	dump
	dumped clone
	unharmed
	has "$(eu-readelf -h "$CORE")" "CORE (Core file)" "core"
	same_memory
}

# ---- refusals and odd targets ----

@test "a process stopped by SIGSTOP is dumped and stays stopped" {
	odd threads 3
	kill -STOP "$VICTIM"
	stopped() { [[ $(state) == T ]]; }
	wait_for 5 stopped
	dump
	dumped stop "stopped by a signal"
	unharmed T
	kill -CONT "$VICTIM"
	runs() { [[ $(state) == S ]]; }
	wait_for 5 runs
}

@test "a thread in vfork: no injection, the others go on at once" {
	odd vfork 3
	dump
	dumped stop "could not be stopped"
	is "$(state)" S "state"
	[[ $(jq '.pause_ms < 2000' <<<"$output") == true ]] || fail "paused: $output" # vfork's child: 3 s
	local child
	child=$(children "$VICTIM")
	unvforked() { gone "$child"; }
	wait_for 6 unvforked || fail "vfork's child is stuck"
	is "$(cat /proc/"$VICTIM"/task/*/stat | sed 's/.*) //' | cut -c1 | sort -u)" S "states"
	is "$(cat /proc/"$VICTIM"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
}

@test "a seccomp filter: no injection, and --snapshot clone says why" {
	odd seccomp
	dump
	dumped stop "seccomp filter"
	unharmed
	rm "$CORE"
	dump --snapshot clone
	is "$status" 3 "exit code"
	has "$errors" "seccomp filter" "errors"
	[[ ! -e $CORE ]] || fail "a core is left"
	unharmed
}

@test "no process may be made: the clone fails harmlessly" {
	odd nproc
	dump
	dumped stop "the clone failed"
	unharmed
}

@test "a main thread on another stack, and one deep down its own" {
	odd coroutine
	dump
	dumped clone
	unharmed
	same_memory
	rm "$CORE"
	dump
	dumped clone
	unharmed
	end_victim
	rm "$CORE"
	odd deep 5000
	dump
	dumped stop "too little room"
	unharmed
}

@test "a traced process: the tracer is named, nothing is done" {
	need strace
	odd threads 2
	strace -f -qq -o /dev/null -p "$VICTIM" 3>&- &
	local tracer=$!
	remember "$tracer"
	traced() { grep -q "TracerPid:.$tracer" "/proc/$VICTIM/status"; }
	wait_for 5 traced || skip "strace does not attach"
	dump
	is "$status" 3 "exit code"
	has "$errors" "traced already, by process $tracer ('strace')" "errors"
	end_process "$tracer"
	untraced() { ! traced; }
	wait_for 5 untraced
	unharmed
}

@test "over the pause budget: refused before any stop" {
	odd ranges
	dump --pause-budget 100us
	is "$status" 3 "exit code"
	has "$errors" "more than the" "errors"
	one_line "$errors" "errors"
	unharmed
	[[ -z $(ls -A "$OUT") ]] || fail "files are left"
}

@test "a thousand threads" {
	odd threads 1000
	dump
	dumped clone
	unharmed
	is "$(jq .threads <<<"$output")" 1001 "threads"
	is "$(eu-readelf -n "$CORE" | grep -c ' PRSTATUS')" 1001 "threads in the core"
}

@test "threads and processes that come and go while it is dumped" {
	local kind i
	for kind in 0 1; do
		odd storm "$kind"
		for ((i = 0; i < 8; i++)); do
			dump
			dumped clone
			rm "$CORE"
		done
		is "$(state)" S "state"
		settled() { [[ $(cat /proc/"$VICTIM"/task/*/status 2>/dev/null | awk '/^TracerPid/ && $2 != 0' | wc -l) == 0 ]]; }
		wait_for 2 settled || fail "a thread is left traced"
		stopped_child() { [[ $(children "$VICTIM" | wc -l) -gt 6 ]]; }
		! stopped_child || fail "children pile up: $(children "$VICTIM")"
		end_victim
	done
	VICTIM=
}
