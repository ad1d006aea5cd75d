#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests of the default run: linters, layer check, C++ suites, a sample of compiled kernels, Python suites.
#   tools/test.sh           the default run
#   tools/test.sh --full    also the slow tests, and every kernel of the corpus
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/python.sh
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
jobs="$(nproc)"
((jobs > 8)) && jobs=8 # each Python worker takes a gigabyte
full=""
[ "${1:-}" = "--full" ] && full=1

echo "== layers, style, formatters"
python3 tools/check_layers.py
python3 tools/check_style.py
git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run -Werror
ruff check py tests tools examples benchmarks setup.py
ruff format --check py tests tools examples benchmarks setup.py
mypy

echo "== C++"
cmake --preset release -DTUYERE_BUILD_TESTS=ON >/dev/null
cmake --build build/release
ctest --test-dir build/release --output-on-failure --parallel "$jobs"

echo "== CUDA kernels, compiled for sm_80, sm_90a and sm_100a"
cmake --build build/release --target tuyere-bench
if python3 -c 'import importlib.util as u; raise SystemExit(not (u.find_spec("nvidia") and u.find_spec("nvidia.cu13")))'; then
  library="$(python3 -c 'import importlib.util as u; print(list(u.find_spec("nvidia.cu13").submodule_search_locations)[0] + "/lib")')"
  TUYERE_LIBRARY_PATH="$library:${TUYERE_LIBRARY_PATH:-}" python3 tools/kernel_corpus.py $([ -n "$full" ] || echo --sample)
else
  echo "skipped: NVRTC is not among the installed wheels"
fi

echo "== Python"
python3 -m pytest tests -n "$jobs" --dist worksteal ${full:+-m ""}
