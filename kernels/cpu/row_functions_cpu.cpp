// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/row_functions.h"

#include <cmath>

#include "common/dtype.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_functions_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

RowFunctions functions() {
  return {
      row_sum,
      row_sum_squared_difference,
      row_max,
      row_min,
      row_dots,
      row_dots_short,
      row_exp_sum,
      row_shift_scale,
      row_affine,
      row_scale_add,
      row_multiply_add,
      row_softmax,
      row_online_softmax,
      rounds_natively() ? row_online_softmax_short<true> : row_online_softmax_short<false>,
      row_weighted_sum,
      row_pool,
      rounds_natively() ? row_pool_short<true> : row_pool_short<false>,
      column_sums,
      column_sums_short,
      column_softmax,
      column_arg,
      row_take,
  };
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(functions);
const RowFunctions& row_functions() {
  static const RowFunctions functions = HWY_DYNAMIC_DISPATCH(functions)();
  return functions;
}
}  // namespace tuyere::cpu
#endif
