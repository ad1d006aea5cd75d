// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

using test::Host;
using test::load;
using test::refit_plan;
using test::transpose_plan;

/// Runs transpose_plan on n rows that start at `start` and checks y; returns v.
std::vector<float> run_transpose(Context& context, int64_t n, float start = 0) {
  Host x({n, 3}, start), y({3, n}, -1), v({4}, -1);
  const TensorRef in[] = {x.ref()}, out[] = {y.ref(), v.ref()};
  const Status status = context.execute(in, out);
  EXPECT_TRUE(status.is_ok()) << status.message();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < 3; ++j) EXPECT_EQ(y.data[j * n + i], x.data[i * 3 + j]);
  return v.data;
}

std::unique_ptr<Context> context_of(Engine& engine) { return std::move(engine.create_context().value()); }

TEST(Engine, RunsManyShapes) {
  const auto engine = load(transpose_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = context_of(*engine.value());
  for (int64_t n : {4, 1, 1000, 4, 0, 7, 8, 9, 10, 11, 12, 13, 4, 1000}) EXPECT_EQ(run_transpose(*context, n), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_GE(context->arena_bytes(), 12000);
  EXPECT_EQ(context->mode(), "steps");
  EXPECT_EQ(engine.value()->device(), -1);
  EXPECT_EQ(engine.value()->weight_bytes(), 16);
}

TEST(Engine, Outputs) {
  const auto engine = load(transpose_plan());
  const auto context = context_of(*engine.value());
  Host x({6, 3});
  const TensorRef in[] = {x.ref()};
  const auto views = context->outputs(in);
  ASSERT_TRUE(views.is_ok());
  ASSERT_EQ(views.value().size(), 2u);
  EXPECT_EQ(views.value()[0].shape, (std::vector<int64_t>{3, 6}));
  EXPECT_EQ(views.value()[1].shape, (std::vector<int64_t>{4}));
}

std::string message(Context& context, std::vector<TensorRef> in, std::vector<TensorRef> out) {
  const Status status = context.execute(in, out);
  EXPECT_EQ(status.code(), Code::InvalidArgument) << status.message();
  return status.message();
}

TEST(Engine, WrongInputsAreNamed) {
  const auto engine = load(transpose_plan());
  const auto context = context_of(*engine.value());
  Host x({2, 3}), y({3, 2}), v({4});
  const std::vector<TensorRef> out = {y.ref(), v.ref()};
  EXPECT_EQ(message(*context, {}, out), "the engine has 1 inputs, 0 were given");
  TensorRef bad = x.ref();
  bad.dtype = DType::F16;
  EXPECT_EQ(message(*context, {bad}, out), "input 'x' has dtype f16, the engine needs f32");
  bad = x.ref();
  bad.device = 1;
  EXPECT_EQ(message(*context, {bad}, out), "input 'x' is on cuda:1, the engine runs on the CPU");
  Host flat({6}), wide({2, 4}), large({1001, 3});
  EXPECT_EQ(message(*context, {flat.ref()}, out), "input 'x' has 1 dimensions, the engine needs 2");
  EXPECT_EQ(message(*context, {wide.ref()}, out), "input 'x' has shape [2,4], the engine needs [n,3] = [2,3] with n = 2");
  EXPECT_EQ(message(*context, {large.ref()}, out), "input 'x': dim 0 is 1001, so n = 1001; the engine was built for n in [0,1000]");
  x.strides = {1, 2};
  EXPECT_EQ(message(*context, {x.ref()}, out), "input 'x' has strides [1,2], the engine needs [3,1] for shape [2,3]");
  x.strides = {3, 1};
  bad = x.ref();
  bad.data = nullptr;
  EXPECT_EQ(message(*context, {bad}, out), "input 'x' has no data");
  bad.data = reinterpret_cast<char*>(x.data.data()) + 1;
  EXPECT_EQ(message(*context, {bad}, out), "input 'x': its address is not a multiple of 4 bytes; pass an aligned copy");
  EXPECT_EQ(message(*context, {x.ref()}, {y.ref()}), "the engine has 2 outputs, 1 were given");
  EXPECT_EQ(message(*context, {x.ref()}, {x.ref(), v.ref()}), "output 'y' has shape [2,3], the engine needs [3,2]");
  run_transpose(*context, 2);
}

TEST(Engine, StridesOfSizeOneDoNotMatter) {
  const auto engine = load(transpose_plan());
  const auto context = context_of(*engine.value());
  Host x({1, 3}), y({3, 1}), v({4});
  x.strides = {77, 1};
  y.strides = {1, 99};
  const TensorRef in[] = {x.ref()}, out[] = {y.ref(), v.ref()};
  EXPECT_TRUE(context->execute(in, out).is_ok());
  EXPECT_EQ(y.data, x.data);
}

TEST(Engine, LinearSymbols) {
  EngineFile file = transpose_plan();
  PlanBody& body = file.plan.bodies[0];
  const Dim n = Dim::symbol("n"), rows = n * Dim(2) + Dim(1);
  for (PlanTensor& tensor : body.tensors) {
    for (Dim& dim : tensor.shape) dim = dim.substitute("n", rows);
    for (Dim& dim : tensor.strides) dim = dim.substitute("n", rows);
  }
  for (PlanBuffer& buffer : body.buffers) buffer.bytes = buffer.bytes.substitute("n", rows);
  body.symbols[0].expr = rows;
  const auto engine = load(file);
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = context_of(*engine.value());
  run_transpose(*context, 9);
  Host x({8, 3}), y({3, 8}), v({4});
  EXPECT_NE(message(*context, {x.ref()}, {y.ref(), v.ref()}).find("dim 0 is 8, which"), std::string::npos);
}

TEST(Engine, SixteenThreads) {
  const auto engine = load(refit_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      const auto context = context_of(*engine.value());
      for (int i = 0; i < 60; ++i) {
        const std::vector<float> v = run_transpose(*context, 1 + (t + i) % 11, static_cast<float>(t));
        // one version of the weights, never a mixture
        EXPECT_EQ(v[1], v[0] + 1);
        EXPECT_EQ(v[3], v[0] + 3);
      }
    });
  std::thread refitter([&] {
    const std::string names[] = {"p"};
    for (float base = 2; !stop; base += 1) {
      Host p({2, 2});
      p.data = {base, base + 2, base + 1, base + 3};
      const TensorRef values[] = {p.ref()};
      EXPECT_TRUE(engine.value()->refit(names, values).is_ok());
    }
  });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  refitter.join();
}

TEST(Engine, RefitAndSave) {
  const auto engine = load(refit_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = context_of(*engine.value());
  EXPECT_EQ(run_transpose(*context, 2), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(engine.value()->refittable(), std::vector<std::string>{"p"});
  Host p({2, 2}, 10);
  const std::string names[] = {"p"};
  TensorRef values[] = {p.ref()};
  ASSERT_TRUE(engine.value()->refit(names, values).is_ok());
  EXPECT_EQ(run_transpose(*context, 2), (std::vector<float>{10, 12, 11, 13}));

  const std::string path = testing::TempDir() + "tuyere_refit.engine";
  ASSERT_TRUE(engine.value()->save(path).is_ok());
  const auto again = Engine::load(path);
  std::remove(path.c_str());
  ASSERT_TRUE(again.is_ok()) << again.status().message();
  EXPECT_EQ(run_transpose(*context_of(*again.value()), 5), (std::vector<float>{10, 12, 11, 13}));

  const std::string unknown[] = {"q"};
  EXPECT_EQ(engine.value()->refit(unknown, values).message(), "the engine has no parameter 'q'");
  values[0].dtype = DType::F64;
  EXPECT_EQ(engine.value()->refit(names, values).message(), "parameter 'p' has dtype f64, the engine has f32");
  EXPECT_EQ(run_transpose(*context, 2), (std::vector<float>{10, 12, 11, 13}));
}

TEST(Engine, ObservedAndProfile) {
  EngineFile file = transpose_plan();
  file.plan.bodies[0].tensors[2].observed = true;
  const auto engine = load(file);
  const auto context = context_of(*engine.value());
  EXPECT_EQ(context->observed().status().code(), Code::FailedPrecondition);
  run_transpose(*context, 2, 5);
  const auto observed = context->observed();
  ASSERT_TRUE(observed.is_ok()) << observed.status().message();
  ASSERT_EQ(observed.value().size(), 1u);
  EXPECT_EQ(observed.value()[0].first, "t.T");
  const float expected[] = {5, 8, 6, 9, 7, 10};
  ASSERT_EQ(observed.value()[0].second.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(observed.value()[0].second.data(), expected, sizeof(expected)), 0);

  Host x({2, 3}), y({3, 2}), v({4});
  const TensorRef in[] = {x.ref()}, out[] = {y.ref(), v.ref()};
  const auto times = context->profile(in, out);
  ASSERT_TRUE(times.is_ok());
  EXPECT_EQ(times.value().size(), 3u);
}

TEST(Engine, MutatedInputAndAlias) {
  EngineFile file = transpose_plan();
  PlanBody& body = file.plan.bodies[0];
  body.buffers[0] = test::buffer(BufferKind::input, 16, 0);
  body.tensors[0] = test::tensor("x", {4}, 0);
  body.buffers = {body.buffers[0], test::buffer(BufferKind::constant, 16, -1, "w")};
  body.tensors = {test::tensor("x", {4}, 0), test::tensor("w", {4}, 1)};
  body.steps = {test::copy_step(1, 0)};
  body.symbols.clear();
  body.inputs[0].mutated = true;
  body.outputs = {test::io("x.out", 0)};
  body.outputs[0].aliases_input = 0;
  const auto engine = load(file);
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  Host x({4});
  const TensorRef in[] = {x.ref()}, out[] = {{}};
  EXPECT_TRUE(context_of(*engine.value())->execute(in, out).is_ok());
  EXPECT_EQ(x.data, (std::vector<float>{1, 2, 3, 4}));
}

TEST(Engine, HostStepsNeedTheirFramework) {
  EngineFile file = transpose_plan();
  file.plan.bodies[0].steps[0].spec = {"host", R"({"op":"aten::relu","overload":"","args":[{"tensor":0}]})", {}, 0};
  EXPECT_NE(load(file).status().message().find("(aten::relu)"), std::string::npos);
  static int calls = 0;
  HostTable table;
  table.call = [](void*, const char* op, const char*, const char* args, const TensorRef* in, int, const TensorRef* out, int, void*) -> const char* {
    ++calls;
    if (std::string_view(op) != "aten::relu" || std::string_view(args) != R"([{"tensor":0}])") return "bad call";
    std::memcpy(out[0].data, in[0].data, 4 * in[0].shape[0] * in[0].shape[1]);
    return nullptr;
  };
  set_host_table(table);
  const auto engine = load(file);
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  run_transpose(*context_of(*engine.value()), 3);
  EXPECT_EQ(calls, 1);
  set_host_table({});
}

TEST(Engine, UnknownTargetsAndExecutors) {
  EngineFile file = transpose_plan();
  file.plan.target = "tpu";
  EXPECT_EQ(load(file).status().code(), Code::FailedPrecondition);
  file.plan.target = "cpu";
  file.plan.bodies[0].steps[0].spec.executor = "nothing";
  EXPECT_EQ(load(file).status().message(), "unknown executor 'nothing'");
}

TEST(Engine, MisalignedBytesAreCopied) {
  const std::vector<std::byte> bytes = write_engine(transpose_plan());
  auto keep = std::make_shared<std::vector<std::byte>>(bytes.size() + 1);
  std::memcpy(keep->data() + 1, bytes.data(), bytes.size());
  const auto engine = Engine::load(std::span(*keep).subspan(1), keep);
  ASSERT_TRUE(engine.is_ok());
  run_transpose(*context_of(*engine.value()), 3);
}

}  // namespace
}  // namespace tuyere
