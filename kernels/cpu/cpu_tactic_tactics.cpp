// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_tactic.h"

namespace tuyere {
namespace {

class CpuTactic final : public Tactic {
 public:
  explicit CpuTactic(const CpuTacticRow& row) : row_(row) {}
  std::string_view name() const override { return row_.name; }
  std::string_view source() const override { return row_.name.substr(0, row_.name.find('.')); }
  Support supports(const Problem& problem, const Target& target) const override {
    REQUIRE(!target.is_cuda(), "the kernel runs on the CPU");
    return row_.supports(problem);
  }
  std::vector<Config> configs(const Problem& problem, const Target& target, int level) const override {
    return row_.configs ? row_.configs(problem) : Tactic::configs(problem, target, level);
  }
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    return Tactic::estimate(problem, target, config) * row_.slowdown;
  }
  StepSpec make(const Problem& problem, const Target&, const Config& config) const override {
    StepSpec spec;
    spec.executor = "cpu";
    spec.attrs = nlohmann::json{{"kernel", row_.name}, {"op", str(problem.op)}, {"config", config}}.dump();
    spec.workspace = row_.library_workspace ? 256 : 0;
    return spec;
  }

 private:
  CpuTacticRow row_;
};

}  // namespace

void add_cpu_tactic(TacticList& list, const CpuTacticRow& row) { list.push_back(std::make_unique<CpuTactic>(row)); }

Support whole_bytes(const Problem& p) {
  for (const auto* tensors : {&p.in, &p.out}) {
    for (const TensorDesc& t : *tensors) REQUIRE(bits(t.dtype) % 8 == 0, "a tensor is packed below a byte");
  }
  return Support::yes();
}

}  // namespace tuyere
