// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/attention/attention_gen.h"
#include "kernels/attention/attention_tactics.h"

namespace tuyere {
namespace {

double work(const Problem& p) {
  const attention::View v = attention::view(p);
  auto size = [&](const Dim& d) { return static_cast<double>(mma::hint(d, p.hints)); };
  return 2.0 * size(v.batch) * size(v.heads) * size(v.queries) * size(v.keys) * (v.depth + v.value_depth) * (v.causal ? 0.5 : 1.0);
}

class Flash final : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.attention.flash"; }

  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override { return attention::flash_configs(p, target, level, false); }

  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_seconds(attention::view(p), p.hints, target, attention::parse_flash_shape(config));
  }

  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_source(p, target, attention::parse_flash_shape(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override { return attention::accepts_flash(p); }
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
    Support shape = attention::attention_shape(p);
    if (!shape) return shape;
    REQUIRE(p.in[0].shape[3].value() <= 1024 && p.in[2].shape[3].value() <= 1024, "head size above 1024");
    return Support::yes();
  }
};

}  // namespace

void add_attention_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<Flash>());
  list.push_back(std::make_unique<GenericAttention>());
  ADD_TACTIC(list, HopperFlash);
  ADD_TACTIC(list, FlashAttentionGradient);
  ADD_TACTIC(list, TiledAttentionGradient);
}

}  // namespace tuyere
