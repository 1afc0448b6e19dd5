#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What outlives a watch: what a rule has used up, and how much stays in the store.

load helpers

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq curl
}

teardown() {
	watch_kill
}

ask() { # PATH
	curl -s -o /dev/null --max-time 60 "127.0.0.1:$PYTHON_PORT$1"
}

rules() { # LINE...: the file, as it stands
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/rules.conf"
	RULES=$BATS_TEST_TMPDIR/rules.conf
}

@test "a limit that is used up stays so in the next watch; books that are nonsense are begun anew" {
	rules 'rule slow { time-taken = 100ms }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=300&n=1'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total suppressed 0
	[[ $(stat -c %a "$STORE/limits.json") == 600 ]] || fail "the books are open to others"
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=300&n=2'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total suppressed 1
	incident_of
	has "$(fact .suppressed)" "limit of 1 per life of the process" "why not"
	is "$("$REQTRAP" list --json -o "$STORE" | wc -l)" 2 "incidents that are listed"
	echo nonsense >"$STORE/limits.json"
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=300&n=3'
	wait_events 1 '.event == "ended"'
	watch_stop
	total suppressed 0
	has "$(cat "$WATCH_ERR")" "limits are counted anew" "the message"
}

@test "books that cannot be written are told once and written as soon as they can be" {
	rules 'rule slow { time-taken = 100ms limit = 50 capture = trace }'
	watch_start auto --config "$RULES" "$PYTHON"
	mkdir -p "$STORE/.limits.json.new/taken"
	ask '/slow?ms=200&n=1'
	ask '/slow?ms=200&n=2'
	wait_events 2 '.event == "ended"'
	wait_for 10 grep -q 'limits do not outlive a restart until it can be' "$WATCH_ERR"
	[[ ! -e $STORE/limits.json ]] || fail "there are books"
	rm -r "$STORE/.limits.json.new"
	wait_for 10 grep -q 'is written again' "$WATCH_ERR"
	is "$(jq '.rules[0].captured' "$STORE/limits.json")" 2 "captures in the books"
	is "$(grep -c 'limits do not outlive' "$WATCH_ERR")" 1 "times that it was told"
	watch_stop
}

@test "of the greediest path the oldest goes" {
	rules 'keep { files = 3 }' 'rule slow { time-taken = 100ms limit = 50 capture = trace }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/status/200?ms=200'
	for n in 1 2 3 4; do ask "/slow?ms=200&n=$n"; done
	wait_events 5 '.event == "ended"'
	watch_stop
	total trapped 5
	is "$(find "$STORE" -mindepth 1 -maxdepth 1 -type d -name '*-GET-*' | sed 's/.*-GET-//' | sort | paste -sd' ')" \
		"slow slow status-200" "what is left"
	has "$(cat "$WATCH_ERR")" "to keep within 'keep'" "the message"
}

@test "a disk with too little room: captures stop, the watch does not" {
	rules 'keep { free-space = 9000T }' 'rule slow { time-taken = 100ms limit = 50 }'
	watch_start auto --config "$RULES" "$PYTHON"
	wait_for 10 grep -q "captures stop" "$WATCH_ERR" || fail "it does not say that captures stop"
	ask '/slow?ms=300'
	wait_events 1 '.event == "ended"'
	watch_stop
	total trapped 1
	total suppressed 1
	incident_of
	has "$(fact .suppressed)" "less free than 'free-space' wishes" "why not"
}
