// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/api/other_operator.h"
#include "kernels/matmul/matmul_gen.h"
#include "kernels/matmul/matmul_tactics.h"

namespace tuyere {
namespace {

Support matmul_shape(const Problem& p) {
  REQUIRE(std::holds_alternative<MatMul>(p.op), kOtherOperator);
  REQUIRE(p.in.size() >= 2 && p.in[0].rank() >= 2 && p.in[1].rank() >= 2, "operands of rank below 2");
  return Support::yes();
}

/// The types and flags that tensor cores take.
Support tensor_core_types(const Problem& p) {
  const DType type = p.in[0].dtype;
  REQUIRE(p.in[1].dtype == type, "operands of different types");
  REQUIRE(type == DType::F16 || type == DType::BF16 || type == DType::F32, "no tensor-core arithmetic for this type");
  if (type == DType::F32) REQUIRE(std::get<MatMul>(p.op).tf32, "f32 without tf32 is IEEE");
  return Support::yes();
}

class TiledMatMul : public mma::KernelTactic {
 public:
  explicit TiledMatMul(bool simt) : simt_(simt) {}
  std::string_view name() const override { return simt_ ? "own.matmul.simt" : "own.matmul.mma"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    const matmul::View v = matmul::view(p);
    return mma::tile_configs(matmul::gemm_size(p, v), target, simt_, level);
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return mma::estimate(matmul::gemm_size(p, matmul::view(p)), mma::parse_tile(config, simt_), target);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return matmul::tiled_source(p, target, mma::parse_tile(config, simt_));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = matmul_shape(p);
    if (!shape) return shape;
    if (!simt_) return tensor_core_types(p);
    REQUIRE(p.in[0].dtype == DType::F32 && p.in[1].dtype == DType::F32, "FFMA kernels are for f32");
    return Support::yes();
  }

 private:
  bool simt_;
};

class StreamedMatMul : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.matmul.stream"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    return mma::stream_configs(matmul::stream_size(p, matmul::view(p)), target, level);
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return mma::estimate_stream(matmul::stream_size(p, matmul::view(p)), mma::parse_stream(config), target);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return matmul::stream_source(p, target, mma::parse_stream(config));
  }

 protected:
  Support accepts(const Problem& p, const Target& target) const override {
    Support possible = matmul_shape(p);
    if (possible) possible = tensor_core_types(p);
    if (!possible) return possible;
    const matmul::View v = matmul::view(p);
    REQUIRE(v.n.is_const() && v.k.is_const(), "symbolic weights");
    REQUIRE(v.a.k.is_const(1) && v.b.k.is_const(1), "k is not contiguous");
    return mma::accepts_stream(matmul::stream_size(p, v), target);
  }
};

class Gemv : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.matmul.gemv"; }

  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    std::vector<std::pair<double, Config>> all;
    const bool f32_sums = is_float(p.in[0].dtype) && p.in[0].dtype != DType::F64;
    for (int warps : {4, 8})
      for (int columns : {1, 2, 4})
        for (int splits : {1, 2, 4, 8, 16}) {
          if (splits > 1 && !f32_sums) continue;
          Config config = "warps=" + std::to_string(warps) + " columns=" + std::to_string(columns) + " splitk=" + std::to_string(splits);
          all.push_back({estimate(p, target, config), config});
        }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    const size_t count = std::min<size_t>(all.size(), level <= 0 ? 1 : level * 3);
    std::vector<Config> configs;
    for (size_t i = 0; i < count; ++i) configs.push_back(all[i].second);
    return configs;
  }

  /// Bandwidth, unless too few warps are in flight to reach it.
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    const matmul::View v = matmul::view(p);
    const mma::GemmSize size = matmul::gemm_size(p, v);
    const matmul::GemvShape shape = parse(config);
    bool swapped = false;
    const int rows = matmul::gemv_rows(v, &swapped);
    const bool along_k = (swapped ? v.a : v.b).k_major();
    const double n = static_cast<double>(swapped ? size.m : size.n), k = static_cast<double>(size.k), batch = static_cast<double>(size.batch);
    const double per_lane = (along_k ? shape.columns : 1) * 16.0 * 2;
    const double columns_per_block = along_k ? 4.0 * shape.columns : 256.0;
    const double warps = std::ceil(n / columns_per_block) * batch * shape.splits * shape.warps;
    const double bandwidth = (target.copy_gbps > 0 ? target.copy_gbps : 2000) * 1e9;
    const double in_flight = std::min(warps, 64.0 * std::max(1, target.multiprocessors)) * 32 * per_lane;
    const double reached = std::min(1.0, in_flight / (bandwidth * 0.7e-6));
    const double rounds =
        std::max(1.0, k * size.element / shape.splits / (along_k ? 32.0 * 16 * std::max(1, shape.warps / 4) : 4.0 * shape.warps * size.element));
    const double math = 2.0 * n * k * batch * rows / (target.sm >= 90 ? 20e12 : 8e12);
    double seconds = std::max({size.bytes / (bandwidth * 0.95 * reached), math, rounds * 0.25e-6}) + 3e-6;
    if (shape.splits > 1) seconds += 2.5e-6 + 8.0 * shape.splits * rows * n * batch / bandwidth;
    return seconds;
  }

  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return matmul::gemv_source(p, target, parse(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = matmul_shape(p);
    if (!shape) return shape;
    bool swapped = false;
    const int rows = matmul::gemv_rows(matmul::view(p), &swapped);
    REQUIRE(rows >= 1, "more than 8 rows and columns");
    return Support::yes();
  }

 private:
  static matmul::GemvShape parse(const Config& config) {
    matmul::GemvShape shape;
    shape.warps = mma::config_ints(config, "warps")[0];
    shape.columns = mma::config_ints(config, "columns")[0];
    shape.splits = mma::config_ints(config, "splitk")[0];
    return shape;
  }
};

class GenericMatMul : public mma::KernelTactic {
 public:
  explicit GenericMatMul(bool gated) : gated_(gated) {}
  std::string_view name() const override { return gated_ ? "own.gated_matmul.generic" : "own.matmul.generic"; }
  double estimate(const Problem& p, const Target& target, const Config&) const override {
    const double rate = p.in[0].dtype == DType::F32 || bits(p.in[0].dtype) == 16 ? 8e12 : 3e12;
    const mma::GemmSize size = matmul::gemm_size(p, matmul::view(p));
    const double blocks = std::ceil(size.m / 64.0) * std::ceil(size.n / 64.0) * size.batch;
    const double fill = std::min(1.0, blocks / (2.0 * std::max(1, target.multiprocessors)));
    return 4e-6 + 2.0 * size.m * size.n * size.k * size.batch / (rate * fill);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config&) const override { return matmul::generic_source(p, target); }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    if (!gated_) return matmul_shape(p);
    REQUIRE(std::holds_alternative<GatedMatMul>(p.op), kOtherOperator);
    return Support::yes();
  }

 private:
  bool gated_;
};

}  // namespace

void add_matmul_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<TiledMatMul>(false));
  list.push_back(std::make_unique<TiledMatMul>(true));
  ADD_TACTIC(list, HopperMatMul);
  list.push_back(std::make_unique<StreamedMatMul>());
  list.push_back(std::make_unique<Gemv>());
  list.push_back(std::make_unique<GenericMatMul>(false));
}

void add_gated_matmul_cuda_tactics(TacticList& list) {
  ADD_TACTIC(list, HopperGatedMatMul);
  list.push_back(std::make_unique<GenericMatMul>(true));
}

}  // namespace tuyere
