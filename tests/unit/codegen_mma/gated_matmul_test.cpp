// SPDX-License-Identifier: Apache-2.0
// Gated units on the emulator against float64 sums.
#include <gtest/gtest.h>

#include "kernels/matmul/matmul_gen.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

struct GatedCase {
  const char* name;
  const char* problem;
  const char* tile;  // of wgmma, or "generic"
};

std::vector<GatedCase> gated_cases() {
  return {
      {"together", "gated_matmul trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)} | f16[130,72], f16[104,72], f16[104,72] -> f16[130,104]",
       "tile=128x128 stages=2 cluster=1x1 alternate=0 split=1"},
      {"n_major_in_turns",
       "gated_matmul type=bf16 epilogue={mul(i1:f32, add(i0:f32, i2:f32))} | bf16[70,64], const bf16[64,136], const bf16[64,136], bf16[136] -> bf16[70,136]",
       "tile=64x128 stages=3 cluster=1x1 alternate=1 split=1"},
      {"batched",
       "gated_matmul trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)} | f16[2,65,200], const f16[80,200], const f16[80,200] -> f16[2,65,80]",
       "tile=192x160 stages=2 cluster=1x1 alternate=0 split=1"},
      {"residual",
       "gated_matmul trans_b=true type=f16 epilogue={add(mul(silu(i0:f32), i1:f32), i2:f32)} | f16[130,72], f16[136,72], f16[136,72], f16[130,136] -> "
       "f16[130,136]",
       "tile=128x128 stages=2 cluster=1x1 alternate=0 split=1"},
      {"every_other_row",
       "gated_matmul trans_b=true type=f16 epilogue={mul(add(i0:f32, i2:f32), gelu_erf(add(i1:f32, i3:f32)))} | f16[2,65,72], const f16[96,72]{144,1}, "
       "const f16[96,72]{144,1}, const f16[96], const f16[96] -> f16[2,65,96]",
       "tile=128x128 stages=2 cluster=1x1 alternate=0 split=1"},
      {"halves_of_columns",
       "gated_matmul type=bf16 epilogue={mul(silu(i0:f32), i1:f32)} | bf16[70,64], const bf16[64,128]{256,1}, const bf16[64,128]{256,1} -> bf16[70,128]",
       "tile=64x128 stages=3 cluster=1x1 alternate=1 split=1"},
      {"generic", "gated_matmul type=f16 epilogue={mul(i0:f32, add(i1:f32, i2:f32))} | f16[33,19], f16[19,21], f16[19,21], f16[21] -> f16[33,21]", "generic"},
      {"generic_batched", "gated_matmul trans_b=true type=f32 epilogue={mul(i0:f32, i1:f32)} | f32[2,20,37], f32[35,37], f32[35,37] -> f32[2,20,35]",
       "generic"},
  };
}

mma::KernelSource generate_gated(const GatedCase& c) {
  const Problem problem = parse_problem(c.problem);
  Target small = kHopper;
  small.multiprocessors = 2;  // several tiles per block
  mma::KernelSource source =
      std::string(c.tile) == "generic" ? matmul::generic_source(problem, kHopper) : matmul::wgmma_source(problem, small, mma::parse_hopper_tile(c.tile));
  source.text.insert(0, codegen::rough_text(problem));
  return source;
}

class GatedMatMulKernel : public ::testing::TestWithParam<GatedCase> {};

TEST_P(GatedMatMulKernel, MatchesReference) { EXPECT_EQ(testing::check_gated_matmul(parse_problem(GetParam().problem), generate_gated(GetParam())), ""); }

INSTANTIATE_TEST_SUITE_P(Emulated, GatedMatMulKernel, ::testing::ValuesIn(gated_cases()), [](const auto& info) { return info.param.name; });

}  // namespace

std::vector<testing::NamedSource> testing::gated_matmul_sources() {
  std::vector<NamedSource> sources;
  for (const GatedCase& c : gated_cases()) sources.push_back({std::string("gated_matmul ") + c.name, generate_gated(c)});
  return sources;
}

}  // namespace tuyere
