#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What cannot work: one clear line, the right exit code, the target untouched, no half
# incident. And a watch that dies in the middle.

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
	need jq
	STORE=$BATS_TEST_TMPDIR/store
	chmod go-w "$BATS_TEST_TMPDIR"
}

teardown() {
	watch_kill
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$PYTHON/status")" 0 "TracerPid of the server"
	client "$PYTHON_PORT" get /fast >/dev/null
}

watch() { # ARGS: sets status and errors; never fails
	status=0
	timeout -k 5 20 "$REQTRAP" watch -o "$STORE" "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- || status=$?
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

refused() { # EXIT-CODE PART-OF-TEXT
	is "$status" "$1" "exit code ($errors)"
	one_line "$errors" "message"
	has "$errors" "$2" "message"
	is "$(cat "$BATS_TEST_TMPDIR/out")" "" "standard output"
}

@test "a process that is not there: by id, by name, by port" {
	local pid
	sh -c 'exit 0' & pid=$!
	wait "$pid"
	watch --time-taken 1s "$pid"
	refused 2 "$pid"
	watch --time-taken 1s 99999999
	refused 2 "99999999"
	watch --time-taken 1s no-such-name
	refused 2 "'no-such-name'"
	watch --time-taken 1s ":$(free_port)"
	refused 2 "listens"
	watch --time-taken 1s -- "$LIVE/no-such-program"
	refused 2 "no-such-program"
}

@test "a zombie" {
	start zombie python3 -c 'import os, time
pid = os.fork() or os._exit(0)
print(pid, flush=True)
time.sleep(60)'
	wait_for 5 test -s "$LIVE/log.zombie"
	local zombie
	zombie=$(cat "$LIVE/log.zombie")
	wait_for 5 grep -q ') Z' "/proc/$zombie/stat"
	watch --time-taken 1s "$zombie"
	end_process "$STARTED"
	refused 2 "$zombie"
}

@test "mistakes on the line" {
	watch "$PYTHON"
	refused 2 "--time-taken"
	watch --time-taken 1s
	refused 2 "PID"
	watch --time-taken 5 "$PYTHON"
	refused 2 "5"
	watch --time-takn 5s "$PYTHON"
	has "$errors" "time-taken" "message"
	is "$status" 2 "exit code"
	watch --status 99 "$PYTHON"
	refused 2 "99"
	watch --time-taken 1s --capture coffee "$PYTHON"
	refused 2 "coffee"
	watch --time-taken 1s --action 'relative/program %1%' "$PYTHON"
	refused 2 "relative/program"
	watch --time-taken 1s --action '/bin/true %NONSENSE%' "$PYTHON"
	refused 2 "NONSENSE"
	watch --time-taken 1s --hooks psychic "$PYTHON"
	is "$status" 2 "exit code"
	has "$errors" "psychic" "message"
	[[ ! -e $STORE ]] || fail "a store was made for nothing"
}

@test "mistakes in a rules file: file, line and 'did you mean', all of them" {
	cat >"$BATS_TEST_TMPDIR/rules.conf" <<'END'
rule "slow" {
	time-takn = 2s
	capture = {"trace", "stack"}
}
END
	watch --config "$BATS_TEST_TMPDIR/rules.conf" "$PYTHON"
	is "$status" 2 "exit code"
	has "$errors" "rules.conf:2: " "messages"
	has "$errors" "time-taken" "messages"
	has "$errors" "rules.conf:3: " "messages"
	has "$errors" "stacks" "messages"
	watch --config "$BATS_TEST_TMPDIR/no-such-file" "$PYTHON"
	is "$status" 2 "exit code"
	has "$errors" "no-such-file" "messages"
}

@test "without rights: which capability, and how to get it" {
	need setpriv
	cp "$REQTRAP" "$LIVE/reqtrap"
	chmod 755 "$LIVE/reqtrap"
	status=0
	errors=$(setpriv --reuid nobody --regid nogroup --clear-groups "$LIVE/reqtrap" watch --time-taken 1s -o /tmp/none "$PYTHON" \
		2>&1 >"$BATS_TEST_TMPDIR/out" 3>&-) || status=$?
	refused 3 "CAP_"
}

@test "a folder that cannot hold incidents" {
	STORE=/proc/store
	watch --time-taken 1s "$PYTHON"
	is "$status" $((status == 2 ? 2 : 3)) "exit code"
	one_line "$errors" "message"
	has "$errors" "/proc/store" "message"
	mkdir -m 777 "$BATS_TEST_TMPDIR/open"
	STORE=$BATS_TEST_TMPDIR/open
	watch --time-taken 1s "$PYTHON"
	refused 3 "others may write"
	is "$(ls -A "$BATS_TEST_TMPDIR/open")" "" "files in it"
	: >"$BATS_TEST_TMPDIR/file"
	STORE=$BATS_TEST_TMPDIR/file
	watch --time-taken 1s "$PYTHON"
	is "$status" 2 "exit code"
	one_line "$errors" "message"
}

@test "a disk that is full when a request is trapped: said, no half incident, the request answered" {
	need unshare
	mkdir "$BATS_TEST_TMPDIR/full"
	WATCH_OUT=$BATS_TEST_TMPDIR/out WATCH_ERR=$BATS_TEST_TMPDIR/err
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs -o size=64k,mode=700 none "$1/full" || exit 77
		head -c 61440 /dev/zero >"$1/full/ballast"
		mkfifo "$1/stop"
		env --default-signal=INT "$2" watch --json --time-taken 300ms --capture trace,stacks,full \
			-o "$1/full/store" "$3" >"$1/out" 2>"$1/err" &
		echo $! >"$1/pid"
		wait $!
		code=$?
		find "$1/full" -mindepth 1 ! -name ballast >"$1/left"
		exit $code' sh "$BATS_TEST_TMPDIR" "$REQTRAP" "$PYTHON" 3>&- &
	local runner=$! code=0
	remember "$runner"
	wait_for 15 grep -qs watching "$WATCH_OUT" || { gone "$runner" && skip "cannot mount a file system of its own"; }
	WATCH=$(cat "$BATS_TEST_TMPDIR/pid")
	is "$(client "$PYTHON_PORT" status '/slow?ms=900' | cut -d' ' -f1)" 200 "the request's status"
	wait_for 15 test -s "$WATCH_ERR"
	kill -INT "$WATCH"
	wait "$runner" || code=$?
	WATCH=
	# Trapped it was; that it could not be kept is said.
	[[ $code == 0 || $code == 3 ]] || fail "exit code $code"
	[[ $(cat "$WATCH_ERR") =~ "No space left"|"free on that disk" ]] || fail "messages: $(cat "$WATCH_ERR")"
	lacks "$(cat "$BATS_TEST_TMPDIR/left")" ".new-" "files on the full disk"
	lacks "$(cat "$BATS_TEST_TMPDIR/left")" ".part" "files on the full disk"
}

@test "a watch that is killed: the server goes on, nothing stays attached, the next one cleans up" {
	need bpftool
	watch_start auto --time-taken 300ms --capture trace,stacks,full "$PYTHON"
	local ids id
	ids=$(cat "/proc/$WATCH/fdinfo"/* 2>/dev/null | awk '$1 == "prog_id:" { print $2 }' | sort -u)
	[[ -n $ids ]] || fail "the watch has no BPF programs"
	client "$PYTHON_PORT" status '/slow?ms=1500' >"$BATS_TEST_TMPDIR/answer" 3>&- &
	local asker=$!
	wait_for 10 folder_is_there
	local helpers pid
	helpers=$(children "$WATCH")
	kill -KILL "$WATCH"
	wait "$WATCH" 2>/dev/null || :
	for pid in $helpers; do # who lives in that folder: it is not swept before
		wait_for 10 gone "$pid" || fail "process $pid outlives its watch"
	done
	wait "$asker"
	is "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/answer")" 200 "the request's status"
	for id in $ids; do
		wait_for 10 prog_is_gone "$id" || fail "BPF program $id is still there"
	done
	watch_start auto --time-taken 300ms "$PYTHON"
	watch_stop
	no_half_incident
}

folder_is_there() {
	compgen -G "$STORE/.new-*" >/dev/null || compgen -G "$STORE/2*" >/dev/null
}

prog_is_gone() {
	! bpftool prog show id "$1" >/dev/null 2>&1
}

@test "SIGTERM ends a watch as Ctrl-C does" {
	watch_start auto --time-taken 300ms "$PYTHON"
	client "$PYTHON_PORT" get /fast >/dev/null
	kill -TERM "$WATCH"
	watch_wait
	is "$WATCH_STATUS" 1 "exit code when nothing was trapped"
	total requests 1
}

@test "Ctrl-C while a trapped request still runs: the incident is kept and says so" {
	watch_start auto --time-taken 300ms "$PYTHON"
	client "$PYTHON_PORT" status '/slow?ms=3000' >"$BATS_TEST_TMPDIR/answer" 3>&- &
	local asker=$!
	wait_events 1 '.event == "trapped"'
	watch_stop 10
	is "$WATCH_STATUS" 0 "exit code"
	total trapped 1
	incident_of 0
	no_half_incident
	is "$(fact .ended)" false "ended"
	has "$(fact .end_note)" "running" "end_note"
	wait "$asker"
	is "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/answer")" 200 "the request's status"
}
