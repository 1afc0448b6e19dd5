#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The main job: a slow PHP request behind nginx, over a unix socket and over TCP, is
# trapped while it runs, in the worker that holds it, down to the PHP line.

load helpers

setup_file() {
	live_begin
	start_fpm
	start_nginx
}

teardown_file() {
	live_end
}

setup() {
	need_watch
	need nginx php-fpm8.2 gdb jq
}

teardown() {
	watch_kill
}

php_workers() {
	children "$FPM"
}

slow_request() { # HOOKS unix|tcp VIA COMPRESS
	local hooks=$1 way=$2 via=$3 compress=$4 answer pid trapped core text
	watch_start "$hooks" --time-taken 500ms --capture trace,stacks,full --compress "$compress" "$NGINX" "$FPM"
	answer=$(client "$NGINX_PORT" get "/$way/slow.php")
	pid=${answer##* }
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop

	watch_clean
	total requests 1
	total trapped 1
	is "$(count_events '.event == "trapped"')" 1 "trapped requests"
	trapped=$(events '.event == "trapped"')
	is "$(jq -r '[.reason, .method, .url, .host, .limit_ms, .status] | join(" ")' <<<"$trapped")" \
		"TIME_TAKEN GET /$way/slow.php shop.example 500 0" "the request"
	between "$(jq .elapsed_ms <<<"$trapped")" 500 1000 "elapsed_ms"
	between "$(jq .fired_after_ms <<<"$trapped")" 500 1500 "fired_after_ms"
	is "$(jq .running_at_snapshot <<<"$trapped")" true "running_at_snapshot"
	is "$(jq .pid <<<"$trapped")" "$pid" "pid, and what getmypid() says"
	is "$(jq .tid <<<"$trapped")" "$pid" "tid"
	has "$(jq -r .process <<<"$trapped")" "php-fpm" "process"
	is "$(jq -r '.chain | length' <<<"$trapped")" 2 "hops ($trapped)"
	is "$(jq -r '.chain[0].process' <<<"$trapped")" nginx "first hop"
	is "$(jq -r '.chain[0].via' <<<"$trapped")" "$via" "way from nginx"
	is "$(jq -r '.chain[1].pid' <<<"$trapped")" "$pid" "last hop"
	between "$(events '.event == "ended"' | jq .time_taken_ms)" 2500 9000 "time_taken_ms"
	is "$(events '.event == "ended"' | jq .status)" 200 "status at the end"

	times_add_up
	text=$(cat "$INCIDENT/report.txt")
	has "$text" "wait_for_the_stock_room" "the page"
	has "$text" "slow.php:3" "the page"
	has "$(fact .verdict)" "wait_for_the_stock_room" "the verdict"
	has "$(cat "$INCIDENT/report.html")" "slow.php:3" "the HTML page"
	has "$(fact .process.language)" "PHP 8.2" "language"
	jq -e 'type == "array" or (.traceEvents | length > 0)' "$INCIDENT/trace.json" >/dev/null || fail "trace.json"

	core=$(jq -r .capture.core <<<"$trapped")
	if [[ $core == *.zst ]]; then
		zstd -qd "$core" -o "$BATS_TEST_TMPDIR/core"
		core=$BATS_TEST_TMPDIR/core
	fi
	has "$(gdb -batch -nx -ex bt /usr/sbin/php-fpm8.2 "$core" 2>&1)" "execute_ex" "gdb's stack of the first thread"
	gone "$pid" && fail "the worker is gone"
	is "$(children "$pid")" "" "children of the worker"
	is "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")" 0 "TracerPid of the worker"
}

@test "nginx to php-fpm over a unix socket (sock)" {
	slow_request sock unix "unix:$LIVE/php.sock" none
}

@test "nginx to php-fpm over a unix socket (syscalls)" {
	slow_request syscalls unix "unix:$LIVE/php.sock" none
}

@test "nginx to php-fpm over TCP (sock)" {
	slow_request sock tcp "tcp:127.0.0.1:$FPM_PORT" zstd
}

@test "nginx to php-fpm over TCP (syscalls)" {
	slow_request syscalls tcp "tcp:127.0.0.1:$FPM_PORT" zstd
}

failing_request() { # HOOKS
	watch_start "$1" --status 500-599 "$NGINX" "$FPM"
	client "$NGINX_PORT" get /unix/hello.php '/unix/status.php?n=404' '/unix/status.php?n=503' /tcp/hello.php \
		'/tcp/status.php?n=599' >/dev/null
	wait_events 2 '.event == "ended"'
	incident_of 1
	watch_stop
	watch_clean
	total requests 5
	total trapped 2
	is "$(events '.event == "trapped"' | jq -r '[.reason, .status, .url] | join(" ")' | sort | tr '\n' ';')" \
		"STATUS_CODE 503 /unix/status.php?n=503;STATUS_CODE 599 /tcp/status.php?n=599;" "trapped"
	local pid
	pid=$(events '.event == "trapped" and .status == 503' | jq .pid)
	php_workers | grep -qx "$pid" || fail "pid $pid is no php-fpm worker: $(php_workers | tr '\n' ' ')"
}

@test "a 503 of PHP is trapped in the worker, other statuses are not (sock)" {
	failing_request sock
}

@test "a 503 of PHP is trapped in the worker, other statuses are not (syscalls)" {
	failing_request syscalls
}

worker_forked_later() { # HOOKS
	local before answer
	watch_start "$1" --time-taken 500ms --capture trace "$FPM"
	before=$(php_workers)
	# The master forks a new one for each that ends.
	local pid
	for pid in $before; do
		kill -TERM "$pid"
	done
	for pid in $before; do
		wait_for 10 gone "$pid"
	done
	answer=$(client "$NGINX_PORT" get /unix/slow.php)
	wait_events 1 '.event == "ended"'
	watch_stop
	watch_clean
	is "$(events '.event == "trapped"' | jq .pid)" "${answer##* }" "pid, and what getmypid() says"
	lacks " $(echo $before) " " ${answer##* } " "workers of before"
}

@test "a worker forked after the watch began belongs to it (sock)" {
	worker_forked_later sock
}

@test "a worker forked after the watch began belongs to it (syscalls)" {
	worker_forked_later syscalls
}

# The master tells itself of each signal by a letter on a socketpair: 'C' for a worker that has
# ended begins a method, too, and the next one is written by who has read it.
signals_are_no_requests() { # HOOKS
	local before pid
	watch_start "$1" --time-taken 60s "$FPM"
	for _ in 1 2 3; do
		client "$NGINX_PORT" get /unix/hello.php /tcp/hello.php >/dev/null
		before=$(php_workers)
		kill -USR2 "$FPM"
		for pid in $before; do
			wait_for 10 gone "$pid"
		done
		wait_for 10 has_workers
	done
	for pid in $(php_workers); do
		kill -TERM "$pid"
		wait_for 10 gone "$pid"
	done
	client "$NGINX_PORT" get /unix/hello.php >/dev/null
	watch_stop
	watch_clean 1
	total requests 7
	total complete 7
	total inner 0
	total in_flight 0
}

has_workers() {
	(($(php_workers | wc -l) >= 2))
}

@test "a reload's signals are no requests (sock)" {
	signals_are_no_requests sock
}

@test "a reload's signals are no requests (syscalls)" {
	signals_are_no_requests syscalls
}

@test "a body of 200 KB goes through nginx to PHP and back, and is counted" {
	watch_start auto --status 200 --limit 100 --capture trace "$NGINX" "$FPM"
	client "$NGINX_PORT" post /unix/echo.php 200000
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	watch_clean
	total requests 1
	between "$(fact .request.request_bytes)" 200000 205000 "request_bytes"
	between "$(fact .request.response_bytes)" 200000 205000 "response_bytes"
}
