// SPDX-License-Identifier: Apache-2.0
// scaled_dot_product_attention and the fused variants that PyTorch's dispatcher picks.
#include <cmath>

#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// Rank 4: missing head and batch dimensions are added, further leading ones are joined.
TensorId rank4(Convert& c, TensorId x) {
  Shape s = c.type(x).shape;
  USER_CHECK(s.size() >= 2, "attention on a tensor of rank " << s.size());
  if (s.size() == 4) return x;
  if (s.size() == 2) return c.reshape(x, {1, 1, s[0], s[1]});
  if (s.size() == 3) return c.reshape(x, {s[0], 1, s[1], s[2]});
  Dim batch = 1;
  for (size_t k = 0; k + 3 < s.size(); ++k) batch *= s[k];
  return c.reshape(x, {batch, s[s.size() - 3], s[s.size() - 2], s.back()});
}

/// The mask for rank-4 queries: dimensions joined in q are expanded and joined in the mask.
TensorId mask4(Convert& c, TensorId mask, const Shape& q) {
  const Shape s = c.type(mask).shape;
  if (q.size() == 3 && s.size() == 3) return c.reshape(mask, {s[0], 1, s[1], s[2]});
  if (q.size() <= 4 || s.size() <= 3) return mask;
  Shape full(q.begin(), q.end() - 2);
  full.push_back(s[s.size() - 2]);
  full.push_back(s.back());
  return rank4(c, c.expand(mask, full));
}

/// k and v take q's batch size where they have 1.
TensorId with_batch(Convert& c, TensorId x, const Dim& batch) {
  Shape s = c.type(x).shape;
  if (!s[0].is_const(1) || batch.is_const(1)) return x;
  s[0] = batch;
  return c.expand(x, s);
}

struct Request {
  std::optional<TensorId> mask;
  bool causal = false;
};

double scale_of(const Convert& c, const Dim& head_size) {
  if (c.has("scale")) return c.number("scale");
  USER_CHECK(head_size.is_const(), "the head size " << head_size << " is symbolic");
  return 1 / std::sqrt(static_cast<double>(head_size.value()));
}

/// The result, and the logsumexp where it is wanted.
std::vector<TensorId> attend(Convert& c, Request request, bool logsumexp = false) {
  TensorId q = c.tensor("query"), k = rank4(c, c.tensor("key")), v = rank4(c, c.tensor("value"));
  const Shape shape = c.type(q).shape;
  if (request.mask) request.mask = mask4(c, *request.mask, shape);
  q = rank4(c, q);
  const Dim batch = c.type(q).shape[0], head_size = c.type(q).shape[3];
  k = with_batch(c, k, batch);
  v = with_batch(c, v, batch);
  Attention op{.scale = scale_of(c, head_size), .causal = request.causal, .has_mask = request.mask.has_value()};
  op.logsumexp = logsumexp;
  op.type = c.out_type().dtype;
  std::vector<TensorId> inputs{q, k, v};
  if (request.mask) inputs.push_back(*request.mask);
  std::vector<TensorId> out = logsumexp ? add_native(c, op, inputs) : c.add_n(op, inputs);
  out[0] = c.reshape(out[0], c.out_type().shape);
  return out;
}

Request request_of(Convert& c, std::string_view mask) {
  USER_CHECK(!c.has("dropout_p") || c.number("dropout_p") == 0, "attention with dropout");
  return {c.maybe_tensor(mask), c.has("is_causal") && c.boolean("is_causal")};
}

void sdpa(Convert& c) { c.out(attend(c, request_of(c, "attn_mask"))[0]); }

/// The fused ops also give what their backward needs.
void fused(Convert& c) {
  for (int k = 1; k < static_cast<int>(c.node.outputs.size()); ++k)
    USER_CHECK(!c.used(k), "output " << k << " (logsumexp or random state) of the attention is used");
  c.out(attend(c, request_of(c, c.has("attn_mask") ? "attn_mask" : "attn_bias"))[0]);
}

/// On the CPU the logsumexp is an output of our own kernel.
void fused_on_cpu(Convert& c) {
  const bool training = c.used(1);
  const std::vector<TensorId> out = attend(c, request_of(c, "attn_mask"), training);
  c.out(out[0]);
  if (training) c.out(out[1], 1);
}

void fused_on_cpu_backward(Convert& c) {
  const Request request = request_of(c, "attn_mask");
  std::vector<TensorId> inputs;
  for (const char* name : {"grad_out", "query", "key", "value", "out", "logsumexp"}) inputs.push_back(c.tensor(name));
  const TensorType q = c.type(inputs[1]);
  USER_CHECK(q.shape.size() == 4, "attention on a tensor of rank " << q.shape.size());
  AttentionGradient op{.scale = scale_of(c, q.shape[3]), .causal = request.causal, .has_mask = request.mask.has_value(), .type = c.out_type().dtype};
  if (request.mask) inputs.push_back(mask4(c, *request.mask, q.shape));
  const std::vector<TensorId> out = add_native(c, op, inputs);
  for (int k = 0; k < 3; ++k) c.out(out[static_cast<size_t>(k)], k);
}

}  // namespace

void add_attention(ConverterTable& t) {
  t.add("aten::scaled_dot_product_attention", sdpa);
  add_each(t,
           {"aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
            "aten::_scaled_dot_product_fused_attention_overrideable", "aten::_scaled_dot_product_attention_math"},
           fused);
  t.add("aten::_scaled_dot_product_flash_attention_for_cpu", fused_on_cpu);
  t.add("aten::_scaled_dot_product_flash_attention_for_cpu_backward", fused_on_cpu_backward);
}

}  // namespace tuyere
