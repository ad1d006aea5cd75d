# SPDX-License-Identifier: Apache-2.0
"""The builder API in Python: a thin skin over core/network/network.h and core/builder/builder.h."""

from . import _tuyere
from .engine import Engine, make_carrier

Network = _tuyere.Network
BuilderConfig = _tuyere.BuilderConfig
OptimizationProfile = _tuyere.OptimizationProfile


class Builder:
    """Builds engines from networks. report holds the report of the last build."""

    def __init__(self, config=None, progress=None):
        self.config = config or BuilderConfig()
        self.progress = progress
        self.report = None

    def build(self, network) -> Engine:
        data, self.report = _tuyere.build(network, self.config, self.progress)
        return Engine.from_carrier(make_carrier(data, unique=True))
