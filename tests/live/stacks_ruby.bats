#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Ruby's frames on running interpreters, against what Thread#backtrace_locations says of the
# same threads at the same place; the GVL and Mutexes with their owners.

load helpers

setup_file() {
	need_watch
	need ruby jq
	live_begin
}

teardown_file() {
	live_end
}

# Of what 'stacks --json' wrote, innermost first: 'function file:line' of each thread. What is
# written in C has no place; Ruby says that of its caller.
our_frames() {
	jq -r '.analysis.thread[] | select(.script.frame) | "thread", (.script.frame as $f | range($f | length) as $i |
		first($f[$i:][] | select(.file)) as $at | "\($f[$i].function) \($at.file):\($at.line)")'
}

# One line a thread, sorted; not the main one, which has gone on.
by_thread() {
	awk '/^thread$/ { if (line) print line; line = ""; next } { line = line " <- " $0 } END { if (line) print line }' |
		grep -v '^ <- sleep [^ ]*<main>\|<- sleep [^ ]* <- <main> [^ ]*$' | sort
}

@test "ruby: every thread's methods, files and lines are Thread#backtrace's, live and from a core" {
	start frames ruby "$ROOT/tests/live/servers/frames.rb" "$LIVE/said"
	wait_for 20 test -e "$LIVE/said"
	local theirs ours said
	theirs=$(by_thread <"$LIVE/said")
	is "$(wc -l <<<"$theirs")" 5 "threads that Ruby tells of: $theirs"
	said=$("$REQTRAP" stacks "$STARTED" --json)
	is "$(jq -r .analysis.language <<<"$said")" "Ruby 3.1" language
	ours=$(our_frames <<<"$said" | by_thread)
	[[ $ours == "$theirs" ]] || fail "live: $(diff <(echo "$ours") <(echo "$theirs"))"
	is "$(jq '[.analysis.thread[].script.unavailable // empty] | length' <<<"$said")" 0 incomplete
	is "$(jq -r '.analysis.lock[] | select(.name | startswith("Mutex")) | .waiter | length' <<<"$said")" 1 "waiters for the Mutex"
	is "$(jq -r '.analysis as $a | $a.lock[] | select(.name | startswith("Mutex")) | .owner as $o |
		$a.thread[] | select(.tid == $o) | .script.frame[3].function' <<<"$said")" locked "the Mutex's owner"
	gdb -q -batch -p "$STARTED" -ex "gcore $LIVE/frames.core" >"$LIVE/gcore" 2>&1 || fail "$(cat "$LIVE/gcore")"
	ours=$("$REQTRAP" stacks "$LIVE/frames.core" --json | our_frames | by_thread)
	[[ $ours == "$theirs" ]] || fail "core: $(diff <(echo "$ours") <(echo "$theirs"))"
	end_process "$STARTED"
}

@test "ruby: threads that compute wait for the GVL, which one of them has" {
	start convoy ruby "$ROOT/tests/live/servers/convoy.rb" "$LIVE/convoy"
	wait_for 20 test -s "$LIVE/convoy"
	held() {
		"$REQTRAP" stacks "$STARTED" --json >"$LIVE/convoy.json" &&
			jq -e '[.analysis.lock[]? | select(.name == "the GVL" and .owner > 0) | .waiter[]] | length >= 2' "$LIVE/convoy.json"
	}
	wait_for 20 held
	is "$(jq '.analysis as $a | [$a.lock[] | select(.name == "the GVL") | .owner] | unique | length' "$LIVE/convoy.json")" 1 owners
	end_process "$STARTED"
}

@test "ruby: the stack is Thread#backtrace's at many moments (REQTRAP_MOMENTS) of ways by chance" {
	local n theirs ours moments=${REQTRAP_MOMENTS:-20}
	mkfifo "$LIVE/pipe"
	start moments ruby "$ROOT/tests/live/servers/moments.rb" "$LIVE/pipe" "$LIVE/moment" "${REQTRAP_SEED:-1}"
	exec 9<>"$LIVE/pipe"
	for ((n = 1; n <= moments; n++)); do
		at_moment() { [[ $(head -1 "$LIVE/moment" 2>/dev/null) == "$n" ]]; }
		wait_for 20 at_moment || fail "moment $n is not told"
		theirs=$(tail -n +2 "$LIVE/moment")
		ours=$("$REQTRAP" stacks "$STARTED" --json | jq ".analysis.thread |= map(select(.tid == $STARTED))" |
			our_frames | tail -n +2)
		[[ -n $theirs && $ours == "$theirs" ]] || fail "moment $n: $(diff <(echo "$ours") <(echo "$theirs"))"
		echo >&9
	done
	exec 9>&-
	echo "# the same as Thread#backtrace's at $moments moments" >&3
	end_process "$STARTED"
}
