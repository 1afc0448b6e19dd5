#!/bin/bash
# SPDX-License-Identifier: MIT
# How late a trap is when no CPU is idle: as many spinners as CPUs, a server of threads,
# requests that take longer than the limit. 'fired' is when the kernel's timer has rung,
# 'told' when user space has it, 'stopping' when the process is being stopped, all from
# the limit on; 'pause' is how long
# it stands still; of those that were stopped while they ran: one that ended before has no
# such figure. Both priorities side by side. Usage: latency.sh [REQUESTS]
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
requests=${1:-200} limit=100
# shellcheck source=tests/live/helpers.bash
. "$root/tests/live/helpers.bash"
((EUID == 0)) || { echo "latency.sh needs root" >&2; exit 3; }
live_begin
trap 'watch_kill; live_end' EXIT
start_python
for ((i = 0; i < $(nproc); i++)); do
	start "spinner.$i" sh -c 'while :; do :; done'
done

quantiles() { # NAME: of milliseconds, one a line
	sort -n | awk -v name="$1" '{ v[NR] = $1 } END {
		printf "  %-10s p50 %8.3f  p99 %8.3f  max %8.3f ms  of %d\n", name, v[int((NR + 1) / 2)], v[int(NR * 0.99 + 0.5)], v[NR], NR
	}'
}

run_one() { # PRIORITY
	BATS_TEST_TMPDIR=$LIVE/$1
	mkdir "$BATS_TEST_TMPDIR"
	watch_start auto --priority "$1" --time-taken "${limit}ms" --limit 100000 --capture stacks "$PYTHON"
	for ((i = 0; i < requests; i++)); do
		curl -s -o /dev/null --max-time 20 "127.0.0.1:$PYTHON_PORT/slow?ms=$((limit + 150))&n=$i"
	done
	wait_events "$requests" '.event == "ended"' 60
	watch_stop 60
	echo "priority $1, $(nproc) spinners on $(nproc) CPUs:"
	events '.event == "trapped"' | jq ".elapsed_ms - $limit" | quantiles fired
	events '.event == "trapped"' | jq ".fired_after_ms - $limit" | quantiles told
	find "$STORE" -name incident.json -exec jq '.capture | select(.failed == null and .pause_ns > 0) | .started_after_ns / 1e6' {} + | quantiles stopping
	find "$STORE" -name incident.json -exec jq '.capture | select(.failed == null and .pause_ns > 0) | .pause_ns / 1e6' {} + | quantiles pause
}

run_one high
run_one normal
