# SPDX-License-Identifier: Apache-2.0
"""Prints KEY=folder for every dependency that an installed Python package carries (see dependencies.cmake)."""

import importlib.util
import sysconfig
from pathlib import Path


def package_folder(name):
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(list(spec.submodule_search_locations)[0])


def report(key, folder, marker=""):
    if folder is not None and (folder / marker).exists():
        print(f"{key}={folder}")


def main():
    site = Path(sysconfig.get_paths()["purelib"])
    data = Path(sysconfig.get_paths()["data"])
    torch = package_folder("torch")
    cuda = package_folder("nvidia.cu13")
    cudnn = package_folder("nvidia.cudnn")
    pybind11 = package_folder("pybind11")
    if torch:
        report("TORCH_INCLUDE", torch / "include", "torch/csrc/stable")
        report("TORCH_LIB", torch / "lib")
    if cuda:
        report("CUDA_INCLUDE", cuda / "include", "cuda.h")
    if cudnn:
        report("CUDNN_INCLUDE", cudnn / "include", "cudnn.h")
    report("CUDNN_FRONTEND_INCLUDE", site / "include", "cudnn_frontend.h")
    report("JSON_WHEEL_INCLUDE", site / "include/cudnn_frontend/thirdparty", "nlohmann/json.hpp")
    report("DNNL_WHEEL_INCLUDE", data / "include", "oneapi/dnnl/dnnl.h")
    if pybind11:
        report("PYBIND11_CMAKE", pybind11 / "share/cmake/pybind11")


if __name__ == "__main__":
    main()
