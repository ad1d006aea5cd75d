# SPDX-License-Identifier: Apache-2.0
"""Finds and opens the C++ libraries, in the order in which they need each other."""

import ctypes
import importlib.util
import os
import site
import sys
from pathlib import Path

import torch  # noqa: F401  its libraries (libtorch_cpu, libgomp) must be in the process first

FOLDER = Path(__file__).parent / "_lib"


def _wheel_folders():
    """Folders in which pip put oneDNN, cuDNN, cuBLASLt and NVRTC: the runtime opens them by soname."""
    # an environment may see the packages of the Python that it was made from
    folders = [FOLDER, *(Path(p) / "lib" for p in dict.fromkeys((sys.prefix, sys.base_prefix, site.getuserbase())))]
    for name in ("nvidia.cu13", "nvidia.cudnn", "nvidia.cublas", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue
        if spec and spec.submodule_search_locations:
            folders.append(Path(list(spec.submodule_search_locations)[0]) / "lib")
    return [str(f) for f in folders if f.is_dir()]


def load():
    known = [p for p in os.environ.get("TUYERE_LIBRARY_PATH", "").split(":") if p]
    os.environ["TUYERE_LIBRARY_PATH"] = ":".join(dict.fromkeys(known + _wheel_folders()))
    for name in ("libtuyere_runtime.so", "libtuyere_builder.so"):
        path = FOLDER / name
        if not path.exists():
            raise ImportError(f"{name} is not in {FOLDER}: install tuyere with 'pip install --no-build-isolation .'")
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    torch.ops.load_library(str(FOLDER / "libtuyere_torch.so"))
