#!/bin/bash
# SPDX-License-Identifier: MIT
# Cores beside gcore's, and what gdb, lldb, elfutils and coredumpctl make of them, with the
# figures of each: the live tests of it, with all debuggers there.
set -euo pipefail
exec bats "$(dirname "$(readlink -f "$0")")/../live/equal.bats"
