// SPDX-License-Identifier: Apache-2.0
// Functions of RowFunctions that run along a row. Included once per target, after columns-inl.h.

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

/// Folds f over the vectors of a row with four accumulators that start at `init` and are joined at the end; the tail is padded with `pad`.
template <class F, class J>
HWY_INLINE hn::Vec<Df> fold_row(const float* x, int64_t n, float init, float pad, F f, J join) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a0 = hn::Set(d, init), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = f(d, a0, hn::LoadU(d, x + i));
    a1 = f(d, a1, hn::LoadU(d, x + i + lanes));
    a2 = f(d, a2, hn::LoadU(d, x + i + 2 * lanes));
    a3 = f(d, a3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = f(d, a0, hn::LoadU(d, x + i));
  if (i < n) a1 = f(d, a1, load_tail(d, x + i, n - i, pad));
  return join(d, join(d, a0, a1), join(d, a2, a3));
}

// Long rows are cut so that no f32 accumulator adds up more than 16 values. Eager's batch norms have their means in double.
constexpr int64_t kSumBlock = 1024;

HWY_INLINE double total(hn::Vec<Df> v) {
#if HWY_TARGET == HWY_SCALAR
  return static_cast<double>(hn::GetLane(v));
#else
  const hn::Half<Df> half;
  const hn::Repartition<double, Df> wide;
  return hn::GetLane(hn::SumOfLanes(wide, hn::Add(hn::PromoteTo(wide, hn::LowerHalf(half, v)), hn::PromoteTo(wide, hn::UpperHalf(half, v)))));
#endif
}

template <class F>
HWY_INLINE double sum_blocks(const float* x, int64_t n, float pad, F f) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += kSumBlock) {
    sum += total(fold_row(x + i, HWY_MIN(kSumBlock, n - i), 0.0f, pad, f, [](auto, auto a, auto b) HWY_ATTR { return hn::Add(a, b); }));
  }
  return sum;
}

double row_sum(const float* x, int64_t n) {
  return sum_blocks(x, n, 0.0f, [](auto, auto acc, auto v) HWY_ATTR { return hn::Add(acc, v); });
}
double row_sum_squared_difference(const float* x, int64_t n, float mean) {
  return sum_blocks(x, n, mean, [mean](auto d, auto acc, auto v) HWY_ATTR {
    const auto e = hn::Sub(v, hn::Set(d, mean));
    return hn::MulAdd(e, e, acc);
  });
}

// The extreme of a row where NaN wins: vectors keep NaN apart from the comparison.
template <class F>
HWY_INLINE float extreme(const float* x, int64_t n, float init, F better) {
  const Df d;
  const auto fold = [better](auto, auto acc, auto v) HWY_ATTR { return hn::IfThenElse(hn::Or(better(v, acc), hn::IsNaN(v)), v, acc); };
  float lanes[kMaxLanes];
  hn::StoreU(fold_row(x, n, init, init, fold, fold), d, lanes);
  float best = init;
  for (int64_t k = 0; k < static_cast<int64_t>(hn::Lanes(d)); ++k) {
    const bool take = init < 0 ? lanes[k] > best : lanes[k] < best;
    best = take || lanes[k] != lanes[k] ? lanes[k] : best;
  }
  return best;
}
float row_max(const float* x, int64_t n) {
  return extreme(x, n, -INFINITY, [](auto a, auto b) HWY_ATTR { return hn::Gt(a, b); });
}
float row_min(const float* x, int64_t n) {
  return extreme(x, n, INFINITY, [](auto a, auto b) HWY_ATTR { return hn::Lt(a, b); });
}

HWY_INLINE hn::Vec<Df> load_row(const float* x) { return hn::LoadU(Df(), x); }
HWY_INLINE hn::Vec<Df> load_row(const uint16_t* x) { return load_short(Df(), x); }
HWY_INLINE hn::Vec<Df> load_row_tail(const float* x, int64_t count) { return load_tail(Df(), x, count, 0.0f); }
HWY_INLINE hn::Vec<Df> load_row_tail(const uint16_t* x, int64_t count) { return load_short_tail(Df(), x, count); }

template <int N, class T>
HWY_INLINE void dot_group(const float* a, const T* rows, int64_t row_stride, int64_t n, float* out) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<Df> sums[N];
  for (int k = 0; k < N; ++k) sums[k] = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, a + i);
    for (int k = 0; k < N; ++k) sums[k] = hn::MulAdd(v, load_row(rows + k * row_stride + i), sums[k]);
  }
  if (i < n) {
    const auto v = load_tail(d, a + i, n - i, 0.0f);
    for (int k = 0; k < N; ++k) sums[k] = hn::MulAdd(v, load_row_tail(rows + k * row_stride + i, n - i), sums[k]);
  }
  for (int k = 0; k < N; ++k) out[k] = hn::GetLane(hn::SumOfLanes(d, sums[k]));
}
template <class T>
HWY_INLINE void dot_groups(const float* a, const T* rows, int64_t row_stride, int64_t count, int64_t n, float* out) {
  int64_t r = 0;
  for (; r + 8 <= count; r += 8) dot_group<8>(a, rows + r * row_stride, row_stride, n, out + r);
  for (; r + 4 <= count; r += 4) dot_group<4>(a, rows + r * row_stride, row_stride, n, out + r);
  for (; r < count; ++r) dot_group<1>(a, rows + r * row_stride, row_stride, n, out + r);
}
void row_dots(const float* a, const float* rows, int64_t row_stride, int64_t count, int64_t n, float* out) { dot_groups(a, rows, row_stride, count, n, out); }
void row_dots_short(const float* a, const uint16_t* rows, int64_t row_stride, int64_t count, int64_t n, float* out) {
  dot_groups(a, rows, row_stride, count, n, out);
}

// Exponentials of up to kSumBlock values; returns their sum in lanes.
template <bool kStore>
HWY_INLINE hn::Vec<Df> exp_block(const float* x, int64_t n, float top, float* out) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto shift = hn::Set(d, top);
  auto s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto e0 = exp_negative(d, hn::Sub(hn::LoadU(d, x + i), shift)), e1 = exp_negative(d, hn::Sub(hn::LoadU(d, x + i + lanes), shift));
    if (kStore) hn::StoreU(e0, d, out + i), hn::StoreU(e1, d, out + i + lanes);
    s0 = hn::Add(s0, e0);
    s1 = hn::Add(s1, e1);
  }
  for (; i < n; i += lanes) {
    const bool whole = i + lanes <= n;
    auto e = exp_negative(d, hn::Sub(whole ? hn::LoadU(d, x + i) : load_tail(d, x + i, n - i, 0.0f), shift));
    if (!whole) e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n - i)), e);
    if (kStore && whole) hn::StoreU(e, d, out + i);
    if (kStore && !whole) store_tail(d, e, out + i, n - i);
    s0 = hn::Add(s0, e);
  }
  return hn::Add(s0, s1);
}
double row_exp_sum(const float* x, int64_t n, float top, float* out) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += kSumBlock) {
    const int64_t m = HWY_MIN(kSumBlock, n - i);
    sum += total(out ? exp_block<true>(x + i, m, top, out + i) : exp_block<false>(x + i, m, top, nullptr));
  }
  return sum;
}

void row_shift_scale(const float* x, int64_t n, float shift, float scale, float* out) {
  map_row(x, out, n, [shift, scale](auto d, auto v) HWY_ATTR { return hn::Mul(hn::Sub(v, hn::Set(d, shift)), hn::Set(d, scale)); });
}

void row_scale_add(const float* x, int64_t n, float scale, float add, float* out) {
  map_row(x, out, n, [scale, add](auto d, auto v) HWY_ATTR { return hn::MulAdd(v, hn::Set(d, scale), hn::Set(d, add)); });
}

// The maximum of the numbers of a row.
HWY_INLINE float top_of(const float* x, int64_t n) {
  const auto fold = [](auto, auto acc, auto v) HWY_ATTR { return hn::Max(v, acc); };
  return hn::GetLane(hn::MaxOfLanes(Df(), fold_row(x, n, -INFINITY, -INFINITY, fold, fold)));
}

float row_online_softmax(float* x, int64_t n, float* top, float* sum) {
  const float before = *top, now = HWY_MAX(before, top_of(x, n));
  const float shift = now == -INFINITY ? 0.0f : now;  // nothing allowed so far: all weights are zero
  const auto added = static_cast<float>(row_exp_sum(x, n, shift, x));
  const float keep = before == now ? 1.0f : before == -INFINITY ? 0.0f : std::exp(before - shift);
  *top = now;
  *sum = *sum * keep + added;
  return keep;
}

/// e^(x * scale - shift) of at most kSumBlock values, rounded; their sum, before, in lanes.
template <bool kNative>
HWY_INLINE hn::Vec<Df> exp_block_short(const float* x, int64_t n, float scale, float shift, uint16_t* out) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto by = hn::Set(d, scale), less = hn::Set(d, shift);
  auto s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto e0 = exp_negative(d, hn::MulSub(hn::LoadU(d, x + i), by, less)), e1 = exp_negative(d, hn::MulSub(hn::LoadU(d, x + i + lanes), by, less));
    store_rounded<kNative>(e0, out + i);
    store_rounded<kNative>(e1, out + i + lanes);
    s0 = hn::Add(s0, e0);
    s1 = hn::Add(s1, e1);
  }
  for (; i < n; i += lanes) {
    const int64_t count = HWY_MIN(lanes, n - i);
    auto e = exp_negative(d, hn::MulSub(count == lanes ? hn::LoadU(d, x + i) : load_tail(d, x + i, count, 0.0f), by, less));
    if (count == lanes) {
      store_rounded<kNative>(e, out + i);
    } else {
      e = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), e);
      store_rounded_tail<kNative>(e, out + i, count);
    }
    s0 = hn::Add(s0, e);
  }
  return hn::Add(s0, s1);
}
template <bool kNative>
float row_online_softmax_short(const float* x, int64_t n, float scale, float* top, float* sum, uint16_t* out) {
  const float before = *top, now = HWY_MAX(before, top_of(x, n) * scale);
  const float shift = now == -INFINITY ? 0.0f : now;
  double added = 0;
  for (int64_t i = 0; i < n; i += kSumBlock) added += total(exp_block_short<kNative>(x + i, HWY_MIN(kSumBlock, n - i), scale, shift, out + i));
  const float keep = before == now ? 1.0f : before == -INFINITY ? 0.0f : std::exp(before - shift);
  *top = now;
  *sum = *sum * keep + static_cast<float>(added);
  return keep;
}

// NaN need not survive the maximum: it reaches every output through the sum.
void row_softmax(const float* x, float* out, int64_t n, bool log) {
  const float top = top_of(x, n);
  if (log) {
    const double sum = row_exp_sum(x, n, top, nullptr);
    row_shift_scale(x, n, static_cast<float>(static_cast<double>(top) + std::log(sum)), 1, out);
  } else {
    const auto scale = static_cast<float>(1 / row_exp_sum(x, n, top, out));
    map_row(out, out, n, [scale](auto dd, auto v) HWY_ATTR { return hn::Mul(v, hn::Set(dd, scale)); });
  }
}

// out[i] = f(vector i of x, i); the tail is padded with zeros on every side.
template <class F>
HWY_INLINE void map_indexed(float* out, int64_t n, F f) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f([d, i](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); }), d, out + i);
  if (i < n) store_tail(d, f([d, i, n](const float* p) HWY_ATTR { return load_tail(d, p + i, n - i, 0.0f); }), out + i, n - i);
}

void row_affine(const float* x, int64_t n, float shift, float scale, const float* w, const float* b, float* out) {
  const Df d;
  const auto s = hn::Set(d, shift), k = hn::Set(d, scale);
  if (w && b) {
    map_indexed(out, n, [=](auto load) HWY_ATTR { return hn::MulAdd(hn::Mul(hn::Sub(load(x), s), k), load(w), load(b)); });
  } else if (w) {
    map_indexed(out, n, [=](auto load) HWY_ATTR { return hn::Mul(hn::Mul(hn::Sub(load(x), s), k), load(w)); });
  } else if (b) {
    map_indexed(out, n, [=](auto load) HWY_ATTR { return hn::MulAdd(hn::Sub(load(x), s), k, load(b)); });
  } else {
    row_shift_scale(x, n, shift, scale, out);
  }
}
void row_multiply_add(const float* x, const float* w, const float* b, float* out, int64_t n) {
  map_indexed(out, n, [=](auto load) HWY_ATTR { return hn::MulAdd(load(x), load(w), load(b)); });
}

void row_weighted_sum(const float* const* rows, const float* weights, int count, float* out, int64_t n) {
  const Df d;
  map_indexed(out, n, [=](auto load) HWY_ATTR {
    auto sum = hn::Mul(load(rows[0]), hn::Set(d, weights[0]));
    for (int k = 1; k < count; ++k) sum = hn::MulAdd(load(rows[k]), hn::Set(d, weights[k]), sum);
    return sum;
  });
}

void row_pool(const float* const* rows, int64_t count, bool max, float divisor, float* out, int64_t n) {
  const Df d;
  if (max) {
    map_indexed(out, n, [=](auto load) HWY_ATTR {
      auto best = hn::Set(d, -INFINITY);
      for (int64_t k = 0; k < count; ++k) {
        const auto v = load(rows[k]);
        best = hn::IfThenElse(hn::Or(hn::Gt(v, best), hn::IsNaN(v)), v, best);
      }
      return best;
    });
  } else {
    map_indexed(out, n, [=](auto load) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (int64_t k = 0; k < count; ++k) sum = hn::Add(sum, load(rows[k]));
      return divisor == 1.0f ? sum : hn::Div(sum, hn::Set(d, divisor));
    });
  }
}

template <bool kNative>
void row_pool_short(const uint16_t* x, const int64_t* offsets, int64_t count, bool max, float divisor, uint16_t* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float factor = max ? 1.0f : 1.0f / divisor;
  const auto fold = [=](auto load) HWY_ATTR {
    auto result = hn::Set(d, max ? -INFINITY : 0.0f);
    for (int64_t k = 0; k < count; ++k) {
      const auto v = load(x + offsets[k]);
      result = max ? hn::IfThenElse(hn::Or(hn::Gt(v, result), hn::IsNaN(v)), v, result) : hn::Add(result, v);
    }
    return max ? result : hn::Mul(result, hn::Set(d, factor));
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_rounded<kNative>(fold([=](const uint16_t* at) HWY_ATTR { return load_short(d, at + i); }), out + i);
  if (i < n) store_rounded_tail<kNative>(fold([=](const uint16_t* at) HWY_ATTR { return load_short_tail(d, at + i, n - i); }), out + i, n - i);
}

template <int kTaps>
HWY_INLINE void take(const float* x, const int32_t* at, const float* weights, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float sum = weights[i * kTaps] * x[at[i * kTaps]];
    for (int k = 1; k < kTaps; ++k) sum += weights[i * kTaps + k] * x[at[i * kTaps + k]];
    out[i] = sum;
  }
}
void row_take(const float* x, const int32_t* at, const float* weights, int taps, float* out, int64_t n) {
  switch (taps) {
    case 1:
      for (int64_t i = 0; i < n; ++i) out[i] = x[at[i]];
      return;
    case 2:
      return take<2>(x, at, weights, out, n);
    default:
      return take<4>(x, at, weights, out, n);
  }
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
