// SPDX-License-Identifier: Apache-2.0
// Activation functions.
#include "common/error.h"
#include "converters/aten/pw.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

using V = Pw::Value;
using ActivationBody = V (*)(Pw& p, V x);

void add_activation(ConverterTable& t, const char* name, ActivationBody body) {
  t.add(std::string("aten::") + name, [body](Convert& c) {
    Pw p(c, c.out_type().dtype);
    c.out(p.finish(body(p, p.in("self")), c.out_type().dtype));
  });
}

V gelu(Pw& p, V x) {
  std::string form = p.c.has("approximate") ? p.c.text("approximate") : "none";
  USER_CHECK(form == "none" || form == "tanh", "approximate '" << form << "'");
  return p(form == "tanh" ? Fn::gelu_tanh : Fn::gelu_erf, {x});
}

/// scale * (x > 0 ? x : alpha * expm1(x * input_scale))
V elu(Pw& p, V x, double alpha, double scale, double input_scale) {
  V inner = input_scale == 1 ? x : p(Fn::mul, {x, p.num(input_scale)});
  V negative = p(Fn::mul, {p(Fn::expm1, {inner}), p.num(alpha * scale)});
  V positive = scale == 1 ? x : p(Fn::mul, {x, p.num(scale)});
  return p(Fn::where, {p(Fn::gt, {x, p.num(0)}), positive, negative});
}

/// log(1 + exp(beta x)) / beta, and x itself above the threshold.
V softplus(Pw& p, V x) {
  double beta = p.c.number("beta");
  V inner = beta == 1 ? x : p(Fn::mul, {x, p.num(beta)});
  V soft = p(Fn::softplus, {inner});
  if (beta != 1) soft = p(Fn::div, {soft, p.num(beta)});
  return p(Fn::where, {p(Fn::gt, {inner, p.num(p.c.number("threshold"))}), x, soft});
}

V leaky_relu(Pw& p, V x) { return p(Fn::where, {p(Fn::gt, {x, p.num(0)}), x, p(Fn::mul, {x, p.in("negative_slope")})}); }

V hardshrink(Pw& p, V x) {
  double lambda = p.c.number("lambd");
  V inside = p(Fn::logical_and, {p(Fn::ge, {x, p.num(-lambda)}), p(Fn::le, {x, p.num(lambda)})});
  return p(Fn::where, {inside, p.num(0), x});
}

V softshrink(Pw& p, V x) {
  double lambda = p.c.number("lambd");
  V low = p(Fn::where, {p(Fn::lt, {x, p.num(-lambda)}), p(Fn::add, {x, p.num(lambda)}), p(Fn::mul, {x, p.num(0)})});
  return p(Fn::where, {p(Fn::gt, {x, p.num(lambda)}), p(Fn::sub, {x, p.num(lambda)}), low});
}

V threshold(Pw& p, V x) { return p(Fn::where, {p(Fn::le, {x, p.in("threshold")}), p.in("value"), x}); }

V log_sigmoid(Pw& p, V x) { return p(Fn::neg, {p(Fn::softplus, {p(Fn::neg, {x})})}); }

void log_sigmoid_forward(Convert& c) {
  USER_CHECK(!c.used(1), "the buffer output is used (training)");
  Pw p(c, c.out_type().dtype);
  c.out(p.finish(log_sigmoid(p, p.in("self")), c.out_type().dtype));
}

/// The slope has one entry per channel (dim 1), or one in all.
void prelu(Convert& c) {
  TensorId x = c.tensor("self"), slope = c.tensor("weight");
  if (c.type(slope).shape.size() == 1) {
    slope = c.type(slope).shape[0].is_const(1) || rank_of(c, x) < 2 ? slope : per_channel(c, slope, rank_of(c, x));
  }
  Pw p(c, c.out_type().dtype);
  V v = p.in(x);
  c.out(p.finish(p(Fn::where, {p(Fn::gt, {v, p.num(0)}), v, p(Fn::mul, {v, p.in(slope)})}), c.out_type().dtype));
}

void glu(Convert& c) {
  TensorId x = c.tensor("self");
  int64_t axis = c.axis("dim", x);
  Dim half = c.out_type().shape.at(axis);
  TensorId a = c.slice(x, axis, 0, half), b = c.slice(x, axis, half, half * 2);
  Pw p(c, c.out_type().dtype);
  V value = p.in(a);
  c.out(p.finish(p(Fn::mul, {value, p(Fn::sigmoid, {p.in(b)})}), c.out_type().dtype));
}

void dropout(Convert& c) {
  bool train = c.has("train") && c.boolean("train");
  USER_CHECK(!train || c.number("p") == 0, "dropout in training mode draws random numbers");
  c.out(c.tensor("input"));
}

/// In evaluation the mask is all true.
void native_dropout(Convert& c) {
  USER_CHECK(c.has("train") && !c.boolean("train"), "dropout in training mode draws random numbers");
  c.out(c.tensor("input"));
  if (c.used(1)) c.out(c.add(Fill{.type = DType::Bool, .shape = c.out_type(1).shape, .value = 1}, {}), 1);
}

V clamp_numbers(Pw& p, V x, std::string_view low, std::string_view high) {
  bool has_low = p.c.has(low), has_high = p.c.has(high);
  if (has_low && has_high) return p(Fn::clamp, {x, p.in(low), p.in(high)});
  if (has_low && p.c.is_number(low) && p.c.number(low) == 0) return p(Fn::relu, {x});
  if (has_low) return p(Fn::max, {x, p.in(low)});
  return has_high ? p(Fn::min, {x, p.in(high)}) : x;
}

}  // namespace

void add_activations(ConverterTable& t) {
  add_activation(t, "gelu", gelu);
  add_activation(t, "silu", [](Pw& p, V x) { return p(Fn::silu, {x}); });
  add_activation(t, "mish", [](Pw& p, V x) { return p(Fn::mish, {x}); });
  add_activation(t, "hardswish", [](Pw& p, V x) { return p(Fn::hardswish, {x}); });
  add_activation(t, "hardsigmoid", [](Pw& p, V x) { return p(Fn::hardsigmoid, {x}); });
  add_activation(t, "relu6", [](Pw& p, V x) { return p(Fn::clamp, {x, p.num(0), p.num(6)}); });
  add_activation(t, "hardtanh", [](Pw& p, V x) { return clamp_numbers(p, x, "min_val", "max_val"); });
  for (const char* op : {"clamp", "clamp.Tensor", "clip"}) add_activation(t, op, [](Pw& p, V x) { return clamp_numbers(p, x, "min", "max"); });
  for (const char* op : {"clamp_min", "clamp_min.Tensor"}) add_activation(t, op, [](Pw& p, V x) { return clamp_numbers(p, x, "min", ""); });
  for (const char* op : {"clamp_max", "clamp_max.Tensor"}) add_activation(t, op, [](Pw& p, V x) { return clamp_numbers(p, x, "", "max"); });
  add_activation(t, "elu", [](Pw& p, V x) { return elu(p, x, p.c.number("alpha"), p.c.number("scale"), p.c.number("input_scale")); });
  add_activation(t, "selu", [](Pw& p, V x) { return elu(p, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1); });
  add_activation(t, "celu", [](Pw& p, V x) { return elu(p, x, p.c.number("alpha"), 1, 1 / p.c.number("alpha")); });
  add_activation(t, "leaky_relu", leaky_relu);
  add_activation(t, "softplus", softplus);
  add_activation(t, "hardshrink", hardshrink);
  add_activation(t, "softshrink", softshrink);
  add_activation(t, "threshold", threshold);
  add_activation(t, "log_sigmoid", log_sigmoid);
  t.add("aten::log_sigmoid_forward", log_sigmoid_forward);
  add_each(t, {"aten::prelu", "aten::_prelu_kernel"}, prelu);
  t.add("aten::glu", glu);
  add_each(t, {"aten::dropout", "aten::feature_dropout", "aten::alpha_dropout"}, dropout);
  t.add("aten::native_dropout", native_dropout);
}

}  // namespace tuyere
