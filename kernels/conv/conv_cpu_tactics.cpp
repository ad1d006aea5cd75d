// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "kernels/api/conv_blocks.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/onednn/onednn_tactics.h"

namespace tuyere {
namespace {

bool all_are(const std::vector<int64_t>& sizes, int64_t value) {
  return std::all_of(sizes.begin(), sizes.end(), [value](int64_t size) { return size == value; });
}

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
  REQUIRE(all_are(op->stride, 1) && all_are(op->dilation, 1), "windows move by one pixel");
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

/// A sum of more pixels than a chain of additions should have.
bool adds_many(const TensorDesc& dy) {
  int64_t pixels = 1;
  for (size_t d = 0; d < dy.shape.size(); ++d) {
    if (!dy.shape[d].is_const()) return true;
    if (d != 1) pixels *= dy.shape[d].value();
  }
  return pixels > 128;
}

/// Gradients that the library adds up over all pixels in one chain, as its kernels for windows with gaps and for less than a vector of channels do.
Support window_gradient_supports(const Problem& p) {
  const auto* op = std::get_if<ConvWeightGradient>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(op->kernel.size() <= 3, "one to three spatial dims");
  REQUIRE(p.in[0].dtype == DType::F32 && p.in[1].dtype == DType::F32 && p.out[0].dtype == DType::F32, "f32 only");
  REQUIRE(op->groups == 1, "grouped convolutions are left to others");
  const bool moves_by_one = all_are(op->stride, 1), pixels = moves_by_one && all_are(op->kernel, 1) && all_are(op->pad_before, 0) && all_are(op->pad_after, 0);
  REQUIRE(!pixels, "windows of one pixel are products");
  REQUIRE(adds_many(p.in[0]), "the sums are short");
  const Dim& channels = p.in[1].shape[1];
  REQUIRE(!moves_by_one || !all_are(op->dilation, 1) || (channels.is_const() && channels.value() < 16), "the library adds up short sums");
  return Support::yes();
}

Support weight_gradient_supports(const Problem& p) {
  const auto* op = std::get_if<ConvWeightGradient>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(onednn_available(), "libdnnl.so.3 cannot be opened");
  REQUIRE(op->kernel.size() <= 3, "one to three spatial dims");
  REQUIRE(!window_gradient_supports(p), "the library adds all pixels up in one chain");
  for (const TensorDesc& t : p.in) REQUIRE(t.dtype == DType::F32 || t.dtype == DType::BF16, "the library path is for f32 and bf16");
  REQUIRE(p.out[0].dtype == DType::F32 || p.out[0].dtype == DType::BF16, "the library path is for f32 and bf16");
  const auto crops = [](const std::vector<int64_t>& pads) { return std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0; }); };
  REQUIRE(!crops(op->pad_before) && !crops(op->pad_after), "negative padding");
  return Support::yes();
}

/// Strides of a dense image whose pixels hold their channels.
void place_channels_innermost(TensorDesc& image) {
  Dim stride = image.shape[1];
  image.strides[1] = Dim(1);
  for (size_t d = image.shape.size(); d-- > 2; stride = stride * image.shape[d]) image.strides[d] = stride;
  image.strides[0] = stride;
}

/// The two convolutions as problems of their own, with a dense image between them, as image_between() in expanded_depthwise_ref.cpp makes it.
std::pair<Problem, Problem> apart(const Problem& p) {
  const auto& op = std::get<ExpandedDepthwise>(p.op);
  const Shape& w = p.in[1].shape;
  const bool blocks = in_blocks(w.size(), op.stride.size());
  Shape shape = w;
  shape[0] = p.in[0].shape[0];
  shape[1] = w[0];
  for (size_t d = 0; d < op.stride.size(); ++d) shape[2 + d] = p.in[0].shape[2 + d];
  TensorDesc image = desc(p.in[0].dtype, shape);
  if (!blocks) place_channels_innermost(image);
  const auto rest = p.in.begin() + 3 + static_cast<std::ptrdiff_t>(expansion_extras(op));
  Problem first{expansion_of(op, image.dtype), {p.in[0], p.in[1]}, {image}, p.hints, p.deterministic};
  first.in.insert(first.in.end(), p.in.begin() + 3, rest);
  Problem second{window_of(op, w[0].value() * (blocks ? w.back().value() : 1)), {image, p.in[2]}, p.out, p.hints, p.deterministic};
  second.in.insert(second.in.end(), rest, p.in.end());
  return {first, second};
}

Support apart_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<ExpandedDepthwise>(p.op), kOtherOperator);
  REQUIRE(p.in[0].dtype == DType::F32 || p.in[0].dtype == DType::BF16, "f32 and bf16 only");
  const auto [first, second] = apart(p);
  const Support expands = direct_supports(first);
  return expands ? direct_supports(second) : expands;
}

/// With the library for at least one of the two.
Support library_apart_supports(const Problem& p) {
  const Support own = apart_supports(p);
  if (!own) return own;
  const auto [first, second] = apart(p);
  const Support expands = library_supports(first);
  return expands ? library_supports(second) : expands;
}
std::vector<Config> library_apart_configs(const Problem&) { return {"onednn.conv onednn.conv", "own.conv.direct onednn.conv", "onednn.conv own.conv.direct"}; }
std::vector<Config> apart_configs(const Problem&) { return {"own.conv.direct own.conv.direct"}; }

Support lines_supports(const Problem& p) {
  const Support parts = apart_supports(p);
  if (!parts) return parts;
  const size_t spatial = std::get<ExpandedDepthwise>(p.op).stride.size();
  REQUIRE(spatial <= 2, "one or two spatial dims");
  const size_t channel = in_blocks(static_cast<size_t>(p.in[0].rank()), spatial) ? spatial + 2 : 1;
  REQUIRE(p.in[0].strides[channel].is_const(1) || p.in[0].shape[channel].is_const(1), "channels do not lie side by side");
  return Support::yes();
}

}  // namespace

void add_conv_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"onednn.conv", library_supports, 1.2, true, library_configs});
  add_cpu_tactic(list, {"own.conv.direct", direct_supports, 1.4, true});
  add_cpu_tactic(list, {"own.conv.winograd", winograd_supports, 1.45, true});
  add_reference_tactic<Conv>(list, "reference.conv");
  add_cpu_tactic(list, {"own.conv_weight_gradient.windows", window_gradient_supports, 1.4, true});
  add_cpu_tactic(list, {"onednn.conv_weight_gradient", weight_gradient_supports, 1.5, true});
  add_reference_tactic<ConvWeightGradient>(list, "reference.conv_weight_gradient");
}

void add_expanded_depthwise_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.expanded_depthwise.lines", lines_supports, 1.3, true});
  add_cpu_tactic(list, {"onednn.expanded_depthwise.apart", library_apart_supports, 1.5, true, library_apart_configs});
  add_cpu_tactic(list, {"own.expanded_depthwise.apart", apart_supports, 1.6, true, apart_configs});
  add_cpu_tactic(list, {"reference.expanded_depthwise", is_op<ExpandedDepthwise>, 200, true});
}

}  // namespace tuyere
