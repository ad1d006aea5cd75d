// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"
#include "kernels/gather/gather_gen.h"

namespace tuyere::codegen {
namespace {

ScatterForm index_put_form(const Problem& p, const IndexPut& op) {
  const TensorDesc& out = p.out[0];
  const int count = static_cast<int>(op.axes.size()), first = static_cast<int>(op.axes[0] < 0 ? op.axes[0] + out.rank() : op.axes[0]);
  Shape entries;
  for (int k = 0; k < count; ++k) entries = broadcast(entries, p.in[2 + k].shape);
  const int n = static_cast<int>(entries.size());
  Shape shape(out.shape.begin(), out.shape.begin() + first);
  shape.insert(shape.end(), entries.begin(), entries.end());
  shape.insert(shape.end(), out.shape.begin() + first + count, out.shape.end());
  ScatterForm form;
  form.kind = op.accumulate ? ScatterKind::add : ScatterKind::set;
  form.values_position = 1;
  std::vector<std::vector<Dim>> strides{broadcast_strides(p.in[1], shape)};
  for (int k = 0; k < count; ++k) {
    std::vector<Dim> s(shape.size(), Dim(0));
    const auto own = broadcast_strides(p.in[2 + k], entries);
    std::copy(own.begin(), own.end(), s.begin() + first);
    strides.push_back(std::move(s));
    form.axes.push_back(first + k);
    form.index_positions.push_back(2 + k);
  }
  std::vector<Dim> target(shape.size(), Dim(0));
  for (int d = 0; d < out.rank(); ++d)
    if (d < first || d >= first + count) target[d < first ? d : d - count + n] = out.strides[d];
  strides.push_back(std::move(target));
  form.space = make_space(shape, strides);
  for (int d = first; d < first + n; ++d) form.indexed_dims.push_back(d);
  return form;
}

ScatterForm scatter_elements_form(const Problem& p, const ScatterElements& op) {
  const TensorDesc &out = p.out[0], &index = p.in[1];
  const int axis = static_cast<int>(op.axis < 0 ? op.axis + out.rank() : op.axis);
  ScatterForm form;
  form.kind = op.kind;
  form.values_position = 2;
  form.axes = {axis};
  form.index_positions = {1};
  const std::vector<Dim> values = p.in[2].rank() == index.rank() ? p.in[2].strides : broadcast_strides(p.in[2], index.shape);
  std::vector<Dim> target = out.strides;
  if (axis < out.rank()) target[axis] = 0;
  form.space = make_space(index.shape, {values, index.strides, target});
  if (axis < out.rank()) form.indexed_dims = {axis};
  return form;
}

/// The value that replaces `old` (expressions of the compute type).
std::string combined(ScatterKind kind, const std::string& old, const std::string& v) {
  switch (kind) {
    case ScatterKind::set:
      return v;
    case ScatterKind::add:
      return old + " + " + v;
    case ScatterKind::mul:
      return old + " * " + v;
    case ScatterKind::max:
      return "tg_max(" + old + ", " + v + ")";
    case ScatterKind::min:
      return "tg_min(" + old + ", " + v + ")";
  }
  return v;
}

/// Arithmetic on bools counts as arithmetic on ints.
std::string arithmetic_type(DType type) { return type == DType::Bool ? "int" : compute_ctype(type); }

std::vector<int> other_dims(const ScatterForm& form) {
  std::vector<int> out;
  for (int d = 0; d < form.space.rank(); ++d)
    if (std::find(form.indexed_dims.begin(), form.indexed_dims.end(), d) == form.indexed_dims.end()) out.push_back(d);
  return out;
}

std::vector<std::string> join(const ScatterForm& form, const std::vector<int>& lines, const std::vector<std::string>& line_coords,
                              const std::vector<std::string>& entry_coords) {
  std::vector<std::string> coords(form.space.rank(), "0");
  for (size_t i = 0; i < lines.size(); ++i) coords[lines[i]] = line_coords[i];
  for (size_t i = 0; i < form.indexed_dims.size(); ++i) coords[form.indexed_dims[i]] = entry_coords[i];
  return coords;
}

/// Declares x0.. (wrapped index values of the entry at `coords`).
std::string load_indices(Kernel& kernel, const Problem& p, const ScatterForm& form, const std::vector<std::string>& coords) {
  std::string code;
  for (size_t k = 0; k < form.index_positions.size(); ++k) {
    const TensorDesc& index = p.in[form.index_positions[k]];
    code += fill("      idx x$k = (idx)($p)[$o]; if (x$k < 0) x$k += (idx)$n;\n",
                 {{"k", std::to_string(k)},
                  {"p", pointer(kernel, operand(index, form.index_positions[k]), false)},
                  {"o", offset(kernel, form.space.strides[1 + k], coords)},
                  {"n", kernel.value(p.out[0].rank() > 0 ? p.out[0].shape[form.axes[k]] : Dim(1))}});
  }
  return code;
}

std::string target_offset(Kernel& kernel, const Problem& p, const ScatterForm& form, const std::vector<std::string>& coords) {
  std::string at = offset(kernel, form.space.strides.back(), coords);
  if (p.out[0].rank() == 0) return at;
  for (size_t k = 0; k < form.axes.size(); ++k) at += " + x" + std::to_string(k) + " * (idx)" + kernel.value(p.out[0].strides[form.axes[k]]);
  return at;
}

bool wide(const Problem& p, const ScatterForm& form) {
  const Space all = make_space(p.out[0].shape, {p.out[0].strides, p.in[0].strides});
  return needs_wide({&form.space}) || needs_wide({&all});
}

Vars value_vars(Kernel& kernel, const Problem& p, const ScatterForm& form) {
  const int out_position = static_cast<int>(p.in.size());
  return {{"out", pointer(kernel, operand(p.out[0], out_position), true)},
          {"values", pointer(kernel, operand(p.in[form.values_position], form.values_position), false)},
          {"s", storage_ctype(p.out[0].dtype)},
          {"c", arithmetic_type(p.out[0].dtype)}};
}

}  // namespace

ScatterForm scatter_form(const Problem& p) {
  if (const auto* put = std::get_if<IndexPut>(&p.op)) return index_put_form(p, *put);
  return scatter_elements_form(p, std::get<ScatterElements>(p.op));
}

Kernel scatter_copy_kernel(const Problem& p, const Target& target) {
  const Elementwise e = copy_elementwise(p.in[0], operand(p.in[0], 0), p.out[0], operand(p.out[0], static_cast<int>(p.in.size())), p.hints);
  return elementwise_kernel("scatter_copy", e, default_shape(e, target, p.hints));
}

Kernel scatter_direct_kernel(const Problem& p, const ScatterForm& form, const Target& target) {
  Elementwise e;
  const size_t indices = form.index_positions.size();
  std::vector<Indirect> indirect;
  for (size_t k = 0; k < indices; ++k)
    if (p.out[0].rank() > 0) indirect.push_back({static_cast<int>(k) + 1, p.out[0].shape[form.axes[k]], p.out[0].strides[form.axes[k]]});
  e.in.push_back({operand(p.in[form.values_position], form.values_position), {}});
  for (int position : form.index_positions) e.in.push_back({operand(p.in[position], position), {}});
  e.out.push_back({operand(p.out[0], static_cast<int>(p.in.size())), indirect});
  e.space = form.space;
  normalize(e.space, static_cast<int>(e.in.size()), p.hints);
  return elementwise_kernel("scatter_direct", e, default_shape(e, target, p.hints));
}

Kernel scatter_line_kernel(const Problem& p, const ScatterForm& form, const Target& target) {
  const std::vector<int> lines = other_dims(form);
  const Space line_space = select(form.space, lines), entry_space = select(form.space, form.indexed_dims);
  Kernel kernel("scatter_line", wide(p, form));
  kernel.threads = map_threads(count_at_hints(line_space.size, p.hints), target);
  const auto line_coords = begin_map(kernel, line_space.size);
  kernel.add("  for (idx e = 0; e < $n; ++e) {\n", {{"n", kernel.value(numel(entry_space.size))}});
  const auto coords = join(form, lines, line_coords, split(kernel, kernel.body, "e", entry_space.size, "e"));
  kernel.body += load_indices(kernel, p, form, coords);
  Vars vars = value_vars(kernel, p, form);
  vars.insert(vars.end(),
              {{"at", target_offset(kernel, p, form, coords)}, {"v", offset(kernel, form.space.strides[0], coords)}, {"new", combined(form.kind, "old", "v")}});
  kernel.add(R"(      $s* const at = $out + ($at);
      const $c v = ($c)tg_cvt<$c>(($values)[$v]);
      const $c old = tg_cvt<$c>(*at); (void)old;
      *at = tg_cvt<$s>(($c)($new));
  }
)",
             vars);
  return kernel;
}

Kernel scatter_owner_kernel(const Problem& p, const ScatterForm& form, const Target& target) {
  const TensorDesc& out = p.out[0];
  const std::vector<int> lines = other_dims(form);
  const Space entry_space = select(form.space, form.indexed_dims);
  Kernel kernel("scatter_owner", wide(p, form));
  kernel.threads = map_threads(count_at_hints(out.shape, p.hints), target);
  const auto out_coords = begin_map(kernel, out.shape);
  std::vector<std::string> line_coords;
  std::string covered = "true", hit = "true";
  for (int d = 0, next = 0; d < out.rank(); ++d) {
    const auto axis = std::find(form.axes.begin(), form.axes.end(), d);
    if (axis != form.axes.end()) {
      hit += " && x" + std::to_string(axis - form.axes.begin()) + " == " + out_coords[d];
      continue;
    }
    const Dim& extent = form.space.size[lines[next++]];
    line_coords.push_back(out_coords[d]);
    if (!(extent == out.shape[d])) covered += " && " + out_coords[d] + " < (idx)" + kernel.value(extent);
  }
  Vars vars = value_vars(kernel, p, form);
  vars.insert(vars.end(), {{"covered", covered},
                           {"n", kernel.value(numel(entry_space.size))},
                           {"in", pointer(kernel, operand(p.in[0], 0), false)},
                           {"x", offset(kernel, p.in[0].strides, out_coords)},
                           {"o", offset(kernel, out.strides, out_coords)}});
  const std::string acc = out.dtype == DType::F64 ? "double" : is_float(out.dtype) ? "float" : arithmetic_type(out.dtype);
  vars.push_back({"a", acc});
  kernel.add("  $a old = tg_cvt<$a>(($in)[$x]);\n  if ($covered)\n  for (idx e = 0; e < $n; ++e) {\n", vars);
  const auto coords = join(form, lines, line_coords, split(kernel, kernel.body, "e", entry_space.size, "e"));
  kernel.body += load_indices(kernel, p, form, coords);
  vars.insert(vars.end(), {{"hit", hit}, {"v", offset(kernel, form.space.strides[0], coords)}, {"new", combined(form.kind, "old", "v")}});
  kernel.add("      if ($hit) { const $a v = tg_cvt<$a>(($values)[$v]); old = ($a)($new); }\n  }\n  ($out)[$o] = tg_cvt<$s>(old);\n", vars);
  return kernel;
}

Kernel scatter_rows_kernel(const Problem& p, const ScatterForm& form) {
  constexpr int kColumns = 4;  // per thread
  const TensorDesc& out = p.out[0];
  const std::vector<int> lines = other_dims(form);
  const Space line_space = select(form.space, lines), entry_space = select(form.space, form.indexed_dims);
  Shape places;
  for (int axis : form.axes) places.push_back(out.shape[axis]);
  Kernel kernel("scatter_rows", wide(p, form));
  kernel.threads = 128;
  kernel.grid = {numel(places), ceildiv(numel(line_space.size), 128 * kColumns), 1};
  const std::string acc = out.dtype == DType::F64 ? "double" : is_float(out.dtype) ? "float" : arithmetic_type(out.dtype);
  Vars vars = value_vars(kernel, p, form);
  vars.insert(vars.end(), {{"a", acc},
                           {"C", std::to_string(kColumns)},
                           {"columns", kernel.value(numel(line_space.size))},
                           {"n", kernel.value(numel(entry_space.size))},
                           {"in", pointer(kernel, operand(p.in[0], 0), false)}});
  kernel.add("  constexpr int C = $C;\n  __shared__ unsigned named[32];\n  const int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;\n", vars);
  const auto at = split(kernel, kernel.body, "(idx)blockIdx.x", places, "at");
  std::string hit = "true", place = "(idx)0", from = "(idx)0";
  for (size_t k = 0; k < form.axes.size(); ++k) {
    hit += " && x" + std::to_string(k) + " == " + at[k];
    place += " + " + at[k] + " * (idx)" + kernel.value(out.strides[form.axes[k]]);
    from += " + " + at[k] + " * (idx)" + kernel.value(p.in[0].strides[form.axes[k]]);
  }
  // Where the block's columns lie in the source, the target and input 0.
  std::vector<Dim> in_strides;
  for (int d = 0; d < out.rank(); ++d)
    if (std::find(form.axes.begin(), form.axes.end(), d) == form.axes.end()) in_strides.push_back(p.in[0].strides[d]);
  kernel.add(R"(  $a old[C];
  idx of_values[C], of_out[C];
#pragma unroll
  for (int j = 0; j < C; ++j) {
    const idx column = ((idx)blockIdx.y * C + j) * 128 + tid;
    of_out[j] = -1;
    of_values[j] = 0;
    old[j] = 0;
    if (column >= $columns) continue;
)",
             vars);
  const auto column = split(kernel, kernel.body, "column", line_space.size, "c");
  vars.insert(vars.end(), {{"place", place},
                           {"line", offset(kernel, line_space.strides.back(), column)},
                           {"values_line", offset(kernel, line_space.strides[0], column)},
                           {"from", from},
                           {"x", offset(kernel, in_strides, column)}});
  kernel.add(R"(    of_out[j] = $place + $line;
    of_values[j] = $values_line;
    old[j] = tg_cvt<$a>(($in)[$from + $x]);
  }
  for (idx base = 0; base < $n; base += 1024) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const idx e = base + i * 128 + tid;
      bool hit = false;
      if (e < $n) {
)",
             vars);
  const auto coords = join(form, lines, std::vector<std::string>(lines.size(), "0"), split(kernel, kernel.body, "e", entry_space.size, "e"));
  kernel.body += load_indices(kernel, p, form, coords);
  vars.push_back({"hit", hit});
  kernel.add(R"(      hit = $hit;
      }
      const unsigned bits = __ballot_sync(0xffffffffu, hit);
      if (lane == 0) named[i * 4 + warp] = bits;
    }
    __syncthreads();
    for (int w = 0; w < 32; ++w)
      for (unsigned bits = named[w]; bits != 0; bits &= bits - 1) {
        const idx e = base + w * 32 + (31 - __clz((int)(bits & (0u - bits))));
)",
             vars);
  const auto entry = join(form, lines, std::vector<std::string>(lines.size(), "0"), split(kernel, kernel.body, "e", entry_space.size, "f"));
  vars.insert(vars.end(), {{"v", offset(kernel, form.space.strides[0], entry)}, {"new", combined(form.kind, "old[j]", "v")}});
  kernel.add(R"(#pragma unroll
        for (int j = 0; j < C; ++j)
          if (of_out[j] >= 0) {
            const $a v = tg_cvt<$a>(($values)[$v + of_values[j]]);
            old[j] = ($a)($new);
          }
      }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < C; ++j)
    if (of_out[j] >= 0) ($out)[of_out[j]] = tg_cvt<$s>(old[j]);
)",
             vars);
  return kernel;
}

}  // namespace tuyere::codegen
