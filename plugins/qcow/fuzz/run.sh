#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: run.sh SEEDS-PROGRAM TARGET [SCRIPT-BYTES]: fuzzes for VBD_FUZZ_SECONDS (default 20) from the seed corpus.
set -eu
# Absolute: the fuzzer runs in a directory of its own, for it writes what it finds there.
seeds=$(realpath "$1")
target=$(realpath "$2")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/seeds" "$dir/found"
"$seeds" "$dir/seeds" ${3:+"$3"} >/dev/null
cd "$dir"
"$target" -max_total_time="${VBD_FUZZ_SECONDS:-20}" -timeout=30 -rss_limit_mb=1024 -max_len=200000 -print_final_stats=1 \
  "$dir/found" "$dir/seeds" 2>"$dir/log" || { tail -n 40 "$dir/log" >&2; exit 1; }
grep -E 'number_of_executed_units|peak_rss' "$dir/log"
