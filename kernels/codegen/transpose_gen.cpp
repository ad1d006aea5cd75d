// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/transpose.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

bool vector_along(const Space& space, int tensor, const Operand& op, int dim, int vec) {
  const auto& strides = space.strides[tensor];
  if (!strides[dim].is_const(1) || op.alignment % std::min(16, size_of(op.dtype) * vec) != 0 || !divisible(space.size[dim], vec)) return false;
  for (int d = 0; d < space.rank(); ++d)
    if (d != dim && !divisible(strides[d], vec)) return false;
  return true;
}

class TileWriter {
 public:
  TileWriter(Kernel& kernel, const Elementwise& e, const TilePlan& plan) : kernel_(kernel), e_(e), plan_(plan) {}

  void write() {
    std::vector<Dim> sizes;
    for (int d = 0; d < e_.space.rank(); ++d)
      if (d != plan_.a && d != plan_.b) {
        sizes.push_back(e_.space.size[d]);
        outer_.push_back(d);
      }
    sizes.push_back(ceildiv(e_.space.size[plan_.b], plan_.tile));
    sizes.push_back(ceildiv(e_.space.size[plan_.a], plan_.tile));
    kernel_.grid[0] = numel(sizes);
    std::string code;
    const auto names = split(kernel_, code, "(idx)blockIdx.x", sizes, "g");
    coords_.assign(e_.space.rank(), "0");
    for (size_t i = 0; i < outer_.size(); ++i) coords_[outer_[i]] = names[i];
    code += fill("    const idx a0 = $ga * $tile, b0 = $gb * $tile;\n",
                 {{"ga", names.back()}, {"gb", names[names.size() - 2]}, {"tile", std::to_string(plan_.tile)}});
    for (size_t k = 0; k < plan_.tiled.size(); ++k)
      if (plan_.tiled[k]) code += load_tile(static_cast<int>(k));
    kernel_.body += code + "    __syncthreads();\n" + compute();
  }

 private:
  /// Position of tensor `t` at coordinates a, b of this tile.
  std::string at(size_t t, const std::string& a, const std::string& b) {
    std::vector<std::string> coords = coords_;
    coords[plan_.a] = a;
    coords[plan_.b] = b;
    return offset(kernel_, e_.space.strides[t], coords);
  }

  std::string load_tile(int k) {
    const int size = size_of(e_.in[k].op.dtype), pitch = plan_.tile + std::max(1, 4 / size);
    return fill(R"(    __shared__ $s tile$k[$tile * $pitch];
#pragma unroll
    for (int w = 0; w < $tile * $tile / ($V * 256); ++w) {
      const int at = w * 256 + threadIdx.x, bl = at % ($tile / $V) * $V, al = at / ($tile / $V);
      const idx a = a0 + al, b = b0 + bl;
      if (a < $na && b < $nb) {
        $s v[$V];
        tg_load<$V>(v, $p + $o);
#pragma unroll
        for (int j = 0; j < $V; ++j) tile$k[al * $pitch + bl + j] = v[j];
      }
    }
)",
                {{"s", storage_ctype(e_.in[k].op.dtype)},
                 {"k", std::to_string(k)},
                 {"tile", std::to_string(plan_.tile)},
                 {"pitch", std::to_string(pitch)},
                 {"V", std::to_string(plan_.vec_b)},
                 {"na", kernel_.value(e_.space.size[plan_.a])},
                 {"nb", kernel_.value(e_.space.size[plan_.b])},
                 {"p", pointer(kernel_, e_.in[k].op, false)},
                 {"o", at(k, "a", "b")}});
  }

  /// Declares v<k>[V] with V elements along a of input k.
  std::string read(int k) {
    const Operand& op = e_.in[k].op;
    const Vars vars = {{"s", storage_ctype(op.dtype)},
                       {"k", std::to_string(k)},
                       {"V", std::to_string(plan_.vec_a)},
                       {"pitch", std::to_string(plan_.tile + std::max(1, 4 / size_of(op.dtype)))},
                       {"p", pointer(kernel_, op, false)},
                       {"o", at(k, "a", "b")},
                       {"stride", kernel_.value(e_.space.strides[k][plan_.a])}};
    std::string code = fill("        $s v$k[$V];\n", vars);
    if (plan_.tiled[k]) return code + fill("#pragma unroll\n        for (int j = 0; j < $V; ++j) v$k[j] = tile$k[(al + j) * $pitch + bl];\n", vars);
    if (vector_along(e_.space, k, op, plan_.a, plan_.vec_a)) return code + fill("        tg_load<$V>(v$k, $p + $o);\n", vars);
    return code + fill("#pragma unroll\n        for (int j = 0; j < $V; ++j) v$k[j] = ($p + $o)[(idx)j * $stride];\n", vars);
  }

  std::string compute() {
    const int inputs = e_.values();
    std::string code = fill(R"(#pragma unroll 2
    for (int w = 0; w < $tile * $tile / ($V * 256); ++w) {
      const int at = w * 256 + threadIdx.x, al = at % ($tile / $V) * $V, bl = at / ($tile / $V);
      const idx a = a0 + al, b = b0 + bl;
      if (a < $na && b < $nb) {
)",
                            {{"tile", std::to_string(plan_.tile)},
                             {"V", std::to_string(plan_.vec_a)},
                             {"na", kernel_.value(e_.space.size[plan_.a])},
                             {"nb", kernel_.value(e_.space.size[plan_.b])}});
    for (int k = 0; k < inputs; ++k) code += read(k);
    for (size_t k = 0; k < e_.out.size(); ++k)
      code += fill("        $s r$k[$V];\n",
                   {{"s", storage_ctype(e_.out[k].op.dtype)}, {"k", std::to_string(static_cast<int>(k))}, {"V", std::to_string(plan_.vec_a)}});
    code += "#pragma unroll\n        for (int j = 0; j < " + std::to_string(plan_.vec_a) + "; ++j) {\n";
    if (e_.program.empty()) {
      code += "    r0[j] = tg_copy<" + storage_ctype(e_.out[0].op.dtype) + ">(v0[j]);\n";
    } else {
      std::vector<std::string> values;
      for (int k = 0; k < inputs; ++k) values.push_back("tg_cvt<" + storage_ctype(e_.program.inputs[k]) + ">(v" + std::to_string(k) + "[j])");
      const auto results = emit_cuda(e_.program, values, "t", code);
      for (size_t k = 0; k < results.size(); ++k)
        code +=
            fill("    r$k[j] = tg_cvt<$s>($r);\n", {{"k", std::to_string(static_cast<int>(k))}, {"s", storage_ctype(e_.out[k].op.dtype)}, {"r", results[k]}});
    }
    code += "        }\n";
    for (size_t k = 0; k < e_.out.size(); ++k) code += store(static_cast<int>(k));
    return code + "      }\n    }\n";
  }

  std::string store(int k) {
    const size_t t = e_.in.size() + k;
    const Vars vars = {{"k", std::to_string(k)},
                       {"V", std::to_string(plan_.vec_a)},
                       {"p", pointer(kernel_, e_.out[k].op, true)},
                       {"o", at(t, "a", "b")},
                       {"stride", kernel_.value(e_.space.strides[t][plan_.a])}};
    if (vector_along(e_.space, static_cast<int>(t), e_.out[k].op, plan_.a, plan_.vec_a)) return fill("        tg_store<$V>($p + $o, r$k);\n", vars);
    return fill("#pragma unroll\n        for (int j = 0; j < $V; ++j) ($p + $o)[(idx)j * $stride] = r$k[j];\n", vars);
  }

  Kernel& kernel_;
  const Elementwise& e_;
  const TilePlan& plan_;
  std::vector<int> outer_;
  std::vector<std::string> coords_;
};

}  // namespace

std::optional<TilePlan> tile_plan(const Elementwise& e, const Symbols& hints) {
  const Space& space = e.space;
  if (space.rank() < 2 || e.in.empty() || static_cast<int>(e.in.size()) != e.values()) return std::nullopt;
  TilePlan plan;
  plan.a = space.rank() - 1;
  plan.b = -1;
  int64_t best = 0;
  int largest = 1;
  for (size_t k = 0; k < e.in.size(); ++k) {
    largest = std::max(largest, size_of(e.in[k].op.dtype));
    if (space.strides[k][plan.a].is_const(1) || space.strides[k][plan.a].is_const(0)) continue;
    for (int d = 0; d < plan.a; ++d)
      if (space.strides[k][d].is_const(1) && hint(space.size[d], hints) >= 4 && size_of(e.in[k].op.dtype) > best) {
        plan.b = d;
        best = size_of(e.in[k].op.dtype);
      }
  }
  if (plan.b < 0 || hint(space.size[plan.a], hints) < 4) return std::nullopt;
  int bytes = 0, smallest = 16;
  for (size_t k = 0; k < e.in.size(); ++k) {
    plan.tiled.push_back(space.strides[k][plan.b].is_const(1) && !space.strides[k][plan.a].is_const(1) && !space.strides[k][plan.a].is_const(0));
    if (!plan.tiled.back()) continue;
    bytes += size_of(e.in[k].op.dtype);
    smallest = std::min(smallest, size_of(e.in[k].op.dtype));
  }
  plan.tile = largest <= 2 && 64 * 66 * bytes <= 40 * 1024 ? 64 : 32;
  if (plan.tile == 32 && 32 * 36 * bytes > 46 * 1024) return std::nullopt;
  auto fits = [&](int vec, int dim, bool outputs) {
    for (size_t k = 0; k < (outputs ? e.out.size() : e.in.size()); ++k) {
      if (!outputs && !plan.tiled[k]) continue;
      if (!vector_along(space, static_cast<int>(outputs ? e.in.size() + k : k), outputs ? e.out[k].op : e.in[k].op, dim, vec)) return false;
    }
    return true;
  };
  const int widest = std::min(16 / smallest, plan.tile * plan.tile / 256);
  for (plan.vec_b = widest; plan.vec_b > 1 && !fits(plan.vec_b, plan.b, false);) plan.vec_b /= 2;
  for (plan.vec_a = widest; plan.vec_a > 1 && !fits(plan.vec_a, plan.a, true);) plan.vec_a /= 2;
  return plan;
}

Kernel transpose_kernel(const std::string& name, const Elementwise& e, const TilePlan& plan) {
  Kernel kernel(name, needs_wide(e));
  TileWriter(kernel, e, plan).write();
  return kernel;
}

}  // namespace tuyere::codegen
