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

const char* kPacked = R"(
template <class S, int P> union tgt_word { S s[P]; unsigned w; TGF_U tgt_word() {} };
)";

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
    const Dim along_b = ceildiv(e_.space.size[plan_.b], plan_.tile), along_a = ceildiv(e_.space.size[plan_.a], plan_.tile);
    sizes.push_back(along_b * along_a);
    kernel_.grid[0] = numel(sizes);
    kernel_.threads = plan_.threads;
    if (plan_.packed) {
      kernel_.min_blocks = std::max(1024 / plan_.threads, 1);
      kernel_.define(kPacked);
    }
    std::string code;
    const auto names = split(kernel_, code, "(idx)blockIdx.x", sizes, "g");
    coords_.assign(e_.space.rank(), "0");
    for (size_t i = 0; i < outer_.size(); ++i) coords_[outer_[i]] = names[i];
    code += tile_origin(names.back(), along_a, along_b);
    for (size_t k = 0; k < plan_.tiled.size(); ++k)
      if (plan_.tiled[k]) code += plan_.packed ? load_packed(static_cast<int>(k)) : load_tile(static_cast<int>(k));
    kernel_.body += code + "    __syncthreads();\n" + compute();
  }

 private:
  std::string tile_origin(const std::string& tile, const Dim& along_a, const Dim& along_b) {
    const Vars vars = {{"g", tile},
                       {"na", kernel_.value(along_a)},
                       {"nb", kernel_.value(along_b)},
                       {"band", std::to_string(plan_.band)},
                       {"tile", std::to_string(plan_.tile)}};
    if (plan_.band == 0) return fill("    const idx gb = tg_quot($g, (idx)$na), a0 = ($g - gb * $na) * $tile, b0 = gb * $tile;\n", vars);
    return fill(R"(    const idx band = tg_quot($g, (idx)$nb * $band), rest = $g - band * ((idx)$nb * $band);
    const idx width = tg_lesser((idx)$band, (idx)$na - band * $band), gb = tg_quot(rest, width);
    const idx a0 = (band * $band + rest - gb * width) * $tile, b0 = gb * $tile;
)",
                vars);
  }

  int element_size() const {
    for (size_t k = 0; k < plan_.tiled.size(); ++k)
      if (plan_.tiled[k]) return size_of(e_.in[k].op.dtype);
    return 0;
  }
  int per_word() const { return 4 / element_size(); }

  /// Eight threads read a line, and a thread the rows whose elements are one word. Word (b, a) lies where neither the eight lines of a store nor the eight
  /// pieces of a load share a bank.
  std::string load_packed(int k) {
    const int words = plan_.tile / per_word();
    return fill(R"(    __shared__ __align__(16) unsigned tile$k[$tile * $words];
    {
    $s v[$N][$P][$V];
#pragma unroll
    for (int w = 0; w < $N; ++w) {
      const int at = w * $T + threadIdx.x;
      const idx a = a0 + at / 8 % $words * $P, b = b0 + (at % 8 + at / (8 * $words) * 8) * $V;
      if (a < $na && b < $nb)
#pragma unroll
        for (int p = 0; p < $P; ++p) tg_load<$V>(v[w][p], $p + $o);
    }
#pragma unroll
    for (int w = 0; w < $N; ++w) {
      const int at = w * $T + threadIdx.x, al = at / 8 % $words, line = at % 8 + at / (8 * $words) * 8;
#pragma unroll
      for (int j = 0; j < $V; ++j) {
        tgt_word<$s, $P> word;
#pragma unroll
        for (int p = 0; p < $P; ++p) word.s[p] = v[w][p][j];
        tile$k[(line * $V + j) * $words + ((al / 4 ^ line % 8) * 4 + al % 4)] = word.w;
      }
    }
    }
)",
                {{"s", storage_ctype(e_.in[k].op.dtype)},
                 {"k", std::to_string(k)},
                 {"tile", std::to_string(plan_.tile)},
                 {"words", std::to_string(words)},
                 {"N", std::to_string(plan_.tile / plan_.vec_b * words / plan_.threads)},
                 {"P", std::to_string(per_word())},
                 {"T", std::to_string(plan_.threads)},
                 {"V", std::to_string(plan_.vec_b)},
                 {"na", kernel_.value(e_.space.size[plan_.a])},
                 {"nb", kernel_.value(e_.space.size[plan_.b])},
                 {"p", pointer(kernel_, e_.in[k].op, false)},
                 {"o", at(k, "(a + p)", "b")}});
  }

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
    for (int w = 0; w < $tile * $tile / ($V * $T); ++w) {
      const int at = w * $T + threadIdx.x, bl = at % ($tile / $V) * $V, al = at / ($tile / $V);
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
                 {"T", std::to_string(plan_.threads)},
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
    if (plan_.tiled[k] && plan_.packed)
      return code + fill("        tg_load<$V>(v$k, (const $s*)(tile$k + bl * ($tile / $P) + (al / $V ^ bl / $V % 8) * 4));\n",
                         {vars[0], vars[1], vars[2], {"tile", std::to_string(plan_.tile)}, {"P", std::to_string(per_word())}});
    if (plan_.tiled[k]) return code + fill("#pragma unroll\n        for (int j = 0; j < $V; ++j) v$k[j] = tile$k[(al + j) * $pitch + bl];\n", vars);
    if (vector_along(e_.space, k, op, plan_.a, plan_.vec_a)) return code + fill("        tg_load<$V>(v$k, $p + $o);\n", vars);
    return code + fill("#pragma unroll\n        for (int j = 0; j < $V; ++j) v$k[j] = ($p + $o)[(idx)j * $stride];\n", vars);
  }

  std::string compute() {
    const int inputs = e_.values();
    std::string code = fill(R"(#pragma unroll 2
    for (int w = 0; w < $tile * $tile / ($V * $T); ++w) {
      const int at = w * $T + threadIdx.x, al = at % ($tile / $V) * $V, bl = at / ($tile / $V);
      const idx a = a0 + al, b = b0 + bl;
      if (a < $na && b < $nb) {
)",
                            {{"tile", std::to_string(plan_.tile)},
                             {"T", std::to_string(plan_.threads)},
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

namespace {

std::vector<TilePlan> tile_plans(const Elementwise& e, const Symbols& hints) {
  constexpr int kSharedBytes = 48 << 10;
  struct Shape {
    int tile, threads, band;
  };
  constexpr Shape kShapes[] = {{64, 256, 0}, {64, 256, 8}, {64, 128, 8}, {128, 256, 4}, {128, 512, 0}};
  const auto first = tile_plan(e, hints);
  if (!first) return {};
  std::vector<TilePlan> plans{*first};
  TilePlan banded = *first;
  banded.band = 8;
  plans.push_back(banded);
  int size = 0, tensors = 0;
  bool packs = true;
  for (size_t k = 0; k < first->tiled.size(); ++k) {
    if (!first->tiled[k]) continue;
    const int mine = size_of(e.in[k].op.dtype);
    packs = packs && (mine == 2 || mine == 4) && (size == 0 || size == mine);
    size = mine;
    ++tensors;
  }
  if (!packs || first->vec_a * size != 16 || first->vec_b * size != 16) return plans;
  for (const Shape& shape : kShapes) {
    TilePlan plan = *first;
    plan.tile = shape.tile;
    plan.threads = shape.threads;
    plan.band = shape.band;
    plan.packed = true;
    if (tensors * shape.tile * shape.tile * size <= kSharedBytes) plans.push_back(plan);
  }
  return plans;
}

}  // namespace

std::vector<Config> tile_configs(const Elementwise& e, const Symbols& hints, int level) {
  std::vector<Config> out;
  for (const TilePlan& plan : tile_plans(e, hints)) {
    out.push_back("tile=" + std::to_string(plan.tile) + " threads=" + std::to_string(plan.threads) + " band=" + std::to_string(plan.band) +
                  " packed=" + std::to_string(plan.packed));
    if (level < 3) break;
  }
  return out;
}

TilePlan parse_tile_plan(const Config& config, const Elementwise& e, const Symbols& hints) {
  TilePlan plan = *tile_plan(e, hints);
  plan.tile = config_int(config, "tile", plan.tile);
  plan.threads = config_int(config, "threads", plan.threads);
  plan.band = config_int(config, "band", plan.band);
  plan.packed = config_int(config, "packed", plan.packed) != 0;
  return plan;
}

Kernel transpose_kernel(const std::string& name, const Elementwise& e, const TilePlan& plan) {
  Kernel kernel(name, needs_wide(e));
  TileWriter(kernel, e, plan).write();
  return kernel;
}

}  // namespace tuyere::codegen
