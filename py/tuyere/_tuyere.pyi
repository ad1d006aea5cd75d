# SPDX-License-Identifier: Apache-2.0
# The C++ module (py/bindings); its docstrings are the reference.
from typing import Any

def __getattr__(name: str) -> Any: ...
