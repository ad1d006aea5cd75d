// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce_gen.h"

#include <algorithm>
#include <map>

#include "common/error.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

/// Accumulator structs. A: type of sums, X: type of values. add(x, position), merge(later part), get(count).
const char* accumulator_text(const std::string& kind) {
  static const std::map<std::string, const char*> texts = {
      {"sum",
       "struct Acc { A v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v += (A)x; } TGF_U void merge(const Acc& o) { v += o.v; } TGF_U A get(F) "
       "const { return v; } };\n"},
      {"mean",
       "struct Acc { A v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v += (A)x; } TGF_U void merge(const Acc& o) { v += o.v; } TGF_U F get(F n) "
       "const { return (F)v / n; } };\n"},
      {"prod",
       "struct Acc { A v; TGF_U void init() { v = 1; } TGF_U void add(X x, idx) { v *= (A)x; } TGF_U void merge(const Acc& o) { v *= o.v; } TGF_U A get(F) "
       "const { return v; } };\n"},
      {"any",
       "struct Acc { int v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v |= x != (X)0; } TGF_U void merge(const Acc& o) { v |= o.v; } TGF_U bool "
       "get(F) const { return v != 0; } };\n"},
      {"all",
       "struct Acc { int v; TGF_U void init() { v = 1; } TGF_U void add(X x, idx) { v &= x != (X)0; } TGF_U void merge(const Acc& o) { v &= o.v; } TGF_U bool "
       "get(F) const { return v != 0; } };\n"},
      {"max",
       "struct Acc { X v; TGF_U void init() { v = $none; } TGF_U void add(X x, idx) { v = tg_max(v, x); } TGF_U void merge(const Acc& o) { v = tg_max(v, o.v); "
       "} "
       "TGF_U X get(F) const { return v; } };\n"},
      {"min",
       "struct Acc { X v; TGF_U void init() { v = $none; } TGF_U void add(X x, idx) { v = tg_min(v, x); } TGF_U void merge(const Acc& o) { v = tg_min(v, o.v); "
       "} "
       "TGF_U X get(F) const { return v; } };\n"},
      {"var",
       "struct Acc { A n, mean, m2; TGF_U void init() { n = mean = m2 = 0; }\n"
       "  TGF_U void add(X x, idx) { n += 1; const A d = (A)x - mean; mean += d / n; m2 += d * ((A)x - mean); }\n"
       "  TGF_U void merge(const Acc& o) { const A t = n + o.n; if (t > 0) { const A d = o.mean - mean, f = o.n / t; mean += d * f; m2 += o.m2 + d * d * n * "
       "f; n = t; } }\n"
       "  TGF_U A get(F count) const { const A k = count - (A)$correction; return m2 / (k > 0 ? k : (A)0); } };\n"},
      // A thread meets its elements in order, so a later equal one never wins. Nothing beats $none, the value of those that have seen nothing better.
      {"arg",
       "struct Acc { X v; idx i; TGF_U void init() { v = $none; i = -1; } TGF_U void add(X x, idx at) { if (!(v $cmp= x) && v == v) { v = x; i = at; } }\n"
       "  TGF_U void merge(const Acc& o) {\n"
       "    const bool odd = v != v, wins = (!odd & ((o.v $cmp v) | (o.v != o.v))) | (((o.v == v) | (odd & (o.v != o.v))) & (o.i < i));\n"
       "    if ((o.i >= 0) & ((i < 0) | wins)) { v = o.v; i = o.i; }\n  }\n"
       "  TGF_U long long get(F) const { return i < 0 ? 0 : i; } };\n"},
  };
  return texts.at(kind);
}

bool is_arg(const ReduceForm& f) { return f.kind == "argmax" || f.kind == "argmin"; }

/// F: the type of means.
std::string mean_type(const ReduceForm& f) { return f.value == DType::F64 || f.type == DType::F64 ? "double" : "float"; }

/// The value that no element is farther from being the extreme than.
std::string farthest(const ReduceForm& f) {
  const bool largest = f.kind == "argmin" || f.kind == "min";
  switch (f.value) {
    case DType::Bool:
      return largest ? "true" : "false";
    case DType::I32:
      return largest ? "2147483647" : "-2147483647 - 1";
    case DType::I64:
      return largest ? "9223372036854775807ll" : "-9223372036854775807ll - 1";
    default:
      return std::string(largest ? "" : "-") + "(X)__uint_as_float(0x7f800000u)";
  }
}

std::string definitions(const ReduceForm& f) {
  const std::string x = compute_ctype(f.value) == "bool" && (f.kind == "sum" || f.kind == "prod" || f.kind == "mean") ? "int" : compute_ctype(f.value);
  const std::string a = f.kind == "var" && !is_float(f.value) ? mean_type(f) : accumulator_ctype(f.value);
  char correction[32];
  std::snprintf(correction, sizeof correction, "%.17g", f.correction);
  return "typedef " + a + " A;\ntypedef " + x + " X;\ntypedef " + mean_type(f) + " F;\n" +
         fill(accumulator_text(is_arg(f) ? "arg" : f.kind), {{"correction", correction}, {"cmp", f.kind == "argmax" ? ">" : "<"}, {"none", farthest(f)}});
}

/// The type of Acc::get.
std::string result_type(const ReduceForm& f) {
  if (is_arg(f)) return "long long";
  if (f.kind == "any" || f.kind == "all") return "bool";
  if (f.kind == "mean") return "F";
  return f.kind == "max" || f.kind == "min" ? "X" : "A";
}

class ReduceWriter {
 public:
  ReduceWriter(const ReduceForm& form, const ReducePlan& plan, int workspace)
      : f_(form), plan_(plan), workspace_(workspace), wide_(needs_wide({&form.rows.outer, &form.rows.inner})) {
    outer_ = f_.rows.outer.size;
    inner_ = f_.rows.inner.size;
    if (plan_.vec > 1) {
      Dim& last = plan_.column ? outer_.back() : inner_.back();
      last = floordiv(last, plan_.vec);
    }
  }

  Kernel reduce() {
    Kernel k(f_.name, wide_);
    k.threads = plan_.tx * plan_.ty;
    k.grid = {ceildiv(numel(outer_), plan_.tx), plan_.split, 1};
    k.define(definitions(f_));
    const int width = plan_.column ? plan_.vec : 1;
    k.add(R"(  const int kx = $kx, ry = $ry;
  const idx o = (idx)blockIdx.x * $tx + kx;
  const bool live = o < $outer;
  Acc acc[$W];
#pragma unroll
  for (int j = 0; j < $W; ++j) acc[j].init();
  if (live) {
)",
          {{"kx", plan_.column ? "threadIdx.x % " + str(plan_.tx) : "threadIdx.x / " + str(plan_.ty)},
           {"ry", plan_.column ? "threadIdx.x / " + str(plan_.tx) : "threadIdx.x % " + str(plan_.ty)},
           {"tx", str(plan_.tx)},
           {"outer", k.value(numel(outer_))},
           {"W", str(width)}});
    outer_coords(k);
    loop(k);
    k.add("  }\n");
    merge(k, width);
    return k;
  }

  /// A group of lanes per output: each merges neighbouring parts, then they merge what they have, in order.
  Kernel finish_split() {
    Kernel k(f_.name + "_merge", wide_);
    k.threads = 128;
    int lanes = 1;
    while (lanes < 32 && lanes * 2 <= plan_.split) lanes *= 2;
    k.grid[0] = ceildiv(numel(f_.rows.outer.size), k.threads / lanes);
    k.define(definitions(f_));
    k.add(R"(  const int lane = threadIdx.x % $lanes;
  const idx o = (idx)blockIdx.x * $outputs + threadIdx.x / $lanes;
  Acc acc[1];
  acc[0].init();
  if (o < $n)
#pragma unroll 4
    for (int s = lane * $each; s < tg_lesser((lane + 1) * $each, $split); ++s) acc[0].merge(((const Acc*)$w)[(idx)s * $n + o]);
  acc[0] = tg_group_merge<$lanes>(acc[0], (Acc*)0);
  if (o >= $n || lane != 0) return;
)",
          {{"lanes", str(lanes)},
           {"outputs", str(k.threads / lanes)},
           {"each", str((plan_.split + lanes - 1) / lanes)},
           {"n", k.value(numel(f_.rows.outer.size))},
           {"w", k.pointer(workspace_, "char", false)},
           {"split", str(plan_.split)}});
    oc_ = split(k, k.body, "o", f_.rows.outer.size, "c");
    finish(k, 1);
    return k;
  }

 private:
  static std::string str(int v) { return std::to_string(v); }

  void outer_coords(Kernel& k) {
    oc_ = split(k, k.body, "o", outer_, "c");
    if (plan_.column && plan_.vec > 1) {
      k.add("    const idx cv = $c * $v;\n", {{"c", oc_.back()}, {"v", str(plan_.vec)}});
      oc_.back() = "cv";
    }
  }

  /// Several accesses per round: all their loads come before the first sum.
  void loop(Kernel& k) {
    const Vars vars = {
        {"ty", str(plan_.ty)}, {"n", k.value(numel(inner_))}, {"step", str(plan_.ty * plan_.split)}, {"U", str(plan_.unroll)}, {"V", str(plan_.vec)}};
    k.add("    for (idx r = (idx)blockIdx.y * $ty + ry; r < $n; r += (idx)$step * $U) {\n", vars);
    for (int t = 0; t < f_.inputs; ++t) k.body += declare_text(f_.rows.ops[t], mode(t), plan_.vec, "a" + str(t), "[" + str(plan_.unroll) + "]");
    const char* each = "#pragma unroll\n    for (int u = 0; u < $U; ++u) {\n    const idx q = r + (idx)u * $step;\n    if (q < $n) {\n";
    k.add(each, vars);
    load(k, "[u]");
    k.add("    }\n    }\n", vars);
    k.add(each, vars);
    const bool chunks = picks_chunks();
    if (chunks) k.add("    X top;\n");
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
    const std::string x = "(X)(" + value(k, "[u]") + ")";
    if (chunks)
      k.add("    top = j == 0 ? $x : $larger(top, $x);\n    }\n    acc[0].add(top, q);\n", {{"x", x}, {"larger", f_.kind == "argmax" ? "tg_max" : "tg_min"}});
    else
      k.add("    acc[$w].add($x, $at);\n    }\n", {{"w", plan_.column ? "j" : "0"}, {"x", x}, {"at", plan_.column ? "q" : "q * " + str(plan_.vec) + " + j"}});
    k.add("    }\n    }\n    }\n");
  }

  /// Vectors along a reduced dim: an access is compared by its extreme, and one thread looks for the element at the end.
  bool picks_chunks() const { return is_arg(f_) && !plan_.column && plan_.vec > 1; }

  Mode mode(int t) const { return mode_of(f_.rows, t, plan_.vec, plan_.column); }

  /// Loads access `q` of every input into arrays a<t><suffix>.
  void load(Kernel& k, const std::string& suffix) {
    auto rc = split(k, k.body, "q", inner_, "d");
    if (!plan_.column && plan_.vec > 1) {
      k.add("    const idx dv = $c * $v;\n", {{"c", rc.back()}, {"v", str(plan_.vec)}});
      rc.back() = "dv";
    }
    const Space& along = plan_.column ? f_.rows.outer : f_.rows.inner;
    for (int t = 0; t < f_.inputs; ++t)
      k.body +=
          load_text(f_.rows.ops[t], mode(t), plan_.vec, "a" + str(t) + suffix,
                    pointer(k, f_.rows.ops[t], false) + " + " + offset(k, f_.rows.outer.strides[t], oc_) + " + " + offset(k, f_.rows.inner.strides[t], rc),
                    along.rank() ? k.value(along.strides[t].back()) : "0");
  }

  /// The value of element j.
  std::string value(Kernel& k, const std::string& suffix) {
    std::vector<std::string> elements;
    for (int t = 0; t < f_.inputs; ++t) elements.push_back(element("a" + str(t) + suffix, mode(t)));
    return emit_program(f_.prologue, f_.rows.ops, elements, "t", k.body)[0];
  }

  /// From the number of the winning access to that of the element.
  void pick(Kernel& k) {
    k.add("  if (acc[0].i >= 0) {\n    const idx q = acc[0].i;\n    int at = 0;\n");
    outer_coords(k);
    k.body += declare_text(f_.rows.ops[0], mode(0), plan_.vec, "a0");
    load(k, "");
    k.add("#pragma unroll\n    for (int j = $V - 1; j >= 0; --j) {\n", {{"V", str(plan_.vec)}});
    k.add("    const X x = (X)($x);\n    if (x == acc[0].v || x != x) at = j;\n    }\n    acc[0].i = q * $V + at;\n  }\n",
          {{"x", value(k, "")}, {"V", str(plan_.vec)}});
  }

  void merge(Kernel& k, int width) {
    if (!plan_.column) {
      k.add("  __shared__ Acc shared[$n];\n  acc[0] = tg_group_merge<$ty>(acc[0], shared);\n  if (!live || ry != 0) return;\n",
            {{"n", str(std::max(plan_.ty / 32, 1))}, {"ty", str(plan_.ty)}});
      if (picks_chunks()) pick(k);
    } else if (plan_.ty > 1) {
      k.add(R"(  __shared__ Acc shared[$threads * $W];
#pragma unroll
  for (int j = 0; j < $W; ++j) shared[j * $threads + threadIdx.x] = acc[j];
  __syncthreads();
  if (!live || ry != 0) return;
  for (int y = 1; y < $ty; ++y)
#pragma unroll
    for (int j = 0; j < $W; ++j) acc[j].merge(shared[j * $threads + y * $tx + kx]);
)",
            {{"threads", str(plan_.tx * plan_.ty)}, {"W", str(width)}, {"ty", str(plan_.ty)}, {"tx", str(plan_.tx)}});
    } else {
      k.add("  if (!live) return;\n");
    }
    if (plan_.split > 1) {
      k.add("#pragma unroll\n  for (int j = 0; j < $W; ++j) ((Acc*)$w)[(idx)blockIdx.y * $n + o * $W + j] = acc[j];\n",
            {{"W", str(width)}, {"w", k.pointer(workspace_, "char", true)}, {"n", k.value(numel(f_.rows.outer.size))}});
      return;
    }
    outer_coords(k);
    finish(k, width);
  }

  /// Epilogue and store of acc[0..width-1] at outputs oc_, oc_ + 1, ...
  void finish(Kernel& k, int width) {
    const Space& outer = f_.rows.outer;
    const int out = static_cast<int>(f_.rows.ops.size()) - 1;
    k.add("#pragma unroll\n    for (int j = 0; j < $W; ++j) {\n    const $t main = acc[j].get((F)$count);\n",
          {{"W", str(width)}, {"t", result_type(f_)}, {"count", k.value(numel(f_.rows.inner.size))}});
    auto at = [&](int t) { return offset(k, outer.strides[t], oc_) + (outer.rank() ? " + (idx)j * " + k.value(outer.strides[t].back()) : ""); };
    std::string value = "main";
    if (!f_.epilogue.empty()) {
      std::vector<std::string> inputs{"(" + storage_ctype(f_.epilogue.inputs[0]) + ")main"};
      for (int t = f_.inputs; t < out; ++t)
        inputs.push_back("tg_cvt<" + storage_ctype(f_.epilogue.inputs[inputs.size()]) + ">((" + pointer(k, f_.rows.ops[t], false) + ")[" + at(t) + "])");
      value = emit_cuda(f_.epilogue, inputs, "e", k.body)[0];
    }
    k.add("    ($p)[$at] = tg_cvt<$s>($v);\n    }\n",
          {{"p", pointer(k, f_.rows.ops[out], true)}, {"at", at(out)}, {"s", storage_ctype(f_.rows.ops[out].dtype)}, {"v", value}});
  }

  const ReduceForm& f_;
  const ReducePlan& plan_;
  int workspace_;
  bool wide_;
  std::vector<Dim> outer_, inner_;
  std::vector<std::string> oc_;
};

}  // namespace

int accumulator_bytes(const ReduceForm& f) { return f.kind == "var" ? 24 : is_arg(f) ? 16 : 8; }

Generated reduce_kernels(const ReduceForm& form, const ReducePlan& plan, int workspace_position) {
  ReduceWriter writer(form, plan, workspace_position);
  Generated out;
  out.kernels.push_back(writer.reduce());
  if (plan.split > 1) {
    out.kernels.push_back(writer.finish_split());
    out.workspace = ceildiv(numel(form.rows.outer.size) * plan.split * accumulator_bytes(form), 256) * 256;
  }
  return out;
}

}  // namespace tuyere::codegen
