// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/cudnn_tactics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "common/error.h"
#include "kernels/codegen/kernel.h"
#include "kernels/cublaslt/cublaslt_tactics.h"
#include "kernels/pointwise/follow_up.h"

namespace tuyere {
namespace {

constexpr int64_t kTensorAlignment = 256;

int64_t aligned(int64_t bytes) { return (bytes + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment; }

/// "form=split eng=41 k2=0 version=91900": the engine's words and the rest apart.
struct ParsedConfig {
  ConvForm form = ConvForm::fused;
  std::string engine;
  int64_t version = 0;
};

ParsedConfig parse(const Config& config) {
  ParsedConfig parsed;
  std::istringstream words(config);
  for (std::string word; words >> word;) {
    if (word == "form=split")
      parsed.form = ConvForm::split;
    else if (word.rfind("version=", 0) == 0)
      parsed.version = std::atoll(word.c_str() + 8);
    else if (word.rfind("form=", 0) != 0)
      parsed.engine += (parsed.engine.empty() ? "" : " ") + word;
  }
  return parsed;
}

std::string form_text(ConvForm form) { return form == ConvForm::split ? "form=split" : "form=fused"; }

/// The part of a step that cudnn tactics share: the engine with what it was chosen for, the workspace.
StepSpec spec_of(CudnnStep& step, const ParsedConfig& parsed, const Problem& problem, const Target& target) {
  StepSpec spec;
  spec.executor = "cudnn";
  if (!parsed.engine.empty()) {
    const Result<std::vector<int64_t>> sizes = cudnn_sizes(step, problem.hints);
    INTERNAL_CHECK(sizes.is_ok(), sizes.status().message());
    step.config = parsed.engine;
    step.tuned = sizes.value();
    step.version = parsed.version;
  }
  if (target.present) {
    const Result<int64_t> workspace = cudnn_workspace(step, problem.hints, target.device);
    INTERNAL_CHECK(workspace.is_ok(), workspace.status().message());
    spec.workspace = aligned(workspace.value());
  }
  return spec;
}

/// Version of the library that chooses among engines; 0 when none is asked.
std::string version_text(const Target& target, int level) { return " version=" + std::to_string(target.present && level > 0 ? cudnn_version() : 0); }

/// How many engines to try. Precompiled ones cost their few milliseconds of timing only, and the heuristics' first is 8 % behind the best of them; kernels that
/// cuDNN compiles itself take seconds each.
int engine_count(int level, bool compiled, double micros) {
  constexpr double kSmallMicros = 3;  // at the floor of such layers all kernels are mostly launch
  const bool small = micros < kSmallMicros;
  if (!compiled) return level >= 4 ? 64 : level == 3 ? (small ? 12 : 40) : 4;
  if (level >= 4) return level >= 5 ? 32 : 8;
  return level == 3 && !small ? 4 : 2;
}

/// Fused depthwise kernels take 25 times what their traffic needs; one pixel per image is a small product of matrices, which is ours.
bool worth_compiling(const Problem& problem, int level) {
  if (level >= 4) return true;
  const Conv& op = std::get<Conv>(problem.op);
  const bool depthwise = op.groups > 1 && problem.in[1].shape[1].is_const(1);
  const Shape& out = problem.out[0].shape;
  return !depthwise && !std::all_of(out.begin() + 2, out.end(), [](const Dim& d) { return d.is_const(1); });
}

class CudnnConv final : public Tactic {
 public:
  std::string_view name() const override { return "cudnn.conv"; }
  std::string_view source() const override { return "cudnn"; }

  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(target.is_cuda() && target.sm >= 80, "needs compute capability 8.0 or newer");
    REQUIRE(!codegen::is_empty(problem), "no elements");
    ConvForms forms;
    const Support possible = conv_forms(problem, target, &forms);
    if (!possible || !target.present) return possible;
    const Status available = cudnn_available(target.device);
    REQUIRE(available.is_ok(), available.message());
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    ConvForms forms;
    if (!conv_forms(problem, target, &forms)) return {form_text(ConvForm::split)};
    std::vector<Config> configs;
    const std::string version = version_text(target, level);
    for (ConvForm form : forms.forms) {
      if (!target.present || level <= 0) break;
      const bool compiled = form == ConvForm::fused && !forms.precompiled;
      if (compiled && forms.forms.size() > 1 && !worth_compiling(problem, level)) continue;
      const int count = engine_count(level, compiled, Tactic::estimate(problem, target, "") * 1e6);
      const auto engines = cudnn_configs(make_cudnn_step(problem, form), problem.hints, target.device, count);
      if (!engines.is_ok()) continue;
      for (const std::string& engine : engines.value()) configs.push_back(form_text(form) + " " + engine + version);
    }
    if (configs.empty()) configs.push_back(form_text(forms.forms.front()));
    return configs;
  }

  /// Grouped convolutions are far from the traffic they need; an epilogue apart adds its own.
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    constexpr double kReached = 0.7, kReachedGrouped = 0.25, kLaunch = 2e-6;
    const Conv& op = std::get<Conv>(problem.op);
    const bool split = parse(config).form == ConvForm::split && !op.epilogue.empty();
    double seconds = Tactic::estimate(problem, target, config) / (op.groups > 1 ? kReachedGrouped : kReached);
    if (split) seconds += kLaunch + follow_up_bytes(problem) / ((target.copy_gbps > 0 ? target.copy_gbps : 1500) * 1e9);
    return seconds;
  }

  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override {
    const ParsedConfig parsed = parse(config);
    CudnnStep step = make_cudnn_step(problem, parsed.form);
    StepSpec spec = spec_of(step, parsed, problem, target);
    const Program& epilogue = std::get<Conv>(problem.op).epilogue;
    if (parsed.form == ConvForm::split && !epilogue.empty()) {
      FollowUp rest = follow_up(problem, epilogue, target);
      step.then = std::move(rest.step);
      spec.blobs = std::move(rest.blobs);
    }
    spec.attrs = to_json(step);
    return spec;
  }
};

class CudnnWeightGradient final : public Tactic {
 public:
  std::string_view name() const override { return "cudnn.conv_weight_gradient"; }
  std::string_view source() const override { return "cudnn"; }

  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(target.is_cuda() && target.sm >= 80, "needs compute capability 8.0 or newer");
    REQUIRE(!codegen::is_empty(problem), "no elements");
    const Support possible = cudnn_weight_gradient_fits(problem, target);
    if (!possible || !target.present) return possible;
    const Status available = cudnn_available(target.device);
    REQUIRE(available.is_ok(), available.message());
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (!target.present || level <= 0) return {""};
    const int count = engine_count(level, false, Tactic::estimate(problem, target, "") * 1e6);
    const auto engines = cudnn_configs(make_cudnn_weight_gradient_step(problem), problem.hints, target.device, count);
    std::vector<Config> configs;
    if (engines.is_ok())
      for (const std::string& engine : engines.value()) configs.push_back(engine + version_text(target, level));
    if (configs.empty()) configs.push_back("");
    return configs;
  }

  /// Sums over all images and pixels, which are shared out among few results.
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    constexpr double kReached = 0.5, kReachedGrouped = 0.15, kLaunch = 4e-6;
    return kLaunch + Tactic::estimate(problem, target, config) / (std::get<ConvWeightGradient>(problem.op).groups > 1 ? kReachedGrouped : kReached);
  }

  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override {
    CudnnStep step = make_cudnn_weight_gradient_step(problem);
    StepSpec spec = spec_of(step, parse(config), problem, target);
    spec.attrs = to_json(step);
    return spec;
  }
};

/// cuDNN's convolutions take any activation where cuBLASLt has the tanh form of GELU and ReLU only.
class CudnnMatMul final : public Tactic {
 public:
  std::string_view name() const override { return "cudnn.matmul"; }
  std::string_view source() const override { return "cudnn"; }

  Support supports(const Problem& problem, const Target& target) const override {
    const auto* op = std::get_if<MatMul>(&problem.op);
    REQUIRE(op && !op->epilogue.empty(), "no epilogue");
    const DType type = problem.in[0].dtype;
    REQUIRE(type == DType::F16 || type == DType::BF16, "not a float of 16 bits");
    LtStep step;
    bool in_product = false;
    const Support product = make_lt_step(problem, &step, &in_product);
    REQUIRE(!product || !in_product, "cuBLASLt has the epilogue");
    const std::optional<Problem> conv = as_conv(problem);
    REQUIRE(conv, "not a product with row-major weights");
    REQUIRE(conv->in[1].shape[0].value() % 8 == 0 && conv->in[1].shape[1].value() % 8 == 0, "channels are not multiples of 8");
    ConvForms forms;
    const Support possible = conv_forms(*conv, target, &forms);
    if (!possible) return possible;
    REQUIRE(std::count(forms.forms.begin(), forms.forms.end(), ConvForm::fused), "an epilogue that cuDNN does not have");
    return conv_.supports(*conv, target);
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    std::vector<Config> configs = conv_.configs(*as_conv(problem), target, level);
    std::erase_if(configs, [](const Config& config) { return parse(config).form != ConvForm::fused; });
    if (configs.empty()) configs.push_back(form_text(ConvForm::fused));
    return configs;
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    return conv_.estimate(*as_conv(problem), target, config);
  }
  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override { return conv_.make(*as_conv(problem), target, config); }

 private:
  CudnnConv conv_;
};

/// Plans are compiled when they are built, a second or more each; the heuristics know few and order them well.
class CudnnAttentionTactic final : public Tactic {
 public:
  std::string_view name() const override { return "cudnn.attention"; }
  std::string_view source() const override { return "cudnn"; }

  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(target.is_cuda() && target.sm >= 80, "needs compute capability 8.0 or newer");
    const Support fits = cudnn_attention_fits(problem);
    if (!fits || !target.present) return fits;
    const Status available = cudnn_available(target.device);
    REQUIRE(available.is_ok(), available.message());
    REQUIRE(cudnn_version() >= kOldest, "needs cuDNN 9.10.2 or newer");
    const auto engines = cudnn_configs(make_cudnn_attention_step(problem), problem.hints, target.device, 1);
    REQUIRE(engines.is_ok(), engines.status().message());
    REQUIRE(!engines.value().empty(), "cuDNN has no engine for this attention");
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (!target.present || level <= 0) return {""};
    const int count = level >= 4 ? engine_count(level, true, 0) : kFew;
    const auto engines = cudnn_configs(make_cudnn_attention_step(problem), problem.hints, target.device, count);
    if (!engines.is_ok() || engines.value().empty()) return {""};
    std::vector<Config> configs;
    for (const std::string& engine : engines.value()) configs.push_back(engine + version_text(target, level));
    return configs;
  }

  /// Fitted to an H200: tiles of 128 x 128 with a share of the peak that grows with the head size; one query has kernels of its own.
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    constexpr double kTile = 128, kOneQuery = 16, kReached = 0.33, kDepth = 64, kCausal = 1.5, kLaunch = 5e-6;
    const std::vector<int64_t> q = problem.dims(problem.in[0]), k = problem.dims(problem.in[1]);
    const double queries = static_cast<double>(q[2]), keys = static_cast<double>(k[2]), depth = static_cast<double>(q[3]);
    const double rows = queries == 1 ? kOneQuery : std::ceil(queries / kTile) * kTile, columns = std::ceil(keys / kTile) * kTile;
    const double filled = queries * keys / (rows * columns) / (std::get<Attention>(problem.op).causal ? kCausal : 1.0);
    const double rate = (target.tensor_tflops > 0 ? target.tensor_tflops : 300) * 1e12 * kReached * std::clamp(depth / kDepth, 0.5, 2.0) * filled;
    const double traffic = static_cast<double>(traffic_bytes(problem)) / ((target.copy_gbps > 0 ? target.copy_gbps : 1500) * 1e9);
    return kLaunch + std::max(flops(problem) / rate, traffic);
  }

  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override {
    CudnnStep step = make_cudnn_attention_step(problem);
    StepSpec spec = spec_of(step, parse(config), problem, target);
    spec.attrs = to_json(step);
    return spec;
  }

 private:
  static constexpr int kFew = 2;
  static constexpr int64_t kOldest = 91002;  // older ones have known errors in fused attention
};

}  // namespace

void add_cudnn_conv_tactics(TacticList& list) {
  list.push_back(std::make_unique<CudnnConv>());
  list.push_back(std::make_unique<CudnnWeightGradient>());
}

void add_cudnn_matmul_tactics(TacticList& list) { list.push_back(std::make_unique<CudnnMatMul>()); }

void add_cudnn_attention_tactics(TacticList& list) { list.push_back(std::make_unique<CudnnAttentionTactic>()); }

}  // namespace tuyere
