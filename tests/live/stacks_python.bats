#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Python's frames on running interpreters, against what Python's own faulthandler says of
# the same threads at the same place; other versions where they are installed
# (REQTRAP_PYTHONS names them: 'python3.8 python3.13').

load helpers

setup_file() {
	need_watch
	need python3 jq
	live_begin
}

teardown_file() {
	live_end
}

# Ours, innermost first: 'function file:line' of each thread that has frames.
our_frames() { # PID
	"$REQTRAP" stacks "$1" --json |
		jq -r '.analysis.thread[] | select(.script.frame) | "thread", (.script.frame[] | "\(.function | split(".") | last) \(.file):\(.line)")' |
		sed '/^rest /d' # where the main thread went on to
}

# faulthandler's, in the same words; the order of the threads is its own.
their_frames() { # FILE
	sed -nE 's/^(Thread|Current thread) .*/thread/p; s/\\xfc/ü/; s/^  File "(.*)", line ([0-9]+) in (.*)$/\3 \1:\2/p' "$1"
}

# One line a thread, sorted.
by_thread() {
	awk '/^thread$/ { if (line) print line; line = ""; next } { line = line " <- " $0 } END { if (line) print line }' | sort
}

same_as_faulthandler() { # PYTHON
	local version
	version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	: >"$LIVE/said"
	start "py$version" "$1" "$ROOT/tests/live/servers/frames.py" "$LIVE/said"
	wait_for 20 grep -q '^done$' "$LIVE/said" || fail "$1 does not start: $(cat "$LIVE/log.py$version")"
	is "$("$REQTRAP" stacks "$STARTED" --json | jq -r .analysis.language)" "Python $version" language
	local ours theirs
	theirs=$(their_frames "$LIVE/said" | by_thread)
	ours=$(our_frames "$STARTED" | by_thread)
	[[ $(wc -l <<<"$theirs") -ge 5 ]] || fail "faulthandler said: $(cat "$LIVE/said")"
	[[ $ours == "$theirs" ]] || fail "Python $version: $(diff <(echo "$ours") <(echo "$theirs"))"
	is "$("$REQTRAP" stacks "$STARTED" --json | jq '[.analysis.thread[].script.unavailable // empty] | length')" 0 \
		"Python $version: incomplete"
	end_process "$STARTED"
}

@test "python: every thread's frames, files and lines are faulthandler's" {
	local python
	for python in python3 ${REQTRAP_PYTHONS:-}; do
		same_as_faulthandler "$python"
	done
}

@test "python: a thread that computes is at a line of its loop, each time" {
	cat >"$LIVE/spin.py" <<-'PY'
		def spin():
		    n = 0
		    while True:
		        n += 1
		        if n > 1000000:
		            n = 0

		spin()
	PY
	start spin python3 "$LIVE/spin.py"
	local json line seen=0
	in_spin() { json=$("$REQTRAP" stacks "$STARTED" --json) && jq -e '.analysis.thread[0].script.frame[0].function == "spin"' <<<"$json" >/dev/null; }
	wait_for 10 in_spin || fail "never in the loop: $json"
	for ((i = 0; i < 20; i++)); do
		in_spin || fail "not in the loop: $json"
		line=$(jq '.analysis.thread[0].script.frame[0].line' <<<"$json")
		between "$line" 3 6 "line of the loop"
		seen=$((seen + 1))
	done
	is "$seen" 20 rounds
	end_process "$STARTED"
}

@test "python: a forked worker's frames are its own, although it keeps its parent's thread id" {
	cat >"$LIVE/fork.py" <<-'PY'
		import os, sys, time
		def worker():
		    open(sys.argv[1], "w").write("ready")
		    time.sleep(1000)
		pid = os.fork()
		if pid == 0:
		    worker()
		os.waitpid(pid, 0)
	PY
	start fork python3 "$LIVE/fork.py" "$LIVE/forked"
	wait_for 10 test -s "$LIVE/forked"
	local child
	child=$(children "$STARTED")
	asleep() { [[ $(cut -d' ' -f1 "/proc/$child/syscall") != running ]]; }
	wait_for 10 asleep
	remember "$child"
	is "$(our_frames "$child" | sed "s|$LIVE/||" | xargs)" "thread worker fork.py:4 <module> fork.py:7" "frames"
	end_process "$STARTED"
}

@test "python: who waits for the GIL, and who has it" {
	cat >"$LIVE/gil.py" <<-'PY'
		import threading
		def compute():
		    n = 0
		    while True:
		        n += 1
		for _ in range(3):
		    threading.Thread(target=compute).start()
	PY
	start gil python3 "$LIVE/gil.py"
	local json owner
	wait_held() {
		json=$("$REQTRAP" stacks "$STARTED" --json)
		owner=$(jq -r '.analysis.lock[]? | select(.name == "the GIL") | .owner // empty' <<<"$json")
		[[ -n $owner ]]
	}
	wait_for 20 wait_held || fail "nobody is seen to hold the GIL: $json"
	is "$(jq -r ".analysis.thread[] | select(.tid == $owner) | .script.frame[0].function" <<<"$json")" compute "the owner's function"
	is "$(jq -r ".analysis.thread[] | select(.waits_for == \"the GIL held by $owner \\\"python3\\\"\") | .waits_for_tid" <<<"$json" |
		sort -u)" "$owner" "waiters"
	is "$(jq -r ".analysis.thread[] | select(.tid == $owner) | .waits_for_tid // 0" <<<"$json")" 0 "what the owner waits for"
	end_process "$STARTED"
}

@test "python: who waits for an RLock, who has it, and a deadlock of two" {
	cat >"$LIVE/rlock.py" <<-'PY'
		import sys, threading, time
		a, b = threading.RLock(), threading.RLock()
		def owner():
		    with a:
		        time.sleep(100000)
		def waiter():
		    with a:
		        pass
		ready = threading.Barrier(2)
		def one(first, second):
		    with first:
		        ready.wait()
		        with second:
		            pass
		c, d = threading.RLock(), threading.RLock()
		for target, args in (owner, ()), (waiter, ()), (one, (c, d)), (one, (d, c)):
		    threading.Thread(target=target, args=args, daemon=True).start()
		    time.sleep(0.1)
		time.sleep(100000)
	PY
	local python json owner
	for python in python3 ${REQTRAP_PYTHONS:-}; do
		start rlock "$python" "$LIVE/rlock.py"
		all_wait() {
			json=$("$REQTRAP" stacks "$STARTED" --json)
			[[ $(jq '[.analysis.lock[]? | select(.name | startswith("threading.RLock"))] | length' <<<"$json") == 3 ]]
		}
		wait_for 20 all_wait || fail "$python: not three locks: $(jq -c .analysis.lock <<<"$json")"
		owner=$(jq -r '.analysis.thread[] | select(.script.frame[0].function == "owner") | .tid' <<<"$json")
		is "$(jq -r '.analysis.thread[] | select(.script.frame[0].function == "waiter") | .waits_for_tid' <<<"$json")" "$owner" \
			"$python: who has the lock"
		is "$(jq '.analysis.deadlock | length' <<<"$json")" 1 "$python: deadlocks"
		end_process "$STARTED"
	done
}

our_tasks() { # JSON: without the one that has started them, whose name is the first
	jq -r '.analysis.task[] | "\(.name): " + ([.stack.frame[] | "\(.function | split(".") | last) \(.line)"] | join(" <- "))' <<<"$1" |
		sed 's/^\([^:]*: sleep\) [0-9?]*/\1 ?/' | grep -v ': main ' | sort
}

same_tasks() { # PYTHON
	local version json
	version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	: >"$LIVE/tasks$version"
	start "tasks$version" "$1" "$ROOT/tests/live/servers/tasks.py" "$LIVE/tasks$version"
	wait_for 20 grep -q '^done$' "$LIVE/tasks$version" || fail "$1 does not start: $(cat "$LIVE/log.tasks$version")"
	json=$("$REQTRAP" stacks "$STARTED" --json)
	is "$(our_tasks "$json")" "$(sed 's/^\([^:]*: sleep\) [0-9?]*/\1 ?/' "$LIVE/tasks$version" | grep -v '^done$' | sort)" \
		"Python $version: what asyncio says of its tasks"
	is "$(jq -r '.analysis.task[] | select(.stack.frame[0].function | endswith("patient")) | .waits_for' <<<"$json")" \
		_asyncio.Future "Python $version: what one waits for"
	has "$("$REQTRAP" stacks "$STARTED")" "3 asyncio tasks: _asyncio.Future" "Python $version: the text"
	end_process "$STARTED"
}

@test "python: tasks of asyncio with the coroutines that they wait in" {
	local python
	for python in python3 ${REQTRAP_PYTHONS:-}; do
		same_tasks "$python"
	done
	start plain python3 -c 'import time; time.sleep(1000)'
	wait_for 10 grep -q '^230 ' "/proc/$STARTED/syscall" || fail "it does not sleep"
	is "$("$REQTRAP" stacks "$STARTED" --json | jq -c '[.analysis.task, [.analysis.note[] | select(contains("asyncio"))]]')" '[[],[]]' \
		"without asyncio"
	end_process "$STARTED"
}

@test "python: the page of a request that an event loop works on shows its task" {
	cat >"$LIVE/aserver.py" <<-'PY'
		import asyncio, sys
		async def look_up():
		    await asyncio.sleep(2)
		async def serve(reader, writer):
		    await reader.readuntil(b"\r\n\r\n")
		    await look_up()
		    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		    await writer.drain()
		async def main():
		    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
		    async with server:
		        await server.serve_forever()
		asyncio.run(main())
	PY
	local port
	port=$(free_port)
	start_on_port aserver "$port" python3 "$LIVE/aserver.py" "$port"
	watch_start auto --time-taken 400ms --capture trace,stacks "$STARTED"
	curl -s -o /dev/null "http://127.0.0.1:$port/slow"
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	has "$(cat "$INCIDENT/report.txt")" "TASKS" "the page"
	has "$(fact '[.analysis.task[].stack.frame[] | "\(.function) \(.file):\(.line)"] | join(" ")')" \
		"look_up $LIVE/aserver.py:3 serve $LIVE/aserver.py:6" "the task"
	has "$(cat "$INCIDENT/report.html")" "look_up" "the page in HTML"
	end_process "$STARTED"
}
