#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Mini cores: every backtrace that a full core gives, small, soon; and --everything.

load helpers

setup_file() {
	live_begin
	local flags='-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -O1 -fno-omit-frame-pointer'
	# shellcheck disable=SC2086 # a list of words
	{
		gcc $flags -o "$LIVE/d_mini" "$ROOT/tests/victims/d_mini.c" -lpthread
		gcc $flags -static -o "$LIVE/d_mini_static" "$ROOT/tests/victims/d_mini.c" -lpthread
	}
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
	VICTIM=
}

teardown() {
	[[ -z $VICTIM ]] || end_victim
	watch_kill
}

end_victim() {
	kill -KILL "$VICTIM" 2>/dev/null || :
	wait "$VICTIM" 2>/dev/null || :
}

victim() { # COMMAND...: that says 'ready'; its words in $SAID
	SAID=$BATS_TEST_TMPDIR/said
	: >"$SAID"
	"$@" >"$SAID" 2>&1 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 20 grep -q ready "$SAID" || fail "the victim is not ready: $(cat "$SAID")"
	EXE=/proc/$VICTIM/exe
}

said() { # NAME
	awk -v name="$1" '$1 == name { print "0x" $2 }' "$SAID"
}

dump() { # FILE OPTIONS...: of VICTIM; sets output
	local file=$1
	shift
	output=$(timeout 60 "$REQTRAP" dump --json --compress none -o "$OUT/$file" "$@" "$VICTIM" 2>"$BATS_TEST_TMPDIR/err") ||
		fail "dump $*: $(cat "$BATS_TEST_TMPDIR/err")"
	[[ -s $OUT/$file ]] || fail "there is no core"
}

of() { # JQ-FILTER: of the last dump
	jq -r "$1" <<<"$output"
}

unharmed() { # [STATE]
	is "$(awk '/^State/ { print $2 }' "/proc/$VICTIM/status")" "${1:-S}" "state"
	is "$(cat /proc/"$VICTIM"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
	is "$(children "$VICTIM")" "" "children"
}

frames() { # FILE: of all threads, by gdb
	gdb -batch -nx -ex 'thread apply all bt' "$EXE" "$OUT/$1" 2>/dev/null </dev/null | sed -n '/^Thread /,$p'
}

gdb_says() { # FILE COMMAND...
	local file=$1 command args=()
	shift
	for command; do
		args+=(-ex "$command")
	done
	gdb -batch -nx "${args[@]}" "$EXE" "$OUT/$file" 2>&1 </dev/null
}

byte() { # FILE ADDRESS
	gdb_says "$1" "x/1xb $2" | awk '/^0x/ { print $NF }' | tail -n 1
}

# Both of the same stopped process: each frame with its arguments and lines.
both() {
	kill -STOP "$VICTIM"
	stopped() { [[ $(awk '/^State/ { print $2 }' "/proc/$VICTIM/status") == T ]]; }
	wait_for 5 stopped
	dump full --full --pause-budget 10s
	dump mini --mini
	kill -CONT "$VICTIM"
	frames full >"$OUT/full.txt"
	frames mini >"$OUT/mini.txt"
	[[ -s $OUT/full.txt ]] || fail "gdb finds no threads in the full core"
	diff "$OUT/full.txt" "$OUT/mini.txt" >"$OUT/diff" || fail "backtraces differ: $(head -n 20 "$OUT/diff")"
	running() { ! stopped; }
	wait_for 5 running
	unharmed
}

@test "a hundred threads: the backtraces of a full core, variables, 5 MiB" {
	victim "$LIVE/d_mini" threads 100
	both
	is "$(of '.kind + " " + .method')" "mini stop" "kind and method"
	is "$(of .threads)" 101 "threads"
	is "$(of .complete)" true "complete"
	(($(grep -c 'go_deeper' "$OUT/mini.txt") == 50 * 41 + 50 * 3)) || fail "frames are missing"
	local size text
	size=$(stat -c %s "$OUT/mini")
	((size <= 5 << 20)) || fail "$size bytes"
	# what the threads' own structures say, the one behind a pointer in them, and errno
	text=$(gdb_says mini 'thread apply all -q -s frame apply all -q -s p *local' \
		'thread apply all -q -s frame apply all -q -s p local->next->number' \
		'thread apply all -q -s p thread_local_number' 'thread apply all -q -s p (int)errno')
	is "$(grep -oE 'number = 1[0-9]*, text = "thread [0-9]+' <<<"$text" | sort -u | wc -l)" 100 "structures"
	is "$(grep -oE '^\$[0-9]+ = -[0-9]+$' <<<"$text" | sed 's/.* //' | sort -u | wc -l)" 99 "those behind them"
	is "$(grep -cE '^\$[0-9]+ = 10[0-9][0-9]$' <<<"$text")" 100 "variables of the threads"
	is "$(grep -cE '^\$[0-9]+ = (42|4)$' <<<"$text")" 100 "errno"
	# while it runs: the pause
	rm "$OUT/mini"
	dump mini --mini
	echo "# $size bytes, paused $(of .pause_ms) ms" >&3
	(($(of '.pause_ms | floor') < 1000)) || fail "paused $(of .pause_ms) ms"
	(($(of .peak_bytes) <= 16 << 20)) || fail "$(of .peak_bytes) bytes of memory"
	unharmed
}

@test "elfutils and lldb read it" {
	victim "$LIVE/d_mini" threads 10
	both
	local name
	for name in full mini; do
		eu-stack --core="$OUT/$name" -e "$LIVE/d_mini" >"$OUT/$name.eu" 2>&1 || :
		eu-readelf -n "$OUT/$name" 2>/dev/null | grep -cE 'PRSTATUS|X86_XSTATE|AUXV|FILE' >"$OUT/$name.notes"
	done
	is "$(grep -c '^TID' "$OUT/mini.eu")" 11 "threads of eu-stack"
	(($(grep -c go_deeper "$OUT/mini.eu") == 5 * 41 + 5 * 3)) || fail "eu-stack: $(head -n 20 "$OUT/mini.eu")"
	is "$(diff "$OUT/full.eu" "$OUT/mini.eu")" "" "eu-stack"
	is "$(cat "$OUT/mini.notes")" "$(cat "$OUT/full.notes")" "notes"
	[[ -x $(command -v lldb) ]] || skip "no lldb"
	lldb -b -c "$OUT/mini" "$LIVE/d_mini" -o 'bt all' </dev/null >"$OUT/lldb" 2>&1
	(($(grep -c 'go_deeper' "$OUT/lldb") >= 5 * 41 + 5 * 3)) || fail "lldb: $(head -n 30 "$OUT/lldb")"
}

@test "a static program" {
	victim "$LIVE/d_mini_static" threads 10
	both
	(($(grep -c go_deeper "$OUT/mini.txt") == 5 * 41 + 5 * 3)) || fail "frames are missing"
}

@test "a Python server with threads" {
	cat >"$OUT/server.py" <<-'END'
		import threading
		there = threading.Barrier(9)
		def wait(n):
		    if n: return wait(n - 1)
		    there.wait()
		    threading.Event().wait()
		for i in range(8):
		    threading.Thread(target=wait, args=(i * 3,), daemon=True).start()
		there.wait()
		print("ready", flush=True)
		threading.Event().wait()
	END
	victim /usr/bin/python3 "$OUT/server.py"
	both
	has "$(cat "$OUT/mini.txt")" "Py" "frames"
	is "$(grep -c '^Thread' "$OUT/mini.txt")" 9 "threads"
}

@test "an alternate signal stack, no stack at all, memory that must not be dumped" {
	victim "$LIVE/d_mini" odd
	both
	has "$(cat "$OUT/mini.txt")" "on_alternate_stack" "frames"
	has "$(of '.omitted[].why')" "its stack pointer points nowhere" "omitted"
	is "$(byte mini "$(said plain)")" 0x22 "shared memory that a stack points to"
	is "$(byte mini "$(said secret)")" 0x00 "MADV_DONTDUMP"
	rm "$OUT/mini"
	dump mini --mini --everything
	is "$(byte mini "$(said secret)")" 0x55 "MADV_DONTDUMP, with --everything"
}

@test "the same where flags of mappings are read after the stop" {
	victim "$LIVE/d_mini" odd 200
	dump mini --mini
	unharmed
	is "$(byte mini "$(said plain)")" 0x22 "shared memory that a stack points to"
	is "$(byte mini "$(said secret)")" 0x00 "MADV_DONTDUMP"
	has "$(of '.omitted[].why')" "MADV_DONTDUMP" "omitted"
}

@test "more references than there is room for: counted, told" {
	victim "$LIVE/d_mini" crowd 20
	dump mini --mini
	unharmed
	local size left
	size=$(stat -c %s "$OUT/mini")
	((size <= 5 << 20)) || fail "$size bytes"
	left=$(of '.omitted[].why' | awk '/pages that stacks point to/ { sum += $1 } END { print sum }')
	# 20 x 2048 pages are pointed to: what is not in is counted
	((left > 38000 && left <= 20 * 2048)) || fail "$left pages left out"
	is "$(frames mini | grep -c points_far)" 20 "threads"
}

@test "a compressed one" {
	victim "$LIVE/d_mini" threads 4
	dump mini.zst --mini --compress zstd
	zstd -qdc "$(of .path)" >"$OUT/plain"
	is "$(frames plain | grep -c '^Thread')" 5 "threads"
}

@test "a thousand threads: within 16 MiB" {
	victim "$LIVE/d_mini" threads 1000
	dump mini --mini --pause-budget 2s
	unharmed
	is "$(of .threads)" 1001 "threads"
	is "$(eu-readelf -n "$OUT/mini" | grep -c ' PRSTATUS')" 1001 "threads in the core"
	is "$(frames mini | grep -c 'start_thread')" 1000 "backtraces"
	(($(of .peak_bytes) <= 16 << 20)) || fail "$(of .peak_bytes) bytes of memory"
	echo "# $(stat -c %s "$OUT/mini") bytes, paused $(of .pause_ms) ms" >&3
}

@test "--everything: files too, holes of them stay holes" {
	cd "$OUT"
	victim "$LIVE/d_mini" files
	dump plain --full
	dump all --full --everything
	unharmed
	local name half=$((((2 << 30) - 4096) / 2 & ~4095)) end=$((((2 << 30) - 4096)))
	for name in private shared; do
		is "$(byte all "$(said $name)")" 0x71 "$name: first page"
		is "$(byte all "$(said $name)+$half")" 0x72 "$name: in the middle"
		is "$(byte all "$(said $name)+$end")" 0x73 "$name: last page"
	done
	is "$(byte all "$(said changed)")" 0x71 "a page of a file that is not changed"
	is "$(byte all "$(said changed)+4096")" 0x61 "one that is"
	is "$(byte all "$(said secret)")" 0x55 "MADV_DONTDUMP"
	is "$(byte plain "$(said secret)")" 0x00 "without"
	is "$(of .complete)" true "complete"
	is "$(of '.omitted | length')" 0 "omitted: $(of '.omitted[]')"
	(($(du -B1 "$OUT/all" | cut -f1) < 64 << 20)) || fail "holes are on disk"
	# without the files: a copy of the core alone has all code
	is "$(gdb -batch -nx -ex "x/2i \$pc" -c "$OUT/all" 2>&1 </dev/null | grep -c 'Cannot access')" 0 "code"
}

@test "stacks and a mini core of one stop: the analyst reads, the core's first thread is the request's" {
	start_python
	watch_start auto --time-taken 400ms -n 1 --capture trace,stacks,mini "$PYTHON"
	client "$PYTHON_PORT" get '/slow?ms=2000' >/dev/null
	watch_wait
	watch_clean
	incident_of 0
	is "$(fact '.analysis.thread[0].call')" clock_nanosleep "call of the holder"
	is "$(events '.event == "trapped"' | jq -r '.capture.kind + " " + .capture.method')" "mini stop" "capture"
	zstd -qdc "$(events '.event == "trapped"' | jq -r .capture.core)" >"$OUT/mini"
	EXE=/proc/$PYTHON/exe
	has "$(gdb_says mini 'info threads' | grep '^\*')" "LWP $(fact .holder_tid))" "first thread"
	has "$(gdb_says mini bt)" "clock_nanosleep" "its stack"
}

# The analyst is started ahead of the request: killed there, it costs the analysis only.
killed_ahead() { # KINDS
	local kinds=$1 analyst=

	start_python
	watch_start auto --time-taken 400ms -n 1 --capture "$kinds" --compress none "$PYTHON"
	analyst_there() { analyst=$(pgrep -P "$WATCH" -f -- --analyst); }
	wait_for 5 analyst_there
	kill -KILL "$analyst"
	client "$PYTHON_PORT" get '/slow?ms=2000' >/dev/null
	watch_wait
	incident_of 0
	is "$(fact '.capture | has("failed")')" true "the key"
	is "$(fact .capture.failed)" null "error of the capture"
	has "$("$REQTRAP" show last -o "$STORE")" "No stacks: the analyst was killed by signal 9" "page"
	[[ $kinds == trace,stacks ]] && return
	cp "$INCIDENT/core" "$OUT/kept"
	EXE=/proc/$PYTHON/exe
	has "$(gdb_says kept 'thread apply all bt')" clock_nanosleep "stacks in the core"
}

@test "an analyst that was killed while it waited costs the analysis: a mini core is there" {
	killed_ahead trace,stacks,mini
}

@test "an analyst that was killed while it waited costs the analysis: a full core is there" {
	killed_ahead trace,stacks,full
}

@test "an analyst that was killed while it waited, with stacks alone: the page says so" {
	killed_ahead trace,stacks
}

@test "an analyst that is stopped while it waits: the target is not, the core is there, the page says so" {
	local analyst=

	start_python
	watch_start auto --time-taken 400ms -n 1 --capture trace,stacks,mini --compress none "$PYTHON"
	analyst_there() { analyst=$(pgrep -P "$WATCH" -f -- --analyst); }
	wait_for 5 analyst_there
	kill -STOP "$analyst"
	client "$PYTHON_PORT" get '/slow?ms=2000' >/dev/null
	wait_for 60 gone "$WATCH"
	gone "$analyst" || fail "the analyst is still there"
	incident_of 0
	is "$(fact .capture.failed)" null "error of the capture"
	is "$(fact '.capture.pause_ms < 1000')" true "pause ($(fact .capture.pause_ms))"
	has "$("$REQTRAP" show last -o "$STORE")" "No stacks: " "page"
	cp "$INCIDENT/core" "$OUT/kept"
	EXE=/proc/$PYTHON/exe
	has "$(gdb_says kept 'thread apply all bt')" clock_nanosleep "stacks in the core"
}
