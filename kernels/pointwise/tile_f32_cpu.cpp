// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/tile_simd.h"

#include <cmath>
#include <cstring>
#include <string_view>

#include "kernels/api/functions_ref.h"

// Baseline, SSE4, AVX2 and AVX-512 on x86; the usual targets elsewhere.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pointwise/tile_f32_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "kernels/pointwise/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {

#define TUYERE_MAP_FUNCTION(fn, vector)                                                                                       \
  void map_##fn(const void* a, const void*, const void*, void* out, int64_t n) {                                              \
    map_row(static_cast<const float*>(a), static_cast<float*>(out), n, [](auto d, auto x) HWY_ATTR { return vector(d, x); }); \
  }
TUYERE_MAP_FUNCTION(exp, exp_v)
TUYERE_MAP_FUNCTION(tanh, tanh_v)
TUYERE_MAP_FUNCTION(erf, erf_v)
TUYERE_MAP_FUNCTION(sigmoid, sigmoid_v)
TUYERE_MAP_FUNCTION(silu, silu_v)
TUYERE_MAP_FUNCTION(hardsigmoid, hardsigmoid_v)
TUYERE_MAP_FUNCTION(hardswish, hardswish_v)
TUYERE_MAP_FUNCTION(gelu_erf, gelu_erf_v)
TUYERE_MAP_FUNCTION(gelu_tanh, gelu_tanh_v)
TUYERE_MAP_FUNCTION(log, log_v)
TUYERE_MAP_FUNCTION(softplus, softplus_v)
TUYERE_MAP_FUNCTION(mish, mish_v)
TUYERE_MAP_FUNCTION(exp2, exp2_v)
TUYERE_MAP_FUNCTION(expm1, expm1_v)
TUYERE_MAP_FUNCTION(log1p, log1p_v)
#if HWY_TARGET == HWY_AVX3
TUYERE_MAP_FUNCTION(log2, log2_v)
#endif
#undef TUYERE_MAP_FUNCTION

// Vectors with a value out of range (or NaN) go through libm.
template <bool kCos>
void map_trig(const void* a, const void*, const void*, void* out, int64_t n) {
  const auto exact = [](float v) { return kCos ? std::cos(v) : std::sin(v); };
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto* x = static_cast<const float*>(a);
  auto* r = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    if (hn::AllTrue(d, hn::Le(hn::Abs(v), hn::Set(d, kTrigRange)))) {
      hn::StoreU(trig_v<kCos>(d, v), d, r + i);
    } else {
      for (int64_t k = i; k < i + lanes; ++k) r[k] = exact(x[k]);
    }
  }
  for (; i < n; ++i) r[i] = exact(x[i]);
}

// The rest is the scalar expression of the function table in a loop that the compiler vectorizes for the target.
template <class R, class F>
HWY_INLINE void scalar_loop(const void* pa, const void* pb, const void* pc, void* out, int64_t n, F f) {
  const auto *a = static_cast<const float*>(pa), *b = static_cast<const float*>(pb), *c = static_cast<const float*>(pc);
  auto* r = static_cast<R*>(out);
  if (c) {
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(f(a[i], b[i], c[i]));
  } else if (b) {
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(f(a[i], b[i], 0.0f));
  } else {
    for (int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(f(a[i], 0.0f, 0.0f));
  }
}
#define FN(name, arity, result, cuda, cpp)                                                                             \
  void scalar_##name(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {                           \
    using R = std::conditional_t<std::string_view(#result) == "bool", uint8_t, float>;                                 \
    scalar_loop<R>(pa, pb, pc, out, n, []<class T>([[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T c) { \
      if constexpr (!is_bitwise(#name)) return static_cast<R>(cpp);                                                    \
      return R(0);                                                                                                     \
    });                                                                                                                \
  }
#include "kernels/api/functions.def"
#undef FN

void where_f32(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {
  const auto* a = static_cast<const uint8_t*>(pa);
  const auto *b = static_cast<const float*>(pb), *c = static_cast<const float*>(pc);
  auto* r = static_cast<float*>(out);
  for (int64_t i = 0; i < n; ++i) r[i] = a[i] ? b[i] : c[i];
}

/// NaN in any of the three gives NaN.
void map_clamp(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto *a = static_cast<const float*>(pa), *b = static_cast<const float*>(pb), *c = static_cast<const float*>(pc);
  const auto clamp = [d](auto x, auto low, auto high) HWY_ATTR {
    const auto nan = hn::Or(hn::IsNaN(x), hn::Or(hn::IsNaN(low), hn::IsNaN(high)));
    return hn::IfThenElse(nan, hn::NaN(d), hn::Min(hn::Max(x, low), high));
  };
  auto* r = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(clamp(hn::LoadU(d, a + i), hn::LoadU(d, b + i), hn::LoadU(d, c + i)), d, r + i);
  if (i == n) return;
  const auto tail = [&](const float* p) HWY_ATTR { return load_tail(d, p + i, n - i, 0.0f); };
  store_tail(d, clamp(tail(a), tail(b), tail(c)), r + i, n - i);
}

void map_multiply_add(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto *a = static_cast<const float*>(pa), *b = static_cast<const float*>(pb), *c = static_cast<const float*>(pc);
  auto* r = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), hn::LoadU(d, c + i)), d, r + i);
  if (i == n) return;
  const auto tail = [&](const float* p) HWY_ATTR { return load_tail(d, p + i, n - i, 0.0f); };
  store_tail(d, hn::MulAdd(tail(a), tail(b), tail(c)), r + i, n - i);
}
TileFn multiply_add() { return map_multiply_add; }

#if HWY_TARGET != HWY_SCALAR
// Vectors with a special value or a result out of the normal range go through libm.
void map_pow(const void* pa, const void* pb, const void*, void* out, int64_t n) {
  const Df d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto *a = static_cast<const float*>(pa), *b = static_cast<const float*>(pb);
  auto* r = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    bool ok = false;
    const auto y = pow_v(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i), &ok);
    if (ok) {
      hn::StoreU(y, d, r + i);
    } else {
      for (int64_t k = i; k < i + lanes; ++k) r[k] = std::pow(a[k], b[k]);
    }
  }
  for (; i < n; ++i) r[i] = std::pow(a[i], b[i]);
}
#endif

TileFn function(Fn fn) {
  switch (fn) {
    case Fn::exp:
      return map_exp;
    case Fn::tanh:
      return map_tanh;
    case Fn::erf:
      return map_erf;
    case Fn::sigmoid:
      return map_sigmoid;
    case Fn::silu:
      return map_silu;
    case Fn::hardsigmoid:
      return map_hardsigmoid;
    case Fn::hardswish:
      return map_hardswish;
    case Fn::clamp:
      return map_clamp;
    case Fn::gelu_erf:
      return map_gelu_erf;
    case Fn::gelu_tanh:
      return map_gelu_tanh;
    case Fn::log:
      return map_log;
    case Fn::softplus:
      return map_softplus;
    case Fn::mish:
      return map_mish;
    case Fn::exp2:
      return map_exp2;
    case Fn::expm1:
      return map_expm1;
    case Fn::log1p:
      return map_log1p;
#if HWY_TARGET == HWY_AVX3
    case Fn::log2:
      return map_log2;
#endif
#if HWY_TARGET != HWY_SCALAR
    case Fn::pow:
      return map_pow;
#endif
    case Fn::sin:
      return map_trig<false>;
    case Fn::cos:
      return map_trig<true>;
    case Fn::where:
      return where_f32;
    default:
      break;
  }
  static constexpr TileFn scalar[] = {
#define FN(name, arity, result, cuda, cpp) scalar_##name,
#include "kernels/api/functions.def"
#undef FN
  };
  return scalar[static_cast<int>(fn)];
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tuyere::cpu {
HWY_EXPORT(function);
HWY_EXPORT(multiply_add);
HWY_EXPORT(load_rows);
HWY_EXPORT(store_rows);

TileFn f32_multiply_add() { return HWY_DYNAMIC_DISPATCH(multiply_add)(); }
TileFn f32_function(Fn fn) { return HWY_DYNAMIC_DISPATCH(function)(fn); }
void to_f32(DType storage, const void* in, int64_t in_row, float* out, int64_t out_row, int64_t rows, int64_t n) {
  HWY_DYNAMIC_DISPATCH(load_rows)(storage, in, in_row, out, out_row, rows, n);
}
void from_f32(DType storage, const float* in, int64_t in_row, void* out, int64_t out_row, int64_t rows, int64_t n) {
  HWY_DYNAMIC_DISPATCH(store_rows)(storage, in, in_row, out, out_row, rows, n);
}
}  // namespace tuyere::cpu
#endif
