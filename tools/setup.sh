#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what a fresh Debian or Ubuntu machine lacks, then tuyere itself. Idempotent: a second run only rebuilds.
# A Python that belongs to the system is left alone: packages then go to .venv, which the other scripts here use.
set -euo pipefail
cd "$(dirname "$0")/.."

system_packages=(g++ cmake ninja-build ccache nlohmann-json3-dev libhwy-dev libgtest-dev clang-format)
case "$(command -v python3 || true)" in
  "" | /usr/bin/python3) system_packages+=(python3 python3-dev python3-pip python3-venv) ;;
esac
missing=()
for package in "${system_packages[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if [ ! -x .venv/bin/python3 ] && python3 - <<'PY'
import pathlib, sys, sysconfig
managed = pathlib.Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
sys.exit(not (managed and sys.prefix == sys.base_prefix))
PY
then
  python3 -m venv .venv
fi
. tools/python.sh

python_packages=(torch==2.11.0 torchvision==0.26.0 "transformers>=5,<6" "timm>=1.0" "pybind11>=2.12" "setuptools>=68,<82" wheel
  onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0 nvidia-cudnn-frontend==1.32 "nvidia-cuda-crt>=13.0,<13.1" "nvidia-cuda-cccl>=13.0,<13.1"
  pytest pytest-timeout pytest-xdist expecttest safetensors hypothesis scikit-learn ruff mypy)
cmake --version | python3 -c 'import re, sys; sys.exit(tuple(map(int, re.findall(r"\d+", sys.stdin.read())[:2])) < (3, 24))' || python_packages+=("cmake>=3.24,<5")
python3 -m pip install -q "${python_packages[@]}"

export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
python3 -m pip install -q --no-build-isolation --no-deps .
python3 -c "import os; os.chdir('/'); import tuyere; print('tuyere', tuyere.__version__, 'is installed')"
