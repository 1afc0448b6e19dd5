#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Several limits for one request, and looks at it again and again: each rule once, all
# in the one incident; the trace goes on behind the trap and marks it.

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

ask() { # URL...: each is waited for
	local url
	for url; do
		curl -s -o /dev/null --max-time 60 "127.0.0.1:$PYTHON_PORT$url"
	done
}

samples() { # JQ-PATH of each later look that was told
	events '.event == "sample"' | jq -r "$1" | paste -sd' '
}

@test "three limits: one incident, each fires once and in time, the trace goes on" {
	watch_start auto --time-taken 300ms --time-taken 900ms --time-taken 1500ms "$PYTHON"
	ask '/slow?ms=2200'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 1
	is "$(samples .limit_ms)" "900 1500" "further limits"
	is "$(samples .rule)" "command line, 900ms command line, 1500ms" "rules"
	is "$(samples .taken)" "true true" "stacks"
	between "$(samples .elapsed_ms | cut -d' ' -f1)" 900 1400 "the second limit"
	between "$(samples .elapsed_ms | cut -d' ' -f2)" 1500 2100 "the third limit"
	is "$(find "$STORE" -name incident.json | wc -l)" 1 "incidents"
	incident_of
	is "$(fact '[.trace[] | select(.kind == "trigger" or .kind == "sample" or .kind == "end") | .kind] | join(" ")')" \
		"trigger sample sample end" "marks of the trace, in order"
	is "$(fact '[.trace[] | select(.kind == "limit")] | length')" 3 "limits in the trace"
	is "$(fact '[.sample[].thread.call] | unique[]')" clock_nanosleep "what the thread did"
	is "$(fact '[.sample[].tid] | unique[]')" "$(fact .holder_tid)" "thread"
	times_add_up
	has "$(cat "$INCIDENT/report.txt")" "the same stack as before" "the page"
	has "$(cat "$INCIDENT/stacks.txt")" "after 900" "the stacks"
}

@test "samples every now and then, until it ends" {
	local looks
	watch_start auto --time-taken 200ms --samples 50 --every 200ms "$PYTHON"
	ask '/slow?ms=1500'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "sample"' | jq -r .reason | sort -u)" REPEAT "reasons"
	between "$(count_events '.event == "sample"')" 2 6 "looks in 1.3 s"
	is "$(events '.event == "sample" and .elapsed_ms > 1600' | wc -l)" 0 "looks behind the end"
	incident_of
	is "$(fact '.sample | length')" "$(count_events '.event == "sample"')" "looks on the page, and told"
	is "$(fact '[.sample[] | select(.thread.tid == .tid) | .tid] | unique[]')" "$(fact .holder_tid)" "thread of each"
	looks=$(($(fact '.sample | length') + 1))
	has "$(cat "$INCIDENT/report.txt")" "#0   $looks/$looks  sleep_as_asked" "the page: the same in all looks"
	is "$(fact '.holder_tid as $t | .thread_use[] | select(.tid == $t) | "\(.looks) \(.same)"')" "$looks $looks" "its looks"
	is "$(fact '[.thread_use[] | .over_ns > 300e6 and .cpu_ns < .over_ns / 4] | unique[]')" true "CPU of threads that wait"
}

@test "as many samples as asked for, then no more" {
	watch_start auto --time-taken 200ms --samples 3 --every 100ms "$PYTHON"
	ask '/slow?ms=1500'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(samples .number)" "2 3" "numbers"
}

rules() { # WORD...: the file, as it stands
	printf '%s\n' "actions-enabled = true" "$@" >"$BATS_TEST_TMPDIR/rules.conf"
	RULES=$BATS_TEST_TMPDIR/rules.conf
}

@test "warn, hung, failed: stacks, then a core and a command, then the status" {
	rules 'rule warn   { time-taken = 300ms capture = trace }' \
		'rule hung   { time-taken = 800ms capture = {stacks, mini} action = {"/bin/echo", "%RULE%", "%1%"} }' \
		'rule failed { status = 500-599 capture = trace }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/status/503?ms=2500'
	wait_events 1 '.event == "ended"' 30
	watch_stop 40
	watch_clean
	total trapped 1
	is "$(samples .rule)" "hung failed" "later rules"
	is "$(samples .reason)" "TIME_TAKEN STATUS_CODE" "reasons"
	incident_of
	is "$(fact .rule)" warn "first rule"
	is "$(fact '.sample[0].action.state')" ran "the command of the later rule"
	is "$(fact '.sample[0].action.output')" "hung $PYTHON" "its words"
	is "$(fact .action.state)" none "the first rule has no command"
	is "$(fact .capture.core_kind)" mini "core"
	is "$(fact .status)" 503 "status"
	[[ -s $INCIDENT/$(fact .capture.core_file) ]] || fail "there is no core"
	"$REQTRAP" verify "$INCIDENT/$(fact .capture.core_file)" >/dev/null || fail "the core is not sound"
}

@test "who was in flight while its process stood still for another one's core gets none; who came later does" {
	watch_start auto --time-taken 300ms --limit 10 --capture full "$PYTHON"
	client "$PYTHON_PORT" get '/slow?ms=3000' >/dev/null 3>&- &
	local first=$!
	client "$PYTHON_PORT" get '/slow?ms=3001' >/dev/null 3>&- &
	local second=$!
	wait_events 2 '.event == "ended"' 60
	wait "$first" "$second"
	client "$PYTHON_PORT" get '/slow?ms=2002' >/dev/null
	wait_events 3 '.event == "ended"' 60
	watch_stop
	is "$(events '.event == "trapped"' | jq -r '.suppressed // "captured"' | sort | tr '\n' ';')" \
		"captured;captured;it was in flight when its process stood still for the core of another request;" "captures"
	is "$(events '.event == "trapped" and (.url | contains("2002"))' | jq -r .suppressed)" null "the later one"
	total trapped 3
	total suppressed 1
}

@test "a rule whose limit is used up looks no more, and says so" {
	rules 'rule warn { time-taken = 200ms limit = 10 }' 'rule hung { time-taken = 500ms limit = 1 }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=900&n=1' '/slow?ms=900&n=2'
	wait_events 2 '.event == "ended"'
	watch_stop
	watch_clean
	total trapped 2
	is "$(samples .rule)" "hung hung" "both are told"
	is "$(samples .taken)" "true false" "one is taken"
	has "$(events '.event == "sample"' | tail -n 1 | jq -r .failed)" "limit of 1 per life of the process" "why not"
}

@test "the first that matches at a limit wins it; another scope's rule is not asked" {
	rules 'rule one   { time-taken = 300ms path = "/slow" }' 'rule two   { time-taken = 300ms }' \
		'rule three { time-taken = 600ms path = "/elsewhere" }' 'rule four  { time-taken = 600ms method = GET }'
	watch_start auto --config "$RULES" "$PYTHON"
	ask '/slow?ms=1200'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -r .rule)" one "the first"
	is "$(samples .rule)" four "the later"
}

@test "the watch goes before others, what it starts does not; and not when told so" {
	need chrt
	chrt -r 1 true 2>/dev/null || skip "no real-time priority is allowed here"
	watch_start auto --time-taken 200ms --action "$(command -v chrt) --pid 0" "$PYTHON"
	has "$(chrt --pid "$WATCH")" SCHED_RR "policy of the watch"
	ask '/slow?ms=600'
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	incident_of
	has "$(fact .action.output)" SCHED_OTHER "policy of the command"
	watch_start auto --priority normal --time-taken 200ms "$PYTHON"
	has "$(chrt --pid "$WATCH")" SCHED_OTHER "policy with --priority normal"
	watch_stop
}

@test "what makes no sense is refused" {
	run "$REQTRAP" watch --time-taken 1s --samples 3 --capture trace "$PYTHON"
	is "$status" 2 "exit code"
	has "$output" "samples are of stacks" "samples without stacks"
	run "$REQTRAP" watch --time-taken 1s --samples 3 --every 1ms "$PYTHON"
	is "$status" 2 "exit code"
	has "$output" "at least 50ms" "every"
}

@test "more at a time than are followed: what is full is told, in one line, and each is counted" {
	watch_start auto --time-taken 200ms --limit 1000 --capture trace "$PYTHON"
	client "$PYTHON_PORT" concurrent '/slow?ms=3000' 280 >/dev/null
	wait_events 256 '.event == "ended"' 60
	watch_stop 60
	total trapped 280
	total suppressed 24
	between "$(grep -c 'more counted, not followed' "$WATCH_ERR")" 1 2 "lines ($(cat "$WATCH_ERR"))"
	has "$(cat "$WATCH_ERR")" "256 trapped requests are under way, which is the most" "what is full"
}
