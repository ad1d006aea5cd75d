// SPDX-License-Identifier: Apache-2.0
// Attention on Hopper's warpgroup instructions: the kernel on mma.sync with other products.
#include "kernels/attention/attention_gen.h"

namespace tuyere {

class HopperFlash final : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.attention.wgmma"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override { return attention::flash_configs(p, target, level, true); }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_seconds(attention::view(p), p.hints, target, parse(config));
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_source(p, target, parse(config));
  }

 protected:
  Support accepts(const Problem& p, const Target& target) const override {
    REQUIRE(target.sm >= 90 && target.sm < 100, "wgmma is an instruction of compute capability 9.0");
    if (Support s = attention::accepts_flash(p); !s) return s;
    REQUIRE(!attention::flash_shapes(attention::view(p), p.hints, target, true).empty(), "no variant fits into the registers");
    return Support::yes();
  }

 private:
  static attention::FlashShape parse(const Config& config) {
    attention::FlashShape shape = attention::parse_flash_shape(config);
    shape.wgmma = true;
    return shape;
  }
};

DEFINE_TACTIC(HopperFlash)

}  // namespace tuyere
