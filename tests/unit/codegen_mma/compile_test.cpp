// SPDX-License-Identifier: Apache-2.0
// NVRTC accepts the sources for every architecture. A sample by default; TUYERE_TEST_ALL=1 compiles each case three times.
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/jit/nvrtc.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

void compile(const std::vector<testing::NamedSource>& sources) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC on this machine";
  const char* architectures[] = {"sm_80", "sm_90a", "sm_100a"};
  const bool all = std::getenv("TUYERE_TEST_ALL") != nullptr;
  for (size_t i = 0; i < sources.size(); ++i) {
    const bool hopper_only = sources[i].source.text.find("wgmma.mma_async") != std::string::npos;
    for (size_t a = 0; a < 3; ++a) {
      if (hopper_only ? a != 1 : !all && !(i % 3 == 0 && i / 3 % 3 == a)) continue;
      SCOPED_TRACE(sources[i].name + " for " + architectures[a]);
      EXPECT_NO_THROW(compile_uncached(sources[i].source.text, architectures[a], {}));
    }
  }
}

TEST(Compile, MatMul) { compile(testing::matmul_sources()); }
TEST(Compile, GatedMatMul) { compile(testing::gated_matmul_sources()); }
TEST(Compile, Conv) { compile(testing::conv_sources()); }
TEST(Compile, Attention) { compile(testing::attention_sources()); }
TEST(Compile, AttentionGradient) { compile(testing::attention_gradient_sources()); }

}  // namespace
}  // namespace tuyere
