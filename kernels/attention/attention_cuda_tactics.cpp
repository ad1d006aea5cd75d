// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/api/other_operator.h"
#include "kernels/attention/attention_gen.h"
#include "kernels/attention/attention_tactics.h"

namespace tuyere {
namespace {

Support attention_shape(const Problem& p) {
  REQUIRE(std::holds_alternative<Attention>(p.op), kOtherOperator);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(p.in[i].rank() == 4, "operands are not [B,H,S,D]");
    REQUIRE(p.in[i].shape[3].is_const(), "symbolic head size");
    REQUIRE(p.in[i].dtype == p.in[0].dtype, "operands of different types");
  }
  REQUIRE(is_float(p.in[0].dtype), "not a float type");
  REQUIRE(!std::get<Attention>(p.op).logsumexp || p.in[0].dtype != DType::F64, "the logsumexp is kept in f32");
  return Support::yes();
}

double work(const Problem& p) {
  const attention::View v = attention::view(p);
  auto size = [&](const Dim& d) { return static_cast<double>(mma::hint(d, p.hints)); };
  return 2.0 * size(v.batch) * size(v.heads) * size(v.queries) * size(v.keys) * (v.depth + v.value_depth) * (v.causal ? 0.5 : 1.0);
}

class Flash : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.attention.flash"; }

  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    const attention::View v = attention::view(p);
    std::vector<std::pair<double, Config>> all;
    for (const attention::FlashShape& shape : attention::flash_shapes(v, p.hints, target))
      all.push_back({attention::flash_seconds(v, p.hints, target, shape), attention::str(shape)});
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Config> configs;
    for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level * 2); ++i) configs.push_back(all[i].second);
    return configs;
  }

  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_seconds(attention::view(p), p.hints, target, attention::parse_flash_shape(config));
  }

  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_source(p, target, attention::parse_flash_shape(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = attention_shape(p);
    if (!shape) return shape;
    REQUIRE(p.in[0].dtype == DType::F16 || p.in[0].dtype == DType::BF16, "not f16 or bf16");
    for (int i : {0, 2}) {
      const int64_t depth = p.in[i].shape[3].value();
      REQUIRE(depth % 8 == 0 && depth <= 256, "head size is not a multiple of 8 up to 256");
    }
    for (int i = 0; i < 3; ++i) REQUIRE(p.in[i].strides[3].is_const(1), "head elements are not contiguous");
    return Support::yes();
  }
};

class GenericAttention : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.attention.generic"; }
  double estimate(const Problem& p, const Target& target, const Config&) const override {
    const attention::View v = attention::view(p);
    const double blocks = static_cast<double>(mma::hint(v.batch * v.heads, p.hints)) * std::ceil(mma::hint(v.queries, p.hints) / 4.0);
    const double busy = std::min(1.0, blocks / (8.0 * std::max(1, target.multiprocessors)));
    return 4e-6 + work(p) / (3e12 * busy);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config&) const override { return attention::generic_source(p, target); }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = attention_shape(p);
    if (!shape) return shape;
    REQUIRE(p.in[0].shape[3].value() <= 1024 && p.in[2].shape[3].value() <= 1024, "head size above 1024");
    return Support::yes();
  }
};

}  // namespace

void add_attention_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<Flash>());
  list.push_back(std::make_unique<GenericAttention>());
  ADD_TACTIC(list, FlashAttentionGradient);
  ADD_TACTIC(list, TiledAttentionGradient);
}

}  // namespace tuyere
