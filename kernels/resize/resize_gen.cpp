// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize/resize_gen.h"

#include <algorithm>

#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

std::string number(int64_t v) { return std::to_string(v); }

/// Positions and weights by PyTorch's coordinate rules; T is the type of coordinates.
const char* kTaps = R"(
typedef $T T;
TGF void taps(idx (&at)[1], T (&w)[1], T step, idx n, idx o) { at[0] = tg_lesser((idx)floor((T)o * step), n - 1); w[0] = 1; }
TGF T source(bool aligned, T step, idx o) { return aligned ? step * (T)o : step * ((T)o + (T)0.5) - (T)0.5; }
TGF void taps(idx (&at)[2], T (&w)[2], T step, idx n, idx o) {
  const T s = tg_greater(source($aligned, step, o), (T)0);
  at[0] = tg_lesser((idx)s, n - 1);
  at[1] = tg_lesser(at[0] + 1, n - 1);
  w[1] = tg_lesser(tg_greater(s - (T)at[0], (T)0), (T)1);
  w[0] = (T)1 - w[1];
}
TGF void taps(idx (&at)[4], T (&w)[4], T step, idx n, idx o) {
  const T s = source($aligned, step, o), a = (T)-0.75;
  const idx base = (idx)floor(s);
  const T f = s - (T)base, g = (T)1 - f, ff = f + 1, gg = g + 1;
  w[0] = ((a * ff - 5 * a) * ff + 8 * a) * ff - 4 * a;
  w[1] = ((a + 2) * f - (a + 3)) * f * f + 1;
  w[2] = ((a + 2) * g - (a + 3)) * g * g + 1;
  w[3] = ((a * gg - 5 * a) * gg + 8 * a) * gg - 4 * a;
#pragma unroll
  for (int k = 0; k < 4; ++k) at[k] = tg_lesser(tg_greater(base - 1 + k, (idx)0), n - 1);
}
)";

std::string step_text(Kernel& k, const Resize& op, bool aligned, int d, const Dim& in, const Dim& out) {
  const std::string n = k.value(in), m = k.value(out);
  if (aligned) return m + " > 1 ? (T)(" + n + " - 1) / (T)(" + m + " - 1) : (T)0";
  if (static_cast<size_t>(d) < op.scales.size() && op.scales[d] > 0) {
    char text[40];
    std::snprintf(text, sizeof text, "(T)%.17g", 1.0 / op.scales[d]);
    return text;
  }
  return "(T)" + n + " / (T)" + m;
}

}  // namespace

Kernel resize_kernel(const Problem& p, const Target& target) {
  const auto& op = std::get<Resize>(p.op);
  const TensorDesc &x = p.in[0], &out = p.out[0];
  const int spatial = static_cast<int>(op.size.size()), lead = x.rank() - spatial;
  std::vector<Dim> x_strides = x.strides, numbers;
  for (int d = 0; d < x.rank(); ++d) {
    if (d >= lead) x_strides[d] = 0;
    numbers.push_back(d);
  }
  Space space = make_space(out.shape, {out.strides, x_strides, numbers});
  std::vector<int> kept;
  for (int d = 0; d < out.rank(); ++d)
    if (d >= lead || !out.shape[d].is_const(1)) kept.push_back(d);
  space = select(space, kept);
  sort_dims(space, 0, p.hints);
  int vec = widest_vector(space, {operand(out, 1), operand(x, 0)});
  for (int d = lead; d < x.rank(); ++d)
    if (!divisible(x.strides[d], vec)) vec = 1;
  const Space x_space = make_space(x.shape, {x.strides});
  Kernel k("resize", needs_wide({&space}) || needs_wide({&x_space}));
  k.threads = map_threads(count_at_hints(out.shape, p.hints) / vec, target);
  const bool aligned = op.align_corners && op.mode != ResizeMode::nearest, nearest = op.mode == ResizeMode::nearest;
  const std::string taps = nearest ? "1" : op.mode == ResizeMode::linear ? "2" : "4";
  k.define(kTaps, {{"T", x.dtype == DType::F64 ? "double" : "float"}, {"aligned", aligned ? "true" : "false"}});
  const auto coords = begin_map(k, space.size, vec);
  const Vars common = {{"V", number(vec)}, {"n", taps}, {"s", storage_ctype(x.dtype)}, {"r", storage_ctype(out.dtype)}};
  if (!nearest) k.add("  T acc[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) acc[j] = 0;\n", common);
  k.add("  $s v[$V];\n  $r r[$V];\n", common);
  std::string at = "0", weight = "(T)1";
  for (int d = 0; d < spatial; ++d) {
    std::string coord = "0";
    for (size_t c = 0; c < coords.size(); ++c)
      if (space.strides[2][c].is_const(lead + d)) coord = coords[c];
    k.add("  idx at$d[$n];\n  T w$d[$n];\n  taps(at$d, w$d, $step, (idx)$size, (idx)$o);\n",
          {{"d", number(d)},
           {"n", taps},
           {"step", step_text(k, op, aligned, d, x.shape[lead + d], out.shape[lead + d])},
           {"size", k.value(x.shape[lead + d])},
           {"o", coord}});
    at += " + at" + number(d) + "[k" + number(d) + "] * " + k.value(x.strides[lead + d]);
    weight += " * w" + number(d) + "[k" + number(d) + "]";
  }
  for (int d = 0; d < spatial; ++d) k.add("#pragma unroll\n  for (int k$d = 0; k$d < $n; ++k$d)\n", {{"d", number(d)}, {"n", taps}});
  k.add("  {\n    tg_load<$V>(v, $x + $o + ($at));\n#pragma unroll\n    for (int j = 0; j < $V; ++j) $use\n  }\n",
        {{"V", number(vec)},
         {"x", pointer(k, operand(x, 0), false)},
         {"o", offset(k, space.strides[1], coords)},
         {"at", at},
         {"use", nearest ? "r[j] = tg_copy<" + storage_ctype(out.dtype) + ">(v[j]);" : "acc[j] += (" + weight + ") * tg_cvt<T>(v[j]);"}});
  if (!nearest)
    k.add("#pragma unroll\n  for (int j = 0; j < $V; ++j) r[j] = tg_cvt<$r>($acc);\n",
          {{"V", number(vec)}, {"r", storage_ctype(out.dtype)}, {"acc", is_float(out.dtype) ? "acc[j]" : "rint(acc[j])"}});
  k.add("  tg_store<$V>($out + $o, r);\n", {{"V", number(vec)}, {"out", pointer(k, operand(out, 1), true)}, {"o", offset(k, space.strides[0], coords)}});
  return k;
}

}  // namespace tuyere::codegen
