#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Python tests that need no GPU, beside another version of PyTorch, with the tuyere that tools/setup.sh installed: one build serves them all.
#   tools/try_torch.sh 2.15.0 [pytest arguments, default: tests]      makes build/torch-2.15.0 (5 GB) at the first run
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/python.sh
version="${1:?a version of PyTorch}"
shift
place="build/torch-$version"
if [ ! -d "$place" ]; then
  python3 -m venv "$place"
  "$place/bin/pip" install -q "torch==$version" torchvision
  # behind its own packages it sees those of the Python that has tuyere: from now on, so that it has libraries of its own
  python3 -c "import sysconfig; print(sysconfig.get_path('purelib'))" >"$(echo "$place"/lib/python3*/site-packages)/parent.pth"
fi
TUYERE_LIBRARY_PATH="$(python3 -c 'import sys; print(sys.prefix)')/lib"
export TUYERE_LIBRARY_PATH
"$place/bin/python" -m pytest -n "$(nproc)" --dist worksteal -m "not gpu and not slow" "${@:-tests}"
