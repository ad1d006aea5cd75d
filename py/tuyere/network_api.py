# SPDX-License-Identifier: Apache-2.0
"""The builder API in Python: a thin skin over core/network/network.h and core/builder/builder.h."""

import json
from typing import Dict, Optional

import torch

from . import _tuyere
from .build import Built
from .engine import Engine
from .options import Options

Network = _tuyere.Network
BuilderConfig = _tuyere.BuilderConfig
OptimizationProfile = _tuyere.OptimizationProfile


class Builder:
    """Builds engines from networks. report holds the report of the last build."""

    def __init__(self, config=None, progress=None):
        self.config = config or BuilderConfig()
        self.progress = progress
        self.report = None

    def build(self, network, shared: Optional[Dict[str, torch.Tensor]] = None) -> Engine:
        """shared: the parameters of an engine with config.weights = "shared"."""
        data, report, weights, path = _tuyere.build(network, self.config, self.progress)
        built = Built(data, json.loads(report), weights, path)
        self.report = built.report
        return built.open(Options(weights=self.config.weights), True, shared or {})
