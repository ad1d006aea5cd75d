// SPDX-License-Identifier: Apache-2.0
// What each optimization level takes into account, and the memory that candidates are timed in.
#include "core/builder/candidates.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>

#include "core/builder/timing_memory.h"
#include "kernels/api/tactics.h"

namespace tuyere {
namespace {

/// `count` configurations; the last is the best by the cost model.
class Fake final : public Tactic {
 public:
  Fake(std::string name, int count) : name_(std::move(name)), count_(count) {}
  std::string_view name() const override { return name_; }
  std::string_view source() const override { return std::string_view(name_).substr(0, name_.find('.')); }
  Support supports(const Problem&, const Target&) const override { return Support::yes(); }
  std::vector<Config> configs(const Problem&, const Target&, int) const override {
    std::vector<Config> all;
    for (int k = 0; k < count_; ++k) all.push_back(std::to_string(k));
    return all;
  }
  double estimate(const Problem&, const Target&, const Config& config) const override { return 100.0 - std::stoi(config); }
  StepSpec make(const Problem&, const Target&, const Config&) const override { return {}; }

 private:
  std::string name_;
  int count_;
};

struct LevelTest : ::testing::Test {
  void SetUp() override {
    tactics.push_back(std::make_unique<Fake>("own.a", 20));
    tactics.push_back(std::make_unique<Fake>("cudnn.b", 10));
    tactics.push_back(std::make_unique<Fake>("reference.c", 1));
  }
  Candidates find(int level, const std::vector<std::string>& sources = {}, bool references = false) {
    return find_candidates(problem, Target(), tactics, sources, level, references);
  }
  Problem problem;
  TacticList tactics;
};

TEST_F(LevelTest, LevelsTakeMoreAndMore) {
  const size_t wanted[] = {1, 1, 3, 12 + 10, 30, 30};
  for (int level = 0; level <= 5; ++level) EXPECT_EQ(find(level).list.size(), wanted[level]) << level;
  EXPECT_EQ(find(0).list[0].config, "0");   // the first
  EXPECT_EQ(find(1).list[0].config, "19");  // the best by the cost model
  EXPECT_EQ(find(2).list[1].tactic->name(), "cudnn.b");
}

/// A family's list serves several operators; the kernels of the others are no answer to "why not".
TEST(Candidates, KernelsOfOtherOperatorsAreNotListed) {
  Problem problem;
  problem.op = Flip{{0}};
  problem.in = problem.out = {desc(DType::F32, {4, 8})};
  const Target target;
  const Candidates found = find_candidates(problem, target, tactics(problem.op, target), {}, 4);
  EXPECT_FALSE(found.list.empty());
  for (const std::string& line : found.why_not) EXPECT_EQ(line.find("another operator"), std::string::npos) << line;
}

/// The problems of tests/kernels_gpu with all their floats of one type.
std::vector<std::string> problem_texts(const std::string& type) {
  static const std::regex floats("\\b(bf16|f16|f32|f64)\\b");
  std::vector<std::string> texts;
  for (const auto& file : std::filesystem::directory_iterator(TUYERE_SOURCE_DIR "/tests/kernels_gpu")) {
    std::ifstream stream(file.path());
    for (std::string line; std::getline(stream, line);) {
      if (line.empty() || line[0] == '#') continue;
      if (line[0] == '*') line.erase(0, 2);
      texts.push_back(std::regex_replace(line, floats, type));
    }
  }
  return texts;
}

/// Every kernel of a family is asked for every operator of it, in types that it may not be made for.
TEST(Candidates, EveryKernelAnswersForEveryOperatorOfItsFamily) {
  Target absent = find_target("sm_90a"), unlike = absent;
  absent.present = false, unlike.present = true;
  int asked = 0;
  for (const char* type : {"f16", "bf16", "f32", "f64"})
    for (const std::string& text : problem_texts(type)) {
      const Problem problem = parse_problem(text);
      for (const Target& target : {Target(), absent, unlike})
        for (const auto& tactic : tactics(problem.op, target)) {
          EXPECT_NO_THROW(tactic->supports(problem, target)) << tactic->name() << ": " << text;
          ++asked;
        }
    }
  EXPECT_GT(asked, 10000);
}

TEST_F(LevelTest, SourcesAndReferences) {
  EXPECT_EQ(find(4, {"own"}).list.size(), 20u);
  EXPECT_EQ(find(4, {"own"}).why_not.size(), 1u);
  EXPECT_EQ(find(4, {"own", "reference"}).list.size(), 21u);
  EXPECT_EQ(find(3, {"own", "reference"}).list.size(), 12u);
  EXPECT_EQ(find(3, {"cublaslt"}).list.size(), 1u);
  EXPECT_EQ(find(5, {}, true).list.back().tactic->name(), "reference.c");
}

TEST(Candidates, HopelessEstimatesAreKeptInReserve) {
  const Problem problem = parse_problem(
      "conv stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] type=f16 | f16[64,64,56,56]{200704,1,3584,64}, const f16[64,64,3,3]{576,1,192,64} -> "
      "f16[64,64,56,56]{200704,1,3584,64}");
  const Target target = find_target("sm_90a");
  const Candidates found = find_candidates(problem, target, tactics(problem.op, target), {"own"}, 3);
  bool generic = false, gemm = false;
  for (const Candidate& c : found.list) {
    if (c.tactic->name() == "own.conv.generic") generic = c.reserve;
    if (c.tactic->name() == "own.conv.implicit_gemm") gemm = gemm || !c.reserve;
  }
  EXPECT_TRUE(generic && gemm);
  for (const Candidate& c : find_candidates(problem, target, tactics(problem.op, target), {"own"}, 4).list) EXPECT_FALSE(c.reserve);
}

TEST(TimingMemory, RepeatsAPattern) {
  TimingMemory memory(nullptr, -1);
  const std::vector<std::byte> pattern{std::byte{1}, std::byte{2}, std::byte{3}};
  const Result<void*> block = memory.add(100, pattern);
  ASSERT_TRUE(block.is_ok());
  const auto* data = static_cast<const std::byte*>(block.value());
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(data[i], pattern[i % 3]);
  const Result<void*> zeros = memory.add(10, {});
  ASSERT_TRUE(zeros.is_ok());
  EXPECT_EQ(static_cast<const std::byte*>(zeros.value())[9], std::byte{0});
}

TEST(TimingMemory, PatternsAreNoLongerThanTheTensor) {
  EXPECT_EQ(random_bytes(DType::F16, 6, 10).size(), 6u);
  EXPECT_EQ(random_bytes(DType::I64, 1 << 20, 10).size(), 4096u * 8);
}

}  // namespace
}  // namespace tuyere
