#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a machine without network, in a checkout with an offline/ folder (tools/gather_offline.sh): installs tuyere from the libraries in it and compiles
# py/bindings for the Python at hand. Nothing outside the checkout is changed.
#   bash offline/install.sh [target folder for the package, default offline/site]
set -euo pipefail
cd "$(dirname "$0")/.."
target="$(realpath -m "${1:-offline/site}")"
pip=(python3 -m pip --disable-pip-version-check install -q --no-index --no-deps --upgrade)
"${pip[@]}" --find-links offline/wheels --target offline/tools offline/wheels/*.whl
export PYTHONPATH="$PWD/offline/tools${PYTHONPATH:+:$PYTHONPATH}" PATH="$PWD/offline/tools/bin:$PATH"
export TUYERE_PREBUILT="$PWD/offline/lib" TUYERE_BUILD_DIR="$PWD/offline/build"
"${pip[@]}" --no-build-isolation --target "$target" .
echo "installed; add to PYTHONPATH: $target"
