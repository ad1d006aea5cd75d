// SPDX-License-Identifier: Apache-2.0
// network_api [cpu|cuda|sm_90a ..] [file]: builds, saves and runs a small CNN through the builder API, without PyTorch.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>

#include "core/builder/builder.h"
#include "runtime/engine/cpp_api.h"

namespace {

using tuyere::Dim;
using tuyere::DType;
using tuyere::Fn;
using tuyere::Network;
using tuyere::Shape;
using tuyere::TensorId;

/// A weight of random values; refit can replace it by its name.
TensorId add_weight(Network& net, const std::string& name, const Shape& shape) {
  static std::minstd_rand random(1);
  auto data = std::make_shared<std::vector<std::byte>>(tuyere::numel(shape).value() * sizeof(float));
  float* values = reinterpret_cast<float*>(data->data());
  for (size_t i = 0; i < data->size() / sizeof(float); ++i) values[i] = std::normal_distribution<float>(0, 0.1f)(random);
  return net.add_constant(DType::F32, shape, {name, true, data});
}

/// softmax(linear(mean(relu(conv(image) + bias)))), for any batch size.
Network small_cnn() {
  Network net;
  const TensorId image = net.add_input({DType::F32, {Dim::symbol("n"), 3, 32, 32}, {}}, "image");
  tuyere::Conv conv;
  conv.stride = {2, 2};
  conv.pad_before = conv.pad_after = {1, 1};
  TensorId x = net.add1(conv, {image, add_weight(net, "conv.weight", {16, 3, 3, 3})});
  x = net.pointwise(Fn::add, {x, add_weight(net, "conv.bias", {16, 1, 1})}, DType::F32);
  x = net.pointwise(Fn::relu, {x}, DType::F32);
  x = net.add1(tuyere::Reduce{.kind = tuyere::ReduceKind::mean, .axes = {2, 3}}, {x});
  x = net.add1(tuyere::MatMul{.trans_b = true}, {x, add_weight(net, "fc.weight", {10, 16})});
  net.mark_output(net.add1(tuyere::Softmax{.axis = 1}, {x}));
  return net;
}

void build(const std::string& target, const std::string& path) {
  const Network net = small_cnn();
  std::printf("%s\n", str(net).c_str());
  tuyere::BuilderConfig config;
  config.target = target;
  config.profiles = {{{{"n", {.min = 1, .opt = 4, .max = 64}}}}};
  const tuyere::BuiltEngine built = tuyere::build(net, config);
  for (const tuyere::LayerReport& layer : built.report.layers) std::printf("  %-28s %s\n", layer.tactic.c_str(), layer.name.c_str());
  std::ofstream file(path, std::ios::binary);
  if (!file.write(reinterpret_cast<const char*>(built.bytes.data()), static_cast<std::streamsize>(built.bytes.size())))
    throw std::runtime_error("cannot write " + path);
}

/// Rows of a softmax sum to 1.
void run(const std::string& path, int64_t batch) {
  const tuyere::api::Engine engine(path);
  tuyere::api::Context context(engine);
  context.set_shape(0, {batch, 3, 32, 32});
  context.prepare();
  auto inputs = context.make_inputs(), outputs = context.make_outputs();
  inputs[0].write(std::vector<float>(batch * 3 * 32 * 32, 0.5f).data());
  context.execute(inputs, outputs);
  double sum = 0;
  for (float value : outputs[0].read<float>()) sum += value;
  std::printf("batch %lld: rows sum to %.4f\n", static_cast<long long>(batch), sum / static_cast<double>(batch));
  if (!(std::abs(sum - static_cast<double>(batch)) < 1e-3 * static_cast<double>(batch))) throw std::runtime_error("wrong result");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string target = argc > 1 ? argv[1] : "cpu", path = argc > 2 ? argv[2] : "small_cnn.engine";
  build(target, path);
  for (int64_t batch : {1, 4}) run(path, batch);
} catch (const std::exception& error) {
  return std::fprintf(stderr, "error: %s\n", error.what()), 1;
}
