#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Java's frames and locks on running JVMs, against what jstack says at the same time; and that
# a JVM which cannot take the question is left alone.

load helpers

setup_file() {
	need_watch
	need java javac jstack jq python3
	live_begin
	mkdir "$LIVE/classes"
	javac -d "$LIVE/classes" "$LIVE_TESTS/servers/Threads.java" || fail "javac"
	chmod -R a+rX "$LIVE"
}

teardown_file() {
	live_end
}

# start_java NAME [COMMAND...] OPTIONS...: its id in $STARTED
start_java() {
	start "$1" java -Xmx64m "${@:2}" -cp "$LIVE/classes" Threads
}
ready() {
	wait_for 20 grep -q '^ready$' "$LIVE/log.$1" || fail "Java does not start: $(cat "$LIVE/log.$1")"
}

stacks() { # PID: its JSON in $JSON
	JSON=$("$REQTRAP" stacks "$1" --json) || fail "stacks of $1"
}
of_thread() { # NAME FIELD
	jq -r --arg name "$1" ".analysis.thread[] | select(.comm == \$name) | $2" <<<"$JSON"
}
why_not() {
	jq -r '[.analysis.thread[].script.unavailable // empty] | join("\n")' <<<"$JSON"
}

# No file that asks for attach, no stacks in its own output; it lives, and no signal waits for it.
unharmed() { # PID NAME
	lacks "$(cat "$LIVE/log.$2")" "Full thread dump" "$2: output of the JVM"
	! gone "$1" || fail "$2 is gone"
	is "$(awk '/^ShdPnd/ { print $2 }' "/proc/$1/status")" 0000000000000000 "$2: signals that wait"
	no_wish "$1" "$2"
}
no_wish() { # PID NAME
	local dir
	for dir in /tmp "$(readlink "/proc/$1/cwd")"; do
		[[ ! -e $dir/.attach_pid$1 ]] || fail "$2: $dir/.attach_pid$1 is left"
	done
}

@test "java: every thread's frames, files and lines are jstack's, at many moments of a busy JVM" {
	start_java equal
	ready equal
	local n same=0 before ours moments=${REQTRAP_MOMENTS:-20}
	stacks "$STARTED" # the first opens the door
	is "$(jq -r .analysis.language <<<"$JSON")" "Java $(java -version 2>&1 | sed -n 's/.* version "\([0-9._]*\).*/\1/p')" language
	is "$(why_not)" "" incomplete
	for ((n = 0; n < moments; n++)); do
		jstack -l "$STARTED" >"$LIVE/before"
		"$REQTRAP" stacks "$STARTED" --json >"$LIVE/json"
		jstack -l "$STARTED" >"$LIVE/after"
		before=$(python3 "$LIVE_TESTS/jstack.py" "$LIVE/before" "$LIVE/after")
		ours=$(python3 "$LIVE_TESTS/jstack.py" --ours "$LIVE/json")
		[[ $(wc -l <<<"$before") -ge 10 ]] || fail "jstack said: $before"
		# a thread that moves may have been elsewhere in between: those at rest may not
		before=$(grep -v 'Threads[.]move\|Attach\|Threads[.]spin' <<<"$before")
		[[ -z $(comm -23 <(sort <<<"$before") <(sort <<<"$ours")) ]] ||
			fail "moment $n: $(diff <(sort <<<"$before") <(sort <<<"$ours"))"
		same=$((same + $(wc -l <<<"$before")))
	done
	between "$same" "$((8 * moments))" 100000 "threads compared"
	echo "# $same stacks the same as jstack's, at $moments moments" >&3
	unharmed "$STARTED" equal
	end_process "$STARTED"
}

@test "java: monitors, AQS locks and a deadlock, each with its owner" {
	start_java locks
	ready locks
	stacks "$STARTED"
	local keeper
	keeper=$(of_thread keeper .tid)
	has "$(of_thread enters .waits_for)" "monitor 0x" monitor
	has "$(of_thread enters .waits_for)" "(java.lang.Object) held by $keeper \"keeper\"" monitor
	has "$(of_thread locks .waits_for)" "ReentrantLock 0x" AQS
	has "$(of_thread locks .waits_for)" "held by $keeper \"keeper\"" AQS
	is "$(of_thread reads .waits_for_tid)" "$keeper" "who has the book"
	has "$(of_thread hears .waits_for)" "notify of 0x" wait
	is "$(of_thread deep .waits_for)" "a sleep to end" sleep
	is "$(of_thread left .waits_for_tid)" "$(of_thread right .tid)" left
	is "$(of_thread right .waits_for_tid)" "$(of_thread left .tid)" right
	is "$(jq '.analysis.deadlock | length' <<<"$JSON")" 1 deadlocks
	has "$(jq -r '.analysis.deadlock[0]' <<<"$JSON")" "$(of_thread left .tid)" deadlock
	has "$(jq -r '.analysis.note[]' <<<"$JSON")" "itself told its stacks and locks" note
	between "$(of_thread spins .cpu_ns)" 1000000 1000000000000 "CPU of the one that spins"
	end_process "$STARTED"
}

@test "java: of a core the line that reads its frames is told, and is right" {
	need jhsdb zstd
	start_java core
	ready core
	(cd "$LIVE" && "$REQTRAP" dump "$STARTED" >"$LIVE/dumped") || fail "dump: $(cat "$LIVE/dumped")"
	local core line
	core=$(find "$LIVE" -name "*_${STARTED}_*core*" -print -quit)
	stacks "$core"
	line=$(jq -r '.analysis.note[] | select(contains("jhsdb jstack")) | sub("^.*core: "; "")' <<<"$JSON")
	has "$line" "jhsdb jstack --core '$LIVE/" line
	[[ $(bash -c "$line" 2>&1) == *Threads.keep* ]] || fail "$line: $(bash -c "$line" 2>&1 | tail -5)"
	end_process "$STARTED"
}

@test "java: as another user, in a pid and mount name space of its own" {
	need unshare setpriv
	unshare -fpm --mount-proc true 2>/dev/null || skip "cannot make name spaces"
	# shellcheck disable=SC2016 # the inner shell's
	start spaced unshare -fpm --mount-proc setpriv --reuid 65534 --regid 65534 --clear-groups \
		sh -c 'cd / && exec java -Xmx64m -cp "$0" Threads' "$LIVE/classes"
	ready spaced
	local outer=$STARTED pid
	pid=$(pgrep -P "$outer")
	stacks "$pid"
	is "$(why_not)" "" incomplete
	has "$(of_thread enters .waits_for)" "held by $(of_thread keeper .tid) \"keeper\"" monitor
	lacks "$(cat "$LIVE/log.spaced")" "Full thread dump" "output of the JVM"
	[[ -z $(find "/proc/$pid/root/tmp" -maxdepth 1 -name '.attach_pid*' -newer "$LIVE/classes") ]] || fail "a file is left"
	end_process "$pid"
	end_process "$outer"
}

@test "java: attach that is turned off is respected, wherever that is said" {
	echo '-XX:+DisableAttachMechanism' >"$LIVE/options"
	start_java off -XX:+DisableAttachMechanism
	ready off
	stacks "$STARTED"
	has "$(why_not)" "unavailable: attach is off" why
	[[ $(of_thread spins '.stack.frame | length') -gt 0 ]] || fail "no native frames either"
	unharmed "$STARTED" off
	end_process "$STARTED"

	start environ env JAVA_TOOL_OPTIONS=-XX:+DisableAttachMechanism java -Xmx64m -cp "$LIVE/classes" Threads
	ready environ
	stacks "$STARTED"
	has "$(why_not)" "unavailable: attach is off" why
	unharmed "$STARTED" environ
	end_process "$STARTED"

	start_java file "@$LIVE/options"
	ready file
	stacks "$STARTED"
	has "$(why_not)" "unavailable: its options are in a file" why
	unharmed "$STARTED" file
	end_process "$STARTED"
}

@test "java: with -Xrs SIGQUIT would be its end, and is not sent" {
	start_java xrs -Xrs -XX:+DisableAttachMechanism
	ready xrs
	stacks "$STARTED"
	has "$(why_not)" "unavailable: it does not take SIGQUIT" why
	unharmed "$STARTED" xrs
	end_process "$STARTED"

	start_java xrs_open -Xrs # listens from the start
	ready xrs_open
	stacks "$STARTED"
	is "$(why_not)" "" "with a socket of its own"
	unharmed "$STARTED" xrs_open
	end_process "$STARTED"
}

@test "java: one that is stopped is not asked, and none the worse when it goes on" {
	start_java stopped
	ready stopped
	kill -STOP "$STARTED"
	wait_for 5 grep -q '^State:.*T' "/proc/$STARTED/status"
	stacks "$STARTED"
	has "$(why_not)" "unavailable: it is stopped" why
	unharmed "$STARTED" stopped
	kill -CONT "$STARTED"
	stacks "$STARTED"
	is "$(why_not)" "" "when it runs again"
	unharmed "$STARTED" stopped
	end_process "$STARTED"
}

@test "java: one that starts is asked when it can answer, and lives" {
	local n asked=0 refused=0
	for ((n = 0; n < 12; n++)); do
		start_java "young$n"
		# at each stage of its start: as many threads as it has by then
		wait_for 10 eval "(( \$(ls /proc/$STARTED/task | wc -l) > n ))" || :
		stacks "$STARTED"
		if [[ $(why_not) == *unavailable* ]]; then refused=$((refused + 1)); else asked=$((asked + 1)); fi
		ready "young$n"
		unharmed "$STARTED" "young$n"
		end_process "$STARTED"
	done
	is "$((asked + refused))" 12 rounds
}

@test "java: a killed reqtrap leaves neither a file nor a signal" {
	local n ours
	for ((n = 0; n < 20; n++)); do
		start_java "kill$n" # a new one each time: its door is shut
		ready "kill$n"
		setsid "$REQTRAP" stacks "$STARTED" >"$LIVE/cut" 2>&1 3>&- &
		ours=$!
		# all of it takes some 100 ms
		python3 -c "import time; time.sleep($n * 0.006)"
		kill -KILL -- "-$ours" || :
		wait "$ours" || :
		wait_for 5 eval "! pgrep -g $ours"
		wait_for 15 no_wish "$STARTED" "kill$n" || fail "round $n: a file is left"
		wait_for 5 unharmed "$STARTED" "kill$n" || unharmed "$STARTED" "kill$n"
		stacks "$STARTED"
		is "$(why_not)" "" "round $n, afterwards"
		unharmed "$STARTED" "kill$n"
		end_process "$STARTED"
	done
}
