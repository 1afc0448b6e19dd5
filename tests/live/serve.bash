# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# For tests of 'serve': a daemon of its own folder, its rules, and what it answers.

setup() {
	need_watch
	need jq
	need curl
	chmod go-w "$BATS_TEST_TMPDIR"
	S=$BATS_TEST_TMPDIR
	CONF=$S/rules.conf SOCKET=$S/control.sock LOG=$S/log
	export REQTRAP_SOCKET=$SOCKET
	SERVE=''
}

teardown() {
	[[ -z $SERVE ]] || end_process "$SERVE"
}

rules_file() { # TIME-TAKEN [MORE]
	cat >"$CONF.next" <<-END
		store = "$S/store"
		rule "slow" { time-taken = $1 limit = 100 ${2:-} }
	END
	mv "$CONF.next" "$CONF" # as editors do it, and never half
}

serving() {
	grep -q 'serving' "$LOG" || gone "$SERVE"
}

serve() { # OPTION...
	env --default-signal=INT,TERM "$REQTRAP" serve -c "$CONF" --max-overhead 100 "$@" "$PYTHON" >"$LOG" 2>&1 3>&- </dev/null &
	SERVE=$!
	remember "$SERVE"
	wait_for 15 serving || fail "it does not say that it serves"
	! gone "$SERVE" || fail "it has ended: $(cat "$LOG")"
}

serve_alone() { # without a TARGET
	env --default-signal=INT,TERM "$REQTRAP" serve -c "$CONF" --max-overhead 100 >"$LOG" 2>&1 3>&- </dev/null &
	SERVE=$!
	remember "$SERVE"
	wait_for 15 serving || fail "it does not say that it serves"
	! gone "$SERVE" || fail "it has ended: $(cat "$LOG")"
}

get() { # PATH [CURL OPTION...]
	curl -sS --max-time 20 --unix-socket "$SOCKET" "${@:2}" "http://localhost$1"
}

status_of() { # URL [CURL OPTION...]
	curl -s -o /dev/null --max-time 20 -w '%{http_code}' "${@:2}" "$1"
}

ask() { # URL
	curl -s --max-time 60 -o /dev/null "http://127.0.0.1:$PYTHON_PORT$1"
}

incidents() { # are at least COUNT
	(($(get /api/incidents | jq '.incidents | length') >= $1))
}

reloads() { # are at least COUNT
	(($(get /api/rules | jq .reloads) >= $1))
}

flying() { # PATH
	get /api/live | jq -e --arg p "$1" '.requests[] | select(.url | startswith($p))' >/dev/null
}
