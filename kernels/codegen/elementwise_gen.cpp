// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/elementwise.h"

#include <algorithm>

#include "common/error.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

const std::vector<Dim>& strides_of(const Elementwise& e, bool output, int k) { return e.space.strides[output ? e.in.size() + k : k]; }

/// Whether V consecutive elements of the access lie in one aligned piece of memory.
bool vector_ok(const Elementwise& e, bool output, int k, int vec) {
  const Access& access = output ? e.out[k] : e.in[k];
  const auto& strides = strides_of(e, output, k);
  if (strides.empty() || !strides.back().is_const(1)) return false;
  const int size = size_of(access.op.dtype);
  if (access.op.alignment % std::min(16, size * vec) != 0) return false;
  for (size_t d = 0; d + 1 < strides.size(); ++d)
    if (!divisible(strides[d], vec)) return false;
  return std::all_of(access.indirect.begin(), access.indirect.end(), [&](const Indirect& i) { return divisible(i.stride, vec); });
}

Mode mode_of(const Elementwise& e, bool output, int k, int vec) {
  if (vec > 1 && vector_ok(e, output, k, vec)) return Mode::vector;
  const auto& strides = strides_of(e, output, k);
  if (!output && (strides.empty() || strides.back().is_const(0))) return Mode::broadcast;
  return Mode::strided;
}

/// Indices must not change inside a vector.
bool indirect_ok(const Elementwise& e) {
  auto ok = [&](const Access& a) {
    return std::all_of(a.indirect.begin(), a.indirect.end(),
                       [&](const Indirect& i) { return e.space.strides[i.index].empty() || e.space.strides[i.index].back().is_const(0); });
  };
  return std::all_of(e.in.begin(), e.in.end(), ok) && std::all_of(e.out.begin(), e.out.end(), ok);
}

bool has_tail(const Elementwise& e, int vec) { return vec > 1 && !divisible(e.space.size.back(), vec); }

std::vector<Dim> chunked_sizes(const Elementwise& e, int vec) {
  std::vector<Dim> size = e.space.size;
  if (vec > 1) size.back() = ceildiv(size.back(), vec);
  return size;
}

/// Writes the statements of one body.
class Writer {
 public:
  Writer(Kernel& kernel, const Elementwise& e, const ElementwiseShape& shape) : kernel_(kernel), e_(e), shape_(shape), tail_(has_tail(e, shape.vec)) {}

  void write(const std::string& block) {
    const auto sizes = chunked_sizes(e_, shape_.vec);
    const Vars vars = {{"total", kernel_.value(numel(sizes))},
                       {"block", block},
                       {"span", std::to_string(shape_.unroll * shape_.threads)},
                       {"U", std::to_string(shape_.unroll)},
                       {"T", std::to_string(shape_.threads)}};
    std::string code = fill("  {\n    const idx total = $total, first = (idx)($block) * $span + threadIdx.x;\n", vars);
    for (int k = 0; k < e_.values(); ++k) code += declaration(k);
    code += fill("#pragma unroll\n    for (int u = 0; u < $U; ++u) {\n    const idx i = first + u * $T;\n    if (i < total) {\n", vars);
    code += coordinates(sizes);
    code += indices(e_.in, e_.values());
    for (int k = 0; k < e_.values(); ++k) code += load(k);
    code += fill("    }\n    }\n#pragma unroll\n    for (int u = 0; u < $U; ++u) {\n    const idx i = first + u * $T;\n    if (i < total) {\n", vars);
    code += coordinates(sizes);
    code += indices(e_.out, static_cast<int>(e_.out.size()));
    code += compute();
    for (size_t k = 0; k < e_.out.size(); ++k) code += store(static_cast<int>(k));
    kernel_.body += code + "    }\n    }\n  }\n";
  }

 private:
  std::string declaration(int k) {
    return fill("    $s a$k[$U][$n];\n",
                {{"s", storage_ctype(e_.in[k].op.dtype)}, {"k", std::to_string(k)}, {"U", std::to_string(shape_.unroll)}, {"n", std::to_string(width(k))}});
  }
  int width(int k) const { return mode_of(e_, false, k, shape_.vec) == Mode::broadcast ? 1 : shape_.vec; }

  std::string coordinates(const std::vector<Dim>& sizes) {
    std::string code;
    coords_ = split(kernel_, code, "i", sizes, "c");
    if (shape_.vec > 1) {
      const std::string v = std::to_string(shape_.vec);
      code += "    const idx cv = " + coords_.back() + " * " + v + ";\n";
      coords_.back() = "cv";
      if (tail_) code += "    const int left = (int)tg_lesser((idx)" + v + ", (idx)(" + kernel_.value(e_.space.size.back()) + " - cv));\n";
    }
    return code;
  }

  /// Loads the index values that the first `count` accesses of `list` use.
  std::string indices(const std::vector<Access>& list, int count) {
    std::string code;
    std::vector<bool> done(e_.in.size(), false);
    for (int k = 0; k < count; ++k)
      for (const Indirect& i : list[k].indirect) {
        if (done[i.index]) continue;
        done[i.index] = true;
        code += fill("    idx x$i = (idx)$p[$o]; if (x$i < 0) x$i += (idx)$n;\n", {{"i", std::to_string(i.index)},
                                                                                   {"p", pointer(kernel_, e_.in[i.index].op, false)},
                                                                                   {"o", offset(kernel_, e_.space.strides[i.index], coords_)},
                                                                                   {"n", kernel_.value(i.size)}});
      }
    return code;
  }

  std::string address(bool output, int k) {
    const Access& access = output ? e_.out[k] : e_.in[k];
    std::string at = offset(kernel_, strides_of(e_, output, k), coords_);
    for (const Indirect& i : access.indirect) at += " + x" + std::to_string(i.index) + " * (idx)" + kernel_.value(i.stride);
    return pointer(kernel_, access.op, output) + " + " + at;
  }

  Vars access_vars(bool output, int k) {
    const auto& strides = strides_of(e_, output, k);
    return {{"k", std::to_string(k)},
            {"V", std::to_string(shape_.vec)},
            {"at", address(output, k)},
            {"stride", strides.empty() ? "0" : kernel_.value(strides.back())},
            {"last", tail_ ? "tg_lesser(j, left - 1)" : "j"}};
  }

  std::string load(int k) {
    const Mode mode = mode_of(e_, false, k, shape_.vec);
    const Vars vars = access_vars(false, k);
    if (mode == Mode::broadcast) return fill("    a$k[u][0] = *($at);\n", vars);
    const std::string single = fill("{\n#pragma unroll\n    for (int j = 0; j < $V; ++j) a$k[u][j] = ($at)[(idx)$last * $stride]; }\n", vars);
    if (mode == Mode::strided) return "    " + single;
    const std::string wide = fill("tg_load<$V>(a$k[u], $at);\n", vars);
    return tail_ ? "    if (left == " + std::to_string(shape_.vec) + ") " + wide + "    else " + single : "    " + wide;
  }

  std::string compute() {
    std::string code;
    for (size_t k = 0; k < e_.out.size(); ++k)
      code +=
          fill("    $s r$k[$V];\n", {{"s", storage_ctype(e_.out[k].op.dtype)}, {"k", std::to_string(static_cast<int>(k))}, {"V", std::to_string(shape_.vec)}});
    code += "#pragma unroll\n    for (int j = 0; j < " + std::to_string(shape_.vec) + "; ++j) {\n";
    auto element = [&](int k) { return "a" + std::to_string(k) + "[u][" + (width(k) == 1 ? "0" : "j") + "]"; };
    if (e_.program.empty()) {
      code += fill("    r0[j] = tg_copy<$s>($a);\n", {{"s", storage_ctype(e_.out[0].op.dtype)}, {"a", element(0)}});
    } else {
      std::vector<std::string> inputs;
      for (int k = 0; k < e_.values(); ++k) inputs.push_back("tg_cvt<" + storage_ctype(e_.program.inputs[k]) + ">(" + element(k) + ")");
      const auto results = emit_cuda(e_.program, inputs, "t", code);
      for (size_t k = 0; k < results.size(); ++k)
        code +=
            fill("    r$k[j] = tg_cvt<$s>($r);\n", {{"k", std::to_string(static_cast<int>(k))}, {"s", storage_ctype(e_.out[k].op.dtype)}, {"r", results[k]}});
    }
    return code + "    }\n";
  }

  std::string store(int k) {
    const Vars vars = access_vars(true, k);
    const std::string single = fill("{\n#pragma unroll\n    for (int j = 0; j < $V; ++j) ", vars) + (tail_ ? "if (j < left) " : "") +
                               fill("($at)[(idx)j * $stride] = r$k[j]; }\n", vars);
    if (mode_of(e_, true, k, shape_.vec) != Mode::vector) return "    " + single;
    const std::string wide = fill("tg_store<$V>($at, r$k);\n", vars);
    return tail_ ? "    if (left == " + std::to_string(shape_.vec) + ") " + wide + "    else " + single : "    " + wide;
  }

  Kernel& kernel_;
  const Elementwise& e_;
  const ElementwiseShape& shape_;
  bool tail_;
  std::vector<std::string> coords_;
};

}  // namespace

int widest_vector(const Elementwise& e) {
  if (e.space.rank() == 0 || !indirect_ok(e)) return 1;
  int smallest = 16, largest = 1;
  for (const auto* list : {&e.in, &e.out})
    for (const Access& a : *list) {
      smallest = std::min(smallest, size_of(a.op.dtype));
      largest = std::max(largest, size_of(a.op.dtype));
    }
  for (int vec = std::min(16 / smallest, std::max(1, 32 / largest)); vec > 1; vec /= 2) {
    if (e.space.rank() > 1 && !divisible(e.space.size.back(), vec)) continue;
    bool ok = true;
    for (size_t k = 0; k < e.out.size(); ++k) ok = ok && vector_ok(e, true, static_cast<int>(k), vec);
    bool any = e.values() == 0 || e.in.empty();
    for (int k = 0; k < std::min(e.values(), static_cast<int>(e.in.size())); ++k) any = any || mode_of(e, false, k, vec) != Mode::strided;
    if (ok && any) return vec;
  }
  return 1;
}

ElementwiseShape default_shape(const Elementwise& e, const Target& target, const Symbols& hints) {
  ElementwiseShape shape;
  shape.vec = widest_vector(e);
  int bytes = 0;
  for (int k = 0; k < std::min(e.values(), static_cast<int>(e.in.size())); ++k)
    if (mode_of(e, false, k, shape.vec) != Mode::broadcast) bytes += size_of(e.in[k].op.dtype) * shape.vec;
  shape.unroll = std::clamp(64 / std::max(bytes, 8), 1, 4);
  if (shape.unroll == 3) shape.unroll = 2;
  int64_t chunks = 1;
  for (const Dim& d : chunked_sizes(e, shape.vec)) chunks *= std::max<int64_t>(hint(d, hints), 1);
  const int64_t wanted = 4 * static_cast<int64_t>(std::max(target.multiprocessors, 1));
  while (shape.unroll > 1 && chunks / (shape.unroll * shape.threads) < wanted) shape.unroll /= 2;
  while (shape.threads > 64 && chunks / (shape.unroll * shape.threads) < wanted / 4) shape.threads /= 2;
  return shape;
}

ElementwiseShape parse_shape_config(const Config& config, const ElementwiseShape& fallback) {
  return {config_int(config, "vec", fallback.vec), config_int(config, "unroll", fallback.unroll), config_int(config, "threads", fallback.threads)};
}

std::string str(const ElementwiseShape& shape) {
  return "vec=" + std::to_string(shape.vec) + " unroll=" + std::to_string(shape.unroll) + " threads=" + std::to_string(shape.threads);
}

Dim elementwise_blocks(const Elementwise& e, const ElementwiseShape& shape) {
  return ceildiv(numel(chunked_sizes(e, shape.vec)), shape.unroll * shape.threads);
}

void emit_elementwise(Kernel& kernel, const Elementwise& e, const ElementwiseShape& shape, const std::string& block) { Writer(kernel, e, shape).write(block); }

bool needs_wide(const Elementwise& e) {
  if (needs_wide({&e.space})) return true;
  for (const auto* list : {&e.in, &e.out})
    for (const Access& a : *list)
      for (const Indirect& i : a.indirect)
        if (!i.stride.is_const() || !i.size.is_const() || static_cast<double>(i.stride.value()) * static_cast<double>(i.size.value()) > 5e8) return true;
  return false;
}

Kernel elementwise_kernel(const std::string& name, const Elementwise& e, const ElementwiseShape& shape) {
  Kernel kernel(name, needs_wide(e));
  kernel.threads = shape.threads;
  kernel.grid[0] = elementwise_blocks(e, shape);
  emit_elementwise(kernel, e, shape, "blockIdx.x");
  return kernel;
}

Elementwise pointwise_elementwise(const Problem& problem) {
  const auto& op = std::get<Pointwise>(problem.op);
  Elementwise e;
  if (!(op.program.is_identity() && problem.in.size() == 1 && problem.out.size() == 1)) e.program = op.program;
  std::vector<std::vector<Dim>> strides;
  for (size_t k = 0; k < problem.in.size(); ++k) {
    e.in.push_back({operand(problem.in[k], static_cast<int>(k)), {}});
    strides.push_back(broadcast_strides(problem.in[k], problem.out[0].shape));
  }
  for (size_t k = 0; k < problem.out.size(); ++k) {
    e.out.push_back({operand(problem.out[k], static_cast<int>(problem.in.size() + k)), {}});
    strides.push_back(problem.out[k].strides);
  }
  e.space = make_space(problem.out[0].shape, strides);
  normalize(e.space, static_cast<int>(e.in.size()), problem.hints);
  return e;
}

Elementwise copy_elementwise(const TensorDesc& in, const Operand& in_op, const TensorDesc& out, const Operand& out_op, const Symbols& hints) {
  Elementwise e;
  e.in.push_back({in_op, {}});
  e.out.push_back({out_op, {}});
  e.space = make_space(out.shape, {broadcast_strides(in, out.shape), out.strides});
  normalize(e.space, 1, hints);
  return e;
}

}  // namespace tuyere::codegen
