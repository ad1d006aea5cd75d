// SPDX-License-Identifier: Apache-2.0
// Products between norms on the emulator against float64 sums.
#include <gtest/gtest.h>

#include "kernels/matmul/matmul_gen.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

struct NormCase {
  const char* name;
  const char* problem;
  const char* tile;  // of wgmma, or "generic"
};

std::vector<NormCase> norm_cases() {
  const char* sums =
      "norm_matmul trans_b=true sums=true type=f16 epilogue={i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = mul(v3, i2); v3, v4} | f16[2,70,72], "
      "f16[192,72], f16[2,70,192], f32[192] -> f16[2,70,192], f16[2,70,192], f32[2,70,3,2]";
  const char* plain_sums = "norm_matmul sums=true type=bf16 | bf16[140,136], bf16[136,128] -> bf16[140,128], f32[140,2,2]";
  const char* layer =
      "norm_matmul trans_b=true normalizes=true type=f16 epilogue={i0:f32, i1:f32, i2:f32 -> v3 = mul(i0, i1); v4 = add(v3, i2); v5 = gelu_tanh(v4); v5} | "
      "f16[130,72], f16[104,72], f32[104], f32[130,5,2] -> f16[130,104]";
  const char* rms =
      "norm_matmul trans_b=true gated=true normalizes=true kind=rms eps=1e-06 type=f16 epilogue={i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = mul(i2, i3); "
      "v5 = mul(i0, v4); v6 = mul(i1, v4); v7 = silu(v5); v8 = mul(v7, v6); v8} | f16[130,72], f16[104,72], f16[104,72], f32[1], f32[130,37,2] -> f16[130,104]";
  const char* both =
      "norm_matmul normalizes=true sums=true kind=rms type=f16 epilogue={mul(i0:f32, i1:f32)} | f16[200,136], f16[136,256], f32[200,6,2] -> "
      "f16[200,256], f32[200,4,2]";
  const char* odd = "norm_matmul trans_b=true normalizes=true type=f16 epilogue={mul(i0:f32, i1:f32)} | f16[66,64], f16[131,64], f32[66,2,2] -> f16[66,131]";
  return {{"sums_in_turns", sums, "tile=64x128 stages=3 cluster=1x1 alternate=1 split=1"},
          {"sums_together", sums, "tile=128x192 stages=2 cluster=1x1 alternate=0 split=1"},
          {"sums_of_a_split", sums, "tile=128x128 stages=2 cluster=1x1 alternate=0 split=2"},
          {"sums_of_two_rows_of_groups", plain_sums, "tile=256x128 stages=2 cluster=1x1 alternate=0 split=1"},
          {"layer", layer, "tile=128x128 stages=2 cluster=1x1 alternate=1 split=1"},
          {"layer_three_groups", layer, "tile=192x64 stages=2 cluster=1x1 alternate=0 split=1"},
          {"rms_gated", rms, "tile=256x128 stages=2 cluster=1x1 alternate=0 split=1"},
          {"both", both, "tile=64x128 stages=2 cluster=1x1 alternate=1 split=1"},
          {"both_clusters_of_columns", both, "tile=128x64 stages=2 cluster=1x2 alternate=0 split=1"},
          {"one_value_at_a_time", odd, "tile=128x128 stages=2 cluster=1x1 alternate=1 split=1"},
          {"generic_sums", sums, "generic"},
          {"generic_layer", layer, "generic"},
          {"generic_both", both, "generic"},
          {"generic_gated", rms, "generic"}};
}

mma::KernelSource generate_norm(const NormCase& c) {
  const Problem problem = parse_problem(c.problem);
  Target small = kHopper;
  small.multiprocessors = 2;  // several tiles per block
  mma::KernelSource source =
      std::string(c.tile) == "generic" ? matmul::generic_source(problem, kHopper) : matmul::wgmma_source(problem, small, mma::parse_hopper_tile(c.tile));
  source.text.insert(0, codegen::rough_text(problem));
  return source;
}

class NormMatMulKernel : public ::testing::TestWithParam<NormCase> {};

TEST_P(NormMatMulKernel, MatchesReference) { EXPECT_EQ(testing::check_norm_matmul(parse_problem(GetParam().problem), generate_norm(GetParam())), ""); }

INSTANTIATE_TEST_SUITE_P(Emulated, NormMatMulKernel, ::testing::ValuesIn(norm_cases()), [](const auto& info) { return info.param.name; });

}  // namespace

std::vector<testing::NamedSource> testing::norm_matmul_sources() {
  std::vector<NamedSource> sources;
  for (const NormCase& c : norm_cases()) sources.push_back({std::string("norm_matmul ") + c.name, generate_norm(c)});
  return sources;
}

}  // namespace tuyere
