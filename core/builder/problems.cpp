// SPDX-License-Identifier: Apache-2.0
#include "core/builder/problems.h"

#include <algorithm>
#include <numeric>

#include "runtime/engine/engine.h"

namespace tuyere {
namespace {

int base_alignment(BufferKind kind) {
  switch (kind) {
    case BufferKind::input:
    case BufferKind::output:
      return kIoAlignment;
    case BufferKind::constant:
      return kConstantAlignment;
    case BufferKind::arena:
      return kArenaAlignment;
  }
  return 1;
}

TensorDesc describe(const Tensor& tensor, const Placement& placement, TensorId id) {
  const PlacedTensor& placed = placement.tensors[id];
  const PlacedBuffer& buffer = placement.buffers[placed.buffer];
  TensorDesc desc;
  desc.dtype = tensor.type.dtype;
  desc.shape = tensor.type.shape;
  desc.strides = placed.strides;
  desc.constant = buffer.kind == BufferKind::constant;
  desc.alignment = alignment_at(placed.offset, tensor.type.dtype, base_alignment(buffer.kind));
  return desc;
}

/// The largest integer that divides `dim` for every value of its symbols, as far as sampling polynomials tells: a linear expression is divided
/// by d when it is at 0 and at 1 of every symbol (products of symbols are sampled at two further points).
int64_t divisor(const Dim& dim) {
  std::vector<std::string> names;
  dim.collect(names);
  int64_t result = 0;
  for (size_t point = 0; point < names.size() + 3; ++point) {
    Symbols values;
    for (size_t i = 0; i < names.size(); ++i)
      values.set(names[i], point < names.size() ? (i == point ? 1 : 0) : static_cast<int64_t>(point - names.size()) * 3 + 1);
    int64_t value;
    if (!dim.try_eval(values, &value)) return 1;
    result = std::gcd(result, value);
  }
  return result;
}

}  // namespace

int alignment_at(const Dim& offset, DType dtype, int base) {
  int64_t elements = offset.is_const() ? offset.value() : divisor(offset);
  int64_t offset_bits = elements * bits(dtype);
  if (offset_bits == 0) return base;
  return static_cast<int>(std::max<int64_t>(1, std::gcd<int64_t>(int64_t{base} * 8, offset_bits) / 8));
}

Problem make_problem(const Network& network, int body, LayerId layer, const Placement& placement, const Symbols& hints, bool deterministic) {
  const Body& b = network.bodies[body];
  Problem problem;
  problem.op = b.layers[layer].op;
  for (TensorId t : b.layers[layer].inputs) problem.in.push_back(describe(b.tensors[t], placement, t));
  for (TensorId t : b.layers[layer].outputs) problem.out.push_back(describe(b.tensors[t], placement, t));
  problem.hints = hints;
  problem.deterministic = deterministic;
  return problem;
}

std::vector<Problem> make_problems(const Network& network, int body, const Placement& placement, const Symbols& hints, bool deterministic) {
  std::vector<Problem> problems;
  for (LayerId layer : placement.steps) problems.push_back(make_problem(network, body, layer, placement, hints, deterministic));
  return problems;
}

}  // namespace tuyere
