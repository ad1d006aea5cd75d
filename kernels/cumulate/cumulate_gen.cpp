// SPDX-License-Identifier: Apache-2.0
#include "kernels/cumulate/cumulate_gen.h"

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

Kernel cumulate_block_kernel(const Problem& p) {
  const Lines lines = lines_of(p);
  Kernel k("cumulate_block", wide(p));
  k.threads = 256;
  k.grid[0] = numel(lines.space.size);
  const auto coords = split(k, k.body, "(idx)blockIdx.x", lines.space.size, "c");
  k.add(R"(  __shared__ $A warps[8];
  $A carry = $one;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (idx base = 0; base < $n; base += 1024) {
    const idx r = base + threadIdx.x * 4;
    $A v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = r + j < $n ? tg_cvt<$A>(($in)[$io + (r + j) * $is]) : ($A)$one;
#pragma unroll
    for (int j = 1; j < 4; ++j) v[j] = v[j - 1] $op v[j];
    $A sum = v[3];
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
      const $A lower = tg_shfl_up(sum, d);
      if (lane >= d) sum = lower $op sum;
    }
    if (lane == 31) warps[warp] = sum;
    $A before = tg_shfl_up(sum, 1);
    if (lane == 0) before = $one;
    __syncthreads();
    $A total = carry;
#pragma unroll
    for (int w = 0; w < 8; ++w) {
      if (w == warp) before = total $op before;
      total = total $op warps[w];
    }
    carry = total;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (r + j < $n) ($out)[$oo + (r + j) * $os] = tg_cvt<$s>(before $op v[j]);
  }
)",
        line_vars(k, p, lines, coords));
  return k;
}

}  // namespace tuyere::codegen
