// SPDX-License-Identifier: Apache-2.0
// Arithmetic of two or three arguments, tensors or numbers, computed in the recorded output type.
#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

using V = Pw::Value;

/// x * alpha, without the multiplication by one.
V times_alpha(Pw& p, V x, std::string_view alpha) {
  if (!p.c.has(alpha) || (p.c.is_number(alpha) && p.c.number(alpha) == 1)) return x;
  return p(Fn::mul, {x, p.in(alpha)});
}

using BinaryBody = V (*)(Pw& p);
void add_math(ConverterTable& t, std::initializer_list<const char*> ops, BinaryBody body) {
  for (const char* op : ops) {
    t.add(std::string("aten::") + op, [body](Convert& c) {
      Pw p(c, c.out_type().dtype);
      c.out(p.finish(body(p), c.out_type().dtype));
    });
  }
}

template <Fn fn>
V two(Pw& p) {
  return p(fn, {p.in("self"), p.in("other")});
}

V divide(Pw& p) {
  if (!p.c.has("rounding_mode")) return two<Fn::div>(p);
  std::string mode = p.c.text("rounding_mode");
  USER_CHECK(mode == "floor" || mode == "trunc", "rounding_mode '" << mode << "'");
  return mode == "floor" ? two<Fn::floor_div>(p) : two<Fn::trunc_div>(p);
}

void add_sums(ConverterTable& t) {
  add_math(t, {"add.Tensor", "add.Scalar"}, [](Pw& p) {
    V a = p.in("self"), b = times_alpha(p, p.in("other"), "alpha");
    // Booleans add as "or", which is also what an addition and a test on non-zero give.
    return p.type() == DType::Bool ? p(Fn::logical_or, {a, b}) : p(Fn::add, {a, b});
  });
  add_math(t, {"sub.Tensor", "sub.Scalar", "subtract.Tensor"}, [](Pw& p) { return p(Fn::sub, {p.in("self"), times_alpha(p, p.in("other"), "alpha")}); });
  add_math(t, {"rsub.Tensor", "rsub.Scalar"}, [](Pw& p) { return p(Fn::sub, {p.in("other"), times_alpha(p, p.in("self"), "alpha")}); });
  add_math(t, {"mul.Tensor", "mul.Scalar", "multiply.Tensor"}, [](Pw& p) { return p.type() == DType::Bool ? two<Fn::logical_and>(p) : two<Fn::mul>(p); });
  add_math(t, {"div.Tensor", "div.Scalar", "div.Tensor_mode", "div.Scalar_mode", "true_divide.Tensor", "divide.Tensor"}, divide);
  add_math(t, {"floor_divide", "floor_divide.Scalar"}, two<Fn::floor_div>);
  add_math(t, {"remainder.Tensor", "remainder.Scalar"}, two<Fn::remainder>);
  add_math(t, {"remainder.Scalar_Tensor"}, two<Fn::remainder>);
  add_math(t, {"fmod.Tensor", "fmod.Scalar"}, two<Fn::fmod>);
  add_math(t, {"atan2"}, two<Fn::atan2>);
  add_math(t, {"maximum", "max.other"}, [](Pw& p) { return p.type() == DType::Bool ? two<Fn::logical_or>(p) : two<Fn::max>(p); });
  add_math(t, {"minimum", "min.other"}, [](Pw& p) { return p.type() == DType::Bool ? two<Fn::logical_and>(p) : two<Fn::min>(p); });
}

/// A power by a small constant is a product; PyTorch does the same.
V power(Pw& p) {
  V x = p.in("self");
  if (p.c.is_number("exponent")) {
    double e = p.c.number("exponent");
    if (e == 1) return x;
    if (e == 2) return p(Fn::square, {x});
    if (e == 3) return p(Fn::mul, {p(Fn::square, {x}), x});
    if (is_float(p.type()) && e == 0.5) return p(Fn::sqrt, {x});
    if (is_float(p.type()) && e == -0.5) return p(Fn::rsqrt, {x});
    if (is_float(p.type()) && e == -1) return p(Fn::recip, {x});
    if (is_float(p.type()) && e == -2) return p(Fn::recip, {p(Fn::square, {x})});
  }
  return p(Fn::pow, {x, p.in("exponent")});
}

V lerp(Pw& p, V weight) {
  V a = p.in("self"), b = p.in("end");
  return p(Fn::add, {a, p(Fn::mul, {weight, p(Fn::sub, {b, a})})});
}

/// x * log(y), 0 where x is 0, NaN where y is.
V xlogy(Pw& p) {
  V x = p.in("self"), y = p.in("other");
  V product = p(Fn::where, {p(Fn::eq, {x, p.num(0)}), p.num(0), p(Fn::mul, {x, p(Fn::log, {y})})});
  return p(Fn::where, {p(Fn::isnan, {y}), y, product});
}

/// log(exp(a) + exp(b)) without overflow; equal infinities stay.
V logaddexp(Pw& p) {
  V a = p.in("self"), b = p.in("other");
  V high = p(Fn::max, {a, b}), gap = p(Fn::neg, {p(Fn::abs, {p(Fn::sub, {a, b})})});
  V sum = p(Fn::add, {high, p(Fn::log1p, {p(Fn::exp, {gap})})});
  return p(Fn::where, {p(Fn::logical_and, {p(Fn::isinf, {a}), p(Fn::eq, {a, b})}), a, sum});
}

/// The number, or the other one where one of them is NaN.
template <Fn fn>
V ignore_nan(Pw& p) {
  V a = p.in("self"), b = p.in("other");
  if (!is_float(p.type())) return p(fn, {a, b});
  return p(Fn::where, {p(Fn::isnan, {a}), b, p(Fn::where, {p(Fn::isnan, {b}), a, p(fn, {a, b})})});
}

void add_products(ConverterTable& t) {
  add_math(t, {"pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar"}, power);
  add_math(t, {"addcmul"}, [](Pw& p) { return p(Fn::add, {p.in("self"), times_alpha(p, p(Fn::mul, {p.in("tensor1"), p.in("tensor2")}), "value")}); });
  add_math(t, {"addcdiv"}, [](Pw& p) { return p(Fn::add, {p.in("self"), times_alpha(p, p(Fn::div, {p.in("tensor1"), p.in("tensor2")}), "value")}); });
  add_math(t, {"lerp.Scalar", "lerp.Tensor"}, [](Pw& p) { return lerp(p, p.in("weight")); });
  add_math(t, {"xlogy.Tensor", "xlogy.Scalar_Other", "xlogy.Scalar_Self"}, xlogy);
  add_math(t, {"logaddexp"}, logaddexp);
  add_math(t, {"fmax"}, ignore_nan<Fn::max>);
  add_math(t, {"fmin"}, ignore_nan<Fn::min>);
  add_math(t, {"hypot"}, [](Pw& p) { return p(Fn::sqrt, {p(Fn::add, {p(Fn::square, {p.in("self")}), p(Fn::square, {p.in("other")})})}); });
}

void add_bits(ConverterTable& t) {
  add_math(t, {"bitwise_and.Tensor", "bitwise_and.Scalar", "__and__.Tensor", "__and__.Scalar"}, two<Fn::bitwise_and>);
  add_math(t, {"bitwise_or.Tensor", "bitwise_or.Scalar", "__or__.Tensor", "__or__.Scalar"}, two<Fn::bitwise_or>);
  add_math(t, {"bitwise_xor.Tensor", "bitwise_xor.Scalar", "__xor__.Tensor", "__xor__.Scalar"}, two<Fn::bitwise_xor>);
  add_math(t, {"bitwise_left_shift.Tensor", "bitwise_left_shift.Tensor_Scalar", "bitwise_left_shift.Scalar_Tensor", "__lshift__.Tensor", "__lshift__.Scalar"},
           two<Fn::bitwise_left_shift>);
  add_math(t,
           {"bitwise_right_shift.Tensor", "bitwise_right_shift.Tensor_Scalar", "bitwise_right_shift.Scalar_Tensor", "__rshift__.Tensor", "__rshift__.Scalar"},
           two<Fn::bitwise_right_shift>);
}

}  // namespace

void add_binary(ConverterTable& t) {
  add_sums(t);
  add_products(t);
  add_bits(t);
}

}  // namespace tuyere
