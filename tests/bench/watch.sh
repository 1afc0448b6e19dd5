#!/bin/bash
# SPDX-License-Identifier: MIT
# What watching costs: CPU a request of real servers, watched against unwatched and
# against programs at the same tracepoints that do nothing; what processes that are not
# watched pay; what reqtrap itself takes; what is left of one that is killed. Servers,
# client and strangers share one CPU at a real-time priority (if that is permitted), so that
# nothing runs beside them and the client's and the server's work do not overlap. What
# is watched stands between two bursts that are not, and each batch of a burst between two
# looks at a gauge (gauge.h): hosts have two speeds. 'unwatched, again' is the noise.
# Usage: watch.sh [REQTRAP] [PAIRS] [HOOKS] [ROW...]     PAIRS: 9; HOOKS: sock, or syscalls;
# ROW: nginx budget pair php python strangers itself
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
REQTRAP=$(readlink -f "${1:-$root/build/reqtrap}")
pairs=${2:-9} hooks=${3:-auto} rows=" ${*:4} "
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
for program in load stranger empty; do
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$LIVE/$program" "$root/tests/bench/$program.c" -lpthread -lbpf
done
tracepoints=(sock_recv_length sock_send_length)
[[ $hooks != syscalls ]] || tracepoints=(sys_exit)
tracepoints+=(inet_sock_set_state tcp_destroy_sock sched_switch sched_waking sched_process_fork)
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

warm() { # PORT PATH CONNECTIONS: some requests that nobody measures
	pinned "$LIVE/load" "$1" "$2" 300 "$3" >/dev/null
}

# The kernel measures run times in windows, of which the first ends a second or two after
# 1000 requests; they cost more than many a program. What is measured here begins behind it.
settle() { # PORT PATH CONNECTIONS
	pinned "$LIVE/load" "$1" "$2" 1200 "$3" >/dev/null
	wait_for 10 unmetered
}

# Load until the watch has shed what its budget (--max-overhead, 2 % of the host) does not allow: what
# goes on like this costs so much.
settle_in_budget() { # PORT PATH CONNECTIONS
	local n
	for ((n = 0; n < 200; n++)); do
		pinned "$LIVE/load" "$1" "$2" 3000 "$3" >/dev/null
		! grep -q '"shed"' "$LIVE/out" || break
	done
	shed=$(jq -r 'select(.event == "shed") | .detail' "$LIVE/out" 2>/dev/null | paste -sd' ')
	settle "$@"
}

unmetered() {
	! find "/proc/$WATCH/fd" -lname '*bpf-stats*' | grep -q .
}

# Off the CPU of what is measured.
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

# Programs that do nothing, at the tracepoints of the watch.
empty_begin() {
	mkfifo "$LIVE/stay" && : >"$LIVE/log.empty"
	"$LIVE/empty" "${tracepoints[@]}" <"$LIVE/stay" >"$LIVE/log.empty" 2>&1 &
	EMPTY=$!
	remember "$EMPTY"
	exec 7>"$LIVE/stay"
	wait_for 5 grep -q attached "$LIVE/log.empty" || { cat "$LIVE/log.empty" >&2; return 1; }
}

empty_end() {
	exec 7>&-
	wait "$EMPTY"
	rm "$LIVE/stay"
}

median() { # of the numbers of standard input
	sort -g | awk '{ n[NR] = $1 } END { print NR % 2 ? n[(NR + 1) / 2] : (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

spread() { # of the numbers of standard input: the middle half of them
	sort -g | awk '{ n[NR] = $1 } END { printf "%.3f to %.3f", n[int((NR + 3) / 4)], n[int((3 * NR + 3) / 4)] }'
}

row() { # NAME WHAT VALUE LIMIT [NOTE]: 'NAME WHAT VALUE NOTE', and a failure over the limit
	local verdict=
	if awk -v v="$3" -v most="$4" 'BEGIN { exit !(v > most) }'; then
		verdict="  over $4"
		failures=$((failures + 1))
	fi
	printf '%-26s %-34s %10s%s\n' "$1" "$2" "$3" "${5:+  $5}$verdict"
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
		{ ns += $5 - $2; runs += $6 - $3; size += $7 }
		$6 - $3 > requests / 50 {
			each = each sprintf("\n%28s  %-10s %5.1f runs %6.0f ns, %4d instructions loaded", "", $1,
				($6 - $3) / requests, ($5 - $2) / requests, $7)
		}
		END { printf "%.0f ns, %.1f runs a request; %d instructions loaded%s\n", ns / requests, runs / requests, size, each }'
}

burst() { # NAME LOAD-ARGUMENT...: what load told, without the requests a second, into the file
	load "${@:2}" | cut -d' ' -f2- >>"$LIVE/got.$1"
}

# The n-th burst of a kind against the mean of the two unwatched ones around it.
against() { # KIND FIELD
	paste -d' ' "$LIVE/got.off1" "$LIVE/got.off2" "$LIVE/got.off3" "$LIVE/got.on" "$LIVE/got.empty" | awk -v kind="$1" -v k="$2" '
		kind == "on" { print $(21 + k) / ($(7 + k) + $(14 + k)) * 2 }
		kind == "empty" { print $(28 + k) / ($k + $(7 + k)) * 2 }
		kind == "again" { print $(7 + k) / $k }'
}

ratio() { # NAME WHAT KIND [LIMIT]
	row "$1" "$2" "$(against "$3" 2 | median | xargs printf '%.3f')" "${4:-1e9}" \
		"low quartile $(against "$3" 1 | median | xargs printf '%.3f'); pairs $(against "$3" 2 | spread)"
}

# Bursts: unwatched, with empty programs, unwatched, watched, unwatched.
compare() { # NAME LIMIT TARGET PORT PATH REQUESTS CONNECTIONS
	local n name=$1 limit=$2 target=$3 bpf=
	shift 3
	rm -f "$LIVE"/got.*
	warm "$1" "$2" "$4"
	for ((n = 0; n < pairs; n++)); do
		burst off1 "$@"
		empty_begin
		warm "$1" "$2" "$4"
		burst empty "$@"
		empty_end
		burst off2 "$@"
		watch_begin "$target"
		"${settling:-settle}" "$1" "$2" "$4"
		burst on "$@"
		((n)) || bpf=$(bpf_of "$@")
		watch_end
		burst off3 "$@"
	done
	ratio "$name" "CPU a request, watched/unwatched" on "$limit"
	ratio "" "  with empty programs/unwatched" empty
	ratio "" "  unwatched, again" again
	printf '%-26s   unwatched %s us; %s batches thrown away: the host changed its speed\n' "" \
		"$(cut -d' ' -f4 "$LIVE/got.off2" | median | awk '{ printf "%.2f", $1 / 1000 }')" \
		"$(cat "$LIVE"/got.* | awk '{ thrown += $7; all += $6 + $7 } END { print thrown " of " all }')"
	printf '%-26s   of BPF: %s\n' "" "$bpf"
}

# Nanoseconds more at the gauge's usual speed: the k-th line of each run of stranger.
more_than_off() { # FILE K FIELD
	paste -d' ' <(awk -v k="$2" 'NR % 3 == k % 3' "$LIVE/got.off") <(awk -v k="$2" 'NR % 3 == k % 3' "$LIVE/got.$1") |
		awk -v f="$3" '{ print ($(7 + f) - $f) * $5 }'
}

strangers() {
	local n k kind
	local -a names=("a context switch" "a socket call" "a system call") limits=(100 1000 5)
	rm -f "$LIVE"/got.*
	[[ $hooks != syscalls ]] || limits[2]=1000
	# a target that answers requests while they run, so that all there is is attached
	for ((n = 0; n < pairs; n++)); do
		pinned "$LIVE/stranger" >>"$LIVE/got.off"
		empty_begin
		pinned "$LIVE/stranger" >>"$LIVE/got.empty"
		empty_end
		watch_begin "$NGINX"
		settle "$NGINX_PORT" /small.txt 4
		pinned "$LIVE/stranger" >>"$LIVE/got.on"
		watch_end
	done
	for k in 1 2 3; do
		for kind in on empty; do
			row "$([[ $kind == empty ]] || echo "a stranger")" \
				"$([[ $kind == on ]] && echo "${names[k - 1]}, ns more" || echo "  with empty programs")" \
				"$(more_than_off $kind $k 2 | median | xargs printf '%.0f')" \
				"$([[ $kind == on ]] && echo "${limits[k - 1]}" || echo 1e9)" \
				"low quartile $(more_than_off $kind $k 1 | median | xargs printf '%.0f'); pairs $(more_than_off $kind $k 2 | spread)"
		done
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
	warm "$NGINX_PORT" /small.txt 8
	ticks=$(ticks_of "$WATCH") wakes=$(switches_of "$WATCH") from=$(date +%s%N)
	rate=$(load "$NGINX_PORT" /small.txt $requests 8 | cut -d' ' -f1)
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

wanted() { # ROW
	[[ $rows == "  " || $rows == *" $1 "* ]]
}

echo "watched against unwatched, $pairs pairs, medians; limits of doc/decisions"
servers=(-p "$nginx_worker")
! wanted nginx || compare "nginx, 13 bytes" 1.10 "$NGINX" "$NGINX_PORT" /small.txt 10000 4
if wanted budget; then
	settling=settle_in_budget
	compare "nginx, load that goes on" 1.10 "$NGINX" "$NGINX_PORT" /small.txt 10000 4
	printf '%-26s   shed by then: %s\n' "" "${shed:-nothing}"
	settling=
fi
servers=(-p "$nginx_worker" "${fpm_workers[@]/#/-p}")
! wanted pair || compare "nginx to php-fpm, hello" 1.05 "$NGINX" "$NGINX_PORT" /unix/bench.php 3000 2
servers=("${fpm_workers[@]/#/-p}")
! wanted php || compare "php-fpm alone, hello" 1.02 "$FPM" "$NGINX_PORT" /unix/bench.php 3000 2
servers=(-p "$burn" -b 20)
! wanted python || compare "Python, 1 ms" 1.01 "$burn" "$burn_port" / 1000 1
servers=()
! wanted strangers || strangers
! wanted itself || itself
((failures == 0)) || { echo "$failures over the limit"; exit 1; }
