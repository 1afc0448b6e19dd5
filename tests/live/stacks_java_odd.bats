#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What looks like a JVM and is none, or is one that cannot answer: our time is limited, its
# signals are counted, and our file goes when nobody can be looking for it any more.

load helpers

setup_file() {
	need_watch
	need gcc jq
	live_begin
	mkdir "$LIVE/fake"
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$LIVE/fake/java" "$ROOT/tests/victims/j_fake.c" -lpthread -ldl
	gcc -shared -fPIC -x c -o "$LIVE/fake/libjvm.so" - <<<"int jvm(void) { return 1; }"
}

teardown_file() {
	live_end
}

# fake HOW: its id in $STARTED; a line to descriptor 7 is one on its stdin
fake() {
	rm -f "$LIVE/stdin"
	mkfifo "$LIVE/stdin"
	exec 7<>"$LIVE/stdin"
	"$LIVE/fake/java" "$1" "$LIVE/fake/libjvm.so" <"$LIVE/stdin" >"$LIVE/log.$1" 2>&1 3>&- 7>&- &
	STARTED=$!
	remember "$STARTED"
	wait_for 10 grep -q '^ready$' "$LIVE/log.$1" || fail "$1 does not start"
}
end_fake() {
	end_process "$STARTED"
	rm -f "/tmp/.java_pid$STARTED"
	exec 7>&-
}
wish() { # it is there
	[[ -e /tmp/.attach_pid$STARTED ]]
}
not_there() {
	! wish
}
ask_it() { # WHY: what is said instead of stacks; how long it took, in $TOOK ms
	local begun=${EPOCHREALTIME/./}
	JSON=$("$REQTRAP" stacks "$STARTED" --json) || fail stacks
	TOOK=$(((${EPOCHREALTIME/./} - begun) / 1000))
	has "$(jq -r '[.analysis.thread[].script.unavailable // empty] | join("\n")' <<<"$JSON")" "$1" why
	[[ $(jq '.analysis.thread[0].stack.frame | length' <<<"$JSON") -gt 0 ]] || fail "no native frames"
}
signals() { # HOW NUMBER
	is "$(grep -c '^signalled$' "$LIVE/log.$1")" "$2" "signals that it got"
	is "$(awk '/^ShdPnd/ { print $2 }' "/proc/$STARTED/status")" 0000000000000000 "signals that wait"
}

@test "java: one that is slow to look still finds our file when our time is over" {
	fake late
	ask_it "did not answer in time"
	between "$TOOK" 1900 8000 "ms that it took"
	wish || fail "the file is gone: the JVM would have printed its stacks"
	signals late 1
	ask_it "did not answer in time" # again meanwhile: it is not signalled twice
	signals late 1
	wish || fail "the file is gone after the second"
	echo listen >&7
	wait_for 5 grep -q '^listens$' "$LIVE/log.late" || fail "it does not listen"
	wait_for 5 not_there || fail "the file is left"
	ask_it "" # by its socket
	signals late 1
	end_fake
}

@test "java: one that never looks: our file goes after a while, and with it" {
	fake never
	ask_it "did not answer in time"
	wish || fail "the file is gone too soon"
	wait_for 15 not_there || fail "the file is left"
	end_fake
	fake never
	ask_it "did not answer in time"
	wish || fail "the file is gone too soon"
	end_process "$STARTED"
	wait_for 5 not_there || fail "the file is left although nobody can look for it"
	end_fake
}

@test "java: answers without an end, that stop, that say no, that are noise" {
	local how why
	while read -r how why; do
		fake "$how"
		ask_it "$why"
		between "$TOOK" 0 8000 "$how: ms that it took"
		! wish || fail "$how: the file is left"
		signals "$how" 1
		end_fake
	done <<-'HOWS'
		endless 
		slow did not answer in time
		refuses it refused
		hangs_up it refused
		noise no list of threads
		forged 
	HOWS
}

@test "java: its socket's name taken by another process is not talked to" {
	fake refuses
	python3 -c "import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind('/tmp/.java_pid$STARTED')
s.listen()
print('listens', flush=True)
s.accept()[0].recv(100)
print('talked', flush=True)
time.sleep(1000)" >"$LIVE/other" 2>&1 3>&- 7>&- &
	local other=$!
	remember "$other"
	wait_for 10 grep -q listens "$LIVE/other"
	ask_it "its socket is another process's"
	signals refuses 0
	end_process "$other"
	end_fake
}

@test "java: a file of ours by somebody who died is used again, and goes" {
	fake refuses
	touch -d '2 minutes ago' "/tmp/.attach_pid$STARTED"
	ask_it "it refused"
	! wish || fail "the file is left"
	signals refuses 1
	end_fake
}
