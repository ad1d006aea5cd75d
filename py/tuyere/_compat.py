# SPDX-License-Identifier: Apache-2.0
"""The one place that imports private modules of PyTorch (2.11 and later). Every name here is checked by tests/unit_py/test_compat.py."""

import contextlib
import functools
import inspect
import re
import weakref

import torch
from torch._decomp import decomposition_table
from torch._dynamo import compiled_autograd, convert_frame, decorators, symbolic_convert
from torch._dynamo import config as dynamo_config
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.callback import callback_handler as compile_callbacks
from torch._dynamo.eval_frame import innermost_backend, set_eval_frame
from torch._dynamo.guards import _get_closure_vars as guard_helpers
from torch._dynamo.source import AttrSource, ConstantSource
from torch._dynamo.variables.builder import VariableBuilder
from torch._dynamo.variables.nn_module import UnspecializedNNModuleVariable
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
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext, free_unbacked_symbols, statically_known_true
from torch.nn.modules.module import _global_buffer_registration_hooks as buffer_hooks
from torch.nn.modules.module import _IncompatibleKeys as IncompatibleKeys
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from . import _tuyere
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
    "leave_arguments_unrecorded",
    "leave_out_implied_guards",
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
    "trace_recurrent_modules",
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


def _as_it_is(disable):
    """Dynamo wraps what a back end returns in a function of Python that switches it off, 4 us a call. Our steps do that themselves."""

    @functools.wraps(disable)
    def disabled(fn=None, *args, **kwargs):
        return fn if _tuyere.is_step_call(fn) else disable(fn, *args, **kwargs)

    return disabled


decorators.disable = _as_it_is(decorators.disable)


def leave_arguments_unrecorded():
    """For the graph that is being compiled: its calls do not tell the profiler how long Dynamo gathers arguments, which takes two context managers, 5 to 15 us, whether or not somebody
    profiles. Dynamo decides that when the back end has returned; at the end of the compilation the setting is what it was."""
    if dynamo_config.record_runtime_overhead:
        dynamo_config.record_runtime_overhead = False
        if _record_again not in compile_callbacks.end_callbacks:
            compile_callbacks.register_end_callback(_record_again)
        _unrecorded.append(True)


_unrecorded: list[bool] = []


def leave_out_implied_guards():
    """For the frame that is being compiled: its calls do not ask whether a module has a method of its type, which they look at anyway. Where they do (`for layer in sequential`), Dynamo walks through all guards of the
    modules around at every call, 0.05 to 0.5 ms, though nothing in their dictionaries has changed."""
    tx = getattr(symbolic_convert.tls, "current_tx", None)
    context = TracingContext.try_get()
    if tx is None or context is None:
        return
    guards = context.guards_context.dynamo_guards.inner
    typed = {g.originating_source for g in guards if g.create_fn_name() == "TYPE_MATCH"}
    scope = {"L": tx.output.local_scope, "G": tx.output.global_scope}
    for guard in [g for g in guards if g.create_fn_name() == "HASATTR"]:
        source = guard.originating_source
        if isinstance(source, AttrSource) and source.base in typed and _has_method(source.base, source.member, scope):
            guards.discard(guard)


def _has_method(source, name, scope) -> bool:
    """Whether the module at `source` has a method by its type alone."""
    try:
        value = source.get_value(scope, guard_helpers(), weakref.WeakKeyDictionary())
    except Exception:  # names of values that the frame makes
        return False
    kind = type(value)
    return (
        isinstance(value, torch.nn.Module) and kind.__getattribute__ is object.__getattribute__ and inspect.isfunction(inspect.getattr_static(kind, name, None))
    )


@not_traced  # backward passes are compiled within calls that Dynamo traces
def _record_again(_):
    if _unrecorded:
        _unrecorded.clear()
        dynamo_config.record_runtime_overhead = True


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
