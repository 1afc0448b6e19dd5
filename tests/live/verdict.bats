#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The corpus of slow requests with a known cause: what the page says of them.

@test "the verdict names cause, object, holder and place; never another cause for certain" {
	((EUID == 0)) || skip "needs root"
	command -v jq >/dev/null || skip "jq is not installed"
	local root
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	"$root/tests/verdict/run" -p "${REQTRAP:-$root/build/reqtrap}"
}
