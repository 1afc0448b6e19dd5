#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The runner: what is counted, what is run again, and that nothing that fails is lost.

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	cd "$BATS_TEST_TMPDIR"
	suite once '"passes" { true; }' \
		$'"the 1st time: \'--x\', \\"a(b)*\\" [c] fails" { if [ ! -e second ]; then : >second; false; fi; }' \
		'"skips" { skip "for a reason"; }'
	suite never '"never passes" { false; }' '"passes" { true; }'
}

suite() { # NAME TEST...: a file of them, which bats must not take for tests of this one
	printf '@test %s\n' "${@:2}" >"$1.bats"
}

# As './run test' does, apart from the bats around it.
runner() { # COMMANDS
	# shellcheck disable=SC2016
	run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c 'set -euo pipefail; . "$0/scripts/tap.bash"; eval "$1"; totals' "$ROOT" "$1"
	echo "$output"
}

@test "what fails beside others and passes alone is unsteady, by name, and no failure" {
	runner 'tap_bats once once.bats; tap_again'
	[ "$status" = 0 ]
	[[ "$output" == *"FAILED once: 1 passed, 1 failed, 1 skipped"* ]]
	[[ "$output" == *"unsteady: once: the 1st time: '--x', \"a(b)*\" [c] fails"* ]]
	[ "${lines[-2]}" = "1 unsteady: failed, and passed when run again alone" ]
	[ "${lines[-1]}" = "2 passed, 0 failed, 1 skipped" ]
}

@test "what fails again has failed, once" {
	runner 'tap_bats never never.bats; tap_again'
	[ "$status" = 1 ]
	[[ "$output" != *unsteady* ]]
	[ "${lines[-1]}" = "1 passed, 1 failed, 0 skipped" ]
}

@test "a file that dies, or does not begin, is run again as a whole" {
	# shellcheck disable=SC2016
	suite dies '"a" { true; }' '"b" { if [ ! -e b ]; then : >b; kill -KILL "$PPID" $$; fi; }'
	runner 'tap_bats dies dies.bats; tap_again'
	[ "$status" = 0 ]
	[ "${lines[-3]}" = "unsteady: dies" ]
	[ "${lines[-1]}" = "2 passed, 0 failed, 0 skipped" ]
	suite begins '"a" { true; }' '"b" { true; }'
	echo 'setup_file() { false; }' >>begins.bats
	runner 'tap_bats begins begins.bats; tap_again'
	[ "$status" = 1 ]
	[[ "${lines[-1]}" == "0 passed, "[12]" failed, 0 skipped" ]]
	suite ends '"a" { true; }'
	echo 'teardown_file() { false; }' >>ends.bats
	runner 'tap_bats ends ends.bats; tap_again'
	[ "$status" = 1 ]
}

@test "programs: a crash, a plan that is not kept, silence; none is run again" {
	runner 'tap good printf "1..2\nok 1 - a\nok 2 # SKIP b\n"; tap_again'
	[ "${lines[-1]}" = "1 passed, 0 failed, 1 skipped" ]
	runner 'tap crash bash -c "echo 1..1; echo ok 1; kill -SEGV \$\$"; tap_again'
	[ "${lines[-1]}" = "1 passed, 1 failed, 0 skipped" ]
	runner 'tap short printf "1..3\nok 1 - a\nnot ok 2 - b\n"; tap_again'
	[ "${lines[-1]}" = "1 passed, 2 failed, 0 skipped" ]
	runner 'tap silent true; tap_again'
	[ "${lines[-1]}" = "0 passed, 1 failed, 0 skipped" ]
	runner 'TAP_LIMIT=1; tap hangs sleep 60; tap_again'
	[ "${lines[-1]}" = "0 passed, 1 failed, 0 skipped" ]
}

@test "many failures are not run again" {
	local i tests=()
	for i in {1..21}; do tests+=("\"n$i\" { false; }"); done
	suite many "${tests[@]}"
	runner 'tap_bats many many.bats; tap_again'
	[ "$status" = 1 ]
	[ "${lines[-1]}" = "0 passed, 21 failed, 0 skipped" ]
	[[ "$output" != *"again, "* ]]
}
