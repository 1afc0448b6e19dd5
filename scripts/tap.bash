# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Programs that print TAP, and what their results add up to. What fails in a file of bats
# runs once more when all else is done, alone: there a process is looked at while the
# machine does other things, and a busy one can make a right test late. What passes then is
# no failure, but 'unsteady', by name and number: each is a bug of a test or of ours that is
# still to be found. Rejected: bats' own BATS_TEST_RETRIES, which hides the first failure.

: "${TAP_LOGS:=build/logs}" "${TAP_LIMIT:=1800}" # seconds, for one program
TAP_AGAIN_MOST=20 # more failures are no accident
export TAP_LOGS TAP_LIMIT

passed=0 failed=0 skipped=0
unsteady=()
again_name=() again_file=() again_test=() # '' the whole file

totals() {
	local name

	for name in "${unsteady[@]}"; do
		echo "unsteady: $name"
	done
	[ ${#unsteady[@]} = 0 ] || echo "${#unsteady[@]} unsteady: failed, and passed when run again alone"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}

tap_log() { # NAME
	echo "$TAP_LOGS/${1//[^A-Za-z0-9._-]/-}.log"
}

# Runs it; what it prints is in its log. Several at a time are possible.
tap_run() { # NAME COMMAND...
	local log code=0 start=$SECONDS

	mkdir -p "$TAP_LOGS"
	log=$(tap_log "$1")
	timeout -k 10 "$TAP_LIMIT" "${@:2}" >"$log" 2>&1 </dev/null || code=$?
	echo "$code $((SECONDS - start))" >"$log.end"
}
export -f tap_run tap_log

# What its log says: sets log, ok, bad, skip; lost: it died, or printed fewer results than
# its plan.
tap_read() { # NAME
	local plan

	log=$(tap_log "$1")
	read -r code seconds <"$log.end"
	skip=$(grep -ciE '^(not )?ok .*# skip' "$log" || true)
	bad=$(grep -iE '^not ok' "$log" | grep -cviE '# skip' || true)
	ok=$(grep -iE '^ok' "$log" | grep -cviE '# skip' || true)
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
	lost=$((plan > ok + bad + skip ? plan - ok - bad - skip : 0))
	if [ $((bad + lost)) = 0 ] && { [ "$code" != 0 ] || [ $((ok + skip)) = 0 ]; }; then
		lost=1
	fi
}

# Adds up what it said. What fails is printed whole; of FILE it is run again by tap_again.
tap_add() { # NAME [FILE]
	local log code seconds ok bad skip lost test

	tap_read "$1"
	if [ $((bad + lost)) = 0 ]; then
		echo "ok     $1: $ok passed, $skip skipped, $seconds s"
		grep -iE '^(not )?ok .*# skip' "$log" | sed 's/^/       /' || true
	else
		echo "FAILED $1: $ok passed, $((bad + lost)) failed, $skip skipped, $seconds s (exit code $code)"
		sed 's/^/    /' "$log"
	fi
	if [ -n "${2:-}" ] && { [ "$lost" -gt 0 ] || grep -qE '^not ok [0-9]+ (setup|teardown)_file failed' "$log"; }; then
		again_name+=("$1") again_file+=("$2") again_test+=("")
		return
	fi
	passed=$((passed + ok)) skipped=$((skipped + skip))
	if [ -z "${2:-}" ]; then
		failed=$((failed + bad + lost))
		return
	fi
	while IFS= read -r test; do
		again_name+=("$1") again_file+=("$2") again_test+=("$test")
	done < <(grep -iE '^not ok' "$log" | grep -viE '# skip' | sed -E 's/^not ok [0-9]+ //')
}

tap() { # NAME COMMAND...
	tap_run "$@"
	tap_add "$1"
}

tap_bats() { # NAME FILE
	tap_run "$1" bats --formatter tap "$2"
	tap_add "$1" "$2"
}

# Alone: nothing else may run. Before totals.
tap_again() {
	local log code seconds ok bad skip lost i name what filter

	if [ ${#again_name[@]} -gt "$TAP_AGAIN_MOST" ]; then
		echo "${#again_name[@]} failures: none is run again"
		failed=$((failed + ${#again_name[@]}))
		return
	fi
	for i in "${!again_name[@]}"; do
		name="${again_name[i]}-again-$i"
		what="${again_name[i]}${again_test[i]:+: ${again_test[i]}}"
		# what a regular expression, or bats, could take for something else matches anything
		filter=${again_test[i]:+"^$(sed -E 's/[^A-Za-z0-9 ]+/.+/g' <<<"${again_test[i]}")\$"}
		tap_run "$name" bats --formatter tap ${filter:+-f "$filter"} "${again_file[i]}"
		tap_read "$name"
		passed=$((passed + ok)) skipped=$((skipped + skip))
		if [ $((bad + lost)) = 0 ] && [ "$ok" -gt 0 ]; then
			unsteady+=("$what")
			echo "unsteady $what: passed when run again, $seconds s"
		else
			failed=$((failed + (bad + lost ? bad + lost : 1)))
			echo "FAILED $what: again, $seconds s (exit code $code)"
			sed 's/^/    /' "$log"
		fi
	done
}
