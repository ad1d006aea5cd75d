// SPDX-License-Identifier: Apache-2.0
// Small plans written by hand.
#pragma once
#include <cstring>
#include <numeric>

#include "runtime/engine/engine.h"

namespace tuyere::test {

inline PlanBuffer buffer(BufferKind kind, Dim bytes, int index = -1, std::string constant = "") { return {kind, index, std::move(constant), std::move(bytes)}; }

inline PlanTensor tensor(std::string name, const Shape& shape, int buffer, std::vector<Dim> strides = {}, DType dtype = DType::F32) {
  if (strides.empty()) strides = contiguous_strides(shape);
  return {std::move(name), dtype, shape, std::move(strides), buffer, 0, false};
}

inline PlanStep copy_step(int in, int out, std::string name = "copy") {
  PlanStep step;
  step.spec.executor = "copy";
  step.spec.attrs = "{}";
  step.in = {in};
  step.out = {out};
  step.name = std::move(name);
  return step;
}

inline PlanIo io(std::string name, int tensor) {
  PlanIo io;
  io.name = std::move(name);
  io.tensor = tensor;
  return io;
}

inline PlanConstant constant(const std::vector<float>& values, std::vector<int64_t> shape) {
  auto keep = std::make_shared<std::vector<float>>(values);
  return {DType::F32, std::move(shape), keep->data(), static_cast<int64_t>(keep->size() * 4), keep};
}

/// y[m,n] = transpose(x[n,m]) through an arena buffer; w (a constant [4]) is copied to output 1. n is symbolic, m = 3.
inline EngineFile transpose_plan() {
  const Dim n = Dim::symbol("n"), bytes = n * Dim(12);
  EngineFile file;
  PlanBody& body = file.plan.bodies[0];
  body.buffers = {buffer(BufferKind::input, bytes, 0), buffer(BufferKind::arena, bytes), buffer(BufferKind::output, bytes, 0),
                  buffer(BufferKind::constant, 16, -1, "w"), buffer(BufferKind::output, 16, 1)};
  body.tensors = {tensor("x", {n, 3}, 0), tensor("t", {n, 3}, 1), tensor("t.T", {3, n}, 1, {1, 3}),
                  tensor("y", {3, n}, 2), tensor("w", {4}, 3),    tensor("v", {4}, 4)};
  body.steps = {copy_step(0, 1, "x"), copy_step(2, 3, "transpose"), copy_step(4, 5, "weight")};
  body.inputs = {io("x", 0)};
  body.outputs = {io("y", 3), io("v", 5)};
  PlanSymbol symbol;
  symbol.name = "n";
  symbol.expr = n;
  symbol.max = 1000;
  body.symbols = {symbol};
  file.constants["w"] = constant({1, 2, 3, 4}, {4});
  file.plan.meta["tuyere"] = "0.1.0";
  return file;
}

/// transpose_plan with a parameter p [2,2] whose transpose is the constant w.
inline EngineFile refit_plan() {
  EngineFile file = transpose_plan();
  file.constants["param/p"] = constant({1, 3, 2, 4}, {2, 2});
  PlanBody weights;
  weights.buffers = {buffer(BufferKind::input, 16, 0), buffer(BufferKind::output, 16, 0)};
  weights.tensors = {tensor("p.T", {2, 2}, 0, {1, 2}), tensor("w2", {2, 2}, 1), tensor("w", {4}, 1), tensor("p", {2, 2}, 0)};
  weights.steps = {copy_step(0, 1, "transpose")};
  weights.inputs = {io("p", 3)};
  weights.outputs = {io("w", 2)};
  file.plan.bodies.push_back(weights);
  file.plan.weight_body = 1;
  return file;
}

inline Result<std::shared_ptr<Engine>> load(const EngineFile& file) {
  auto bytes = std::make_shared<const std::vector<std::byte>>(write_engine(file));
  return Engine::load(*bytes, bytes);
}

/// A host tensor that owns its data.
struct Host {
  std::vector<int64_t> shape, strides;
  std::vector<float> data;
  explicit Host(std::vector<int64_t> dims, float start = 0) : shape(std::move(dims)), strides(contiguous_strides(shape)) {
    data.resize(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
    std::iota(data.begin(), data.end(), start);
  }
  TensorRef ref() { return {data.data(), DType::F32, shape, strides, -1}; }
};

}  // namespace tuyere::test
