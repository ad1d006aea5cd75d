// SPDX-License-Identifier: Apache-2.0
// The graph policy over a device in host memory: a "graph" is what the steps recorded while they were captured, with the pointers they got.
#include "runtime/engine/graphs.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

class FakeDevice final : public DeviceApi {
 public:
  struct Launch {
    Executable* code;
    std::vector<void*> pointers;
  };
  using Graph = std::vector<Launch>;
  Graph* recording = nullptr;
  int captures = 0, live = 0;
  bool refuse_capture = false;

  int count() override { return 1; }
  Result<DeviceInfo> info(int) override { return DeviceInfo{}; }
  Status push(int) noexcept override { return {}; }
  void pop() noexcept override {}
  Result<void*> alloc(int, int64_t) override { return Status(Code::Internal, "unused"); }
  void free(int, void*) noexcept override {}
  Status copy(void* dst, const void* src, int64_t bytes, void*) noexcept override { return std::memcpy(dst, src, bytes), Status(); }
  Status fill(void* dst, int byte, int64_t bytes, void*) noexcept override { return std::memset(dst, byte, bytes), Status(); }
  Status copy_now(int, void* dst, const void* src, int64_t bytes) override { return copy(dst, src, bytes, nullptr); }
  Result<void*> create_stream(int) override { return static_cast<void*>(this); }
  void destroy_stream(void*) noexcept override {}
  Status synchronize(void*) noexcept override { return {}; }
  Result<void*> create_event(int, bool) override { return static_cast<void*>(this); }
  void destroy_event(void*) noexcept override {}
  Status record(void*, void*) noexcept override { return {}; }
  Status wait(void*, void*) noexcept override { return {}; }
  Result<double> elapsed_micros(void*, void*) override { return 1.0; }
  bool is_capturing(void*) noexcept override { return false; }
  Status begin_capture(void*) override {
    if (refuse_capture) return {Code::Internal, "refused"};
    recording = new Graph;
    return {};
  }
  Result<void*> end_capture(void*) override {
    ++captures, ++live;
    return static_cast<void*>(std::exchange(recording, nullptr));
  }
  Status launch_graph(void* graph, void*) noexcept override {
    for (const Launch& launch : *static_cast<Graph*>(graph)) TRY(launch.code->run(launch.pointers.data(), nullptr));
    return {};
  }
  void destroy_graph(void* graph) noexcept override {
    --live;
    delete static_cast<Graph*>(graph);
  }
};

/// A step of two pointers that is recorded while the device captures. Host steps count the calls and must not be captured.
class Recorded final : public Executable {
 public:
  Recorded(std::unique_ptr<Executable> code, FakeDevice& device, int launches, int* host_calls)
      : code_(std::move(code)), device_(device), launches_(launches), host_calls_(host_calls) {}
  Status run(void* const* pointers, void* stream) noexcept override {
    if (host_calls_) {
      EXPECT_FALSE(device_.recording);
      ++*host_calls_;
    }
    if (!device_.recording) return code_->run(pointers, stream);
    device_.recording->push_back({code_.get(), {pointers, pointers + 2}});
    return {};
  }
  int launches() const noexcept override { return launches_; }

 private:
  std::unique_ptr<Executable> code_;
  FakeDevice& device_;
  int launches_;
  int* host_calls_;
};

struct Graphs : testing::Test {
  void SetUp() override {
    auto constants = std::make_shared<ConstantSet>();
    constants->host = file.constants;
    constants->packs = std::make_shared<PackStore>();
    const TensorRef in[] = {x.ref()};
    prepared = std::move(Prepared::make(file.plan, 0, -1, nullptr, constants, in).value());
    runner = std::move(Runner::make(file.plan.bodies[0], -1, nullptr).value());
    arena.resize(prepared->arena.bytes);
    prepared->use_arena(arena.data(), 1);
    for (size_t i = 0; i < prepared->steps.size(); ++i) {
      Prepared::Step& step = prepared->steps[i];
      step.capturable = !host_steps.count(i);
      step.code = std::make_unique<Recorded>(std::move(step.code), device, launches.empty() ? -1 : launches[i], step.capturable ? nullptr : &host_calls);
    }
  }

  /// Runs with fresh contents at the k-th pair of addresses and checks the result.
  std::string run(int k) {
    inputs.resize(std::max<size_t>(inputs.size(), k + 1), test::Host({4, 3}));
    outputs.resize(inputs.size(), test::Host({3, 4}));
    test::Host &in = inputs[k], &out = outputs[k];
    for (float& value : in.data) value += static_cast<float>(++calls);
    std::fill(out.data.begin(), out.data.end(), -1.f);
    void *ins[] = {in.data.data()}, *outs[] = {out.data.data(), fixed};
    const Status status = cache.run(*prepared, *runner, ins, outs, nullptr, nullptr);
    EXPECT_TRUE(status.is_ok()) << status.message();
    for (int i = 0; i < 12; ++i) EXPECT_EQ(out.data[i % 3 * 4 + i / 3], in.data[i]);
    EXPECT_EQ(fixed[3], 4);
    return cache.mode();
  }

  EngineFile file = test::transpose_plan();
  std::set<size_t> host_steps;
  std::vector<int> launches;  // of the steps; empty: not known
  int host_calls = 0;
  test::Host x{{4, 3}};
  FakeDevice device;
  std::unique_ptr<Prepared> prepared;
  std::unique_ptr<Runner> runner;
  std::vector<std::byte> arena;
  std::vector<test::Host> inputs, outputs;
  float fixed[4] = {};
  int calls = 0;
  GraphCache cache{&device, -1};
};

TEST_F(Graphs, RepeatedAddressesUseGraphs) {
  inputs.assign(3, test::Host({4, 3}));
  outputs.assign(3, test::Host({3, 4}));
  EXPECT_EQ(run(0), "steps");
  for (int round = 0; round < 5; ++round)
    for (int k = 0; k < 3; ++k) EXPECT_EQ(run(k), "graph");
  EXPECT_EQ(device.captures, 3);
  cache.clear();
  EXPECT_EQ(device.live, 0);
  EXPECT_EQ(run(1), "graph");
  EXPECT_EQ(device.captures, 4);
}

TEST_F(Graphs, ChangingAddressesUseCopies) {
  inputs.assign(30, test::Host({4, 3}));
  outputs.assign(30, test::Host({3, 4}));
  run(0);
  for (int k = 1; k <= 4; ++k) EXPECT_EQ(run(k), "graph");
  for (int k = 5; k < 20; ++k) EXPECT_EQ(run(k), "graph+copies");
  EXPECT_EQ(run(2), "graph");
  EXPECT_EQ(run(25), "graph+copies");
  EXPECT_EQ(device.captures, 5);
}

TEST_F(Graphs, FailedCapturesFallBackToSteps) {
  device.refuse_capture = true;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(run(0), "steps");
  EXPECT_EQ(cache.why(), "capture failed: refused");
  EXPECT_EQ(device.captures, 0);
}

struct FewLaunches : Graphs {
  void SetUp() override {
    launches = {1, 0, 1};
    Graphs::SetUp();
  }
};

TEST_F(FewLaunches, NeedNoGraph) {
  for (int i = 0; i < 9; ++i) EXPECT_EQ(run(i), "steps");
  EXPECT_EQ(cache.why(), "so few launches need no graph");
  EXPECT_EQ(device.captures, 0);
}

struct ThreeLaunches : Graphs {
  void SetUp() override {
    launches = {1, 1, 1};
    Graphs::SetUp();
  }
};

TEST_F(ThreeLaunches, UseGraphs) {
  EXPECT_EQ(run(0), "steps");
  EXPECT_EQ(run(0), "graph");
}

TEST_F(Graphs, AtMostSixteen) {
  inputs.assign(40, test::Host({4, 3}));
  outputs.assign(40, test::Host({3, 4}));
  run(0);
  for (int k = 0; k < 40; ++k) {
    run(k);
    run(k);  // a hit resets the count of misses
  }
  EXPECT_EQ(device.captures, 40);
  EXPECT_EQ(device.live, 16);
}

/// transpose_plan with a detour: x -> t, a host step t -> u, u -> t2, t2.T -> y, w -> v.
struct CutGraphs : Graphs {
  void SetUp() override {
    PlanBody& body = file.plan.bodies[0];
    const Dim bytes = Dim::symbol("n") * Dim(12);
    for (int k = 0; k < 2; ++k) {
      body.buffers.push_back(test::buffer(BufferKind::arena, bytes));
      body.tensors.push_back(test::tensor("u", {Dim::symbol("n"), 3}, 5 + k));
    }
    body.tensors[2].buffer = 6;  // t.T is a view of t2
    body.steps = {test::copy_step(0, 1), test::copy_step(4, 5), test::copy_step(1, 6, "host"), test::copy_step(6, 7), test::copy_step(2, 3)};
    host_steps = {2};
    Graphs::SetUp();
  }
};

TEST_F(CutGraphs, HostStepsRunBetweenGraphs) {
  EXPECT_EQ(run(0), "steps");
  for (int round = 0; round < 3; ++round) EXPECT_EQ(run(0), "graph");
  EXPECT_EQ(cache.why(), "cut at 1 host step");
  EXPECT_EQ(device.captures, 2);
  EXPECT_EQ(host_calls, 4);
  cache.clear();
  EXPECT_EQ(device.live, 0);
}

TEST_F(CutGraphs, StagedGraphsAreCutToo) {
  inputs.assign(30, test::Host({4, 3}));
  outputs.assign(30, test::Host({3, 4}));
  run(0);
  for (int k = 1; k <= 4; ++k) EXPECT_EQ(run(k), "graph");
  for (int k = 5; k < 9; ++k) EXPECT_EQ(run(k), "graph+copies");
  EXPECT_EQ(device.captures, 10);
  EXPECT_EQ(host_calls, 9);
}

struct HostOnly : Graphs {
  void SetUp() override {
    host_steps = {1};
    Graphs::SetUp();
  }
};

TEST_F(HostOnly, SingleStepsAreNotWorthAGraph) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(0), "steps");
  EXPECT_EQ(cache.why(), "capture failed: no two steps in a row can be captured");
  EXPECT_EQ(device.captures, 0);
}

PlanStep on_stream(PlanStep step, int stream, std::vector<int> waits = {}, int record = -1) {
  step.stream = stream;
  step.wait_events = std::move(waits);
  step.record_event = record;
  return step;
}

TEST(ArenaPlan, ParallelBranchesDoNotShareMemory) {
  PlanBody body;
  for (int i = 0; i < 5; ++i) {
    body.buffers.push_back(test::buffer(BufferKind::arena, 256));
    body.tensors.push_back(test::tensor("t", {64}, i));
  }
  // 0 -> 1 on the caller's stream; meanwhile 2 -> 3 on stream 1; 4 after both
  body.steps = {on_stream(test::copy_step(0, 1), 0), on_stream(test::copy_step(2, 3), 1, {}, 0), on_stream(test::copy_step(1, 4), 0, {0})};
  const std::vector<int64_t> bytes(5, 256), none(3, 0);
  const ArenaPlan apart = plan_arena(body, bytes, none);
  for (int a : {0, 1})
    for (int b : {2, 3}) EXPECT_NE(apart.buffers[a], apart.buffers[b]);
  for (PlanStep& step : body.steps) step = on_stream(step, 0);
  EXPECT_LT(plan_arena(body, bytes, none).bytes, apart.bytes);
}

}  // namespace
}  // namespace tuyere
