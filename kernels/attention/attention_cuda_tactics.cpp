// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/attention/attention_gen.h"
#include "kernels/attention/attention_tactics.h"

namespace tuyere {
namespace {

Support attention_shape(const Problem& p) {
  REQUIRE(std::holds_alternative<Attention>(p.op), "not attention");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(p.in[i].rank() == 4, "operands are not [B,H,S,D]");
    REQUIRE(p.in[i].shape[3].is_const(), "symbolic head size");
    REQUIRE(p.in[i].dtype == p.in[0].dtype, "operands of different types");
  }
  REQUIRE(is_float(p.in[0].dtype), "not a float type");
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
    std::vector<std::pair<double, Config>> all;
    const attention::View v = attention::view(p);
    const int64_t widest = std::max(v.depth, v.value_depth);
    for (int queries : {16, 32, 64, 128})
      for (int keys : {32, 64, 128}) {
        if (widest > 128 && keys > 32) continue;
        if (widest > 64 && keys > 64) continue;
        const attention::FlashShape shape{queries, keys};
        if (shape.shared_bytes(v) > (target.sm >= 90 ? 227 : 163) * 1024) continue;
        Config config = "queries=" + std::to_string(queries) + " keys=" + std::to_string(keys);
        all.push_back({estimate(p, target, config), config});
      }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Config> configs;
    for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level * 2); ++i) configs.push_back(all[i].second);
    return configs;
  }

  /// Waves of blocks; a block's k-tiles follow each other.
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    const attention::View v = attention::view(p);
    const attention::FlashShape shape = parse(config);
    auto size = [&](const Dim& d) { return static_cast<double>(mma::hint(d, p.hints)); };
    const double sms = std::max(1, target.multiprocessors);
    const double tensor = (target.tensor_tflops > 0 ? target.tensor_tflops : 300) * 1e12 * (target.sm >= 100 ? 0.2 : target.sm >= 90 ? 0.45 : 0.6);
    const double blocks = std::ceil(size(v.queries) / shape.queries) * size(v.heads) * size(v.batch);
    const double resident = std::max(1.0, std::min({std::floor((target.sm >= 90 ? 227.0 : 163.0) * 1024 / (shape.shared_bytes(v) + 1024)),
                                                    2048.0 / (shape.queries * 2), 65536.0 / (shape.queries * 2 * 200)}));
    const double k_tiles = std::ceil(size(v.keys) / shape.keys) * (v.causal ? 0.6 : 1.0);
    const double tile_flops = 2.0 * shape.queries * shape.keys * static_cast<double>(v.depth + v.value_depth);
    const double share = std::min(1.0, 0.4 + 0.15 * std::log2(shape.queries / 16.0) + 0.05 * std::log2(shape.keys / 32.0));
    const double block_seconds = std::max(k_tiles * tile_flops * sms / (tensor * share), 1e-6 + k_tiles * 0.5e-6);
    const double waves = std::ceil(blocks / (sms * resident));
    return 2.5e-6 + waves * block_seconds * std::min(resident, std::max(1.0, blocks / sms));
  }

  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return attention::flash_source(p, target, parse(config));
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

 private:
  static attention::FlashShape parse(const Config& config) { return {mma::config_ints(config, "queries")[0], mma::config_ints(config, "keys")[0]}; }
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
}

}  // namespace tuyere
