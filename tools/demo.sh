#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job (benchmarks/demo.py, whose arguments it takes) with the Python that setup.sh used.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/python.sh
exec python3 benchmarks/demo.py "$@"
