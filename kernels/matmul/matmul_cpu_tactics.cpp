// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/matmul/matmul_tactics.h"
#include "kernels/onednn/onednn_tactics.h"

namespace tuyere {
namespace {

Support library_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<MatMul>(p.op), kOtherOperator);
  return onednn_gemm_supports(p);
}

// A few rows and one matrix for all of them.
Support rows_supports(const Problem& p) {
  constexpr int64_t kMostRows = 4;
  const auto* op = std::get_if<MatMul>(&p.op);
  REQUIRE(op != nullptr, kOtherOperator);
  const TensorDesc &a = p.in[0], &b = p.in[1];
  const auto short_float = [](DType t) { return t == DType::F32 || t == DType::BF16 || t == DType::F16; };
  REQUIRE(p.out.size() == 1 && short_float(a.dtype) && short_float(b.dtype), "sums are kept in f32");
  REQUIRE(a.rank() >= 2 && b.rank() >= 2, "operands must be matrices");
  const auto last_a = static_cast<size_t>(a.rank() - 1), last_b = static_cast<size_t>(b.rank() - 1);
  int64_t rows = 1;
  for (size_t d = 0; d <= last_a; ++d) {
    if (d == (op->trans_a ? last_a - 1 : last_a)) continue;
    REQUIRE(a.shape[d].is_const(), "the number of rows is symbolic");
    rows *= a.shape[d].value();
  }
  REQUIRE(rows <= kMostRows, "so many rows are worth a packed matrix");
  for (size_t d = 0; d + 1 < last_b; ++d) REQUIRE(b.shape[d].is_const(1), "every batch has a matrix of its own");
  REQUIRE(b.strides[last_b].is_const(1) || b.strides[last_b - 1].is_const(1), "the matrix is dense along neither dim");
  return whole_bytes(p);
}

Support blocked_supports(const Problem& p) {
  const Support op = is_op<MatMul>(p);
  if (!op) return op;
  REQUIRE(p.out.size() == 1 && p.in.size() <= 32, "the epilogue has too many operands");
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32 && compute_type(p.in[1].dtype) == DType::F32, "products are added up in f32");
  // Packed panels are read at one place after another. In a race the matrix may lie in a cache, in a network it does not.
  constexpr int64_t kInCache = 512 << 10;
  int64_t bytes = bits(p.in[1].dtype) / 8;
  for (const Dim& size : p.in[1].shape) bytes *= size.is_const() ? size.value() : 1;
  REQUIRE(bytes < kInCache || !p.in[1].constant || !rows_supports(p), "few rows against a matrix that fills a cache");
  return whole_bytes(p);
}

}  // namespace

void add_matmul_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.matmul.rows", rows_supports, 1.1});
  add_cpu_tactic(list, {"onednn.matmul", library_supports, 1.2, true});
  add_cpu_tactic(list, {"own.matmul.blocked", blocked_supports, 1.6, true});
  add_reference_tactic<MatMul>(list, "reference.matmul");
}

void add_gated_matmul_cpu_tactics(TacticList& list) { add_reference_tactic<GatedMatMul>(list, "reference.gated_matmul"); }

}  // namespace tuyere
