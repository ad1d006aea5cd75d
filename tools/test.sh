#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests of the default run: linters, layer check, C++ suites, Python suites. tools/test.sh --full adds the slow ones.
set -euo pipefail
cd "$(dirname "$0")/.."
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1

echo "== layers, style, formatters"
python3 tools/check_layers.py
python3 tools/check_style.py
git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run -Werror
ruff check py tests tools examples benchmarks setup.py
ruff format --check py tests tools examples benchmarks setup.py

echo "== C++"
cmake --preset release -DTUYERE_BUILD_BINDINGS=OFF -DTUYERE_BUILD_TORCH_OP=OFF >/dev/null
cmake --build build/release
ctest --test-dir build/release --output-on-failure

echo "== Python"
if [ "${1:-}" = "--full" ]; then
  python3 -m pytest tests -m ""
else
  python3 -m pytest tests
fi
