#!/bin/bash
# SPDX-License-Identifier: MIT
# CPU of nginx for each request, watched against unwatched: one worker, a small static
# file, keep-alive, wrk. Pairs are interleaved and their order alternates, so that what
# else the machine does falls on both. Usage: watch.sh [REQTRAP] [PAIRS] [SECONDS]
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
REQTRAP=$(readlink -f "${1:-$root/build/reqtrap}")
pairs=${2:-5} seconds=${3:-2}
# shellcheck source=tests/live/helpers.bash
. "$root/tests/live/helpers.bash"

((EUID == 0)) || { echo "watch.sh needs root" >&2; exit 3; }
for tool in nginx wrk jq; do
	command -v "$tool" >/dev/null || { echo "watch.sh needs $tool" >&2; exit 3; }
done

live_begin
trap live_end EXIT
start_nginx 1
worker=$(children "$NGINX")
mkdir "$LIVE/store"

on_cpu() { # ns the worker ran, as the scheduler counts
	cut -d' ' -f1 "/proc/$worker/schedstat"
}

# One burst of requests: 'CPU-NS-A-REQUEST REQUESTS-A-SECOND'.
measure() {
	local before after text
	before=$(on_cpu)
	text=$(wrk -t1 -c4 -d"${seconds}s" "http://127.0.0.1:$NGINX_PORT/small.txt")
	after=$(on_cpu)
	awk -v ns=$((after - before)) '
		/requests in/ { requests = $1 }
		/Requests\/sec/ { rate = $2 }
		END { printf "%.0f %.0f\n", ns / requests, rate }' <<<"$text"
}

measure_watched() { # HOOKS
	local watch
	env --default-signal=INT "$REQTRAP" watch --json --hooks "$1" --time-taken 5s -o "$LIVE/store" "$NGINX" \
		>"$LIVE/out" 2>"$LIVE/err" </dev/null &
	watch=$!
	remember "$watch"
	wait_for 15 grep -q watching "$LIVE/out" || { cat "$LIVE/err" >&2; return 1; }
	measure
	kill -INT "$watch"
	wait "$watch" || [[ $? == 1 ]] # nothing was slow
	jq -c 'select(.event == "totals")' "$LIVE/out" >>"$LIVE/totals.$1"
}

compare() { # HOOKS PAIRS
	local n off on
	: >"$LIVE/pairs.$1"
	for ((n = 0; n < $2; n++)); do
		if ((n % 2)); then
			measure_watched "$1" >"$LIVE/on"
			off=$(measure)
		else
			off=$(measure)
			measure_watched "$1" >"$LIVE/on"
		fi
		on=$(cat "$LIVE/on")
		echo "$off $on" >>"$LIVE/pairs.$1"
	done
	awk -v hooks="$1" '
		function median(list, n,   i, j, t) {
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && list[j - 1] > list[j]; j--) {
					t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
				}
			return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
		}
		{ off[NR] = $1; on[NR] = $3; ratio[NR] = $3 / $1; rate[NR] = $4 / $2 }
		END {
			o = median(off, NR); w = median(on, NR); r = median(ratio, NR); q = median(rate, NR)
			printf "%-9s %6d %12.2f %12.2f %9.3f (%.3f - %.3f) %12.3f", hooks, NR, o / 1000, w / 1000,
				r, ratio[1], ratio[NR], q
		}' "$LIVE/pairs.$1"
	jq -rs '[(map(.cpu_ns_per_request) | sort | .[length / 2 | floor]),
		(map(.lost_events + .refused) | add), (map(.requests) | add)] |
		"  \(.[0] / 1000)  \(.[1])  \(.[2])"' "$LIVE/totals.$1" |
		awk '{ printf " %10.2f %6d %10d\n", $1, $2, $3 }'
}

echo "nginx, 1 worker, a file of 13 bytes, keep-alive, wrk with 4 connections; CPU microseconds a request"
echo "hooks      pairs    unwatched      watched     ratio (least - most)   throughput   of BPF   lost   requests"
measure >/dev/null # warm
compare sock "$pairs"
compare syscalls $((pairs - pairs / 3))
