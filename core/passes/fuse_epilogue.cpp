// SPDX-License-Identifier: Apache-2.0
// f(conv(x, w), y...) => conv(x, w, y...) epilogue={f}        also matmul; reduce and norm take any f
// For conv and matmul only epilogues that libraries know (act(main + residual + bias), act(main + bias) + residual): others stay kernels of their own. A
// product on Hopper, or a convolution of single pixels that conv_matmuls makes one, takes any formula, also over one more tensor (the gate of a gated unit):
// see merge_matmuls; so does a depthwise convolution on a GPU.
// fuse_formulas comes after all other fusions: an f32 product on the CPU takes whatever formula is left behind it (the mask of a ReLU's gradient), as its
// kernels finish their results by any program. See tests/unit/passes/fuse.cpp
#include <algorithm>
#include <set>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// Inputs of the layer before those of its epilogue, or -1 when the layer takes none.
int own_inputs(const Op& op) {
  if (std::holds_alternative<Conv>(op) || std::holds_alternative<MatMul>(op)) return 2;
  if (const auto* reduce = std::get_if<Reduce>(&op)) return reduce->prologue.empty() ? 1 : static_cast<int>(reduce->prologue.inputs.size());
  if (const auto* norm = std::get_if<Norm>(&op))
    return (norm->prologue.empty() ? 1 : static_cast<int>(norm->prologue.inputs.size())) + (norm->has_weight ? 1 : 0) + (norm->has_bias ? 1 : 0);
  return -1;
}

Program* epilogue_of(Op& op) {
  if (auto* o = std::get_if<Conv>(&op)) return &o->epilogue;
  if (auto* o = std::get_if<MatMul>(&op)) return &o->epilogue;
  if (auto* o = std::get_if<Reduce>(&op)) return &o->epilogue;
  if (auto* o = std::get_if<Norm>(&op)) return &o->epilogue;
  return nullptr;
}

void set_type(Op& op, DType type) {
  if (auto* o = std::get_if<Conv>(&op)) o->type = type;
  if (auto* o = std::get_if<MatMul>(&op)) o->type = type;
  if (auto* o = std::get_if<Reduce>(&op)) o->type = type;
  if (auto* o = std::get_if<Norm>(&op)) o->type = type;
}

/// How many tensors of the result's shape the epilogue reads, in its place; -1 when it reads something else that is not along the channel.
int joined_tensors(const Network& net, const Op& op, const Composed& c, const TensorType& out, int body) {
  const int rank = static_cast<int>(out.shape.size()), channel = std::holds_alternative<Conv>(op) ? 1 : rank - 1;
  int joined = 0;
  for (size_t k = 1; k < c.inputs.size(); ++k) {
    const TensorType& in = net.type(c.inputs[k], body);
    if (in.shape == out.shape && in.dtype == out.dtype) {
      ++joined;
    } else if (!is_vector_along(in.shape, rank, channel)) {
      return -1;
    }
  }
  return joined;
}

/// Whether this is a convolution of each channel on a GPU: own kernels are the fastest ones, and finish by any formula.
bool is_own_depthwise(const Network& net, const Layer& layer, int body, const PassContext& context) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || conv->transposed || conv->groups == 1 || !context.target.is_cuda() || !context.own_kernels) return false;
  const Shape &x = net.type(layer.inputs[0], body).shape, &w = net.type(layer.inputs[1], body).shape;
  return x[1].is_const(conv->groups) && w[0].is_const(conv->groups);
}

/// Whether own kernels are the fastest ones, or as fast as any. A product's result must not get wider: more of a chain of formulas may follow, once it is one.
bool takes_formulas(const Network& net, const Layer& layer, DType type, const std::vector<bool>& constant, int body, const PassContext& context) {
  if (is_own_depthwise(net, layer, body, context)) return true;
  return type == net.type(layer.outputs[0], body).dtype &&
         (is_hopper_product(net, layer, body, context) || is_hopper_pixelwise(net, layer, constant, body, context));
}

/// Whether this is a product whose kernels finish by any program what they have just written, and loses nothing by it.
bool is_cpu_product(const Network& net, const Layer& layer, const Pointwise& after, int body, const PassContext& context) {
  return std::holds_alternative<MatMul>(layer.op) && !context.target.is_cuda() && net.type(layer.outputs[0], body).dtype == DType::F32 &&
         after.types[0] == DType::F32;
}

/// Whether the program's result is rounded to another type than it is stored in. Kernels of products and convolutions that know simple epilogues take the
/// last rounding for that of the store.
bool rounds_on_the_way(const Program& program, DType stored) {
  const auto last = static_cast<size_t>(program.outputs[0]);
  if (last < program.inputs.size()) return false;
  const Inst& inst = program.body[last - program.inputs.size()];
  return inst.fn == Fn::cast && inst.type != stored && compute_type(inst.type) != inst.type;
}

/// Whether this is a transposed convolution on a GPU that only libraries run fast there, without any epilogue; subpixel_convs makes some products, and
/// own.conv.phases takes others and finishes by anything. Gradients of convolutions are left alone: what follows them is more than an epilogue.
bool is_left_to_libraries(const Network& net, const Layer& layer, const std::vector<bool>& constant, int body, const PassContext& context) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || !conv->transposed || !context.target.is_cuda() || is_subpixel(net, layer, body)) return false;
  const TensorType& x = net.type(layer.inputs[0], body);
  const bool depthwise = conv->groups > 1 && x.shape[1].is_const(conv->groups);
  const bool dilated = std::any_of(conv->dilation.begin(), conv->dilation.end(), [](int64_t d) { return d != 1; });
  return !context.own_kernels || !constant[layer.inputs[1]] || depthwise || dilated || x.dtype == DType::F64;
}

bool fuse_into_producer(Network& net, LayerId id, const std::vector<bool>& constant, int body, const PassContext& context, bool formulas) {
  const Layer& layer = net.bodies[body].layers[id];
  const int own = own_inputs(layer.op);
  if (own < 0 || layer.outputs.size() != 1) return false;
  const TensorId main = layer.outputs[0];
  const LayerId next = sole_consumer(net, main, body);
  if (next == kNone) return false;
  const Layer& after = net.bodies[body].layers[next];
  if (is_left_to_libraries(net, layer, constant, body, context)) return false;
  const auto* pointwise = std::get_if<Pointwise>(&after.op);
  if (!pointwise || pointwise->types.size() != 1 || net.type(after.outputs[0], body).shape != net.type(main, body).shape) return false;
  if (formulas && !is_cpu_product(net, layer, *pointwise, body, context)) return false;
  for (TensorId input : after.inputs)
    if (input != main && depends_on(net, input, id, body)) return false;

  Op op = layer.op;
  Program inner = *epilogue_of(op);
  std::vector<TensorId> inner_inputs{main};
  inner_inputs.insert(inner_inputs.end(), layer.inputs.begin() + own, layer.inputs.end());
  if (inner.empty()) {
    inner.inputs = {compute_type(net.type(main, body).dtype)};
    inner.outputs = {0};
  }
  Composed c = compose_through(pointwise->program, after.inputs, main, inner, inner_inputs, 0, net.type(main, body).dtype, 1);
  const bool heavy = std::holds_alternative<Conv>(op) || std::holds_alternative<MatMul>(op);
  if (heavy && rounds_on_the_way(c.program, pointwise->types[0])) return false;
  const int joined = heavy ? joined_tensors(net, op, c, net.type(main, body), body) : -1;
  const bool joins = formulas || (joined >= 0 && joined <= 1 && takes_formulas(net, layer, pointwise->types[0], constant, body, context));
  if (heavy && !joins && !is_simple_epilogue(net, op, c.program, std::span(c.inputs).subspan(1), net.type(main, body).shape, body)) return false;
  if (c.inputs.size() > 8) return false;
  *epilogue_of(op) = c.program;
  set_type(op, pointwise->types[0]);
  std::vector<TensorId> inputs(layer.inputs.begin(), layer.inputs.begin() + own);
  inputs.insert(inputs.end(), c.inputs.begin() + 1, c.inputs.end());
  Origins origins = layer.origins;
  const TensorId old = after.outputs[0];
  net.replace(old, net.add1(std::move(op), std::move(inputs), std::move(origins), body), body);
  net.erase(next, body);  // otherwise it would still read what is fused now
  net.erase(id, body);
  return true;
}

bool fuse_all(Network& net, const PassContext& context, bool formulas) {
  bool any = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    for (bool changed = true; changed; any |= changed) {
      changed = false;
      const std::vector<bool> constant = constant_tensors(net.bodies[body]);
      for (LayerId id : live(net, body)) {
        if (net.bodies[body].layers[id].dead) continue;
        const TensorId out = net.bodies[body].layers[id].outputs[0];
        if (out < static_cast<TensorId>(constant.size()) && constant[out]) continue;
        if (net.uses(out, body) > 0) changed |= fuse_into_producer(net, id, constant, body, context, formulas);
      }
    }
  }
  return any;
}

}  // namespace

bool fuse_epilogue(Network& net, const PassContext& context) { return fuse_all(net, context, false); }
bool fuse_formulas(Network& net, const PassContext& context) { return fuse_all(net, context, true); }

}  // namespace tuyere
