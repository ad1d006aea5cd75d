# SPDX-License-Identifier: Apache-2.0
"""tuyere: a PyTorch compiler backend with its own open inference engine.

fast = torch.compile(model, backend="tuyere")
prog = tuyere.compile(model, inputs, precision="fp16")
"""

from . import _load

_load.load()

from . import (
    _tuyere,  # noqa: E402
    bench,  # noqa: E402,F401
    draws,  # noqa: E402
    fake,  # noqa: E402,F401  registers the fake kernel of tuyere::execute
)
from .aot import Program, compile, load  # noqa: E402
from .backend import tuyere as backend  # noqa: E402
from .engine import Engine  # noqa: E402
from .engine_file import EngineFile  # noqa: E402
from .explain import Explanation, explain  # noqa: E402
from .network_api import Builder, BuilderConfig, Network, OptimizationProfile  # noqa: E402
from .options import OptionError, Options  # noqa: E402
from .report import FallbackWarning, Report, clear_reports, reports  # noqa: E402

draws.draw_many_at_a_time()
UserError = _tuyere.UserError
InternalError = _tuyere.InternalError
__version__ = "0.1.0"

__all__ = [
    "Builder",
    "BuilderConfig",
    "Engine",
    "EngineFile",
    "Explanation",
    "FallbackWarning",
    "InternalError",
    "Network",
    "OptimizationProfile",
    "OptionError",
    "Options",
    "Program",
    "Report",
    "UserError",
    "backend",
    "clear_reports",
    "compile",
    "explain",
    "load",
    "reports",
]
