#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The daemon's web side under those who want it to fail: heads that do not end, bodies that
# nobody may send, tunnels, files that change under the editor, disks that are full.

load helpers
load serve

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

teardown() {
	[[ -z $SERVE ]] || end_process "$SERVE"
	[[ -z ${GROUP:-} || ! -d $GROUP ]] || rmdir "$GROUP"
}

caller() { # ARGUMENT...: web_client.py's
	python3 "$LIVE_TESTS/web_client.py" "$@"
}

@test "who may not ask, and what may not be asked for, is refused by the head: no body is waited for" {
	local port token auth
	rules_file 1h
	port=$(free_port)
	serve --web-port "$port"
	token=$(sed 's/.*token=//' "$S/web-url")
	auth="Authorization: Bearer $token"
	refused() { # STATUS REQUEST-LINE HEADER...
		is "$(caller head "$port" "${@:2}")" "$1" "${*:2}"
	}
	local length='Content-Length: 100000' host="Host: 127.0.0.1:$port"
	refused 421 'POST /rules/edit' 'Host: rebound.example' "$auth" "$length"
	refused 401 'POST /rules/edit' "$host" "$length"
	refused 401 'POST /rules/edit' "$host" "$length" "Cookie: reqtrap-token-$port=$token"
	refused 403 'POST /rules/edit' "$host" "$auth" "$length" 'Sec-Fetch-Site: cross-site'
	refused 403 'POST /rules/edit' "$host" "$auth" "$length" 'Origin: http://evil.example'
	refused 405 'PUT /rules/edit' "$host" "$auth" "$length"
	refused 405 'POST /rules' "$host" "$auth" "$length"
	refused 404 'POST /nothing' "$host" "$auth" "$length"
	refused 413 'POST /rules/edit' "$host" "$auth" "Content-Length: $((2 * 1024 * 1024 + 1))"
	refused 413 'POST /rules/edit' "$host" "$auth" 'Content-Length: 99999999999999999999'
}

@test "all bodies on their way in have one limit" {
	rules_file 1h
	serve
	is "$(caller bodies "$SOCKET")" "503 200" "the fifth of 2 MiB, and when one of them has gone"
	head -c 3000000 /dev/zero | tr '\0' x >"$S/long"
	is "$(status_of http://localhost/rules/edit --unix-socket "$SOCKET" -H 'Transfer-Encoding: chunked' \
		--data-binary "@$S/long")" 413 "one whose length is not said"
}

@test "a head takes 10 seconds at most and a request 30, also if bytes come now and then" {
	local port
	rules_file 1h
	port=$(free_port)
	serve --web-port "$port"
	caller trickle "$port" "$SOCKET" >"$S/trickled" || fail "it is not ended: $(cat "$S/trickled")"
	between "$(awk '$1 == "port" { print $2 }' "$S/trickled")" 9 14 "seconds of a head at the port"
	between "$(awk '$1 == "socket" { print $2 }' "$S/trickled")" 9 14 "seconds of a head at the socket"
	between "$(awk '$1 == "second" { print $2 }' "$S/trickled")" 9 14 "seconds of a second head"
	between "$(awk '$1 == "body" { print $2 }' "$S/trickled")" 29 34 "seconds of a body"
	is "$(status_of http://localhost/healthz --unix-socket "$SOCKET")" 200 "after that"
}

@test "through a tunnel the port is another one; two daemons of one name keep their cookies apart" {
	local port origin token
	rules_file 1h
	port=$(free_port)
	serve --web-port "$port"
	origin=http://127.0.0.1:$port
	token=$(sed 's/.*token=//' "$S/web-url")
	here() { # NAME:PORT PATH [CURL OPTION...]: what a browser sends through 'ssh -L PORT:127.0.0.1:...'
		status_of "$origin$2" -H "Host: $1" "${@:3}"
	}
	is "$(here localhost:4711 "/?token=$token" -D "$S/head")" 303 "localhost by another port"
	has "$(cat "$S/head")" "Set-Cookie: reqtrap-token-4711=$token;" "the cookie"
	is "$(here localhost:4711 / -H "Cookie: reqtrap-token-4712=other; reqtrap-token-4711=$token")" 200 "with it"
	is "$(here localhost:4712 / -H "Cookie: reqtrap-token-4711=$token")" 401 "of the other daemon"
	is "$(here '[::1]:4711' /healthz -H "Authorization: Bearer $token")" 200 "IPv6"
	is "$(here 127.0.0.1:4711 /rules/edit -H "Authorization: Bearer $token" -H 'Origin: http://127.0.0.1:4711' -d do=check)" \
		200 "a form"
	is "$(here 127.0.0.1:4711 /rules/edit -H "Authorization: Bearer $token" -H 'Origin: http://127.0.0.1:4712' -d do=check)" \
		403 "a form of another port's page"
	is "$(here rebound.example:4711 / -H "Authorization: Bearer $token")" 421 "a name that was made to point here"
	is "$(here localhost.rebound.example:4711 / -H "Authorization: Bearer $token")" 421 "one that looks like ours"
}

@test "what answers in place of the daemon, or goes on forever, is told" {
	python3 "$LIVE_TESTS/web_client.py" pretend "$SOCKET" >"$S/pretends" 3>&- </dev/null &
	local pretender=$! begun
	remember "$pretender"
	wait_for 10 test -S "$SOCKET"
	run "$REQTRAP" rules
	is "$status" 3 "exit code of 'rules' when a page comes"
	has "$output" "is no daemon of this reqtrap" "'rules' then"
	run "$REQTRAP" rules
	is "$status" 3 "exit code when the JSON is of another kind"
	has "$output" "does not tell its rules" "'rules' then"
	begun=$SECONDS
	run "$REQTRAP" rules --json
	between $((SECONDS - begun)) 9 15 "seconds of an answer without end"
	is "$status" 3 "exit code then"
	has "$output" "does not answer" "'rules' then"
	end_process "$pretender"
}

# ---- the editor ----

base() {
	get /rules/edit | sed -n 's/.*name="base" value="\([0-9a-f]*\)".*/\1/p'
}

edit() { # DO TEXT [CURL OPTION...]
	get /rules/edit --data-urlencode "text=$2" -d "do=$1" "${@:3}"
}

@test "a saved file stays what it was, behind its links, and is read once" {
	local port late old new
	port=$(free_port)
	mkdir "$S/etc"
	chmod 755 "$S/etc"
	old="store = \"$S/store\"
watch \"late\" { port = {$port} }
rule \"slow\" { time-taken = 1h }"
	new=${old/1h/2h}
	echo "$old" >"$S/real.conf"
	chmod 604 "$S/real.conf"
	chown nobody:daemon "$S/real.conf"
	ln -s ../real.conf "$S/etc/rules.conf"
	CONF=$S/etc/rules.conf
	serve
	is "$(edit save "$new" -d "base=$(base)" -o /dev/null -w '%{http_code}')" 303 "saved"
	is "$(get /api/rules | jq .reloads)" 1 "reloads at once"
	start_on_port late "$port" python3 "$LIVE_TESTS/servers/server.py" "$port"
	late=$STARTED
	wait_for 15 grep -q "watching 2 processes by name" "$LOG" || fail "no look at the file and for targets"
	is "$(get /api/rules | jq .reloads)" 1 "reloads after the next look at the file"
	end_process "$late"
	is "$(cat "$S/real.conf")" "$new" "the file"
	is "$(stat -c '%a %U %G %F' "$S/real.conf")" "604 nobody daemon regular file" "its owner and mode"
	is "$(readlink "$CONF")" ../real.conf "the link"
	is "$(find "$S" -name '*.new' | wc -l)" 0 "files beside them"
}

@test "a disk that is full leaves the old rules, on it and in force, and the page says why" {
	need_mounts
	local old inside
	rules_file 1h
	old=$(cat "$CONF")
	mkdir "$S/small"
	cat >"$S/in_small" <<-END
		#!/bin/bash
		# \$1 serve -c FILE ...: the file on a disk of its own, 64 KiB
		exec unshare -m --propagation private bash -c 'mount -t tmpfs -o size=64k,mode=755 none "$S/small" &&
			cp "$CONF" "$S/small/rules.conf" && exec "\$@"' - "$REQTRAP" "\$@"
	END
	chmod +x "$S/in_small"
	REQTRAP=$S/in_small CONF=$S/small/rules.conf serve
	CONF=$S/small/rules.conf
	inside=/proc/$SERVE/root/$S/small
	is "$(cat "$inside/rules.conf")" "$old" "the file"
	head -c 100000 /dev/zero >"$inside/filler" 2>/dev/null || :
	has "$(edit save "${old/1h/2h}" -d "base=$(base)")" "not saved: cannot write" "the page"
	has "$(edit save "${old/1h/2h}" -d "base=$(base)")" "No space left on device" "why"
	is "$(cat "$inside/rules.conf")" "$old" "the file after that"
	is "$(get /api/rules | jq .reloads)" 0 "reloads"
	is "$(ls "$inside" | tr '\n' ' ')" "filler rules.conf " "what is on the disk"
	rm "$inside/filler"
	is "$(edit save "${old/1h/2h}" -d "base=$(base)" -o /dev/null -w '%{http_code}')" 303 "when there is room again"
	is "$(cat "$inside/rules.conf")" "${old/1h/2h}" "the file then"
}

@test "the editor knows the rules of rules.d" {
	local old page
	rules_file 1h
	old=$(cat "$CONF")
	mkdir "$S/rules.d"
	chmod 755 "$S/rules.d"
	printf 'rule "site" { status = 404 }\n' >"$S/rules.d/site.conf"
	chmod 644 "$S/rules.d/site.conf"
	serve
	has "$(edit check "$old")" "No mistakes: 2 rules" "all of them"
	page=$(edit test "$old" -d method=GET -d url=/x -d status=404)
	has "$page" 'site<br><span class="soft">rules.d/site.conf</span></td><td><b class="good">fires</b>' "the rule that fires"
	page=$(edit check "${old/\"slow\"/\"site\"}")
	has "$page" "rules.d/site.conf:1: there is a rule 'site' in another file" "a name that is taken there"
	has "$page" "Left out of rules.d: 1" "that it is left out"
	has "$(edit check "store = \"$S/store\"")" "No mistakes: 1 rule." "none in the main file"
	page=$(edit test "$old
watch \"shop\" { process = {\"nginx\"} }
rule \"shop\" { watch = {\"shop\"} status = 500 }" -d method=GET -d url=/ -d status=500 -d watch=shop)
	has "$page" 'shop</td><td><b class="good">fires</b>' "a rule of a watch set"
	rm "$S/rules.d/site.conf"
	has "$(edit check "store = \"$S/store\"")" "there is no rule in it" "none at all"
	chmod 666 "$CONF"
	has "$(edit check "$old")" "others may write to it" "a file that is not to be trusted"
}

# ---- the other verbs ----

as_nobody() { # COMMAND...
	setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/nonexistent "$@"
}

@test "list, show and report find the daemon's store; who may not is told what to do" {
	local id
	unset REQTRAP_STORE
	export REQTRAP_SOCKET=$LIVE/control.sock # where anybody may look
	SOCKET=$REQTRAP_SOCKET
	rules_file 200ms 'capture = {"trace"}'
	cd "$S"
	serve -o by-name # to be found from elsewhere, too
	ask '/slow?ms=400'
	wait_for 20 incidents 1 || fail "no incident"
	id=$(get /api/incidents | jq -r '.incidents[0].id')
	cd /
	is "$(get /api/daemon | jq -r .store)" "$S/by-name" "the store"
	is "$("$REQTRAP" list --json | jq -r .id)" "$id" "list"
	has "$("$REQTRAP" show last)" "/slow" "show"
	is "$("$REQTRAP" show "$id" --json | jq -r .id)" "$id" "show ID"
	has "$("$REQTRAP" report last)" "$S/by-name/" "report"
	mkdir "$LIVE/other"
	is "$("$REQTRAP" list --store "$LIVE/other" --json)" "" "a store that is named"
	is "$(REQTRAP_STORE=$LIVE/other "$REQTRAP" list --json)" "" "one that the environment names"
	run as_nobody "$REQTRAP" list
	is "$status" 3 "exit code for nobody"
	has "$output" "try 'sudo reqtrap'" "what nobody is told"
	chmod 666 "$SOCKET" # even if somebody opens it
	run as_nobody "$REQTRAP" show last
	is "$status" 3 "exit code for nobody, at an open socket"
	has "$output" "try 'sudo reqtrap'" "what nobody is told then"
	run as_nobody "$REQTRAP" list --store "$LIVE/other"
	has "$output" "no incident in '$LIVE/other'" "nobody with a store of his own"
}

@test "top without a TARGET shows what the daemon watches" {
	local row
	rules_file 1h
	run "$REQTRAP" top
	is "$status" 2 "exit code without a daemon"
	has "$output" "there is no daemon to ask" "what is said then"
	serve
	run "$REQTRAP" top -n 1 --every 50ms
	is "$status" 1 "exit code without a request"
	ask '/slow?ms=8000&secret=hush' &
	ASKED=$!
	wait_for 10 flying "/slow" || fail "it is not seen in flight"
	run "$REQTRAP" top -n 2 --every 50ms
	is "$status" 0 "exit code"
	row=$(grep -E "^ +[0-9.]+ (ms|s) $PYTHON" <<<"$output" | tail -n 1)
	has "$row" "GET     /slow?ms=***" "the request"
	has "$row" " sleep" "what its thread does"
	lacks "$output" hush "a secret"
	is "$(grep -c ELAPSED <<<"$output")" 2 "rounds"
	is "$(grep -m 1 ELAPSED <<<"$output")" "$("$REQTRAP" top -q "$PYTHON" -n 1 --every 50ms | grep ELAPSED)" "the head, as with a TARGET"
	is "$("$REQTRAP" top --json -n 2 --every 50ms | jq -r '"\(.event) \(.round) \(.in_flight) \(.requests[0].pid)"')" \
		"round 1 1 $PYTHON
round 2 1 $PYTHON" "as JSON"
	is "$(script -qec "stty cols 80 rows 24; exec '$REQTRAP' top -n 2 --every 50ms" /dev/null </dev/null | tr '\r' '\n' |
		sed 's/\x1b\[H/\n/g; s/\x1b\[[0-9;?]*[A-Za-z]//g' | awk 'length($0) > 80' | wc -l)" 0 "lines of more than 80 columns"
	run "$REQTRAP" top --slots 100
	is "$status" 2 "exit code of an option that is not the daemon's"
	chmod 755 "$S"
	run as_nobody "$REQTRAP" top
	is "$status" 3 "exit code for nobody"
	has "$output" "only root may ask the daemon" "what nobody is told"
	"$REQTRAP" top --every 50ms >"$S/top.out" 2>"$S/top.err" &
	row=$!
	remember "$row"
	wait_for 10 grep -q slow "$S/top.out"
	kill -TERM "$SERVE"
	wait_for 40 gone "$row" || fail "top goes on without its daemon"
	has "$(cat "$S/top.err")" "no daemon is there" "what is said when the daemon ends"
	wait "$ASKED" || :
}

# ---- a disk that is slow ----

# A control group of this test in which the disk of $S gives 64 KiB a second.
slow_group() {
	local source disk
	GROUP=/sys/fs/cgroup/blkio/reqtrap-test.$$
	source=$(findmnt -no SOURCE -T "$S")
	[[ -d /sys/fs/cgroup/blkio && -b $source ]] || skip "no disk whose speed may be limited here"
	disk=$(lsblk -ndo PKNAME "$source")
	DISK=$(lsblk -ndo MAJ:MIN "/dev/${disk:-${source##*/}}" | tr -d ' ')
	mkdir "$GROUP" && echo "$DISK 65536" >"$GROUP/blkio.throttle.read_bps_device" || skip "its speed may not be limited"
}

@test "the loop waits for no disk while a core is downloaded" {
	need findmnt lsblk
	local id core begun
	rules_file 200ms 'capture = {"trace", "mini"}'
	serve
	ask '/slow?ms=400'
	wait_for 20 incidents 1 || fail "no incident"
	id=$(get /api/incidents | jq -r '.incidents[0].id')
	core=$(echo "$S"/store/*"$id"*/core*)
	[[ -s $core ]] || fail "no core"
	head -c 1500000 /dev/urandom >"$core"
	sync "$core"
	slow_group
	echo "$SERVE" >"$GROUP/cgroup.procs"
	dd if="$core" iflag=nocache count=0 status=none # out of memory
	get "/incident/$id/core" --max-time 200 >"$S/got" &
	begun=$!
	remember "$begun"
	some() { [[ -s $S/got ]]; }
	wait_for 10 some || fail "nothing comes"
	is "$(for _ in {1..20}; do curl -s --unix-socket "$SOCKET" -o /dev/null -w '%{time_total}\n' http://localhost/healthz; done |
		sort -n | awk 'END { print $1 < 1 }')" 1 "a second at most for an answer meanwhile"
	is "$(gone "$begun" && echo gone)" "" "the download, until then"
	echo "$SERVE" >"${GROUP%/*}/cgroup.procs"
	wait_for 60 gone "$begun" || fail "the download does not end"
	cmp "$S/got" "$core" || fail "it is another file"
	rmdir "$GROUP"
}

@test "the loop waits for the disk for a second at most while rules are saved" {
	need findmnt lsblk
	local old saving
	rules_file 1h
	serve
	old=$(cat "$CONF")
	slow_group
	echo "$DISK 8192" >"$GROUP/blkio.throttle.write_bps_device"
	echo "$SERVE" >"$GROUP/cgroup.procs"
	saving=$(edit save "${old/1h/2h}" -d "base=$(base)" -w '%{time_total}')
	has "$saving" "takes long" "the page"
	between "${saving##*$'\n'}" 0.9 3 "seconds for that"
	wait_for 20 reloads 1 || fail "the saved file is not read"
	is "$(cat "$CONF")" "${old/1h/2h}" "the file"
	is "$(get /api/rules | jq .reloads)" 1 "reloads"
	echo "$SERVE" >"${GROUP%/*}/cgroup.procs"
}
