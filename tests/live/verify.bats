#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Cores of ours, of gcore and of the kernel are whole; damaged in one place they are
# not, and it is said where. 'open' hands them to debuggers.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	need_watch
	need gdb gcore zstd jq cc python3
	live_begin
	cc -O1 -g -D_GNU_SOURCE "$ROOT/tests/victims/d_odd.c" -o "$LIVE/d_odd" -lpthread
	mkdir "$LIVE/cores"
	start victim "$LIVE/d_odd" threads 5
	wait_for 10 grep -q ready "$LIVE/log.victim" || fail "the victim is not ready"
	VICTIM=$STARTED
	CORES=$LIVE/cores
	dump clone --compress none --snapshot clone
	dump stop --compress none --snapshot stop
	dump clone.zst --compress zstd --snapshot clone
	dump mini --mini --compress none
	dump mini.zst --mini --compress zstd
	gcore -o "$CORES/gcore" "$VICTIM" >/dev/null 2>&1
	mv "$CORES/gcore.$VICTIM" "$CORES/gcore"
	zstd -q "$CORES/gcore" -o "$CORES/gcore.zst"
	end_process "$VICTIM"
	export CORES VICTIM
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	C=$BATS_TEST_TMPDIR/core
}

dump() { # NAME OPTIONS...
	"$REQTRAP" dump -q "${@:2}" -o "$CORES/$1" "$VICTIM" >/dev/null
	[[ -s $CORES/$1 ]] || fail "there is no core '$1'"
}

verify() { # EXIT-CODE CORE [OPTIONS...]: $output is its JSON
	run --separate-stderr "-$1" "$REQTRAP" verify --json "${@:3}" "$2"
	[[ $1 -gt 1 ]] || jq -e . <<<"$output" >/dev/null || fail "no JSON: $output"
}

fact() { # JQ-PATH
	jq -r "$1" <<<"$output"
}

finds() { # LEVEL TEXT
	[[ $(jq -r "[.findings[] | select(.level == \"$1\") | .text] | join(\"\n\")" <<<"$output") == *"$2"* ]] ||
		fail "no '$1' finding with '$2': $(jq -c .findings <<<"$output")"
}

poke() { # FILE OFFSET BYTES: in the printf format
	# shellcheck disable=SC2059 # bytes
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

field() { # FILE OFFSET: 8 bytes as a number
	od -An -t u8 -j "$2" -N 8 "$1" | tr -d ' '
}

@test "verify: our cores are whole" {
	local kind
	for kind in clone stop clone.zst mini mini.zst; do
		verify 0 "$CORES/$kind"
		is "$(fact '.missing + .damaged + .not_here')" 0 "$kind: $(fact .findings)"
		is "$(fact .whole)" true "$kind"
		is "$(fact .kind)" "$([[ $kind == mini* ]] && echo mini || echo full)" "$kind: kind"
		is "$(fact .pid)" "$VICTIM" "$kind: pid"
		is "$(fact .process)" d_odd "$kind: process"
		is "$(fact .threads)" 6 "$kind: threads"
		between "$(fact .libraries)" 3 10 "$kind: libraries"
	done
	verify 0 "$CORES/clone"
	is "$(fact .method)" clone "method"
	between "$(fact .pause_ms)" 0.01 5000 "pause"
}

@test "verify: gcore's are whole, plain and in one zstd frame" {
	verify 0 "$CORES/gcore"
	is "$(fact '"\(.kind) \(.threads) \(.pid) \(.compress)"')" "null 6 $VICTIM none" "gcore"
	verify 0 "$CORES/gcore.zst"
	is "$(fact '"\(.threads) \(.compress) \(.seek_table)"')" "6 zstd false" "gcore.zst"
}

@test "verify: the kernel's are whole" {
	[[ $(cat /proc/sys/kernel/core_pattern) == core && $(cat /proc/sys/kernel/core_uses_pid) == 0 ]] ||
		skip "core_pattern is not 'core'"
	cd "$BATS_TEST_TMPDIR"
	(ulimit -c unlimited && exec "$LIVE/d_odd" threads 3) >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- </dev/null &
	local pid=$!
	remember "$pid"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/said"
	kill -SEGV "$pid"
	wait "$pid" || :
	verify 0 "$C"
	is "$(fact '"\(.threads) \(.pid) \(.damaged)"')" "4 $pid 0" "core of the kernel"
}

@test "verify: a verdict of few lines in 80 columns" {
	run -0 "$REQTRAP" verify "$CORES/mini.zst" "$CORES/gcore"
	has "$(tr -s '\n ' ' ' <<<"$output")" "a mini core of process $VICTIM 'd_odd', 6 threads" "verdict"
	is "$(awk 'length > 80 && NF > 1 && !/^\//' <<<"$output")" "" "long lines"
}

@test "verify: cut off anywhere, it is noticed" {
	local kind size i
	for kind in clone clone.zst mini.zst gcore gcore.zst; do
		size=$(stat -c %s "$CORES/$kind")
		for i in 1 2 7 100 4096 $((size / 4)) $((size / 2)) $((size * 9 / 10)); do
			cp --sparse=always "$CORES/$kind" "$C"
			truncate -s -"$i" "$C"
			run "$REQTRAP" verify "$C"
			is "$status" 1 "$kind, $i bytes less: exit code ($output)"
			[[ $output == *damaged* || $output == *missing* ]] || fail "$kind, $i bytes less: $output"
		done
	done
	cp --sparse=always "$CORES/clone" "$C"
	truncate -s -5000 "$C"
	verify 1 "$C"
	finds missing "5000 bytes are missing"
	head -c 20 "$CORES/clone" >"$C"
	verify 2 "$C"
}

@test "verify: a byte of a frame that is not what it was" {
	local size i
	size=$(stat -c %s "$CORES/clone.zst")
	for ((i = 1; i < 12; i++)); do
		cp "$CORES/clone.zst" "$C"
		python3 - "$C" $((size * i / 12)) <<-'PY'
			import sys
			with open(sys.argv[1], "r+b") as f:
			    f.seek(int(sys.argv[2])); b = f.read(1); f.seek(int(sys.argv[2])); f.write(bytes([b[0] ^ 0x10]))
		PY
		run "$REQTRAP" verify "$C"
		[[ $status == 1 || $status == 2 ]] || fail "byte $((size * i / 12)) of $size: $status $output"
		! zstd -tq "$C" 2>/dev/null || fail "zstd itself sees nothing at $i"
	done
}

@test "verify: headers and notes that are not what they were" {
	local phoff note count
	phoff=$(field "$CORES/clone" 32)
	count=$(od -An -t u2 -j 56 -N 2 "$CORES/clone" | tr -d ' ')
	cp --sparse=always "$CORES/clone" "$C" # the last segment, the vdso, lies beyond the file
	poke "$C" $((phoff + (count - 1) * 56 + 8)) '\xf0\xff\xff\xff\xff\xff\x00\x00'
	verify 1 "$C"
	finds missing "bytes are missing at its end"
	cp --sparse=always "$CORES/clone" "$C" # the first note has 4 GiB
	note=$(field "$C" $((phoff + 8)))
	poke "$C" $((note + 4)) '\xff\xff\xff\xff'
	verify 1 "$C"
	finds damaged "says it has 4294967"
	finds missing "there are no threads in it"
	cp --sparse=always "$CORES/clone" "$C" # a segment begins elsewhere
	poke "$C" $((phoff + 3 * 56 + 16)) '\x00\x00\x00\x00\x00\x00\x00\x00'
	verify 1 "$C"
	finds damaged "not in the order of their addresses"
	cp --sparse=always "$CORES/clone" "$C" # 32 bit
	poke "$C" 4 '\x01'
	verify 2 "$C"
	has "$stderr" "32-bit" "message"
}

@test "verify: what is left out is told" {
	start ranges "$LIVE/d_odd" ranges
	wait_for 10 grep -q ready "$LIVE/log.ranges"
	"$REQTRAP" dump -q --compress none -o "$C" "$STARTED" >/dev/null
	verify 1 "$C"
	finds missing "DONTDUMP"
	finds note "read from the live process later"
	is "$(fact .damaged)" 0 "$(fact .findings)"
	end_process "$STARTED"
}

@test "verify: shared memory that is in no file and not in the core is missing, whoever wrote it" {
	start shared python3 -c 'import mmap, time
m = mmap.mmap(-1, 4 << 20)
m.write(b"x" * (4 << 20))
print("ready", flush=True)
time.sleep(3600)'
	wait_for 20 grep -q ready "$LIVE/log.shared"
	echo 0x31 >"/proc/$STARTED/coredump_filter"
	gcore -o "$BATS_TEST_TMPDIR/g" "$STARTED" >/dev/null 2>&1
	status=0
	output=$("$REQTRAP" verify "$BATS_TEST_TMPDIR/g.$STARTED") || status=$?
	is "$status" 1 "exit code"
	has "$output" "4096 KiB of '/dev/zero (deleted)'" "report"
}

@test "verify: a program that is gone or another build is told, and no fault of the core" {
	mv "$LIVE/d_odd" "$LIVE/d_odd.away"
	verify 0 "$CORES/clone"
	finds here "'$LIVE/d_odd' is not here"
	verify 0 "$CORES/mini.zst"
	finds here "'$LIVE/d_odd' is not here"
	cp "$(type -P true)" "$LIVE/d_odd"
	verify 0 "$CORES/clone"
	finds here "'$LIVE/d_odd' is another build here"
	run "$REQTRAP" open "$CORES/clone" < <(echo quit)
	mv "$LIVE/d_odd.away" "$LIVE/d_odd"
	has "$output" "is another build than the core is of" "open"
}

@test "verify: terabytes of nothing take no time" {
	start sparse "$LIVE/d_odd" sparse 8
	wait_for 10 grep -q ready "$LIVE/log.sparse"
	"$REQTRAP" dump -q --compress none -o "$C" "$STARTED" >/dev/null
	"$REQTRAP" dump -q --compress zstd -o "$C.zst" "$STARTED" >/dev/null
	end_process "$STARTED"
	local begin=$SECONDS
	verify 0 "$C"
	verify 0 "$C.zst"
	((SECONDS - begin < 20)) || fail "it took $((SECONDS - begin)) s"
}

@test "verify: several files, the worst counts; mistakes are one line" {
	run --separate-stderr -2 "$REQTRAP" verify --json "$CORES/clone" "$LIVE/d_odd" "$CORES/stop"
	is "$(wc -l <<<"$output")" 2 "lines"
	one_line "$stderr" "a program"
	has "$stderr" "not a core but a program" "a program"
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	run -2 "$REQTRAP" verify "$BATS_TEST_TMPDIR/pipe"
	run -2 "$REQTRAP" verify "$CORES"
	run -2 "$REQTRAP" verify /nowhere
	run -2 "$REQTRAP" verify
}

@test "open: cores by path, plain, compressed and mini; the program is found" {
	local kind
	for kind in clone clone.zst mini.zst gcore; do
		ls -A "$CORES" >"$BATS_TEST_TMPDIR/before"
		run "$REQTRAP" open "$CORES/$kind" < <(printf 'set pagination off\nthread apply all bt\nquit\n')
		is "$(grep -c '^#0 ' <<<"$output")" 7 "$kind: frames 0 of 6 threads, and the first at the start: $output"
		has "$output" " main (" "$kind: the program's symbols"
		ls -A "$CORES" | diff "$BATS_TEST_TMPDIR/before" -
	done
}

@test "open: other debuggers" {
	need eu-stack
	run -0 "$REQTRAP" open "$CORES/clone.zst" --debugger eu-stack
	is "$(grep -c '^TID' <<<"$output")" 6 "threads of eu-stack"
	mkdir "$BATS_TEST_TMPDIR/bin"
	PATH=$BATS_TEST_TMPDIR/bin run -3 "$REQTRAP" open "$CORES/clone" --debugger eu-stack
	has "$output" "apt install elfutils" "message"
	run -2 "$REQTRAP" open "$LIVE/d_odd"
	has "$output" "not a core but a program" "message"
}

@test "open: a disk without room is told" {
	need_mounts
	mkdir "$BATS_TEST_TMPDIR/small"
	run -3 unshare -m --propagation private sh -c "mount -t tmpfs -o size=2m none '$BATS_TEST_TMPDIR/small' &&
		cp '$CORES/gcore.zst' '$BATS_TEST_TMPDIR/small/core.zst' && dd if=/dev/zero of='$BATS_TEST_TMPDIR/small/fill' bs=4k status=none 2>/dev/null;
		exec '$REQTRAP' open '$BATS_TEST_TMPDIR/small/core.zst' </dev/null"
	has "$output" "cannot unpack" "message"
}
