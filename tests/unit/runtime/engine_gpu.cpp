// SPDX-License-Identifier: Apache-2.0
// The engine on a real GPU (skipped without one): upload, arena, graphs, side streams, refit. The kernel is PTX, so the test runs on every GPU.
#include <gtest/gtest.h>

#include "kernels/api/cuda_step.h"
#include "kernels/run/device_api.h"
#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

// y[i] = x[i] + w[i % 4] for i < n
constexpr char kAddW[] = R"(.version 7.0
.target sm_80
.address_size 64
.visible .entry add_w(.param .u64 x, .param .u64 w, .param .u64 y, .param .u32 n)
{
  .reg .pred %p; .reg .f32 %f<3>; .reg .b32 %r<6>; .reg .b64 %rd<9>;
  ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [w]; ld.param.u64 %rd3, [y]; ld.param.u32 %r1, [n];
  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
  mad.lo.s32 %r2, %r2, %r3, %r4;
  setp.ge.s32 %p, %r2, %r1;
  @%p bra done;
  mul.wide.s32 %rd4, %r2, 4;
  and.b32 %r5, %r2, 3;
  mul.wide.s32 %rd5, %r5, 4;
  add.s64 %rd6, %rd1, %rd4; add.s64 %rd7, %rd2, %rd5; add.s64 %rd8, %rd3, %rd4;
  ld.global.f32 %f1, [%rd6]; ld.global.f32 %f2, [%rd7];
  add.f32 %f1, %f1, %f2;
  st.global.f32 [%rd8], %f1;
done:
  ret;
}
)";

PlanStep add_step(int x, int w, int y, std::string name) {
  const Dim n = Dim::symbol("n");
  KernelLaunch launch;
  launch.kernel = "add_w";
  launch.grid = {ceildiv(n, Dim(256)), 1, 1};
  launch.block = {256, 1, 1};
  launch.args = {KernelArg::ptr(0), KernelArg::ptr(1), KernelArg::ptr(2), KernelArg::int32(n)};
  PlanStep step;
  const auto* text = reinterpret_cast<const std::byte*>(kAddW);
  step.spec = {"cuda", to_json(CudaStep{{launch}}), {std::make_shared<const std::vector<std::byte>>(text, text + sizeof(kAddW))}, 0};
  step.in = {x, w};
  step.out = {y};
  step.name = std::move(name);
  return step;
}

/// y = x + 3 * w; a second branch, x + w on stream 1, starts the chain while the first is observed. w is a parameter.
EngineFile gpu_plan(const std::string& target) {
  const Dim n = Dim::symbol("n"), bytes = n * Dim(4);
  EngineFile file;
  file.plan.target = target;
  PlanBody& body = file.plan.bodies[0];
  body.buffers = {test::buffer(BufferKind::input, bytes, 0), test::buffer(BufferKind::constant, 16, -1, "param/w")};
  body.tensors = {test::tensor("x", {n}, 0), test::tensor("w", {4}, 1)};
  for (int i = 0; i < 4; ++i) {
    body.buffers.push_back(i < 3 ? test::buffer(BufferKind::arena, bytes) : test::buffer(BufferKind::output, bytes, 0));
    body.tensors.push_back(test::tensor(i < 3 ? "t" + std::to_string(i) : "y", {n}, 2 + i));
  }
  body.steps = {add_step(0, 1, 2, "a"), add_step(0, 1, 3, "side"), add_step(3, 1, 4, "b"), add_step(4, 1, 5, "c")};
  body.steps[1].stream = 1;
  body.steps[1].record_event = 0;
  body.steps[2].wait_events = {0};
  body.tensors[2].observed = true;
  body.inputs = {test::io("x", 0)};
  body.outputs = {test::io("y", 5)};
  PlanSymbol symbol;
  symbol.name = "n";
  symbol.expr = n;
  body.symbols = {symbol};
  file.constants["param/w"] = test::constant({1, 2, 3, 4}, {4});
  return file;
}

class EngineGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    auto found = cuda_device();
    if (!found.is_ok() || found.value()->count() == 0) GTEST_SKIP() << "no GPU: " << found.status().message();
    api = *found;
    const DeviceInfo info = std::move(api->info(0).value());
    file = gpu_plan("sm_" + std::to_string(info.major * 10 + info.minor));
    for (std::byte*& block : memory) block = static_cast<std::byte*>(api->alloc(0, kBlock).value());
  }
  void TearDown() override {
    for (std::byte* block : memory)
      if (block) api->free(0, block);
  }

  void load(bool graphs = true) {
    auto bytes = std::make_shared<const std::vector<std::byte>>(write_engine(file));
    auto loaded = Engine::load(*bytes, bytes, {.device = 0, .cuda_graphs = graphs});
    ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
    engine = *loaded;
    context = std::move(engine->create_context().value());
  }

  /// Runs on the slot-th pair of addresses; checks y = x + 3 * w.
  std::string run(int slot, int64_t n, std::vector<float> w = {1, 2, 3, 4}, void* stream = nullptr) {
    test::Host x({n}, static_cast<float>(++calls)), y({n}, -1);
    std::byte *xd = memory[0] + slot * kSlot, *yd = memory[1] + slot * kSlot;
    if (n) {
      EXPECT_TRUE(api->copy_now(0, xd, x.data.data(), n * 4).is_ok());
    }
    TensorRef in[] = {x.ref()}, out[] = {y.ref()};
    in[0].data = xd, in[0].device = 0, out[0].data = yd, out[0].device = 0;
    const Status status = context->execute(in, out, stream);
    EXPECT_TRUE(status.is_ok()) << status.message();
    EXPECT_TRUE(api->push(0).is_ok());
    EXPECT_TRUE(api->synchronize(stream).is_ok());
    api->pop();
    if (n) {
      EXPECT_TRUE(api->copy_now(0, y.data.data(), yd, n * 4).is_ok());
    }
    for (int64_t i = 0; i < n; ++i) {
      if (y.data[i] == x.data[i] + 3 * w[i % 4]) continue;
      ADD_FAILURE() << "element " << i << " is " << y.data[i];
      break;
    }
    return context->mode();
  }

  static constexpr int64_t kSlot = 8192, kBlock = 64 * kSlot;
  DeviceApi* api = nullptr;
  EngineFile file;
  std::shared_ptr<Engine> engine;
  std::unique_ptr<Context> context;
  std::byte* memory[2] = {};
  int calls = 0;
};

TEST_F(EngineGpu, GraphsPerAddresses) {
  load();
  EXPECT_EQ(run(0, 1000), "steps: first call of these shapes");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(0, 1000), "graph");
  EXPECT_EQ(run(1, 1000), "graph");
  EXPECT_EQ(run(0, 1000), "graph");
  for (int slot = 10; slot < 14; ++slot) EXPECT_EQ(run(slot, 1000), "graph");
  for (int slot = 14; slot < 30; ++slot) EXPECT_EQ(run(slot, 1000), "graph+copies");
  EXPECT_EQ(run(10, 1000), "graph");
}

TEST_F(EngineGpu, ShapesGrowTheArena) {
  load();
  for (int64_t n : {8, 2000, 8, 8, 2000, 2000, 1, 3, 5, 7, 9, 11, 13, 15, 8, 8}) run(0, n);
  EXPECT_GE(context->arena_bytes(), 2 * 8000);
}

TEST_F(EngineGpu, WithoutGraphs) {
  load(false);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(i, 100), "steps: graphs are switched off");
}

TEST_F(EngineGpu, OtherStreams) {
  load();
  void* stream = api->create_stream(0).value();
  for (int i = 0; i < 6; ++i) run(0, 500, {1, 2, 3, 4}, i % 2 ? stream : nullptr);
  context.reset();
  api->destroy_stream(stream);
}

TEST_F(EngineGpu, Refit) {
  load();
  run(0, 100);
  run(0, 100);
  test::Host w({4}, 10);
  const std::string names[] = {"w"};
  TensorRef values[] = {w.ref()};
  ASSERT_TRUE(engine->refit(names, values).is_ok());
  EXPECT_EQ(run(0, 100, {10, 11, 12, 13}), "graph");
  // from device memory
  w.data = {5, 5, 5, 6};
  ASSERT_TRUE(api->copy_now(0, memory[0] + 40 * kSlot, w.data.data(), 16).is_ok());
  values[0].data = memory[0] + 40 * kSlot;
  values[0].device = 0;
  const Status status = engine->refit(names, values);
  ASSERT_TRUE(status.is_ok()) << status.message();
  run(0, 100, {5, 5, 5, 6});
}

TEST_F(EngineGpu, ObservedAndProfile) {
  load();
  for (int i = 0; i < 2; ++i) run(0, 4);
  const auto observed = context->observed();
  ASSERT_TRUE(observed.is_ok()) << observed.status().message();
  const float expected[] = {3, 5, 7, 9};  // x = 2, 3, 4, 5 of the second call + w
  ASSERT_EQ(observed.value().at(0).second.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(observed.value()[0].second.data(), expected, sizeof(expected)), 0);
  test::Host x({4});
  TensorRef ref = x.ref(), out = x.ref();
  ref.device = out.device = 0;
  ref.data = memory[0];
  out.data = memory[1];
  const auto times = context->profile({&ref, 1}, {&out, 1});
  ASSERT_TRUE(times.is_ok()) << times.status().message();
  EXPECT_EQ(times.value().size(), 4u);
  ref.data = memory[0] + 4;
  EXPECT_EQ(context->execute({&ref, 1}, {&out, 1}).message(), "input 'x': its address is not a multiple of 16 bytes; pass an aligned copy");
}

TEST_F(EngineGpu, OtherArchitecturesAreRefused) {
  file.plan.target = "sm_50";
  auto bytes = std::make_shared<const std::vector<std::byte>>(write_engine(file));
  EXPECT_EQ(Engine::load(*bytes, bytes).status().code(), Code::FailedPrecondition);
  EXPECT_EQ(check_engine(*bytes).code(), Code::FailedPrecondition);
}

}  // namespace
}  // namespace tuyere
