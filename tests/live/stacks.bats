#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# 'reqtrap stacks' on real processes: the frames that gdb's and elfutils' unwinders
# see, PHP's own frames, locks; and that the processes come to no harm.

load helpers

setup_file() {
	need_watch
	need nginx php-fpm8.2 php8.2 python3 node eu-stack gdb curl cc
	live_begin
	start_python
	start_node
	start_fpm
	start_nginx
}

teardown_file() {
	live_end
}

stacks_json() { # PID
	"$REQTRAP" stacks "$1" --json
}

state_of() { # PID: what ptrace or a stop would leave behind
	grep -E '^(State|TracerPid|SigPnd|ShdPnd|Threads)' "/proc/$1/status"
	children "$1"
}

asleep() { # PID: every thread is blocked
	! cut -d' ' -f1 "/proc/$1/task"/*/syscall | grep -q running
}

# Our frames' addresses of all threads, as eu-stack lists them; order by thread.
our_pcs() {
	jq -r '.analysis.thread | sort_by(.tid)[] | "TID \(.tid)", (.stack.frame[] | select(.inlined | not).pc)' <<<"$1" | sed 's/^0x0*/0x/'
}

their_pcs() { # PID
	eu-stack -p "$1" -n 0 2>/dev/null | awk '/^TID/ { sub(":", ""); print "TID", $2 }
		/^#/ { sub("0x0*", "0x", $2); print $2 }' |
		awk '/^TID/ { t = $2 } { print t, NR, $0 }' | sort -n -k1,1 -k2,2 | cut -d' ' -f3-
}

same_frames() { # PID NAME
	local json
	wait_for 10 asleep "$1" || fail "$2 does not come to rest"
	json=$(stacks_json "$1")
	is "$(jq -r .analysis.failed <<<"$json")" null "$2: failure"
	is "$(jq .threads_not_stopped <<<"$json")" 0 "$2: threads not stopped"
	[[ $(our_pcs "$json") == "$(their_pcs "$1")" ]] ||
		fail "$2: other frames than eu-stack's: $(diff <(our_pcs "$json") <(their_pcs "$1"))"
	[[ $(jq '[.analysis.thread[].stack.unavailable // empty] | length' <<<"$json") == 0 ]] || fail "$2: a walk ended early"
}

@test "stacks: nginx, php-fpm, python and node have the frames that eu-stack sees" {
	same_frames "$NGINX" "nginx master"
	same_frames "$(children "$NGINX" | head -n 1)" "nginx worker"
	same_frames "$FPM" "php-fpm master"
	same_frames "$(children "$FPM" | head -n 1)" "php-fpm worker"
	same_frames "$PYTHON" python
	same_frames "$NODE" node
}

@test "stacks: gdb names the same functions" {
	local worker ours theirs
	worker=$(children "$NGINX" | head -n 1)
	wait_for 10 asleep "$worker"
	ours=$(stacks_json "$worker" | jq -r '.analysis.thread[0].stack.frame[].function' | grep '^ngx_')
	theirs=$(gdb -p "$worker" -batch -iex 'set debuginfod enabled off' -ex bt 2>/dev/null |
		sed -nE 's/^#[0-9]+ +(0x[0-9a-f]+ in )?([A-Za-z0-9_]+).*/\2/p' | grep '^ngx_')
	is "$ours" "$theirs" "nginx's functions"
	has "$ours" ngx_master_process_cycle "nginx's functions"
}

@test "stacks: PHP's function, file and line, through opcache and FastCGI" {
	cat >"$LIVE/php/deep.php" <<-'PHP'
		<?php
		class Shop {
		    function find($n) {
		        file_put_contents($_GET['flag'], getmypid());
		        usleep(3000000);
		    }
		    static function page() { (new Shop)->find(1); }
		}
		function each_one($f) { return array_map($f, [1]); }
		each_one(fn ($x) => Shop::page());
	PHP
	chmod 777 "$LIVE/php"
	curl -s "http://127.0.0.1:$NGINX_PORT/unix/deep.php?flag=$LIVE/php/flag" -o /dev/null 3>&- &
	wait_for 10 test -s "$LIVE/php/flag" || fail "the script does not run"
	local worker json
	worker=$(cat "$LIVE/php/flag")
	wait_for 10 asleep "$worker"
	json=$(stacks_json "$worker")
	has "$(jq -r .analysis.language <<<"$json")" "PHP 8.2." language
	is "$(jq -r '.analysis.thread[0].script.frame[] | "\(.function) \(.file // "-" | split("/") | last):\(.line // 0)"' <<<"$json")" \
		"usleep -:0
Shop::find deep.php:5
Shop::page deep.php:7
{closure} deep.php:10
array_map -:0
each_one deep.php:9
{main} deep.php:10" "PHP frames"
	has "$(jq -r .verdict <<<"$json")" "PHP worker $worker slept in usleep() called by Shop::find() at" verdict
	has "$(jq -r '.analysis.thread[0].stack.frame[].function' <<<"$json")" execute_ex "native frames"
	wait
	# idle again: no frames of the request that was
	wait_for 10 asleep "$worker"
	is "$(stacks_json "$worker" | jq '.analysis.thread[0].script | (.frame // []) | length')" 0 "frames of an idle worker"
}

@test "stacks: PHP's line while it computes is the line that it is at" {
	cat >"$LIVE/spin.php" <<-'PHP'
		<?php
		function spin() {
		    $x = 0;

		    while (true) {
		        $x = $x + 1;
		    }
		}
		spin();
	PHP
	start spin php8.2 "$LIVE/spin.php"
	local json line
	wait_for 10 grep -q ' R ' "/proc/$STARTED/stat"
	for ((i = 0; i < 5; i++)); do
		json=$(stacks_json "$STARTED")
		[[ $(jq '.analysis.thread[0].script.frame | length' <<<"$json") == 2 ]] || continue
		line=$(jq '.analysis.thread[0].script.frame[0].line' <<<"$json")
		between "$line" 5 6 "line of the loop"
	done
	[[ -n ${line:-} ]] || fail "never seen in the loop: $json"
	end_process "$STARTED"
}

@test "stacks: lock owners, waiters and a deadlock among 106 threads, and no harm" {
	cc -O1 -g -D_GNU_SOURCE -pthread "$ROOT/tests/victims/u_locks.c" -o "$LIVE/u_locks"
	start locks "$LIVE/u_locks" 100 deadlock
	wait_for 10 grep -q ready "$LIVE/log.locks"
	local truth=$LIVE/log.locks holder a b json before text
	holder=$(awk '/^holder/ { print $2 }' "$truth")
	a=$(awk '/^dead_a/ { print $2 }' "$truth")
	b=$(awk '/^dead_b/ { print $2 }' "$truth")
	before=$(state_of "$STARTED")
	json=$(stacks_json "$STARTED")
	is "$(jq .threads <<<"$json")" 106 threads
	is "$(jq -r ".analysis.lock[] | select(.owner == $holder) | .waiter | sort | join(\" \")" <<<"$json")" \
		"$(awk '/^waiter/ { print $2 }' "$truth" | sort -n | paste -sd' ')" "who waits for the holder"
	is "$(jq -r '.analysis.lock | length' <<<"$json")" 3 "locks waited for"
	[[ $(jq -r '.analysis.deadlock[0]' <<<"$json") == @("$a -> $b -> $a"|"$b -> $a -> $b") ]] ||
		fail "deadlock: $(jq -c .analysis.deadlock <<<"$json")"
	has "$(jq -r .verdict <<<"$json")" deadlock verdict
	is "$(jq "[.analysis.thread[] | select(.tid == $holder) | .stack.frame[].function][2]" <<<"$json")" '"holder_work"' "the holder"
	text=$("$REQTRAP" stacks "$STARTED")
	has "$text" "100 threads, in futex: condition variable 0x" "groups"
	has "$text" "DEADLOCK" "text"
	is "$(state_of "$STARTED")" "$before" "the process afterwards"
}

@test "stacks: a PHP script that waits for a file lock, and who holds it" {
	cat >"$LIVE/lock.php" <<-'PHP'
		<?php
		function take($path) {
		    $f = fopen($path, 'c');
		    flock($f, LOCK_EX);
		    return $f;
		}
		$f = take($argv[1]);
		fwrite(STDERR, "held\n");
		usleep(100000000);
	PHP
	start holder php8.2 "$LIVE/lock.php" "$LIVE/the-lock"
	local holder=$STARTED verdict
	wait_for 10 grep -q held "$LIVE/log.holder"
	start waiter php8.2 "$LIVE/lock.php" "$LIVE/the-lock"
	wait_for 10 grep -q '^73 ' "/proc/$STARTED/syscall" # flock
	verdict=$(stacks_json "$STARTED" | jq -r .verdict)
	has "$verdict" "waited in flock() called by take() at $LIVE/lock.php:4 for the lock (flock) on file $LIVE/the-lock" verdict
	has "$verdict" "held by php8.2 $holder, which is itself asleep (clock_nanosleep) in usleep()" verdict
	end_process "$STARTED"
	end_process "$holder"
}

@test "stacks: every process of a name, a line each" {
	local out
	out=$("$REQTRAP" stacks --json "$NGINX" "$(children "$NGINX" | head -n 1)")
	is "$(wc -l <<<"$out")" 2 lines
	is "$(jq -r .process <<<"$out" | sort -u)" nginx names
}

@test "stacks: mistakes get one line and an exit code, and no pause" {
	local out status=0
	out=$("$REQTRAP" stacks 999999999 2>&1) || status=$?
	is "$status" 2 "no such process"
	one_line "$out" "no such process"
	status=0
	out=$("$REQTRAP" stacks 2>&1) || status=$?
	is "$status" 2 "nothing named"
	status=0
	out=$("$REQTRAP" stacks 2 2>&1) || status=$?
	((status == 2 || status == 3)) || fail "a kernel thread: exit code $status: $out"
	start sleeper sleep 1000
	status=0
	out=$(setpriv --reuid 65534 --regid 65534 --clear-groups "$REQTRAP" stacks "$STARTED" 2>&1) || status=$?
	is "$status" 3 "somebody else's process: $out"
	one_line "$out" "somebody else's process"
	end_process "$STARTED"
}

@test "stacks: what stands around the process, as for a trapped request; a core says what it lacks" {
	local port out json core worker
	port=$(free_port)
	cat >"$LIVE/pool.py" <<-'PY'
		import ctypes, os, socket, sys, threading, time
		s = socket.socket()
		s.bind(("127.0.0.1", int(sys.argv[1])))
		s.listen(7)
		for n in range(2):
		    if os.fork() == 0:
		        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: it ends with its parent
		        break
		else:
		    os.wait()
		def spin():
		    while True:
		        sum(range(1000))
		c, peer = s.accept()
		threading.Thread(target=spin, daemon=True).start()
		def question():
		    c.recv(1)
		question()
	PY
	start pool python3 "$LIVE/pool.py" "$port"
	wait_for 10 sh -c "ss -Hltn 'sport = :$port' | grep -q ." || fail "it does not listen"
	exec 7<>"/dev/tcp/127.0.0.1/$port"
	wait_for 10 sh -c "grep -qs '[(]python3[)] R' $(children "$STARTED" | sed 's|.*|/proc/&/task/*/stat|' | tr '\n' ' ')" ||
		fail "no worker computes"
	worker=$(for pid in $(children "$STARTED"); do [[ ! -d /proc/$pid/task || $(ls "/proc/$pid/task" | wc -l) != 2 ]] || echo "$pid"; done)
	json=$(stacks_json "$worker")
	is "$(jq '.scene.looked' <<<"$json")" true "looked"
	is "$(jq -r '.scene.pool | [.listen, .workers, .busy, .backlog] | join(" ")' <<<"$json")" \
		"tcp 127.0.0.1:$port 2 1 7" "the pool: two workers, one at work"
	is "$(jq -r '.scene.pool.group[].what' <<<"$json" | grep -c idle)" 1 "the idle worker"
	has "$(jq -r ".scene.end[] | select(.what | startswith(\"tcp 127.0.0.1:$port -> \")) | .peer" <<<"$json")" "$BASHPID" \
		"who has the other end"
	between "$(jq '.scene.host.cpus' <<<"$json")" 1 4096 CPUs
	between "$(jq '[.analysis.thread[].cpu_ns // 0] | max' <<<"$json")" 1000000 10000000000 "CPU of the busy thread"
	has "$(jq -r .verdict <<<"$json")" "was computing, at the snapshot in spin() at $LIVE/pool.py:" \
		"the verdict is about the thread at work, not about the first"
	out=$("$REQTRAP" stacks "$worker")
	for part in "SOCKETS AND PIPES" "POOL   python3" "not waiting for work" "TOP CPU" "HOST"; do
		has "$out" "$part" "the text"
	done
	core=$LIVE/pool.core
	"$REQTRAP" dump -q "$worker" "$core"
	out=$("$REQTRAP" stacks "$core")
	has "$out" "a core says nothing of what stood around the process" "what is missing"
	lacks "$out" "SOCKETS AND PIPES" "what nobody knows"
	has "$out" "was computing, at the snapshot in spin()" "the verdict from the core"
	rm -f "$core"
	exec 7>&-
	end_process "$STARTED"
}

@test "stacks: functions that the compiler put into others are named, with the lines they were called at" {
	local json
	cat >"$LIVE/inlines.c" <<-'C'
		#include <unistd.h>
		static volatile int n;
		static inline __attribute__((always_inline)) void wait_for_db(void)
		{
			n++;
			pause();
			n++;
		}
		static inline __attribute__((always_inline)) void run_query(void)
		{
			wait_for_db();
			n++;
		}
		__attribute__((noinline)) static void handle(void)
		{
			run_query();
			n++;
		}
		int main(void)
		{
			handle();
			return n;
		}
	C
	(cd "$LIVE" && cc -O2 -g inlines.c -o inlines)
	start inlines "$LIVE/inlines"
	wait_for 10 asleep "$STARTED"
	json=$(stacks_json "$STARTED")
	is "$(jq -r '.analysis.thread[0].stack.frame[] | select(.file // "" | endswith("inlines.c")) |
		"\(.function) \(.line) \(.inlined // false)"' <<<"$json")" "wait_for_db 6 true
run_query 11 true
handle 16 false
main 21 false" "the frames"
	is "$(jq -r '[.analysis.thread[0].stack.frame[] | select(.inlined | not).pc] | join(" ")' <<<"$json")" \
		"$(their_pcs "$STARTED" | grep -v TID | xargs)" "frames of the machine"
	has "$("$REQTRAP" stacks "$STARTED")" "run_query (inlined)" "the text"
	end_process "$STARTED"
	(cd "$LIVE" && cc -O2 -s inlines.c -o inlines)
	start inlines "$LIVE/inlines"
	wait_for 10 asleep "$STARTED"
	lacks "$(stacks_json "$STARTED")" '"inlined"' "without debug information"
	has "$("$REQTRAP" stacks "$STARTED")" "inlines (build-id $(readelf -n "$LIVE/inlines" | awk '/Build ID/ { print $3 }'))" "what is missing"
	end_process "$STARTED"
}
