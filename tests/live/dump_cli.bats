#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016,SC2030,SC2031,SC2154,SC2164
# 'dump' and 'procdump' on a running process: files, names, errors, interruption. What
# the copy does to its target in depth is tested with victims elsewhere.

load helpers

setup_file() {
	live_begin
	start_python
	client "$PYTHON_PORT" get /fast >/dev/null
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
}

# After every test the server is as it was: alive, untraced, without children.
teardown() {
	[[ -e /proc/$PYTHON ]] || return 0
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$PYTHON/status")" 0 "TracerPid"
	is "$(children "$PYTHON")" "" "children of the target"
	client "$PYTHON_PORT" get /fast >/dev/null
}

dump() { # ARGS: sets status, output, errors; never fails
	status=0
	output=$("$REQTRAP" dump "$@" 2>"$BATS_TEST_TMPDIR/err") || status=$?
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

procdump() {
	status=0
	output=$("$REQTRAP" procdump "$@" 2>"$BATS_TEST_TMPDIR/err") || status=$?
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

files() {
	find "$OUT" -type f -printf '%P\n' | sort
}

# gdb finds the thread that sleeps in accept's poll in a core of the server.
core_is_good() { # FILE
	local text
	has "$(readelf -h "$1")" "CORE (Core file)" "type of $1"
	text=$(gdb -batch -nx -ex 'info threads' -ex 'thread apply all bt' "/proc/$PYTHON/exe" "$1" 2>&1)
	has "$text" "poll" "stacks that gdb reads"
	has "$text" "main" "stacks that gdb reads"
	lacks "$text" "not a core dump" "gdb"
}

refused() { # EXIT-CODE PART-OF-TEXT
	is "$status" "$1" "exit code ($errors)"
	one_line "$errors" "message"
	has "$errors" "$2" "message"
	is "$(files)" "" "files that are left"
}

@test "procdump: three dumps, four seconds apart, as the article types it" {
	need gdb readelf
	procdump –64 –ma –s 4 –n 3 "$PYTHON" w3wp-PID-perf.dmp
	is "$status" 0 "exit code ($errors)"
	is "$(files | tr '\n' ' ')" "w3wp-$PYTHON-perf-1.dmp w3wp-$PYTHON-perf-2.dmp w3wp-$PYTHON-perf.dmp " "files"
	is "$errors" "" "messages"
	core_is_good "w3wp-$PYTHON-perf.dmp"
	core_is_good "w3wp-$PYTHON-perf-2.dmp"
	local first last
	first=$(stat -c %.3Y "w3wp-$PYTHON-perf.dmp")
	last=$(stat -c %.3Y "w3wp-$PYTHON-perf-2.dmp")
	between "$(awk "BEGIN { print $last - $first }")" 6 40 "seconds from the first to the last"
}

@test "procdump: an action's line, into a folder, by the program's name" {
	ln -s "$REQTRAP" "$BATS_TEST_TMPDIR/procdump"
	"$BATS_TEST_TMPDIR/procdump" -accepteula –ma "$PYTHON" "$OUT"
	[[ $(files) =~ ^python3_[0-9]{6}_[0-9]{6}\.dmp$ ]] || fail "files: $(files)"
}

@test "procdump: slashes and capitals; -o overwrites, else the name is numbered" {
	procdump /MA "$PYTHON" a.dmp
	is "$status" 0 "exit code ($errors)"
	procdump /MA "$PYTHON" a.dmp
	is "$(files | tr '\n' ' ')" "a-1.dmp a.dmp " "files"
	local before
	before=$(stat -c %i a.dmp)
	procdump —ma —o "$PYTHON" a.dmp
	is "$(files | tr '\n' ' ')" "a-1.dmp a.dmp " "files"
	[[ $(stat -c %i a.dmp) != "$before" ]] || fail "a.dmp is the old one"
}

@test "procdump: an option without meaning here gets a note, and the dump is taken" {
	procdump -ma -wer -mk "$PYTHON" a.dmp
	is "$status" 0 "exit code"
	has "$errors" "'-wer'" "notes"
	has "$errors" "'-mk'" "notes"
	is "$(wc -l <<<"$errors")" 2 "lines of notes"
	is "$(files)" "a.dmp" "files"
}

@test "procdump: a trigger that is not there is refused, not left out" {
	local line
	for line in "-l" "-h" "–gcgen 1" "/ld" "-restrack"; do
		# shellcheck disable=SC2086
		procdump -ma $line "$PYTHON"
		refused 2 "'${line%% *}'"
	done
	procdump -ma PID
	refused 2 "stands for a number"
	procdump -maa "$PYTHON"
	refused 2 "'-maa'"
}

@test "--json: each error is an event too, also of words that are no options" {
	local line
	while read -r line; do
		# shellcheck disable=SC2086
		$line
		is "$status" 2 "exit code of '$line'"
		one_line "$errors" "message"
		is "reqtrap: $(jq -r 'select(.event == "error").text' <<<"$output")" "$errors" "event of '$line'"
	done <<-'END'
		dump --json --nope 1
		dump --json
		dump --json --memory nonsense 1
		procdump -zz -json 1
		procdump /m abc /JSON 1
		procdump -json
	END
}

@test "procdump -? explains" {
	procdump "-?"
	is "$status" 0 "exit code"
	has "$output" "-accepteula -ma" "help"
	is "$errors" "" "messages"
}

@test "dump: zstd into a folder; one JSON object with all that the contract names" {
	need zstd gdb
	dump --json "$PYTHON" "$OUT"
	is "$status" 0 "exit code ($errors)"
	is "$errors" "" "messages"
	is "$(wc -l <<<"$output")" 1 "lines"
	is "$(jq -r '[.event, .kind, .pid, .method, .complete] | join(" ")' <<<"$output")" \
		"dump full $PYTHON clone true" "fields"
	is "$(jq '.threads' <<<"$output")" "$(find "/proc/$PYTHON/task" -mindepth 1 -maxdepth 1 | wc -l)" "threads"
	between "$(jq .pause_ms <<<"$output")" 0.01 2000 "pause_ms"
	between "$(jq .wall_ms <<<"$output")" 0.01 60000 "wall_ms"
	is "$(jq -r '.omitted | type' <<<"$output")" array "omitted"
	local path
	path=$(jq -r .path <<<"$output")
	[[ $path =~ ^"$OUT"/python3_"$PYTHON"_[0-9]{6}_[0-9]{6}\.core\.zst$ ]] || fail "path: $path"
	is "$(jq .bytes_on_disk <<<"$output")" "$(($(stat -c %b "$path") * 512))" "bytes_on_disk"
	zstd -qdc "$path" >whole.core
	is "$(jq .bytes <<<"$output")" "$(stat -c %s whole.core)" "bytes"
	core_is_good whole.core
	is "$(stat -c %a "$path")" 600 "mode of the dump"
}

@test "dump: the name decides about compression, --compress about both" {
	dump "$PYTHON" a.core
	is "$status" 0 "exit code ($errors)"
	is "$(head -c 4 a.core | tail -c 3)" ELF "a.core begins with"
	dump "$PYTHON" -o b.core.zst
	is "$(head -c 4 b.core.zst | od -An -tx1 | tr -d ' ')" 28b52ffd "b.core.zst begins with"
	dump --compress none "$PYTHON"
	[[ $(files) =~ python3_"$PYTHON"_[0-9]{6}_[0-9]{6}\.core($|$'\n') ]] || fail "files: $(files)"
}

@test "dump: a series, and a name that is taken is numbered" {
	dump -n 3 --every 200ms --json "$PYTHON" -o shop-PID.core
	is "$status" 0 "exit code ($errors)"
	is "$(files | tr '\n' ' ')" "shop-$PYTHON-1.core shop-$PYTHON-2.core shop-$PYTHON.core " "files"
	is "$(jq -r 'select(.event == "dump").path' <<<"$output" | xargs -n1 basename | tr '\n' ' ')" \
		"shop-$PYTHON.core shop-$PYTHON-1.core shop-$PYTHON-2.core " "paths"
}

@test "dump: text for people says size, threads and pause" {
	dump "$PYTHON" a.core
	has "$output" "$OUT/a.core" "text"
	has "$output" "paused" "text"
	has "$output" "(clone)" "text"
}

@test "dump --snapshot stop copies while the process stands still" {
	dump --json --snapshot stop "$PYTHON" a.core
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .method <<<"$output")" stop "method"
	core_is_good a.core
}

@test "dump --stacks prints them and writes nothing" {
	dump --stacks "$PYTHON"
	is "$status" 0 "exit code ($errors)"
	has "$output" "poll" "stacks"
	dump --stacks --json "$PYTHON"
	is "$status" 0 "exit code ($errors)"
	jq -e . <<<"$output" >/dev/null || fail "no JSON: $output"
	dump --stacks "$PYTHON" a.core
	refused 2 "a.core"
	dump --stacks -n 2 "$PYTHON"
	refused 2 "--count"
}

@test "dump by name: one process is taken, several are listed" {
	cp "$(command -v sleep)" "$BATS_TEST_TMPDIR/napper$$"
	start napper "$BATS_TEST_TMPDIR/napper$$" 60
	local one=$STARTED two
	wait_for 5 grep -q napper "/proc/$one/comm"
	dump "napper$$" one.core
	is "$status" 0 "exit code ($errors)"
	start napper "$BATS_TEST_TMPDIR/napper$$" 60
	two=$STARTED
	wait_for 5 grep -q napper "/proc/$two/comm"
	dump "napper$$" two.core
	kill "$one" "$two"
	is "$status" 2 "exit code"
	one_line "$errors" "message"
	has "$errors" "$one" "message"
	has "$errors" "$two" "message"
	is "$(files)" one.core "files"
}

@test "dump by port: whoever listens there" {
	dump --json ":$PYTHON_PORT" a.core
	is "$status" 0 "exit code ($errors)"
	is "$(jq .pid <<<"$output")" "$PYTHON" "pid"
}

@test "dump: what cannot be dumped is one clear line and no file" {
	local pid
	dump
	refused 2 "no process is named"
	dump 0
	refused 2 "'0' is not a process id"
	dump 99999999999999
	refused 2 "is not a process id"
	dump no-such-name-here
	refused 2 "'no-such-name-here'"
	dump 2
	refused 2 "thread of the kernel"
	sh -c 'exit 0' & pid=$!
	wait "$pid"
	dump "$pid"
	refused 2 "$pid"
	dump "$PYTHON" a.core b.core
	refused 2 "'b.core'"
	dump "$PYTHON" "$OUT/nowhere/a.core"
	refused 2 "$OUT/nowhere"
	dump "$PYTHON" --every 3
	refused 2 "3"
	dump "$PYTHON" --evry 3s
	refused 2 "every"
}

@test "dump: a zombie, a thread, itself" {
	local zombie parent
	start zombie python3 -c 'import os, time
pid = os.fork() or os._exit(0)
print(pid, flush=True)
time.sleep(60)'
	parent=$STARTED
	wait_for 5 test -s "$LIVE/log.zombie"
	zombie=$(cat "$LIVE/log.zombie")
	wait_for 5 grep -q ') Z' "/proc/$zombie/stat"
	dump "$zombie"
	kill "$parent"
	refused 2 "zombie"
	start threads python3 -c 'import threading, time
t = threading.Thread(target=time.sleep, args=[60])
t.start()
print(t.native_id, flush=True)'
	parent=$STARTED
	wait_for 5 test -s "$LIVE/log.threads"
	dump "$(cat "$LIVE/log.threads")"
	kill "$parent"
	refused 2 "is a thread"
	status=0
	errors=$(sh -c 'exec "$0" dump $$' "$REQTRAP" 2>&1) || status=$?
	refused 2 "itself"
}

@test "dump: without rights it names the capability and how to get it" {
	need setpriv
	cp "$REQTRAP" "$LIVE/reqtrap"
	chmod 755 "$LIVE/reqtrap"
	mkdir -m 777 "$LIVE/open"
	status=0
	errors=$(setpriv --reuid nobody --regid nogroup --clear-groups "$LIVE/reqtrap" dump "$PYTHON" "$LIVE/open" 2>&1) ||
		status=$?
	refused 3 "CAP_SYS_PTRACE"
	has "$errors" "setcap" "message"
	is "$(ls -A "$LIVE/open")" "" "files that are left"
	rmdir "$LIVE/open"
}

@test "dump: a folder that cannot be written" {
	need setpriv
	cp "$REQTRAP" "$LIVE/reqtrap"
	start own setpriv --reuid nobody --regid nogroup --clear-groups sleep 60
	local own=$STARTED
	wait_for 5 grep -q sleep "/proc/$own/comm"
	mkdir -m 755 "$LIVE/closed"
	status=0
	errors=$(setpriv --reuid nobody --regid nogroup --clear-groups "$LIVE/reqtrap" dump "$own" "$LIVE/closed" 2>&1) ||
		status=$?
	kill "$own"
	refused 3 "closed"
	rmdir "$LIVE/closed"
}

@test "dump: a full disk leaves no file and the process as it was" {
	need_mounts
	need unshare
	mkdir "$OUT/full"
	status=0
	errors=$(unshare -m sh -c 'mount -t tmpfs -o size=256k none "$1/full" || exit 77
		"$2" dump --compress none "$3" "$1/full"
		code=$?
		ls -A "$1/full" >"$1/../left"
		exit $code' sh "$OUT" "$REQTRAP" "$PYTHON" 2>&1) || status=$?
	[[ $status != 77 ]] || skip "cannot mount a file system of its own"
	refused 3 "are free on that disk"
	has "$errors" "'python3_${PYTHON}_" "message"
	is "$(cat "$BATS_TEST_TMPDIR/left")" "" "files on the full disk"
}

# A process that takes a while to write out.
start_big() {
	start big python3 -c 'import os, time
data = [os.urandom(1 << 20) for _ in range(300)]
print("ready", flush=True)
time.sleep(60)'
	BIG=$STARTED
	wait_for 20 grep -q ready "$LIVE/log.big"
}

# The file has no name while it is written: the copy that it comes from tells.
dump_is_under_way() {
	[[ -n $(children "$BIG") ]]
}

@test "dump: a pause longer than allowed is refused before it happens" {
	start_big
	dump --snapshot stop --pause-budget 1ms "$BIG" a.core
	kill "$BIG"
	refused 3 "more than the 1 ms allowed"
}

@test "dump under nohup outlives the terminal" {
	start_big
	nohup env "$REQTRAP" dump -n 2 --every 500ms "$BIG" a.core.zst >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	local dumper=$! code=0
	wait_for 10 dump_is_under_way
	kill -HUP "$dumper"
	wait "$dumper" || code=$?
	kill "$BIG"
	is "$code" 0 "exit code"
	is "$(files | tr '\n' ' ')" "a-1.core.zst a.core.zst " "files"
}

@test "dump: Ctrl-C finishes the dump under way and ends the series" {
	start_big
	env --default-signal=INT "$REQTRAP" dump -n 5 --every 10ms "$BIG" a.core.zst >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	local dumper=$! code=0
	wait_for 10 dump_is_under_way
	kill -INT "$dumper"
	wait "$dumper" || code=$?
	gone "$BIG" && fail "the process is gone"
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$BIG/status")" 0 "TracerPid"
	is "$(children "$BIG")" "" "children of the target"
	kill "$BIG"
	is "$code" 130 "exit code"
	is "$(find "$OUT" -type f -printf '%P\n')" a.core.zst "files"
	zstd -qt a.core.zst
}

@test "dump: Ctrl-C twice cancels it: no file, the process as it was" {
	start_big
	env --default-signal=INT,TERM "$REQTRAP" dump "$BIG" a.core.zst >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	local dumper=$! code=0
	wait_for 10 dump_is_under_way
	kill -TERM "$dumper"
	wait_for 10 grep -q "once more" "$BATS_TEST_TMPDIR/err"
	kill -TERM "$dumper"
	wait "$dumper" || code=$?
	gone "$BIG" && fail "the process is gone"
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$BIG/status")" 0 "TracerPid"
	is "$(awk '/^State/ { print $2 }' "/proc/$BIG/status")" S "state"
	is "$(children "$BIG")" "" "children of the target"
	kill "$BIG"
	is "$code" 143 "exit code"
	is "$(find "$OUT" -type f -printf '%P\n')" "" "files"
}

new_child() { # one that $BEFORE does not have: a dump is under way
	children "$BIG" | grep -qvxF "${BEFORE:-none}"
}

@test "dump: what killed workers leave is reaped by the next dump, no file stays" {
	local dumper worker
	start_big
	for _ in 1 2 3; do
		BEFORE=$(children "$BIG")
		env "$REQTRAP" dump --compress none "$BIG" a.core >/dev/null 2>&1 3>&- &
		dumper=$!
		wait_for 10 new_child
		worker=$(children "$dumper" | while read -r pid; do grep -qa worker "/proc/$pid/cmdline" && echo "$pid"; done)
		kill -KILL "$worker" "$dumper"
		wait "$dumper" || :
		wait_for 5 gone "$worker"
	done
	# Each of these dumps reaps what the one before it left, and so may any other on this host.
	(($(children "$BIG" | wc -l) <= 1)) || fail "left: $(children "$BIG")"
	is "$(find "$OUT" -type f -printf '%P\n')" "" "files"
	"$REQTRAP" dump --quiet "$BIG" b.core.zst
	is "$(children "$BIG")" "" "children of the target"
	kill "$BIG"
}

@test "dump: a device is not a file" {
	dump "$PYTHON" /dev/null
	is "$status" 2 "exit code"
	one_line "$errors" "message"
	[[ -c /dev/null ]] || fail "/dev/null was replaced"
}

@test "dump: two of one process at the same moment wait for each other" {
	local first
	for first in one two three; do
		env "$REQTRAP" dump -q "$PYTHON" "$first.core" >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
		local other=$! code=0
		dump "$PYTHON" "$first.other.core"
		is "$status" 0 "exit code ($errors)"
		wait "$other" || code=$?
		is "$code" 0 "exit code of the other one ($(cat "$BATS_TEST_TMPDIR/err"))"
		[[ -e $first.core && -e $first.other.core ]] || fail "a core is missing"
	done
}

@test "dump: the process ends in a series" {
	start nap sleep 60
	local nap=$STARTED
	env "$REQTRAP" dump --json -n 100 --every 300ms "$nap" nap.core >"$BATS_TEST_TMPDIR/json" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	local dumper=$! code=0
	wait_for 10 test -s "$BATS_TEST_TMPDIR/json"
	kill "$nap"
	wait "$dumper" || code=$?
	is "$code" 1 "exit code"
	errors=$(cat "$BATS_TEST_TMPDIR/err")
	one_line "$errors" "message"
	has "$errors" "of 100 dumps" "message"
	is "$(files | wc -l)" "$(grep -c "\"event\":\"dump\"" "$BATS_TEST_TMPDIR/json")" "files, as many as were told"
}

@test "procdump -at gives a long dump up" {
	start_big
	# Stopped by hand, the worker cannot be done within its second.
	env "$REQTRAP" procdump -ma -at 1 "$BIG" a.dmp >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	local dumper=$! code=0 worker
	wait_for 10 dump_is_under_way
	worker=$(children "$dumper" | head -n 1)
	[[ -z $worker ]] || kill -STOP "$worker"
	wait "$dumper" || code=$?
	kill -CONT "$worker" 2>/dev/null || :
	gone "$BIG" && fail "the process is gone"
	kill "$BIG"
	is "$code" 1 "exit code"
	has "$(cat "$BATS_TEST_TMPDIR/err")" "given up after 1 s" "message"
	is "$(files)" "" "files"
}

@test "--kill is asked for by its whole name" {
	run "$REQTRAP" dump --kil $$ "$BATS_TEST_TMPDIR"
	[ "$status" -eq 2 ]
	[[ $output == *"did you mean '--kill'"* ]]
}

@test "what a killed run left under a hidden name goes with the next dump there" {
	local out=$BATS_TEST_TMPDIR/left
	mkdir -m 700 "$out"
	touch -d "20 minutes ago" "$out/.reqtrap-99-0badcafe.part.1" "$out/.other-99.part" "$out/.reqtrap-99.core"
	touch "$out/.reqtrap-98-0badcafe.part"
	ln -s /dev/null "$out/.reqtrap-97-0badcafe.part"
	run "$REQTRAP" dump --mini $$ "$out/whole.core"
	[ "$status" -eq 0 ]
	[[ $output == *"removed 1 unfinished dump "* ]]
	[ ! -e "$out/.reqtrap-99-0badcafe.part.1" ]
	[ -e "$out/.other-99.part" ]
	[ -e "$out/.reqtrap-99.core" ]
	[ -e "$out/.reqtrap-98-0badcafe.part" ]
	[ -L "$out/.reqtrap-97-0badcafe.part" ]
	[ -s "$out/whole.core" ]
}

@test "how a process ended is told; what can never fire is refused" {
	local out=$BATS_TEST_TMPDIR/ended pid dump code=0
	mkdir -m 700 "$out"
	: >"$out/err"
	bash -c "until grep -q attached '$out/err'; do sleep 0.05; done; exit 3" 3>&- &
	pid=$!
	"$REQTRAP" dump --crash "$pid" "$out" 2>"$out/err" 3>&- &
	dump=$!
	wait "$dump" || code=$?
	[ "$code" -eq 1 ]
	grep -q "ended (exit code 3)" "$out/err"
	run "$REQTRAP" dump --hung 0s $$ "$out"
	[ "$status" -eq 2 ]
	run "$REQTRAP" dump --at 0s $$ "$out"
	[ "$status" -eq 2 ]
}
