// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_tiles.h"

#include <cstring>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/conv_tiles_cpu.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
using D = hn::ScalableTag<float>;

// Twice as many sums, two vectors of weights and a value of x fit the registers.
constexpr int kPixels = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 14 : 6;

struct Identity {
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> x) const { return x; }
};

/// use(f) with the function f of the end, but SiLU: NaN stays NaN.
template <class T, class F>
HWY_INLINE void with_end(const ConvTileOf<T>& t, const F& use) {
  const D d;
  switch (t.end) {
    case ConvEnd::relu:
      return use([d](auto x) HWY_ATTR { return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x); });
    case ConvEnd::clamp: {
      const auto low = hn::Set(d, t.low), high = hn::Set(d, t.high);
      return use([low, high](auto x) HWY_ATTR {
        const auto above = hn::IfThenElse(hn::Lt(x, low), low, x);
        return hn::IfThenElse(hn::Gt(above, high), high, above);
      });
    }
    case ConvEnd::hardswish:
      return use([d](auto x) HWY_ATTR { return hardswish_v(d, x); });
    default:
      return use(Identity());
  }
}

/// A vector of the output, or `count` < Lanes values of it.
template <bool kNative, bool kShort>
HWY_INLINE void store_out(hn::Vec<D> x, void* out, int64_t at, int64_t count) {
  if constexpr (kShort) {
    auto* to = static_cast<uint16_t*>(out) + at;
    count == static_cast<int64_t>(hn::Lanes(D())) ? store_rounded<kNative>(x, to) : store_rounded_tail<kNative>(x, to, count);
  } else {
    float* to = static_cast<float*>(out) + at;
    count == static_cast<int64_t>(hn::Lanes(D())) ? hn::StoreU(x, D(), to) : store_tail(D(), x, to, count);
  }
}
template <bool kShort>
HWY_INLINE hn::Vec<D> load_out(const void* out, int64_t at, int64_t count) {
  const D d;
  const bool whole = count == static_cast<int64_t>(hn::Lanes(d));
  if constexpr (kShort) {
    const auto* from = static_cast<const uint16_t*>(out) + at;
    return whole ? load_short(d, from) : load_short_tail(d, from, count);
  } else {
    const float* from = static_cast<const float*>(out) + at;
    return whole ? hn::LoadU(d, from) : load_tail(d, from, count, 0.0f);
  }
}

/// Vector v of pixel p, finished by f.
template <bool kNative, bool kShort, class T, class F>
HWY_INLINE void finish_vector(const ConvTileOf<T>& t, int64_t v, int64_t p, bool last, hn::Vec<D> x, F f) {
  const int64_t at = p * t.out_pixel + v * t.out_vector, count = last ? t.last : static_cast<int64_t>(hn::Lanes(D()));
  if (t.residual) x = hn::Add(x, load_out<kShort>(t.residual, at, count));
  store_out<kNative, kShort>(f(x), t.out, at, count);
}

/// Finishes sums that are complete in memory, in place or to the output.
template <bool kNative, class T, class F>
HWY_INLINE void finish_with(const ConvTileOf<T>& t, int64_t vectors, int64_t pixels, F f) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t p = 0; p < pixels; ++p) {
    for (int64_t v = 0; v < vectors; ++v) {
      float* sums = t.sums + v * t.vector + p * lanes;
      const auto x = hn::LoadU(d, sums);
      if (!t.out) {
        hn::StoreU(f(x), d, sums);
      } else if (t.out_short) {
        finish_vector<kNative, true>(t, v, p, v + 1 == vectors, x, f);
      } else {
        finish_vector<kNative, false>(t, v, p, v + 1 == vectors, x, f);
      }
    }
  }
}
/// Functions that want registers of their own, and rare forms of the output, follow the sums of a tile through the first cache.
template <bool kNative, class T>
void finish_tile(const ConvTileOf<T>& t, int64_t vectors, int64_t pixels) {
  const D d;
  if (t.end != ConvEnd::silu) return with_end(t, [&](auto f) HWY_ATTR { finish_with<kNative>(t, vectors, pixels, f); });
  if (t.rough) return finish_with<kNative>(t, vectors, pixels, [d](auto x) HWY_ATTR { return silu_rough(d, x); });
  finish_with<kNative>(t, vectors, pixels, [d](auto x) HWY_ATTR { return silu_v(d, x); });
}

/// What a tile does with its sums in registers; kOut: writes the output, of the type that kShort says. No lambda: where gcc does not inline one, the sums are
/// in memory from the beginning on.
template <bool kNative, bool kShort, bool kOut, int V, int P, class T>
struct TileEnd {
  const ConvTileOf<T>& t;
  const hn::Vec<D> (&sums)[V][P];

  template <class F>
  HWY_INLINE void operator()(F f) const {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) finish(v, p, f);
    }
  }

 private:
  template <class F>
  HWY_INLINE void finish(int v, int p, F f) const {
    const D d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    float* memory = t.sums + v * t.vector + p * lanes;
    // Added at the end: short chains of additions are more exact.
    const auto x = f(hn::Add(sums[v][p], hn::LoadU(d, t.start ? t.start + v * lanes : memory)));
    const int64_t at = p * t.out_pixel + v * t.out_vector;
    if constexpr (!kOut) {
      hn::StoreU(x, d, memory);
    } else if constexpr (kShort) {
      store_rounded<kNative>(x, static_cast<uint16_t*>(t.out) + at);
    } else {
      hn::StoreU(x, d, static_cast<float*>(t.out) + at);
    }
  }
};

/// The end of a tile. kShort: the usual type of outputs, which are written from registers where vectors are whole.
template <bool kNative, bool kShort, int V, int P, class T>
HWY_INLINE void add_sums(const ConvTileOf<T>& t, const hn::Vec<D> (&sums)[V][P]) {
  const TileEnd<kNative, kShort, false, V, P, T> store{t, sums};
  if (t.end != ConvEnd::silu && !t.out) return with_end(t, store);
  const bool whole = !t.residual && t.last == static_cast<int64_t>(hn::Lanes(D()));
  if (t.end != ConvEnd::silu && t.out_short == kShort && whole) return with_end(t, TileEnd<kNative, kShort, true, V, P, T>{t, sums});
  store(Identity());
  finish_tile<kNative>(t, V, P);
}

// Sums stay in registers only when every loop over them is unrolled.
template <bool kNative, int V, int P>
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
  add_sums<kNative, false>(t, sums);
}

#if HWY_TARGET == HWY_AVX3
template <int V, int P>
void dense_short_tile(const ShortConvTile& t) {
  const D d;
  constexpr int64_t kLine = 32;  // weights of a vector
  hn::Vec<D> sums[V][P];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sums[v][p] = hn::Zero(d);
  }
  constexpr int kBases = (P + 2) / 3;  // as in dense_tile
  const int64_t step = t.pixel;
  const uint16_t *w = t.w, *ahead = t.ahead;
  for (int64_t s = 0; s < t.count; ++s) {
    const uint16_t* x[kBases];
#pragma GCC unroll 16
    for (int b = 0; b < kBases; ++b) x[b] = t.x + t.segments[s] + 3 * b * step;
    for (int64_t c = 0; c < t.channels; c += 2, ahead += t.ahead_step) {
      hwy::Prefetch(ahead);
      hn::Vec<D> weights[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) weights[v] = hn::LoadU(d, reinterpret_cast<const float*>(w + v * kLine));
      w += V * kLine;
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        float pair;
        std::memcpy(&pair, x[p / 3] + (p % 3) * step, sizeof(pair));
        const auto value = hn::Set(d, pair);
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) sums[v][p] = add_pairs(sums[v][p], weights[v], value);
      }
#pragma GCC unroll 16
      for (int b = 0; b < kBases; ++b) x[b] += 2;
    }
  }
  add_sums<true, true>(t, sums);
}

template <int V, int P>
void dense_short_pixels(const ShortConvTile& t, int64_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return dense_short_pixels<V, P - 1>(t, pixels);
  }
  dense_short_tile<V, P>(t);
}
void conv_dense_short(const ShortConvTile& t, int64_t vectors, int64_t pixels) {
  if (vectors == 2) return dense_short_pixels<2, kPixels>(t, pixels);
  dense_short_pixels<1, kPixels>(t, pixels);
}
#endif

template <bool kNative, int P>
void depthwise_tile(const ConvTile& t) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[1][P];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) sums[0][p] = hn::Zero(d);
  for (int64_t s = 0; s < t.count; ++s) {
    const auto weights = hn::LoadU(d, t.w + s * lanes);
    const float* x = t.x + t.segments[s];
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) sums[0][p] = hn::MulAdd(hn::LoadU(d, x + p * t.pixel), weights, sums[0][p]);
  }
  t.out_short ? add_sums<kNative, true>(t, sums) : add_sums<kNative, false>(t, sums);
}

template <bool kNative, int V, int P>
void dense_pixels(const ConvTile& t, int64_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return dense_pixels<kNative, V, P - 1>(t, pixels);
  }
  dense_tile<kNative, V, P>(t);
}
template <bool kNative>
void conv_dense(const ConvTile& t, int64_t vectors, int64_t pixels) {
  if (vectors == 2) return dense_pixels<kNative, 2, kPixels>(t, pixels);
  dense_pixels<kNative, 1, kPixels>(t, pixels);
}

template <bool kNative, int P>
void depthwise_pixels(const ConvTile& t, int64_t pixels) {
  if constexpr (P > 1) {
    if (pixels < P) return depthwise_pixels<kNative, P - 1>(t, pixels);
  }
  depthwise_tile<kNative, P>(t);
}
template <bool kNative>
void conv_depthwise(const ConvTile& t, int64_t pixels) {
  depthwise_pixels<kNative, kPixels>(t, pixels);
}

void conv_copy(const float* x, int64_t pixel, float* to, int64_t pixels) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t p = 0; p < pixels; ++p) hn::StoreU(hn::LoadU(d, x + p * pixel), d, to + p * lanes);
}

void conv_copy_short(const uint16_t* x, int64_t pixel, float* to, int64_t pixels) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t p = 0; p < pixels; ++p) hn::StoreU(load_short(d, x + p * pixel), d, to + p * lanes);
}

ConvFunctions conv_loops() {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
#if HWY_TARGET == HWY_AVX3
  if (rounds_natively()) return {lanes, kPixels, conv_dense<true>, conv_dense_short, conv_depthwise<true>, conv_copy, conv_copy_short};
#endif
  return {lanes, kPixels, conv_dense<false>, nullptr, conv_depthwise<false>, conv_copy, conv_copy_short};
}

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
