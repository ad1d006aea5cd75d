// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/norm_lanes.h"

#include <cmath>
#include <cstring>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm_lanes_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

// f32 lanes add up this many values before double takes over.
constexpr int64_t kLaneBlock = 2048;

/// Calls f(i, load, store) for the vectors of a row; what the last one loads beyond its end is zero, and it stores nothing there.
template <class F>
HWY_INLINE void each_vector(int64_t begin, int64_t end, F f) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    f(
        i, [d, i](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); }, [d, i](auto v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  }
  const int64_t rest = end - i;
  if (rest > 0) {
    f(
        i, [d, i, rest](const float* p) HWY_ATTR { return load_tail(d, p + i, rest, 0.0f); },
        [d, i, rest](auto v, float* p) HWY_ATTR { store_tail(d, v, p + i, rest); });
  }
}

HWY_INLINE double lane_sum(hn::Vec<Df> v) { return static_cast<double>(hn::GetLane(hn::SumOfLanes(Df(), v))); }

HWY_INLINE double sum_of_row(const float* x, int64_t n) {
  const Df d;
  double sum = 0;
  for (int64_t first = 0; first < n; first += kLaneBlock) {
    auto even = hn::Zero(d), odd = even;
    each_vector(first, HWY_MIN(n, first + kLaneBlock), [&](int64_t, auto load, auto) HWY_ATTR {
      const auto next = hn::Add(odd, load(x));
      odd = even;
      even = next;
    });
    sum += lane_sum(hn::Add(even, odd));
  }
  return sum;
}

HWY_INLINE double squares_of_row(const float* x, int64_t n, float mean) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto center = hn::Set(d, mean);
  double sum = 0;
  for (int64_t first = 0; first < n; first += kLaneBlock) {
    auto even = hn::Zero(d), odd = even;
    each_vector(first, HWY_MIN(n, first + kLaneBlock), [&](int64_t i, auto load, auto) HWY_ATTR {
      auto e = hn::Sub(load(x), center);
      if (i + lanes > n) e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n - i)), e);
      const auto next = hn::MulAdd(e, e, odd);
      odd = even;
      even = next;
    });
    sum += lane_sum(hn::Add(even, odd));
  }
  return sum;
}

template <bool kWeight, bool kBias>
HWY_INLINE void write_row(const NormRowsCall& c, const float* x, float mean, float scale, float* out) {
  const Df d;
  const auto m = hn::Set(d, mean), s = hn::Set(d, scale);
  each_vector(0, c.n, [&](int64_t, auto load, auto store) HWY_ATTR {
    auto y = hn::Mul(hn::Sub(load(x), m), s);
    if constexpr (kWeight && kBias) y = hn::MulAdd(y, load(c.weight), load(c.bias));
    if constexpr (kWeight && !kBias) y = hn::Mul(y, load(c.weight));
    if constexpr (!kWeight && kBias) y = hn::Add(y, load(c.bias));
    store(y, out);
  });
}

void layer_norm_rows(const NormRowsCall& c) {
  const auto count = static_cast<double>(c.n);
  for (int64_t r = 0; r < c.rows; ++r) {
    const float* x = c.x + r * c.x_stride;
    float* out = c.out + r * c.out_stride;
    const auto mean = c.rms ? 0.0f : static_cast<float>(sum_of_row(x, c.n) / count);
    const auto scale = static_cast<float>(1 / std::sqrt(squares_of_row(x, c.n, mean) / count + c.eps));
    if (c.means) c.means[r * c.statistics_stride] = mean;
    if (c.scales) c.scales[r * c.statistics_stride] = scale;
    if (c.weight && c.bias) {
      write_row<true, true>(c, x, mean, scale, out);
    } else if (c.weight) {
      write_row<true, false>(c, x, mean, scale, out);
    } else if (c.bias) {
      write_row<false, true>(c, x, mean, scale, out);
    } else {
      write_row<false, false>(c, x, mean, scale, out);
    }
  }
}

/// One row: sums of g and g * y over blocks of lanes, and what the parameters' gradients get of it; then dx.
template <bool kWeight, bool kParameters>
HWY_INLINE void gradient_row(const NormGradientCall& c, const float* dy, const float* x, float mean, float scale, float* dx) {
  const Df d;
  const auto m = hn::Set(d, mean), s = hn::Set(d, scale);
  double sum = 0, products = 0;
  for (int64_t first = 0; first < c.n; first += kLaneBlock) {
    auto g_sum = hn::Zero(d), gy_sum = g_sum;
    each_vector(first, HWY_MIN(c.n, first + kLaneBlock), [&](int64_t, auto load, auto store) HWY_ATTR {
      const auto in = load(dy), y = hn::Mul(hn::Sub(load(x), m), s);
      auto g = in;
      if constexpr (kWeight) g = hn::Mul(in, load(c.weight));
      g_sum = hn::Add(g_sum, g);
      gy_sum = hn::MulAdd(g, y, gy_sum);  // beyond the end g is zero
      if constexpr (kParameters) {
        store(hn::MulAdd(in, y, load(c.weight_sums)), c.weight_sums);
        store(hn::Add(in, load(c.bias_sums)), c.bias_sums);
      }
    });
    sum += lane_sum(g_sum);
    products += lane_sum(gy_sum);
  }
  const auto mean_g = hn::Set(d, static_cast<float>(sum / static_cast<double>(c.n))),
             mean_gy = hn::Set(d, static_cast<float>(products / static_cast<double>(c.n)));
  each_vector(0, c.n, [&](int64_t, auto load, auto store) HWY_ATTR {
    const auto y = hn::Mul(hn::Sub(load(x), m), s);
    auto g = load(dy);
    if constexpr (kWeight) g = hn::Mul(g, load(c.weight));
    store(hn::Mul(s, hn::NegMulAdd(y, mean_gy, hn::Sub(g, mean_g))), dx);
  });
}

void layer_norm_gradient_rows(const NormGradientCall& c) {
  for (int64_t r = 0; r < c.rows; ++r) {
    const float *dy = c.dy + r * c.dy_stride, *x = c.x + r * c.x_stride;
    float* dx = c.dx + r * c.dx_stride;
    const float mean = c.means[r * c.statistics_stride], scale = c.scales[r * c.statistics_stride];
    if (c.weight && c.weight_sums) {
      gradient_row<true, true>(c, dy, x, mean, scale, dx);
    } else if (c.weight) {
      gradient_row<true, false>(c, dy, x, mean, scale, dx);
    } else if (c.weight_sums) {
      gradient_row<false, true>(c, dy, x, mean, scale, dx);
    } else {
      gradient_row<false, false>(c, dy, x, mean, scale, dx);
    }
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(layer_norm_rows);
HWY_EXPORT(layer_norm_gradient_rows);
void norm_rows(const NormRowsCall& call) { HWY_DYNAMIC_DISPATCH(layer_norm_rows)(call); }
void norm_gradient_rows(const NormGradientCall& call) { HWY_DYNAMIC_DISPATCH(layer_norm_gradient_rows)(call); }
}  // namespace tuyere::cpu
#endif
