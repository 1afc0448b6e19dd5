#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Goroutines of running programs, against what Go's own traceback says of them.
# REQTRAP_GO_MOMENTS: at how many moments (3).

load helpers

setup_file() {
	need_watch
	need go jq
	live_begin
	export GOCACHE="${REQTRAP_GOCACHE:-$LIVE/cache}" CGO_ENABLED=0
	go build -o "$LIVE/goroutines" "$ROOT/tests/live/servers/goroutines.go"
	go build -ldflags='-s -w' -o "$LIVE/stripped" "$ROOT/tests/live/servers/goroutines.go"
}

teardown_file() {
	live_end
}

# Ours: one line for each goroutine without a thread: 'goroutine 7 [sleep] time.Sleep time.go:195 ...'
our_goroutines() { # PID
	"$REQTRAP" stacks "$1" --json | jq -r '.analysis.task[] | "\(.name) [\(.waits_for)]" +
		([.stack.frame[] | " \(.function) \(.file):\(.line)"] | join(""))' | sort
}

# Go's, in the same words: those that run or are in a call have a thread, and are left out;
# so are arguments.
their_goroutines() { # FILE
	awk '/^goroutine / { split($0, part, /[][]/); head = part[1] "[" part[2] "]"; sub(/, [0-9]+ minutes/, "", head); next }
		/^created by / { getline; next }
		/^\t/ { sub(/^\t/, ""); sub(/ \+0x[0-9a-f]+$/, ""); head = head " " name " " $0; next }
		/^$/ { print head; head = ""; next }
		{ name = $0; sub(/\([^()]*\)$/, "", name) }
		END { print head }' "$1" | grep -vE '^goroutine 1 |\[(running|runnable|syscall)\]' | sort
}

said() { # writes it anew
	rm -f "$LIVE/said"
	kill -USR1 "$STARTED"
	wait_for 20 test -s "$LIVE/said"
}

@test "go: goroutines, their waits, functions, files and lines are those of Go's traceback" {
	start goroutines "$LIVE/goroutines" "$LIVE/said"
	wait_for 20 test -e "$LIVE/said.ready"
	local n ours theirs
	for n in $(seq "${REQTRAP_GO_MOMENTS:-3}"); do
		said
		theirs=$(their_goroutines "$LIVE/said")
		# the main one has just written what we compare with
		ours=$(our_goroutines "$STARTED" | grep -v '^goroutine 1 ')
		[[ $(wc -l <<<"$theirs") -ge 8 ]] || fail "Go said: $(cat "$LIVE/said")"
		[[ $ours == "$theirs" ]] || fail "moment $n: $(diff <(echo "$ours") <(echo "$theirs"))"
	done
	has "$ours" "[semacquire]" "a mutex"
	end_process "$STARTED"
}

@test "go: a goroutine that computes is shown on its thread, stripped as well; what is lost is said" {
	local program json
	for program in goroutines stripped; do
		start "spin-$program" "$LIVE/$program" "$LIVE/said" spin
		wait_for 20 computes "$STARTED" || fail "$program: $(jq -c .analysis "$LIVE/json")"
		has "$(jq -r .analysis.language "$LIVE/json")" "Go 1." language
		json=$(jq -r '.analysis.note[]?' "$LIVE/json")
		if [ "$program" = stripped ]; then
			has "$json" "the executable is stripped" note
		else
			lacks "$json" "the executable is stripped" note
		fi
		end_process "$STARTED"
	done
}

computes() { # PID
	"$REQTRAP" stacks "$1" --json >"$LIVE/json" &&
		jq -e '[.analysis.thread[].script.frame[]? | select(.function == "main.spin" and (.file | endswith("goroutines.go")))] | length == 1' "$LIVE/json"
}
