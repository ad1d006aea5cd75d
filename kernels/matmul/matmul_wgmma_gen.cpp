// SPDX-License-Identifier: Apache-2.0
// Products on Hopper's warpgroup instructions.
#include <algorithm>
#include <optional>

#include "kernels/api/other_operator.h"
#include "kernels/matmul/matmul_gen.h"

namespace tuyere {
namespace {

/// Whether a tensor takes `width` values in one access of at most 16 bytes.
bool takes(const mma::EpilogueTensor& t, int width) {
  const int bytes = width * mma::size_of(t.dtype);
  if (!t.strides.back().is_const(1) || t.alignment % std::min(16, bytes) != 0 || (width > 4 && bytes > 16)) return false;
  return std::all_of(t.strides.begin(), t.strides.end() - 1, [&](const Dim& stride) { return mma::divisible(stride, width); });
}

bool takes_width(const matmul::View& v, int width) {
  return std::all_of(v.outs.begin(), v.outs.end(), [&](const mma::EpilogueTensor& t) { return takes(t, width); });
}

bool is_short(const mma::EpilogueTensor& t) { return t.dtype == DType::F16 || t.dtype == DType::BF16; }

/// Which extras differ by row; nothing where results of two columns at a time cannot be made: they are 16-bit floats, each row contiguous.
std::optional<std::vector<int>> pairs_take(const matmul::View& v) {
  std::vector<int> given;
  for (const mma::EpilogueTensor& t : v.outs)
    if (!t.strides.back().is_const(1) || !is_short(t)) return {};
  for (size_t k = 0; k < v.extras.size(); ++k) {
    const mma::EpilogueTensor& t = v.extras[k];
    const bool same_rows = t.strides[t.strides.size() - 2].is_const(0);
    if (same_rows ? !t.strides.back().is_const(0) && !takes(t, 2) : !is_short(t) || !takes(t, 8)) return {};
    if (!same_rows) given.push_back(static_cast<int>(k));
  }
  return given;
}

/// The epilogue of tiles of `columns`: turned in shared memory if that can be, others four or eight columns per thread; with one, neighbouring threads write
/// neighbours.
void emit_stores(const matmul::View& v, int columns, mma::HopperText& text, mma::KernelParams& params) {
  const bool groups = columns % 32 == 0;
  text.width = groups && takes_width(v, 8) ? 8 : takes_width(v, 4) ? 4 : 1;
  text.shifted = text.width != 8;
  const mma::Epilogue stored = epilogue(v, v.coords() - 1, text.width);
  const auto given = pairs_take(v);
  if (groups && given && (!text.shifted || v.outs.size() <= mma::kMostShifted)) {
    text.staged_outputs = static_cast<int>(v.outs.size());
    text.given = static_cast<int>(given->size());
    text.epilogue = mma::emit_pair_epilogue(stored, *given, params);
  }
  text.epilogue += mma::emit_epilogue(stored, params);
}

}  // namespace

mma::KernelSource matmul::wgmma_source(const Problem& problem, const Target& target, const mma::HopperTile& tile) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::HopperText text;
  text.tile = tile;
  text.dtype = v.a.dtype;
  text.a = v.a, text.b = v.b, text.b2 = v.b2;
  text.b_constant = problem.in[1].constant && (!v.b2 || problem.in[2].constant);
  text.m = v.m, text.n = v.n, text.k = v.k, text.batch = v.batch_count();
  emit_stores(v, tile.bn / (v.b2 ? 2 : tile.split), text, params);
  text.store_coords = batch_names(v) + "m, n";
  return mma::hopper_source(text, params, mma::needs_wide(problem), target);
}

class HopperProduct : public mma::KernelTactic {
 public:
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    const matmul::View v = matmul::view(p);
    return mma::hopper_configs(matmul::gemm_size(p, v), target, level, {v.a.k_major(), v.b.k_major(), v.b2.has_value()});
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return mma::estimate_hopper(matmul::gemm_size(p, matmul::view(p)), mma::parse_hopper_tile(config), target);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return matmul::wgmma_source(p, target, mma::parse_hopper_tile(config));
  }

 protected:
  Support takes(const Problem& p, const Target& target) const {
    REQUIRE(target.sm >= 90 && target.sm < 100, "wgmma is an instruction of compute capability 9.0");
    REQUIRE(p.in[0].dtype == p.in[1].dtype, "operands of different types");
    const matmul::View v = matmul::view(p);
    REQUIRE(v.k.is_const() && v.k.value() > 0, "k is symbolic or zero");
    REQUIRE(v.batch.size() <= 1, "several batch dims that do not join");
    for (const mma::Matrix* matrix : {&v.a, &v.b, v.b2 ? &*v.b2 : &v.b})
      if (Support s = mma::accepts_hopper(*matrix); !s) return s;
    return Support::yes();
  }
};

class HopperMatMul final : public HopperProduct {
 public:
  std::string_view name() const override { return "own.matmul.wgmma"; }

 protected:
  Support accepts(const Problem& p, const Target& target) const override {
    REQUIRE(std::holds_alternative<MatMul>(p.op), kOtherOperator);
    REQUIRE(p.in.size() >= 2 && p.in[0].rank() >= 2 && p.in[1].rank() >= 2, "operands of rank below 2");
    return takes(p, target);
  }
};

class HopperGatedMatMul final : public HopperProduct {
 public:
  std::string_view name() const override { return "own.gated_matmul.wgmma"; }

 protected:
  Support accepts(const Problem& p, const Target& target) const override {
    REQUIRE(std::holds_alternative<GatedMatMul>(p.op), kOtherOperator);
    Support possible = takes(p, target);
    if (!possible) return possible;
    const matmul::View v = matmul::view(p);
    REQUIRE(v.b.k_major() == v.b2->k_major(), "one matrix has contiguous rows, the other contiguous columns");
    REQUIRE(takes_width(v, 4), "results of two products are stored four at a time, which do not align");
    return Support::yes();
  }
};

DEFINE_TACTIC(HopperMatMul)
DEFINE_TACTIC(HopperGatedMatMul)

}  // namespace tuyere
