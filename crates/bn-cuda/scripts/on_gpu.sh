#!/usr/bin/env bash
# Everything about bn-cuda that needs a GPU, in one call: the conformance suite, compute-sanitizer on a part
# of it where there is one, the benchmarks beside PyTorch where there is one, and a short table last.
#
#   on_gpu.sh pack [DIR]        on a machine with Rust: builds the programs into DIR (.dev/cuda)
#   on_gpu.sh [DIR] [quick]     on a machine with a GPU: runs those in DIR, or builds them first
#
# A machine with a GPU needs neither Rust nor a registry: carry the checkout with DIR. Logs and measurements
# go to $OUT, or to DIR/out. Exit status 1 where a check failed; what was left out is said in the summary.
set -uo pipefail
cd "$(dirname "$0")/../../.."
scripts=crates/bn-cuda/scripts

pack=false
[ "${1:-}" = pack ] && { pack=true; shift; }
dir=.dev/cuda
[ $# -gt 0 ] && [ "$1" != quick ] && { dir=$1; shift; }
quick=${1:-}

# The newest executable of a target, as cargo names it.
executable() {
  cargo "$@" --no-run --message-format=json-render-diagnostics |
    grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4
}

build() {
  mkdir -p "$dir"
  cp "$(executable test --locked --release -p bn-cuda --test conformance)" "$dir/conformance" || exit 1
  cp "$(executable bench --locked -p bn-bench --features cuda --bench device)" "$dir/device" || exit 1
}

if $pack; then build; ls -l "$dir"; exit; fi
[ -x "$dir/conformance" ] && [ -x "$dir/device" ] || build
out=${OUT:-$dir/out}
mkdir -p "$out"
summary=()
failed=0

# Runs a step with its output in a log, and says how it ended: 77 is left out.
step() {
  local name=$1 log="$out/$1.log" status
  shift
  "$@" >"$log" 2>&1
  status=$?
  case $status in
    0) summary+=("passed    $name") ;;
    77) summary+=("left out  $name: $(tail -1 "$log")") ;;
    *) summary+=("FAILED    $name ($status): see $log"); failed=1; tail -20 "$log" ;;
  esac
  return $status
}

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1)
sanitize() {
  [ -n "$sanitizer" ] || { echo "there is no compute-sanitizer"; return 77; }
  # One type of two widths, and the trials that use every kernel: it runs a hundred times slower.
  local filter
  for filter in operation/f32 operation/bf16; do
    BN_REQUIRE=cuda "$sanitizer" --tool "$1" --error-exitcode 3 "$dir/conformance" --test-threads 1 "$filter" || return
  done
}

measure() {
  "$dir/device" $quick >"$out/bn.jsonl"
}

beside() {
  command -v python3 >/dev/null || { echo "there is no python3"; return 77; }
  python3 "$scripts/torch_bench.py" "$out/bn.jsonl" >"$out/torch.jsonl"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
step conformance env BN_REQUIRE=cuda "$dir/conformance" --test-threads 4
step memcheck sanitize memcheck
step racecheck sanitize racecheck
step benchmarks measure
step pytorch beside

printf '\n'
printf '%s\n' "${summary[@]}"
grep -h '^test result' "$out/conformance.log"
table=$out/bn.jsonl
[ -s "$out/torch.jsonl" ] && table=$out/torch.jsonl
[ -s "$table" ] && command -v python3 >/dev/null && python3 "$scripts/gpu_table.py" "$table" | tee "$out/table.txt"
exit $failed
