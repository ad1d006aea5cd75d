// SPDX-License-Identifier: Apache-2.0
#include "kernels/cublaslt/cublaslt_tactics.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "common/error.h"
#include "kernels/codegen/kernel.h"
#include "kernels/pointwise/follow_up.h"

namespace tuyere {
namespace {

constexpr const char* kHeuristic = "heuristic";
constexpr int kAlgorithms = 8, kFewAlgorithms = 4;  // the library proposes at most 8 on Hopper
constexpr int64_t kAlignment = 256;

/// The text after "key=" up to the next space, or "".
std::string config_text(const Config& config, const std::string& key) {
  const std::string padded = " " + config;
  const size_t at = padded.find(" " + key + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size() + 2;
  return padded.substr(begin, padded.find(' ', begin) - begin);
}

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class CublasLtMatMul final : public Tactic {
 public:
  std::string_view name() const override { return "cublaslt.matmul"; }
  std::string_view source() const override { return "cublaslt"; }

  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(target.is_cuda() && target.sm >= 80, "needs compute capability 8.0 or newer");
    REQUIRE(!codegen::is_empty(problem), "no elements");
    LtStep step;
    bool fused = false;
    const Support possible = make_lt_step(problem, &step, &fused);
    if (!possible || !target.present) return possible;
    const Status available = lt_available(target.device);
    REQUIRE(available.is_ok(), available.message());
    return Support::yes();
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    if (!target.present || level <= 0) return {kHeuristic};
    LtStep step;
    bool fused = false;
    if (!make_lt_step(problem, &step, &fused)) return {kHeuristic};
    const auto found = lt_algorithms(step, problem.hints, target.device, level >= 3 ? kAlgorithms : kFewAlgorithms);
    if (!found.is_ok() || found.value().empty()) return {kHeuristic};
    std::vector<Config> configs;
    for (const LtAlgorithm& a : found.value())
      configs.push_back("algo=" + a.hex + " workspace=" + std::to_string(a.workspace) + " version=" + std::to_string(a.version));
    return configs;
  }

  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    constexpr double kReached = 0.75, kLaunch = 2e-6;
    double seconds = Tactic::estimate(problem, target, config) / kReached;
    LtStep step;
    bool fused = false;
    if (make_lt_step(problem, &step, &fused) && !fused)
      seconds += kLaunch + follow_up_bytes(problem) / ((target.copy_gbps > 0 ? target.copy_gbps : 1500) * 1e9);
    return seconds;
  }

  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override {
    LtStep step;
    bool fused = false;
    const Support possible = make_lt_step(problem, &step, &fused);
    USER_CHECK(static_cast<bool>(possible), "cublaslt.matmul: " << possible.reason());
    StepSpec spec;
    spec.executor = "cublaslt";
    step.algo = config_text(config, "algo");
    if (!step.algo.empty()) {
      step.version = std::atoll(config_text(config, "version").c_str());
      step.tuned = {step.m.eval(problem.hints), step.n.eval(problem.hints), step.k.eval(problem.hints), step.batch.eval(problem.hints)};
      spec.workspace = aligned(std::atoll(config_text(config, "workspace").c_str()));
    } else if (target.present) {
      const auto found = lt_algorithms(step, problem.hints, target.device, 1);
      if (found.is_ok() && !found.value().empty()) spec.workspace = aligned(found.value()[0].workspace);
    }
    if (!fused) {
      FollowUp rest = follow_up(problem, std::get<MatMul>(problem.op).epilogue, target);
      step.then = std::move(rest.step);
      spec.blobs = std::move(rest.blobs);
    }
    spec.attrs = to_json(step);
    return spec;
  }
};

/// A convolution of single pixels as the product that it is.
class CublasLtConv final : public Tactic {
 public:
  std::string_view name() const override { return "cublaslt.conv"; }
  std::string_view source() const override { return "cublaslt"; }

  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(target.is_cuda() && target.sm >= 80, "needs compute capability 8.0 or newer");
    REQUIRE(!codegen::is_empty(problem), "no elements");
    const std::optional<Problem> product = as_matmul(problem);
    REQUIRE(product, "not a 1x1 convolution of dense pixels");
    LtStep step;
    bool fused = false;
    const Support possible = make_lt_step(*product, &step, &fused);
    if (!possible) return possible;
    REQUIRE(fused, "an epilogue that cuBLASLt does not have");
    return matmul_.supports(*product, target);
  }

  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    return matmul_.configs(*as_matmul(problem), target, level);
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    constexpr double kUnsure = 1.1;  // without measuring, convolutions are the library for convolutions' business
    return kUnsure * matmul_.estimate(*as_matmul(problem), target, config);
  }
  StepSpec make(const Problem& problem, const Target& target, const Config& config) const override { return matmul_.make(*as_matmul(problem), target, config); }

 private:
  CublasLtMatMul matmul_;
};

}  // namespace

void add_cublaslt_tactics(TacticList& list) { list.push_back(std::make_unique<CublasLtMatMul>()); }

void add_cublaslt_conv_tactics(TacticList& list) { list.push_back(std::make_unique<CublasLtConv>()); }

}  // namespace tuyere
