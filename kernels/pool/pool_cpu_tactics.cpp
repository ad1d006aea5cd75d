// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/cpu/cpu_tactic.h"
#include "kernels/onednn/onednn_tactics.h"
#include "kernels/pool/pool_tactics.h"

namespace tuyere {
namespace {

Support library_supports(const Problem& p) {
  const auto* op = std::get_if<Pool>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(onednn_available(), "libdnnl.so.3 cannot be opened");
  REQUIRE(p.in[0].dtype == p.out[0].dtype && (p.in[0].dtype == DType::F32 || p.in[0].dtype == DType::BF16), "the library's pooling is used for f32 and bf16");
  REQUIRE(!op->with_indices, "the library returns no indices");
  REQUIRE(op->divisor == 0, "the library knows no divisor of its own");
  REQUIRE(op->kind == PoolKind::max || !op->ceil_mode || !op->count_include_pad, "the library counts the padding that ceil_mode adds");
  const bool dilated = std::any_of(op->dilation.begin(), op->dilation.end(), [](int64_t step) { return step != 1; });
  REQUIRE(op->kind == PoolKind::max || !op->count_include_pad || !dilated, "the library counts the padding of dilated windows otherwise");
  REQUIRE(p.in[0].rank() == static_cast<int>(op->kernel.size()) + 2, "no batch dim");
  REQUIRE(op->kernel.size() <= 3, "more than three spatial dims");
  return Support::yes();
}

Support global_supports(const Problem& p) {
  const auto* op = std::get_if<AdaptivePool>(&p.op);
  REQUIRE(op, kOtherOperator);
  for (int64_t size : op->out) REQUIRE(size == 1, "more than one output position");
  REQUIRE(p.out.size() == 1, "a reduction returns no indices");
  return whole_bytes(p);
}

template <class S>
Support windows_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<S>(p.op), kOtherOperator);
  REQUIRE(p.out.size() == 1 || p.out[1].dtype == DType::I64, "indices have 64 bits");
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32 && compute_type(p.out[0].dtype) == DType::F32, "windows are folded in f32");
  return whole_bytes(p);
}

Support gradient_supports(const Problem& p) {
  REQUIRE(std::holds_alternative<PoolGradient>(p.op), kOtherOperator);
  REQUIRE(compute_type(p.in[0].dtype) == DType::F32, "sums are kept in f32");
  return whole_bytes(p);
}

}  // namespace

void add_pool_cpu_tactics(TacticList& list) {
  add_cpu_tactic(list, {"own.pool.windows", windows_supports<Pool>, 1.2});
  add_cpu_tactic(list, {"onednn.pool", library_supports, 1.3, true});
  add_reference_tactic<Pool>(list, "reference.pool");
  add_cpu_tactic(list, {"own.adaptive_pool.reduce", global_supports, 1.5});
  add_cpu_tactic(list, {"own.adaptive_pool.windows", windows_supports<AdaptivePool>, 1.6});
  add_reference_tactic<AdaptivePool>(list, "reference.adaptive_pool");
  add_cpu_tactic(list, {"own.pool_gradient.windows", gradient_supports, 1.5});
  add_reference_tactic<PoolGradient>(list, "reference.pool_gradient");
}

}  // namespace tuyere
