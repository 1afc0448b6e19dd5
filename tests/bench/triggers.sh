#!/bin/bash
# SPDX-License-Identifier: MIT
# What waiting costs: one series with 30 conditions on 50 processes that fulfil none.
# Prints our CPU as a share of one core, our memory and descriptors at the begin and at the
# end. Then a process that is idle for 20 s and spins: how long after that the dump is fired.
# Fails above 1 %, with growth above 5 %, above 3 s. Usage: triggers.sh [SECONDS]
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
seconds=${1:-60}
# shellcheck source=tests/live/helpers.bash
. "$root/tests/live/helpers.bash"
((EUID == 0)) || { echo "triggers.sh needs root" >&2; exit 3; }

live_begin
trap live_end EXIT
gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$LIVE/t_load" "$root/tests/victims/t_load.c" -lpthread
pids=() conditions=()
for ((i = 0; i < 50; i++)); do
	start "victim.$i" "$LIVE/t_load" none 100000000
	pids+=("$STARTED")
done
for ((i = 0; i < 6; i++)); do
	conditions+=(--cpu ">$((80 + i))%" --memory ">$((2 + i))G" --threads ">$((100 + i))" --fds ">$((200 + i))")
	conditions+=(--memory "<$((10 + i))K")
done
env --default-signal=INT "$REQTRAP" dump --json "${conditions[@]}" -o "$LIVE/" "${pids[@]}" >"$LIVE/out" 2>"$LIVE/log.series" </dev/null &
series=$!
remember "$series"
wait_for 20 grep -q '"waiting"' "$LIVE/out"

cpu_ns() { cut -d' ' -f1 "/proc/$series/schedstat"; }
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$series/status"; }
read -rt 5 <> <(:) || : # past its own start
fds() { find "/proc/$series/fd" -mindepth 1 | wc -l; }
cpu=$(cpu_ns) rss=$(rss_kib) open=$(fds) begun=$EPOCHREALTIME
read -rt "$seconds" <> <(:) || :
cpu=$(($(cpu_ns) - cpu)) later=$(rss_kib) still=$(fds)
took=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
! grep -q '"event":"dump"' "$LIVE/out" || fail "it fired"
awk -v ns="$cpu" -v s="$took" -v a="$rss" -v b="$later" -v n=$((${#conditions[@]} / 2)) -v p="${#pids[@]}" -v f="$open" -v g="$still" 'BEGIN {
	share = ns / s / 1e7
	printf "%d conditions on %d processes, %.0f s: %.2f %% of a core; memory %d KiB, then %d KiB; descriptors %d, then %d\n",
		n, p, s, share, a, b, f, g
	exit !(share <= 1 && b <= a * 1.05 && g <= f)
}'
kill -INT "$series"
wait "$series" || [[ $? == 130 ]]

start idle "$LIVE/t_load" cpu 20000
mkdir "$LIVE/dumps"
"$REQTRAP" dump --json --mini --cpu '>3%' "$STARTED" "$LIVE/dumps" >"$LIVE/out" 2>"$LIVE/log.series" </dev/null
fired=$(jq -r 'select(.event == "dump").fired_wall_ns / 1e9' "$LIVE/out")
awk -v a="$(awk '/^crossed/ { print $2 }' "$LIVE/log.idle")" -v b="$fired" 'BEGIN {
	printf "idle for 20 s, then spinning: fired %.2f s later (interval 1 s)\n", b - a
	exit !(b >= a && b - a <= 3)
}'
