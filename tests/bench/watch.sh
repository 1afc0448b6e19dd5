#!/bin/bash
# SPDX-License-Identifier: MIT
# What watching costs: CPU a request of real servers, watched against unwatched, in
# pairs whose order alternates; what processes that are not watched pay; what reqtrap
# itself takes; what is left of one that is killed. Servers, client and strangers share
# one CPU at a real-time priority (if that is permitted), so that nothing runs beside
# them and the client's and the server's work do not overlap; medians everywhere.
# Usage: watch.sh [REQTRAP] [PAIRS] [HOOKS]     PAIRS: 9; HOOKS: sock, or syscalls
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
REQTRAP=$(readlink -f "${1:-$root/build/reqtrap}")
pairs=${2:-9} hooks=${3:-auto}
# shellcheck source=tests/live/helpers.bash
. "$root/tests/live/helpers.bash"

((EUID == 0)) || { echo "watch.sh needs root" >&2; exit 3; }
for tool in nginx php-fpm8.2 python3 jq gcc bpftool; do
	command -v "$tool" >/dev/null || { echo "watch.sh needs $tool" >&2; exit 3; }
done

cpu=$(($(nproc) - 1)) # theirs
real_time=(chrt -r 5)
"${real_time[@]}" true 2>/dev/null || real_time=()

live_begin
trap live_end EXIT
for program in load stranger; do
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$LIVE/$program" "$root/tests/bench/$program.c" -lpthread
done
mkdir "$LIVE/store"
failures=0

pinned() { # COMMAND...
	taskset -c "$cpu" "${real_time[@]}" "$@"
}

pin() { # PID...
	local pid
	for pid; do
		taskset -pc "$cpu" "$pid" >/dev/null
		((${#real_time[@]} == 0)) || chrt -r -a -p 5 "$pid"
	done
}

servers=() # -p PID of each that works for the row

load() { # PORT PATH REQUESTS CONNECTIONS
	pinned "$LIVE/load" "${servers[@]}" "$@"
}

# Off the CPU of what is measured. The first window in which the kernel measures run
# times ends with the second after some 200 requests; a pair's burst begins behind it.
watch_begin() { # TARGET...
	: >"$LIVE/out"
	start_ns=$(date +%s%N)
	env --default-signal=INT taskset -c 0 "$REQTRAP" watch --json --hooks "$hooks" --time-taken 5s -o "$LIVE/store" \
		"$@" >"$LIVE/out" 2>"$LIVE/err" </dev/null &
	WATCH=$!
	remember "$WATCH"
	wait_for 15 grep -q watching "$LIVE/out" || { cat "$LIVE/err" >&2; return 1; }
	attach_ms=$((($(date +%s%N) - start_ns) / 1000000))
	attach_cpu_ms=$(($(ticks_of "$WATCH") * 1000 / $(getconf CLK_TCK)))
}

watch_end() {
	kill -INT "$WATCH"
	wait "$WATCH" || [[ $? == 1 ]] # nothing was slow
	jq -c 'select(.event == "totals")' "$LIVE/out" >>"$LIVE/totals"
}

median() { # of the numbers of standard input
	sort -g | awk '{ n[NR] = $1 } END { print NR % 2 ? n[(NR + 1) / 2] : (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

row() { # NAME WHAT VALUE LIMIT: 'NAME WHAT VALUE', and a failure over the limit
	local verdict=
	if awk -v v="$3" -v most="$4" 'BEGIN { exit !(v > most) }'; then
		verdict="  over $4"
		failures=$((failures + 1))
	fi
	printf '%-26s %-34s %10s%s\n' "$1" "$2" "$3" "$verdict"
}

# The kernel measures run times while somebody holds such a descriptor.
with_stats() { # COMMAND...
	python3 - "$@" <<'END'
import ctypes, subprocess, sys
BPF, BPF_ENABLE_STATS = 321, 32
attr = ctypes.create_string_buffer(128)
if ctypes.CDLL(None, use_errno=True).syscall(BPF, BPF_ENABLE_STATS, attr, 128) < 0:
    sys.exit("the kernel measures no run times")
sys.exit(subprocess.call(sys.argv[1:]))
END
}

owned() { # KIND: the ids of the watch's programs, maps or links
	cat "/proc/$WATCH/fdinfo"/* 2>/dev/null | awk -v key="$1_id:" '$1 == key { print $2 }' | sort -u
}

programs() { # of the watch: NAME NS RUNS INSTRUCTIONS
	bpftool -j prog show | jq -r --argjson ids "[$(owned prog | paste -sd,)]" '.[] | select(.id | IN($ids[])) |
		[.name, .run_time_ns // 0, .run_cnt // 0, .bytes_xlated / 8] | @tsv'
}

# What the programs took for each request of one burst, the client's own calls with it.
bpf_of() { # LOAD-ARGUMENT...
	programs | sort >"$LIVE/before"
	with_stats taskset -c "$cpu" "${real_time[@]}" "$LIVE/load" "${servers[@]}" "$@" >/dev/null
	programs | sort >"$LIVE/after"
	join -t $'\t' "$LIVE/before" "$LIVE/after" | awk -F '\t' -v requests="$3" '
		{ ns += $5 - $2; runs += $6 - $3 }
		$1 ~ /^sock_|^sys_exit/ { size += $7 }
		END { printf "%.0f ns, %.1f runs a request; %d instructions loaded\n", ns / requests, runs / requests, size }'
}

# Pairs of bursts, unwatched and watched.
compare() { # NAME LIMIT TARGET PORT PATH REQUESTS CONNECTIONS
	local n off on name=$1 limit=$2 target=$3 bpf=
	shift 3
	: >"$LIVE/pairs"
	load "$@" >/dev/null # warm
	for ((n = 0; n < pairs; n++)); do
		((n % 2)) || off=$(load "$@" | cut -d' ' -f1)
		watch_begin "$target"
		load "$1" "$2" 300 "$4" >/dev/null
		wait_for 5 older "$((start_ns + attach_ms * 1000000 + 2200000000))"
		on=$(load "$@" | cut -d' ' -f1)
		((n)) || bpf=$(bpf_of "$@")
		watch_end
		((n % 2 == 0)) || off=$(load "$@" | cut -d' ' -f1)
		echo "$off $on $(awk -v a="$on" -v b="$off" 'BEGIN { printf "%.4f", a / b }')" >>"$LIVE/pairs"
	done
	row "$name" "CPU a request, watched/unwatched" "$(cut -d' ' -f3 "$LIVE/pairs" | median | xargs printf '%.3f')" "$limit"
	printf '%-26s %-34s %10s\n' "" "  unwatched, us" \
		"$(cut -d' ' -f1 "$LIVE/pairs" | median | awk '{ printf "%.2f", $1 / 1000 }')"
	printf '%-26s   of BPF: %s\n' "" "$bpf"
}

older() { # NS of the wall clock
	(($(date +%s%N) > $1))
}

strangers() {
	local n k
	local -a names=("a context switch" "a socket call" "a system call") limits=(100 1000 0.05)
	: >"$LIVE/off" && : >"$LIVE/on"
	# a target that answers requests while they run, so that all there is is attached
	for ((n = 0; n < pairs; n++)); do
		pinned "$LIVE/stranger" >>"$LIVE/off"
		watch_begin "$NGINX"
		load "$NGINX_PORT" /small.txt 300 4 >/dev/null
		wait_for 5 older "$((start_ns + attach_ms * 1000000 + 2200000000))"
		pinned "$LIVE/stranger" >>"$LIVE/on"
		watch_end
	done
	[[ $hooks != syscalls ]] || limits[2]=1000
	for k in 1 2 3; do
		# the relative limit of a system call is noise: nothing is attached there
		paste -d' ' "$LIVE/off" "$LIVE/on" | awk -v k=$k '{ print $(k + 3) - $k, $k }' >"$LIVE/more"
		if ((k == 3)) && [[ $hooks != syscalls ]]; then
			row "a stranger" "${names[k - 1]}, more by (of 1)" "$(awk '{ print $1 / $2 }' "$LIVE/more" | median |
				xargs printf '%.3f')" "${limits[k - 1]}"
		else
			row "a stranger" "${names[k - 1]}, ns more" "$(cut -d' ' -f1 "$LIVE/more" | median | xargs printf '%.0f')" \
				"${limits[k - 1]}"
		fi
	done
}

ticks_of() { # PID: its own and its children's CPU, in clock ticks
	local pid sum=0
	for pid in "$1" $(children "$1"); do
		sum=$((sum + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 + $14 + $15 }')))
	done
	echo $sum
}

switches_of() { # PID
	awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$1/status"
}

# reqtrap's own: ten seconds at full load, nothing trapped. Then it is killed.
itself() {
	local ticks wakes from ns rate requests=150000 kib pid n left
	watch_begin "$NGINX"
	row "reqtrap" "start to 'watching', ms of CPU" "$attach_cpu_ms" 500
	printf '%-26s %-34s %10s\n' "" "  ms of the wall clock" "$attach_ms"
	load "$NGINX_PORT" /small.txt 2000 8 >/dev/null
	ticks=$(ticks_of "$WATCH") wakes=$(switches_of "$WATCH") from=$(date +%s%N)
	rate=$(load "$NGINX_PORT" /small.txt $requests 8 | cut -d' ' -f2)
	ns=$(($(date +%s%N) - from))
	row "reqtrap" "CPU at $rate requests/s, % of a core" \
		"$(awk -v t=$(($(ticks_of "$WATCH") - ticks)) -v hz="$(getconf CLK_TCK)" -v ns=$ns \
			'BEGIN { printf "%.2f", 100 * t / hz / (ns / 1e9) }')" 1
	row "reqtrap" "wake-ups for each 1000 requests" \
		"$(awk -v w=$(($(switches_of "$WATCH") - wakes)) -v n=$requests 'BEGIN { printf "%.2f", 1000 * w / n }')" 1
	kib=0
	for pid in "$WATCH" $(children "$WATCH"); do
		kib=$((kib + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
	done
	row "reqtrap" "memory, with its helpers, MiB" "$(awk -v k=$kib 'BEGIN { printf "%.1f", k / 1024 }')" 64
	for n in prog map link; do
		owned $n | sed "s/^/$n /"
	done >"$LIVE/owned"
	[[ -s $LIVE/owned ]] || { echo "watch.sh: the kernel does not tell what the watch owns" >&2; return 1; }
	kill -KILL "$WATCH"
	wait "$WATCH" 2>/dev/null || :
	wait_for 10 nothing_left || :
	left=$(still_there)
	row "reqtrap, killed" "left of $(wc -l <"$LIVE/owned") programs, maps, links" "$left" 0
}

still_there() {
	local kind id left=0
	while read -r kind id; do
		bpftool "$kind" show id "$id" >/dev/null 2>&1 && left=$((left + 1))
	done <"$LIVE/owned"
	echo $left
}

nothing_left() {
	[[ $(still_there) == 0 ]]
}

cat >"$LIVE/php/bench.php" <<'END'
<?php
header('Content-Length: 6');
echo "hello\n";
END
cat >"$LIVE/burn.py" <<'END'
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def log_message(self, *args):
        pass
    def do_GET(self):
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
END
start_fpm
start_nginx 1
nginx_worker=$(children "$NGINX")
wait_for 10 test -S "$LIVE/php.sock"
# not those of the other pool, which end when they are idle
mapfile -t fpm_workers < <(for pid in $(children "$FPM"); do grep -qa 'pool unix' "/proc/$pid/cmdline" && echo "$pid"; done)
((${#fpm_workers[@]} == 2)) || { echo "watch.sh: php-fpm has ${#fpm_workers[@]} workers" >&2; exit 1; }
burn_port=$(free_port)
start_on_port burn "$burn_port" python3 "$LIVE/burn.py" "$burn_port"
burn=$STARTED
pin "$nginx_worker" "${fpm_workers[@]}" "$burn"

echo "watched against unwatched, $pairs pairs, medians; limits of doc/decisions"
servers=(-p "$nginx_worker")
compare "nginx, 13 bytes" 1.10 "$NGINX" "$NGINX_PORT" /small.txt 6000 4
servers=(-p "$nginx_worker" "${fpm_workers[@]/#/-p}")
compare "nginx to php-fpm, hello" 1.05 "$NGINX" "$NGINX_PORT" /unix/bench.php 2000 2
servers=("${fpm_workers[@]/#/-p}")
compare "php-fpm alone, hello" 1.02 "$FPM" "$NGINX_PORT" /unix/bench.php 2000 2
servers=(-p "$burn")
compare "Python, 1 ms" 1.01 "$burn" "$burn_port" / 600 1
servers=()
strangers
itself
((failures == 0)) || { echo "$failures over the limit"; exit 1; }
