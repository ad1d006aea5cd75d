// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_gradient_tiles.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/conv_gradient_tiles_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
using DGradient = hn::ScalableTag<float>;

// As many pixels as conv_tiles_cpu.cpp holds.
constexpr int kTaps = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 14 : 6;

template <bool kTail, int V>
HWY_INLINE void load_gradients(const float* dy, int64_t last, hn::Vec<DGradient> (&to)[V]) {
  const DGradient d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) to[v] = kTail && v + 1 == V ? load_tail(d, dy + v * lanes, last, 0.0f) : hn::LoadU(d, dy + v * lanes);
}

template <int V, int P>
HWY_INLINE void add_pixel(const float* x, const hn::Vec<DGradient> (&dy)[V], hn::Vec<DGradient> (&sums)[V][P]) {
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    const auto value = hn::Set(DGradient(), x[p]);
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) sums[v][p] = hn::MulAdd(value, dy[v], sums[v][p]);
  }
}

/// Sums stay in registers. Where they are few, every other pixel has its own, so that no product waits for the one before.
template <bool kTail, int V, int P>
void gradient_tile(const GradientTile& t) {
  constexpr bool kPairs = V * P < 8;
  const DGradient d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<DGradient> sums[V][P], others[V][P], dy[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sums[v][p] = others[v][p] = hn::Zero(d);
  }
  for (int64_t line = 0; line < t.count; ++line) {
    const GradientLine& l = t.lines[line];
    const float *x = t.x + l.x, *g = t.dy + l.dy;
    int64_t left = l.pixels;
    for (; kPairs && left >= 2; left -= 2, x += 2 * t.x_pixel, g += 2 * t.dy_pixel) {
      load_gradients<kTail>(g, t.last, dy);
      add_pixel(x, dy, sums);
      load_gradients<kTail>(g + t.dy_pixel, t.last, dy);
      add_pixel(x + t.x_pixel, dy, others);
    }
    for (; left > 0; --left, x += t.x_pixel, g += t.dy_pixel) {
      load_gradients<kTail>(g, t.last, dy);
      add_pixel(x, dy, sums);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      float* to = t.sums + v * t.vector + p * lanes;
      const auto sum = kPairs ? hn::Add(sums[v][p], others[v][p]) : sums[v][p];
      hn::StoreU(t.adds ? hn::Add(sum, hn::LoadU(d, to)) : sum, d, to);
    }
  }
}

template <bool kTail, int V, int P>
void gradient_taps(const GradientTile& t, int64_t taps) {
  if constexpr (P > 1) {
    if (taps < P) return gradient_taps<kTail, V, P - 1>(t, taps);
  }
  gradient_tile<kTail, V, P>(t);
}
template <bool kTail>
void gradient_vectors(const GradientTile& t, int64_t vectors, int64_t taps) {
  vectors == 2 ? gradient_taps<kTail, 2, kTaps>(t, taps) : gradient_taps<kTail, 1, kTaps>(t, taps);
}
void add_gradients(const GradientTile& t, int64_t vectors, int64_t taps) {
  const bool tail = t.last < static_cast<int64_t>(hn::Lanes(DGradient()));
  tail ? gradient_vectors<true>(t, vectors, taps) : gradient_vectors<false>(t, vectors, taps);
}

GradientFunctions gradient_loops() { return {static_cast<int64_t>(hn::Lanes(DGradient())), kTaps, add_gradients}; }

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(gradient_loops);
const GradientFunctions& gradient_functions() {
  static const GradientFunctions functions = HWY_DYNAMIC_DISPATCH(gradient_loops)();
  return functions;
}
}  // namespace tuyere::cpu
#endif
