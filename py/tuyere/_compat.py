# SPDX-License-Identifier: Apache-2.0
"""The one place that imports private modules of PyTorch (2.11 and later). Every name here is checked by tests/unit_py/test_compat.py."""

import contextlib
import functools
import re

import torch
from torch._decomp import decomposition_table
from torch._dynamo import compiled_autograd, convert_frame
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.eval_frame import set_eval_frame
from torch._dynamo.source import ConstantSource
from torch._functorch._aot_autograd.descriptors import InputMutationAOTOutput
from torch._functorch._aot_autograd.runtime_wrappers import AOTDispatchAutograd, coerce_to_expected_memory_format
from torch._functorch._aot_autograd.schemas import PlainTensorMeta
from torch._functorch._aot_autograd.utils import saved_tensors_hooks_are_inlineable, top_saved_tensors_hooks
from torch._functorch.aot_autograd import aot_export_module
from torch._functorch.partitioners import default_partition
from torch._functorch.partitioners import has_recomputable_ops as is_recomputing
from torch._guards import TracingContext
from torch._prims.rng_prims import run_and_save_rng_state, run_with_rng_state
from torch._subclasses.fake_impls import op_implementations_dict as fake_kernels
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.export.exported_program import _override_composite_implicit_decomp
from torch.fx import _symbolic_trace as fx_symbolic_trace
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext, free_unbacked_symbols, statically_known_true
from torch.nn.modules.module import _global_buffer_registration_hooks as buffer_hooks
from torch.nn.modules.module import _IncompatibleKeys as IncompatibleKeys
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._sympy.functions import Max

from .decompositions import OWN, PRESERVED, RECURRENT

__all__ = [
    "FakeTensor",
    "FakeTensorMode",
    "OBSERVERS",
    "PlainTensorMeta",
    "SCRIPT_CLEANUP",
    "TRACING",
    "TRANSFORMS",
    "aot_autograd",
    "aot_export_module",
    "are_transforms_active",
    "as_traced",
    "autocast_off",
    "buffer_hooks",
    "default_partition",
    "exporting",
    "fake_input",
    "forward_metadata",
    "forward_nodes",
    "free_unbacked_symbols",
    "from_handles",
    "from_script_number",
    "guards_of",
    "ignored_unbacked_symbols",
    "in_dispatcher",
    "is_autocasting",
    "is_deterministic",
    "is_recomputing",
    "is_traceable_wrapper_subclass",
    "keep_composite_ops",
    "module_of_function",
    "mutated_inputs",
    "IncompatibleKeys",
    "Max",
    "parse_schema",
    "plain_apply",
    "not_traced",
    "pytree_specs",
    "refuse_function_transforms",
    "return_as_they_are",
    "run_and_save_rng_state",
    "run_with_rng_state",
    "saved_tensors_are_traced",
    "script_dce",
    "script_list",
    "set_eval_frame",
    "statically_known_true",
    "symbolic_fake_mode",
    "to_handles",
    "to_script_number",
    "unbacked_int",
    "unset_fake_temporarily",
    "use_native_directions",
    "uses_compiled_autograd",
    "without_guards",
    "static_input_indices",
    "tf32_flags",
]

TRACING = convert_frame.compile_lock  # torch.export and its parts patch global state, which Dynamo would trace: one thread at a time
if torch.cuda.device_count() == 0:  # NVML counts them: asking CUDA itself, as FakeTensorMode does, would keep forked processes from using it
    with FakeTensorMode():  # its first use in a process without a GPU replaces the device guard, which crashes when two threads do it at once
        pass


def _tracing_here(symbolic_tracing):
    """PyTorch's flag of a symbolic trace belongs to all threads: while one compiles, calls of compiled functions in others would be refused."""

    def tracing() -> bool:
        if not symbolic_tracing():
            return False
        if TRACING.acquire(blocking=False):  # free, or this thread's own
            TRACING.release()
            return True
        return False

    return functools.wraps(symbolic_tracing)(tracing)


if hasattr(fx_symbolic_trace, "_is_fx_tracing_flag"):  # later versions keep it per thread
    fx_symbolic_trace.is_fx_symbolic_tracing = _tracing_here(fx_symbolic_trace.is_fx_symbolic_tracing)


@contextlib.contextmanager
def exporting():
    """Around torch.export. When it fails it leaves its hook on the registration of buffers, with which Dynamo breaks graphs that write buffers."""
    with TRACING:
        before = list(buffer_hooks)
        try:
            yield
        except BaseException:
            for key in [k for k in buffer_hooks if k not in before]:
                del buffer_hooks[key]
            raise


def _mend_shapes_of_norms():
    """PyTorch's formula for the shape of a norm keeps dimensions of size 1 that are counted from the back; here they are counted from the front."""
    op = torch.ops.aten.linalg_vector_norm.default
    formula = decomposition_table[op]

    def counts_from_the_front(x, dim):
        return not dim or not x.dim() or all(d >= 0 for d in dim)

    @functools.wraps(formula)
    def symbolic(x, ord=2, dim=None, keepdim=False, *, dtype=None):
        dim = dim if counts_from_the_front(x, dim) else [d % x.dim() for d in dim]
        return formula(x, ord, dim, keepdim, dtype=dtype)

    def static(mode, op, x, ord=2, dim=None, keepdim=False, *, dtype=None):
        if counts_from_the_front(x, dim):
            return NotImplemented
        with mode:
            return op(x, ord, [d % x.dim() for d in dim], keepdim, dtype=dtype)

    decomposition_table[op] = symbolic
    fake_kernels.setdefault(op, static)


_mend_shapes_of_norms()


# Modules of the functions by which graphs of Dynamo differentiate and map.
TRANSFORMS = ("torch._functorch", "torch._C._functorch", "torch.autograd")


def _is_composite(op):
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")


@contextlib.contextmanager
def keep_composite_ops():
    """While active, tracing does not decompose PRESERVED composite ops. Inference only: they have no autograd formula then."""

    def keep(*args, **kwargs):
        return NotImplemented

    kept = {op: keep for op in PRESERVED if _is_composite(op)}
    with _override_composite_implicit_decomp({**kept, **{op: OWN[op] for op in RECURRENT}}):
        yield


def static_input_indices():
    """Positions of parameters and buffers among the inputs of the graph that AOTAutograd is compiling."""
    context = TracingContext.try_get()
    if context is None or context.fw_metadata is None:
        return []
    return list(context.fw_metadata.static_input_indices or [])


def mutated_inputs(graph):
    """The inputs of a joint graph that are written after the forward pass."""
    inputs = graph.find_nodes(op="placeholder")
    output = graph.find_nodes(op="output")[0]
    if "desc" not in output.meta:
        return set(inputs)
    written = [d.mutated_input for d in output.meta["desc"] if isinstance(d, InputMutationAOTOutput)]
    return {n for n in inputs if n.meta.get("desc") in written}


def forward_nodes(graph):
    """The nodes of a joint graph that belong to its forward pass, in order: the tangents and what comes after its last node do not."""
    nodes = [n for n in graph.nodes if n.op != "output" and not str(n.target).startswith("tangents")]
    last = max((k for k, n in enumerate(nodes) if n.op == "placeholder" or n.meta.get("partitioner_tag") == "is_forward"), default=-1)
    return dict.fromkeys(nodes[: last + 1])


def forward_metadata():
    """What AOTAutograd knows about the graph that it is compiling."""
    context = TracingContext.try_get()
    return context.fw_metadata if context else None


def return_as_they_are(metadata):
    """Outputs of a forward graph that own their memory: AOTAutograd would take a view of those that are views in eager, which changes the strides of dimensions of size 1."""
    metadata.unsafe_view_out_indices, metadata.num_unsafe_view_outputs = [], 0


is_autocasting, autocast_off = torch._C._is_any_autocast_enabled, torch._C._DisableAutocast


def saved_tensors_are_traced():
    """Whether hooks on what is saved for backward passes have become part of the graph that is being compiled."""
    return saved_tensors_hooks_are_inlineable(top_saved_tensors_hooks())


def uses_compiled_autograd():
    return torch._dynamo.config.compiled_autograd or compiled_autograd.compiled_autograd_enabled


def as_traced(gradient, meta):
    """A gradient as the backward graph was traced for: of the type and memory order in PlainTensorMeta."""
    if type(gradient) is torch.Tensor:
        return coerce_to_expected_memory_format(gradient, meta.memory_format)
    return AOTDispatchAutograd.process_runtime_tangent(gradient, meta)[0]


are_transforms_active, is_deterministic = torch._C._are_functorch_transforms_active, torch._C._get_deterministic_algorithms


def refuse_function_transforms():
    """Raises RuntimeError where a compiled backward pass is called by a function transform, as that of AOTAutograd does."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise RuntimeError(
            "a compiled backward pass cannot be called within vmap, grad or vjp: compile the function that calls them, or leave this one uncompiled"
        )


def plain_apply(function):
    """Function.apply without its handling of function transforms and of setup_context."""
    return super(torch.autograd.Function, function).apply


def use_native_directions(function, forward, backward):
    """Lets an autograd function call these. Compiled autograd, which traces, goes on reading function.backward."""
    function.forward = staticmethod(forward)
    function._backward_cls.apply = backward


def not_traced(function):
    """A function that Dynamo leaves alone, with all that it calls."""
    return torch._dynamo.disable(function, reason="calls compiled graphs")


def tf32_flags():
    """Whether (matmuls, convolutions) of float32 data may use TF32. The newer of PyTorch's two ways of saying so answers for both: reading the older one
    raises when the newer has been used."""

    def allows(backend, *parents):
        for setting in (backend, *parents, torch.backends):
            if setting.fp32_precision != "none":
                return setting.fp32_precision == "tf32"
        return False

    return allows(torch.backends.cuda.matmul), allows(torch.backends.cudnn.conv, torch.backends.cudnn)


# -- calls without the dispatcher

to_handles = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors  # who takes the handles frees them
from_handles = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs
# One of these is true when something wants to see the operators that are called: modes such as FakeTensorMode, the profiler, tracers, function transforms.
OBSERVERS = [torch._C._len_torch_dispatch_stack, torch.autograd._profiler_enabled, torch._C._get_tracing_state, torch._C._functorch.peek_interpreter_stack]


def pytree_specs(gm):
    """(in_spec, out_spec) of what ExportedProgram.module() returns; None for other graphs."""
    info = getattr(gm.graph._codegen, "pytree_info", None)
    return None if info is None else (info.in_spec, info.out_spec)


# -- fake tensors with symbolic sizes


def symbolic_fake_mode():
    """Every dynamic dimension gets a symbol of its own."""
    return FakeTensorMode(shape_env=ShapeEnv(duck_shape=False))


def fake_input(mode, tensor, dynamic_dims, name):
    """A fake of an example input, whose sizes in dynamic_dims are symbols."""
    sizes = [DimDynamic.DYNAMIC if d in dynamic_dims else DimDynamic.STATIC for d in range(tensor.dim())]
    context = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(tensor, source=ConstantSource(name), symbolic_context=context)


def guards_of(mode):
    """What was taken for granted about the symbols, as SymPy relations. Without the fake convolution's, which asks which kernel PyTorch would take."""
    guards = [g for g in mode.shape_env.guards if not re.search(r"fake_impls\.py:\d+ in conv\b", str(g.sloc))]
    return [mode.shape_env.simplify(guard.expr) for guard in guards]


def without_guards(mode):
    """While active, decisions by size leave no guard."""
    return mode.shape_env.suppress_guards()


def unbacked_int(mode):
    """Stands for a number that only running the program tells."""
    return mode.shape_env.create_unbacked_symint()


def ignored_unbacked_symbols(mode):
    """While active, PyTorch does not ask what becomes of sizes that depend on data."""
    return mode.shape_env.ignore_fresh_unbacked_symbols()


# -- TorchScript

parse_schema = torch._C.parse_schema


def in_dispatcher(op):
    """Whether an operator is one of the dispatcher's: TorchScript has some of its own."""
    return torch._C._dispatch_has_kernel(op.name())


script_dce = torch._C._jit_pass_dce


def _unroll(graph):
    torch._C._jit_pass_constant_loop_unrolling(graph)


SCRIPT_CLEANUP = (
    torch._C._jit_pass_inline,
    torch._C._jit_pass_constant_propagation,
    torch._C._jit_pass_peephole,
    _unroll,
    torch._C._jit_pass_remove_mutation,
    torch._C._jit_pass_dce,
)


def _script_numbers(kind):
    graph = torch._C.Graph()
    found = {v for v in vars(torch).values() if isinstance(v, kind)}
    return {graph.insertConstant(v).toIValue(): v for v in found}


_SCRIPT_DTYPES, _SCRIPT_LAYOUTS = _script_numbers(torch.dtype), _script_numbers(torch.layout)
_MEMORY_FORMATS = [torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d]  # c10/core/MemoryFormat.h


def to_script_number(value):
    """TorchScript keeps dtypes, layouts and memory formats as numbers."""
    if isinstance(value, torch.memory_format):
        return _MEMORY_FORMATS.index(value)
    for numbers in (_SCRIPT_DTYPES, _SCRIPT_LAYOUTS):
        if isinstance(value, (torch.dtype, torch.layout)) and value in numbers.values():
            return next(number for number, v in numbers.items() if v == value)
    return value


def from_script_number(kind, value):
    """The reverse, for an argument whose schema type is `kind`."""
    if type(value) is not int:
        return value
    if "ScalarType" in kind:
        return _SCRIPT_DTYPES[value]
    if "MemoryFormat" in kind:
        return _MEMORY_FORMATS[value]
    return _SCRIPT_LAYOUTS[value] if "Layout" in kind else value


def script_list(element):
    """TorchScript's type of a list with elements of the schema type `element`."""
    kinds = {"Tensor": torch._C.TensorType.get(), "int": torch._C.IntType.get(), "SymInt": torch._C.IntType.get(), "float": torch._C.FloatType.get()}
    kinds["bool"] = torch._C.BoolType.get()
    return torch._C.ListType(kinds[element])


def module_of_function(function):
    """A ScriptModule whose forward is a scripted or traced function."""
    arguments = function.schema.arguments
    formals = [f"{a.name}: {a.type.annotation_str}" + (f" = {a.default_value!r}" if a.has_default_value() else "") for a in arguments]
    module = torch.jit.script(type("Function", (torch.nn.Module,), {})().eval())  # a class of its own, as methods belong to classes
    module.define(f"def forward({', '.join(['self', *formals])}):\n    return function({', '.join(a.name for a in arguments)})\n")
    return module
