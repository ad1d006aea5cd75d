# SPDX-License-Identifier: Apache-2.0
"""TorchScript in and out: compile_script() replaces the convertible parts of a scripted or traced module by calls of tuyere::execute.

input_types   example arguments -> fake tensors, and the assertions under which what follows holds
interpret     what is known about every value before the module runs: types, sizes, numbers
specialize    numbers that are known become constants, so that TorchScript's own passes can remove branches and loops
regions       runs of nodes that may become one graph, with the alias rules that make this safe
trace         a region -> FX graph of functional ATen calls, which lower() takes like any other
emit          the lowered FX graph -> TorchScript nodes in the place of the region
"""

from .compile import analyze_script, compile_script, is_script, script_name

__all__ = ["analyze_script", "compile_script", "is_script", "script_name"]
