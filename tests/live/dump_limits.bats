#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a dump is given: kinds, limits of pause, size and disk, a folder in safe hands;
# and how far it tells it is.

load helpers

setup_file() {
	live_begin
	start_python
	client "$PYTHON_PORT" get /fast >/dev/null
	start big python3 -c 'import os, time
data = [os.urandom(1 << 20) for _ in range(200)]
print("ready", flush=True)
time.sleep(3600)'
	export BIG=$STARTED
	wait_for 20 grep -q ready "$LIVE/log.big"
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need jq
	OUT=$BATS_TEST_TMPDIR/dumps
	mkdir "$OUT"
	cd "$OUT"
}

teardown() {
	watch_kill
	local pid
	for pid in "$PYTHON" "$BIG"; do
		is "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")" 0 "TracerPid of $pid"
		is "$(children "$pid")" "" "children of $pid"
	done
}

run_it() { # VERB ARGS: sets status, output, errors; never fails
	status=0
	output=$("$REQTRAP" "$@" 2>"$BATS_TEST_TMPDIR/err") || status=$?
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

files() {
	find "$OUT" -type f -printf '%P\n' | sort | tr '\n' ' '
}

refused() { # EXIT-CODE PART-OF-TEXT
	is "$status" "$1" "exit code ($errors)"
	one_line "$errors" "message"
	has "$errors" "$2" "message"
	is "$(files)" "" "files that are left"
}

frames() { # CORE: what gdb makes of all its threads
	gdb -batch -nx -ex 'thread apply all bt' "/proc/$PYTHON/exe" "$1" 2>/dev/null | grep '^#'
}

# ---- kinds ----

@test "a mini: its own name, small, and gdb's stacks are those of the full one" {
	need gdb
	run_it dump --json --mini --full "$PYTHON"
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .kind <<<"$output" | tr '\n' ' ')" "mini full " "kinds, in this order"
	local mini full
	mini=$(sed -n 1p <<<"$output" | jq -r .path)
	full=$(sed -n 2p <<<"$output" | jq -r .path)
	[[ $mini =~ ^"$OUT"/python3_"$PYTHON"_[0-9]{6}_[0-9]{6}\.mini\.core$ ]] || fail "path: $mini"
	is "$full" "${mini%.mini.core}.core.zst" "path of the full one"
	between "$(stat -c %s "$mini")" 10000 5242880 "bytes of the mini"
	has "$(frames "$mini")" poll "stacks in the mini"
	zstd -qd "$full" -o whole.core
	is "$(frames "$mini")" "$(frames whole.core)" "stacks"
}

@test "procdump -mm -ma: two files of one event; -o replaces both" {
	run_it procdump -mm -ma "$PYTHON" x.dmp
	is "$status" 0 "exit code ($errors)"
	is "$errors" "" "messages"
	is "$(files)" "x-1.dmp x.dmp " "files"
	(($(stat -c %s x.dmp) < $(stat -c %s x-1.dmp))) || fail "the mini is not the first, or not the smaller one"
	run_it procdump -mm -ma -o -n 2 -s 1 "$PYTHON" x.dmp
	is "$status" 0 "exit code ($errors)"
	is "$(files)" "x-1.dmp x.dmp " "files"
	run_it procdump -mt --json "$PYTHON"
	is "$(jq -r .kind <<<"$output")" mini "kind of -mt"
	has "$errors" "'-mt': a mini" "note"
	run_it procdump -mp --json "$PYTHON"
	is "$(jq -r .kind <<<"$output")" full "kind of -mp"
	has "$errors" "'-mp': a full dump" "note"
}

@test "procdump takes a name as it is typed on Windows" {
	cp "$(command -v sleep)" "$BATS_TEST_TMPDIR/Worker$$"
	start worker "$BATS_TEST_TMPDIR/Worker$$" 60
	local worker=$STARTED
	wait_for 5 grep -q Worker "/proc/$worker/comm"
	run_it procdump -ma --json "worker$$.EXE" a.dmp
	is "$(jq .pid <<<"$output")" "$worker" "pid"
	has "$errors" "is taken for process $worker" "note"
	run_it dump "worker$$" b.core
	kill "$worker"
	is "$status" 2 "exit code of a native dump: names are exact there"
}

@test "watch --capture mini: the incident's core is one" {
	need gdb
	watch_start auto --time-taken 300ms --capture trace,mini --compress none "$PYTHON"
	client "$PYTHON_PORT" get "/slow?ms=900" >/dev/null
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	incident_of
	is "$(fact .capture.core_kind)" mini "core_kind"
	is "$(events '.event == "trapped"' | jq -r .capture.kind)" mini "kind in the event"
	between "$(stat -c %s "$INCIDENT/core")" 10000 5242880 "bytes of the core"
	has "$(frames "$INCIDENT/core")" clock_nanosleep "stacks in the core"
	has "$("$REQTRAP" show last -o "$STORE")" "core, mini" "page"
}

# ---- limits ----

@test "a pause budget is kept; without one a full dump has 250 ms, a stop as long as it takes" {
	run_it dump --snapshot stop --pause-budget 1us "$BIG" a.core
	is "$status" 3 "exit code"
	lacks "$errors" "the 0 ms" "message"
	is "$(files)" "" "files"
	run_it dump --snapshot stop --json "$BIG" b.core
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .method <<<"$output")" stop "method"
	run_it procdump -ma --pause-budget 1us "$BIG" c.dmp
	is "$status" 3 "exit code of procdump ($errors)"
	is "$(files)" "b.core " "files"
}

@test "what a clone does not copy is in the guess, and is copied as far as the budget allows" {
	local guess
	# each of the two takes some 4 ms to copy
	start apart python3 -c 'import mmap, os, time
keep = []
for _ in range(2):
    keep.append(mmap.mmap(-1, 6 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    keep[-1].write(os.urandom(6 << 20))
    keep[-1].madvise(mmap.MADV_DONTFORK)
print("ready", flush=True)
time.sleep(3600)'
	wait_for 20 grep -q ready "$LIVE/log.apart"
	run_it dump --json "$STARTED" a.core
	guess=$(jq .estimate_ms <<<"$output")
	is "$(jq '[.omitted[] | select(.why | test("DONTFORK"))] | length' <<<"$output")" 0 "what is read later"
	is "$(jq '.estimate_ms > 8' <<<"$output")" true "the guess has 12 MiB of copying in it ($guess)"
	run_it dump --json --pause-budget 6ms "$STARTED" b.core
	is "$status" 0 "exit code ($errors)"
	is "$(jq '[.omitted[] | select(.why | test("DONTFORK"))] | length' <<<"$output")" 1 "what is read later"
	is "$(jq '.estimate_ms <= 6' <<<"$output")" true "the guess is within the budget"
}

@test "--max-size gives a core up that gets larger, and leaves nothing" {
	run_it dump --max-size 20M --compress none "$BIG" a.core
	refused 3 20
	run_it dump --max-size 1G "$BIG" b.core
	is "$status" 0 "exit code ($errors)"
}

@test "--free-space: what the disk must keep" {
	run_it dump --free-space 99% "$PYTHON" a.core
	refused 3 "free"
	run_it dump --free-space 9000T "$PYTHON" a.core
	refused 3 "free"
	run_it dump --free-space 1M "$PYTHON" b.core
	is "$status" 0 "exit code ($errors)"
	run_it dump --free-space 120% "$PYTHON" c.core
	is "$status" 2 "exit code of a mistake"
}

@test "standard output that takes nothing is told, and the dump is kept" {
	status=0
	"$REQTRAP" dump --json "$PYTHON" a.core >/dev/full 2>err || status=$?
	is "$status" 3 "exit code"
	has "$(cat err)" "standard output" "message"
	[[ -s a.core ]] || fail "there is no core"
	local verb
	for verb in "verify a.core" "stacks $PYTHON"; do
		status=0
		# shellcheck disable=SC2086
		"$REQTRAP" $verb >/dev/full 2>err || status=$?
		is "$status" 3 "exit code of $verb"
		has "$(cat err)" "standard output" "message of $verb"
		status=0
		# shellcheck disable=SC2086
		"$REQTRAP" $verb >&- 2>err || status=$?
		is "$status" 3 "exit code of $verb, closed"
	done
	status=0
	"$REQTRAP" dump "$PYTHON" b.core >&- 2>err || status=$?
	is "$status" 3 "exit code, closed"
	has "$(cat err)" "Bad file descriptor" "message"
}

@test "few descriptors: enough, or told in words; it ends in any case" {
	local n
	for n in 64 32 24 16 12 10 8; do
		status=0
		errors=$( (ulimit -n "$n" && exec timeout 20 "$REQTRAP" dump "$PYTHON" a.core 2>&1 >/dev/null)) || status=$?
		is "$(find . -name '.reqtrap-*')" "" "hidden files, with $n"
		if ((n > 24)); then
			is "$status" 0 "exit code with $n ($errors)"
		elif ((status)); then
			is "$status" 3 "exit code with $n ($errors)"
			one_line "$errors" "message with $n"
		fi
		rm -f a*.core
	done
}

# ---- how far it is ----

# A terminal of its own on stderr; prints what it was sent.
on_terminal() { # COMMAND...
	python3 -c 'import os, pty, sys
out = os.open("out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
pid, fd = pty.fork()
if pid == 0:
    os.dup2(out, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    seen += part
print(os.waitpid(pid, 0)[1])
sys.stdout.flush()
os.write(1, seen)' "$@"
}

@test "a long dump shows one line on a terminal that goes away again" {
	on_terminal "$REQTRAP" dump --json --compress none --max-rate 80M "$BIG" a.core >seen
	is "$(head -n 1 seen)" 0 "exit status"
	has "$(cat seen)" " MiB read, " "line"
	has "$(cat seen)" " s left" "line"
	lacks "$(sed 1d seen)" $'\n' "line"
	is "$(tail -c 4 seen | od -An -tx1 | tr -d ' ')" 0d1b5b4b "its last bytes: erased"
	tr '\r' '\n' <seen | awk 'length($0) > 84 { exit 1 }' || fail "wider than 80 columns"
	is "$(jq -r .event out)" dump "standard output"
	is "$(wc -l <out)" 1 "lines on standard output"
}

@test "no line for a short dump, for --quiet, or where there is no terminal" {
	on_terminal "$REQTRAP" dump --json "$PYTHON" a.core >seen
	is "$(cat seen)" 0 "what a short dump shows"
	on_terminal "$REQTRAP" dump --json --quiet --compress none --max-rate 80M "$BIG" b.core >seen
	is "$(cat seen)" 0 "what a quiet one shows"
	run_it dump --json --compress none --max-rate 80M "$BIG" c.core
	is "$errors" "" "messages"
}

# ---- where to ----

@test "a folder that is not in safe hands is refused with the reason" {
	mkdir -m 777 wide
	mkdir -m 755 theirs wide/in
	mkdir -m 1777 sticky
	chown nobody theirs
	ln -s "$OUT" link
	chown -h nobody link
	run_it dump "$PYTHON" wide
	refused 3 "others may write to '$OUT/wide' (mode 0777)"
	run_it dump "$PYTHON" wide/in/a.core
	refused 3 "others may write to '$OUT/wide'"
	run_it dump "$PYTHON" theirs/a.core
	refused 3 "'$OUT/theirs' belongs to uid $(id -u nobody)"
	run_it dump "$PYTHON" link/a.core
	refused 3 "'$OUT/link' is a symbolic link of uid $(id -u nobody)"
	cd wide
	run_it dump "$PYTHON"
	refused 3 "the current folder is refused"
	run_it procdump -ma "$PYTHON"
	has "$errors" "the current folder is refused" "message of procdump"
	cd ..
	run_it dump "$PYTHON" sticky/a.core
	is "$status" 0 "exit code of a folder like /tmp ($errors)"
	SUDO_UID=$(id -u nobody) run_it dump "$PYTHON" theirs/b.core
	is "$status" 0 "exit code of the sudoer's own folder ($errors)"
	is "$(stat -c '%a %u' theirs/b.core)" "600 0" "mode and owner"
}

@test "what has the name already is neither followed nor replaced" {
	echo precious >elsewhere
	ln -s elsewhere a.core
	mkdir b.core.d
	run_it dump "$PYTHON" a.core
	is "$status" 0 "exit code ($errors)"
	is "$(cat elsewhere)" precious "the file that the link leads to"
	[[ -L a.core && -s a-1.core ]] || fail "files: $(ls -la)"
	run_it procdump -ma -o "$PYTHON" a.core
	is "$status" 2 "exit code"
	has "$errors" "'$OUT/a.core' is a symbolic link" "message"
	is "$(cat elsewhere)" precious "the file that the link leads to"
	mkfifo pipe
	run_it dump "$PYTHON" pipe
	is "$status" 2 "exit code"
	has "$errors" "is not a file" "message"
}

@test "root without CAP_SYS_PTRACE is told what its container lacks" {
	need capsh
	status=0
	errors=$(capsh --drop=cap_sys_ptrace -- -c "'$REQTRAP' dump $PYTHON a.core" 2>&1) || status=$?
	if [[ $status == 0 ]]; then
		rm -f a.core
		start other setpriv --reuid nobody --clear-groups sleep 60
		local other=$STARTED
		wait_for 5 grep -q sleep "/proc/$other/comm"
		status=0
		errors=$(capsh --drop=cap_sys_ptrace -- -c "'$REQTRAP' dump $other a.core" 2>&1) || status=$?
		kill "$other"
	fi
	refused 3 "--cap-add SYS_PTRACE"
}
