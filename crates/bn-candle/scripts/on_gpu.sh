#!/usr/bin/env bash
# The layer on a GPU, in one call: beside the CPU, beside candle_nn's layer, and a table of times last.
#
#   on_gpu.sh pack [DIR]        on a machine with Rust, python3 and cc: builds the program into DIR (.dev/candle)
#   on_gpu.sh [DIR] [FILTER]    on a machine with a GPU: runs it
#
# candle links its libraries, so the machine with the GPU has to have libcuda.so.1 (of the driver),
# libcudart.so.13, libcublas.so.13, libcublasLt.so.13, libcurand.so.10 and libnvrtc.so.13: of a toolkit, or of the
# wheels that PyTorch for CUDA 13 installs, which are looked for beside the python3 that is found. Exit status 77
# where they cannot be loaded, 1 where a check failed.
set -uo pipefail
cd "$(dirname "$0")/../../.."

pack=false
[ "${1:-}" = pack ] && { pack=true; shift; }
dir=${1:-.dev/candle}

if $pack; then
  environment=$(python3 crates/bn-candle/scripts/toolkit.py) || exit
  eval "$environment"
  test=(--locked --release -p bn-candle --features cuda --test cuda)
  program=$(cargo test "${test[@]}" --no-run --message-format=json-render-diagnostics |
    grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4)
  [ -n "$program" ] || exit 1
  mkdir -p "$dir"
  strip -o "$dir/cuda" "$program" && ls -l "$dir/cuda"
  exit
fi

wheels=$(python3 -c 'import nvidia; print(*nvidia.__path__, sep="\n")' 2>/dev/null | while read -r path; do
  find "$path" -maxdepth 3 -name lib -type d
done | paste -sd:)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$wheels
missing=$(ldd "$dir/cuda" | grep 'not found')
[ -z "$missing" ] || { printf 'left out: libraries that candle links are not there\n%s\n' "$missing"; exit 77; }
BN_REQUIRE=cuda exec "$dir/cuda" "${@:2}"
