#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Who holds the request? Each server says which thread worked on which, many at once. The
# watch has to name that thread, or to say that it is not certain and have it among those
# that may be: never another one for certain.

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
	DID=$BATS_TEST_TMPDIR/did
	: >"$DID"
}

teardown() {
	watch_kill
}

start_holder() { # KIND [WORKERS [UPSTREAM]]: in HOLDER, at HOLDER_PORT
	HOLDER_PORT=$(free_port)
	start_on_port "$1" "$HOLDER_PORT" python3 "$LIVE_TESTS/servers/holder.py" "$1" "$HOLDER_PORT" "${@:2}"
	HOLDER=$STARTED
}

# Asks COUNT at once; what the servers say they did is in $DID.
ask() { # PORT PATH COUNT
	client "$1" bodies "$2" "$3" | sed 's/,$//' >>"$DID"
}

# Of the requests whose URL has the word: RIGHT for certain, SEVERAL with the truth among
# them, WRONG, which is never allowed.
compare() { # WORD
	read -r RIGHT SEVERAL WRONG < <(events '.event == "trapped"' | jq -rs --arg word "$1" --rawfile truth "$DID" '
		($truth | split("\n") | map(select(. != "") | split(" ") | { (.[0]): (.[1] | split(",") | map(tonumber)) }) |
			add) as $of |
		map(select(.url | contains($word)) | .tid as $tid | [.holder.candidates[].tid] as $may | $of[.url] as $did |
			if .holder.certain then if $did | index($tid) then "right" else "wrong" end
			elif $did - $may != $did then "several" else "wrong" end) |
		[map(select(. == "right")), map(select(. == "several")), map(select(. == "wrong"))] | map(length) | @tsv')
	echo "# $1: $RIGHT right, $SEVERAL several, $WRONG wrong" >&3
	is "$WRONG" 0 "wrong holders ($1)"
}

right() { # WORD COUNT
	compare "$1"
	is "$RIGHT" "$2" "certain and right ($1)"
}

several() { # WORD COUNT
	compare "$1"
	is "$SEVERAL" "$2" "said not to be certain ($1)"
}

# Not certain: it says why, the one that is named comes first, each once.
doubts_are_told() {
	is "$(events '.event == "trapped" and (.holder.certain | not) and ((.holder.why // "") == "" or
		.holder.candidates[0].tid != .tid or
		([.holder.candidates[].tid] | length != (unique | length)))' | wc -l)" 0 "doubts without their words"
}

start_gunicorn() { # NAME OPTION...: at PORT_OF[NAME]
	PORT_OF[$1]=$(free_port)
	start_on_port "$1" "${PORT_OF[$1]}" gunicorn --chdir "$LIVE_TESTS/servers" -b "127.0.0.1:${PORT_OF[$1]}" \
		"${@:2}" wsgi:app
	TARGETS+=("$STARTED")
}

start_apache_with() { # MPM: at PORT_OF[MPM]
	PORT_OF[$1]=$(free_port)
	fill apache-lua.conf.in PORT="${PORT_OF[$1]}" MPM="$1" LIVE="$LIVE_TESTS" >"$LIVE/apache-$1.conf"
	# setsid: at its end it ends its whole process group
	start_on_port "apache-$1" "${PORT_OF[$1]}" setsid apache2 -f "$LIVE/apache-$1.conf" -DFOREGROUND
	TARGETS+=("$STARTED")
}

start_node_loop() {
	PORT_OF[node]=$(free_port)
	start_on_port node "${PORT_OF[node]}" node "$LIVE_TESTS/servers/pool.js" "${PORT_OF[node]}"
	TARGETS+=("$STARTED")
}

@test "eight at once of each server: the thread for certain, or several with it among them" {
	local -A PORT_OF=()
	local name asked=() TARGETS=()
	! command -v gunicorn >/dev/null || start_gunicorn processes --workers 8
	! command -v gunicorn >/dev/null || start_gunicorn gthread --threads 8
	[[ ! -e /usr/lib/apache2/modules/mod_lua.so ]] || start_apache_with event
	[[ ! -e /usr/lib/apache2/modules/mod_lua.so ]] || start_apache_with prefork
	! command -v node >/dev/null || start_node_loop
	for name in queue executor loop fork threads; do
		start_holder "$name" 8
		PORT_OF[$name]=$HOLDER_PORT
		TARGETS+=("$HOLDER")
	done
	watch_start auto --time-taken 400ms --limit 1000 --capture trace "${TARGETS[@]}"
	for name in "${!PORT_OF[@]}"; do
		ask "${PORT_OF[$name]}" "/work?ms=1500&of=$name" 8 3>&- &
		asked+=($!)
	done
	wait "${asked[@]}"
	wait_events $((8 * ${#PORT_OF[@]})) '.event == "ended"'
	watch_stop
	watch_clean
	for name in "${!PORT_OF[@]}"; do
		case $name in
		queue | executor) several "of=$name" 8 ;;
		*) right "of=$name" 8 ;;
		esac
	done
	doubts_are_told
	is "$(events '.event == "trapped" and (.url | contains("of=fork"))' |
		jq -r '"\(.chain[0].process) \(.chain[0].via) \(.chain | length)"' | sort -u)" "python3 fork 2" "chains of the forking one"
}

@test "one request at a time through a queue: the worker is named first" {
	local i
	start_holder queue 4
	watch_start auto --time-taken 100ms --limit 100 --capture trace "$HOLDER"
	for i in 1 2 3; do
		client "$HOLDER_PORT" bodies "/work?ms=400&n=$i" 1 >>"$DID"
	done
	wait_events 3 '.event == "ended"'
	watch_stop
	watch_clean
	doubts_are_told
	diff <(sort "$DID") <(events '.event == "trapped"' | jq -r '"\(.url) \(.tid)"' | sort)
}

@test "more requests than workers: those that still wait in the queue belong to nobody" {
	start_holder queue 3
	watch_start auto --time-taken 700ms --limit 100 --capture trace "$HOLDER"
	client "$HOLDER_PORT" bodies '/work?ms=500' 9 >"$DID"
	wait_events 6 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(count_events '.event == "trapped" and .holder.certain')" 0 "said to be certain"
	doubts_are_told
}

opens() { # PID: the thread of it that waits until somebody opens the other end
	OPENER=$(grep -ls "^257 " "/proc/$1/task"/*/syscall | cut -d/ -f5)
	[[ -n $OPENER ]]
}

@test "Node: a thread of libuv's pool works" {
	need node
	local port asker
	port=$(free_port)
	start_on_port pool "$port" node "$LIVE_TESTS/servers/pool.js" "$port"
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	watch_start auto --time-taken 300ms --capture trace "$STARTED"
	client "$port" status "/open?path=$BATS_TEST_TMPDIR/fifo" >/dev/null 3>&- &
	asker=$!
	wait_for 10 opens "$STARTED"
	wait_events 1 '.event == "trapped"'
	: >"$BATS_TEST_TMPDIR/fifo"
	wait "$asker"
	watch_stop
	watch_clean
	doubts_are_told
	is "$(events '.event == "trapped"' | jq "(.holder.certain | not) and .tid == $OPENER")" true "the pool's thread, not certain"
}

@test "Go: its scheduler moves requests, so never for certain" {
	need go
	local port path
	mkdir "$BATS_TEST_TMPDIR/go"
	cp "$LIVE_TESTS/servers/work.go" "$BATS_TEST_TMPDIR/go/"
	(cd "$BATS_TEST_TMPDIR/go" && HOME=$PWD GOCACHE=$PWD/cache GOTOOLCHAIN=local GO111MODULE=off CGO_ENABLED=0 \
		go build -o work work.go)
	port=$(free_port)
	start_on_port go "$port" "$BATS_TEST_TMPDIR/go/work" "$port"
	watch_start auto --time-taken 300ms --limit 100 --capture trace "$STARTED"
	for path in spin block; do
		ask "$port" "/$path?ms=800" 8
	done
	client "$port" bodies '/work?ms=800' 8 >/dev/null # waits in no thread at all
	wait_events 24 '.event == "ended"'
	watch_stop
	watch_clean
	several spin 8
	several block 8
	doubts_are_told
	is "$(count_events '.event == "trapped" and .holder.certain')" 0 "said to be certain"
}

start_chain() { # UPSTREAM: at CHAIN_PORT
	CHAIN_PORT=$(free_port)
	fill chain.conf.in PORT="$CHAIN_PORT" UPSTREAM="$1" >"$LIVE/chain.conf"
	start_on_port chain "$CHAIN_PORT" nginx -c "$LIVE/chain.conf" -e "$LIVE/chain.error.log"
}

@test "calls: five processes deep, one after the other, at the same time, by other threads" {
	need nginx
	local upstream targets=() asked=() kind
	start_holder threads
	upstream=127.0.0.1:$HOLDER_PORT
	start_holder threads 1 "$upstream"
	local caller=$HOLDER_PORT callers=$HOLDER
	start_holder queue 4 "$upstream"
	start_chain "127.0.0.1:$caller"
	targets=("$STARTED" "$callers" "$HOLDER")
	watch_start auto --time-taken 700ms --limit 100 --capture trace "${targets[@]}"
	ask "$CHAIN_PORT" '/call?ms=1500&of=deep' 8 3>&- &
	asked+=($!)
	ask "$caller" '/thrice?ms=400&of=thrice' 4 3>&- &
	asked+=($!)
	for kind in many fan; do
		ask "$caller" "/$kind?ms=1500&of=$kind" 4 3>&- &
		asked+=($!)
	done
	ask "$HOLDER_PORT" '/call?ms=1500&of=pool' 4 3>&- &
	asked+=($!)
	wait "${asked[@]}"
	wait_events 24 '.event == "ended"'
	watch_stop
	watch_clean
	right of=deep 8
	is "$(events '.event == "trapped" and (.url | contains("of=deep"))' | jq -c '[.chain[].process]' | sort -u)" \
		'["nginx","nginx","nginx","python3","python3"]' "chain"
	is "$(events '.event == "trapped" and (.url | contains("of=deep"))' | jq -r '.chain[1].via' | sort -u)" \
		"unix:$LIVE/chain.sock" "second call"
	right of=thrice 4
	right of=many 4
	is "$(events '.event == "trapped" and (.url | contains("of=many"))' | jq '.holder.candidates | length' | sort -u)" 2 \
		"others of those at the same time"
	several of=fan 4
	several of=pool 4
	doubts_are_told
}

@test "a call into another network name space is outside, not guessed" {
	need nsenter ip
	local inside outside port
	unshare -n true 2>/dev/null || skip "cannot make a network name space"
	start inside unshare -n sleep 60
	inside=$STARTED
	start outside unshare -n sleep 60
	outside=$STARTED
	other_space() { [[ $(readlink "/proc/$1/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
	wait_for 5 other_space "$inside"
	wait_for 5 other_space "$outside"
	nsenter -t "$inside" -n ip link add in type veth peer name out netns "$outside" || skip "cannot make a veth pair"
	nsenter -t "$inside" -n sh -c 'ip addr add 10.77.0.1/24 dev in && ip link set in up && ip link set lo up'
	nsenter -t "$outside" -n sh -c 'ip addr add 10.77.0.2/24 dev out && ip link set out up && ip link set lo up'
	start far nsenter -t "$outside" -n python3 "$LIVE_TESTS/servers/holder.py" threads 10.77.0.2:8080
	start near nsenter -t "$inside" -n python3 "$LIVE_TESTS/servers/holder.py" threads 8081 1 10.77.0.2:8080
	listens() { nsenter -t "$1" -n bash -c "exec 4<>/dev/tcp/$2/$3"; }
	wait_for 10 listens "$inside" 10.77.0.2 8080
	wait_for 10 listens "$inside" 127.0.0.1 8081
	watch_start auto --time-taken 300ms --capture trace "$STARTED"
	nsenter -t "$inside" -n python3 "$LIVE_TESTS/client.py" 8081 status '/call?ms=900' >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq -c '[.pid, (.chain | length), .holder.waits_for, .holder.outside]')" \
		"[$STARTED,1,\"tcp:10.77.0.2:8080\",true]" "holder"
}

@test "two watches trap the same request, each names the same thread" {
	start_holder threads
	local other=$BATS_TEST_TMPDIR/other one
	watch_start auto --time-taken 400ms --capture trace,stacks "$HOLDER"
	one=$WATCH_OUT
	mkdir "$other"
	env --default-signal=INT,TERM "$REQTRAP" watch --json --show-values -n 1 -o "$other/store" --time-taken 400ms \
		--capture trace,stacks "$HOLDER" >"$other/out" 2>"$other/err" 3>&- </dev/null &
	local second=$!
	remember "$second"
	wait_for 15 grep -q watching "$other/out"
	client "$HOLDER_PORT" bodies '/work?ms=2500' 1 >"$DID"
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	wait_for 15 gone "$second"
	wait "$second"
	is "$(cat "$DID")" "$(jq -r 'select(.event == "trapped") | "\(.url) \(.tid)"' "$one")" "the first watch"
	is "$(cat "$DID")" "$(jq -r 'select(.event == "trapped") | "\(.url) \(.tid)"' "$other/out")" "the second"
	is "$(jq -r 'select(.event == "trapped") | .capture.failed' "$one" "$other/out" | sort -u)" null "captures that failed"
}

# While wrk sends other requests, each with a URL of its own, through the same proxy over
# the same kept connections: no slow one is linked to another one's call.
@test "links under load: none is wrong" {
	need nginx wrk
	start_holder threads
	local load linked round
	PYTHON_PORT=$HOLDER_PORT start_nginx 2
	cat >"$BATS_TEST_TMPDIR/unique.lua" <<-'END'
		local n = 0
		function request()
			n = n + 1
			return wrk.format("GET", "/py/work?ms=" .. n % 3 .. "&n=" .. n)
		end
	END
	watch_start auto --time-taken 400ms --limit 1000 --slots 4096 --capture trace "$NGINX" "$HOLDER"
	wrk -t1 -c32 -d6s -s "$BATS_TEST_TMPDIR/unique.lua" "http://127.0.0.1:$NGINX_PORT/" >"$BATS_TEST_TMPDIR/wrk" 3>&- &
	load=$!
	for round in 1 2 3 4; do
		client "$NGINX_PORT" bodies "/py/work?ms=900&round=$round" 16 | sed 's,^/py,,' >>"$DID"
	done
	wait "$load"
	watch_stop
	watch_clean
	linked='.event == "trapped" and (.url | test("round=")) and (.chain | length) == 2'
	echo "# links under load: $(count_events "$linked") of $(wc -l <"$DID") linked, $(jq .requests <<<"$TOTALS") requests" >&3
	is "$(events "$linked and (.holder.certain | not)" | wc -l)" 0 "doubts"
	is "$(events "$linked" | jq -r '"\(.url | ltrimstr("/py")) \(.tid)"' | sort | comm -23 - <(sort "$DID"))" "" \
		"wrong links"
	between "$(count_events "$linked")" 60 64 "linked"
}
