#!/bin/bash
# SPDX-License-Identifier: MIT
# The pause of a full dump against the target's own fork() and against gcore, for
# 256 MiB and 1 GiB, in one run. Usage: pause.sh [REQTRAP] [MIB...]
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
reqtrap=$(readlink -f "${1:-$root/build/reqtrap}")
shift || true
[ $# -gt 0 ] || set -- 256 1024
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cflags="-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra"
# shellcheck disable=SC2086 # a list of words
gcc $cflags -o "$work/d_server" "$root/tests/victims/d_server.c" -lpthread
# shellcheck disable=SC2086
gcc $cflags -o "$work/pause" "$root/tests/bench/pause.c"
"$work/pause" "$reqtrap" "$work/d_server" "$@"
