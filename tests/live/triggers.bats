#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Conditions of 'dump', each on a victim that crosses its threshold at a moment it tells:
# fired once, not before, soon after; and on one that does not: never. Moments are those
# of the victim's own lines and of the dump's file; the machine may be slow, so bounds are
# wide and only the order is exact.

load helpers

setup_file() {
	live_begin
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/t_load" "$ROOT/tests/victims/t_load.c" -lpthread
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

victim() { # NAME WHAT MS: sets VICTIM; what it says is in NAME.said
	"$LIVE/t_load" "$2" "$3" >"$BATS_TEST_TMPDIR/$1.said" 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/$1.said" || fail "victim $1 is not ready"
}

series() { # NAME OPTIONS...: in the background, SERIES; NAME.json, NAME.err
	env --default-signal=INT "$REQTRAP" dump --json --mini --interval 200ms "${@:2}" >"$BATS_TEST_TMPDIR/$1.json" \
		2>"$BATS_TEST_TMPDIR/$1.err" 3>&- </dev/null &
	SERIES=$!
	remember "$SERIES"
}

ends() { # PID CODE NAME
	local code=0
	wait "$1" || code=$?
	is "$code" "$2" "exit code of $3 ($(cat "$BATS_TEST_TMPDIR/$3.err"))"
}

event() { # NAME FILTER; a command's own lines are between ours
	grep '^{' "$BATS_TEST_TMPDIR/$1.json" | jq -r "$2"
}

dumps() { # NAME FIELD: of each dump
	event "$1" "select(.event == \"dump\") | $2"
}

waits() { # NAME
	wait_for 20 grep -q '"waiting"' "$BATS_TEST_TMPDIR/$1.json"
}

attached() { # NAME
	wait_for 20 grep -q '"attached":1' "$BATS_TEST_TMPDIR/$1.json"
}

# The dump was taken after the victim crossed, and within the bound.
soon_after() { # NAME SECONDS
	local path crossed
	path=$(dumps "$1" .path)
	one_line "$path" "paths of $1"
	crossed=$(awk '/^crossed/ { print $2 }' "$BATS_TEST_TMPDIR/$1.said")
	between "$(awk -v a="$crossed" -v b="$(stat -c %.9Y "$path")" 'BEGIN { print b - a }')" 0 "$2" \
		"seconds from the crossing of $1 to its dump"
}

@test "each condition fires once, after its crossing, and says itself" {
	local name victims=() all=()
	declare -A option=([cpu]="--cpu >5%" [memory]="--memory >40M" [threads]="--threads >20" [fds]="--fds >30"
		[still]="--hung 1s") # a spinner gets little of a busy machine
	for name in cpu memory threads fds still; do
		victim "$name" "$name" 2500
		victims+=("$VICTIM")
		# shellcheck disable=SC2086
		series "$name" ${option[$name]} --timeout 40s "$VICTIM" "$OUT"
		all+=("$SERIES")
		waits "$name" || fail "the series on $name does not wait"
	done
	for name in cpu memory threads fds still; do
		ends "${all[0]}" 0 "$name"
		all=("${all[@]:1}")
		soon_after "$name" 15
		is "$(dumps "$name" .trigger)" "${name/still/hung}" "trigger of $name"
	done
	between "$(dumps memory .value | cut -d' ' -f1)" 40 80 "MiB of memory"
	between "$(dumps threads .value)" 21 41 "threads"
	between "$(dumps fds .value)" 31 70 "files"
	between "$(dumps cpu '.value | rtrimstr("%")')" 5 101 "percent of a CPU"
	has "$(dumps cpu .why)" "> 5%" "why"
	has "$(strings -n 8 "$(dumps fds .path)")" "$(dumps fds .why)" "the core's comment"
	for name in "${victims[@]}"; do kill -KILL "$name"; done
}

@test "conditions that are not fulfilled never fire, alone or together" {
	victim none none 60000
	series none --cpu '>50%' --memory '>40M' --memory '<100K' --threads '>1' --fds '>50' --fds '<1' \
		--timeout 3s "$VICTIM" "$OUT"
	ends "$SERIES" 1 none
	has "$(cat "$BATS_TEST_TMPDIR/none.err")" "no condition was fulfilled" "message"
	is "$(find "$OUT" -type f)" "" "files"
	is "$(event none 'select(.event == "dump").path')" "" "dumps told"
	between "$(event none 'select(.event == "waiting").taken' | tail -n 1)" 0 0 "dumps taken"
	kill -KILL "$VICTIM"
}

@test "--for: a condition that broke does not count; held for so long it does" {
	victim twice twice 4000
	series twice --memory '>40M' --for 2s --timeout 40s "$VICTIM" "$OUT"
	ends "$SERIES" 0 twice
	local path
	path=$(dumps twice .path)
	between "$(awk -v a="$(awk '/^crossed/ { print $2 }' "$BATS_TEST_TMPDIR/twice.said")" \
		-v b="$(stat -c %.9Y "$path")" 'BEGIN { print b - a }')" 1.9 15 "seconds after the second crossing"
	kill -KILL "$VICTIM"
}

@test "a threshold that steps: one dump at each step, and what grew" {
	victim grow grow 500
	series grow --memory '>40M+30M' -n 3 --every 100ms --timeout 60s "$VICTIM" "$OUT"
	ends "$SERIES" 0 grow
	is "$(dumps grow .trigger | tr '\n' ' ')" "memory memory memory " "triggers"
	local mib last=40
	for mib in $(dumps grow '.value | rtrimstr(" MiB")'); do
		between "$mib" "$last" 1000 "MiB at the step"
		last=$(awk -v m="$mib" 'BEGIN { print m + 20 }')
	done
	is "$(event grow 'select(.event == "compared").pid')" "$VICTIM" "comparison"
	kill -KILL "$VICTIM"
}

@test "a signal on a thread that is not the main one: dumped, and the process gets it" {
	victim signal signal 3000
	series signal --signal USR1,USR2 --timeout 40s "$VICTIM" "$OUT"
	attached signal || fail "the series is not attached"
	ends "$SERIES" 0 signal
	soon_after signal 15
	is "$(dumps signal .trigger) $(dumps signal .value)" "signal USR1" "trigger"
	lacks "$(dumps signal .why)" "thread $VICTIM," "the thread in $(dumps signal .why)"
	wait_for 10 grep -q "got it" "$BATS_TEST_TMPDIR/signal.said" || fail "the signal is lost"
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$VICTIM/status")" 0 "TracerPid"
	kill -KILL "$VICTIM"
}

@test "--crash: the fatal signal of a command, from its first instruction on" {
	series crash --crash --mini --compress none "$OUT" -- "$LIVE/t_load" segv 10
	ends "$SERIES" 0 crash
	is "$(dumps crash .trigger) $(dumps crash .value)" "crash SEGV" "trigger"
	has "$(gdb -batch -nx -ex bt "$LIVE/t_load" "$(dumps crash .path)" 2>&1)" raiser "the first thread's stack"
}

@test "--exit, with a condition beside it that is not fulfilled" {
	series exit --exit --memory '>1G' "$OUT" -- "$LIVE/t_load" exit 1500
	ends "$SERIES" 0 exit
	is "$(dumps exit .trigger) $(dumps exit .value)" "exit 7" "trigger"
}

@test "a condition beside an event: the guard makes room, and is back for the event" {
	victim both memory 1000
	series both --signal USR1 --memory '>40M' --every 30s -n 2 --timeout 60s "$VICTIM" "$OUT"
	wait_for 30 grep -q '"event":"dump".*"trigger":"memory"' "$BATS_TEST_TMPDIR/both.json" ||
		fail "no dump for the memory"
	wait_for 20 sh -c "tail -n 1 '$BATS_TEST_TMPDIR/both.json' | grep -q '\"attached\":1'" || fail "the guard is not back"
	kill -USR1 "$VICTIM"
	ends "$SERIES" 0 both
	is "$(dumps both .trigger | tr '\n' ' ')" "memory signal " "triggers"
	kill -KILL "$VICTIM"
}

@test "--wait: for a name, for a pattern; a name that never comes" {
	local name="tw$$"
	cp "$LIVE/t_load" "$LIVE/$name"
	series wait --wait --timeout 40s "$name" "$OUT"
	local first=$SERIES
	series glob --wait --timeout 40s "${name:0:4}*" "$OUT"
	waits wait && waits glob || fail "nobody waits"
	"$LIVE/$name" none 100000 >/dev/null 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	ends "$first" 0 wait
	ends "$SERIES" 0 glob
	is "$(dumps wait .pid) $(dumps glob .pid)" "$VICTIM $VICTIM" "the processes"
	kill -KILL "$VICTIM"
	series never --wait --timeout 600ms "nobody-$name" "$OUT"
	ends "$SERIES" 1 never
}

@test "several processes: by words, by a name; without --all a name of two is a question" {
	local a b name="tv$$"
	cp "$LIVE/t_load" "$LIVE/$name"
	"$LIVE/$name" none 100000 >/dev/null 3>&- </dev/null &
	a=$!
	remember "$a"
	"$LIVE/$name" none 100000 >/dev/null 3>&- </dev/null &
	b=$!
	remember "$b"
	wait_for 10 grep -q "$name" "/proc/$a/comm" && wait_for 10 grep -q "$name" "/proc/$b/comm"
	series words -o "$OUT/" "$a" "$b" --concurrent 2
	ends "$SERIES" 0 words
	is "$(dumps words .pid | sort -n | tr '\n' ' ')" "$a $b " "processes by words"
	series one "$name" "$OUT"
	ends "$SERIES" 2 one
	has "$(cat "$BATS_TEST_TMPDIR/one.err")" "--all" "message"
	series all --all "$name" "$OUT"
	ends "$SERIES" 0 all
	is "$(dumps all .pid | sort -n | tr '\n' ' ')" "$a $b " "processes by name"
	kill -KILL "$a" "$b"
}

@test "a plan, and --hang: what is taken in which order, then the comparison" {
	victim plan none 100000
	series plan --every 300ms "$VICTIM" "$OUT"
	ends "$SERIES" 0 plan
	env "$REQTRAP" dump --json --series 2xmini,1xfull --every 300ms "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/p.json"
	is "$(dumps p .kind | tr '\n' ' ')" "mini mini full " "kinds of the plan"
	is "$(event p 'select(.event == "compared").stacks.samples')" 3 "samples compared"
	env "$REQTRAP" dump --json --hang --mini "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/h.json"
	is "$(dumps h .kind | tr '\n' ' ')" "stacks stacks stacks mini " "kinds of --hang"
	is "$(event h 'select(.event == "compared").stacks.samples')" 4 "samples compared"
	kill -KILL "$VICTIM"
}

@test "--cancel ends what waits on a process, and says if nothing does" {
	victim cancel none 100000
	series cancel --memory '>1G' "$VICTIM" "$OUT"
	waits cancel || fail "it does not wait"
	"$REQTRAP" dump --cancel "$VICTIM" 2>"$BATS_TEST_TMPDIR/c.err"
	has "$(cat "$BATS_TEST_TMPDIR/c.err")" "1 series" "message"
	ends "$SERIES" 143 cancel
	has "$(cat "$BATS_TEST_TMPDIR/cancel.err")" "0 of 1 dumps taken" "what was done"
	local code=0
	"$REQTRAP" dump --cancel "$VICTIM" 2>"$BATS_TEST_TMPDIR/c.err" || code=$?
	is "$code" 1 "exit code where none waits"
	[[ -e /proc/$VICTIM ]] || fail "the victim is gone"
	kill -KILL "$VICTIM"
}

@test "the process ends while it is waited for: exit code 1, in words" {
	victim gone exit 1500
	series gone --memory '>1G' "$VICTIM" "$OUT"
	ends "$SERIES" 1 gone
	has "$(cat "$BATS_TEST_TMPDIR/gone.err")" "ended before a dump" "message"
}

@test "a condition that is nonsense is one clear line" {
	local bad code
	for bad in "--cpu 80" "--memory many" "--threads -1" "--signal NOSUCH" "--series 3xhuge" "--for 3s" "--interval 1ms"; do
		code=0
		# shellcheck disable=SC2086
		"$REQTRAP" dump $bad $$ 2>"$BATS_TEST_TMPDIR/err" || code=$?
		is "$code" 2 "exit code of '$bad'"
		one_line "$(cat "$BATS_TEST_TMPDIR/err")" "message"
		has "$(cat "$BATS_TEST_TMPDIR/err")" "${bad%% *}" "message"
	done
}
