// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <map>

#include "kernels/codegen/types.h"
#include "kernels/reduce/reduce_accumulator.h"

namespace tuyere::codegen {
namespace {

/// Bodies of accumulator structs, which are of whole words and aligned as their widest member. A: type of sums, X: type of values. add(x, position),
/// merge(later part), get(count).
const char* accumulator_text(const std::string& kind) {
  static const std::map<std::string, const char*> texts = {
      {"sum",
       "{ A v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v += (A)x; } TGF_U void merge(const Acc& o) { v += o.v; } TGF_U A get(F) const { return "
       "v; } };\n"},
      {"mean",
       "{ A v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v += (A)x; } TGF_U void merge(const Acc& o) { v += o.v; } TGF_U F get(F n) const { "
       "return (F)v / n; } };\n"},
      {"prod",
       "{ A v; TGF_U void init() { v = 1; } TGF_U void add(X x, idx) { v *= (A)x; } TGF_U void merge(const Acc& o) { v *= o.v; } TGF_U A get(F) const { return "
       "v; } };\n"},
      {"any",
       "{ int v; TGF_U void init() { v = 0; } TGF_U void add(X x, idx) { v |= x != (X)0; } TGF_U void merge(const Acc& o) { v |= o.v; } TGF_U bool get(F) "
       "const { return v != 0; } };\n"},
      {"all",
       "{ int v; TGF_U void init() { v = 1; } TGF_U void add(X x, idx) { v &= x != (X)0; } TGF_U void merge(const Acc& o) { v &= o.v; } TGF_U bool get(F) "
       "const { return v != 0; } };\n"},
      {"max",
       "{ X v; TGF_U void init() { v = $none; } TGF_U void add(X x, idx) { v = tg_max(v, x); } TGF_U void merge(const Acc& o) { v = tg_max(v, o.v); } TGF_U X "
       "get(F) const { return v; } };\n"},
      {"min",
       "{ X v; TGF_U void init() { v = $none; } TGF_U void add(X x, idx) { v = tg_min(v, x); } TGF_U void merge(const Acc& o) { v = tg_min(v, o.v); } TGF_U X "
       "get(F) const { return v; } };\n"},
      {"var",
       "{ A n, mean, m2; TGF_U void init() { n = mean = m2 = 0; }\n"
       "  TGF_U void add(X x, idx) { n += 1; const A d = (A)x - mean; mean += d / n; m2 += d * ((A)x - mean); }\n"
       "  TGF_U void merge(const Acc& o) { const A t = n + o.n; if (t > 0) { const A d = o.mean - mean, f = o.n / t; mean += d * f; m2 += o.m2 + d * d * n * "
       "f; n = t; } }\n"
       "  TGF_U A get(F count) const { const A k = count - (A)$correction; return m2 / (k > 0 ? k : (A)0); } };\n"},
      // A thread meets its elements in order, so a later equal one never wins. Nothing beats $none, the value of those that have seen nothing better.
      {"arg",
       "{ X v; idx i; TGF_U void init() { v = $none; i = -1; }\n"
       "  TGF_U bool add(X x, idx at) { const bool wins = !(v $cmp= x) & (v == v); if (wins) { v = x; i = at; } return wins; }\n"
       "  TGF_U void merge(const Acc& o) {\n"
       "    const bool odd = v != v, wins = (!odd & ((o.v $cmp v) | (o.v != o.v))) | (((o.v == v) | (odd & (o.v != o.v))) & (o.i < i));\n"
       "    if ((o.i >= 0) & ((i < 0) | wins)) { v = o.v; i = o.i; }\n  }\n"
       "  TGF_U long long get(F) const { return i < 0 ? 0 : i; } };\n"},
  };
  return texts.at(kind);
}

/// F: the type of means.
std::string mean_type(const ReduceForm& f) { return f.value == DType::F64 || f.type == DType::F64 ? "double" : "float"; }

/// The value that no element is farther from being the extreme than.
std::string farthest(const ReduceForm& f) {
  const bool largest = !seeks_largest(f);
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

}  // namespace

bool is_arg(const ReduceForm& f) { return f.kind == "argmax" || f.kind == "argmin"; }

bool is_extreme(const ReduceForm& f) { return is_arg(f) || f.kind == "max" || f.kind == "min"; }

bool seeks_largest(const ReduceForm& f) { return f.kind == "argmax" || f.kind == "max"; }

std::string reduce_definitions(const ReduceForm& f) {
  const std::string x = compute_ctype(f.value) == "bool" && (f.kind == "sum" || f.kind == "prod" || f.kind == "mean") ? "int" : compute_ctype(f.value);
  const std::string a = f.kind == "var" && !is_float(f.value) ? mean_type(f) : accumulator_ctype(f.value);
  char correction[32];
  std::snprintf(correction, sizeof correction, "%.17g", f.correction);
  return "typedef " + a + " A;\ntypedef " + x + " X;\ntypedef " + mean_type(f) + " F;\nstruct __align__(" + (accumulator_bytes(f) % 8 == 0 ? "8" : "4") +
         ") Acc " +
         fill(accumulator_text(is_arg(f) ? "arg" : f.kind), {{"correction", correction}, {"cmp", f.kind == "argmax" ? ">" : "<"}, {"none", farthest(f)}}) +
         "static_assert(sizeof(Acc) == " + std::to_string(accumulator_bytes(f)) + ", \"\");\n";
}

std::string reduce_result_type(const ReduceForm& f) {
  if (is_arg(f)) return "long long";
  if (f.kind == "any" || f.kind == "all") return "bool";
  if (f.kind == "mean") return "F";
  return f.kind == "max" || f.kind == "min" ? "X" : "A";
}

int accumulator_bytes(const ReduceForm& f) {
  const auto bytes = [](const std::string& type) { return type == "double" || type == "long long" ? 8 : 4; };
  if (f.kind == "any" || f.kind == "all") return 4;
  const int value = bytes(compute_ctype(f.value));
  if (is_arg(f)) return value == 8 || needs_wide({&f.rows.outer, &f.rows.inner}) ? 16 : 8;
  if (is_extreme(f)) return value;
  if (f.kind == "var") return 3 * (is_float(f.value) ? bytes(accumulator_ctype(f.value)) : bytes(mean_type(f)));
  return bytes(accumulator_ctype(f.value));
}

}  // namespace tuyere::codegen
