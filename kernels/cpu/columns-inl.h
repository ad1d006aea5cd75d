// SPDX-License-Identifier: Apache-2.0
// Functions of RowFunctions that run down many columns at once. Included once per target.
#include <cmath>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

constexpr int64_t kColumnVectors = 4;  // side by side, to hide latencies
constexpr int64_t kFlushRows = 64;     // rows that f32 lanes add up before double takes over,
constexpr int64_t kChainRows = 16;     // as partial sums of so many each

/// N vectors of columns at x; the last one has `tail` columns when tail > 0.
template <int N>
struct ColumnStrip {
  int64_t tail;
  HWY_INLINE void load(const float* x, hn::Vec<Df>* v) const {
    const Df d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int k = 0; k < N; ++k) v[k] = tail > 0 && k == N - 1 ? load_tail(d, x + k * lanes, tail, 0.0f) : hn::LoadU(d, x + k * lanes);
  }
  HWY_INLINE void load(const uint16_t* x, hn::Vec<Df>* v) const {
    const Df d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int k = 0; k < N; ++k) v[k] = tail > 0 && k == N - 1 ? load_short_tail(d, x + k * lanes, tail) : load_short(d, x + k * lanes);
  }
  HWY_INLINE void store(const hn::Vec<Df>* v, float* out) const {
    const Df d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    for (int k = 0; k < N; ++k) {
      if (tail > 0 && k == N - 1) {
        store_tail(d, v[k], out + k * lanes, tail);
      } else {
        hn::StoreU(v[k], d, out + k * lanes);
      }
    }
  }
};

/// Calls f(strip, first column) over n columns.
template <class F>
HWY_INLINE void each_strip(int64_t n, F f) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Df()));
  int64_t i = 0;
  for (; i + kColumnVectors * lanes <= n; i += kColumnVectors * lanes) f(ColumnStrip<kColumnVectors>{0}, i);
  for (; i + 2 * lanes <= n; i += 2 * lanes) f(ColumnStrip<2>{0}, i);
  for (; i + lanes <= n; i += lanes) f(ColumnStrip<1>{0}, i);
  if (i < n) f(ColumnStrip<1>{n - i}, i);
}

/// Few vectors side by side take several rows at once instead.
template <int N, class T>
HWY_INLINE void sum_strip(const ColumnStrip<N>& strip, const T* x, int64_t row_stride, int64_t rows, const float* mean, double* sums) {
  constexpr int kRows = kColumnVectors / N;
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<Df> sum[N], acc[kRows][N], center[N], v[N];
  for (int k = 0; k < N; ++k) sum[k] = center[k] = hn::Zero(d);
  if (mean) strip.load(mean, center);
  const auto add = [&](int64_t row, hn::Vec<Df>* to) HWY_ATTR {
    strip.load(x + row * row_stride, v);
    for (int k = 0; k < N; ++k) {
      const auto e = hn::Sub(v[k], center[k]);
      to[k] = mean ? hn::MulAdd(e, e, to[k]) : hn::Add(to[k], v[k]);
    }
  };
  for (int64_t r = 0; r < rows;) {
    const int64_t end = HWY_MIN(r + kChainRows * kRows, rows);
    for (int j = 0; j < kRows; ++j) {
      for (int k = 0; k < N; ++k) acc[j][k] = hn::Zero(d);
    }
    for (; r + kRows <= end; r += kRows) {
      for (int j = 0; j < kRows; ++j) add(r + j, acc[j]);
    }
    for (; r < end; ++r) add(r, acc[0]);
    for (int j = 0; j < kRows; ++j) {
      for (int k = 0; k < N; ++k) sum[k] = hn::Add(sum[k], acc[j][k]);
    }
  }
  float parts[N * kMaxLanes];
  for (int k = 0; k < N; ++k) hn::StoreU(sum[k], d, parts + k * lanes);
  const int64_t count = strip.tail > 0 ? strip.tail : N * lanes;
  for (int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(parts[i]);
}
template <class T>
HWY_INLINE void add_column_sums(const T* x, int64_t row_stride, int64_t rows, int64_t n, const float* mean, double* sums) {
  for (int64_t r = 0; r < rows; r += kFlushRows) {
    const int64_t count = HWY_MIN(kFlushRows, rows - r);
    each_strip(n, [&](auto strip, int64_t i) HWY_ATTR { sum_strip(strip, x + r * row_stride + i, row_stride, count, mean ? mean + i : nullptr, sums + i); });
  }
}
void column_sums(const float* x, int64_t row_stride, int64_t rows, int64_t n, const float* mean, double* sums) {
  add_column_sums(x, row_stride, rows, n, mean, sums);
}
void column_sums_short(const uint16_t* x, int64_t row_stride, int64_t rows, int64_t n, const float* mean, double* sums) {
  add_column_sums(x, row_stride, rows, n, mean, sums);
}

template <int N>
HWY_INLINE void softmax_strip(const ColumnStrip<N>& strip, const float* x, int64_t x_stride, float* out, int64_t out_stride, int64_t rows, bool log) {
  const Df d;
  hn::Vec<Df> top[N], sum[N], v[N];
  for (int k = 0; k < N; ++k) top[k] = hn::Set(d, -INFINITY), sum[k] = hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r) {
    strip.load(x + r * x_stride, v);
    for (int k = 0; k < N; ++k) top[k] = hn::Max(v[k], top[k]);
  }
  for (int64_t r = 0; r < rows; ++r) {
    strip.load(x + r * x_stride, v);
    for (int k = 0; k < N; ++k) {
      v[k] = exp_negative(d, hn::Sub(v[k], top[k]));
      sum[k] = hn::Add(sum[k], v[k]);
    }
    if (!log) strip.store(v, out + r * out_stride);
  }
  for (int k = 0; k < N; ++k) sum[k] = log ? hn::Add(log_v(d, sum[k]), top[k]) : hn::Div(hn::Set(d, 1.0f), sum[k]);
  for (int64_t r = 0; r < rows; ++r) {
    strip.load(log ? x + r * x_stride : out + r * out_stride, v);
    for (int k = 0; k < N; ++k) v[k] = log ? hn::Sub(v[k], sum[k]) : hn::Mul(v[k], sum[k]);
    strip.store(v, out + r * out_stride);
  }
}
void column_softmax(const float* x, int64_t x_stride, float* out, int64_t out_stride, int64_t rows, int64_t n, bool log) {
  each_strip(n, [&](auto strip, int64_t i) HWY_ATTR { softmax_strip(strip, x + i, x_stride, out + i, out_stride, rows, log); });
}

void column_arg(const float* x, int32_t index, bool less, float* best, int32_t* at, int64_t n) {
  const Df d;
  const hn::RebindToSigned<Df> di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto now = hn::Set(di, index);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i), b = hn::LoadU(d, best + i);
    const auto better = hn::Or(less ? hn::Lt(v, b) : hn::Gt(v, b), hn::AndNot(hn::IsNaN(b), hn::IsNaN(v)));
    hn::StoreU(hn::IfThenElse(better, v, b), d, best + i);
    hn::StoreU(hn::IfThenElse(hn::RebindMask(di, better), now, hn::LoadU(di, at + i)), di, at + i);
  }
  for (; i < n; ++i) {
    if ((less ? x[i] < best[i] : x[i] > best[i]) || (x[i] != x[i] && best[i] == best[i])) best[i] = x[i], at[i] = index;
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
