# SPDX-License-Identifier: Apache-2.0
"""`tuyere env`: which libraries the runtime will find here, their versions, the GPUs, and every environment variable."""

import ctypes
import os
import platform
from typing import Callable, List, Tuple

import torch

from . import __version__, _load, _tuyere


def _dnnl_version(library):
    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

    library.dnnl_version.restype = ctypes.POINTER(Version)
    v = library.dnnl_version().contents
    return f"{v.major}.{v.minor}.{v.patch}"


def _number(function: str, split: Callable[[int], Tuple[int, ...]]):
    def version(library):
        getattr(library, function).restype = ctypes.c_size_t
        return ".".join(map(str, split(getattr(library, function)())))

    return version


def _nvrtc_version(library):
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _driver_version(library):
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    return f"for CUDA {version.value // 1000}.{version.value % 1000 // 10}"


# what it is for, file names in order of preference, how it tells its version
LIBRARIES = (
    ("oneDNN", "CPU convolutions and matrix products", ("libdnnl.so.3",), _dnnl_version),
    ("CUDA driver", "everything on a GPU", ("libcuda.so.1",), _driver_version),
    ("NVRTC", "building engines for a GPU", ("libnvrtc.so.13", "libnvrtc.so.12"), _nvrtc_version),
    (
        "cuDNN",
        "optional tactics on a GPU",
        ("libcudnn.so.9",),
        _number("cudnnGetVersion", lambda v: (v // 10000, v // 100 % 100, v % 100)),
    ),
    (
        "cuBLASLt",
        "optional tactics on a GPU",
        ("libcublasLt.so.13", "libcublasLt.so.12"),
        _number("cublasLtGetVersion", lambda v: (v // 10000, v // 100 % 100, v % 100)),
    ),
)


def find_library(names) -> Tuple[str, object]:
    """(path, library) of the first that opens, in the order of the runtime; ("", None) without."""
    folders = [f + "/" for f in os.environ.get("TUYERE_LIBRARY_PATH", "").split(":") if f] + [""]
    for folder in folders:
        for name in names:
            try:
                return folder + name, ctypes.CDLL(folder + name)
            except OSError:
                continue
    return "", None


def library_lines() -> List[str]:
    lines = []
    for title, use, names, version_of in LIBRARIES:
        path, library = find_library(names)
        found = f"{version_of(library):14s} {path}" if library else f"not found      ({names[0]}; {use})"
        lines.append(f"  {title:12s} {found}")
    return lines


def gpu_lines() -> List[str]:
    if not torch.cuda.is_available():
        return ["  none that PyTorch can use"]
    lines = []
    for index in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(index)
        lines.append(f"  cuda:{index} {p.name}, sm_{p.major}{p.minor}, {p.multi_processor_count} SMs, {p.total_memory / 2**30:.0f} GiB")
    return lines


def report() -> str:
    lines = [f"tuyere {__version__}, Python {platform.python_version()}, PyTorch {torch.__version__}, {platform.platform()}"]
    lines += ["own libraries:"] + [f"  {p.name:26s} {p.stat().st_size / 1e6:5.1f} MB" for p in sorted(_load.FOLDER.glob("*.so*"))]
    lines += ["found here:"] + library_lines()
    lines += ["GPUs:"] + gpu_lines()
    lines += [f"caches: {_tuyere.cache_dir()}", "environment variables:"]
    for name, meaning in _tuyere.env_vars():
        lines.append(f"  {name}={os.environ.get(name, '')}\n      {meaning}")
    return "\n".join(lines)
