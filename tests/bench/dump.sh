#!/bin/bash
# SPDX-License-Identifier: MIT
# A full dump against the target's own fork(), against gcore and Debian's procdump: the
# pause, the wall time, the disk, the memory. Usage: dump.sh [OPTIONS] [MIB...]; '-h'
# lists them. 'dump.sh -n 3 256 1024' takes two minutes, everything half an hour.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
reqtrap=$(readlink -f "${REQTRAP:-$root/build/reqtrap}")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/reqtrap-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o "$work/bench" "$root/tests/bench/dump.c" -lpthread
mkdir "$work/cores"
"$work/bench" -r "$reqtrap" -d "$work/cores" "$@"
