// SPDX-License-Identifier: Apache-2.0
// Questions and small edits that several passes share.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "core/network/network.h"
#include "core/passes/pass.h"

namespace tuyere {

/// Images (and what is like them): convolutions of at most so many channels into at least so many are rearranged for tensor cores.
inline constexpr int64_t kFewChannels = 4, kManyOutputs = 16;

/// Per tensor: whether it is computed from constants only, so that work on it belongs to the weight program.
std::vector<bool> constant_tensors(const Body& body);

/// Whether the operator is one of Ts.
template <class... Ts>
bool is_any_of(const Op& op) {
  return (std::holds_alternative<Ts>(op) || ...);
}

/// The only layer that reads `id`, when nothing else does (no output, not observed) and it reads it once or more; kNone otherwise.
LayerId sole_consumer(const Network& net, TensorId id, int body);

/// The attribute struct of the layer that makes `id`, or nullptr.
template <class S>
const S* made_by(const Network& net, TensorId id, int body) {
  const Layer* layer = net.producer(id, body);
  return layer && !layer->dead ? std::get_if<S>(&layer->op) : nullptr;
}

/// A program that is one function of its inputs in order, but for casts: `fn` and, per argument, the input number (or -1 and the value of a literal).
struct PlainCall {
  Fn fn;
  std::vector<int> inputs;
  std::vector<double> literals;
};
std::optional<PlainCall> plain_call(const Program& program);

/// What a pointwise layer computes when that is one function of tensors and numbers: literals and one-element constants that are no parameters.
struct Called {
  Fn fn;
  std::vector<TensorId> tensors;  // kNone for a number
  std::vector<double> numbers;
};
/// Of the layer that makes `id`; nothing when it is no such layer or has other outputs.
std::optional<Called> called(const Network& net, TensorId id, int body);
/// What `id` is, in another float type; kNone when it is something else.
TensorId source_of_cast(const Network& net, TensorId id, int body);
/// `id`, or what widening casts between float types made it from.
TensorId without_casts(const Network& net, TensorId id, int body);

/// Whether a tensor of this shape, broadcast to rank `rank`, varies along dimension `dim` only (one-element tensors do).
bool varies_along(const Shape& shape, int rank, int dim);
/// The same without one-element tensors: a bias, or a scale, of that dimension.
bool is_vector_along(const Shape& shape, int rank, int dim);

/// Input k of the result is input order[k] of `program`.
Program permute_inputs(const Program& program, const std::vector<int>& order);

/// A composition of two pointwise programs with the tensors they read.
struct Composed {
  Program program;
  std::vector<TensorId> inputs;
};
/// `outer` with every use of tensor `via` computed by `inner`'s output `out` (stored as `stored`: ints and bools are converted as a store would).
/// The inputs of `inner` come first, in order; equal tensors are merged; `fixed` leading inner inputs are never merged away.
Composed compose_through(const Program& outer, const std::vector<TensorId>& outer_inputs, TensorId via, const Program& inner,
                         const std::vector<TensorId>& inner_inputs, int out, DType stored, int fixed = 0);

/// One program with the outputs of all, over the union of their inputs.
Composed join(const std::vector<Composed>& parts);

/// Number of instructions that are neither casts nor constants, and whether one of them is expensive (transcendental, division).
struct ProgramCost {
  int instructions = 0;
  bool expensive = false;
};
ProgramCost cost_of(const Program& program);

/// The memory order that a tensor will have: its layout, or what views make of their input's. Row-major comes back as 0, 1, 2, ...
std::vector<int> memory_order(const Network& net, TensorId id, int body);

/// Whether two memory orders of this shape are the same memory: dims of size 1 do not matter.
bool same_order(const Shape& shape, const std::vector<int>& a, const std::vector<int>& b);

/// A copy of the tensor: an identity Pointwise layer. The layout of its output may be changed by the caller.
TensorId identity(Network& net, TensorId id, const Origins& origins, int body);

/// Whether tensor `id` is computed from a result of layer `on`, or is one.
bool depends_on(const Network& net, TensorId id, LayerId on, int body);

/// Compute capability 9.0: the one that own.matmul.wgmma is for.
inline bool is_hopper(const Target& target) { return target.sm >= 90 && target.sm < 100; }

/// Whether own kernels multiply these matrices on Hopper's tensor cores as fast as libraries do: then any formula over the result costs nothing, and none that
/// libraries know need be kept free of others.
bool is_hopper_product(const Network& net, const Layer& layer, int body, const PassContext& context);

/// The same of a convolution of single pixels by a constant weight, once images are rows of a matrix: they lie so because convolutions made them.
bool is_hopper_pixelwise(const Network& net, const Layer& layer, const std::vector<bool>& constant, int body, const PassContext& context);

/// Whether libraries know the epilogue `program` of a convolution or product over its result, of shape `out`, and `extras`: those must be constants along the
/// channel, or a residual of the full shape.
bool is_simple_epilogue(const Network& net, const Op& op, const Program& program, std::span<const TensorId> extras, const Shape& out, int body);

/// Whether this is a convolution of single pixels, each of which has one in its result.
bool is_pixelwise(const Network& net, const Layer& layer, int body);

/// Whether this is a transposed convolution whose windows lie side by side, or of a single pixel: every pixel gives a block of pixels of its own.
bool is_subpixel(const Network& net, const Layer& layer, int body);

/// Layer ids of a body at this moment, dead ones left out.
std::vector<LayerId> live(const Network& net, int body);

}  // namespace tuyere
