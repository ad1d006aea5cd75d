# SPDX-License-Identifier: Apache-2.0
"""Drives CMake: C++ libraries go to tuyere/_lib, the Python module to tuyere/.

TUYERE_PREBUILT=<folder with the .so files>: takes the libraries without Python ABI from there and compiles only py/bindings (machines without network).
TUYERE_BUILD_DIR=<folder>: keeps the CMake build tree (default build/release, the tree of the preset, which the tests share; build/prebuilt with TUYERE_PREBUILT).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
LIBRARIES = ("libtuyere_runtime.so", "libtuyere_kernels_cpu.so", "libtuyere_builder.so", "libtuyere_torch.so", "libhwy.so.1", "libdnnl.so.3")


class BuildWithCMake(build_ext):
    def build_extension(self, ext):
        output = Path(self.get_ext_fullpath(ext.name)).parent.resolve()
        build_type = os.environ.get("TUYERE_BUILD_TYPE", "Release")
        prebuilt = os.environ.get("TUYERE_PREBUILT")
        tree = "prebuilt" if prebuilt else build_type.lower()  # CMake remembers TUYERE_PREBUILT
        build = Path(os.environ.get("TUYERE_BUILD_DIR", ROOT / "build" / tree)).resolve()
        self._configure(build, build_type, prebuilt)
        targets = ["_tuyere"] if prebuilt else ["_tuyere", "tuyere_runtime", "tuyere_kernels_cpu", "tuyere_builder", "tuyere_torch"]
        subprocess.check_call(["cmake", "--build", str(build), "--target", *targets])
        self._install(output, build, Path(prebuilt).resolve() if prebuilt else build / "lib")

    def _configure(self, build, build_type, prebuilt):
        arguments = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_BUILD_TYPE={build_type}",
        ]
        arguments += ["-DTUYERE_BUILD_TESTS=OFF"]
        if shutil.which("ninja"):
            arguments += ["-G", "Ninja"]
        if prebuilt:
            arguments += [f"-DTUYERE_PREBUILT={Path(prebuilt).resolve()}"]
        subprocess.check_call(arguments)

    def _install(self, output, build, libraries):
        folder = output / "_lib"
        folder.mkdir(parents=True, exist_ok=True)
        for name in LIBRARIES:
            if (libraries / name).exists():
                shutil.copy2(libraries / name, folder / name)
        for module in (build / "lib").glob("_tuyere*.so"):
            shutil.copy2(module, output / module.name)


setup(ext_modules=[Extension("tuyere._tuyere", sources=[])], cmdclass={"build_ext": BuildWithCMake})
