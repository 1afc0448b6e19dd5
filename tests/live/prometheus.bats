#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# /metrics as Prometheus sees it: its own linter, and a real one that scrapes.

load helpers
load serve

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

prometheus_is_here() {
	PROMETHEUS=$ROOT/build/prometheus/usr/bin
	[[ -x $PROMETHEUS/promtool ]] || skip "prometheus was not to be had"
}

@test "promtool finds no fault with the metrics" {
	prometheus_is_here
	rules_file 300ms
	serve
	ask '/slow?ms=500'
	wait_for 20 incidents 1 || fail "no incident"
	get /metrics >"$S/metrics"
	has "$(cat "$S/metrics")" 'reqtrap_captures_total{rule="slow",result="captured"} 1' "a capture"
	run "$PROMETHEUS/promtool" check metrics <"$S/metrics"
	is "$status$output" 0 "promtool"
}

value_of() { # QUERY
	curl -s --max-time 10 "http://127.0.0.1:$WEB/api/v1/query" --data-urlencode "query=$1" | jq -r '.data.result[0].value[1]'
}

scraped() { # QUERY VALUE
	[[ $(value_of "$1") == "$2" ]]
}

@test "a Prometheus scrapes the port with the token" {
	prometheus_is_here
	local port
	port=$(free_port)
	WEB=$(free_port)
	rules_file 300ms
	serve --web-port "$port"
	(umask 077 && sed 's/.*token=//' "$S/web-url" >"$S/token")
	cat >"$S/prometheus.yml" <<-END
		global: { scrape_interval: 1s }
		scrape_configs:
		  - job_name: reqtrap
		    authorization: { credentials_file: $S/token }
		    static_configs: [ { targets: ['127.0.0.1:$port'] } ]
	END
	start_on_port prometheus "$WEB" "$PROMETHEUS/prometheus" --config.file="$S/prometheus.yml" --storage.tsdb.path="$S/tsdb" \
		--web.listen-address="127.0.0.1:$WEB"
	wait_for 20 scraped 'up{job="reqtrap"}' 1 || fail "it is not up: $(value_of up)"
	ask '/slow?ms=500'
	wait_for 20 scraped 'reqtrap_captures_total{rule="slow",result="captured"}' 1 || fail "the capture is not there"
	wait_for 20 scraped 'http_server_request_duration_seconds_count' 1 || fail "nor the request"
	end_process "$STARTED"
}
