# SPDX-License-Identifier: Apache-2.0
import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
if "TUYERE_CACHE_DIR" not in os.environ:  # one for all workers, removed by whoever made it
    os.environ["TUYERE_CACHE_DIR"] = tempfile.mkdtemp(prefix="tuyere-test-cache-")
    atexit.register(shutil.rmtree, os.environ["TUYERE_CACHE_DIR"], ignore_errors=True)

import torch

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
torch.set_num_threads(max(1, min(2, (os.cpu_count() or 1) // WORKERS)))


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
