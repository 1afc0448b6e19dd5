#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Targets that a dumper is easily wrong about: how they are built, what they forbid,
# where they live, and what they do while they are dumped. Each is dumped while it works
# and must go on as if nothing had been.

load helpers
load zoo

setup_file() {
	live_begin
	zoo_build z_zoo
}

teardown_file() {
	live_end
}

setup() {
	zoo_setup
}

teardown() {
	zoo_teardown
}

# ---- how they are built ----

@test "linked without a dynamic linker: glibc static" {
	zoo_build z_zoo z_static -static
	zoo_start "$LIVE/z_static" plain 4
	zoo_round clone "" 5 "$LIVE/z_static"
}

@test "linked without a dynamic linker: glibc static-pie" {
	zoo_build z_zoo z_pie -static-pie
	zoo_start "$LIVE/z_pie" plain 4
	zoo_round clone "" 5 "$LIVE/z_pie"
}

@test "linked without a dynamic linker: musl static" {
	need musl-gcc
	musl-gcc -std=gnu11 -D_GNU_SOURCE -O2 -g -static -o "$LIVE/z_musl" "$ROOT/tests/victims/z_zoo.c" \
		-idirafter /usr/include -idirafter "/usr/include/$(gcc -print-multiarch)"
	zoo_start "$LIVE/z_musl" plain 4
	zoo_round clone "" 5 "$LIVE/z_musl"
}

@test "a program of 32 bits is refused in words, and goes on" {
	gcc -m32 -nostdlib -static -Os -ffreestanding -fno-pic -no-pie -fno-stack-protector -o "$LIVE/z_32" \
		"$ROOT/tests/victims/z_32.c" 2>/dev/null || skip "no program of 32 bits can be built"
	"$LIVE/z_32" "$COUNTS" 3<>"$COUNTS" </dev/null &
	TARGET=$!
	remember "$TARGET"
	zoo_ready
	dump
	is "$status" 3 "exit code"
	has "$errors" "32" "errors"
	one_line "$errors" "errors"
	unharmed
	counts_on main
	is "$(ls -A "$OUT")" "" "files"
}

# ---- what they forbid ----

@test "seccomp filters: nothing is ever called in such a process" {
	local how
	for how in errno kill_process kill_thread trap notif log; do
		zoo_start "$LIVE/z_zoo" seccomp "$how"
		dump
		dumped stop "seccomp filter"
		unharmed
		counts_on
		rm "$CORE"
		dump --snapshot clone
		is "$status" 3 "exit code, $how"
		[[ ! -e $CORE ]] || fail "a core is left"
		unharmed
		counts_on
		zoo_end
		truncate -s 0 "$COUNTS"
		truncate -s 4096 "$COUNTS"
	done
	TARGET=
}

@test "strict seccomp: its main thread may read, write and nothing else" {
	mkfifo "$BATS_TEST_TMPDIR/words"
	"$LIVE/z_zoo" "$COUNTS" seccomp strict <>"$BATS_TEST_TMPDIR/words" >"$SAID" 2>&1 3>&- &
	TARGET=$!
	remember "$TARGET"
	zoo_ready
	dump
	dumped stop "strict seccomp"
	unharmed
	counts_on other
	printf 'abc' >"$BATS_TEST_TMPDIR/words"
	read_all() { [[ $(count main) == 3 ]]; }
	wait_for 5 read_all || fail "the main thread does not read on"
}

@test "a seccomp filter on one thread alone" {
	zoo_start "$LIVE/z_zoo" seccomp thread
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump
		is "$status" 0 "exit code ($errors)"
		unharmed
		counts_on
		is "$(threads)" 3 "threads"
		((i)) || core_opens 3 "$LIVE/z_zoo"
		rm "$CORE"
	done
}

# ---- where they live ----

@test "a frozen control group: the dump gives up, and the thaw finds all as it was" {
	local group
	for group in /sys/fs/cgroup/freezer /sys/fs/cgroup; do
		[[ -e $group/tasks || -e $group/cgroup.controllers ]] && break
		group=
	done
	[[ -n $group ]] || skip "no control group that freezes is mounted"
	GROUP=$group/reqtrap-zoo-$$
	mkdir "$GROUP" 2>/dev/null || skip "control groups cannot be made"
	zoo_start "$LIVE/z_zoo" plain 4
	echo "$TARGET" >"$GROUP/cgroup.procs"
	if [[ -e $GROUP/freezer.state ]]; then
		FREEZER=$GROUP/freezer.state FROZEN=FROZEN THAWED=THAWED
	else
		FREEZER=$GROUP/cgroup.freeze FROZEN=1 THAWED=0
	fi
	echo "$FROZEN" >"$FREEZER"
	# shellcheck disable=SC2034 # read by counts_on
	MOST=([eintr]=1) # the freezer itself cuts epoll_wait short
	stands() { local n; n=$(count other); read -rt 0.1 <> <(:) || :; [[ $(count other) == "$n" ]]; }
	wait_for 5 stands || fail "it is not frozen"
	dump
	((ms < 20000)) || fail "it took $ms ms" # it is thawed only afterwards
	[[ $status == 3 || $status == 0 ]] || fail "exit code $status"
	[[ $status == 0 ]] || one_line "$errors" "errors"
	echo "$THAWED" >"$FREEZER"
	counts_on
	unharmed
	rm -f "$CORE"
	dump
	dumped clone
	counts_on
	zoo_end
	TARGET=
	wait_for 5 rmdir "$GROUP" || fail "the control group is left"
}

@test "little room in its control group: it is never the target that dies" {
	local group=/sys/fs/cgroup/memory
	[[ -e $group/memory.limit_in_bytes ]] || skip "no memory control group (v1) is mounted"
	group=$group/reqtrap-zoo-$$
	mkdir "$group" 2>/dev/null || skip "control groups cannot be made"
	echo $((180 << 20)) >"$group/memory.limit_in_bytes"
	(
		echo "$BASHPID" >"$group/cgroup.procs"
		exec "$LIVE/z_zoo" "$COUNTS" rewrites 150
	) >"$SAID" 2>&1 3>&- </dev/null &
	TARGET=$!
	remember "$TARGET"
	zoo_ready
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do # too little room by the estimate: no copy
		dump --pause-budget 5s
		dumped stop "too little memory for a copy"
		rm "$CORE"
		counts_on main
	done
	echo $((230 << 20)) >"$group/memory.limit_in_bytes" # room by the estimate; then there is none
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump --compress zstd
		! gone "$TARGET" || fail "the target was killed"
		[[ $status == 0 ]] || one_line "$errors" "errors"
		[[ $status == 0 || ! -e $CORE ]] || fail "half a core has the final name"
		rm -f "$CORE"
		wait_for 5 unharmed || unharmed # a thread that has no memory to go on stops late
		counts_on main
	done
	zoo_end
	TARGET=
	wait_for 5 rmdir "$group" || fail "the control group is left"
}

@test "PID 1 of a container, in a root of its own, its program deleted" {
	unshare -fp true 2>/dev/null || skip "cannot make a process space"
	zoo_build z_zoo z_static -static
	mkdir "$BATS_TEST_TMPDIR/root"
	strip "$LIVE/z_static" # else gdb asks libthread_db, which knows the container's numbers alone
	cp "$LIVE/z_static" "$BATS_TEST_TMPDIR/root/z"
	: >"$BATS_TEST_TMPDIR/root/counts"
	rm "$COUNTS"
	COUNTS=$BATS_TEST_TMPDIR/root/counts
	truncate -s 4096 "$COUNTS"
	unshare -fp chroot "$BATS_TEST_TMPDIR/root" /z /counts plain 4 >"$SAID" 2>&1 3>&- </dev/null &
	local outer=$!
	remember "$outer"
	inside() { TARGET=$(children "$outer") && [[ -n $TARGET ]]; }
	wait_for 5 inside || fail "nothing started"
	zoo_ready
	is "$(awk '/^NSpid/ { print $NF }' "/proc/$TARGET/status")" 1 "its own number"
	rm "$BATS_TEST_TMPDIR/root/z"
	zoo_round clone "" 5 "$LIVE/z_static"
	is "$(jq .pid <<<"$output")" "$TARGET" "number in the result"
}

# ---- what they are doing ----

@test "its main thread stays in a signal handler, on a stack of its own" {
	zoo_start "$LIVE/z_zoo" handler
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump
		is "$status" 0 "exit code ($errors)"
		unharmed
		counts_on
		rm "$CORE"
	done
}

@test "its main thread has ended, the others go on" {
	zoo_start "$LIVE/z_zoo" leader
	dead() { grep -q '^State:.Z' "/proc/$TARGET/task/$TARGET/status"; }
	wait_for 5 dead
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump
		is "$status" 0 "exit code ($errors)"
		is "$(eu-readelf -n "$CORE" 2>/dev/null | grep -c ' PRSTATUS')" 4 "threads in the core"
		counts_on other
		is "$(cat /proc/"$TARGET"/task/*/status | awk '/^TracerPid/ && $2 != 0' | wc -l)" 0 "traced threads"
		rm -f "$CORE"
	done
}

@test "huge pages: in the core as they are in the process" {
	zoo_start "$LIVE/z_zoo" huge 64
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump --pause-budget 1s
		dumped clone
		unharmed
		counts_on
		((i)) || core_opens 2 "$LIVE/z_zoo"
		rm "$CORE"
	done
}

@test "memory that cannot be read: marked or empty, never waited for" {
	local kind
	for kind in truncated faults secret key; do
		zoo_start "$LIVE/z_zoo" "$kind"
		dump
		dumped clone
		((ms < 20000)) || fail "$kind: it took $ms ms"
		unharmed
		counts_on
		core_opens 3 "$LIVE/z_zoo"
		rm "$CORE"
		zoo_end
		truncate -s 0 "$COUNTS"
		truncate -s 4096 "$COUNTS"
	done
	TARGET=
}

@test "a copy that is given up: it is reaped before the command ends" {
	local late i
	for late in 0 1500; do
		zoo_start "$LIVE/z_zoo" told "$late"
		for ((i = 0; i < ZOO_DUMPS; i++)); do
			dump
			is "$status" 3 "exit code ($errors)"
			has "$errors" "was given up after" "errors"
			one_line "$errors" "errors"
			unharmed
			counts_on
			is "$(ls -A "$OUT")" "" "files"
			lacks "$(ls /run/reqtrap/leftovers)" "$TARGET." "journal"
		done
		zoo_end
		truncate -s 0 "$COUNTS"
		truncate -s 4096 "$COUNTS"
	done
	TARGET=
}

# ---- what they do meanwhile ----

@test "a program that starts itself anew, from its main thread and from another" {
	local how i failed=0
	for how in main thread; do
		zoo_start "$LIVE/z_zoo" exec "$how"
		for ((i = 0; i < 5 * ZOO_DUMPS; i++)); do
			dump
			((ms < 20000)) || fail "$how: it took $ms ms"
			case $status in
			0) eu-readelf -hl "$CORE" >/dev/null 2>&1 || fail "$how: a core that is none" ;;
			[123])
				one_line "$errors" "errors"
				[[ ! -e $CORE ]] || fail "half a core has the final name"
				((++failed))
				;;
			*) fail "$how: exit code $status: $errors" ;;
			esac
			rm -f "$CORE"
		done
		lived=$(count lives)
		lives_on() { (($(count lives) > lived + 2)); }
		wait_for 10 lives_on || fail "$how: it does not start itself any more"
		is "$(count wrong)" 0 "starts that failed"
		is "$(count eintr)" 0 "EINTR"
		# A copy whose parent became another program meanwhile is reaped by a later start.
		reaped() { [[ -z $(children "$TARGET") ]] || { dump && rm -f "$CORE" && false; }; }
		wait_for 10 reaped || fail "$how: children: $(children "$TARGET")"
		zoo_end
		truncate -s 0 "$COUNTS"
		truncate -s 4096 "$COUNTS"
	done
	TARGET=
	echo "# $failed of $((10 * ZOO_DUMPS)) were given up" >&3
}

@test "a process that ends by itself, or is killed, at any moment of its dump" {
	local i killer
	for ((i = 0; i < 10 * ZOO_DUMPS; i++)); do
		truncate -s 0 "$COUNTS"
		truncate -s 4096 "$COUNTS"
		if ((i % 2)); then
			zoo_start "$LIVE/z_zoo" ends $((20000 + i * 1700))
			killer=
		else
			zoo_start "$LIVE/z_zoo" plain 8
			{ read -rt "0.0$((10 + i))" <> <(:) || kill -KILL "$TARGET"; } 3>&- &
			killer=$!
			disown "$TARGET" # else bash tells of each that was killed
		fi
		dump
		((ms < 20000)) || fail "it took $ms ms"
		case $status in
		0) eu-readelf -hl "$CORE" >/dev/null 2>&1 || fail "a core that is none" ;;
		[123])
			one_line "$errors" "errors"
			[[ ! -e $CORE ]] || fail "half a core has the final name"
			;;
		*) fail "exit code $status: $errors" ;;
		esac
		is "$(find "$OUT" -mindepth 1 ! -name core)" "" "files"
		rm -f "$CORE"
		[[ -z $killer ]] || wait "$killer" || :
		wait_for 2 gone "$TARGET" || fail "it does not end"
		wait "$TARGET" 2>/dev/null || :
	done
	TARGET=
}
