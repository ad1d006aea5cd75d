// SPDX-License-Identifier: Apache-2.0
// f32 transcendental functions over Highway vectors. Polynomials are least-maximum fits made for this file; NaN and infinities follow libm.
// Included once per target: no include guard by design of foreach_target.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tuyere::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Df = hn::ScalableTag<float>;

template <class D, class V>
HWY_INLINE V horner(D, V, V sum) {
  return sum;
}
/// sum * x^k + ... with the remaining coefficients from the highest down.
template <class D, class V, class... C>
HWY_INLINE V horner(D d, V x, V sum, float c, C... rest) {
  return horner(d, x, hn::MulAdd(sum, x, hn::Set(d, c)), rest...);
}

/// 2^n for integral n in [-126, 127].
template <class D, class V>
HWY_INLINE V power_of_two(D d, V n) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127))));
}

/// e^x - 1 of the reduced argument, and the exponent n: e^x = 2^n * (1 + p).
template <class D, class V>
HWY_INLINE V exp_reduced(D d, V x, V* n) {
  *n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  V r = hn::NegMulAdd(*n, hn::Set(d, 0.693145752f), x);
  r = hn::NegMulAdd(*n, hn::Set(d, 1.42860677e-6f), r);
  const V q = horner(d, r, hn::Set(d, 1.990756788e-04f), 1.393365008e-03f, 8.333286032e-03f, 4.166646492e-02f, 1.666666676e-01f, 5.000000013e-01f);
  return hn::MulAdd(hn::Mul(r, r), q, r);
}

#if HWY_TARGET == HWY_AVX3
#include "kernels/pointwise/tile_math512-inl.h"
#else
template <class D, class V>
HWY_INLINE V exp_v(D d, V x) {
  const V clamped = hn::Min(hn::Max(x, hn::Set(d, -104.0f)), hn::Set(d, 89.0f));
  V n;
  const V p = exp_reduced(d, clamped, &n);
  const V half = hn::Floor(hn::Mul(n, hn::Set(d, 0.5f)));  // two factors, so that denormal results and 2^128 come out right
  const V e = hn::Mul(hn::Mul(hn::Add(p, hn::Set(d, 1.0f)), power_of_two(d, half)), power_of_two(d, hn::Sub(n, half)));
  return hn::IfThenElse(hn::IsNaN(x), x, e);
}

/// e^x for x <= 0 (softmax, sigmoid); results below the normal range are zero.
template <class D, class V>
HWY_INLINE V exp_negative(D d, V x) {
  V n;
  const V p = exp_reduced(d, hn::Max(x, hn::Set(d, -87.0f)), &n);
  const V scale = power_of_two(d, n);
  const V e = hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -87.0f)), hn::MulAdd(p, scale, scale));
  return hn::IfThenElse(hn::IsNaN(x), x, e);
}

/// e^x of x within +-87.
template <class D, class V>
HWY_INLINE V exp_clamped(D d, V x) {
  V n;
  const V p = exp_reduced(d, hn::Max(hn::Min(x, hn::Set(d, 87.0f)), hn::Set(d, -87.0f)), &n);
  const V scale = power_of_two(d, n);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::MulAdd(p, scale, scale));
}

template <class D, class V>
HWY_INLINE V tanh_v(D d, V x) {
  const V a = hn::Abs(x), z = hn::Mul(x, x), one = hn::Set(d, 1.0f);
  const V p = horner(d, z, hn::Set(d, -6.283648503e-03f), 2.112144155e-02f, -5.387631429e-02f, 1.333293247e-01f, -3.333333053e-01f);
  const V small = hn::MulAdd(hn::Mul(x, z), p, x);
  const V e = exp_negative(d, hn::Mul(a, hn::Set(d, -2.0f)));
  const V large = hn::CopySign(hn::Div(hn::Sub(one, e), hn::Add(one, e)), x);
  return hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.6f)), small, large);
}

template <class D, class V>
HWY_INLINE V erf_v(D d, V x) {
  const V a = hn::Abs(x), z = hn::Mul(x, x), one = hn::Set(d, 1.0f);
  const V p = horner(d, z, hn::Set(d, -9.680127140e-06f), 1.127054126e-04f, -8.484711007e-04f, 5.221074848e-03f, -2.686544581e-02f, 1.128378275e-01f,
                     -3.761263848e-01f, 1.128379167e+00f);
  const V c = hn::Min(a, hn::Set(d, 4.0f));
  const V q = horner(d, c, hn::Set(d, -2.514160745e-07f), 2.531606796e-05f, -4.637956099e-04f, 4.282408215e-03f, -2.537360857e-02f, 1.086390662e-01f,
                     6.330395583e-01f, 1.129661181e+00f, -2.043645152e-04f);
  const V large = hn::CopySign(hn::Sub(one, exp_negative(d, hn::Neg(q))), x);
  const V r = hn::IfThenElse(hn::Le(a, one), hn::Mul(x, p), large);
  return hn::IfThenElse(hn::IsNaN(x), x, r);
}

template <class D, class V>
HWY_INLINE V reciprocal(D d, V v) {
  return hn::Div(hn::Set(d, 1.0f), v);
}

template <class D, class V>
HWY_INLINE V log_v(D d, V x) {
  const V inf = hn::Inf(d);
  const V r = hn::Log(d, x);
  const V bad = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(inf), hn::NaN(d));
  return hn::IfThenElse(hn::Eq(x, inf), inf, hn::IfThenElse(hn::Gt(x, hn::Zero(d)), r, bad));
}

template <class D, class V>
HWY_INLINE V log1p_v(D d, V x) {
  const V r = hn::Log1p(d, x);
  const V edge = hn::IfThenElse(hn::Eq(x, hn::Set(d, -1.0f)), hn::Neg(hn::Inf(d)), hn::IfThenElse(hn::Eq(x, hn::Inf(d)), x, hn::NaN(d)));
  return hn::IfThenElse(hn::And(hn::Gt(x, hn::Set(d, -1.0f)), hn::Lt(x, hn::Inf(d))), r, edge);
}

template <class D, class V>
HWY_INLINE V sigmoid_v(D d, V x) {
  const V r = reciprocal(d, hn::Add(hn::Set(d, 1.0f), exp_clamped(d, hn::Neg(x))));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -87.0f)), hn::Zero(d), r);  // results below the normal range are zero
}

template <class D, class V>
HWY_INLINE V silu_v(D d, V x) {
  // 1/(1+e^-x) underflows to 0 for -inf, where x * 0 would be NaN as in PyTorch.
  return hn::Mul(x, sigmoid_v(d, x));
}
/// For results of 16 bits.
template <class D, class V>
HWY_INLINE V silu_rough(D d, V x) {
  return silu_v(d, x);
}
#endif

/// x / 6 + 1/2 within 0 and 1, of numbers.
template <class D, class V>
HWY_INLINE V hard_gate(D d, V x) {
  return hn::Min(hn::Max(hn::MulAdd(x, hn::Set(d, 1.0f / 6), hn::Set(d, 0.5f)), hn::Zero(d)), hn::Set(d, 1.0f));
}
template <class D, class V>
HWY_INLINE V hardsigmoid_v(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hard_gate(d, x));
}
template <class D, class V>
HWY_INLINE V hardswish_v(D d, V x) {
  return hn::Mul(x, hard_gate(d, x));
}

template <class D, class V>
HWY_INLINE V gelu_erf_v(D d, V x) {
  const V h = hn::Mul(x, hn::Set(d, 0.5f));
  return hn::Mul(h, hn::Add(hn::Set(d, 1.0f), erf_v(d, hn::Mul(x, hn::Set(d, 0.707106781f)))));
}

template <class D, class V>
HWY_INLINE V gelu_tanh_v(D d, V x) {
  const V inner = hn::Mul(hn::Mul(x, hn::Set(d, 0.797884561f)), hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f)));
  return hn::Mul(hn::Mul(x, hn::Set(d, 0.5f)), hn::Add(hn::Set(d, 1.0f), tanh_v(d, inner)));
}

/// max(x, 0) + log(1 + e^-|x|)
template <class D, class V>
HWY_INLINE V softplus_v(D d, V x) {
  const V e = exp_negative(d, hn::Neg(hn::Abs(x)));
  return hn::Add(hn::Max(x, hn::Zero(d)), log1p_v(d, e));
}

/// e^x - 1 without cancellation near zero.
template <class D, class V>
HWY_INLINE V expm1_v(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  V n;
  const V p = exp_reduced(d, hn::Min(hn::Max(x, hn::Set(d, -30.0f)), hn::Set(d, 88.0f)), &n);
  const V scale = power_of_two(d, n);
  const V near = hn::MulAdd(scale, p, hn::Sub(scale, one));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::Gt(x, hn::Set(d, 80.0f)), exp_v(d, x), near));
}

/// 2^x: the fraction goes through e^(x ln 2), which keeps whole powers exact.
template <class D, class V>
HWY_INLINE V exp2_v(D d, V x) {
  const V clamped = hn::Min(hn::Max(x, hn::Set(d, -151.0f)), hn::Set(d, 129.0f));
  const V whole = hn::Round(clamped);
  V n;
  const V p = exp_reduced(d, hn::Mul(hn::Sub(clamped, whole), hn::Set(d, 0.693147182f)), &n);  // |argument| < ln(2) / 2: n is 0
  const V half = hn::Floor(hn::Mul(whole, hn::Set(d, 0.5f)));
  const V e = hn::Mul(hn::Mul(hn::Add(p, hn::Set(d, 1.0f)), power_of_two(d, half)), power_of_two(d, hn::Sub(whole, half)));
  return hn::IfThenElse(hn::IsNaN(x), x, e);
}

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_AVX3
/// x^y of positive normal x in double, rounded once. *ok: whether all lanes were such and the result is normal.
template <class D, class V>
HWY_INLINE V pow_v(D d, V x, V y, bool* ok) {
  const hn::Repartition<double, D> dd;
  const hn::Half<D> dh;
  const auto part = [dd](auto a, auto b) HWY_ATTR { return hn::Mul(hn::Log(dd, hn::PromoteTo(dd, a)), hn::PromoteTo(dd, b)); };
  const auto low = part(hn::LowerHalf(dh, x), hn::LowerHalf(dh, y)), high = part(hn::UpperHalf(dh, x), hn::UpperHalf(dh, y));
  const auto limit = hn::Set(dd, 87.0);
  const auto normal = hn::And(hn::Ge(x, hn::Set(d, 1.17549435e-38f)), hn::Lt(x, hn::Inf(d)));
  *ok = hn::AllTrue(d, normal) && hn::AllTrue(dd, hn::And(hn::Lt(hn::Abs(low), limit), hn::Lt(hn::Abs(high), limit)));
  return hn::Combine(d, hn::DemoteTo(dh, hn::Exp(dd, high)), hn::DemoteTo(dh, hn::Exp(dd, low)));
}
#endif

/// The largest |x| that trig_v takes: further out, three parts of pi are too few.
constexpr float kTrigRange = 30000.0f;

/// sin(x), or cos(x) as a sine half a period on. x = n pi + r with |r| <= pi / 2, where the first fused difference is exact.
template <bool kCos, class D, class V>
HWY_INLINE V trig_v(D d, V x) {
#if HWY_NATIVE_FMA
  const hn::RebindToSigned<D> di;
  const V half = hn::Set(d, kCos ? 0.5f : 0.0f);
  const V whole = hn::Round(hn::MulSub(x, hn::Set(d, 0.318309886f), half)), n = hn::Add(whole, half);
  V r = hn::NegMulAdd(n, hn::Set(d, 3.14159274f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -8.74227766e-8f), r);
  r = hn::NegMulAdd(n, hn::Set(d, -3.43024902e-15f), r);
  const V z = hn::Mul(r, r);
  const V q = horner(d, z, hn::Set(d, -2.388658729e-8f), 2.752525557e-6f, -1.984086576e-4f, 8.333331090e-3f, -1.666666663e-1f);
  const V s = hn::MulAdd(hn::Mul(r, z), q, r);
  const auto odd = hn::ShiftLeft<31>(hn::ConvertTo(di, kCos ? hn::Add(whole, hn::Set(d, 1.0f)) : whole));
  return hn::BitCast(d, hn::Xor(hn::BitCast(di, s), odd));
#else
  return kCos ? hn::Cos(d, x) : hn::Sin(d, x);
#endif
}

template <class D, class V>
HWY_INLINE V mish_v(D d, V x) {
  // tanh(log(1 + u)) = (u^2 + 2u) / (u^2 + 2u + 2), u = e^x; 1 for large x
  const V u = exp_v(d, hn::Min(x, hn::Set(d, 20.0f)));
  const V w = hn::Mul(u, hn::Add(u, hn::Set(d, 2.0f)));
  const V r = hn::Mul(x, hn::Mul(w, reciprocal(d, hn::Add(w, hn::Set(d, 2.0f)))));
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, 20.0f)), x, hn::IfThenElse(hn::IsNaN(x), x, r));
}

}  // namespace tuyere::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
