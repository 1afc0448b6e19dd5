#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Who has what a process waits for in another process, what that one does, and that the
# look does it no harm: file locks, pipes, children, sockets, shared mutexes, deadlocks,
# containers; and the lock on a PHP session, of two requests behind nginx.

load helpers

session_servers() {
	command -v nginx php-fpm8.2 >/dev/null || return 0
	start_fpm
	start_nginx
	mkdir -m 777 "$LIVE/sessions"
	cat >"$LIVE/php/report.php" <<-'PHP'
		<?php
		function open_session() {
		    session_save_path($_GET['folder']);
		    session_id('abc123');
		    session_start();
		}
		function yearly($flag) {
		    touch($flag);
		    while (!file_exists("$flag.go")) {
		        usleep(300000);
		        clearstatcache();
		    }
		}
		open_session();
		if (isset($_GET['flag'])) yearly($_GET['flag']);
		echo getmypid();
	PHP
	cp "$LIVE/php/report.php" "$LIVE/php/cart.php"
}

setup_file() {
	need_watch
	need cc jq python3
	live_begin
	cc -O1 -g -D_GNU_SOURCE -pthread "$ROOT/tests/victims/u_ends.c" -o "$LIVE/u_ends"
	session_servers
}

teardown_file() {
	live_end
}

teardown() {
	watch_kill
}

state_of() { # PID: what ptrace or a stop would leave behind
	grep -E '^(State|TracerPid|SigPnd|ShdPnd|Threads)' "/proc/$1/status"
	children "$1"
}

in_call() { # PID NUMBER
	grep -q "^$2 " "/proc/$1/syscall"
}

said() { # LOG LINE
	grep -q "^$2" "$LIVE/log.$1"
}

ends() { # NAME ARG...: started, its id in $STARTED
	start "$1" "$LIVE/u_ends" "${@:2}"
}

waiting() { # NAME NUMBER ARG...: started, and in that call
	start "$1" "$LIVE/u_ends" "${@:3}"
	wait_for 10 in_call "$STARTED" "$2" || fail "$1 does not wait"
}

# The one JSON line of 'stacks', in $OUT; what process $2 is like is as before.
look_from() { # PID OTHER
	local before
	before=$(state_of "$2")
	OUT=$("$REQTRAP" stacks "$1" --json) || fail "stacks: $OUT"
	is "$(state_of "$2")" "$before" "the other process afterwards"
}

beyond() { # JQ-PATH
	jq -r ".beyond$1" <<<"$OUT"
}

one_holds() { # KIND HOW
	rm -f "$LIVE/the-lock"
	ends holder "$1" "$LIVE/the-lock"
	local holder=$STARTED
	wait_for 10 said holder held
	waiting waiter "$3" "$1" "$LIVE/the-lock"
	look_from "$STARTED" "$holder"
	is "$(beyond '|length')" 1 "steps"
	is "$(beyond '[0]|[.pid, .tid, .process, .how] | join(" ")')" "$holder $holder u_ends holds $2 $LIVE/the-lock" "$1: the step"
	has "$(beyond '[0].thread.stack.frame[].function')" work_with_it "$1: its stack"
	has "$(jq -r .verdict <<<"$OUT")" "held by u_ends $holder, which is itself asleep (clock_nanosleep) in work_with_it at" "$1: the verdict"
	between "$(beyond '[0].pause_ns')" 1 100000000 "$1: its pause"
	end_process "$STARTED"
	end_process "$holder"
}

@test "beyond: flock, fcntl and open file description locks, and what their holder does" {
	one_holds flock flock 73
	one_holds fcntl "the record lock on" 72
	one_holds ofd "the record lock on" 72
}

@test "beyond: a flock whose taker has ended is its heir's; Python waits for it" {
	# flock(1) takes it on the descriptor of the shell and ends; the shell becomes 'sleep'
	start heir sh -c "exec 9>'$LIVE/inherited'; flock 9; exec sleep 1000"
	local heir=$STARTED
	wait_for 10 in_call "$heir" 230 || fail "nobody sleeps with the lock"
	start waiter python3 -c "import fcntl
fcntl.flock(open('$LIVE/inherited', 'w'), fcntl.LOCK_EX)"
	wait_for 10 in_call "$STARTED" 73
	look_from "$STARTED" "$heir"
	is "$(beyond '[0]|[.pid, .how] | join(" ")')" "$heir holds flock $LIVE/inherited" "the step"
	has "$(jq -r .verdict <<<"$OUT")" "for the lock (flock) on file $LIVE/inherited, held by sleep $heir, which is itself asleep" verdict
	end_process "$STARTED"
	end_process "$heir"
}

@test "beyond: two processes in a deadlock of file locks, and one with itself" {
	mkfifo "$LIVE/go.a" "$LIVE/go.b"
	local a b
	start a sh -c "exec '$LIVE/u_ends' swap flock '$LIVE/A' '$LIVE/B' <'$LIVE/go.a'"
	a=$STARTED
	start b sh -c "exec '$LIVE/u_ends' swap flock '$LIVE/B' '$LIVE/A' <'$LIVE/go.b'"
	b=$STARTED
	exec 5>"$LIVE/go.a" 6>"$LIVE/go.b"
	wait_for 10 said a held && wait_for 10 said b held
	echo >&5
	echo >&6
	exec 5>&- 6>&-
	wait_for 10 in_call "$a" 73 && wait_for 10 in_call "$b" 73
	look_from "$a" "$b"
	is "$(beyond '[]|[.pid, .how, (.cycle // false)] | join(" ")')" \
		"$b holds flock $LIVE/B false
$a holds flock $LIVE/A true" "the chain"
	has "$(jq -r .verdict <<<"$OUT")" "u_ends $a is in a deadlock: it waited in take_file at" verdict
	has "$(jq -r .verdict <<<"$OUT")" "held by u_ends $b, which is itself waiting for the lock on file $LIVE/A in take_file at" verdict
	end_process "$a"
	end_process "$b"

	start self "$LIVE/u_ends" swap flock "$LIVE/A" "$LIVE/A"
	wait_for 10 in_call "$STARTED" 73
	look_from "$STARTED" "$STARTED"
	is "$(beyond '[]|[.pid, .cycle] | join(" ")')" "$STARTED true" "the chain with itself"
	has "$(jq -r .verdict <<<"$OUT")" "is in a deadlock" verdict
	end_process "$STARTED"
}

@test "beyond: a full pipe to a reader that was stopped, which stays stopped" {
	ends pipe pipe
	local writer=$STARTED reader
	stopped_reader() {
		reader=$(awk '/^reader/ { print $2 }' "$LIVE/log.pipe")
		[[ -n $reader ]] && grep -q '^State:.T' "/proc/$reader/status" && in_call "$writer" 1
	}
	wait_for 10 stopped_reader || fail "the pipe is not full"
	look_from "$writer" "$reader"
	is "$(beyond '[]|[.pid, .how, .thread.state] | join(" ")')" "$reader reads from the pipe T" "the chain"
	has "$(jq -r .verdict <<<"$OUT")" "its reader is u_ends $reader, which was stopped by a signal" verdict
	kill -KILL "$reader"
	wait_for 10 gone "$writer"
}

@test "beyond: a child that sleeps" {
	waiting child 61 child
	local child
	child=$(children "$STARTED")
	wait_for 10 in_call "$child" 230 || wait_for 10 in_call "$child" 35
	look_from "$STARTED" "$child"
	is "$(beyond '[]|[.pid, .how] | join(" ")')" "$child is the child that is waited for" "the chain"
	has "$(jq -r .verdict <<<"$OUT")" "that child is u_ends $child, which is itself asleep" verdict
	end_process "$STARTED"
	kill "$child"
}

@test "beyond: a child in a pid name space of its own, whose parent is not in it" {
	unshare -p -f true 2>/dev/null || skip "cannot make a pid name space"
	local child box
	start box unshare -p -f --kill-child sleep 60
	box=$STARTED
	has_child() { child=$(children "$box") && [[ $child ]]; }
	wait_for 10 has_child
	wait_for 10 in_call "$box" 61
	look_from "$box" "$child"
	is "$(beyond '[]|[.pid, .how] | join(" ")')" "$child is the child that is waited for" "the chain"
	end_process "$box"
}

@test "beyond: a call to a server whose thread waits for a mutex, and on to who holds that" {
	ends serve serve
	local server=$STARTED port taker answering
	wait_for 10 said serve port
	port=$(awk '/^port/ { print $2 }' "$LIVE/log.serve")
	taker=$(awk '/^taker/ { print $3 }' "$LIVE/log.serve")
	start caller python3 -c "import socket
s = socket.create_connection(('127.0.0.1', $port))
s.send(b'x')
s.recv(1)"
	waits_in_it() {
		answering=$(awk '/^server/ { print $3 }' "$LIVE/log.serve")
		[[ -n $answering ]] && grep -q '^202 ' "/proc/$server/task/$answering/syscall"
	}
	wait_for 10 waits_in_it || fail "the server's thread does not wait for the mutex"
	wait_for 10 in_call "$STARTED" 45
	look_from "$STARTED" "$server"
	is "$(beyond '[]|[.pid, .tid] | join(" ")')" "$server $answering
$server $taker" "the chain"
	has "$(beyond '[0].how')" "a guess" "which thread answers"
	has "$(beyond '[1].how')" "holds mutex 0x" "the second step"
	is "$(beyond '[1].pause_ns // 0')" 0 "the second look at the same process"
	has "$(jq -r .verdict <<<"$OUT")" "thread $taker, which is itself asleep (clock_nanosleep) in work_with_it at" verdict
	# one that nobody accepts
	end_process "$STARTED"
	start caller python3 -c "import socket
s = socket.create_connection(('127.0.0.1', $port))
s.recv(1)"
	wait_for 10 in_call "$STARTED" 45
	look_from "$STARTED" "$server"
	is "$(beyond '[0]|[.pid // 0, .failed] | join(" ")')" "0 nobody has accepted the connection yet" "the step"
	end_process "$STARTED"
	end_process "$server"
}

shared_mutex() { # NUMBER WHAT [PREFIX...]: run in a container if 'unshare' is given
	rm -f "$LIVE/shared"
	"$LIVE/u_ends" mutex "$LIVE/shared" make
	ends holder mutex "$LIVE/shared" "$1"
	local holder=$STARTED
	wait_for 10 said holder held
	waiting waiter 202 mutex "$LIVE/shared" "$1"
	look_from "$STARTED" "$holder"
	has "$(beyond '[0]|[.pid, .how] | join(" ")')" "$holder holds $2 0x" "$2 $1"
	has "$(jq -r '.analysis.thread[0].waits_for' <<<"$OUT")" "held by $holder \"u_ends\"" "$2 $1"
	is "$(jq -r '.analysis.lock[0].owner' <<<"$OUT")" "$holder" "owner in the list of locks"
	end_process "$STARTED"
	end_process "$holder"
}

@test "beyond: mutexes and a rwlock that processes share: plain, robust, with priority inheritance" {
	shared_mutex 0 mutex
	shared_mutex 2 mutex
	shared_mutex 3 mutex
	shared_mutex 4 rwlock
}

@test "beyond: an owner word that names a process which has no such memory leads nowhere" {
	start stranger sleep 1000
	local stranger=$STARTED
	waiting forger 202 forge "$LIVE/forged" "$stranger"
	look_from "$STARTED" "$stranger"
	is "$(beyond '// "none"')" none "the chain"
	has "$(jq -r '.analysis.thread[0].waits_for' <<<"$OUT")" "whose owner, thread $stranger of another process, is not to be found" "what it waits for"
	lacks "$(jq -r .verdict <<<"$OUT")" sleep verdict
	end_process "$STARTED"
	end_process "$stranger"
}

@test "beyond: in a container, whose ids are others: a shared mutex, a deadlock of two" {
	unshare -p -f true 2>/dev/null || skip "cannot make a pid name space"
	mkfifo "$LIVE/go.c" "$LIVE/go.d"
	rm -f "$LIVE/shared"
	"$LIVE/u_ends" mutex "$LIVE/shared" make
	start box unshare -p -f --kill-child sh -c "'$LIVE/u_ends' mutex '$LIVE/shared' 0 1 <'$LIVE/go.c' &
		'$LIVE/u_ends' mutex '$LIVE/shared' 1 0 <'$LIVE/go.d' & wait"
	local box=$STARTED init pids a b
	exec 5>"$LIVE/go.c" 6>"$LIVE/go.d"
	both_hold() {
		[[ $(grep -c ^held "$LIVE/log.box") == 2 ]]
	}
	wait_for 10 both_hold || fail "not both hold a mutex"
	echo >&5
	echo >&6
	exec 5>&- 6>&-
	init=$(children "$box")
	pids=$(children "$init")
	a=$(head -n 1 <<<"$pids")
	b=$(tail -n 1 <<<"$pids")
	wait_for 10 in_call "$a" 202 && wait_for 10 in_call "$b" 202
	look_from "$a" "$b"
	is "$(beyond '[]|[.pid, .tid, (.cycle // false)] | join(" ")')" "$b $b false
$a $a true" "the chain"
	has "$(jq -r .verdict <<<"$OUT")" "u_ends $a is in a deadlock" verdict
	end_process "$box"
}

@test "beyond: who is traced by another is named and left alone" {
	need strace
	ends holder flock "$LIVE/traced"
	local holder=$STARTED
	wait_for 10 said holder held
	waiting waiter 73 flock "$LIVE/traced"
	local waiter=$STARTED tracer
	start strace strace -qq -o /dev/null -p "$holder"
	tracer=$STARTED
	wait_for 20 grep -q "^TracerPid:.$tracer" "/proc/$holder/status" || fail "strace does not attach"
	look_from "$waiter" "$holder"
	is "$(beyond '[0]|[.pid, (.thread.tid // 0), .failed] | join(" ")')" "$holder 0 process $tracer \"strace\" traces it already" "the step"
	has "$(jq -r .verdict <<<"$OUT")" "held by u_ends $holder (not looked at: process $tracer \"strace\" traces it already)" verdict
	kill -KILL "$tracer"
	end_process "$waiter"
	end_process "$holder"
}

@test "beyond: reqtrap itself is named and left alone" {
	start sleeper sleep 1000
	local sleeper=$STARTED ours
	start shell bash -c "'$REQTRAP' dump --cpu '>99%' --for 1000s -o '$LIVE/never.core' $sleeper; true"
	waits_for_us() {
		ours=$(children "$STARTED")
		[[ -n $ours && /proc/$ours/exe -ef $REQTRAP ]] && in_call "$STARTED" 61
	}
	wait_for 10 waits_for_us || fail "the shell does not wait for reqtrap"
	look_from "$STARTED" "$ours"
	is "$(beyond '[0] | [.pid, (.thread.tid // 0), .failed] | join(" ")')" "$ours 0 it is reqtrap itself" "the step"
	end_process "$STARTED"
	end_process "$ours"
	end_process "$sleeper"
}

@test "beyond: the lock on a PHP session: its holder's request, and where that is" {
	need nginx php-fpm8.2
	local holder first
	watch_start auto --time-taken 500ms --path '*cart.php*' --capture trace,stacks "$NGINX" "$FPM"
	client "$NGINX_PORT" get "/unix/report.php?folder=$LIVE/sessions&flag=$LIVE/sessions/flag" >"$LIVE/first" 3>&- &
	first=$!
	wait_for 10 test -e "$LIVE/sessions/flag" || fail "the first request does not run"
	client "$NGINX_PORT" get "/unix/cart.php?folder=$LIVE/sessions" >/dev/null 3>&- &
	wait_events 1 '.event == "trapped"'
	incident_of 0
	touch "$LIVE/sessions/flag.go"
	wait_events 1 '.event == "ended"'
	wait "$first"
	watch_stop
	watch_clean
	holder=$(grep -oE '[0-9]+$' "$LIVE/first" | tail -n 1)
	is "$(fact '.beyond | length')" 1 "steps"
	is "$(fact '.beyond[0] | [.pid, .request] | join(" ")')" "$holder GET /unix/report.php" "who holds the session"
	has "$(fact '.beyond[0].process')" php-fpm "its name"
	between "$(fact '.beyond[0].request_age_ns')" 500000000 60000000000 "age of its request"
	has "$(fact '.beyond[0].thread.script.frame[].function')" yearly "its stack"
	has "$(fact .verdict)" "for the PHP session lock on file $LIVE/sessions/sess_abc123, held by php-fpm8.2 $holder (GET /unix/report.php, " verdict
	has "$(fact .verdict)" " s old), which is itself asleep (clock_nanosleep) in usleep() called by yearly() at $LIVE/php/report.php:10" verdict
	has "$(fact .verdict)" "in session_start() called by open_session() at $LIVE/php/cart.php:5" verdict
	has "$(fact .advice)" "session_write_close()" advice
	has "$(fact .confidence)" high confidence
	has "$(grep -A 12 ^CHAIN "$INCIDENT/report.txt")" yearly "the page"
	has "$(cat "$INCIDENT/report.html")" CHAIN "the HTML page"
	has "$(cat "$INCIDENT/stacks.txt")" "beyond: process $holder" "the stacks"
	lacks "$(fact .beyond[0].request)" folder "what may be a secret"
}

@test "beyond: what two wait for is stopped for one of them, and the other is told so" {
	ends holder flock "$LIVE/both"
	local holder=$STARTED first
	wait_for 10 said holder held
	waiting first 73 flock "$LIVE/both"
	first=$STARTED
	waiting second 73 flock "$LIVE/both"
	one_look() {
		OUT=$("$REQTRAP" stacks --json "$first" "$STARTED")
		[[ $(jq -r '.beyond[0] | "\(.pid) \(.pause_ns > 0) \(.how)"' <<<"$OUT") == "$holder true holds flock $LIVE/both
$holder false holds flock $LIVE/both (as seen 0."*" s before)" ]]
	}
	wait_for 5 one_look || fail "looks: $(jq -c '.beyond[0] | del(.thread)' <<<"$OUT")"
	has "$(tail -n 1 <<<"$OUT" | jq -r '.beyond[0].thread.stack.frame[].function')" work_with_it "the second's look"
	end_process "$STARTED"
	end_process "$first"
	end_process "$holder"
}
