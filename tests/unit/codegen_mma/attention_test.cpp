// SPDX-License-Identifier: Apache-2.0
// Attention kernels on the emulator against float64 softmax.
#include <gtest/gtest.h>

#include "kernels/attention/attention_gen.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

/// [b,h,s,d] stored as [b,s,h,d].
TensorDesc packed(DType type, const char* shape) {
  TensorDesc t = dense(type, shape);
  t.strides = {t.shape[2] * t.shape[1] * t.shape[3], t.shape[3], t.shape[1] * t.shape[3], 1};
  return t;
}

using attention::FlashShape;

struct AttentionCase {
  const char* name;
  std::vector<TensorDesc> in, out;
  bool causal;
  FlashShape shape;  // queries 0: the generic kernel
  Symbols hints;
  double scale = 0.3;
};

constexpr FlashShape kGeneric{0, 0, 0, 0, 1, false};

std::vector<AttentionCase> plain_cases() {
  return {
      {"plain", {packed(H, "[1,2,37,64]"), packed(H, "[1,2,50,64]"), packed(H, "[1,2,50,64]")}, {packed(H, "[1,2,37,64]")}, false, {32, 32, 2}, {}},
      {"causal_grouped", {dense(B, "[2,4,40,32]"), dense(B, "[2,2,40,32]"), dense(B, "[2,2,40,32]")}, {packed(B, "[2,4,40,32]")}, true, {16, 32, 1}, {}},
      {"tall_warps", {packed(H, "[1,1,70,64]"), packed(H, "[1,1,100,64]"), packed(H, "[1,1,100,64]")}, {packed(H, "[1,1,70,64]")}, false, {64, 48, 2}, {}},
      {"tall_warps_causal",
       {packed(H, "[1,1,150,64]"), packed(H, "[1,1,150,64]"), packed(H, "[1,1,150,64]")},
       {packed(H, "[1,1,150,64]")},
       true,
       {64, 32, 2, 3},
       {}},
      {"queries_in_memory", {dense(H, "[1,1,40,128]"), dense(H, "[1,1,80,128]"), dense(H, "[1,1,80,128]")}, {dense(H, "[1,1,40,128]")}, false, {32, 64, 1}, {}},
      {"split", {packed(H, "[1,2,5,64]"), packed(H, "[1,2,150,64]"), packed(H, "[1,2,150,64]")}, {packed(H, "[1,2,5,64]")}, false, {16, 32, 1, 2, 3}, {}},
      {"split_packed_causal",
       {packed(B, "[2,4,9,32]"), packed(B, "[2,1,9,32]"), packed(B, "[2,1,9,24]")},
       {packed(F, "[2,4,9,24]")},
       true,
       {32, 32, 2, 2, 4, true},
       {}},
      {"packed", {packed(H, "[1,6,7,64]"), packed(H, "[1,2,40,64]"), packed(H, "[1,2,40,64]")}, {packed(H, "[1,6,7,64]")}, false, {16, 32, 1, 2, 1, true}, {}},
      {"deep", {dense(H, "[1,1,18,160]"), dense(H, "[1,1,40,160]"), dense(H, "[1,1,40,160]")}, {dense(H, "[1,1,18,160]")}, false, {32, 32, 2}, {}},
      {"negative_scale", {dense(H, "[1,1,18,16]"), dense(H, "[1,1,40,16]"), dense(H, "[1,1,40,16]")}, {dense(H, "[1,1,18,16]")}, false, {32, 32, 2}, {}, -0.2},
  };
}

std::vector<AttentionCase> masked_cases() {
  return {
      {"bool_mask",
       {dense(H, "[2,2,20,40]"), dense(H, "[2,2,70,40]"), dense(H, "[2,2,70,24]"), dense(DType::Bool, "[2,1,1,70]")},
       {dense(H, "[2,2,20,24]")},
       false,
       {32, 64, 2},
       {}},
      {"float_mask",
       {dense(H, "[1,2,70,16]"), dense(H, "[1,2,33,16]"), dense(H, "[1,2,33,16]"), dense(H, "[2,70,33]")},
       {dense(F, "[1,2,70,16]")},
       false,
       {64, 128, 4},
       {}},
      {"float_mask_pairs",
       {dense(B, "[1,2,40,16]"), dense(B, "[1,2,34,16]"), dense(B, "[1,2,34,16]"), dense(B, "[2,40,34]")},
       {dense(B, "[1,2,40,16]")},
       true,
       {32, 32, 1},
       {}},
      {"repeated_mask",
       {packed(H, "[6,2,20,16]"), packed(H, "[6,2,34,16]"), packed(H, "[6,2,34,16]"), dense(H, "[3,2,20,34]")},
       {packed(H, "[6,2,20,16]")},
       false,
       {32, 32, 1},
       {}},
      {"repeated_mask_generic",
       {dense(F, "[4,2,9,20]"), dense(F, "[4,2,15,20]"), dense(F, "[4,2,15,20]"), dense(DType::Bool, "[2,1,9,15]")},
       {dense(F, "[4,2,9,20]")},
       false,
       kGeneric,
       {}},
      {"packed_bool_mask",
       {packed(H, "[2,4,5,32]"), packed(H, "[2,2,40,32]"), packed(H, "[2,2,40,32]"), dense(DType::Bool, "[2,4,5,40]")},
       {packed(H, "[2,4,5,32]")},
       false,
       {16, 32, 1, 2, 2, true},
       {}},
  };
}

std::vector<AttentionCase> other_cases() {
  std::vector<AttentionCase> all;
  all.push_back({"unaligned", {packed(H, "[1,1,9,8]"), packed(H, "[1,1,12,8]"), packed(H, "[1,1,12,8]")}, {packed(H, "[1,1,9,8]")}, false, {16, 32, 1}, {}});
  for (TensorDesc& t : all.back().in) t.alignment = 2;
  AttentionCase symbolic{"symbolic", {packed(H, "[b,2,s,64]"), packed(H, "[b,2,s,64]"), packed(H, "[b,2,s,64]")}, {packed(H, "[b,2,s,64]")}, true, {64, 64, 4},
                         {}};
  symbolic.hints.set("b", 1), symbolic.hints.set("s", 70);
  all.push_back(symbolic);
  symbolic.name = "symbolic_split", symbolic.shape = {32, 32, 2, 2, 3}, symbolic.causal = false;
  all.push_back(symbolic);
  all.push_back({"generic_f32",
                 {dense(F, "[1,2,9,20]"), dense(F, "[1,1,150,20]"), dense(F, "[1,1,150,140]"), dense(DType::Bool, "[9,150]")},
                 {packed(F, "[1,2,9,140]")},
                 false,
                 kGeneric,
                 {}});
  all.push_back({"generic_f64_causal",
                 {dense(DType::F64, "[1,1,7,5]"), dense(DType::F64, "[1,1,7,5]"), dense(DType::F64, "[1,1,7,5]")},
                 {dense(DType::F64, "[1,1,7,5]")},
                 true,
                 kGeneric,
                 {}});
  return all;
}

std::vector<AttentionCase> logsumexp_cases() {
  const TensorDesc half = packed(H, "[1,2,37,64]"), mask = dense(DType::Bool, "[37,37]");
  return {
      {"logsumexp", {half, half, half}, {half, dense(F, "[1,2,37]")}, true, {32, 32, 2}, {}},
      {"logsumexp_mask", {half, half, half, mask}, {half, dense(F, "[1,2,37]")}, false, {16, 32, 1}, {}},
      {"logsumexp_split_packed",
       {packed(B, "[2,4,9,32]"), packed(B, "[2,1,9,32]"), packed(B, "[2,1,9,24]")},
       {packed(F, "[2,4,9,24]"), dense(F, "[2,4,9]")},
       true,
       {32, 32, 2, 2, 4, true},
       {}},
      {"logsumexp_split_plain", {half, half, half}, {half, dense(F, "[1,2,37]")}, false, {16, 32, 1, 2, 3}, {}},
      {"logsumexp_generic",
       {dense(F, "[1,2,9,20]"), dense(F, "[1,2,150,20]"), dense(F, "[1,2,150,40]"), dense(DType::Bool, "[9,150]")},
       {packed(F, "[1,2,9,40]"), dense(F, "[1,2,9]")},
       false,
       kGeneric,
       {}},
  };
}

/// Of the warpgroup instructions: one and two groups, several tiles of keys, heads that fill their panels or not.
std::vector<AttentionCase> wgmma_cases() {
  const auto shape = [](int queries, int keys, int splits = 1, bool pack = false) { return FlashShape{queries, keys, queries / 16, 2, splits, pack, true}; };
  const TensorDesc half = packed(H, "[1,2,70,64]"), deep = dense(B, "[1,1,70,128]"), shallow = dense(B, "[1,2,40,16]");
  return {
      {"wgmma_shallow", {shallow, shallow, shallow}, {shallow}, false, shape(64, 32), {}},
      {"wgmma", {packed(H, "[1,2,37,64]"), packed(H, "[1,2,50,64]"), packed(H, "[1,2,50,64]")}, {packed(H, "[1,2,37,64]")}, false, shape(64, 32), {}},
      {"wgmma_deep_causal", {deep, deep, deep}, {deep}, true, shape(128, 48), {}},
      {"wgmma_half_a_panel", {dense(B, "[2,4,40,32]"), dense(B, "[2,2,40,32]"), dense(B, "[2,2,40,80]")}, {packed(B, "[2,4,40,80]")}, true, shape(64, 64), {}},
      {"wgmma_split_packed",
       {packed(H, "[2,4,19,24]"), packed(H, "[2,1,90,24]"), packed(H, "[2,1,90,64]")},
       {packed(H, "[2,4,19,64]")},
       false,
       shape(64, 32, 2, true),
       {}},
      {"wgmma_repeated_mask",
       {packed(H, "[4,2,37,64]"), packed(H, "[4,2,50,64]"), packed(H, "[4,2,50,64]"), dense(H, "[2,1,37,50]")},
       {packed(H, "[4,2,37,64]")},
       false,
       shape(64, 32),
       {}},
      {"wgmma_mask", {half, half, half, dense(H, "[2,70,70]")}, {half, dense(F, "[1,2,70]")}, false, shape(128, 80), {}},
  };
}

std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> all = plain_cases();
  for (const std::vector<AttentionCase>& more : {masked_cases(), other_cases(), logsumexp_cases(), wgmma_cases()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

Problem problem(const AttentionCase& c) {
  Problem p;
  Attention op;
  op.scale = c.scale;
  op.causal = c.causal;
  op.has_mask = c.in.size() > 3;
  op.type = c.out[0].dtype;
  op.logsumexp = c.out.size() > 1;
  p.op = op;
  p.in = c.in, p.out = c.out, p.hints = c.hints;
  return p;
}

mma::KernelSource generate(const AttentionCase& c) {
  const Problem p = problem(c);
  return c.shape.queries ? attention::flash_source(p, kHopper, c.shape) : attention::generic_source(p, kHopper);
}

class AttentionKernel : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionKernel, MatchesReference) { EXPECT_EQ(testing::check_attention(problem(GetParam()), generate(GetParam())), ""); }

INSTANTIATE_TEST_SUITE_P(Emulated, AttentionKernel, ::testing::ValuesIn(testing::sample(attention_cases())), [](const auto& info) { return info.param.name; });

}  // namespace

std::vector<testing::NamedSource> testing::attention_sources() {
  std::vector<NamedSource> sources;
  for (const AttentionCase& c : attention_cases()) sources.push_back({std::string("attention ") + c.name, generate(c)});
  return sources;
}

}  // namespace tuyere
