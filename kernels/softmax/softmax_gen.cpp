// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax_gen.h"

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

/// T: float or double. Online holds the maximum and the sum of exponentials relative to it; a row of -inf only keeps s = 0 and gives NaN.
const char* kDefinitions = R"(
typedef $T T;
#define TG_NEG_INF ((T)__uint_as_float(0xff800000u))
#ifdef TG_ROUGH  // what the rounding of a short result hides; the scale is an exponent
#define TGS_LOG2_E 1.4426950408889634f
TGF float tgs_exp(float x) { return tg_exp2_rough(x * TGS_LOG2_E); }
TGF float tgs_scale(float s) { return log2f(s); }
TGF float tgs_result(float x, float m, float scale) { return tg_exp2_rough((x - m) * TGS_LOG2_E - scale); }
#else
TGF float tgs_exp(float x) { return exp(x); }
TGF float tgs_scale(float s) { return 1.0f / s; }
TGF float tgs_result(float x, float m, float scale) { return exp(x - m) * scale; }
#endif
TGF double tgs_exp(double x) { return exp(x); }
TGF double tgs_scale(double s) { return 1.0 / s; }
TGF double tgs_result(double x, double m, double scale) { return exp(x - m) * scale; }
// Of a NaN and a number the number.
TGF float tgs_max(float a, float b) { return fmaxf(a, b); }
TGF double tgs_max(double a, double b) { return fmax(a, b); }
struct Largest { T v; TGF_U void merge(const Largest& o) { v = tgs_max(v, o.v); } };
struct Sum { T v; TGF_U void merge(const Sum& o) { v += o.v; } };
struct Online {
  T m, s;
  TGF_U void init() { m = TG_NEG_INF; s = 0; }
  TGF_U void add(T x) {
    if (x > m) { s = s * tgs_exp(m - x) + (x - x + (T)1); m = x; }
    else if (m > TG_NEG_INF || x != x) s += tgs_exp(x - m);
  }
  TGF_U void merge(const Online& o) {
    const T top = tgs_max(m, o.m), base = top > TG_NEG_INF ? top : (T)0;
    s = s * tgs_exp(m - base) + o.s * tgs_exp(o.m - base);
    m = top;
  }
  TGF_U void merge(const Online& o, int, int) { merge(o); }
};
)";

}  // namespace

Kernel softmax_kernel(const SoftmaxForm& f, const char* name) {
  Kernel k(name, needs_wide({&f.rows.outer, &f.rows.inner}));
  k.define(kDefinitions, {{"T", f.real64 ? "double" : "float"}});
  return k;
}

void emit_softmax_input(Kernel& k, const SoftmaxForm& f, const std::vector<std::string>& elements) {
  k.add("    const T x = (T)($v);\n", {{"v", emit_program(f.prologue, f.rows.ops, elements, "t", k.body)[0]}});
}

std::string softmax_scale(const SoftmaxForm& f, const std::string& sum) { return (f.log ? "log(" : "tgs_scale(") + sum + ")"; }

std::string softmax_result(const SoftmaxForm& f, const std::string& x, const std::string& largest, const std::string& scale) {
  return f.log ? x + " - " + largest + " - " + scale : "tgs_result(" + x + ", " + largest + ", " + scale + ")";
}

SoftmaxForm softmax_form(const Problem& p) {
  const auto& op = std::get<Softmax>(p.op);
  SoftmaxForm f;
  f.inputs = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  f.log = op.log;
  f.prologue = op.prologue;
  const Shape& shape = p.out[0].shape;
  const int axis = static_cast<int>(op.axis < 0 ? op.axis + p.out[0].rank() : op.axis);
  std::vector<std::vector<Dim>> strides;
  for (int t = 0; t < f.inputs; ++t) {
    f.rows.ops.push_back(operand(p.in[t], t));
    strides.push_back(broadcast_strides(p.in[t], shape));
  }
  f.rows.ops.push_back(operand(p.out[0], static_cast<int>(p.in.size())));
  strides.push_back(p.out[0].strides);
  const Space all = make_space(shape, strides);
  std::vector<int> kept;
  for (int d = 0; d < all.rank(); ++d)
    if (d != axis) kept.push_back(d);
  f.rows.outer = select(all, kept);
  f.rows.inner = all.rank() > 0 ? select(all, {axis}) : select(all, {});
  normalize(f.rows.outer, f.inputs, p.hints);
  f.real64 = program_type(op.prologue, p.in[0].dtype) == DType::F64;
  return f;
}

}  // namespace tuyere::codegen

namespace tuyere {

Support SoftmaxTactic::accepts(const Problem& problem, const Target& target) const {
  REQUIRE(std::holds_alternative<Softmax>(problem.op), kOtherOperator);
  REQUIRE(!codegen::is_empty(problem), "no elements");
  return restrictions(codegen::softmax_form(problem), problem, target);
}

}  // namespace tuyere
