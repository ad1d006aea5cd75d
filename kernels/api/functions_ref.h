// SPDX-License-Identifier: Apache-2.0
// Scalar reference arithmetic behind the cpp column of functions.def, for T = float, double, int32_t, int64_t, bool.
// Integers wrap, divide by zero gives 0; NaN propagates and signs follow PyTorch.
#pragma once
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace tuyere::ref {

template <class T>
inline constexpr bool kFloat = std::is_floating_point_v<T>;
template <class T>
inline constexpr bool kBool = std::is_same_v<T, bool>;

template <class T>
T wrapped(std::make_unsigned_t<T> v) {
  return static_cast<T>(v);
}

template <class T>
T add(T a, T b) {
  if constexpr (kFloat<T>)
    return a + b;
  else if constexpr (kBool<T>)
    return a || b;
  else
    return wrapped<T>(static_cast<std::make_unsigned_t<T>>(a) + static_cast<std::make_unsigned_t<T>>(b));
}
template <class T>
T sub(T a, T b) {
  if constexpr (kFloat<T>)
    return a - b;
  else if constexpr (kBool<T>)
    return a != b;
  else
    return wrapped<T>(static_cast<std::make_unsigned_t<T>>(a) - static_cast<std::make_unsigned_t<T>>(b));
}
template <class T>
T mul(T a, T b) {
  if constexpr (kFloat<T>)
    return a * b;
  else if constexpr (kBool<T>)
    return a && b;
  else
    return wrapped<T>(static_cast<std::make_unsigned_t<T>>(a) * static_cast<std::make_unsigned_t<T>>(b));
}
template <class T>
T neg(T a) {
  if constexpr (kFloat<T>)
    return -a;
  else
    return sub(T(0), a);
}
/// C's division; integers round towards zero.
template <class T>
T div(T a, T b) {
  if constexpr (kFloat<T>)
    return a / b;
  else if constexpr (kBool<T>)
    return a && b;
  else
    return b == 0 ? T(0) : b == T(-1) ? neg(a) : static_cast<T>(a / b);
}
template <class T>
T trunc_div(T a, T b) {
  if constexpr (kFloat<T>)
    return std::trunc(a / b);
  else
    return div(a, b);
}
/// The remainder of div: sign of a.
template <class T>
T fmod(T a, T b) {
  if constexpr (kFloat<T>)
    return std::fmod(a, b);
  else if constexpr (kBool<T>)
    return false;
  else
    return b == 0 || b == T(-1) ? T(0) : static_cast<T>(a % b);
}
/// Sign of the divisor, as Python's %.
template <class T>
T remainder(T a, T b) {
  T r = fmod(a, b);
  if constexpr (!kBool<T>)
    if (r != 0 && (r < 0) != (b < 0)) r += b;
  return r;
}
template <class T>
T floor_div(T a, T b) {
  if constexpr (kFloat<T>) {
    if (b == 0) return a / b;
    T r = std::fmod(a, b), q = (a - r) / b;
    if (r != 0 && (b < 0) != (r < 0)) q -= 1;
    if (q == 0) return std::copysign(T(0), a / b);
    T whole = std::floor(q);
    return q - whole > T(0.5) ? whole + 1 : whole;
  } else if constexpr (kBool<T>) {
    return a && b;
  } else {
    T q = div(a, b), r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? sub(q, T(1)) : q;
  }
}
template <class T>
T pow(T a, T b) {
  if constexpr (kFloat<T>)
    return std::pow(a, b);
  else if constexpr (kBool<T>)
    return a || !b;
  else {
    if (b < 0) return a == 1 ? T(1) : a == T(-1) ? (b % 2 ? T(-1) : T(1)) : T(0);
    T result = 1;
    for (; b; b /= 2, a = mul(a, a))
      if (b & 1) result = mul(result, a);
    return result;
  }
}
template <class T>
bool isnan(T a) {
  if constexpr (kFloat<T>)
    return std::isnan(a);
  else
    return false;
}
template <class T>
bool isinf(T a) {
  if constexpr (kFloat<T>)
    return std::isinf(a);
  else
    return false;
}
template <class T>
T min(T a, T b) {
  return isnan(a) || a < b ? a : b;
}
template <class T>
T max(T a, T b) {
  return isnan(a) || a > b ? a : b;
}
template <class T>
T clamp(T a, T low, T high) {
  return min(max(a, low), high);
}
template <class T>
T abs(T a) {
  if constexpr (kFloat<T>)
    return std::fabs(a);
  else if constexpr (kBool<T>)
    return a;
  else
    return a < 0 ? neg(a) : a;
}
template <class T>
T sign(T a) {
  if constexpr (kBool<T>)
    return a;
  else
    return static_cast<T>((T(0) < a) - (a < T(0)));
}
template <class T>
T ceil(T a) {
  if constexpr (kFloat<T>)
    return std::ceil(a);
  else
    return a;
}
template <class T>
T floor(T a) {
  if constexpr (kFloat<T>)
    return std::floor(a);
  else
    return a;
}
template <class T>
T trunc(T a) {
  if constexpr (kFloat<T>)
    return std::trunc(a);
  else
    return a;
}
/// Half to even.
template <class T>
T round(T a) {
  if constexpr (kFloat<T>)
    return std::nearbyint(a);
  else
    return a;
}
template <class T>
requires std::is_integral_v<T> T bitwise_not(T a) {
  if constexpr (kBool<T>)
    return !a;
  else
    return ~a;
}

/// PyTorch's shifts: what is shifted by less than 0 or by the width and more is 0, or the sign for a shift to the right.
template <class T>
requires std::is_integral_v<T> T left_shift(T a, T b) {
  if constexpr (kBool<T>)
    return a && !b;
  else
    return b < 0 || b >= T(8 * sizeof(T)) ? T(0) : wrapped<T>(static_cast<std::make_unsigned_t<T>>(a) << b);
}
template <class T>
requires std::is_integral_v<T> T right_shift(T a, T b) {
  if constexpr (kBool<T>)
    return a && !b;
  else
    return a >> (b < 0 || b >= T(8 * sizeof(T)) ? T(8 * sizeof(T) - 1) : b);
}

// Functions of real numbers.
template <std::floating_point T>
T rsqrt(T a) {
  return T(1) / std::sqrt(a);
}
/// Without the global sign of std::lgamma, which threads would share.
template <std::floating_point T>
T lgamma(T a) {
  int sign;
  if constexpr (sizeof(T) == sizeof(float))
    return ::lgammaf_r(a, &sign);
  else
    return ::lgamma_r(a, &sign);
}
template <std::floating_point T>
T sigmoid(T a) {
  return T(1) / (T(1) + std::exp(-a));
}
template <std::floating_point T>
T gelu_erf(T a) {
  return T(0.5) * a * (T(1) + std::erf(a * T(0.70710678118654752440)));
}
template <std::floating_point T>
T gelu_tanh(T a) {
  T inner = T(0.79788456080286535588) * (a + T(0.044715) * a * a * a);
  return T(0.5) * a * (T(1) + std::tanh(inner));
}
template <std::floating_point T>
T softplus(T a) {
  return a > T(20) ? a : std::log1p(std::exp(a));
}

}  // namespace tuyere::ref
