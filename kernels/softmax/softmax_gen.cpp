// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax_gen.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

/// T: float or double. Online holds the maximum and the sum of exponentials relative to it; a row of -inf only keeps s = 0 and gives NaN.
const char* kDefinitions = R"(
typedef $T T;
#define TG_NEG_INF ((T)__uint_as_float(0xff800000u))
struct Largest { T v; TGF_U void merge(const Largest& o) { v = o.v > v ? o.v : v; } };
struct Sum { T v; TGF_U void merge(const Sum& o) { v += o.v; } };
struct Online {
  T m, s;
  TGF_U void init() { m = TG_NEG_INF; s = 0; }
  TGF_U void add(T x) {
    if (x > m) { s = s * exp(m - x) + (x - x + (T)1); m = x; }
    else if (m > TG_NEG_INF || x != x) s += exp(x - m);
  }
  TGF_U void merge(const Online& o) {
    if (o.m > m) { s = s * exp(m - o.m) + o.s; m = o.m; }
    else s += o.m > TG_NEG_INF ? o.s * exp(o.m - m) : o.s;
  }
};
)";

std::string result(const SoftmaxForm& f, const std::string& x) { return f.log ? x + " - m - lse" : "exp(" + x + " - m) * scale"; }

const char* scale_text(const SoftmaxForm& f) { return f.log ? "  const T lse = log(s);\n" : "  const T scale = (T)1 / s;\n"; }

Vars type_vars(const SoftmaxForm& f) { return {{"T", f.real64 ? "double" : "float"}}; }

/// Appends code that computes T x_ of element j from the arrays a<k> (with `suffix` between name and index).
void emit_value(Kernel& k, const SoftmaxForm& f, const RowWriter* w, const std::string& suffix) {
  std::vector<std::string> elements;
  for (int t = 0; t < f.inputs; ++t) elements.push_back(element("a" + std::to_string(t) + suffix, w ? w->mode(t) : Mode::broadcast));
  const auto values = emit_program(f.prologue, f.rows.ops, elements, "t", k.body);
  k.add("    const T x = (T)($v);\n", {{"v", values[0]}});
}

void row_in_registers(Kernel& k, const SoftmaxForm& f, RowWriter& w, const RowPlan& plan) {
  const int out = f.inputs;
  const Vars vars = {{"E", std::to_string(plan.keep)},
                     {"V", std::to_string(plan.vec)},
                     {"ty", std::to_string(plan.ty)},
                     {"warps", std::to_string(std::max(plan.ty / 32, 1))},
                     {"s", storage_ctype(f.rows.ops[out].dtype)}};
  for (int t = 0; t < f.inputs; ++t) k.body += declare_text(f.rows.ops[t], w.mode(t), plan.vec, "a" + std::to_string(t), "[" + std::to_string(plan.keep) + "]");
  k.add("  T v[$E][$V];\n", vars);
  w.open(true);
  w.coordinates();
  for (int t = 0; t < f.inputs; ++t) k.body += w.load_into(t, "a" + std::to_string(t) + "[e]");
  w.close();
  k.add(
      "  Largest largest = {TG_NEG_INF};\n#pragma unroll\n  for (int e = 0; e < $E; ++e)\n#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    v[e][j] = "
      "TG_NEG_INF;\n",
      vars);
  k.add("    if (live && ry + (idx)e * $ty < $n) {\n", {{"ty", std::to_string(plan.ty)}, {"n", w.steps()}});
  emit_value(k, f, &w, "[e]");
  k.add(R"(    v[e][j] = x;
    largest.v = x > largest.v ? x : largest.v;
    }
  }
  __shared__ T shared[$warps];
  const T m = tg_group_merge<$ty>(largest, (Largest*)shared).v;
  Sum sum = {0};
#pragma unroll
  for (int e = 0; e < $E; ++e)
#pragma unroll
  for (int j = 0; j < $V; ++j) if (live && ry + (idx)e * $ty < $n) { const T p = exp(v[e][j] - m); sum.v += p; $keep }
  const T s = tg_group_merge<$ty>(sum, (Sum*)shared).v;
)",
        {{"warps", std::to_string(std::max(plan.ty / 32, 1))},
         {"ty", std::to_string(plan.ty)},
         {"E", std::to_string(plan.keep)},
         {"V", std::to_string(plan.vec)},
         {"n", w.steps()},
         {"keep", f.log ? "" : "v[e][j] = p;"}});
  k.add(scale_text(f));
  w.open(true);
  w.coordinates();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) y[j] = tg_cvt<$s>(", vars);
  k.body += (f.log ? "v[e][j] - m - lse" : std::string("v[e][j] * scale")) + ");\n" + w.store(out, "y");
  w.close();
}

void row_in_passes(Kernel& k, const SoftmaxForm& f, RowWriter& w, const RowPlan& plan) {
  const int out = f.inputs;
  auto values = [&] {
    w.coordinates();
    for (int t = 0; t < f.inputs; ++t) k.body += w.load(t, "a" + std::to_string(t));
  };
  const Vars vars = {{"V", std::to_string(plan.vec)},
                     {"ty", std::to_string(plan.ty)},
                     {"warps", std::to_string(std::max(plan.ty / 32, 1))},
                     {"s", storage_ctype(f.rows.ops[out].dtype)}};
  k.add("  Online acc;\n  acc.init();\n");
  w.open(false);
  values();
  k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
  emit_value(k, f, &w, "");
  k.add("    acc.add(x);\n    }\n");
  w.close();
  k.add("  __shared__ Online shared[$warps];\n  acc = tg_group_merge<$ty>(acc, shared);\n  const T m = acc.m, s = acc.s;\n", vars);
  k.add(scale_text(f));
  w.open(false);
  values();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
  emit_value(k, f, &w, "");
  k.add("    y[j] = tg_cvt<$s>($r);\n    }\n", {{"s", storage_ctype(f.rows.ops[out].dtype)}, {"r", result(f, "x")}});
  k.body += w.store(out, "y");
  w.close();
}

}  // namespace

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

Kernel softmax_row_kernel(const SoftmaxForm& f, const RowPlan& plan) {
  Kernel k("softmax", needs_wide({&f.rows.outer, &f.rows.inner}));
  k.define(kDefinitions, type_vars(f));
  RowWriter w(k, f.rows, plan);
  w.begin();
  if (plan.keep > 0)
    row_in_registers(k, f, w, plan);
  else
    row_in_passes(k, f, w, plan);
  return k;
}

Kernel softmax_column_kernel(const SoftmaxForm& f, int tx, int ty) {
  Kernel k("softmax_column", needs_wide({&f.rows.outer, &f.rows.inner}));
  k.define(kDefinitions, type_vars(f));
  k.threads = tx * ty;
  k.grid[0] = ceildiv(numel(f.rows.outer.size), tx);
  const int out = f.inputs;
  const Vars vars = {
      {"tx", std::to_string(tx)}, {"ty", std::to_string(ty)}, {"outer", k.value(numel(f.rows.outer.size))}, {"n", k.value(numel(f.rows.inner.size))}};
  k.add("  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;\n  const idx o = (idx)blockIdx.x * $tx + kx;\n  const bool live = o < $outer;\n", vars);
  const auto oc = split(k, k.body, "o", f.rows.outer.size, "c");
  auto address = [&](int t, bool writes) {
    return pointer(k, f.rows.ops[t], writes) + " + " + offset(k, f.rows.outer.strides[t], oc) + " + " + offset(k, f.rows.inner.strides[t], {"r"});
  };
  auto open = [&] {
    k.add("  if (live)\n#pragma unroll 4\n  for (idx r = ry; r < $n; r += $ty) {\n", vars);
    for (int t = 0; t < f.inputs; ++t)
      k.body += declare_text(f.rows.ops[t], Mode::broadcast, 1, "a" + std::to_string(t)) +
                load_text(f.rows.ops[t], Mode::broadcast, 1, "a" + std::to_string(t), address(t, false), "0");
    emit_value(k, f, nullptr, "");
  };
  k.add("  Online acc;\n  acc.init();\n");
  open();
  k.add("    acc.add(x);\n  }\n");
  if (ty > 1)
    k.add(R"(  __shared__ Online shared[$tx * $ty];
  shared[threadIdx.x] = acc;
  __syncthreads();
  acc = shared[kx];
  for (int y = 1; y < $ty; ++y) acc.merge(shared[y * $tx + kx]);
)",
          vars);
  k.add("  const T m = acc.m, s = acc.s;\n");
  k.add(scale_text(f));
  open();
  k.add("    *($at) = tg_cvt<$s>($r);\n  }\n", {{"at", address(out, true)}, {"s", storage_ctype(f.rows.ops[out].dtype)}, {"r", result(f, "x")}});
  return k;
}

}  // namespace tuyere::codegen
