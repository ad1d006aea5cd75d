// SPDX-License-Identifier: Apache-2.0
// Where an output position of a resize reads, by PyTorch's coordinate rules.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/api/ops.h"

namespace tuyere::cpu {

/// Up to four input positions with weights that sum to 1.
struct Taps {
  int count = 1;
  std::array<int64_t, 4> at{};
  std::array<double, 4> weight{1, 0, 0, 0};
};

/// T is the type PyTorch computes coordinates in: double for f64, otherwise float. scale: the recorded factor, or <= 0.
template <class T>
Taps resize_taps(ResizeMode mode, bool align_corners, double scale, int64_t in, int64_t out, int64_t o) {
  const bool aligned = align_corners && mode != ResizeMode::nearest;
  T step;
  if (aligned) {
    step = out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
  } else {
    step = scale > 0 ? static_cast<T>(1.0 / scale) : static_cast<T>(in) / static_cast<T>(out);
  }
  Taps t;
  if (mode == ResizeMode::nearest) {
    t.at[0] = std::min(static_cast<int64_t>(std::floor(static_cast<T>(o) * step)), in - 1);
    return t;
  }
  T source = aligned ? step * static_cast<T>(o) : step * (static_cast<T>(o) + T(0.5)) - T(0.5);
  if (mode == ResizeMode::linear) {
    source = std::max(source, T(0));
    const int64_t low = std::min(static_cast<int64_t>(source), in - 1);
    const T f = std::min(std::max(source - static_cast<T>(low), T(0)), T(1));
    t.count = 2;
    t.at = {low, std::min(low + 1, in - 1), 0, 0};
    t.weight = {1.0 - static_cast<double>(f), static_cast<double>(f), 0, 0};
    return t;
  }
  const auto base = static_cast<int64_t>(std::floor(source));
  const double f = static_cast<double>(source - static_cast<T>(base)), a = -0.75;
  const auto near = [a](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [a](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  t.count = 4;
  t.weight = {far(f + 1), near(f), near(1 - f), far(2 - f)};
  for (int k = 0; k < 4; ++k) t.at[k] = std::min(std::max<int64_t>(base - 1 + k, 0), in - 1);
  return t;
}

}  // namespace tuyere::cpu
