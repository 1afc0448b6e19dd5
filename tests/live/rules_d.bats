#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016
# Two levels of rules: the main file, and site owners' files in rules.d, which are trusted
# with rules and nothing else. Each is taken whole or left out, and told.

load helpers
load serve

setup_file() {
	live_begin
	start_python
}

teardown_file() {
	live_end
}

SITES() {
	mkdir -p "$S/rules.d"
	chmod 755 "$S/rules.d"
}

site() { # NAME TEXT
	printf '%s\n' "$2" >"$S/$1.next"
	chmod "${3:-644}" "$S/$1.next"
	mv "$S/$1.next" "$S/rules.d/$1" # whole
}

check() {
	status=0
	output=$("$REQTRAP" check "$CONF" 2>"$S/err") || status=$?
	errors=$(cat "$S/err")
}

in_force() { # RULE...
	is "$(get /api/rules | jq -r '.rules[].rule' | tr '\n' ' ')" "$* " "rules in force"
}

@test "check: the sites' rules come after the main ones, by their file's name, and without actions" {
	SITES
	printf 'actions-enabled = true\nwatch "web" { process = {"nginx"} }\nrule "main" { time-taken = 2s }\n' >"$CONF"
	site b.conf 'rule "b" { watch = {"web"} status = 500 action = {"/bin/true", "%1%"} }'
	site a.conf 'rule "a" { status = 404 }'
	site notes.txt 'this is none'
	check
	is "$status" 0 "exit code ($errors)"
	is "$(sed -n 's/^rule "\(.*\)" {/\1/p; s/^# from //p' <<<"$output" | tr '\n' ' ')" "main rules.d/a.conf a rules.d/b.conf b " "rules and where they are from"
	lacks "$output" "/bin/true" "the action of a site"
	is "$errors" "rules.d/b.conf:1: warning: the action of this rule never runs: only the main file's rules have any" "warning"
	printf '%s' "$output" >"$S/again.conf"
	rm -r "$S/rules.d"
	is "$("$REQTRAP" check "$S/again.conf" | grep -v '^#')" "$(grep -v '^#' <<<"$output")" "read again"
	is "$(jq -r '.[] | "\(.rule) \(.file)"' <<<"$(SITES; site a.conf 'rule "a" { status = 404 }'; "$REQTRAP" test "$CONF" GET /x --status 404 --json)" | tr '\n' ' ')" \
		"main null a rules.d/a.conf " "test tells the file"
}

@test "check: what a site may not say, or has from somebody else, leaves its file out; the others count" {
	SITES
	printf 'rule "main" { time-taken = 2s }\n' >"$CONF"
	site good.conf 'rule "good" { status = 404 }'
	site top.conf 'store = "/x"
actions-enabled = true
show-values = true
keep { files = 3 }
limits { captures = "9/1h" }
watch "w" { process = {"sh"} }
rule "top" { status = 500 }'
	site twice.conf 'rule "main" { status = 500 }'
	site typo.conf 'rule "typo" { statis = 500 }'
	site watch.conf 'rule "watch" { watch = {"none"} status = 500 }'
	site mode.conf 'rule "mode" { status = 500 }' 666
	site 'a b.conf' 'rule "space" { status = 500 }'
	printf 'rule "nul" { status = 500 }\0' >"$S/rules.d/nul.conf"
	ln -s good.conf "$S/rules.d/link.conf"
	mkfifo "$S/rules.d/pipe.conf"
	mkdir "$S/rules.d/folder.conf"
	head -c 1100000 /dev/zero | tr '\0' '#' >"$S/rules.d/large.conf"
	check
	is "$status" 2 "exit code"
	is "$(sed -n 's/^rule "\(.*\)" {/\1/p' <<<"$output" | tr '\n' ' ')" "main good " "rules"
	is "$(sed -n 's/^rules.d.\(.*\):0: this file is left out/\1/p' <<<"$errors" | tr '\n' ' ')" \
		"a b.conf folder.conf large.conf link.conf mode.conf nul.conf pipe.conf top.conf twice.conf typo.conf watch.conf " "left out"
	local line
	site user.conf 'rule "user" { status = 404 action = {"/bin/true"} action-user = "root" }'
	check
	has "$errors" "rules.d/user.conf:1: 'action-user' is the main file's to say" "a site's user"
	rm "$S/rules.d/user.conf"
	for line in 1:store 2:actions-enabled 3:show-values; do
		has "$errors" "rules.d/top.conf:${line/:/: }: this is the main file's to say" "$line"
	done
	for line in 4:keep 5:limits 6:watch; do
		has "$errors" "rules.d/top.conf:${line%:*}: '${line#*:}' is the main file's to say" "$line"
	done
	has "$errors" "rules.d/twice.conf:1: there is a rule 'main' in another file" "a name that is taken"
	has "$errors" "rules.d/typo.conf:1: no such option 'statis' (did you mean 'status'?)" "a typo"
	has "$errors" "rules.d/watch.conf:1: watch: there is no watch \"none\"" "a watch"
	has "$errors" "rules.d/mode.conf:0: others than its owner may write to it" "the mode"
	has "$errors" "rules.d/link.conf:0: it is a symbolic link" "a link"
	has "$errors" "rules.d/pipe.conf:0: it is no regular file" "a pipe"
	is "$("$REQTRAP" check --json "$CONF" | jq -r '.ok, (.problems[] | select(.file == "rules.d/typo.conf" and .line == 1).text)' | tr '\n' '|')" \
		"false|no such option 'statis' (did you mean 'status'?)|" "as JSON"
}

@test "a main file, or a rules.d, that others may write to is not to be trusted" {
	SITES
	site good.conf 'rule "good" { status = 404 }'
	printf 'rule "main" { time-taken = 2s }\n' >"$CONF"
	chmod 777 "$S/rules.d"
	check
	is "$status" 2 "exit code"
	is "$errors" "rules.d:0: this folder is left out: others may write to it (try 'chmod go-w')" "message"
	lacks "$output" good "rules"
	chmod 755 "$S/rules.d"
	chmod 660 "$CONF"
	check
	is "$status" 3 "exit code"
	one_line "$errors" "message"
	has "$errors" "others may write to it" "message"
	chmod 644 "$CONF"
	if ((EUID == 0)); then
		chown 1 "$CONF"
		check
		is "$status" 0 "exit code of another one's file without actions ($errors)"
		printf 'actions-enabled = true\nrule "main" { time-taken = 2s }\n' >"$CONF"
		check
		is "$status" 3 "exit code of another one's file with actions"
		has "$errors" "not to be trusted with actions: it is user 1's" "message"
		chown 0 "$CONF"
		chown 1 "$S/rules.d/good.conf"
		check
		is "$status" 0 "a site's file is the site owner's ($errors)"
		chown 1 "$S/rules.d"
		check
		has "$errors" "it is neither root's nor ours" "a folder of somebody else's"
		chown 0 "$S/rules.d"
	fi
}

@test "serve reads them by itself; one with a mistake is left out, and costs nobody else's rules" {
	SITES
	rules_file 1h
	serve
	in_force slow
	site shop.conf 'rule "shop" { path = "/slow*" time-taken = 300ms capture = {"trace"} }'
	wait_for 15 reloads 1
	in_force slow shop
	ask '/slow?ms=700'
	wait_for 20 incidents 1
	is "$(get /api/incidents | jq -r '.incidents[0].rule')" shop "the rule that trapped"
	has "$(get /rules)" "rules.d/shop.conf" "the page of rules"
	is "$(get /api/rules | jq -r '.rules[1].file')" rules.d/shop.conf "where it is from"
	site other.conf 'rule "other" { statis = 1 }'
	wait_for 15 reloads 2
	in_force slow shop
	is "$(get /api/rules | jq -r '.refused_files')" 1 "files left out"
	has "$(get /rules)" "Left out of rules.d" "the page of rules"
	has "$(cat "$LOG")" "rules.d/other.conf:1: no such option 'statis'" "the log"
	rm "$S/rules.d/shop.conf"
	wait_for 15 reloads 3
	in_force slow
}
