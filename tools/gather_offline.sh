#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gathers into offline/ what a GPU machine without network needs: the C++ libraries (no Python or torch version in them), the wheels of the build tools, and
# an install script that compiles only py/bindings, for the Python that is there. Run tools/setup.sh first.
#   tools/gather_offline.sh [--onednn] [build folder, default build/release]      --onednn: also the library of the CPU tactics (39 MB)
# Copy the checkout with its offline/ folder; the other machine needs g++, Python headers, pip and torch >= 2.11.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/python.sh
onednn=""
if [ "${1:-}" = "--onednn" ]; then
  onednn=1
  shift
fi
build="${1:-build/release}"
rm -rf offline
mkdir -p offline/lib offline/wheels
for name in libtuyere_runtime.so libtuyere_kernels_cpu.so libtuyere_builder.so libtuyere_torch.so libhwy.so.1; do
  cp "$build/lib/$name" offline/lib/
  strip --strip-unneeded "offline/lib/$name"
done
if LD_LIBRARY_PATH="$PWD/offline/lib" ldd -r offline/lib/libtuyere_*.so 2>&1 | grep "undefined symbol: _ZN.*6tuyere"; then
  echo "these libraries are not of one state: build all of them again" >&2
  exit 1
fi
python3 -m pip download -q --no-deps --only-binary :all: -d offline/wheels "pybind11>=2.12" "setuptools>=68,<82" wheel "cmake>=3.24,<5" ninja
if [ -n "$onednn" ]; then
  draft="$(mktemp -d)"
  python3 -m pip download -q --no-deps -d "$draft" onednn-cpu-gomp==2023.2.0
  python3 -m zipfile -e "$draft"/*.whl "$draft"
  cp -L "$(find "$draft" -name libdnnl.so.3)" offline/lib/
  rm -r "$draft"
fi
cp tools/install_offline.sh offline/install.sh
du -sh offline
