// SPDX-License-Identifier: Apache-2.0
// Primitives over rows and columns of f32 values, compiled for several instruction sets and picked at run time.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// Rows of values; strides in elements.
struct RowFunctions {
  /// Sums are kept in several lanes and added in double.
  double (*sum)(const float* x, int64_t n);
  double (*sum_squared_difference)(const float* x, int64_t n, float mean);
  float (*max)(const float* x, int64_t n);  // NaN wins
  float (*min)(const float* x, int64_t n);
  /// out[r] = dot(a, rows[r]) over n values
  void (*dots)(const float* a, const float* rows, int64_t row_stride, int64_t count, int64_t n, float* out);
  void (*dots_short)(const float* a, const uint16_t* rows, int64_t row_stride, int64_t count, int64_t n, float* out);  // rows of bf16
  /// out = exp(x - top); the sum of out. out may be x, or null: only the sum.
  double (*exp_sum)(const float* x, int64_t n, float top, float* out);
  /// out = (x - shift) * scale
  void (*shift_scale)(const float* x, int64_t n, float shift, float scale, float* out);
  /// out = (x - shift) * scale * w + b; w and b may be null.
  void (*affine)(const float* x, int64_t n, float shift, float scale, const float* w, const float* b, float* out);
  /// out = x * scale + add
  void (*scale_add)(const float* x, int64_t n, float scale, float add, float* out);
  /// out = x * w + b
  void (*multiply_add)(const float* x, const float* w, const float* b, float* out, int64_t n);
  /// softmax or log-softmax of a row that lies in cache; NaN anywhere, or a row of -inf, gives NaN. out may be x.
  void (*softmax)(const float* x, float* out, int64_t n, bool log);
  /// One block of an online softmax: x becomes exp(x - new top); *top and *sum are brought up to date. Returns the factor for what was summed before.
  float (*online_softmax)(float* x, int64_t n, float* top, float* sum);
  /// The same of x * scale, scale > 0, whose weights go to `out` as bf16; x stays.
  float (*online_softmax_short)(const float* x, int64_t n, float scale, float* top, float* sum, uint16_t* out);
  /// out = sum of weights[k] * rows[k]
  void (*weighted_sum)(const float* const* rows, const float* weights, int count, float* out, int64_t n);
  /// out = the sum of rows, divided by `divisor`; or their maximum, where NaN wins. No rows: 0, or -inf.
  void (*pool)(const float* const* rows, int64_t count, bool max, float divisor, float* out, int64_t n);
  /// The same of bf16 rows, `offsets` from x, added up in f32 and rounded once.
  void (*pool_short)(const uint16_t* x, const int64_t* offsets, int64_t count, bool max, float divisor, uint16_t* out, int64_t n);

  /// sums[i] += x[r, i] over the rows; with mean: += (x[r, i] - mean[i])^2.
  void (*column_sums)(const float* x, int64_t row_stride, int64_t rows, int64_t n, const float* mean, double* sums);
  /// Of bf16 values.
  void (*column_sums_short)(const uint16_t* x, int64_t row_stride, int64_t rows, int64_t n, const float* mean, double* sums);
  /// softmax along columns of length `rows`, n columns side by side. out may be x when the strides are the same.
  void (*column_softmax)(const float* x, int64_t x_stride, float* out, int64_t out_stride, int64_t rows, int64_t n, bool log);
  /// best[i] = x[i] and at[i] = index where x[i] is better than best[i] (greater, or less; the first NaN wins).
  void (*column_arg)(const float* x, int32_t index, bool less, float* best, int32_t* at, int64_t n);
  /// out[i] = sum over k of weights[i * taps + k] * x[at[i * taps + k]]
  void (*take)(const float* x, const int32_t* at, const float* weights, int taps, float* out, int64_t n);
};
const RowFunctions& row_functions();

}  // namespace tuyere::cpu
