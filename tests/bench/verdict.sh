#!/bin/bash
# SPDX-License-Identifier: MIT
# The table of the verdicts: the corpus of tests/verdict, with every sentence.
# Usage: verdict.sh [NAME...]
exec "$(dirname "$(readlink -f "$0")")/../verdict/run" -v "$@"
