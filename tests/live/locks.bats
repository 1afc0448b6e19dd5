#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Each kind of lock that the C library has, held and waited for: who waits for what, and
# whose it is, against what the victim says; in a container, whose ids are others, too; C++'s
# mutexes; chains and cycles of them.

load helpers

setup_file() {
	need_watch
	need cc jq
	live_begin
	cc -O1 -g -D_GNU_SOURCE -pthread "$ROOT/tests/victims/u_kinds.c" -o "$LIVE/u_kinds"
}

teardown_file() {
	live_end
}

host_ids() { # PID: 'ID-IN-ITS-NAME-SPACE ID' lines
	local status
	for status in "/proc/$1/task"/*/status; do
		awk '/^Pid:/ { pid = $2 } /^NSpid:/ { print $NF, pid }' "$status"
	done
	echo 0 0
}

kinds_are_right() { # PID LOG
	local json said got kind waiter owner what count=0
	json=$("$REQTRAP" stacks "$1" --json) || fail "stacks: $json"
	while read -r kind waiter owner what; do
		[[ $kind != ready && $what != - ]] || continue
		got=$(jq -r --argjson tid "$waiter" '.analysis.thread[] | select(.tid == $tid) |
			"\(.waits_for_tid // 0) \(.waits_for)"' <<<"$json")
		[[ $got == "$owner $what"* ]] || fail "$kind: '$got', expected '$owner $what...'"
		((++count))
	done < <(awk 'NR == FNR { host[$1] = $2; next } { $2 = host[$2]; $3 = host[$3]; print }' <(host_ids "$1") "$2")
	is "$count" 22 "kinds"
	said=$(jq -r '.analysis.thread[].waits_for // empty' <<<"$json")
	has "$said" "held by 1 reader"$'\n' "a writer behind one"
	has "$said" "held by 2 readers" "a writer behind two"
	waiter=$(awk 'NR == FNR { host[$1] = $2; next } /^malloc_owner/ { print host[$2] }' <(host_ids "$1") "$2")
	has "$said" "owner unknown: a guess is $waiter \"u_kinds\", which is inside of the allocator" "the heap"
	is "$(jq -r '.analysis.lock | length' <<<"$json")" 17 "locks waited for"
	is "$(jq -r '.analysis.deadlock | length' <<<"$json")" 0 "deadlocks"
}

@test "locks: each kind, who waits for it and who has it" {
	start kinds "$LIVE/u_kinds"
	wait_for 20 grep -q ready "$LIVE/log.kinds" || fail "not all of its threads wait"
	kinds_are_right "$STARTED" "$LIVE/log.kinds"
	end_process "$STARTED"
}

@test "locks: each kind in a container, whose thread ids are others" {
	unshare -p -f -m --mount-proc true 2>/dev/null || skip "cannot make a pid name space"
	start boxed unshare -p -f --kill-child --mount-proc "$LIVE/u_kinds"
	wait_for 20 grep -q ready "$LIVE/log.boxed" || fail "not all of its threads wait"
	kinds_are_right "$(children "$STARTED")" "$LIVE/log.boxed"
	end_process "$STARTED"
}

@test "locks: C++'s mutexes, a chain of three and a cycle of three" {
	need g++
	cat >"$LIVE/chain.cc" <<-'CC'
		#include <cstdio>
		#include <latch>
		#include <mutex>
		#include <shared_mutex>
		#include <thread>
		#include <unistd.h>

		std::mutex a, x, y, z;
		std::recursive_mutex b;
		std::shared_mutex c;
		std::latch held(4), ring(3);

		static void say(const char *name) { printf("%s %d\n", name, gettid()); fflush(stdout); }

		template <class A, class B> void link(const char *name, std::latch &l, A &first, B &second) {
		    std::unique_lock one(first);
		    say(name);
		    l.arrive_and_wait();
		    std::unique_lock two(second);
		}

		int main() {
		    std::mutex end;
		    std::thread([&] { std::unique_lock l(end); say("end"); held.arrive_and_wait(); pause(); }).detach();
		    std::thread([&] { link("third", held, c, end); }).detach();
		    std::thread([&] { link("second", held, b, c); }).detach();
		    std::thread([&] { link("first", held, a, b); }).detach();
		    std::thread([&] { link("x", ring, x, y); }).detach();
		    std::thread([&] { link("y", ring, y, z); }).detach();
		    std::thread([&] { link("z", ring, z, x); }).detach();
		    pause();
		}
	CC
	g++ -std=c++20 -O1 -g -pthread "$LIVE/chain.cc" -o "$LIVE/chain"
	start chain "$LIVE/chain"
	six_wait() {
		[[ $(cut -d' ' -f1 "/proc/$STARTED/task"/*/syscall | grep -cx 202) == 6 && $(wc -l <"$LIVE/log.chain") == 7 ]]
	}
	wait_for 10 six_wait || fail "its threads do not wait"
	local json
	json=$("$REQTRAP" stacks "$STARTED" --json)
	tid_of() {
		awk -v name="$1" '$1 == name { print $2 }' "$LIVE/log.chain"
	}
	waits() { # WHO FOR-WHOM WHAT
		is "$(jq -r ".analysis.thread[] | select(.tid == $(tid_of "$1")) | \"\(.waits_for_tid) \(.waits_for | split(\" \")[0])\"" <<<"$json")" \
			"$(tid_of "$2") $3" "$1 waits for"
	}
	waits first second mutex
	waits second third rwlock
	waits third end mutex
	waits x y mutex
	waits y z mutex
	waits z x mutex
	is "$(jq -r '.analysis.deadlock | length' <<<"$json")" 1 "deadlocks"
	has "$(jq -r '.analysis.deadlock[0]' <<<"$json") -> " "$(tid_of x) -> $(tid_of y) -> " "the cycle"
	has "$(jq -r .verdict <<<"$json")" "is in a deadlock" verdict
	end_process "$STARTED"
}
