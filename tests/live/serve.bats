#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# 'serve': rules from a file that may change at any time, pages and figures over the
# control socket and the port, who gets an answer, and how it begins and ends.

load helpers
load serve

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

@test "a slow request is trapped, listed, and its files are there" {
	rules_file 300ms 'capture = {"trace", "stacks", "mini"}'
	serve
	ask '/slow?ms=900&password=hush' &
	ASKED=$!
	wait_for 10 flying "/slow" || fail "it is not seen in flight"
	wait_for 20 incidents 1 || fail "no incident"
	local id
	id=$(get /api/incidents | jq -r '.incidents[0].id')
	is "$(get /api/incidents | jq -r '.incidents[0].rule')" slow rule
	has "$(get /)" "$id" "the page of requests in flight"
	has "$(get "/incidents?q=slow")" "$id" "the list"
	has "$(get "/incidents?q=nothing-like-it")" 'class="soft">none<' "the list of something else"
	has "$(get "/incidents?group=1")" "Grouped because" "the groups"
	lacks "$(get /incidents)" hush "a secret"
	has "$(get "/incident/$id/report.html")" "<!doctype html>" "the page"
	has "$(get "/incident/$id/report.html" -D -)" "sandbox" "its policy"
	is "$(get "/incident/$id/incident.json" | jq -r .id)" "$id" "the facts"
	is "$(get "/incident/$id/core" | head -c 4 | od -An -tx1 | tr -d ' ')" 28b52ffd "the core's first bytes: zstd"
	is "$(status_of "http://localhost/incident/$id/../../rules.conf" --path-as-is --unix-socket "$SOCKET")" 404 "a way out"
	is "$(status_of "http://localhost/incident/$id/%2e%2e%2f%2e%2e%2frules.conf" --unix-socket "$SOCKET")" 404 "another"
	"$REQTRAP" rules | grep -q '^slow  *1  *1  *0  *0  armed$' || fail "rules: $("$REQTRAP" rules)"
	is "$("$REQTRAP" rules --json | jq -r '.rules[0].captured')" 1 "rules --json"
	wait "$ASKED" || :
	has "$(get /metrics)" 'http_server_request_duration_seconds_count 1' "how long requests took"
	has "$(get /incidents)" '<circle class="trap"' "the picture"
	has "$(get /incidents)" 'role="group" aria-label="How long' "the picture: a picture alone would have no links"
	has "$(get /metrics)" 'reqtrap_captures_total{rule="slow",result="captured"} 1' metrics
}

@test "rules change while a request is in flight: it is not lost, and held to the new ones" {
	rules_file 1h
	serve
	ask '/slow?ms=6000' &
	ASKED=$!
	wait_for 10 flying "/slow" || fail "it is not seen in flight"
	rules_file 200ms
	kill -HUP "$SERVE"
	wait_for 10 incidents 1 || fail "it was not trapped"
	between "$(get /api/incidents | jq '.incidents[0].elapsed_ms')" 200 6000 "its time"
	wait "$ASKED" || :
}

@test "what the file's watch sections name is watched, also what comes later" {
	local port late
	port=$(free_port)
	cat >"$CONF" <<-END
		store = "$S/store"
		watch "late" { port = {$port} }
		rule "slow" { watch = {"late"} time-taken = 200ms limit = 100 }
	END
	cat >>"$CONF" <<-END
		rule "others" { watch = {"late"} time-taken = 30s severity = error aborted = true response-size = 64K }
	END
	serve_alone
	start_on_port late "$port" python3 "$LIVE_TESTS/servers/server.py" "$port"
	late=$STARTED
	wait_for 15 grep -q "watching 1 process" "$LOG" || fail "it is not found"
	curl -s --max-time 60 -o /dev/null "http://127.0.0.1:$port/slow?ms=600"
	wait_for 20 incidents 1 || fail "no incident"
	is "$(get /api/incidents | jq '.incidents[0].pid')" "$late" "the process"
	has "$(get /rules)" '<td class="good">armed' "its state on the page"
	has "$(get /rules)" "takes the server 30s or marked error or aborted or response of 64K" "each condition on the page"
	has "$(curl -s --unix-socket "$SOCKET" -H 'Origin: http://localhost' --data-urlencode "text@$CONF" -d do=test -d url=/ -d watch=late \
		-d severity=critical http://localhost/rules/edit)" "its gravest mark, critical, is graver than error" "the editor's test"
	end_process "$late"
}

@test "a file that has changed is read by itself; one with mistakes changes nothing" {
	rules_file 300ms
	serve
	rules_file 300ms 'sattus = "500"'
	wait_for 10 grep -q "the old rules stay" "$LOG" || fail "nothing is said of the mistake"
	has "$(cat "$LOG")" "did you mean 'status'" "the log"
	has "$(get /rules)" "The file was not taken" "the page"
	is "$(get /api/rules | jq .reload_error)" "$(get /api/rules | jq .reload_error)" "the error"
	has "$(get /metrics)" "reqtrap_config_last_reload_successful 0" metrics
	ask '/slow?ms=500'
	wait_for 20 incidents 1 || fail "the old rules are not in force"
	rules_file 300ms 'status = "500"'
	wait_for 10 reloads 1 || fail "the mended file is not read"
	is "$(get /api/rules | jq .reload_error)" null "the error after that"
}

@test "only root, and who runs it, gets an answer on the socket" {
	rules_file 1h
	serve
	chmod 755 "$S"
	chmod 666 "$SOCKET" # even if somebody opens it
	run setpriv --reuid nobody --regid nogroup --clear-groups curl -sS --max-time 10 --unix-socket "$SOCKET" http://localhost/
	[[ $status -ne 0 && $output != *html* ]] || fail "an answer for nobody: $output"
	is "$(status_of http://localhost/healthz --unix-socket "$SOCKET")" 200 "for root"
	is "$(status_of http://evil.example/ --unix-socket "$SOCKET")" 421 "a name that points here"
	is "$(status_of http://localhost/ --unix-socket "$SOCKET" -H 'Sec-Fetch-Site: cross-site')" 403 "another site's page"
}

@test "the port wants its token, its own name, and no other site's wish" {
	local port url origin
	rules_file 1h
	port=$(free_port)
	serve --web-port "$port"
	origin=http://127.0.0.1:$port
	url=$(cat "$S/web-url")
	is "$(stat -c %a "$S/web-url")" 600 "the mode of the file with the token"
	is "$(status_of "$origin/")" 401 "without"
	is "$(status_of "$origin/?token=00000000000000000000000000000000")" 401 "a wrong one"
	is "$(curl -s -o /dev/null -c "$S/jar" -w '%{http_code} %{redirect_url}' "$url")" "303 $origin/" "the address with it"
	is "$(status_of "$origin/" -b "$S/jar")" 200 "the cookie"
	has "$(cat "$S/jar")" "#HttpOnly_" "the cookie's kind"
	is "$(status_of "$origin/" -b "$S/jar" -H 'Host: rebound.example')" 421 "DNS rebinding"
	is "$(status_of "$origin/rules/edit" -b "$S/jar" -d do=check)" 401 "a form of nobody knows whom"
	is "$(status_of "$origin/rules/edit" -b "$S/jar" -d do=check -H 'Origin: http://evil.example')" 403 "another site's form"
	is "$(status_of "$origin/rules/edit" -b "$S/jar" -d do=check -H "Origin: $origin")" 200 "our own"
	is "$(status_of "$origin/" -b "$S/jar" -X DELETE)" 405 "another method"
	has "$(curl -s -D - -o /dev/null -b "$S/jar" "$origin/")" "default-src 'none'" "the policy"
	is "$(curl -s -D - -o /dev/null -b "$S/jar" -H "Origin: $origin" "$origin/" | grep -ci access-control)" 0 "CORS"
	has "$(curl -s -b "$S/jar" -H "Origin: $origin" --data-urlencode "text@$CONF" -d do=save "$origin/rules/edit")" \
		"--web-edit" "a change over the port"
}

@test "whoever holds all connections of the port keeps nobody from it, nor from the socket, nor from being watched" {
	local port holder
	rules_file 200ms 'capture = {"trace"}'
	port=$(free_port)
	serve --web-port "$port"
	mkfifo "$S/hold"
	python3 -c '
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(200)]
for s in held:
    try:
        s.send(b"GET / HTTP/1.1\r\nHost: local")  # and no more
    except OSError:
        pass
print("held", flush=True)
open(sys.argv[2]).read()' "$port" "$S/hold" >"$S/held" 3>&- </dev/null &
	holder=$!
	remember "$holder"
	wait_for 20 grep -q held "$S/held"
	is "$(status_of "http://127.0.0.1:$port/" --max-time 10)" 401 "the port"
	is "$(get /api/rules | jq -r '.rules[0].rule')" slow "the socket"
	ask '/slow?ms=600'
	wait_for 20 incidents 1 || fail "no incident"
	echo >"$S/hold"
	wait_for 10 gone "$holder"
}

base() {
	get /rules/edit | sed -n 's/.*name="base" value="\([0-9a-f]*\)".*/\1/p'
}

edit() { # DO TEXT [CURL OPTION...]
	get /rules/edit --data-urlencode "text=$2" -d "do=$1" "${@:3}"
}

@test "the editor checks, compares, tries, and swaps in what is right" {
	local old new page
	rules_file 1h
	serve
	old=$(cat "$CONF")
	has "$(get /rules/edit)" 'rule "slow" { time-taken = 1h limit = 100' "the text"
	page=$(edit check "${old/1h/2x}")
	has "$page" "Problems" "a mistake"
	has "$page" "rules.conf:2" "its line"
	page=$(edit save "${old/1h/2x}" -d "base=$(base)")
	has "$page" "not saved: it has mistakes" "a mistake that is to be saved"
	new=${old/1h/250ms}
	page=$(edit test "$new" -d method=GET -d url=/x -d taken=1s)
	has "$page" '<span class="add">+ rule' "what changes"
	has "$page" '<b class="good">fires</b>' "the rule that fires"
	lacks "$(edit test "$new" -d method=GET -d url=/x -d taken=1ms)" '<b class="good">fires</b>' "none that does"
	has "$(edit save "$new" -d base=0123456789abcdef)" "the file has changed since" "an old page"
	is "$(cat "$CONF")" "$old" "the file until then"
	is "$(edit save "$new" -d "base=$(base)" -o /dev/null -w '%{http_code}')" 303 "saved"
	is "$(cat "$CONF")" "$new" "the file"
	ask '/slow?ms=600'
	wait_for 20 incidents 1 || fail "the new rule does not fire"
	# '<' in the file is text, and comes back as it was
	has "$(edit check "# </textarea><script>alert(1)</script>
$new")" '&lt;/textarea>&lt;script>' "markup in the file"
}

@test "what a client sends is text on every page" {
	rules_file 300ms
	serve
	ask '/slow?ms=700&%3Cscript%3E=1' &
	ASKED=$!
	printf 'GET /slow/<img/src=x/onerror=alert(1)>?ms=700 HTTP/1.1\r\nHost: <b>x\r\nConnection: close\r\n\r\n' \
		| timeout 20 bash -c "exec 4<>/dev/tcp/127.0.0.1/$PYTHON_PORT; cat >&4; cat <&4 >/dev/null" || :
	wait_for 20 incidents 1 || fail "no incident"
	wait "$ASKED" || :
	lacks "$(get /)$(get /incidents)$(get '/incidents?group=1')$(get /live)" "<img" "a page"
	lacks "$(get '/incidents?q=%22%3E%3Cimg%20src%3Dx%3E')" "<img" "the filter"
}

@test "one at a time; killed at any moment it leaves nothing that the next one minds" {
	rules_file 100ms 'capture = {"trace", "stacks", "full"}'
	serve
	run "$REQTRAP" serve -c "$CONF" "$PYTHON"
	is "$status" 3 "the second one's exit code"
	has "$output" "another reqtrap serves" "the second one"
	for _ in 1 2 3 4; do
		ask "/slow?ms=1500" &
		ASKED=$!
		wait_for 10 flying "/slow" || fail "it is not seen in flight"
		wait_for 10 test -n "$(ls -A "$S/store" 2>/dev/null)" || :
		kill -KILL "$SERVE"
		wait_for 10 gone "$SERVE"
		wait "$ASKED" || :
		serve
		is "$(find "$S/store" -maxdepth 1 -name '.new-*' | wc -l)" 0 "half incidents"
		is "$(awk '/TracerPid/ { print $2 }' "/proc/$PYTHON/status")" 0 "who traces the server"
	done
	is "$(status_of "http://127.0.0.1:$PYTHON_PORT/")" 200 "the server"
}

@test "it says to its manager what it does, and ends in order" {
	need python3
	rules_file 1h
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    text = s.recv(4096).decode()
    print(text, flush=True)
    if "STOPPING" in text: break
' "$S/notify" >"$S/said" 3>&- &
	remember $!
	wait_for 10 test -S "$S/notify"
	NOTIFY_SOCKET=$S/notify WATCHDOG_USEC=400000 serve
	wait_for 10 grep -q WATCHDOG=1 "$S/said" || fail "no sign of life"
	kill -HUP "$SERVE"
	wait_for 10 grep -q RELOADING=1 "$S/said" || fail "it does not say that it reads the rules"
	kill -TERM "$SERVE"
	wait_for 20 gone "$SERVE" || fail "it does not end"
	local code=0
	wait "$SERVE" || code=$?
	SERVE=''
	is "$code" 0 "exit code"
	has "$(cat "$S/said")" "READY=1" "what it said"
	has "$(cat "$S/said")" "STOPPING=1" "what it said"
	[[ ! -e $SOCKET ]] || fail "the socket is still there"
	run "$REQTRAP" rules
	is "$status" 1 "exit code of 'rules' without a daemon"
	has "$output" "no daemon is there" "'rules' without a daemon"
}

@test "with capabilities instead of root" {
	local c=+bpf,+perfmon,+sys_ptrace,+dac_read_search,+dac_override,+kill,+sys_nice,+setuid,+setgid
	rules_file 200ms 'capture = {"trace", "stacks", "mini"}'
	mkdir "$S/own"
	chown nobody: "$S/own" "$CONF"
	chmod 755 "$S"
	sed -i "s|$S/store|$S/own/store|" "$CONF"
	setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps $c --ambient-caps $c --no-new-privs \
		"$REQTRAP" serve -c "$CONF" --max-overhead 100 --socket "$S/own/c.sock" "$PYTHON" >"$LOG" 2>&1 3>&- </dev/null &
	SERVE=$!
	remember "$SERVE"
	wait_for 15 serving
	! gone "$SERVE" || fail "it has ended: $(cat "$LOG")"
	SOCKET=$S/own/c.sock
	ask '/slow?ms=900'
	wait_for 20 incidents 1 || fail "no incident"
	is "$(get /api/incidents | jq .incidents[0].not_captured)" null "why it was not captured"
	has "$(get /api/incidents | jq -r .incidents[0].verdict)" "sleep_as_asked" "the verdict"
}

@test "the service is locked in: exposure 3.0 at most" {
	local analyze=$ROOT/build/systemd/usr/bin/systemd-analyze
	command -v systemd-analyze >/dev/null && analyze=systemd-analyze
	command -v "$analyze" >/dev/null || skip "systemd-analyze is not here"
	sed "s|@BINDIR@|/usr/bin|" "$ROOT/dist/reqtrap.service.in" >"$S/reqtrap.service"
	run env LD_LIBRARY_PATH="$ROOT/build/systemd/usr/lib/x86_64-linux-gnu/systemd" "$analyze" security --offline=yes \
		--no-pager --threshold=30 "$S/reqtrap.service"
	is "$status" 0 "systemd-analyze: ${lines[-1]}"
}
