// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/tile_convert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "common/error.h"
#include "kernels/pointwise/tile_simd.h"

namespace tuyere::cpu {
namespace {

// How a storage type is read and written. Value: the C++ type that holds it without loss.
template <DType D>
struct Storage;
#define TUYERE_PLAIN(D, T)                  \
  template <>                               \
  struct Storage<DType::D> {                \
    using Raw = T;                          \
    using Value = T;                        \
    static Value load(Raw r) { return r; }  \
    static Raw store(Value v) { return v; } \
  };
TUYERE_PLAIN(F32, float)
TUYERE_PLAIN(F64, double)
TUYERE_PLAIN(I8, int8_t)
TUYERE_PLAIN(U8, uint8_t)
TUYERE_PLAIN(I16, int16_t)
TUYERE_PLAIN(I32, int32_t)
TUYERE_PLAIN(I64, int64_t)
#undef TUYERE_PLAIN
template <>
struct Storage<DType::Bool> {
  using Raw = uint8_t;
  using Value = bool;
  static bool load(Raw r) { return r != 0; }
  static Raw store(bool v) { return v; }
};
#define TUYERE_SHORT(D, T, from, to)             \
  template <>                                    \
  struct Storage<DType::D> {                     \
    using Raw = T;                               \
    using Value = float;                         \
    static float load(Raw r) { return from(r); } \
    static Raw store(float v) { return to(v); }  \
  };
TUYERE_SHORT(F16, uint16_t, f16_to_f32, f32_to_f16)
TUYERE_SHORT(BF16, uint16_t, bf16_to_f32, f32_to_bf16)
TUYERE_SHORT(F8E4M3, uint8_t, f8e4m3_to_f32, f32_to_f8e4m3)
TUYERE_SHORT(F8E5M2, uint8_t, f8e5m2_to_f32, f32_to_f8e5m2)
#undef TUYERE_SHORT

template <class To, class From>
To convert(From v) {
  if constexpr (std::is_same_v<To, bool>) {
    return v != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To> && sizeof(To) < 8) {
    return static_cast<To>(static_cast<int64_t>(v));  // wraps as PyTorch does on this machine
  } else {
    return static_cast<To>(v);
  }
}

// Compute types as tiles hold them.
template <DType D>
using Tile = std::conditional_t<D == DType::Bool, uint8_t, typename Storage<D>::Value>;
template <DType C>
typename Storage<C>::Value read_tile(Tile<C> v) {
  return static_cast<typename Storage<C>::Value>(v);
}

// Visits the patch in the order of its memory: along columns unless rows are the closer neighbours.
template <class F>
void each_element(int64_t row_stride, int64_t col_stride, int64_t rows, int64_t cols, F f) {
  const auto magnitude = [](int64_t v) { return v < 0 ? -v : v; };
  if (rows > 1 && row_stride != 0 && magnitude(row_stride) < magnitude(col_stride)) {
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = 0; r < rows; ++r) f(r * cols + c, r * row_stride + c * col_stride);
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (col_stride == 1) {
      for (int64_t c = 0; c < cols; ++c) f(r * cols + c, r * row_stride + c);
    } else {
      for (int64_t c = 0; c < cols; ++c) f(r * cols + c, r * row_stride + c * col_stride);
    }
  }
}

constexpr bool simd_storage(DType s) { return s == DType::F32 || s == DType::F16 || s == DType::BF16; }

template <DType S, DType C>
void load(const Patch& p, void* tile, int64_t rows, int64_t cols) {
  if (rows > 1 && p.row_stride == p.col_stride * cols) {
    cols *= rows;
    rows = 1;
  }
  const auto* in = static_cast<const typename Storage<S>::Raw*>(p.data);
  auto* out = static_cast<Tile<C>*>(tile);
  if (rows > 1 && p.row_stride == 0 && p.col_stride != 0) {  // a factor for every channel: the rows are copies of one
    load<S, C>(p, tile, 1, cols);
    for (int64_t done = 1; done < rows; done *= 2) std::copy_n(out, std::min(done, rows - done) * cols, out + done * cols);
    return;
  }
  const auto value = [in](int64_t i) { return convert<typename Storage<C>::Value>(Storage<S>::load(in[i])); };
  if (p.col_stride == 0) {
    for (int64_t r = 0; r < rows; ++r) {
      const Tile<C> v = value(r * p.row_stride);
      for (int64_t c = 0; c < cols; ++c) out[r * cols + c] = v;
    }
    return;
  }
  if constexpr (simd_storage(S) && C == DType::F32) {
    if (p.col_stride == 1) {
      return to_f32(S, in, p.row_stride, out, cols, rows, cols);
    }
  }
  each_element(p.row_stride, p.col_stride, rows, cols, [&](int64_t t, int64_t m) { out[t] = value(m); });
}

template <DType C, DType S>
void store(const void* tile, const Patch& p, int64_t rows, int64_t cols) {
  if (rows > 1 && p.row_stride == p.col_stride * cols) {
    cols *= rows;
    rows = 1;
  }
  const auto* in = static_cast<const Tile<C>*>(tile);
  auto* out = static_cast<typename Storage<S>::Raw*>(const_cast<void*>(p.data));
  if constexpr (simd_storage(S) && C == DType::F32) {
    if (p.col_stride == 1) {
      return from_f32(S, in, cols, out, p.row_stride, rows, cols);
    }
  }
  each_element(p.row_stride, p.col_stride, rows, cols,
               [&](int64_t t, int64_t m) { out[m] = Storage<S>::store(convert<typename Storage<S>::Value>(read_tile<C>(in[t]))); });
}

template <DType A, DType B>
void change(const void* in, void* out, int64_t n) {
  if constexpr (B == DType::F32 && (A == DType::Bool || A == DType::I32)) return to_f32(A, in, n, static_cast<float*>(out), n, 1, n);
  for (int64_t i = 0; i < n; ++i) {
    static_cast<Tile<B>*>(out)[i] = convert<typename Storage<B>::Value>(read_tile<A>(static_cast<const Tile<A>*>(in)[i]));
  }
}

// The compute type of a storage type, at compile time.
constexpr DType computed(DType s) {
  switch (s) {
    case DType::F64:
    case DType::I32:
    case DType::I64:
    case DType::Bool:
      return s;
    case DType::I8:
    case DType::U8:
    case DType::I16:
      return DType::I32;
    default:
      return DType::F32;
  }
}

template <DType C, DType S>
void round_trip(const void* in, void* out, int64_t n) {
  constexpr DType R = computed(S);
  if constexpr (C == DType::F32 && simd_storage(S) && S != DType::F32) {
    constexpr int64_t kPiece = 256;
    std::array<uint16_t, kPiece> raw;
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t m = std::min(kPiece, n - i);
      from_f32(S, static_cast<const float*>(in) + i, m, raw.data(), m, 1, m);
      to_f32(S, raw.data(), m, static_cast<float*>(out) + i, m, 1, m);
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const auto raw = Storage<S>::store(convert<typename Storage<S>::Value>(read_tile<C>(static_cast<const Tile<C>*>(in)[i])));
    static_cast<Tile<R>*>(out)[i] = convert<typename Storage<R>::Value>(Storage<S>::load(raw));
  }
}

// Calls f.operator()<D>() with the type as a template argument.
template <class F>
auto with_compute(DType c, F f) {
  switch (c) {
    case DType::F32:
      return f.template operator()<DType::F32>();
    case DType::F64:
      return f.template operator()<DType::F64>();
    case DType::I32:
      return f.template operator()<DType::I32>();
    case DType::I64:
      return f.template operator()<DType::I64>();
    case DType::Bool:
      return f.template operator()<DType::Bool>();
    default:
      break;
  }
  INTERNAL_CHECK(false, name(c) << " is no compute type");
}
template <class F>
auto with_storage(DType s, F f) {
  switch (s) {
    case DType::F16:
      return f.template operator()<DType::F16>();
    case DType::BF16:
      return f.template operator()<DType::BF16>();
    case DType::I8:
      return f.template operator()<DType::I8>();
    case DType::U8:
      return f.template operator()<DType::U8>();
    case DType::I16:
      return f.template operator()<DType::I16>();
    case DType::F8E4M3:
      return f.template operator()<DType::F8E4M3>();
    case DType::F8E5M2:
      return f.template operator()<DType::F8E5M2>();
    default:
      return with_compute(s, f);
  }
}

}  // namespace

bool tile_storage(DType storage) { return bits(storage) % 8 == 0; }

LoadFn tile_load(DType storage, DType compute) {
  return with_storage(storage, [&]<DType S>() -> LoadFn { return with_compute(compute, []<DType C>() -> LoadFn { return load<S, C>; }); });
}
StoreFn tile_store(DType compute, DType storage) {
  return with_storage(storage, [&]<DType S>() -> StoreFn { return with_compute(compute, []<DType C>() -> StoreFn { return store<C, S>; }); });
}
ConvertFn tile_convert(DType from, DType to) {
  return with_compute(from, [&]<DType A>() -> ConvertFn { return with_compute(to, []<DType B>() -> ConvertFn { return change<A, B>; }); });
}
ConvertFn tile_round(DType compute, DType storage) {
  return with_storage(storage, [&]<DType S>() -> ConvertFn { return with_compute(compute, []<DType C>() -> ConvertFn { return round_trip<C, S>; }); });
}

}  // namespace tuyere::cpu
