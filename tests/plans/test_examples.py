# SPDX-License-Identifier: Apache-2.0
"""examples/network_api.py; the C++ examples are run by ctest."""

import subprocess
import sys
from pathlib import Path

import tuyere

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_network_api(tmp_path):
    out = subprocess.run([sys.executable, EXAMPLES / "network_api.py"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert out.count("rows sum to 1.0000") == 2
    assert tuyere.EngineFile.read(tmp_path / "small_cnn.engine").symbols["n"]
