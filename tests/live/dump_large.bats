#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Large targets: all of them comes out, and the worker's memory stays small. No process
# has more mappings than vm.max_map_count allows: 100,000 of them are in test_core.c.

load helpers

PEAK=$((16 << 20)) # bytes of memory that the worker may have had at most

setup_file() {
	live_begin
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/d_odd" "$ROOT/tests/victims/d_odd.c" -lpthread
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -g -o "$LIVE/d_server" "$ROOT/tests/victims/d_server.c" -lpthread
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
	[[ -z $VICTIM ]] || kill -KILL "$VICTIM" 2>/dev/null || :
	[[ -z $VICTIM ]] || wait "$VICTIM" 2>/dev/null || :
}

odd() { # KIND [N]: a victim that says 'ready'
	local said=$BATS_TEST_TMPDIR/said
	: >"$said"
	"$LIVE/d_odd" "$@" >"$said" 2>&1 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	answered() { [[ -s $said ]]; }
	wait_for 60 answered || fail "the victim is not ready"
	[[ $(<"$said") == *ready* ]] || skip "this machine cannot make it: $(<"$said")"
}

server() { # MIB that it has touched
	local counts=$BATS_TEST_TMPDIR/counts
	truncate -s 4096 "$counts"
	"$LIVE/d_server" "$counts" epoll "$1" 3>&- >/dev/null </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	is_ready() { [[ $(od -An -t u8 -N 8 "$counts" | tr -d ' ') == 1 ]]; }
	wait_for 60 is_ready || fail "the victim is not ready"
}

dump() { # OPTIONS...: sets output; complete, from a clone and with little memory
	rm -f "$CORE"
	output=$(timeout 100 "$REQTRAP" dump --json --pause-budget 10s -o "$CORE" "$@" "$VICTIM" 2>"$OUT.err") ||
		fail "dump: $(cat "$OUT.err")"
	is "$(jq -r .complete <<<"$output")" true "complete"
	is "$(jq -r '.threads_not_stopped // 0' <<<"$output")" 0 "threads not stopped"
	echo "# $*: peak $(jq '.peak_bytes / 1048576 * 10 | round / 10' <<<"$output") MiB, pause $(jq '.pause_ms | round' <<<"$output") ms" >&3
	(($(jq .peak_bytes <<<"$output") > 1 << 20)) || fail "no peak: $output"
	(($(jq .peak_bytes <<<"$output") <= PEAK)) || fail "too much memory: $output"
}

unharmed() {
	asleep() { grep -q '^State:[[:space:]]*S' "/proc/$VICTIM/status"; }
	wait_for 20 asleep || fail "it does not sleep any more: $(grep ^State "/proc/$VICTIM/status")"
	is "$(cat /proc/"$VICTIM"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
	is "$(children "$VICTIM")" "" "children"
}

same_memory() {
	local text
	text=$(python3 "$ROOT/tests/harm/core_check.py" "$CORE" "$VICTIM") || fail "core and process differ: $text"
	has "$text" "pages equal" "comparison"
}

# How many PRSTATUS notes, of how many different threads; how many PT_LOAD headers.
count_core() {
	python3 - "$CORE" <<-'PY'
		import struct, sys
		core = open(sys.argv[1], "rb")
		head = core.read(64)
		phoff, shoff = struct.unpack_from("<QQ", head, 32)
		size, count = struct.unpack_from("<HH", head, 54)
		if count == 0xFFFF:
		    core.seek(shoff + 44)
		    count = struct.unpack("<I", core.read(4))[0]
		core.seek(phoff)
		rows = [struct.unpack_from("<IIQQQQQQ", core.read(size)) for _ in range(count)]
		core.seek(rows[0][2])
		notes, at, tids, xstates = core.read(rows[0][5]), 0, [], 0
		while at < len(notes):
		    name, desc, kind = struct.unpack_from("<III", notes, at)
		    data = at + 12 + (name + 3 & ~3)
		    if kind == 1:
		        tids.append(struct.unpack_from("<i", notes, data + 32)[0])
		    xstates += kind == 0x202
		    at = data + (desc + 3 & ~3)
		assert at == len(notes), "notes end in the middle"
		print(len(tids), len(set(tids)), xstates, count - 1, tids[0])
	PY
}

@test "10,000 threads: all in the core, in little memory" {
	odd threads 10000
	local kind counts
	for kind in none zstd; do
		dump --compress "$kind"
		is "$(jq .threads <<<"$output")" 10001 "threads"
		unharmed
		[[ $kind == none ]] || zstd -dqf "$CORE" -o "$CORE.plain"
		[[ $kind == none ]] || mv "$CORE.plain" "$CORE"
		read -ra counts < <(count_core)
		is "${counts[*]:0:3}" "10001 10001 10001" "notes, threads, extended registers"
		is "${counts[4]}" "$VICTIM" "first thread"
	done
	same_memory
}

@test "10,000 threads: their stacks, all of them" {
	odd threads 10000
	local out
	out=$(timeout 100 "$REQTRAP" stacks --json "$VICTIM" 2>"$OUT.err") || fail "stacks: $(tail -c 500 "$OUT.err")"
	is "$(jq '[.. | objects | select(has("tid"))] | map(.tid) | unique | length >= 10001' <<<"$out")" true "threads told of"
	unharmed
}

@test "as many mappings as a process can have: all in the core, in little memory" {
	odd maps 100000
	local maps kind counts
	maps=$(wc -l <"/proc/$VICTIM/maps")
	(($(</proc/sys/vm/max_map_count) < 65530 || maps > 65000)) || fail "only $maps mappings"
	for kind in zstd none; do
		dump --compress "$kind"
		unharmed
	done
	read -ra counts < <(count_core)
	((counts[3] >= maps - 4)) || fail "${counts[3]} of $maps mappings are in the core"
	same_memory
}

@test "1 GiB: no more memory than for little" {
	(($(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo) > 3000)) || skip "less than 3 GiB are free"
	server 1024
	dump --compress zstd
	(($(jq .bytes <<<"$output") > 1 << 30)) || fail "a small core: $output"
	unharmed
}

@test "3,500 shared mappings, copied while it stands still: not in our memory, nor in descriptors" {
	(($(ulimit -Hn) >= 8192)) || skip "too few descriptors are allowed"
	odd shared 3500
	dump --compress none
	is "$(jq '.omitted | length' <<<"$output")" 0 "omitted"
	unharmed
	same_memory
	read -ra counts < <(count_core)
	((counts[3] > 3500)) || fail "${counts[3]} mappings are in the core"
}

@test "20,000 shared mappings: more than can be copied, read from the live process" {
	odd shared 20000
	dump --compress none
	has "$(jq -r '.omitted[].why' <<<"$output" | sort -u)" "read from the live process later" "told"
	unharmed
	same_memory
	local pages
	pages=$(python3 "$ROOT/tests/harm/core_check.py" "$CORE" "$VICTIM")
	((${pages%% *} > 20000)) || fail "too few: $pages"
}
