// SPDX-License-Identifier: Apache-2.0
#include "kernels/layout/layout_gen.h"

#include <algorithm>
#include <cmath>

#include "common/error.h"
#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

Elementwise strided_copy(const Shape& shape, const Operand& in, std::vector<Dim> in_strides, const Operand& out, std::vector<Dim> out_strides,
                         const Symbols& hints) {
  Elementwise e;
  e.in.push_back({in, {}});
  e.out.push_back({out, {}});
  e.space = make_space(shape, {std::move(in_strides), std::move(out_strides)});
  normalize(e.space, 1, hints);
  return e;
}

std::optional<Elementwise> reshape_elementwise(const Problem& p) {
  const TensorDesc &in = p.in[0], &out = p.out[0];
  if (auto strides = reshaped_strides(in, out.shape)) return strided_copy(out.shape, operand(in, 0), *strides, operand(out, 1), out.strides, p.hints);
  if (auto strides = reshaped_strides(out, in.shape)) return strided_copy(in.shape, operand(in, 0), in.strides, operand(out, 1), *strides, p.hints);
  return std::nullopt;
}

Elementwise flip_elementwise(const Problem& p, const Flip& flip) {
  const TensorDesc& in = p.in[0];
  std::vector<Dim> strides = in.strides;
  Dim start = 0;
  for (int64_t axis : flip.axes) {
    const size_t d = static_cast<size_t>(axis < 0 ? axis + in.rank() : axis);
    start += (in.shape[d] - 1) * in.strides[d];
    strides[d] = Dim(0) - in.strides[d];
  }
  return strided_copy(in.shape, operand(in, 0, start), strides, operand(p.out[0], 1), p.out[0].strides, p.hints);
}

/// Declares the input coordinate of padded dim d from the output's; for constant padding also clears `inside`.
std::string padded_coordinate(const Pad& pad, const std::string& name, const std::string& coord, const std::string& before, const std::string& n) {
  const Vars vars = {{"y", name}, {"c", coord}, {"b", before}, {"n", n}};
  std::string code = fill("    idx $y = $c - (idx)$b;\n", vars);
  switch (pad.mode) {
    case PadMode::constant:
      return code + fill("    inside = inside && $y >= 0 && $y < (idx)$n;\n", vars);
    case PadMode::reflect:
      return code + fill("    if ($y < 0) $y = -$y;\n    if ($y >= (idx)$n) $y = 2 * (idx)$n - 2 - $y;\n", vars);
    case PadMode::replicate:
      return code + fill("    $y = tg_lesser(tg_greater($y, (idx)0), (idx)$n - 1);\n", vars);
    case PadMode::circular:
      return code + fill("    if ($y < 0) $y += (idx)$n;\n    if ($y >= (idx)$n) $y -= (idx)$n;\n", vars);
  }
  return code;
}

/// What one thread writes when the innermost dim is padded and so short (the channels of an image) that a vector holds whole rows of it.
struct ShortRows {
  int row = 0, rows = 1;  // elements of a row, 0: the innermost dim is longer or of another kind; rows side by side, which the dim before it counts
  int vec() const { return row * rows; }
};

/// `space` has the strides of the output, those of the input, and the numbers of the logical dims.
ShortRows short_rows(const Space& space, const Pad& pad, const TensorDesc& in, const TensorDesc& out, const Operand& out_op) {
  const int last = space.rank() - 1;
  if (pad.mode != PadMode::constant || in.dtype != out.dtype || last < 0 || !space.size[last].is_const() || !space.strides[0][last].is_const(1)) return {};
  const auto padded = [&](int d) {
    const size_t dim = static_cast<size_t>(space.strides[2][d].value());
    return pad.before[dim] != 0 || pad.after[dim] != 0;
  };
  if (!padded(last) || !in.shape[static_cast<size_t>(space.strides[2][last].value())].is_const()) return {};
  const auto writes_vectors = [&](int dims, int64_t n) {
    const int64_t bytes = n * size_of(out.dtype);
    if ((n != 2 && n != 4 && n != 8) || bytes > 16 || out_op.alignment % bytes != 0) return false;
    return std::all_of(space.strides[0].begin(), space.strides[0].begin() + dims, [&](const Dim& stride) { return divisible(stride, static_cast<int>(n)); });
  };
  const int64_t n = space.size[last].value();
  if (!writes_vectors(last, n)) return {};
  const bool several = last > 0 && space.size[last - 1].is_const() && !padded(last - 1) && space.strides[0][last - 1].is_const(n) &&
                       writes_vectors(last - 1, n * space.size[last - 1].value());
  return {static_cast<int>(n), several ? static_cast<int>(space.size[last - 1].value()) : 1};
}

/// Statements that fill v[] with whole rows of the innermost dim, of which `inside` says whether their other coordinates are.
std::string load_rows(Kernel& kernel, const Pad& pad, const Space& space, const TensorDesc& in, const ShortRows& shape, const Vars& vars) {
  const size_t last = static_cast<size_t>(space.rank()) - 1, n = static_cast<size_t>(space.strides[2][last].value());
  std::string code = fill("    $s v[$V];\n    const $s* row = $in + $at;\n    const $s beyond = tg_cvt<$s>(($c)($value));\n", vars);
  for (int64_t j = 0; j < shape.vec(); ++j) {
    const int64_t from = j % shape.row - pad.before[n];
    const bool beyond = from < 0 || from >= in.shape[n].value();
    std::string at = "(idx)" + kernel.value(Dim(from)) + " * " + kernel.value(space.strides[1][last]);
    if (shape.rows > 1) at += " + (idx)" + std::to_string(j / shape.row) + " * " + kernel.value(space.strides[1][last - 1]);
    code += "    v[" + std::to_string(j) + "] = " + (beyond ? "beyond" : "inside ? row[" + at + "] : beyond") + ";\n";
  }
  return code;
}

}  // namespace

std::optional<std::vector<Dim>> reshaped_strides(const TensorDesc& desc, const Shape& shape) {
  std::vector<Dim> out(shape.size(), Dim(1));
  int view = static_cast<int>(shape.size()) - 1;
  Dim chunk_stride = 1, tensor_count = 1, view_count = 1;
  bool open = false;
  for (int d = desc.rank() - 1; d >= 0; --d) {
    if (desc.shape[d].is_const(1)) continue;
    if (!open) chunk_stride = desc.strides[d];
    open = true;
    tensor_count *= desc.shape[d];
    int next = d - 1;
    while (next >= 0 && desc.shape[next].is_const(1)) --next;
    if (next >= 0 && desc.strides[next] == chunk_stride * tensor_count) continue;
    while (view >= 0 && (shape[view].is_const(1) || !(view_count == tensor_count))) {
      out[view] = chunk_stride * view_count;
      view_count *= shape[view];
      --view;
    }
    if (!(view_count == tensor_count)) return std::nullopt;
    tensor_count = view_count = 1;
    open = false;
  }
  for (; view >= 0; --view)
    if (!shape[view].is_const(1)) return std::nullopt;
  return out;
}

bool is_view_or_flip(const Op& op) {
  return std::holds_alternative<Reshape>(op) || std::holds_alternative<Permute>(op) || std::holds_alternative<Expand>(op) ||
         std::holds_alternative<Slice>(op) || std::holds_alternative<Flip>(op);
}

std::optional<Elementwise> view_elementwise(const Problem& p) {
  const TensorDesc &in = p.in[0], &out = p.out[0];
  if (std::holds_alternative<Reshape>(p.op)) return reshape_elementwise(p);
  if (const auto* flip = std::get_if<Flip>(&p.op)) return flip_elementwise(p, *flip);
  if (const auto* permute = std::get_if<Permute>(&p.op)) {
    std::vector<Dim> strides;
    for (int64_t d : permute->perm) strides.push_back(in.strides[static_cast<size_t>(d < 0 ? d + in.rank() : d)]);
    return strided_copy(out.shape, operand(in, 0), strides, operand(out, 1), out.strides, p.hints);
  }
  if (const auto* slice = std::get_if<Slice>(&p.op)) {
    const size_t axis = static_cast<size_t>(slice->axis < 0 ? slice->axis + in.rank() : slice->axis);
    std::vector<Dim> strides = in.strides;
    strides[axis] = in.strides[axis] * slice->step;
    return strided_copy(out.shape, operand(in, 0, slice->start * in.strides[axis]), strides, operand(out, 1), out.strides, p.hints);
  }
  return copy_elementwise(in, operand(in, 0), out, operand(out, 1), p.hints);
}

Kernel reshape_kernel(const Problem& p, const Target& target) {
  const TensorDesc &in = p.in[0], &out = p.out[0];
  const Space from = make_space(in.shape, {in.strides}), to = make_space(out.shape, {out.strides});
  Kernel kernel("reshape", needs_wide({&from}) || needs_wide({&to}));
  kernel.threads = map_threads(count_at_hints(out.shape, p.hints), target);
  const auto coords = begin_map(kernel, out.shape);
  const auto source_coords = split(kernel, kernel.body, "i", in.shape, "d");
  kernel.add("    ($out)[$o] = tg_copy<$s>(($in)[$d]);\n", {{"out", pointer(kernel, operand(out, 1), true)},
                                                            {"in", pointer(kernel, operand(in, 0), false)},
                                                            {"s", storage_ctype(out.dtype)},
                                                            {"o", offset(kernel, out.strides, coords)},
                                                            {"d", offset(kernel, in.strides, source_coords)}});
  return kernel;
}

Generated concat_kernels(const Problem& p, const Target& target) {
  constexpr size_t kPerKernel = 24;
  const TensorDesc& out = p.out[0];
  const int64_t given = std::get<Concat>(p.op).axis;
  const size_t axis = static_cast<size_t>(given < 0 ? given + out.rank() : given);
  std::vector<Elementwise> parts;
  Dim at = 0;
  for (size_t k = 0; k < p.in.size(); ++k) {
    const TensorDesc& in = p.in[k];
    if (!std::any_of(in.shape.begin(), in.shape.end(), [](const Dim& d) { return d.is_const(0); }))
      parts.push_back(strided_copy(in.shape, operand(in, static_cast<int>(k)), in.strides, operand(out, static_cast<int>(p.in.size()), at * out.strides[axis]),
                                   out.strides, p.hints));
    if (in.rank() == out.rank()) at += in.shape[axis];
  }
  Generated generated;
  for (size_t first = 0; first < parts.size(); first += kPerKernel) {
    const size_t last = std::min(first + kPerKernel, parts.size());
    const bool wide = std::any_of(parts.begin() + first, parts.begin() + last, [](const Elementwise& e) { return needs_wide(e); });
    Kernel kernel("concat" + std::to_string(first / kPerKernel), wide);
    kernel.grid[0] = 0;
    kernel.add("  idx block = blockIdx.x;\n");
    for (size_t k = first; k < last; ++k) {
      ElementwiseShape shape = default_shape(parts[k], target, p.hints);
      shape.threads = kernel.threads;
      const Dim blocks = elementwise_blocks(parts[k], shape);
      kernel.grid[0] += blocks;
      kernel.add("  if (block < (idx)$n) {\n", {{"n", kernel.value(blocks)}});
      emit_elementwise(kernel, parts[k], shape, "block");
      kernel.add("    return;\n  }\n  block -= (idx)$n;\n", {{"n", kernel.value(blocks)}});
    }
    generated.kernels.push_back(std::move(kernel));
  }
  return generated;
}

Kernel pad_kernel(const Problem& p, const Target& target) {
  const auto& pad = std::get<Pad>(p.op);
  const TensorDesc &in = p.in[0], &out = p.out[0];
  // The third row of strides carries the number of each logical dim through the sorting.
  std::vector<Dim> numbers;
  for (int d = 0; d < out.rank(); ++d) numbers.push_back(d);
  Space space = make_space(out.shape, {out.strides, in.strides, numbers});
  auto padded = [&](int d) {
    const size_t n = static_cast<size_t>(space.strides[2][d].value());
    return pad.before[n] != 0 || pad.after[n] != 0;
  };
  std::vector<int> kept;
  for (int d = 0; d < out.rank(); ++d)
    if (padded(d) || !out.shape[d].is_const(1)) kept.push_back(d);
  space = select(space, kept);
  sort_dims(space, 0, p.hints);
  const Operand in_op = operand(in, 0), out_op = operand(out, 1);
  const int last = space.rank() - 1;
  const ShortRows rows = short_rows(space, pad, in, out, out_op);
  const bool aligned = last >= 0 && !padded(last) && in.dtype == out.dtype;
  const int vec = rows.row ? rows.vec() : aligned ? widest_vector(space, {out_op, in_op}) : 1;
  Kernel kernel("pad", needs_wide({&space}));
  kernel.threads = map_threads(count_at_hints(out.shape, p.hints) / vec, target);
  std::vector<Dim> size = space.size;
  if (rows.rows > 1) {
    size.back() *= size[last - 1];
    size[last - 1] = 1;
  }
  const auto coords = begin_map(kernel, size, vec);
  auto in_coords = coords;
  kernel.add("    bool inside = true;\n");
  for (size_t d = 0; d < coords.size(); ++d) {
    const size_t n = static_cast<size_t>(space.strides[2][d].value());
    if (!padded(static_cast<int>(d))) continue;
    if (rows.row && static_cast<int>(d) == last) {
      in_coords[d] = "0";
      continue;
    }
    in_coords[d] = "y" + std::to_string(d);
    kernel.body += padded_coordinate(pad, in_coords[d], coords[d], kernel.value(pad.before[n]), kernel.value(in.shape[n]));
  }
  char value[64];
  std::snprintf(value, sizeof value, "%.17g", pad.value);
  const std::string literal = std::isinf(pad.value)   ? (pad.value > 0 ? "__uint_as_float(0x7f800000u)" : "__uint_as_float(0xff800000u)")
                              : std::isnan(pad.value) ? "__uint_as_float(0x7fffffffu)"
                                                      : value;
  const Vars vars = {{"s", storage_ctype(in.dtype)},
                     {"t", storage_ctype(out.dtype)},
                     {"V", std::to_string(vec)},
                     {"in", pointer(kernel, in_op, false)},
                     {"at", offset(kernel, space.strides[1], in_coords)},
                     {"c", compute_ctype(in.dtype)},
                     {"value", literal},
                     {"out", pointer(kernel, out_op, true)},
                     {"o", offset(kernel, space.strides[0], coords)}};
  kernel.body += rows.row ? load_rows(kernel, pad, space, in, rows, vars)
                          : fill(R"(    $s v[$V];
    if (inside) {
      tg_load<$V>(v, $in + $at);
    } else {
#pragma unroll
      for (int j = 0; j < $V; ++j) v[j] = tg_cvt<$s>(($c)($value));
    }
)",
                                 vars);
  kernel.add(R"(    $t r[$V];
#pragma unroll
    for (int j = 0; j < $V; ++j) r[j] = tg_copy<$t>(v[j]);
    tg_store<$V>($out + $o, r);
)",
             vars);
  return kernel;
}

}  // namespace tuyere::codegen
