// SPDX-License-Identifier: Apache-2.0
// The problem lists of tests/kernels_gpu: every line parses, has a tactic, and each of its best configurations generates a source.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "common/error.h"
#include "kernels/api/problem.h"
#include "kernels/attention/attention_tactics.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/jit/nvrtc.h"
#include "kernels/matmul/matmul_tactics.h"
#include "kernels/mma/gemm.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

/// Generates the first configurations of all tactics for one problem; returns how many tactics support it.
int generate_all(const Problem& p, const TacticList& tactics, bool compile) {
  int supporting = 0;
  for (const auto& tactic : tactics) {
    if (!tactic->supports(p, kHopper)) continue;
    ++supporting;
    const std::vector<Config> configs = tactic->configs(p, kHopper, 5);
    EXPECT_FALSE(configs.empty()) << tactic->name();
    for (size_t i = 0; i < std::min<size_t>(configs.size(), compile ? 1 : 3); ++i) {
      EXPECT_GT(tactic->estimate(p, kHopper, configs[i]), 0.0);
      const auto source = static_cast<const mma::KernelTactic&>(*tactic).generate(p, kHopper, configs[i]);
      for (const KernelLaunch& launch : source.step.launches) EXPECT_LE(launch.shared_bytes, 227 * 1024);
      if (compile) {
        EXPECT_NO_THROW(compile_uncached(source.text, kHopper.arch(), {})) << tactic->name() << " " << configs[i];
      }
    }
  }
  return supporting;
}

void check_list(const std::string& family, void (*add)(TacticList&), int least = 20) {
  TacticList tactics;
  add(tactics);
  std::ifstream file(std::string(TUYERE_SOURCE_DIR) + "/tests/kernels_gpu/problems_" + family + ".txt");
  ASSERT_TRUE(file);
  const bool compile = std::getenv("TUYERE_TEST_ALL") != nullptr;
  int count = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line.rfind("* ", 0) == 0) line.erase(0, 2);  // of the quick sample
    SCOPED_TRACE(line);
    ++count;
    Problem p;
    ASSERT_NO_THROW(p = parse_problem(line));
    EXPECT_GE(generate_all(p, tactics, compile), 1);
  }
  EXPECT_GT(count, least);
}

TEST(Problems, MatMul) { check_list("matmul", add_matmul_cuda_tactics); }
TEST(Problems, GatedMatMul) { check_list("gated_matmul", add_gated_matmul_cuda_tactics, 10); }
TEST(Problems, Conv) { check_list("conv", add_conv_cuda_tactics); }
TEST(Problems, Attention) { check_list("attention", add_attention_cuda_tactics); }

}  // namespace
}  // namespace tuyere
