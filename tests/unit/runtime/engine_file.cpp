// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "runtime/plan/plan_json.h"
#include "runtime/plan/safetensors.h"
#include "runtime/plan/validate.h"
#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

using test::refit_plan;
using test::transpose_plan;

EngineFile rich_plan() {
  EngineFile file = refit_plan();
  auto blob = std::make_shared<const std::vector<std::byte>>(100, std::byte{7});
  for (PlanStep& step : file.plan.bodies[0].steps) step.spec.blobs = {blob, blob};
  PlanStep& step = file.plan.bodies[0].steps[1];
  step.spec.attrs = R"({"op":"transpose","list":[1,2.5],"b":{"z":1,"a":"\"quoted\""}})";
  step.spec.workspace = Dim::symbol("n") * Dim(256);
  step.tactic = "reference.copy";
  step.config = "x=1";
  step.problem = "copy f32";
  step.origins = {"layer.0 (aten::t, m.py:3)", "ü"};
  step.micros = 1.0 / 3;
  file.constants["small"] = {DType::I4, {3}, "\x21\x03", 2, nullptr};
  file.constants["empty"] = {DType::F16, {0, 5}, nullptr, 0, nullptr};
  file.plan.meta["report"] = "{\"a\": \"line\\n\"}";
  return file;
}

Status read_status(std::span<const std::byte> bytes) {
  const auto read = read_engine(bytes, nullptr);
  return read.is_ok() ? Status::ok() : read.status();
}

TEST(EngineFile, RoundTrip) {
  const EngineFile file = rich_plan();
  const std::vector<std::byte> bytes = write_engine(file);
  const auto read = read_engine(bytes, nullptr);
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(to_json(read.value().plan), to_json(file.plan));
  EXPECT_EQ(read.value().plan.bodies[0].steps[1].spec.attrs, file.plan.bodies[0].steps[1].spec.attrs);
  EXPECT_EQ(write_engine(read.value()), bytes);
  ASSERT_EQ(read.value().constants.size(), file.constants.size());
  for (const auto& [name, constant] : file.constants) {
    const PlanConstant& other = read.value().constants.at(name);
    EXPECT_EQ(other.dtype, constant.dtype);
    EXPECT_EQ(other.shape, constant.shape);
    EXPECT_EQ(std::string_view(static_cast<const char*>(other.data), other.bytes), std::string_view(static_cast<const char*>(constant.data), constant.bytes));
    EXPECT_EQ((static_cast<const std::byte*>(other.data) - bytes.data()) % 64, 0);
  }
  const auto& steps = read.value().plan.bodies[0].steps;
  EXPECT_EQ(steps[0].spec.blobs[0], steps[2].spec.blobs[1]);  // one copy of equal blobs
  EXPECT_TRUE(check_engine(bytes).is_ok());
}

TEST(EngineFile, EveryTruncationIsDataLoss) {
  const std::vector<std::byte> bytes = write_engine(rich_plan());
  for (size_t size = 0; size < bytes.size(); size += size < 16 || size + 300 > bytes.size() ? 1 : 13) {
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(read_status(cut).code(), Code::DataLoss) << size;
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back({});
  EXPECT_EQ(read_status(longer).code(), Code::DataLoss);
}

/// Loads and runs what may be anything but must not crash.
void try_to_run(const std::vector<std::byte>& bytes) {
  auto keep = std::make_shared<const std::vector<std::byte>>(bytes);
  (void)check_engine(bytes).is_ok();
  const auto engine = Engine::load(*keep, keep);
  if (!engine.is_ok()) {
    EXPECT_FALSE(engine.status().message().empty());
    return;
  }
  const auto context = engine.value()->create_context();
  test::Host x({5, 3}), y({3, 5}), v({4});
  const TensorRef in[] = {x.ref()}, out[] = {y.ref(), v.ref()};
  if (context.is_ok()) (void)context.value()->execute(in, out).is_ok();
}

TEST(EngineFile, FlippedBytesAreFound) {
  const std::vector<std::byte> bytes = write_engine(rich_plan());
  std::mt19937 random(3);
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<std::byte> damaged = bytes;
    for (int flips = 1 + trial % 3; flips > 0; --flips) damaged[random() % damaged.size()] ^= static_cast<std::byte>(1 + random() % 255);
    const auto read = read_engine(damaged, nullptr);
    // What changes nothing may pass: one kind of white space for another, a lower-case escape.
    if (read.is_ok()) {
      EXPECT_EQ(write_engine(read.value()), bytes) << "trial " << trial;
    }
    try_to_run(damaged);
  }
}

TEST(EngineFile, EveryDataByteCounts) {
  const std::vector<std::byte> bytes = write_engine(rich_plan());
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  for (size_t at = 8 + header; at < bytes.size(); ++at) {
    std::vector<std::byte> damaged = bytes;
    damaged[at] ^= std::byte{4};
    EXPECT_EQ(read_status(damaged).code(), Code::DataLoss) << at;
  }
}

/// Small edits of a text that often leave it well-formed JSON.
std::string edited(std::string text, std::mt19937& random) {
  const char* const pieces[] = {"0", "-1", "9", "99999999999999", "n", "m", "[]", "null", "\"x\"", "true", "1e300", "{}", ",", "n*n", "min(n,4)"};
  const auto at = [&] { return random() % text.size(); };
  const size_t place = at();
  switch (random() % 4) {
    case 0:
      text[place] = static_cast<char>('0' + random() % 10);
      break;
    case 1:
      text.replace(place, 1, pieces[random() % std::size(pieces)]);
      break;
    case 2:
      text.erase(place, 1 + random() % 3);
      break;
    default:
      text.insert(place, text.substr(at(), random() % 40));
  }
  // A digit at a digit's place: the edit that gets furthest.
  const size_t digit = text.find_first_of("0123456789", at());
  if (digit != std::string::npos && random() % 2) text.replace(digit, 1, pieces[random() % std::size(pieces)]);
  return text;
}

/// The checksum is made to fit, so that the edits reach the parser, the validator, and the runtime.
TEST(EngineFile, EditedPlansNeverCrash) {
  EngineFile original = rich_plan();
  original.plan.bodies[0].steps[1].origins = {"layer.0"};  // ASCII: an edit never breaks a character
  const std::vector<std::byte> bytes = write_engine(original);
  std::mt19937 random(11);
  int ran = 0;
  for (int trial = 0; trial < 6000; ++trial) {
    safetensors::File file = std::move(safetensors::read(bytes).value());
    std::string& plan = file.metadata.at("tuyere");
    if (trial % 2) {  // only digits by digits
      for (int edits = 1 + trial % 3; edits > 0; --edits) {
        const size_t digit = plan.find_first_of("0123456789", random() % plan.size());
        if (digit != std::string::npos) plan[digit] = static_cast<char>('0' + random() % 10);
      }
    } else {
      plan = edited(plan, random);
    }
    file.metadata[safetensors::kChecksum] = safetensors::checksum(file);
    const std::vector<std::byte> sealed = safetensors::write(file);
    ran += read_status(sealed).is_ok();
    try_to_run(sealed);
  }
  EXPECT_GT(ran, 100);  // the edits do get through
}

TEST(EngineFile, EditedPlansAreRefused) {
  struct Case {
    std::function<void(Plan&)> edit;
    const char* text;
  };
  const Case cases[] = {
      {[](Plan& p) { p.bodies[0].steps[0].in[0] = 99; }, "step 0 'x': no such tensor"},
      {[](Plan& p) { p.bodies[0].steps[0].out[0] = 4; }, "writes a constant"},
      {[](Plan& p) { p.bodies[0].steps[0].out[0] = 0; }, "not marked mutated"},
      {[](Plan& p) { p.bodies[0].steps[0].wait_events = {3}; }, "no earlier step records"},
      {[](Plan& p) { p.bodies[0].steps[0].stream = -1; }, "stream out of range"},
      {[](Plan& p) { p.bodies[0].tensors[1].buffer = -1; }, "no such buffer"},
      {[](Plan& p) { p.bodies[0].tensors[1].strides.pop_back(); }, "differ in rank"},
      {[](Plan& p) { p.bodies[0].tensors[1].shape[0] = Dim::symbol("q"); }, "unknown symbol 'q'"},
      {[](Plan& p) { p.bodies[0].buffers[3].constant = "nothing"; }, "constant 'nothing' is missing"},
      {[](Plan& p) { p.bodies[0].buffers[3].bytes = 17; }, "smaller than its buffer"},
      {[](Plan& p) { p.bodies[0].buffers[0].index = 7; }, "no such input"},
      {[](Plan& p) { p.bodies[0].inputs[0].tensor = 3; }, "lies in another buffer"},
      {[](Plan& p) { p.bodies[0].outputs[1].aliases_input = 5; }, "aliases no input"},
      {[](Plan& p) { p.bodies[0].symbols[0].dim = 2; }, "no such dimension"},
      {[](Plan& p) { p.bodies[0].symbols[0].expr = Dim::symbol("n") * Dim::symbol("n"); }, "not linear"},
      {[](Plan& p) { p.bodies[0].symbols[0].expr = 3; }, "not linear"},
      {[](Plan& p) { p.weight_body = 2; }, "no such weight program"},
      {[](Plan& p) { p.bodies[1].tensors[2].dtype = DType::I32; }, "its type differs"},
      {[](Plan& p) { p.bodies[1].tensors[0].offset = 1; }, "leaves its buffer"},
      {[](Plan& p) { p.bodies.clear(); }, "no body"},
      {[](Plan& p) { p.bodies[0].steps[0].spec.executor = "cuda"; }, "step 0"},
  };
  for (const Case& test : cases) {
    EngineFile file = refit_plan();
    test.edit(file.plan);
    const Status status = read_status(write_engine(file));
    EXPECT_EQ(status.code(), Code::DataLoss) << test.text;
    EXPECT_NE(status.message().find(test.text), std::string::npos) << status.message();
  }
}

TEST(EngineFile, NewerVersion) {
  EngineFile file = transpose_plan();
  file.plan.version = 2;
  file.plan.meta["tuyere"] = "0.9.0";
  const Status status = read_status(write_engine(file));
  EXPECT_EQ(status.code(), Code::FailedPrecondition);
  EXPECT_EQ(status.message(), "engine file version 2 is newer than this runtime (1): install tuyere >= 0.9.0");
}

TEST(EngineFile, MalformedPlanText) {
  for (
      const char* text :
      {"", "[]", "{}", R"({"version":1})", R"({"version":"1","target":"cpu","bodies":[]})", R"({"version":1,"target":"cpu","bodies":3})",
       R"({"version":1,"target":"cpu","bodies":[],"extra":1})", R"({"version":99999999999999999999,"target":"cpu","bodies":[]})",
       R"({"version":1,"target":"cpu","bodies":[{"symbols":[],"inputs":[],"outputs":[],"buffers":[{"kind":"arena","bytes":"n +* 2"}],"tensors":[],"steps":[]}]})"})
    EXPECT_EQ(parse_plan(text).status().code(), Code::DataLoss) << text;
}

TEST(EngineFile, Open) {
  const std::string path = testing::TempDir() + "tuyere_open.engine";
  const std::vector<std::byte> bytes = write_engine(rich_plan());
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  const auto file = open_engine(path);
  ASSERT_TRUE(file.is_ok()) << file.status().message();
  EXPECT_EQ(write_engine(file.value()), bytes);
  std::ofstream(path, std::ios::binary | std::ios::trunc).flush();
  EXPECT_EQ(open_engine(path).status().code(), Code::DataLoss);
  std::remove(path.c_str());
  EXPECT_EQ(open_engine(path).status().code(), Code::InvalidArgument);
  EXPECT_EQ(open_engine(testing::TempDir()).status().code(), Code::InvalidArgument);
}

TEST(EngineFile, ContentId) {
  std::vector<std::byte> bytes(100);
  const std::string id = content_id(bytes);
  EXPECT_EQ(id.size(), 32u);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte{1};
    EXPECT_NE(content_id(bytes), id);
    bytes[i] = {};
  }
  EXPECT_NE(content_id(std::span(bytes).first(99)), id);
  // blob names in stored files depend on it
  EXPECT_EQ(content_id({}), "fafc8f215c8cd9bb9b658e7c03718e3b");
}

TEST(EngineFile, Targets) {
  EXPECT_TRUE(target_runs_on("sm_80", 8, 6));
  EXPECT_FALSE(target_runs_on("sm_86", 8, 0));
  EXPECT_FALSE(target_runs_on("sm_80", 9, 0));
  EXPECT_TRUE(target_runs_on("sm_90a", 9, 0));
  EXPECT_FALSE(target_runs_on("sm_100a", 10, 3));
  EXPECT_FALSE(target_runs_on("cpu", 9, 0));
}

}  // namespace
}  // namespace tuyere
