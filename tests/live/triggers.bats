#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016,SC2030,SC2031,SC2153,SC2154,SC2164
# Conditions of 'dump', each on a victim that crosses its threshold at a moment it tells:
# fired once, not before, within an interval; and on one that does not: never. Moments are
# those of the victim's own lines and of the dump's 'fired_wall_ns'; the order is exact, and
# the machine may be slow: beside the interval there is room for that.

load helpers

setup_file() {
	live_begin
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/t_load" "$ROOT/tests/victims/t_load.c" -lpthread
}

teardown_file() {
	local group groups
	groups=$(cat "$LIVE/groups" 2>/dev/null || :)
	live_end
	for group in $groups; do
		rmdir "$group"/* "$group" 2>/dev/null || :
	done
}

setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
}

victim() { # NAME WHAT MS [FILE]: sets VICTIM; what it says is in NAME.said
	"$LIVE/t_load" "${@:2}" >"$BATS_TEST_TMPDIR/$1.said" 3>&- </dev/null &
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

INTERVAL=0.2 # of all series here
SLACK=20     # for a machine that is busy

crossed() { # NAME: seconds since the victim crossed, at the moment that its dump was fired
	awk -v a="$(awk '/^crossed/ { print $2 }' "$BATS_TEST_TMPDIR/$1.said")" -v b="$(dumps "$1" .fired_wall_ns)" \
		'BEGIN { split(a, t, "."); printf "%.6f", (b - (t[1] t[2])) / 1e9 }'
}

# The dump, one, was fired after the victim crossed, and within the interval.
soon_after() { # NAME [SECONDS that it must have held]
	one_line "$(dumps "$1" .path)" "paths of $1"
	between "$(crossed "$1")" "${2:-0}" "$(awk -v d="${2:-0}" -v i=$INTERVAL -v r=$SLACK 'BEGIN { print d + i + r }')" \
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
		if [[ $name == still ]]; then soon_after still 0.9; else soon_after "$name"; fi
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
		--timeout 2s "$VICTIM" "$OUT"
	ends "$SERIES" 1 none
	has "$(cat "$BATS_TEST_TMPDIR/none.err")" "no condition was fulfilled" "message"
	is "$(find "$OUT" -type f)" "" "files"
	is "$(event none 'select(.event == "dump").path')" "" "dumps told"
	between "$(event none 'select(.event == "waiting").taken' | tail -n 1)" 0 0 "dumps taken"
	kill -KILL "$VICTIM"
}

@test "--for: a condition that broke does not count; held for so long it does" {
	victim twice twice 2800
	series twice --memory '>40M' --for 1s --timeout 40s "$VICTIM" "$OUT"
	ends "$SERIES" 0 twice
	soon_after twice 0.9
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
		last=$(awk -v m="$mib" 'BEGIN { print 40 + 30 * int((m - 40) / 30 + 1) }') # beyond where it was
	done
	is "$(event grow 'select(.event == "compared").pid')" "$VICTIM" "comparison"
	kill -KILL "$VICTIM"
}

@test "idle for 20 s and then spinning: fired within the interval" {
	victim idle cpu 20000
	series idle --cpu '>3%' --timeout 60s "$VICTIM" "$OUT"
	ends "$SERIES" 0 idle
	soon_after idle
	kill -KILL "$VICTIM"
}

@test "--cpu-of machine: one thread is no more than its share of all CPUs" {
	(($(nproc) > 1)) || skip "one CPU is the machine"
	victim share cpu 1000
	series share --cpu '>3%' --cpu-of machine --timeout 60s "$VICTIM" "$OUT"
	local fires=$SERIES
	series never --cpu ">$((100 / $(nproc) + 5))%" --cpu-of machine --timeout 2500ms "$VICTIM" "$OUT"
	ends "$fires" 0 share
	soon_after share
	is "$(dumps share .trigger)" cpu-machine "trigger"
	between "$(dumps share '.value | rtrimstr("%")')" 3 "$((100 / $(nproc) + 1))" "percent of the machine"
	ends "$SERIES" 1 never
	is "$(dumps never .path)" "" "dumps of the share that is never reached"
	kill -KILL "$VICTIM"
}

group() { # CONTROLLER: a cgroup of our own, whose folder is printed; no line: there can be none
	local root
	for root in "/sys/fs/cgroup/$1" /sys/fs/cgroup; do
		if mkdir "$root/reqtrap-$$-$1" 2>/dev/null; then
			echo "$root/reqtrap-$$-$1" | tee -a "$LIVE/groups"
			return
		fi
	done
}

@test "pressure: tasks of its cgroup that wait for a CPU, for memory, for the disk; memory events" {
	local pressure memory name all=()
	pressure=$(group unified)
	memory=$(group memory)
	if [[ ! -e $pressure/cpu.pressure ]] || ! echo 8M 2>/dev/null >"$memory/memory.limit_in_bytes"; then
		skip "no cgroup with pressure and a memory limit can be made"
	fi
	head -c 32M /dev/zero >"$BATS_TEST_TMPDIR/big"
	python3 - "$BATS_TEST_TMPDIR/big" <<-'END'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		os.fsync(fd)
		os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
	END
	victim crowd crowd 1500
	local crowd=$VICTIM
	victim file file 1500 "$BATS_TEST_TMPDIR/big"
	local file=$VICTIM
	victim calm none 100000
	local calm=$VICTIM
	echo "$crowd" >"$pressure/cgroup.procs"
	echo "$file" >"$memory/cgroup.procs"
	mkdir "$pressure/file" "$pressure/calm"
	echo "$file" >"$pressure/file/cgroup.procs"
	echo "$calm" >"$pressure/calm/cgroup.procs"
	declare -A option=([crowd]="--cpu-pressure >5%" [events]="--memory-events" [memory]="--memory-pressure >0.1%"
		[io]="--io-pressure >0.1%") trigger=([crowd]=cpu-pressure [events]=memory-events [memory]=memory-pressure
		[io]=io-pressure)
	series calm --cpu-pressure '>60%' --memory-pressure '>1%' --io-pressure '>1%' --timeout 4s "$calm" "$OUT"
	local quiet=$SERIES
	for name in crowd events memory io; do
		cp "$BATS_TEST_TMPDIR/$([[ $name == crowd ]] && echo crowd || echo file).said" "$BATS_TEST_TMPDIR/$name.said" 2>/dev/null || :
		# shellcheck disable=SC2086
		series "$name" ${option[$name]} --timeout 60s "$([[ $name == crowd ]] && echo "$crowd" || echo "$file")" "$OUT"
		all+=("$SERIES")
	done
	for name in crowd events memory io; do
		ends "${all[0]}" 0 "$name"
		all=("${all[@]:1}")
		[[ $name == crowd ]] || cp "$BATS_TEST_TMPDIR/file.said" "$BATS_TEST_TMPDIR/$name.said"
		is "$(dumps "$name" .trigger)" "${trigger[$name]}" "trigger of $name"
		soon_after "$name"
		[[ $name != crowd ]] || kill -KILL "$crowd" # it slows all the others down
	done
	ends "$quiet" 1 calm
	is "$(dumps calm .path)" "" "dumps of one that waits for nothing"
	kill -KILL "$file" "$calm"
}

@test "many signals in quick succession: each is dumped or counted, and the process gets all in order" {
	victim queue queue 1500
	series queue --signal RTMIN --every 1h -n 1000 --timeout 60s "$VICTIM" "$OUT"
	attached queue || fail "the series is not attached"
	wait_for 60 grep -q came "$BATS_TEST_TMPDIR/queue.said" || fail "the victim has not sent them"
	env "$REQTRAP" dump --cancel "$VICTIM" 2>/dev/null
	ends "$SERIES" 143 queue
	is "$(grep came "$BATS_TEST_TMPDIR/queue.said")" "came 200 in order" "signals of the victim"
	local taken missed
	taken=$(dumps queue .path | wc -l)
	missed=$(event queue 'select(.event == "dump") | .missed // 0' | awk '{ n += $1 } END { print n + 0 }')
	between "$taken" 2 200 "dumps taken"
	is "$((taken + missed))" 200 "dumps, and signals counted as missed"
	is "$(find "$OUT" -type f -name '*.core' | wc -l)" "$taken" "files"
	has "$(cat "$BATS_TEST_TMPDIR/queue.err")" "meanwhile, not dumped" "what is told"
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$VICTIM/status")" 0 "TracerPid"
	is "$(children "$VICTIM")" "" "children of the victim"
	kill -KILL "$VICTIM"
}

@test "killed while it dumps one signal after the other: the process gets all, no half file is left" {
	local how
	for how in --mini "--full --snapshot stop" --full; do
		victim killed queue 800
		# shellcheck disable=SC2086
		series killed $how --signal USR2 --signal RTMIN -n 1000 "$VICTIM" "$OUT"
		wait_for 20 grep -q '"event":"dump"' "$BATS_TEST_TMPDIR/killed.json" || fail "no dump ($how)"
		kill -KILL "$SERIES"
		wait "$SERIES" || :
		wait_for 30 grep -q came "$BATS_TEST_TMPDIR/killed.said" || fail "the victim hangs ($how)"
		is "$(grep came "$BATS_TEST_TMPDIR/killed.said")" "came 200 in order" "signals of the victim ($how)"
		wait_for 10 grep -q '^TracerPid:.0$' "/proc/$VICTIM/status" || fail "it is traced still ($how)"
		# killed in the moment before a whole dump got its name: the next one there removes it
		between "$(find "$OUT" -name '.*.part*' | wc -l)" 0 3 "hidden files ($how)"
		kill -KILL "$VICTIM"
	done
}

@test "a signal on a thread that is not the main one: dumped, and the process gets it" {
	victim signal signal 3000
	series signal --signal USR1,USR2 --timeout 40s "$VICTIM" "$OUT"
	attached signal || fail "the series is not attached"
	ends "$SERIES" 0 signal
	soon_after signal
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

@test "--hold: a crashed process is let go when its dump takes too long, and dies of its signal" {
	local code=0 begun=$SECONDS
	start hold "$LIVE/t_load" grow 10
	remember "$STARTED"
	wait_for 10 grep -q grown "$LIVE/log.hold"
	series hold --crash --full --compress none --max-rate 1M --hold 1s "$STARTED" "$OUT"
	attached hold || fail "it is not attached"
	begun=$SECONDS
	kill -SEGV "$STARTED"
	wait "$STARTED" || code=$?
	is "$code" 139 "how it ended"
	between $((SECONDS - begun)) 0 30 "seconds that it was held"
	ends "$SERIES" 3 hold
	has "$(cat "$BATS_TEST_TMPDIR/hold.err")" "was let go after " "message"
	has "$(cat "$BATS_TEST_TMPDIR/hold.err")" "--hold" "message"
	is "$(find "$OUT" -type f)" "" "files"
}

@test "a disk that hangs does not hold a crashed process, nor us" {
	need mkfs.ext4 fsfreeze unshare
	need_mounts
	local code=0 disk=$BATS_TEST_TMPDIR/disk begun
	mkdir "$disk" && truncate -s 64M "$disk.img" && mkfs.ext4 -q "$disk.img"
	victim hang none 100000
	cat >"$BATS_TEST_TMPDIR/in.sh" <<-'END'
		mount -o loop "$1.img" "$1" || exit 77
		trap 'fsfreeze -u "$1" 2>/dev/null; umount "$1"' EXIT
		env --default-signal=INT "$2" dump --crash --full --hold 2s --json "$3" "$1" >"$4" 2>"$5" &
		series=$!
		until grep -q '"attached":1' "$4"; do read -rt 0.05 <> <(:); kill -0 $series || exit 78; done
		fsfreeze -f "$1" || exit 77
		kill -SEGV "$3"
		wait $series
		code=$?
		fsfreeze -u "$1"
		ls -A "$1" | grep -v lost+found >"$4.left"
		exit $code
	END
	begun=$SECONDS
	timeout 60 unshare -m --propagation private bash "$BATS_TEST_TMPDIR/in.sh" "$disk" "$REQTRAP" "$VICTIM" \
		"$BATS_TEST_TMPDIR/hang.json" "$BATS_TEST_TMPDIR/hang.err" 3>&- || code=$?
	[[ $code != 77 ]] || skip "no file system of our own can be mounted and frozen"
	is "$code" 3 "exit code ($(cat "$BATS_TEST_TMPDIR/hang.err"))"
	between $((SECONDS - begun)) 2 50 "seconds"
	has "$(cat "$BATS_TEST_TMPDIR/hang.err")" "was let go after " "message"
	is "$(cat "$BATS_TEST_TMPDIR/hang.json.left")" "" "files"
	code=0
	wait "$VICTIM" || code=$?
	is "$code" 139 "how it ended"
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
	series each --all --memory '>1G' --timeout 1s "$name" "$OUT"
	ends "$SERIES" 1 each
	is "$(event each 'select(.event == "waiting") | "\(.processes) \(.taken) \(.wanted)"' | head -n 1)" "2 0 1" "how many wait for how many dumps"
	kill -KILL "$a" "$b"
}

@test "not on a terminal: a line when it begins to wait, with the value against its threshold" {
	victim plain none 100000
	local code=0
	env "$REQTRAP" dump --mini --memory '>1G' --timeout 1s "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/plain.out" \
		2>"$BATS_TEST_TMPDIR/plain.err" </dev/null || code=$?
	is "$code" 1 "exit code"
	is "$(cat "$BATS_TEST_TMPDIR/plain.out")" "" "stdout"
	has "$(cat "$BATS_TEST_TMPDIR/plain.err")" "; 0 of 1 dumps taken; process $VICTIM 't_load'" "the line of one who waits"
	[[ $(cat "$BATS_TEST_TMPDIR/plain.err") =~ "memory "[0-9.]+" MiB, waits for > 1024.0 MiB" ]] || fail "no value and threshold: $(cat "$BATS_TEST_TMPDIR/plain.err")"
	[[ $(cat "$BATS_TEST_TMPDIR/plain.err") != *$'\r'* && $(cat "$BATS_TEST_TMPDIR/plain.err") != *$'\033'* ]] || fail "made for a terminal"
	between "$(wc -l <"$BATS_TEST_TMPDIR/plain.err")" 2 4 "lines"
	kill -KILL "$VICTIM"
}

@test "in a series: a new name and an exec are told apart, and the comparison names its process" {
	cat >"$BATS_TEST_TMPDIR/chameleon.py" <<'END'
import ctypes, os, sys, time
step = sys.argv[1]
libc = ctypes.CDLL(None)
def wait(name):
    while not os.path.exists(step + name):
        time.sleep(0.01)
print("ready", flush=True)
wait("/rename")
libc.prctl(15, b"chameleon", 0, 0, 0)
print("renamed", flush=True)
wait("/exec")
os.execv("/bin/sleep", ["sleep", "1000"])
END
	mkdir "$BATS_TEST_TMPDIR/steps"
	python3 "$BATS_TEST_TMPDIR/chameleon.py" "$BATS_TEST_TMPDIR/steps" >"$BATS_TEST_TMPDIR/c.said" 3>&- </dev/null &
	VICTIM=$!
	remember "$VICTIM"
	wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/c.said"
	env --default-signal=INT "$REQTRAP" dump --mini -n 3 --every 3s "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/c.out" 2>"$BATS_TEST_TMPDIR/c.err" 3>&- </dev/null &
	SERIES=$!
	remember "$SERIES"
	taken() { [[ $(find "$OUT" -name '*.core' | wc -l) == "$1" ]]; }
	wait_for 20 taken 1
	touch "$BATS_TEST_TMPDIR/steps/rename"
	wait_for 20 taken 2
	touch "$BATS_TEST_TMPDIR/steps/exec"
	ends "$SERIES" 0 c
	has "$(cat "$BATS_TEST_TMPDIR/c.err")" "process $VICTIM 'python3' is 'chameleon' now: it has a new name" "the new name"
	has "$(cat "$BATS_TEST_TMPDIR/c.err")" "process $VICTIM 'chameleon' is 'sleep' now: it called exec" "the exec"
	has "$(cat "$BATS_TEST_TMPDIR/c.out")" "process $VICTIM 'sleep'" "the comparison's process"
	kill -KILL "$VICTIM"
}

@test "a plan, and --hang: what is taken in which order, then the comparison" {
	victim plan none 100000
	series plan --every 300ms "$VICTIM" "$OUT"
	ends "$SERIES" 0 plan
	env "$REQTRAP" dump --json --series 2xmini,1xfull --every 300ms "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/p.json"
	is "$(dumps p .kind | tr '\n' ' ')" "mini mini full " "kinds of the plan"
	is "$(event p 'select(.event == "compared").stacks.samples')" 3 "samples compared"
	env "$REQTRAP" dump --json --hang --mini "$VICTIM" "$OUT" >"$BATS_TEST_TMPDIR/h.json"
	is "$(event h 'select(.event == "stacks" or .event == "dump") | .kind' | tr '\n' ' ')" "stacks stacks stacks mini " "kinds of --hang"
	is "$(event h 'select(.event == "compared").stacks.samples')" 4 "samples compared"
	kill -KILL "$VICTIM"
}

@test "--kill: the process ends when its last dump is there, not before, and nobody else" {
	victim other none 100000
	local other=$VICTIM
	victim kill none 100000
	series kill --kill -n 2 --every 300ms "$VICTIM" "$OUT"
	ends "$SERIES" 0 kill
	is "$(dumps kill .pid | tr '\n' ' ')" "$VICTIM $VICTIM " "dumps"
	wait_for 10 gone "$VICTIM" || fail "it is there still"
	gone "$other" && fail "the other one is gone"
	has "$(cat "$BATS_TEST_TMPDIR/kill.err")" "was ended (SIGKILL)" "message"
	# one that fails ends nobody
	series fail --kill --full --compress none --max-size 4K "$other" "$OUT"
	ends "$SERIES" 3 fail
	gone "$other" && fail "it was ended without a dump"
	series idle --kill --memory '>1G' --timeout 600ms "$other" "$OUT"
	ends "$SERIES" 1 idle
	gone "$other" && fail "it was ended without a condition"
	kill -KILL "$other"
}

@test "pgid: all processes of a group" {
	local leader members
	setsid bash -c '"$0" none 100000 & "$0" none 100000 & wait' "$LIVE/t_load" >/dev/null 3>&- </dev/null &
	leader=$!
	remember "$leader"
	wait_for 10 sh -c "[ \"\$(cat /proc/$leader/task/$leader/children | wc -w)\" = 2 ]" || fail "no group"
	members=$({ echo "$leader"; children "$leader"; } | sort -n | tr '\n' ' ')
	wait_for 10 sh -c "for p in $members; do grep -q '' /proc/\$p/exe || exit 1; done" || :
	series group --all "pgid:$leader" "$OUT"
	ends "$SERIES" 0 group
	is "$(dumps group .pid | sort -n | tr '\n' ' ')" "$members" "processes of the group"
	# shellcheck disable=SC2086
	kill -KILL $members
}

@test "--avoid-outage: what would have to wait is left out, and told" {
	victim a memory 1000
	local a=$VICTIM
	victim b memory 1000
	series avoid --avoid-outage --memory '>40M' --full --compress none -n 2 --every 1s --max-rate 40M --timeout 30s -o "$OUT/" "$a" "$VICTIM"
	ends "$SERIES" 0 avoid
	has "$(cat "$BATS_TEST_TMPDIR/avoid.err")" "is left out: another dump is under way" "message"
	is "$(dumps avoid .kind | grep -c full)" 2 "full dumps"
	series busy --avoid-outage --full --snapshot stop --pause-budget 1us --memory '>40M' --timeout 1500ms "$a" "$OUT"
	ends "$SERIES" 1 busy
	has "$(cat "$BATS_TEST_TMPDIR/busy.err")" "the 0.001 ms allowed" "message"
	kill -KILL "$a" "$VICTIM"
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

@test "what is traced already is refused at once, by the tracer's name; what a guard waits for is in JSON" {
	local code=0 begun err
	victim held none 100000
	series held --crash --signal USR1,RTMAX "$VICTIM" "$OUT"
	attached held
	is "$(event held 'select(.attached == 1) | "\(.pid) \(.crash) \(.signals | join(","))"' | head -n 1)" \
		"$VICTIM true USR1,RTMIN+30" "waiting event"
	begun=$(date +%s%N)
	err=$("$REQTRAP" dump --json --crash "$VICTIM" "$OUT" 2>&1 >"$BATS_TEST_TMPDIR/second.json") || code=$?
	(($(date +%s%N) - begun < 1500000000)) || fail "it took $((($(date +%s%N) - begun) / 1000000)) ms"
	is "$code" 3 "exit code"
	has "$err" "traced already" "message"
	has "$err" "('reqtrap')" "message"
	is "$(event second 'select(.event == "error").text' | grep -c 'traced already')" 1 "error as an event"
	kill "$SERIES" "$VICTIM"
}

@test "a command that ends at once: exit code 1; none, a device, --hang with an event: refused" {
	local code bad _
	for _ in 1 2 3; do
		code=0
		"$REQTRAP" procdump -ma -e -x "$OUT" /bin/true 2>"$BATS_TEST_TMPDIR/err" || code=$?
		is "$code" 1 "exit code of -x"
		lacks "$(cat "$BATS_TEST_TMPDIR/err")" "to end" "message"
	done
	for bad in "-o /dev/stdout $$" "-o /proc/self/x $$" "--crash --hang $$" "--memory <2G+500M $$"; do
		code=0
		# shellcheck disable=SC2086
		"$REQTRAP" dump $bad 2>"$BATS_TEST_TMPDIR/err" >"$BATS_TEST_TMPDIR/out" || code=$?
		is "$code" 2 "exit code of '$bad'"
		one_line "$(cat "$BATS_TEST_TMPDIR/err")" "message"
	done
	code=0
	"$REQTRAP" dump -- '' 2>"$BATS_TEST_TMPDIR/err" || code=$?
	is "$code" 2 "exit code of no program"
	has "$(cat "$BATS_TEST_TMPDIR/err")" "no such program" "message"
}
