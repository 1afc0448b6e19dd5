# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# A journald of our own in a mount name space of its own, so that neither this host's
# journal nor /run is touched; and coredumpctl there. After live_begin of helpers.bash.

: "${SYSTEMD:=$ROOT/build/systemd}" # unpacked by './run test'

journal_needs() {
	need_mounts
	need jq gdb nsenter
	[[ -x $SYSTEMD/usr/bin/coredumpctl ]] || skip "no coredumpctl in $SYSTEMD: './run test' puts it there"
}

journal_begin() {
	LD_LIBRARY_PATH=$SYSTEMD/usr/lib/x86_64-linux-gnu/systemd
	export LD_LIBRARY_PATH SYSTEMD PROGRAM=$REQTRAP
	! ldd "$SYSTEMD/usr/bin/coredumpctl" "$SYSTEMD/lib/systemd/systemd-journald" | grep "not found" ||
		skip "journald's libraries are not all here"
	# shellcheck disable=SC2016 # the inner shell's
	start journald unshare -m --propagation private bash -ec 'mount -t tmpfs none /run
		mkdir -p /run/systemd/journald.conf.d /run/log/journal
		printf "[Journal]\nReadKMsg=no\nStorage=volatile\nForwardToWall=no\n" >/run/systemd/journald.conf.d/own.conf
		mount -t tmpfs none /var/log
		mount -t tmpfs none /sys/fs/cgroup
		mount -t cgroup2 none /sys/fs/cgroup
		exec "$SYSTEMD/lib/systemd/systemd-journald"'
	export JOURNALD=$STARTED
	unset LD_LIBRARY_PATH
	wait_for 10 inside test -S /run/systemd/journal/socket ||
		skip "journald does not start: $(tail -n 1 "$LIVE/log.journald")"
	# the program in that name space; exec, so that the process is the one we know
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nexec nsenter -m -t %s -- sh -c %s "$PWD" %s "$@"\n' "$JOURNALD" \
		"'cd \"\$0\" && exec \"\$@\"'" "$REQTRAP" >"$LIVE/reqtrap"
	chmod 755 "$LIVE/reqtrap"
}

inside() {
	nsenter -m -t "$JOURNALD" -- "$@"
}

systemd() { # TOOL ARG...
	inside env LD_LIBRARY_PATH="$SYSTEMD/usr/lib/x86_64-linux-gnu/systemd" \
		PATH="$SYSTEMD/bin:$SYSTEMD/usr/bin:$PATH" "$1" --no-pager "${@:2}"
}

entry_is_there() { # CORE
	[[ -n $(systemd journalctl -o json COREDUMP_FILENAME="$1") ]]
}

entry() { # CORE: its entry, as JSON
	wait_for 10 entry_is_there "$1" || fail "there is no entry for $1"
	systemd journalctl -o json COREDUMP_FILENAME="$1" | tail -n 1
}
