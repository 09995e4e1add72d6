#!/usr/bin/env bash
# Everything about bn-cuda that needs a GPU, in one call: the conformance suite, most of it again under
# compute-sanitizer and recorded layers of Caffe where they are there, the benchmarks beside PyTorch where there is
# one, and a short table last.
#
#   on_gpu.sh pack [DIR]        on a machine with Rust: builds the programs into DIR (.dev/cuda)
#   on_gpu.sh [DIR] [quick]     on a machine with a GPU: runs those in DIR, or builds them first
#
# A machine with a GPU needs neither Rust nor a registry: carry the checkout with DIR. Recorded layers are taken
# from DIR/oracle, or from ../shared/caffe/oracle. Logs and measurements go to $OUT, or to DIR/out. Exit status 1
# where a check failed; what was left out is said in the summary.
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
  cargo "$@" --message-format=json-render-diagnostics |
    grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4
}

build() {
  mkdir -p "$dir"
  strip -o "$dir/conformance" \
    "$(executable test --locked --release -p bn-cuda --test conformance --no-run)" || exit 1
  strip -o "$dir/device" "$(executable bench --locked -p bn-bench --features cuda --bench device --no-run)" || exit 1
  strip -o "$dir/replay" \
    "$(executable build --locked --release -p bn-caffe --example replay --features bn/cuda)" || exit 1
}

if $pack; then build; ls -l "$dir"; exit; fi
[ -x "$dir/conformance" ] && [ -x "$dir/device" ] && [ -x "$dir/replay" ] || build
out=${OUT:-$dir/out}
mkdir -p "$out"
summary=()
failed=0

# Runs a step with its output in a log, and says how it ended: 77 is left out.
step() {
  local name=$1 log="$out/$1.log" status begin=$SECONDS
  shift
  "$@" >"$log" 2>&1
  status=$?
  case $status in
    0) summary+=("passed    $name, $((SECONDS - begin)) s") ;;
    77) summary+=("left out  $name: $(tail -1 "$log")") ;;
    *) summary+=("FAILED    $name ($status): see $log"); failed=1; tail -20 "$log" ;;
  esac
  return $status
}

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1)
# The groups of trials that reach every kernel and every edge, side by side (what an instrumented kernel waits for is
# mostly its own process); those by way of copies use the same ones.
sanitize() {
  [ -n "$sanitizer" ] || { echo "there is no compute-sanitizer"; return 77; }
  local tool=$1 filter status=0 processes=()
  for filter in exact/ operation/ shape/ hostile/ variant/{unaligned,without-clusters}/{f32,f64,f16,bf16}; do
    BN_REQUIRE=cuda timeout 900 "$sanitizer" --tool "$tool" --error-exitcode 3 \
      "$dir/conformance" --test-threads 1 --skip staged "$filter" >"$out/$tool-${filter//\//-}.log" 2>&1 &
    processes+=($!)
  done
  for process in "${processes[@]}"; do wait "$process" || status=$?; done
  grep -E '^test result|FAILED|SUMMARY' "$out/$tool"-*.log
  return $status
}

oracle=$dir/oracle
[ -d "$oracle" ] || oracle=../shared/caffe/oracle
caffe() {
  [ -d "$oracle" ] || { echo "there are no recorded layers"; return 77; }
  "$dir/replay" oracle "$oracle" || return
  grep -q '^fast cuda' "$out/caffe.log" || { echo "no case ran on cuda"; return 1; }
}

measure() {
  "$dir/device" $quick >"$out/bn.jsonl"
}

beside() {
  command -v python3 >/dev/null || { echo "there is no python3"; return 77; }
  python3 "$scripts/torch_bench.py" "$out/bn.jsonl" >"$out/torch.jsonl"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
step conformance env BN_REQUIRE=cuda "$dir/conformance" --test-threads 8
step caffe caffe
step benchmarks measure
step pytorch beside
step memcheck sanitize memcheck
step racecheck sanitize racecheck

printf '\n'
printf '%s\n' "${summary[@]}"
grep -h '^test result' "$out/conformance.log"
table=$out/bn.jsonl
[ -s "$out/torch.jsonl" ] && table=$out/torch.jsonl
[ -s "$table" ] && command -v python3 >/dev/null && python3 "$scripts/gpu_table.py" "$table"
exit $failed
