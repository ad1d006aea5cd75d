// SPDX-License-Identifier: Apache-2.0
// The "cpu" executor: finds the kernel by name and prepares it.
#include <omp.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/cpu/cores.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/waits.h"

namespace tuyere {
namespace {
using cpu::CpuKernel;
using cpu::CpuKernelTable;
using cpu::CpuProblem;

struct ParsedStep {
  const CpuKernel* kernel = nullptr;
  Op op;
  std::string config;
};

Status to_status(const std::exception& e) {
  if (const auto* error = dynamic_cast<const Error*>(&e)) {
    return Status(error->fault() == Fault::User ? Code::InvalidArgument : Code::Internal, error->what());
  }
  return Status(Code::Internal, std::string("cpu step: ") + e.what());
}

/// A step that runs on no more threads than there are cores.
class CappedStep final : public Executable {
 public:
  explicit CappedStep(std::unique_ptr<Executable> step) : step_(std::move(step)) {}
  Status run(void* const* pointers, void* stream) noexcept override {
    const cpu::CappedThreads capped;
    return step_->run(pointers, stream);
  }

 private:
  std::unique_ptr<Executable> step_;
};

class CpuExecutor final : public Executor {
 public:
  CpuExecutor() : table_(cpu::cpu_kernels()) {
    std::stable_sort(table_.begin(), table_.end(), [](const CpuKernel& a, const CpuKernel& b) { return a.name < b.name; });
  }

  Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) override {
    try {
      const ParsedStep step = parse(spec);
      const cpu::CappedThreads capped;
      if (omp_get_max_threads() > 1) cpu::watch_waits();
      std::unique_ptr<Executable> prepared = std::make_unique<CappedStep>(step.kernel->prepare(CpuProblem{step.op, step.config, args}));
      return prepared;
    } catch (const std::exception& e) {
      return to_status(e);
    }
  }

  Result<int64_t> workspace(const StepSpec& spec, const PrepareArgs& args) override {
    try {
      const ParsedStep step = parse(spec);
      if (!step.kernel->workspace) return Executor::workspace(spec, args);
      const cpu::CappedThreads capped;  // as where the step is prepared: parts of a workspace belong to threads
      return step.kernel->workspace(CpuProblem{step.op, step.config, args});
    } catch (const std::exception& e) {
      return to_status(e);
    }
  }

 private:
  ParsedStep parse(const StepSpec& spec) const {
    const auto json = nlohmann::json::parse(spec.attrs);
    const auto kernel = json.at("kernel").get<std::string>();
    const auto at = std::lower_bound(table_.begin(), table_.end(), kernel, [](const CpuKernel& k, const std::string& n) { return k.name < n; });
    USER_CHECK(at != table_.end() && at->name == kernel, "the CPU library has no kernel '" << kernel << "'; the engine is newer than the library");
    return {&*at, parse_op(json.at("op").get<std::string>()), json.value("config", std::string())};
  }

  CpuKernelTable table_;
};

}  // namespace
}  // namespace tuyere

extern "C" tuyere::Executor* tuyere_cpu_executor() {
  static tuyere::CpuExecutor executor;
  return &executor;
}

extern "C" int tuyere_cpu_threads() { return std::min(omp_get_max_threads(), tuyere::cpu::usable_cores()); }
