#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Cores in systemd's journal: what coredumpctl makes of them.

load helpers
load journal

setup_file() {
	need_watch
	# bats takes a skip here for a failure: each test says what is missing
	(skip() { exit 1; } && journal_needs) || return 0
	live_begin
	journal_begin
	start_python
	client "$PYTHON_PORT" get /fast >/dev/null
}

teardown_file() {
	live_end
}

setup() {
	journal_needs
	REQTRAP=$LIVE/reqtrap
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
}

teardown() {
	watch_kill
}

backtrace() { # the frames that gdb prints; coredumpctl prints its own lines before
	grep '^#' | sed 's/0x[0-9a-f]* in //'
}

@test "coredumpctl lists, tells of, unpacks and debugs a full core" {
	need zstd
	local core direct through
	"$REQTRAP" dump --json "$PYTHON" full.core.zst >json
	core=$OUT/full.core.zst
	is "$(jq -r .path json)" "$core" "path"
	is "$(entry "$core" | jq -r '[.COREDUMP_PID, .COREDUMP_UID, .COREDUMP_GID, .COREDUMP_SIGNAL,
		.COREDUMP_SIGNAL_NAME, .COREDUMP_COMM, .REQTRAP_KIND, .SYSLOG_IDENTIFIER] | join(" ")')" \
		"$PYTHON 0 0 19 SIGSTOP python3 full reqtrap" "fields"
	is "$(entry "$core" | jq -r .COREDUMP_EXE)" "$(readlink "/proc/$PYTHON/exe")" "COREDUMP_EXE"
	is "$(entry "$core" | jq -r .COREDUMP_CMDLINE)" "$(tr '\0' ' ' <"/proc/$PYTHON/cmdline" | sed 's/ $//')" "COREDUMP_CMDLINE"
	between "$(entry "$core" | jq -r '.COREDUMP_TIMESTAMP | tonumber / 1000000')" \
		"$(($(date +%s) - 60))" "$(($(date +%s) + 1))" "COREDUMP_TIMESTAMP in seconds"
	has "$(systemd coredumpctl list "$PYTHON")" " present " "list"
	has "$(systemd coredumpctl info "$PYTHON")" "Storage: $core (present)" "info"
	has "$(systemd coredumpctl info "$PYTHON")" "reqtrap wrote a full core of it" "info"
	systemd coredumpctl dump -o "$OUT/unpacked" COREDUMP_FILENAME="$core" >/dev/null
	zstd -qdc full.core.zst | cmp - unpacked
	through=$(systemd coredumpctl debug --debugger=gdb --debugger-arguments="-batch -nx -ex bt" \
		COREDUMP_FILENAME="$core" 2>/dev/null | backtrace)
	direct=$(gdb -batch -nx -ex bt "/proc/$PYTHON/exe" unpacked 2>/dev/null | backtrace)
	has "$direct" poll "backtrace"
	is "$through" "$direct" "backtrace by coredumpctl"
}

@test "a mini, plain and compressed, is debugged" {
	local core through
	"$REQTRAP" dump --mini --json "$PYTHON" >json
	core=$(jq -r .path json)
	is "$(entry "$core" | jq -r .REQTRAP_KIND)" mini "REQTRAP_KIND"
	through=$(systemd coredumpctl debug --debugger=gdb --debugger-arguments="-batch -nx -ex bt" \
		COREDUMP_FILENAME="$core" 2>/dev/null | backtrace)
	has "$through" poll "backtrace of the plain one"
	"$REQTRAP" dump --mini --json --compress zstd "$PYTHON" >json
	core=$(jq -r .path json)
	[[ $core == *.mini.core.zst ]] || fail "path: $core"
	entry "$core" >/dev/null
	systemd coredumpctl dump -o "$OUT/unpacked" COREDUMP_FILENAME="$core" >/dev/null
	zstd -qdc "$core" | cmp - unpacked
}

@test "procdump, and a name with line breaks; --no-journal" {
	local core=$OUT/$'two\nlines.dmp'
	"$REQTRAP" procdump -ma "$PYTHON" $'two\nlines.dmp' >/dev/null
	is "$(entry "$core" | jq -r .COREDUMP_FILENAME)" "$core" "COREDUMP_FILENAME"
	"$REQTRAP" dump --no-journal "$PYTHON" none.core >/dev/null
	"$REQTRAP" procdump -ma --no-journal "$PYTHON" none.dmp >/dev/null
	"$REQTRAP" dump "$PYTHON" last.core >/dev/null
	entry "$OUT/last.core" >/dev/null # what was sent before it would be there
	is "$(systemd journalctl -o json COREDUMP_FILENAME="$OUT/none.core" COREDUMP_FILENAME="$OUT/none.dmp")" "" "entries"
}

@test "a trapped request: its rule and path are there, its query is not" {
	local core
	watch_start auto --time-taken 300ms --capture trace,stacks,full "$PYTHON"
	client "$PYTHON_PORT" get "/slow?ms=900&token=s3cret" >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	incident_of
	core=$INCIDENT/core.zst
	is "$(entry "$core" | jq -r .REQTRAP_REQUEST_ID)" "$(fact .id)" "REQTRAP_REQUEST_ID"
	is "$(entry "$core" | jq -r .REQTRAP_RULE)" "$(fact .rule)" "REQTRAP_RULE"
	is "$(entry "$core" | jq -r .REQTRAP_DURATION_USEC)" "$(($(fact .elapsed_ns) / 1000))" "REQTRAP_DURATION_USEC"
	has "$(entry "$core" | jq -r .MESSAGE)" "held request GET /slow for 0.3 s" "MESSAGE"
	lacks "$(systemd journalctl -o json)" s3cret "journal"
	has "$(systemd coredumpctl info COREDUMP_FILENAME="$core")" "(present)" "info"
}

@test "where no journal is kept nothing is said about it" {
	# shellcheck disable=SC2016
	unshare -m --propagation private sh -c 'mount -t tmpfs none /run && exec "$@"' sh \
		"$PROGRAM" dump "$PYTHON" alone.core >out 2>err || fail "$(cat err)"
	is "$(cat err)" "" "messages"
	[[ -s alone.core ]] || fail "no core"
}

@test "serve: where stderr is the journal its lines have priority, rule, process and request as fields" {
	local log=$BATS_TEST_TMPDIR/serve.log conf=$BATS_TEST_TMPDIR/rules.conf serve
	printf 'store = "%s/store"\nrule "slow one" { time-taken = 200ms capture = {"trace"} }\n' "$BATS_TEST_TMPDIR" >"$conf"
	chmod go-w "$BATS_TEST_TMPDIR"
	: >"$log"
	env --default-signal=INT,TERM JOURNAL_STREAM="$(stat -c %d:%i "$log")" "$REQTRAP" serve -c "$conf" --max-overhead 100 \
		--socket "$BATS_TEST_TMPDIR/control.sock" "$PYTHON" >"$log" 2>&1 3>&- </dev/null &
	serve=$!
	remember "$serve"
	said() { systemd journalctl -o json SYSLOG_IDENTIFIER=reqtrap | jq -r "select($1) | .MESSAGE" | grep -q "$2"; }
	wait_for 20 said '.PRIORITY == "6"' "serving 1 rule" || fail "it does not say that it serves: $(cat "$log")"
	client "$PYTHON_PORT" get '/slow?ms=600&password=hush' >/dev/null
	wait_for 20 said '.REQTRAP_RULE == "slow one"' "trapped GET /slow" || fail "the trap is not in the journal: $(cat "$log")"
	is "$(systemd journalctl -o json 'REQTRAP_RULE=slow one' | jq -r '"\(.REQTRAP_METHOD) \(.REQTRAP_PATH) \(.REQTRAP_PID) \(.SYSLOG_IDENTIFIER) \(.REQTRAP_REQUEST_ID | length)"')" \
		"GET /slow $PYTHON reqtrap 12" "fields"
	between "$(systemd journalctl -o json 'REQTRAP_RULE=slow one' | jq -r '.REQTRAP_DURATION_USEC')" 200000 20000000 "its duration"
	lacks "$(systemd journalctl -o json SYSLOG_IDENTIFIER=reqtrap)" hush "a secret"
	printf 'rule "slow one" { time-token = 1s }\n' >"$conf"
	kill -HUP "$serve"
	wait_for 20 said '.PRIORITY == "3"' "the old rules stay" || fail "the error is not in the journal"
	lacks "$(cat "$log")" "trapped" "stderr"
	end_process "$serve"
}
