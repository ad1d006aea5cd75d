// SPDX-License-Identifier: Apache-2.0
#include "core/builder/candidates.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/builder/timing_memory.h"

namespace tuyere {
namespace {

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
