#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What stands around the holder of a trapped request: its descriptors with their other
# ends, the pool of workers that it is one of, the host.

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
	need nginx php-fpm8.2 jq
}

teardown() {
	watch_kill
}

@test "all workers of a pool are busy: a worker's own request, and one that nobody has accepted" {
	local clients first
	watch_start auto --time-taken 500ms --capture trace,stacks,full --limit 9 "$NGINX" "$FPM"
	client "$NGINX_PORT" concurrent /unix/slow.php 6 &
	clients=$!
	wait_events 3 '.event == "trapped"'
	wait "$clients"
	watch_stop

	incident_of 0
	is "$(fact .scene.looked)" true "looked"
	has "$(fact .scene.pool.name)" "php-fpm: pool unix" "the pool's name"
	has "$(fact .scene.pool.listen)" "php.sock" "where it listens"
	is "$(fact '.scene.pool | [.workers, .busy, .queue] | join(" ")')" "2 2 4" "workers, busy ones, connections that wait"
	# not the frozen copy that the core is written from, which has their socket, too
	between "$(fact .scene.pool.backlog)" 4 100000 "backlog"
	has "$(fact '.scene.pool.group[0].what')" "clock_nanosleep" "what they do"
	is "$(fact '.scene.pool.group[0].count')" 2 "how many do it"
	is "$(fact '.scene.pool.group[0].place')" "GET /unix/slow.php" "what they answer"
	has "$(fact '.scene.end[] | select(.mine) | .peer')" "nginx" "who has the other end of the request's connection"

	first=$(events '.event == "trapped"' | jq -r .process | grep -n nginx | head -n 1 | cut -d: -f1)
	incident_of $((first - 1))
	is "$(fact .scene.pool.called)" true "whose pool"
	has "$(fact .scene.pool.name)" "php-fpm: pool unix" "its name"
	is "$(fact '.scene.pool | [.workers, .busy, .queue] | join(" ")')" "2 2 4" "workers, busy ones, connections that wait"
	# not the frozen copy that the core is written from, which has their socket, too
	is "$(fact '[.scene.end[] | select(.waited and .unaccepted)] | length')" 1 "the connection that it waits for"
	has "$(cat "$INCIDENT/report.txt")" "4 connections not accepted yet" "the page"
	has "$(cat "$INCIDENT/report.txt")" "GET /unix/slow.php" "the page"
}

# ---- what was asked of others ----

asking() { # SCRIPT WORDS...: a server whose /ask does that with each request
	ASK_PORT=$(free_port)
	start_on_port ask "$ASK_PORT" /usr/bin/python3 "$LIVE_TESTS/servers/ask.py" "$ASK_PORT" "$@"
	ASK=$STARTED
}

asked() { # OPTIONS...: traps one slow request of that server
	watch_start auto --time-taken 400ms --capture trace,stacks "$@" "$ASK"
	client "$ASK_PORT" get /ask >/dev/null
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	WAITED=$(fact '.scene.end[] | select(.waited) | .protocol + ": " + .statement')
}

@test "a statement that PostgreSQL works on" {
	local bin=/usr/lib/postgresql/15/bin port
	[[ -x $bin/initdb ]] || skip "postgresql-15 is not installed"
	/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || skip "python3-psycopg2 is not installed"
	port=$(free_port)
	mkdir -p "$LIVE/pg" && chown postgres "$LIVE/pg"
	runuser -u postgres -- "$bin/initdb" -D "$LIVE/pg/data" -A trust -N >/dev/null 2>&1 || fail "initdb"
	start_on_port postgres "$port" runuser -u postgres -- "$bin/postgres" -D "$LIVE/pg/data" -p "$port" -k "$LIVE/pg" -h 127.0.0.1
	wait_for 15 "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"
	asking postgres "$port"
	asked
	is "$WAITED" "PostgreSQL: SELECT pg_sleep(?), ? AS a" "what was asked"
	has "$(fact '.scene.end[] | select(.waited) | .peer')" "postgres: postgres postgres 127.0.0.1" "who works on it"
	has "$(fact .verdict)" "waited for the answer of PostgreSQL at 127.0.0.1:$port (postgres: " "the verdict"
	has "$(fact .verdict)" "to 'SELECT pg_sleep(?), ? AS a'" "the verdict"
	is "$(fact .confidence)" high "confidence"
	lacks "$(cat "$INCIDENT/incident.json" "$INCIDENT/report.txt" "$INCIDENT/report.html")" "hunter2" "the files"
	has "$(cat "$INCIDENT/report.txt")" "SELECT pg_sleep(?), ? AS a" "the page"
	rm -rf "$STORE"
	asked --statements
	is "$WAITED" "PostgreSQL: SELECT pg_sleep(1.5), 'hunter2' AS a" "what was asked"
}

@test "a command that Redis works on" {
	need redis-server
	local port
	port=$(free_port)
	start_on_port redis "$port" redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$LIVE"
	asking redis "$port"
	asked
	is "$WAITED" "Redis: BLPOP ? ?" "what was asked"
	has "$(fact .verdict)" "waited for the answer of Redis at 127.0.0.1:$port (redis-server" "the verdict"
}

# They say what the real ones say first, and then nothing.
@test "statements and names by their first bytes: MySQL, DNS" {
	asking mysql "$(free_port)"
	asked
	is "$WAITED" "MySQL: SELECT SLEEP(?)" "what was asked"
	has "$(fact .verdict)" "to 'SELECT SLEEP(?)'" "the verdict"
	rm -rf "$STORE"
	end_process "$ASK"
	asking dns 53
	asked
	is "$WAITED" "DNS: A shop.example" "which name"
	has "$(fact .verdict)" "waited for the DNS server 127.0.0.99:53 to look up A shop.example" "the verdict"
}
