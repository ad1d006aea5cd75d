// SPDX-License-Identifier: Apache-2.0
// Layer norms and their gradients over rows of f32 values, compiled for several instruction sets.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// Rows of x; strides in elements. weight, bias, means and scales may be null.
struct NormRowsCall {
  const float* x;
  int64_t x_stride;
  const float *weight, *bias;
  float* out;
  int64_t out_stride;
  float *means, *scales;
  int64_t statistics_stride;
  int64_t rows, n;
  double eps;
  bool rms;
};
/// out = (x - mean) * scale * weight + bias with scale = 1 / sqrt(variance + eps), in two exact passes; rms: a mean of 0. out may be x.
void norm_rows(const NormRowsCall& call);

/// Rows of the gradient dy of a layer norm of x. weight may be null, weight_sums and bias_sums both too.
struct NormGradientCall {
  const float* dy;
  int64_t dy_stride;
  const float* x;
  int64_t x_stride;
  const float *means, *scales;
  int64_t statistics_stride;
  const float* weight;
  float* dx;
  int64_t dx_stride;
  float *weight_sums, *bias_sums;
  int64_t rows, n;
};
/// dx = scale * (g - mean(g) - y * mean(g * y)) with y = (x - mean) * scale and g = dy * weight; adds dy * y to weight_sums and dy to bias_sums.
void norm_gradient_rows(const NormGradientCall& call);

}  // namespace tuyere::cpu
