// SPDX-License-Identifier: Apache-2.0
// The function table over f64, i32, i64 and bool: plain loops.
#include <cmath>
#include <string_view>

#include "common/error.h"
#include "kernels/api/functions_ref.h"
#include "kernels/pointwise/tile_simd.h"

namespace tuyere::cpu {
namespace {

// S: how a value lies in a tile. T: what the expression is computed in; booleans lie in bytes.
template <class S, class T, class R, class F>
void loop(const void* pa, const void* pb, const void* pc, void* out, int64_t n, F f) {
  const auto *a = static_cast<const S*>(pa), *b = static_cast<const S*>(pb), *c = static_cast<const S*>(pc);
  auto* r = static_cast<R*>(out);
  const auto convert = [](auto v) {
    if constexpr (sizeof(R) == 1) {
      return static_cast<R>(v != 0);
    } else {
      return static_cast<R>(v);
    }
  };
  for (int64_t i = 0; i < n; ++i) r[i] = convert(f(static_cast<T>(a[i]), b ? static_cast<T>(b[i]) : T(0), c ? static_cast<T>(c[i]) : T(0)));
}

// Bitwise functions are for integers; functions of real numbers are computed in double over these (find_over_integers).
template <class T>
constexpr bool exists(std::string_view name, std::string_view result) {
  return std::is_floating_point_v<T> ? !is_bitwise(name) : result != "real";
}

template <class S, class T>
struct Table {
#define FN(name, arity, result, cuda, cpp)                                                                            \
  static void name(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {                            \
    using R = std::conditional_t<std::string_view(#result) == "bool", uint8_t, S>;                                    \
    loop<S, T, R>(pa, pb, pc, out, n, []<class U>([[maybe_unused]] U a, [[maybe_unused]] U b, [[maybe_unused]] U c) { \
      if constexpr (exists<U>(#name, #result)) {                                                                      \
        return cpp;                                                                                                   \
      } else {                                                                                                        \
        return U(0);                                                                                                  \
      }                                                                                                               \
    });                                                                                                               \
  }
#include "kernels/api/functions.def"
#undef FN
  static void select(const void* pa, const void* pb, const void* pc, void* out, int64_t n) {
    const auto* a = static_cast<const uint8_t*>(pa);
    const auto *b = static_cast<const S*>(pb), *c = static_cast<const S*>(pc);
    for (int64_t i = 0; i < n; ++i) static_cast<S*>(out)[i] = a[i] ? b[i] : c[i];
  }
  static TileFn find(Fn fn) {
    if (fn == Fn::where) return select;
    static constexpr TileFn all[] = {
#define FN(name, arity, result, cuda, cpp) name,
#include "kernels/api/functions.def"
#undef FN
    };
    return all[static_cast<int>(fn)];
  }
};

// Functions of real numbers go through double over the integers.
template <class S, class T>
TileFn find_over_integers(Fn fn) {
  return is_real(fn) ? Table<S, double>::find(fn) : Table<S, T>::find(fn);
}

}  // namespace

TileFn generic_function(Fn fn, DType type) {
  switch (type) {
    case DType::F64:
      return Table<double, double>::find(fn);
    case DType::I32:
      return find_over_integers<int32_t, int32_t>(fn);
    case DType::I64:
      return find_over_integers<int64_t, int64_t>(fn);
    case DType::Bool:
      return find_over_integers<uint8_t, bool>(fn);
    default:
      break;
  }
  INTERNAL_CHECK(false, "no pointwise functions over " << name(type));
}

}  // namespace tuyere::cpu
