# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the zoo's files share: a target that counts in a file what is done to it, dumps of
# it while it works, and a look at it afterwards. After live_begin of helpers.bash.

# The numbers in the file that a target maps; see z_zoo.c.
declare -gA COUNT=([ready]=0 [main]=1 [other]=2 [eintr]=3 [wrong]=4 [caught]=5 [lives]=6 [sigchld]=7)

zoo_build() { # NAME [FLAGS...]: tests/victims/NAME.c into $LIVE/NAME
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -g -o "$LIVE/${2:-$1}" "$ROOT/tests/victims/$1.c" "${@:3}" \
		-lpthread
}

zoo_setup() {
	need_watch
	OUT=$BATS_TEST_TMPDIR/dumps COUNTS=$BATS_TEST_TMPDIR/counts SAID=$BATS_TEST_TMPDIR/said
	mkdir "$OUT"
	truncate -s 4096 "$COUNTS"
	CORE=$OUT/core
	TARGET=
	declare -gA MOST=() # of a count that is not our doing alone
	: "${ZOO_DUMPS:=3}" # of each target; many more for a night
}

zoo_teardown() {
	[[ -z ${TARGET:-} ]] || zoo_end
}

zoo_end() {
	kill -KILL "$TARGET" 2>/dev/null || :
	wait "$TARGET" 2>/dev/null || :
}

count() { # NAME
	od -An -t u8 -j $((${COUNT[$1]} * 8)) -N 8 "$COUNTS" | tr -d ' '
}

# A target in $TARGET, ready; skips the test where it says that it cannot be.
zoo_start() { # PROGRAM KIND [ARGUMENT]
	"$1" "$COUNTS" "${@:2}" >"$SAID" 2>&1 3>&- </dev/null &
	TARGET=$!
	remember "$TARGET"
	zoo_ready "$1"
}

zoo_ready() {
	is_ready() { [[ $(count ready) == 1 ]]; }
	ready_or_gone() { is_ready || gone "$TARGET"; }
	wait_for 8 ready_or_gone || fail "the target is not ready: $(cat "$SAID")"
	if ! is_ready; then
		local code=0
		wait "$TARGET" || code=$?
		((code != 77)) || skip "$(cat "$SAID")"
		fail "the target ended ($code): $(cat "$SAID")"
	fi
}

dump() { # OPTIONS...: of TARGET into CORE; sets status, output, errors and ms, the time it took
	local start=${EPOCHREALTIME/./}
	status=0
	output=$(timeout 60 "$REQTRAP" dump --json --compress none -o "$CORE" "$@" "$TARGET" 2>"$BATS_TEST_TMPDIR/err") ||
		status=$?
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	errors=$(cat "$BATS_TEST_TMPDIR/err")
}

dumped() { # METHOD [REASON]
	is "$status" 0 "exit code ($errors)"
	is "$(jq -r .method <<<"$output")" "$1" "method ($(jq -r .why_not_clone <<<"$output"))"
	[[ -z ${2:-} ]] || has "$(jq -r .why_not_clone <<<"$output")" "$2" "reason"
	[[ -s $CORE ]] || fail "there is no core"
}

# As gdb and elfutils see the core: all threads, and without a complaint.
core_opens() { # THREADS [PROGRAM]
	is "$(eu-readelf -n "$CORE" 2>/dev/null | grep -c ' PRSTATUS')" "$1" "threads in the core"
	is "$(eu-readelf -hl "$CORE" 2>&1 >/dev/null)" "" "complaints of eu-readelf"
	is "$(gdb -batch -nx -ex 'info threads' ${2:+"$2"} -c "$CORE" 2>/dev/null </dev/null | grep -cE '^[* ] +[0-9]+ ')" "$1" \
		"threads of gdb"
	is "$(eu-stack --core="$CORE" 2>/dev/null | grep -c '^TID')" "$1" "threads of eu-stack"
}

threads() {
	find "/proc/$TARGET/task" -mindepth 1 -maxdepth 1 | wc -l
}

# Alive, neither stopped nor traced, and no child or zombie that it did not make itself.
unharmed() { # [CHILDREN]
	local file state
	for file in /proc/"$TARGET"/task/*/status; do
		state=$(awk '/^State/ { s = $2 } /^TracerPid/ { t = $2 } END { print s t }' "$file" 2>/dev/null) || continue
		[[ $state == [RSD]0 ]] || fail "thread $file: state and tracer are '$state'"
	done
	is "$(children "$TARGET" | sort | xargs)" "${1:-}" "children"
}

# Its threads go on, and nothing that must stay 0 was counted.
counts_on() { # [COUNT...]: those that advance; else all
	local name
	declare -A before=()
	for name in "${@:-main}" ${1:-other}; do
		before[$name]=$(count "$name")
	done
	advances() { (($(count "$name") > ${before[$name]} + 2)); }
	for name in "${!before[@]}"; do
		wait_for 5 advances || fail "'$name' does not go on counting"
	done
	for name in eintr wrong caught sigchld; do
		between "$(count "$name")" 0 "${MOST[$name]:-0}" "$name"
	done
}

# The whole round: dumps of every kind that it allows, each looked at.
zoo_round() { # METHOD REASON THREADS PROGRAM
	local i
	for ((i = 0; i < ZOO_DUMPS; i++)); do
		dump
		dumped "$1" "$2"
		unharmed
		counts_on
		((i == 0)) && core_opens "$3" "$4"
		rm "$CORE"
	done
	dump --snapshot stop
	dumped stop
	unharmed
	counts_on
	core_opens "$3" "$4"
}

# A dump of a large TARGET in the background (DUMP), its copy (COPY) in sight.
zoo_dump_begin() { # OPTIONS...
	local before
	before=$(children "$TARGET")
	"$REQTRAP" dump --json --compress zstd --pause-budget 5s -o "$CORE" "$@" "$TARGET" >"$OUT.json" 2>"$OUT.err" 3>&- \
		</dev/null &
	DUMP=$!
	remember "$DUMP"
	copied() { COPY=$(children "$TARGET" | grep -vxF "${before:-none}" | head -n 1) && [[ -n $COPY ]]; }
	wait_for 10 copied || fail "there is no copy: $(cat "$OUT.err")"
}

zoo_dump_end() { # EXIT-CODE
	status=0
	wait "$DUMP" || status=$?
	is "$status" "$1" "exit code ($(cat "$OUT.err"))"
}
