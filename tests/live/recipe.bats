#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The recipe that support engineers give for IIS, on Linux, whole: rules of a web.config,
# the service, nginx before php-fpm, sixty slow requests by several workers. The action runs
# as often as its limit says in the life of each worker, each request is logged, as many
# files as were asked for are kept.

load helpers
load serve

LIMIT=3 KEPT=20 REQUESTS=60

setup_file() {
	live_begin
	start_fpm
	start_nginx 2
	cat >"$LIVE/php/report.php" <<-'END'
		<?php
		function add_up_the_year() {
		    usleep(700000);
		}
		add_up_the_year();
		echo getmypid(), "\n";
	END
}

teardown_file() {
	live_end
}

workers() { # of the pool behind the unix socket
	local pid
	for pid in $(children "$FPM"); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'pool unix' && echo "$pid" || :
	done
}

web_config() {
	cat >"$S/action" <<-END
		#!/bin/sh
		echo "\$1 \$2" >>"$S/ran"
	END
	chmod 755 "$S/action"
	: >"$S/ran"
	cat >"$S/applicationHost.config" <<-END
		<?xml version="1.0" encoding="UTF-8"?>
		<configuration>
		  <system.applicationHost><sites><site name="Shop" id="2">
		    <traceFailedRequestsLogging enabled="true" maxLogFiles="$KEPT" customActionsEnabled="true" />
		  </site></sites></system.applicationHost>
		  <location path="Shop"><system.webServer><tracing><traceFailedRequests>
		    <add path="unix/report.php" customActionExe="$S/action" customActionParams="-ma %1%" customActionTriggerLimit="$LIMIT">
		      <traceAreas><add provider="WWW Server" areas="RequestNotifications,Module" verbosity="Verbose" /></traceAreas>
		      <failureDefinitions timeTaken="00:00:00.300" statusCodes="500-599" />
		    </add>
		  </traceFailedRequests></tracing></system.webServer></location>
		</configuration>
	END
	{
		printf 'store = "%s"\n' "$S/store"
		"$REQTRAP" import "$S/applicationHost.config"
	} >"$CONF"
	"$REQTRAP" check "$CONF" >"$S/effective" 2>"$S/check.err" || fail "check: $(cat "$S/check.err")"
}

the_rule() { # FIELD
	get /api/rules | jq -r ".rules[0].$1"
}

# COUNT requests, as many at a time as there are workers (of one that waits for a worker
# nginx would be the holder); what each answered.
slow_requests() {
	seq "$1" | xargs -P 2 -I{} curl -s --max-time 120 "http://127.0.0.1:$NGINX_PORT/unix/report.php?n={}" >"$S/answers"
	is "$(wc -l <"$S/answers")" "$1" "answers"
}

trapped() { # are COUNT, and nothing of them is under way
	(($(the_rule trapped) >= $1)) && (($(get /api/live | jq '.requests | length') == 0))
}

ran_by_worker() {
	awk '{ n[$2]++ } END { for (pid in n) print n[pid] }' "$S/ran" | sort -rn | head -n 1
}

@test "a web.config, sixty slow requests: each is logged, the action runs as often as its limit says" {
	need nginx php-fpm8.2
	local before after worker
	web_config
	before=$(workers)
	is "$(wc -w <<<"$before")" 2 "workers"
	PYTHON=$NGINX serve "$FPM"
	is "$(the_rule state) $(the_rule trapped)" "armed 0" "the rule at first"
	slow_requests "$REQUESTS"
	wait_for 60 trapped "$REQUESTS" || fail "only $(the_rule trapped) are logged: $(cat "$LOG"; get /api/rules; head -c 300 "$S/answers"; ls "$S/store")"
	is "$(the_rule trapped)" "$REQUESTS" "requests logged"
	is "$(sort -u "$S/answers" | tr '\n' ' ')" "$(sort <<<"$before" | tr '\n' ' ')" "workers that answered"
	ran() { (($(wc -l <"$S/ran") >= $1)); }
	wait_for 30 ran $((2 * LIMIT)) || fail "the action ran $(wc -l <"$S/ran") times"
	is "$(wc -l <"$S/ran") $(ran_by_worker)" "$((2 * LIMIT)) $LIMIT" "runs of the action, and most by one worker"
	is "$(awk '{ print $1 }' "$S/ran" | sort -u)" -ma "its argument"
	is "$(awk '{ print $2 }' "$S/ran" | sort -u)" "$(sort <<<"$before")" "the processes that %1% named"
	is "$(the_rule state)" spent "the rule when both workers had their share"
	kept() { (($(get /api/incidents | jq '.incidents | length') <= KEPT)); }
	wait_for 20 kept || fail "$(get /api/incidents | jq '.incidents | length') are kept"
	between "$(find "$S/store" -name incident.json | wc -l)" 1 "$KEPT" "incidents kept"

	# A worker that is new has its own life.
	worker=$(head -n 1 <<<"$before")
	kill -QUIT "$worker"
	wait_for 20 gone "$worker"
	replaced() { [[ $(workers | wc -w) == 2 ]]; }
	wait_for 20 replaced || fail "no new worker"
	after=$(workers | grep -vxF "$before")
	slow_requests 12
	wait_for 60 trapped $((REQUESTS + 12)) || fail "only $(the_rule trapped) are logged: $(cat "$LOG"; get /api/rules; head -c 300 "$S/answers"; ls "$S/store")"
	wait_for 30 ran $((3 * LIMIT)) || fail "the action ran $(wc -l <"$S/ran") times"
	is "$(grep -c " $after\$" "$S/ran")" "$LIMIT" "runs for the new worker"
	is "$(wc -l <"$S/ran") $(ran_by_worker)" "$((3 * LIMIT)) $LIMIT" "runs of the action, and most by one worker"
	is "$(the_rule trapped)" "$((REQUESTS + 12))" "requests logged"
}
