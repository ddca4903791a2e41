#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: run.sh FUZZER SEEDS [ARGUMENT]: fuzzes for VBD_FUZZ_SECONDS (default 20). SEEDS is a directory of inputs, beside which
# SEEDS.dict may lie (words of the language), or a program that writes them into the directory it is given
# (ARGUMENT is a further one for it).
# Set VBD_FUZZ_KEEP to a directory to keep what was found, and to begin with what was found before.
set -eu
# Absolute: the fuzzer runs in a directory of its own, for it writes what it finds there.
fuzzer=$(realpath "$1")
seeds=$(realpath "$2")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
found=$dir/found
[ -z "${VBD_FUZZ_KEEP:-}" ] || found=$(realpath -m "$VBD_FUZZ_KEEP")/$(basename "$fuzzer")
mkdir -p "$dir/seeds" "$found"
options="-max_len=200000"
if [ -d "$seeds" ]; then
  [ ! -f "$seeds.dict" ] || options="-dict=$seeds.dict"
  options="$options -max_len=20000"
  cp "$seeds"/* "$dir/seeds/"
else
  "$seeds" "$dir/seeds" ${3:+"$3"} >/dev/null
fi
cd "$dir"
"$fuzzer" -max_total_time="${VBD_FUZZ_SECONDS:-20}" -timeout=30 -rss_limit_mb=1024 $options -print_final_stats=1 \
  "$found" "$dir/seeds" 2>"$dir/log" || {
  tail -n 40 "$dir/log" >&2
  # The input itself, so that a log is enough to see it again: base64 -d | FUZZER /dev/stdin
  for input in crash-* timeout-* oom-* leak-*; do
    [ ! -f "$input" ] || { echo "$input:"; head -c 20000 "$input" | base64; } >&2
  done
  exit 1
}
grep -E 'number_of_executed_units|peak_rss' "$dir/log"
