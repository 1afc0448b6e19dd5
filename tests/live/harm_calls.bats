#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Threads in every call that blocks, dumped three times in each way there is: no call
# ends early, none returns EINTR. Only what has sent a part of its bytes may say so.

load helpers

setup_file() {
	live_begin
	# shellcheck disable=SC2154 # of helpers
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -o "$LIVE/h_calls" \
		"$ROOT/tests/victims/h_calls.c" "$ROOT/tests/victims/h_calls_rows.c" -lpthread -lrt
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	SAID=$BATS_TEST_TMPDIR/said
	mkdir -m 700 "$BATS_TEST_TMPDIR/dumps"
}

teardown() {
	exec {GO}>&- || :
	[[ -z ${VICTIM:-} ]] || wait "$VICTIM" 2>/dev/null || :
}

dumped_in_calls() { # OPTIONS...
	local i
	mkfifo "$BATS_TEST_TMPDIR/go"
	: >"$SAID"
	"$LIVE/h_calls" 3 >"$SAID" 2>&1 3>&- <"$BATS_TEST_TMPDIR/go" &
	VICTIM=$!
	remember "$VICTIM"
	exec {GO}>"$BATS_TEST_TMPDIR/go"
	wait_for 20 grep -q ready "$SAID" || fail "not all threads are in their calls: $(cat "$SAID")"
	for ((i = 0; i < 3; i++)); do
		timeout 60 "$REQTRAP" "${@:2}" -o "$BATS_TEST_TMPDIR/dumps/core.$i" "$VICTIM" >"$BATS_TEST_TMPDIR/out" 2>&1 ||
			fail "dump $i: $(cat "$BATS_TEST_TMPDIR/out")"
		[[ -z $1 ]] || is "$(jq -r .method "$BATS_TEST_TMPDIR/out")" "$1" "method"
	done
	echo go >&"$GO"
	wait_for 60 gone "$VICTIM" || fail "h_calls does not end: $(cat "$SAID")"
	awk 'NR > 1 { n[$2]++ } END { for (v in n) printf "%s %d  ", v, n[v]; print "" }' "$SAID" | sed 's/^/# /' >&3
	is "$(awk 'NR > 1 && $2 !~ /^(ok|short|absent)$/' "$SAID")" "" "calls that were disturbed"
	is "$(awk '$2 == "short"' "$SAID" | grep -vc 'some')" 0 "short counts that are not legal"
	[[ $(grep -c . "$SAID") -gt 60 ]] || fail "rows are missing: $(cat "$SAID")"
}

@test "70 blocking calls and 3 dumps: from a clone" {
	dumped_in_calls clone dump --json --compress none --snapshot clone --pause-budget 2s
}

@test "70 blocking calls and 3 dumps: in the stop" {
	dumped_in_calls stop dump --json --compress none --snapshot stop --pause-budget 2s
}

@test "70 blocking calls and 3 dumps: mini" {
	dumped_in_calls '' dump --json --compress none --mini --pause-budget 2s
}
