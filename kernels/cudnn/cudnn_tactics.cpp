// SPDX-License-Identifier: Apache-2.0
#include "kernels/cudnn/cudnn_tactics.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "common/error.h"
#include "kernels/codegen/kernel.h"
#include "kernels/pointwise/follow_up.h"

namespace tuyere {
namespace {

constexpr int64_t kAlignment = 256;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

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

/// How many engines to try. Kernels that cuDNN compiles itself take seconds each.
int engine_count(int level, bool compiled) {
  const int count = level >= 5 ? 64 : level == 4 ? 16 : level == 3 ? 8 : 4;
  return compiled ? std::max(2, count / 2) : count;
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
    const std::string version = " version=" + std::to_string(target.present && level > 0 ? cudnn_version() : 0);
    for (ConvForm form : forms.forms) {
      if (!target.present || level <= 0) break;
      const bool compiled = form == ConvForm::fused && !forms.precompiled;
      const auto engines = cudnn_configs(make_cudnn_step(problem, form), problem.hints, target.device, engine_count(level, compiled));
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

}  // namespace

void add_cudnn_tactics(TacticList& list) { list.push_back(std::make_unique<CudnnConv>()); }

}  // namespace tuyere
