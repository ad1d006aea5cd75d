// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/api/conv_blocks.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/onednn/onednn_tactics.h"

namespace tuyere {
namespace {

Support library_supports(const Problem& p) {
  const auto* op = std::get_if<Conv>(&p.op);
  REQUIRE(op, kOtherOperator);
  const auto crops = [](const std::vector<int64_t>& pads) { return std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0; }); };
  REQUIRE(!crops(op->pad_before) && !crops(op->pad_after), "negative padding");
  return onednn_gemm_supports(p);
}

/// The library prefers its batched small GEMMs, but on plain layouts its other generated code is now and then faster: both are timed.
std::vector<Config> library_configs(const Problem& p) {
  const auto& op = std::get<Conv>(p.op);
  const bool plain = p.in[0].rank() == static_cast<int>(op.stride.size()) + 2 && p.in[1].rank() == p.in[0].rank();
  if (!plain || op.transposed || p.in[0].dtype != DType::F32) return {""};
  return {"", "jit"};
}

Support direct_supports(const Problem& p) {
  const auto* op = std::get_if<Conv>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(!op->transposed, "transposed convolutions are left to others");
  REQUIRE(op->stride.size() >= 1 && op->stride.size() <= 3, "one to three spatial dims");
  REQUIRE(p.in[1].constant, "the weight is packed once");
  REQUIRE(p.out.size() == 1 && p.in.size() <= 32, "the epilogue has too many operands");
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32 && compute_type(p.in[1].dtype) == DType::F32, "products are added up in f32");
  return whole_bytes(p);
}

Support winograd_supports(const Problem& p) {
  const auto* op = std::get_if<Conv>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(!op->transposed && op->groups == 1, "transposed and grouped convolutions are left to others");
  REQUIRE(op->stride.size() == 2, "two spatial dims");
  const auto ones = [](const std::vector<int64_t>& sizes) { return std::all_of(sizes.begin(), sizes.end(), [](int64_t s) { return s == 1; }); };
  REQUIRE(ones(op->stride) && ones(op->dilation), "windows move by one pixel");
  REQUIRE(p.in[1].shape[2].is_const(3) && p.in[1].shape[3].is_const(3), "windows of 3x3");
  REQUIRE(p.in[1].constant, "the weight is packed once");
  REQUIRE(p.in[0].dtype == DType::F32 && p.in[1].dtype == DType::F32 && compute_type(p.out[0].dtype) == DType::F32, "f32 only");
  const int channel = in_blocks(static_cast<size_t>(p.in[0].rank()), 2) ? 4 : 1;
  const Dim& channels = p.in[0].shape[static_cast<size_t>(channel)];
  REQUIRE(channels.is_const() && channels.value() % 16 == 0, "channels are not in whole vectors");
  REQUIRE(p.in[0].strides[static_cast<size_t>(channel)].is_const(1), "channels do not lie side by side");
  REQUIRE(p.out.size() == 1 && p.in.size() <= 32, "the epilogue has too many operands");
  return whole_bytes(p);
}

Support weight_gradient_supports(const Problem& p) {
  const auto* op = std::get_if<ConvWeightGradient>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(onednn_available(), "libdnnl.so.3 cannot be opened");
  REQUIRE(op->kernel.size() <= 3, "one to three spatial dims");
  for (const TensorDesc& t : p.in) REQUIRE(t.dtype == DType::F32 || t.dtype == DType::BF16, "the library path is for f32 and bf16");
  REQUIRE(p.out[0].dtype == DType::F32 || p.out[0].dtype == DType::BF16, "the library path is for f32 and bf16");
  const auto crops = [](const std::vector<int64_t>& pads) { return std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0; }); };
  REQUIRE(!crops(op->pad_before) && !crops(op->pad_after), "negative padding");
  return Support::yes();
}

}  // namespace

void add_conv_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"onednn.conv", library_supports, 1.2, true, library_configs});
  add_cpu_tactic(list, {"own.conv.direct", direct_supports, 1.4, true});
  add_cpu_tactic(list, {"own.conv.winograd", winograd_supports, 1.45, true});
  add_reference_tactic<Conv>(list, "reference.conv");
  add_cpu_tactic(list, {"onednn.conv_weight_gradient", weight_gradient_supports, 1.5, true});
  add_reference_tactic<ConvWeightGradient>(list, "reference.conv_weight_gradient");
}

}  // namespace tuyere
