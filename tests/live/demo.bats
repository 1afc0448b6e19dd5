#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The demo traps what its shop does wrong, and its pages are right about the cause.

load helpers

setup_file() {
	live_begin
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq
	STORE=$BATS_TEST_TMPDIR/store
	chmod go-w "$BATS_TEST_TMPDIR"
}

of_kind() { # PATH FILTER
	local dir
	dir=$(jq -r "select(.event == \"stored\" and .url == \"$1\") | .incident" <"$BATS_TEST_TMPDIR/out")
	[[ -n $dir ]] || fail "$1 was not trapped"
	jq -r "$2" "$dir/incident.json"
}

functions='[.analysis.thread[] | select(.holder) | .stack.frame[].function] | join(" ")'

@test "every kind of slow request is trapped while it runs, and the pages name the cause" {
	local errors owner
	"$REQTRAP" demo --json --seconds 40 -o "$STORE" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&-
	errors=$(cat "$BATS_TEST_TMPDIR/err")
	is "$errors" "" "messages"
	has "$(of_kind /sleep "$functions")" "report_wait_for_printer report_print" "stack of /sleep"
	has "$(of_kind /upstream "$functions")" "price_ask_tax_office price_show" "stack of /upstream"
	has "$(of_kind /spin "$functions")" "search_score_every_product search_find_products" "stack of /spin"
	has "$(of_kind /lock "$functions")" "checkout_wait_for_inventory_lock checkout_reserve_item" "stack of /lock"

	# The lock's owner is the thread that counts the shelves, and the verdict says so.
	owner=$(of_kind /lock '.analysis.thread[] | select(.holder) | .waits_for_tid')
	has "$(of_kind /lock ".analysis.thread[] | select(.tid == $owner) | .stack.frame[].function")" \
		restock_count_shelves "stack of the lock's owner"
	has "$(of_kind /lock .verdict)" "$owner" "verdict of /lock"

	local path
	for path in /sleep /upstream /spin /lock; do
		is "$(of_kind $path .reason)" TIME_TAKEN "reason of $path"
		is "$(of_kind $path .capture.running_at_snapshot)" true "running_at_snapshot of $path"
		between "$(of_kind $path .elapsed_ns)" 400000000 690000000 "elapsed_ns of $path"
		between "$(of_kind $path .time_taken_ns)" 700000000 60000000000 "time_taken_ns of $path"
	done
	is "$(of_kind /fail '[.reason, .status] | join(" ")')" "STATUS_CODE 503" "reason of /fail"
	# It computes; on a busy machine it waits for a CPU, too, never for anything else.
	between "$(of_kind /spin '[.spending[] | select(.kind == "cpu") | .ns] | add // 0')" 10000000 690000000 "CPU of /spin"
	between "$(of_kind /spin '[.spending[] | select(.kind == "cpu" or .kind == "runnable") | .ns] | add // 0')" \
		360000000 690000000 "CPU of /spin, and waiting for it"
	between "$(of_kind /sleep '[.spending[] | select(.kind == "cpu") | .ns] | add // 0')" 0 50000000 "CPU of /sleep"

	# A core of a few megabytes each; what is not captured was over the limit.
	local dir
	for dir in $(jq -r 'select(.event == "stored") | .incident' <"$BATS_TEST_TMPDIR/out"); do
		between "$(stat -c %s "$dir/core.zst")" 10000 20000000 "size of core.zst"
		zstd -qt "$dir/core.zst"
	done
	is "$(jq 'select(.event == "totals") | .lost_events' <"$BATS_TEST_TMPDIR/out")" 0 "lost_events"
}

@test "for people: a page in the terminal, where everything lies, and how to go on; nothing runs on" {
	local out pid
	out=$(cd "$BATS_TEST_TMPDIR" && "$REQTRAP" demo --seconds 15 -o "$STORE" 2>&1 3>&-)
	has "$out" "Where it lies: $STORE/" "text"
	has "$out" "report.html" "text"
	has "$out" "trace.json" "text"
	has "$out" "core.zst" "text"
	has "$out" "reqtrap watch :80 --time-taken 2s" "text"
	pid=$(sed -n 's/.*(process \([0-9]*\)).*/\1/p' <<<"$out" | head -n 1)
	[[ -n $pid ]] || fail "no process id in: $out"
	gone "$pid" || fail "the shop runs on"
}

@test "it cannot run without rights, and says which" {
	need setpriv
	cp "$REQTRAP" "$LIVE/reqtrap"
	local status=0 errors
	errors=$(cd / && setpriv --reuid nobody --regid nogroup --clear-groups "$LIVE/reqtrap" demo 2>&1 3>&-) || status=$?
	is "$status" 3 "exit code ($errors)"
	one_line "$errors" "message"
	has "$errors" "CAP_" "message"
}

@test "mistakes on the line" {
	local status=0
	"$REQTRAP" demo nonsense 2>/dev/null || status=$?
	is "$status" 2 "exit code"
	status=0
	"$REQTRAP" demo --seconds 0 2>/dev/null || status=$?
	is "$status" 2 "exit code"
}
