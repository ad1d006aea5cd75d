// SPDX-License-Identifier: Apache-2.0
// Matmul kernels on the emulator against float64 sums.
#include <gtest/gtest.h>

#include "kernels/matmul/matmul_gen.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

TensorDesc strided(DType type, const std::string& shape, std::vector<Dim> strides, int alignment = 256) {
  TensorDesc t = desc(type, parse_shape(shape));
  t.strides = std::move(strides);
  t.alignment = alignment;
  return t;
}

struct MatMulCase {
  const char* name;
  Problem problem;
  const char* config;  // of the tile, "gemv ..." or "generic"
};

Problem product(MatMul op, std::vector<TensorDesc> in, std::vector<TensorDesc> out) {
  Problem p;
  op.type = out[0].dtype;
  p.op = op;
  p.in = std::move(in);
  p.out = std::move(out);
  return p;
}

MatMul op(bool trans_a, bool trans_b, const char* epilogue = "", bool tf32 = false) {
  MatMul m;
  m.trans_a = trans_a, m.trans_b = trans_b, m.tf32 = tf32;
  if (*epilogue) m.epilogue = parse_program(epilogue);
  return m;
}

std::vector<MatMulCase> matmul_cases() {
  std::vector<MatMulCase> all;
  const char* gelu = "gelu_erf(add(i0:f32, i1:f32))";
  const char* two = "i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = add(v3, i2); v5 = relu(v4); v5, v4";
  all.push_back({"both_k_major", product(op(false, true), {dense(H, "[72,96]"), dense(H, "[80,96]")}, {dense(H, "[72,80]")}),
                 "tile=64x64x32 stages=4 warps=2x2 splitk=1"});
  all.push_back(
      {"b_n_major", product(op(false, false), {dense(H, "[72,96]"), dense(H, "[96,80]")}, {dense(H, "[72,80]")}), "tile=64x64x32 stages=3 warps=2x2 splitk=1"});
  all.push_back(
      {"a_m_major", product(op(true, true), {dense(B, "[96,72]"), dense(B, "[80,96]")}, {dense(B, "[72,80]")}), "tile=128x64x64 stages=3 warps=2x2 splitk=1"});
  all.push_back({"both_mn_major", product(op(true, false), {dense(H, "[96,136]"), dense(H, "[96,264]")}, {dense(F, "[136,264]")}),
                 "tile=128x256x32 stages=3 warps=2x4 splitk=1"});
  all.push_back({"wide_tile", product(op(false, false), {dense(H, "[130,64]"), dense(H, "[64,200]")}, {dense(H, "[130,200]")}),
                 "tile=128x192x32 stages=3 warps=2x4 splitk=1"});
  all.push_back({"stream", product(op(false, true, gelu), {dense(H, "[2,50,96]"), dense(H, "[200,96]"), dense(H, "[200]")}, {dense(H, "[2,50,200]")}),
                 "stream rows=64 warps=4 stages=2 blocks=1"});
  // Several tiles of rows for a block, of products with weights of their own.
  all.push_back({"stream_batched",
                 product(op(false, true, gelu), {dense(H, "[2,33,150,24]"), dense(H, "[33,16,24]"), dense(H, "[16]")}, {dense(H, "[2,33,150,16]")}),
                 "stream rows=64 warps=4 stages=2 blocks=1"});
  all.push_back({"odd_sizes", product(op(false, false, gelu), {dense(H, "[33,19]"), dense(H, "[19,21]"), dense(H, "[21]")}, {dense(H, "[33,21]")}),
                 "tile=32x64x64 stages=4 warps=1x4 splitk=1"});
  all.push_back({"half_aligned", product(op(false, true), {dense(H, "[40,36]"), dense(H, "[24,36]")}, {dense(H, "[40,24]")}),
                 "tile=64x32x64 stages=4 warps=2x2 splitk=1"});
  all.push_back({"epilogue_two_outputs",
                 product(op(false, true, two), {dense(H, "[64,64]"), dense(H, "[64,64]"), dense(H, "[64]"), dense(H, "[64,64]")},
                         {dense(H, "[64,64]"), dense(F, "[64,64]")}),
                 "tile=64x64x64 stages=3 warps=2x2 splitk=1"});
  all.push_back({"split", product(op(false, true, gelu), {dense(H, "[16,640]"), dense(H, "[40,640]"), dense(H, "[40]")}, {dense(H, "[16,40]")}),
                 "tile=16x64x64 stages=5 warps=1x4 splitk=3"});
  all.push_back({"batched", product(op(false, true), {dense(H, "[2,3,20,32]"), dense(H, "[3,24,32]")}, {dense(H, "[2,3,20,24]")}),
                 "tile=128x32x32 stages=4 warps=4x1 splitk=1"});
  all.push_back({"joined_rows", product(op(false, true), {dense(H, "[2,3,20,32]"), dense(H, "[24,32]")}, {dense(H, "[2,3,20,24]")}),
                 "tile=128x16x64 stages=4 warps=4x1 splitk=1"});
  all.push_back({"strided", product(op(false, true), {strided(H, "[20,40]", {64, 1}), strided(H, "[24,40]", {1, 24}, 16)}, {strided(H, "[20,24]", {1, 20})}),
                 "tile=16x128x64 stages=4 warps=1x4 splitk=1"});
  all.push_back({"tf32", product(op(false, true, "", true), {dense(F, "[72,40]"), dense(F, "[80,40]")}, {dense(F, "[72,80]")}),
                 "tile=64x64x16 stages=4 warps=2x2 splitk=1"});
  all.push_back({"tf32_n_major", product(op(true, false, "", true), {dense(F, "[40,72]"), dense(F, "[40,80]")}, {dense(F, "[72,80]")}),
                 "tile=64x64x32 stages=3 warps=2x2 splitk=1"});
  all.push_back(
      {"simt", product(op(false, true), {dense(F, "[70,40]"), dense(F, "[136,40]")}, {dense(F, "[70,136]")}), "simt tile=64x128x16 stages=3 splitk=1"});
  all.push_back({"simt_n_major_split", product(op(true, false), {dense(F, "[130,36]"), dense(F, "[130,33]")}, {dense(F, "[36,33]")}),
                 "simt tile=32x32x32 stages=4 splitk=2"});
  all.push_back({"gemv", product(op(false, true, gelu), {dense(H, "[1,1000]"), dense(H, "[37,1000]"), dense(H, "[37]")}, {dense(H, "[1,37]")}),
                 "gemv warps=8 columns=2 splitk=1"});
  all.push_back(
      {"gemv_rows_split", product(op(false, true), {dense(B, "[5,1024]"), dense(B, "[30,1024]")}, {dense(F, "[5,30]")}), "gemv warps=4 columns=4 splitk=3"});
  all.push_back(
      {"gemv_n_major", product(op(false, false), {dense(H, "[3,75]"), dense(H, "[75,304]")}, {dense(H, "[3,304]")}), "gemv warps=4 columns=1 splitk=2"});
  all.push_back({"gemv_column", product(op(false, false, gelu), {dense(F, "[2,50,61]"), dense(F, "[2,61,2]"), dense(F, "[50,1]")}, {dense(F, "[2,50,2]")}),
                 "gemv warps=4 columns=1 splitk=1"});
  all.push_back(
      {"generic_f64", product(op(false, false), {dense(DType::F64, "[2,20,37]"), dense(DType::F64, "[37,70]")}, {dense(DType::F64, "[2,20,70]")}), "generic"});
  all.push_back(
      {"generic_int", product(op(true, false), {dense(DType::I32, "[20,37]"), dense(DType::I32, "[20,7]")}, {dense(DType::I32, "[37,7]")}), "generic"});
  all.push_back({"wgmma_in_turns", product(op(false, true, gelu), {dense(H, "[130,136]"), dense(H, "[136,136]"), dense(H, "[136]")}, {dense(H, "[130,136]")}),
                 "wgmma tile=64x128 stages=3 cluster=1x1 alternate=1 split=1"});
  all.push_back({"wgmma_together", product(op(false, true, gelu), {dense(B, "[200,136]"), dense(B, "[104,136]"), dense(B, "[104]")}, {dense(B, "[200,104]")}),
                 "wgmma tile=128x64 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_formula",
                 product(op(false, true, "add(i4:f32, add(mul(gelu_erf(add(i0:f32, i1:f32)), i2:f32), i3:f32))"),
                         {dense(H, "[2,65,72]"), dense(H, "[136,72]"), dense(H, "[136]"), dense(F, "[136]"), dense(F, "[136]"), dense(H, "[2,65,136]")},
                         {dense(H, "[2,65,136]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_n_major", product(op(false, false), {dense(H, "[2,130,72]"), dense(H, "[2,72,328]")}, {dense(H, "[2,130,328]")}),
                 "wgmma tile=128x256 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_odd_columns", product(op(false, true), {dense(H, "[66,64]"), dense(H, "[131,64]")}, {dense(H, "[66,131]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=1 split=1"});
  all.push_back({"wgmma_three_groups", product(op(false, true, gelu), {dense(H, "[390,72]"), dense(H, "[136,72]"), dense(H, "[136]")}, {dense(H, "[390,136]")}),
                 "wgmma tile=192x64 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_split", product(op(false, true, gelu), {dense(H, "[300,456]"), dense(H, "[392,456]"), dense(H, "[392]")}, {dense(H, "[300,392]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=0 split=2"});
  all.push_back({"wgmma_split_in_four", product(op(false, false), {dense(B, "[140,520]"), dense(B, "[520,328]")}, {dense(B, "[140,328]")}),
                 "wgmma tile=128x256 stages=3 cluster=1x1 alternate=0 split=4"});
  all.push_back({"wgmma_split_of_clusters",
                 product(op(false, true, gelu), {dense(H, "[400,456]"), dense(H, "[392,456]"), dense(H, "[392]")}, {dense(H, "[400,392]")}),
                 "wgmma tile=128x128 stages=2 cluster=2x1 alternate=0 split=2"});
  all.push_back({"wgmma_split_in_eight",
                 product(op(false, true, gelu), {dense(H, "[70,720]"), dense(H, "[200,720]"), dense(H, "[200]")}, {dense(H, "[70,200]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=0 split=8"});
  all.push_back({"wgmma_shifted_rows", product(op(false, true, gelu), {dense(H, "[390,72]"), dense(H, "[269,72]"), dense(H, "[269]")}, {dense(H, "[390,269]")}),
                 "wgmma tile=192x128 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_shifted_pairs",
                 product(op(false, true, two), {dense(B, "[2,70,64]"), dense(B, "[2,134,64]"), dense(B, "[134]"), dense(B, "[134]")},
                         {dense(B, "[2,70,134]"), dense(H, "[2,70,134]")}),
                 "wgmma tile=64x96 stages=3 cluster=1x1 alternate=1 split=1"});
  all.push_back({"wgmma_shifted_split",
                 product(op(false, true, gelu), {dense(H, "[300,456]"), dense(H, "[397,456]"), dense(H, "[397]")}, {dense(H, "[300,397]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=0 split=4"});
  all.push_back({"wgmma_odd_columns_residual",
                 product(op(false, true, gelu), {dense(H, "[66,64]"), dense(H, "[131,64]"), dense(H, "[66,131]")}, {dense(H, "[66,131]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x1 alternate=1 split=1"});
  const char* joined = "add(add(i0:f32, i1:f32), i2:f32)";
  all.push_back(
      {"wgmma_residual",
       product(op(false, true, joined), {dense(H, "[390,72]"), dense(H, "[232,72]"), dense(H, "[232]"), dense(H, "[390,232]")}, {dense(H, "[390,232]")}),
       "wgmma tile=192x160 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_residual_in_turns",
                 product(op(false, true, joined), {dense(B, "[2,130,72]"), dense(B, "[2,136,72]"), dense(B, "[136]"), dense(B, "[2,130,136]")},
                         {dense(B, "[2,130,136]")}),
                 "wgmma tile=128x96 stages=2 cluster=1x1 alternate=1 split=1"});
  all.push_back({"wgmma_scaled_residual_many_sums",
                 product(op(false, true, "relu(add(mul(add(i0:f32, i1:f32), i2:f32), i3:f32))"),
                         {dense(H, "[300,72]"), dense(H, "[192,72]"), dense(H, "[192]"), dense(H, "[192]"), strided(H, "[300,192]", {208, 1}, 16)},
                         {dense(H, "[300,192]")}),
                 "wgmma tile=128x192 stages=2 cluster=1x1 alternate=1 split=1"});
  all.push_back(
      {"wgmma_two_residuals",
       product(op(false, true, joined), {dense(H, "[70,456]"), dense(H, "[136,456]"), dense(H, "[70,136]"), dense(H, "[70,136]")}, {dense(H, "[70,136]")}),
       "wgmma tile=128x128 stages=2 cluster=1x1 alternate=0 split=2"});
  all.push_back({"wgmma_two_residuals_two_results",
                 product(op(false, true, two), {dense(B, "[130,72]"), dense(B, "[264,72]"), dense(B, "[130,264]"), dense(H, "[130,264]")},
                         {dense(B, "[130,264]"), dense(H, "[130,264]")}),
                 "wgmma tile=256x128 stages=2 cluster=1x1 alternate=0 split=1"});
  all.push_back({"wgmma_residual_of_odd_rows",
                 product(op(false, true, joined), {dense(H, "[130,72]"), dense(H, "[205,72]"), dense(H, "[205]"), strided(H, "[130,205]", {208, 1})},
                         {dense(H, "[130,205]")}),
                 "wgmma tile=64x96 stages=2 cluster=1x1 alternate=1 split=1"});
  all.push_back({"wgmma_split_odd_columns", product(op(false, true), {dense(H, "[66,320]"), dense(H, "[131,320]")}, {dense(H, "[66,131]")}),
                 "wgmma tile=256x64 stages=2 cluster=1x1 alternate=0 split=2"});
  all.push_back({"wgmma_cluster", product(op(false, true, gelu), {dense(H, "[330,136]"), dense(H, "[136,136]"), dense(H, "[136]")}, {dense(H, "[330,136]")}),
                 "wgmma tile=128x64 stages=2 cluster=2x1 alternate=0 split=1"});
  all.push_back({"wgmma_cluster_of_columns",
                 product(op(false, true, gelu), {dense(H, "[330,136]"), dense(H, "[328,136]"), dense(H, "[328]")}, {dense(H, "[330,328]")}),
                 "wgmma tile=192x128 stages=2 cluster=1x2 alternate=0 split=1"});
  all.push_back({"wgmma_cluster_of_odd_columns", product(op(false, true), {dense(H, "[130,136]"), dense(H, "[171,136]")}, {dense(H, "[130,171]")}),
                 "wgmma tile=128x80 stages=3 cluster=1x2 alternate=0 split=1"});
  all.push_back({"wgmma_split_of_clusters_of_columns", product(op(false, true), {dense(H, "[130,456]"), dense(H, "[264,456]")}, {dense(H, "[130,264]")}),
                 "wgmma tile=128x128 stages=2 cluster=1x2 alternate=0 split=2"});
  all.push_back({"wgmma_cluster_in_turns", product(op(false, true), {dense(H, "[330,136]"), dense(H, "[136,136]")}, {dense(H, "[330,136]")}),
                 "wgmma tile=64x128 stages=3 cluster=2x1 alternate=1 split=1"});
  all.push_back({"wgmma_m_major",
                 product(op(true, false, two), {dense(H, "[72,136]"), dense(H, "[72,64]"), dense(H, "[64]"), dense(H, "[136,64]")},
                         {dense(H, "[136,64]"), dense(F, "[136,64]")}),
                 "wgmma tile=256x64 stages=2 cluster=1x1 alternate=0 split=1"});
  MatMulCase symbolic{"symbolic", product(op(false, true, gelu), {dense(H, "[b,s,64]"), dense(H, "[72,64]"), dense(H, "[72]")}, {dense(H, "[b,s,72]")}),
                      "tile=64x64x32 stages=4 warps=2x2 splitk=2"};
  symbolic.problem.hints.set("b", 3), symbolic.problem.hints.set("s", 11);
  all.push_back(symbolic);
  MatMulCase batch{"symbolic_batch", product(op(false, false), {dense(H, "[b,20,s]"), dense(H, "[b,s,24]")}, {dense(H, "[b,20,24]")}),
                   "tile=32x32x64 stages=4 warps=2x2 splitk=1"};
  batch.problem.hints.set("b", 2), batch.problem.hints.set("s", 13);
  all.push_back(batch);
  return all;
}

mma::KernelSource generate_plain(const MatMulCase& c) {
  const std::string config = c.config;
  if (config == "generic") return matmul::generic_source(c.problem, kHopper);
  if (config.rfind("gemv", 0) == 0)
    return matmul::gemv_source(c.problem, kHopper,
                               {mma::config_ints(config, "warps")[0], mma::config_ints(config, "splitk")[0], mma::config_ints(config, "columns")[0]});
  if (config.rfind("stream", 0) == 0) return matmul::stream_source(c.problem, kHopper, mma::parse_stream(config.substr(7)));
  if (config.rfind("wgmma", 0) == 0) {
    Target small = kHopper;
    small.multiprocessors = std::max(
        2, mma::config_ints(config, "split")[0] * mma::config_ints(config, "cluster")[0] * mma::config_ints(config, "cluster")[1]);  // several tiles per block
    return matmul::wgmma_source(c.problem, small, mma::parse_hopper_tile(config.substr(6)));
  }
  return matmul::tiled_source(c.problem, kHopper, mma::parse_tile(config, config.rfind("simt", 0) == 0));
}

/// As make() compiles it.
mma::KernelSource generate(const MatMulCase& c) {
  mma::KernelSource source = generate_plain(c);
  source.text.insert(0, codegen::rough_text(c.problem));
  return source;
}

class MatMulKernel : public ::testing::TestWithParam<MatMulCase> {};

TEST_P(MatMulKernel, MatchesReference) { EXPECT_EQ(testing::check_matmul(GetParam().problem, generate(GetParam())), ""); }

INSTANTIATE_TEST_SUITE_P(Emulated, MatMulKernel, ::testing::ValuesIn(testing::sample(matmul_cases())), [](const auto& info) { return info.param.name; });

}  // namespace

std::vector<testing::NamedSource> testing::matmul_sources() {
  std::vector<NamedSource> sources;
  for (const MatMulCase& c : matmul_cases()) sources.push_back({std::string("matmul ") + c.name, generate(c)});
  return sources;
}

}  // namespace tuyere
