// SPDX-License-Identifier: Apache-2.0
// Networks from text with data, built for the CPU and run.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/builder/builder.h"
#include "runtime/engine/engine.h"

namespace tuyere::testing {

/// Fills constants that have no data with small random floats.
inline void fill_constants(Network& network, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-0.5f, 0.5f);
  for (const Tensor& tensor : network.main().tensors) {
    if (tensor.constant < 0 || network.constants[tensor.constant].data) continue;
    int64_t count = numel(tensor.type.shape).value();
    auto data = std::make_shared<std::vector<std::byte>>(bytes_of(tensor.type.dtype, count));
    for (int64_t i = 0; i < count; ++i) store_from_double(tensor.type.dtype, data->data(), i, uniform(random));
    network.constants[tensor.constant].data = data;
  }
}

inline Network network_of(const std::string& text, unsigned seed = 1) {
  Network network = parse_network(text);
  fill_constants(network, seed);
  return network;
}

/// No timing cache, no timing.
inline BuilderConfig untimed() {
  BuilderConfig config;
  config.optimization_level = 0;
  config.timing_cache = "";
  return config;
}

struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

inline HostTensor random_tensor(std::vector<int64_t> shape, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  HostTensor tensor{std::move(shape), std::vector<float>(count)};
  for (float& v : tensor.data) v = uniform(random);
  return tensor;
}

inline std::shared_ptr<Engine> load(const std::vector<std::byte>& bytes) {
  auto copy = std::make_shared<std::vector<std::byte>>(bytes);
  auto engine = Engine::load(*copy, copy);
  EXPECT_TRUE(engine.is_ok()) << engine.status().message();
  return engine.is_ok() ? *engine : nullptr;
}

/// Runs f32 tensors through the engine; inputs and outputs row-major.
inline std::vector<HostTensor> run(Engine& engine, const std::vector<HostTensor>& inputs) {
  auto context = engine.create_context();
  EXPECT_TRUE(context.is_ok()) << context.status().message();
  std::vector<std::vector<int64_t>> strides;
  strides.reserve(inputs.size() + engine.body().outputs.size());
  auto ref = [&](const HostTensor& t) {
    strides.push_back(contiguous_strides(t.shape));
    return TensorRef{const_cast<float*>(t.data.data()), DType::F32, t.shape, strides.back(), -1};
  };
  std::vector<TensorRef> in, out;
  for (const HostTensor& t : inputs) in.push_back(ref(t));
  auto views = (*context)->outputs(in);
  EXPECT_TRUE(views.is_ok()) << views.status().message();
  if (!views.is_ok()) return {};
  std::vector<HostTensor> outputs;
  for (const TensorView& view : *views) outputs.push_back({view.shape, std::vector<float>(view.numel())});
  for (const HostTensor& t : outputs) out.push_back(ref(t));
  Status status = (*context)->execute(in, out);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return outputs;
}

inline void expect_near(const HostTensor& got, const HostTensor& want, double tolerance = 1e-5) {
  ASSERT_EQ(got.shape, want.shape);
  for (size_t i = 0; i < got.data.size(); ++i) ASSERT_NEAR(got.data[i], want.data[i], tolerance) << "at " << i;
}

}  // namespace tuyere::testing
