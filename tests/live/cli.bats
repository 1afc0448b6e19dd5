#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What every verb has in common, and the verbs that touch no process: help, check,
# test, doctor, completion. No root is needed.

load helpers

setup() {
	RULES=$BATS_TEST_TMPDIR/rules.conf
	cat >"$RULES" <<-'END'
		rule "slow checkout" { path = "/checkout*"  time-taken = 2s }
		rule "broken" { status = "500-599" }
	END
}

# try EXIT_CODE ARGS...: runs it, apart from its output; sets out and err
try() {
	local expected=$1 code=0

	shift
	"$REQTRAP" "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null || code=$?
	out=$(cat "$BATS_TEST_TMPDIR/out")
	err=$(cat "$BATS_TEST_TMPDIR/err")
	is "$code" "$expected" "exit code of '$*' ($err)"
}

@test "help, of all and of each verb; the same by --help" {
	local verb

	try 0 help
	has "$out" "Usage: reqtrap VERB" "help"
	for verb in watch dump stacks list show report open rm check test doctor demo completion help; do
		has "$out" "  $verb " "help"
	done
	try 0 --help
	has "$out" "Usage: reqtrap VERB" "--help"
	try 0 help watch
	has "$out" "Usage: reqtrap watch TARGET..." "help watch"
	has "$out" "--time-taken D" "help watch"
	has "$out" "Examples" "help watch"
	is "$out" "$("$REQTRAP" watch --help)" "watch --help"
	try 0 --version
	[[ $out =~ ^reqtrap\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "no verb, no such verb, no such option: one line, exit code 2" {
	try 2
	has "$out" "Usage: reqtrap VERB" "no verb"
	try 2 wacth
	is "$err" "reqtrap: no such verb 'wacth' (did you mean 'watch'?)" "stderr"
	try 2 $'evil\x1b[2J'
	is "$err" "reqtrap: no such verb 'evil\\x1b[2J'; 'reqtrap help' lists them" "stderr"
	try 2 --frob
	has "$err" "no such option '--frob' before a verb" "stderr"
	try 2 help wacth
	has "$err" "did you mean 'watch'?" "stderr"
	try 2 watch --tme-taken 2s 1
	is "$err" "reqtrap: watch: no such option '--tme-taken' (did you mean '--time-taken'?); see 'reqtrap help watch'" "stderr"
	try 2 watch 1 --time-taken 2
	has "$err" "'2' is not a duration: it needs a unit" "stderr"
	try 2 doctor too many
	one_line "$err" "stderr"
}

@test "check: the effective rules parse again, every mistake has its line" {
	try 0 check "$RULES"
	is "$err" "" "stderr"
	printf '%s\n' "$out" >"$BATS_TEST_TMPDIR/again.conf"
	local first=$out
	try 0 check "$BATS_TEST_TMPDIR/again.conf"
	is "$out" "$first" "what it prints the second time"
	printf 'rule "a" { tme-taken = 2s }\nrule "b" { status = 5xx }\n' >"$RULES"
	try 2 check "$RULES"
	is "$out" "" "stdout"
	has "$err" "$RULES:1: no such option 'tme-taken' (did you mean 'time-taken'?)" "stderr"
	has "$err" "$RULES:2: status: '5xx'" "stderr"
	try 2 check --json "$RULES"
	is "$(jq -r '[.ok, (.problems | length), .problems[0].line, .problems[0].warning] | @csv' <<<"$out")" 'false,2,1,false' "JSON"
	try 2 check "$BATS_TEST_TMPDIR/none.conf"
	is "$err" "reqtrap: cannot read '$BATS_TEST_TMPDIR/none.conf': No such file or directory" "stderr"
	try 2 check "$BATS_TEST_TMPDIR"
	one_line "$err" "stderr"
	try 2 check
	one_line "$err" "stderr"
}

@test "test: which rule would fire, and why not the others" {
	try 0 test "$RULES" GET '/checkout/7?x=1' --time-taken 3s
	has "$out" "fires  slow checkout" "stdout"
	has "$out" "3s of the server's time reached the limit of 2s" "stdout"
	has "$out" "no     broken" "stdout"
	has "$out" "no status was sent yet" "stdout"
	try 0 test "$RULES" GET /checkout --time-taken 3s --status 500
	has "$out" "would  broken" "stdout"
	has "$out" "another one fires before it" "stdout"
	try 1 test "$RULES" GET /cart --status 200
	has "$out" "path '/cart' does not match '/checkout*'" "stdout"
	has "$out" "no rule fires" "stdout"
	try 0 test "$RULES" GET /cart --status 503 --json
	is "$(jq -c '[.[] | [.rule, .matches, .fires, .reason]]' <<<"$out")" \
		'[["slow checkout",false,false,null],["broken",true,true,"STATUS_CODE"]]' "JSON"
	try 2 test "$RULES" GET
	try 2 test "$RULES" GET / --status 500-599
}

@test "doctor: each 'no' has its fix" {
	local code=0

	out=$("$REQTRAP" doctor --json) || code=$?
	is "$(jq -r 'if .ok then 0 else 3 end' <<<"$out")" "$code" "exit code"
	is "$(jq -r '.kernel' <<<"$out")" "$(uname -r)" "kernel"
	is "$(jq -r '[.checks[] | select(.ok | not) | select(.fix == null)] | length' <<<"$out")" 0 "a 'no' without a fix"
	is "$(jq -r '.checks[] | select(.name == "btf") | .ok' <<<"$out")" \
		"$([[ -r /sys/kernel/btf/vmlinux ]] && echo true || echo false)" "btf"
}

@test "doctor without rights names the capabilities and how to grant them" {
	[[ $(id -u) -eq 0 ]] || skip "needs root to give it up"
	local code=0 copy=$BATS_TEST_TMPDIR/reqtrap

	cp "$REQTRAP" "$copy"
	chmod 755 "$BATS_TEST_TMPDIR" "$copy"
	out=$(cd / && REQTRAP_STORE=/tmp setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all "$copy" doctor) || code=$?
	is "$code" 3 "exit code"
	has "$out" "NO    CAP_BPF" "doctor"
	has "$out" "NO    CAP_PERFMON" "doctor"
	has "$out" "setcap cap_bpf,cap_perfmon,cap_sys_ptrace" "doctor"
	has "$out" "reqtrap cannot watch here" "doctor"
}

@test "completion offers verbs, options and choices" {
	try 0 completion bash
	# shellcheck disable=SC1090 # made here
	. <(printf '%s\n' "$out")
	COMP_WORDS=(reqtrap wa) COMP_CWORD=1
	_reqtrap || : # compgen finds nothing for some of it
	is "${COMPREPLY[*]}" "watch" "verbs"
	COMP_WORDS=(reqtrap watch --time) COMP_CWORD=2
	_reqtrap || :
	is "${COMPREPLY[*]}" "--time-taken --time-counts" "options"
	COMP_WORDS=(reqtrap watch --hooks sy) COMP_CWORD=3
	_reqtrap || :
	is "${COMPREPLY[*]}" "syscalls" "choices"
	try 2 completion tcsh
	one_line "$err" "stderr"
}

@test "output that cannot be written is said; a reader that goes away is not our end" {
	local code=0

	"$REQTRAP" help >/dev/full 2>"$BATS_TEST_TMPDIR/err" || code=$?
	is "$code" 3 "exit code on a full disk"
	one_line "$(cat "$BATS_TEST_TMPDIR/err")" "stderr"
	"$REQTRAP" help --man 2>"$BATS_TEST_TMPDIR/err" | head -n 1 >/dev/null
	[[ ${PIPESTATUS[0]} -lt 128 ]]
}
