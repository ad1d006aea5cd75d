// SPDX-License-Identifier: Apache-2.0
#include "kernels/recurrent/recurrent_cells.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrent/recurrent_cells_cpu.cpp"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

/// A vector at `at` in row `row`, of which `count` values exist.
HWY_INLINE V load_cells(const CellRows& rows, int64_t row, int64_t at, int64_t count) {
  const D d;
  const bool whole = count >= static_cast<int64_t>(hn::Lanes(d));
  at += row * rows.stride;
  if (rows.is_short) {
    const auto* from = static_cast<const uint16_t*>(rows.data) + at;
    return whole ? load_short(d, from) : load_short_tail(d, from, count);
  }
  const auto* from = static_cast<const float*>(rows.data) + at;
  return whole ? hn::LoadU(d, from) : load_tail(d, from, count, 0.0f);
}
template <bool kNative>
HWY_INLINE void store_cells(V v, const CellRows& rows, int64_t row, int64_t at, int64_t count) {
  const D d;
  const bool whole = count >= static_cast<int64_t>(hn::Lanes(d));
  at += row * rows.stride;
  if (rows.is_short) {
    auto* to = static_cast<uint16_t*>(rows.data) + at;
    return whole ? store_rounded<kNative>(v, to) : store_rounded_tail<kNative>(v, to, count);
  }
  auto* to = static_cast<float*>(rows.data) + at;
  whole ? hn::StoreU(v, d, to) : store_tail(d, v, to, count);
}

/// A vector of cells: what a gate adds up, and the new state.
template <RecurrentKind kKind>
struct CellVector {
  const CellBlock& b;
  int64_t row, at, count;  // `count` units exist from `at` on

  HWY_INLINE V product(int64_t gate) const {
    const D d;
    constexpr int64_t kGates = gates_of(kKind);
    return hn::Add(hn::LoadU(d, b.sums + (row * kGates + gate) * b.width + at), hn::LoadU(d, b.bias + gate * b.width + at));
  }
  /// Rows of x are far apart: what is needed next is fetched line by line.
  HWY_INLINE V input(int64_t gate) const {
    const int64_t from = gate * b.x_gate + at;
    hwy::Prefetch(static_cast<const char*>(b.x.data) + (row * b.x.stride + from + b.x_next) * (b.x.is_short ? 2 : 4));
    return load_cells(b.x, row, from, count);
  }
  HWY_INLINE V gate(int64_t k) const { return hn::Add(input(k), product(k)); }

  HWY_INLINE V hidden() const {
    const D d;
    if constexpr (kKind == RecurrentKind::lstm) {
      float* cells = static_cast<float*>(b.cells.data) + row * b.cells.stride + at;
      const V fresh = hn::Mul(sigmoid_v(d, gate(0)), tanh_v(d, gate(2)));
      const V c = hn::MulAdd(sigmoid_v(d, gate(1)), hn::LoadU(d, cells), fresh);
      hn::StoreU(c, d, cells);
      return hn::Mul(sigmoid_v(d, gate(3)), tanh_v(d, c));
    } else if constexpr (kKind == RecurrentKind::gru) {
      const V fresh = tanh_v(d, hn::MulAdd(sigmoid_v(d, gate(0)), product(2), input(2)));
      const V kept = load_cells(b.before, row, at, static_cast<int64_t>(hn::Lanes(d)));
      return hn::MulAdd(sigmoid_v(d, gate(1)), hn::Sub(kept, fresh), fresh);
    } else if constexpr (kKind == RecurrentKind::tanh) {
      return tanh_v(d, gate(0));
    } else {
      const V x = gate(0);
      return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);  // NaN stays
    }
  }
};

template <RecurrentKind kKind, bool kNative>
void run_block(const CellBlock& b) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t row = 0; row < b.rows; ++row) {
    for (int64_t at = 0; at < b.units; at += lanes) {
      const V h = CellVector<kKind>{b, row, at, b.units - at}.hidden();
      store_cells<kNative>(h, b.after, row, at, lanes);
      store_cells<kNative>(h, b.y, row, at, b.units - at);
    }
  }
}

template <bool kNative>
void run_kind(const CellBlock& b) {
  switch (b.kind) {
    case RecurrentKind::lstm:
      return run_block<RecurrentKind::lstm, kNative>(b);
    case RecurrentKind::gru:
      return run_block<RecurrentKind::gru, kNative>(b);
    case RecurrentKind::tanh:
      return run_block<RecurrentKind::tanh, kNative>(b);
    case RecurrentKind::relu:
      return run_block<RecurrentKind::relu, kNative>(b);
  }
}
void cells(const CellBlock& block) { rounds_natively() ? run_kind<true>(block) : run_kind<false>(block); }

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(cells);
void run_cells(const CellBlock& block) { HWY_DYNAMIC_DISPATCH(cells)(block); }
}  // namespace tuyere::cpu
#endif
