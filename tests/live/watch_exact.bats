#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Where requests and replies begin and end, byte by byte: heads split at every byte,
# framing that two readers may read in two ways, pipelines longer than the queue, bodies
# that look like requests, interim and bodiless replies, FastCGI; read by recv, read,
# readv and recvmsg (with and without a peek before), written by send, write, writev and
# sendmsg. The server knows the truth (exact.py), the totals must tell the same.

load helpers

setup_file() {
	live_begin
	export EXACT_CONTROL=$LIVE/control EXACT_PORT
	EXACT_PORT=$(free_port)
	start exact python3 "$LIVE_TESTS/exact.py" serve "$EXACT_PORT"
	export EXACT=$STARTED
	wait_for 15 test -S "$EXACT_CONTROL"
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq
}

teardown() {
	watch_kill
}

corpus() { # HOOKS OPTION...
	local truth
	watch_start "$1" --time-taken 60s "${@:2}" "$EXACT"
	truth=$(timeout 120 python3 "$LIVE_TESTS/exact.py" run "$EXACT_PORT") || fail "the corpus: $truth"
	watch_stop
	is "$(jq -r '"c\(.complete) g\(.gap) i\(.end_inferred) a\(.aborted) q\(.refused_pipelined) u\(.unseen)"' <<<"$TOTALS")" \
		"$truth" "verdicts, and requests lost by cause"
	is "$(jq '.requests - .complete - .gap - .end_inferred - .aborted' <<<"$TOTALS")" 0 "requests without a verdict"
	total in_flight 0
	total blind 0
	total lost_events 0
}

@test "the corpus: every request is there, with the right verdict (sock)" {
	corpus sock
}

@test "the corpus: every request is there, with the right verdict (syscalls)" {
	corpus syscalls
}

@test "one slot: what is refused for lack of slots does not disturb what is not" {
	local truth
	watch_start auto --time-taken 60s --slots 1 "$EXACT"
	truth=$(timeout 120 python3 "$LIVE_TESTS/exact.py" run "$EXACT_PORT" get pipelined-8 pipelined-bodies get pipelined-20-heads chunked get) ||
		fail "the corpus: $truth"
	watch_stop
	is "$truth" "c30 g0 i0 a0 q12 u0" "the truth"
	# Of each pipeline the first gets the slot.
	is "$(jq -r '"\(.complete) \(.gap) \(.aborted) \(.refused) \(.unseen)"' <<<"$TOTALS")" "12 0 0 30 0" "complete, gap, aborted, refused, unseen"
}
