// SPDX-License-Identifier: Apache-2.0
// A MatMul problem as cuBLASLt's terms.
#include <algorithm>
#include <utility>

#include "kernels/api/other_operator.h"
#include "kernels/cublaslt/cublaslt_tactics.h"
#include "kernels/matmul/matmul_view.h"

namespace tuyere {
namespace {

constexpr int kMaxAlignment = 256, kBiasAlignment = 16;

/// Of (batch, m, n), and exchanged when the result is computed transposed.
struct Coordinates {
  size_t batch, m, n;
};

LtMatrix matrix(const mma::EpilogueTensor& t, const Coordinates& at, bool batched) {
  return {t.position, {t.strides[at.m], t.strides[at.n], batched ? t.strides[at.batch] : Dim(0)}, std::min(t.alignment, kMaxAlignment)};
}

/// Whether a stride is 1 whatever the symbols, and the layout is good at the hints.
bool readable(const Dim& rows, const Dim& columns, const Dim& row, const Dim& column, const Symbols& hints, bool* transposed = nullptr) {
  if (!row.is_const(1) && !column.is_const(1) && !rows.is_const(1) && !columns.is_const(1)) return false;
  LtLayout layout;
  if (!lt_layout(rows.eval(hints), columns.eval(hints), row.eval(hints), column.eval(hints), &layout)) return false;
  if (transposed) *transposed = layout.transposed;
  return true;
}

bool row_major(const LtStep& step, const LtMatrix& matrix, const Symbols& hints) {
  bool transposed = false;
  return readable(step.n, step.m, matrix.strides[1], matrix.strides[0], hints, &transposed) && !transposed;
}

bool is_bias(const mma::EpilogueTensor& t, const LtStep& step, const Coordinates& at, bool batched) {
  return t.dtype == step.out && t.alignment >= kBiasAlignment && t.strides[at.n].is_const(1) && t.strides[at.m].is_const(0) &&
         (!batched || t.strides[at.batch].is_const(0));
}

bool is_residual(const mma::EpilogueTensor& t, const LtStep& step, const Coordinates& at, bool batched, const Symbols& hints) {
  const LtMatrix c = matrix(t, at, batched);
  const bool broadcast =
      (!step.m.is_const(1) && c.strides[0].is_const(0)) || (!step.n.is_const(1) && c.strides[1].is_const(0)) || (batched && c.strides[2].is_const(0));
  return t.dtype == step.out && !broadcast && row_major(step, c, hints);
}

bool fuse(const matmul::View& v, const Coordinates& at, const Symbols& hints, size_t outputs, LtStep* step) {
  if (v.epilogue.empty()) return outputs == 1;
  if (outputs != 1) return false;
  const bool batched = !v.batch.empty();
  std::vector<bool> biases{false};
  for (const mma::EpilogueTensor& t : v.extras) biases.push_back(is_bias(t, *step, at, batched));
  const std::optional<SimpleEpilogue> simple = match_simple_epilogue(v.epilogue, biases);
  if (!simple || simple->residual_last) return false;
  const Fn act = simple->act.value_or(Fn::constant);
  if (simple->act && act != Fn::relu && act != Fn::gelu_tanh) return false;
  if (simple->bias > 0 && !biases[static_cast<size_t>(simple->bias)]) return false;
  if (simple->residual > 0 && !is_residual(v.extras[static_cast<size_t>(simple->residual) - 1], *step, at, batched, hints)) return false;
  if (simple->bias > 0) step->bias = v.extras[static_cast<size_t>(simple->bias) - 1].position;
  if (simple->residual > 0) step->c = matrix(v.extras[static_cast<size_t>(simple->residual) - 1], at, batched);
  if (simple->act) step->act = act == Fn::relu ? "relu" : "gelu_tanh";
  return true;
}

Support types(const Problem& p) {
  const DType type = p.in[0].dtype, out = p.out[0].dtype;
  REQUIRE(p.in[1].dtype == type, "operands of different types");
  REQUIRE(type == DType::F16 || type == DType::BF16 || type == DType::F32, "cuBLASLt steps are for f16, bf16 and f32");
  REQUIRE(out == type || out == DType::F32, "the result is neither of the operands' type nor f32");
  return Support::yes();
}

}  // namespace

Support make_lt_step(const Problem& p, LtStep* step, bool* fused) {
  const MatMul* op = std::get_if<MatMul>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(p.in.size() >= 2 && p.in[0].rank() >= 2 && p.in[1].rank() >= 2, "operands of rank below 2");
  const Support typed = types(p);
  if (!typed) return typed;
  const matmul::View v = matmul::view(p);
  REQUIRE(v.batch.size() <= 1, "batch dims without one stride");
  const bool batched = !v.batch.empty();
  const size_t first = batched ? 1 : 0;
  Coordinates at{0, first, first + 1};
  const std::vector<Dim>& d = v.outs[0].strides;
  const bool swap = !d[at.n].is_const(1) && !v.n.is_const(1) && (d[at.m].is_const(1) || v.m.is_const(1));
  *step = LtStep{};
  step->m = v.m, step->n = v.n, step->k = v.k, step->batch = v.batch_count();
  step->type = p.in[0].dtype, step->out = p.out[0].dtype;
  step->tf32 = op->tf32 && step->type == DType::F32;
  const Dim none = 0;
  step->a = {v.a.position, {v.a.row, v.a.k, batched ? v.a.batch[0] : none}, std::min(v.a.alignment, kMaxAlignment)};
  step->b = {v.b.position, {v.b.k, v.b.row, batched ? v.b.batch[0] : none}, std::min(v.b.alignment, kMaxAlignment)};
  if (swap) {
    std::swap(at.m, at.n);
    std::swap(step->m, step->n);
    std::swap(step->a, step->b);
    std::swap(step->a.strides[0], step->a.strides[1]);
    std::swap(step->b.strides[0], step->b.strides[1]);
  }
  step->d = matrix(v.outs[0], at, batched);
  REQUIRE(!step->k.is_const(0) && step->k.eval(p.hints) > 0, "a product over no elements");
  REQUIRE(readable(step->m, step->k, step->a.strides[0], step->a.strides[1], p.hints), "the first operand has no stride of 1");
  REQUIRE(readable(step->k, step->n, step->b.strides[0], step->b.strides[1], p.hints), "the second operand has no stride of 1");
  REQUIRE(row_major(*step, step->d, p.hints), "the result has no stride of 1");
  *fused = fuse(v, at, p.hints, p.out.size(), step);
  return Support::yes();
}

}  // namespace tuyere
