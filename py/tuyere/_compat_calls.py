# SPDX-License-Identifier: Apache-2.0
"""What of Dynamo's private modules makes calls of compiled graphs short, as _compat.py has the others: the code and the guards that it puts before them."""

import collections
import functools
import inspect
import re
import types
import weakref

import torch
from torch._dynamo import config as dynamo_config
from torch._dynamo import decorators, eval_frame, symbolic_convert
from torch._dynamo.callback import callback_handler as compile_callbacks
from torch._dynamo.codegen import PyCodegen
from torch._dynamo.guards import _get_closure_vars as guard_helpers
from torch._dynamo.source import AttrSource, DictGetItemSource, UnspecializedNNModuleSource, UnspecializedParamBufferSource
from torch._dynamo.variables.builder import GraphArg
from torch._guards import TracingContext

from . import _tuyere
from ._compat import not_traced


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
    context = TracingContext.try_get()
    if context is None:
        return
    guards = context.guards_context.dynamo_guards.inner
    typed = {g.originating_source for g in guards if g.create_fn_name() == "TYPE_MATCH"}
    for guard in [g for g in guards if g.create_fn_name() == "HASATTR"]:
        source = guard.originating_source
        if isinstance(source, AttrSource) and source.base in typed and _has_method(source.base, source.member):
            guards.discard(guard)


def _has_method(source, name) -> bool:
    """Whether the module at `source` has a method by its type alone."""
    value = value_at(source)
    kind = type(value)
    return (
        isinstance(value, torch.nn.Module) and kind.__getattribute__ is object.__getattribute__ and inspect.isfunction(inspect.getattr_static(kind, name, None))
    )


@not_traced  # backward passes are compiled within calls that Dynamo traces
def _record_again(_):
    if _unrecorded:
        _unrecorded.clear()
        dynamo_config.record_runtime_overhead = True


def value_at(source):
    """What a source of the frame that is being compiled stands for; None where that is nothing, or made by the frame."""
    tx = getattr(symbolic_convert.tls, "current_tx", None)
    if tx is None:
        return None
    scope = {"L": tx.output.local_scope, "G": tx.output.global_scope}
    try:
        return source.get_value(scope, guard_helpers(), weakref.WeakKeyDictionary())
    except Exception:  # names of values that the frame makes
        return None


def path_from_root(source):
    """(root, path): a source as that of an object, and what leads from there through modules: (name, whether it is an attribute and no entry of a dictionary)."""
    path = []
    while True:
        if isinstance(source, UnspecializedNNModuleSource):  # says what guards may be left out
            source = source.base
        elif type(source) is DictGetItemSource and isinstance(source.index, str):
            path.append((source.index, False))
            source = source.base
        elif type(source) in (AttrSource, UnspecializedParamBufferSource) and source.member in ("_modules", "_parameters", "_buffers"):
            path.append((source.member, True))
            source = source.base
        else:
            return source, path[::-1]


def _by_roots(make_call):
    """Dynamo's code fetches what the function of a graph takes and calls it. Where that is one of ours with another form (rooted.py), and nobody has wrapped it, it calls that."""

    @functools.wraps(make_call)
    def make_call_generated_code(codegen, name):
        output = codegen.tx.output
        function = output.global_scope.get(name)
        function = getattr(function, "_torchdynamo_orig_callable", None)
        rooted = getattr(function, "rooted", None)
        if (
            rooted is None or rooted.code is not getattr(function, "__code__", None) or getattr(output, "package", None) is not None
        ):  # wrappers take over attributes
            return make_call(codegen, name)
        arguments = output.graphargs
        if len(arguments) != rooted.count or any(arguments[k].source != source for k, source in rooted.left_out.items()):
            return make_call(codegen, name)
        given = [GraphArg(root, None, False, None, is_tensor=False) for root in rooted.roots]
        given += [argument for k, argument in enumerate(arguments) if k not in rooted.left_out]
        graph, output.graph = output.graph, torch.fx.Graph()
        for k, argument in enumerate(given):
            output.graph.placeholder(f"argument_{k}").meta["grapharg"] = argument
        output.global_scope[name] = rooted.call
        try:
            make_call(codegen, name)
        finally:
            output.graph = graph

    return make_call_generated_code


PyCodegen.make_call_generated_code = _by_roots(PyCodegen.make_call_generated_code)


def _without_frames(kind):
    """How modules that torch.compile returned are called: as PyTorch's method does it, by less of Python. That method where this PyTorch does something else in it."""
    whole = kind.__call__
    hooks = [h for n, h in vars(torch.nn.modules.module).items() if re.fullmatch(r"_global_(forward|backward)(_pre)?_hooks(_\w+)?", n)]
    try:
        known = _calls_as_known(whole) and len(hooks) >= 6 and all(type(h) in (dict, collections.OrderedDict) for h in hooks)
    except AttributeError:  # another PyTorch, or a method that is no function of Python
        known = False
    if not known:
        return whole
    methods = ["__call__", "_wrapped_call_impl", "_call_impl"]
    return _tuyere.module_call(kind, whole, torch.nn.Module, methods, hooks, vars(eval_frame), torch._C._get_tracing_state)


def _calls_as_known(method) -> bool:
    names = "torch nn modules module _has_any_global_hook warnings warn _set_in_optimized_module super __call__".split()
    return (
        list(method.__code__.co_names) == names
        and eval_frame._set_in_optimized_module.__wrapped__.__code__.co_names == ("_in_optimized_module",)
        and torch.nn.Module._wrapped_call_impl.__code__.co_names == ("_compiled_call_impl", "_call_impl")
    )


class _Signature:
    """What inspect.signature says of compiled modules: that of a method of Python, which `call` is."""

    def __init__(self, call):
        self.call = call

    def __get__(self, module, kind):
        if module is None:
            raise AttributeError("__signature__")  # the class has its own
        return inspect.signature(types.MethodType(self.call, module))


eval_frame.OptimizedModule.__signature__ = _Signature(eval_frame.OptimizedModule.__call__)
eval_frame.OptimizedModule.__call__ = _without_frames(eval_frame.OptimizedModule)
