// SPDX-License-Identifier: Apache-2.0
// Engines whose weights are in a second file or in the caller's memory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

using test::Host;
using test::refit_plan;

/// 64-byte aligned floats, as a framework's allocator gives them.
struct Parameter {
  explicit Parameter(std::vector<float> values) : shape{2, 2}, strides{2, 1} {
    data = std::shared_ptr<float>(static_cast<float*>(std::aligned_alloc(64, 64)), std::free);
    std::copy(values.begin(), values.end(), data.get());
  }
  SharedWeight shared() const { return {"p", {data.get(), DType::F32, shape, strides, -1}, data}; }
  std::vector<int64_t> shape, strides;
  std::shared_ptr<float> data;
};

/// refit_plan whose program also returns the parameter itself as output "q".
EngineFile plan_that_reads_the_parameter() {
  EngineFile file = refit_plan();
  PlanBody& body = file.plan.bodies[0];
  const int buffer = static_cast<int>(body.buffers.size()), tensor = static_cast<int>(body.tensors.size());
  body.buffers.push_back(test::buffer(BufferKind::constant, 16, -1, "param/p"));
  body.buffers.push_back(test::buffer(BufferKind::output, 16, 2));
  body.tensors.push_back(test::tensor("p", {2, 2}, buffer));
  body.tensors.push_back(test::tensor("q", {2, 2}, buffer + 1));
  body.steps.push_back(test::copy_step(tensor, tensor + 1, "parameter"));
  body.outputs.push_back(test::io("q", tensor + 1));
  return file;
}

struct Results {
  std::vector<float> w, p;
};

Results run(Engine& engine) {
  const auto context = std::move(engine.create_context().value());
  Host x({2, 3}), y({3, 2}), v({4}), q({2, 2});
  const TensorRef in[] = {x.ref()}, out[] = {y.ref(), v.ref(), q.ref()};
  const Status status = context->execute(in, out);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return {v.data, q.data};
}

void expect_results(Engine& engine, const std::vector<float>& w, const std::vector<float>& p) {
  const Results got = run(engine);
  EXPECT_EQ(got.w, w);
  EXPECT_EQ(got.p, p);
}

struct Weights : testing::Test {
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("tuyere_weights_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    path = folder / "model.engine";
    whole = std::move(test::load(plan_that_reads_the_parameter()).value());
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::filesystem::path folder;
  std::string path;
  std::shared_ptr<Engine> whole;
};

TEST_F(Weights, InAFileOfTheirOwn) {
  ASSERT_TRUE(whole->save(path, "separate").is_ok());
  auto engine = Engine::load(path);
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  expect_results(**engine, {1, 2, 3, 4}, {1, 3, 2, 4});
  EXPECT_EQ((*engine)->refittable(), std::vector<std::string>{"p"});
  std::filesystem::rename(weights_path(path), folder / "elsewhere");
  auto lost = Engine::load(path);
  ASSERT_FALSE(lost.is_ok());
  EXPECT_NE(lost.status().message().find(weights_path(path)), std::string::npos) << lost.status().message();
  EngineOptions options;
  options.weights_file = folder / "elsewhere";
  auto told = Engine::load(path, options);
  ASSERT_TRUE(told.is_ok()) << told.status().message();
  expect_results(**told, {1, 2, 3, 4}, {1, 3, 2, 4});
}

TEST_F(Weights, OfAnotherEngineAreRefused) {
  ASSERT_TRUE(whole->save(path, "separate").is_ok());
  const Parameter other({5, 7, 6, 8});
  const SharedWeight weights[] = {other.shared()};
  ASSERT_TRUE(whole->share(weights).is_ok());
  const std::string second = folder / "other.engine";
  ASSERT_TRUE(whole->save(second, "separate").is_ok());
  std::filesystem::copy_file(weights_path(second), weights_path(path), std::filesystem::copy_options::overwrite_existing);
  auto mixed = Engine::load(path);
  ASSERT_FALSE(mixed.is_ok());
  EXPECT_EQ(mixed.status().code(), Code::FailedPrecondition) << mixed.status().message();
}

TEST_F(Weights, DamagedFilesAreErrors) {
  ASSERT_TRUE(whole->save(path, "separate").is_ok());
  const auto size = std::filesystem::file_size(weights_path(path));
  for (uintmax_t cut : {uintmax_t{0}, uintmax_t{7}, size / 2, size - 1}) {
    std::filesystem::resize_file(weights_path(path), cut);
    EXPECT_FALSE(Engine::load(path).is_ok());
  }
}

TEST_F(Weights, SharedWithTheCaller) {
  ASSERT_TRUE(whole->save(path, "shared").is_ok());
  EXPECT_FALSE(std::filesystem::exists(weights_path(path)));
  auto without = Engine::load(path);
  ASSERT_FALSE(without.is_ok());
  EXPECT_NE(without.status().message().find("'p'"), std::string::npos) << without.status().message();

  const Parameter parameter({5, 7, 6, 8});
  const SharedWeight weights[] = {parameter.shared(), {"unknown", parameter.shared().value, nullptr}};
  EngineOptions options;
  options.shared = weights;
  auto loaded = Engine::load(path, options);
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().message();
  Engine& engine = **loaded;
  expect_results(engine, {5, 6, 7, 8}, {5, 7, 6, 8});

  parameter.data.get()[0] = 50;  // what is used in place changes at once; what is made of it when it is shared again
  expect_results(engine, {5, 6, 7, 8}, {50, 7, 6, 8});
  ASSERT_TRUE(engine.share({weights, 1}).is_ok());
  expect_results(engine, {50, 6, 7, 8}, {50, 7, 6, 8});

  const std::string second = folder / "copy.engine";
  ASSERT_TRUE(engine.save(second).is_ok());
  auto saved = Engine::load(second);
  ASSERT_TRUE(saved.is_ok()) << saved.status().message();
  expect_results(**saved, {50, 6, 7, 8}, {50, 7, 6, 8});
  ASSERT_TRUE((*saved)->save(path, "engine").is_ok());
  auto back = Engine::load(path);
  ASSERT_TRUE(back.is_ok()) << back.status().message();
  expect_results(**back, {50, 6, 7, 8}, {50, 7, 6, 8});
}

TEST_F(Weights, SharedMemoryIsHeld) {
  ASSERT_TRUE(whole->save(path, "shared").is_ok());
  std::weak_ptr<float> watched;
  std::shared_ptr<Engine> engine;
  {
    const Parameter parameter({5, 7, 6, 8});
    watched = parameter.data;
    const SharedWeight weights[] = {parameter.shared()};
    EngineOptions options;
    options.shared = weights;
    engine = std::move(Engine::load(path, options).value());
  }
  EXPECT_FALSE(watched.expired());
  const Parameter next({1, 1, 1, 2});
  const SharedWeight weights[] = {next.shared()};
  ASSERT_TRUE(engine->share(weights).is_ok());
  EXPECT_TRUE(watched.expired());
  expect_results(*engine, {1, 1, 1, 2}, {1, 1, 1, 2});
}

TEST_F(Weights, SharedTypesAreChecked) {
  ASSERT_TRUE(whole->save(path, "shared").is_ok());
  const Parameter parameter({5, 7, 6, 8});
  SharedWeight wrong = parameter.shared();
  wrong.value.dtype = DType::I32;
  EngineOptions options;
  options.shared = {&wrong, 1};
  auto engine = Engine::load(path, options);
  ASSERT_FALSE(engine.is_ok());
  EXPECT_NE(engine.status().message().find("parameter 'p' has dtype i32"), std::string::npos) << engine.status().message();
}

}  // namespace
}  // namespace tuyere
