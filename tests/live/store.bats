#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a watch leaves on the disk, and the verbs that read it: list, show, report,
# open, rm. And a disk that is full, a folder that is not ours to write.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
	live_begin
	start_python
	need_watch
	STORE=$LIVE/store
	# two incidents for all tests to read: one with a core, one without
	trap_one first "/slow?ms=900" --time-taken 300ms --capture trace,stacks,full
	trap_one second "/status/503" --status 503 --capture trace
	export STORE
}

# One request, once the watch is ready; the watch ends by itself.
trap_one() { # NAME URL RULE-OPTION...
	local watch

	start "$1" "$REQTRAP" watch -o "$STORE" -n 1 "${@:3}" "$PYTHON"
	watch=$STARTED
	wait_for 15 grep -q watching "$LIVE/log.$1" || fail "the watch does not begin"
	curl -s -o /dev/null "http://127.0.0.1:$PYTHON_PORT$2"
	wait_for 20 gone "$watch" || fail "the watch does not end"
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

ids() {
	"$REQTRAP" list -o "$STORE" --json | jq -r .id
}

id_where() { # JQ FILTER
	"$REQTRAP" list -o "$STORE" --json | jq -r "select($1).id" | head -n 1
}

@test "the values of a query are told nowhere, unless asked for" {
	local dir

	dir=$(echo "$STORE"/*-GET-slow)
	is "$(jq -r .request.url "$dir/incident.json")" '/slow?ms=***' "the url"
	run -1 grep -rl --exclude='core*' 'ms=900' "$dir" "$LIVE/log.first"
	STORE=$BATS_TEST_TMPDIR/store trap_one asked "/slow?ms=901" --time-taken 300ms --capture trace --show-values \
		--action '/bin/echo %URL%'
	is "$(jq -r .request.url "$BATS_TEST_TMPDIR"/store/*/incident.json)" '/slow?ms=901' "the url, asked for"
	grep -q '^/slow?ms=901' "$BATS_TEST_TMPDIR"/store/*/action.log || fail "the action's argument"
}

@test "list: newest first, 80 columns, one JSON object a line" {
	run -0 "$REQTRAP" list -o "$STORE"
	has "$output" "GET /slow" "list"
	has "$output" "503" "list"
	between "$(LC_ALL=C.UTF-8 wc -L <<<"$output")" 60 80 "columns"
	mapfile -t newest < <(ids)
	is "${#newest[@]}" 2 "incidents"
	is "${newest[0]}" "$(id_where '.status == 503')" "the newest"
	is "$("$REQTRAP" list -o "$STORE" --json | jq -r '.incident + "/incident.json"' | xargs stat -c %a | sort -u)" 600 "modes"
	is "$(find "$STORE" -mindepth 1 -maxdepth 1 -type d -printf '%m\n' | sort -u)" 700 "modes of the folders"
	no_half_incident
}

@test "show prints the stored page; report finds it and renders all formats again" {
	local id dir
	id=$(id_where '.core != null')
	dir=$("$REQTRAP" list -o "$STORE" --json | jq -r "select(.id == \"$id\").incident")
	"$REQTRAP" show "$id" -o "$STORE" | cmp - "$dir/report.txt"
	"$REQTRAP" show "$dir" | cmp - "$dir/report.txt"
	"$REQTRAP" show "${id:0:8}" -o "$STORE" --json | cmp - "$dir/incident.json"
	is "$("$REQTRAP" report "$id" --store "$STORE")" "$dir/report.html" "report"
	"$REQTRAP" report "$id" --store "$STORE" --format html | cmp - "$dir/report.html"
	"$REQTRAP" report "$id" --store "$STORE" --format text | cmp - "$dir/report.txt"
	"$REQTRAP" report "$id" --store "$STORE" --format chrome | cmp - "$dir/trace.json"
	"$REQTRAP" report "$id" --store "$STORE" --format stacks | cmp - "$dir/stacks.txt"
	"$REQTRAP" report "$id" --store "$STORE" --format json -o "$BATS_TEST_TMPDIR/x"
	cmp "$BATS_TEST_TMPDIR/x" "$dir/incident.json"
	jq -e 'length > 3' "$dir/trace.json" >/dev/null
	has "$(<"$dir/report.txt")" "in time   yes" "page"
	head -n 3 "$dir/report.txt" | grep -q '^VERDICT'
}

@test "the parts of the time add up to the whole" {
	for id in $(ids); do
		"$REQTRAP" show "$id" -o "$STORE" --json >"$BATS_TEST_TMPDIR/i"
		is "$(jq '[.spending[].ns] | add' "$BATS_TEST_TMPDIR/i")" "$(jq .elapsed_ns "$BATS_TEST_TMPDIR/i")" "sum"
	done
}

@test "open: gdb on the unpacked core, of which nothing stays behind" {
	need gdb zstd
	local id dir
	id=$(id_where '.core != null')
	dir=$("$REQTRAP" list -o "$STORE" --json | jq -r "select(.id == \"$id\").incident")
	find "$dir" | sort >"$BATS_TEST_TMPDIR/before"
	run -0 "$REQTRAP" open "$id" -o "$STORE" < <(printf 'set pagination off\nbt 4\nquit\n')
	has "$output" "#0 " "gdb"
	find "$dir" | sort | diff "$BATS_TEST_TMPDIR/before" -
}

@test "open: no gdb, no core" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	PATH=$BATS_TEST_TMPDIR/bin run -3 "$REQTRAP" open "$(id_where '.core != null')" -o "$STORE"
	has "$output" "apt install gdb" "message"
	run -1 "$REQTRAP" open "$(id_where '.core == null')" -o "$STORE"
	has "$output" "has no core" "message"
}

@test "mistakes are one line, with the right exit code" {
	local row
	for row in "2 show" "2 show zzz" "2 show last last" "2 show last -o /nonexistent" "2 rm ffffffffffff" \
		"2 report last --format pdf" "2 report" "2 show ./nothing-here" "2 list surplus"; do
		# shellcheck disable=SC2086 # words
		run "-${row%% *}" "$REQTRAP" ${row#* } ${row:+$([[ $row == *-o* || $row == *report* ]] || echo -o "$STORE")}
		one_line "$output" "$row"
	done
}

@test "rm removes one incident and no other" {
	cp -a "$STORE" "$BATS_TEST_TMPDIR/copy"
	run -0 "$REQTRAP" rm last -o "$BATS_TEST_TMPDIR/copy"
	is "$("$REQTRAP" list -o "$BATS_TEST_TMPDIR/copy" --json | jq -r .id)" "$(id_where '.core != null')" "what is left"
	run -0 "$REQTRAP" rm last -o "$BATS_TEST_TMPDIR/copy"
	is "$(ls -A "$BATS_TEST_TMPDIR/copy")" "" "store"
}

@test "a hostile incident.json is refused by the field's name" {
	local dir
	cp -a "$STORE" "$BATS_TEST_TMPDIR/copy"
	dir=$("$REQTRAP" list -o "$BATS_TEST_TMPDIR/copy" --json | jq -r 'select(.core != null).incident')
	sed -i 's/"core_file": "[^"]*"/"core_file": "..\/..\/..\/etc\/shadow"/' "$dir/incident.json"
	run -2 "$REQTRAP" open "$(basename "$dir" | cut -d- -f2)" -o "$BATS_TEST_TMPDIR/copy"
	has "$output" "'capture.core_file'" "message"
}

refuses() { # DIR TEXT
	run -3 timeout 20 "$REQTRAP" watch --time-taken 1s -o "$1" "$PYTHON"
	one_line "$output" "refusal"
	has "$output" "$2" "refusal"
}

@test "a store that others could reach is refused before anything is watched" {
	chmod go-w "$BATS_TEST_TMPDIR"
	mkdir -m 777 "$BATS_TEST_TMPDIR/open"
	chmod 777 "$BATS_TEST_TMPDIR/open"
	refuses "$BATS_TEST_TMPDIR/open" "others may write"
	refuses "$BATS_TEST_TMPDIR/open/below" "could swap"
	mkdir -m 700 "$BATS_TEST_TMPDIR/theirs"
	chown nobody "$BATS_TEST_TMPDIR/theirs"
	refuses "$BATS_TEST_TMPDIR/theirs" "belongs to uid"
	ln -s /var/lib "$BATS_TEST_TMPDIR/link"
	refuses "$BATS_TEST_TMPDIR/link" "symbolic link"
	is "$(find "$BATS_TEST_TMPDIR/open" "$BATS_TEST_TMPDIR/theirs" -mindepth 1)" "" "what was made there"
}

stored() { # COUNT: incidents lie in the store, whole, and their requests' ends are written, too
	(($(find "$STORE" -name incident.json -path '*/2*' -exec grep -l '"ended": true' {} + 2>/dev/null | wc -l) == $1)) &&
		! find "$STORE" -name '.new-*' -o -name '.tmp-*' | grep -q .
}

store_gone() { # what is written last may still be on its way
	rm -rf "$STORE"
	[[ ! -e $STORE ]]
}

trapped_again() { # COUNT of incidents then in the store
	curl -s -o /dev/null "http://127.0.0.1:$PYTHON_PORT/slow?ms=200"
	wait_for 10 stored "$1" || fail "not $1 incidents in the store: $(find "$STORE")"
}

@test "a store that is removed, moved away or made anew while a watch runs is found again" {
	watch_start auto --time-taken 100ms --limit 100 --capture trace "$PYTHON"
	trapped_again 1
	wait_for 5 store_gone || fail "it does not go"
	trapped_again 1
	wait_for 5 store_gone || fail "it does not go"
	mkdir -m 700 "$STORE"
	trapped_again 1
	mv "$STORE" "$STORE.old"
	trapped_again 1
	trapped_again 2
	# One that would not be opened at the start is not now: told, and taken again when it is mended.
	wait_for 5 store_gone || fail "it does not go"
	mkdir "$STORE"
	chmod 777 "$STORE"
	curl -s -o /dev/null "http://127.0.0.1:$PYTHON_PORT/slow?ms=200"
	wait_for 10 grep -q 'others may write' "$WATCH_ERR" "$WATCH_OUT" || fail "nothing is told"
	is "$(find "$STORE" -mindepth 1)" "" "what was made there"
	chmod 700 "$STORE"
	trapped_again 1
	watch_stop
}

@test "a full disk: told in words, no half incident, the server serves on" {
	need_mounts
	cat >"$BATS_TEST_TMPDIR/inside" <<-'INSIDE'
		mount -t tmpfs -o size=24k,mode=700 none "$1/disk" && mkdir -m 700 "$1/disk/store" || exit 9
		"$REQTRAP" watch --time-taken 300ms --capture trace,stacks,full -o "$1/disk/store" "$PYTHON" \
			>"$1/out" 2>"$1/err" 3>&- </dev/null &
		watch=$!
		for ((n = 0; n < 40; n++)); do
			curl -s -o /dev/null "http://127.0.0.1:$PYTHON_PORT/slow?ms=500" || exit 8
			grep -q 'No space left' "$1/out" "$1/err" && break
		done
		kill -INT $watch
		wait $watch
		ls -A "$1/disk/store" >"$1/left"
	INSIDE
	mkdir "$BATS_TEST_TMPDIR/disk"
	# a mount name space of its own: nothing is left mounted, however this ends
	REQTRAP=$REQTRAP PYTHON=$PYTHON PYTHON_PORT=$PYTHON_PORT run -0 timeout 100 unshare -m --propagation private \
		bash "$BATS_TEST_TMPDIR/inside" "$BATS_TEST_TMPDIR"
	cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err" # shown when the test fails
	grep -q 'No space left' "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
	is "$(cat "$BATS_TEST_TMPDIR/left")" "" "left in the store"
	is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PYTHON_PORT/slow?ms=1")" 200 "the server's answer"
}
