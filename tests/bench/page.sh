#!/bin/bash
# SPDX-License-Identifier: MIT
# From the capture to the page on the disk: a slow request of a Python server without debug
# files is trapped again and again, with and without many threads beside it; next to it how
# long gdb and py-spy, where they are there, take for the stacks alone, and eu-stack for the
# native ones. Usage: page.sh [REQTRAP] [ROUNDS] [PYTHON...]
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
REQTRAP=$(readlink -f "${1:-$root/build/reqtrap}")
rounds=${2:-7}
pythons=("${@:3}")
((${#pythons[@]})) || pythons=(/usr/bin/python3)
# shellcheck source=tests/live/helpers.bash
. "$root/tests/live/helpers.bash"

((EUID == 0)) || { echo "page.sh needs root" >&2; exit 3; }
need_tools() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || { echo "page.sh needs $tool" >&2; exit 3; }
	done
}
need_tools jq curl "${pythons[@]}"

live_begin
trap live_end EXIT
cat >"$LIVE/server.py" <<-'PY'
	import http.server, sys, threading, time
	for n in range(int(sys.argv[2])):
	    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
	class Handler(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        time.sleep(0.4)
	        self.send_response(200)
	        self.end_headers()
	    def log_message(self, *words):
	        pass
	http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY

median() {
	sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "%.0f", v[int((NR + 1) / 2)]; else printf "-" }'
}

# ms of a command's run
took() { # COMMAND...
	local from
	from=$(date +%s%N)
	"$@" >/dev/null 2>&1 || :
	echo $((($(date +%s%N) - from) / 1000000))
}

theirs() { # PROGRAM PID
	command -v "$1" >/dev/null || return 0
	case $1 in
	eu-stack) took eu-stack -p "$2" ;;
	gdb) took gdb -batch -nx -iex 'set debuginfod enabled off' -ex 'thread apply all bt' -p "$2" ;;
	py-spy) took py-spy dump -p "$2" ;;
	esac
}

# From the end of the capture to the page's last byte, in ms: one line an incident.
pages() { # STORE
	local incident
	for incident in "$1"/*/incident.json; do
		jq -r '.trapped_wall_ns / 1e6 + (.capture.started_after_ns + .capture.wall_ns) / 1e6' "$incident" |
			awk -v page="$(stat -c %.Y "${incident%/*}/report.html")" '{ printf "%.0f\n", page * 1000 - $1 }'
	done
}

row() { # PYTHON THREADS
	local port pid times=() other
	port=$(free_port)
	start_on_port "server$port" "$port" "$1" "$LIVE/server.py" "$port" "$2"
	pid=$STARTED
	for ((i = 0; i < rounds; i++)); do
		"$REQTRAP" watch --time-taken 200ms --capture trace,stacks -n 1 -q -o "$LIVE/store$port" "$pid" \
			>"$LIVE/log.watch" 2>&1 &
		local watch=$!
		remember "$watch"
		while kill -0 "$watch" 2>/dev/null; do
			curl -s -o /dev/null "http://127.0.0.1:$port/" || :
		done
		wait "$watch" || :
	done
	times[0]=$(pages "$LIVE/store$port" | median)
	times[1]=$(for ((i = 0; i < 3; i++)); do took "$REQTRAP" stacks "$pid"; done | median)
	for other in eu-stack gdb py-spy; do
		times+=("$(for ((i = 0; i < 3; i++)); do theirs "$other" "$pid"; done | median)")
	done
	printf '%-28s %7s %9s %9s %9s %9s %9s  %s\n' "$("$1" --version 2>&1)" "$(($2 + 1))" "${times[@]}" \
		"$(awk -v a="${times[0]}" -v b="${times[3]}" 'BEGIN { if (b + 0) printf "%.2f", a / b; else printf "-" }')"
	end_process "$pid"
}

echo "medians of $rounds, ms; page: from the end of the capture to the last byte of report.html; goal: page <= 300"
printf '%-28s %7s %9s %9s %9s %9s %9s  %s\n' server threads page "stacks" eu-stack gdb py-spy "page/gdb"
for python in "${pythons[@]}"; do
	row "$python" 0
	row "$python" 100
done
