// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/api/other_operator.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/conv/conv_view.h"

namespace tuyere {
namespace {

Support conv_shape(const Problem& p) {
  REQUIRE(std::holds_alternative<Conv>(p.op), kOtherOperator);
  REQUIRE(p.in.size() >= 2 && p.in[0].rank() >= 3 && p.in[0].rank() <= 5, "needs one to three spatial dims");
  REQUIRE(p.in[0].dtype == p.in[1].dtype, "operands of different types");
  REQUIRE(p.in[0].shape[1].is_const() && p.out[0].shape[1].is_const() && is_static(p.in[1].shape), "symbolic channels");
  REQUIRE(std::get<Conv>(p.op).stride.size() + 2 == p.in[0].shape.size(), "attributes of another rank");
  return Support::yes();
}

bool is_depthwise(const Problem& p) {
  const Conv& op = std::get<Conv>(p.op);
  return op.groups > 1 && p.in[0].shape[1].is_const(op.groups) && p.out[0].shape[1].is_const(op.groups);
}

/// The types and flags that tensor cores take.
Support tensor_core_types(const Problem& p) {
  const DType type = p.in[0].dtype;
  REQUIRE(type == DType::F16 || type == DType::BF16 || (type == DType::F32 && std::get<Conv>(p.op).tf32), "no tensor-core arithmetic for this type");
  return Support::yes();
}

/// Loads of single elements cost about three times those of whole chunks.
constexpr double kElements = 3;
bool loads_elements(const conv::View& v) { return !v.x_channel.is_const(1) || v.in_group * mma::size_of(v.type) % 8 != 0; }

class ImplicitGemm : public mma::KernelTactic {
 public:
  explicit ImplicitGemm(bool simt) : simt_(simt) {}
  std::string_view name() const override { return simt_ ? "own.conv.simt" : "own.conv.implicit_gemm"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    return mma::tile_configs(conv::gemm_size(p, conv::view(p)), target, simt_, level);
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    const conv::View v = conv::view(p);
    return mma::estimate(conv::gemm_size(p, v), mma::parse_tile(config, simt_), target) * (loads_elements(v) ? kElements : 1.0);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::implicit_gemm_source(p, target, mma::parse_tile(config, simt_));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = conv_shape(p);
    if (!shape) return shape;
    const Conv& op = std::get<Conv>(p.op);
    REQUIRE(!op.transposed, "transposed");
    if (simt_) REQUIRE(p.in[0].dtype == DType::F32, "FFMA kernels are for f32");
    const Support types = tensor_core_types(p);
    if (!simt_ && !types) return types;
    bool inner = true;
    const conv::View v = conv::view(p);
    REQUIRE(conv::weight_order(v, &inner), "k of the weights is not contiguous");
    REQUIRE(!is_depthwise(p), "depthwise");
    return Support::yes();
  }

 private:
  bool simt_;
};

/// "form=apart tile=...", see conv_phases_gen.cpp.
class ConvPhases : public mma::KernelTactic {
 public:
  explicit ConvPhases(bool simt) : simt_(simt) {}
  std::string_view name() const override { return simt_ ? "own.conv.phases_simt" : "own.conv.phases"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    const conv::View v = conv::view(p);
    std::vector<std::pair<double, Config>> all;
    size_t count = 0;
    for (const char* form : {"form=apart ", "form=joined "}) {
      const std::vector<Config> tiles = mma::tile_configs(conv::phases_size(p, v, joined(form)), target, simt_, level);
      for (const Config& tile : tiles) all.push_back({estimate(p, target, form + tile), form + tile});
      count = std::max(count, tiles.size());
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Config> configs;
    for (size_t i = 0; i < count; ++i) configs.push_back(all[i].second);
    return configs;
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    const conv::View v = conv::view(p);
    return mma::estimate(conv::phases_size(p, v, joined(config)), mma::parse_tile(config, simt_), target) * (loads_elements(v) ? kElements : 1.0);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::phases_source(p, target, mma::parse_tile(config, simt_), joined(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    Support shape = conv_shape(p);
    if (!shape) return shape;
    const Conv& op = std::get<Conv>(p.op);
    REQUIRE(op.transposed, "not transposed");
    if (simt_) REQUIRE(p.in[0].dtype == DType::F32, "FFMA kernels are for f32");
    const Support types = tensor_core_types(p);
    if (!simt_ && !types) return types;
    REQUIRE(!is_depthwise(p), "depthwise");
    REQUIRE(std::all_of(op.dilation.begin(), op.dilation.end(), [](int64_t d) { return d == 1; }), "dilation");
    REQUIRE(std::all_of(op.pad_before.begin(), op.pad_before.end(), [](int64_t pad) { return pad >= 0; }), "negative padding");
    return Support::yes();
  }

 private:
  static bool joined(const Config& config) { return mma::config_value(config, "form") == "joined"; }
  bool simt_;
};

class StreamedConv : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.conv.stream"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    return mma::stream_configs(conv::stream_size(p, conv::view(p)), target, level);
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return mma::estimate_stream(conv::stream_size(p, conv::view(p)), mma::parse_stream(config), target);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::stream_source(p, target, mma::parse_stream(config));
  }

 protected:
  Support accepts(const Problem& p, const Target& target) const override {
    Support possible = conv_shape(p);
    if (possible) possible = tensor_core_types(p);
    if (!possible) return possible;
    const conv::View v = conv::view(p);
    REQUIRE(conv::pixel_step(v), "not a 1x1 convolution of dense pixels");
    REQUIRE(v.x_channel.is_const(1) && (v.in_group == 1 || v.w_in.is_const(1)), "channels are not innermost");
    return mma::accepts_stream(conv::stream_size(p, v), target);
  }
};

/// What both depthwise kernels need.
Support depthwise_shape(const Problem& p) {
  Support shape = conv_shape(p);
  if (!shape) return shape;
  REQUIRE(!std::get<Conv>(p.op).transposed, "transposed");
  REQUIRE(is_depthwise(p), "not depthwise");
  REQUIRE(p.in[0].rank() <= 4, "three spatial dims");
  REQUIRE(is_float(p.in[0].dtype) && p.in[0].dtype != DType::F64, "not a float of at most 32 bits");
  REQUIRE(p.in[0].strides[1].is_const(1), "channels are not innermost");
  REQUIRE(conv::view(p).taps() <= 1024, "more than 1024 taps");
  return Support::yes();
}

class Depthwise : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.conv.depthwise"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    std::vector<std::pair<double, Config>> all;
    for (const char* config : {"columns=4 rows=1", "columns=4 rows=1 blocks=2", "columns=4 rows=2", "columns=2 rows=2", "columns=2 rows=2 blocks=3",
                               "columns=2 rows=4 blocks=2", "columns=2 rows=1", "columns=1 rows=4", "columns=1 rows=1"})
      all.push_back({estimate(p, target, config), config});
    if (mma::size_of(p.in[0].dtype) == 2)
      for (const char* config : {"columns=8 rows=1 blocks=2 vec=4", "columns=8 rows=1 blocks=3 vec=4", "columns=8 rows=2 blocks=2 vec=4",
                                 "columns=4 rows=4 blocks=2 vec=4", "columns=4 rows=2 blocks=2 vec=4", "columns=4 rows=2 blocks=3 vec=4"})
        all.push_back({estimate(p, target, config), config});
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Config> configs;
    for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level * 3); ++i) configs.push_back(all[i].second);
    return configs;
  }
  /// Memory traffic; what windows read through L1, beside the weights from the same unit; arithmetic with the conversions of what is read.
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    const conv::View v = conv::view(p);
    const conv::DepthwiseShape shape = conv::parse_depthwise(config);
    const int element = mma::size_of(v.type), vec = std::min(shape.vec, 16 / element);
    const int columns = shape.columns, rows = shape.rows;
    const double in_rows = (rows - 1) * v.stride[1] + (v.kernel[1] - 1) * v.dilation[1] + 1,
                 in_columns = (columns - 1) * v.stride[2] + (v.kernel[2] - 1) * v.dilation[2] + 1;
    const double oh = static_cast<double>(mma::hint(v.out[1], p.hints)), ow = static_cast<double>(mma::hint(v.out[2], p.hints));
    const double blocks = std::ceil(oh / rows) * std::ceil(ow / columns) * mma::hint(v.batch, p.hints);
    const double values = blocks * static_cast<double>(v.groups), processors = std::max(1, target.multiprocessors);
    constexpr double kClock = 1.6e9, kL1Bytes = 96, kLanes = 100;  // what a multiprocessor reaches per clock
    const double bandwidth = (target.copy_gbps > 0 ? target.copy_gbps : 2000) * 1e9;
    const double reads = values * (in_rows * in_columns * element + rows * v.taps() * 4) / (kL1Bytes * processors * kClock);
    const double math = values * (rows * columns * v.taps() + (element == 2 ? in_rows * in_columns : 0)) / (kLanes * processors * kClock);
    const double busy = std::min(1.0, values / vec / (512.0 * processors));
    return 2.5e-6 + std::max({conv::traffic(p) / bandwidth, reads, math}) / std::max(busy, 0.02);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::depthwise_source(p, target, conv::parse_depthwise(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override { return depthwise_shape(p); }
};

class DepthwiseTiles : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.conv.depthwise_tile"; }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    return conv::depthwise_tile_configs(p, conv::view(p), target, level);
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::estimate_depthwise_tile(p, conv::view(p), conv::parse_depthwise_tile(config), target);
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config& config) const override {
    return conv::depthwise_tile_source(p, target, conv::parse_depthwise_tile(config));
  }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    const Support shape = depthwise_shape(p);
    if (!shape) return shape;
    return conv::accepts_depthwise_tile(conv::view(p));
  }
};

class GenericConv : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.conv.generic"; }
  double estimate(const Problem& p, const Target& target, const Config&) const override {
    const conv::View v = conv::view(p);
    const double sums = static_cast<double>(mma::hint(v.pixel_count(), p.hints)) * v.groups * v.out_group;
    const double busy = std::min(1.0, sums / (1024.0 * std::max(1, target.multiprocessors)));
    return 4e-6 + 2.0 * sums * v.in_group * v.taps() / (1.2e12 * std::max(busy, 0.01));
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config&) const override { return conv::generic_source(p, target); }

 protected:
  Support accepts(const Problem& p, const Target&) const override { return conv_shape(p); }
};

}  // namespace

void add_conv_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<DepthwiseTiles>());
  list.push_back(std::make_unique<Depthwise>());
  list.push_back(std::make_unique<ImplicitGemm>(false));
  list.push_back(std::make_unique<ImplicitGemm>(true));
  list.push_back(std::make_unique<ConvPhases>(false));
  list.push_back(std::make_unique<ConvPhases>(true));
  list.push_back(std::make_unique<StreamedConv>());
  list.push_back(std::make_unique<GenericConv>());
  ADD_TACTIC(list, TiledWeightGradient);
}

}  // namespace tuyere
