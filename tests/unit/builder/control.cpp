// SPDX-License-Identifier: Apache-2.0
// If, While and Call from their text form through the builder to results on the CPU.
#include <cmath>

#include "common/error.h"
#include "tests/unit/builder/build_util.h"

namespace tuyere {
namespace {

using namespace testing;

/// A weight in each branch, a view as an argument, a branch inside a call.
constexpr const char* kBranches = R"(flag = input bool[]
x = input f32[n,6]
s = slice(x) axis=1 start=2 end=6
y = if(flag, s) then_body=1 else_body=2
z = call(y) body=3
return z
body 1 {
  a = input f32[n,4]
  w = param f32[4,3] "then.weight"
  b = matmul(a, w)
  c = relu(b)
  return c
}
body 2 {
  a = input f32[n,4]
  b = slice(a) axis=1 start=0 end=3
  c = neg(b)
  return c
}
body 3 {
  a = input f32[n,3]
  two = literal f32[] 2
  b = mul(a, two)
  return b
})";

/// Fills the constants of all bodies.
Network network_with_bodies(const std::string& text) {
  Network network = parse_network(text);
  fill_constants(network);
  for (const Body& body : network.bodies) {
    for (const Tensor& tensor : body.tensors) {
      if (tensor.constant < 0 || network.constants[tensor.constant].data) continue;
      auto data = std::make_shared<std::vector<std::byte>>(bytes_of(tensor.type.dtype, numel(tensor.type.shape).value()));
      for (int64_t i = 0; i < numel(tensor.type.shape).value(); ++i) store_from_double(tensor.type.dtype, data->data(), i, 0.25 * double(i % 7) - 0.5);
      network.constants[tensor.constant].data = data;
    }
  }
  return network;
}

std::vector<float> run_branches(Engine& engine, bool flag, const HostTensor& x) {
  auto context = std::move(engine.create_context().value());
  std::vector<int64_t> strides = contiguous_strides(x.shape), shape = {x.shape[0], 3}, out_strides = {3, 1};
  std::vector<float> y(x.shape[0] * 3);
  const TensorRef in[] = {{&flag, DType::Bool, {}, {}, -1}, {const_cast<float*>(x.data.data()), DType::F32, x.shape, strides, -1}};
  const TensorRef out[] = {{y.data(), DType::F32, shape, out_strides, -1}};
  Status status = context->execute(in, out);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return y;
}

void check_branches(const Network& network, Engine& engine) {
  const float* w = nullptr;
  for (const Constant& constant : network.constants)
    if (constant.name == "then.weight") w = reinterpret_cast<const float*>(constant.data->data());
  for (int64_t n : {3, 1, 8}) {
    HostTensor x = random_tensor({n, 6});
    for (bool flag : {true, false}) {
      std::vector<float> y = run_branches(engine, flag, x);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < 3; ++j) {
          float sum = 0;
          for (int k = 0; k < 4; ++k) sum += x.data[i * 6 + 2 + k] * w[k * 3 + j];
          EXPECT_NEAR(y[i * 3 + j], 2 * (flag ? std::max(sum, 0.f) : -x.data[i * 6 + 2 + j]), 1e-5);
        }
    }
  }
}

TEST(BuildControl, Branches) {
  Network network = network_with_bodies(kBranches);
  BuiltEngine built = build(network, untimed());
  auto engine = load(built.bytes);
  ASSERT_TRUE(engine);
  check_branches(network, *engine);
  EXPECT_EQ(engine->plan().bodies.size(), 4u);
}

TEST(BuildControl, TimedAndInProfiles) {
  BuilderConfig config = untimed();
  config.optimization_level = 2;
  OptimizationProfile small, large;
  small.symbols["n"] = {1, 2, 4};
  large.symbols["n"] = {5, 8, 16};
  config.profiles = {small, large};
  Network network = network_with_bodies(kBranches);
  auto engine = load(build(network, config).bytes);
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->plan().bodies.size(), 8u);
  EXPECT_EQ(engine->plan().profiles, std::vector<int>{4});
  check_branches(network, *engine);
}

TEST(BuildControl, WeightsInBodiesAreRefitted) {
  Network network = network_with_bodies(kBranches);
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->refittable(), std::vector<std::string>{"then.weight"});
  std::vector<float> next(12, 0.5f);
  std::vector<int64_t> shape = {4, 3}, strides = {3, 1};
  std::vector<std::string> names = {"then.weight"};
  std::vector<TensorRef> values = {{next.data(), DType::F32, shape, strides, -1}};
  HostTensor x = random_tensor({2, 6});
  run_branches(*engine, true, x);
  ASSERT_TRUE(engine->refit(names, values).is_ok());
  for (Constant& constant : network.constants) {
    if (constant.name != "then.weight") continue;
    auto data = std::make_shared<std::vector<std::byte>>(48);
    std::memcpy(data->data(), next.data(), 48);
    constant.data = data;
  }
  check_branches(network, *engine);
}

TEST(BuildControl, Loop) {
  Network network = network_with_bodies(R"(x = input f32[n,4]
i = literal i64[] 0
k, y = while(i, x) cond_body=1 loop_body=2
return k, y
body 1 {
  i = input i64[]
  x = input f32[n,4]
  five = literal i64[] 5
  go = lt(i, five)
  return go
}
body 2 {
  i = input i64[]
  x = input f32[n,4]
  one = literal i64[] 1
  half = literal f32[] 0.5
  j = add(i, one)
  a = mul(x, half)
  s = softmax(a) axis=1
  y = add(a, s)
  return j, y
})");
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  for (int64_t n : {2, 5}) {
    HostTensor x = random_tensor({n, 4});
    auto context = std::move(engine->create_context().value());
    std::vector<int64_t> strides = {4, 1};
    int64_t count = -1;
    std::vector<float> y(n * 4);
    const TensorRef in[] = {{x.data.data(), DType::F32, x.shape, strides, -1}};
    const TensorRef out[] = {{&count, DType::I64, {}, {}, -1}, {y.data(), DType::F32, x.shape, strides, -1}};
    Status status = context->execute(in, out);
    ASSERT_TRUE(status.is_ok()) << status.message();
    EXPECT_EQ(count, 5);
    std::vector<float> want = x.data;
    for (int step = 0; step < 5; ++step)
      for (int64_t i = 0; i < n; ++i) {
        float sum = 0;
        for (int c = 0; c < 4; ++c) sum += std::exp(0.5f * want[i * 4 + c]);
        for (int c = 0; c < 4; ++c) want[i * 4 + c] = 0.5f * want[i * 4 + c] + std::exp(0.5f * want[i * 4 + c]) / sum;
      }
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], want[i], 1e-5);
  }
}

TEST(BuildControl, SizesMustBeReadOffABodysInputs) {
  Network network = parse_network(
      "x = input f32[n]\nflag = input bool[]\ns = input f32[]\ny = if(flag, s) then_body=1 else_body=1\nreturn y, x\n"
      "body 1 {\n a = input f32[]\n b = expand(a) shape=[n]\n return b\n}");
  try {
    build(network, untimed());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'n'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tuyere
