#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles and links common, kernels and runtime for aarch64, without optimization: portability is checked, nothing is run.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/python.sh
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1

echo "== aarch64"
if ! command -v aarch64-linux-gnu-g++ >/dev/null; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  if ! $sudo apt-get install -y -qq --no-install-recommends g++-aarch64-linux-gnu libc6-dev-arm64-cross; then
    echo "skipped: g++-aarch64-linux-gnu cannot be installed here"
    exit 0
  fi
fi
cmake --preset aarch64 >/dev/null
cmake --build build/aarch64 --target tuyere_runtime tuyere_kernels_cpu
for name in runtime kernels_cpu; do
  aarch64-linux-gnu-objdump -f "build/aarch64/lib/libtuyere_$name.so" | grep -q aarch64
  echo "libtuyere_$name.so: $(stat -c %s "build/aarch64/lib/libtuyere_$name.so") bytes for aarch64"
done
