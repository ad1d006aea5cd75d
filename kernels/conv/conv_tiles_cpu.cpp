// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_tiles.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/conv_tiles_cpu.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

// Twice as many sums, two vectors of weights and a value of x fit the registers.
constexpr int kPixels = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 14 : 6;

/// store(f) with the function f of the end: NaN stays NaN.
template <class F>
HWY_INLINE void finish_sums(const ConvTile& t, F store) {
  const D d;
  switch (t.end) {
    case ConvEnd::none:
      return store([](auto x) HWY_ATTR { return x; });
    case ConvEnd::relu:
      return store([d](auto x) HWY_ATTR { return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x); });
    case ConvEnd::clamp: {
      const auto low = hn::Set(d, t.low), high = hn::Set(d, t.high);
      return store([low, high](auto x) HWY_ATTR {
        const auto above = hn::IfThenElse(hn::Lt(x, low), low, x);
        return hn::IfThenElse(hn::Gt(above, high), high, above);
      });
    }
    case ConvEnd::hardswish:
      return store([d](auto x) HWY_ATTR { return hardswish_v(d, x); });
  }
}

// Sums stay in registers only when every loop over them is unrolled.
template <int V, int P>
void dense_tile(const ConvTile& t) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[V][P];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sums[v][p] = hn::Zero(d);
  }
  constexpr int kBases = (P + 2) / 3;  // addresses reach two steps beyond a base
  const int64_t step = t.pixel;
  const float *w = t.w, *ahead = t.ahead;
  for (int64_t s = 0; s < t.count; ++s) {
    const float* x[kBases];
#pragma GCC unroll 16
    for (int b = 0; b < kBases; ++b) x[b] = t.x + t.segments[s] + 3 * b * step;
    for (int64_t c = 0; c < t.channels; ++c, ahead += t.ahead_step) {
      hwy::Prefetch(ahead);
      hn::Vec<D> weights[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) weights[v] = hn::LoadU(d, w + v * lanes);
      w += V * lanes;
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const auto value = hn::Set(d, x[p / 3][(p % 3) * step]);
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) sums[v][p] = hn::MulAdd(value, weights[v], sums[v][p]);
      }
#pragma GCC unroll 16
      for (int b = 0; b < kBases; ++b) ++x[b];
    }
  }
  finish_sums(t, [&](auto f) HWY_ATTR {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {  // added at the end: short chains of additions are more exact
        float* to = t.sums + v * t.vector + p * lanes;
        hn::StoreU(f(hn::Add(sums[v][p], t.start ? hn::LoadU(d, t.start + v * lanes) : hn::LoadU(d, to))), d, to);
      }
    }
  });
}

template <int P>
void depthwise_tile(const ConvTile& t) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[P];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) sums[p] = hn::Zero(d);
  for (int64_t s = 0; s < t.count; ++s) {
    const auto weights = hn::LoadU(d, t.w + s * lanes);
    const float* x = t.x + t.segments[s];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sums[p] = hn::MulAdd(hn::LoadU(d, x + p * t.pixel), weights, sums[p]);
  }
  finish_sums(t, [&](auto f) HWY_ATTR {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) hn::StoreU(f(hn::Add(sums[p], hn::LoadU(d, t.start))), d, t.sums + p * lanes);
  });
}

template <int V, int P>
void dense_pixels(const ConvTile& t, int64_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return dense_pixels<V, P - 1>(t, pixels);
  }
  dense_tile<V, P>(t);
}
void conv_dense(const ConvTile& t, int64_t vectors, int64_t pixels) {
  if (vectors == 2) return dense_pixels<2, kPixels>(t, pixels);
  dense_pixels<1, kPixels>(t, pixels);
}

template <int P>
void depthwise_pixels(const ConvTile& t, int64_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return depthwise_pixels<P - 1>(t, pixels);
  }
  depthwise_tile<P>(t);
}
void conv_depthwise(const ConvTile& t, int64_t pixels) { depthwise_pixels<kPixels>(t, pixels); }

void conv_copy(const float* x, int64_t pixel, float* to, int64_t pixels) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t p = 0; p < pixels; ++p) hn::StoreU(hn::LoadU(d, x + p * pixel), d, to + p * lanes);
}

ConvFunctions conv_loops() { return {static_cast<int64_t>(hn::Lanes(D())), kPixels, conv_dense, conv_depthwise, conv_copy}; }

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(conv_loops);
const ConvFunctions& conv_functions() {
  static const ConvFunctions functions = HWY_DYNAMIC_DISPATCH(conv_loops)();
  return functions;
}
}  // namespace tuyere::cpu
#endif
