// SPDX-License-Identifier: Apache-2.0
// Steps that run other bodies, and plans of several profiles.
#include <gtest/gtest.h>

#include "runtime/plan/validate.h"
#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

using test::Host;

PlanStep control(std::string kind, std::vector<int> in, std::vector<int> out, std::vector<int> bodies) {
  PlanStep step;
  step.spec.executor = std::move(kind);
  step.in = std::move(in);
  step.out = std::move(out);
  step.bodies = std::move(bodies);
  step.name = step.spec.executor;
  return step;
}

/// y = transpose(x) through an arena buffer, or y = reshape(x): x [n,3], y [3,n].
PlanBody matrix_body(bool transpose) {
  const Dim n = Dim::symbol("n"), bytes = n * Dim(12);
  PlanBody body;
  body.buffers = {test::buffer(BufferKind::input, bytes, 0), test::buffer(BufferKind::arena, bytes), test::buffer(BufferKind::output, bytes, 0)};
  body.tensors = {test::tensor("x", {n, 3}, 0), test::tensor("t", {n, 3}, 1),
                  test::tensor("t.v", {3, n}, 1, transpose ? std::vector<Dim>{1, 3} : std::vector<Dim>{n, 1}), test::tensor("y", {3, n}, 2)};
  body.steps = {test::copy_step(0, 1), test::copy_step(2, 3)};
  body.inputs = {test::io("x", 0)};
  body.outputs = {test::io("y", 3)};
  PlanSymbol symbol;
  symbol.name = "n";
  symbol.expr = n;
  body.symbols = {symbol};
  return body;
}

/// Inputs flag (bool) and x; y = flag ? transpose(x) : reshape(x).
EngineFile if_plan() {
  EngineFile file;
  PlanBody body = matrix_body(true);
  body.buffers[1] = test::buffer(BufferKind::input, 1, 1);
  body.tensors[1] = test::tensor("flag", {}, 1, {}, DType::Bool);
  body.tensors.erase(body.tensors.begin() + 2);
  body.steps = {control("if", {1, 0}, {2}, {1, 2})};
  body.inputs = {test::io("x", 0), test::io("flag", 1)};
  body.outputs = {test::io("y", 2)};
  file.plan.bodies = {body, matrix_body(true), matrix_body(false)};
  return file;
}

TEST(Control, If) {
  auto engine = test::load(if_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = std::move((*engine)->create_context().value());
  for (int64_t n : {4, 1, 7, 4})
    for (bool flag : {true, false, true}) {
      Host x({n, 3}), y({3, n}, -1);
      const TensorRef in[] = {x.ref(), {&flag, DType::Bool, {}, {}, -1}}, out[] = {y.ref()};
      const Status status = context->execute(in, out);
      ASSERT_TRUE(status.is_ok()) << status.message();
      for (int64_t i = 0; i < 3 * n; ++i) EXPECT_EQ(y.data[flag ? i % 3 * n + i / 3 : i], x.data[i]);
    }
}

/// State (flag, x, y): while (flag) flag, x, y = false, y, x.
EngineFile while_plan() {
  EngineFile file;
  const auto state = [](BufferKind kind) {
    PlanBody body;
    for (int k = 0; k < 3; ++k) body.buffers.push_back(test::buffer(kind, k ? 8 : 1, k));
    body.tensors = {test::tensor("flag", {}, 0, {}, DType::Bool), test::tensor("x", {2}, 1), test::tensor("y", {2}, 2)};
    return body;
  };
  const auto with_outputs = [](PlanBody body, int count) {
    const std::vector<PlanTensor> inputs = body.tensors;
    for (int k = 0; k < 3; ++k) body.inputs.push_back(test::io("in" + std::to_string(k), k));
    for (int k = 0; k < count; ++k) {
      body.buffers.push_back(test::buffer(BufferKind::output, k ? 8 : 1, k));
      body.tensors.push_back(inputs[k]);
      body.tensors.back().buffer = 3 + k;
      body.outputs.push_back(test::io("out" + std::to_string(k), 3 + k));
    }
    return body;
  };
  PlanBody main = with_outputs(state(BufferKind::input), 3), cond = with_outputs(state(BufferKind::input), 1), loop = main;
  main.steps = {control("while", {0, 1, 2}, {3, 4, 5}, {1, 2})};
  cond.steps = {test::copy_step(0, 3)};
  loop.buffers.push_back(test::buffer(BufferKind::constant, 1, -1, "false"));
  loop.tensors.push_back(test::tensor("false", {}, 6, {}, DType::Bool));
  loop.steps = {test::copy_step(6, 3), test::copy_step(2, 4), test::copy_step(1, 5)};
  file.plan.bodies = {main, cond, loop};
  static const bool no = false;
  file.constants["false"] = {DType::Bool, {}, &no, 1, nullptr};
  return file;
}

TEST(Control, While) {
  auto engine = test::load(while_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = std::move((*engine)->create_context().value());
  for (bool flag : {true, false}) {
    Host x({2}, 1), y({2}, 5), a({2}), b({2});
    bool left = true;
    const TensorRef in[] = {{&flag, DType::Bool, {}, {}, -1}, x.ref(), y.ref()}, out[] = {{&left, DType::Bool, {}, {}, -1}, a.ref(), b.ref()};
    const Status status = context->execute(in, out);
    ASSERT_TRUE(status.is_ok()) << status.message();
    EXPECT_FALSE(left);
    EXPECT_EQ(a.data, flag ? y.data : x.data);
    EXPECT_EQ(b.data, flag ? x.data : y.data);
  }
}

TEST(Control, CallAndTheFileForm) {
  EngineFile file = if_plan();
  PlanBody& body = file.plan.bodies[0];
  body.steps = {control("call", {0}, {2}, {1})};
  const auto bytes = write_engine(file);
  const auto read = read_engine(bytes, nullptr);
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value().plan.bodies[0].steps[0].bodies, std::vector<int>{1});
  EXPECT_EQ(write_engine(read.value()), bytes);
  EXPECT_TRUE(check_engine(bytes).is_ok());
}

std::string refusal(const EngineFile& file) { return validate_plan(file.plan, &file.constants).message(); }

TEST(Control, BadPlansAreRefused) {
  EngineFile file = if_plan();
  file.plan.bodies[0].steps[0].bodies = {1};
  EXPECT_NE(refusal(file).find("needs 2 bodies"), std::string::npos) << refusal(file);
  file.plan.bodies[0].steps[0].bodies = {1, 0};  // itself
  EXPECT_NE(refusal(file).find("no such body"), std::string::npos) << refusal(file);
  file.plan.bodies[0].steps[0].bodies = {1, 3};
  EXPECT_NE(refusal(file).find("no such body"), std::string::npos) << refusal(file);
  file = if_plan();
  file.plan.bodies[2].inputs.push_back(test::io("more", 0));
  EXPECT_FALSE(refusal(file).empty());
  file = if_plan();
  std::swap(file.plan.bodies[0].steps[0].in[0], file.plan.bodies[0].steps[0].in[1]);
  EXPECT_NE(refusal(file).find("condition"), std::string::npos) << refusal(file);
}

/// Profile 0: n in [1,4], transposes; profile 1: n in [5,8], reshapes, so that one can tell them apart.
EngineFile two_profiles() {
  EngineFile file;
  file.plan.bodies = {matrix_body(true), matrix_body(false)};
  file.plan.profiles = {1};
  const int64_t ranges[2][2] = {{1, 4}, {5, 8}};
  for (int k : {0, 1}) {
    file.plan.bodies[k].symbols[0].min = ranges[k][0];
    file.plan.bodies[k].symbols[0].max = ranges[k][1];
  }
  return file;
}

TEST(Profiles, TheFirstThatFitsRuns) {
  auto engine = test::load(two_profiles());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = std::move((*engine)->create_context().value());
  for (int64_t n : {2, 6, 4, 8, 5, 2}) {
    Host x({n, 3}), y({3, n}, -1);
    const TensorRef in[] = {x.ref()}, out[] = {y.ref()};
    ASSERT_TRUE(context->execute(in, out).is_ok());
    for (int64_t i = 0; i < 3 * n; ++i) EXPECT_EQ(y.data[n <= 4 ? i % 3 * n + i / 3 : i], x.data[i]) << n;
  }
  Host x({9, 3}), y({3, 9});
  const TensorRef in[] = {x.ref()}, out[] = {y.ref()};
  const Status status = context->execute(in, out);
  EXPECT_EQ(status.code(), Code::InvalidArgument);
  for (const char* part : {"profile 0", "[1,4]", "profile 1", "[5,8]", "n = 9"}) EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(Profiles, MustHaveTheProgramsInputs) {
  EngineFile file = two_profiles();
  file.plan.bodies[1].tensors[0].dtype = DType::I32;
  EXPECT_NE(refusal(file).find("profile"), std::string::npos) << refusal(file);
  file = two_profiles();
  file.plan.profiles = {0};
  EXPECT_NE(refusal(file).find("no such profile"), std::string::npos) << refusal(file);
}

}  // namespace
}  // namespace tuyere
