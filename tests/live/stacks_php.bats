#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# PHP's frames on running interpreters, against PHP's own backtrace of the same moment.

load helpers

CASES="plain method closure arrow callable firstclass magic static invoke get string trait iterator destructor
	generator delegated include eval fiber reflection anonymous shutdown deep"

setup_file() {
	need_watch
	need php8.2 php-fpm8.2 nginx jq curl
	live_begin
	cp "$LIVE_TESTS"/servers/frames*.php "$LIVE/php/"
	mkdir -m 777 "$LIVE/said"
	start_fpm
	start_nginx
}

teardown_file() {
	live_end
}

# In the words of frames.php: 'function file:line', innermost first.
our_frames() { # PID
	"$REQTRAP" stacks "$1" --json |
		jq -r '.analysis.thread[0].script | (.frame[]? | "\(.function) \(if .file then "\(.file):\(.line)" else "[php]" end)"), (.unavailable // "end")'
}

sleeps() { # PID, in usleep() of the script
	[[ $(cut -d' ' -f1 "/proc/$1/syscall") == 230 ]]
}

same_as_php() { # CASE PID FILE
	local theirs ours kept=256
	wait_for 20 grep -q '^end$' "$3" || fail "$1: PHP said nothing"
	wait_for 20 sleeps "$2" || fail "$1: it does not wait"
	theirs=$(cat "$3")
	ours=$(our_frames "$2")
	if [[ $1 == deep ]]; then
		[[ $(wc -l <<<"$theirs") -gt 600 ]] || fail "deep: PHP said $(wc -l <<<"$theirs") lines"
		theirs=$(head -n "$kept" <<<"$theirs"; echo "PHP stack incomplete: there are more frames than are shown")
	fi
	[[ $ours == "$theirs" ]] || fail "$1: $(diff <(echo "$ours") <(echo "$theirs"))"
}

every_case() { # PHP-OPTION...
	local one
	for one in $CASES; do
		rm -f "$LIVE/said/it"
		start php php8.2 "$@" "$LIVE/php/frames.php" "$one" "$LIVE/said/it"
		same_as_php "$one" "$STARTED" "$LIVE/said/it"
		end_process "$STARTED"
	done
}

@test "php: frames, files and lines are those of PHP's own backtrace" {
	every_case -d opcache.enable_cli=0
}

@test "php: ... with opcache" {
	php8.2 -m | grep -q OPcache || skip "no opcache"
	every_case -d opcache.enable_cli=1 -d opcache.jit=0 -d opcache.file_update_protection=0
}

@test "php: ... and in php-fpm, in all cases" {
	local one worker
	for one in $CASES; do
		rm -f "$LIVE/said/"*
		curl -s "http://127.0.0.1:$NGINX_PORT/unix/frames.php?case=$one&out=$LIVE/said/it&pid=$LIVE/said/pid" -o /dev/null 3>&- &
		wait_for 20 test -s "$LIVE/said/pid" || fail "$one: the script does not run"
		worker=$(cat "$LIVE/said/pid")
		same_as_php "$one" "$worker" "$LIVE/said/it"
		kill -KILL "$worker"
		wait
	done
}

@test "php: while it computes, the call that it is in is the line that made it" {
	local n script="<?php\n" json function
	for n in 0 1 2 3 4 5 6 7 8 9; do
		script+="function f$n() {\n for (\$i = 0, \$x = 0; \$i < 200000; \$i++)\n  \$x += \$i % 7;\n}\n"
	done
	script+="function run() {\n while (true) {\n" # the call of fN is line 44 + N
	for n in 0 1 2 3 4 5 6 7 8 9; do
		script+="  f$n();\n"
	done
	printf "%b" "$script }\n}\nrun();\n" >"$LIVE/php/calls.php"
	start calls php8.2 -d opcache.enable_cli=1 -d opcache.jit=0 -d opcache.optimization_level=0 \
		-d opcache.file_update_protection=0 "$LIVE/php/calls.php"
	local seen=()
	for ((n = 0; n < 60; n++)); do
		json=$("$REQTRAP" stacks "$STARTED" --json |
			jq -c '[.analysis.thread[0].script.frame[]? | "\(.function) \(.line)"]')
		[[ $json == *'"run '* ]] || continue
		[[ $json =~ ^'["f'([0-9])' '([0-9]+)'","run '([0-9]+)'","{main} '([0-9]+)'"]'$ ]] || {
			[[ $json =~ ^'["run '(4[3-9]|5[0-4])'","{main} 56"]'$ ]] || fail "no such moment: $json"
			continue
		}
		function=${BASH_REMATCH[1]}
		is "${BASH_REMATCH[3]}" $((44 + function)) "the line that calls f$function ($json)"
		between "${BASH_REMATCH[2]}" $((3 + function * 4)) $((5 + function * 4)) "line of f$function ($json)"
		is "${BASH_REMATCH[4]}" 56 "line of {main}"
		seen[function]=1
	done
	[[ ${#seen[@]} -ge 3 ]] || fail "only ${#seen[@]} of the functions were ever seen: ${!seen[*]} ($json)"
	end_process "$STARTED"
}

slow_with_secrets() { # PHP-FILE: under way in php-fpm; its worker in $WORKER
	rm -f "$LIVE/said/"*
	curl -s -H 'Authorization: Bearer s3cret-a' -H 'Cookie: sid=s3cret-b' -H 'X-Request-Id: r-77' \
		-H 'X-Api-Key: s3cret-c' "http://127.0.0.1:$NGINX_PORT/unix/$1?pid=$LIVE/said/pid&token=s3cret-d" -o /dev/null 3>&- &
	CURL=$!
	wait_for 20 test -s "$LIVE/said/pid" || fail "the script does not run"
	WORKER=$(cat "$LIVE/said/pid")
	wait_for 20 sleeps "$WORKER" || fail "it does not wait"
}

variable() { # NAME: of $JSON
	jq -r --arg name "$1" '.analysis.variable[]? | select(.name == $name) | .value' <<<"$JSON"
}

@test "php: the request as PHP sees it, its secrets masked, and nothing of it when it is over" {
	cat >"$LIVE/php/request.php" <<-'PHP'
		<?php
		file_put_contents($_GET['pid'], getmypid());
		usleep(3000000);
	PHP
	slow_with_secrets request.php
	JSON=$("$REQTRAP" stacks "$WORKER" --json)
	is "$(variable REQUEST_METHOD)" GET method
	is "$(variable REQUEST_URI)" "/unix/request.php?pid=***&token=***" URI
	is "$(variable SCRIPT_FILENAME)" "$LIVE/php/request.php" script
	is "$(variable HTTP_X_REQUEST_ID)" r-77 "id"
	is "$(variable REMOTE_ADDR)" 127.0.0.1 client
	is "$(variable HTTP_AUTHORIZATION)$(variable HTTP_COOKIE)$(variable HTTP_X_API_KEY)" "*********" "secrets"
	lacks "$JSON" s3cret "all that is told"
	between "$(variable REQUEST_TIME_FLOAT)" $(($(date +%s) - 60)) $(($(date +%s) + 1)) "when it began"
	wait "$CURL"
	idle() { [[ $(cut -d' ' -f1 "/proc/$WORKER/syscall") != 230 ]]; }
	wait_for 20 idle
	JSON=$("$REQTRAP" stacks "$WORKER" --json)
	is "$(jq '.analysis.variable // [] | length' <<<"$JSON")" 0 "variables of an idle worker"
}

@test "php: a script that goes on after its answer is told" {
	cat >"$LIVE/php/after.php" <<-'PHP'
		<?php
		file_put_contents($_GET['pid'], getmypid());
		echo 'done';
		fastcgi_finish_request();
		usleep(3000000);
	PHP
	slow_with_secrets after.php
	JSON=$("$REQTRAP" stacks "$WORKER" --json)
	has "$(jq -r '.analysis.note[]?' <<<"$JSON")" "PHP has answered this request, its script goes on" note
	wait "$CURL"
}

@test "php: the page of a trapped request has its variables and, asked for, arguments" {
	cat >"$LIVE/php/shop.php" <<-'PHP'
		<?php
		class Item { }
		function price($id, $name, $more, $item, &$by_reference, $none, $extra = 1.5) {
		    file_put_contents($_GET['pid'], getmypid());
		    usleep(1000000);
		}
		$n = 7;
		price(-12, "blue \"shoe\"", [1, 2, 3], new Item, $n, null, true, 'behind', 'all');
	PHP
	watch_start auto --time-taken 300ms --arguments "$NGINX" "$FPM"
	slow_with_secrets shop.php
	wait_events 1 '.event == "ended"'
	incident_of 0
	watch_stop
	local text
	text=$(cat "$INCIDENT/report.txt")
	has "$text" "REQUEST AS PHP SEES IT" page
	has "$text" "HTTP_X_REQUEST_ID = r-77" page
	has "$text" "PHP works on the request that was trapped" page
	has "$text" "usleep(1000000)" page
	is "$(fact '.analysis.thread[0].script.frame[1].arguments')" \
		'-12, "blue "shoe"", array(3), Item, 7, null, true, ... 2 more' "arguments"
	lacks "$(jq -c .analysis.variable "$INCIDENT/incident.json")" s3cret "variables"
	slow_with_secrets shop.php
	JSON=$("$REQTRAP" stacks "$WORKER" --json)
	is "$(jq '[.analysis.thread[].script.frame[]? | select(.arguments)] | length' <<<"$JSON")" 0 "arguments, not asked for"
	has "$("$REQTRAP" stacks --arguments "$WORKER")" 'price(-12, "blue' "asked for"
	wait "$CURL"
}
