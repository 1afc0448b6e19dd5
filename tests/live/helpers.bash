# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the live tests share: servers in a folder of their own on free ports, a watch
# that is waited for and ended in order, and checks that say what was there instead.
# Everything that is started is ended by its id; nothing is looked for by name.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LIVE_TESTS=$ROOT/tests/live
: "${REQTRAP:=$ROOT/build/reqtrap}"

# ---- checks ----

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	local file
	for file in "${WATCH_OUT:-}" "${WATCH_ERR:-}" "${LIVE:-}"/log.*; do
		if [[ -s $file ]]; then
			printf -- '--- %s\n' "${file##*/}" >&2
			tail -n 15 "$file" | cut -c1-1500 >&2
		fi
	done
	return 1
}

is() { # ACTUAL EXPECTED WHAT
	[[ $1 == "$2" ]] || fail "$3: '$1', expected '$2'"
}

has() { # TEXT PART WHAT
	[[ $1 == *"$2"* ]] || fail "$3: no '$2' in: ${1:0:3000}"
}

lacks() { # TEXT PART WHAT
	[[ $1 != *"$2"* ]] || fail "$3: '$2' is in: ${1:0:3000}"
}

between() { # NUMBER LEAST MOST WHAT
	awk -v n="$1" -v a="$2" -v b="$3" 'BEGIN { exit !(n != "" && n != "null" && n + 0 >= a && n + 0 <= b) }' ||
		fail "$4: '$1' is not between $2 and $3"
}

one_line() { # TEXT WHAT
	[[ -n $1 && $(printf '%s' "$1" | wc -l) -eq 0 ]] || fail "$2: not one line: '$1'"
}

PATIENCE=4 # a machine may be so much slower than the one a test was written on

wait_for() { # SECONDS COMMAND...: until the command succeeds
	local end=$((SECONDS + $1 * PATIENCE + 1))
	shift
	until "$@" 2>/dev/null; do
		((SECONDS < end)) || return 1
		read -rt 0.03 <> <(:) || :
	done
}

gone() { # PID: ended, or only a zombie of ours
	[[ ! -e /proc/$1 || $(awk '{ sub(/.*\) /, ""); print $1 }' "/proc/$1/stat" 2>/dev/null) == [ZX] ]]
}

# ---- what the tests need; a test that cannot run says why ----

need_watch() {
	[[ -x $REQTRAP ]] || fail "$REQTRAP is not built"
	((EUID == 0)) || skip "needs root"
}

need_mounts() { # a mount name space of its own, as for a disk that is full
	unshare -m --propagation private true 2>/dev/null || skip "cannot mount a file system of its own"
}

need() { # COMMAND...
	local c
	for c; do
		command -v "$c" >/dev/null || skip "$c is not installed"
	done
}

# ---- a folder and servers for one file of tests ----

live_begin() {
	LIVE=$(mktemp -d "${TMPDIR:-/tmp}/reqtrap-live.XXXXXX")
	chmod 755 "$LIVE"
	mkdir "$LIVE/www" "$LIVE/cgi" "$LIVE/php"
	cp "$LIVE_TESTS"/servers/php/*.php "$LIVE/php/"
	cp "$LIVE_TESTS"/servers/slow.cgi "$LIVE/cgi/"
	printf 'a small page\n' >"$LIVE/www/small.txt"
	head -c 1000000 /dev/urandom >"$LIVE/www/big.bin"
	: >"$LIVE/pids"
	export LIVE
}

live_end() {
	local pid born
	[[ -n ${LIVE:-} && -d $LIVE ]] || return 0
	while read -r pid born; do
		[[ $(birth_of "$pid") != "$born" ]] || end_process "$pid"
	done < <(tac "$LIVE/pids")
	rm -rf "$LIVE"
}

birth_of() { # PID: its start time, so that its number given to another is noticed
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

remember() { # PID: to be ended with the file of tests at the latest
	echo "$1 $(birth_of "$1")" >>"$LIVE/pids"
}

end_process() { # PID: TERM, then KILL
	kill -TERM "$1" 2>/dev/null || return 0
	wait_for 5 gone "$1" || kill -KILL "$1" 2>/dev/null || :
}

# Not one of those that the kernel gives to clients: one of them would take it before the
# server does, and whoever asks again and again whether it listens would meet himself there.
free_port() {
	python3 -c 'import random, socket
least = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
while True:
    with socket.socket() as s:
        try:
            s.bind(("", random.randrange(10000, least) if least > 12000 else 0))
            print(s.getsockname()[1])
            break
        except OSError:
            pass'
}

connects() { # PORT
	(exec 4<>"/dev/tcp/127.0.0.1/$1")
}

start() { # NAME COMMAND...: in the background, its id in $STARTED
	"${@:2}" >"$LIVE/log.$1" 2>&1 3>&- </dev/null &
	STARTED=$!
	remember "$STARTED"
}

start_on_port() { # NAME PORT COMMAND...
	start "$1" "${@:3}"
	wait_for 15 connects "$2" || fail "$1 does not listen on port $2"
}

fill() { # TEMPLATE KEY=VALUE...: prints it
	local script="s|@DIR@|$LIVE|g;s|@USER@|www-data|g;s|@GROUP@|www-data|g" pair
	for pair in "${@:2}"; do
		script+=";s|@${pair%%=*}@|${pair#*=}|g"
	done
	sed "$script" "$LIVE_TESTS/servers/$1"
}

start_python() {
	PYTHON_PORT=$(free_port)
	start_on_port python "$PYTHON_PORT" python3 "$LIVE_TESTS/servers/server.py" "$PYTHON_PORT"
	PYTHON=$STARTED
	export PYTHON PYTHON_PORT
}

start_node() { # [ADDRESS]
	NODE_PORT=$(free_port)
	start_on_port node "$NODE_PORT" node "$LIVE_TESTS/servers/server.js" "$NODE_PORT" "${1:-127.0.0.1}"
	NODE=$STARTED
	export NODE NODE_PORT
}

start_fpm() {
	FPM_PORT=$(free_port)
	fill php-fpm.conf.in FPM="$FPM_PORT" >"$LIVE/php-fpm.conf"
	start_on_port fpm "$FPM_PORT" php-fpm8.2 -F -y "$LIVE/php-fpm.conf"
	FPM=$STARTED
	export FPM FPM_PORT
}

start_nginx() { # [WORKERS]
	NGINX_PORT=$(free_port)
	fill nginx.conf.in PORT="$NGINX_PORT" WORKERS="${1:-1}" PYTHON="${PYTHON_PORT:-1}" NODE="${NODE_PORT:-1}" \
		FPM="${FPM_PORT:-1}" >"$LIVE/nginx.conf"
	start_on_port nginx "$NGINX_PORT" nginx -c "$LIVE/nginx.conf" -e "$LIVE/nginx.error.log"
	NGINX=$STARTED
	export NGINX NGINX_PORT
}

start_apache() {
	APACHE_PORT=$(free_port)
	fill apache.conf.in PORT="$APACHE_PORT" PYTHON="${PYTHON_PORT:-1}" >"$LIVE/apache.conf"
	start_on_port apache "$APACHE_PORT" apache2 -f "$LIVE/apache.conf" -DFOREGROUND
	APACHE=$STARTED
	export APACHE APACHE_PORT
}

client() { # PORT COMMAND...
	python3 "$LIVE_TESTS/client.py" "$@"
}

children() { # PID
	cat "/proc/$1/task"/*/children 2>/dev/null | tr ' ' '\n' | grep . || :
}

# ---- a watch ----

watch_ready() {
	gone "$WATCH" || grep -q watching "$WATCH_OUT" "$WATCH_ERR"
}

# Its stdout in $WATCH_OUT, stderr in $WATCH_ERR, incidents in $STORE. Without a budget of its
# own: two shared CPUs under load would have detail shed; WATCH_BUDGET= for the default.
watch_start() { # HOOKS OPTION-OR-TARGET...
	local budget=${WATCH_BUDGET-100}
	WATCH_OUT=$BATS_TEST_TMPDIR/out WATCH_ERR=$BATS_TEST_TMPDIR/err STORE=$BATS_TEST_TMPDIR/store
	chmod go-w "$BATS_TEST_TMPDIR"
	: >"$WATCH_ERR"
	: >"$WATCH_OUT" # at once: another watch of this test may have said that it watches
	env --default-signal=INT,TERM "$REQTRAP" watch --json --show-values ${budget:+--max-overhead "$budget"} --hooks "$1" \
		-o "$STORE" "${@:2}" \
		>"$WATCH_OUT" 2>"$WATCH_ERR" 3>&- </dev/null &
	WATCH=$!
	remember "$WATCH"
	wait_for 15 watch_ready || fail "the watch does not say that it watches"
	gone "$WATCH" && fail "the watch has ended at once"
	return 0
}

# Ctrl-C; then $WATCH_STATUS and $TOTALS.
watch_stop() {
	kill -INT "$WATCH" || fail "the watch has ended by itself"
	watch_wait "${1:-20}"
}

watch_wait() { # [SECONDS]: until it ends
	wait_for "${1:-20}" gone "$WATCH" || fail "the watch does not end"
	WATCH_STATUS=0
	wait "$WATCH" || WATCH_STATUS=$?
	WATCH=
	TOTALS=$(events '.event == "totals"')
}

watch_kill() { # for teardown
	[[ -n ${WATCH:-} ]] || return 0
	kill -INT "$WATCH" 2>/dev/null || return 0
	wait_for 15 gone "$WATCH" || kill -KILL "$WATCH" 2>/dev/null || :
}

events() { # FILTER: the lines that it is true for; a line being written is none yet
	grep '}$' "$WATCH_OUT" | jq -c "select($1)"
}

count_events() { # FILTER
	events "$1" | wc -l
}

at_least() { # COUNT FILTER
	(($(count_events "$2") >= $1))
}

enough_or_gone() { # COUNT FILTER
	gone "$WATCH" || at_least "$1" "$2"
}

wait_events() { # COUNT FILTER [SECONDS]
	wait_for "${3:-15}" enough_or_gone "$1" "$2" || :
	at_least "$1" "$2" ||
		fail "only $(count_events "$2") of $1 events '$2'"
}

total() { # FIELD is the number EXPECTED
	is "$(jq ".$1" <<<"$TOTALS")" "$2" "totals.$1"
}

# The incident of the n-th trapped request (from 0), when it lies there whole.
incident_of() { # [N]
	INCIDENT=$(events '.event == "trapped"' | sed -n "$((${1:-0} + 1))p" | jq -r .incident)
	[[ -n $INCIDENT ]] || fail "there is no trapped request number ${1:-0}"
	wait_for 20 test -f "$INCIDENT/incident.json" || fail "the incident '$INCIDENT' is not there"
}

# The incident of the one trapped request that the filter is true for.
incident_where() { # FILTER
	INCIDENT=$(events ".event == \"trapped\" and ($1)" | jq -r .incident)
	[[ -n $INCIDENT && $INCIDENT != *$'\n'* ]] || fail "not one trapped request is '$1': '$INCIDENT'"
	wait_for 20 test -f "$INCIDENT/incident.json" || fail "the incident '$INCIDENT' is not there"
}

# Exactly the requests of standard input, 'METHOD URL STATUS' a line, were trapped, and
# ended with the status they were trapped with.
trapped_are() {
	diff <(sort) <(events '.event == "trapped"' | jq -r '"\(.method) \(.url) \(.status)"' | sort) || fail "other requests"
	diff <(events '.event == "trapped"' | jq -r '"\(.id) \(.status)"' | sort) \
		<(events '.event == "ended"' | jq -r '"\(.id) \(.status)"' | sort) || fail "other statuses at the end"
}

fact() { # JQ-PATH of the incident
	jq -r "$1" "$INCIDENT/incident.json"
}

no_half_incident() {
	[[ ! -d $STORE ]] || is "$(find "$STORE" -name '.new-*' | wc -l)" 0 "half incidents"
}

# The parts of the time are the whole, to the nanosecond.
times_add_up() {
	is "$(fact '[.spending[].ns] | add')" "$(fact .elapsed_ns)" "sum of the parts, and the time until the trap"
}

# Nothing was lost, and the watch has no complaint.
watch_clean() {
	is "$WATCH_STATUS" "${1:-0}" "exit code"
	total lost_events 0
	total refused 0
	lacks "$(cat "$WATCH_ERR")" "warning" "the watch's messages"
	no_half_incident
}
