// SPDX-License-Identifier: Apache-2.0
#include "kernels/cumulate/cumulate_gen.h"

#include <algorithm>

#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

/// Lines: the space without the axis. Tensors: input, output.
struct Lines {
  Space space;
  Dim length = 1, in_stride = 0, out_stride = 0;
  std::string accumulator, combine, identity;
};

Lines lines_of(const Problem& p) {
  const auto& op = std::get<Cumulate>(p.op);
  const TensorDesc &x = p.in[0], &out = p.out[0];
  Space all = make_space(x.shape, {x.strides, out.strides});
  Lines lines;
  const int axis = static_cast<int>(op.axis < 0 ? op.axis + x.rank() : op.axis);
  std::vector<int> kept;
  for (int d = 0; d < all.rank(); ++d)
    if (d != axis) kept.push_back(d);
  if (axis < all.rank()) {
    lines.length = all.size[axis];
    lines.in_stride = x.strides[axis];
    lines.out_stride = out.strides[axis];
  }
  lines.space = select(all, kept);
  normalize(lines.space, 1, p.hints);
  lines.accumulator = accumulator_ctype(is_float(x.dtype) ? x.dtype : out.dtype);
  lines.combine = op.kind == CumKind::sum ? "+" : "*";
  lines.identity = op.kind == CumKind::sum ? "0" : "1";
  return lines;
}

/// The lines, of the input and the output, as rows.
Rows rows_of(const Problem& p) {
  const Lines lines = lines_of(p);
  Rows rows{lines.space, Space{{lines.length}, {{lines.in_stride}, {lines.out_stride}}}, {operand(p.in[0], 0), operand(p.out[0], 1)}};
  drop_unit_dims(rows.inner);
  return rows;
}

constexpr int kValues = 32;  // per thread and round

bool wide(const Problem& p) {
  const Space all = make_space(p.in[0].shape, {p.in[0].strides, p.out[0].strides});
  return needs_wide({&all});
}

Vars line_vars(Kernel& k, const Problem& p, const Lines& lines, const std::vector<std::string>& coords) {
  return {{"A", lines.accumulator},
          {"op", lines.combine},
          {"one", lines.identity},
          {"n", k.value(lines.length)},
          {"is", k.value(lines.in_stride)},
          {"os", k.value(lines.out_stride)},
          {"in", pointer(k, operand(p.in[0], 0), false)},
          {"out", pointer(k, operand(p.out[0], 1), true)},
          {"io", offset(k, lines.space.strides[0], coords)},
          {"oo", offset(k, lines.space.strides[1], coords)},
          {"s", storage_ctype(p.out[0].dtype)}};
}

}  // namespace

std::pair<int64_t, int64_t> cumulate_extent(const Problem& problem) {
  const Lines lines = lines_of(problem);
  return {count_at_hints(lines.space.size, problem.hints), hint(lines.length, problem.hints)};
}

Kernel cumulate_line_kernel(const Problem& p, const Target& target) {
  const Lines lines = lines_of(p);
  Kernel k("cumulate_line", wide(p));
  k.threads = map_threads(count_at_hints(lines.space.size, p.hints), target);
  const auto coords = begin_map(k, lines.space.size);
  k.add(R"(  $A total = $one;
#pragma unroll 4
  for (idx r = 0; r < $n; ++r) {
    total = total $op tg_cvt<$A>(($in)[$io + r * $is]);
    ($out)[$oo + r * $os] = tg_cvt<$s>(total);
  }
)",
        line_vars(k, p, lines, coords));
  return k;
}

bool is_dense_cumulate(const Problem& p) {
  const Lines lines = lines_of(p);
  return lines.in_stride.is_const(1) && lines.out_stride.is_const(1);
}

RowPlan cumulate_group_plan(const Problem& p, const Target& target) {
  const auto [count, length] = cumulate_extent(p);
  RowPlan plan;
  plan.vec = row_vector(rows_of(p), 1, false);
  plan.keep = std::max(kValues / plan.vec, 1);
  plan.ty = 32;
  if (count < int64_t{32} * std::max(target.multiprocessors, 1))
    while (plan.ty < 256 && length > int64_t{plan.ty} * plan.vec) plan.ty *= 2;
  plan.tx = plan.ty > 32 ? 1 : count >= int64_t{16} * target.multiprocessors ? 4 : 1;
  plan.keep = static_cast<int>(std::clamp<int64_t>((length + int64_t{plan.ty} * plan.vec - 1) / (int64_t{plan.ty} * plan.vec), 1, plan.keep));
  return plan;
}

Kernel cumulate_group_kernel(const Problem& p, const RowPlan& plan) {
  const Rows rows = rows_of(p);
  const Lines lines = lines_of(p);
  Kernel k("cumulate_group", wide(p));
  RowWriter w(k, rows, plan);
  const int warps = plan.ty / 32;
  const Vars vars = {{"A", lines.accumulator},
                     {"op", lines.combine},
                     {"one", lines.identity},
                     {"n", w.steps()},
                     {"E", std::to_string(plan.keep)},
                     {"V", std::to_string(plan.vec)},
                     {"ty", std::to_string(plan.ty)},
                     {"warps", std::to_string(warps)},
                     {"s", storage_ctype(p.out[0].dtype)}};
  const char* each = "#pragma unroll\n  for (int e = 0; e < $E; ++e) {\n    const idx r = first + e * $ty + ry;\n    if (live && r < $n) {\n";
  w.begin();
  if (warps > 1) k.add("  __shared__ $A sums[$E][$warps];\n  const int warp = threadIdx.x >> 5;\n", vars);
  k.add("  const int lane = threadIdx.x & 31;\n  $A carry = $one;\n  for (idx first = 0; first < $n; first += $E * $ty) {\n", vars);
  k.body += declare_text(rows.ops[0], w.mode(0), plan.vec, "a", "[" + std::to_string(plan.keep) + "]");
  k.add("    $A v[$E][$V], before[$E];\n", vars);
  k.add(each, vars);
  w.coordinates();
  k.body += w.load_into(0, "a[e]");
  k.add("    }\n  }\n");
  k.add(R"(#pragma unroll
  for (int e = 0; e < $E; ++e) {
    const bool inside = live && first + e * $ty + ry < $n;
#pragma unroll
    for (int j = 0; j < $V; ++j) v[e][j] = inside ? tg_cvt<$A>($a) : ($A)$one;
#pragma unroll
    for (int j = 1; j < $V; ++j) v[e][j] = v[e][j - 1] $op v[e][j];
    $A sum = v[e][$V - 1];
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      const $A lower = tg_shfl_up(sum, d);
      if (lane >= d) sum = lower $op sum;
    }
    before[e] = tg_shfl_up(sum, 1);
    if (lane == 0) before[e] = $one;
)",
        {vars[0], vars[1], vars[2], vars[3], vars[4], vars[5], vars[6], {"a", element("a[e]", w.mode(0))}});
  if (warps > 1)
    k.add(R"(    if (lane == 31) sums[e][warp] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int e = 0; e < $E; ++e) {
    $A total = carry;
#pragma unroll
    for (int w = 0; w < $warps; ++w) {
      if (w == warp) before[e] = total $op before[e];
      total = total $op sums[e][w];
    }
    carry = total;
  }
  __syncthreads();
)",
          vars);
  else
    k.add("    before[e] = carry $op before[e];\n    carry = carry $op tg_shfl(sum, 31);\n  }\n", vars);
  k.add(each, vars);
  w.coordinates();
  k.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) y[j] = tg_cvt<$s>(before[e] $op v[e][j]);\n", vars);
  k.body += w.store(1, "y");
  k.add("    }\n  }\n  }\n");
  return k;
}

}  // namespace tuyere::codegen
