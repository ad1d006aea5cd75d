# SPDX-License-Identifier: Apache-2.0
"""What of PyTorch's private modules recurrent layers need, as _compat.py has it of the others."""

import functools

import torch
from torch._decomp import decomposition_table
from torch._dynamo import config as dynamo_config
from torch._dynamo.eval_frame import innermost_backend
from torch._dynamo.variables.builder import VariableBuilder
from torch._dynamo.variables.nn_module import UnspecializedNNModuleVariable
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.utils.rnn import PackedSequence

from .decompositions import RECURRENT


def _mend_shapes_of_recurrent_networks():
    """PyTorch's formulas go from one time to the next, which makes the number of times a constant where only shapes are asked for, and that for LSTMs returns states with a dimension too many."""

    def mended(formula):
        @functools.wraps(formula)
        def network(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
            first = hx if isinstance(hx, (list, tuple)) else [hx]
            if get_proxy_mode() is not None or not isinstance(input, FakeTensor):
                out, *states = formula(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
                return (out, *(s if s.dim() == f.dim() else s.reshape(f.shape) for s, f in zip(states, first)))
            times, batch = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
            out = input.new_empty(times, batch, first[0].shape[2] * (2 if bidirectional else 1))
            return (out.transpose(0, 1) if batch_first else out, *(f.new_empty(f.shape) for f in first))

        return network

    for op in RECURRENT:
        decomposition_table[op] = op.py_kernels[torch._C.DispatchKey.CompositeImplicitAutograd] = mended(decomposition_table[op])


_mend_shapes_of_recurrent_networks()


def trace_recurrent_modules(backend):
    """Dynamo leaves recurrent modules to eager unless a setting of the user's says otherwise: their formulas are unrolled, step by step. Where this back end has them whole, which is for inference on the CPU,
    they are traced, but for sequences of several lengths."""
    wrap, call = VariableBuilder.wrap_module, UnspecializedNNModuleVariable.call_function

    def keeps_whole(module, tx):
        compiler = innermost_backend(tx.output.compiler_fn)
        return (
            isinstance(module, torch.nn.RNNBase)
            and module.proj_size == 0
            and dynamo_config.inline_inbuilt_nn_modules
            and getattr(compiler, "compiler_fn", compiler) is backend  # torch.compile's wrapper has it as an attribute
            and not torch.is_grad_enabled()
            and all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.bfloat16) for p in module.parameters())
            and not any(isinstance(value, PackedSequence) for value in tx.output.local_scope.values())
        )

    @functools.wraps(wrap)
    def wrap_module(builder, module):
        if dynamo_config.allow_rnn or not keeps_whole(module, builder.tx):
            return wrap(builder, module)
        with dynamo_config.patch(allow_rnn=True):
            return wrap(builder, module)

    @functools.wraps(call)
    def call_function(variable, tx, args, kwargs):
        if isinstance(variable.value, torch.nn.RNNBase) and any(map(_is_packed, [*args, *kwargs.values()])):
            wrap(VariableBuilder(tx, variable.source), variable.value)  # breaks the graph unless the user's setting says otherwise
        return call(variable, tx, args, kwargs)

    VariableBuilder.wrap_module, UnspecializedNNModuleVariable.call_function = wrap_module, call_function


def _is_packed(variable) -> bool:
    try:
        return issubclass(variable.python_type(), PackedSequence)
    except NotImplementedError:  # of variables without a type of their own
        return False
