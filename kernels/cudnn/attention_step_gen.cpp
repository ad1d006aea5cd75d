// SPDX-License-Identifier: Apache-2.0
// An Attention problem as a cuDNN step.
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/kernel.h"
#include "kernels/cudnn/cudnn_tactics.h"

namespace tuyere {
namespace {

constexpr int kAttentionAlignment = 16;  // bytes, of addresses and rows
constexpr int64_t kMaxDepth = 128;

/// Strides of dims of size 1 mean nothing; cuDNN wants them to be like those of a dense tensor.
std::vector<Dim> settled_strides(const Shape& shape, const std::vector<Dim>& strides) {
  int64_t extent = 1;
  for (size_t d = 0; d < shape.size(); ++d)
    if (!shape[d].is_const(1)) extent = std::max(extent, shape[d].value() * strides[d].value());
  std::vector<Dim> out = strides;
  for (size_t d = 0; d + 1 < shape.size(); ++d)
    if (shape[d].is_const(1)) out[d] = extent;
  if (shape.back().is_const(1)) out.back() = 1;
  return out;
}

Support operand_fits(const TensorDesc& t, DType type, const char* name) {
  REQUIRE(t.rank() == 4, std::string(name) + " is not [batch, head, row, column]");
  REQUIRE(t.dtype == type, std::string(name) + " is not of the queries' type");
  REQUIRE(t.alignment >= kAttentionAlignment, std::string(name) + " is not aligned to 16 bytes");
  REQUIRE(t.strides[3].is_const(1), std::string(name) + " has columns that are not contiguous");
  for (int d = 0; d < 3; ++d) {
    if (t.shape[d].is_const(1)) continue;
    const int64_t stride = t.strides[d].value();
    REQUIRE(stride > 0 && stride % (kAttentionAlignment * 8 / bits(type)) == 0, std::string(name) + " has strides that are not multiples of 16 bytes");
  }
  const int64_t depth = t.shape[3].value();
  REQUIRE(depth % 8 == 0 && depth <= kMaxDepth, "head size is not a multiple of 8 up to 128");
  return Support::yes();
}

/// The mask with four dims, 1 where it broadcasts.
CudnnTensor bias_tensor(const TensorDesc& mask) {
  Shape shape(4, Dim(1));
  std::vector<Dim> strides(4, Dim(0));
  const int missing = 4 - mask.rank();
  for (int d = 0; d < mask.rank(); ++d) {
    if (mask.strides[d].is_const(0) || mask.shape[d].is_const(1)) continue;
    shape[static_cast<size_t>(d + missing)] = mask.shape[d];
    strides[static_cast<size_t>(d + missing)] = mask.strides[d];
  }
  return {3, mask.dtype, shape, settled_strides(shape, strides), std::min(mask.alignment, kMaxAlignment)};
}

Support bias_fits(const TensorDesc& mask, DType type) {
  REQUIRE(mask.dtype == type, "the mask is not added in the queries' type");
  const CudnnTensor bias = bias_tensor(mask);
  REQUIRE(!bias.dims[2].is_const(1) && !bias.dims[3].is_const(1), "the mask broadcasts over queries or keys");
  REQUIRE(bias.strides[3].is_const(1), "the mask has keys that are not contiguous");
  for (const Dim& stride : bias.strides) REQUIRE(stride.value() > 0, "the mask runs backwards");
  return Support::yes();
}

}  // namespace

Support cudnn_attention_fits(const Problem& p) {
  const Attention* op = std::get_if<Attention>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(!op->logsumexp, "the logsumexp is wanted");
  REQUIRE(p.is_static(), "symbolic sizes: a plan would be compiled for every shape");
  REQUIRE(!codegen::is_empty(p), "no elements");
  const DType type = p.in[0].dtype;
  REQUIRE(type == DType::F16 || type == DType::BF16, "not f16 or bf16");
  const char* names[] = {"the query", "the key", "the value"};
  for (int i = 0; i < 3; ++i)
    if (const Support fits = operand_fits(p.in[i], type, names[i]); !fits) return fits;
  if (const Support fits = operand_fits(p.out[0], type, "the result"); !fits) return fits;
  REQUIRE(p.in[1].shape[1] == p.in[2].shape[1] && p.in[0].shape[1].value() % p.in[1].shape[1].value() == 0, "heads do not divide");
  if (!op->has_mask) return Support::yes();
  const Shape& mask = p.in[3].shape;
  REQUIRE(mask.size() < 4 || mask[0].is_const(1) || mask[0] == p.in[0].shape[0], "the mask repeats along the batch");
  return bias_fits(p.in[3], type);
}

CudnnStep make_cudnn_attention_step(const Problem& p) {
  const Attention& op = std::get<Attention>(p.op);
  CudnnStep step;
  step.deterministic = p.deterministic;
  const auto add = [&](const TensorDesc& t, int position) {
    step.tensors.push_back({position, t.dtype, t.shape, settled_strides(t.shape, t.strides), std::min(t.alignment, kMaxAlignment)});
    return static_cast<int>(step.tensors.size()) - 1;
  };
  CudnnAttention a;
  a.scale = op.scale, a.causal = op.causal;
  a.q = add(p.in[0], 0), a.k = add(p.in[1], 1), a.v = add(p.in[2], 2);
  CudnnTensor& keys = step.tensors[static_cast<size_t>(a.k)];
  std::swap(keys.dims[2], keys.dims[3]);
  std::swap(keys.strides[2], keys.strides[3]);
  a.o = add(p.out[0], static_cast<int>(p.in.size()));
  if (op.has_mask) {
    a.bias = static_cast<int>(step.tensors.size());
    step.tensors.push_back(bias_tensor(p.in[3]));
  }
  step.attention = a;
  return step;
}

}  // namespace tuyere
