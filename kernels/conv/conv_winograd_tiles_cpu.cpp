// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_winograd.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/conv_winograd_tiles_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

/// Four numbers of a line or column of a window.
HWY_INLINE void spread(FloatVec& a, FloatVec& b, FloatVec& c, FloatVec& d) {
  const FloatVec first = hn::Sub(a, c), last = hn::Sub(b, d), sum = hn::Add(b, c), difference = hn::Sub(c, b);
  a = first;
  b = sum;
  c = difference;
  d = last;
}

void winograd_input(const float* const* pixels, const int64_t* steps, int64_t blocks, int64_t channels, float* to, int64_t plane) {
  const FloatTag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t c = 0; c < channels; c += lanes, to += lanes) {
      FloatVec x[4][4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) x[i][j] = hn::LoadU(tag, pixels[4 * i + j] + block * steps[4 * i + j] + c);
        spread(x[i][0], x[i][1], x[i][2], x[i][3]);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        spread(x[0][j], x[1][j], x[2][j], x[3][j]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) hn::StoreU(x[i][j], tag, to + (4 * i + j) * plane);
      }
    }
  }
}

void winograd_output(const float* from, int64_t plane, const float* start, int64_t vectors, float* to, int64_t vector, int64_t line) {
  const FloatTag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t v = 0; v < vectors; ++v, from += lanes, to += vector) {
    FloatVec upper[4], lower[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const FloatVec a = hn::LoadU(tag, from + j * plane), b = hn::LoadU(tag, from + (4 + j) * plane);
      const FloatVec c = hn::LoadU(tag, from + (8 + j) * plane), d = hn::LoadU(tag, from + (12 + j) * plane);
      upper[j] = hn::Add(a, hn::Add(b, c));
      lower[j] = hn::Sub(hn::Sub(b, c), d);
    }
    const FloatVec first = start ? hn::LoadU(tag, start + v * lanes) : hn::Zero(tag);
    const auto store = [&](const FloatVec* x, float* at) HWY_ATTR {
      hn::StoreU(hn::Add(first, hn::Add(x[0], hn::Add(x[1], x[2]))), tag, at);
      hn::StoreU(hn::Add(first, hn::Sub(hn::Sub(x[1], x[2]), x[3])), tag, at + lanes);
    };
    store(upper, to);
    store(lower, to + line);
  }
}

WinogradFunctions winograd_loops() { return {static_cast<int64_t>(hn::Lanes(FloatTag())), winograd_input, winograd_output}; }

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(winograd_loops);
const WinogradFunctions& winograd_functions() {
  static const WinogradFunctions functions = HWY_DYNAMIC_DISPATCH(winograd_loops)();
  return functions;
}
}  // namespace tuyere::cpu
#endif
