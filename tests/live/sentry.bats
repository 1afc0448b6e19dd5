#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A worker that stays attached, and what a process that it is attached to notices: nothing.

load helpers

setup_file() {
	live_begin
	local flags='-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g'
	# shellcheck disable=SC2086 # a list of words
	{
		gcc $flags -o "$LIVE/s_victim" "$ROOT/tests/victims/s_victim.c" -lpthread
		gcc $flags -o "$LIVE/s_sentry" "$ROOT/tests/victims/s_sentry.c"
	}
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	mkdir "$LIVE/out"
}

teardown() {
	rm -rf "$LIVE/out"
}

sentry() {
	timeout 400 python3 "$ROOT/tests/live/sentry.py" "$REQTRAP" "$LIVE" "$1" 3>&- ||
		fail "sentry.py $1"
}

@test "a fatal signal: dumped before the process dies, the thread first, its end as without us" {
	need gdb
	sentry fatal
}

@test "an end: by exit, by the last thread, by SIGKILL" {
	need gdb
	sentry exit
}

@test "a signal that another thread handles: one dump, and it is handled once" {
	need gdb
	sentry signal
}

@test "faults that are handled: the first one is dumped where asked for, none is fatal" {
	need gdb
	sentry handled
}

@test "20,000 queued signals pass: none is lost, none fires" {
	sentry flood
}

@test "attached: no EINTR by ignored signals, job control, threads, children and exec as ever" {
	sentry calm
}

@test "the worker or its parent killed, or the worker stopped: the process goes on" {
	sentry killed
}

@test "a process that ends without what was waited for: told, with its exit code; no file" {
	sentry ended
}
